package inventory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// image is a root made for a test, with what of this machine's libraries its
// programs run with.
type image struct {
	t    *testing.T
	root string
	inv  *inventory.Inventory
}

func newImage(t *testing.T) *image {
	m := &image{t: t, root: t.TempDir(), inv: &inventory.Inventory{Host: inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64"}}}
	m.write("etc/ld.so.conf", "include ld.so.conf.d/*.conf\n")
	return m
}

func (m *image) path(name string) string { return filepath.Join(m.root, name) }

func (m *image) write(name, content string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(content), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// owns makes a package of files, signed by an owner of the catalogue.
func (m *image) owns(owner, name string, files ...string) {
	p := inventory.Package{Name: name, EVR: rpmver.EVR{Version: "1", Release: "1"}, Arch: "x86_64", InstallTime: 1600000000}
	p.Signature = inventory.Signature{Status: "good", Owner: owner}
	if owner == "" {
		p.Signature.Status = "missing"
	}
	for i, f := range files {
		p.Files.Dirs = append(p.Files.Dirs, filepath.Dir(f)+"/")
		p.Files.DirIndex = append(p.Files.DirIndex, uint32(i))
		p.Files.Base = append(p.Files.Base, filepath.Base(f))
	}
	m.inv.Packages = append(m.inv.Packages, p)
}

func (m *image) read(folders ...string) *inventory.Applications {
	m.t.Helper()
	h, err := host.New(m.root)
	if err != nil {
		m.t.Fatal(err)
	}
	defer h.Close()
	cat, err := catalog.Load(m.root)
	if err != nil {
		m.t.Fatal(err)
	}
	a, err := inventory.ReadApplications(context.Background(), h, cat, m.inv, inventory.ApplicationOptions{Folders: folders})
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// compiler returns gcc, or skips.
func (m *image) gcc(dir string, args ...string) {
	m.t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		m.t.Skip("skipped: no gcc on this machine: the programs of this test are built")
	}
	cmd := exec.Command("gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("gcc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// build makes a library of the distribution, one of a third party, one beside
// the application, and programs that use them.
func (m *image) build() {
	src := m.t.TempDir()
	for name, text := range map[string]string{
		"dist.c":   "int dist_fn(void) { return 1; } char dist_table[24] = \"x\"; int dist_unused(void) { return 2; }",
		"dist.map": "DIST_1 { global: dist_fn; dist_table; };\nDIST_2 { global: dist_unused; } DIST_1;\n",
		"own.c":    "int dist_fn(void); int own_fn(void) { return dist_fn(); }",
		"app.c":    "int dist_fn(void), own_fn(void); extern char dist_table[24]; int main(void) { return dist_fn() + own_fn() + dist_table[1]; }",
		"plug.c":   "int dist_fn(void), host_fn(void); int plug(void) { return dist_fn() + host_fn(); }",
		"none.c":   "int main(void) { return 0; }",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, d := range []string{"usr/lib64", "opt/app/bin", "opt/app/lib", "opt/vendor/lib", "data/app", "usr/local/bin"} {
		if err := os.MkdirAll(m.path(d), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	lib := func(args ...string) { m.gcc(src, append([]string{"-shared", "-fPIC", "-nostdlib"}, args...)...) }
	lib("-Wl,-soname,libdist.so.1", "-Wl,--version-script=dist.map", "-o", m.path("usr/lib64/libdist.so.1"), "dist.c")
	if err := os.Symlink("libdist.so.1", m.path("usr/lib64/libdist.so")); err != nil {
		m.t.Fatal(err)
	}
	use := []string{"-L" + m.path("usr/lib64"), "-L" + m.path("opt/app/lib")}
	lib(append([]string{"-Wl,-soname,libown.so", "-o", m.path("opt/app/lib/libown.so"), "own.c"}, append(use, "-ldist")...)...)
	prog := func(out, source string, args ...string) {
		m.gcc(src, append([]string{"-nostdlib", "-fno-pie", "-no-pie", "-Wl,-e,main", "-Wl,--dynamic-linker=/usr/lib64/ld.so", "-o", m.path(out), source}, append(use, args...)...)...)
	}
	prog("opt/app/bin/app", "app.c", "-Wl,-rpath,$ORIGIN/../lib", "-Wl,--enable-new-dtags", "-lown", "-ldist")
	prog("data/app/elsewhere", "app.c", "-Wl,-rpath,/opt/app/lib", "-lown", "-ldist")
	m.gcc(src, "-static", "-nostdlib", "-Wl,-e,main", "-o", m.path("usr/local/bin/static"), "none.c")
	lib(append([]string{"-Wl,--allow-shlib-undefined", "-o", m.path("opt/vendor/lib/plug.so"), "plug.c"}, append(use, "-ldist")...)...)
	m.write("usr/lib64/ld.so", strings.Repeat("the dynamic linker\n", 10))
	m.owns("centos", "dist", "/usr/lib64/libdist.so.1", "/usr/lib64/ld.so")
	m.owns("epel", "vendor", "/opt/vendor/lib/plug.so")
}

func paths(a *inventory.Applications) []string {
	out := []string{}
	for i := range a.Files {
		out = append(out, a.Files[i].Path)
	}
	return out
}

func application(t *testing.T, a *inventory.Applications, name string) *inventory.Application {
	t.Helper()
	for i := range a.Files {
		if a.Files[i].Path == name {
			return &a.Files[i]
		}
	}
	t.Fatalf("%s is not among %q", name, paths(a))
	return nil
}

// symbols are a file's imports as text.
func symbols(a *inventory.Applications, f *inventory.Application) []string {
	var out []string
	for _, imp := range f.Imports {
		l := &a.Libraries[imp.Library]
		for _, n := range imp.Symbols {
			s := l.Symbols[n]
			out = append(out, fmt.Sprintf("%s of %s, %s, %d", s, l.Soname, s.Type, s.Copied))
		}
	}
	return out
}

func TestApplications(t *testing.T) {
	m := newImage(t)
	m.build()
	m.write("etc/systemd/system/elsewhere.service", "[Service]\nExecStartPre=-/bin/sh -c true\nExecStart=!/data/app/elsewhere --flag\n")
	a := m.read()
	if d := cmp.Diff([]string{"/data/app/elsewhere", "/opt/app/bin/app", "/opt/app/lib/libown.so", "/opt/vendor/lib/plug.so"}, paths(a)); d != "" {
		t.Fatalf("files (-want +got):\n%s\n%+v", d, a.Skipped)
	}
	app := application(t, a, "/opt/app/bin/app")
	want := []inventory.LibraryNeed{
		{Soname: "libown.so", Path: "/opt/app/lib/libown.so"},
		{Soname: "libdist.so.1", Versions: []string{"DIST_1"}, Path: "/usr/lib64/libdist.so.1", Package: "dist-1-1.x86_64"},
	}
	if d := cmp.Diff(want, app.Needs); d != "" {
		t.Errorf("needs (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"dist_fn@DIST_1 of libdist.so.1, func, 0", "dist_table@DIST_1 of libdist.so.1, object, 24"}, symbols(a, app)); d != "" {
		t.Errorf("imports (-want +got):\n%s", d)
	}
	if !app.Program || app.Package != "" || app.NoInterp != "" || app.Since < time.Now().Unix()-3600 {
		t.Errorf("%+v", app)
	}
	plug := application(t, a, "/opt/vendor/lib/plug.so")
	if plug.Program || plug.Package != "vendor-1-1.x86_64" || plug.Since != 1600000000 || plug.Unbound != 1 {
		t.Errorf("%+v", plug)
	}
	if e := application(t, a, "/data/app/elsewhere"); !slices.Equal(e.Why, []string{"unit elsewhere.service"}) || e.Needs[0].Path != "/opt/app/lib/libown.so" {
		t.Errorf("%+v", e)
	}
	if a.Static != 1 || a.Foreign != 0 || a.CutShort != "" {
		t.Errorf("%d static, %d foreign, %q", a.Static, a.Foreign, a.CutShort)
	}
	// Twice the same, and the same after a way through JSON.
	if d := cmp.Diff(a, m.read()); d != "" {
		t.Errorf("the second time (-first +second):\n%s", d)
	}
	m.inv.Applications = a
	m.inv.Kind, m.inv.SchemaVersion, m.inv.Taken = inventory.Kind, inventory.SchemaVersion, time.Now().UTC()
	var b bytes.Buffer
	if err := m.inv.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	back, err := inventory.Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, back.Applications); d != "" {
		t.Errorf("through JSON (-want +got):\n%s", d)
	}
	for _, bad := range []string{`"library":99`, `"symbols":[77]`} {
		key, _, _ := strings.Cut(bad, ":")
		text := b.String()
		i := strings.Index(text, `"imports":`)
		j := strings.Index(text[i:], key+":") + i
		end := j + strings.IndexAny(text[j+len(key)+2:], ",}]") + len(key) + 2
		if strings.HasSuffix(bad, "]") {
			end = j + strings.IndexByte(text[j:], ']') + 1
		}
		if _, err := inventory.Read(strings.NewReader(text[:j] + bad + text[end:])); err == nil || !strings.Contains(err.Error(), "imports") {
			t.Errorf("%s is read: %v", bad, err)
		}
	}
}

// TestApplicationsLibraryPath takes a service's LD_LIBRARY_PATH from wherever a
// unit may have it.
func TestApplicationsLibraryPath(t *testing.T) {
	const before = "[Service]\nExecStart=/opt/other/bin/app\n"
	for name, files := range map[string]map[string]string{
		"in the unit":        {"etc/systemd/system/app.service": before + "Environment=A=b 'LD_LIBRARY_PATH=:relative:/data/lib'\n"},
		"in a drop-in":       {"usr/lib/systemd/system/app.service": before + "Environment=LD_LIBRARY_PATH=/nowhere\n", "etc/systemd/system/app.service.d/x.conf": "[Service]\nEnvironment=\"LD_LIBRARY_PATH=/data/lib\"\n"},
		"in a file":          {"etc/systemd/system/app.service": "[Service]\nEnvironment=LD_LIBRARY_PATH=/nowhere\nEnvironmentFile=-/etc/sysconfig/app\nExecStart=/opt/other/bin/app\n", "etc/sysconfig/app": "# x\nLD_LIBRARY_PATH=\"/data/lib\"\n"},
		"of env":             {"etc/systemd/system/app.service": "[Service]\nExecStart=/usr/bin/env X=y LD_LIBRARY_PATH=/data/lib /opt/other/bin/app\n"},
		"relative to itself": {"etc/systemd/system/app.service": before + "Environment=LD_LIBRARY_PATH=$ORIGIN/../../../data/lib\n"},
		"not of a shadowed unit": {"etc/systemd/system/app.service": before + "Environment=LD_LIBRARY_PATH=/data/lib\n",
			"usr/lib/systemd/system/app.service": before + "Environment=LD_LIBRARY_PATH=/nowhere\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newImage(t)
			m.build()
			for _, d := range []string{"opt/other/bin", "data/lib"} {
				if err := os.MkdirAll(m.path(d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			src := t.TempDir()
			if err := os.WriteFile(filepath.Join(src, "app.c"), []byte("int dist_fn(void), own_fn(void); int main(void) { return dist_fn() + own_fn(); }"), 0o644); err != nil {
				t.Fatal(err)
			}
			m.gcc(src, "-nostdlib", "-fno-pie", "-no-pie", "-Wl,-e,main", "-Wl,--dynamic-linker=/usr/lib64/ld.so", "-o", m.path("opt/other/bin/app"), "app.c",
				"-L"+m.path("usr/lib64"), "-L"+m.path("opt/app/lib"), "-lown", "-ldist")
			// One that stands in the way where LD_LIBRARY_PATH does not come first.
			own, err := os.ReadFile(m.path("opt/app/lib/libown.so"))
			if err != nil {
				t.Fatal(err)
			}
			m.write("data/lib/libown.so", string(own))
			m.write("usr/lib64/libown.so", string(own))
			for f, text := range files {
				m.write(f, text)
			}
			app := application(t, m.read(), "/opt/other/bin/app")
			if n := app.Needs[0]; n.Soname != "libown.so" || n.Path != "/data/lib/libown.so" || n.Beside {
				t.Errorf("needs %+v", app.Needs)
			}
			if len(app.LibraryPath) != 1 || len(app.Why) != 1 {
				t.Errorf("%+v", app)
			}
			if n := app.Needs[1]; n.Path != "/usr/lib64/libdist.so.1" {
				t.Errorf("needs %+v", app.Needs)
			}
		})
	}
}

// TestApplicationsOwnLinker is a program with the dynamic linker of another
// system: the host's rules are not its.
func TestApplicationsOwnLinker(t *testing.T) {
	m := newImage(t)
	m.build()
	src := t.TempDir()
	for name, text := range map[string]string{
		"c.c": "int dist_fn(void) { return 1; } int other_fn(void) { return 1; }", "app.c": "int dist_fn(void), other_fn(void); int main(void) { return dist_fn() + other_fn(); }",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(m.path("opt/musl/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.gcc(src, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libc.musl-x86_64.so.1", "-o", "libc.so", "c.c")
	m.gcc(src, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libbeside.so.1", "-o", m.path("opt/musl/lib/libbeside.so.1"), "c.c")
	m.write("opt/musl/lib/ld-musl-x86_64.so.1", strings.Repeat("musl\n", 20))
	link := func(out string, args ...string) {
		m.gcc(src, append([]string{"-nostdlib", "-fno-pie", "-no-pie", "-Wl,-e,main", "-o", m.path(out), "app.c", "-Wl,--no-as-needed", "-L.", "-lc", "-L" + m.path("usr/lib64"), "-ldist", m.path("opt/musl/lib/libbeside.so.1")}, args...)...)
	}
	link("opt/musl/app", "-Wl,--dynamic-linker=/opt/musl/lib/ld-musl-x86_64.so.1")
	link("opt/host", "-Wl,--dynamic-linker=/usr/lib64/ld.so")
	a := m.read()
	own, of := application(t, a, "/opt/musl/app"), application(t, a, "/opt/host")
	if own.OwnLinker != "/opt/musl/lib/ld-musl-x86_64.so.1" || of.OwnLinker != "" {
		t.Errorf("%+v, %+v", own, of)
	}
	found := func(f *inventory.Application) []string {
		var out []string
		for _, n := range f.Needs {
			out = append(out, n.Soname+" "+n.Path)
		}
		return out
	}
	if d := cmp.Diff([]string{"libc.musl-x86_64.so.1 ", "libdist.so.1 ", "libbeside.so.1 /opt/musl/lib/libbeside.so.1"}, found(own)); d != "" {
		t.Errorf("with its own (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"libc.musl-x86_64.so.1 ", "libdist.so.1 /usr/lib64/libdist.so.1", "libbeside.so.1 "}, found(of)); d != "" {
		t.Errorf("with the host's (-want +got):\n%s", d)
	}
}

// TestApplicationsModules looks into module folders and at preloaded libraries,
// and not into systems of their own.
func TestApplicationsModules(t *testing.T) {
	m := newImage(t)
	m.build()
	plug, err := os.ReadFile(m.path("opt/vendor/lib/plug.so"))
	if err != nil {
		t.Fatal(err)
	}
	app, err := os.ReadFile(m.path("opt/app/bin/app"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"usr/lib64/php/modules/packaged.so", "usr/lib64/php/modules/pecl.so", "usr/lib64/python3.6/site-packages/x/_x.so", "usr/lib64/libpre.so", "usr/lib64/libother.so"} {
		m.write(f, string(plug))
	}
	m.owns("centos", "php", "/usr/lib64/php/modules/packaged.so")
	m.write("etc/ld.so.preload", "# comes with an agent\n/usr/$LIB/libpre.so:libelsewhere.so\n")
	m.write("srv/chroots/debian/etc/os-release", "ID=debian\n")
	m.write("srv/chroots/debian/usr/bin/app", string(app))
	m.write("srv/chroots/app", string(app))
	a := m.read()
	want := []string{"/opt/app/bin/app", "/opt/app/lib/libown.so", "/opt/vendor/lib/plug.so", "/srv/chroots/app", "/usr/lib64/libpre.so", "/usr/lib64/php/modules/pecl.so", "/usr/lib64/python3.6/site-packages/x/_x.so"}
	if d := cmp.Diff(want, paths(a)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if f := application(t, a, "/usr/lib64/libpre.so"); !slices.Equal(f.Why, []string{"/etc/ld.so.preload"}) {
		t.Errorf("%+v", f)
	}
	if text := fmt.Sprintf("%q", a.Skipped); !strings.Contains(text, "/srv/chroots/debian") || !strings.Contains(text, "a system of its own") {
		t.Errorf("the chroot is not told: %s", text)
	}
	if d := cmp.Diff([]string{"/opt", "/usr/local", "/srv"}, a.Folders); d != "" {
		t.Error(d)
	}
}

// TestProcessLibraryPath reads what a process was started with.
func TestProcessLibraryPath(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	cmd.Env = []string{"A=b", "LD_LIBRARY_PATH=/data/lib::/other", "Z=y"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// A process that has just called exec shows no environment yet.
	environ := fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if data, err := os.ReadFile(environ); err != nil || len(data) > 0 {
			break
		}
	}
	if got := inventory.ProcessLibraryPath(fmt.Sprint(cmd.Process.Pid)); !slices.Equal(got, []string{"/data/lib", "/other"}) {
		t.Errorf("%q", got)
	}
	if got := inventory.ProcessLibraryPath("0"); got != nil {
		t.Errorf("of none: %q", got)
	}
}

// TestApplicationsOldLink is a program that was linked when the library had no
// versions yet, and less data.
func TestApplicationsOldLink(t *testing.T) {
	m := newImage(t)
	m.build()
	src := t.TempDir()
	for name, text := range map[string]string{
		"old.c": "int dist_fn(void) { return 1; } char dist_table[16] = \"x\";",
		"app.c": "int dist_fn(void); extern char dist_table[16]; int main(void) { return dist_fn() + dist_table[1]; }",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.gcc(src, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libdist.so.1", "-o", "libdist.so", "old.c")
	m.gcc(src, "-nostdlib", "-fno-pie", "-no-pie", "-Wl,-e,main", "-Wl,--dynamic-linker=/usr/lib64/ld.so", "-o", m.path("opt/app/bin/old"), "app.c", "-L.", "-ldist")
	a := m.read()
	want := map[string]inventory.UsedSymbol{
		"dist_fn": {Name: "dist_fn", Version: "DIST_1", Type: "func", AnyVersion: true}, "dist_table": {Name: "dist_table", Version: "DIST_1", Type: "object", Copied: 16, Today: 24, AnyVersion: true},
	}
	got := map[string]inventory.UsedSymbol{}
	for _, imp := range application(t, a, "/opt/app/bin/old").Imports {
		for _, n := range imp.Symbols {
			s := a.Libraries[imp.Library].Symbols[n]
			got[s.Name] = s
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("imports (-want +got):\n%s", d)
	}
}

// TestApplicationsLacking is a program whose library has changed since.
func TestApplicationsLacking(t *testing.T) {
	m := newImage(t)
	m.build()
	if err := os.Rename(m.path("opt/app/lib"), m.path("opt/app/other")); err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "x.c"), []byte("int dist_unused(void) { return 1; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "x.map"), []byte("DIST_2 { global: dist_unused; };"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.gcc(src, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libdist.so.1", "-Wl,--version-script=x.map", "-o", m.path("usr/lib64/libdist.so.1"), "x.c")
	app := application(t, m.read(), "/opt/app/bin/app")
	want := []inventory.LibraryNeed{
		{Soname: "libown.so", Path: "/opt/app/other/libown.so", Beside: true},
		{Soname: "libdist.so.1", Versions: []string{"DIST_1"}, Lacks: []string{"DIST_1"}, Path: "/usr/lib64/libdist.so.1", Package: "dist-1-1.x86_64"},
	}
	if d := cmp.Diff(want, app.Needs); d != "" {
		t.Errorf("needs (-want +got):\n%s", d)
	}
}

// TestApplicationsHostileTree puts everything in the way of a walk.
func TestApplicationsHostileTree(t *testing.T) {
	m := newImage(t)
	m.build()
	if err := os.MkdirAll(m.path("srv/odd"), 0o755); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink("loop", m.path("srv/odd/loop")))
	must(os.Symlink(".", m.path("srv/odd/here")))
	must(os.Symlink("../../data", m.path("srv/odd/data")))
	must(os.Symlink("/", m.path("srv/odd/root")))
	must(unix.Mkfifo(m.path("srv/odd/fifo"), 0o600))
	l, err := net.Listen("unix", m.path("srv/odd/socket"))
	must(err)
	defer l.Close()
	m.write("srv/odd/cut", "\x7fELF\x02\x01\x01")
	good, err := os.ReadFile(m.path("opt/app/bin/app"))
	must(err)
	m.write("srv/odd/half", string(good[:len(good)/2]))
	m.write("srv/odd/big", string(good[:200]))
	must(os.Truncate(m.path("srv/odd/big"), 5<<30)) // sparse
	m.write("srv/odd/-rf\nnewline\xff", string(good))
	deep := "srv/deep"
	for range 260 {
		deep += "/d"
	}
	must(os.MkdirAll(m.path(deep), 0o755))
	m.write("etc/systemd/system/odd.service", "[Service]\nExecStart=/srv/odd/fifo\nExecStart=/srv/odd/loop\n"+strings.Repeat("ExecStart=/nowhere\n", 100))
	done := make(chan *inventory.Applications, 1)
	go func() { done <- m.read() }()
	var a *inventory.Applications
	select {
	case a = <-done:
	case <-time.After(time.Minute):
		t.Fatal("the walk hangs")
	}
	text := fmt.Sprintf("%q", a.Skipped)
	for _, want := range []string{"fifo", "socket", "a pipe, socket or device", "half", "corrupt ELF file", "folders deep", "srv/odd/data -> /data", "too many levels"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not told: %s", want, text)
		}
	}
	if !slices.ContainsFunc(paths(a), func(p string) bool { return strings.HasPrefix(p, "/srv/odd/-rf") }) {
		t.Errorf("the file with the odd name is missing: %q", paths(a))
	}
	if _, err := json.Marshal(a); err != nil {
		t.Error(err)
	}
}

// TestApplicationsManyLinks tells of links that there are too many of, and
// follows a file with many links once.
func TestApplicationsManyLinks(t *testing.T) {
	m := newImage(t)
	m.write("data/same", "no program, but long enough to be looked at as one of this size")
	link := func(n, number int, target func(int) string) {
		t.Helper()
		for i := range n {
			if err := os.Symlink(target(i), m.path(fmt.Sprintf("srv/l%d-%d", number, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(m.path("srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(20_500, 1, func(int) string { return "/data/same" })
	if a := m.read(); len(a.Skipped) != 0 || a.Looked == 0 || a.Looked > 10 {
		t.Errorf("one file with many links: looked at %d, skipped %q", a.Looked, a.Skipped)
	}
	for i := range 20_100 {
		m.write(fmt.Sprintf("data/f%d", i), "")
	}
	link(20_100, 2, func(i int) string { return fmt.Sprintf("/data/f%d", i) })
	if text := fmt.Sprintf("%q", m.read().Skipped); !strings.Contains(text, "more than 20000 files") {
		t.Errorf("what was left out is not told: %s", text)
	}
}

// TestApplicationsMounts does not enter made-up and foreign file systems.
func TestApplicationsMounts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: mounting needs root")
	}
	m := newImage(t)
	m.build()
	for _, d := range []string{"srv/proc", "srv/again"} {
		if err := os.MkdirAll(m.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("proc", m.path("srv/proc"), "proc", 0, ""); err != nil {
		t.Skipf("skipped: cannot mount: %v", err)
	}
	defer unix.Unmount(m.path("srv/proc"), unix.MNT_DETACH)
	if err := unix.Mount(m.path("opt"), m.path("srv/again"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(m.path("srv/again"), unix.MNT_DETACH)
	a := m.read()
	if text := fmt.Sprintf("%q", a.Skipped); !strings.Contains(text, "/srv/proc") || !strings.Contains(text, "proc") {
		t.Errorf("the mount is not told: %s", text)
	}
	if d := cmp.Diff([]string{"/opt/app/bin/app", "/opt/app/lib/libown.so", "/opt/vendor/lib/plug.so"}, paths(a)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

// TestApplicationsRuntimes finds native modules of interpreters.
func TestApplicationsRuntimes(t *testing.T) {
	m := newImage(t)
	m.build()
	src := t.TempDir()
	for name, text := range map[string]string{
		"python.c": "void *PyModule_Create2(void *, int); int dist_fn(void); void *PyInit_x(void) { dist_fn(); return PyModule_Create2(0, 3); }",
		"ruby.c":   "void rb_define_method(void); int dist_fn(void); void Init_x(void) { dist_fn(); rb_define_method(); }",
		"napi.c":   "int dist_fn(void), napi_define_class(void); void napi_register_module_v1(void) { dist_fn(); napi_define_class(); }",
		"node.c":   "int dist_fn(void); void node_register_module_v83(void) { dist_fn(); }",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for out, source := range map[string]string{
		"usr/local/lib64/python3.6/site-packages/x/_x.cpython-36m-x86_64-linux-gnu.so": "python.c",
		"usr/local/lib64/python3.6/site-packages/y.so":                                 "python.c",
		"opt/bundle/_z.cpython-311-x86_64-linux-gnu.so":                                "python.c",
		"usr/local/lib64/gems/ruby/extensions/x86_64-linux/2.5.0/x-1/x.so":             "ruby.c",
		"srv/app/node_modules/x/build/Release/x.node":                                  "node.c",
		"srv/app/node_modules/y/build/Release/y.node":                                  "napi.c",
	} {
		if err := os.MkdirAll(filepath.Dir(m.path(out)), 0o755); err != nil {
			t.Fatal(err)
		}
		m.gcc(src, "-shared", "-fPIC", "-nostdlib", "-Wl,--allow-shlib-undefined", "-o", m.path(out), source, "-L"+m.path("usr/lib64"), "-ldist")
	}
	m.owns("centos", "python36", "/usr/bin/python3.6")
	p := &m.inv.Packages[len(m.inv.Packages)-1]
	p.ModuleLabel = "python36:3.6:8010020190614123456:abcdef"
	p.Provides = []rpmver.Dep{{Name: "python(abi)", Flags: rpmver.Equal, EVR: rpmver.EVR{Version: "3.6"}}}
	a := m.read()
	want := []inventory.Runtime{
		{Kind: "node", Version: "83", Dep: "nodejs(abi) = 83", Modules: 1, Examples: []string{"/srv/app/node_modules/x/build/Release/x.node"}},
		{Kind: "python", Version: "3.6", Dep: "python(abi) = 3.6", Package: "python36-1-1.x86_64", Stream: "python36:3.6", Modules: 2, Examples: []string{
			"/usr/local/lib64/python3.6/site-packages/x/_x.cpython-36m-x86_64-linux-gnu.so", "/usr/local/lib64/python3.6/site-packages/y.so"}},
		{Kind: "ruby", Version: "2.5", Modules: 1, Examples: []string{"/usr/local/lib64/gems/ruby/extensions/x86_64-linux/2.5.0/x-1/x.so"}},
	}
	if d := cmp.Diff(want, a.Runtimes); d != "" {
		t.Errorf("runtimes (-want +got):\n%s", d)
	}
}
