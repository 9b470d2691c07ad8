package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/agent/verify"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

type migrateFlags struct {
	repoFlags
	planFile   string
	yes        bool
	dryRun     bool
	resume     bool
	foreground bool
	progressFD int
	noWayBack  bool // --accept-no-rollback
	commit     bool
	unproven   bool // --without-reboot
	oldKernels bool
	approved   *plan.Plan
}

func (a *app) migrateCommand() *cobra.Command {
	var f migrateFlags
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Turn this host into AlmaLinux; \"rollback\" takes it back",
		Long: `migrate replaces the packages that make this host the distribution that it is
by AlmaLinux's, in one transaction of rpm. All other packages stay, and are
AlmaLinux's after their next update (dnf distro-sync).

With --full it goes on, also where the branding is AlmaLinux's already: every
package that AlmaLinux has is replaced in a second transaction, a kernel of
AlmaLinux's comes beside the old ones and becomes the default, and the boot
loader is AlmaLinux's. All that leaves is saved, which takes about the space
that it has now: --rollback-depth branding saves less and takes less back, and
none gives the way back up as soon as the migration is done, which needs
--accept-no-rollback or a typed answer.

Before anything changes, everything is downloaded, verified against AlmaLinux's
keys and tried as a test transaction, and everything that is needed to go back
is saved below /var/lib/almamigrate. A failure until then leaves the host as it
is (exit code 1). A failure afterwards is taken back at once (20; 21 where that
was not possible in full). When the program is killed, "status" says so, and
"migrate --resume" or "rollback" lead on.

Where systemd runs, all that follows the approval happens in a unit of its own,
almamigrate-run.service: a dropped connection does not matter, and Ctrl-C only
stops watching (exit code 11). "status --follow" watches again. A "systemctl
stop" of the unit ends it at the next safe point. With --foreground, and where
there is no systemd, it happens in this process, and Ctrl-C takes all back.

With --commit a migration that is done is made final, best some days after the
reboot into AlmaLinux's kernel: the old distribution's boot entry and boot loader
and all that was saved for the way back are removed, and the space is free again.
It refuses while the old kernel still runs, tells what it removes, and asks.`,
		Example: "  almamigrate migrate --dry-run\n  almamigrate migrate --full\n  almamigrate migrate -y\n  almamigrate migrate --plan /root/plan.json -y\n  almamigrate migrate --commit",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.commit {
				return a.commit(cmd.Context(), f)
			}
			if f.unproven || f.oldKernels {
				return usageError("cannot use --without-reboot or --remove-old-kernels without --commit")
			}
			return a.migrate(cmd.Context(), f)
		},
	}
	f.add(c.Flags())
	fl := c.Flags()
	fl.StringVar(&f.planFile, "plan", "", "carry out the plan in `FILE`, and nothing else: refuse if the host or the repositories changed since")
	fl.BoolVar(&f.noWayBack, "accept-no-rollback", false, "with --rollback-depth none, or --commit: go without a way back; -y alone does not say that")
	fl.BoolVar(&f.commit, "commit", false, "make the last migration final: remove what is left of the old boot loader, and the way back")
	fl.BoolVar(&f.unproven, "without-reboot", false, "with --commit: although AlmaLinux's kernel was not booted yet")
	fl.BoolVar(&f.oldKernels, "remove-old-kernels", false, "with --commit: remove the old distribution's kernels, too")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&f.dryRun, "dry-run", false, "do everything up to the test transaction, and nothing that changes the host")
	fl.BoolVar(&f.resume, "resume", false, "go on with an interrupted migration")
	fl.BoolVar(&f.foreground, "foreground", false, "run in this process, and not as a unit of its own")
	fl.IntVar(&f.progressFD, "progress-fd", 0, "write progress as JSON lines to the file descriptor `N`")
	c.MarkFlagsMutuallyExclusive("resume", "plan")
	c.MarkFlagsMutuallyExclusive("resume", "dry-run")
	for _, other := range []string{"resume", "plan", "full"} {
		c.MarkFlagsMutuallyExclusive("commit", other)
	}
	return c
}

