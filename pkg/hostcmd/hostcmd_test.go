package hostcmd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
)

func sh(script string) hostcmd.Cmd { return hostcmd.Cmd{Path: "sh", Args: []string{"-c", script}} }

func TestEnvironmentIsFixed(t *testing.T) {
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("SECRET", "x")
	out, err := hostcmd.Output(t.Context(), hostcmd.Cmd{Path: "env", Env: []string{"HOME=/nowhere", "A=b c"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "LC_ALL=C.UTF-8\nPATH=" + hostcmd.Path + "\nTERM=dumb\nHOME=/nowhere\nA=b c\n"
	// exec adds PWD for a working directory.
	got := strings.ReplaceAll(string(out), "PWD=/\n", "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExitCodesAndSignals(t *testing.T) {
	res, err := hostcmd.Run(t.Context(), sh("echo out; echo err >&2; exit 3"))
	var exit *hostcmd.ExitError
	if !errors.As(err, &exit) || res.ExitCode != 3 || string(res.Stdout) != "out\n" || string(res.Stderr) != "err\n" {
		t.Errorf("got %+v, %v", res, err)
	}
	if err == nil || err.Error() != `cannot run sh -c 'echo out; echo err >&2; exit 3': exit code 3: err` {
		t.Errorf("error text: %v", err)
	}
	res, err = hostcmd.Run(t.Context(), sh("kill -9 $$"))
	if !errors.As(err, &exit) || res.Signal != syscall.SIGKILL || res.ExitCode != -1 {
		t.Errorf("got %+v, %v", res, err)
	}
	if _, err = hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "no-such-program"}); !errors.Is(err, hostcmd.ErrNotFound) {
		t.Errorf("bare name: %v", err)
	}
	if _, err = hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "/no/such/program"}); !errors.Is(err, hostcmd.ErrNotFound) {
		t.Errorf("absolute: %v", err)
	}
}

