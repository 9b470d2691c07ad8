package step

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/almamigrate/almamigrate/pkg/txn"
)

// saved are the folders of a change that only its way back needs.
var saved = []string{"rpms", "files"}

// SavedBytes tells how many bytes are kept for the way back of a change, with the
// room that is held for it: what ForgetSaved frees.
func SavedBytes(c *txn.Change) (n int64) {
	add := func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read counts nothing
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Size()
		}
		return nil
	}
	for _, d := range saved {
		_ = filepath.WalkDir(filepath.Join(c.Dir, d), add)
	}
	_ = filepath.WalkDir(roomName(c), add)
	return n
}

// ForgetSaved removes what was kept for the way back of a committed change.
func ForgetSaved(c *txn.Change) error {
	if err := GiveRoom(c); err != nil {
		return err
	}
	for _, d := range saved {
		if err := os.RemoveAll(filepath.Join(c.Dir, d)); err != nil {
			return fmt.Errorf("the migration is committed, but what was saved cannot be removed: %w", err)
		}
	}
	return nil
}
