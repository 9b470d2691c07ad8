package assess

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// kernelParts are what EL's kernel packages are called behind the flavour:
// EL8 has core, modules and modules-extra, EL9.2 and later modules-core too.
var kernelParts = []string{"-core", "-modules-core", "-modules", "-modules-extra", "-modules-partner", ""}

// kernelFlavours are the kernels that AlmaLinux builds beside the ordinary one,
// and how their releases are told: 5.14.0-427.el9.x86_64+rt, 4.18.0-553.rt7.342.el8.
var kernelFlavours = []struct{ mark, base string }{{"+rt", "kernel-rt"}, {".rt", "kernel-rt"}, {"+64k", "kernel-64k"}}

// completeSymbols is how many exports a list has at least that is not one of
// the protected symbols only: these lists have about a thousand entries, a
// kernel exports more than ten thousand.
const completeSymbols = 4000

// targetKernel is what is known of the kernel that AlmaLinux would boot.
type targetKernel struct {
	base     string // "kernel", "kernel-rt"
	image    *candidate
	release  string
	parts    []*kernelPart
	evidence Evidence
	modules  map[string]*kernelPart
	builtin  map[string]bool
	vermagic kmod.Vermagic // with --deep only
	byAlias  bool          // aliases names modules, not packages

	aliases *kmod.AliasTable
	buses   map[string]bool
}

// kernelPart is one of its packages.
type kernelPart struct {
	*candidate
	comes    bool
	provides []rpmver.Dep
	facts    *PackageFacts
}

// kernelBase tells which kernel a host runs.
func kernelBase(inv *inventory.Inventory) string {
	if inv.Kernel != nil {
		for _, f := range kernelFlavours {
			if strings.Contains(inv.Kernel.Release, f.mark) {
				return f.base
			}
		}
	}
	return "kernel"
}

// findKernel finds the newest kernel of the host's flavour that would be
// installed, nil if the enabled repositories have none.
func (a *assessor) findKernel() *targetKernel {
	base := kernelBase(a.inv)
	image := a.newestImage(base)
	if image == nil && base != "kernel" {
		base = "kernel"
		image = a.newestImage(base)
	}
	if image == nil {
		return nil
	}
	t := &targetKernel{base: base, image: image, evidence: EvidenceNone, modules: map[string]*kernelPart{}, builtin: map[string]bool{}}
	for _, suffix := range kernelParts {
		var best *candidate
		for _, c := range a.uni.named(base + suffix) {
			if c.id.EVR == image.id.EVR && c.id.Arch == image.id.Arch && (best == nil || c.repo.Enabled && !best.repo.Enabled) {
				best = c
			}
		}
		if best != nil {
			t.parts = append(t.parts, &kernelPart{candidate: best})
		}
	}
	return t
}

func (a *assessor) newestImage(base string) *candidate {
	var best *candidate
	for _, c := range a.uni.named(base + "-core") {
		if c.repo.Enabled && c.id.Arch == a.inv.Host.Arch && (best == nil || c.id.EVR.Compare(best.id.EVR) > 0) {
			best = c
		}
	}
	return best
}

// KernelPackage is a package whose payload a deep check reads.
type KernelPackage struct {
	Repo  string // id
	Index *repodata.Index
	At    int
}

// KernelPackages names the packages of the kernel that AlmaLinux would boot:
// those that hold modules. None if it is not known, or if the host's modules
// are not.
func KernelPackages(in Input) []KernelPackage {
	if in.Inventory.Kernel == nil || in.Inventory.Kernel.Reason != "" {
		return nil
	}
	a := &assessor{in: in, inv: in.Inventory, cat: in.Catalog}
	a.uni = newUniverse(in.Repos, newModules(a.cat, a.inv, in.Repos), in.Inventory.Host.Arch)
	t := a.findKernel()
	if t == nil {
		return nil
	}
	var list []KernelPackage
	for _, p := range t.parts {
		if p.id.Name != t.base {
			list = append(list, KernelPackage{p.repo.ID, p.repo.Index, p.at})
		}
	}
	return list
}

