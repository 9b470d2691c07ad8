package assess

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// AdvisorySource is where AlmaLinux's advisories were read from: a repository
// that the host would have, or a file.
type AdvisorySource struct {
	Name       string // repository id or file
	Advisories []*repodata.Advisory
	Err        error // why there are none; ErrNoAdvisories: the repository carries none
}

// ErrNoAdvisories is the Err of a repository without updateinfo.
var ErrNoAdvisories = errors.New("the repository has no updateinfo")

// SecurityResult says which advisories of AlmaLinux's apply to the host, which
// of them all packages of AlmaLinux would close, and what would open again.
type SecurityResult struct {
	Sources []AdvisoryOrigin `json:"sources"` // sorted by name
	Summary SecuritySummary  `json:"summary"`
	Closed  []AdvisoryResult `json:"closed"` // security first, then by severity, newest first
	Open    []AdvisoryResult `json:"open"`   // the same order
	// Reopened are packages that would be older than they are, and whose
	// changelog names CVEs that the older one does not have mended.
	Reopened []Reopened `json:"reopened"` // sorted by NEVRA
	// Unclear are advisories of modular packages that do not say which stream
	// they are for.
	Unclear []string `json:"unclear"`
	// NotJudged counts installed packages that are not the distribution's and of
	// whose name there are advisories: AlmaLinux's versions say nothing of them.
	NotJudged int `json:"not_judged"`
}

// AdvisoryOrigin tells of one source of advisories.
type AdvisoryOrigin struct {
	Name       string `json:"name"`
	Advisories int    `json:"advisories"`
	Newest     string `json:"newest,omitempty"` // date of the newest, YYYY-MM-DD
	Error      string `json:"error,omitempty"`
}

// SecuritySummary counts.
type SecuritySummary struct {
	Closed     SecurityCount `json:"closed"`
	Open       SecurityCount `json:"open"`
	Reopened   int           `json:"reopened_cves"`
	Reboot     bool          `json:"reboot"`    // closing them needs a reboot
	Kernel     int           `json:"kernel"`    // of the closed ones, how many are the kernel's
	Microcode  int           `json:"microcode"` // and how many the microcode's or firmware's
	Advisories int           `json:"advisories"`
	// Unread says that not every repository was read: what AlmaLinux's
	// advisories say is published counts as there.
	Unread bool `json:"repositories_unread,omitempty"`
	// OtherMajor is AlmaLinux's major where the host's is another one: then only
	// an upgrade closes anything, and the host's vendor may have mended it under
	// numbers that say nothing here.
	OtherMajor int `json:"other_major,omitempty"`
}

// SecurityCount counts advisories.
type SecurityCount struct {
	Security    int            `json:"security"`
	BySeverity  map[string]int `json:"by_severity"` // of the security ones: critical, important, moderate, low, none
	CVEs        int            `json:"cves"`
	Bugfix      int            `json:"bugfix"`
	Enhancement int            `json:"enhancement"` // enhancements, new packages and what has no type
}

// AdvisoryResult is one advisory that applies to the host as it is.
type AdvisoryResult struct {
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Severity string            `json:"severity,omitempty"`
	Title    string            `json:"title"`
	Issued   string            `json:"issued,omitempty"` // YYYY-MM-DD
	CVEs     []string          `json:"cves"`
	Packages []AdvisoryPackage `json:"packages"` // sorted by NEVRA
	Reboot   bool              `json:"reboot,omitempty"`
	Part     string            `json:"part,omitempty"` // kernel, microcode
}

// AdvisoryPackage is an installed package that an advisory is about.
type AdvisoryPackage struct {
	NEVRA string `json:"nevra"`
	Fixed string `json:"fixed"` // EVR from which on it is mended
	After string `json:"after"` // NEVRA after the move and its updates; empty: the package is gone
	Why   string `json:"why,omitempty"`
}

// Reopened is a package whose move to AlmaLinux would take fixes back.
type Reopened struct {
	NEVRA string   `json:"nevra"`
	After string   `json:"after"`
	CVEs  []string `json:"cves"` // sorted
}

// rebootNames are the packages whose update counts only after a reboot: the
// list of dnf's needs-restarting plugin.
var rebootNames = map[string]bool{
	"kernel": true, "kernel-core": true, "kernel-rt": true, "kernel-rt-core": true, "glibc": true, "linux-firmware": true, "systemd": true,
	"dbus": true, "dbus-broker": true, "dbus-daemon": true, "microcode_ctl": true,
}

