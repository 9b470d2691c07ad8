// Package host is the handle on the system that is looked at: the running one
// or the file tree of an image or chroot. It only reads.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// MaxFile is the largest file that ReadFile reads, in bytes. Configuration and
// keys are far smaller; a larger one is damage or malice.
const MaxFile = 16 << 20

// ErrTooLarge says that a file is larger than MaxFile.
var ErrTooLarge = rootfs.ErrTooLarge

// ErrNotRegular says that a path that should be a file is a device, a pipe or
// the like; reading it could hang.
var ErrNotRegular = rootfs.ErrNotRegular

// Host is a system to look at. Its methods may be used by several goroutines.
type Host struct {
	Root string           // absolute path of the tree: "/" is the running system
	Euid int              // effective user id of this process
	Now  func() time.Time // the clock

	root *rootfs.Root
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
	r, err := rootfs.Open(root)
	if err != nil {
		return nil, fmt.Errorf("cannot open root: %w", err)
	}
	return &Host{Root: root, Euid: os.Geteuid(), Now: time.Now, root: r}, nil
}

// Close releases the tree.
func (h *Host) Close() error { return h.root.Close() }

// Live tells whether this is the running system.
func (h *Host) Live() bool { return h.Root == "/" }

// Captured tells whether the tree is no image but holds what a running system
// showed of itself: its /proc, copied to files. A /proc that is mounted below the
// root shows the kernel of this machine, whoever's the tree is.
func (h *Host) Captured() bool {
	if h.Live() || !slices.ContainsFunc(mountTables, h.root.Exists) {
		return false
	}
	var st unix.Statfs_t
	return unix.Statfs(h.Path("/proc"), &st) == nil && st.Type != unix.PROC_SUPER_MAGIC
}

// mountTables are where copies of a running system have its mounts.
var mountTables = []string{"/proc/self/mountinfo", "/proc/1/mountinfo", "/proc/mountinfo"}

// Path returns where a path of the host is found from outside, for messages
// and for packages that take a root and resolve links themselves.
func (h *Host) Path(name string) string { return path.Join(h.Root, path.Clean("/"+name)) }

// Resolve follows the symbolic links of a path as the host itself would:
// absolute ones and ".." stay below the root. The result is relative to the
// root, without links; "." is the root. What does not exist is an error.
func (h *Host) Resolve(name string) (string, error) {
	real, err := h.root.Resolve(name)
	if err == nil {
		_, err = h.root.Stat(real)
	}
	return real, named(name, err)
}

// named puts the path that was asked for into an error that names another.
func named(name string, err error) error {
	var pe *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pe):
		return &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err}
	}
	return &fs.PathError{Op: "open", Path: name, Err: err}
}

// Open opens a regular file of the host. Its access time stays as it is where
// the system permits that.
func (h *Host) Open(name string) (*os.File, error) {
	f, err := h.root.OpenFile(name)
	return f, named(name, err)
}

// ReadFile reads a regular file of at most MaxFile bytes.
func (h *Host) ReadFile(name string) ([]byte, error) {
	data, err := h.root.ReadFile(name, MaxFile)
	return data, named(name, err)
}

// ReadDir lists a folder, sorted by name.
func (h *Host) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := h.root.ReadDir(name)
	return entries, named(name, err)
}

// Exists tells whether a path leads to something.
func (h *Host) Exists(name string) bool { return h.root.Exists(name) }

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
// image: its kernel is not the one that runs. Of a captured system the release
// is known.
func (h *Host) Uname() (release, machine string) {
	if h.Captured() {
		return h.root.Attr("/proc/sys/kernel/osrelease"), ""
	}
	var u unix.Utsname
	if !h.Live() || unix.Uname(&u) != nil {
		return "", ""
	}
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}
