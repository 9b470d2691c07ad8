package report

import (
	"bytes"
	_ "embed" // the template
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

// pageTemplate is parsed at the first use: no other command pays for it.
var pageTemplate = sync.OnceValues(func() (*template.Template, error) { return NewPage(pageText) })

// NewPage parses the template of a page that looks like the report's: with its
// style as {{style}}, and functions that make text from outside safe to look
// at (html/template makes it safe to parse).
func NewPage(text string) (*template.Template, error) {
	return template.New("page").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(pageStyle) }, //nolint:gosec // our own text
		"s":     func(v any) string { return Safe(fmt.Sprint(v)) },
		"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"mib":   func(n any) string { return mib(n) },
		"class": severityClass,
		"join":  func(l []string) string { return Safe(strings.Join(l, ", ")) },

		"severities": func(n map[string]int) string { return assess.SecurityCount{BySeverity: n}.Worded() },
		"changes":    changedAdvisories,
	}).Parse(text)
}

// mib writes a number of bytes in MiB.
func mib(n any) string {
	var f float64
	switch v := n.(type) {
	case int64:
		f = float64(v)
	case uint64:
		f = float64(v)
	}
	return fmt.Sprintf("%.1f", f/(1<<20))
}

// pageData is what the template sees.
type pageData struct {
	*Report
	Class              string // of the verdict
	Sentence           string
	Groups             []pageGroup
	ModuleRows         []assess.ModuleResult // those that do not just stay
	Calm               int                   // modules that do
	Boot               []pageFinding
	Download           int64
	Blocking, Warnings int
	Timeline           *pageTimeline
	Severities         []pageSeverity
	pageSecurity
}

// pageGroup is the packages of one verdict.
type pageGroup struct {
	Title, Says string
	Open        bool
	Packages    []assess.PackageResult
}

type pageSeverity struct {
	Severity assess.Severity
	Title    string
	Findings []pageFinding
}

// pageFinding is a finding with a name to link to, its own on the page.
type pageFinding struct {
	assess.Finding
	Anchor string
}

// pageFindings names the findings: f-pkg-older, f-pkg-older-2.
func pageFindings(list []assess.Finding) []pageFinding {
	seen := map[string]int{}
	out := make([]pageFinding, 0, len(list))
	for _, f := range list {
		a := "f-" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, f.ID)
		if seen[a]++; seen[a] > 1 {
			a = fmt.Sprintf("%s-%d", a, seen[a])
		}
		out = append(out, pageFinding{f, a})
	}
	return out
}

var verdictSentences = map[assess.Verdict]string{
	assess.Ready:             "This host can become AlmaLinux. Nothing stands in the way.",
	assess.ReadyWithWarnings: "This host can become AlmaLinux. Read the warnings first.",
	assess.Blocked:           "This host cannot become AlmaLinux yet. The blockers below say why, and what to do.",
	assess.Unknown:           "There is no verdict: the evidence does not suffice.",
}

