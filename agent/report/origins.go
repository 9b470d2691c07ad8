package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// origins writes where the packages of other vendors come from and what becomes
// of their repositories.
func (c *Check) origins(p *page) {
	o := c.Origins
	if o == nil {
		return
	}
	p.line("")
	p.line(p.color(bold, "Other vendors"))
	if len(o.Packages) == 0 {
		p.line("  No package of another vendor is installed.")
	}
	for i := range o.Packages {
		g := &o.Packages[i]
		from := "of " + g.Owner
		switch g.Owner {
		case "unsigned":
			from = "without a signature"
		case "unknown":
			from = "signed with a key that nobody knows"
		}
		if g.Repo != "" && !strings.EqualFold(g.Repo, g.Owner) {
			from += ", from " + g.Repo
		}
		names := strings.Join(g.Examples, ", ")
		if g.Packages > len(g.Examples) {
			names += " ..."
		}
		var parts []string
		for _, s := range []struct{ state, text string }{
			{"valid", "valid on AlmaLinux"}, {"superseded", "that AlmaLinux carries, too"}, {"twice", "there twice"}, {"moved", "moved elsewhere"},
			{"replaced", "replaced under another name"}, {"unmaintained", "without updates from there"},
		} {
			if n := g.States[s.state]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, s.text))
			}
		}
		p.wrap("  ", 6, fmt.Sprintf("%d %s %s (%s): %s", g.Packages, plural(g.Packages, "package", "packages"), from, names, strings.Join(parts, ", ")))
		shown := g.Notable
		if !p.opt.Verbose {
			shown = shown[:min(len(shown), 5)]
		}
		for _, n := range shown {
			p.wrap("      ", 8, fmt.Sprintf("%s  %s: %s", n.NEVRA, n.State, n.Why))
		}
		if n := len(g.Notable) - len(shown); n > 0 {
			p.line(fmt.Sprintf("      ... and %d more: --verbose", n))
		}
	}
	if len(o.Repos) > 0 {
		p.line("")
		p.line("  Their repositories:")
		for i := range o.Repos {
			p.wrap("  ", 6, originRepoText(&o.Repos[i]))
		}
	}
	if len(o.Modified) > 0 {
		p.line("")
		p.wrap("  ", 2, fmt.Sprintf("AlmaLinux changes %d of the installed source packages beside rebuilding them (%s):", len(o.Modified), o.ModifiedSource))
		rest := slices.Clone(o.Modified)
		if !p.opt.Verbose {
			rest = slices.DeleteFunc(rest, func(m assess.ModifiedEntry) bool { return m.What == branded })
		}
		for _, m := range rest {
			p.wrap("  ", 6, m.Source+": "+m.What)
		}
		if n := len(o.Modified) - len(rest); n > 0 {
			p.line(fmt.Sprintf("  %d more carry AlmaLinux's names and marks and nothing else.", n))
		}
	}
}

// branded is what the catalogue says of packages whose names and marks alone are
// changed.
const branded = "carries AlmaLinux's names and marks"

func originRepoText(r *assess.OriginRepo) string {
	parts := []string{fmt.Sprintf("%d %s", r.Packages, plural(r.Packages, "package", "packages")), r.Fate}
	if r.Fate == "goes" {
		parts[1] = "goes: " + r.FateWhy
	} else {
		switch {
		case r.Address == "other":
			parts = append(parts, "its address becomes "+strings.Join(r.After, " "))
		default:
			parts = append(parts, "the same address")
		}
		switch r.Probe {
		case "answers":
			parts = append(parts, "which answers")
		case "dead":
			parts = append(parts, "which does not answer ("+r.Detail+")")
		default:
			why := "unprobed"
			if r.Detail != "" {
				why += ", " + r.Detail
			}
			parts = append(parts, why)
		}
		switch r.Key {
		case "missing":
			parts = append(parts, "its key is missing")
		case "unchecked":
			parts = append(parts, "signatures are not checked")
		case "remote":
			parts = append(parts, "its key is fetched from the net when needed")
		}
		if r.Release == "breaks" {
			parts = append(parts, "requirements of "+r.Package+" break")
		}
	}
	return r.ID + ": " + strings.Join(parts, "; ")
}
