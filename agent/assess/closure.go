package assess

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The closure computes what will be installed after the move and whether it
// holds together: every Requires is met (plain, versioned, rich, files), and
// no Conflicts or Obsoletes strikes. It does what dnf's solver would in the
// one case that matters, where each package has one place to go to. What is
// required and not there is taken from the enabled repositories, as dnf would.

// member is one package of the resulting set.
type member struct {
	nevra     rpmver.NEVRA
	provides  []rpmver.Dep
	requires  []rpmver.Dep
	conflicts []rpmver.Dep
	obsoletes []rpmver.Dep
	files     []string           // a repository's package: the files of primary
	inst      *inventory.Package // an installed package that stays
	judged    int                // index of the installed package it is or replaces, -1 for one that comes along
	repo      string
}

// need is everything about one dependency name.
type need struct {
	reqs  []*requirement
	provs []provide
}

type requirement struct {
	dep rpmver.Dep
	by  []int32 // members
}

type provide struct {
	dep rpmver.Dep
	by  int32
}

type richRequirement struct {
	text string
	rich *rpmver.Rich
	by   []int32

	tried bool
}

type closure struct {
	a       *assessor
	members []member
	byName  map[string][]int32
	needs   map[string]*need
	rich    map[string]*richRequirement
	paths   map[string]bool // required paths that a member owns, or may own
	owned   map[string]int  // required paths owned today: judged index
	noFiles bool            // the inventory was taken without files
	pending []*requirement  // of the newest members
	supply  supply
	unmet   []*requirement // those that were not met when they came up

	broken   []breakage
	clashes  []clash
	incoming []Incoming
	reqCount []int // per judged package: requirements checked
}

// breakage is a requirement that is not met after the move.
type breakage struct {
	by       int32
	req      string
	provider int    // judged index of the package that meets it today, -1 none
	offRepo  string // a repository that has it, but would be off
	offPkg   string
	before   bool // not met today either
}

type clash struct {
	by, with int32
	what     string // "conflicts with foo < 2"
}

func (a *assessor) newClosure() *closure {
	c := &closure{
		a: a, byName: map[string][]int32{}, needs: make(map[string]*need, 4096), rich: map[string]*richRequirement{},
		paths: map[string]bool{}, owned: map[string]int{}, reqCount: make([]int, len(a.judged)), noFiles: true,
	}
	seen := map[rpmver.NEVRA]bool{}
	installed := map[string]bool{}
	for i := range a.judged {
		installed[a.judged[i].p.Name] = true
	}
	for i := range a.judged {
		j := &a.judged[i]
		if len(j.p.Files.Base) > 0 {
			c.noFiles = false
		}
		if a.rebuilt(j) {
			c.add(memberOf(j.target, i))
			continue
		}
		if j.stays() {
			c.add(member{
				nevra: j.nevra, provides: j.p.Provides, requires: j.p.Requires, conflicts: j.p.Conflicts, obsoletes: j.p.Obsoletes,
				inst: j.p, judged: i, repo: "installed",
			})
		}
		if !j.moves() && !(j.leaves && j.target != nil) {
			continue
		}
		for k, t := range append([]*candidate{j.target}, j.also...) {
			if seen[t.nevra()] || k > 0 && installed[t.nevra().Name] {
				continue // the other is judged as what it is
			}
			seen[t.nevra()] = true
			c.add(memberOf(t, i))
			if k > 0 && !j.branding {
				c.comes(t, j.res.NEVRA, "obsoletes "+j.p.Name)
			}
		}
	}
	return c
}

func memberOf(t *candidate, judged int) member {
	p := t.full()
	return member{
		nevra: t.nevra(), provides: p.Provides, requires: p.Requires, conflicts: p.Conflicts, obsoletes: p.Obsoletes,
		files: p.Files, judged: judged, repo: t.repo.ID,
	}
}

func (c *closure) add(m member) {
	c.byName[m.nevra.Name] = append(c.byName[m.nevra.Name], int32(len(c.members)))
	c.members = append(c.members, m)
}

