package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
)

// kernelJudge judges the modules of one host.
type kernelJudge struct {
	a       *assessor
	k       *inventory.Kernel
	t       *targetKernel // nil: AlmaLinux's kernel is not known
	res     KernelResult
	modules []ModuleResult
	byName  map[string]int
	source  map[string]*inventory.ModuleSource // by module name
	foreign map[string]*inventory.KernelModule
	nobody  string // why t is nil
}

// judgeKernel gives every module that is loaded or needed its verdict. It is
// nil for a host whose modules are not known.
func (a *assessor) judgeKernel() *kernelJudge {
	k := a.inv.Kernel
	if k == nil {
		return nil
	}
	j := &kernelJudge{a: a, k: k, byName: map[string]int{}, source: map[string]*inventory.ModuleSource{}, foreign: map[string]*inventory.KernelModule{}}
	j.res = KernelResult{
		Running: k.Release, Evidence: EvidenceNone, Comes: []string{}, SecureBoot: k.Trust.SecureBoot, Enforced: k.Trust.Enforced(),
		Counts: map[ModuleVerdict]int{}, Reason: k.Reason, Suppliers: a.supplierResults(), wanted: map[string]bool{},
	}
	a.kernelWants = j.res.wanted
	for _, v := range ModuleVerdicts {
		j.res.Counts[v] = 0
	}
	if env := a.inv.Environment; k.Reason == "" && env != nil && env.Container.Kind != "" {
		j.res.Reason = inventory.ReasonContainer // the inventory is of a version that listed the machine's modules
	}
	if j.res.Reason != "" {
		return j
	}
	if a.unread {
		j.nobody = "a repository that is needed could not be read"
	} else if j.t = a.findKernel(); j.t == nil {
		j.nobody = "the enabled repositories have no kernel-core for " + a.inv.Host.Arch
	} else {
		j.t.read(a.inv, a.in.Deep)
		j.res.Target, j.res.Release, j.res.Repo = j.t.image.id.String(), j.t.release, j.t.image.repo.ID
		j.res.Evidence, j.res.Comes = j.t.evidence, j.t.coming()
	}
	j.res.Reason = j.nobody
	if j.t != nil && j.t.evidence == EvidenceNone {
		j.res.Reason = "the metadata does not name the kernel's modules; check --deep reads them out of the packages"
	}
	for i := range k.Sources {
		for _, m := range k.Sources[i].Modules {
			j.source[m] = &k.Sources[i]
		}
	}
	for i := range k.Modules {
		if k.Modules[i].Foreign != nil {
			j.foreign[k.Modules[i].Name] = &k.Modules[i]
		}
	}
	for i := range k.Modules {
		m := &k.Modules[i]
		if m.Loaded {
			j.res.Loaded++
		}
		j.byName[m.Name] = len(j.modules)
		j.modules = append(j.modules, j.judge(m))
	}
	j.chain()
	for i := range j.modules {
		j.trust(&j.modules[i], &k.Modules[i])
		j.res.Counts[j.modules[i].Verdict]++
	}
	return j
}

func (j *kernelJudge) judge(m *inventory.KernelModule) ModuleResult {
	r := ModuleResult{
		Name: m.Name, Loaded: m.Loaded, Roles: slices.Clone(m.Roles), Why: slices.Clone(m.Why), File: m.File, Owner: m.Owner,
		Taint: taintText(m.Taint), Verdict: ModuleUnknown, Evidence: EvidenceNone,
	}
	if s := j.source[m.Name]; s != nil {
		r.Rebuilt = strings.TrimSuffix(s.Kind+" "+s.Name+"/"+s.Version, "/")
	}
	if j.t == nil {
		r.Reason = j.nobody
		return r
	}
	r.Evidence = j.t.evidence
	if m.Foreign != nil {
		j.outOfTree(&r, m)
		return r
	}
	j.inTree(&r, m)
	return r
}

// taintText explains the letters of a module's taint.
func taintText(letters string) string {
	var words []string
	for _, f := range kmod.ExplainModuleTaint(letters) {
		words = append(words, f.Meaning)
	}
	return strings.Join(words, "; ")
}

// found says where the kernel has a module of that name.
func (t *targetKernel) found(name string) (p *kernelPart, builtin, ok bool) {
	if p := t.modules[name]; p != nil {
		return p, false, true
	}
	return nil, t.builtin[name], t.builtin[name]
}

// place fills in where the module comes from.
func (r *ModuleResult) place(c *candidate) {
	r.Target, r.Repo, r.RepoOff = c.id.String(), c.repo.ID, !c.repo.Enabled
}

