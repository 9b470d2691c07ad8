package report

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// kernel tells in two lines what becomes of the kernel modules.
func (c *Check) kernel(p *page) {
	k := c.Kernel
	if k == nil || len(c.Modules) == 0 {
		return
	}
	var parts []string
	for _, v := range assess.ModuleVerdicts {
		if n := k.Counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	text := fmt.Sprintf("%d loaded", k.Loaded)
	switch n := len(c.Modules) - k.Loaded; {
	case k.Loaded == 0:
		text = fmt.Sprintf("%d needed", n)
	case n > 0:
		text += fmt.Sprintf(" and %d needed", n)
	}
	p.wrap("  Kernel modules: ", 18, text+": "+strings.Join(parts, ", ")+c.certainty())
}

// certainty says what the verdicts on modules rest on.
func (c *Check) certainty() string {
	k := c.Kernel
	switch k.Evidence {
	case assess.EvidencePackages:
		return fmt.Sprintf(" (by the packages of %s)", k.Release)
	case assess.EvidenceMetadata:
		return fmt.Sprintf(" (by the metadata of %s)", k.Release)
	}
	return ""
}

// modules lists the kernel modules, those first that need a look.
func (c *Check) modules(p *page) {
	if c.Kernel == nil || len(c.Modules) == 0 {
		return
	}
	p.line("")
	p.line(p.color(bold, fmt.Sprintf("Kernel modules (%d)", len(c.Modules))))
	if c.Kernel.Reason != "" {
		p.wrap("  ", 2, c.Kernel.Reason)
	}
	for i := len(assess.ModuleVerdicts) - 1; i >= 0; i-- {
		v := assess.ModuleVerdicts[i]
		plain := v == assess.ModuleInTree || v == assess.ModuleBuiltIn
		var names []string
		for _, m := range c.Modules {
			switch {
			case m.Verdict != v:
			case plain:
				names = append(names, m.Name)
			default:
				c.module(p, m)
			}
		}
		if len(names) > 0 {
			p.wrap(fmt.Sprintf("  %s: ", v), len(v)+4, strings.Join(names, ", "))
		}
	}
}

func (c *Check) module(p *page, m assess.ModuleResult) {
	p.wrap("  ", 6, fmt.Sprintf("%s: %s: %s", m.Name, m.Verdict, m.Reason))
	var more []string
	if m.Owner != "" {
		more = append(more, "owned by "+m.Owner)
	}
	if len(m.Why) > 0 {
		more = append(more, "needed for "+strings.Join(m.Why, ", "))
	}
	if m.Rebuilt != "" {
		more = append(more, "built by "+m.Rebuilt)
	}
	if m.Taint != "" {
		more = append(more, m.Taint)
	}
	if c.Kernel.Enforced && m.Signature != "" {
		more = append(more, "signature: "+m.Signature)
	}
	if len(more) > 0 {
		p.wrap("      ", 6, strings.Join(more, "; "))
	}
}
