package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// Machine is a host with a real systemd as its PID 1 (test/lab/nspawn). What
// Host does while it is off, it does while it is on.
type Machine struct {
	*Host
	t testing.TB
}

// NewMachine makes a host and boots it. Where that is not possible it skips,
// unless ALMAMIGRATE_LAB_SYSTEMD=1 says that it has to be.
func NewMachine(t testing.TB, distro string, major int) *Machine {
	t.Helper()
	lab(t)
	cannot := t.Skipf
	if os.Getenv("ALMAMIGRATE_LAB_SYSTEMD") == "1" {
		cannot = t.Fatalf
	}
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		cannot("SKIPPED: hosts with systemd need systemd-nspawn: test/lab/nspawn deps installs it, make test-systemd does both")
	}
	m := &Machine{NewHost(t, distro, major), t}
	t.Cleanup(func() { _, _ = m.nspawn("kill") }) // before the host goes
	if out, err := m.nspawn("start"); err != nil {
		cannot("SKIPPED: no host with systemd can be booted here: %v\n%s", err, out)
	}
	return m
}

// nspawn runs a verb of the driver on the machine.
func (m *Machine) nspawn(verb string) (string, error) {
	path, _ := lab(m.t)
	cmd := exec.Command(filepath.Join(filepath.Dir(path), "nspawn"), verb, m.Name)
	// Files: a pipe would stay open as long as the machine is up.
	f, err := os.CreateTemp(m.t.TempDir(), "nspawn")
	if err != nil {
		return "", err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	out, _ := os.ReadFile(f.Name())
	return string(out), err
}

// PowerCut kills the machine and boots it again.
func (m *Machine) PowerCut() {
	m.t.Helper()
	for _, verb := range []string{"kill", "start"} {
		if out, err := m.nspawn(verb); err != nil {
			m.t.Fatalf("cannot %s %s: %v\n%s", verb, m.Name, err, out)
		}
	}
}

func (m *Machine) command(args ...string) *exec.Cmd {
	path, _ := lab(m.t)
	return exec.Command(filepath.Join(filepath.Dir(path), "nspawn"), append([]string{"exec", m.Name}, args...)...)
}

// Run runs a command as root.
func (m *Machine) Run(args ...string) Result {
	m.t.Helper()
	var out, errs bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("cannot run %q in %s: %v", args, m.Name, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Must runs a command that has to succeed, and returns its output.
func (m *Machine) Must(args ...string) string {
	m.t.Helper()
	r := m.Run(args...)
	if r.Code != 0 {
		m.t.Fatalf("%q in %s: exit code %d\n%s%s", args, m.Name, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Background is a command that is at work.
type Background struct {
	m    *Machine
	cmd  *exec.Cmd
	out  lockedBuffer
	args []string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Start starts a command; both its outputs are kept together.
func (m *Machine) Start(args ...string) *Background {
	m.t.Helper()
	b := &Background{m: m, cmd: m.command(args...), args: args}
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return b
}

// Wait returns what it wrote and how it ended.
func (b *Background) Wait() (string, int) {
	_ = b.cmd.Wait()
	return b.out.String(), b.cmd.ProcessState.ExitCode()
}

// Until waits for something to become true; how long that takes is not judged.
func (m *Machine) Until(what string, ok func() bool) {
	m.t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	m.t.Fatalf("%s: waited half a minute for: %s\n%s", m.Name, what,
		m.Run("sh", "-c", "journalctl --no-pager -n 30; tail -n 30 /var/log/almamigrate/run-*/run.log").Stdout)
}

// faulty builds the program with fault points, once, and returns its name in
// hosts.
func faulty(t testing.TB) string {
	t.Helper()
	root := realdata.ProjectRoot(t)
	if err := buildFaulty(root); err != nil {
		t.Fatal(err)
	}
	return "/mnt/project/bin/faultinject/almamigrate"
}

var (
	faultyOnce sync.Once
	errFaulty  error
)

func buildFaulty(root string) error {
	faultyOnce.Do(func() {
		dir := filepath.Join(root, "bin", "faultinject")
		if errFaulty = os.MkdirAll(dir, 0o755); errFaulty != nil {
			return
		}
		// Renamed into place: another test may be running it.
		file := filepath.Join(dir, fmt.Sprintf("almamigrate.%d", os.Getpid()))
		cmd := exec.Command("go", "build", "-tags", "faultinject", "-o", file, "./agent/almamigrate")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			errFaulty = fmt.Errorf("cannot build with fault points: %w\n%s", err, out)
			return
		}
		errFaulty = os.Rename(file, filepath.Join(dir, "almamigrate"))
	})
	return errFaulty
}