// supplied gives a module the verdict that another package has it.
func (j *kernelJudge) supplied(r *ModuleResult, c *candidate, why string) {
	r.Verdict, r.Reason = ModuleSupplied, why+"; supplied by "+j.a.inRepo(c)
	r.place(c)
	if s := j.a.supplierOf(c); s != nil {
		r.RepoName = s.Title
	}
	if s, _ := j.t.fits(c); s == nil {
		r.Reason += "; its metadata does not tell whether it fits this kernel"
	} else if n := len(s.Unverified); n > 0 {
		r.Reason += fmt.Sprintf("; %d of its %s %s on no list", n, plural(s.Total, "import"), verb(n, "is", "are"))
	}
}

// inTree judges a module that came with the running kernel: what counts is
// whether the other kernel has one of that name, wherever its file lies.
func (j *kernelJudge) inTree(r *ModuleResult, m *inventory.KernelModule) {
	t := j.t
	if t.evidence == EvidenceNone {
		r.Reason = "the metadata does not name the kernel's modules"
		return
	}
	name := m.Name
	p, builtin, ok := t.found(name)
	if !ok {
		if into, why, known := j.a.cat.ModuleMerged(name); known {
			if p, builtin, ok = t.found(into); ok {
				r.Reason = fmt.Sprintf("%s does there what it did: %s", into, why)
			}
		}
	}
	if !ok {
		// A module that was renamed or merged mostly answers to its old name.
		for _, n := range spellings(name) {
			if hits := t.claims().Match(n); len(hits) > 0 {
				if p, builtin, ok = t.holder(hits[0]); ok {
					r.Reason = "another module answers to its name"
					if t.byAlias {
						r.Reason = hits[0] + " answers to its name"
					}
					break
				}
			}
		}
	}
	switch {
	case ok && builtin:
		r.Verdict = ModuleBuiltIn
		r.Reason = orText(r.Reason, "part of the kernel's image")
		r.place(t.image)
	case ok && p.comes && p.repo.Enabled:
		r.Verdict = ModuleInTree
		r.Reason = orText(r.Reason, "in "+p.id.Name)
		if t.evidence == EvidenceMetadata && p.candidate == t.image {
			r.Reason += ", as a file or built in"
		}
		r.place(p.candidate)
	case ok:
		r.Verdict = ModuleMoved
		r.Reason = orText(r.Reason, fmt.Sprintf("in %s, which would not come by itself", p.id.Name))
		r.place(p.candidate)
	default:
		if c := j.a.supplier(t, name); c != nil {
			j.supplied(r, c, "AlmaLinux's kernel does not have it")
			return
		}
		if m.Builtin && t.evidence == EvidenceMetadata {
			delete(j.res.wanted, name)
			r.Reason = "built into the running kernel; the metadata does not tell whether the other one has it built in"
			return
		}
		r.Verdict = ModuleMissing
		r.Reason = "neither AlmaLinux's kernel nor another package of the repositories has it"
		if onlyInitramfs(r) || j.unused(m) {
			delete(j.res.wanted, name)
		}
		if j.unused(m) {
			r.Reason += "; what uses it here does without it there"
			return
		}
		if asked, _ := j.a.askedSuppliers(); asked != "" {
			r.Reason += ", nor has " + asked
		}
	}
}

// holder finds the package of a hit among the aliases: a module's name with
// --deep, a package's otherwise.
func (t *targetKernel) holder(hit string) (p *kernelPart, builtin, ok bool) {
	if t.byAlias {
		return t.found(hit)
	}
	for _, p := range t.parts {
		if p.id.Name == hit || kmod.NormalizeName(p.id.Name) == hit {
			return p, false, true
		}
	}
	return nil, false, false
}

// unused tells whether a module is only there because others use it or depend
// on it, and all of them come with AlmaLinux's kernel, which then brings what
// they need: other kernels split their code otherwise.
func (j *kernelJudge) unused(m *inventory.KernelModule) bool {
	users, ok := m.Helper()
	if !ok {
		return false
	}
	for _, u := range users {
		if _, _, ok := j.t.found(u); !ok || j.foreign[u] != nil {
			return false
		}
	}
	return true
}

