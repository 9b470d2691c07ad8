package rootfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

func TestRoot(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o755))
	must(os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "usr/lib/os-release"), []byte("ID=x\n"), 0o644))
	must(os.Symlink("../usr/lib/os-release", filepath.Join(dir, "etc/relative")))
	must(os.Symlink("/usr/lib/os-release", filepath.Join(dir, "etc/absolute")))
	must(os.Symlink("../../../../../usr/lib/os-release", filepath.Join(dir, "etc/above")))
	must(os.Symlink("/usr/lib", filepath.Join(dir, "etc/dir")))
	must(os.Symlink("loop2", filepath.Join(dir, "etc/loop1")))
	must(os.Symlink("loop1", filepath.Join(dir, "etc/loop2")))
	must(os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "etc/escape")))
	must(syscall.Mkfifo(filepath.Join(dir, "etc/fifo"), 0o600))

	r, err := rootfs.Open(dir)
	must(err)
	defer r.Close()
	for _, name := range []string{"/etc/relative", "etc/absolute", "/etc/above", "/etc/dir/os-release", "/../etc/./relative"} {
		if got := r.Attr(name); got != "ID=x" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"/etc/loop1", "/etc/escape", "/etc/fifo", "/etc/none", "/usr"} {
		if data, err := r.ReadFile(name, 100); err == nil {
			t.Errorf("%s was read: %q", name, data)
		}
	}
	if _, err := r.ReadFile("/etc/relative", 3); !errors.Is(err, rootfs.ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	if got := r.LinkBase("/etc/dir"); got != "lib" {
		t.Errorf("LinkBase: %q", got)
	}
	if names, err := r.Names("/none"); err != nil || names != nil {
		t.Errorf("an absent folder: %v %v", names, err)
	}
	if names, err := r.Names("/etc/dir"); err != nil || len(names) != 1 {
		t.Errorf("a folder through a link: %v %v", names, err)
	}
}

// TestWhole: "/" itself is read without the detour, with the same results.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("text\n"), 0o644))
	must(os.Symlink("file", filepath.Join(dir, "link")))
	must(os.Symlink("none", filepath.Join(dir, "dangling")))
	must(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	r, err := rootfs.Open("/")
	must(err)
	defer r.Close()
	for _, name := range []string{dir + "/link", dir[1:] + "/file", "/" + dir + "/./link"} {
		if got := r.Attr(name); got != "text" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{dir + "/fifo", dir, dir + "/dangling", "/dev/null"} {
		if data, err := r.ReadFile(name, 100); err == nil {
			t.Errorf("%s was read: %q", name, data)
		}
	}
	if _, err := r.ReadFile(dir+"/file", 2); !errors.Is(err, rootfs.ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	if !r.Exists(dir+"/link") || r.Exists(dir+"/dangling") || r.LinkBase(dir+"/link") != "file" {
		t.Error("links are not followed")
	}
	if info, err := r.Lstat(dir + "/link"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("Lstat: %v, %v", info, err)
	}
	if names, err := r.Names(dir); err != nil || len(names) != 4 {
		t.Errorf("Names: %v, %v", names, err)
	}
	if _, err := r.ReadDir(dir + "/file"); err == nil {
		t.Error("a file was listed")
	}
}

// A device is opened where one is asked for, and only a block device.
func TestOpenDevice(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o600, 1<<8|3); err != nil {
		t.Logf("no device can be made here: %v", err)
	}
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := r.OpenDevice("image")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	for _, n := range []string{"fifo", "null", "."} {
		if f, err := r.OpenDevice(n); err == nil {
			t.Errorf("%s was opened", n)
			_ = f.Close()
		}
	}
}
