package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

func (a *app) rollbackCommand() *cobra.Command {
	var f rollbackFlags
	c := &cobra.Command{
		Use:   "rollback [CHANGE]",
		Short: "Take a migration back, at any time and without a network",
		Long: `rollback brings the old packages, files, repositories and keys back from what
migrate saved. It needs no network. What was changed since is shown first and
not destroyed: files that only you changed stay, and of files that both the
migration and you changed both sides are kept.

All that was saved is read and compared with its digests first. Where a part is
lost or damaged nothing is done, unless --despite-damage says otherwise.

It may be run again after an interruption; a rollback of what was rolled back
does nothing. Where systemd runs, it works in the unit almamigrate-run.service,
as migrate does.`,
		Example: "  almamigrate rollback --dry-run\n  almamigrate rollback -y",
		Args:    cobra.MaximumNArgs(1),

		Annotations: map[string]string{"config": "optional"},
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) == 1 {
				id = args[0]
			}
			return a.rollback(cmd.Context(), id, f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&f.damaged, "despite-damage", false, "go back as far as is possible, although a part of what was saved is lost or damaged")
	fl.BoolVar(&f.foreground, "foreground", false, "run in this process, and not as a unit of its own")
	fl.IntVar(&f.progressFD, "progress-fd", 0, "write progress as JSON lines to the file descriptor `N`")
	return c
}

type rollbackFlags struct {
	dryRun, yes, foreground bool
	damaged                 bool // --despite-damage
	progressFD              int
}

func (a *app) rollback(ctx context.Context, id string, f rollbackFlags) error {
	supervised := a.supervised(f.foreground || f.dryRun)
	req := request{progressFD: f.progressFD}
	if supervised {
		f.progressFD = 0 // the follower's
	}
	e, run, err := a.newEngine(ctx, f.progressFD)
	if err != nil {
		return err
	}
	defer e.close()
	c, err := openChange(id)
	if err != nil {
		return err
	}
	switch s := c.State(); s {
	case txn.StateRolledBack:
		return e.finish(e.outcome("almamigrate.rollback", c, ExitOK), fmt.Sprintf("The change %s was rolled back already: nothing to do.", c.Plan.ID))
	case txn.StatePlanned, txn.StateCommitted:
		return &UserError{Msg: fmt.Sprintf("cannot roll the change %s back: it is %s", c.Plan.ID, s), Hint: "almamigrate status", Code: ExitUsage}
	}
	if err := onlyLast(c); err != nil {
		return err
	}
	if err := e.env.Wait(c); err != nil {
		return err
	}
	if c.State() == txn.StateDone {
		// Once the way back has begun it goes on as far as it can. It does not begin where it is known not to end.
		e.say("reading what was saved for the way back")
		if err := step.CheckSaved(c); err != nil && !f.damaged {
			return &UserError{Err: fmt.Errorf("the host is unchanged: what was saved for the way back is not whole: %w", err),
				Hint: "bring " + c.Dir + " back from a backup; or go back as far as is possible: almamigrate rollback --despite-damage", Code: ExitError}
		}
		if err := step.KernelStays(c); err != nil {
			return &UserError{Err: err, Hint: "install another kernel, e.g. with dnf; it stays", Code: ExitFindings}
		}
	}
	since, err := changedSince(c)
	if err != nil {
		return err
	}
	if !a.json && !a.quiet && a.unit == nil {
		if err := since.write(a.out, c); err != nil {
			return err
		}
	}
	if f.dryRun {
		o := e.outcome("almamigrate.rollback", c, ExitOK)
		o.DryRun, o.Since = true, since
		return e.finish(o, "Dry run: nothing was changed.\nNext: "+a.without("--dry-run"))
	}
	a.noteForeground(f.foreground)
	if !f.yes {
		if err := a.ask(run, a.again("-y")); err != nil {
			return err
		}
	}
	if supervised {
		e.close()
		req.command = []string{"rollback", "--foreground", "-y", c.Plan.ID}
		if f.damaged {
			req.command = append(req.command, "--despite-damage")
		}
		return a.inUnit(ctx, req)
	}
	if err := e.holdPackageManager(); err != nil {
		return err
	}
	e.inhibit("a migration is being rolled back: " + c.Plan.Title)
	rerr := e.rollBack(run, c)
	if errors.Is(rerr, txn.ErrState) {
		return rerr
	}
	if rerr != nil {
		o := e.outcome("almamigrate.rollback", c, ExitIncomplete)
		if len(o.Errors) == 0 {
			o.Errors = append(o.Errors, rerr.Error())
		}
		o.Since = since
		return e.finish(o, fmt.Sprintf("The rollback is incomplete: %v.\n  %s\nLeft to do:\n  %s", rerr, strings.Join(c.Errors(), "\n  "), strings.Join(leftToDo(c), "\n  ")))
	}
	o := e.outcome("almamigrate.rollback", c, ExitOK)
	o.Since = since
	text := fmt.Sprintf("Rolled back: the host is what it was before change %s.", c.Plan.ID)
	if step.RebootRequired(c) {
		text += "\nNext: reboot; the kernel that runs is not installed any more."
	}
	if len(since.Clashes) > 0 {
		text += "\n" + keptText(len(since.Clashes), c.Dir)
	}
	return e.finish(o, text)
}

