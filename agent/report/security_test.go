package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

func advisoryResult(id, severity, title string, cves ...string) assess.AdvisoryResult {
	cves = append([]string{}, cves...)
	return assess.AdvisoryResult{ID: id, Type: "security", Severity: severity, Title: severity + ": " + title, Issued: "2026-02-03", CVEs: cves,
		Packages: []assess.AdvisoryPackage{{NEVRA: "bash-4.4-1.el8.x86_64", Fixed: "4.4-3.el8", After: "bash-4.4-4.el8.x86_64"}}}
}

// securityResult is a result with something of everything.
func securityResult() *assess.SecurityResult {
	kernel := advisoryResult("ALSA-2026:0004", "Important", "kernel security update", "CVE-2026-4", "CVE-2026-5", "CVE-2026-6")
	kernel.Part, kernel.Reboot = "kernel", true
	stays := advisoryResult("ALSA-2026:0003", "Moderate", "sssd security update", "CVE-2026-3")
	stays.Packages = []assess.AdvisoryPackage{{NEVRA: "sssd-2.9-5.el8.x86_64", Fixed: "2.9-6.el8", After: "sssd-2.9-5.el8.x86_64", Why: "held back by versionlock.list"}}
	return &assess.SecurityResult{
		Sources: []assess.AdvisoryOrigin{{Name: "appstream", Error: assess.ErrNoAdvisories.Error()}, {Name: "baseos", Advisories: 300, Newest: "2026-02-03"}},
		Closed: []assess.AdvisoryResult{advisoryResult("ALSA-2026:0001", "Critical", "bash security update", "CVE-2026-1"), kernel,
			{ID: "ALBA-2026:0009", Type: "bugfix", Title: "tzdata bug fix update", Issued: "2026-01-02", CVEs: []string{}, Packages: []assess.AdvisoryPackage{}}},
		Open:     []assess.AdvisoryResult{stays},
		Reopened: []assess.Reopened{{NEVRA: "foo-1.1-3.el8.x86_64", After: "foo-1.1-2.el8.x86_64", CVEs: []string{"CVE-2026-7"}}},
		Unclear:  []string{"ALSA-2026:0008"}, NotJudged: 1,
		Summary: assess.SecuritySummary{
			Closed:   assess.SecurityCount{Security: 2, BySeverity: map[string]int{"critical": 1, "important": 1, "moderate": 0, "low": 0, "none": 0}, CVEs: 4, Bugfix: 1},
			Open:     assess.SecurityCount{Security: 1, BySeverity: map[string]int{"critical": 0, "important": 0, "moderate": 1, "low": 0, "none": 0}, CVEs: 1},
			Reopened: 1, Reboot: true, Kernel: 1, Advisories: 300,
		},
	}
}

func originsResult() *assess.Origins {
	return &assess.Origins{
		Repos: []assess.OriginRepo{
			{ID: "acme", File: "/etc/yum.repos.d/acme.repo", Packages: 2, Address: "other", Before: []string{"https://acme.example/8.5/"}, After: []string{"https://acme.example/8/"},
				Probe: "dead", Detail: "404 Not Found", Key: "missing", Release: "none", Fate: "stays", FateWhy: "AlmaLinux leaves it as it is"},
			{ID: "epel", File: "/etc/yum.repos.d/epel.repo", Package: "epel-release-8-1.noarch", Packages: 1, Address: "same", Before: []string{"https://epel.example/8"}, After: []string{"https://epel.example/8"},
				Probe: "answers", Detail: "https://epel.example/8", Key: "present", Release: "holds", Fate: "stays", FateWhy: "AlmaLinux leaves it as it is"},
			{ID: "epel-next", File: "/etc/yum.repos.d/epel-next.repo", Package: "epel-next-release-8-1.noarch", Address: "same", Before: []string{}, After: []string{},
				Probe: "unprobed", Key: "present", Release: "holds", Fate: "goes", FateWhy: "its package epel-next-release goes: CentOS Stream's own"},
		},
		Packages: []assess.OriginGroup{
			{Owner: "epel", Repo: "epel", Packages: 2, States: map[string]int{"valid": 1, "twice": 1}, Examples: []string{"duf", "htop"},
				Notable: []assess.OriginNote{{NEVRA: "duf-1-1.x86_64", State: "twice", Why: "EPEL's, and Synergy has duf-1-2.x86_64"}}},
			{Owner: "unknown", Repo: "acme", Packages: 1, States: map[string]int{"valid": 1}, Examples: []string{"acme-agent"}, Notable: []assess.OriginNote{}},
		},
		Modified:       []assess.ModifiedEntry{{Source: "anaconda", What: "carries AlmaLinux's names and marks", Packages: 1}, {Source: "kernel", What: "drivers that RHEL dropped are built", Packages: 3}},
		ModifiedSource: "AlmaLinux wiki, 2026-02-01",
	}
}

