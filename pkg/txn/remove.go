package txn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

// removedPrefix begins the names of folders that are on their way out. No
// change's id begins with a dot.
const removedPrefix = ".removed-"

// Remove removes a change with all that it saved. It is gone at once or not at
// all: half a change would say of itself what is no longer true, that it can be
// taken back, or that it never began. Nobody else may be at work on it.
func Remove(c *Change) error {
	base := filepath.Dir(c.Dir)
	gone := filepath.Join(base, removedPrefix+filepath.Base(c.Dir))
	err := os.RemoveAll(gone) // of an interrupted run
	if err == nil {
		err = os.Rename(c.Dir, gone)
	}
	if err == nil {
		err = syncDir(base)
	}
	if err == nil {
		err = fault.Point("txn.removed")
	}
	if err == nil {
		err = os.RemoveAll(gone)
	}
	if err != nil {
		return fmt.Errorf("cannot remove the change %s: %w", c.Plan.ID, err)
	}
	return nil
}

// Sweep removes what interrupted runs left below base and what is no change:
// folders that were being removed, and those that never got a plan. Nobody else
// may be at work there.
func Sweep(base string) error {
	entries, err := os.ReadDir(base)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list the changes: %w", err)
	}
	var errs error
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		left := strings.HasPrefix(e.Name(), removedPrefix)
		if !left && e.IsDir() && validID.MatchString(e.Name()) {
			_, err := Open(dir)
			left = errors.Is(err, ErrNotFound) // no plan and no journal
		}
		if !left {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot remove what an interrupted run left: %w", err))
		}
	}
	return errs
}
