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
		names := strings.Join(g.Examples, ", ")
		if g.Packages > len(g.Examples) {
			names += " ..."
		}
		p.wrap("  ", 6, fmt.Sprintf("%d %s %s (%s): %s", g.Packages, plural(g.Packages, "package", "packages"), g.From(), names, g.StateText()))
		shown := g.Notable
		if !p.opt.Verbose {
			shown = shown[:min(len(shown), 5)]
		}
		for _, n := range shown {
			p.wrap("      ", 8, fmt.Sprintf("%s: %s", n.NEVRA, n.Why))
		}
		if n := len(g.Notable) - len(shown); n > 0 {
			p.line(fmt.Sprintf("      ... and %d more: almamigrate check --origins --verbose", n))
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
			p.line(fmt.Sprintf("  %d more %s AlmaLinux's names and marks and nothing else.", n, plural(n, "carries", "carry")))
		}
	}
}

// branded is what the catalogue says of packages whose names and marks alone are
// changed.
const branded = "carries AlmaLinux's names and marks"

func originRepoText(r *assess.OriginRepo) string {
	head := fmt.Sprintf("%s (%d %s): ", r.ID, r.Packages, plural(r.Packages, "package", "packages"))
	if r.Fate == "goes" {
		return head + "goes: " + r.FateWhy
	}
	after := strings.Join(r.After, " ")
	var text string
	switch {
	case r.Probe == "dead" && r.Address == "other":
		text = fmt.Sprintf("stays, and nothing answers at the address that it will have, %s (%s)", after, r.Detail)
	case r.Probe == "dead":
		text = fmt.Sprintf("stays, and its address %s does not answer (%s)", after, r.Detail)
	case r.Address == "other" && r.Probe == "answers":
		text = "stays; its address becomes " + after + ", which answers"
	case r.Address == "other":
		text = "stays; its address becomes " + after + ", which was not asked"
	case r.Probe == "answers":
		text = "stays; its address is the same, and answers"
	default:
		text = "stays; its address is the same, and was not asked"
	}
	if r.Probe == "unprobed" && r.Detail != "" {
		text += " (" + r.Detail + ")"
	}
	parts := []string{text}
	switch r.Key {
	case "missing":
		parts = append(parts, "its key is missing after the move: dnf will refuse its packages")
	case "imported":
		parts = append(parts, "dnf checks its packages with the keys that were imported before")
	case "unchecked":
		parts = append(parts, "dnf does not check its packages' signatures")
	case "remote":
		parts = append(parts, "dnf fetches its key from the net when needed")
	}
	if r.Release == "breaks" {
		parts = append(parts, "what "+r.Package+" requires is not met after the move")
	}
	return head + strings.Join(parts, "; ")
}
