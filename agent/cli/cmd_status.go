package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/filelock"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// statusDocument is what status tells.
type statusDocument struct {
	header
	State          string     `json:"state"` // nothing, planned, running, pending, rolling, done, rolled-back, incomplete, committed
	Change         string     `json:"change,omitempty"`
	Title          string     `json:"title,omitempty"`
	Created        *time.Time `json:"created,omitempty"`
	Done           int        `json:"steps_done"`
	Total          int        `json:"steps"`
	At             string     `json:"at,omitempty"` // the step under way or next
	Bytes          int64      `json:"bytes"`        // saved for the way back; where there is none, all that the folder takes
	RebootRequired bool       `json:"reboot_required"`
	PID            int        `json:"pid,omitempty"` // of the run that is at work
	Errors         []string   `json:"errors"`
	Next           []string   `json:"next"` // commands
}

func (a *app) statusCommand() *cobra.Command {
	var reboot, follow bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell where a migration stands",
		Long: `status tells whether a migration was made, is at work, was interrupted (exit
code 22), was rolled back, or could not be rolled back in full (21), and which
command leads on.`,
		Example: "  almamigrate status\n  almamigrate status --follow\n  almamigrate status --reboot-required",
		Args:    cobra.NoArgs,

		Annotations: map[string]string{"config": "optional"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if follow {
				dir, err := awaitRunning(cmd.Context())
				if err != nil {
					return err
				}
				if dir != "" {
					return a.watch(cmd.Context(), dir)
				}
			}
			return a.status(cmd.Context(), reboot)
		},
	}
	c.Flags().BoolVar(&follow, "follow", false, "watch the run that is at work in almamigrate-run.service until its end, and exit with its code")
	c.Flags().BoolVar(&reboot, "reboot-required", false, "exit with 100 if a reboot is required, with 0 if not")
	return c
}

// watch follows a run. With --json the one document is the status at its end.
func (a *app) watch(ctx context.Context, dir runFolder) error {
	if !a.json {
		return a.follow(ctx, dir, a.out, 0)
	}
	err := a.follow(ctx, dir, a.err, 0)
	var done *finished
	if err != nil && !errors.As(err, &done) {
		return err
	}
	if serr := a.status(ctx, false); serr != nil && !errors.As(serr, &done) {
		return serr
	}
	return err
}

func (a *app) status(ctx context.Context, reboot bool) error {
	d := statusDocument{header: newHeader("almamigrate.status"), State: "nothing", Errors: []string{}, Next: []string{}}
	list, err := listChanges()
	if err != nil {
		return err
	}
	code := ExitOK
	if len(list) > 0 {
		c := list[len(list)-1]
		for _, x := range list {
			if !x.State().Settled() {
				c = x
			}
		}
		code = d.of(c)
	} else {
		d.Next = append(d.Next, "almamigrate check")
	}
	if holder, ok := lockHolder(); ok {
		d.State, d.PID, code = "running", holder.PID, ExitOK
		d.Next = []string{}
		if dir, err := unitRunning(ctx); err == nil && dir != "" {
			d.Next = append(d.Next, "almamigrate status --follow")
		}
	}
	if a.json {
		err = writeDocument(a.out, d)
	} else {
		err = d.writeText(a)
	}
	switch {
	case err != nil:
		return err
	case reboot && d.RebootRequired:
		return &finished{ExitReboot}
	case code != ExitOK && !reboot:
		return &finished{code}
	}
	return nil
}

// lockHolder tells who holds the lock; looking takes it for a moment only.
func lockHolder() (filelock.Holder, bool) {
	l, err := filelock.TryLock(lockFile)
	var held *filelock.HeldError
	switch {
	case errors.As(err, &held):
		return held.Holder, true
	case err == nil:
		_ = l.Unlock()
	}
	return filelock.Holder{}, false
}