func (a *app) migrate(ctx context.Context, f migrateFlags) error {
	supervised := a.supervised(f.foreground || f.dryRun)
	req := request{command: []string{"migrate", "--foreground", "-y"}, progressFD: f.progressFD}
	if supervised {
		f.progressFD = 0 // the follower's
	}
	e, run, err := a.newEngine(ctx, f.progressFD)
	if err != nil {
		return err
	}
	defer e.close()
	pending, err := pendingChange()
	if err != nil {
		return err
	}
	if f.resume {
		if err := resumable(pending); err != nil {
			return err
		}
		if supervised {
			e.close()
			req.command = append(req.command, "--resume")
			return a.inUnit(ctx, req)
		}
		a.noteForeground(f.foreground)
		return e.resume(run, pending)
	}
	if pending != nil {
		return pendingError(pending)
	}
	if err := f.readPlan(); err != nil {
		return err
	}
	ev, err := a.makePlan(run, f.repoFlags)
	if ev != nil {
		defer ev.cleanup()
	}
	if err != nil {
		return err
	}
	if err := f.approve(run, a, ev.plan); err != nil {
		return err
	}
	if supervised {
		e.close()
		fixed, free := f.unitFlags()
		if ev.plan.RollbackDepth == plan.RollbackNone {
			fixed = append(fixed, "--accept-no-rollback") // it was, above
		}
		req.command, req.free, req.plan = append(req.command, fixed...), free, ev.plan
		return a.inUnit(ctx, req)
	}
	if err := e.holdPackageManager(); err != nil {
		return err
	}
	c, err := e.prepare(run, ev)
	if err != nil {
		return err
	}
	if f.dryRun {
		o := e.outcome("almamigrate.migrate", c, ExitOK)
		o.DryRun = true
		if err := txn.Remove(c); err != nil {
			return err
		}
		return e.finish(o, "Dry run: everything was fetched, verified and tried; nothing was changed.\nNext: "+a.without("--dry-run"))
	}
	return e.run(run, c)
}

func pendingError(c *txn.Change) error {
	if c.State() == txn.StateIncomplete {
		return &UserError{Msg: "the rollback of change " + c.Plan.ID + " is incomplete", Hint: "almamigrate rollback", Code: ExitIncomplete}
	}
	if c.State() == txn.StateRolling {
		return &UserError{Msg: "the rollback of change " + c.Plan.ID + " was interrupted and has to be finished first", Hint: "almamigrate rollback", Code: ExitPending}
	}
	return &UserError{Msg: fmt.Sprintf("the migration %s was interrupted and has to be finished or taken back first", c.Plan.ID),
		Hint: "almamigrate migrate --resume, or: almamigrate rollback", Code: ExitPending}
}

// readPlan reads the approved plan, which says how far the migration goes.
func (f *migrateFlags) readPlan() error {
	if f.planFile == "" {
		return nil
	}
	file, err := os.Open(f.planFile)
	if err != nil {
		return &UserError{Err: fmt.Errorf("cannot read the plan: %w", err), Code: ExitUsage, Hint: "write one with: almamigrate plan -o FILE"}
	}
	defer file.Close()
	if f.approved, err = plan.Read(file); err != nil {
		return err
	}
	if f.full && f.approved.Depth != plan.DepthFull {
		return usageError("cannot use --full: the plan in %s is for the branding only", f.planFile)
	}
	f.full = f.approved.Depth == plan.DepthFull
	if f.approved.RollbackDepth != "" {
		f.rollback = f.approved.RollbackDepth
	}
	return nil
}

