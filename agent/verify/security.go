package verify

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// security tells which advisories that applied to the packages of before the
// migration are closed. It never fails the whole: what stays open is for a
// human to judge.
func (r *Report) security(c *txn.Change, p *plan.Plan, db *step.Database, cat *catalog.Catalog, list []assess.AdvisorySource) error {
	if list == nil {
		return nil
	}
	var before, now []assess.InstalledPackage
	modules := map[string]string{}
	for _, hs := range db.Packages {
		for _, h := range hs {
			n := h.NEVRA()
			m := assess.ModuleOf(h.String(rpmhdr.TagModularityLabel))
			if name, stream, ok := strings.Cut(m, ":"); ok {
				m = name + ":" + cat.MapStream(stream)
			}
			now = append(now, assess.InstalledPackage{NEVRA: n, Module: m})
			modules[n.String()] = m
		}
	}
	for _, line := range p.Evidence.Packages { // NEVRA, and the key's id
		nevra, key, _ := strings.Cut(line, " ")
		n, err := rpmver.ParseNEVRA(nevra)
		if err != nil {
			return fmt.Errorf("cannot read the packages of before from the plan: %w", err)
		}
		// Of others' packages AlmaLinux's versions say nothing.
		if k, ok := cat.KeyByID(key); !ok || !cat.Owns(p.Host.Distro, k.Owner) && !cat.Owns("almalinux", k.Owner) {
			continue
		}
		before = append(before, assess.InstalledPackage{NEVRA: n, Module: modules[nevra]})
	}
	s := assess.Since(before, now, list)
	r.Security = s
	k := Check{ID: "security", Level: OK, Details: []string{}}
	defer func() { r.Checks = append(r.Checks, k) }()
	if s.Summary.Advisories == 0 {
		k.Level, k.Text = Info, "no advisories could be read: give AlmaLinux's as a file with --advisories FILE"
		for _, o := range s.Sources {
			if o.Error != "" {
				k.Details = append(k.Details, o.Name+": "+o.Error)
			}
		}
		return nil
	}
	closed, open := s.Summary.Closed, s.Summary.Open
	k.Text = "of the security advisories that applied before the migration none is closed"
	if closed.Security > 0 {
		k.Text = fmt.Sprintf("%d security %s that applied before the migration %s closed (%s; %s)", closed.Security, verb(closed.Security, "advisory", "advisories"),
			verb(closed.Security, "is", "are"), closed.Worded(), count(closed.CVEs, "CVE"))
		if s.Summary.Reboot && step.RebootRequired(c) {
			k.Text += ", some of them only after a reboot"
		}
	}
	if open.Security == 0 {
		if closed.Security == 0 {
			k.Text = "no security advisory applied before the migration"
		} else {
			k.Text += "; none is left open"
		}
		return nil
	}
	k.Level = Info
	k.Text += fmt.Sprintf("; %d still open (%s)", open.Security, open.Worded())
	if p.Depth == plan.DepthBranding {
		k.Text += ": the packages become AlmaLinux's with dnf distro-sync, or with almamigrate migrate --full"
	} else {
		k.Text += ": dnf upgrade brings what the repositories have by now; a mirror may be behind its advisories"
	}
	for i := range s.Open {
		a := &s.Open[i]
		if a.Type == "security" {
			k.Details = append(k.Details, fmt.Sprintf("%s %s: %s", a.Severity, a.ID, a.Subject()))
		}
	}
	return nil
}
