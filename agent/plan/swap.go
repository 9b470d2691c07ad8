package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// roles are what identity and branding packages provide, whatever their names
// are, and what AlmaLinux has in their place.
var roles = []struct {
	provide string
	to      string
	must    bool // it cannot stand beside AlmaLinux's
}{
	{"system-release", "almalinux-release", true},
	{"redhat-release", "almalinux-release", true},
	{"system-logos", "almalinux-logos", false},
	{"system-logos-httpd", "almalinux-logos-httpd", false},
	{"system-logos-ipa", "almalinux-logos-ipa", false},
	{"redhat-logos", "almalinux-logos", false},
	{"redhat-logos-httpd", "almalinux-logos-httpd", false},
	{"redhat-logos-ipa", "almalinux-logos-ipa", false},
	{"redhat-indexhtml", "almalinux-indexhtml", false},
	{"system-backgrounds", "almalinux-backgrounds", false},
}

type incoming struct {
	pkg  *repodata.Package
	repo string
	why  string
}

// swap finds what leaves and what comes.
type swap struct {
	in      Input
	inv     *inventory.Inventory
	leaving map[int]string      // index of the installed package: why
	coming  map[string]incoming // by name
	staying []Note
	rules   map[int]catalog.Replacement // drops that may stay
	has     *provided                   // what is there afterwards
}

func newSwap(in Input) *swap {
	return &swap{in: in, inv: in.Inventory, leaving: map[int]string{}, coming: map[string]incoming{}, rules: map[int]catalog.Replacement{}}
}

func (s *swap) run() error {
	distro, major := string(s.inv.Host.Distro), s.inv.Host.Major
	identity := map[string]bool{}
	if s.inv.Host.Distro != inventory.AlmaLinux { // what is left of another one beside AlmaLinux's is found by its role
		for _, n := range s.in.Catalog.Identity(distro, major) {
			identity[n] = true
		}
	}
	signer := s.releaseSigner()
	for i := range s.inv.Packages {
		p := &s.inv.Packages[i]
		rule, ok := s.in.Catalog.Branding(distro, major, p.Name)
		switch {
		case ok && rule.Action == catalog.Swap:
			if err := s.replace(i, rule.To, rule.Why, identity[p.Name]); err != nil {
				return err
			}
		case identity[p.Name]:
			s.leaving[i] = "says which distribution this is"
		case ok:
			s.rules[i] = rule
		default:
			if err := s.byRole(i, signer); err != nil {
				return err
			}
		}
	}
	if _, ok := s.coming["almalinux-release"]; !ok {
		if err := s.come("almalinux-release", "says that this is AlmaLinux"); err != nil {
			return err
		}
	}
	if err := s.close(); err != nil {
		return err
	}
	if len(s.leaving) == 0 && !s.in.Full {
		return fmt.Errorf("cannot plan: %w: no package says that this is another distribution", ErrBranded)
	}
	for i, rule := range s.rules {
		if _, gone := s.leaving[i]; !gone {
			s.staying = append(s.staying, Note{s.inv.Packages[i].NEVRA().String(), rule.Why})
		}
	}
	return nil
}

// releaseSigner is the key that signed the release package: what else it
// signed is the same distribution's.
func (s *swap) releaseSigner() string {
	for i := range s.inv.Packages {
		if p := &s.inv.Packages[i]; p.NEVRA().String() == s.inv.Host.ReleasePackage && p.Signature.Status != "missing" {
			return p.Signature.KeyID
		}
	}
	return ""
}

// byRole catches what the catalogue has no name for: by what it provides, and
// by who signed it.
func (s *swap) byRole(i int, signer string) error {
	p := &s.inv.Packages[i]
	if strings.HasPrefix(p.Name, "almalinux-") {
		return nil
	}
	ours := p.Signature.KeyID != "" && p.Signature.KeyID == signer ||
		p.Signature.Owner != "" && s.in.Catalog.Owns(string(s.inv.Host.Distro), p.Signature.Owner)
	for _, r := range roles {
		if !slices.ContainsFunc(p.Provides, func(d rpmver.Dep) bool { return d.Name == r.provide }) {
			continue
		}
		if r.must || ours {
			return s.replace(i, []string{r.to}, "provides "+r.provide, r.must)
		}
	}
	return nil
}

// replace lets a package leave for others. Artwork for which AlmaLinux has
// nothing stays; identity packages leave in any case.
func (s *swap) replace(i int, to []string, why string, must bool) error {
	var found []string
	for _, n := range to {
		if s.find(n) != nil {
			found = append(found, n)
		}
	}
	if len(found) < len(to) && !must {
		s.staying = append(s.staying, Note{s.inv.Packages[i].NEVRA().String(), "the enabled AlmaLinux repositories do not carry " + strings.Join(to, ", ")})
		return nil
	}
	s.leaving[i] = why
	for _, n := range found {
		if err := s.come(n, "in place of "+s.inv.Packages[i].Name); err != nil {
			return err
		}
	}
	if must && len(found) == 0 {
		return s.noTarget(to[0])
	}
	return nil
}

func (s *swap) noTarget(name string) error {
	return fmt.Errorf("cannot plan the swap: %w: no enabled AlmaLinux repository has %s for %s", ErrNoTarget, name, s.inv.Host.Arch)
}

// find returns the newest package of a name in the enabled repositories.
func (s *swap) find(name string) *incoming {
	var best *incoming
	for r := range s.in.Repos {
		repo := &s.in.Repos[r]
		if !repo.Enabled || repo.Index == nil {
			continue
		}
		for _, i := range repo.Index.ByName(name) {
			best = s.better(best, repo, i)
		}
	}
	return best
}

func (s *swap) better(best *incoming, repo *assess.TargetRepo, i int) *incoming {
	n := repo.Index.NEVRA(i)
	if n.Arch != "noarch" && n.Arch != s.inv.Host.Arch {
		return best
	}
	if best != nil && n.EVR.Compare(best.pkg.NEVRA.EVR) <= 0 {
		return best
	}
	q, err := repo.Index.Package(i)
	if err != nil {
		return best
	}
	return &incoming{pkg: q, repo: repo.ID}
}

func (s *swap) come(name, why string) error {
	if _, ok := s.coming[name]; ok {
		return nil
	}
	c := s.find(name)
	if c == nil {
		return s.noTarget(name)
	}
	return s.take(*c, why)
}

func (s *swap) take(c incoming, why string) error {
	if err := checkPick(c.repo, c.pkg); err != nil {
		return err
	}
	for i := range s.inv.Packages {
		if s.inv.Packages[i].NEVRA() == c.pkg.NEVRA {
			return nil // a half-migrated host may have it
		}
	}
	for i := range s.inv.Packages {
		p := &s.inv.Packages[i]
		for _, o := range c.pkg.Obsoletes {
			if o.Name == p.Name && o.MatchesEVR(p.EVR) {
				s.leaving[i] = "obsoleted by " + c.pkg.NEVRA.Name
			}
		}
		if p.Name == c.pkg.NEVRA.Name {
			s.leaving[i] = "AlmaLinux's package of that name comes"
		}
	}
	c.why = why
	s.coming[c.pkg.NEVRA.Name] = c
	return nil
}
