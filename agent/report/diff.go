package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// Changes is what is different from the report before.
type Changes struct {
	Since    time.Time       `json:"since"`  // when that one was finished
	RunID    string          `json:"run_id"` // of that one
	Verdict  assess.Verdict  `json:"verdict_before"`
	New      []FindingChange `json:"new"`  // sorted by severity, id, resource
	Gone     []FindingChange `json:"gone"` // sorted likewise
	Packages []PackageChange `json:"packages"`
	Verdicts []VerdictChange `json:"verdicts"` // packages that are the same and judged otherwise, e.g. since AlmaLinux has an update
	Tool     *ToolChange     `json:"tool,omitempty"`
	// Security is there where both reports read the same sources of advisories.
	Security *SecurityChanges `json:"security,omitempty"`
	Counts   map[string][]int `json:"counts"` // what: before, after; those that changed
}

// FindingChange is a finding that came or went, for one of its resources: the
// finding stays while another package joins it.
type FindingChange struct {
	ID       string          `json:"id"`
	Severity assess.Severity `json:"severity"`
	Title    string          `json:"title"`
	Resource string          `json:"resource,omitempty"`
}

// PackageChange is an installed package that came, went or has another version.
type PackageChange struct {
	Name string   `json:"name"`
	Arch string   `json:"arch"`
	From []string `json:"from"` // NEVRAs; empty: installed since
	To   []string `json:"to"`   // NEVRAs; empty: removed since
}

// VerdictChange is a package that did not change and is judged otherwise.
type VerdictChange struct {
	NEVRA  string                `json:"nevra"`
	From   assess.PackageVerdict `json:"from"`
	To     assess.PackageVerdict `json:"to"`
	Target string                `json:"target,omitempty"`
}

// ToolChange says that another version of the program judged.
type ToolChange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// SecurityChanges says which advisories came and went for the host as it is,
// whether or not the move would close them.
type SecurityChanges struct {
	New          []AdvisoryChange `json:"new"`           // by severity, then id; they did not apply before
	Gone         []AdvisoryChange `json:"gone"`          // in the same order; mended since, or their package is gone
	NewSeverity  map[string]int   `json:"new_severity"`  // of the security ones
	GoneSeverity map[string]int   `json:"gone_severity"` // likewise
	Reopened     []string         `json:"reopened_cves"` // sorted: would open again now and would not have before
	NotReopened  []string         `json:"reopened_gone"` // sorted: the other way round
}

// AdvisoryChange is an advisory that came or went.
type AdvisoryChange struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Severity string `json:"severity"` // critical, important, moderate, low, none
}

// Diff compares two reports of one host. Either may be a failed one only in the
// sense that its verdict is unknown; callers compare with the last that has a
// check.
func Diff(before, after *Report) *Changes {
	c := &Changes{
		Since: stamp(before.Finished), RunID: before.RunID, Verdict: before.Verdict,
		New: []FindingChange{}, Gone: []FindingChange{}, Packages: []PackageChange{}, Verdicts: []VerdictChange{}, Counts: map[string][]int{},
	}
	if before.Tool.Version != after.Tool.Version {
		c.Tool = &ToolChange{before.Tool.Version, after.Tool.Version}
	}
	old, now := findingSet(before.Findings), findingSet(after.Findings)
	for k, f := range now {
		if _, ok := old[k]; !ok {
			c.New = append(c.New, f)
		}
	}
	for k, f := range old {
		if _, ok := now[k]; !ok {
			c.Gone = append(c.Gone, f)
		}
	}
	slices.SortFunc(c.New, compareFindings)
	slices.SortFunc(c.Gone, compareFindings)
	c.packages(before.Packages, after.Packages)
	for _, v := range []assess.PackageVerdict{assess.Same, assess.Newer, assess.Older, assess.Replaced, assess.Missing, assess.ThirdParty, assess.Local} {
		if a, b := before.Summary.Packages[v], after.Summary.Packages[v]; a != b {
			c.Counts["packages."+string(v)] = []int{a, b}
		}
	}
	for _, s := range []assess.Severity{assess.Blocker, assess.Warning, assess.Info} {
		if a, b := before.Summary.Findings[s], after.Summary.Findings[s]; a != b {
			c.Counts["findings."+string(s)] = []int{a, b}
		}
	}
	c.security(before.Security, after.Security)
	return c
}

