package assess

import (
	"fmt"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// MoveKind says what a full move does with a package.
type MoveKind string

// The kinds of moves.
const (
	MoveUpgrade   MoveKind = "upgrade"
	MoveDowngrade MoveKind = "downgrade"
	MoveRebuild   MoveKind = "rebuild" // the same version, built by AlmaLinux
	MoveObsolete  MoveKind = "replace" // by an Obsoletes
	MoveNew       MoveKind = "new"     // required by what comes or stays
	MoveBeside    MoveKind = "beside"  // a kernel: the old ones stay
	MoveDrop      MoveKind = "drop"    // of the old distribution only, by the catalogue
)

// Moves is what dnf's distro-sync to AlmaLinux does beyond the exchange of the
// identity packages: both sides as sets, since one package may replace several.
type Moves struct {
	Leaving []MoveOut // in the order of the inventory
	Coming  []MoveIn
	Staying []StayingPackage
}

// MoveOut is an installed package that is gone afterwards.
type MoveOut struct {
	Row  int // in Inventory.Packages
	Kind MoveKind
	Why  string
}

// MoveIn is a package that is installed.
type MoveIn struct {
	Repo    string
	Package *repodata.Package
	Kind    MoveKind
	Why     string
}

// StayingPackage is an installed package that one would expect to leave.
type StayingPackage struct {
	Row int
	Why string
}

// moves turns the judgements into the two sides of a transaction.
func (a *assessor) moves() *Moves {
	m := &Moves{}
	have := map[rpmver.NEVRA]bool{}     // installed, and AlmaLinux's own
	installed := map[string]bool{}      // by name
	coming := map[rpmver.NEVRA]bool{}   // taken
	branding := map[rpmver.NEVRA]bool{} // targets of the exchange of identities, which is not a matter of this
	for i := range a.judged {
		j := &a.judged[i]
		installed[j.p.Name] = true
		if a.kind(j.res.Origin) == originAlmaLinux {
			have[j.nevra] = true
		}
		if j.branding {
			for _, c := range append([]*candidate{j.target}, j.also...) {
				if c != nil {
					branding[c.nevra()] = true
				}
			}
		}
	}
	come := func(c *candidate, kind MoveKind, why string) {
		if n := c.nevra(); !coming[n] && !have[n] && !branding[n] {
			// All of it: the candidate itself holds what judging needs, which is less.
			p, err := c.repo.Index.Package(c.at)
			if err != nil {
				p = &repodata.Package{NEVRA: n} // refused by its empty location
			}
			coming[n] = true
			m.Coming = append(m.Coming, MoveIn{c.repo.ID, p, kind, why})
		}
	}
	for i := range a.judged {
		j := &a.judged[i]
		leave := func(kind MoveKind, why string) { m.Leaving = append(m.Leaving, MoveOut{i, kind, why}) }
		only := a.installOnly(j.p)
		switch {
		case j.branding && j.dropped && only:
			m.Staying = append(m.Staying, StayingPackage{i, "the kernel that the host came with stays beside AlmaLinux's"})
		case j.branding && j.dropped:
			leave(MoveDrop, j.res.Reason)
		case j.branding:
			// The exchange of identities.
		case only && j.group >= 0 && j.group != i:
			// The newest of several decides; this one stays.
		case a.rebuilt(j) || only && a.sameKernel(j):
			leave(MoveRebuild, "AlmaLinux's build of the same version comes")
			come(j.target, MoveRebuild, "in place of "+j.res.NEVRA)
		case only && j.moves():
			come(j.target, MoveBeside, "beside "+j.res.NEVRA+", which stays")
		case j.moves() || j.leaves && j.target != nil:
			kind := MoveUpgrade
			switch {
			case j.obsolete:
				kind = MoveObsolete
			case j.res.Verdict == Older:
				kind = MoveDowngrade
			}
			leave(kind, j.res.Reason)
			for k, c := range append([]*candidate{j.target}, j.also...) {
				if k > 0 && installed[c.nevra().Name] {
					continue // judged as what it is
				}
				come(c, kind, "in place of "+j.res.NEVRA)
			}
		}
	}
	for _, in := range a.closure.incoming {
		n, err := rpmver.ParseNEVRA(in.NEVRA)
		if err != nil {
			continue
		}
		for _, c := range a.uni.all(n.Name) {
			if c.nevra() == n && c.repo.ID == in.Repo {
				come(c, MoveNew, fmt.Sprintf("required by %s (%s)", in.RequiredBy, in.Requirement))
				break
			}
		}
	}
	return m
}

// sameKernel tells whether AlmaLinux has the very version of the newest
// installed kernel: the two cannot stand side by side.
func (a *assessor) sameKernel(j *judged) bool {
	return j.res.Verdict == Same && !j.leaves && j.target.repo.Enabled && a.kind(j.res.Origin) != originAlmaLinux && a.hidden(j.target.nevra()) == ""
}
