package fleet

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// The facets that the security sections of reports are made of. Class: the
// advisory's severity; of a CVE there is none.
const (
	facetClosed   = "advisories-closed"
	facetOpen     = "advisories-open"
	facetReopened = "cves-reopened"
)

// Security is what AlmaLinux's advisories say over the fleet.
type Security struct {
	Hosts    int           `json:"hosts"`          // whose report tells of advisories
	Closed   []SeverityRow `json:"closed"`         // would be closed by the move; critical, important, moderate, low, none
	Open     []SeverityRow `json:"open"`           // would stay open; in the same order
	Reopened []ReopenedCVE `json:"reopened_cves"`  // most hosts first, at most maxItems
	Affected int           `json:"reopened_hosts"` // hosts on which a CVE would open again
}

// SeverityRow counts the security advisories of one severity.
type SeverityRow struct {
	Severity   string `json:"severity"`
	Advisories int    `json:"advisories"` // different ones
	Hosts      int    `json:"hosts"`      // that have at least one
}

// ReopenedCVE is a CVE that is mended on hosts and would open again on them.
type ReopenedCVE struct {
	CVE   string   `json:"cve"`
	Hosts []string `json:"hosts"` // all, by name
}

// HostSecurity counts the security advisories of one host.
type HostSecurity struct {
	Closed   SeverityCount `json:"closed"`
	Open     SeverityCount `json:"open"`
	Reopened int           `json:"reopened_cves"`
}

// SeverityCount counts advisories by severity.
type SeverityCount struct {
	Critical  int `json:"critical"`
	Important int `json:"important"`
	Moderate  int `json:"moderate"`
	Low       int `json:"low"`
	None      int `json:"none"`
}

// of is the place of a severity, one of assess.AdvisorySeverities.
func (c *SeverityCount) of(severity string) *int {
	switch severity {
	case "critical":
		return &c.Critical
	case "important":
		return &c.Important
	case "moderate":
		return &c.Moderate
	case "low":
		return &c.Low
	}
	return &c.None
}

// Total is all of them.
func (c SeverityCount) Total() int { return c.Critical + c.Important + c.Moderate + c.Low + c.None }

var sharedSeed = maphash.MakeSeed()

// share returns a list that is equal to the given one and kept once, however
// many hosts have it: hosts of one kind at one state of updates have the same
// hundreds of advisories.
func (t *table) share(list []uint32) []uint32 {
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	list = slices.Compact(list)
	var h maphash.Hash
	h.SetSeed(sharedSeed)
	var b [4]byte
	for _, id := range list {
		binary.LittleEndian.PutUint32(b[:], id)
		_, _ = h.Write(b[:])
	}
	sum := h.Sum64()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, have := range t.shared[sum] {
		if slices.Equal(have, list) {
			return have
		}
	}
	if t.shared == nil {
		t.shared = map[uint64][][]uint32{}
	}
	kept := slices.Clone(list)
	t.shared[sum] = append(t.shared[sum], kept)
	return kept
}

// security reads what a report tells of advisories. Its facts go into a list of
// their own.
func (x *extractor) security() error {
	facts := x.facts
	x.facts = x.advisories[:0]
	defer func() { x.advisories, x.facts = x.facts, facts }()
	s, read := &HostSecurity{}, 0
	var cve []byte
	cves := map[string]bool{}
	err := x.s.Object(func(k []byte) error {
		switch string(k) {
		case "summary":
			return x.s.Object(func(k []byte) error {
				if string(k) == "advisories" {
					return x.number(&read)
				}
				return nil
			})
		case "closed":
			return x.advisoryList(facetClosed, &s.Closed)
		case "open":
			return x.advisoryList(facetOpen, &s.Open)
		case "reopened":
			return x.s.Array(func() error {
				return x.s.Object(func(k []byte) error {
					if string(k) != "cves" {
						return nil
					}
					return x.s.Array(func() error {
						if err := x.bytes(&cve); err != nil {
							return err
						}
						if len(cves) < maxFacts {
							cves[clip(cve)] = true
						}
						return x.add(facetReopened, "", cve)
					})
				})
			})
		}
		return nil
	})
	if err != nil || read == 0 {
		x.facts = x.facts[:0]
		return err
	}
	s.Reopened = len(cves)
	x.host.Security = s
	return nil
}

func (x *extractor) advisoryList(facet string, to *SeverityCount) error {
	var id, kind, severity []byte
	return x.s.Array(func() error {
		id, kind, severity = id[:0], kind[:0], severity[:0]
		if err := x.s.Object(func(k []byte) error {
			switch string(k) {
			case "id":
				return x.bytes(&id)
			case "type":
				return x.bytes(&kind)
			case "severity":
				return x.bytes(&severity)
			}
			return nil
		}); err != nil {
			return err
		}
		if string(kind) != string(repodata.AdvisorySecurity) {
			return nil
		}
		v := assess.AdvisorySeverity(string(severity))
		*to.of(v)++
		return x.add(facet, v, id)
	})
}