// WriteHTML writes the report as one page that needs nothing else: no script,
// no font, no image from anywhere. Points are the earlier reports, oldest
// first; without any the page has no timeline.
func (r *Report) WriteHTML(w io.Writer, points []Point) error {
	t, err := pageTemplate()
	if err != nil {
		return fmt.Errorf("internal error: the page's template: %w", err)
	}
	d := &pageData{Report: r, Class: "v-" + className(r.Verdict), Sentence: verdictSentences[r.Verdict], Timeline: newTimeline(points),
		Blocking: r.Summary.Findings[assess.Blocker], Warnings: r.Summary.Findings[assess.Warning]}
	for _, g := range []struct {
		verdict     assess.PackageVerdict
		title, says string
		open        bool
	}{
		{assess.Replaced, "Replaced", "AlmaLinux has another package in this place: branding, or one that obsoletes it.", true},
		{assess.Older, "Downgraded", "AlmaLinux's version is older.", true},
		{assess.Missing, "Without counterpart", "The source distribution's own; they stay, without updates.", true},
		{assess.ThirdParty, "Third-party", "Built by others; they stay.", false},
		{assess.Local, "Local", "Unsigned and from no known repository; they stay.", false},
		{assess.Newer, "Updated", "AlmaLinux has a newer version.", false},
		{assess.Same, "Same", "AlmaLinux has the same version.", false},
	} {
		if list := r.Moves(g.verdict); len(list) > 0 {
			d.Groups = append(d.Groups, pageGroup{g.title, g.says, g.open && len(list) <= 50, list})
		}
	}
	for _, p := range r.Packages {
		if p.Target != nil && p.Target.RepoEnabled {
			d.Download += p.Target.Size
		}
	}
	for _, p := range r.Incoming {
		d.Download += p.Size
	}
	all := pageFindings(r.Findings)
	for _, s := range []struct {
		s assess.Severity
		t string
	}{{assess.Blocker, "Blockers"}, {assess.Warning, "Warnings"}, {assess.Info, "Good to know"}} {
		var list []pageFinding
		for _, f := range all {
			if f.Severity == s.s {
				list = append(list, f)
			}
		}
		if len(list) > 0 {
			d.Severities = append(d.Severities, pageSeverity{s.s, s.t, list})
		}
	}
	for _, f := range all {
		if area, _, _ := strings.Cut(f.ID, "."); area == "boot" || area == "space" || area == "fs" || area == "secureboot" {
			d.Boot = append(d.Boot, f)
		}
	}
	for _, m := range r.Modules {
		if m.Verdict == assess.ModuleInTree || m.Verdict == assess.ModuleBuiltIn {
			d.Calm++
			continue
		}
		d.ModuleRows = append(d.ModuleRows, m)
	}
	d.pageSecurity = newPageSecurity(&r.Check)
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return fmt.Errorf("cannot make the page: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return nil
}

// className keeps a verdict that no version of ours knows out of the markup.
func className(v assess.Verdict) string {
	switch v {
	case assess.Ready, assess.ReadyWithWarnings, assess.Blocked:
		return string(v)
	}
	return string(assess.Unknown)
}

// severityClass does the same for severities.
func severityClass(v assess.Severity) string {
	switch v {
	case assess.Blocker, assess.Warning:
		return string(v)
	}
	return string(assess.Info)
}

// pageTimeline is the bars of the earlier reports, in units of the SVG.
type pageTimeline struct {
	Width, Height, Base int
	Bars                []pageBar
	Most                int
	First, Last         time.Time
}

type pageBar struct {
	Point
	X, W                   int
	BlockerY, BlockerH     int
	WarningY, WarningH     int
	Class, Tooltip, Reason string
}

const (
	timelineWidth  = 720
	timelineHeight = 120 // of the bars
)

func newTimeline(points []Point) *pageTimeline {
	if len(points) == 0 {
		return nil
	}
	t := &pageTimeline{Width: timelineWidth, Height: timelineHeight + 40, Base: timelineHeight + 4, First: points[0].Finished, Last: points[len(points)-1].Finished}
	for _, p := range points {
		t.Most = max(t.Most, p.Blockers+p.Warnings)
	}
	step := max(timelineWidth/len(points), 4)
	for i, p := range points {
		b := pageBar{Point: p, X: i * step, W: min(max(step-2, 2), 40), Class: "v-" + className(p.Verdict)}
		height := func(n int) int {
			if n <= 0 || t.Most <= 0 {
				return 0
			}
			return max(n*timelineHeight/t.Most, 2)
		}
		b.BlockerH, b.WarningH = height(p.Blockers), height(p.Warnings)
		b.BlockerY = timelineHeight - b.BlockerH
		b.WarningY = b.BlockerY - b.WarningH
		b.Tooltip = fmt.Sprintf("%s: %s, %s, %s", p.Finished.UTC().Format("2006-01-02 15:04"), className(p.Verdict), counted(p.Blockers, "blocker"), counted(p.Warnings, "warning"))
		t.Bars = append(t.Bars, b)
	}
	return t
}
