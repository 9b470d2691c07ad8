package cli

import (
	"context"
	"path"

	"github.com/spf13/pflag"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// abiFlags are the flags of the commands that look for applications.
func abiFlags(fl *pflag.FlagSet, abi *bool, folders *[]string) {
	fl.BoolVar(abi, "abi", false, "also look for programs that AlmaLinux does not replace (other packages, /opt, /usr/local, /srv, units, running processes) and at the libraries and symbols that they need")
	fl.StringArrayVar(folders, "abi-folder", nil, "--abi, and search `DIR` for programs too (may be repeated; also [applications] folders in the configuration)")
}

// applications looks for the programs that do not come from the distribution.
func (a *app) applications(ctx context.Context, cat *catalog.Catalog, inv *inventory.Inventory, stay map[string]bool, folders []string, p *progress) (*inventory.Applications, error) {
	for _, f := range folders {
		if !path.IsAbs(f) {
			return nil, usageError("cannot use --abi-folder %s: it is not an absolute path", f)
		}
	}
	h, err := host.New(a.root)
	if err != nil {
		return nil, &UserError{Err: err, Code: ExitUsage, Hint: "give --root the folder of an image or chroot"}
	}
	defer h.Close()
	for _, f := range folders { // those of the settings may be for other hosts
		if !h.Exists(f) {
			return nil, usageError("cannot use --abi-folder %s: there is no such folder", h.Path(f))
		}
	}
	return inventory.ReadApplications(ctx, h, cat, inv, inventory.ApplicationOptions{
		Folders: append(append([]string{}, a.cfg.Applications.Folders...), folders...), Stay: stay,
		Progress: func(looked int, where string) { p.say("looking for applications: %d files, %s", looked, where) },
	})
}

// judgeApplications adds the applications to what check judges, where they are
// asked for and the host is at hand.
func (a *app) judgeApplications(ctx context.Context, in *assess.Input, f *checkFlags, p *progress) (err error) {
	if f.inventory != "" || !f.abi && !f.deep && len(f.folders) == 0 {
		return nil
	}
	in.Inventory.Applications, err = a.applications(ctx, in.Catalog, in.Inventory, assess.Staying(*in), f.folders, p)
	return err
}

// libraries are the packages that --deep reads beside the kernel's.
func (f *checkFlags) libraries(in *assess.Input) []assess.LibraryPackage {
	if !f.deep {
		return nil
	}
	return assess.LibraryPackages(*in)
}
