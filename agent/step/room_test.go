package step

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

func TestRoom(t *testing.T) {
	for depth, want := range map[string]int64{plan.DepthBranding: roomBranding, plan.DepthFull: roomFull} {
		extra, err := json.Marshal(plan.Plan{Kind: plan.Kind, Depth: depth})
		if err != nil {
			t.Fatal(err)
		}
		c := &txn.Change{Dir: t.TempDir(), Plan: txn.Plan{Extra: extra}}
		if NeedsRoom(c) {
			t.Error("there is none to give")
		}
		if err := HoldRoom(c); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(roomName(c))
		if err != nil || st.Size() != want && st.Size() != 0 { // 0: this file system promises nothing
			t.Errorf("%s: %v %v", depth, st, err)
		}
		for range 2 {
			if err := GiveRoom(c); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(roomName(c)); !os.IsNotExist(err) {
			t.Errorf("still held: %v", err)
		}
	}
}
