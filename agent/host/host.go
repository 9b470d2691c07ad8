// Package host is the handle on the system that is looked at: the running one
// or the file tree of an image or chroot. It only reads.
package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MaxFile is the largest file that ReadFile reads, in bytes. Configuration and
// keys are far smaller; a larger one is damage or malice.
const MaxFile = 16 << 20

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// ErrTooLarge says that a file is larger than MaxFile.
var ErrTooLarge = errors.New("file too large")

// ErrNotRegular says that a path that should be a file is a device, a pipe or
// the like; reading it could hang.
var ErrNotRegular = errors.New("not a regular file")

// Host is a system to look at. Its methods may be used by several goroutines.
type Host struct {
	Root string           // absolute path of the tree: "/" is the running system
	Euid int              // effective user id of this process
	Now  func() time.Time // the clock

	root *os.Root
}

// New opens a file tree. The error wraps fs.ErrNotExist, fs.ErrPermission or
// whatever keeps it from being opened.
func New(root string) (*Host, error) {
	if root == "" {
		root = "/"
	}
	if !path.IsAbs(root) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("cannot find root %s: %w", root, err)
		}
		root = path.Join(wd, root)
	}
	root = path.Clean(root)
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("cannot open root: %w", err)
	}
	return &Host{Root: root, Euid: os.Geteuid(), Now: time.Now, root: r}, nil
}

// Close releases the tree.
func (h *Host) Close() error { return h.root.Close() }

// Live tells whether this is the running system.
func (h *Host) Live() bool { return h.Root == "/" }

// Path returns where a path of the host is found from outside, for messages
// and for packages that take a root and resolve links themselves.
func (h *Host) Path(name string) string { return path.Join(h.Root, path.Clean("/"+name)) }

// Resolve follows the symbolic links of a path as the host itself would:
// absolute ones and ".." stay below the root. The result is relative to the
// root, without links as far as the path exists; "." is the root.
func (h *Host) Resolve(name string) (string, error) {
	var done []string
	todo := strings.Split(path.Clean("/" + name)[1:], "/")
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) > 0 {
				done = done[:len(done)-1]
			}
			continue
		}
		next := strings.Join(append(slices.Clone(done), part), "/")
		fi, err := h.root.Lstat(next)
		if err != nil {
			return "", named(name, err)
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			done = append(done, part)
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "open", Path: name, Err: unix.ELOOP}
		}
		target, err := h.root.Readlink(next)
		if err != nil {
			return "", named(name, err)
		}
		if path.IsAbs(target) {
			done = nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return strings.Join(done, "/"), nil
}

// named puts the path that was asked for into an error that names another.
func named(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err}
	}
	return &fs.PathError{Op: "open", Path: name, Err: err}
}

// Open opens a regular file of the host. Its access time stays as it is where
// the system permits that.
func (h *Host) Open(name string) (*os.File, error) {
	at, err := h.Resolve(name)
	if err != nil {
		return nil, err
	}
	// Without O_NONBLOCK a pipe put in place of a file would block for ever.
	const flags = os.O_RDONLY | unix.O_NONBLOCK
	f, err := h.root.OpenFile(at, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) { // not the owner of the file
		f, err = h.root.OpenFile(at, flags, 0)
	}
	if err != nil {
		return nil, named(name, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads a regular file of at most MaxFile bytes.
func (h *Host) ReadFile(name string) ([]byte, error) {
	f, err := h.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, named(name, err)
	}
	if len(data) > MaxFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	return data, nil
}

// ReadDir lists a folder, sorted by name.
func (h *Host) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := h.Resolve(name)
	if err != nil {
		return nil, err
	}
	f, err := h.root.OpenFile(at, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, named(name, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, named(name, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Exists tells whether a path leads to something.
func (h *Host) Exists(name string) bool {
	_, err := h.Resolve(name)
	return err == nil
}

// Name returns the host's name: of the running system from the kernel, of an
// image from /etc/hostname; empty if there is none.
func (h *Host) Name() string {
	if h.Live() {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	data, err := h.ReadFile("/etc/hostname")
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return strings.ToValidUTF8(line, "\uFFFD")
}

// Uname returns release and machine of the running kernel, both empty for an
// image: its kernel is not the one that runs.
func (h *Host) Uname() (release, machine string) {
	var u unix.Utsname
	if !h.Live() || unix.Uname(&u) != nil {
		return "", ""
	}
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}
