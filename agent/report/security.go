package report

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// shownAdvisories is how many advisories of a list a page of text shows without
// --verbose.
const shownAdvisories = 12

// security writes what AlmaLinux's advisories say of the host: the sum first,
// then what opens again, what stays open, and what is closed.
func (c *Check) security(p *page) {
	s := c.Security
	if s == nil || s.Summary.Advisories == 0 {
		return // the finding sec.no-advisories tells why
	}
	p.line("")
	p.line(p.color(bold, "Security"))
	closed := s.Summary.Closed
	lead := "  "
	if s.Summary.Unread {
		p.wrap(lead, 2, "Not every repository could be read. What follows rests on the advisories alone, which say what AlmaLinux has published.")
	}
	if closed.Security == 0 {
		p.wrap(lead, 2, "No security advisory of AlmaLinux's applies that its packages would close.")
	} else {
		p.wrap(lead, 2, fmt.Sprintf("AlmaLinux's packages close %d security %s (%s) with %d %s, and %d others.",
			closed.Security, plural(closed.Security, "advisory", "advisories"), bySeverity(closed), closed.CVEs, plural(closed.CVEs, "CVE", "CVEs"), closed.Bugfix+closed.Enhancement))
		var extra []string
		if s.Summary.Kernel > 0 {
			extra = append(extra, fmt.Sprintf("%d of the kernel", s.Summary.Kernel))
		}
		if s.Summary.Microcode > 0 {
			extra = append(extra, fmt.Sprintf("%d of microcode or firmware", s.Summary.Microcode))
		}
		text := ""
		if len(extra) > 0 {
			text = "Of all these, " + strings.Join(extra, " and ") + ". "
		}
		if s.Summary.Reboot {
			text += "They count after a reboot. "
		}
		p.wrap(lead, 2, text+"Swapping the release packages alone closes none: the packages must be updated, by dnf distro-sync afterwards or by almamigrate migrate --full.")
	}
	if n := s.Summary.Open; n.Security > 0 {
		p.wrap(lead, 2, fmt.Sprintf("%d security %s %s open (%s; %d %s).", n.Security, plural(n.Security, "advisory", "advisories"), plural(n.Security, "stays", "stay"),
			bySeverity(n), n.CVEs, plural(n.CVEs, "CVE", "CVEs")))
	}
	if n := s.Summary.Reopened; n > 0 {
		p.wrap(lead, 2, p.color(yellow, fmt.Sprintf("%d %s would open again:", n, plural(n, "CVE", "CVEs")))+" "+reopenedText(s.Reopened))
	}
	if s.NotJudged > 0 {
		p.wrap(lead, 2, fmt.Sprintf("Not judged: %d %s of other vendors with names that AlmaLinux has advisories of.", s.NotJudged, plural(s.NotJudged, "package", "packages")))
	}
	if len(s.Unclear) > 0 {
		p.wrap(lead, 2, fmt.Sprintf("Not judged: %d %s of modules that do not name their stream.", len(s.Unclear), plural(len(s.Unclear), "advisory", "advisories")))
	}
	c.advisories(p, "Would be closed", s.Closed)
	c.advisories(p, "Would stay open", s.Open)
}

func reopenedText(list []assess.Reopened) string {
	var parts []string
	for _, r := range list {
		parts = append(parts, fmt.Sprintf("%s (%s)", r.NEVRA, strings.Join(r.CVEs, ", ")))
	}
	return strings.Join(parts, "; ")
}

func bySeverity(n assess.SecurityCount) string {
	var parts []string
	for _, s := range []string{"critical", "important", "moderate", "low"} {
		if k := n.BySeverity[s]; k > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k, s))
		}
	}
	if k := n.BySeverity["none"]; k > 0 {
		parts = append(parts, fmt.Sprintf("%d without a severity", k))
	}
	return strings.Join(parts, ", ")
}

func (c *Check) advisories(p *page, heading string, list []assess.AdvisoryResult) {
	if len(list) == 0 {
		return
	}
	p.line("")
	p.line("  " + heading + ":")
	shown := list
	if !p.opt.Verbose {
		shown = list[:min(len(list), shownAdvisories)]
	}
	for i := range shown {
		r := &shown[i]
		sev := r.Severity
		if sev == "" {
			sev = r.Type
		}
		code := ""
		switch strings.ToLower(sev) {
		case "critical", "important":
			code = red
		}
		head := fmt.Sprintf("%-10s", Safe(sev))
		if code != "" {
			head = p.color(code, head)
		}
		p.line(fmt.Sprintf("  %s %-15s %s  %s", head, Safe(r.ID), Safe(r.Issued), Safe(r.Subject())))
		if p.opt.Verbose {
			if len(r.CVEs) > 0 {
				p.wrap("             ", 13, strings.Join(r.CVEs, ", "))
			}
			for _, k := range r.Packages {
				after := k.After
				if k.Why != "" {
					after += " (" + k.Why + ")"
				}
				p.wrap("             ", 15, fmt.Sprintf("%s, mended in %s, becomes %s", k.NEVRA, k.Fixed, strings.TrimSpace(after)))
			}
		}
	}
	if n := len(list) - len(shown); n > 0 {
		p.line(fmt.Sprintf("  ... and %d more: almamigrate check --security --verbose", n))
	}
}
