package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/filelock"
	"golang.org/x/sys/unix"
)

const childEnv = "FILELOCK_TEST_CHILD"

// TestMain turns the test binary into the other process where asked.
func TestMain(m *testing.M) {
	if spec := os.Getenv(childEnv); spec != "" {
		os.Exit(child(spec))
	}
	os.Exit(m.Run())
}

func child(spec string) int {
	mode, path, _ := strings.Cut(spec, ":")
	switch mode {
	case "hold": // until killed
		if _, err := filelock.TryLock(path); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "count": // add 50 to the number in path, one by one, each under the lock
		for range 50 {
			l, err := filelock.Acquire(context.Background(), path+".lock", nil)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			if err := increment(path); err != nil {
				fmt.Println(err)
				return 1
			}
			if err := l.Unlock(); err != nil {
				fmt.Println(err)
				return 1
			}
		}
		return 0
	}
	return 2
}

func increment(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
}

// start runs the test binary again as another process.
func start(t *testing.T, spec string) (*os.Process, *bufio.Reader, io.Closer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(exe, []string{exe}, &os.ProcAttr{
		Env: append(os.Environ(), childEnv+"="+spec), Files: []*os.File{inR, outW, outW}})
	if err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	t.Cleanup(func() { outR.Close(); inW.Close() })
	return p, bufio.NewReader(outR), inW
}

func TestTryLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = filelock.TryLock(path)
	var held *filelock.HeldError
	if !errors.Is(err, filelock.ErrLocked) || !errors.As(err, &held) {
		t.Fatalf("second TryLock: %v", err)
	}
	if held.Holder.PID != os.Getpid() || held.Holder.Since.IsZero() {
		t.Errorf("holder %+v, want process %d", held.Holder, os.Getpid())
	}
	if want := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("message %q does not say %q", err, want)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Errorf("second Unlock: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
	l, err = filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := filelock.TryLock(filepath.Join(dir, "no", "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "victim"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.TryLock(link); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a symbolic link was followed: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "victim")); err == nil {
		t.Error("the link's target was created")
	}
}

// TestForeignContent: what stands in the file is shown only where it has the right form.
func TestForeignContent(t *testing.T) {
	for _, content := range []string{"", "x", "1 \x1b[31m 2026-01-01T00:00:00Z\n", "-4 a 2026-01-01T00:00:00Z\n", "4 a b\n",
		strings.Repeat("9", 300)} {
		path := filepath.Join(t.TempDir(), "lock")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(content); err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		_, err = filelock.TryLock(path)
		var held *filelock.HeldError
		if !errors.As(err, &held) {
			t.Fatalf("%q: %v", content, err)
		}
		if held.Holder != (filelock.Holder{}) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: believed: %+v, %q", content, held.Holder, err)
		}
	}
}

func TestAcquireWaitsAndGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err = filelock.Acquire(ctx, path, func(h filelock.Holder) {
		calls++
		if h.PID != os.Getpid() {
			t.Errorf("waiting for %+v", h)
		}
		cancel()
	})
	if !errors.Is(err, filelock.ErrLocked) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Acquire: %v", err)
	}
	if calls != 1 {
		t.Errorf("waiting called %d times", calls)
	}
	second, err := filelock.Acquire(context.Background(), path, func(filelock.Holder) {
		go func() {
			time.Sleep(2 * time.Millisecond)
			first.Unlock()
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	second.Unlock()
}

// TestKilledHolder: the lock of a killed process is free, though its file is left.
func TestKilledHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	p, out, _ := start(t, "hold:"+path)
	if line, err := out.ReadString('\n'); line != "held\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	_, err := filelock.TryLock(path)
	var held *filelock.HeldError
	if !errors.As(err, &held) || held.Holder.PID != p.Pid {
		t.Fatalf("error %v, want holder %d", err, p.Pid)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("after the holder's death: %v", err)
	}
	l.Unlock()
}

// TestCounting lets processes and goroutines contend; a lost increment is a lock held twice.
func TestCounting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	if err := os.WriteFile(path, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	var procs []*os.Process
	for range 2 {
		p, _, _ := start(t, "count:"+path)
		procs = append(procs, p)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				l, err := filelock.Acquire(t.Context(), path+".lock", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if err := increment(path); err != nil {
					t.Error(err)
				}
				if err := l.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, p := range procs {
		st, err := p.Wait()
		if err != nil || !st.Success() {
			t.Errorf("child: %v, %v", st, err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != "200" {
		t.Errorf("counted %s, want 200", b)
	}
}
