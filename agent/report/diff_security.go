package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

func (s *SecurityChanges) empty() bool {
	return s == nil || len(s.New)+len(s.Gone)+len(s.Reopened)+len(s.NotReopened) == 0
}

// security compares what advisories said. Where one of the reports did not ask,
// or could not read what the other read, all would be new or gone: nothing is
// said then.
func (c *Changes) security(before, after *assess.SecurityResult) {
	if before == nil || after == nil || before.Summary.Advisories == 0 || after.Summary.Advisories == 0 || !slices.Equal(usable(before), usable(after)) {
		return
	}
	was, is := applying(before), applying(after)
	s := &SecurityChanges{
		New: missing(is, was), Gone: missing(was, is), NewSeverity: map[string]int{}, GoneSeverity: map[string]int{},
		Reopened: absent(reopenedCVEs(after), reopenedCVEs(before)), NotReopened: absent(reopenedCVEs(before), reopenedCVEs(after)),
	}
	for _, l := range []struct {
		list []AdvisoryChange
		to   map[string]int
	}{{s.New, s.NewSeverity}, {s.Gone, s.GoneSeverity}} {
		for _, a := range l.list {
			if a.Type == string(repodata.AdvisorySecurity) {
				l.to[a.Severity]++
			}
		}
	}
	c.Security = s
	for _, n := range []struct {
		what string
		a, b int
	}{
		{"advisories.closed", before.Summary.Closed.Security, after.Summary.Closed.Security},
		{"advisories.open", before.Summary.Open.Security, after.Summary.Open.Security},
		{"cves.reopened", before.Summary.Reopened, after.Summary.Reopened},
	} {
		if n.a != n.b {
			c.Counts[n.what] = []int{n.a, n.b}
		}
	}
}

// usable names the sources that were read.
func usable(r *assess.SecurityResult) (out []string) {
	for _, s := range r.Sources {
		if s.Error == "" {
			out = append(out, s.Name)
		}
	}
	return out
}

// applying are the advisories that apply to the host as it is.
func applying(r *assess.SecurityResult) map[string]AdvisoryChange {
	out := map[string]AdvisoryChange{}
	for _, list := range [][]assess.AdvisoryResult{r.Closed, r.Open} {
		for i := range list {
			out[list[i].ID] = AdvisoryChange{list[i].ID, list[i].Type, assess.AdvisorySeverity(list[i].Severity)}
		}
	}
	return out
}

// missing are those of a that b does not have.
func missing(a, b map[string]AdvisoryChange) []AdvisoryChange {
	out := []AdvisoryChange{}
	for id, x := range a {
		if _, ok := b[id]; !ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(x, y AdvisoryChange) int {
		return cmp.Or(slices.Index(assess.AdvisorySeverities, x.Severity)-slices.Index(assess.AdvisorySeverities, y.Severity), strings.Compare(x.ID, y.ID))
	})
	return out
}

func reopenedCVEs(r *assess.SecurityResult) []string {
	var out []string
	for _, p := range r.Reopened {
		out = append(out, p.CVEs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// absent are those of a that b does not have; both are sorted.
func absent(a, b []string) []string {
	out := []string{}
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			out = append(out, s)
		}
	}
	return out
}
