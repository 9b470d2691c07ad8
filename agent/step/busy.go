package step

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// ErrBusy means that rpm or dnf is at work.
var ErrBusy = errors.New("the package manager is at work")

// dnfLock is the file with the process id of whoever works on the rpm database
// by dnf (dnf/lock.py: rpmdb_lock.pid in persistdir). dnf takes an flock on it
// while it looks, and waits as long as another one has that.
const dnfLock = "/var/lib/dnf/rpmdb_lock.pid"

// HoldPackageManager refuses where rpm or dnf is at work, and keeps dnf away
// until release is called or this process ends, however that happens: the lock
// is the kernel's. rpm's own lock is only looked at: our transactions need it.
func HoldPackageManager() (release func(), err error) {
	if pid, err := rpmHolder(); err != nil || pid != 0 {
		return nil, errors.Join(err, busy("rpm", pid))
	}
	if _, err := os.Stat(filepath.Dir(dnfLock)); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // no dnf here
	}
	f, err := os.OpenFile(dnfLock, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dnfLock, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, busy("dnf", -1)
	}
	buf := make([]byte, 20)
	n, _ := f.Read(buf)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n]))); err == nil && holds(pid, f) {
		_ = f.Close()
		return nil, busy("dnf", pid)
	}
	// An empty file is nobody's to dnf.
	if err := f.Truncate(0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", dnfLock, err)
	}
	return func() {
		_ = os.Remove(dnfLock)
		_ = f.Close()
	}, nil
}

// holds tells whether a process can be the one that wrote its id to a file: it
// lives, is no mere thread, and is not younger than the file, as one is that
// got the id of a holder that was killed.
func holds(pid int, f *os.File) bool {
	if pid <= 0 || pid == os.Getpid() {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nTgid:\t%d\n", pid)) {
		return false
	}
	st, err := f.Stat()
	start, ok := started(pid)
	return err != nil || !ok || !start.After(st.ModTime().Add(50*time.Millisecond))
}

// started tells when a process began: field 22 of /proc/PID/stat, hundredths
// of a second since boot (proc(5)).
func started(pid int) (time.Time, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, false
	}
	// The second field is the program's name in brackets, and may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return time.Time{}, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	var up unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}, false
	}
	return time.Now().Add(-time.Duration(up.Nano()) + time.Duration(ticks)*10*time.Millisecond), true
}

func busy(who string, pid int) error {
	if pid == 0 {
		return nil
	}
	if pid < 0 {
		return fmt.Errorf("cannot begin: %w: %s", ErrBusy, who)
	}
	return fmt.Errorf("cannot begin: %w: %s, process %d", ErrBusy, who, pid)
}

// rpmHolder returns the process that holds rpm's transaction lock, 0 for none:
// a POSIX record lock on .rpm.lock in the database's folder.
func rpmHolder() (int, error) {
	loc, err := rpmdb.Locate(root)
	if err != nil {
		return 0, err
	}
	name := path.Join(root, path.Dir(loc.Path), ".rpm.lock")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot open %s: %w", name, err)
	}
	defer unix.Close(fd)
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &l); err != nil {
		return 0, fmt.Errorf("cannot look at the lock %s: %w", name, err)
	}
	if l.Type == unix.F_UNLCK {
		return 0, nil
	}
	if l.Pid == 0 {
		return -1, nil // of another process namespace
	}
	return int(l.Pid), nil
}
