package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// status says of the way back what a commit frees, to the byte; where there is
// no way back it says what the folder takes.
func TestOneSizeOfWhatIsSaved(t *testing.T) {
	for _, tc := range []struct {
		last txn.Status
		way  bool
	}{{txn.Finished, true}, {txn.Started, true}, {txn.Incomplete, true}, {txn.Committed, false}, {txn.RolledBack, false}} {
		c := savedChange(t, txn.Record{Seq: 1, Step: txn.Whole, Status: tc.last})
		for name, size := range map[string]int{"rpms/a.rpm": 1000, "files/x/etc": 200, "journal.jsonl": 30, "log.txt": 4} {
			name = filepath.Join(c.Dir, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := step.HoldRoom(c); err != nil {
			t.Fatal(err)
		}
		all := folderSize(c.Dir)
		var d statusDocument
		d.of(c)
		if tc.way && d.Bytes != step.SavedBytes(c) || !tc.way && d.Bytes != all {
			t.Errorf("%s: %d bytes, of %d that are saved and %d in all", tc.last, d.Bytes, step.SavedBytes(c), all)
		}
		saved := step.SavedBytes(c)
		if err := step.ForgetSaved(c); err != nil {
			t.Fatal(err)
		}
		if freed := all - folderSize(c.Dir); freed != saved || freed < 1200 || step.SavedBytes(c) != 0 {
			t.Errorf("%s: %d bytes are free, not %d", tc.last, freed, saved)
		}
	}
}