// run solves in rounds: a round registers what the newest members need, finds
// who provides it, and takes in what is missing. Members never leave, so that
// what is met once stays met.
func (c *closure) run() {
	for from := 0; from < len(c.members); {
		fresh := c.register(from)
		c.provide(from, fresh)
		c.files(from)
		from = len(c.members)
		for _, r := range c.open(c.pending) {
			c.unmet = append(c.unmet, r)
			c.pull(r.dep, r.by[0])
		}
		c.pending = c.pending[:0]
		for _, text := range sortedKeys(c.rich) {
			r := c.rich[text]
			if r.tried || r.rich.Eval(c.providers) {
				continue
			}
			r.tried = true
			for _, d := range wanted(r.rich, c.providers) {
				if !c.met(d) && c.pull(d, r.by[0]) {
					r.tried = false // an "and" may lack more
					break
				}
			}
		}
	}
	c.collect()
	c.collide()
}

// open returns those of the requirements that are not met, in order.
func (c *closure) open(list []*requirement) []*requirement {
	var out []*requirement
	for _, r := range list {
		if !c.met(r.dep) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *requirement) int { return strings.Compare(x.dep.String(), y.dep.String()) })
	return out
}

// wanted returns the plain dependencies, in order of preference, one of which
// would meet a rich dependency that does not hold: the left side of "or" and of
// "if", every part of "and" that is missing.
func wanted(r *rpmver.Rich, has func(rpmver.Dep) []int) []rpmver.Dep {
	switch r.Op {
	case rpmver.None:
		return []rpmver.Dep{r.Dep}
	case rpmver.If:
		if r.Args[1].Eval(has) {
			return wanted(r.Args[0], has)
		}
		return wanted(r.Args[len(r.Args)-1], has)
	case rpmver.Unless:
		if !r.Args[1].Eval(has) {
			return wanted(r.Args[0], has)
		}
		return wanted(r.Args[len(r.Args)-1], has)
	}
	var list []rpmver.Dep
	for _, arg := range r.Args {
		if r.Op == rpmver.And && arg.Eval(has) {
			continue
		}
		list = append(list, wanted(arg, has)...)
	}
	return list
}

func (c *closure) need(name string, fresh map[string]*need) *need {
	n := c.needs[name]
	if n == nil {
		n = &need{}
		c.needs[name] = n
		fresh[name] = n
	}
	return n
}

// register notes what the members from a number on require and conflict with,
// and returns the names that are new.
func (c *closure) register(from int) map[string]*need {
	fresh := map[string]*need{}
	for i := from; i < len(c.members); i++ {
		m := &c.members[i]
		for _, d := range m.requires {
			if strings.HasPrefix(d.Name, "rpmlib(") {
				continue
			}
			if m.inst != nil {
				c.reqCount[m.judged]++
			}
			if d.IsRich() {
				c.registerRich(d.Name, int32(i), fresh)
				continue
			}
			d.Flags = d.Flags.Comparison()
			n := c.need(d.Name, fresh)
			if k := slices.IndexFunc(n.reqs, func(r *requirement) bool { return r.dep == d }); k >= 0 {
				if by := n.reqs[k].by; by[len(by)-1] != int32(i) {
					n.reqs[k].by = append(by, int32(i))
				}
			} else {
				r := &requirement{d, []int32{int32(i)}}
				n.reqs = append(n.reqs, r)
				c.pending = append(c.pending, r)
			}
		}
		for _, d := range m.conflicts {
			if !d.IsRich() {
				c.need(d.Name, fresh)
			}
		}
	}
	return fresh
}

func (c *closure) registerRich(text string, by int32, fresh map[string]*need) {
	if r := c.rich[text]; r != nil {
		r.by = append(r.by, by)
		return
	}
	rich, err := rpmver.ParseRich(text)
	if err != nil {
		return // written by a newer rpm: nothing can be said
	}
	for d := range rich.Deps() {
		c.need(d.Name, fresh)
	}
	c.rich[text] = &richRequirement{text: text, rich: rich, by: []int32{by}}
}

// provide fills in who provides: the new members everything that is needed,
// the old ones what is needed now for the first time.
func (c *closure) provide(from int, fresh map[string]*need) {
	for i := range c.members {
		m := &c.members[i]
		names := c.needs
		if i < from {
			if len(fresh) == 0 {
				continue
			}
			names = fresh
		}
		self := false
		for _, d := range m.provides {
			if n := names[d.Name]; n != nil {
				n.provs = append(n.provs, provide{d, int32(i)})
				self = self || d.Name == m.nevra.Name
			}
		}
		if n := names[m.nevra.Name]; n != nil && !self {
			n.provs = append(n.provs, provide{rpmver.Dep{Name: m.nevra.Name, Flags: rpmver.Equal, EVR: m.nevra.EVR}, int32(i)})
		}
	}
}