// approve shows the plan and asks, or compares it with the approved one.
func (f *migrateFlags) approve(ctx context.Context, a *app, p *plan.Plan) error {
	if approved := f.approved; approved != nil {
		if err := plan.Drift(approved, p); err != nil {
			return err
		}
		// What was approved counts, and what is overridden here and now beside it.
		for _, o := range approved.Overrides {
			if !slices.ContainsFunc(p.Overrides, func(x plan.Override) bool { return x.ID == o.ID }) {
				p.Overrides = append(p.Overrides, o)
			}
			p.Blockers = slices.DeleteFunc(p.Blockers, func(id string) bool { return id == o.ID })
		}
	}
	if !a.json && !a.quiet && a.unit == nil {
		if err := p.WriteText(a.out, f.verbose); err != nil {
			return err
		}
	}
	if len(p.Blockers) > 0 {
		return &UserError{Msg: "findings of the check stand in the way: " + strings.Join(p.Blockers, ", "),
			Hint: "almamigrate explain " + p.Blockers[0] + "; or take it upon yourself with --override ID --reason TEXT", Code: ExitFindings}
	}
	if f.dryRun {
		return nil
	}
	a.noteForeground(f.foreground)
	if p.RollbackDepth == plan.RollbackNone && !f.noWayBack {
		if f.yes {
			return &UserError{Msg: "--rollback-depth none leaves no way back, and -y alone does not accept that", Hint: a.again("--accept-no-rollback"), Code: ExitUsage}
		}
		return a.askFor(ctx, "There will be no way back. Type \"no way back\" to go on: ", "no way back", a.again("--accept-no-rollback", "-y"))
	}
	if f.yes {
		return nil
	}
	return a.ask(ctx, a.again("-y"))
}

// prepare brings all that is needed to go there and back onto the disk. When
// it fails the host is as it was, and nothing of the change is left.
func (e *engine) prepare(ctx context.Context, ev *evidence) (c *txn.Change, err error) {
	extra, err := json.Marshal(ev.plan)
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot encode the plan: %w", err)
	}
	e.env.Ring, e.env.KeyFiles = ev.ring, ev.keys
	if err := e.clear(); err != nil {
		return nil, err
	}
	c, err = txn.Create(changesDir, txn.Plan{
		ID: changeID(time.Now()), Created: time.Now().UTC(), Tool: Version,
		Title: ev.plan.Host.Title + " to " + ev.plan.Target, Steps: step.Steps(ev.plan), Extra: extra,
	})
	if err != nil {
		return nil, err
	}
	made := c
	defer func() {
		if err != nil {
			err = errors.Join(err, txn.Remove(made))
		}
	}()
	if err := e.env.Fetch(ctx, c, ev.plan, ev.fetch); err != nil {
		return nil, err
	}
	if err := fault.Point("migrate.fetched"); err != nil {
		return nil, err
	}
	if err := e.runner(c).Prepare(ctx); err != nil {
		return nil, err
	}
	return c, step.HoldRoom(c)
}

// clear removes what runs prepared that were killed before their first change:
// nothing can be done with it, and it may take gigabytes.
func (e *engine) clear() error {
	if err := txn.Sweep(changesDir); err != nil {
		return err
	}
	list, err := listChanges()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.State() != txn.StatePlanned {
			continue
		}
		e.say("removing what a run prepared that was interrupted before its first change: %s", c.Plan.ID)
		if err := txn.Remove(c); err != nil {
			return err
		}
	}
	return nil
}

// run acts, and takes it back where that fails.
func (e *engine) run(ctx context.Context, c *txn.Change) error {
	e.inhibit("the host is being migrated: " + c.Plan.Title)
	r := e.runner(c)
	err := r.Run(ctx)
	switch {
	case err == nil:
		return e.done(ctx, c)
	case errors.Is(err, txn.ErrStopped) && e.interrupted() != os.Interrupt:
		o := e.outcome("almamigrate.migrate", c, ExitPending)
		return e.finish(o, fmt.Sprintf("Stopped at a safe point: %v.\nGo on with: almamigrate migrate --resume, or back with: almamigrate rollback", err))
	case errors.Is(err, txn.ErrState):
		return err
	}
	e.say("%v", err)
	e.say("taking everything back")
	rerr := e.rollBack(ctx, c)
	code, text := ExitRolledBack, fmt.Sprintf("The migration failed: %v.\nEverything was taken back; the host is as it was.", err)
	if rerr != nil {
		code = ExitIncomplete
		text = fmt.Sprintf("The migration failed: %v.\nIt could not be taken back in full: %v.\nLeft to do:\n  %s", err, rerr, strings.Join(leftToDo(c), "\n  "))
	}
	o := e.outcome("almamigrate.migrate", c, code)
	if len(o.Errors) == 0 {
		o.Errors = append(o.Errors, err.Error())
	}
	if rerr != nil {
		o.Errors = append(o.Errors, rerr.Error())
	}
	return e.finish(o, text)
}

