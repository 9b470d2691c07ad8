package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

// build makes name in f what e says, content and all, and reads it back.
func (r *restorer) build(f *folder, name string, e Entry) error {
	var err error
	switch e.Kind {
	case File:
		err = r.buildFile(f, name, e)
	case Dir:
		err = unix.Mkdirat(f.fd, name, 0o700)
	case Symlink:
		err = unix.Symlinkat(string(e.Target), f.fd, name)
	case Char:
		err = unix.Mknodat(f.fd, name, unix.S_IFCHR|0o600, int(e.Rdev))
	case Block:
		err = unix.Mknodat(f.fd, name, unix.S_IFBLK|0o600, int(e.Rdev))
	case FIFO:
		err = unix.Mknodat(f.fd, name, unix.S_IFIFO|0o600, 0)
	default:
		err = fmt.Errorf("internal error: a %s cannot be made", e.Kind)
	}
	if err != nil {
		return err
	}
	return f.setAttributes(name, e)
}

func (r *restorer) buildFile(f *folder, name string, e Entry) error {
	from, err := os.Open(filepath.Join(r.saved.dir, e.Store))
	if err != nil {
		return err
	}
	defer from.Close()
	fd, err := unix.Openat(f.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), name)
	defer to.Close()
	if err := fault.Point("capture.restore.temp"); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), from)
	if err != nil {
		return err
	}
	if n != e.Size || hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: the saved content does not match its checksum", ErrCorrupt)
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return to.Close()
}

// setAttributes gives name the owner, mode, attributes and time of e, and reads them back. The order matters: chown
// clears set-id bits and capabilities, chmod changes the mask of an ACL, and the time is set last, after everything that could move it.
func (f *folder) setAttributes(name string, e Entry) error {
	now, file, err := f.describe(name)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	if now.Kind != e.Kind {
		return ErrChanged
	}
	if now.UID != e.UID || now.GID != e.GID {
		if err := unix.Fchownat(f.fd, name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("owner %d:%d: %w", e.UID, e.GID, err)
		}
	}
	if e.Kind != Symlink {
		if err := f.chmod(name, e); err != nil {
			return fmt.Errorf("mode %04o: %w", e.Mode, err)
		}
	}
	if err := f.setXattrs(name, e, now); err != nil {
		return err
	}
	ts := unix.NsecToTimespec(e.MTime)
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, ts}
	if err := unix.UtimesNanoAt(f.fd, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	got, again, err := f.describe(name)
	if err != nil {
		return err
	}
	if again != nil {
		again.Close()
	}
	// The content was hashed on its way; the flags come last of all.
	got.SHA256, got.Size, got.Flags = e.SHA256, e.Size, e.Flags
	d := differences(e, got)
	// File systems round times: to 2 s at worst (vfat).
	if diff := got.MTime - e.MTime; diff > -2e9 && diff < 2e9 {
		d = slices.DeleteFunc(d, func(s string) bool { return s == "mtime" })
	}
	if len(d) > 0 {
		return fmt.Errorf("read back, it differs in %s", strings.Join(d, ", "))
	}
	return f.setFlags(name, e)
}

// chmod never follows a link that takes the name's place: fchmodat(2) knows no such flag before Linux 6.6. Devices are not
// opened, which may act on them; their names are fresh ones of ours.
func (f *folder) chmod(name string, e Entry) error {
	if e.Kind != File && e.Kind != Dir {
		return unix.Fchmodat(f.fd, name, e.Mode, 0)
	}
	fd, err := unix.Openat(f.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, e.Mode)
}

func (f *folder) setXattrs(name string, e, now Entry) error {
	p := f.linkPath(name)
	for n, v := range e.Xattrs {
		// chown and chmod above may have taken or changed it: ask again.
		have, err := sized(func(b []byte) (int, error) { return unix.Lgetxattr(p, n, b) })
		if err == nil && bytes.Equal(have, v) {
			continue
		}
		if err := unix.Lsetxattr(p, n, v, 0); err != nil {
			return fmt.Errorf("extended attribute %s: %w", n, err)
		}
	}
	for n := range now.Xattrs {
		if _, wanted := e.Xattrs[n]; wanted || n == selinux {
			continue
		}
		if err := unix.Lremovexattr(p, n); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("extended attribute %s: %w", n, err)
		}
	}
	return nil
}

// setFlags sets the immutable and append-only flags that e has. It never takes one off: who set it has said that the
// file must not change.
func (f *folder) setFlags(name string, e Entry) error {
	if e.Flags == 0 || e.Kind != File && e.Kind != Dir || isTemp(name) {
		return nil
	}
	fd, err := unix.Openat(f.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || uint32(flags)&flagMask == e.Flags {
		return err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|int(e.Flags)); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	return nil
}
