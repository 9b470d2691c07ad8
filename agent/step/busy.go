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

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// ErrBusy means that rpm or dnf is at work.
var ErrBusy = errors.New("the package manager is at work")

// dnfLock is the file with the process id of whoever works on the rpm database
// by dnf (dnf/lock.py: rpmdb_lock.pid in persistdir).
const dnfLock = "/var/lib/dnf/rpmdb_lock.pid"

// HoldPackageManager refuses where rpm or dnf is at work, and keeps dnf away
// until release is called or this process ends. rpm's own lock is only looked
// at: our transactions need it.
func HoldPackageManager() (release func(), err error) {
	if pid, err := rpmHolder(); err != nil || pid != 0 {
		return nil, errors.Join(err, busy("rpm", pid))
	}
	if _, err := os.Stat(filepath.Dir(dnfLock)); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // no dnf here
	}
	fd, err := unix.Open(dnfLock, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", dnfLock, err)
	}
	f := os.NewFile(uintptr(fd), dnfLock)
	defer f.Close()
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, busy("dnf", -1)
	}
	buf := make([]byte, 20)
	n, _ := f.Read(buf)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n]))); err == nil && pid != os.Getpid() {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			return nil, busy("dnf", pid)
		}
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dnfLock, err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dnfLock, err)
	}
	return func() { _ = os.Remove(dnfLock) }, nil
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