// rollBack takes a change back, where the disk is full with the room that was
// held for that: whoever fills it must not have it before.
func (e *engine) rollBack(ctx context.Context, c *txn.Change) error {
	err := e.runner(c).Rollback(ctx)
	if errors.Is(err, txn.ErrIncomplete) && step.NeedsRoom(c) {
		e.say("the disk is full: once more, with the room that was held for this")
		if gerr := step.GiveRoom(c); gerr != nil {
			return errors.Join(err, gerr)
		}
		err = e.runner(c).Rollback(ctx)
	}
	if err != nil {
		return err
	}
	return step.GiveRoom(c)
}

// done verifies what was done; the steps' own word does not count.
func (e *engine) done(ctx context.Context, c *txn.Change) error {
	// A request to stop comes too late: all is done, and only looked at.
	v, err := verify.Run(context.WithoutCancel(ctx), c, e.a.verifyOptions())
	if err != nil {
		return fmt.Errorf("the migration is done, but cannot be verified: %w", err)
	}
	o := e.outcome("almamigrate.migrate", c, ExitOK)
	o.Verify = v
	if !e.a.json {
		if err := writeVerify(e.a.out, v); err != nil {
			return err
		}
	}
	text := doneText(c)
	if v.OK && noWayBack(c) {
		if err := e.giveUp(c); err != nil {
			return err
		}
		o = e.outcome("almamigrate.migrate", c, ExitOK)
		o.Verify = v
	}
	if !v.OK {
		text = "\nDone, but not all is as planned: see above. Take it back with: almamigrate rollback"
	}
	return e.finish(o, text)
}

// doneText says what comes next.
func doneText(c *txn.Change) string {
	p, err := step.Plan(c)
	if err != nil || p.Depth != plan.DepthFull {
		return fmt.Sprintf("\nDone: %s. Take it back at any time with: almamigrate rollback\nNext: \"almamigrate migrate --full\" brings all other packages to AlmaLinux's versions, as dnf distro-sync does.", c.Plan.Title)
	}
	text := fmt.Sprintf("\nDone: %s, all packages.", c.Plan.Title)
	switch p.RollbackDepth {
	case plan.RollbackNone:
		text += " There is no way back, as was asked for."
	case plan.RollbackBranding:
		text += " \"almamigrate rollback\" takes the branding back, and only that."
	default:
		text += " Take it back at any time with: almamigrate rollback"
	}
	if p.RebootRequired {
		text += "\nNext: reboot; then \"almamigrate verify\"."
	}
	return text
}

func noWayBack(c *txn.Change) bool {
	p, err := step.Plan(c)
	return err == nil && p.RollbackDepth == plan.RollbackNone
}

// giveUp ends a migration that was to have no way back: nothing of what was
// saved is needed any more.
func (e *engine) giveUp(c *txn.Change) error {
	if err := e.runner(c).Commit(); err != nil {
		return err
	}
	return step.ForgetSaved(c)
}

// resumable tells whether there is an interrupted migration to go on with.
func resumable(c *txn.Change) error {
	if c == nil {
		return &UserError{Msg: "there is nothing to resume", Hint: "almamigrate status", Code: ExitUsage}
	}
	if c.State() != txn.StatePending {
		return &UserError{Msg: fmt.Sprintf("the change %s is %s: it can only be taken back", c.Plan.ID, c.State()), Hint: "almamigrate rollback", Code: ExitPending}
	}
	return nil
}

// resume goes on with an interrupted migration.
func (e *engine) resume(ctx context.Context, c *txn.Change) error {
	if err := e.waitAndHold(c); err != nil {
		return err
	}
	return e.run(ctx, c)
}

// waitAndHold lets a transaction of the interrupted run come to its end before
// anybody else is looked for.
func (e *engine) waitAndHold(c *txn.Change) error {
	if err := e.env.Wait(c); err != nil {
		return err
	}
	return e.holdPackageManager()
}
