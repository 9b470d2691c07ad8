package assess_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func init() {
	for _, f := range []struct {
		name    string
		change  func(*world)
		want    []string
		verdict assess.Verdict
	}{
		{"advisories that are closed", func(w *world) {
			w.advise("baseos", advisory("ALSA-2099:1", "Critical", "bash-4.4.20-6.el8_10.x86_64", "CVE-2099-1"))
		}, []string{}, assess.Ready},
		{"a fix that goes", func(w *world) { w.reopening("1.1-3") },
			[]string{"warning pkg.older", "warning sec.reopened"}, assess.ReadyWithWarnings},
		{"a fix that AlmaLinux has under its own number", func(w *world) {
			w.reopening("1.1-3")
			w.advise("baseos", advisory("ALSA-2099:3", "Low", "foo-1.1-2.x86_64", "CVE-2099-7"))
		}, []string{"warning pkg.older"}, assess.ReadyWithWarnings},
		{"a fix of the newest kernel that goes", func(w *world) {
			w.install("centos", pkg("kernel-core-4.18.0-2.el8.x86_64", provides("installonlypkg(kernel)")), pkg("kernel-core-4.18.0-10.el8.x86_64"))
			w.last().Fixes = []inventory.Fix{{Version: "4.18.0-10.el8", CVEs: []string{"CVE-2099-7"}}}
			w.carry("baseos", pkg("kernel-core-4.18.0-9.el8.x86_64"))
			w.advise("baseos", advisory("ALSA-2099:9", "Low", "other-9-9.x86_64"))
		}, []string{"warning pkg.older", "warning sec.reopened"}, assess.ReadyWithWarnings},
		{"a fix of a kernel that is not the newest", func(w *world) {
			w.install("centos", pkg("kernel-core-4.18.0-10.el8.x86_64", provides("installonlypkg(kernel)")), pkg("kernel-core-4.18.0-2.el8.x86_64"))
			w.last().Fixes = []inventory.Fix{{Version: "4.18.0-2.el8", CVEs: []string{"CVE-2099-7"}}}
			w.carry("baseos", pkg("kernel-core-4.18.0-1.el8.x86_64"))
			w.advise("baseos", advisory("ALSA-2099:9", "Low", "other-9-9.x86_64"))
		}, []string{"warning pkg.older"}, assess.ReadyWithWarnings},
		{"a fix in both", func(w *world) { w.reopening("1.1-2") }, []string{"warning pkg.older"}, assess.ReadyWithWarnings},
		{"no updateinfo", func(w *world) {
			w.advise("baseos", advisory("ALSA-2099:1", "Low", "bash-9-9.x86_64"))
			w.advisories = append(w.advisories, assess.AdvisorySource{Name: "appstream", Err: assess.ErrNoAdvisories})
		}, []string{"info sec.no-advisories"}, assess.Ready},
		{"no updateinfo at all", func(w *world) {
			w.advisories = []assess.AdvisorySource{{Name: "appstream", Err: errors.New("cannot open it")}}
		}, []string{"info sec.no-advisories"}, assess.Ready},
	} {
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{"security: " + f.name, f.change, f.want, f.verdict})
	}
}

// reopening installs foo 1.1-3, whose changelog names a CVE at a version, beside
// AlmaLinux's foo 1.1-2.
func (w *world) reopening(version string) {
	w.install("centos", pkg("foo-1.1-3.x86_64"))
	w.last().Fixes = []inventory.Fix{{Version: version, CVEs: []string{"CVE-2099-7"}}, {Version: "1.0-1", CVEs: []string{"CVE-2001-1"}}}
	w.carry("appstream", pkg("foo-1.1-2.x86_64"))
	w.advise("baseos", advisory("ALSA-2099:9", "Low", "other-9-9.x86_64"))
}

