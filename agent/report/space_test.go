package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
)

// The line about space comes when there is something to say.
func TestSpaceLine(t *testing.T) {
	const mib = 1 << 20
	text := func(verbose bool, needs ...assess.SpaceNeed) string {
		t.Helper()
		c := report.NewCheck(&inventory.Inventory{}, &assess.Assessment{Space: needs})
		var b bytes.Buffer
		if err := c.WriteText(&b, report.TextOptions{Verbose: verbose, Width: 120}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	root := assess.SpaceNeed{Mount: "/", Available: 9000 * mib, Need: 700 * mib, Inodes: 1000, InodesNeed: 10}
	boot := assess.SpaceNeed{Mount: "/boot", Available: 100 * mib, Need: 75 * mib}
	inodes := assess.SpaceNeed{Mount: "/var", Available: 9000 * mib, Need: mib, Inodes: 1000, InodesNeed: 900}
	if got := text(false, root); strings.Contains(got, "Space") {
		t.Errorf("room enough:\n%s", got)
	}
	if got := text(false, root, boot); !strings.Contains(got, "  Space: /boot needs 75 MiB of 100 MiB\n") {
		t.Errorf("little room:\n%s", got)
	}
	if got := text(false, inodes); !strings.Contains(got, "  Space: /var needs 1.0 MiB of 8.8 GiB and 900 of 1000 inodes\n") {
		t.Errorf("few inodes:\n%s", got)
	}
	if got := text(true, root, boot); !strings.Contains(got, "  Space: / needs 700 MiB of 8.8 GiB, /boot needs 75 MiB of 100 MiB\n") {
		t.Errorf("verbose:\n%s", got)
	}
}
