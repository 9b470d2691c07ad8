package fleet

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

// few is how many rows the text has of each table without Verbose.
const few = 10

// WriteText writes the picture for people: the verdict, what stands in the
// way, what to do. With Verbose the tables are whole.
func (f *Fleet) WriteText(w io.Writer, opt report.TextOptions) error {
	t := report.NewTextPage(opt)
	rows := func(n int) int {
		if opt.Verbose {
			return n
		}
		return min(n, few)
	}
	more := func(n int, what string) {
		if n > rows(n) {
			t.Line("  and %d more %s (--verbose, --json)", n-rows(n), what)
		}
	}
	t.Strong("%s", f.Headline())
	for _, l := range f.notes() {
		t.Wrap("  ", "%s", l)
	}
	for _, s := range []struct {
		severity assess.Severity
		title    string
	}{{assess.Blocker, "What blocks most hosts"}, {assess.Warning, "Warnings"}} {
		var list []Finding
		for _, fd := range f.Findings {
			if fd.Severity == s.severity {
				list = append(list, fd)
			}
		}
		if len(list) == 0 {
			continue
		}
		t.Heading("%s", s.title)
		for _, fd := range list[:rows(len(list))] {
			lead := fmt.Sprintf("%11s  ", count(fd.Hosts, "host"))
			t.Wrap(lead, "%s: %s", fd.ID, fd.Title)
			pad := strings.Repeat(" ", len(lead))
			if len(fd.Resources) > 0 && s.severity == assess.Blocker || opt.Verbose && len(fd.Resources) > 0 {
				var parts []string
				for _, r := range fd.Resources {
					parts = append(parts, fmt.Sprintf("%s (%d)", r.Name, r.Hosts))
				}
				t.Wrap(pad, "names %s", strings.Join(parts, ", "))
			}
			if s.severity == assess.Blocker {
				t.Wrap(pad, "on %s", someHosts(fd.Examples, fd.Hosts))
				t.Wrap(pad, "%s", fd.Remedy)
				if fd.Command != "" {
					t.Wrap(pad, "%s: %s", count(fd.CommandHosts, "host"), fd.Command)
				}
			}
		}
		more(len(list), "findings")
	}
	f.writeSecurity(t, rows, more)
	f.writeSystems(t, rows)
	for _, fc := range f.Facets {
		if len(fc.Items) == 0 || fc.ID == "incoming" && !opt.Verbose || fc.ID == "tool" && fc.Total < 2 {
			continue
		}
		t.Heading("%s (%d)", fc.Title, fc.Total)
		for _, it := range fc.Items[:rows(len(fc.Items))] {
			t.Wrap(fmt.Sprintf("%11s  ", count(it.Hosts, "host")), "%s", strings.TrimSpace(it.Name+"  "+it.Class))
		}
		if n := rows(len(fc.Items)); fc.Total > n {
			t.Line("  and %d more (--verbose, --json)", fc.Total-n)
		}
	}
	if len(f.Unread) > 0 {
		t.Heading("Not read (%d)", f.Summary.Unread)
		for _, u := range f.Unread[:rows(len(f.Unread))] {
			t.Wrap("  ", "%s: %s", u.Source, u.Reason)
		}
		more(f.Summary.Unread, "files")
	}
	if len(f.Duplicates) > 0 {
		t.Heading("Hosts with more than one report: the newest counts (%d)", len(f.Duplicates))
		for _, d := range f.Duplicates[:rows(len(f.Duplicates))] {
			t.Wrap("  ", "%s: %s; put aside: %s", d.Host, d.Kept, someHosts(d.Others, d.Count))
		}
		more(len(f.Duplicates), "hosts")
	}
	f.writeWaves(t, rows, more)
	_, err := t.WriteTo(w)
	return err
}

