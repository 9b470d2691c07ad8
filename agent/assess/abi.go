package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/ldso"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// abiJudge is one judgement on applications.
type abiJudge struct {
	a     *assessor
	apps  *inventory.Applications
	facts *LibraryFacts
	res   ABIResult

	byNEVRA  map[string]int // judged packages
	provides map[string]int // library dependencies after the move: member
	contents map[libraryKey]*LibraryContent
	targets  []libraryTarget // of apps.Libraries
	symbols  map[symbolKey]symbolVerdict
}

type libraryKey struct {
	nevra, soname string
	class         int
}

// libraryTarget is who has a library after the move.
type libraryTarget struct {
	stays   bool
	member  int // -1: nobody
	content *LibraryContent
}

type symbolKey struct{ library, symbol int }

type symbolVerdict struct {
	kind   string // "" fine
	reason string
}

// soDep is the dependency that rpm's elfdeps makes of a library, and of one of
// its symbol versions: libc.so.6(GLIBC_2.28)(64bit).
func soDep(soname, version string, class int) string {
	if class == 64 {
		return soname + "(" + version + ")(64bit)"
	}
	if version == "" {
		return soname
	}
	return soname + "(" + version + ")"
}

func (a *assessor) newABI() *abiJudge {
	j := &abiJudge{
		a: a, apps: a.inv.Applications, facts: a.in.Libraries, byNEVRA: map[string]int{}, provides: map[string]int{},
		contents: map[libraryKey]*LibraryContent{}, symbols: map[symbolKey]symbolVerdict{},
	}
	for i := range a.judged {
		if _, ok := j.byNEVRA[a.judged[i].res.NEVRA]; !ok {
			j.byNEVRA[a.judged[i].res.NEVRA] = i
		}
	}
	for i := range a.closure.members {
		for _, d := range a.closure.members[i].provides {
			if strings.Contains(d.Name, ".so") {
				if _, ok := j.provides[d.Name]; !ok {
					j.provides[d.Name] = i
				}
			}
		}
	}
	if j.facts != nil {
		for i := range j.facts.Packages {
			p := &j.facts.Packages[i]
			for k := range p.Libraries {
				l := &p.Libraries[k]
				key := libraryKey{p.NEVRA, l.Soname, l.Class}
				if j.contents[key] == nil {
					j.contents[key] = l
				}
			}
		}
	}
	for i := range j.apps.Libraries {
		j.targets = append(j.targets, j.libraryTarget(&j.apps.Libraries[i]))
	}
	return j
}

// judgeABI is nil where applications were not looked for.
func (a *assessor) judgeABI() *abiJudge {
	if a.inv.Applications == nil {
		return nil
	}
	if !a.dependsOnTarget() {
		j := &abiJudge{a: a, apps: a.inv.Applications}
		j.begin()
		j.res.Reason = "the packages after the move are not known"
		j.res.Evidence = EvidenceNone
		j.res.Sentence = "Not judged: " + j.res.Reason
		return j
	}
	j := a.newABI()
	j.begin()
	j.judge()
	return j
}

func (j *abiJudge) begin() {
	apps := j.apps
	j.res = ABIResult{
		Evidence: EvidenceMetadata, Looked: apps.Looked, Static: apps.Static, Foreign: apps.Foreign, Unmet: []UnmetNeed{},
		Runtimes: []RuntimeResult{}, Libraries: []LibraryResult{}, Folders: slices.Clone(apps.Folders), Skipped: slices.Clone(apps.Skipped),
	}
	if j.res.Folders == nil {
		j.res.Folders = []string{}
	}
	if j.res.Skipped == nil {
		j.res.Skipped = []inventory.Skipped{}
	}
	if j.facts != nil {
		j.res.Evidence = EvidencePackages
	}
}

// staying tells whether an installed package is still there after the move;
// one that is not among the installed ones is.
func (j *abiJudge) staying(nevra string) (*judged, bool) {
	i, ok := j.byNEVRA[nevra]
	if nevra == "" || !ok {
		return nil, true
	}
	p := &j.a.judged[i]
	return p, p.stays() && !j.a.rebuilt(p)
}

// libraryTarget finds the package that has a library after the move: by what
// packages provide, or where it is private to its package, that one's
// successor.
func (j *abiJudge) libraryTarget(l *inventory.UsedLibrary) libraryTarget {
	owner, stays := j.staying(l.Package)
	if stays {
		return libraryTarget{stays: true, member: -1}
	}
	t := libraryTarget{member: -1}
	if m, ok := j.provides[soDep(l.Soname, "", l.Class)]; ok {
		t.member = m
	} else if owner.target != nil && !j.announces(owner, soDep(l.Soname, "", l.Class)) {
		want := owner.target.nevra()
		t.member = slices.IndexFunc(j.a.closure.members, func(m member) bool { return m.inst == nil && m.nevra == want })
	}
	if t.member >= 0 {
		m := &j.a.closure.members[t.member]
		if m.inst != nil {
			return libraryTarget{stays: true, member: t.member}
		}
		t.content = j.contents[libraryKey{m.nevra.String(), l.Soname, l.Class}]
	}
	return t
}

