package capture_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/capture"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// picture describes a tree by other means than the package under test. mtimes of folders are left out.
func picture(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	inodes := map[uint64]string{}
	must(t, filepath.Walk(root, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		st := fi.Sys().(*syscall.Stat_t)
		s := fmt.Sprintf("%v %d:%d", fi.Mode(), st.Uid, st.Gid)
		switch {
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %q %d", data, fi.ModTime().UnixNano())
			if first, ok := inodes[st.Ino]; ok {
				s += " is " + first
			} else {
				inodes[st.Ino] = rel
			}
		case fi.Mode()&os.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			s += fmt.Sprintf(" -> %q %d", target, fi.ModTime().UnixNano())
		case fi.Mode()&os.ModeDevice != 0:
			s += fmt.Sprintf(" %d", st.Rdev)
		}
		buf := make([]byte, 4096)
		n, err := unix.Llistxattr(p, buf)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
		names := strings.Split(strings.Trim(string(buf[:max(n, 0)]), "\x00"), "\x00")
		sort.Strings(names)
		for _, name := range names {
			if name == "" {
				continue
			}
			v := make([]byte, 4096)
			n, err := unix.Lgetxattr(p, name, v)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %s=%x", name, v[:n])
		}
		out[rel] = s
		return nil
	}))
	return out
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: owners, capabilities and devices need root")
	}
}

// aclUserRead is a POSIX ACL as system.posix_acl_access holds it (linux/posix_acl_xattr.h): u::rw- u:1234:r-- g::r-- m::r-- o::---
var acl = []byte("\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")

// capNetRaw is security.capability (linux/capability.h, revision 2): cap_net_raw=ep
var capNetRaw = []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func write(t *testing.T, p, content string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(t, os.WriteFile(p, []byte(content), 0o600))
	must(t, os.Chmod(p, mode))
	must(t, os.Chtimes(p, time.Time{}, time.Unix(1_500_000_000, 123456789)))
}

