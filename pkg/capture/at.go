package capture

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// tempSuffix ends the names of files under construction. It is fixed, so that what a crash leaves is found again; the
// names begin with a dot, so that no reader of *.repo or *.conf picks one up.
const tempSuffix = ".almamigrate-restore.tmp"

func tempName(base string) string {
	if len(base) > 200 { // NAME_MAX is 255
		base = base[:200]
	}
	return "." + base + tempSuffix
}

func isTemp(base string) bool {
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, tempSuffix)
}

// tree is a root, entered folder by folder and never through a symbolic link.
type tree struct {
	dir string
	fd  int
}

func openTree(dir string) (*tree, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the root %s: %w", dir, err)
	}
	return &tree{dir: dir, fd: fd}, nil
}

func (t *tree) close() { _ = unix.Close(t.fd) }

// folder is an open folder of the tree.
type folder struct {
	t    *tree
	fd   int
	path Name
}

func (f *folder) close() { _ = unix.Close(f.fd) }

// open opens the folder p. A component that is a symbolic link is ENOTDIR.
func (t *tree) open(p Name) (*folder, error) {
	fd, err := unix.Openat(t.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(string(p), "/") {
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			_ = unix.Close(fd)
			return nil, unix.EINVAL
		}
		next, err := unix.Openat(fd, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if err != nil {
			return nil, err
		}
		fd = next
	}
	return &folder{t: t, fd: fd, path: p}, nil
}

func split(p Name) (dir Name, base string) {
	d, b := path.Split(string(p))
	if d != "/" {
		d = strings.TrimSuffix(d, "/")
	}
	return Name(d), b
}

// linkPath is a path for the system calls that know no folder descriptor.
func (f *folder) linkPath(base string) string {
	proc := fmt.Sprintf("/proc/self/fd/%d", f.fd)
	if _, err := os.Lstat(proc); err == nil {
		return proc + "/" + base
	}
	return path.Join(f.t.dir, string(f.path), base)
}

// describe tells what base is. For a regular file it also returns the file, open for reading.
func (f *folder) describe(base string) (Entry, *os.File, error) {
	e := Entry{Path: Name(path.Join(string(f.path), base)), Kind: Absent}
	var st unix.Stat_t
	if err := unix.Fstatat(f.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return e, nil, nil
		}
		return e, nil, err
	}
	var file *os.File
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind = File
		fd, err := f.openFile(base)
		if err != nil {
			return e, nil, err
		}
		file = os.NewFile(uintptr(fd), string(e.Path))
	case unix.S_IFDIR:
		e.Kind = Dir
		fd, err := unix.Openat(f.fd, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return e, nil, err
		}
		file = os.NewFile(uintptr(fd), string(e.Path))
		defer file.Close()
	case unix.S_IFLNK:
		e.Kind = Symlink
		target, err := f.readlink(base)
		if err != nil {
			return e, nil, err
		}
		e.Target = Name(target)
	case unix.S_IFCHR:
		e.Kind, e.Rdev = Char, st.Rdev
	case unix.S_IFBLK:
		e.Kind, e.Rdev = Block, st.Rdev
	case unix.S_IFIFO:
		e.Kind = FIFO
	default:
		e.Kind = Socket
	}
	err := f.attributes(&e, base, file, st)
	if e.Kind == File && err == nil {
		return e, file, nil
	}
	if file != nil && e.Kind == File {
		file.Close()
	}
	return e, nil, err
}

func (f *folder) attributes(e *Entry, base string, file *os.File, st unix.Stat_t) error {
	list := func(b []byte) (int, error) { return unix.Llistxattr(f.linkPath(base), b) }
	get := func(n string, b []byte) (int, error) { return unix.Lgetxattr(f.linkPath(base), n, b) }
	if file != nil {
		fd := int(file.Fd())
		// What was opened counts, not what was there a moment before.
		kind := st.Mode & unix.S_IFMT
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != kind {
			return ErrChanged
		}
		list = func(b []byte) (int, error) { return unix.Flistxattr(fd, b) }
		get = func(n string, b []byte) (int, error) { return unix.Fgetxattr(fd, n, b) }
		if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil { // many file systems know no flags
			e.Flags = uint32(flags) & flagMask
		}
	}
	if e.Kind != Symlink {
		e.Mode = st.Mode & 0o7777
	}
	e.UID, e.GID = st.Uid, st.Gid
	e.MTime = st.Mtim.Nano()
	e.dev, e.ino, e.ctime = st.Dev, st.Ino, uint64(st.Ctim.Nano())
	if e.Kind == File {
		e.Size = st.Size
		if st.Nlink > 1 {
			e.Links = uint64(st.Nlink) //nolint:unconvert // 32 bits on some
		}
	}
	if e.Kind == Socket {
		return nil
	}
	var err error
	e.Xattrs, err = xattrs(list, get)
	return err
}

// openFile leaves the access time alone where that is allowed; O_NONBLOCK is for a FIFO that has just taken the file's place.
func (f *folder) openFile(base string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(f.fd, base, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(f.fd, base, flags, 0)
	}
	return fd, err
}

func (f *folder) readlink(base string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(f.fd, base, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// names lists a folder, files under construction left out.
func (f *folder) names() ([]string, error) {
	fd, err := unix.Openat(f.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(fd), string(f.path))
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, n := range all {
		if !isTemp(n) {
			kept = append(kept, n)
		}
	}
	return kept, nil
}

func hash(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// xattrs reads all extended attributes. security.evm is left out: the kernel computes it from the others.
func xattrs(list func([]byte) (int, error), get func(string, []byte) (int, error)) (map[string][]byte, error) {
	raw, err := sized(list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("extended attributes: %w", err)
	}
	var out map[string][]byte
	for name := range strings.SplitSeq(string(raw), "\x00") {
		if name == "" || name == "security.evm" {
			continue
		}
		value, err := sized(func(b []byte) (int, error) { return get(name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s: %w", name, err)
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[name] = value
	}
	return out, nil
}

// sized asks for the size, then for the value, again where it has grown in between.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	for range 8 {
		n, err := get(nil)
		if err != nil || n == 0 {
			return []byte{}, err
		}
		buf := make([]byte, n)
		n, err = get(buf)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
	return nil, unix.ERANGE
}