// announces tells whether an installed package provides a dependency.
func (j *abiJudge) announces(p *judged, dep string) bool {
	return slices.ContainsFunc(p.p.Provides, func(d rpmver.Dep) bool { return d.Name == dep })
}

func (j *abiJudge) judge() {
	type tally struct{ files map[int]bool }
	used := make([]tally, len(j.apps.Libraries))
	wanted := map[symbolKey]bool{}
	for i := range j.apps.Files {
		f := &j.apps.Files[i]
		j.needs(f)
		counted := false
		for _, imp := range f.Imports {
			if j.targets[imp.Library].stays {
				continue
			}
			counted = true
			if used[imp.Library].files == nil {
				used[imp.Library].files = map[int]bool{}
			}
			used[imp.Library].files[i] = true
			for _, n := range imp.Symbols {
				wanted[symbolKey{imp.Library, n}] = true
			}
			j.imports(f, imp)
		}
		switch {
		case counted && f.Program:
			j.res.Programs++
		case counted:
			j.res.Files++
		}
	}
	perLibrary := map[int]int{}
	names := map[string]bool{}
	for k := range wanted {
		l := &j.apps.Libraries[k.library]
		perLibrary[k.library]++
		name := fmt.Sprint(l.Class, " ", l.Soname, " ", l.Symbols[k.symbol])
		if !names[name] {
			names[name] = true
			j.res.Symbols++
			if j.targets[k.library].content != nil && j.symbols[k].kind == "" {
				j.res.Proven++
			}
		}
	}
	for i := range j.apps.Libraries {
		l := &j.apps.Libraries[i]
		t := j.targets[i]
		r := LibraryResult{
			Soname: l.Soname, Class: l.Class, Today: l.Package, Symbols: perLibrary[i], Programs: len(used[i].files), Stays: t.stays, Proven: t.content != nil,
		}
		if t.member >= 0 {
			m := &j.a.closure.members[t.member]
			r.Target, r.Repo = m.nevra.String(), m.repo
		}
		if !t.stays {
			j.res.From++
			j.res.Libraries = append(j.res.Libraries, r)
		}
	}
	slices.SortStableFunc(j.res.Unmet, func(x, y UnmetNeed) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Library, y.Library), cmp.Compare(x.Version, y.Version), cmp.Compare(x.Symbol, y.Symbol))
	})
	j.runtimes()
	j.sentence()
}

func (j *abiJudge) unmet(f *inventory.Application, u UnmetNeed) {
	u.Path, u.Package, u.Use, u.Since = f.Path, f.Package, f.Why, f.Since
	j.res.Unmet = append(j.res.Unmet, u)
}

// needs judges the libraries and symbol versions that a file names.
func (j *abiJudge) needs(f *inventory.Application) {
	if f.NoInterp != "" {
		j.unmet(f, UnmetNeed{Library: f.NoInterp, Kind: "interpreter", State: NeedBefore, Reason: "its dynamic linker is not there: it is a program for another system"})
		return
	}
	if env := j.a.inv.Environment; env != nil && env.CPU.Level > 0 && f.ISALevel > env.CPU.Level {
		j.unmet(f, UnmetNeed{
			Library: fmt.Sprintf("x86-64-v%d", f.ISALevel), Kind: "processor", State: NeedBefore,
			Reason: fmt.Sprintf("it says that it needs a processor of that level, and this one is of x86-64-v%d", env.CPU.Level),
		})
	}
	for i := range f.Needs {
		n := &f.Needs[i]
		dep := soDep(n.Soname, "", f.Class)
		m, provided := j.provides[dep]
		if n.Path == "" {
			if !provided && f.OwnLinker == "" {
				u := UnmetNeed{Library: n.Soname, Kind: "library", State: NeedBefore, Reason: "ld.so does not find it today either"}
				j.remedy(&u, dep)
				j.unmet(f, u)
			}
			continue
		}
		for _, v := range n.Lacks {
			if _, ok := j.provides[soDep(n.Soname, v, f.Class)]; !ok {
				u := UnmetNeed{Library: n.Soname, Version: v, Kind: "version", State: NeedBefore, Today: n.Package, Reason: n.Path + " does not have it today either"}
				j.unmet(f, u)
			}
		}
		owner, stays := j.staying(n.Package)
		if stays {
			continue
		}
		if !provided {
			u := UnmetNeed{Library: n.Soname, Kind: "library", State: NeedBreaks, Today: n.Package, Reason: j.leaves(owner)}
			if !j.announces(owner, dep) {
				if j.private(owner, n.Soname, f.Class) {
					continue
				}
				u.State = NeedUnproven
				if j.facts != nil && owner.target != nil && j.read(owner.target.nevra().String()) {
					u.State = NeedBreaks
				}
			}
			if owner.target != nil {
				u.Target = owner.target.nevra().String()
			}
			u.told = j.declares(f, dep)
			j.remedy(&u, dep)
			j.unmet(f, u)
			continue
		}
		target := &j.a.closure.members[m]
		for _, v := range n.Versions {
			dep := soDep(n.Soname, v, f.Class)
			if _, ok := j.provides[dep]; ok || slices.Contains(n.Lacks, v) {
				continue
			}
			u := UnmetNeed{
				Library: n.Soname, Version: v, Kind: "version", State: NeedBreaks, Today: n.Package, Target: target.nevra.String(),
				Reason: target.nevra.String() + " has the library, but not this version of its symbols",
			}
			if !j.announces(owner, dep) { // rpm does not see every version
				if c := j.contents[libraryKey{target.nevra.String(), n.Soname, f.Class}]; c != nil {
					if len(c.Versions) == 0 || slices.Contains(c.Versions, v) {
						continue
					}
				} else {
					u.State = NeedUnproven
				}
			}
			u.told = j.declares(f, dep)
			j.remedy(&u, dep)
			j.unmet(f, u)
		}
	}
}