// The packages of one source are one entry, and a kernel's CVEs do not fill the
// screen.
func TestSecurityTextReopened(t *testing.T) {
	c := sample()
	c.Security = securityResult()
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("CVE-2026-%d", 10100+i))
	}
	c.Security.Reopened = append(c.Security.Reopened,
		assess.Reopened{NEVRA: "kernel-4-9.el8.x86_64", After: "kernel-4-8.el8.x86_64", CVEs: many},
		assess.Reopened{NEVRA: "kernel-core-4-9.el8.x86_64", After: "kernel-core-4-8.el8.x86_64", CVEs: many})
	says := func(verbose bool) string {
		return strings.Join(strings.Fields(string(text(t, c, report.TextOptions{Verbose: verbose, Width: 100}))), " ")
	}
	short, long := says(false), says(true)
	for want, in := range map[string]string{
		"kernel-4-9.el8.x86_64, becomes kernel-4-8.el8.x86_64: CVE-2026-10100,": short, "CVE-2026-10111 and 28 more; the same of 1 more package ": short,
		"CVE-2026-10139; the same of 1 more package: kernel-core-4-9.el8.x86_64": long,
	} {
		if !strings.Contains(in, want) {
			t.Errorf("%q is missing:\n%s", want, in)
		}
	}
	if strings.Contains(short, "CVE-2026-10112") {
		t.Error("a wall of CVEs")
	}
}

func TestSecurityText(t *testing.T) {
	c := sample()
	c.Security, c.Origins = securityResult(), originsResult()
	golden(t, "security.txt", text(t, c, report.TextOptions{Width: 80}))
	// A reason that several share is said once.
	other := advisoryResult("ALSA-2026:0005", "Low", "bash security update")
	other.Packages[0].After, other.Packages[0].Why = other.Packages[0].NEVRA, "AlmaLinux has no such package"
	c.Security.Open = append(c.Security.Open, c.Security.Open[0], other)
	got := strings.Join(strings.Fields(string(text(t, c, report.TextOptions{Width: 80}))), " ")
	if strings.Count(got, "held back by versionlock.list") != 1 || !strings.Contains(got, "Where nothing else is said: held back by versionlock.list. Moderate") ||
		!strings.Contains(got, "bash-4.4-1.el8.x86_64: AlmaLinux has no such package") {
		t.Errorf("the reasons are not clear:\n%s", got)
	}
	c.Security.Summary.Closed = assess.SecurityCount{}
	c.Security.Closed, c.Security.Open, c.Security.Reopened = nil, nil, nil
	if got := string(text(t, c, report.TextOptions{Width: 80})); !strings.Contains(got, "No security advisory") {
		t.Errorf("nothing to close is not said:\n%s", got)
	}
	c.Security = securityResult()
	c.Security.Summary.OtherMajor = 8
	if got := strings.Join(strings.Fields(string(text(t, c, report.TextOptions{Width: 80}))), " "); !strings.Contains(got, "An upgrade to AlmaLinux 8 closes it") || strings.Contains(got, "migrate --full") {
		t.Errorf("an upgrade is needed, and that is not said:\n%s", got)
	}
	c.Security.Summary.Advisories = 0
	if got := string(text(t, c, report.TextOptions{Width: 80})); strings.Contains(got, "\nSecurity\n") {
		t.Errorf("no advisory was read, and something is said of security:\n%s", got)
	}
}

// What came and went counts only where both reports read the same.
func TestDiffSecurity(t *testing.T) {
	before, after := report.NewReport(sample(), nil), report.NewReport(sample(), nil)
	before.Security, after.Security = securityResult(), securityResult()
	if d := report.Diff(before, after); !d.Empty() || len(d.Counts) > 0 {
		t.Errorf("a report differs from itself: %+v", d)
	}
	after.Security.Closed = append(after.Security.Closed[1:], advisoryResult("ALSA-2026:0010", "Low", "x"), advisoryResult("ALSA-2026:0011", "Critical", "y"),
		advisoryResult("ALSA-2026:0012", "odd", "z"))
	// What moves from one list to the other applies as before.
	after.Security.Open, after.Security.Closed = after.Security.Closed[:1], append(after.Security.Closed[1:], after.Security.Open...)
	after.Security.Reopened[0].CVEs = []string{"CVE-2026-8", "CVE-2026-9"}
	after.Security.Summary.Closed.Security = 5
	d := report.Diff(before, after)
	want := &report.SecurityChanges{
		New: []report.AdvisoryChange{{ID: "ALSA-2026:0011", Type: "security", Severity: "critical"}, {ID: "ALSA-2026:0010", Type: "security", Severity: "low"},
			{ID: "ALSA-2026:0012", Type: "security", Severity: "none"}},
		Gone:        []report.AdvisoryChange{{ID: "ALSA-2026:0001", Type: "security", Severity: "critical"}},
		NewSeverity: map[string]int{"critical": 1, "low": 1, "none": 1}, GoneSeverity: map[string]int{"critical": 1},
		Reopened: []string{"CVE-2026-8", "CVE-2026-9"}, NotReopened: []string{"CVE-2026-7"},
	}
	if diff := cmp.Diff(want, d.Security); diff != "" {
		t.Error(diff)
	}
	if d.Empty() || !cmp.Equal(d.Counts, map[string][]int{"advisories.closed": {2, 5}}) {
		t.Errorf("counts %v", d.Counts)
	}
	after.Changes = d
	doc, err := after.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := validateReport(t, doc); err != nil {
		t.Error(err)
	}

	after.Security.Sources[0].Error = "" // another repository was read
	if d := report.Diff(before, after); d.Security != nil {
		t.Errorf("other sources are compared: %+v", d.Security)
	}
	before.Security = nil
	if d := report.Diff(before, after); d.Security != nil {
		t.Errorf("compared with a report that did not ask: %+v", d.Security)
	}
}