// outOfTree judges a module that is not the distribution's kernel's own.
func (j *kernelJudge) outOfTree(r *ModuleResult, m *inventory.KernelModule) {
	t, f := j.t, m.Foreign
	if c := j.successor(m); c != nil {
		r.place(c)
		s := t.fitness(c)
		r.Symbols = s
		if s == nil || len(s.Changed)+len(s.Missing) == 0 {
			r.Verdict, r.Reason = ModuleSupplied, fmt.Sprintf("%s takes the place of the package that has it", c.id)
			return
		}
		r.Verdict, r.Reason = ModuleBreaks, fmt.Sprintf("%s takes the place of the package that has it, and does not fit this kernel", c.id)
		return
	}
	imports := f.Imports
	if len(imports) == 0 {
		imports = j.ownerSymbols(m)
	}
	if f.Problem != "" && len(imports) == 0 {
		r.Reason = f.Problem
		if p, _, ok := t.found(m.Name); ok && p != nil {
			r.Reason += fmt.Sprintf("; %s has a module of that name", p.id.Name)
		}
		return
	}
	list := make([]kmod.Symbol, 0, len(imports))
	crcs := false
	for _, s := range imports {
		sym := inventory.ParseSymbol(s)
		crcs = crcs || sym.HasCRC
		list = append(list, sym)
	}
	table, known, complete := t.exports(list)
	if !known {
		r.Reason = "the metadata does not tell what the kernel exports; check --deep reads it out of the packages"
		return
	}
	if len(imports) == 0 {
		r.Reason = "its file names no imports to compare"
		return
	}
	for name, o := range j.foreign {
		if name != m.Name && o.Foreign != nil {
			for _, s := range o.Foreign.Exports {
				table.Add(inventory.ParseSymbol(s))
			}
		}
	}
	r.Symbols = symbolResult(kmod.CompareImports(list, table), complete)
	r.vermagic = f.Vermagic
	magic := kmod.ParseVermagic(f.Vermagic)
	s := r.Symbols
	switch {
	case !crcs && magic.Release != t.release:
		r.Verdict = ModuleBreaks
		r.Reason = fmt.Sprintf("it carries no symbol versions, so that it loads into %s only", magic.Release)
	case t.vermagic.Release != "" && f.Vermagic != "" && !magic.Compatible(t.vermagic, crcs):
		r.Verdict = ModuleBreaks
		r.Reason = fmt.Sprintf("it was built for another kind of kernel: %q, AlmaLinux's is %q", strings.Join(magic.Flags, " "), strings.Join(t.vermagic.Flags, " "))
	case len(s.Changed)+len(s.Missing) > 0:
		r.Verdict = ModuleBreaks
		r.Reason = fmt.Sprintf("%d of %d imported symbols met; %s", s.Met, s.Total, differences(s))
	case len(s.Unverified) > 0:
		r.Reason = fmt.Sprintf("%d of %d imported symbols met; the others are not on the list of protected symbols", s.Met, s.Total)
	default:
		r.Verdict = ModuleCompatible
		r.Reason = verb(s.Total, "", "all ") + plural(s.Total, "imported symbol") + " met"
		if !crcs {
			r.Reason = "built for this very kernel"
		}
		r.weak = !j.linked(m)
	}
	if r.Verdict == ModuleBreaks {
		j.instead(r)
	}
}

// differences names the symbols that do not fit, a few of each kind.
func differences(s *SymbolResult) string {
	var parts []string
	if n := len(s.Changed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d changed (%s)", n, fewSymbols(s.Changed)))
	}
	if n := len(s.Missing); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not there (%s)", n, fewSymbols(s.Missing)))
	}
	return strings.Join(parts, ", ")
}