// advise adds advisories to a source.
func (w *world) advise(repo string, list ...*repodata.Advisory) {
	for i := range w.advisories {
		if w.advisories[i].Name == repo {
			w.advisories[i].Advisories = append(w.advisories[i].Advisories, list...)
			return
		}
	}
	w.advisories = append(w.advisories, assess.AdvisorySource{Name: repo, Advisories: list})
}

// advisory is one of security about a package; an arch of "any" is none.
func advisory(id, severity, pkg string, cves ...string) *repodata.Advisory {
	n, err := rpmver.ParseNEVRA(pkg)
	if err != nil {
		panic(err)
	}
	if n.Arch == "any" {
		n.Arch = ""
	}
	return &repodata.Advisory{
		ID: id, Type: repodata.AdvisorySecurity, Severity: severity, Title: severity + ": " + n.Name + " security update", CVEs: cves,
		Issued: time.Date(2099, 1, 2, 0, 0, 0, 0, time.UTC), Packages: []repodata.AdvisoryPackage{{Name: n.Name, EVR: n.EVR, Arch: n.Arch}},
	}
}

func modular(a *repodata.Advisory, module, stream string) *repodata.Advisory {
	for i := range a.Packages {
		a.Packages[i].Module, a.Packages[i].Stream = module, stream
	}
	return a
}

