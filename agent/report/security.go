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
	for _, l := range securitySays(s) {
		p.wrap("  ", 2, l)
	}
	if len(s.Reopened) > 0 {
		p.line("")
		p.line("  " + p.color(yellow, "Would open again") + ": AlmaLinux's package is older, and lacks fixes of the one installed")
		for _, g := range sameReopened(s.Reopened) {
			cves, more := g[0].CVEs, ""
			if n := len(cves) - shownAdvisories; n > 0 && !p.opt.Verbose {
				cves, more = cves[:shownAdvisories], fmt.Sprintf(" and %d more", n)
			}
			text := fmt.Sprintf("%s, becomes %s: %s%s", g[0].NEVRA, g[0].After, strings.Join(cves, ", "), more)
			if n := len(g) - 1; n > 0 {
				text += fmt.Sprintf("; the same of %d more %s", n, plural(n, "package", "packages"))
				if p.opt.Verbose {
					for i, r := range g[1:] {
						text += [...]string{": ", ", "}[min(i, 1)] + r.NEVRA
					}
				}
			}
			p.wrap("  ", 4, text)
		}
	}
	c.advisories(p, "Would stay open", s.Open, true)
	c.advisories(p, "Would be closed", s.Closed, false)
}

// sameReopened puts together the packages of which the same CVEs would open
// again: the many that are built from one source, such as the kernel's.
func sameReopened(list []assess.Reopened) [][]assess.Reopened {
	var out [][]assess.Reopened
	at := map[string]int{}
	for _, r := range list {
		k := strings.Join(r.CVEs, " ")
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], r)
	}
	return out
}

// securitySays is the result in sentences: the sum first.
func securitySays(s *assess.SecurityResult) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	closed := s.Summary.Closed
	if s.Summary.Unread {
		say("Not every repository could be read. What follows rests on the advisories alone, which say what AlmaLinux has published.")
	}
	others := closed.Bugfix + closed.Enhancement
	if closed.Security == 0 {
		text := "No security advisory applies to this host that AlmaLinux's packages would close"
		if others > 0 {
			text += fmt.Sprintf("; %d %s of bug fixes and enhancements %s", others, plural(others, "advisory", "advisories"), plural(others, "does", "do"))
		}
		say("%s.", text)
	} else {
		text := fmt.Sprintf("AlmaLinux's packages close %d security %s (%s) with %d %s", closed.Security, plural(closed.Security, "advisory", "advisories"),
			closed.Worded(), closed.CVEs, plural(closed.CVEs, "CVE", "CVEs"))
		if others > 0 {
			text += fmt.Sprintf(", and %d of bug fixes and enhancements", others)
		}
		say("%s.", text)
	}
	switch {
	case closed.Security+others == 0:
	case s.Summary.OtherMajor != 0:
		say("That is by the version numbers alone: the host's packages are of another release, whose own updates may have mended some of it. An upgrade to AlmaLinux %d closes it, and that almamigrate does not do.", s.Summary.OtherMajor)
	default:
		say("They close when the packages are AlmaLinux's: by almamigrate migrate --full, or by dnf distro-sync after almamigrate migrate. The branding swap alone closes none.")
		if s.Summary.Reboot {
			text := "Some count only after a reboot"
			var of []string
			if s.Summary.Kernel > 0 {
				of = append(of, fmt.Sprintf("%d of the kernel", s.Summary.Kernel))
			}
			if s.Summary.Microcode > 0 {
				of = append(of, fmt.Sprintf("%d of microcode or firmware", s.Summary.Microcode))
			}
			if len(of) > 0 {
				text += ", among them " + strings.Join(of, " and ")
			}
			say("%s.", text)
		}
	}
	if n := s.Summary.Open; n.Security > 0 {
		say("%d security %s %s open (%s) with %d %s; the list says why.", n.Security, plural(n.Security, "advisory", "advisories"), plural(n.Security, "stays", "stay"),
			n.Worded(), n.CVEs, plural(n.CVEs, "CVE", "CVEs"))
	}
	if n := s.Summary.Reopened; n > 0 {
		say("%d %s that %s mended on this host would open again.", n, plural(n, "CVE", "CVEs"), plural(n, "is", "are"))
	}
	if s.NotJudged > 0 {
		say("Not judged: %d %s of other vendors, of the same name as one that AlmaLinux has advisories of; ask the vendor.", s.NotJudged, plural(s.NotJudged, "package", "packages"))
	}
	if n := len(s.Unclear); n > 0 {
		say("Not judged: %d %s of module streams, which %s not say of which stream.", n, plural(n, "advisory", "advisories"), plural(n, "does", "do"))
	}
	return out
}

func (c *Check) advisories(p *page, heading string, list []assess.AdvisoryResult, why bool) {
	if len(list) == 0 {
		return
	}
	p.line("")
	security, others := splitSecurity(list)
	counts := fmt.Sprintf("%d security %s", len(security), plural(len(security), "advisory", "advisories"))
	if len(others) > 0 {
		counts += fmt.Sprintf(", %d %s", len(others), plural(len(others), "other", "others"))
	}
	p.line(fmt.Sprintf("  %s (%s):", heading, counts))
	usual := ""
	if why {
		if usual = usualWhy(list); usual != "" {
			p.wrap("  ", 2, "Where nothing else is said: "+usual+".")
		}
	}
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
		if nevra, reason := openWhy(r); why && !p.opt.Verbose && reason != "" && reason != usual {
			p.wrap("             ", 13, nevra+": "+reason)
		}
		if p.opt.Verbose {
			if len(r.CVEs) > 0 {
				p.wrap("             ", 13, strings.Join(r.CVEs, ", "))
			}
			for _, k := range r.Packages {
				then := "becomes " + k.After
				switch k.After {
				case "":
					then = "goes"
				case k.NEVRA:
					then = "stays"
				}
				if k.Why != "" {
					then += " (" + k.Why + ")"
				}
				p.wrap("             ", 15, fmt.Sprintf("%s, mended in %s, %s", k.NEVRA, k.Fixed, then))
			}
		}
	}
	if n := len(list) - len(shown); n > 0 {
		p.line(fmt.Sprintf("  ... and %d more: almamigrate check --security --verbose", n))
	}
}

// openWhy is why an advisory stays open: the first package that has a reason,
// and what it is.
func openWhy(r *assess.AdvisoryResult) (nevra, reason string) {
	for _, p := range r.Packages {
		if p.Why != "" && p.After != "" {
			return p.NEVRA, p.Why
		}
	}
	return "", ""
}

// usualWhy is the reason that more than one advisory of a list has, the most
// frequent; empty where each has its own.
func usualWhy(list []assess.AdvisoryResult) string {
	n, best := map[string]int{}, ""
	for i := range list {
		_, why := openWhy(&list[i])
		if n[why]++; why != "" && (n[why] > n[best] || best == "" || n[why] == n[best] && why < best) {
			best = why
		}
	}
	if n[best] < 2 {
		return ""
	}
	return best
}