// partOf tells by a package's name the parts of a system that are mended below
// or beside its programs.
func partOf(name string) string {
	switch {
	case name == "kernel" || name == "kernel-rt" || strings.HasPrefix(name, "kernel-core") || strings.HasPrefix(name, "kernel-rt-core") || strings.HasPrefix(name, "kernel-modules"):
		return "kernel"
	case name == "microcode_ctl" || strings.HasSuffix(name, "-firmware"):
		return "microcode"
	}
	return ""
}

// security judges the advisories of the input.
func (a *assessor) security() *SecurityResult {
	if a.in.Advisories == nil {
		return nil
	}
	res := &SecurityResult{Sources: []AdvisoryOrigin{}, Closed: []AdvisoryResult{}, Open: []AdvisoryResult{}, Reopened: []Reopened{}, Unclear: []string{}}
	merged, order, sources := mergeAdvisories(a.in.Advisories)
	res.Sources = sources

	newest := a.newestInstalled()
	strangers, unclear := map[string]bool{}, map[string]bool{}
	for _, id := range order {
		a.judgeAdvisory(res, merged[id], newest, strangers, unclear)
	}
	res.NotJudged = len(strangers)
	for id := range unclear {
		res.Unclear = append(res.Unclear, id)
	}
	slices.Sort(res.Unclear)
	sortAdvisories(res.Closed)
	sortAdvisories(res.Open)
	a.reopened(res, merged)
	res.summarize(len(merged), a.unread)
	if a.inv.Host.Major != a.in.Major {
		res.Summary.OtherMajor = a.in.Major
	}
	return res
}

