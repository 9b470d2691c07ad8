package fleet

import (
	"cmp"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// gathering is the hosts as they come in.
type gathering struct {
	opt   Options
	in    io.Reader
	table *table

	mu        sync.Mutex
	hosts     map[string]*Host
	dups      map[string]*Duplicate
	unreads   []Unread
	ignores   []Unread
	nUnread   int
	nIgnored  int
	reports   int
	older     int
	copies    int
	otherFile map[string][]otherReport
}

// otherReport is one that was put aside.
type otherReport struct {
	source string
	unix   int64
}

func (g *gathering) unread(source, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nUnread++; len(g.unreads) < maxListed {
		g.unreads = append(g.unreads, Unread{source, why})
	}
}

func (g *gathering) ignored(source, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nIgnored++; len(g.ignores) < maxListed {
		g.ignores = append(g.ignores, Unread{source, why})
	}
}

// add takes a report in; of those of one host the newest counts.
func (g *gathering) add(h *Host) {
	g.name(h)
	if !g.opt.Now.IsZero() {
		h.late = h.Finished.After(g.opt.Now.Add(skew))
		h.Stale = h.late || g.opt.Stale > 0 && g.opt.Now.Sub(h.Finished) > g.opt.Stale
	}
	key := strings.ToLower(h.Name)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports++
	was := g.hosts[key]
	if was == nil {
		g.hosts[key] = h
		return
	}
	keep, drop := was, h
	if newer(h, was) {
		keep, drop = h, was
	}
	g.hosts[key] = keep
	if keep.runID != "" && keep.runID == drop.runID && keep.Finished.Equal(drop.Finished) {
		g.copies++ // TIME.json and latest.json
		return
	}
	g.older++
	if g.otherFile == nil {
		g.otherFile = map[string][]otherReport{}
	}
	list := append(g.otherFile[key], otherReport{drop.Source, drop.Finished.Unix()})
	slices.SortFunc(list, func(a, b otherReport) int {
		return cmp.Or(cmp.Compare(b.unix, a.unix), strings.Compare(a.source, b.source))
	})
	g.otherFile[key] = list[:min(len(list), maxExamples)]
	if g.dups[key] == nil {
		g.dups[key] = &Duplicate{}
	}
	g.dups[key].Count++
}

// newer tells whether a counts rather than b. A clock that is ahead must not
// win for ever.
func newer(a, b *Host) bool {
	if a.late != b.late {
		return b.late
	}
	return cmp.Or(a.Finished.Compare(b.Finished), strings.Compare(b.runID, a.runID), strings.Compare(b.Source, a.Source)) > 0
}

// noName are host names that many hosts have.
var noName = map[string]bool{"": true, "localhost": true, "localhost.localdomain": true, "localhost6": true, "localhost6.localdomain6": true, "(none)": true}

func (g *gathering) name(h *Host) {
	if g.opt.FileNames || noName[strings.ToLower(strings.TrimSpace(h.Name))] {
		h.Name = fileHost(h.Source)
	}
}

// timeName is how a host's own folder calls its reports.
var timeName = regexp.MustCompile(`^([0-9]{8}T[0-9]{6}Z(-[0-9]+)?|latest|report|check)$`)

// fileHost is the host that a file is called after: HOST.json, or HOST/latest.json.
func fileHost(source string) string {
	if i := strings.LastIndexByte(source, ':'); i >= 0 && !strings.HasPrefix(source[i:], ":/") && strings.Contains(source[:i], ".t") {
		source = source[i+1:]
	}
	rest := path.Clean(strings.ReplaceAll(source, "\\", "/"))
	for {
		dir, base := path.Split(rest)
		base = reportName.ReplaceAllString(base, "")
		if !timeName.MatchString(base) && base != "reports" && base != "." && base != ".." && base != "" {
			return base
		}
		if rest = strings.TrimSuffix(dir, "/"); rest == "" {
			return source
		}
	}
}

// fleet makes the picture.
func (g *gathering) fleet() *Fleet {
	f := &Fleet{
		Kind: Kind, SchemaVersion: SchemaVersion, Tool: g.opt.Tool, Generated: g.opt.Now.UTC().Truncate(1e9), StaleAfter: int64(g.opt.Stale.Seconds()),
		Findings: []Finding{}, Facets: []Facet{}, Systems: []System{}, Groups: []Group{}, Waves: []Wave{}, Hosts: []Host{},
		Duplicates: []Duplicate{}, Unread: bySource(g.unreads), Ignored: bySource(g.ignores),
		Summary: Summary{Hosts: len(g.hosts), Reports: g.reports, Older: g.older, Copies: g.copies, Unread: g.nUnread, Ignored: g.nIgnored},
	}
	keys := make([]string, 0, len(g.hosts))
	for k := range g.hosts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	hosts := make([]*Host, 0, len(keys))
	for _, k := range keys {
		h := g.hosts[k]
		h.Status = status(h)
		hosts = append(hosts, h)
		if d := g.dups[k]; d != nil {
			d.Host, d.Kept = h.Name, h.Source
			for _, o := range g.otherFile[k] {
				d.Others = append(d.Others, o.source)
			}
			f.Duplicates = append(f.Duplicates, *d)
		}
	}
	f.count(hosts)
	f.tally(hosts, g.table.facts)
	f.security(hosts, g.table.facts)
	f.plan(hosts, g.opt)
	for _, h := range hosts {
		f.Hosts = append(f.Hosts, *h)
	}
	return f
}

func bySource(list []Unread) []Unread {
	out := append([]Unread{}, list...)
	slices.SortFunc(out, func(a, b Unread) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Reason, b.Reason))
	})
	return out
}

