package report

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// abi tells in a sentence whether the applications will run.
func (c *Check) abi(p *page) {
	if c.ABI != nil {
		p.wrap("  Applications: ", 16, strings.TrimSuffix(c.ABI.Sentence, ".")+".")
	}
}

// applications lists the libraries that applications import from, what is not
// met, interpreters of native modules, and what was searched.
func (c *Check) applications(p *page) {
	if c.ABI == nil {
		return
	}
	p.line("")
	p.line(p.color(bold, "Applications"))
	p.wrap("  ", 4, fmt.Sprintf("%s looked into in packages of others, %s, units and processes; %s no library, %d %s for other processors",
		counted(c.ABI.Looked, "file"), strings.Join(c.ABI.Folders, ", "), counted(c.ABI.Static, "program")+plural(c.ABI.Static, " needs", " need"), c.ABI.Foreign, plural(c.ABI.Foreign, "is", "are")))
	for _, l := range c.ABI.Libraries {
		text := fmt.Sprintf("%s of %s: %s for %s", l.Soname, l.Today, counted(l.Symbols, "symbol"), counted(l.Programs, "file"))
		switch {
		case l.Target == "":
			text += "; nobody has it after the move"
		case l.Proven:
			text += fmt.Sprintf("; compared with %s", l.Target)
		default:
			text += fmt.Sprintf("; %s has it, not compared", l.Target)
		}
		p.wrap("  ", 6, text)
	}
	for _, u := range c.ABI.Unmet {
		what := u.Library
		for _, s := range []string{u.Version, u.Symbol} {
			if s != "" {
				what += " " + s
			}
		}
		state := map[string]string{assess.NeedBreaks: "breaks", assess.NeedBefore: "not met today either", assess.NeedUnproven: "not proven"}[u.State]
		p.wrap("  ", 6, strings.Join(strings.Fields(fmt.Sprintf("%s: %s: %s: %s", u.Path, state, what, u.Reason)), " "))
	}
	for _, r := range c.ABI.Runtimes {
		p.wrap("  ", 6, fmt.Sprintf("%s %s, %s: %s: %s", r.Kind, r.Version, counted(r.Modules, "native module"), r.Verdict, r.Reason))
	}
	for _, s := range c.ABI.Skipped {
		p.wrap("  ", 6, s.What+": "+s.Reason)
	}
}
