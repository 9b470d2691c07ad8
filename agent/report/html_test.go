package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/pagecheck"
)

func points(n int) []report.Point {
	var out []report.Point
	for i := range n {
		p := report.Point{Finished: time.Date(2026, 1, 1+i, 3, 0, 0, 0, time.UTC), Verdict: assess.Blocked, Blockers: 7 - i%8, Warnings: i % 5}
		switch {
		case i%7 == 3:
			p = report.Point{Finished: p.Finished, Verdict: assess.Unknown, Failed: true}
		case p.Blockers == 0:
			p.Verdict = assess.ReadyWithWarnings
		}
		out = append(out, p)
	}
	return out
}

func html(t *testing.T, r *report.Report, pts []report.Point) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b, pts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What axe would look for first, without axe: language, title, headings that
// skip no level, one h1 and one main, ids once and referred to rightly, header
// cells with a scope, captions, names for images and landmarks, and nothing
// that is loaded or run.
func TestPageAccessibility(t *testing.T) {
	full, _ := sampleReport()
	full.Incoming = sample().Incoming
	full.Modules = []assess.ModuleResult{{Name: "acme_raid", Loaded: true, Verdict: assess.ModuleMissing, Reason: "nobody has it", Roles: []string{"root"}}, {Name: "xfs", Loaded: true, Verdict: assess.ModuleInTree}}
	full.Space = []assess.SpaceNeed{{Mount: "/boot", Free: 1 << 28, Need: 1 << 27}}
	full.Skipped = []inventory.Skipped{{What: "/etc/x", Reason: "permission denied"}}
	empty := report.NewReport(nil, &report.Failure{Code: 13, Message: "no network", Hint: "look"})
	for name, page := range map[string]string{"full": html(t, full, points(40)), "failed": html(t, empty, nil), "one point": html(t, full, points(1))} {
		pagecheck.Accessible(t, name, page)
	}
}

