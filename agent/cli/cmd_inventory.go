package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
)

func (a *app) inventoryCommand() *cobra.Command {
	var noFiles, verify, abi bool
	var cache string
	var folders []string
	c := &cobra.Command{
		Use:   "inventory",
		Short: "List what is installed, with verified signatures",
		Long: `inventory reads the rpm database, the repositories and the package manager's
settings of this host, or of an image with --root. It changes nothing and writes
only to its own cache, where it keeps for a day which signatures were verified.
With --json the result is complete: another machine judges it with
"almamigrate check --inventory FILE" and comes to the same verdict.`,
		Example: "  almamigrate inventory\n  almamigrate inventory --json > web01.json\n  almamigrate inventory --abi --json > web01.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cat, keys, err := a.facts("/", a.cfg.Trust.ExtraKeys)
			if err != nil {
				return err
			}
			dir, cleanup, err := cacheDir(cache, a.cfg.Main.CacheDir)
			if err != nil {
				return err
			}
			defer cleanup()
			inv, err := a.takeInventory(cmd.Context(), cat, inventory.Options{NoFiles: noFiles, ExtraKeys: keys, CacheDir: dir, VerifyAll: verify})
			if err != nil {
				return err
			}
			if abi || len(folders) > 0 {
				p := a.newProgress()
				inv.Applications, err = a.applications(cmd.Context(), cat, inv, nil, folders, p)
				p.done()
				if err != nil {
					return err
				}
			}
			if a.json {
				return inv.WriteJSON(a.out)
			}
			return report.WriteInventory(a.out, inv, report.TextOptions{Color: a.colored(), Width: a.width()})
		},
	}
	c.Flags().BoolVar(&noFiles, "no-files", false, "leave the files of the packages out (a far smaller document; file dependencies are then not judged)")
	c.Flags().BoolVar(&verify, "verify-signatures", false, "verify the signatures of all packages, also where an earlier run did and nothing changed since")
	abiFlags(c.Flags(), &abi, &folders)
	c.MarkFlagsMutuallyExclusive("abi", "no-files")
	c.MarkFlagsMutuallyExclusive("abi-folder", "no-files")
	c.Flags().StringVar(&cache, "cache-dir", "", "keep outcomes in `DIR` (default /var/cache/almamigrate, for non-root users below ~/.cache)")
	return c
}

// takeInventory reads the host or the image that --root names.
func (a *app) takeInventory(ctx context.Context, cat *catalog.Catalog, opt inventory.Options) (*inventory.Inventory, error) {
	h, err := host.New(a.root)
	if err != nil {
		return nil, &UserError{Msg: "", Err: err, Code: ExitUsage, Hint: "give --root the folder of an image or chroot"}
	}
	p := a.newProgress()
	defer p.done()
	p.say("reading the rpm database ...")
	opt.Tool = thisTool()
	return inventory.Take(ctx, h, cat, opt)
}

// readInventory reads the JSON of another host.
func (a *app) readInventory(name string) (*inventory.Inventory, error) {
	a.reading.Store(true)
	defer a.reading.Store(false)
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, &UserError{Err: fmt.Errorf("cannot read the inventory: %w", err), Code: ExitUsage,
				Hint: "write one on the host with: almamigrate inventory --json > FILE"}
		}
		defer f.Close()
	}
	inv, err := inventory.Read(f)
	if err != nil {
		return nil, &UserError{Err: fmt.Errorf("cannot use the inventory %s: %w", name, err), Code: ExitUsage,
			Hint: "write one on the host with: almamigrate inventory --json > FILE"}
	}
	return inv, nil
}