// files finds out which of the required paths are there. The metadata of a
// repository lists only some files (primary); of the others it is assumed that
// the next version of the package that owns them today still has them.
func (c *closure) files(from int) {
	want := map[string]bool{}
	dirs := map[string]bool{}
	for name := range c.needs {
		if strings.HasPrefix(name, "/") {
			if _, known := c.paths[name]; !known {
				want[name] = true
				c.paths[name] = false
				dirs[name[:strings.LastIndexByte(name, '/')+1]] = true
			}
		}
	}
	if len(want) > 0 {
		from = 0
	}
	for i := from; i < len(c.members); i++ {
		for _, f := range c.members[i].files {
			if have, needed := c.paths[f]; needed && !have {
				c.paths[f] = true
			}
		}
	}
	if len(want) == 0 {
		return
	}
	for i := range c.a.judged {
		j := &c.a.judged[i]
		f := &j.p.Files
		hit := false
		for _, d := range f.Dirs {
			if dirs[d] {
				hit = true
				break
			}
		}
		if !hit {
			continue
		}
		for k, b := range f.Base {
			if k >= len(f.DirIndex) || int(f.DirIndex[k]) >= len(f.Dirs) {
				break
			}
			d := f.Dirs[f.DirIndex[k]]
			if !dirs[d] || !want[d+b] {
				continue
			}
			c.owned[d+b] = i
			if j.stays() || j.moves() && (!inPrimary(d+b) || j.obsolete) || j.branding && j.target != nil {
				c.paths[d+b] = true
			}
		}
	}
}

// inPrimary tells whether a repository's primary metadata lists the path: the
// rule that createrepo_c documents for the "primary" file list.
func inPrimary(p string) bool {
	return strings.HasPrefix(p, "/etc/") || strings.Contains(p, "bin/") || p == "/usr/lib/sendmail"
}

// met tells whether a plain dependency holds in the resulting set.
func (c *closure) met(d rpmver.Dep) bool {
	n := c.needs[d.Name]
	if n == nil {
		return false
	}
	for i := range n.provs {
		if d.Matches(n.provs[i].dep) {
			return true
		}
	}
	if strings.HasPrefix(d.Name, "/") {
		return c.paths[d.Name] || c.noFiles || c.unknowable(d.Name)
	}
	return false
}

// unknowable tells whether nothing at hand lists the path, whoever has it.
func (c *closure) unknowable(p string) bool {
	_, today := c.owned[p]
	return !inPrimary(p) && !today
}

// providers is for rich dependencies: the members that provide d.
func (c *closure) providers(d rpmver.Dep) []int {
	n := c.needs[d.Name]
	if n == nil {
		return nil
	}
	var list []int
	for i := range n.provs {
		if d.Matches(n.provs[i].dep) && !slices.Contains(list, int(n.provs[i].by)) {
			list = append(list, int(n.provs[i].by))
		}
	}
	if len(list) == 0 && strings.HasPrefix(d.Name, "/") && c.paths[d.Name] {
		if i, ok := c.owned[d.Name]; ok {
			for k := range c.members {
				if c.members[k].judged == i {
					return []int{k}
				}
			}
		}
		for k := range c.members {
			if slices.Contains(c.members[k].files, d.Name) {
				return []int{k}
			}
		}
	}
	if len(list) == 0 && c.met(d) {
		return []int{len(c.members)} // somebody has it, nobody knows who
	}
	return list
}

func (c *closure) comes(t *candidate, by, why string) {
	p := t.full()
	c.incoming = append(c.incoming, Incoming{
		NEVRA: t.nevra().String(), Repo: t.repo.ID, RequiredBy: by, Requirement: why,
		Size: p.SizePackage, InstalledSize: p.SizeInstalled,
	})
}