// The CVEs of a kernel are there once, not for each of its packages, all of
// which have a row.
func TestPageReopened(t *testing.T) {
	r, _ := sampleReport()
	many := []string{"CVE-2026-10100", "CVE-2026-10101"}
	for _, n := range []string{"kernel", "kernel-core", "kernel-modules"} {
		r.Security.Reopened = append(r.Security.Reopened, assess.Reopened{NEVRA: n + "-4-9.el8.x86_64", After: n + "-4-8.el8.x86_64", CVEs: many})
	}
	page := html(t, r, nil)
	if n := strings.Count(page, "CVE-2026-10101"); n != 1 {
		t.Errorf("the CVE is there %d times", n)
	}
	for _, want := range []string{"foo-1.1-3.el8.x86_64", ">kernel-4-9.el8.x86_64<", ">kernel-core-4-9.el8.x86_64</th><td class=\"mono\">kernel-core-4-8.el8.x86_64</td><td>the same</td>", ">kernel-modules-4-8.el8.x86_64<", "CVE-2026-7<"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestPageContrast(t *testing.T) {
	pagecheck.Contrast(t, html(t, report.NewReport(sample(), nil), nil))
}

const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\u202egpj.exe\x1b[31m</style></title>javascript:alert(1)"

// hostileReport has the same text everywhere that a package, a repository or a
// host can put one.
func hostileReport() *report.Report {
	r, _ := sampleReport()
	h := hostile
	r.Host.Name, r.Host.PrettyName, r.Host.Arch, r.Host.Kernel, r.Tool.Version, r.RunID, r.Verdict, r.Summary.Target = h, h, h, h, h, h, assess.Verdict(h), h
	r.Findings = []assess.Finding{{ID: h, Severity: assess.Blocker, Title: h, Detail: h, Resources: []assess.Resource{{Kind: h, Name: h, Detail: h}}, Remedy: assess.Remedy{Text: h, Command: h}},
		{ID: "boot." + h, Severity: assess.Warning, Title: h}}
	for i := range r.Packages {
		p := &r.Packages[i]
		p.Name, p.NEVRA, p.Reason, p.Risk = h, h, h, h
		if p.Target != nil {
			p.Target = &assess.Target{NEVRA: h, Repo: h}
		}
	}
	r.Incoming = []assess.Incoming{{NEVRA: h, Repo: h, RequiredBy: h, Requirement: h}}
	r.Modules = []assess.ModuleResult{{Name: h, Verdict: assess.ModuleVerdict(h), Reason: h, Roles: []string{h}}}
	r.Repos = []assess.RepoResult{{ID: h, URL: h, Signed: h, Error: h}}
	r.Space = []assess.SpaceNeed{{Mount: h}}
	r.Skipped = []inventory.Skipped{{What: h, Reason: h}}
	r.Changes.New = []report.FindingChange{{ID: h, Severity: assess.Severity(h), Title: h, Resource: h}}
	r.Changes.Packages = []report.PackageChange{{Name: h, From: []string{h}, To: []string{h}}}
	r.Delivery = []report.Delivery{{Endpoint: h, URL: h, Error: h}}
	r.Failure = &report.Failure{Message: h, Hint: h}
	for _, list := range [][]assess.AdvisoryResult{r.Security.Closed, r.Security.Open} {
		for i := range list {
			a := &list[i]
			a.ID, a.Severity, a.Title, a.Issued, a.CVEs, a.Part = h, h, h, h, []string{h}, h
			a.Packages = []assess.AdvisoryPackage{{NEVRA: h, Fixed: h, After: h, Why: h}}
		}
	}
	r.Security.Reopened = []assess.Reopened{{NEVRA: h, After: h, CVEs: []string{h}}}
	r.Security.Sources[0].Name, r.Security.Sources[0].Error = h, h
	r.Changes.Security = &report.SecurityChanges{New: []report.AdvisoryChange{{ID: h, Type: h, Severity: h}}, Gone: []report.AdvisoryChange{{ID: h, Type: "security", Severity: h}},
		NewSeverity: map[string]int{h: 1}, Reopened: []string{h}, NotReopened: []string{h}}
	r.Origins.Packages = []assess.OriginGroup{{Owner: h, Repo: h, Packages: 1, States: map[string]int{h: 1}, Examples: []string{h}, Notable: []assess.OriginNote{{NEVRA: h, State: h, Why: h}}}}
	r.Origins.Repos = []assess.OriginRepo{{ID: h, After: []string{h}, Detail: h, Package: h, Release: "breaks", Fate: h, FateWhy: h}}
	r.Origins.Modified, r.Origins.ModifiedSource = []assess.ModifiedEntry{{Source: h, What: h}}, h
	return r
}

func TestPageHostile(t *testing.T) {
	pts := points(2)
	pts[0].Verdict = hostile
	page := html(t, hostileReport(), pts)
	plain := html(t, report.NewReport(sample(), nil), nil)
	for _, e := range pagecheck.Elements(t, page) {
		if e.Name == "script" || e.Name == "img" {
			t.Errorf("<%s> came in", e.Name)
		}
		for k := range e.Attr {
			if strings.HasPrefix(k, "on") {
				t.Errorf("<%s %s> came in", e.Name, k)
			}
		}
		if strings.Contains(fmt.Sprint(e.Attr["class"], e.Attr["id"], e.Attr["href"]), "<") {
			t.Errorf("<%s>: %v", e.Name, e.Attr)
		}
	}
	if strings.Count(page, "</style>") != strings.Count(plain, "</style>") || strings.ContainsAny(page, "\u202e\x1b") {
		t.Error("the style was closed, or characters came through that hide or turn text")
	}
}

// The page tells of advisories and other vendors where a report has them, and
// only there.
func TestPageSecurity(t *testing.T) {
	r, _ := sampleReport()
	r.Security = securityResult()
	page := html(t, r, nil)
	for _, want := range []string{
		`id="security"`, `href="#security"`, "close 2 security advisories (1 critical, 1 important) with 4 CVEs", "ALSA-2026:0004", "CVE-2026-4, CVE-2026-5, CVE-2026-6", "(after a reboot)",
		"Would stay open: 1", "held back by versionlock.list", "Would open again", "CVE-2026-7", "foo-1.1-2.el8.x86_64", "Bug fixes and enhancements that come: 1",
		"Advisories that no longer apply", "1, of security: 1 moderate", "ALSA-2026:0003 (moderate)", "Not read: advisories of appstream",
		`id="vendors"`, `href="#vendors"`, "signed with the key of acme", "nothing answers at the address that it will have", "duf-1-1.x86_64", "drivers that RHEL dropped are built",
	} {
		if !strings.Contains(strings.ReplaceAll(page, "&#39;", "'"), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	r.Security, r.Origins, r.Changes = nil, nil, nil
	if page := html(t, r, nil); strings.Contains(page, `#security`) || strings.Contains(page, `#vendors`) || strings.Contains(page, "Other vendors") {
		t.Error("sections that nobody asked for")
	}
}

func TestPageInChromium(t *testing.T) {
	full, _ := sampleReport()
	pagecheck.InChromium(t, map[string]string{"full": html(t, full, points(40)), "hostile": html(t, hostileReport(), points(9))})
}