func (d *statusDocument) of(c *txn.Change) int {
	d.State, d.Change, d.Title = string(c.State()), c.Plan.ID, c.Plan.Title
	d.Created = &c.Plan.Created
	var at int
	d.Done, d.Total, at = c.Progress()
	if at < d.Total {
		d.At = c.Plan.Steps[at].Name
	}
	switch c.State() {
	case txn.StatePlanned, txn.StateRolledBack, txn.StateCommitted: // no way back
		d.Bytes = folderSize(c.Dir)
	default:
		d.Bytes = step.SavedBytes(c)
	}
	d.RebootRequired = step.RebootRequired(c)
	d.Errors = append(d.Errors, c.Errors()...)
	switch c.State() {
	case txn.StatePending:
		d.Next = append(d.Next, "almamigrate migrate --resume", "almamigrate rollback")
		return ExitPending
	case txn.StateRolling:
		d.Next = append(d.Next, "almamigrate rollback")
		return ExitPending
	case txn.StateIncomplete:
		d.Next = append(d.Next, leftToDo(c)...)
		return ExitIncomplete
	case txn.StateDone:
		d.At = ""
		if d.RebootRequired {
			d.Next = append(d.Next, "systemctl reboot")
		}
		d.Next = append(d.Next, "almamigrate verify", "almamigrate rollback", "almamigrate migrate --commit")
	case txn.StateRolledBack:
		d.At = ""
		if d.RebootRequired { // it runs a kernel that is gone
			d.Next = append(d.Next, "systemctl reboot")
		}
		d.Next = append(d.Next, "almamigrate check")
	case txn.StatePlanned:
		d.Next = append(d.Next, "almamigrate migrate")
	}
	return ExitOK
}

// folderSize adds up what a folder takes; what cannot be read counts nothing.
func folderSize(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Size()
		}
		return nil
	})
	return n
}

// stateTexts say where the host stands, for people.
var stateTexts = map[string]string{
	"nothing":     "no migration was made on this host",
	"planned":     "a migration was prepared and not begun; nothing on this host was changed",
	"running":     "almamigrate is at work on this host right now",
	"pending":     "a migration was interrupted; this host is between two distributions until it is finished or taken back",
	"rolling":     "a rollback was interrupted; this host is between two distributions until it is finished",
	"done":        "the migration is complete, and can still be taken back",
	"rolled-back": "the migration was taken back; this host is what it was before",
	"incomplete":  "a rollback could not bring everything back; what is left is listed below",
	"committed":   "the migration is complete and final; it cannot be taken back any more",
}

// nextTexts say what the commands that lead on do. What follows # is nothing to
// a shell, so that a line can be copied as it is.
var nextTexts = map[string]string{
	"almamigrate check":            "can this host become AlmaLinux? changes nothing",
	"almamigrate migrate":          "begin anew; asks first",
	"almamigrate migrate --resume": "finish it",
	"almamigrate rollback":         "take it back; without a network",
	"almamigrate status --follow":  "watch it to its end",
	"almamigrate verify":           "is all as planned? changes nothing",
	"almamigrate migrate --commit": "make it final: frees the space, ends the way back; asks first",
	"systemctl reboot":             "the kernel that runs is not the one to run",
}

// writeText tells the state, then what it is about, then the ways on.
func (d *statusDocument) writeText(a *app) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", d.State, stateTexts[d.State])
	if d.PID != 0 {
		fmt.Fprintf(&b, "  process %d\n", d.PID)
	}
	if d.Change != "" {
		fmt.Fprintf(&b, "  change %s: %s\n", d.Change, report.Safe(d.Title))
		if d.At != "" && d.Done > 0 && d.State != string(txn.StatePlanned) {
			fmt.Fprintf(&b, "  %d of %d steps are done; at: %s\n", d.Done, d.Total, d.At)
		} else if d.At != "" && d.State != string(txn.StatePlanned) {
			fmt.Fprintf(&b, "  none of %d steps is done; at: %s\n", d.Total, d.At)
		}
		what := "saved for the way back"
		switch d.State {
		case string(txn.StatePlanned), string(txn.StateRolledBack):
			what = "still takes up space, until \"almamigrate changes prune\""
		case string(txn.StateCommitted):
			what = "kept as a record"
		}
		fmt.Fprintf(&b, "  %s: %.1f MiB in %s\n", what, float64(d.Bytes)/(1<<20), filepath.Join(changesDir, d.Change))
	}
	for _, e := range d.Errors {
		fmt.Fprintf(&b, "  error: %s\n", report.Safe(e))
	}
	for _, n := range d.Next {
		if why := nextTexts[n]; why != "" {
			n = fmt.Sprintf("%-28s # %s", n, why)
		}
		fmt.Fprintf(&b, "  next: %s\n", n)
	}
	if _, err := io.WriteString(a.out, b.String()); err != nil {
		return fmt.Errorf("cannot write the status: %w", err)
	}
	return nil
}
