package assess_test

import (
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// TestHeld: locks and excludes keep a package where dnf 4.14 keeps it.
func TestHeld(t *testing.T) {
	for _, tt := range []struct {
		name          string
		lock, exclude string
		installed     string
		carried       []rpm
		verdict       assess.PackageVerdict
		target        string
		held          bool
	}{
		{"lock on what is installed", "foo-0:1-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", true},
		// each part is a glob of its own: the arch is "*", the release is 1.el8
		{"lock does not fit a rebuild", "foo-0:1-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-1-1.el8.alma.1.x86_64")}, assess.Newer, "foo-1-1.el8.alma.1.x86_64", true},
		{"lock on a release that begins so", "foo-1-1.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-1-1.el8.alma.1.x86_64")}, assess.Newer, "foo-1-1.el8.alma.1.x86_64", false},
		{"lock on a version", "foo-1-*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-1-2.el8.x86_64"), pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-1-2.el8.x86_64", false},
		{"lock on another version than the installed one", "foo-0:3-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", true},
		{"lock of another epoch", "foo-1:2-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", true},
		{"lock on a mere name", "foo", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"lock on a longer name", "foo-data-0:1-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"yum's form", "0:foo-1-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", true},
		{"lock against a version: an older one is left", "!foo-0:3-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-3-1.el8.x86_64"), pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"lock against the only version", "!foo-0:3-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("foo-3-1.el8.x86_64")}, assess.Newer, "foo-3-1.el8.x86_64", true},
		{"lock against what obsoletes", "foo-0:1-1.el8.*", "", "foo-1-1.el8.x86_64", []rpm{pkg("bar-3-1.el8.x86_64", obsoletes("foo < 3"))}, assess.Replaced, "bar-3-1.el8.x86_64", true},
		{"exclude of a name", "", "foo", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", true},
		{"exclude of a version: an older one is left", "", "foo-3*", "foo-1-1.el8.x86_64", []rpm{pkg("foo-3-1.el8.x86_64"), pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"exclude of an architecture", "", "foo.i686", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"exclude fits the installed one only", "", "foo", "foo-1-1.el8.x86_64", []rpm{pkg("bar-3-1.el8.x86_64", obsoletes("foo < 3"))}, assess.Replaced, "bar-3-1.el8.x86_64", true},
		{"exclude with a negated set", "", "fo[!o]", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
		{"a pattern that is none", "", "fo[", "foo-1-1.el8.x86_64", []rpm{pkg("foo-2-1.el8.x86_64")}, assess.Newer, "foo-2-1.el8.x86_64", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.install("centos", pkg(tt.installed))
			w.carry("appstream", tt.carried...)
			if tt.lock != "" {
				w.inv.DNF.Versionlock = []string{tt.lock}
			}
			if tt.exclude != "" {
				w.inv.DNF.Exclude = []string{tt.exclude}
			}
			res := w.assess()
			r := result(t, res, tt.installed)
			if r.Target == nil || r.Verdict != tt.verdict || r.Target.NEVRA != tt.target {
				t.Errorf("verdict %s, target %+v; want %s, %s", r.Verdict, r.Target, tt.verdict, tt.target)
			}
			held := false
			for _, f := range res.Findings {
				held = held || f.ID == "pkg.versionlocked" || f.ID == "pkg.excluded"
			}
			if held != tt.held {
				t.Errorf("held: %v, want %v: %s", held, tt.held, r.Reason)
			}
		})
	}
}
