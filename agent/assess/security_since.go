package assess

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// SecuritySince says what became of the advisories that applied to a host.
type SecuritySince struct {
	Sources []AdvisoryOrigin `json:"sources"` // sorted by name
	Summary SecurityTally    `json:"summary"`
	Closed  []AdvisoryResult `json:"closed"` // applied before and do no more; in the order of SecurityResult
	Open    []AdvisoryResult `json:"open"`   // apply still
	// Unclear are advisories of modular packages of which nothing says which
	// stream they were of.
	Unclear []string `json:"unclear"` // sorted
}

// SecurityTally counts them.
type SecurityTally struct {
	Closed     SecurityCount `json:"closed"`
	Open       SecurityCount `json:"open"`
	Advisories int           `json:"advisories"` // read in all
	Reboot     bool          `json:"reboot"`     // some of the closed ones count after a reboot
}

// InstalledPackage is a package as far as advisories go.
type InstalledPackage struct {
	NEVRA  rpmver.NEVRA
	Module string // "name:stream"; empty: none, or of a package that is gone and nobody knows
}

// Since tells which of the advisories that applied to the packages of before
// still apply to those of now. Packages that advisories do not speak of, other
// vendors', are for the caller to leave out of before. Of packages that are
// there several times the newest counts.
func Since(before, now []InstalledPackage, list []AdvisorySource) *SecuritySince {
	merged, order, sources := mergeAdvisories(list)
	res := &SecuritySince{Sources: sources, Closed: []AdvisoryResult{}, Open: []AdvisoryResult{}, Unclear: []string{}}
	was, is := newestOf(before), newestOf(now)
	unclear := map[string]bool{}
	for _, id := range order {
		adv := merged[id]
		var m advisoryMatch
		for i := range adv.Packages {
			p := &adv.Packages[i]
			for arch, b := range was[p.Name] {
				if p.Arch != "" && p.Arch != arch || b.NEVRA.EVR.Compare(p.EVR) >= 0 {
					continue
				}
				after, there := is[p.Name][arch]
				modular := strings.Contains(b.NEVRA.EVR.Release, ".module")
				module := b.Module
				if module == "" && there {
					module = after.Module
				}
				switch {
				case modular && (module == "" && p.Stream != "" || p.Stream == "?"):
					unclear[id] = true
					continue
				case modular != (p.Stream != "" && p.Stream != "?") && p.Stream != "?", modular && p.Module+":"+p.Stream != module:
					continue
				}
				pkg := AdvisoryPackage{NEVRA: b.NEVRA.String(), Fixed: p.EVR.String()}
				if there {
					pkg.After = after.NEVRA.String()
				}
				m.add(p, pkg, !there || after.NEVRA.EVR.Compare(p.EVR) >= 0)
			}
		}
		m.settle(adv, &res.Closed, &res.Open)
	}
	for id := range unclear {
		res.Unclear = append(res.Unclear, id)
	}
	slices.Sort(res.Unclear)
	sortAdvisories(res.Closed)
	sortAdvisories(res.Open)
	res.Summary = SecurityTally{Closed: countAdvisories(res.Closed), Open: countAdvisories(res.Open), Advisories: len(merged)}
	res.Summary.Reboot = slices.ContainsFunc(res.Closed, func(r AdvisoryResult) bool { return r.Reboot && r.Type == string(repodata.AdvisorySecurity) })
	return res
}

// newestOf finds packages by name and architecture.
func newestOf(list []InstalledPackage) map[string]map[string]InstalledPackage {
	out := map[string]map[string]InstalledPackage{}
	for _, p := range list {
		m := out[p.NEVRA.Name]
		if m == nil {
			m = map[string]InstalledPackage{}
			out[p.NEVRA.Name] = m
		}
		if have, ok := m[p.NEVRA.Arch]; !ok || have.NEVRA.EVR.Compare(p.NEVRA.EVR) < 0 {
			m[p.NEVRA.Arch] = p
		}
	}
	return out
}

// ModuleOf gives the "name:stream" of a package's module label (the header's
// MODULARITYLABEL), empty where it has none.
func ModuleOf(label string) string { return moduleOf(label) }