// status is what a host's report means for the rollout.
func status(h *Host) Status {
	switch {
	case h.Verdict == assess.Blocked:
		return Blocked
	case h.Verdict == assess.Unknown:
		return NoVerdict
	case h.State == string(inventory.StateAlmaLinux):
		return AlmaLinux
	case h.Stale:
		return Stale
	}
	return Ready
}

func (f *Fleet) count(hosts []*Host) {
	systems := map[System]*System{}
	for _, h := range hosts {
		k := System{Distro: h.Distro, Version: h.Version, Arch: h.Arch}
		s := systems[k]
		if s == nil {
			s = &System{Distro: h.Distro, Version: h.Version, Arch: h.Arch}
			systems[k] = s
		}
		s.Hosts++
		if h.Stale {
			f.Summary.Outdated++
		}
		switch h.Status {
		case Blocked:
			f.Summary.Blocked++
			s.Blocked++
		case NoVerdict:
			f.Summary.Unknown++
			s.Unknown++
		case AlmaLinux:
			f.Summary.AlmaLinux++
			s.AlmaLinux++
		case Stale:
			f.Summary.Stale++
			s.Stale++
		default:
			f.Summary.Ready++
			s.Ready++
			if len(h.Warnings) > 0 || h.Verdict == assess.ReadyWithWarnings {
				f.Summary.Warnings++
				s.Warnings++
			}
		}
	}
	for _, s := range systems {
		f.Systems = append(f.Systems, *s)
	}
	slices.SortFunc(f.Systems, func(a, b System) int {
		return cmp.Or(b.Hosts-a.Hosts, strings.Compare(a.Distro, b.Distro), strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch))
	})
}

// row is a fact with its hosts.
type row struct {
	Fact
	hosts    int
	examples []string
}

// tally counts the facts over the hosts.
func (f *Fleet) tally(hosts []*Host, facts []Fact) {
	rows := make([]row, len(facts))
	for _, h := range hosts {
		for _, list := range [][]uint32{h.facts, h.advisories} {
			for _, id := range list {
				r := &rows[id]
				if r.hosts++; len(r.examples) < maxExamples {
					r.examples = append(r.examples, h.Name)
				}
			}
		}
	}
	byFacet, byClass := map[string][]row{}, map[Fact][]row{}
	for i := range rows {
		r := &rows[i]
		if r.hosts == 0 {
			continue // of reports that were put aside
		}
		r.Fact = facts[i]
		byFacet[r.Facet] = append(byFacet[r.Facet], *r)
		switch r.Facet {
		case facetTitle, facetResource, facetCommand:
			k := Fact{r.Facet, r.Class, ""}
			byClass[k] = append(byClass[k], *r)
		}
	}
	for _, list := range byFacet {
		sortRows(list)
	}
	types := map[string]assess.FindingType{}
	for _, t := range assess.Catalogue() {
		types[t.ID] = t
	}
	for _, r := range byFacet[facetFinding] {
		fd := Finding{ID: r.Name, Severity: assess.Severity(r.Class), Hosts: r.hosts, Examples: r.examples, Resources: []Count{}}
		top := func(facet string) []row {
			list := byClass[Fact{facet, r.Name, ""}]
			sortRows(list)
			return list
		}
		if t, ok := types[r.Name]; ok {
			fd.Title, fd.Remedy = t.Title, t.Action
		} else {
			// of a newer version
			if list := top(facetTitle); len(list) > 0 {
				fd.Title = list[0].Name
			}
			fd.Remedy = "Look at the report of one of the hosts."
		}
		for _, c := range top(facetResource) {
			if len(fd.Resources) < maxResources {
				fd.Resources = append(fd.Resources, Count{c.Name, c.hosts})
			}
		}
		if list := top(facetCommand); len(list) > 0 {
			fd.Command, fd.CommandHosts = list[0].Name, list[0].hosts
		}
		f.Findings = append(f.Findings, fd)
	}
	slices.SortStableFunc(f.Findings, func(a, b Finding) int {
		rank := func(s assess.Severity) int {
			if s == assess.Blocker {
				return 0
			}
			return 1
		}
		return cmp.Or(rank(a.Severity)-rank(b.Severity), b.Hosts-a.Hosts, strings.Compare(a.ID, b.ID))
	})
	for _, t := range facets {
		list := byFacet[t.id]
		fc := Facet{ID: t.id, Title: t.title, Total: len(list), Items: []Item{}}
		for _, r := range list[:min(len(list), maxItems)] {
			fc.Items = append(fc.Items, Item{r.Class, r.Name, r.hosts, r.examples})
		}
		f.Facets = append(f.Facets, fc)
	}
}

func sortRows(list []row) {
	slices.SortFunc(list, func(a, b row) int {
		return cmp.Or(b.hosts-a.hosts, strings.Compare(a.Class, b.Class), strings.Compare(a.Name, b.Name))
	})
}
