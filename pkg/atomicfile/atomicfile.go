// Package atomicfile replaces files as a whole: a reader, or the host after a power cut, sees the old content or the new,
// never a mixture or an empty file.
//
// The new content is written to a hidden file in the same folder, synced, renamed over the old name, and the folder is
// synced. The temporary name begins with a dot and ends in ".tmp", so that neither /etc/*.d readers nor globs such as
// *.repo and *.conf pick it up should the power fail in between.
//
// Two limits, told plainly: hard links to the old file keep the old content, and a symbolic link standing at the path is
// itself replaced.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Option changes how a file is replaced.
type Option uint

const (
	// Keep gives the new file the owner, group, mode and extended attributes (POSIX ACL, security.selinux, capabilities)
	// of the file it replaces; the mode given by the caller counts only where there is none yet. What cannot be kept is
	// an error before anything is replaced.
	Keep Option = 1 << iota
	// NoSync leaves out the syncs: for caches, which are checked by digest when read.
	NoSync
)

// File is a file under construction. It must end with Commit or Cancel; Cancel after Commit does nothing, so that it can
// be deferred.
type File struct {
	tmp  *os.File
	path string
	opts Option
	err  error // first failed write: Commit refuses
	done bool
}

// Create begins the replacement of path, in whose folder the temporary file is made. mode is set as given, whatever the
// umask.
func Create(path string, mode fs.FileMode, opts ...Option) (*File, error) {
	f := &File{path: path}
	for _, o := range opts {
		f.opts |= o
	}
	base := filepath.Base(path)
	if len(base) > 200 { // the temporary name must not exceed NAME_MAX, 255 bytes
		base = base[:200]
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+base+".*.tmp")
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", path, cause(err))
	}
	f.tmp = tmp
	if err := f.attributes(mode); err != nil {
		f.Cancel()
		return nil, err
	}
	return f, nil
}

// cause is an error without the name of the temporary file, which nobody asked
// for and which is gone when the message is read.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

func (f *File) attributes(mode fs.FileMode) error {
	old, err := os.Lstat(f.path)
	if f.opts&Keep == 0 || errors.Is(err, fs.ErrNotExist) {
		if err := f.tmp.Chmod(mode); err != nil {
			return fmt.Errorf("cannot set the mode of %s: %w", f.path, cause(err))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot replace %s: %w", f.path, err)
	}
	if !old.Mode().IsRegular() {
		return fmt.Errorf("cannot replace %s: it is not a regular file (%s)", f.path, old.Mode().Type())
	}
	// The order matters: chown clears set-user-id bits and capabilities.
	if st, ok := old.Sys().(*syscall.Stat_t); ok {
		var now unix.Stat_t
		if err := unix.Fstat(int(f.tmp.Fd()), &now); err != nil {
			return fmt.Errorf("cannot stat %s: %w", f.tmp.Name(), err)
		}
		if now.Uid != st.Uid || now.Gid != st.Gid {
			if err := f.tmp.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return fmt.Errorf("cannot keep owner %d:%d of %s: %w", st.Uid, st.Gid, f.path, cause(err))
			}
		}
	}
	if err := f.tmp.Chmod(old.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)); err != nil {
		return fmt.Errorf("cannot keep the mode of %s: %w", f.path, cause(err))
	}
	if err := copyXattrs(f.path, int(f.tmp.Fd())); err != nil {
		return fmt.Errorf("cannot keep the extended attributes of %s: %w", f.path, err)
	}
	return nil
}

// Name returns the path of the temporary file, for tools that must see the content before Commit.
func (f *File) Name() string { return f.tmp.Name() }

// Write appends to the new content. After an error, such as ENOSPC, Commit refuses, and the old file stays.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.tmp.Write(p)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("cannot write %s: %w", f.path, cause(err))
	}
	return n, err
}

// Cancel drops the new content and leaves the old file as it is.
func (f *File) Cancel() {
	if f.done {
		return
	}
	f.done = true
	// Nothing depends on either; a stale temporary file is harmless.
	_ = f.tmp.Close()
	_ = os.Remove(f.tmp.Name())
}

// Commit puts the new content in place. With an error, the old file is still there, except where the folder could not be
// synced: then the new one is in place but may not outlive a power cut.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("cannot commit %s: committed or cancelled before", f.path)
	}
	defer f.Cancel()
	if f.err != nil {
		return f.err
	}
	if f.opts&NoSync == 0 {
		if err := f.tmp.Sync(); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.path, cause(err))
		}
	}
	if err := f.tmp.Close(); err != nil { // NFS and quotas report a full disk only here
		return fmt.Errorf("cannot write %s: %w", f.path, cause(err))
	}
	if err := os.Rename(f.tmp.Name(), f.path); err != nil {
		return fmt.Errorf("cannot replace %s: %w", f.path, cause(err))
	}
	f.done = true
	if f.opts&NoSync != 0 {
		return nil
	}
	return SyncDir(filepath.Dir(f.path))
}

// SyncDir makes the names in a folder durable: created, renamed and removed ones.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync folder %s: %w", dir, err)
	}
	defer d.Close()
	// Some network and FUSE file systems know no fsync of folders; there is no other way to ask them.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("cannot sync folder %s: %w", dir, err)
	}
	return nil
}

// Write replaces path by data.
func Write(path string, data []byte, mode fs.FileMode, opts ...Option) error {
	f, err := Create(path, mode, opts...)
	if err != nil {
		return err
	}
	defer f.Cancel()
	if _, err := f.Write(data); err != nil {
		return f.err
	}
	return f.Commit()
}
