package assess

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// assessor is one run of Assess.
type assessor struct {
	in     Input
	inv    *inventory.Inventory
	cat    *catalog.Catalog
	distro inventory.Distro
	now    time.Time
	uni    *universe
	unread bool // an enabled repository has no index

	owners       map[string]originKind // answers of ownerKind
	keyRepo      map[string]string     // answers of repoOfKey
	unsignedRepo *string               // answer of repoOfUnsigned
	locks        []versionLock
	excludes     []pattern

	judged   []judged
	risky    []risk
	locked   []heldPackage
	excluded []heldPackage
	closure  *closure
	vital    map[string]bool // names that essential knows; nil: not asked yet
	needs    []SpaceNeed
	kernel   *kernelJudge
	abi      *abiJudge
	// kernelWants gathers the modules that no repository of AlmaLinux's supplies.
	kernelWants map[string]bool
	findings    []Finding
}

// risk is a downgrade with a known risk for data.
type risk struct {
	judged   int
	severity Severity
}

// heldPackage is a package that a lock or an exclude holds.
type heldPackage struct {
	judged  int
	pattern string
}

// prepare judges the packages and computes what is installed after the move.
func prepare(in Input) *assessor {
	a := &assessor{
		in: in, inv: in.Inventory, cat: in.Catalog, distro: in.Inventory.Host.Distro, now: in.Now,
		owners: map[string]originKind{}, keyRepo: map[string]string{}, locks: parseLocks(in.Inventory), excludes: parseExcludes(in.Inventory),
	}
	if a.now.IsZero() {
		a.now = in.Inventory.Taken
	}
	for i := range in.Repos {
		if in.Repos[i].Index == nil && in.Repos[i].Enabled {
			a.unread = true
		}
	}
	a.uni = newUniverse(in.Repos, newModules(a.cat, a.inv, in.Repos), in.Inventory.Host.Arch)
	for i := range in.Suppliers {
		if ix := in.Suppliers[i].Index; ix != nil {
			a.uni.readers[ix] = ix.NewReader()
		}
	}
	a.judge()
	a.closure = a.newClosure()
	if a.dependsOnTarget() {
		a.closure.run()
		a.noteDependencies()
	}
	return a
}

// Assess judges the inventory. It is a pure function of its input.
func Assess(in Input) *Assessment {
	a := prepare(in)
	a.kernel = a.judgeKernel()
	a.findHost()
	a.findPackages()
	a.findRepos()
	a.findKeys()
	a.findKernelModules(a.kernel)
	a.findEnvironment()
	if a.dependsOnTarget() {
		a.findDependencies()
	}
	a.abi = a.judgeABI()
	a.findABI(a.abi)
	security := a.security()
	a.findSecurity(security)
	origins := a.origins()
	res := a.result()
	res.Security, res.Origins = security, origins
	if in.Moves && a.dependsOnTarget() {
		res.Moves = a.moves()
	}
	return res
}

// crossMajor tells that the host is compared with another major than its own:
// EL 7 with AlmaLinux 8. What breaks and what is missing then says nothing
// about a move, which an upgrade has to come before.
func (a *assessor) crossMajor() bool {
	return a.inv.Host.Major != 0 && a.in.Major != a.inv.Host.Major
}

// dependsOnTarget tells whether the set after the move can be computed.
func (a *assessor) dependsOnTarget() bool { return !a.unread && !a.crossMajor() }