// mergeAdvisories makes one list of what several sources carry; order has the
// ids as they came.
func mergeAdvisories(list []AdvisorySource) (merged map[string]*repodata.Advisory, order []string, sources []AdvisoryOrigin) {
	merged, sources = map[string]*repodata.Advisory{}, []AdvisoryOrigin{}
	for _, s := range list {
		o := AdvisoryOrigin{Name: s.Name, Advisories: len(s.Advisories)}
		if s.Err != nil {
			o.Error = s.Err.Error()
		}
		var newest time.Time
		for _, adv := range s.Advisories {
			if adv.Issued.After(newest) {
				newest = adv.Issued
			}
			// BaseOS and AppStream carry the same advisory with other packages.
			if have := merged[adv.ID]; have != nil {
				both := *have
				both.Packages = append(slices.Clone(both.Packages), adv.Packages...)
				both.CVEs = append(slices.Clone(both.CVEs), adv.CVEs...)
				both.Reboot = both.Reboot || adv.Reboot
				merged[adv.ID] = &both
				continue
			}
			merged[adv.ID] = adv
			order = append(order, adv.ID)
		}
		o.Newest = day(newest)
		sources = append(sources, o)
	}
	slices.SortFunc(sources, func(x, y AdvisoryOrigin) int { return cmp.Compare(x.Name, y.Name) })
	return merged, order, sources
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// newestInstalled finds by name the installed packages, of those that may be
// there several times the newest of each architecture.
func (a *assessor) newestInstalled() map[string][]*judged {
	out := map[string][]*judged{}
next:
	for i := range a.judged {
		j := &a.judged[i]
		list := out[j.p.Name]
		for k, o := range list {
			if o.p.Arch == j.p.Arch {
				if o.p.EVR.Compare(j.p.EVR) < 0 {
					list[k] = j
				}
				continue next
			}
		}
		out[j.p.Name] = append(list, j)
	}
	return out
}

// advisoryMatch gathers the installed packages that one advisory is about.
type advisoryMatch struct {
	found  map[string]advisoryFind // by NEVRA; nil: none yet, as for most advisories
	open   bool                    // one of them lacks the fix afterwards
	reboot bool
}

type advisoryFind struct {
	pkg   AdvisoryPackage
	name  string
	fixed rpmver.EVR
}

// add notes an installed package. Where it is in two collections of the
// advisory, the higher version counts.
func (m *advisoryMatch) add(p *repodata.AdvisoryPackage, pkg AdvisoryPackage, closed bool) {
	m.open = m.open || !closed
	m.reboot = m.reboot || rebootNames[p.Name]
	if have, ok := m.found[pkg.NEVRA]; ok && have.fixed.Compare(p.EVR) >= 0 {
		return
	}
	if m.found == nil {
		m.found = map[string]advisoryFind{}
	}
	m.found[pkg.NEVRA] = advisoryFind{pkg, p.Name, p.EVR}
}

// settle puts the advisory where it belongs, and nowhere if it is about nothing
// that is installed.
func (m *advisoryMatch) settle(adv *repodata.Advisory, closed, open *[]AdvisoryResult) {
	if len(m.found) == 0 {
		return
	}
	r := AdvisoryResult{
		ID: adv.ID, Type: string(adv.Type), Severity: adv.Severity, Title: adv.Title, Issued: day(adv.Issued), Reboot: adv.Reboot || m.reboot,
		CVEs: append([]string{}, adv.CVEs...), Packages: make([]AdvisoryPackage, 0, len(m.found)),
	}
	for _, f := range m.found {
		r.Packages = append(r.Packages, f.pkg)
		if part := partOf(f.name); part != "" && r.Part != "kernel" {
			r.Part = part
		}
	}
	slices.SortFunc(r.Packages, func(x, y AdvisoryPackage) int { return cmp.Compare(x.NEVRA, y.NEVRA) })
	slices.Sort(r.CVEs)
	r.CVEs = slices.Compact(r.CVEs)
	if m.open {
		*open = append(*open, r)
	} else {
		*closed = append(*closed, r)
	}
}

func (a *assessor) judgeAdvisory(res *SecurityResult, adv *repodata.Advisory, installed map[string][]*judged, strangers, unclear map[string]bool) {
	var m advisoryMatch
	for i := range adv.Packages {
		p := &adv.Packages[i]
		for _, j := range installed[p.Name] {
			if p.Arch != "" && p.Arch != j.p.Arch || j.p.EVR.Compare(p.EVR) >= 0 {
				continue
			}
			stream := moduleOf(j.p.ModuleLabel)
			switch {
			case p.Stream == "?" && stream != "":
				unclear[adv.ID] = true
				continue
			case p.Stream != "" && (p.Module+":"+p.Stream != stream && p.Module+":"+p.Stream != a.mappedStream(stream)), p.Stream == "" && stream != "":
				continue
			}
			if j.res.Verdict == ThirdParty || j.res.Verdict == Local {
				strangers[j.res.NEVRA] = true
				continue
			}
			pkg := AdvisoryPackage{NEVRA: j.res.NEVRA, Fixed: p.EVR.String()}
			closed := false
			pkg.After, pkg.Why, closed = a.after(j, p.EVR)
			m.add(p, pkg, closed)
		}
	}
	m.settle(adv, &res.Closed, &res.Open)
}

// mappedStream is the name that AlmaLinux has for a "module:stream".
func (a *assessor) mappedStream(s string) string {
	n, stream := splitStream(s)
	if n == "" {
		return s
	}
	return n + ":" + a.uni.mods.mapped(stream)
}

// after tells what stands in a package's place when the move and its updates
// are done, and whether that has what an advisory brings.
func (a *assessor) after(j *judged, fixed rpmver.EVR) (nevra, why string, closed bool) {
	switch {
	case j.held != "":
		return j.res.NEVRA, j.held, false
	case a.unread && j.target == nil:
		// The advisory is AlmaLinux's own word that it has published the fix.
		return rpmver.NEVRA{Name: j.p.Name, EVR: fixed, Arch: j.p.Arch}.String(), "by the advisory; not every repository was read", true
	case j.target == nil && j.leaves:
		return "", "it leaves", true
	case j.target == nil:
		return j.res.NEVRA, "AlmaLinux has no such package", false
	case !j.target.repo.Enabled:
		return j.res.NEVRA, "it is in the repository " + j.target.repo.ID + ", which would be off", false
	}
	id := j.target.nevra()
	if id.Name != j.p.Name {
		return id.String(), "another package takes its place", true
	}
	if id.EVR.Compare(fixed) < 0 {
		return id.String(), "AlmaLinux's repositories do not have the mended version, as far as they were read; a mirror that is behind looks like this, too", false
	}
	return id.String(), "", true
}

// AdvisorySeverities are what AlmaLinux gives advisories, the worst first, and
// "none" for what has none.
var AdvisorySeverities = []string{"critical", "important", "moderate", "low", "none"}

// AdvisorySeverity brings a severity to one of AdvisorySeverities.
func AdvisorySeverity(s string) string { return AdvisorySeverities[severityRank(s)] }

// severityRank orders advisories: the worst first.
func severityRank(s string) int {
	if i := slices.Index(AdvisorySeverities, strings.ToLower(s)); i >= 0 {
		return i
	}
	return len(AdvisorySeverities) - 1
}

func sortAdvisories(list []AdvisoryResult) {
	security := func(r AdvisoryResult) int {
		if r.Type == string(repodata.AdvisorySecurity) {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(x, y AdvisoryResult) int {
		return cmp.Or(cmp.Compare(security(x), security(y)), cmp.Compare(severityRank(x.Severity), severityRank(y.Severity)),
			cmp.Compare(y.Issued, x.Issued), cmp.Compare(x.ID, y.ID))
	})
}

// goesBack tells whether the host would run an older version than the installed
// one, which is the i-th. The kernel counts: the installed one stays beside
// AlmaLinux's, but AlmaLinux's is booted. Of several kernels the newest is what
// is compared.
func (j *judged) goesBack(i int) bool {
	return j.res.Verdict == Older && j.moves() && (j.group < 0 || j.group == i)
}

// reopened finds downgrades that take fixes back: CVEs that the installed
// package's changelog names above AlmaLinux's version, but for those that an
// advisory says AlmaLinux's version has mended under its own number.
func (a *assessor) reopened(res *SecurityResult, advisories map[string]*repodata.Advisory) {
	mended := map[string]map[string]bool{} // by package name
	downgraded := map[string]*judged{}
	for i := range a.judged {
		if j := &a.judged[i]; j.goesBack(i) && len(j.p.Fixes) > 0 {
			downgraded[j.p.Name] = j
			mended[j.p.Name] = map[string]bool{}
		}
	}
	for _, adv := range advisories {
		for _, p := range adv.Packages {
			if j := downgraded[p.Name]; j != nil && j.target.nevra().EVR.Compare(p.EVR) >= 0 {
				for _, id := range adv.CVEs {
					mended[p.Name][id] = true
				}
			}
		}
	}
	for i := range a.judged {
		j := &a.judged[i]
		if !j.goesBack(i) {
			continue
		}
		to := j.target.nevra()
		r := Reopened{NEVRA: j.res.NEVRA, After: to.String()}
		for _, f := range j.p.Fixes {
			evr, err := rpmver.ParseEVR(f.Version)
			if err != nil {
				continue
			}
			if !strings.Contains(f.Version, ":") {
				evr.Epoch = j.p.EVR.Epoch // most changelogs leave it out
			}
			if evr.Compare(to.EVR) <= 0 {
				continue
			}
			for _, id := range f.CVEs {
				if !mended[j.p.Name][id] {
					r.CVEs = append(r.CVEs, id)
				}
			}
		}
		if len(r.CVEs) > 0 {
			slices.Sort(r.CVEs)
			r.CVEs = slices.Compact(r.CVEs)
			res.Reopened = append(res.Reopened, r)
		}
	}
	slices.SortFunc(res.Reopened, func(x, y Reopened) int { return cmp.Compare(x.NEVRA, y.NEVRA) })
}

func countAdvisories(list []AdvisoryResult) SecurityCount {
	c := SecurityCount{BySeverity: map[string]int{"critical": 0, "important": 0, "moderate": 0, "low": 0, "none": 0}}
	cves := map[string]bool{}
	for _, r := range list {
		switch repodata.AdvisoryType(r.Type) {
		case repodata.AdvisorySecurity:
			c.Security++
			c.BySeverity[AdvisorySeverity(r.Severity)]++
			for _, id := range r.CVEs {
				cves[id] = true
			}
		case repodata.AdvisoryBugfix:
			c.Bugfix++
		default:
			c.Enhancement++
		}
	}
	c.CVEs = len(cves)
	return c
}

func (res *SecurityResult) summarize(total int, unread bool) {
	s := &res.Summary
	s.Advisories, s.Unread = total, unread
	s.Closed, s.Open = countAdvisories(res.Closed), countAdvisories(res.Open)
	for _, r := range res.Closed {
		s.Reboot = s.Reboot || r.Reboot
		switch r.Part {
		case "kernel":
			s.Kernel++
		case "microcode":
			s.Microcode++
		}
	}
	cves := map[string]bool{}
	for _, r := range res.Reopened {
		for _, id := range r.CVEs {
			cves[id] = true
		}
	}
	s.Reopened = len(cves)
}

// findSecurity raises what of the security result a human should know before
// the move.
func (a *assessor) findSecurity(res *SecurityResult) {
	if res == nil {
		return
	}
	if len(res.Reopened) > 0 {
		f := Finding{
			ID: idSecReopened, Severity: Warning,
			Title:  fmt.Sprintf("%s would open again: AlmaLinux has an older version", plural(res.Summary.Reopened, "CVE")),
			Detail: "The installed packages' changelogs name CVEs above the version that AlmaLinux has, and no advisory of AlmaLinux's says that its version has them mended.",
			Remedy: Remedy{Text: "look the CVEs up at https://errata.almalinux.org, and wait for AlmaLinux's update of these packages where they matter to you"},
		}
		for _, r := range res.Reopened {
			f.Resources = append(f.Resources, Resource{"package", r.NEVRA, "to " + r.After + ": " + someOf(r.CVEs, 6)})
		}
		a.raise(f)
	}
	var bad []Resource
	var names []string
	usable := false
	for _, s := range res.Sources {
		if s.Error != "" {
			bad, names = append(bad, Resource{"repo", s.Name, s.Error}), append(names, s.Name)
		} else {
			usable = true
		}
	}
	if len(bad) > 0 || !usable {
		f := Finding{
			ID: idSecNoAdvisories, Severity: Info, Title: "No advisories from " + someOf(names, 4), Resources: bad,
			Detail: "What --security lists rests on the other sources.",
			Remedy: Remedy{Text: "use a mirror with updateinfo, or give AlmaLinux's advisories as a file", Command: "almamigrate check --security --advisories FILE"},
		}
		if !usable {
			f.Title = "No advisories could be read"
			f.Detail = "So --security has nothing to compare with."
		}
		a.raise(f)
	}
}

func someOf(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:n], ", "), len(list)-n)
}

