package plan

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

// RepoOption is a setting of a repository of the old distribution that its
// AlmaLinux counterpart gets, too.
type RepoOption struct {
	Repo  string `json:"repo"` // AlmaLinux's
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"` // the old repository
}

// carriedOptions decide which packages dnf takes from a repository. No
// distribution's own files have them: somebody meant them.
var carriedOptions = []string{"excludepkgs", "includepkgs", "priority", "cost", "module_hotfixes"}

// optionOf returns what a repository has, with the three names of one option
// made one.
func optionOf(r *inventory.Repo, key string) string {
	if key == "excludepkgs" {
		return strings.Join(r.Exclude, " ")
	}
	return strings.Join(strings.Fields(r.Options[key]), " ")
}

// repoOptions carries them over, where all enabled repositories that one of
// AlmaLinux's stands for agree: what one of two hides, the other may supply.
func (p *Plan) repoOptions(in Input) {
	of := map[string][]*inventory.Repo{}
	for i := range in.Inventory.Repos {
		r := &in.Inventory.Repos[i]
		if id, ok := in.Catalog.MapRepo(p.Host.Distro, p.Host.Major, r.ID); ok && r.Enabled {
			of[id] = append(of[id], r)
		}
	}
	for _, t := range in.Repos {
		list := of[t.ID]
		if len(list) == 0 {
			continue
		}
		for _, key := range carriedOptions {
			v := optionOf(list[0], key)
			if v == "" || slices.ContainsFunc(list, func(r *inventory.Repo) bool { return optionOf(r, key) != v }) {
				continue
			}
			p.RepoOptions = append(p.RepoOptions, RepoOption{Repo: t.ID, Key: key, Value: v, From: list[0].ID})
		}
	}
	slices.SortFunc(p.RepoOptions, func(a, b RepoOption) int { return strings.Compare(a.Repo+" "+a.Key, b.Repo+" "+b.Key) })
}
