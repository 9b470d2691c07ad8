package assess_test

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// realPackages reads the packages of a real rpm database. All of them count as
// signed by the owner.
func realPackages(t testing.TB, file string, b rpmdb.Backend, owner string) []inventory.Package {
	t.Helper()
	src, err := os.Open(filepath.Join(realdata.Dir(t), "rpmdb", file))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r, err := xz.NewReader(bufio.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), strings.TrimSuffix(file, ".xz"))
	dst, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, r); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := rpmdb.OpenFile(name, b)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out []inventory.Package
	for row, err := range db.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		h := row.Header
		n := h.NEVRA()
		if n.Name == "gpg-pubkey" {
			continue
		}
		p := inventory.Package{
			Row: row.Num, Name: n.Name, EVR: n.EVR, Arch: n.Arch, ModuleLabel: h.String(5096),
			Signature: inventory.Signature{Status: "good", Owner: owner, KeyID: "0"},
		}
		p.Files.Dirs, p.Files.DirIndex, p.Files.Base, err = h.FilePaths()
		if err != nil {
			t.Fatal(err)
		}
		p.Requires, _ = h.Deps(rpmhdr.Requires)
		p.Provides, _ = h.Deps(rpmhdr.Provides)
		p.Conflicts, _ = h.Deps(rpmhdr.Conflicts)
		p.Obsoletes, _ = h.Deps(rpmhdr.Obsoletes)
		out = append(out, p)
	}
	return out
}

// realIndex builds the index of a real repository.
func realIndex(t testing.TB, repo string) *repodata.Index {
	t.Helper()
	dir := filepath.Join(realdata.Dir(t), "repodata", repo)
	data, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	md, err := repodata.ParseRepomd(data)
	if err != nil {
		t.Fatal(err)
	}
	open := func(typ string) io.Reader {
		rec, ok := md.Record(typ)
		if !ok {
			return nil
		}
		f, err := os.Open(filepath.Join(dir, rec.Location))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		r, err := repodata.Decompress(rec.Location, f, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	name := filepath.Join(t.TempDir(), "index")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repodata.BuildIndex(f, open("primary"), open("modules"), repodata.Source{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err := repodata.OpenIndex(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ix.Close() })
	return ix
}

// asX86 turns the packages of an aarch64 host into those of an x86_64 one: the
// repositories at hand are of that architecture, and the names are alike.
func asX86(list []inventory.Package) []inventory.Package {
	r := strings.NewReplacer("aarch-64", "x86-64", "ld-linux-aarch64.so.1()(64bit)", "ld-linux-x86-64.so.2()(64bit)",
		"ld-linux-aarch64.so.1(GLIBC_2.17)(64bit)", "ld-linux-x86-64.so.2(GLIBC_2.3)(64bit)")
	for i := range list {
		p := &list[i]
		if p.Arch == "aarch64" {
			p.Arch = "x86_64"
		}
		for _, deps := range [][]rpmver.Dep{p.Requires, p.Provides, p.Conflicts, p.Obsoletes} {
			for k := range deps {
				deps[k].Name = r.Replace(deps[k].Name)
			}
		}
	}
	return list
}

func realInput(t testing.TB) assess.Input {
	cat, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return assess.Input{
		Catalog: cat, Major: 9,
		Inventory: &inventory.Inventory{
			Host:     inventory.Host{Name: "rocky", Distro: inventory.Rocky, PrettyName: "Rocky Linux 9.3", Version: "9.3", Major: 9, Arch: "x86_64", State: inventory.StateSource, Root: "/"},
			Packages: asX86(realPackages(t, "go-rpmdb-rockylinux-9.rpmdb.sqlite.xz", "sqlite", "rocky")),
		},
		Repos: []assess.TargetRepo{
			{ID: "baseos", Enabled: true, DefaultEnabled: true, Signature: "none", Index: realIndex(t, "centos-stream9-baseos-2022-02")},
			{ID: "appstream", Enabled: true, DefaultEnabled: true, Signature: "none", Index: realIndex(t, "centos-stream9-appstream-2025-01")},
		},
	}
}

// TestRealRocky judges a real Rocky 9 database against a real repository of
// the same major: nearly every package has a counterpart, and the closure
// finds no broken dependency between packages that come from one repository.
func TestRealRocky(t *testing.T) {
	in := realInput(t)
	res := assess.Assess(in)
	n := 0
	for _, c := range res.Summary.Packages {
		n += c
	}
	if n != len(in.Inventory.Packages) || n != res.Summary.Total {
		t.Errorf("%d verdicts for %d packages", n, len(in.Inventory.Packages))
	}
	for _, f := range res.Findings {
		t.Logf("%s %s: %s | %s", f.Severity, f.ID, f.Title, f.Detail)
	}
	t.Log(res.Summary.Packages)
	for _, p := range res.Packages {
		if p.Verdict == assess.Missing {
			t.Logf("missing %s: %s", p.NEVRA, p.Reason)
		}
	}
}

func BenchmarkAssess(b *testing.B) {
	in := realInput(b)
	// A host of 1,500 packages: the real ones, some that Stream has besides,
	// and what those require, for hosts are whole.
	ix := in.Repos[1].Index
	have := map[string]bool{}
	add := func(ix *repodata.Index, want string) {
		if n := nevra(b, want); !have[n.Name+n.Arch] {
			have[n.Name+n.Arch] = install(b, in, ix, want)
		}
	}
	for i := range in.Inventory.Packages {
		have[in.Inventory.Packages[i].Name+in.Inventory.Packages[i].Arch] = true
	}
	for i := 0; len(in.Inventory.Packages) < 1500; {
		for range 40 {
			if n := ix.NEVRA(i); n.Arch == "x86_64" || n.Arch == "noarch" {
				add(ix, n.String())
			}
			i = (i + 137) % ix.Len()
		}
		for range 6 {
			more := assess.Assess(in).Incoming
			for _, inc := range more {
				add(in.Repos[0].Index, inc.NEVRA)
				add(in.Repos[1].Index, inc.NEVRA)
			}
			if len(more) == 0 {
				break
			}
		}
	}
	res := assess.Assess(in)
	b.ReportAllocs()
	for b.Loop() {
		assess.Assess(in)
	}
	b.ReportMetric(float64(len(in.Inventory.Packages)), "packages")
	b.ReportMetric(float64(len(res.Incoming)), "new")
	b.ReportMetric(float64(len(res.Findings)), "findings")
}

func install(b *testing.B, in assess.Input, ix *repodata.Index, want string) bool {
	for _, i := range ix.ByName(nevra(b, want).Name) {
		n := ix.NEVRA(i)
		if n.String() != want {
			continue
		}
		p, err := ix.Package(i)
		if err != nil {
			b.Fatal(err)
		}
		x := inventory.Package{Row: uint32(len(in.Inventory.Packages) + 1), Name: n.Name, EVR: n.EVR, Arch: n.Arch, Requires: p.Requires, Provides: p.Provides,
			Conflicts: p.Conflicts, Obsoletes: p.Obsoletes, Signature: inventory.Signature{Status: "good", Owner: "rocky", KeyID: "0"}}
		for k, f := range p.Files {
			x.Files.Dirs = append(x.Files.Dirs, f[:strings.LastIndexByte(f, '/')+1])
			x.Files.DirIndex = append(x.Files.DirIndex, uint32(k))
			x.Files.Base = append(x.Files.Base, f[strings.LastIndexByte(f, '/')+1:])
		}
		in.Inventory.Packages = append(in.Inventory.Packages, x)
		return true
	}
	return false
}