// private tells whether the successor of a package was read and has a library
// that it does not announce.
func (j *abiJudge) private(owner *judged, soname string, class int) bool {
	return owner.target != nil && j.contents[libraryKey{owner.target.nevra().String(), soname, class}] != nil
}

// read tells whether --deep read a package.
func (j *abiJudge) read(nevra string) bool {
	return j.facts != nil && slices.ContainsFunc(j.facts.Packages, func(p PackageLibraries) bool { return p.NEVRA == nevra })
}

func (j *abiJudge) leaves(owner *judged) string {
	if owner.target != nil {
		return fmt.Sprintf("%s has it today; %s, which comes in its place, does not", owner.res.NEVRA, owner.target.nevra())
	}
	return owner.res.NEVRA + " has it today, and goes"
}

// declares tells whether the package of a file requires the dependency itself:
// then dep.broken tells.
func (j *abiJudge) declares(f *inventory.Application, dep string) bool {
	i, ok := j.byNEVRA[f.Package]
	return ok && f.Package != "" && slices.ContainsFunc(j.a.judged[i].p.Requires, func(d rpmver.Dep) bool { return d.Name == dep })
}

// remedy names an AlmaLinux package that has what is missing.
func (j *abiJudge) remedy(u *UnmetNeed, dep string) {
	want := rpmver.Dep{Name: dep}
	for _, enabled := range []bool{true, false} {
		if list := j.a.uni.providers(want, enabled, func(rpmver.NEVRA) bool { return true }); len(list) > 0 {
			u.Remedy, u.Repo, u.repoOff = list[0].nevra().String(), list[0].repo.ID, !enabled
			return
		}
	}
}

// imports judges the symbols of one library, where the one that comes is known.
func (j *abiJudge) imports(f *inventory.Application, imp inventory.SymbolImport) {
	t := j.targets[imp.Library]
	if t.content == nil || f.NoInterp != "" {
		return
	}
	l := &j.apps.Libraries[imp.Library]
	for _, n := range imp.Symbols {
		k := symbolKey{imp.Library, n}
		v, ok := j.symbols[k]
		if !ok {
			v = compareSymbol(l.Symbols[n], t.content)
			if v.kind == "symbol" && j.elsewhere(l.Symbols[n], l.Class) {
				v = symbolVerdict{}
			}
			j.symbols[k] = v
		}
		if v.kind == "" || v.kind == "symbol" && j.versionTold(f, l.Soname, l.Symbols[n].Version) {
			continue
		}
		j.unmet(f, UnmetNeed{
			Library: l.Soname, Symbol: l.Symbols[n].String(), Kind: v.kind, State: NeedBreaks, Today: l.Package,
			Target: j.a.closure.members[t.member].nevra.String(), Reason: v.reason,
		})
	}
}

// versionTold tells whether it is known already that the library, or the
// version that a symbol has, is missing: then all its symbols are.
func (j *abiJudge) versionTold(f *inventory.Application, soname, version string) bool {
	for i := len(j.res.Unmet) - 1; i >= 0 && j.res.Unmet[i].Path == f.Path; i-- {
		if u := &j.res.Unmet[i]; u.Library == soname && u.Symbol == "" && u.State == NeedBreaks && (u.Version == version || u.Version == "") {
			return true
		}
	}
	return false
}