// read gathers what the metadata or the packages say of the kernel.
func (t *targetKernel) read(inv *inventory.Inventory, deep *DeepFacts) {
	for _, p := range t.parts {
		p.provides = p.full().Provides // decoded once for the whole assessment
	}
	t.release = t.imageRelease()
	t.choose(inv)
	if deep != nil && t.readFacts(deep) {
		return
	}
	for _, p := range t.parts {
		for _, d := range p.provides {
			arg, ok := strings.CutPrefix(d.Name, "kmod(")
			if !ok {
				continue
			}
			if name, ok := kmod.NameOfFile(strings.TrimSuffix(arg, ")")); ok && t.modules[name] == nil {
				t.modules[name] = p
			}
		}
	}
	if len(t.modules) > 0 {
		t.evidence = EvidenceMetadata
	}
}

// imageRelease is what uname -r will say: kernel-core provides it.
func (t *targetKernel) imageRelease() string {
	for _, p := range t.parts {
		if p.candidate != t.image {
			continue
		}
		for _, want := range []string{t.base + "-core-uname-r", "kernel-core-uname-r", "kernel-uname-r", t.base + "-uname-r"} {
			for _, d := range p.provides {
				if d.Name == want && d.EVR.Version != "" {
					return d.EVR.String()
				}
			}
		}
	}
	id := t.image.id
	return id.EVR.Version + "-" + id.EVR.Release + "." + id.Arch
}

// choose tells which packages come: those that the host has the counterparts
// of, and what they require.
func (t *targetKernel) choose(inv *inventory.Inventory) {
	installed := map[string]bool{}
	for i := range inv.Packages {
		installed[inv.Packages[i].Name] = true
	}
	var work []*kernelPart
	add := func(p *kernelPart) {
		if !p.comes {
			p.comes = true
			work = append(work, p)
		}
	}
	some := false
	for _, p := range t.parts {
		some = some || installed[p.id.Name]
	}
	for _, p := range t.parts {
		// A host with another kernel only (UEK, kernel-ml) gets the whole of it.
		if p.candidate == t.image || installed[p.id.Name] || !some && p.id.Name == t.base {
			add(p)
		}
	}
	for len(work) > 0 {
		p := work[0]
		work = work[1:]
		for _, r := range p.full().Requires {
			if !strings.HasPrefix(r.Name, "kernel") {
				continue
			}
			for _, q := range t.parts {
				if !q.comes && (r.Name == q.id.Name || slices.ContainsFunc(q.provides, func(d rpmver.Dep) bool { return d.Name == r.Name && r.Matches(d) })) {
					add(q)
				}
			}
		}
	}
}

// readFacts takes what --deep read out of the packages.
func (t *targetKernel) readFacts(deep *DeepFacts) bool {
	if deep.Err != nil || len(deep.Packages) == 0 {
		return false
	}
	byName := map[string]*PackageFacts{}
	for i := range deep.Packages {
		byName[deep.Packages[i].NEVRA] = &deep.Packages[i]
	}
	for _, p := range t.parts {
		p.facts = byName[p.id.String()]
		if p.facts == nil {
			continue
		}
		if p.candidate == t.image && p.facts.Release != "" {
			t.release = p.facts.Release
		}
		for name := range p.facts.Modules {
			if t.modules[name] == nil {
				t.modules[name] = p
			}
		}
		for _, name := range p.facts.Builtin {
			t.builtin[name] = true
		}
		if t.vermagic.Release == "" && p.facts.Vermagic != "" {
			t.vermagic = kmod.ParseVermagic(p.facts.Vermagic)
		}
	}
	if len(t.modules) == 0 {
		return false
	}
	t.evidence = EvidencePackages
	return true
}

