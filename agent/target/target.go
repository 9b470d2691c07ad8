// Package target is the AlmaLinux side of a check: which repositories a host
// would have after the move, fetched, verified and indexed.
package target

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// Options say where the AlmaLinux repositories are.
type Options struct {
	Mirror    string            // a whole tree, as https://repo.almalinux.org/almalinux; empty: AlmaLinux's own
	Repos     map[string]string // single repositories: id to URL; an id that AlmaLinux has not is added to its repositories
	OnlyRepos bool              // those of Repos are all there is
	Keys      []*rpmsig.Key     // keys that the administrator trusts beside the pinned ones
	GPGCheck  reposync.Check    // of repomd.xml.asc
	Transport reposync.Repo     // proxy, TLS and authentication settings that every repository gets
}

// Major returns the AlmaLinux major that a host is compared with: its own,
// and 8 for EL7, for which there is no AlmaLinux.
func Major(el int) int {
	if el < 8 {
		return 8
	}
	return el
}

// Planned is one repository before it is fetched.
type Planned struct {
	assess.TargetRepo
	Source reposync.Repo
}

// Select names the repositories of the AlmaLinux side: those that AlmaLinux
// enables by default, those that the host's enabled repositories map to, and
// the others, which are consulted so that "in CRB, which is off" can be said.
func Select(cat *catalog.Catalog, inv *inventory.Inventory, ring *rpmsig.Keyring, opt Options) ([]Planned, error) {
	major := Major(inv.Host.Major)
	// The lines of AlmaLinux's mirrorlists hold $basearch.
	opt.Transport.Vars = map[string]string{"basearch": inv.Host.Arch, "arch": inv.Host.Arch, "releasever": strconv.Itoa(major)}
	known := cat.TargetRepos(major, inv.Host.Arch)
	if len(known) == 0 && len(opt.Repos) == 0 {
		return nil, fmt.Errorf("cannot name the AlmaLinux %d repositories for %s: the catalogue has none", major, inv.Host.Arch)
	}
	from := mappedFrom(cat, inv)
	single := map[string]string{}
	for id, u := range opt.Repos {
		if !isSupplier(cat, inv, id) {
			single[id] = u
		}
	}
	var plan []Planned
	only := opt.OnlyRepos && len(single) > 0 // naming ELRepo's address does not leave AlmaLinux's out
	for _, r := range known {
		if only && single[r.ID] == "" {
			continue
		}
		src := opt.Transport
		src.ID, src.Name, src.Keyring, src.RepoGPGCheck = r.ID, r.Name, ring, opt.GPGCheck
		switch {
		case single[r.ID] != "":
			src.BaseURLs = []string{single[r.ID]}
			delete(single, r.ID)
		case opt.Mirror != "":
			src.BaseURLs = []string{r.URLUnder(opt.Mirror)}
		default:
			src.BaseURLs = []string{r.URL()}
			src.Mirrorlist = r.MirrorlistURL()
		}
		p := Planned{Source: src}
		p.ID, p.Name, p.URL = r.ID, r.Name, src.BaseURLs[0]
		p.DefaultEnabled = r.DefaultEnabled
		p.MappedFrom = from[r.ID]
		p.Enabled = r.DefaultEnabled || len(p.MappedFrom) > 0
		plan = append(plan, p)
	}
	for id, u := range single {
		src := opt.Transport
		src.ID, src.Name, src.Keyring, src.RepoGPGCheck = id, id, ring, opt.GPGCheck
		src.BaseURLs = []string{u}
		p := Planned{Source: src}
		p.ID, p.Name, p.URL, p.Enabled = id, id, u, true
		plan = append(plan, p)
	}
	sort.Slice(plan, func(i, j int) bool { return plan[i].ID < plan[j].ID })
	return plan, nil
}

// mappedFrom gives for each AlmaLinux repository the host's enabled ones that
// it stands for.
func mappedFrom(cat *catalog.Catalog, inv *inventory.Inventory) map[string][]string {
	from := map[string][]string{}
	for _, r := range inv.Repos {
		if !r.Enabled {
			continue
		}
		if id, ok := cat.MapRepo(string(inv.Host.Distro), inv.Host.Major, r.ID); ok {
			from[id] = append(from[id], r.ID)
		}
	}
	for _, ids := range from {
		sort.Strings(ids)
	}
	return from
}

// Fetch brings the repositories up to date. A repository that cannot be had is
// marked with its error; the error returned is only for an interrupted run.
func Fetch(ctx context.Context, syncer *reposync.Syncer, plan []Planned) ([]assess.TargetRepo, error) {
	repos, _, err := FetchSynced(ctx, syncer, plan)
	return repos, err
}

// FetchSynced is Fetch, and keeps by id what packages can be fetched from.
func FetchSynced(ctx context.Context, syncer *reposync.Syncer, plan []Planned) ([]assess.TargetRepo, map[string]*reposync.Synced, error) {
	sources := make([]reposync.Repo, len(plan))
	for i, p := range plan {
		sources[i] = p.Source
	}
	results := syncer.SyncAll(ctx, sources, 4)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	repos, kept := make([]assess.TargetRepo, len(plan)), map[string]*reposync.Synced{}
	for i, p := range plan {
		r := p.TargetRepo
		if err := results[i].Err; err != nil {
			r.Err = err
		} else {
			kept[p.ID] = results[i].Synced
			r = fetched(r, results[i].Synced)
		}
		repos[i] = r
	}
	return repos, kept, nil
}

// fetched fills in what a sync found out.
func fetched(r assess.TargetRepo, s *reposync.Synced) assess.TargetRepo {
	r.Index, r.Revision, r.Stale, r.FetchedAt = s.Index, s.Revision, s.Stale, s.FetchedAt
	if ahead, ok := s.ClockAhead(); ok {
		r.ClockAhead = &ahead
	}
	r.URL = s.BaseURL
	r.Signature = "none"
	if s.Signature != nil {
		r.Signature = strings.TrimSpace(string(s.Signature.Status) + " " + s.Signature.KeyID)
	}
	return r
}