func (a *assessor) result() *Assessment {
	res := &Assessment{
		Findings: a.findings, Packages: make([]PackageResult, 0, len(a.judged)), Incoming: a.closure.incoming,
		Repos: a.repoResults(), Skipped: slices.Clone(a.inv.Skipped),
		Space: a.needs,
		Summary: Summary{
			Packages: map[PackageVerdict]int{Same: 0, Newer: 0, Older: 0, Replaced: 0, Missing: 0, ThirdParty: 0, Local: 0},
			Findings: map[Severity]int{Blocker: 0, Warning: 0, Info: 0},
			Total:    len(a.judged), Target: fmt.Sprintf("AlmaLinux %d", a.in.Major),
		},
	}
	order := make([]*judged, len(a.judged))
	for i := range a.judged {
		order[i] = &a.judged[i]
	}
	slices.SortStableFunc(order, func(x, y *judged) int {
		if d := strings.Compare(x.p.Name, y.p.Name); d != 0 {
			return d
		}
		return cmp.Or(x.p.EVR.Compare(y.p.EVR), strings.Compare(x.p.Arch, y.p.Arch), cmp.Compare(x.p.Row, y.p.Row))
	})
	for _, j := range order {
		res.Packages = append(res.Packages, j.res)
		res.Summary.Packages[j.res.Verdict]++
	}
	res.Modules = []ModuleResult{}
	if j := a.kernel; j != nil {
		res.Kernel, res.Modules = &j.res, append(res.Modules, j.modules...)
	}
	if a.abi != nil {
		res.ABI = &a.abi.res
	}
	if res.Findings == nil {
		res.Findings = []Finding{}
	}
	if res.Incoming == nil {
		res.Incoming = []Incoming{}
	}
	if res.Skipped == nil {
		res.Skipped = []inventory.Skipped{}
	}
	slices.SortStableFunc(res.Incoming, func(x, y Incoming) int {
		return cmp.Or(cmp.Compare(x.NEVRA, y.NEVRA), cmp.Compare(x.RequiredBy, y.RequiredBy))
	})
	slices.SortStableFunc(res.Findings, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(rank(x.Severity), rank(y.Severity)), cmp.Compare(x.ID, y.ID), cmp.Compare(first(x), first(y)), cmp.Compare(x.Title, y.Title))
	})
	for _, f := range res.Findings {
		res.Summary.Findings[f.Severity]++
	}
	res.Verdict = verdictOf(res.Findings)
	return res
}

// verdictOf is the host's verdict. A host that AlmaLinux does not exist for is
// blocked whatever the repositories say; otherwise a repository that is needed
// and cannot be read leaves the verdict open.
func verdictOf(findings []Finding) Verdict {
	v := Ready
	unread := false
	for _, f := range findings {
		switch {
		case f.Severity == Blocker && f.ID == idRepoUnreachable:
			unread = true
		case f.Severity == Blocker && strings.HasPrefix(f.ID, "host."):
			return Blocked
		case f.Severity == Blocker:
			v = Blocked
		case f.Severity == Warning && v == Ready:
			v = ReadyWithWarnings
		}
	}
	if unread {
		return Unknown
	}
	return v
}

func rank(s Severity) int {
	switch s {
	case Blocker:
		return 0
	case Warning:
		return 1
	}
	return 2
}

func first(f Finding) string {
	if len(f.Resources) == 0 {
		return ""
	}
	return f.Resources[0].Name
}

// raise adds a finding with its resources in order and without repetition.
func (a *assessor) raise(f Finding) {
	slices.SortFunc(f.Resources, func(x, y Resource) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Detail, y.Detail))
	})
	f.Resources = slices.Compact(f.Resources)
	if f.Resources == nil {
		f.Resources = []Resource{}
	}
	a.findings = append(a.findings, f)
}

func (a *assessor) repoResults() []RepoResult {
	list := make([]RepoResult, 0, len(a.in.Repos))
	for i := range a.in.Repos {
		r := &a.in.Repos[i]
		x := RepoResult{
			ID: r.ID, URL: r.URL, Enabled: r.Enabled, DefaultEnabled: r.DefaultEnabled, MappedFrom: slices.Clone(r.MappedFrom),
			Revision: r.Revision, Signed: cmp.Or(r.Signature, "none"), Stale: r.Stale,
		}
		sort.Strings(x.MappedFrom)
		if r.Index != nil {
			x.Packages = r.Index.Len()
		}
		if !r.FetchedAt.IsZero() {
			x.FetchedAt = r.FetchedAt.UTC().Format(time.RFC3339)
		}
		if r.Err != nil {
			x.Error = r.Err.Error()
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(x, y RepoResult) int { return cmp.Compare(x.ID, y.ID) })
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// moduleOf cuts a module label (rpm tag 5096, name:stream:version:context) to
// its name and stream.
func moduleOf(label string) string {
	name, rest, ok := strings.Cut(label, ":")
	if !ok {
		return ""
	}
	stream, _, _ := strings.Cut(rest, ":")
	return name + ":" + stream
}

func splitStream(s string) (name, stream string) {
	name, stream, _ = strings.Cut(s, ":")
	return name, stream
}
