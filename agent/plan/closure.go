package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// provided answers what the host provides after the swap.
type provided struct {
	deps  map[string][]rpmver.Dep
	files map[string]bool
}

func (s *swap) provided() *provided {
	h := &provided{deps: map[string][]rpmver.Dep{}, files: map[string]bool{}}
	for i := range s.inv.Packages {
		if _, gone := s.leaving[i]; gone {
			continue
		}
		p := &s.inv.Packages[i]
		for _, d := range p.Provides {
			h.deps[d.Name] = append(h.deps[d.Name], d)
		}
	}
	for _, c := range s.coming {
		for _, d := range c.pkg.Provides {
			h.deps[d.Name] = append(h.deps[d.Name], d)
		}
		for _, f := range c.pkg.Files {
			h.files[f] = true
		}
	}
	return h
}

func (h *provided) satisfies(d rpmver.Dep) bool {
	if strings.HasPrefix(d.Name, "rpmlib(") || d.IsRich() {
		return true // the host's rpm judges these in the test transaction
	}
	return slices.ContainsFunc(h.deps[d.Name], d.Matches) || h.files[d.Name]
}

// close follows the dependencies: what coming packages require comes as well,
// and whoever requires what only a leaving package provides leaves, if the
// catalogue says that it may, or stands in the way.
func (s *swap) close() error {
	for range 20 {
		s.has = s.provided()
		again, err := s.pull()
		if err != nil {
			return err
		}
		if again {
			continue
		}
		broken := s.broken()
		if len(broken) == 0 {
			return nil
		}
		for _, i := range slices.Sorted(maps.Keys(broken)) {
			rule, ok := s.rules[i]
			if !ok {
				return fmt.Errorf("cannot plan the swap: %w: %s requires %s, which nothing provides afterwards", ErrBroken, s.inv.Packages[i].NEVRA(), broken[i])
			}
			s.leaving[i] = fmt.Sprintf("%s (requires %s)", rule.Why, broken[i])
		}
	}
	return fmt.Errorf("cannot plan the swap: %w: the dependencies do not come to an end", ErrBroken)
}

// pull adds what the coming packages require and nothing provides.
func (s *swap) pull() (added bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(s.coming)) {
		c := s.coming[name]
		for _, d := range c.pkg.Requires {
			if s.has.satisfies(d) || strings.HasPrefix(d.Name, "/") && s.onHost(d.Name) {
				continue
			}
			p := s.provider(d)
			if p == nil {
				return false, fmt.Errorf("cannot plan the swap: %w: %s requires %s, which no enabled repository has", ErrBroken, c.pkg.NEVRA, d)
			}
			if _, ok := s.coming[p.pkg.NEVRA.Name]; ok {
				continue
			}
			if err := s.take(*p, "required by "+name); err != nil {
				return false, err
			}
			added = true
		}
	}
	return added, nil
}

// provider finds a package for a requirement, one that is not a branding
// package of a role that another one has already.
func (s *swap) provider(d rpmver.Dep) *incoming {
	var best *incoming
	for r := range s.in.Repos {
		repo := &s.in.Repos[r]
		if !repo.Enabled || repo.Index == nil {
			continue
		}
		list := repo.Index.Satisfying(d)
		if strings.HasPrefix(d.Name, "/") {
			list = append(list, repo.Index.ProvidersOfFile(d.Name)...)
		}
		for _, i := range list {
			if c := s.better(nil, repo, i); c != nil && (best == nil || c.pkg.NEVRA.Name < best.pkg.NEVRA.Name ||
				c.pkg.NEVRA.Name == best.pkg.NEVRA.Name && c.pkg.NEVRA.EVR.Compare(best.pkg.NEVRA.EVR) > 0) {
				best = c
			}
		}
	}
	return best
}

// onHost tells whether a package that stays owns a file.
func (s *swap) onHost(file string) bool {
	for i := range s.inv.Packages {
		if _, gone := s.leaving[i]; gone {
			continue
		}
		for f := range s.inv.Packages[i].Files.All() {
			if f == file {
				return true
			}
		}
	}
	return false
}

// broken lists staying packages with a requirement that holds now, through a
// leaving package, and does not afterwards.
func (s *swap) broken() map[int]rpmver.Dep {
	lost := &provided{deps: map[string][]rpmver.Dep{}, files: map[string]bool{}}
	for i := range s.leaving {
		p := &s.inv.Packages[i]
		for _, d := range p.Provides {
			lost.deps[d.Name] = append(lost.deps[d.Name], d)
		}
		for f := range p.Files.All() {
			lost.files[f] = true
		}
	}
	out := map[int]rpmver.Dep{}
	for i := range s.inv.Packages {
		if _, gone := s.leaving[i]; gone {
			continue
		}
		for _, d := range s.inv.Packages[i].Requires {
			if d.IsRich() || !lost.satisfies(d) || s.has.satisfies(d) {
				continue
			}
			if strings.HasPrefix(d.Name, "/") && s.onHost(d.Name) {
				continue
			}
			out[i] = d
			break
		}
	}
	return out
}
