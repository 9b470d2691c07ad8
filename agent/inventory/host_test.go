package inventory_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// install makes packages with rpmpack and puts them into a database with the
// machine's rpm, files not included.
func install(t *testing.T, root string, metas []rpmpack.RPMMetaData, files map[string][]string) {
	t.Helper()
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		t.Skip("SKIPPED: rpm is not installed, and makes the database of this test")
	}
	dir := t.TempDir()
	args := []string{"--root", root, "--dbpath", "/var/lib/rpm", "--justdb", "--nodeps", "--noscripts", "--nosignature", "--ignorearch", "--ignoreos", "-i"}
	if err := exec.Command(rpm, "--force-debian", "--version").Run(); err == nil {
		args = append([]string{"--force-debian"}, args...)
	}
	for _, m := range metas {
		if m.Compressor == "" {
			m.Compressor = "gzip"
		}
		m.OS = "linux"
		r, err := rpmpack.NewRPM(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files[m.Name] {
			r.AddFile(rpmpack.RPMFile{Name: f, Body: []byte("x"), Mode: 0o644, Owner: "root", Group: "root"})
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, m.Name+".rpm")
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/rpm"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(rpm, args...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this machine's rpm cannot make the database of this test: %v\n%s", err, out)
	}
}

func relations(t *testing.T, words ...string) rpmpack.Relations {
	t.Helper()
	var r rpmpack.Relations
	for _, w := range words {
		if err := r.Set(w); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// settings lays out a host's configuration.
func settings(t *testing.T, root string) {
	t.Helper()
	for name, text := range map[string]string{
		"etc/os-release":                   "NAME=\"CentOS Linux\"\nID=\"centos\"\nVERSION_ID=\"8\"\nPLATFORM_ID=\"platform:el8\"\nPRETTY_NAME=\"CentOS Linux 8\"\n",
		"etc/hostname":                     "db1\n",
		"etc/dnf/dnf.conf":                 "[main]\ngpgcheck=1\nexclude=kernel* foo\nexcludepkgs=bar\ninstallonlypkgs=kernel-mine\nproxy=http://joe:secret@proxy:3128\nproxy_password=secret\n[inline]\nname=In the main file\nbaseurl=http://x/$releasever/\nenabled=0\n",
		"etc/dnf/vars/infra":               "stock\nsecond line\n",
		"etc/yum/vars/infra":               "older\n",
		"etc/yum/vars/contentdir":          "centos\n",
		"etc/dnf/protected.d/dnf.conf":     "dnf\n# no\nsudo\n",
		"etc/yum/protected.d/x.conf":       "dnf\n",
		"etc/dnf/plugins/versionlock.list": "# locked\nbash-0:4.4-1.el8.*\n!zsh-0:5-1.el8.* # not that one\n\nbash-0:4.4-1.el8.*\n",
		"etc/dnf/modules.d/nodejs.module":  "[nodejs]\nname=nodejs\nstream=18\nprofiles=common, development\nstate=enabled\n",
		"etc/dnf/modules.d/perl.module":    "[perl]\nstream=5.26\nprofiles=\nstate=enabled\n",
		"etc/yum.repos.d/CentOS.repo": "[baseos]\nname=CentOS $releasever - BaseOS\nmirrorlist=http://mirrorlist.example.org/?release=$releasever&arch=$basearch&infra=$infra\n#baseurl=http://no/\ngpgcheck=1\nenabled=1\ngpgkey=file:///etc/pki/a\n       file:///etc/pki/b\n" +
			"[appstream]\nbaseurl=http://a/$contentdir/${releasever_major}/ ,http://b/${nope:-dflt}/$unknown\nexclude=one,two three\npriority=10\n",
		"etc/yum.repos.d/own.repo":         "[own]\nname=Own\nbaseurl=https://joe:pa@ss@repo.example.org/x?y=1\nusername=joe\npassword=secret\nsslclientkey=/etc/pki/k.pem\nmetalink=https://u@m/\ngpgcheck=no\n",
		"etc/yum.repos.d/broken.repo":      "no section\n",
		"etc/yum.repos.d/old.repo.rpmsave": "[gone]\nbaseurl=http://gone/\n",
	} {
		put(t, root, name, text)
	}
}

func TestKeyFile(t *testing.T) {
	for address, want := range map[string]string{
		"file:///etc/pki/a": "/etc/pki/a", "file:/opt/k": "/opt/k", "file://localhost/opt/k": "/opt/k", "file:///opt/x/../k": "/opt/k", "/opt/k": "/opt/k",
		"https://acme.example/key": "", "http://acme.example/key": "", "": "",
	} {
		if got, local := inventory.KeyFile(address); local != (want != "") || local && got != want {
			t.Errorf("%q: %q, %v, want %q", address, got, local, want)
		}
	}
}

func TestTake(t *testing.T) {
	root := t.TempDir()
	settings(t, root)
	put(t, root, "etc/pki/a", armoredKey(t))
	install(t, root, []rpmpack.RPMMetaData{
		{Name: "centos-linux-release", Version: "8.5", Release: "1.2111.el8", Arch: "noarch", Provides: relations(t, "system-release=8.5", "system-release(releasever)=8")},
		{Name: "centos-linux-repos", Version: "8", Release: "3.el8", Arch: "noarch"},
		{Name: "bash", Version: "4.4", Release: "1.el8", Arch: "x86_64", Epoch: 2, Requires: relations(t, "libc.so.6", "filesystem>=3.8-1"), Conflicts: relations(t, "old<1:2"), Obsoletes: relations(t, "bash-old<=4")},
	}, map[string][]string{
		"centos-linux-repos": {"/etc/yum.repos.d/CentOS.repo"},
		"bash":               {"/usr/bin/bash", "/etc/skel/.bashrc", "/usr/bin/sh"},
	})
	inv := mustTake(t, root)

	h := inv.Host
	if h.Distro != inventory.CentOS || h.Version != "8.5" || h.Major != 8 || h.Arch != "x86_64" || h.State != inventory.StateSource ||
		h.Name != "db1" || h.ReleasePackage != "centos-linux-release-8.5-1.2111.el8.noarch" || h.Live || h.Root != root || h.Kernel != "" {
		t.Errorf("host %+v", h)
	}
	if d := inv.Database; d.Path != "/var/lib/rpm/rpmdb.sqlite" || d.Backend != "sqlite" || d.Rows != 3 {
		t.Errorf("database %+v", d)
	}

	if len(inv.Packages) != 3 || inv.Packages[0].Name != "bash" {
		t.Fatalf("packages %+v", inv.Packages)
	}
	bash := inv.Packages[0]
	if got := bash.NEVRA().String(); got != "bash-2:4.4-1.el8.x86_64" {
		t.Errorf("NEVRA %s", got)
	}
	if bash.Signature.Status != "missing" || bash.Signature.Owner != "" {
		t.Errorf("signature %+v", bash.Signature)
	}
	dep := func(l []rpmver.Dep) []string {
		var out []string
		for _, d := range l {
			if !strings.HasPrefix(d.Name, "rpmlib(") {
				out = append(out, d.String())
			}
		}
		return out
	}
	if d := cmp.Diff([][]string{{"libc.so.6", "filesystem >= 3.8-1"}, {"old < 1:2"}, {"bash-old <= 4"}},
		[][]string{dep(bash.Requires), dep(bash.Conflicts), dep(bash.Obsoletes)}); d != "" {
		t.Error(d)
	}
	var files []string
	for f := range bash.Files.All() {
		files = append(files, f)
	}
	if !bash.Files.Has("/usr/bin/sh") || bash.Files.Has("/usr/bin/zsh") || bash.Files.Has("/usr/bin/") || len(files) != 3 {
		t.Errorf("files %q", files)
	}

	wantRepos := []inventory.Repo{
		{ID: "appstream", File: "/etc/yum.repos.d/CentOS.repo", Enabled: true, BaseURLs: []string{"http://a/centos/8/", "http://b/dflt/$unknown"}, Written: []string{"http://a/$contentdir/${releasever_major}/", "http://b/${nope:-dflt}/$unknown"}, GPGCheck: true, Exclude: []string{"one", "two", "three"}, Options: map[string]string{"priority": "10"}, OwnedBy: "centos-linux-repos"},
		{ID: "baseos", Name: "CentOS 8 - BaseOS", File: "/etc/yum.repos.d/CentOS.repo", Enabled: true, Mirrorlist: "http://mirrorlist.example.org/?release=8&arch=x86_64&infra=stock", Written: []string{"http://mirrorlist.example.org/?release=$releasever&arch=$basearch&infra=$infra"}, GPGCheck: true, GPGKeys: []string{"file:///etc/pki/a", "file:///etc/pki/b"}, NoKeyFiles: []string{"/etc/pki/b"}, OwnedBy: "centos-linux-repos"},
		{ID: "inline", Name: "In the main file", File: "/etc/dnf/dnf.conf", BaseURLs: []string{"http://x/8/"}, Written: []string{"http://x/$releasever/"}, GPGCheck: true},
		{ID: "own", Name: "Own", File: "/etc/yum.repos.d/own.repo", Enabled: true, BaseURLs: []string{"https://repo.example.org/x?y=1"}, Metalink: "https://m/", Options: map[string]string{"sslclientkey": "/etc/pki/k.pem"}},
	}
	if d := cmp.Diff(wantRepos, inv.Repos); d != "" {
		t.Error(d)
	}
	if len(inv.Keys) != 1 || inv.Keys[0].Source != "/etc/pki/a" {
		t.Errorf("keys: %+v", inv.Keys)
	}
	wantDNF := inventory.DNF{
		ConfFile: "/etc/dnf/dnf.conf", Exclude: []string{"kernel*", "foo", "bar"}, InstallOnly: []string{"kernel-mine"},
		Versionlock: []string{"bash-0:4.4-1.el8.*", "!zsh-0:5-1.el8.*"},
		Protected:   []inventory.Protected{{Package: "dnf", File: "/etc/dnf/protected.d/dnf.conf"}, {Package: "dnf", File: "/etc/yum/protected.d/x.conf"}, {Package: "sudo", File: "/etc/dnf/protected.d/dnf.conf"}},
		Vars:        map[string]string{"infra": "stock", "contentdir": "centos"},
		Modules:     []inventory.ModuleState{{Name: "nodejs", Stream: "18", State: "enabled", Profiles: []string{"common", "development"}}, {Name: "perl", Stream: "5.26", State: "enabled"}},
		Proxy:       "http://proxy:3128", ReleaseVer: "8",
	}
	if d := cmp.Diff(wantDNF, inv.DNF); d != "" {
		t.Error(d)
	}
	if len(inv.Skipped) != 1 || inv.Skipped[0].What != "/etc/yum.repos.d/broken.repo" || !strings.Contains(inv.Skipped[0].Reason, "1") {
		t.Errorf("skipped %+v", inv.Skipped)
	}
	var b bytes.Buffer
	if err := inv.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"secret", "joe", "pa@ss"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("the document holds the secret %q", secret)
		}
	}
	roundTrip(t, inv)

	lean, err := take(t, root, inventory.Options{NoFiles: true, NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	if p := lean.Packages[0]; p.Files.Len() != 0 || p.Signature.Status != "" || lean.Repos[0].OwnedBy != "centos-linux-repos" {
		t.Errorf("with NoFiles and NoSignatures: %+v, %+v", p, lean.Repos[0])
	}
}

// EL7's yum: other files, and $releasever from the package.
func TestYum(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/os-release":                        "ID=centos\nNAME=\"CentOS Linux\"\nVERSION_ID=7\n",
		"etc/yum.conf":                          "[main]\nexclude=php*\ndistroverpkg=centos-release\nreposdir=/etc/other\n",
		"etc/other/a.repo":                      "[base]\nbaseurl=http://x/$releasever/$basearch/\n",
		"etc/yum.repos.d/not.repo":              "[not]\nbaseurl=http://y/\n",
		"etc/yum/pluginconf.d/versionlock.conf": "[main]\nenabled = 1\nlocklist = /etc/yum/pluginconf.d/my.list\n",
		"etc/yum/pluginconf.d/my.list":          "0:bash-4.2-1.*\n",
		"etc/dnf/plugins/versionlock.conf":      "[main]\nenabled = 0\n",
		"etc/dnf/plugins/versionlock.list":      "ignored\n",
	} {
		put(t, root, name, text)
	}
	install(t, root, []rpmpack.RPMMetaData{{Name: "centos-release", Version: "7", Release: "9.2009.1.el7.centos", Arch: "x86_64"}}, nil)
	inv := mustTake(t, root)
	if inv.Host.Version != "7.9.2009" || inv.Host.Major != 7 {
		t.Errorf("host %+v", inv.Host)
	}
	if len(inv.Repos) != 1 || inv.Repos[0].BaseURLs[0] != "http://x/7/x86_64/" {
		t.Errorf("repos %+v", inv.Repos)
	}
	if d := cmp.Diff(inventory.DNF{ConfFile: "/etc/yum.conf", Exclude: []string{"php*"}, Versionlock: []string{"0:bash-4.2-1.*"}, ReleaseVer: "7"}, inv.DNF); d != "" {
		t.Error(d)
	}
}

func TestBadHosts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		err   error
		text  string
	}{
		{"Debian", map[string]string{"etc/os-release": "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "var/lib/rpm/rpmdb.sqlite": "x"}, inventory.ErrNotEL, "this is Debian GNU/Linux 12 (bookworm)"},
		{"Fedora", map[string]string{"usr/lib/os-release": "ID=fedora\nNAME=Fedora\nVERSION_ID=41\nPLATFORM_ID=platform:f41\n"}, inventory.ErrNotEL, "Fedora"},
		{"SLES", map[string]string{"etc/os-release": "ID=sles\nID_LIKE=suse\nNAME=SLES\n"}, inventory.ErrNotEL, "SLES"},
		{"nothing", nil, inventory.ErrNoDatabase, "no rpm database"},
		{"no database", map[string]string{"etc/os-release": "ID=rocky\nPLATFORM_ID=platform:el9\n"}, inventory.ErrNoDatabase, "no rpm database"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				put(t, root, name, text)
			}
			inv, err := take(t, root, inventory.Options{})
			if inv != nil || !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), root) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Someone who is not root is told what could not be read.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root reads everything: a folder in the place of a file is as unreadable.
		root := t.TempDir()
		settings(t, root)
		install(t, root, []rpmpack.RPMMetaData{{Name: "centos-linux-release", Version: "8.5", Release: "1.el8", Arch: "noarch"}}, nil)
		if err := os.MkdirAll(filepath.Join(root, "etc/yum.repos.d/dir.repo"), 0o755); err != nil {
			t.Fatal(err)
		}
		inv := mustTake(t, root)
		if !strings.Contains(inv.Skipped[len(inv.Skipped)-1].What, "dir.repo") {
			t.Errorf("skipped %+v", inv.Skipped)
		}
		return
	}
	root := t.TempDir()
	settings(t, root)
	install(t, root, []rpmpack.RPMMetaData{{Name: "centos-linux-release", Version: "8.5", Release: "1.el8", Arch: "noarch"}}, nil)
	for _, name := range []string{"etc/yum.repos.d/own.repo", "etc/dnf/modules.d"} {
		if err := os.Chmod(filepath.Join(root, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	inv := mustTake(t, root)
	var what []string
	for _, s := range inv.Skipped {
		what = append(what, s.What)
	}
	os.Chmod(filepath.Join(root, "etc/dnf/modules.d"), 0o755)
	if d := cmp.Diff([]string{"/etc/dnf/modules.d", "/etc/yum.repos.d/broken.repo", "/etc/yum.repos.d/own.repo"}, what); d != "" {
		t.Error(d)
	}
	if err := os.Chmod(filepath.Join(root, "var/lib/rpm/rpmdb.sqlite"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, root, inventory.Options{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("unreadable database: %v", err)
	}
}

// TestReleaseParts: EL10's release packages tell major and minor apart from
// $releasever, for EPEL.
func TestReleaseParts(t *testing.T) {
	says := func(p ...string) []rpmver.Dep {
		var out []rpmver.Dep
		for _, s := range p {
			d, err := rpmver.ParseDep(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, d)
		}
		return out
	}
	const epel = "epel${releasever_minor:+-z}-$releasever_major${releasever_minor:+.$releasever_minor}"
	for _, c := range []struct {
		releasever string
		provides   []rpmver.Dep
		vars       map[string]string
		want       string
	}{
		{"10", says("system-release(releasever) = 10", "system-release(releasever_major) = 10", "system-release(releasever_minor) = 1"), nil, "epel-z-10.1"},
		{"10", says("system-release(releasever) = 10"), nil, "epel-10"},
		{"9.4", says("system-release(releasever) = 9.4"), nil, "epel-z-9.4"},
		{"10.3", says("system-release(releasever_major) = 10", "system-release(releasever_minor) = 1"), map[string]string{"releasever": "10.3"}, "epel-z-10.3"},
	} {
		inv := &inventory.Inventory{Packages: []inventory.Package{{Name: "bash"}, {Name: "redhat-release", Provides: c.provides}}, DNF: inventory.DNF{ReleaseVer: c.releasever, Vars: c.vars}}
		if got := inventory.Substitute(epel, inventory.RepoVariables(inv)); got != c.want {
			t.Errorf("%s %v: %q, want %q", c.releasever, c.provides, got, c.want)
		}
	}
}

func TestSubstitute(t *testing.T) {
	vars := map[string]string{"releasever": "8", "a": "A", "empty": ""}
	for in, want := range map[string]string{
		"$releasever/x":          "8/x",
		"${releasever}x":         "8x",
		"$releaseverx":           "$releaseverx",
		"$nope ${nope}":          "$nope ${nope}",
		"${nope:-d} ${a:-d}":     "d A",
		"${empty:-d}${empty:+x}": "d",
		"${a:+x}":                "x",
		"${nope:-${a}}":          "A",
		"${nope:-${b:-${a}}}/":   "A/",
		"${a":                    "${a",
		"$":                      "$",
		"a$$b":                   "a$$b",
		`\$a`:                    "$a",
		"${a:x}":                 "${a:x}",
		"${}":                    "${}",
		"$a.$a":                  "A.A",
	} {
		if got := inventory.Substitute(in, vars); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func FuzzSubstitute(f *testing.F) {
	f.Add("${a:-${b:+${a}}}$")
	f.Fuzz(func(t *testing.T, s string) {
		inventory.Substitute(s, map[string]string{"a": "A", "b": ""})
	})
}

// TestDamagedRows: one unreadable entry of the rpm database does not hide the
// others, and is told.
func TestDamagedRows(t *testing.T) {
	root := t.TempDir()
	put(t, root, "etc/os-release", "ID=centos\nVERSION_ID=8\nPLATFORM_ID=platform:el8\n")
	install(t, root, []rpmpack.RPMMetaData{{Name: "one", Version: "1", Release: "1"}, {Name: "two", Version: "1", Release: "1"}, {Name: "three", Version: "1", Release: "1"}}, nil)
	db := filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")
	sqlite, err := exec.LookPath("sqlite3")
	if _, serr := os.Stat(db); err != nil || serr != nil {
		t.Skip("SKIPPED: sqlite3 is not installed, or rpm makes no such database")
	}
	if out, err := exec.Command(sqlite, db, "update Packages set blob = zeroblob(400) where hnum = (select hnum from Name where key = 'two'); pragma wal_checkpoint(truncate);").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	old := time.Now().Add(-time.Hour)
	for _, f := range []string{db, db + "-wal", db + "-shm"} {
		_ = os.Chtimes(f, old, old)
	}
	inv := mustTake(t, root)
	if d := inv.Database.Damaged; len(inv.Packages) != 2 || len(d) != 1 || d[0].Row != 2 || d[0].Reason == "" {
		t.Errorf("%d packages, damaged %+v", len(inv.Packages), d)
	}
	roundTrip(t, inv)
	inv.Tool.Name = "almamigrate"
	var doc bytes.Buffer
	if err := inv.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	validate(t, doc.Bytes())
}
