package rootfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	u, err := r.Usage("/")
	if err != nil {
		t.Fatal(err)
	}
	if u.Size == 0 || u.Free > u.Size || u.Available > u.Free || u.InodesFree > u.Inodes {
		t.Errorf("%+v", u)
	}
	if _, err := r.Usage("/no/such"); err == nil {
		t.Error("no error for a path that does not exist")
	}
}

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"plain", "fixed", "log"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o000); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("fixed", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if f, err := r.Flags("/plain"); err != nil && !errors.Is(err, rootfs.ErrFlagsUnknown) || f != (rootfs.Flags{}) {
		t.Errorf("plain: %+v, %v", f, err)
	}
	if f, err := r.Flags("/out"); err != nil || f != (rootfs.Flags{}) {
		t.Errorf("a link: %+v, %v", f, err)
	}
	if _, err := r.Flags("/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := r.Flags("/pipe"); err != nil || f != (rootfs.Flags{}) {
		t.Errorf("a pipe: %+v, %v", f, err)
	}
	// Nothing but files and folders is opened where there is no statx(2).
	for _, n := range []string{pipe, filepath.Join(dir, "link")} {
		if f, err := rootfs.FlagsByIoctl(n); err != nil || f != (rootfs.Flags{}) {
			t.Errorf("%s without statx: %+v, %v", n, f, err)
		}
	}
	set := func(name string, flags int) {
		t.Helper()
		fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY, 0)
		if err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
		defer unix.Close(fd)
		if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags); err != nil {
			t.Skipf("SKIPPED: chattr is not possible here (not root, or a file system without): %v", err)
		}
	}
	set("fixed", 0x10)
	t.Cleanup(func() { set("fixed", 0) })
	set("log", 0x20)
	t.Cleanup(func() { set("log", 0) })
	if f, err := r.Flags("/fixed"); err != nil || f != (rootfs.Flags{Immutable: true}) {
		t.Errorf("chattr +i: %+v, %v", f, err)
	}
	if f, err := rootfs.FlagsByIoctl(filepath.Join(dir, "fixed")); err != nil || f != (rootfs.Flags{Immutable: true}) {
		t.Errorf("chattr +i without statx: %+v, %v", f, err)
	}
	if f, err := r.Flags("/log"); err != nil || f != (rootfs.Flags{AppendOnly: true}) {
		t.Errorf("chattr +a: %+v, %v", f, err)
	}
	if f, err := r.Flags("/link"); err != nil || f != (rootfs.Flags{}) {
		t.Errorf("a link to a fixed file: %+v, %v", f, err)
	}
}
