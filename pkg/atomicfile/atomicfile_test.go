package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// A message names the file that was asked for, not the temporary one.
func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	gone, folder := filepath.Join(dir, "no", "f.json"), filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{gone: fs.ErrNotExist, filepath.Join("/proc", "f.json"): nil, folder: nil} {
		err := atomicfile.Write(path, []byte("x"), 0o644)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), ".tmp") || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// somebody cleans up meanwhile
	f, err := atomicfile.Create(filepath.Join(dir, "big"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("%v", err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.repo")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, want := range []string{"one", "two, longer", ""} {
		if err := atomicfile.Write(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o644 {
		t.Errorf("mode %v despite the umask", st.Mode())
	}
	if d := cmp.Diff([]string{"f.repo"}, names(t, dir)); d != "" {
		t.Errorf("left behind: %s", d)
	}
}

func TestCancelAndHiddenName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.repo")
	if err := atomicfile.Write(path, []byte("old"), 0o600, atomicfile.NoSync); err != nil {
		t.Fatal(err)
	}
	f, err := atomicfile.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	base := filepath.Base(f.Name())
	if !strings.HasPrefix(base, ".") || strings.HasSuffix(base, ".repo") {
		t.Errorf("readers of *.repo would see %s", base)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("content before Commit: %q", got)
	}
	f.Cancel()
	f.Cancel()
	if err := f.Commit(); err == nil {
		t.Error("Commit after Cancel succeeded")
	}
	if got := read(t, path); got != "old" {
		t.Errorf("content after Cancel: %q", got)
	}
	if d := cmp.Diff([]string{"f.repo"}, names(t, dir)); d != "" {
		t.Errorf("left behind: %s", d)
	}
}

func TestLongNameAndErrors(t *testing.T) {
	dir := t.TempDir()
	if err := atomicfile.Write(filepath.Join(dir, strings.Repeat("n", 255)), nil, 0o600); err != nil {
		t.Errorf("longest possible name: %v", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "no", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent folder: %v", err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(sub, nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if err := os.Symlink("sub", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "link"), nil, 0o600, atomicfile.Keep); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Keep of a symbolic link: %v", err)
	}
	for _, n := range names(t, dir) {
		if strings.HasPrefix(n, ".") {
			t.Errorf("left behind: %s", n)
		}
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	// user::rw- user:4242:r-- group::r-- mask::r-- other::---, in the form of linux/posix_acl_xattr.h
	acl := []byte{2, 0, 0, 0,
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
		2, 0, 4, 0, 0x92, 0x10, 0, 0,
		4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
		16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
		32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	set := map[string][]byte{}
	for name, v := range map[string][]byte{
		"user.note":                []byte("kept"),
		"system.posix_acl_access":  acl,
		"security.selinux":         []byte("system_u:object_r:etc_t:s0\x00"),
		"security.almamigratetest": []byte("x"),
	} {
		if err := unix.Setxattr(path, name, v, 0); err != nil {
			t.Logf("skipped here: %s cannot be set: %v", name, err)
			continue
		}
		set[name] = v
	}
	wantMode := fs.FileMode(0o640) // the ACL's mask stands in the group bits
	if set["system.posix_acl_access"] == nil {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 23456
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("skipped without root: keeping another owner")
	}
	if err := atomicfile.Write(path, []byte("new"), 0o777, atomicfile.Keep); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != wantMode {
		t.Errorf("mode %v, want %v", st.Mode(), wantMode)
	}
	sys := st.Sys().(*syscall.Stat_t)
	if int(sys.Uid) != uid || int(sys.Gid) != gid {
		t.Errorf("owner %d:%d, want %d:%d", sys.Uid, sys.Gid, uid, gid)
	}
	for name, want := range set {
		buf := make([]byte, 256)
		n, err := unix.Getxattr(path, name, buf)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(want, buf[:n]); d != "" {
			t.Errorf("%s differs: %s", name, d)
		}
	}
	if got := read(t, path); got != "new" {
		t.Errorf("content %q", got)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := atomicfile.Write(fresh, nil, 0o640, atomicfile.Keep); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(fresh); st.Mode() != 0o640 {
		t.Errorf("mode of a new file %v", st.Mode())
	}
}

// TestDefaultACL: what a folder's default ACL would give a new file is not what the replaced file had.
func TestDefaultACL(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	acl := []byte{2, 0, 0, 0,
		1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
		2, 0, 7, 0, 0x92, 0x10, 0, 0,
		4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
		16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
		32, 0, 5, 0, 0xff, 0xff, 0xff, 0xff}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); err != nil {
		t.Skipf("skipped: no POSIX ACL on %s: %v", dir, err)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o600, atomicfile.Keep); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Getxattr(path, "system.posix_acl_access", make([]byte, 256)); !errors.Is(err, unix.ENODATA) {
		t.Errorf("the file has an ACL now: %v", err)
	}
	if st, _ := os.Stat(path); st.Mode() != 0o644 {
		t.Errorf("mode %v", st.Mode())
	}
}

// TestFullDisk fills a file system of 256 KiB.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting a small file system to fill needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("skipped: cannot mount a small tmpfs: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "f")
	if err := atomicfile.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := atomicfile.Write(path, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want ENOSPC with the path", err)
	}
	f, err := atomicfile.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Write: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Commit after a failed Write: %v", err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("the old file is gone: %q", got)
	}
	if d := cmp.Diff([]string{"f"}, names(t, dir)); d != "" {
		t.Errorf("left behind: %s", d)
	}
}
