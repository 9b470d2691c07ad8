package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// commit ends a migration for good: what was kept of the old distribution to
// boot it, and what was saved to go back, is removed.
func (a *app) commit(ctx context.Context, f migrateFlags) error {
	e, run, err := a.newEngine(ctx, f.progressFD)
	if err != nil {
		return err
	}
	defer e.close()
	if pending, err := pendingChange(); err != nil {
		return err
	} else if pending != nil {
		return pendingError(pending)
	}
	c, err := openChange("")
	if err != nil {
		return err
	}
	switch c.State() {
	case txn.StateDone:
	case txn.StateCommitted:
		return e.commitRest(run, c, f)
	default:
		return &UserError{Msg: fmt.Sprintf("there is nothing to commit: the change %s is %s", c.Plan.ID, c.State()), Hint: "almamigrate status", Code: ExitUsage}
	}
	m, err := e.env.Commitment(c, f.oldKernels)
	if err != nil {
		return err
	}
	if !a.json && !a.quiet {
		if _, err := fmt.Fprint(a.out, commitText(m)); err != nil {
			return fmt.Errorf("cannot write what would be removed: %w", err)
		}
	}
	if m.Unproven != "" && !f.unproven {
		return &UserError{Msg: "AlmaLinux's kernel has not proven itself: " + m.Unproven,
			Hint: "reboot, then: almamigrate migrate --commit; or take it upon yourself with --without-reboot", Code: ExitFindings}
	}
	if f.dryRun {
		o := e.outcome("almamigrate.commit", c, ExitOK)
		o.DryRun, o.Commit = true, m
		return e.finish(o, "Dry run: nothing was changed.\nNext: "+a.without("--dry-run"))
	}
	if !f.noWayBack {
		hint := a.again("--accept-no-rollback")
		if f.yes {
			return &UserError{Msg: "--commit ends the way back, and -y alone does not accept that", Hint: hint, Code: ExitUsage}
		}
		if err := a.askFor(run, "There will be no way back. Type \"no way back\" to go on: ", "no way back", hint); err != nil {
			return err
		}
	}
	if err := e.holdPackageManager(); err != nil {
		return err
	}
	// The way back ends first: a rollback to a boot loader or kernels of which a part is gone would leave nothing that boots.
	if err := e.runner(c).Commit(); err != nil {
		return err
	}
	if err := fault.Point("commit.journal.after"); err != nil {
		return err
	}
	if err := e.env.Commit(run, c, m); err != nil {
		return err
	}
	if err := step.ForgetSaved(c); err != nil {
		return err
	}
	o := e.outcome("almamigrate.commit", c, ExitOK)
	o.Commit = m
	return e.finish(o, fmt.Sprintf("\nCommitted: %s. %.1f MiB are free again; there is no way back.", c.Plan.Title, float64(m.Bytes+m.Boot.Bytes)/(1<<20)))
}

// commitRest removes what an interrupted commit has left; where the host has not
// proven that it boots AlmaLinux, no more than what was saved.
func (e *engine) commitRest(ctx context.Context, c *txn.Change, f migrateFlags) error {
	m, err := e.env.Commitment(c, f.oldKernels)
	if err != nil {
		return err
	}
	text := "The migration " + c.Plan.ID + " is committed already."
	o := e.outcome("almamigrate.commit", c, ExitOK)
	if f.dryRun {
		o.DryRun, o.Commit = true, m
		return e.finish(o, text)
	}
	if m.Unproven == "" || f.unproven {
		if err := e.holdPackageManager(); err != nil {
			return err
		}
		if err := e.env.Commit(ctx, c, m); err != nil {
			return err
		}
	} else if len(m.Boot.Entries)+len(m.Boot.Files)+len(m.Kernels) > 0 {
		text += " What the old distribution boots by stays until the host has booted AlmaLinux's kernel: " + report.Safe(m.Unproven) + "."
	}
	if err := step.ForgetSaved(c); err != nil {
		return err
	}
	return e.finish(o, text)
}

func commitText(m *step.Commitment) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Commit of %s (change %s). Afterwards \"almamigrate rollback\" is not possible any more.\n\n", report.Safe(m.Title), m.Change)
	fmt.Fprintf(&b, "  removed: what was saved for the way back, %.1f MiB in %s\n", float64(m.Bytes)/(1<<20), filepath.Join(changesDir, m.Change))
	for _, x := range m.Boot.Entries {
		fmt.Fprintf(&b, "  removed: the firmware's boot entry %s\n", report.Safe(x))
	}
	if n := len(m.Boot.Files); n > 0 {
		fmt.Fprintf(&b, "  removed: %s of the old boot loader, %.1f MiB in %s\n", count(n, "file"), float64(m.Boot.Bytes)/(1<<20), report.Safe(filepath.Dir(m.Boot.Files[0])))
	}
	for _, k := range m.Kernels {
		fmt.Fprintf(&b, "  removed: %s\n", report.Safe(k))
	}
	return b.String()
}
