package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/verify"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

type verifyDocument struct {
	Kind          string         `json:"kind"`
	SchemaVersion string         `json:"schema_version"`
	Tool          inventory.Tool `json:"tool"`
	*verify.Report
}

func (a *app) verifyCommand() *cobra.Command {
	offline := false
	c := &cobra.Command{
		Use:   "verify",
		Short: "Look whether the host is what the migration promised",
		Long: `verify reads the identity, the rpm database, the files of the packages that
came, the keys and the repositories, and compares them with the plan of the
last migration. It asks the enabled AlmaLinux repositories whether they are
there, and systemd for units that have failed since. It changes nothing. Exit
code 10 means that something differs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openChange("")
			if err != nil {
				return err
			}
			if s := c.State(); s != txn.StateDone && s != txn.StateCommitted {
				return &UserError{Msg: fmt.Sprintf("there is nothing to verify: the change %s is %s", c.Plan.ID, s), Hint: "almamigrate status", Code: ExitUsage}
			}
			opt := a.verifyOptions()
			opt.Offline = opt.Offline || offline
			r, err := verify.Run(cmd.Context(), c, opt)
			if err != nil {
				return err
			}
			if a.json {
				err = writeDocument(a.out, verifyDocument{"almamigrate.verify", "1.0", inventory.Tool{Name: "almamigrate", Version: Version}, r})
			} else {
				err = writeVerify(a.out, r)
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
	c.Flags().BoolVar(&offline, "offline", false, "do not ask the repositories")
	return c
}

// verifyOptions are what the settings say about reaching repositories.
func (a *app) verifyOptions() verify.Options {
	return verify.Options{
		Offline: a.cfg.Repos.Offline, UserAgent: "almamigrate/" + Version, Transport: a.transport(),
	}
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
