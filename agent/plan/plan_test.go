package plan_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

const theirs = "05b555b38483c65d" // CentOS 8's key

// rpm is a package of a repository; the location is made of the NEVRA unless given.
type rpm struct {
	nevra, location              string
	provides, requires, obsolete []string
	files                        []string
}

func dep(t *testing.T, s string) rpmver.Dep {
	t.Helper()
	d, err := rpmver.ParseDep(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func nevra(t *testing.T, s string) rpmver.NEVRA {
	t.Helper()
	n, err := rpmver.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func index(t *testing.T, pkgs []rpm) *repodata.Index {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(pkgs))
	list := func(tag string, deps []string) {
		fmt.Fprintf(&b, "<rpm:%s>", tag)
		for _, s := range deps {
			d := dep(t, s)
			fmt.Fprintf(&b, `<rpm:entry name="%s"`, d.Name)
			if d.Versioned() {
				fmt.Fprintf(&b, ` flags="%s" epoch="%d" ver="%s"`, map[string]string{"=": "EQ", "&lt;": "LT", ">=": "GE", "<": "LT"}[d.Flags.String()], d.EVR.Epoch, d.EVR.Version)
				if d.EVR.Release != "" {
					fmt.Fprintf(&b, ` rel="%s"`, d.EVR.Release)
				}
			}
			b.WriteString("/>")
		}
		fmt.Fprintf(&b, "</rpm:%s>", tag)
	}
	for i, p := range pkgs {
		n := nevra(t, p.nevra)
		if p.location == "" {
			p.location = "Packages/" + p.nevra + ".rpm"
		}
		fmt.Fprintf(&b, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="%d" ver="%s" rel="%s"/><checksum type="sha256" pkgid="YES">%064x</checksum><size package="1000" installed="2000" archive="1"/><location href="%s"/><format>`,
			n.Name, n.Arch, n.EVR.Epoch, n.EVR.Version, n.EVR.Release, i+1, p.location)
		list("provides", append([]string{fmt.Sprintf("%s = %s", n.Name, n.EVR)}, p.provides...))
		list("requires", p.requires)
		list("obsoletes", p.obsolete)
		for _, f := range p.files {
			fmt.Fprintf(&b, "<file>%s</file>", f)
		}
		b.WriteString("</format></package>")
	}
	b.WriteString("</metadata>")
	name := filepath.Join(t.TempDir(), "index")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repodata.BuildIndex(f, strings.NewReader(b.String()), nil, repodata.Source{}); err != nil {
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

func installed(t *testing.T, nevraText, key string, provides, requires []string) inventory.Package {
	n := nevra(t, nevraText)
	p := inventory.Package{Name: n.Name, EVR: n.EVR, Arch: n.Arch, Size: 10, Signature: inventory.Signature{Status: "good", KeyID: key}}
	for _, s := range append([]string{fmt.Sprintf("%s = %s", n.Name, n.EVR)}, provides...) {
		p.Provides = append(p.Provides, dep(t, s))
	}
	for _, s := range requires {
		p.Requires = append(p.Requires, dep(t, s))
	}
	return p
}

// world is a CentOS 8 host and an AlmaLinux repository that can take it.
func world(t *testing.T) (plan.Input, *[]rpm) {
	cat, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inv := &inventory.Inventory{
		Host: inventory.Host{Name: "h", Distro: inventory.CentOS, Major: 8, Arch: "x86_64", PrettyName: "CentOS Linux 8", State: inventory.StateSource, ReleasePackage: "centos-linux-release-8.5-1.noarch"},
		Packages: []inventory.Package{
			installed(t, "bash-4.4-1.x86_64", theirs, nil, []string{"system-release >= 8"}),
			installed(t, "centos-linux-release-8.5-1.noarch", theirs, []string{"system-release = 8.5", "redhat-release = 8.5"}, nil),
			installed(t, "centos-linux-repos-8-3.noarch", theirs, nil, nil),
			installed(t, "centos-gpg-keys-8-3.noarch", theirs, nil, nil),
			installed(t, "centos-logos-85-1.noarch", theirs, []string{"system-logos = 85"}, nil),
		},
		Repos: []inventory.Repo{
			{ID: "baseos", File: "/etc/yum.repos.d/CentOS-Linux-BaseOS.repo", Enabled: true, OwnedBy: "centos-linux-repos"},
			{ID: "powertools", File: "/etc/yum.repos.d/CentOS-Linux-PowerTools.repo", Enabled: true, OwnedBy: "centos-linux-repos"},
			{ID: "epel", File: "/etc/yum.repos.d/epel.repo", Enabled: true, OwnedBy: "epel-release"},
		},
	}
	content := &[]rpm{
		{nevra: "almalinux-release-8.10-1.x86_64", provides: []string{"system-release = 8.10", "redhat-release = 8.10"}},
		{nevra: "almalinux-logos-84-1.noarch", provides: []string{"system-logos = 84"}},
	}
	in := plan.Input{Inventory: inv, Catalog: cat, Major: 8, Now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	return in, content
}

func build(t *testing.T, in plan.Input, content []rpm) (*plan.Plan, error) {
	t.Helper()
	in.Repos = []assess.TargetRepo{
		{ID: "baseos", Enabled: true, DefaultEnabled: true, Revision: "1", Index: index(t, content)},
		{ID: "powertools", Enabled: true, Revision: "1", Index: index(t, nil)},
	}
	return plan.Build(in)
}

func names(p *plan.Plan) (leaving, coming []string) {
	for _, l := range p.Leaving {
		leaving = append(leaving, l.Name)
	}
	for _, c := range p.Coming {
		coming = append(coming, c.Name)
	}
	return leaving, coming
}

func check(t *testing.T, p *plan.Plan, leaving, coming string) {
	t.Helper()
	l, c := names(p)
	if d := cmp.Diff(strings.Fields(leaving), l); d != "" {
		t.Errorf("leaving: %s", d)
	}
	if d := cmp.Diff(strings.Fields(coming), c); d != "" {
		t.Errorf("coming: %s", d)
	}
}

func TestPlanOfACentOSHost(t *testing.T) {
	in, content := world(t)
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p, "centos-gpg-keys centos-linux-release centos-linux-repos centos-logos", "almalinux-logos almalinux-release")
	if d := cmp.Diff([]string{"powertools"}, p.EnableRepos); d != "" {
		t.Errorf("repositories to enable: %s", d)
	}
	var files []string
	for _, f := range p.RepoFiles {
		files = append(files, f.File)
	}
	if d := cmp.Diff([]string{"/etc/yum.repos.d/CentOS-Linux-BaseOS.repo", "/etc/yum.repos.d/CentOS-Linux-PowerTools.repo"}, files); d != "" {
		t.Errorf("repository files: %s", d)
	}
	// the same evidence gives the same bytes, and they can be read again
	var a, b bytes.Buffer
	if err := p.WriteJSON(&a); err != nil {
		t.Fatal(err)
	}
	again, err := plan.Read(bytes.NewReader(a.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.WriteJSON(&b); err != nil || a.String() != b.String() {
		t.Errorf("not the same after reading: %v\n%s", err, cmp.Diff(a.String(), b.String()))
	}
	if err := plan.Drift(again, p); err != nil {
		t.Errorf("drift without a change: %v", err)
	}
}

// What the catalogue has no name for is found by what it provides and who
// signed it; what somebody else signed stays.
func TestBrandingWithoutAName(t *testing.T) {
	in, content := world(t)
	in.Inventory.Packages = append(in.Inventory.Packages,
		installed(t, "odd-httpd-logos-1-1.noarch", theirs, []string{"system-logos-httpd = 1"}, nil),
		installed(t, "acme-backgrounds-1-1.noarch", "aaaaaaaaaaaaaaaa", []string{"system-backgrounds = 1"}, nil),
		installed(t, "odd-release-1-1.noarch", "aaaaaaaaaaaaaaaa", []string{"system-release = 1"}, nil))
	*content = append(*content, rpm{nevra: "almalinux-logos-httpd-84-1.noarch"}, rpm{nevra: "almalinux-backgrounds-84-1.noarch"})
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p, "centos-gpg-keys centos-linux-release centos-linux-repos centos-logos odd-httpd-logos odd-release",
		"almalinux-logos almalinux-logos-httpd almalinux-release")
}

func TestDependenciesOfTheSwap(t *testing.T) {
	t.Run("what a coming package requires comes", func(t *testing.T) {
		in, content := world(t)
		(*content)[0].requires = []string{"almalinux-repos = 8"}
		*content = append(*content, rpm{nevra: "almalinux-repos-8-1.noarch", requires: []string{"almalinux-gpg-keys"}}, rpm{nevra: "almalinux-gpg-keys-8-1.noarch"})
		p, err := build(t, in, *content)
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, "centos-gpg-keys centos-linux-release centos-linux-repos centos-logos", "almalinux-gpg-keys almalinux-logos almalinux-release almalinux-repos")
	})
	t.Run("what it requires is nowhere", func(t *testing.T) {
		in, content := world(t)
		(*content)[0].requires = []string{"nowhere"}
		if _, err := build(t, in, *content); !errors.Is(err, plan.ErrBroken) {
			t.Fatal(err)
		}
	})
	t.Run("who needs what leaves stands in the way", func(t *testing.T) {
		in, content := world(t)
		in.Inventory.Packages = append(in.Inventory.Packages, installed(t, "needs-1-1.noarch", "", nil, []string{"centos-gpg-keys"}))
		if _, err := build(t, in, *content); !errors.Is(err, plan.ErrBroken) || !strings.Contains(err.Error(), "needs-1-1.noarch requires centos-gpg-keys") {
			t.Fatal(err)
		}
	})
	t.Run("unless the catalogue lets it go", func(t *testing.T) {
		in, content := world(t)
		in.Inventory.Packages = append(in.Inventory.Packages, installed(t, "centos-release-ceph-1-1.noarch", "", nil, []string{"centos-gpg-keys"}),
			installed(t, "centos-release-nfv-1-1.noarch", "", nil, nil))
		p, err := build(t, in, *content)
		if err != nil {
			t.Fatal(err)
		}
		if l, _ := names(p); !slices.Contains(l, "centos-release-ceph") || slices.Contains(l, "centos-release-nfv") {
			t.Errorf("leaving: %v", l)
		}
		if len(p.Staying) != 1 || p.Staying[0].NEVRA != "centos-release-nfv-1-1.noarch" {
			t.Errorf("staying: %v", p.Staying)
		}
	})
	t.Run("what is obsoleted leaves", func(t *testing.T) {
		in, content := world(t)
		(*content)[0].obsolete = []string{"oldthing < 2"}
		in.Inventory.Packages = append(in.Inventory.Packages, installed(t, "oldthing-1-1.noarch", theirs, nil, nil))
		p, err := build(t, in, *content)
		if err != nil {
			t.Fatal(err)
		}
		if l, _ := names(p); !slices.Contains(l, "oldthing") {
			t.Errorf("leaving: %v", l)
		}
	})
}

func TestPlanIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*plan.Input, *[]rpm)
		want   error
	}{
		{"no almalinux-release", func(_ *plan.Input, c *[]rpm) { *c = (*c)[1:] }, plan.ErrNoTarget},
		{"only for another architecture", func(_ *plan.Input, c *[]rpm) { (*c)[0].nevra = "almalinux-release-8.10-1.aarch64" }, plan.ErrNoTarget},
		{"AlmaLinux already", func(in *plan.Input, _ *[]rpm) { in.Inventory.Host.State = inventory.StateAlmaLinux }, plan.ErrNothing},
		{"EL7", func(in *plan.Input, _ *[]rpm) { in.Inventory.Host.Major = 7 }, plan.ErrHost},
		{"location above the repository", func(_ *plan.Input, c *[]rpm) { (*c)[0].location = "../../x.rpm" }, plan.ErrUnsafe},
		{"absolute location", func(_ *plan.Input, c *[]rpm) { (*c)[0].location = "/etc/x.rpm" }, plan.ErrUnsafe},
		{"no package file", func(_ *plan.Input, c *[]rpm) { (*c)[0].location = "Packages/x.sh" }, plan.ErrUnsafe},
		{"a release with a slash", func(_ *plan.Input, c *[]rpm) {
			(*c)[0] = rpm{nevra: "almalinux-release-8.10-1/../../x.x86_64", location: "x.rpm", provides: (*c)[0].provides}
		}, plan.ErrUnsafe},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, content := world(t)
			c.change(&in, content)
			if _, err := build(t, in, *content); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestDriftIsNamed(t *testing.T) {
	in, content := world(t)
	approved, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*plan.Input, *[]rpm)
		says   string
	}{
		"a package more": {func(in *plan.Input, _ *[]rpm) {
			in.Inventory.Packages = append(in.Inventory.Packages, installed(t, "more-1-1.noarch", theirs, nil, nil))
		}, "package is new: more-1-1.noarch " + theirs},
		"a repository off": {func(in *plan.Input, _ *[]rpm) { in.Inventory.Repos[2].Enabled = false }, "repository is gone: epel enabled"},
		"a newer release":  {func(_ *plan.Input, c *[]rpm) { (*c)[0].nevra = "almalinux-release-8.10-2.x86_64" }, "coming package is new: almalinux-release-8.10-2.x86_64"},
	} {
		t.Run(name, func(t *testing.T) {
			in, content := world(t)
			c.change(&in, content)
			now, err := build(t, in, *content)
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Drift(approved, now); !errors.Is(err, plan.ErrDrift) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v\nwant %s", err, c.says)
			}
		})
	}
}

func TestBlockersAndOverrides(t *testing.T) {
	in, content := world(t)
	in.Assessment = &assess.Assessment{Findings: []assess.Finding{{ID: "a.b", Severity: assess.Blocker, Title: "the attic is locked", Remedy: assess.Remedy{Text: "open it", Command: "attic open"}}, {ID: "c.d", Severity: assess.Blocker}, {ID: "e.f", Severity: assess.Warning}}}
	in.Overrides = []plan.Override{{ID: "c.d", Reason: "tested"}}
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a.b"}, p.Blockers); d != "" {
		t.Error(d)
	}
	var b bytes.Buffer
	if err := p.WriteText(&b, true); err != nil || !strings.Contains(b.String(), "Overridden: c.d (tested)") || !strings.Contains(b.String(), "explain a.b") {
		t.Errorf("%v\n%s", err, b.String())
	}
	// The verdict is first, and what to do is with the blocker.
	if lines := strings.Split(b.String(), "\n"); !strings.HasPrefix(lines[1], "BLOCKED by a.b:") || !strings.Contains(b.String(), "the attic is locked\n      > open it\n          attic open\n") {
		t.Errorf("%s", b.String())
	}
	p.Blockers = nil // overridden later
	b.Reset()
	if err := p.WriteText(&b, true); err != nil || strings.Contains(b.String(), "BLOCKED") || strings.Contains(b.String(), "attic") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"kind":"almamigrate.plan","schema_version":"1.0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := plan.Read(bytes.NewReader(data)); err == nil {
			_ = p.WriteText(&bytes.Buffer{}, true)
		}
	})
}