func idsOf(list []assess.AdvisoryResult) string {
	var out []string
	for _, r := range list {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

func TestSecurity(t *testing.T) {
	w := newWorld(t)
	w.install("centos", pkg("kernel-core-4.18.0-1.el8.x86_64"), pkg("kernel-core-4.18.0-3.el8.x86_64"), pkg("ruby-2.5.9-1.module_el8.x86_64"),
		pkg("gone-1-1.x86_64"), pkg("held-1-1.x86_64"), pkg("noarch-tool-1-1.noarch"))
	for i := range w.inv.Packages {
		if w.inv.Packages[i].Name == "ruby" {
			w.inv.Packages[i].ModuleLabel = "ruby:2.5:8:c"
		}
	}
	w.install("epel", pkg("htop-1-1.x86_64"))
	w.carry("baseos", pkg("kernel-core-4.18.0-5.el8.x86_64"), pkg("held-2-1.x86_64"), pkg("noarch-tool-2-1.noarch"))
	w.carry("appstream", pkg("ruby-2.5.9-3.module_el8.x86_64"))
	w.inv.DNF.Modules = []inventory.ModuleState{{Name: "ruby", Stream: "2.5", State: "enabled"}}
	w.modules["appstream"] = strings.ReplaceAll(rubyModules, "2.5.9-1.module_el8", "2.5.9-3.module_el8")
	w.advise("baseos",
		advisory("A-closed-any-arch", "Important", "bash-4.4.20-5.el8.any", "CVE-2", "CVE-1"),
		advisory("A-closed-critical", "Critical", "bash-4.4.20-6.el8_10.x86_64", "CVE-1"),
		advisory("A-open", "Low", "bash-9-9.x86_64", "CVE-3"),
		advisory("A-done-already", "Low", "bash-4.4.20-1.el8.x86_64", "CVE-4"),
		advisory("A-other-arch", "Low", "bash-9-9.aarch64", "CVE-5"),
		advisory("A-not-installed", "Low", "zsh-9-9.x86_64", "CVE-6"),
		advisory("A-kernel", "Moderate", "kernel-core-4.18.0-4.el8.x86_64", "CVE-7"),
		advisory("A-kernel-old", "Moderate", "kernel-core-4.18.0-2.el8.x86_64", "CVE-8"),
		advisory("A-no-counterpart", "Low", "gone-2-1.x86_64", "CVE-9"),
		advisory("A-third-party", "Low", "htop-2-1.x86_64", "CVE-10"),
		advisory("A-both", "Low", "glibc-2.28-200.el8.x86_64", "CVE-11"),
		&repodata.Advisory{ID: "A-bugfix", Type: repodata.AdvisoryBugfix, Packages: advisory("", "", "noarch-tool-2-1.noarch").Packages},
	)
	w.advise("appstream",
		advisory("A-both", "Low", "coreutils-8.30-14.el8.x86_64", "CVE-12"),
		modular(advisory("A-stream", "Important", "ruby-2.5.9-2.module_el8.x86_64", "CVE-13"), "ruby", "2.5"),
		modular(advisory("A-other-stream", "Important", "ruby-3.1.4-2.module_el8.x86_64", "CVE-14"), "ruby", "3.1"),
		modular(advisory("A-unclear", "Important", "ruby-3.1.4-2.module_el8.any", "CVE-15"), "", "?"),
		advisory("A-not-modular", "Important", "ruby-9-2.x86_64", "CVE-16"),
	)
	res := w.assess()
	s := res.Security
	if s == nil {
		t.Fatal("no result")
	}
	if got, want := idsOf(s.Closed), "A-closed-critical A-closed-any-arch A-stream A-kernel A-both A-bugfix"; got != want {
		t.Errorf("closed: %s\nwant    %s", got, want)
	}
	if got, want := idsOf(s.Open), "A-no-counterpart A-open"; got != want {
		t.Errorf("open: %s, want %s", got, want)
	}
	if d := cmp.Diff([]string{"A-unclear"}, s.Unclear); d != "" {
		t.Error(d)
	}
	if s.NotJudged != 1 {
		t.Errorf("%d packages not judged, want htop", s.NotJudged)
	}
	want := assess.SecuritySummary{
		Closed:     assess.SecurityCount{Security: 5, BySeverity: map[string]int{"critical": 1, "important": 2, "moderate": 1, "low": 1, "none": 0}, CVEs: 6, Bugfix: 1},
		Open:       assess.SecurityCount{Security: 2, BySeverity: map[string]int{"critical": 0, "important": 0, "moderate": 0, "low": 2, "none": 0}, CVEs: 2},
		Reboot:     true,
		Kernel:     1,
		Advisories: 16,
	}
	if d := cmp.Diff(want, s.Summary); d != "" {
		t.Errorf("summary (-want +got):\n%s", d)
	}
	if r := s.Closed[4]; len(r.Packages) != 2 || len(r.CVEs) != 2 {
		t.Errorf("an advisory of two repositories: %+v", r)
	}
	if r := s.Closed[3]; r.Part != "kernel" || !r.Reboot || r.Packages[0].After != "kernel-core-4.18.0-5.el8.x86_64" {
		t.Errorf("the kernel's: %+v", r)
	}
	if got := s.Closed[0].Subject(); got != "bash security update (CVE-1)" {
		t.Errorf("subject %q", got)
	}

	// Not asked for: not there.
	w = newWorld(t)
	if w.assess().Security != nil {
		t.Error("a result that nobody asked for")
	}
}

// An EL7 host is compared with AlmaLinux 8: that is said.
func TestSecurityOtherMajor(t *testing.T) {
	for _, host := range []int{7, 8} {
		w := newWorld(t)
		w.inv.Host.Major = host
		w.advise("baseos", advisory("A-1", "Important", "bash-4.4.20-6.el8_10.x86_64", "CVE-1"))
		if got, want := w.assess().Security.Summary.OtherMajor, map[int]int{7: 8}[host]; got != want {
			t.Errorf("EL%d: other major %d, want %d", host, got, want)
		}
	}
}

// A lock keeps what it locks open.
func TestSecurityLocked(t *testing.T) {
	w := newWorld(t)
	w.inv.DNF.Versionlock = []string{"bash-0:4.4.20-1.el8.*"}
	w.advise("baseos", advisory("A-1", "Important", "bash-4.4.20-6.el8_10.x86_64", "CVE-1"))
	s := w.assess().Security
	if idsOf(s.Open) != "A-1" || len(s.Closed) != 0 || s.Open[0].Packages[0].Why == "" {
		t.Errorf("%+v", s)
	}
}
