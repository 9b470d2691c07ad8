package assess_test

import (
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// TestNeverRemoveWhatTheHostLivesOn: whatever breaks, nobody is told to remove
// systemd, or a library that it needs.
func TestNeverRemoveWhatTheHostLivesOn(t *testing.T) {
	w := newWorld(t)
	w.install("centos",
		pkg("systemd-1-1.el8.x86_64", requires("libvital.so.1()(64bit)")),
		pkg("libvital-1-1.el8.x86_64", provides("libvital.so.1()(64bit)"), requires("gone = 1")),
		pkg("gone-1-1.el8.x86_64"),
		pkg("app-1-1.el8.x86_64", requires("gone = 1")))
	w.carry("baseos", pkg("gone-2-1.el8.x86_64"))
	var commands []string
	for _, f := range w.assess().Findings {
		commands = append(commands, f.Remedy.Command)
	}
	all := strings.Join(commands, "\n")
	if strings.Contains(all, "remove systemd") || strings.Contains(all, "remove libvital") || strings.Contains(all, " libvital") {
		t.Errorf("a remedy removes what the host lives on:\n%s", all)
	}
	if !strings.Contains(all, "dnf remove app") {
		t.Errorf("no remedy for app:\n%s", all)
	}
}

// TestAnotherMajor: EL 7 against AlmaLinux 8 says that there is no way, and
// does not count what would break on it.
func TestAnotherMajor(t *testing.T) {
	w := newWorld(t)
	w.install("centos", pkg("app-1-1.el7.x86_64", requires("gone = 1")), pkg("gone-1-1.el7.x86_64"))
	w.inv.Host.Major = 7
	for _, f := range w.assess().Findings {
		if strings.HasPrefix(f.ID, "dep.") || f.ID == "pkg.missing" {
			t.Errorf("%s: %s", f.ID, f.Title)
		}
		if f.Severity == assess.Blocker && f.ID != "host.unsupported-major" {
			t.Errorf("blocker %s: %s", f.ID, f.Title)
		}
	}
}