// compareSymbol holds an imported symbol against the library that comes.
func compareSymbol(want inventory.UsedSymbol, c *LibraryContent) symbolVerdict {
	have := ldso.Lookup(c.Symbols, len(c.Versions) > 0, want.Name, want.Version)
	if have == nil && want.AnyVersion {
		have = ldso.Lookup(c.Symbols, len(c.Versions) > 0, want.Name, "")
	}
	switch {
	case have == nil:
		return symbolVerdict{"symbol", "AlmaLinux's library does not have it"}
	case !sameKind(have.Type.String(), want.Type):
		return symbolVerdict{"type", fmt.Sprintf("it is %s today, and %s in AlmaLinux's library", want.Type, have.Type)}
	case want.Copied > 0 && have.Size != want.Copied && have.Size != want.Today: // of another size today already: ld.so warns and goes on
		return symbolVerdict{"size", fmt.Sprintf("the program holds a copy of %d bytes, AlmaLinux's library has %d", want.Copied, have.Size)}
	}
	return symbolVerdict{}
}

// sameKind tells whether two types of a symbol are the same to an importer. What
// is written in assembly often has none.
func sameKind(a, b string) bool {
	none := elfdyn.NoType.String()
	return a == none || b == none || symbolKind(a) == symbolKind(b)
}

// symbolKind is what an importer must rely on.
func symbolKind(t string) string {
	switch t {
	case elfdyn.Func.String(), elfdyn.Indirect.String():
		return "code"
	case elfdyn.Object.String(), elfdyn.Common.String():
		return "data"
	}
	return t
}

// elsewhere tells whether another of the libraries that come has a symbol that
// moved: ld.so looks in all that are loaded.
func (j *abiJudge) elsewhere(s inventory.UsedSymbol, class int) bool {
	for i, t := range j.targets {
		if t.content != nil && j.apps.Libraries[i].Class == class && compareSymbol(s, t.content).kind == "" && len(t.content.Versions) > 0 {
			return true
		}
	}
	return false
}

// Staying returns the NEVRAs of the installed packages that are still there
// after the move, unchanged.
func Staying(in Input) map[string]bool {
	a := prepare(in)
	out := map[string]bool{}
	for i := range a.judged {
		if j := &a.judged[i]; j.stays() && !a.rebuilt(j) && j.res.Verdict != Same {
			out[j.res.NEVRA] = true
		}
	}
	return out
}

// LibraryPackages names the packages of AlmaLinux that applications of the host
// import from.
func LibraryPackages(in Input) []LibraryPackage {
	if in.Inventory.Applications == nil {
		return nil
	}
	a := prepare(in)
	if !a.dependsOnTarget() {
		return nil
	}
	j := a.newABI()
	var list []LibraryPackage
	seen := map[int]bool{}
	for _, t := range j.targets {
		if t.stays || t.member < 0 || seen[t.member] {
			continue
		}
		seen[t.member] = true
		m := &a.closure.members[t.member]
		for _, c := range a.uni.all(m.nevra.Name) {
			if c.nevra() == m.nevra && c.repo.ID == m.repo {
				list = append(list, LibraryPackage{c.repo.ID, c.repo.Index, c.at})
				break
			}
		}
	}
	return list
}

// sentence puts the result into words.
func (j *abiJudge) sentence() {
	r := &j.res
	breaks, before, open := 0, 0, 0
	for _, u := range r.Unmet {
		switch u.State {
		case NeedBreaks:
			breaks++
		case NeedBefore:
			before++
		default:
			open++
		}
	}
	who := plural(r.Programs, "program")
	n := r.Programs
	if r.Files > 0 {
		lib := plural(r.Files, "library")
		n += r.Files
		if r.Programs == 0 {
			who = lib
		} else {
			who += " and " + lib
		}
	}
	what := fmt.Sprintf("%s %s %s from %s", who, verb(n, "imports", "import"), plural(r.Symbols, "symbol"), plural(r.From, "library"))
	switch {
	case n == 0:
		r.Sentence = fmt.Sprintf("No program outside of the distribution needs its libraries (%s looked into)", plural(r.Looked, "file"))
	case breaks > 0:
		r.Sentence = fmt.Sprintf("%s; %s would not be met", what, plural(breaks, "need"))
	case r.Evidence == EvidencePackages && r.Proven == r.Symbols && open == 0:
		r.Sentence = what + "; all are there"
	case r.Evidence == EvidencePackages:
		r.Sentence = fmt.Sprintf("%s; %d of them were found in AlmaLinux's packages, %d could not be compared", what, r.Proven, r.Symbols-r.Proven)
	default:
		r.Sentence = what + "; by the metadata all libraries and versions will be there (--deep compares the symbols)"
	}
	if before > 0 {
		r.Sentence += fmt.Sprintf("; %s not met today either", verb(before, "1 need is", fmt.Sprintf("%d needs are", before)))
	}
}
