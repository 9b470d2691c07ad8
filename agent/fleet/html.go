package fleet

import (
	"bufio"
	_ "embed" // the template
	"fmt"
	"html/template"
	"io"
	"sync"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

//go:embed page.html.tmpl
var pageText string

var pageTemplate = sync.OnceValues(func() (*template.Template, error) { return report.NewPage(pageText) })

type pageData struct {
	*Fleet
	Class, Badge string
	Notes        []string
	Severities   []pageSeverity
	Bars         []pageBar
}

type pageSeverity struct {
	Title    string
	Findings []pageFinding
}

type pageFinding struct {
	Finding
	Anchor string
}

// pageBar is a part of the bar that shows how many hosts are ready.
type pageBar struct {
	Class, Title string
	N, X, W      int
}

const barWidth = 720

// WriteHTML writes the picture as one page that needs nothing else: no script,
// no font, no image from anywhere.
func (f *Fleet) WriteHTML(w io.Writer) error {
	t, err := pageTemplate()
	if err != nil {
		return fmt.Errorf("internal error: the page's template: %w", err)
	}
	s := f.Summary
	d := &pageData{Fleet: f, Notes: f.notes()}
	switch {
	case s.Hosts == 0:
		d.Class, d.Badge = "v-unknown", "unknown"
	case s.Blocked > 0:
		d.Class, d.Badge = "v-blocked", "some are blocked"
	case s.Unknown+s.Stale > 0:
		d.Class, d.Badge = "v-ready-with-warnings", "not all are known"
	case s.Warnings > 0:
		d.Class, d.Badge = "v-ready-with-warnings", "ready, with warnings"
	default:
		d.Class, d.Badge = "v-ready", "ready"
	}
	for _, sv := range []struct {
		severity assess.Severity
		title    string
	}{{assess.Blocker, "Blockers"}, {assess.Warning, "Warnings"}} {
		p := pageSeverity{Title: sv.title}
		for i, fd := range f.Findings {
			if fd.Severity == sv.severity {
				p.Findings = append(p.Findings, pageFinding{fd, fmt.Sprintf("f%d", i)})
			}
		}
		if len(p.Findings) > 0 {
			d.Severities = append(d.Severities, p)
		}
	}
	seen := 0
	for _, b := range []pageBar{
		{Class: "almalinux", Title: "AlmaLinux already", N: s.AlmaLinux}, {Class: "ready", Title: "ready", N: s.Ready - s.Warnings},
		{Class: "ready-with-warnings", Title: "ready, with warnings", N: s.Warnings}, {Class: "stale", Title: "stale report", N: s.Stale},
		{Class: "unknown", Title: "no verdict", N: s.Unknown}, {Class: "blocked", Title: "blocked", N: s.Blocked},
	} {
		if b.N == 0 {
			continue
		}
		b.X = seen * barWidth / s.Hosts
		seen += b.N
		b.W = max(seen*barWidth/s.Hosts-b.X, 1)
		d.Bars = append(d.Bars, b)
	}
	bw := bufio.NewWriterSize(w, 64<<10)
	if err := t.Execute(bw, d); err != nil {
		return fmt.Errorf("cannot make the page: %w", err)
	}
	return bw.Flush()
}
