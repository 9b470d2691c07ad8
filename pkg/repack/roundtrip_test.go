package repack_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// kinds has one of everything that a package can hold, but no FIFO: rpm 4.18 opens one while it installs it, and waits for
// ever.
const kinds = `
Name: kinds
Version: %{ver}
Release: 1
Epoch: 3
Summary: one of everything
License: MIT
%define debug_package %{nil}
%define __os_install_post %{nil}
%define _build_id_links none
%description
x
%build
%install
cd %{buildroot}
mkdir -p etc/kinds.d usr/bin usr/share/doc/kinds usr/lib/kinds/sub dev var/log
echo "content of %{ver}" > usr/bin/prog; chmod 4755 usr/bin/prog
echo "capable" > usr/bin/capable
echo "conf %{ver}" > etc/kinds.d/a.conf
echo "same conf" > etc/kinds.d/b.conf
: > etc/kinds.d/empty
head -c 300000 /dev/urandom > usr/lib/kinds/random
echo linked > usr/lib/kinds/l1; ln usr/lib/kinds/l1 usr/lib/kinds/sub/l2; ln usr/lib/kinds/l1 usr/lib/kinds/l3
echo other > usr/lib/kinds/m1; ln usr/lib/kinds/m1 usr/lib/kinds/m2
ln -s ../lib/kinds/random usr/bin/link
ln -s /nowhere usr/lib/kinds/broken
echo doc > usr/share/doc/kinds/README
echo ghost > var/log/kinds.log
touch "usr/lib/kinds/odd name é"
%post
echo "post $1" >> /scriptlets 2>/dev/null || :
%files
%attr(4755,root,root) /usr/bin/prog
%caps(cap_net_raw=ep) /usr/bin/capable
%config(noreplace) /etc/kinds.d/a.conf
%config /etc/kinds.d/b.conf
%config /etc/kinds.d/empty
%dir %attr(2750,root,12) /etc/kinds.d
%dir /usr/lib/kinds
%attr(0640,12,34) /usr/lib/kinds/random
/usr/lib/kinds/l1
/usr/lib/kinds/l3
/usr/lib/kinds/sub
/usr/lib/kinds/m1
/usr/lib/kinds/m2
/usr/lib/kinds/broken
"/usr/lib/kinds/odd name é"
/usr/bin/link
%doc /usr/share/doc/kinds/README
%ghost /var/log/kinds.log
%dev(c,1,3) %attr(666,root,root) /dev/kindsnull
`

// build makes a package with rpmbuild.
func build(t *testing.T, spec, version, payload string) string {
	t.Helper()
	if _, err := hostcmd.Look("/", "rpmbuild"); err != nil {
		t.Skip("skipped: rpmbuild is absent")
	}
	top := t.TempDir()
	must(t, os.WriteFile(top+"/p.spec", []byte(spec), 0o600))
	_, err := hostcmd.Run(t.Context(), hostcmd.Cmd{Path: "rpmbuild", Env: []string{"HOME=" + top, "SOURCE_DATE_EPOCH=1700000000"}, Args: []string{"-bb", "--quiet",
		"--define", "_topdir " + top, "--define", "ver " + version, "--define", "_binary_payload " + payload, "--define", "_buildshell /bin/bash",
		"--define", "use_source_date_epoch_as_buildtime 1", "--define", "clamp_mtime_to_source_date_epoch 1", "--nodeps", top + "/p.spec"}})
	must(t, err)
	found, _ := filepath.Glob(top + "/RPMS/*/*.rpm")
	if len(found) != 1 {
		t.Fatalf("built %v", found)
	}
	return found[0]
}

// picture is everything that rpm puts on disk. Times of folders change with what is in them.
func picture(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	first := map[uint64]string{}
	must(t, filepath.Walk(root, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if rel == "var/lib/rpm" {
			return filepath.SkipDir
		}
		st := fi.Sys().(*syscall.Stat_t)
		s := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		if !fi.IsDir() {
			s += fmt.Sprintf(" %d %d", fi.ModTime().Unix(), st.Rdev)
			if f, ok := first[st.Ino]; ok {
				s += " is " + f
			} else {
				first[st.Ino] = rel
			}
		}
		switch {
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %x", sha256.Sum256(data))
		case fi.Mode()&os.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			s += " -> " + target
		}
		b := make([]byte, 100)
		if n, err := unix.Lgetxattr(p, "security.capability", b); err == nil {
			s += fmt.Sprintf(" caps %x", b[:n])
		}
		out[rel] = s
		return nil
	}))
	return out
}

var perInstall = regexp.MustCompile(`(?s)<rpmTag name="(Installtime|Installtid|Dbinstance|Triggerindex)">.*?</rpmTag>`)

