package assess

import (
	"cmp"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// candidate is a package of an AlmaLinux repository.
type candidate struct {
	repo   *TargetRepo
	at     int // in the repository's index
	id     rpmver.NEVRA
	stream string // "name:stream" when it is modular
	from   *repodata.Reader
	pkg    *repodata.Package
}

func (c *candidate) nevra() rpmver.NEVRA { return c.id }

// full decodes the package: what the dependencies need, and sizes. The index was checked when it was opened; were it
// damaged since, what is missing counts as empty.
func (c *candidate) full() *repodata.Package {
	if c.pkg == nil {
		p, err := c.from.Package(c.at)
		if err != nil {
			p = &repodata.Package{NEVRA: c.id}
		}
		c.pkg = p
	}
	return c.pkg
}

// target describes the candidate. Sizes are for what would be fetched: that of
// a package which is there already is left out, it would have to be decoded.
func (c *candidate) target(v PackageVerdict) *Target {
	t := &Target{NEVRA: c.id.String(), Repo: c.repo.ID, RepoEnabled: c.repo.Enabled, DefaultEnabled: c.repo.DefaultEnabled, Stream: c.stream}
	if v != Same {
		p := c.full()
		t.Size, t.InstalledSize = p.SizePackage, p.SizeInstalled
	}
	return t
}

// universe is what the AlmaLinux repositories offer, seen as dnf would on
// this host after the move: with the packages of inactive module streams, and
// those that active streams shadow, left out.
type universe struct {
	repos    []*TargetRepo // with an index, enabled first, then by id
	mods     modules
	baseArch string
	byName   map[string][]*candidate // hidden ones included
	visible  map[string][]*candidate
	readers  map[*repodata.Index]*repodata.Reader
}

func newUniverse(repos []TargetRepo, mods modules, baseArch string) *universe {
	u := &universe{mods: mods, baseArch: baseArch, byName: map[string][]*candidate{}, visible: map[string][]*candidate{}, readers: map[*repodata.Index]*repodata.Reader{}}
	for i := range repos {
		if repos[i].Index != nil {
			u.repos = append(u.repos, &repos[i])
			u.readers[repos[i].Index] = repos[i].Index.NewReader()
		}
	}
	slices.SortStableFunc(u.repos, func(a, b *TargetRepo) int {
		if a.Enabled != b.Enabled {
			if a.Enabled {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return u
}

// all returns every package of that name, hidden ones included.
func (u *universe) all(name string) []*candidate {
	if c, ok := u.byName[name]; ok {
		return c
	}
	var list []*candidate
	for _, r := range u.repos {
		for _, i := range r.Index.ByName(name) {
			if c := u.candidate(r, i); c != nil {
				list = append(list, c)
			}
		}
	}
	u.byName[name] = list
	return list
}

// named returns the packages of that name that dnf would see, were their
// repositories enabled.
func (u *universe) named(name string) []*candidate {
	if c, ok := u.visible[name]; ok {
		return c
	}
	list := slices.DeleteFunc(slices.Clone(u.all(name)), func(c *candidate) bool { return u.mods.hides(c.id) })
	u.visible[name] = list
	return list
}

// fits tells whether a package of arch may stand in the place of an installed
// one, as dnf has it: the same architecture, or from or to noarch. 32-bit
// packages never become 64-bit ones.
func (u *universe) fits(installed, arch string) bool {
	switch {
	case installed == arch:
		return true
	case installed == "noarch":
		return u.isBase(arch)
	case arch == "noarch":
		return true
	}
	return is32(installed) && is32(arch)
}

func (u *universe) isBase(arch string) bool {
	return arch == u.baseArch || strings.HasPrefix(arch, u.baseArch+"_v")
}

func is32(arch string) bool {
	switch arch {
	case "i386", "i486", "i586", "i686", "athlon":
		return true
	}
	return false
}

// candidate returns a package of a repository, nil for a source package.
func (u *universe) candidate(r *TargetRepo, i int) *candidate {
	n := r.Index.NEVRA(i)
	if n.Arch == "src" || n.Arch == "nosrc" {
		return nil
	}
	return &candidate{repo: r, at: i, id: n, stream: u.mods.streamOf(n), from: u.readers[r.Index]}
}

// best returns the highest version among those that may replace a package of
// the architecture; between equals the same architecture and the first
// repository win.
func (u *universe) best(list []*candidate, arch string, enabled bool) *candidate {
	var best *candidate
	for _, c := range list {
		if c.repo.Enabled != enabled || !u.fits(arch, c.id.Arch) {
			continue
		}
		if best == nil {
			best = c
			continue
		}
		if d := c.id.EVR.Compare(best.id.EVR); d > 0 || d == 0 && c.id.Arch == arch && best.id.Arch != arch {
			best = c
		}
	}
	return best
}

// obsoleters returns the packages of the enabled repositories that take the
// place of n by an Obsoletes, by name, each in its highest version. Obsoletes
// look at package names, not provides. dnf brings in all of them.
func (u *universe) obsoleters(n rpmver.NEVRA) []*candidate {
	var list []*candidate
	for _, r := range u.repos {
		if !r.Enabled {
			continue
		}
		for _, i := range r.Index.ObsoletersOf(n.Name, n.EVR) {
			c := u.candidate(r, i)
			if c == nil || c.id.Name == n.Name || !u.installable(c.id.Arch) || is32(c.id.Arch) != is32(n.Arch) && c.id.Arch != "noarch" || u.mods.hides(c.id) {
				continue
			}
			k := slices.IndexFunc(list, func(x *candidate) bool { return x.id.Name == c.id.Name })
			switch {
			case k < 0:
				list = append(list, c)
			case c.id.EVR.Compare(list[k].id.EVR) > 0:
				list[k] = c
			}
		}
	}
	slices.SortFunc(list, func(x, y *candidate) int { return strings.Compare(x.id.Name, y.id.Name) })
	return list
}

// providers returns the packages that meet d, among those of the enabled
// repositories or of the others, in the order that dnf would take them: the one
// of that name before others, the base architecture before 32-bit ones. Each
// name is there once, in its highest version.
func (u *universe) providers(d rpmver.Dep, enabled bool, allow func(rpmver.NEVRA) bool) []*candidate {
	var list []*candidate
	for _, r := range u.repos {
		if r.Enabled != enabled {
			continue
		}
		for _, i := range r.Index.Satisfying(d) {
			n := r.Index.NEVRA(i)
			if n.Arch == "src" || n.Arch == "nosrc" || !u.installable(n.Arch) || u.mods.hides(n) || !allow(n) {
				continue
			}
			c := u.candidate(r, i)
			k := slices.IndexFunc(list, func(x *candidate) bool { return x.id.Name == n.Name })
			if k < 0 {
				list = append(list, c)
			} else if u.prefer(c, list[k], d) {
				list[k] = c
			}
		}
	}
	slices.SortStableFunc(list, func(x, y *candidate) int {
		switch {
		case u.prefer(x, y, d):
			return -1
		case u.prefer(y, x, d):
			return 1
		}
		return 0
	})
	return list
}

func (u *universe) prefer(c, best *candidate, d rpmver.Dep) bool {
	if x, y := c.id.Name == d.Name, best.id.Name == d.Name; x != y {
		return x
	}
	if x, y := is32(c.id.Arch), is32(best.id.Arch); x != y {
		return y
	}
	if c.id.Name == best.id.Name {
		return c.id.EVR.Compare(best.id.EVR) > 0
	}
	if len(c.id.Name) != len(best.id.Name) {
		return len(c.id.Name) < len(best.id.Name)
	}
	return c.id.Name < best.id.Name
}

func (u *universe) installable(arch string) bool {
	return arch == "noarch" || u.isBase(arch) || u.baseArch == "x86_64" && is32(arch)
}