func fewSymbols(names []string) string {
	const most = 3
	if len(names) > most+1 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// instead notes what would be loaded in place of a module that breaks.
func (j *kernelJudge) instead(r *ModuleResult) {
	if p, _, ok := j.t.found(r.Name); ok {
		if p == nil {
			r.Reason += "; the kernel has a driver of that name built in"
			return
		}
		r.Reason += fmt.Sprintf("; the kernel's own %s would be loaded in its place", r.Name)
		r.place(p.candidate)
		return
	}
	if r.Rebuilt != "" {
		return
	}
	c := j.a.supplier(j.t, r.Name)
	if c == nil {
		return
	}
	if s, _ := j.t.fits(c); s != nil && len(s.Unverified) == 0 {
		j.supplied(r, c, r.Reason)
		r.broke = true
		return
	}
	r.Reason += fmt.Sprintf("; there is %s, whose metadata does not prove that it fits", j.a.inRepo(c))
	r.place(c)
}

// successor is the package that the move puts in the place of a module's owner.
func (j *kernelJudge) successor(m *inventory.KernelModule) *candidate {
	for i := range j.a.judged {
		x := &j.a.judged[i]
		if m.Owner == "" || x.nevra.String() != m.Owner {
			continue
		}
		if x.target == nil || !x.target.repo.Enabled || x.held != "" {
			return nil
		}
		for _, n := range spellings(m.Name) {
			for _, at := range x.target.repo.Index.WhatProvides("kmod(" + n + ".ko)") {
				if at == x.target.at {
					return x.target
				}
			}
		}
		return nil
	}
	return nil
}

// ownerSymbols are the imports of a module as its package requires them.
func (j *kernelJudge) ownerSymbols(m *inventory.KernelModule) []string {
	if m.Owner == "" {
		return nil
	}
	for i := range j.a.inv.Packages {
		p := &j.a.inv.Packages[i]
		if p.NEVRA().String() != m.Owner {
			continue
		}
		k, err := kmod.ParsePackageDeps(p.Requires)
		if err != nil {
			return nil
		}
		var list []string
		for _, s := range k.Symbols {
			if s.HasCRC {
				list = append(list, fmt.Sprintf("%s=0x%08x", s.Name, s.CRC))
			}
		}
		return list
	}
	return nil
}

// linked tells whether somebody puts the module into the tree of a new kernel:
// weak-modules, which module packages call, DKMS or akmods. What lies outside
// of all trees needs nobody.
func (j *kernelJudge) linked(m *inventory.KernelModule) bool {
	if j.source[m.Name] != nil || m.File != "" && !strings.Contains(m.File, "/lib/modules/") {
		return true // what lies elsewhere is loaded by its path, under whatever kernel
	}
	if m.Owner == "" {
		return false
	}
	for i := range j.a.inv.Packages {
		p := &j.a.inv.Packages[i]
		if p.NEVRA().String() != m.Owner {
			continue
		}
		if strings.HasPrefix(p.Name, "kmod-") {
			return true
		}
		for _, d := range p.Requires {
			if strings.HasSuffix(d.Name, "/weak-modules") {
				return true
			}
		}
	}
	return false
}

// chain carries a break on to the out-of-tree modules that build on it.
func (j *kernelJudge) chain() {
	for again := true; again; {
		again = false
		for i := range j.modules {
			r := &j.modules[i]
			f := j.k.Modules[i].Foreign
			if f == nil || r.Verdict != ModuleCompatible && r.Verdict != ModuleUnknown {
				continue
			}
			for _, d := range f.Depends {
				at, ok := j.byName[d]
				if !ok || j.foreign[d] == nil {
					continue
				}
				if below := &j.modules[at]; below.broke && r.Verdict == ModuleCompatible {
					// What a rebuilt module exports may have other checksums.
					r.Verdict, r.weak = ModuleUnknown, false
					r.Reason = fmt.Sprintf("it builds on %s, which another build replaces", d)
					again = true
					break
				} else if below.Verdict != ModuleBreaks {
					continue
				}
				r.Verdict, r.weak = ModuleBreaks, false
				r.Reason = fmt.Sprintf("it needs %s, which breaks", d)
				again = true
				break
			}
		}
	}
}

// trust says whether a kernel that demands signatures would load the module.
func (j *kernelJudge) trust(r *ModuleResult, m *inventory.KernelModule) {
	r.Trusted = TrustUnknown
	switch r.Verdict {
	case ModuleInTree, ModuleBuiltIn, ModuleMoved:
		r.Trusted, r.Signature = TrustYes, "AlmaLinux signs the modules of its kernel"
		return
	case ModuleSupplied:
		switch {
		case r.RepoName != "":
			r.Signature = r.RepoName + " signs its modules itself; where signatures are demanded, its certificate has to be enrolled (mokutil --import)"
		case strings.Contains(r.Repo, "baseos") || strings.Contains(r.Repo, "appstream"):
			r.Trusted, r.Signature = TrustYes, "AlmaLinux signs its own module packages"
		default:
			r.Signature = "the package's own module has another signature"
		}
		return
	case ModuleMissing:
		r.Signature = "there is nothing to load"
		return
	}
	if m.Foreign == nil || m.Foreign.Problem != "" {
		r.Signature = "its file was not read"
		return
	}
	s := m.Foreign.Signature
	seen := len(j.k.Trust.Keyrings) > 0
	switch {
	case s == nil:
		r.Trusted, r.Signature = TrustNo, "not signed"
	case s.State == "revoked":
		r.Trusted, r.Signature = TrustNo, fmt.Sprintf("signed by %s, whose certificate is revoked (%s)", s.Signer, s.EnrolledIn)
	case s.State == "good" && s.NotLoaded:
		r.Signature = fmt.Sprintf("signed by %s, whose certificate is in %s, but the running kernel has not taken it over: it shows no key of that id", s.Signer, s.EnrolledIn)
	case s.State == "good":
		r.Trusted, r.Signature = TrustYes, fmt.Sprintf("signed by %s, whose certificate is in %s", s.Signer, s.EnrolledIn)
	case s.State == "bad":
		r.Trusted, r.Signature = TrustNo, fmt.Sprintf("its signature by %s is wrong", s.Signer)
	case s.State == "no-certificate" && j.k.Trust.Problem == "":
		r.Trusted, r.Signature = TrustNo, fmt.Sprintf("signed by %s, whose certificate is neither in db nor among the machine owner's keys", s.Signer)
		if s.KernelKey != "" {
			r.Signature += "; the running kernel has a key of that name, so it must be built in, and AlmaLinux's kernel has its own"
		} else if seen {
			r.Signature += ", and the running kernel has no key of that name either"
		}
	default:
		r.Signature = "signed by " + s.Signer + "; the firmware's certificates could not be read or do not verify it here"
	}
}

func orText(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