// database is what rpm knows: every tag of every package, what it finds changed, and the package list.
func database(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names := strings.Fields(mustRPM(t, root, "-qa", "--qf", "%{NAME}\n"))
	sort.Strings(names)
	for _, n := range names {
		out["tags "+n] = perInstall.ReplaceAllString(mustRPM(t, root, "-q", "--xml", n), "")
		v, _ := rpm(t, root, "-V", "--nodeps", n)
		out["-V "+n] = v
	}
	out["list"] = strings.Join(names, " ")
	return out
}

func compare(t *testing.T, what string, root string, tree, db map[string]string) {
	t.Helper()
	if diff := cmp.Diff(tree, picture(t, root)); diff != "" {
		t.Errorf("%s: the tree differs:\n%s", what, diff)
	}
	if diff := cmp.Diff(db, database(t, root)); diff != "" {
		t.Errorf("%s: the database differs:\n%s", what, diff)
	}
}

// A package goes away by an upgrade or an erasure, and the rebuilt one brings everything back.
func TestUpgradeAndErasureAreUndone(t *testing.T) {
	for _, payload := range []string{"w9.gzdio", "w2.xzdio", "w19.zstdio", "w9.bzdio", "w6.lzdio"} {
		t.Run(payload, func(t *testing.T) {
			one, two := build(t, kinds, "1.0", payload), build(t, kinds, "2.0", payload)
			root := newRoot(t)
			must(t, os.MkdirAll(root+"/tmp", 0o755))
			mustRPM(t, root, append(slices.Clone(install), one)...)
			tree, db := picture(t, root), database(t, root)
			h := headers(t, root)["kinds-3:1.0-1.x86_64"]
			if h == nil {
				t.Fatalf("%v", db["list"])
			}
			for name, opt := range map[string]repack.Options{"host": {Compressor: repack.NewHostCompressor("/")}, "own": {}} {
				path, rep, err := rebuild(t, root, h, opt)
				if name == "own" && payload == "w9.bzdio" {
					if !errors.Is(err, repack.ErrUnsupported) {
						t.Errorf("bzip2: %v", err)
					}
					continue
				}
				must(t, err)
				if diff := cmp.Diff(tree, picture(t, root)); diff != "" {
					t.Fatalf("rebuilding changed the host:\n%s", diff)
				}
				if want := name == "host"; rep.Exact != want || !rep.SameContent || !rep.Complete() || rep.Ghosts != 1 {
					t.Errorf("%s: %+v", name, rep)
				}
				if rep.Exact {
					a, b := mustRPM(t, root, "-Kv", one), mustRPM(t, root, "-Kv", path)
					if diff := cmp.Diff(strings.ReplaceAll(a, one, ""), strings.ReplaceAll(b, path, "")); diff != "" {
						t.Error(diff)
					}
				} else if _, err := rpm(t, root, append(slices.Clone(install), "--oldpackage", "--replacepkgs", "--test", path)...); err == nil {
					t.Error("rpm takes an inexact package without options: the documentation says it does not")
				}
				if diff := cmp.Diff(mustRPM(t, root, "-qp", "--xml", "--nosignature", "--nodigest", one), mustRPM(t, root, "-qp", "--xml", "--nosignature", "--nodigest", path)); diff != "" {
					t.Errorf("-qp differs:\n%s", diff)
				}
				back := append(append(slices.Clone(install), "--oldpackage"), rep.InstallOptions()...)
				mustRPM(t, root, append(slices.Clone(install), two)...)
				mustRPM(t, root, append(back, path)...)
				compare(t, name+": upgrade and back", root, tree, db)
				mustRPM(t, root, "-e", "--force-debian", "--noscripts", "kinds")
				mustRPM(t, root, append(back, path)...)
				compare(t, name+": erasure and back", root, tree, db)
			}
		})
	}
}

