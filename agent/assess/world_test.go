package assess_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// rpm is a package as a test writes it down; dependencies as in a spec file.
type rpm struct {
	nevra                                    string
	requires, provides, conflicts, obsoletes []string
	files                                    []string
}

func pkg(nevra string, opts ...func(*rpm)) rpm {
	p := rpm{nevra: nevra}
	for _, o := range opts {
		o(&p)
	}
	return p
}

func requires(d ...string) func(*rpm) { return func(p *rpm) { p.requires = append(p.requires, d...) } }
func provides(d ...string) func(*rpm) { return func(p *rpm) { p.provides = append(p.provides, d...) } }
func conflicts(d ...string) func(*rpm) {
	return func(p *rpm) { p.conflicts = append(p.conflicts, d...) }
}
func obsoletes(d ...string) func(*rpm) {
	return func(p *rpm) { p.obsoletes = append(p.obsoletes, d...) }
}
func files(f ...string) func(*rpm) { return func(p *rpm) { p.files = append(p.files, f...) } }

func nevra(t testing.TB, s string) rpmver.NEVRA {
	t.Helper()
	n, err := rpmver.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func dep(t testing.TB, s string) rpmver.Dep {
	t.Helper()
	if strings.HasPrefix(s, "(") {
		return rpmver.Dep{Name: s}
	}
	d, err := rpmver.ParseDep(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func deps(t testing.TB, list []string) []rpmver.Dep {
	var out []rpmver.Dep
	for _, s := range list {
		out = append(out, dep(t, s))
	}
	return out
}

func esc(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

func entries(t testing.TB, tag string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<rpm:%s>", tag)
	for _, s := range list {
		d := dep(t, s)
		fmt.Fprintf(&b, `<rpm:entry name="%s"`, esc(d.Name))
		if d.Versioned() {
			flag := map[string]string{"<": "LT", "<=": "LE", "=": "EQ", ">=": "GE", ">": "GT"}[d.Flags.String()]
			fmt.Fprintf(&b, ` flags="%s" epoch="%d" ver="%s"`, flag, d.EVR.Epoch, d.EVR.Version)
			if d.EVR.Release != "" {
				fmt.Fprintf(&b, ` rel="%s"`, d.EVR.Release)
			}
		}
		b.WriteString("/>")
	}
	fmt.Fprintf(&b, "</rpm:%s>", tag)
	return b.String()
}

// buildIndex makes a repository's index of packages and modules.yaml.
func buildIndex(t testing.TB, pkgs []rpm, modules string) *repodata.Index {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(pkgs))
	for i, p := range pkgs {
		n := nevra(t, p.nevra)
		self := fmt.Sprintf("%s = %s", n.Name, n.EVR)
		fmt.Fprintf(&b, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="%d" ver="%s" rel="%s"/>`,
			esc(n.Name), n.Arch, n.EVR.Epoch, n.EVR.Version, n.EVR.Release)
		fmt.Fprintf(&b, `<checksum type="sha256" pkgid="YES">%064x</checksum><summary/><description/><packager/><url/>`, i+1)
		fmt.Fprintf(&b, `<time file="1" build="1"/><size package="1000" installed="2000" archive="2100"/><location href="Packages/%s.rpm"/>`, esc(p.nevra))
		b.WriteString("<format><rpm:license/><rpm:vendor>AlmaLinux</rpm:vendor><rpm:group/><rpm:buildhost/><rpm:sourcerpm/><rpm:header-range start=\"1\" end=\"2\"/>")
		b.WriteString(entries(t, "provides", append([]string{self}, p.provides...)))
		b.WriteString(entries(t, "requires", p.requires))
		b.WriteString(entries(t, "conflicts", p.conflicts))
		b.WriteString(entries(t, "obsoletes", p.obsoletes))
		for _, f := range p.files {
			fmt.Fprintf(&b, "<file>%s</file>", esc(f))
		}
		b.WriteString("</format></package>")
	}
	b.WriteString("</metadata>")
	name := filepath.Join(t.TempDir(), "index")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if modules == "" {
		_, err = repodata.BuildIndex(f, strings.NewReader(b.String()), nil, repodata.Source{})
	} else {
		_, err = repodata.BuildIndex(f, strings.NewReader(b.String()), strings.NewReader(modules), repodata.Source{})
	}
	if err != nil {
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

// world is a host and the repositories that it is judged against.
type world struct {
	t         testing.TB
	inv       *inventory.Inventory
	repos     []assess.TargetRepo
	content   map[string][]rpm
	modules   map[string]string // modules.yaml by repository
	major     int
	catalog   map[string]string // files of catalog.d
	deep      *assess.DeepFacts
	libraries *assess.LibraryFacts
	others    []assess.Supplier
	// advisories are AlmaLinux's; nil: not asked for
	advisories []assess.AdvisorySource
	probes     map[string]assess.Probe
	cat        *catalog.Catalog // of the last judgement
}

var (
	almaKey  = inventory.Key{Fingerprint: "BC5EDDCADF502C077F1582882AE81E8ACED7258B", KeyIDs: []string{"2ae81e8aced7258b"}, UserID: "AlmaLinux OS 8", Owner: "almalinux", Source: "rpmdb"}
	epelFile = "/etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL-8"
)

// newWorld is a CentOS 8 host that is ready without a single finding.
func newWorld(t testing.TB) *world {
	w := &world{t: t, major: 8, content: map[string][]rpm{}, modules: map[string]string{}, catalog: map[string]string{}}
	w.inv = &inventory.Inventory{
		Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion,
		Tool:  inventory.Tool{Name: "almamigrate", Version: "test"},
		Taken: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Host: inventory.Host{
			Name: "web01", Distro: inventory.CentOS, PrettyName: "CentOS Linux 8", Version: "8.5", Major: 8, Arch: "x86_64",
			State: inventory.StateSource, Root: "/", ReleasePackage: "centos-linux-release-8.5-1.2111.el8.noarch", Kernel: worldKernel, Live: true,
		},
		Environment: cleanEnvironment(),
		Keys:        []inventory.Key{almaKey},
		Repos: []inventory.Repo{
			{ID: "baseos", Name: "CentOS Linux 8 - BaseOS", File: "/etc/yum.repos.d/CentOS-Linux-BaseOS.repo", Enabled: true, GPGCheck: true, OwnedBy: "centos-linux-repos"},
		},
	}
	w.install("centos", pkg("centos-linux-release-8.5-1.2111.el8.noarch", provides("system-release = 8.5")),
		pkg("centos-linux-repos-8-3.el8.noarch"),
		pkg("bash-4.4.20-1.el8.x86_64", requires("libc.so.6()(64bit)", "/usr/bin/env", "rpmlib(FileDigests) <= 4.6.0-1"), provides("/bin/sh")),
		pkg("glibc-2.28-164.el8.x86_64", provides("libc.so.6()(64bit)")),
		pkg("coreutils-8.30-12.el8.x86_64", files("/usr/bin/env", "/usr/share/coreutils/data")))
	w.repos = []assess.TargetRepo{
		{ID: "baseos", Name: "BaseOS", URL: "file:///baseos", DefaultEnabled: true, Enabled: true, MappedFrom: []string{"baseos"}, Revision: "1", Signature: "good 2ae81e8aced7258b", FetchedAt: w.inv.Taken},
		{ID: "appstream", Name: "AppStream", URL: "file:///appstream", DefaultEnabled: true, Enabled: true, Revision: "1", Signature: "good 2ae81e8aced7258b", FetchedAt: w.inv.Taken},
		{ID: "powertools", Name: "PowerTools", URL: "file:///powertools", Revision: "1", Signature: "good 2ae81e8aced7258b", FetchedAt: w.inv.Taken},
	}
	w.carry("baseos", pkg("almalinux-release-8.10-1.el8.x86_64", provides("system-release = 8.10", "centos-release = 8.10")),
		pkg("bash-4.4.20-6.el8_10.x86_64", requires("libc.so.6()(64bit)", "/usr/bin/env"), provides("/bin/sh")),
		pkg("glibc-2.28-251.el8_10.11.x86_64", provides("libc.so.6()(64bit)")),
		pkg("coreutils-8.30-15.el8.x86_64", files("/usr/bin/env")))
	return w
}

func (w *world) carry(repo string, pkgs ...rpm) { w.content[repo] = append(w.content[repo], pkgs...) }

// drop takes a package out of a repository.
func (w *world) drop(repo, name string) {
	var keep []rpm
	for _, p := range w.content[repo] {
		if nevra(w.t, p.nevra).Name != name {
			keep = append(keep, p)
		}
	}
	w.content[repo] = keep
}

// install puts packages signed by an owner on the host; "" is unsigned, "?" a
// key that nobody knows.
func (w *world) install(owner string, pkgs ...rpm) {
	ids := map[string]string{"centos": "05b555b38483c65d", "epel": "21ea45ab2f86d6a1", "almalinux": "2ae81e8aced7258b"}
	for _, p := range pkgs {
		n := nevra(w.t, p.nevra)
		x := inventory.Package{
			Row: uint32(len(w.inv.Packages) + 1), Name: n.Name, EVR: n.EVR, Arch: n.Arch, InstallTime: 1600000000, Size: 2000,
			Provides: deps(w.t, append([]string{fmt.Sprintf("%s = %s", n.Name, n.EVR)}, p.provides...)),
			Requires: deps(w.t, p.requires), Conflicts: deps(w.t, p.conflicts), Obsoletes: deps(w.t, p.obsoletes),
		}
		for i, f := range append([]string{"/usr/share/doc/" + n.Name}, p.files...) {
			x.Files.Dirs = append(x.Files.Dirs, f[:strings.LastIndexByte(f, '/')+1])
			x.Files.DirIndex = append(x.Files.DirIndex, uint32(i))
			x.Files.Base = append(x.Files.Base, f[strings.LastIndexByte(f, '/')+1:])
		}
		switch owner {
		case "":
			x.Signature = inventory.Signature{Status: "missing"}
		case "?":
			x.Signature = inventory.Signature{Status: "unknown-key", KeyID: "0123456789abcdef"}
		default:
			x.Signature = inventory.Signature{Status: "good", KeyID: ids[owner], Owner: owner}
		}
		w.inv.Packages = append(w.inv.Packages, x)
	}
}

// last is the package installed last.
func (w *world) last() *inventory.Package { return &w.inv.Packages[len(w.inv.Packages)-1] }

func (w *world) repo(id string) *assess.TargetRepo {
	for i := range w.repos {
		if w.repos[i].ID == id {
			return &w.repos[i]
		}
	}
	w.t.Fatalf("no repository %s", id)
	return nil
}

func (w *world) assess() *assess.Assessment {
	w.t.Helper()
	root := w.t.TempDir()
	if len(w.catalog) > 0 {
		dir := filepath.Join(root, catalog.Dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			w.t.Fatal(err)
		}
		for name, text := range w.catalog {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	cat, err := catalog.Load(root)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cat = cat
	for i := range w.repos {
		if r := &w.repos[i]; r.Err == nil && r.Index == nil {
			r.Index = buildIndex(w.t, w.content[r.ID], w.modules[r.ID])
		}
	}
	for i := range w.others {
		if s := &w.others[i]; s.Err == nil && s.Unasked == "" && s.Index == nil {
			s.Index = buildIndex(w.t, w.content[s.ID], "")
		}
	}
	return assess.Assess(assess.Input{Inventory: w.inv, Catalog: cat, Major: w.major, Repos: w.repos, Deep: w.deep, Libraries: w.libraries, Suppliers: w.others, Advisories: w.advisories, Probes: w.probes})
}

// ids are the findings as "severity id", sorted.
func ids(res *assess.Assessment) []string {
	out := []string{}
	for _, f := range res.Findings {
		out = append(out, string(f.Severity)+" "+f.ID)
	}
	sort.Strings(out)
	return out
}

func result(t testing.TB, res *assess.Assessment, nevra string) assess.PackageResult {
	t.Helper()
	for _, p := range res.Packages {
		if p.NEVRA == nevra {
			return p
		}
	}
	t.Fatalf("no package %s in the result", nevra)
	return assess.PackageResult{}
}

func finding(t testing.TB, res *assess.Assessment, id string) assess.Finding {
	t.Helper()
	for _, f := range res.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no finding %s; there are %v", id, ids(res))
	return assess.Finding{}
}
