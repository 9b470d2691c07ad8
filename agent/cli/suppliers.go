package cli

import (
	"context"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// supplierDeadline is how long a check waits for repositories that it asks only
// because a module may be in them.
const supplierDeadline = 20 * time.Second

// enabledSuppliers fetches those repositories of kernel modules that the host
// has enabled, or that were named on the command line.
func (a *app) enabledSuppliers(ctx context.Context, in *assess.Input, syncer *reposync.Syncer, opt target.Options) error {
	if in.Inventory.Kernel == nil || in.Inventory.Kernel.Reason != "" {
		return nil
	}
	var plan []target.PlannedSupplier
	for _, p := range target.Suppliers(in.Catalog, in.Inventory, opt) {
		if p.Enabled || opt.Repos[p.ID] != "" {
			plan = append(plan, p)
		}
	}
	if len(plan) == 0 {
		return nil
	}
	var err error
	in.Suppliers, err = target.FetchSuppliers(ctx, syncer, plan)
	return err
}

// askSuppliers asks the other repositories of kernel modules, if the host uses
// a module that AlmaLinux's do not have. With a private mirror, or offline, only
// what is cached of them is used: a host that is told where to fetch from is not
// to be seen elsewhere. It tells whether the judgement is to be made anew.
func (a *app) askSuppliers(ctx context.Context, in *assess.Input, res *assess.Assessment, dir string, f *checkFlags, opt target.Options) (bool, error) {
	if len(res.Unsupplied()) == 0 {
		return false, nil
	}
	var plan []target.PlannedSupplier
	for _, p := range target.Suppliers(in.Catalog, in.Inventory, opt) {
		if !p.Enabled && opt.Repos[p.ID] == "" {
			plan = append(plan, p)
		}
	}
	if len(plan) == 0 {
		return false, nil
	}
	why := ""
	switch {
	case f.offline:
		why = "--offline"
	case opt.Mirror != "" || opt.OnlyRepos:
		why = "a mirror is set; name it with --repo ID=URL to have it asked"
	}
	p := a.newProgress()
	defer p.done()
	p.say("asking for modules that AlmaLinux does not have ...")
	syncer, err := reposync.New(reposync.Options{
		CacheDir: dir, Offline: why != "", MaxAge: a.cfg.Repos.MetadataExpire, Timeout: supplierDeadline / 2, Deadline: supplierDeadline, Retries: -1,
		UserAgent: "almamigrate/" + Version,
		Progress:  func(e reposync.Event) { a.event(p, e) },
	})
	if err != nil {
		return false, err
	}
	more, err := target.FetchSuppliers(ctx, syncer, plan)
	if err != nil {
		return false, err
	}
	for i := range more {
		if s := &more[i]; s.Err != nil && why != "" {
			s.Err, s.Unasked = nil, why
		}
	}
	in.Suppliers = append(in.Suppliers, more...)
	return true, nil
}