func TestArgumentsReachTheProgramUnchanged(t *testing.T) {
	args := []string{"%s|", "a b", "$HOME", "`id`", "*", "", "'\"\\", "\xff"}
	out, err := hostcmd.Output(t.Context(), hostcmd.Cmd{Path: "printf", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(args[1:], "|") + "|"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// The quoted command must do the same when a human pastes it.
func TestQuotedCommandIsTheSameCommand(t *testing.T) {
	args := []string{"%s|", "a b", "$HOME", "`id`", "*", "", "'\"\\", "new\nline", "\x1b[31m", "~", "a;b", "ü"}
	c := hostcmd.Cmd{Path: "printf", Args: args, Env: []string{"X=y z"}}
	if strings.ContainsAny(c.String(), "\n\x1b") {
		t.Errorf("control characters in %q", c)
	}
	out, err := hostcmd.Output(t.Context(), hostcmd.Cmd{Path: "bash", Args: []string{"-c", c.String()}})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(args[1:], "|") + "|"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestOutputIsCappedLoggedAndSplitIntoLines(t *testing.T) {
	var lines []string
	var log strings.Builder
	c := sh("printf 'one\ntwo\n\nlast'; printf e >&2")
	c.MaxOutput = 5
	c.LogTo = &log
	c.OnLine = func(s hostcmd.Stream, l string) { lines = append(lines, fmt.Sprintf("%d:%s", s, l)) }
	res, err := hostcmd.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if string(res.Stdout) != "one\nt" || !res.Truncated || string(res.Stderr) != "e" {
		t.Errorf("got %+v", res)
	}
	if len(log.String()) != len("one\ntwo\n\nlast")+1 {
		t.Errorf("log %q", log.String())
	}
	if diff := cmp.Diff([]string{"1:one", "1:two", "1:", "1:last", "2:e"}, lines); diff != "" {
		t.Error(diff)
	}
	if _, err := hostcmd.Output(t.Context(), c); !errors.Is(err, hostcmd.ErrTruncated) {
		t.Errorf("a list cut short: %v", err)
	}
}

func TestLongLineComesInPieces(t *testing.T) {
	n, pieces := 0, 0
	c := sh("head -c 200000 /dev/zero | tr '\\0' x; echo; echo end")
	var last string
	c.OnLine = func(_ hostcmd.Stream, l string) { n += len(l); pieces++; last = l }
	if _, err := hostcmd.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n != 200003 || last != "end" || pieces < 4 {
		t.Errorf("%d bytes in %d pieces, last %q", n, pieces, last)
	}
}

func TestOutputFileTakesBothStreams(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines []string
	c := sh("echo one; echo two >&2; echo three")
	c.OutputFile = file
	c.OnLine = func(_ hostcmd.Stream, l string) { lines = append(lines, l) }
	res, err := hostcmd.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, lines); diff != "" {
		t.Error(diff)
	}
	data, _ := os.ReadFile(file)
	if string(data) != "before\none\ntwo\nthree\n" || string(res.Stdout) != "one\ntwo\nthree\n" {
		t.Errorf("file %q, result %q", data, res.Stdout)
	}
}

func TestKillPolicies(t *testing.T) {
	t.Run("never", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := sh("echo go; sleep 0.3; echo end")
		c.OnLine = func(_ hostcmd.Stream, l string) {
			if l == "go" {
				cancel()
			}
		}
		res, err := hostcmd.Run(ctx, c)
		if err != nil || string(res.Stdout) != "go\nend\n" {
			t.Errorf("got %+v, %v", res, err)
		}
		if _, err := hostcmd.Run(ctx, sh("echo no")); !errors.Is(err, context.Canceled) {
			t.Errorf("started with a cancelled context: %v", err)
		}
	})
	t.Run("now, with its children", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var child int
		c := sh("sleep 600 & echo $!; wait")
		c.Kill = hostcmd.KillNow
		c.OnLine = func(_ hostcmd.Stream, l string) { child, _ = strconv.Atoi(l); cancel() }
		res, err := hostcmd.Run(ctx, c)
		if !errors.Is(err, hostcmd.ErrKilled) || !errors.Is(err, context.Canceled) || res.Signal != syscall.SIGKILL {
			t.Errorf("got %+v, %v", res, err)
		}
		for i := 0; alive(child); i++ {
			if i > 100 {
				t.Fatalf("child %d lives", child)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	t.Run("term after a timeout", func(t *testing.T) {
		c := sh("trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done")
		c.Kill, c.Timeout = hostcmd.KillTerm, 300*time.Millisecond
		res, err := hostcmd.Run(t.Context(), c)
		if !errors.Is(err, hostcmd.ErrKilled) || !errors.Is(err, context.DeadlineExceeded) || res.ExitCode != 7 || string(res.Stdout) != "bye\n" {
			t.Errorf("got %+v, %v", res, err)
		}
	})
	t.Run("timeout without policy", func(t *testing.T) {
		if _, err := hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "true", Timeout: time.Second}); err == nil {
			t.Error("accepted")
		}
	})
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestOwnSession(t *testing.T) {
	// Fields 5 and 6 of /proc/self/stat are the process group and the session: the program leads both.
	out, err := hostcmd.Output(t.Context(), sh("cut -d' ' -f5,6 /proc/$$/stat; echo $$"))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(out))
	if len(f) != 3 || f[0] != f[2] || f[1] != f[2] {
		t.Errorf("process group, session and pid: %q", out)
	}
}

func TestDaemonHoldingThePipeDoesNotHang(t *testing.T) {
	res, err := hostcmd.Run(t.Context(), sh("sleep 30 & echo started $!"))
	if err != nil || !strings.HasPrefix(string(res.Stdout), "started ") {
		t.Fatalf("got %+v, %v", res, err)
	}
	if pid, _ := strconv.Atoi(strings.Fields(string(res.Stdout))[1]); pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestChrootAndLook(t *testing.T) {
	root := t.TempDir()
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("skipped: /bin/busybox is absent (a static program is needed for a small root)")
	}
	must(t, os.MkdirAll(root+"/usr/bin", 0o755))
	must(t, os.WriteFile(root+"/usr/bin/busybox", box, 0o755))
	must(t, os.Symlink("/usr/bin/busybox", root+"/usr/bin/pwd"))
	must(t, os.Symlink("usr/bin", root+"/bin"))
	must(t, os.WriteFile(root+"/usr/bin/plain", nil, 0o644))

	if p, err := hostcmd.Look(root, "pwd"); err != nil || p != "/usr/bin/pwd" {
		t.Errorf("Look: %q, %v", p, err)
	}
	for _, name := range []string{"plain", "rpm", ""} {
		if p, err := hostcmd.Look(root, name); !errors.Is(err, hostcmd.ErrNotFound) {
			t.Errorf("Look(%q): %q, %v", name, p, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: chroot needs root")
	}
	c := hostcmd.Cmd{Path: "pwd", Root: root}
	out, err := hostcmd.Output(t.Context(), c)
	if err != nil || string(out) != "/\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if want := "chroot " + root + " pwd"; c.String() != want {
		t.Errorf("String: %q, want %q", c, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestFilter(t *testing.T) {
	var out strings.Builder
	in := strings.Repeat("0123456789\n", 100_000)
	res, err := hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "cat", Stdin: strings.NewReader(in), StdoutTo: &out})
	if err != nil || out.String() != in || len(res.Stdout) != 0 {
		t.Errorf("%d bytes of %d, %v", out.Len(), len(in), err)
	}
	full := errors.New("full")
	_, err = hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "cat", Stdin: strings.NewReader(in), StdoutTo: failing{full}})
	if !errors.Is(err, full) {
		t.Errorf("an error of the writer is lost: %v", err)
	}
}
