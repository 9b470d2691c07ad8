package rootfs

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Flags are the attributes of a file that keep it from being changed, root's
// doing included (chattr(1)).
type Flags struct {
	Immutable  bool // +i
	AppendOnly bool // +a
}

// ErrFlagsUnknown means that the file system, or a kernel before 4.11 together
// with missing rights, does not tell.
var ErrFlagsUnknown = errors.New("file attributes are not known here")

// FS_IMMUTABLE_FL and FS_APPEND_FL of linux/fs.h.
const (
	flImmutable = 0x10
	flAppend    = 0x20
)

// Flags tells whether name itself, its last component not followed, carries
// one of the attributes. A symbolic link carries none. statx(2) needs no right
// on the file and does not open it; kernels before 4.11 (EL 7) are asked by
// FS_IOC_GETFLAGS, which opens regular files and folders for reading.
func (r *Root) Flags(name string) (Flags, error) {
	name = path.Clean("/" + name)
	of, err := r.FlagsIn(path.Dir(name))
	if err != nil {
		return Flags{}, err
	}
	return of(path.Base(name))
}

// FlagsIn returns what is Flags for the names in a folder, which it looks up
// once for all of them.
func (r *Root) FlagsIn(dir string) (func(base string) (Flags, error), error) {
	full := "/" + dir
	if !r.whole {
		real, err := r.Resolve(dir)
		if err != nil {
			return nil, err
		}
		full = filepath.Join(r.dir, real)
	}
	return func(base string) (Flags, error) { return flagsOf(filepath.Join(full, base)) }, nil
}

func flagsOf(name string) (Flags, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	switch {
	case err == nil && st.Attributes_mask&unix.STATX_ATTR_IMMUTABLE != 0 && hasFlags(uint32(st.Mode)):
		return Flags{
			Immutable:  st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0,
			AppendOnly: st.Attributes&unix.STATX_ATTR_APPEND != 0,
		}, nil
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return Flags{}, err // many are asked for that are not there
	case err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM):
		return Flags{}, fmt.Errorf("cannot read the attributes of %s: %w", name, err)
	}
	return flagsByIoctl(name)
}

// hasFlags tells whether a file of this mode has attributes: those of a device
// or pipe are none of a file's.
func hasFlags(mode uint32) bool {
	return mode&unix.S_IFMT == unix.S_IFREG || mode&unix.S_IFMT == unix.S_IFDIR
}

func flagsByIoctl(name string) (Flags, error) {
	// Opening a device can act on it.
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return Flags{}, fmt.Errorf("cannot read the attributes of %s: %w", name, err)
	}
	if !hasFlags(st.Mode) {
		return Flags{}, nil
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Flags{}, fmt.Errorf("cannot read the attributes of %s: %w", name, err)
	}
	defer unix.Close(fd)
	n, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return Flags{}, fmt.Errorf("%s: %w", name, ErrFlagsUnknown)
	}
	return Flags{Immutable: n&flImmutable != 0, AppendOnly: n&flAppend != 0}, nil
}

// Usage is how full a file system is.
type Usage struct {
	Size       uint64 // bytes
	Free       uint64 // bytes that are not used, those reserved for root included
	Available  uint64 // bytes that everybody may use
	Inodes     uint64 // 0: the file system makes them as needed
	InodesFree uint64
}

// Usage asks statfs(2) about the file system that name is on. On a file system
// of the network whose server is gone that call blocks: do not ask for those.
func (r *Root) Usage(name string) (Usage, error) {
	real, err := r.Resolve(name)
	if err != nil {
		return Usage{}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(r.dir, real), &st); err != nil {
		return Usage{}, fmt.Errorf("cannot read how full %s is: %w", name, err)
	}
	bs := uint64(st.Frsize)
	if bs == 0 {
		bs = uint64(st.Bsize)
	}
	return Usage{Size: st.Blocks * bs, Free: st.Bfree * bs, Available: st.Bavail * bs, Inodes: st.Files, InodesFree: st.Ffree}, nil
}
