// Package filelock is a lock between processes, held on a small file with flock(2).
//
// The kernel drops the lock when its holder dies, however that happens, so there is no stale lock to clean up. The file
// tells who holds it, for messages only; it is removed on release, and a file left by a killed process means nothing.
package filelock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked is matched by the error of TryLock, and of Lock when its context ends first, where another one holds the
// lock; errors.As finds a *HeldError with the holder.
var ErrLocked = errors.New("locked by another process")

// Holder is what the holder of a lock wrote about itself; the zero value where it could not be read.
type Holder struct {
	PID     int
	Program string    // base name of the executable
	Since   time.Time // second precision, UTC
}

// HeldError tells who holds a lock.
type HeldError struct {
	Path   string
	Holder Holder
}

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("cannot lock %s: %v", e.Path, ErrLocked)
	}
	return fmt.Sprintf("cannot lock %s: held by %s, process %d, since %s", e.Path, e.Holder.Program, e.Holder.PID,
		e.Holder.Since.Format(time.RFC3339))
}

// Is makes the error match ErrLocked.
func (e *HeldError) Is(target error) bool { return target == ErrLocked }

// Lock is a held lock.
type Lock struct {
	f    *os.File
	path string
}

// TryLock takes the lock at path or says at once who holds it. It excludes other holders in this process, too.
func TryLock(path string) (*Lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
		if err != nil {
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if err == unix.EWOULDBLOCK {
			holder := readHolder(f)
			f.Close()
			return nil, &HeldError{Path: path, Holder: holder}
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		// The holder before may have removed the file between our open and our flock: then we hold a lock on a file
		// that nobody else can find.
		same, err := isAt(f, path)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		if !same {
			f.Close()
			continue
		}
		l := &Lock{f: f, path: path}
		l.describe()
		return l, nil
	}
}

// poll is the pause between two attempts of Acquire. flock(2) could wait in the kernel, but not be interrupted by a
// context there.
const poll = 20 * time.Millisecond

// Acquire takes the lock at path, waiting for it until the context ends. waiting, if not nil, is called once with the
// holder as soon as there is something to wait for.
func Acquire(ctx context.Context, path string, waiting func(Holder)) (*Lock, error) {
	for {
		l, err := TryLock(path)
		var held *HeldError
		if err == nil || !errors.As(err, &held) {
			return l, err
		}
		if waiting != nil {
			waiting(held.Holder)
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", held, context.Cause(ctx))
		case <-time.After(poll):
		}
	}
}

// Unlock releases the lock and removes its file. A second call does nothing.
func (l *Lock) Unlock() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	// Removed while still held, so that no other holder's file can be hit. Where the folder has become read-only the
	// file stays, which does no harm.
	if same, err := isAt(f, l.path); err == nil && same {
		_ = os.Remove(l.path)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot unlock %s: %w", l.path, err)
	}
	return nil
}

func isAt(f *os.File, path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

// describe writes "PID PROGRAM TIME\n". A full disk must not stop us from locking, so errors do not count.
func (l *Lock) describe() {
	program := "unknown"
	if exe, err := os.Executable(); err == nil {
		program = strings.ReplaceAll(filepath.Base(exe), " ", "_")
	}
	line := fmt.Sprintf("%d %s %s\n", os.Getpid(), program, time.Now().UTC().Format(time.RFC3339))
	_ = l.f.Truncate(0)
	_, _ = l.f.WriteAt([]byte(line), 0)
}

// readHolder reads what describe wrote; the file may be anyone's, so nothing in it is believed beyond its form.
func readHolder(f *os.File) Holder {
	buf := make([]byte, 256)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Holder{}
	}
	line, _, found := bytes.Cut(buf[:n], []byte{'\n'})
	fields := strings.Fields(string(line))
	if !found || len(fields) != 3 {
		return Holder{} // the holder is just writing it
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return Holder{}
	}
	since, err := time.Parse(time.RFC3339, fields[2])
	if err != nil {
		return Holder{}
	}
	for _, r := range fields[1] {
		if r <= ' ' || r > '~' {
			return Holder{}
		}
	}
	return Holder{PID: pid, Program: fields[1], Since: since}
}