// exports returns the symbols of the given imports that the kernel and all its
// packages export. Known is false where nothing tells them, complete for more
// than a list of protected symbols.
func (t *targetKernel) exports(imports []kmod.Symbol) (table *kmod.SymbolTable, known, complete bool) {
	want := make(map[string]bool, len(imports))
	for _, s := range imports {
		want[s.Name] = true
	}
	table = &kmod.SymbolTable{}
	total, facts := 0, false
	for _, p := range t.parts {
		if p.facts == nil {
			continue
		}
		for _, text := range p.facts.Symbols {
			facts = true
			if name, _, _ := strings.Cut(text, "="); want[name] {
				table.Add(inventory.ParseSymbol(text))
			}
		}
	}
	if facts {
		return table, true, true
	}
	var deps []rpmver.Dep
	for _, p := range t.parts {
		for _, d := range p.provides {
			arg, ok := strings.CutPrefix(d.Name, "kernel(")
			if !ok {
				continue
			}
			total++
			if want[strings.TrimSuffix(arg, ")")] {
				deps = append(deps, d)
			}
		}
	}
	// An entry that cannot be read must not make an import look missing.
	k, err := kmod.ParsePackageDeps(deps)
	if err != nil {
		return table, false, false
	}
	table.Add(k.Symbols...)
	return table, total > 0, total >= completeSymbols
}

// claims returns the aliases of all modules of the kernel; Len is 0 where
// nothing tells them. With --deep an alias names the module, otherwise the
// package.
func (t *targetKernel) claims() *kmod.AliasTable {
	if t.aliases != nil {
		return t.aliases
	}
	var list []kmod.Alias
	for _, p := range t.parts {
		if p.facts != nil {
			list = append(list, p.facts.Aliases...)
			t.byAlias = true
		}
	}
	if !t.byAlias {
		for _, p := range t.parts {
			for _, d := range p.provides {
				if arg, ok := strings.CutPrefix(d.Name, "modalias("); ok {
					list = append(list, kmod.Alias{Pattern: strings.TrimSuffix(arg, ")"), Module: p.id.Name})
				}
			}
		}
	}
	t.aliases = kmod.NewAliasTable(list)
	return t.aliases
}

// coming lists the packages that come.
func (t *targetKernel) coming() []string {
	list := []string{}
	for _, p := range t.parts {
		if p.comes {
			list = append(list, p.id.String())
		}
	}
	slices.Sort(list)
	return list
}

func boolCompare(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// spellings are the file names that a module's name may stand for: one
// character, '_' or '-', for all.
func spellings(module string) []string {
	if dashed := strings.ReplaceAll(module, "_", "-"); dashed != module {
		return []string{module, dashed}
	}
	return []string{module}
}

// fitness compares the kernel(SYMBOL) = CRC requirements of a module package
// with the kernel; nil if it has none.
func (t *targetKernel) fitness(c *candidate) *SymbolResult {
	k, err := kmod.ParsePackageDeps(c.full().Requires)
	if err != nil || len(k.Symbols) == 0 {
		return nil
	}
	table, known, complete := t.exports(k.Symbols)
	if !known {
		return nil
	}
	return symbolResult(kmod.CompareImports(k.Symbols, table), complete)
}

// symbolResult tells a comparison as it is reported.
func symbolResult(c kmod.Comparison, complete bool) *SymbolResult {
	// A symbol that is there without a CRC on either side is accepted by the
	// kernel, with a taint (kernel/module/version.c, check_version).
	s := &SymbolResult{Met: len(c.Met) + len(c.NoCRC), Total: c.Total() - len(c.MissingWeak)}
	for _, m := range c.Mismatched {
		s.Changed = append(s.Changed, m.Name)
	}
	for _, m := range c.Missing {
		if complete {
			s.Missing = append(s.Missing, m.Name)
		} else {
			s.Unverified = append(s.Unverified, m.Name)
		}
	}
	slices.Sort(s.Changed)
	slices.Sort(s.Missing)
	slices.Sort(s.Unverified)
	return s
}