// security counts over the hosts.
func (f *Fleet) security(hosts []*Host, facts []Fact) {
	s := &Security{Reopened: []ReopenedCVE{}}
	seen := make([]bool, len(facts))
	reopened := map[string][]string{}
	closed, open := map[string]int{}, map[string]int{}
	for _, h := range hosts {
		if h.Security == nil {
			continue
		}
		s.Hosts++
		for _, v := range assess.AdvisorySeverities {
			if *h.Security.Closed.of(v) > 0 {
				closed[v]++
			}
			if *h.Security.Open.of(v) > 0 {
				open[v]++
			}
		}
		if h.Security.Reopened > 0 {
			s.Affected++
		}
		for _, id := range h.advisories {
			seen[id] = true
			if facts[id].Facet == facetReopened {
				reopened[facts[id].Name] = append(reopened[facts[id].Name], h.Name)
			}
		}
	}
	if s.Hosts == 0 {
		return
	}
	different := map[Fact]int{}
	for id, ok := range seen {
		if ok {
			different[Fact{Facet: facts[id].Facet, Class: facts[id].Class}]++
		}
	}
	for _, v := range assess.AdvisorySeverities {
		s.Closed = append(s.Closed, SeverityRow{v, different[Fact{Facet: facetClosed, Class: v}], closed[v]})
		s.Open = append(s.Open, SeverityRow{v, different[Fact{Facet: facetOpen, Class: v}], open[v]})
	}
	for cve, names := range reopened {
		s.Reopened = append(s.Reopened, ReopenedCVE{cve, names})
	}
	slices.SortFunc(s.Reopened, func(a, b ReopenedCVE) int {
		return cmp.Or(len(b.Hosts)-len(a.Hosts), strings.Compare(a.CVE, b.CVE))
	})
	s.Reopened = s.Reopened[:min(len(s.Reopened), maxItems)]
	f.Security = s
}

// Headline is the result in sentences.
func (s *Security) Headline() string {
	sum := func(list []SeverityRow) assess.SecurityCount {
		n := assess.SecurityCount{BySeverity: map[string]int{}}
		for _, r := range list {
			n.Security += r.Advisories
			n.BySeverity[r.Severity] = r.Advisories
		}
		return n
	}
	text := "The move closes no security advisory on any host."
	if n := sum(s.Closed); n.Security > 0 {
		text = fmt.Sprintf("The move closes %s on one host or more (%s).", plural(n.Security, "security advisory", "security advisories"), n.Worded())
	}
	if n := sum(s.Open); n.Security > 0 {
		text += fmt.Sprintf(" %s open somewhere (%s).", plural(n.Security, "stays", "stay"), n.Worded())
	}
	if s.Affected > 0 {
		text += fmt.Sprintf(" CVEs that are mended today would open again on %s.", count(s.Affected, "host"))
	}
	return text
}

func (f *Fleet) writeSecurity(t *report.TextPage, rows func(int) int, more func(int, string)) {
	s := f.Security
	if s == nil {
		return
	}
	t.Heading("Security (%d of %s report it)", s.Hosts, count(f.Summary.Hosts, "host"))
	t.Wrap("  ", "%s", s.Headline())
	t.Line("  %-12s %15s %9s %12s %9s", "", "would be closed", "on hosts", "stay open", "on hosts")
	for i, c := range s.Closed {
		if o := s.Open[i]; c.Advisories+o.Advisories > 0 {
			t.Line("  %-12s %15d %9d %12d %9d", c.Severity, c.Advisories, c.Hosts, o.Advisories, o.Hosts)
		}
	}
	if len(s.Reopened) > 0 {
		t.Heading("CVEs that would open again")
		for _, r := range s.Reopened[:rows(len(s.Reopened))] {
			t.Wrap(fmt.Sprintf("%11s  ", count(len(r.Hosts), "host")), "%s: %s", r.CVE, someHosts(shown(r.Hosts, rows), len(r.Hosts)))
		}
		more(len(s.Reopened), "CVEs")
	}
}

// securityCells are the columns of a host in the table; empty where its report
// does not tell of advisories.
func (s *HostSecurity) cells() []string {
	if s == nil {
		return make([]string, 6)
	}
	n := strconv.Itoa
	return []string{n(s.Closed.Total()), n(s.Closed.Critical), n(s.Closed.Important), n(s.Open.Total()), n(s.Open.Critical + s.Open.Important), n(s.Reopened)}
}
