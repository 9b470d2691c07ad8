package report

import (
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// pageSecurity is what the page says of advisories and of other vendors.
type pageSecurity struct {
	Advised      bool // there are advisories to say something of
	SecuritySays []string
	SecurityRows []pageSecurityRow
	Advisories   []pageAdvisories
	Reopened     []pageReopened
	Notable      []assess.OriginNote
	VendorRepos  []string
}

type pageSecurityRow struct {
	Severity     string
	Closed, Open int
}

type pageAdvisories struct {
	Title, Says string
	Open        bool
	List        []assess.AdvisoryResult
}

// pageReopened is a row of what would open again: packages of one source, as a
// rule, with the CVEs of each of them.
type pageReopened struct {
	First assess.Reopened
	Same  []assess.Reopened // the others, each with its own version after the move
}

// openRows is how many rows a table of advisories may have and still be shown
// unfolded.
const openRows = 30

func newPageSecurity(c *Check) pageSecurity {
	var p pageSecurity
	if s := c.Security; s != nil && s.Summary.Advisories > 0 {
		p.Advised = true
		p.SecuritySays = securitySays(s)
		for _, v := range assess.AdvisorySeverities {
			r := pageSecurityRow{v, s.Summary.Closed.BySeverity[v], s.Summary.Open.BySeverity[v]}
			if v != "none" || r.Closed+r.Open > 0 {
				p.SecurityRows = append(p.SecurityRows, r)
			}
		}
		for _, g := range sameReopened(s.Reopened) {
			p.Reopened = append(p.Reopened, pageReopened{g[0], g[1:]})
		}
		closed, others := splitSecurity(s.Closed)
		open, othersOpen := splitSecurity(s.Open)
		for _, l := range []pageAdvisories{
			{"Would stay open", "Security advisories that apply, and that AlmaLinux's packages would not close here.", len(open) <= openRows, open},
			{"Would be closed", "Security advisories that apply to what is installed; AlmaLinux's packages have the fix.", len(closed) <= openRows, closed},
			{"Bug fixes and enhancements that come", "Advisories that are not of security.", false, others},
			{"Bug fixes and enhancements that do not come", "Advisories that are not of security.", false, othersOpen},
		} {
			if len(l.List) > 0 {
				p.Advisories = append(p.Advisories, l)
			}
		}
	}
	if o := c.Origins; o != nil {
		for i := range o.Packages {
			p.Notable = append(p.Notable, o.Packages[i].Notable...)
		}
		for i := range o.Repos {
			p.VendorRepos = append(p.VendorRepos, originRepoText(&o.Repos[i]))
		}
	}
	return p
}

// splitSecurity parts the advisories of security from the others, which come
// after them.
func splitSecurity(list []assess.AdvisoryResult) (security, others []assess.AdvisoryResult) {
	for i := range list {
		if list[i].Type != string(repodata.AdvisorySecurity) {
			return list[:i], list[i:]
		}
	}
	return list, nil
}

// changedAdvisories lists advisories that came or went, not without end.
func changedAdvisories(list []AdvisoryChange) string {
	const most = 200
	var parts []string
	for i, a := range list {
		if i == most {
			parts = append(parts, "...")
			break
		}
		s := a.ID
		if a.Type == string(repodata.AdvisorySecurity) && a.Severity != "none" {
			s += " (" + a.Severity + ")"
		}
		parts = append(parts, s)
	}
	return Safe(strings.Join(parts, ", "))
}