// onlyLast refuses to take a change back from under a later one.
func onlyLast(c *txn.Change) error {
	list, err := listChanges()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(x *txn.Change) bool { return x.Plan.ID == c.Plan.ID })
	for _, later := range list[i+1:] {
		switch later.State() {
		case txn.StatePlanned, txn.StateRolledBack:
		default:
			return &UserError{Msg: fmt.Sprintf("cannot roll the change %s back: %s came after it", c.Plan.ID, later.Plan.ID),
				Hint: "almamigrate rollback " + later.Plan.ID, Code: ExitUsage}
		}
	}
	return nil
}

// keptText says where what somebody wrote is, of files that a rollback replaced.
func keptText(n int, dir string) string {
	if n == 1 {
		return fmt.Sprintf("Your version of 1 file is kept: %s/files/*/clash-*.", dir)
	}
	return fmt.Sprintf("Your versions of %d files are kept: %s/files/*/clash-*.", n, dir)
}

// backText says what a rollback does, in numbers.
func backText(back, gone, files int) string {
	is := func(n int, one, more string) string {
		if n == 1 {
			return one
		}
		return more
	}
	return fmt.Sprintf("  %s %s back, %d of AlmaLinux's %s, %s %s put back\n", count(back, "package"), is(back, "comes", "come"), gone, is(gone, "goes", "go"), count(files, "file"), is(files, "is", "are"))
}

// since is what became of the host after a migration.
type since struct {
	Packages []string `json:"packages"` // installed, updated or removed since: they stay so
	Updated  []string `json:"updated"`  // of what came with the migration, likewise: the old packages come back for them
	Kept     []string `json:"kept"`     // files that only others changed: they stay
	Clashes  []string `json:"clashes"`  // files that both changed: both sides are kept
	Restored int      `json:"restored"` // files that go back
}

func changedSince(c *txn.Change) (*since, error) {
	s := &since{Packages: []string{}, Updated: []string{}, Kept: []string{}, Clashes: []string{}}
	p, err := step.Plan(c)
	if err != nil {
		return nil, err
	}
	db, err := step.ReadDatabase()
	if err != nil {
		return nil, err
	}
	expect := map[string]bool{}
	for _, n := range p.Evidence.Packages {
		n, _, _ = strings.Cut(n, " ")
		expect[n] = true
	}
	for _, l := range p.Leaving {
		delete(expect, l.NEVRA)
	}
	for _, w := range p.Coming {
		expect[w.NEVRA] = true
	}
	ours := map[string]bool{}
	for _, l := range p.Leaving {
		ours[l.NEVRA] = true
	}
	updated, err := step.UpdatedSince(c, db)
	if err != nil {
		return nil, err
	}
	goes := map[string]bool{}
	for _, h := range updated {
		goes[h.NEVRA().String()] = true
	}
	for _, w := range p.Restorable().Coming {
		goes[w.NEVRA] = true
	}
	note := func(sign, n string) {
		if goes[n] {
			s.Updated = append(s.Updated, sign+n)
		} else {
			s.Packages = append(s.Packages, sign+n)
		}
	}
	settled := c.State() == txn.StateDone
	for n := range db.Packages {
		if !expect[n] && (settled || !ours[n]) {
			note("+ ", n)
		}
	}
	for n := range expect {
		if settled && !db.Has(n) {
			note("- ", n)
		}
	}
	for _, list := range [][]string{s.Packages, s.Updated} {
		slices.SortFunc(list, func(a, b string) int { return strings.Compare(a[2:]+a[:1], b[2:]+b[:1]) })
	}
	packaged, err := step.PackagedSince(c, updated)
	if err != nil {
		return nil, err
	}
	sets, err := step.Sets(c)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		after, err := set.After()
		if err != nil {
			return nil, err
		}
		diff, err := set.Compare("/", after)
		if err != nil {
			return nil, err
		}
		for _, d := range diff {
			switch d.Status {
			case capture.ChangedByOthers, capture.ChangedSince:
				if packaged(d) {
					s.Restored++ // an update's, and nobody's edit
					continue
				}
				if d.Status == capture.ChangedByOthers {
					s.Kept = append(s.Kept, string(d.Path))
					continue
				}
				s.Clashes = append(s.Clashes, string(d.Path))
			case capture.AsWeLeftIt, capture.Unknown:
				s.Restored++
			}
		}
	}
	return s, nil
}

func (s *since) write(w io.Writer, c *txn.Change) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Rolling back change %s: %s (state: %s)\n", c.Plan.ID, report.Safe(c.Plan.Title), c.State())
	if p, err := step.Plan(c); err == nil {
		b.WriteString(backText(len(p.Leaving), len(p.Coming), s.Restored))
	}
	for _, l := range []struct {
		title string
		list  []string
	}{
		{"Packages installed (+) or removed (-) since then; that stays so:", s.Packages},
		{"Packages of the migration updated (+) or gone (-) since then; the old distribution's come back:", s.Updated},
		{"Files that you changed and the migration did not; they stay:", s.Kept},
		{"Files that both changed; the old ones come back, yours are kept in " + c.Dir + "/files:", s.Clashes},
	} {
		if len(l.list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", l.title)
		for i, x := range l.list {
			if i == 20 {
				fmt.Fprintf(&b, "  ... and %d more\n", len(l.list)-i)
				break
			}
			fmt.Fprintf(&b, "  %s\n", report.Safe(x))
		}
	}
	_, err := io.WriteString(w, b.String())
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("cannot write what changed: %w", err)
	}
	return nil
}