// Empty tells whether nothing changed that a human would want to read.
func (c *Changes) Empty() bool {
	return c == nil || len(c.New)+len(c.Gone)+len(c.Packages)+len(c.Verdicts) == 0 && c.Security.empty()
}

// Blockers counts the blockers that came and that went.
func (c *Changes) Blockers() (came, went int) {
	if c == nil {
		return 0, 0
	}
	count := func(list []FindingChange) (n int) {
		for _, f := range list {
			if f.Severity == assess.Blocker {
				n++
			}
		}
		return n
	}
	return count(c.New), count(c.Gone)
}

type findingKey struct {
	id, resource string
	severity     assess.Severity
}

func findingSet(list []assess.Finding) map[findingKey]FindingChange {
	out := map[findingKey]FindingChange{}
	for _, f := range list {
		if len(f.Resources) == 0 {
			out[findingKey{f.ID, "", f.Severity}] = FindingChange{f.ID, f.Severity, f.Title, ""}
		}
		for _, r := range f.Resources {
			name := r.Name
			if r.Kind == "package" {
				name = packageName(name) // an update of the package is not another finding
			}
			out[findingKey{f.ID, r.Kind + " " + name, f.Severity}] = FindingChange{f.ID, f.Severity, f.Title, r.Name}
		}
	}
	return out
}

// packageName takes version, release and architecture off a NEVRA.
func packageName(nevra string) string {
	name := nevra
	for range 2 {
		i := strings.LastIndexByte(name, '-')
		if i <= 0 {
			return nevra
		}
		name = name[:i]
	}
	return name
}

var severityOrder = map[assess.Severity]int{assess.Blocker: 0, assess.Warning: 1, assess.Info: 2}

func compareFindings(a, b FindingChange) int {
	return cmp.Or(severityOrder[a.Severity]-severityOrder[b.Severity], strings.Compare(a.ID, b.ID), strings.Compare(a.Resource, b.Resource))
}

type packageKey struct{ name, arch string }

func (c *Changes) packages(before, after []assess.PackageResult) {
	group := func(list []assess.PackageResult) map[packageKey][]assess.PackageResult {
		m := map[packageKey][]assess.PackageResult{}
		for _, p := range list {
			k := packageKey{p.Name, p.Arch}
			m[k] = append(m[k], p)
		}
		return m
	}
	old, now := group(before), group(after)
	keys := map[packageKey]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	for k := range keys {
		was := map[string]assess.PackageResult{}
		for _, p := range old[k] {
			was[p.NEVRA] = p
		}
		ch := PackageChange{Name: k.name, Arch: k.arch, From: []string{}, To: []string{}}
		for _, p := range now[k] {
			b, ok := was[p.NEVRA]
			if !ok {
				ch.To = append(ch.To, p.NEVRA)
				continue
			}
			delete(was, p.NEVRA)
			if b.Verdict != p.Verdict {
				v := VerdictChange{NEVRA: p.NEVRA, From: b.Verdict, To: p.Verdict}
				if p.Target != nil {
					v.Target = p.Target.NEVRA
				}
				c.Verdicts = append(c.Verdicts, v)
			}
		}
		for n := range was {
			ch.From = append(ch.From, n)
		}
		slices.Sort(ch.From)
		slices.Sort(ch.To)
		if len(ch.From)+len(ch.To) > 0 {
			c.Packages = append(c.Packages, ch)
		}
	}
	slices.SortFunc(c.Packages, func(a, b PackageChange) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch))
	})
	slices.SortFunc(c.Verdicts, func(a, b VerdictChange) int { return strings.Compare(a.NEVRA, b.NEVRA) })
}
