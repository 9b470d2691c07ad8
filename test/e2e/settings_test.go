package e2e

import (
	"strings"
	"testing"
)

// TestBrokenSettings: a typo in the settings stops what needs them, and neither
// the look at where a migration stands nor the way back.
func TestBrokenSettings(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.code(0, "migrate", "-y", "-q")
	h.Write("/etc/almamigrate/conf.d/typo.conf", "[repos]\nmiror = x\n")
	for _, args := range [][]string{{"check"}, {"plan"}, {"verify"}, {"migrate", "--full", "-y"}} {
		if r := h.code(2, args...); !strings.Contains(r.Stderr, "typo.conf:2:") {
			t.Errorf("%v: %s", args, r.Stderr)
		}
	}
	h.code(2, "rollback", "--dry-run", "--config", "/etc/almamigrate/conf.d/typo.conf") // asked for by name
	if r := h.code(0, "status"); !strings.Contains(r.Stdout, "can still be taken back") || !strings.Contains(r.Stderr, "typo.conf:2:") {
		t.Errorf("status: %s%s", r.Stdout, r.Stderr)
	}
	h.code(0, "changes", "list")
	if r := h.code(0, "rollback", "-y"); !strings.Contains(r.Stdout, "Rolled back: ") || !strings.Contains(r.Stderr, "typo.conf:2:") {
		t.Errorf("rollback: %s%s", r.Stdout, r.Stderr)
	}
	h.code(0, "changes", "prune")
}
