package target

import (
	"context"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// PlannedSupplier is a repository of kernel modules before it is fetched.
type PlannedSupplier struct {
	assess.Supplier
	Source reposync.Repo
}

// cachePrefix keeps what is cached of these repositories apart from AlmaLinux's
// own, whatever their ids are.
const cachePrefix = "modules-"

// Suppliers names the repositories of kernel modules beside AlmaLinux's that the
// catalogue knows, with the address that the host has for them, and otherwise
// the public one. An address given for the id of one (--repo elrepo=URL) is used
// for it. Of the settings for AlmaLinux's mirror only the proxy is used: the
// certificates and passwords are not for them.
func Suppliers(cat *catalog.Catalog, inv *inventory.Inventory, opt Options) []PlannedSupplier {
	var plan []PlannedSupplier
	for _, r := range cat.ModuleRepos(Major(inv.Host.Major), inv.Host.Arch) {
		p := PlannedSupplier{Source: reposync.Repo{
			ID: cachePrefix + r.ID, Name: r.Title, RepoGPGCheck: reposync.CheckIfPresent,
			Proxy: opt.Transport.Proxy, ProxyUsername: opt.Transport.ProxyUsername, ProxyPassword: opt.Transport.ProxyPassword,
		}}
		p.ID, p.TargetRepo.Name, p.Title, p.Package, p.Enable = r.ID, r.Title, r.Title, r.Package, r.Enable
		for i := range inv.Repos {
			h := &inv.Repos[i]
			switch {
			case !r.Is(h.ID) || len(h.BaseURLs) == 0 && h.Mirrorlist == "" && h.Metalink == "":
			case !h.Enabled:
				p.Host = append(p.Host, h.ID)
			default:
				if !p.Enabled {
					p.Source.BaseURLs, p.Source.Mirrorlist, p.Source.Metalink = h.BaseURLs, h.Mirrorlist, h.Metalink
					if proxy := h.Options["proxy"]; proxy != "" && p.Source.Proxy == "" && !strings.HasPrefix(proxy, "_") {
						p.Source.Proxy = proxy
					}
				}
				p.Enabled = true
				p.MappedFrom = append(p.MappedFrom, h.ID)
			}
		}
		if !p.Enabled {
			p.Source.BaseURLs = []string{r.BaseURL}
		}
		if u := opt.Repos[r.ID]; u != "" {
			p.Source.BaseURLs, p.Source.Mirrorlist, p.Source.Metalink = []string{u}, "", ""
		}
		if len(p.Source.BaseURLs) > 0 {
			p.URL = p.Source.BaseURLs[0]
		} else {
			p.URL = p.Source.Mirrorlist + p.Source.Metalink
		}
		p.Source.Keyring = supplierKeys(cat, inv, opt, r.Owner)
		p.Key = len(p.Source.Keyring.Fingerprints()) > 0
		plan = append(plan, p)
	}
	return plan
}

// supplierKeys are the keys of the host whose fingerprints the catalogue knows
// as the owner's: that the host has a key imported says nothing of whose it is.
func supplierKeys(cat *catalog.Catalog, inv *inventory.Inventory, opt Options, owner string) *rpmsig.Keyring {
	ring := rpmsig.NewKeyring()
	add := func(keys []*rpmsig.Key) {
		for _, k := range keys {
			if info, ok := cat.KeyByFingerprint(k.Fingerprint); ok && info.Owner == owner && owner != "" {
				ring.Add(k)
			}
		}
	}
	for _, k := range inv.Keys {
		if info, ok := cat.KeyByFingerprint(k.Fingerprint); ok && info.Owner == owner && owner != "" {
			keys, _ := rpmsig.ParseKeys([]byte(k.Armored))
			add(keys)
		}
	}
	add(opt.Keys)
	return ring
}

// FetchSuppliers brings such repositories up to date. One that cannot be had is
// marked with its error; the error returned is only for an interrupted run.
func FetchSuppliers(ctx context.Context, syncer *reposync.Syncer, plan []PlannedSupplier) ([]assess.Supplier, error) {
	sources := make([]reposync.Repo, len(plan))
	for i := range plan {
		sources[i] = plan[i].Source
	}
	results := syncer.SyncAll(ctx, sources, 4)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]assess.Supplier, len(plan))
	for i := range plan {
		s := plan[i].Supplier
		if s.Err = results[i].Err; s.Err == nil {
			s.TargetRepo = fetched(s.TargetRepo, results[i].Synced)
		}
		out[i] = s
	}
	return out, nil
}

// isSupplier tells an id of --repo that names a repository of kernel modules.
func isSupplier(cat *catalog.Catalog, inv *inventory.Inventory, id string) bool {
	return slices.ContainsFunc(cat.ModuleRepos(Major(inv.Host.Major), inv.Host.Arch), func(r catalog.ModuleRepo) bool { return r.ID == id })
}
