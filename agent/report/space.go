package report

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// space says what the move needs, where that is more than half of what a file
// system has; with --verbose it says it for all.
func (c *Check) space(p *page) {
	var out []string
	for _, n := range c.Space {
		inodes := n.Inodes > 0 && n.InodesNeed > n.Inodes/2
		if !p.opt.Verbose && n.Need <= n.Available/2 && !inodes {
			continue
		}
		text := fmt.Sprintf("%s needs %s of %s", n.Mount, assess.Bytes(n.Need), assess.Bytes(n.Available))
		if inodes {
			text += fmt.Sprintf(" and %d of %d inodes", n.InodesNeed, n.Inodes)
		}
		out = append(out, text)
	}
	if len(out) > 0 {
		p.wrap("  Space: ", 9, strings.Join(out, ", "))
	}
}