// collect lists the requirements that are still not met.
func (c *closure) collect() {
	type lack struct {
		by   []int32
		text string
		deps []rpmver.Dep
	}
	var lacks []lack
	for _, r := range c.open(c.unmet) {
		lacks = append(lacks, lack{r.by, r.dep.String(), []rpmver.Dep{r.dep}})
	}
	for _, text := range sortedKeys(c.rich) {
		if r := c.rich[text]; !r.rich.Eval(c.providers) {
			lacks = append(lacks, lack{r.by, r.text, wanted(r.rich, c.providers)})
		}
	}
	if len(lacks) == 0 {
		return
	}
	names := map[string]bool{}
	for _, l := range lacks {
		for _, d := range l.deps {
			names[d.Name] = true
		}
	}
	today := c.providersToday(names)
	for _, l := range lacks {
		b := breakage{req: l.text, provider: -1}
		for _, d := range l.deps {
			if b.provider < 0 {
				b.provider = c.providerToday(d, today[d.Name])
			}
			if b.offRepo == "" {
				if off := c.a.uni.providers(d, false, func(rpmver.NEVRA) bool { return true }); len(off) > 0 {
					b.offRepo, b.offPkg = off[0].repo.ID, off[0].nevra().String()
				}
			}
		}
		for _, m := range l.by {
			b.by = m
			b.before = c.members[m].inst != nil && b.provider < 0
			c.broken = append(c.broken, b)
		}
	}
}

// providersToday returns, for some names, the installed packages that provide
// them in any version.
func (c *closure) providersToday(names map[string]bool) map[string][]int {
	today := map[string][]int{}
	add := func(name string, i int) {
		if l := today[name]; len(l) == 0 || l[len(l)-1] != i {
			today[name] = append(l, i)
		}
	}
	for i := range c.a.judged {
		p := c.a.judged[i].p
		if names[p.Name] {
			add(p.Name, i)
		}
		for k := range p.Provides {
			if names[p.Provides[k].Name] {
				add(p.Provides[k].Name, i)
			}
		}
	}
	return today
}

// providerToday returns the first of the installed packages that meets d, or -1.
func (c *closure) providerToday(d rpmver.Dep, among []int) int {
	for _, i := range among {
		p := c.a.judged[i].p
		if p.Name == d.Name && d.MatchesEVR(p.EVR) {
			return i
		}
		for _, x := range p.Provides {
			if d.Matches(x) {
				return i
			}
		}
	}
	if i, ok := c.owned[d.Name]; ok {
		return i
	}
	return -1
}

// collide lists the conflicts. Two packages that are installed together today
// and stay are left alone, whatever they declare.
func (c *closure) collide() {
	for i := range c.members {
		m := &c.members[i]
		for _, d := range m.conflicts {
			if d.IsRich() {
				c.collideRich(int32(i), d.Name)
				continue
			}
			if n := c.needs[d.Name]; n != nil {
				for k := range n.provs {
					if pr := &n.provs[k]; d.Matches(pr.dep) {
						c.clash(int32(i), pr.by, "conflicts with "+d.String())
					}
				}
			}
		}
		for _, d := range m.obsoletes {
			for _, k := range c.byName[d.Name] {
				if o := &c.members[k]; o.nevra.Name != m.nevra.Name && d.MatchesEVR(o.nevra.EVR) {
					c.clash(int32(i), k, "obsoletes "+d.String())
				}
			}
		}
	}
}

func (c *closure) collideRich(by int32, text string) {
	rich, err := rpmver.ParseRich(text)
	if err != nil {
		return
	}
	fresh := map[string]*need{}
	for d := range rich.Deps() {
		c.need(d.Name, fresh)
	}
	c.provide(len(c.members), fresh)
	if !rich.Eval(c.providers) {
		return
	}
	for _, k := range rich.Packages(c.providers) {
		c.clash(by, int32(k), "conflicts with "+text)
	}
}

func (c *closure) clash(by, with int32, what string) {
	m, o := &c.members[by], &c.members[with]
	if by == with || m.inst != nil && o.inst != nil {
		return
	}
	// The same package of another version beside it: kernels, or the other
	// half of a multilib pair.
	if m.nevra.Name == o.nevra.Name && m.nevra.EVR == o.nevra.EVR {
		return
	}
	k := clash{by, with, what}
	if !slices.Contains(c.clashes, k) {
		c.clashes = append(c.clashes, k)
	}
}
