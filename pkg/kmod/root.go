package kmod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// Host reads the kernel side of one host. It is safe for concurrent use.
type Host struct {
	dir  string
	root *rootfs.Root
}

// Open starts reading the host whose file system tree begins at dir: "/" for
// the running host, or a copy that has proc, sys, lib/modules and so on as
// folders. No path read later leaves dir: symbolic links are followed as if dir
// were "/".
func Open(dir string) (*Host, error) {
	root, err := rootfs.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open host root %s: %w", dir, err)
	}
	return &Host{dir: dir, root: root}, nil
}

// Close releases the folder that Open opened.
func (h *Host) Close() error { return h.root.Close() }

const (
	maxTextFile = 64 << 20 // modules.alias of a distribution kernel has about 1 MB
	maxAttr     = 64 << 10 // a sysfs attribute has at most one page
)

func (h *Host) resolve(name string) (string, error) { return h.root.Resolve(name) }

func (h *Host) open(name string) (*os.File, error) { return h.root.OpenFile(name) }

// readFile returns at most limit bytes of a file; a longer file is ErrTooLarge.
func (h *Host) readFile(name string, limit int64) ([]byte, error) {
	data, err := h.root.ReadFile(name, limit)
	return data, tooLargeHere(err)
}

func readCapped(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge("more than %d bytes", limit)
	}
	return data, nil
}

// tooLargeHere turns a root's ErrTooLarge into this package's.
func tooLargeHere(err error) error {
	if errors.Is(err, rootfs.ErrTooLarge) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

func (h *Host) attr(name string) string { return h.root.Attr(name) }

func (h *Host) linkBase(name string) string { return h.root.LinkBase(name) }

func (h *Host) exists(name string) bool { return h.root.Exists(name) }

func (h *Host) stat(name string) (fs.FileInfo, error) { return h.root.Stat(name) }

func (h *Host) readDir(name string) ([]fs.DirEntry, error) {
	entries, err := h.root.ReadDir(name)
	return entries, tooLargeHere(err)
}

func (h *Host) names(dir string) ([]string, error) {
	names, err := h.root.Names(dir)
	return names, tooLargeHere(err)
}
