package assess

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// pull takes a package that provides d into the set, if an enabled repository
// has one that can come: the first that goes with what is there, or else the
// first of all, so that what is wrong with it can be told.
func (c *closure) pull(d rpmver.Dep, by int32) bool {
	list := c.a.uni.providers(d, true, c.mayCome)
	if len(list) == 0 {
		return false
	}
	best := list[0]
	if len(list) > 1 {
		seen := map[rpmver.NEVRA]bool{}
		if i := slices.IndexFunc(list, func(t *candidate) bool { return c.goesWith(t, maxAlternatives, seen) }); i > 0 {
			best = list[i]
		}
	}
	c.comes(best, c.members[by].nevra.String(), d.String())
	c.add(memberOf(best, -1))
	return true
}

// mayCome tells whether dnf sees a package and has room for its name.
func (c *closure) mayCome(n rpmver.NEVRA) bool {
	if c.a.hidden(n) != "" {
		return false
	}
	for _, k := range c.byName[n.Name] {
		// The name is there in another version: dnf would not take two.
		if m := &c.members[k]; m.nevra.Arch == n.Arch || m.nevra.Arch == "noarch" || n.Arch == "noarch" {
			return false
		}
	}
	return true
}

// maxAlternatives is how far goesWith follows the requirements of packages
// that could come.
const maxAlternatives = 2

// goesWith tells whether a package that could come conflicts with nothing in
// the set, and whether its requirements can be met. What was seen already is
// not looked at again, so that circles end.
func (c *closure) goesWith(t *candidate, depth int, seen map[rpmver.NEVRA]bool) (ok bool) {
	if known, done := seen[t.nevra()]; done {
		return known
	}
	seen[t.nevra()] = true
	defer func() { seen[t.nevra()] = ok }()
	p := t.full()
	x := memberOf(t, -1)
	for i := range c.members {
		m := &c.members[i]
		if m.nevra.Name == x.nevra.Name {
			continue
		}
		if excludes(m, &x) || excludes(&x, m) {
			return false
		}
	}
	for _, d := range p.Requires {
		if d.IsRich() || strings.HasPrefix(d.Name, "/") || strings.HasPrefix(d.Name, "rpmlib(") {
			continue
		}
		if d.Flags = d.Flags.Comparison(); x.supplies(d) || c.supplied(d) {
			continue
		}
		list := c.a.uni.providers(d, true, c.mayCome)
		if depth == 0 {
			if len(list) == 0 {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(list, func(u *candidate) bool { return c.goesWith(u, depth-1, seen) }) {
			return false
		}
	}
	return true
}

// supply is who provides some names, of all members up to a number.
type supply struct {
	byName  map[string][]rpmver.Dep
	members int
}

// supplied tells whether a member provides d. Unlike met it does for any name;
// it is for the few packages that might come.
func (c *closure) supplied(d rpmver.Dep) bool {
	if n := c.needs[d.Name]; n != nil && slices.ContainsFunc(n.provs, func(p provide) bool { return d.Matches(p.dep) }) {
		return true
	}
	s := &c.supply
	if s.byName == nil {
		s.byName = map[string][]rpmver.Dep{}
	}
	for ; s.members < len(c.members); s.members++ {
		m := &c.members[s.members]
		for k := range m.provides {
			if name := m.provides[k].Name; s.asked(name) {
				s.byName[name] = append(s.byName[name], m.provides[k])
			}
		}
		if s.asked(m.nevra.Name) {
			s.byName[m.nevra.Name] = append(s.byName[m.nevra.Name], m.self())
		}
	}
	if !s.asked(d.Name) {
		list := []rpmver.Dep{}
		for i := range c.members {
			m := &c.members[i]
			if m.nevra.Name == d.Name {
				list = append(list, m.self())
			}
			for k := range m.provides {
				if m.provides[k].Name == d.Name {
					list = append(list, m.provides[k])
				}
			}
		}
		s.byName[d.Name] = list
	}
	return slices.ContainsFunc(s.byName[d.Name], d.Matches)
}

func (s *supply) asked(name string) bool {
	_, ok := s.byName[name]
	return ok
}

// self is what every package provides by its name.
func (m *member) self() rpmver.Dep {
	return rpmver.Dep{Name: m.nevra.Name, Flags: rpmver.Equal, EVR: m.nevra.EVR}
}

// supplies tells whether the package provides d.
func (m *member) supplies(d rpmver.Dep) bool {
	if m.nevra.Name == d.Name && d.MatchesEVR(m.nevra.EVR) {
		return true
	}
	for k := range m.provides {
		// names first: a Dep is too large to be handed over for nothing
		if p := &m.provides[k]; p.Name == d.Name && d.Matches(*p) {
			return true
		}
	}
	return false
}

// excludes tells whether the first package cannot stand the second, by a plain
// Conflicts or an Obsoletes.
func excludes(m, o *member) bool {
	for _, d := range m.conflicts {
		if !d.IsRich() && o.supplies(d) {
			return true
		}
	}
	for k := range m.obsoletes {
		if d := &m.obsoletes[k]; d.Name == o.nevra.Name && d.MatchesEVR(o.nevra.EVR) {
			return true
		}
	}
	return false
}