const (
	idSecReopened     = "sec.reopened"
	idSecNoAdvisories = "sec.no-advisories"
)

var securityFindingTypes = []FindingType{
	{
		ID: idSecReopened, Title: "CVEs would open again", Severities: []Severity{Warning},
		Meaning: "A package would become older, and its changelog names CVEs above AlmaLinux's version. Only check and report with --security look for it.",
		Why:     "AlmaLinux's fixes come from other sources than the host's vendor's, sometimes earlier, sometimes later: here the vendor is ahead.",
		Action:  "Look the CVEs up at https://errata.almalinux.org. Wait for AlmaLinux's update of the package where they matter to you.",
	},
	{
		ID: idSecNoAdvisories, Title: "Advisories could not be read", Severities: []Severity{Info},
		Meaning: "A repository has no updateinfo, or it could not be fetched. AlmaLinux's small repositories, such as extras, may have none: then nothing is missing. Only check and report with --security read it.",
		Why:     "What the move closes is told from AlmaLinux's advisories. Without them nothing can be said.",
		Action:  "Use a mirror that carries updateinfo, or give a file of AlmaLinux's OSV records with --advisories.",
	},
}

// Worded lists the security advisories of a count by severity: "1 critical, 3
// low"; empty for none.
func (c SecurityCount) Worded() string {
	var parts []string
	for _, s := range AdvisorySeverities {
		if k := c.BySeverity[s]; k > 0 && s != "none" {
			parts = append(parts, fmt.Sprintf("%d %s", k, s))
		} else if k > 0 {
			parts = append(parts, fmt.Sprintf("%d without a severity", k))
		}
	}
	return strings.Join(parts, ", ")
}