// host makes a root with one of everything.
func host(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root+"/etc/yum.repos.d/base.repo", "[base]\n", 0o644)
	write(t, root+"/etc/yum.repos.d/extra.repo", "[extra]\n", 0o640)
	write(t, root+"/etc/empty", "", 0o4755)
	write(t, root+"/etc/linked", "two names", 0o644)
	must(t, os.Link(root+"/etc/linked", root+"/etc/linked2"))
	write(t, root+"/etc/d/sub/deep", "deep", 0o600)
	must(t, os.Chmod(root+"/etc/d/sub", 0o750|os.ModeSetgid))
	must(t, os.Symlink("../usr/lib/os-release", root+"/etc/os-release"))
	must(t, os.Symlink("/nowhere/\xff bad utf8", root+"/etc/broken"))
	write(t, root+"/etc/name\xfe\n", "odd name", 0o644)
	must(t, os.Symlink("etc", root+"/config"))
	must(t, syscall.Mkfifo(root+"/etc/fifo", 0o620))
	if os.Geteuid() == 0 {
		must(t, os.Chown(root+"/etc/yum.repos.d/base.repo", 12, 34))
		must(t, os.Lchown(root+"/etc/os-release", 56, 78))
		must(t, os.Chown(root+"/etc/d", 9, 9))
		must(t, unix.Mknod(root+"/etc/null", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
		must(t, unix.Lsetxattr(root+"/etc/d/sub/deep", "security.capability", capNetRaw, 0))
		must(t, unix.Lsetxattr(root+"/etc/yum.repos.d/base.repo", "system.posix_acl_access", acl, 0))
		must(t, unix.Lsetxattr(root+"/etc/d", "system.posix_acl_default", acl, 0))
		must(t, unix.Lsetxattr(root+"/etc/d/sub/deep", "security.selinux", []byte("system_u:object_r:etc_t:s0\x00"), 0))
		must(t, unix.Lsetxattr(root+"/etc/os-release", "security.selinux", []byte("system_u:object_r:lnk_t:s0\x00"), 0))
		must(t, unix.Lsetxattr(root+"/etc/empty", "trusted.note", []byte("\x00\x01"), 0))
	}
	return root
}

var all = []string{"/etc", "/usr/lib/os-release", "/opt/new"}

func save(t *testing.T, root string, paths ...string) *capture.Saved {
	t.Helper()
	s, err := capture.Save(filepath.Join(t.TempDir(), "set"), root, paths, capture.Options{})
	must(t, err)
	return s
}

func restore(t *testing.T, s *capture.Saved, root string) map[capture.Name]capture.Item {
	t.Helper()
	items, err := s.Restore(root)
	must(t, err)
	out := map[capture.Name]capture.Item{}
	for _, it := range items {
		out[it.Path] = it
	}
	return out
}

// ruin changes everything that can be changed about the tree of host.
func ruin(t *testing.T, root string) {
	t.Helper()
	must(t, os.RemoveAll(root+"/etc/yum.repos.d"))
	write(t, root+"/etc/empty", "no more", 0o644)
	must(t, os.Remove(root+"/etc/linked"))
	write(t, root+"/etc/linked", "replaced", 0o644)
	must(t, os.Remove(root+"/etc/os-release"))
	write(t, root+"/etc/os-release", "NAME=other\n", 0o644)
	must(t, os.Remove(root+"/etc/broken"))
	must(t, os.RemoveAll(root+"/etc/d/sub"))
	must(t, os.Symlink("/tmp", root+"/etc/d/sub"))
	must(t, os.Remove(root+"/etc/fifo"))
	must(t, os.MkdirAll(root+"/etc/fifo/now/a/dir", 0o755))
	must(t, os.Chmod(root+"/etc/name\xfe\n", 0o600))
	write(t, root+"/usr/lib/os-release", "NAME=new\n", 0o644)
	write(t, root+"/opt/new/file", "new", 0o644)
	if os.Geteuid() == 0 {
		must(t, os.Remove(root+"/etc/null"))
		must(t, os.Chown(root+"/etc/d", 1, 1))
		must(t, unix.Lremovexattr(root+"/etc/d", "system.posix_acl_default"))
	}
}

func TestRestoreIsExact(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("skipped in part: owners, capabilities, labels and devices need root")
	}
	root := host(t)
	before := picture(t, root)
	s := save(t, root, all...)
	must(t, s.Verify())
	if diff := cmp.Diff(before, picture(t, root)); diff != "" {
		t.Fatalf("saving changed the host:\n%s", diff)
	}
	ruin(t, root)
	must(t, s.RecordAfter(root))
	items := restore(t, s, root)
	// The folders that had to be made for new files were nobody's to save.
	must(t, os.Remove(root+"/usr/lib"))
	must(t, os.Remove(root+"/usr"))
	must(t, os.Remove(root+"/opt"))
	if diff := cmp.Diff(before, picture(t, root)); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
	if it := items["/usr/lib/os-release"]; it.Outcome != capture.Removed || it.Status != capture.AsWeLeftIt {
		t.Errorf("a path that was not there: %+v", it)
	}
	for p, it := range items {
		if it.Copy != "" {
			t.Errorf("%s: a copy was kept of what was ours", p)
		}
	}
	for p, it := range restore(t, s, root) {
		if it.Outcome != capture.Kept || it.Status != capture.Unchanged {
			t.Errorf("a second run acted on %s: %+v", p, it)
		}
	}
}

