//go:build faultinject

package txn

import (
	"testing"
)

// A change that is being removed when the program dies is no change any more,
// and the next sweep takes the rest.
func TestRemoveInterrupted(t *testing.T) {
	base := t.TempDir()
	c, err := Create(base, Plan{ID: "a", Steps: []Step{{Kind: "k", Name: "n"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ALMAMIGRATE_FAULT", "txn.removed:error")
	if err := Remove(c); err == nil {
		t.Fatal("the fault point was not reached")
	}
	if left, err := List(base); err != nil || len(left) != 0 {
		t.Errorf("changes: %v %v", left, err)
	}
	if err := Sweep(base); err != nil {
		t.Error(err)
	}
}
