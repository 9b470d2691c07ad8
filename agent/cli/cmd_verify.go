package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/agent/verify"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

func (a *app) verifyCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "verify",
		Short: "Look whether the host is what the migration promised",
		Long: `verify reads the identity, the rpm database, the files of the packages that
came, the keys and the repositories, and compares them with the plan of the
last migration. It asks the enabled AlmaLinux repositories whether they are
there, and systemd for units that have failed since. It changes nothing. Exit
code 10 means that something differs.

With --security it also reads AlmaLinux's advisories, and tells which of those
that applied to the packages of before the migration are closed now. Those that
are not do not change the exit code.`,
		Example: "  almamigrate verify\n  almamigrate verify --security\n  almamigrate verify --offline --advisories almalinux-osv.tar.xz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openChange("")
			if err != nil {
				return err
			}
			if s := c.State(); s != txn.StateDone && s != txn.StateCommitted {
				return &UserError{Msg: fmt.Sprintf("there is nothing to verify: the change %s is %s", c.Plan.ID, s), Hint: "almamigrate status", Code: ExitUsage}
			}
			opt := a.verifyOptions()
			opt.Offline = opt.Offline || f.offline
			if opt.Advisories, err = a.verifyAdvisories(cmd.Context(), &f); err != nil {
				return err
			}
			r, err := verify.Run(cmd.Context(), c, opt)
			if err != nil {
				return err
			}
			if a.json {
				err = writeDocument(a.out, newVerifyDocument(r))
			} else {
				err = writeVerified(a.out, c.Plan.Title, r)
			}
			if err != nil {
				return err
			}
			if !r.OK {
				return &finished{ExitFindings}
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.offline, "offline", false, "do not ask the repositories; of advisories, use what is in the cache")
	fl.BoolVar(&f.security, "security", false, "also tell which of AlmaLinux's advisories that applied before the migration are closed now, and which are not")
	fl.StringArrayVar(&f.advisory, "advisories", nil, "read advisories from `FILE` as well, as check does; implies --security (may be repeated)")
	fl.StringVar(&f.mirror, "mirror", "", "read the repositories' advisories from the AlmaLinux tree at `URL`, as check does")
	fl.StringVar(&f.cacheDir, "cache-dir", "", "keep metadata in `DIR` (default /var/cache/almamigrate)")
	return c
}

// verifyAdvisories reads AlmaLinux's advisories, as check does; nil where nobody
// asked for them.
func (a *app) verifyAdvisories(ctx context.Context, f *checkFlags) ([]assess.AdvisorySource, error) {
	if err := f.settle(a); err != nil || !f.security {
		return nil, err
	}
	opt := target.Options{Mirror: f.mirror, Repos: map[string]string{}, GPGCheck: reposync.Check(a.cfg.Trust.RepoGPGCheck), Transport: a.transport()}
	for id, r := range a.cfg.Repo {
		opt.Repos[id] = r.URL
	}
	cat, keys, err := a.facts("/", a.cfg.Trust.ExtraKeys)
	if err != nil {
		return nil, err
	}
	opt.Keys = keys
	inv, err := a.takeInventory(ctx, cat, inventory.Options{ExtraKeys: keys, NoFiles: true, NoSignatures: true})
	if err != nil {
		return nil, err
	}
	dir, cleanup, err := cacheDir(f.cacheDir, a.cfg.Main.CacheDir)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	in := assess.Input{Inventory: inv, Catalog: cat, Major: target.Major(inv.Host.Major)}
	if err := a.fetch(ctx, &in, dir, f, &opt); err != nil {
		return nil, err
	}
	return in.Advisories, nil
}

// verifyOptions are what the settings say about reaching repositories.
func (a *app) verifyOptions() verify.Options {
	return verify.Options{
		Offline: a.cfg.Repos.Offline, UserAgent: "almamigrate/" + Version, Transport: a.transport(),
	}
}

// writeVerified writes the verdict first, then what it rests on, then what is
// next.
func writeVerified(w io.Writer, title string, r *verify.Report) error {
	var bad int
	for _, c := range r.Checks {
		if c.Level == verify.Failure {
			bad++
		}
	}
	verdict := "AS PLANNED  " + report.Safe(title)
	next := "almamigrate status"
	if !r.OK {
		verb := "differ"
		if bad == 1 {
			verb = "differs"
		}
		verdict = fmt.Sprintf("DIFFERS  %s: %d of %d things %s from the plan", report.Safe(title), bad, len(r.Checks), verb)
		next = "mend what is marked FAILED and verify again; almamigrate rollback takes all of it back"
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", verdict); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if err := writeVerify(w, r); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nNext: %s\n", next); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}

func writeVerify(w io.Writer, r *verify.Report) error {
	var b strings.Builder
	for _, c := range r.Checks {
		mark := map[string]string{verify.OK: "ok     ", verify.Info: "note   ", verify.Failure: "FAILED "}[c.Level]
		fmt.Fprintf(&b, "%s%s: %s\n", mark, c.ID, report.Safe(c.Text))
		for i, d := range c.Details {
			if i == 20 {
				fmt.Fprintf(&b, "         ... and %d more\n", len(c.Details)-i)
				break
			}
			fmt.Fprintf(&b, "         %s\n", report.Safe(d))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}