func TestEditedAndMissingFiles(t *testing.T) {
	one, two := build(t, kinds, "1.0", "w2.xzdio"), build(t, kinds, "2.0", "w2.xzdio")
	root := newRoot(t)
	mustRPM(t, root, append(slices.Clone(install), one)...)
	h := headers(t, root)["kinds-3:1.0-1.x86_64"]
	must(t, os.WriteFile(root+"/etc/kinds.d/a.conf", []byte("edited, and longer than it was\n"), 0o600))
	must(t, os.WriteFile(root+"/usr/bin/prog", []byte("x"), 0o600))
	must(t, os.Remove(root+"/usr/share/doc/kinds/README"))
	must(t, os.Remove(root+"/usr/bin/link")) // a link's target is in the header
	must(t, os.Remove(root+"/usr/lib/kinds/m1"))
	must(t, os.Remove(root+"/usr/lib/kinds/l3")) // another name has the content
	must(t, os.WriteFile(root+"/usr/lib/kinds/m2", []byte("OTHER\n"), 0o600))

	_, rep, err := rebuild(t, root, h, repack.Options{})
	if !errors.Is(err, repack.ErrNotExact) {
		t.Fatalf("got %v", err)
	}
	want := []repack.File{
		{Path: "/etc/kinds.d/a.conf", State: repack.ModifiedConfig, Size: 9},
		{Path: "/usr/bin/prog", State: repack.Modified, Size: 15},
		{Path: "/usr/lib/kinds/m1", State: repack.MissingFile, Size: 6},
		{Path: "/usr/lib/kinds/m2", State: repack.Modified, Size: 6},
		{Path: "/usr/share/doc/kinds/README", State: repack.MissingFile, Size: 4},
	}
	if diff := cmp.Diff(want, rep.Files); diff != "" {
		t.Error(diff)
	}
	if rep.OnlyConfig() {
		t.Error("more than configuration is gone")
	}
	path, rep, err := rebuild(t, root, h, repack.Options{Placeholders: true})
	must(t, err)
	if rep.Exact || rep.SameContent {
		t.Errorf("%+v", rep)
	}
	mustRPM(t, root, append(slices.Clone(install), two)...)
	args := append(append(slices.Clone(install), "--oldpackage"), rep.InstallOptions()...)
	// What rpm refuses is what the documentation says.
	if _, err := rpm(t, root, append(append(slices.Clone(install), "--oldpackage", "--nodigest", "--nosignature"), path)...); err == nil {
		t.Error("rpm unpacks placeholders without --nofiledigest")
	}
	mustRPM(t, root, append(args, path)...)
	if got := mustRPM(t, root, "-q", "kinds"); got != "kinds-1.0-1.x86_64\n" {
		t.Error(got)
	}
	for p, want := range map[string]string{"/usr/bin/prog": "x" + strings.Repeat("\n", 14), "/usr/lib/kinds/l3": "linked\n", "/usr/share/doc/kinds/README": "\n\n\n\n"} {
		if b, _ := os.ReadFile(root + p); string(b) != want {
			t.Errorf("%s holds %q", p, b)
		}
	}
}

// One file of a real distribution after the other goes away and comes back: scriptlets apart, as on a host.
func TestCentOS7PackagesComeBack(t *testing.T) {
	dir := realdata.Dir(t)
	files, _ := filepath.Glob(filepath.Join(dir, "rpms", "centos7", "*.x86_64.rpm"))
	more, _ := filepath.Glob(filepath.Join(dir, "rpms", "centos7", "*.noarch.rpm"))
	files = append(files, more...)
	if len(files) < 10 {
		t.Skip("skipped: ../shared/data/rpms/centos7 is absent")
	}
	root := newRoot(t)
	installed := 0
	for _, f := range files {
		if _, err := rpm(t, root, append(slices.Clone(install), "--nosignature", f)...); err == nil {
			installed++
		} else {
			t.Logf("%s: %v", filepath.Base(f), err)
		}
	}
	tree, db := picture(t, root), database(t, root)
	args := append(slices.Clone(install), "--oldpackage", "--nodigest", "--nosignature")
	erase := []string{"-e", "--force-debian", "--nodeps", "--noscripts", "--notriggers"}
	for nevra, h := range headers(t, root) {
		path, rep, err := rebuild(t, root, h, repack.Options{})
		if err != nil {
			t.Errorf("%s: %v", nevra, err)
			continue
		}
		if !rep.Complete() {
			t.Errorf("%s: %+v", nevra, rep)
		}
		args = append(args, path)
		erase = append(erase, h.NEVRA().Name)
	}
	mustRPM(t, root, erase...)
	if left := mustRPM(t, root, "-qa"); left != "" {
		t.Fatalf("left: %s", left)
	}
	mustRPM(t, root, args...)
	compare(t, fmt.Sprintf("%d packages", installed), root, tree, db)
}

// Archives without names are what packages with files of 4 GiB and more have, and all of rpm 6.
func TestArchiveWithoutNames(t *testing.T) {
	original := filepath.Join(realdata.Dir(t), "rpms", "rpm-upstream-tests", "hlinktest-1.0-1.noarch-v3sig.rpm")
	orig, _ := openFile(t, original)
	root := newRoot(t)
	if out, err := rpm(t, root, append(slices.Clone(install), "--nosignature", original)...); err != nil {
		t.Skipf("skipped: this rpm does not install a package of rpm 6: %s", out)
	}
	tree, db := picture(t, root), database(t, root)
	h := headers(t, root)[orig.Header().NEVRA().String()]
	path, rep, err := rebuild(t, root, h, repack.Options{})
	must(t, err)
	if orig.Header().Has(rpmhdr.TagLongFileSizes) != true || !rep.SameContent {
		t.Errorf("%+v", rep)
	}
	mustRPM(t, root, "-e", "--force-debian", "hlinktest")
	mustRPM(t, root, append(append(slices.Clone(install), rep.InstallOptions()...), path)...)
	compare(t, "hlinktest", root, tree, db)
}