func TestRestoreWithoutRecordKeepsCopies(t *testing.T) {
	root := host(t)
	before := picture(t, root)
	s := save(t, root, "/etc")
	ruin(t, root)
	must(t, os.RemoveAll(root+"/usr"))
	must(t, os.RemoveAll(root+"/opt"))
	items := restore(t, s, root)
	if diff := cmp.Diff(before, picture(t, root)); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
	it := items["/etc/os-release"]
	if it.Status != capture.Unknown || it.Copy == "" {
		t.Fatalf("no copy: %+v", it)
	}
	theirs, err := capture.Open(it.Copy)
	must(t, err)
	must(t, theirs.Verify())
	other := t.TempDir()
	_, err = theirs.Restore(other)
	must(t, err)
	if data, err := os.ReadFile(other + "/etc/os-release"); err != nil || string(data) != "NAME=other\n" {
		t.Errorf("the copy holds %q, %v", data, err)
	}
}

func TestParentsComeBack(t *testing.T) {
	root := host(t)
	must(t, os.Chmod(root+"/etc/yum.repos.d", 0o711))
	before := picture(t, root)
	s := save(t, root, "/etc/yum.repos.d/base.repo", "/etc/yum.repos.d/extra.repo")
	must(t, os.RemoveAll(root+"/etc/yum.repos.d"))
	restore(t, s, root)
	if diff := cmp.Diff(before, picture(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestThreeWay(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"same", "ours", "theirs", "clash", "timed"} {
		write(t, root+"/d/"+n, n, 0o644)
	}
	s := save(t, root, "/d")
	write(t, root+"/d/ours", "changed by us", 0o644)
	write(t, root+"/d/clash", "changed by us", 0o644)
	write(t, root+"/d/new-ours", "made by us", 0o644)
	write(t, root+"/d/new-clash", "made by us", 0o644)
	must(t, os.Mkdir(root+"/d/dir", 0o755))
	must(t, os.Mkdir(root+"/d/emptydir", 0o755))
	must(t, s.RecordAfter(root))
	write(t, root+"/d/theirs", "edited", 0o644)
	write(t, root+"/d/clash", "edited", 0o644)
	write(t, root+"/d/new-theirs", "made by them", 0o644)
	write(t, root+"/d/new-clash", "edited", 0o600)
	write(t, root+"/d/dir/theirs", "made by them", 0o644)
	must(t, os.Chtimes(root+"/d/timed", time.Time{}, time.Unix(1, 0)))

	after, err := s.After()
	must(t, err)
	diffs, err := s.Compare(root, after)
	must(t, err)
	got := map[capture.Name]capture.Status{}
	for _, d := range diffs {
		got[d.Path] = d.Status
	}
	want := map[capture.Name]capture.Status{
		"/d": capture.Unchanged, "/d/same": capture.Unchanged, "/d/timed": capture.Unchanged,
		"/d/ours": capture.AsWeLeftIt, "/d/new-ours": capture.AsWeLeftIt, "/d/dir": capture.AsWeLeftIt, "/d/emptydir": capture.AsWeLeftIt,
		"/d/theirs": capture.ChangedByOthers, "/d/new-theirs": capture.ChangedByOthers, "/d/dir/theirs": capture.ChangedByOthers,
		"/d/clash": capture.ChangedSince, "/d/new-clash": capture.ChangedSince,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	items := restore(t, s, root)
	content := map[string]string{}
	must(t, filepath.Walk(root+"/d", func(p string, fi os.FileInfo, err error) error {
		if fi.Mode().IsRegular() {
			b, _ := os.ReadFile(p)
			content[strings.TrimPrefix(p, root)] = string(b)
		}
		return err
	}))
	if diff := cmp.Diff(map[string]string{"/d/same": "same", "/d/ours": "ours", "/d/theirs": "edited", "/d/clash": "clash", "/d/timed": "timed",
		"/d/new-theirs": "made by them", "/d/dir/theirs": "made by them"}, content); diff != "" {
		t.Error(diff)
	}
	if fi, _ := os.Stat(root + "/d/timed"); fi.ModTime().Unix() != 1_500_000_000 {
		t.Errorf("time: %v", fi.ModTime())
	}
	for _, p := range []capture.Name{"/d/clash", "/d/new-clash"} {
		c, err := capture.Open(items[p].Copy)
		must(t, err)
		var paths []capture.Name
		for _, e := range c.Entries() {
			paths = append(paths, e.Path)
		}
		if diff := cmp.Diff([]capture.Name{"/d/clash", "/d/new-clash"}, paths); diff != "" {
			t.Error(diff)
		}
	}
	if it := items["/d/dir"]; it.Outcome != capture.Kept {
		t.Errorf("a folder of ours with their file: %+v", it)
	}
}

func TestHardLinkThatWasSplitIsTiedAgain(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/a", "x", 0o644)
	must(t, os.Link(root+"/a", root+"/b"))
	must(t, os.Link(root+"/a", root+"/outside"))
	s := save(t, root, "/a", "/b")
	if e := s.Entries(); !e[0].LinksOutside(e) || e[0].Links != 3 || e[1].LinkTo != "/a" {
		t.Errorf("%+v", e)
	}
	must(t, os.Remove(root+"/a"))
	write(t, root+"/a", "new", 0o644)
	restore(t, s, root)
	a, _ := os.Stat(root + "/a")
	b, _ := os.Stat(root + "/b")
	if !os.SameFile(a, b) {
		t.Error("a and b are two files")
	}
}

func TestNothingOutsideTheRootIsTouched(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside+"/victim", "precious", 0o644)
	write(t, root+"/etc/d/victim", "saved", 0o644)
	before := picture(t, outside)

	s := save(t, root, "/etc/d/victim", "/etc/d/other")
	must(t, os.RemoveAll(root+"/etc/d"))
	must(t, os.Symlink(outside, root+"/etc/d"))
	if _, err := s.Restore(root); !errors.Is(err, capture.ErrInTheWay) {
		t.Errorf("a folder that became a link: %v", err)
	}
	// A link that leads out by its name is resolved below the root.
	must(t, os.Symlink(outside, root+"/out"))
	s = save(t, root, "/out/victim", "../../../etc/passwd")
	for _, e := range s.Entries() {
		if e.Kind != capture.Absent {
			t.Errorf("saved from outside: %+v", e)
		}
	}
	if diff := cmp.Diff(before, picture(t, outside)); diff != "" {
		t.Error(diff)
	}
}

func TestPathsAreResolvedOnce(t *testing.T) {
	root := host(t)
	s := save(t, root, "/config/yum.repos.d/base.repo", "etc//yum.repos.d/./base.repo", "/config/none/at/all")
	var got []capture.Name
	for _, e := range s.Entries() {
		got = append(got, e.Path)
	}
	if diff := cmp.Diff([]capture.Name{"/etc/none/at/all", "/etc/yum.repos.d/base.repo"}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"/", "", "..", "/etc/.."} {
		if _, err := capture.Save(t.TempDir()+"/x", root, []string{bad}, capture.Options{}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestDamagedSetIsRefused(t *testing.T) {
	root := host(t)
	s := save(t, root, "/etc/yum.repos.d/base.repo")
	must(t, os.WriteFile(s.Dir()+"/c/000001", []byte("[evil]\n"), 0o600))
	if err := s.Verify(); !errors.Is(err, capture.ErrCorrupt) {
		t.Errorf("Verify: %v", err)
	}
	write(t, root+"/etc/yum.repos.d/base.repo", "as it is now", 0o644)
	if _, err := s.Restore(root); !errors.Is(err, capture.ErrCorrupt) {
		t.Errorf("Restore: %v", err)
	}
	if b, _ := os.ReadFile(root + "/etc/yum.repos.d/base.repo"); string(b) != "as it is now" {
		t.Errorf("the file holds %q", b)
	}
	names, _ := os.ReadDir(root + "/etc/yum.repos.d")
	if len(names) != 2 {
		t.Errorf("left behind: %v", names)
	}
	manifest := s.Dir() + "/manifest.json"
	data, err := os.ReadFile(manifest)
	must(t, err)
	for name, bad := range map[string]string{
		"changed":   strings.Replace(string(data), "base.repo", "evil.repo", 1),
		"cut short": string(data[:len(data)/2]),
		"empty":     "",
	} {
		must(t, os.WriteFile(manifest, []byte(bad), 0o600))
		if _, err := capture.Open(s.Dir()); !errors.Is(err, capture.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSaveRefusesToReplaceASet(t *testing.T) {
	root, dir := host(t), filepath.Join(t.TempDir(), "set")
	first, err := capture.Save(dir, root, []string{"/etc"}, capture.Options{})
	must(t, err)
	ruin(t, root)
	if _, err := capture.Save(dir, root, []string{"/etc"}, capture.Options{}); !errors.Is(err, capture.ErrExists) {
		t.Errorf("got %v", err)
	}
	again, err := capture.Open(dir)
	must(t, err)
	if again.Digest() != first.Digest() {
		t.Error("the set has changed")
	}
	if _, err := capture.Save(dir+"2", root, []string{"/etc"}, capture.Options{MaxBytes: 3}); !errors.Is(err, capture.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir + "2"); err == nil {
		t.Error("something was written")
	}
}

func TestShallow(t *testing.T) {
	root := host(t)
	s, err := capture.Save(t.TempDir()+"/set", root, []string{"/etc/d"}, capture.Options{Shallow: true})
	must(t, err)
	if len(s.Entries()) != 1 {
		t.Fatalf("%+v", s.Entries())
	}
	before := picture(t, root)
	must(t, os.Chmod(root+"/etc/d", 0o700))
	restore(t, s, root)
	if diff := cmp.Diff(before, picture(t, root)); diff != "" {
		t.Error(diff)
	}
}

func TestFullDisk(t *testing.T) {
	needRoot(t)
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("skipped: no tmpfs can be mounted here: %v", err)
	}
	defer func() { must(t, unix.Unmount(small, 0)) }()

	root := t.TempDir()
	write(t, root+"/big", strings.Repeat("x", 300<<10), 0o644)
	if _, err := capture.Save(small+"/set", root, []string{"/big"}, capture.Options{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Save: %v", err)
	}
	if names, _ := os.ReadDir(small); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}

	must(t, os.Mkdir(small+"/etc", 0o755))
	write(t, small+"/etc/f", strings.Repeat("a", 100<<10), 0o644)
	s := save(t, small, "/etc/f")
	write(t, small+"/etc/f", "short", 0o644)
	must(t, s.RecordAfter(small))
	write(t, small+"/etc/fill", strings.Repeat("b", 200<<10), 0o644)
	if _, err := s.Restore(small); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Restore: %v", err)
	}
	if b, _ := os.ReadFile(small + "/etc/f"); string(b) != "short" {
		t.Errorf("half a file: %d bytes", len(b))
	}
	must(t, os.Remove(small+"/etc/fill"))
	restore(t, s, small)
	if b, _ := os.ReadFile(small + "/etc/f"); len(b) != 100<<10 {
		t.Errorf("%d bytes", len(b))
	}
}

func TestImmutableFile(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	write(t, root+"/f", "saved", 0o644)
	flag := func(on bool) error {
		f, err := os.Open(root + "/f")
		must(t, err)
		defer f.Close()
		v := 0
		if on {
			v = 0x10
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, v)
	}
	s := save(t, root, "/f")
	write(t, root+"/f", "changed", 0o644)
	if err := flag(true); err != nil {
		t.Skipf("skipped: the file system here knows no immutable files: %v", err)
	}
	defer func() { _ = flag(false) }()
	state, err := capture.Describe(root, []string{"/f"}, capture.Options{})
	must(t, err)
	if !state.Entries[0].Immutable() {
		t.Error("not noticed")
	}
	if _, err := s.Restore(root); !errors.Is(err, capture.ErrImmutable) {
		t.Errorf("got %v", err)
	}
	must(t, flag(false))
	restore(t, s, root)
	// One that was immutable when it was saved is so again.
	must(t, flag(true))
	s = save(t, root, "/f")
	must(t, flag(false))
	write(t, root+"/f", "changed", 0o644)
	restore(t, s, root)
	if state, err = capture.Describe(root, []string{"/f"}, capture.Options{}); err != nil || !state.Entries[0].Immutable() {
		t.Errorf("the flag is gone: %+v, %v", state, err)
	}
}

func TestNamesSurviveJSON(t *testing.T) {
	for _, n := range []capture.Name{"/plain", "/\xff\n", "base64:x", "/ü", ""} {
		b, err := json.Marshal(n)
		must(t, err)
		var got capture.Name
		must(t, json.Unmarshal(b, &got))
		if got != n {
			t.Errorf("%q became %q by %s", n, got, b)
		}
	}
}

// After an interruption a full disk must not need room for copies of what is at
// hand elsewhere; what nobody else has is copied as ever.
func TestRestoreKnowing(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"packaged", "edited"} {
		write(t, root+"/d/"+n, "before", 0o644)
	}
	s := save(t, root, "/d")
	write(t, root+"/d/packaged", "of a package", 0o644)
	write(t, root+"/d/new", "of a package", 0o644)
	write(t, root+"/d/edited", "mine", 0o644)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("of a package")))
	known := func(d capture.Difference) bool { return d.Current.SHA256 == sum }
	items, err := s.RestoreKnowing(root, known)
	must(t, err)
	// Of what others changed after the change was done, likewise.
	write(t, root+"/d/packaged", "ours", 0o644)
	write(t, root+"/d/edited", "ours", 0o644)
	must(t, s.RecordAfter(root))
	write(t, root+"/d/packaged", "of a package", 0o644)
	write(t, root+"/d/edited", "mine", 0o644)
	again, err := s.RestoreKnowing(root, known)
	must(t, err)
	for _, it := range append(items, again...) {
		if want := it.Path == "/d/edited"; (it.Copy != "") != want {
			t.Errorf("%s: copy %q", it.Path, it.Copy)
		}
	}
	for _, n := range []string{"packaged", "edited"} {
		if b, _ := os.ReadFile(root + "/d/" + n); string(b) != "before" {
			t.Errorf("%s: %q", n, b)
		}
	}
	if _, err := os.Lstat(root + "/d/new"); !os.IsNotExist(err) {
		t.Errorf("new: %v", err)
	}
}

// What the change left as it was goes back, too, where what others have made of
// it is known: another update of the same package.
func TestRestoreKnowingOfOthers(t *testing.T) {
	root := t.TempDir()
	for _, n := range []string{"updated", "dropped", "edited", "removed"} {
		write(t, root+"/d/"+n, "before", 0o644)
	}
	s := save(t, root, "/d")
	must(t, s.RecordAfter(root))
	for n, content := range map[string]string{"updated": "newer", "new": "newer", "edited": "mine"} {
		write(t, root+"/d/"+n, content, 0o644)
	}
	must(t, os.Remove(root+"/d/dropped"))
	must(t, os.Remove(root+"/d/removed"))
	items, err := s.RestoreKnowing(root, func(d capture.Difference) bool {
		return d.Current.SHA256 == fmt.Sprintf("%x", sha256.Sum256([]byte("newer"))) || d.Path == "/d/dropped"
	})
	must(t, err)
	for _, it := range items {
		if it.Copy != "" {
			t.Errorf("%s: copy %q", it.Path, it.Copy)
		}
	}
	for n, want := range map[string]string{"updated": "before", "dropped": "before", "edited": "mine", "removed": "", "new": ""} {
		if b, _ := os.ReadFile(root + "/d/" + n); string(b) != want {
			t.Errorf("%s: %q", n, b)
		}
	}
}
