package kmod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
)

// Host reads the kernel side of one host. It is safe for concurrent use.
type Host struct {
	dir  string
	root *os.Root
}

// Open starts reading the host whose file system tree begins at dir: "/" for
// the running host, or a copy that has proc, sys, lib/modules and so on as
// folders. No path read later leaves dir: symbolic links are followed as if dir
// were "/".
func Open(dir string) (*Host, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open host root %s: %w", dir, err)
	}
	return &Host{dir: dir, root: root}, nil
}

// Close releases the folder that Open opened.
func (h *Host) Close() error { return h.root.Close() }

const (
	maxLinks    = 40       // as the kernel's MAXSYMLINKS
	maxTextFile = 64 << 20 // modules.alias of a distribution kernel has about 1 MB
	maxAttr     = 64 << 10 // a sysfs attribute has at most one page
	maxDirNames = 1 << 20
)

// errLinks is what a symbolic link loop gives.
var errLinks = errors.New("too many levels of symbolic links")

// resolve follows every symbolic link of name inside the root and returns the
// path below it, without a leading slash ("." for the root itself). The last
// component need not exist.
func (h *Host) resolve(name string) (string, error) {
	var done []string
	todo := splitPath(name)
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			if len(done) > 0 {
				done = done[:len(done)-1]
			}
			continue
		}
		here := path.Join(path.Join(done...), part)
		info, err := h.root.Lstat(here)
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
			return "", &fs.PathError{Op: "resolve", Path: name, Err: errLinks}
		}
		target, err := h.root.Readlink(here)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(target, "/") {
			done = done[:0]
		}
		todo = append(splitPath(target), todo...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return path.Join(done...), nil
}

func splitPath(name string) []string {
	var parts []string
	for _, p := range strings.Split(name, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts
}

// open opens a regular file, following links inside the root.
func (h *Host) open(name string) (*os.File, error) {
	real, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	// A fifo or a device node in a module tree would block or act on the host.
	info, err := h.root.Lstat(real)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return h.root.Open(real)
}

// readFile returns at most limit bytes of a file; a longer file is ErrTooLarge.
func (h *Host) readFile(name string, limit int64) ([]byte, error) {
	f, err := h.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readCapped(f, limit)
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

// attr returns a sysfs attribute without its newline, "" if it cannot be read:
// attributes come and go with kernel versions and rights.
func (h *Host) attr(name string) string {
	data, err := h.readFile(name, maxAttr)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(data), "\n")
}

// linkBase returns the last element of what a symbolic link points to, "" if
// name is no link.
func (h *Host) linkBase(name string) string {
	dir, err := h.resolve(path.Dir(name))
	if err != nil {
		return ""
	}
	target, err := h.root.Readlink(path.Join(dir, path.Base(name)))
	if err != nil {
		return ""
	}
	return path.Base(target)
}

// exists reports whether name, links followed, is there.
func (h *Host) exists(name string) bool {
	_, err := h.stat(name)
	return err == nil
}

func (h *Host) stat(name string) (fs.FileInfo, error) {
	real, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	return h.root.Lstat(real)
}

// readDir lists a folder, sorted by name.
func (h *Host) readDir(name string) ([]fs.DirEntry, error) {
	real, err := h.resolve(name)
	if err != nil {
		return nil, err
	}
	f, err := h.root.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxDirNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) == maxDirNames {
		return nil, tooLarge("folder %s has %d entries or more", name, maxDirNames)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	return entries, nil
}

// names lists a folder's entry names; none if the folder is absent.
func (h *Host) names(dir string) ([]string, error) {
	entries, err := h.readDir(dir)
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