// Sentence is the result in one line.
func (res *SecurityResult) Sentence() string {
	s := &res.Summary
	text := "AlmaLinux's packages close no security advisory"
	if n := s.Closed; n.Security > 0 {
		text = fmt.Sprintf("AlmaLinux's packages close %s (%s)", pluralOf(n.Security, "security advisory", "security advisories"), n.Worded())
	}
	if n := s.Open; n.Security > 0 {
		text += fmt.Sprintf("; %s open (%s)", pluralOf(n.Security, "stays", "stay"), n.Worded())
	}
	if s.Reopened > 0 {
		text += fmt.Sprintf("; %s would open again", plural(s.Reopened, "CVE"))
	}
	return text
}

func pluralOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Heading is the title without the severity that AlmaLinux puts before it.
func (r *AdvisoryResult) Heading() string {
	if s, rest, ok := strings.Cut(r.Title, ": "); ok && strings.EqualFold(s, r.Severity) {
		return rest
	}
	return r.Title
}

// Subject is the advisory in few words: its title without the severity that
// AlmaLinux puts before it, and the first CVEs.
func (r *AdvisoryResult) Subject() string {
	t := r.Heading()
	if len(r.CVEs) > 0 {
		t += " (" + someOf(r.CVEs, 2) + ")"
	}
	return t
}
