package cli

import (
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/txn"
)

// A change that stands on another one which can be taken back is not removed
// before it: nothing would keep that one from being taken back from under it.
func TestPruneKeepsWhatStandsOnAnother(t *testing.T) {
	change := func(id string, s txn.Status) *txn.Change {
		return &txn.Change{Plan: txn.Plan{ID: id}, Records: []txn.Record{{Seq: 1, Step: txn.Whole, Status: s}}}
	}
	first, back := change("first", txn.Finished), change("back", txn.RolledBack)
	final := change("final", txn.Committed)
	for _, c := range []struct {
		name  string
		list  []*txn.Change
		gone  []*txn.Change
		named bool
		want  string
	}{
		{"committed, alone", []*txn.Change{final}, []*txn.Change{final}, false, "final"},
		{"committed, above one that can go back", []*txn.Change{first, back, final}, []*txn.Change{back, final}, false, "back"},
		{"named", []*txn.Change{first, final}, []*txn.Change{final}, true, "refused"},
		{"both named", []*txn.Change{first, final}, []*txn.Change{first, final}, true, "first final"},
		{"below it", []*txn.Change{final, first}, []*txn.Change{final}, true, "final"},
	} {
		out, err := keepLater(c.list, c.gone, c.named)
		var ids []string
		for _, x := range out {
			ids = append(ids, x.Plan.ID)
		}
		if err != nil {
			ids = []string{"refused"}
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, err)
		}
	}
}