// Headline is the verdict in one sentence.
func (f *Fleet) Headline() string {
	s := f.Summary
	if s.Hosts == 0 {
		return "No report of a host could be read."
	}
	head := fmt.Sprintf("%d of %s ready to become AlmaLinux", s.Ready, count(s.Hosts, "host"))
	if s.Hosts == 1 {
		head = fmt.Sprintf("%d of 1 host is ready to become AlmaLinux", s.Ready)
	} else {
		head = strings.Replace(head, " ready", " are ready", 1)
	}
	if s.Warnings > 0 {
		head += fmt.Sprintf(" (%d with warnings to read)", s.Warnings)
	}
	var rest []string
	for _, p := range []struct {
		n    int
		what string
	}{{s.Blocked, "blocked"}, {s.Unknown, "without a verdict"}, {s.Stale, "with a stale report"}, {s.AlmaLinux, "AlmaLinux already"}} {
		if p.n > 0 {
			rest = append(rest, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(rest) > 0 {
		head += "; " + strings.Join(rest, ", ")
	}
	return head + "."
}

// notes are what must be known about the evidence.
func (f *Fleet) notes() []string {
	var out []string
	s := f.Summary
	if s.Hosts == 0 {
		return out
	}
	oldest := f.Hosts[0]
	var stale []string
	for _, h := range f.Hosts {
		if h.Finished.Before(oldest.Finished) {
			oldest = h
		}
		if h.Stale {
			stale = append(stale, h.Name)
		}
	}
	out = append(out, fmt.Sprintf("The oldest report is %s old (%s).", age(f.Generated.Sub(oldest.Finished)), oldest.Name))
	if s.Outdated > 0 {
		out = append(out, fmt.Sprintf("%s too old to go by, or dated in the future: %s. Check these hosts again; they are in no wave.", plural(s.Outdated, "report is", "reports are"), someHosts(stale[:min(len(stale), maxExamples)], s.Outdated)))
	}
	if s.Unread > 0 {
		out = append(out, fmt.Sprintf("%s not be read; a host may be missing here.", plural(s.Unread, "file could", "files could")))
	}
	if s.Ignored > 0 {
		out = append(out, plural(s.Ignored, "file that does", "files that do")+" not look like a report passed over.")
	}
	return out
}

func (f *Fleet) writeSystems(t *report.TextPage, rows func(int) int) {
	if len(f.Systems) == 0 {
		return
	}
	t.Heading("Distributions")
	t.Line("  %-28s %7s %7s %8s %8s %10s %10s %6s", "", "hosts", "ready", "warnings", "blocked", "no verdict", "AlmaLinux", "stale")
	for _, s := range f.Systems[:rows(len(f.Systems))] {
		t.Line("  %-28s %7d %7d %8d %8d %10d %10d %6d", s.Name(), s.Hosts, s.Ready, s.Warnings, s.Blocked, s.Unknown, s.AlmaLinux, s.Stale)
	}
	if n := rows(len(f.Systems)); n < len(f.Systems) {
		t.Line("  and %d more", len(f.Systems)-n)
	}
}

// Name is how a person calls it.
func (s System) Name() string {
	n := strings.TrimSpace(s.Distro + " " + s.Version + " " + s.Arch)
	if n == "" {
		return "unknown"
	}
	return n
}

func (f *Fleet) writeWaves(t *report.TextPage, rows func(int) int, more func(int, string)) {
	if len(f.Waves) > 0 {
		t.Heading("Waves, by likeness: canaries are one host of each kind")
		for _, w := range f.Waves {
			t.Wrap(fmt.Sprintf("  %-8s %11s  ", w.Name, count(len(w.Hosts), "host")), "%s", someHosts(shown(w.Hosts, rows), len(w.Hosts)))
		}
	}
	var held []Group
	for _, g := range f.Groups {
		if g.Status != AlmaLinux {
			held = append(held, g)
		}
	}
	if len(held) > 0 {
		t.Heading("In no wave")
		for _, g := range held[:rows(len(held))] {
			why := string(g.Status)
			if len(g.Findings) > 0 {
				why += " by " + strings.Join(g.Findings, ", ")
			}
			t.Wrap(fmt.Sprintf("%11s  ", count(len(g.Hosts), "host")), "%s: %s", why, someHosts(shown(g.Hosts, rows), len(g.Hosts)))
		}
		more(len(held), "groups")
	}
	t.Line("")
	switch {
	case f.Summary.Blocked > 0 && len(f.Findings) > 0:
		t.Wrap("Next: ", "almamigrate explain %s", f.Findings[0].ID)
	case len(f.Waves) > 0:
		// commands are not wrapped: they are pasted
		t.Line("Next: almamigrate fleet --inventory-out waves.ini REPORT...")
		t.Line("then: ansible-playbook almamigrate.agent.rollout -i waves.ini -e almamigrate_hosts=almamigrate_canary")
	case f.Summary.Hosts == 0:
		t.Wrap("Next: ", "on a host: almamigrate check --json > HOST.json")
	}
}

// shown are the names that there is room for.
func shown(list []string, rows func(int) int) []string {
	if n := rows(len(list)); n < len(list) {
		return list[:maxExamples]
	}
	return list
}

// someHosts lists names of which there are n.
func someHosts(list []string, n int) string {
	s := strings.Join(list, ", ")
	if n > len(list) {
		s += fmt.Sprintf(" and %d more", n-len(list))
	}
	return s
}

func count(n int, what string) string { return plural(n, what, what+"s") }

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// age writes a duration as people say it.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "less than no time"
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}
