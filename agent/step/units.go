package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// ErrNoSystemd means that no systemd runs here.
var ErrNoSystemd = errors.New("systemd does not run here")

// FailedUnits lists the units that are in state failed now, sorted.
func FailedUnits(ctx context.Context) ([]string, error) {
	// sd_booted(3)
	if st, err := os.Lstat("/run/systemd/system"); err != nil || !st.IsDir() {
		return nil, ErrNoSystemd
	}
	out, err := hostcmd.Output(ctx, hostcmd.Cmd{
		Path: "systemctl", Args: []string{"list-units", "--all", "--state=failed", "--plain", "--no-legend", "--no-pager", "--full"},
		Timeout: 30 * time.Second, Kill: hostcmd.KillNow,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the failed units: %w", err)
	}
	list := []string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			list = append(list, f[0])
		}
	}
	slices.Sort(list)
	return list, nil
}

// FailedBefore lists the units that had failed before a change; ok is false
// where nobody looked.
func FailedBefore(c *txn.Change) (list []string, ok bool) {
	var u saveFilesUndo
	if err := json.Unmarshal(undoOf(c, plan.StepSaveFiles), &u); err != nil || u.FailedUnits == nil {
		return nil, false
	}
	return *u.FailedUnits, true
}
