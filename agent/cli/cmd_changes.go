package cli

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

func (a *app) changesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "changes",
		Short: "List, show and remove what was saved by migrations",
		Long: `changes lists the migrations of this host that something is still kept of, shows
the plan and the journal of one, and removes what is not needed any more. What
is needed to go back is removed only by name and with --force.`,
		Example: "  almamigrate changes list\n  almamigrate changes show 20261128t161345z\n  almamigrate changes prune",
		Args:    cobra.NoArgs,
		RunE:    a.group,
	}
	optional := map[string]string{"config": "optional"}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List all changes", Annotations: optional, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.changesList() }},
		&cobra.Command{Use: "show CHANGE", Short: "Show the plan of a change and its journal", Example: "  almamigrate changes show 20261128t161345z", Annotations: optional, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error { return a.changesShow(args[0]) }},
		a.pruneCommand())
	return c
}

func (a *app) changesList() error {
	list, err := listChanges()
	if err != nil {
		return err
	}
	rows := make([]changeRow, 0, len(list))
	for _, c := range list {
		rows = append(rows, newChangeRow(c))
	}
	if a.json {
		return writeDocument(a.out, newChangesDocument(rows))
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.out, "There is no change: no migration was made on this host, or all were removed.")
		return err
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "CHANGE\tCREATED\tSTATE\tSIZE\tWHAT")
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%.1f MiB\t%s\n", r.ID, r.Created.Local().Format("2006-01-02 15:04 MST"), r.State, float64(r.Bytes)/(1<<20), report.Safe(r.Title))
	}
	return t.Flush()
}

func (a *app) changesShow(id string) error {
	c, err := openChange(id)
	if err != nil {
		return err
	}
	p, err := step.Plan(c)
	if err != nil {
		return err
	}
	if a.json {
		return writeDocument(a.out, newChangeDocument(c, p))
	}
	_, _ = fmt.Fprintf(a.out, "%s: %s, %s\n\n", id, c.State(), stateTexts[string(c.State())])
	if err := p.WriteText(a.out, true); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.out, "\nWhat was done (state: %s):\n", c.State())
	for _, r := range c.Records {
		name := "-"
		if r.Step >= 0 {
			name = c.Plan.Steps[r.Step].Name
		}
		_, _ = fmt.Fprintf(a.out, "  %s  %s  %s\n", r.Time.Format(time.RFC3339), r.Status, name)
	}
	return nil
}

func (a *app) pruneCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "prune [CHANGE...]",
		Short: "Remove what changes saved that were rolled back, never begun or committed",
		Long: `prune removes the folders of changes that were rolled back, never begun or
committed, or of those that are named. One that holds your versions of files that
a rollback replaced goes only by name. What a migration saved that can still be
taken back goes only with --force, and the way back goes with it.`,
		Example:     "  almamigrate changes prune\n  almamigrate changes prune 20261128t161345z",
		Annotations: map[string]string{"config": "optional"},
		RunE: func(cmd *cobra.Command, args []string) error {
			e, _, err := a.newEngine(cmd.Context(), 0)
			if err != nil {
				return err
			}
			defer e.close()
			return a.prune(args, force)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also remove the named changes that could still be taken back")
	return c
}

// keepLater leaves changes out, or refuses them where they were named, that a
// change still stands on which can be taken back: only by their records is it
// known that it must not be.
func keepLater(list, gone []*txn.Change, named bool) ([]*txn.Change, error) {
	going := map[string]bool{}
	for _, c := range gone {
		going[c.Plan.ID] = true
	}
	below, out := "", []*txn.Change{}
	for _, c := range list {
		s := c.State()
		stands := s == txn.StateDone || s == txn.StateCommitted
		switch {
		case !going[c.Plan.ID]:
			if s == txn.StateDone {
				below = c.Plan.ID
			}
		case stands && below != "" && named:
			return nil, &UserError{Msg: fmt.Sprintf("cannot remove the change %s: it came after %s, which could then be taken back from under it", c.Plan.ID, below),
				Hint: "almamigrate changes prune --force " + below + " " + c.Plan.ID, Code: ExitUsage}
		case stands && below != "":
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

func (a *app) prune(ids []string, force bool) error {
	if err := txn.Sweep(changesDir); err != nil {
		return err
	}
	list, err := listChanges()
	if err != nil {
		return err
	}
	args, kept := ids, []string{}
	if len(ids) == 0 {
		for _, c := range list {
			switch c.State() {
			case txn.StatePlanned, txn.StateRolledBack, txn.StateCommitted:
				// The only copies of what somebody wrote go by name only.
				if clashes, err := filepath.Glob(filepath.Join(c.Dir, "files", "*", "clash-*")); err != nil || len(clashes) > 0 {
					kept = append(kept, c.Plan.ID)
					continue
				}
				ids = append(ids, c.Plan.ID)
			}
		}
	}
	// All are looked at before any is removed.
	gone := make([]*txn.Change, 0, len(ids))
	for _, id := range ids {
		c, err := openChange(id)
		if err != nil {
			return err
		}
		s := c.State()
		if !s.Settled() {
			return pendingError(c)
		}
		if s == txn.StateDone && !force {
			return &UserError{Msg: "cannot remove the change " + id + ": the migration could not be taken back any more",
				Hint: "almamigrate changes prune --force " + id + ", if that is what you want", Code: ExitUsage}
		}
		gone = append(gone, c)
	}
	if gone, err = keepLater(list, gone, len(args) > 0); err != nil {
		return err
	}
	rows := make([]changeRow, 0, len(gone))
	for _, c := range gone {
		r := newChangeRow(c)
		if err := txn.Remove(c); err != nil {
			return err
		}
		rows = append(rows, r)
		if !a.json {
			_, _ = fmt.Fprintf(a.out, "removed %s: %s (%s), %.1f MiB\n", r.ID, report.Safe(r.Title), r.State, float64(r.Bytes)/(1<<20))
		}
	}
	if a.json {
		return writeDocument(a.out, newPrunedDocument(rows, kept))
	}
	for _, id := range kept {
		_, _ = fmt.Fprintf(a.out, "kept %s: it holds your versions of files that the rollback replaced, in files/*/clash-*; when you have them: almamigrate changes prune %s\n", id, id)
	}
	if len(rows) == 0 && len(kept) == 0 {
		text := "Nothing to remove."
		if len(list) > 0 {
			text = fmt.Sprintf("Nothing to remove: the %d changes that there are can still be taken back (almamigrate changes list).", len(list))
			if len(list) == 1 {
				text = "Nothing to remove: the one change that there is can still be taken back (almamigrate changes list)."
			}
		}
		_, _ = fmt.Fprintln(a.out, text)
	}
	return nil
}
