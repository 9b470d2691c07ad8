package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
)

// TestNext: what is next is the plan where this host can move, and the same
// check with more to read.
func TestNext(t *testing.T) {
	text := func(c *report.Check, opt report.TextOptions) string {
		t.Helper()
		var b bytes.Buffer
		if err := c.WriteText(&b, opt); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	typed := report.TextOptions{Command: "almamigrate check --mirror http://m", Here: true}
	c := sample()
	if out := text(c, typed); !strings.HasSuffix(out, "Next: almamigrate explain pkg.missing\n  or: almamigrate check --mirror http://m --verbose --only older\n  or: almamigrate plan\n") {
		t.Errorf("with warnings:\n%s", out)
	}
	if out := text(c, report.TextOptions{}); strings.Contains(out, "almamigrate plan") || !strings.Contains(out, "or: almamigrate check --verbose --only older\n") {
		t.Errorf("of another host:\n%s", out)
	}
	c.Verdict, c.Findings = assess.Ready, nil
	if out := text(c, typed); !strings.Contains(out, "Next: almamigrate plan\n  or: almamigrate check --mirror http://m") {
		t.Errorf("ready:\n%s", out)
	}
	c.Host.Major = 7
	if out := text(c, typed); strings.Contains(out, "almamigrate plan") {
		t.Errorf("EL7 has no plan:\n%s", out)
	}
	c = sample()
	c.Host.State = inventory.StateHalf
	c.Findings = append(c.Findings, assess.Finding{ID: "host.half-migrated", Severity: assess.Warning, Title: "half"})
	if out := text(c, typed); !strings.Contains(strings.Join(strings.Fields(out), " "), "is half-migrated, and can become AlmaLinux 8 in full") || !strings.Contains(out, "or: almamigrate plan --full\n") {
		t.Errorf("half-migrated:\n%s", out)
	}
}

// TestNarrow: on a terminal of 40 columns only words and commands are longer.
func TestNarrow(t *testing.T) {
	c := sample()
	c.Findings = append(c.Findings, assess.Finding{ID: "pkg.signature-unknown-key", Severity: assess.Warning, Title: "1 package is signed with a key that is not at hand", Detail: "Its key is nowhere."})
	var b bytes.Buffer
	if err := c.WriteText(&b, report.TextOptions{Width: 40}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, "\n")
		command := strings.HasPrefix(line, "          ") || strings.Contains(line, ": almamigrate ")
		if words := strings.Fields(line); len(line) > 40 && len(words) > 1 && !command {
			t.Errorf("%d columns: %q", len(line), line)
		}
	}
}
