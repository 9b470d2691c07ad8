// Package rootfs reads below a host's root: "/" of the running system, or the
// folder of an image or chroot. Symbolic links are followed as that system
// would follow them: an absolute one starts at the root, and none leaves it.
// Nothing is ever written, and only regular files are opened, since a FIFO or a
// device node in an image would block or act on the machine that reads it.
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTooLarge means that a file or folder is beyond what it can sensibly hold.
var ErrTooLarge = errors.New("too large")

// ErrNotRegular means that what should be a file is a folder, a device, a pipe
// or the like; reading it could hang.
var ErrNotRegular = errors.New("not a regular file")

const (
	maxLinks = 40       // as the kernel's MAXSYMLINKS
	maxAttr  = 64 << 10 // a sysfs attribute has at most one page
	maxNames = 1 << 20
)

// Root is an open root. It is safe for concurrent use.
type Root struct {
	dir  string
	root *os.Root
	// whole says that the root is "/": then the kernel itself follows links as
	// it should, in one call where os.Root needs several for each folder.
	whole bool
}

// Open opens the root that begins at dir.
func Open(dir string) (*Root, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the root %s: %w", dir, err)
	}
	return &Root{dir: dir, root: r, whole: path.Clean(dir) == "/"}, nil
}

// Close releases the folder.
func (r *Root) Close() error { return r.root.Close() }

// Dir is what Open was given.
func (r *Root) Dir() string { return r.dir }

// Resolve follows every symbolic link of name and returns the path below the
// root without a leading slash ("." for the root itself). The last component
// need not exist.
func (r *Root) Resolve(name string) (string, error) {
	var done []string
	todo := split(name)
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			if len(done) > 0 {
				done = done[:len(done)-1]
			}
			continue
		}
		here := path.Join(path.Join(done...), part)
		info, err := r.root.Lstat(here)
		if err != nil {
			if len(todo) == 0 && errors.Is(err, fs.ErrNotExist) {
				return here, nil
			}
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = append(done, part)
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: name, Err: unix.ELOOP}
		}
		target, err := r.root.Readlink(here)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(target, "/") {
			done = done[:0]
		}
		todo = append(split(target), todo...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return path.Join(done...), nil
}

func split(name string) []string {
	var parts []string
	for _, p := range strings.Split(name, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts
}

// OpenFile opens a regular file for reading. Its access time stays as it is
// where the system permits that.
func (r *Root) OpenFile(name string) (*os.File, error) {
	return r.openAs(name, fs.FileMode.IsRegular)
}

// OpenDevice is OpenFile for what holds a file system or a volume: a block
// device, or a regular file in its place.
func (r *Root) OpenDevice(name string) (*os.File, error) {
	return r.openAs(name, func(m fs.FileMode) bool { return m.IsRegular() || m.Type() == fs.ModeDevice })
}

func (r *Root) openAs(name string, good func(fs.FileMode) bool) (*os.File, error) {
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	// Without O_NONBLOCK a FIFO put in place of a file would block for ever.
	const flags = os.O_RDONLY | unix.O_NONBLOCK
	f, err := r.root.OpenFile(real, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // not the owner of the file
		f, err = r.root.OpenFile(real, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !good(info.Mode()) {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile returns a file of at most limit bytes; a longer one is ErrTooLarge.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("cannot read %s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return data, nil
}

// Attr returns a one-line file of sysfs or procfs without its newline, "" if
// it cannot be read: such files come and go with kernel versions and rights.
func (r *Root) Attr(name string) string {
	data, err := r.ReadFile(name, maxAttr)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(data), "\n")
}

// Readlink returns what the link name points to, as written; its folder is
// resolved, the link itself is not.
func (r *Root) Readlink(name string) (string, error) {
	if r.whole {
		return os.Readlink("/" + name)
	}
	dir, err := r.Resolve(path.Dir(name))
	if err != nil {
		return "", err
	}
	return r.root.Readlink(path.Join(dir, path.Base(name)))
}

// LinkBase returns the last element of what a link points to, "" if name is
// no link.
func (r *Root) LinkBase(name string) string {
	target, err := r.Readlink(name)
	if err != nil {
		return ""
	}
	return path.Base(target)
}

// Stat describes what name leads to.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	if r.whole {
		return os.Stat("/" + name)
	}
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	return r.root.Lstat(real)
}

// Lstat describes name itself, its last component not followed.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	if r.whole {
		return os.Lstat("/" + name)
	}
	dir, err := r.Resolve(path.Dir(name))
	if err != nil {
		return nil, err
	}
	return r.root.Lstat(path.Join(dir, path.Base(name)))
}

// Exists tells whether name leads to anything.
func (r *Root) Exists(name string) bool {
	_, err := r.Stat(name)
	return err == nil
}

func (r *Root) openDir(name string) (*os.File, error) {
	if r.whole {
		return os.OpenFile("/"+name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	}
	real, err := r.Resolve(name)
	if err != nil {
		return nil, err
	}
	return r.root.Open(real)
}

// ReadDir lists a folder, sorted by name.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.openDir(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) == maxNames {
		return nil, fmt.Errorf("cannot list %s: %w: %d entries or more", name, ErrTooLarge, maxNames)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	return entries, nil
}

// Names lists the names in a folder; none if there is no such folder.
func (r *Root) Names(dir string) ([]string, error) {
	entries, err := r.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", dir, err)
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out, nil
}
