package verify

import (
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// One is one, not "1 keys".
func TestCountsAreWorded(t *testing.T) {
	for n, want := range map[int][]string{
		1: {"1 key is imported", "the packages of the plan came (0) and left (1)"},
		2: {"2 keys are imported", "the packages of the plan came (0) and left (2)"},
	} {
		p := &plan.Plan{Keys: make([]plan.Key, n)}
		for range n {
			p.Leaving = append(p.Leaving, plan.Leaving{NEVRA: "old-1-1.noarch"})
		}
		r := &Report{}
		r.keys(&txn.Change{}, p)
		r.packages(p, &step.Database{})
		var got []string
		for _, c := range r.Checks {
			if c.Level != OK {
				t.Errorf("%+v", c)
			}
			got = append(got, c.Text)
		}
		if s := strings.Join(got, "\n"); !strings.HasPrefix(s, strings.Join(want, "\n")) {
			t.Errorf("got %s", s)
		}
	}
	if count(0, "package") != "0 packages" || verb(0, "is", "are") != "are" {
		t.Error("none is not one")
	}
	if notAsked(1) != "the one enabled AlmaLinux repository was not asked: offline" || answering(1) != "the one enabled AlmaLinux repository answers" || answering(3) != "all 3 enabled AlmaLinux repositories answer" {
		t.Errorf("%s; %s; %s", notAsked(1), answering(1), answering(3))
	}
}
