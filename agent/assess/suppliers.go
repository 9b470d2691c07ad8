package assess

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Supplier is a repository of kernel modules that is not AlmaLinux's: ELRepo,
// the CentOS Kmods SIG. Enabled says that the host has it enabled, MappedFrom
// under which ids. Nothing of it takes part in the judgement of packages.
type Supplier struct {
	TargetRepo
	Title   string   // e.g. "ELRepo"
	Host    []string // ids of the host's repositories that are this one and are off
	Package string   // brings its repo file, may be empty
	Enable  string   // the command that adds it to a host
	Key     bool     // a key of its owner is known
	Unasked string   // why it was not asked, where Index is nil without an Err
}

// SupplierResult is what is known of a Supplier.
type SupplierResult struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	URL      string `json:"url"`
	Enabled  bool   `json:"enabled"` // the host has it enabled
	Packages int    `json:"packages"`
	Signed   string `json:"signed"` // of its metadata: "good <key id>", "none"
	Stale    bool   `json:"stale,omitempty"`
	Error    string `json:"error,omitempty"`   // why it could not be asked
	Unasked  string `json:"unasked,omitempty"` // why it was not asked
}

// Unsupplied lists the modules that the host uses, that AlmaLinux's kernel does
// not have in a form that fits, and that no repository of AlmaLinux's supplies:
// those that it is worth asking a Supplier about.
func (x *Assessment) Unsupplied() []string {
	if x.Kernel == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(x.Kernel.wanted))
}

func (a *assessor) supplierResults() []SupplierResult {
	var out []SupplierResult
	for i := range a.in.Suppliers {
		s := &a.in.Suppliers[i]
		r := SupplierResult{ID: s.ID, Name: s.Title, URL: s.URL, Enabled: s.Enabled, Signed: cmp.Or(s.Signature, "none"), Stale: s.Stale, Unasked: s.Unasked}
		if s.Index != nil {
			r.Packages = s.Index.Len()
		}
		if s.Err != nil {
			r.Error = s.Err.Error()
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(x, y SupplierResult) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// supplier finds the newest package beside the kernel's own that has a module
// and fits the kernel, as far as its requirements tell: in AlmaLinux's
// repositories, and only then in others.
func (a *assessor) supplier(t *targetKernel, module string) *candidate {
	if c := a.newestWith(a.uni.repos, t, module, nil); c != nil {
		return c
	}
	if a.kernelWants != nil {
		a.kernelWants[module] = true
	}
	return a.newestWith(a.supplierRepos(), t, module, nil)
}

// claimant finds a package whose build of a module claims a device that the
// kernel's own does not.
func (a *assessor) claimant(t *targetKernel, module, modalias string) *candidate {
	claims := func(c *candidate) bool {
		var list []kmod.Alias
		for _, d := range c.full().Provides {
			if arg, ok := strings.CutPrefix(d.Name, "modalias("); ok {
				list = append(list, kmod.Alias{Pattern: strings.TrimSuffix(arg, ")"), Module: module})
			}
		}
		return len(kmod.NewAliasTable(list).Match(modalias)) > 0
	}
	if c := a.newestWith(a.uni.repos, t, module, claims); c != nil {
		return c
	}
	a.kernelWants[module] = true
	return a.newestWith(a.supplierRepos(), t, module, claims)
}

func (a *assessor) supplierRepos() []*TargetRepo {
	var list []*TargetRepo
	for i := range a.in.Suppliers {
		if s := &a.in.Suppliers[i]; s.Index != nil {
			list = append(list, &s.TargetRepo)
		}
	}
	return list
}

func (a *assessor) newestWith(repos []*TargetRepo, t *targetKernel, module string, pick func(*candidate) bool) *candidate {
	var best *candidate
	for _, r := range repos {
		seen := map[int]bool{}
		for _, name := range spellings(module) {
			for _, i := range r.Index.WhatProvides("kmod(" + name + ".ko)") {
				seen[i] = true
			}
			for _, i := range r.Index.ByName("kmod-" + name) {
				seen[i] = true
			}
		}
		for _, i := range slices.Sorted(maps.Keys(seen)) {
			c := a.uni.candidate(r, i)
			if c == nil || a.uni.mods.hides(c.id) || c.id.Arch != a.inv.Host.Arch || strings.HasPrefix(c.id.Name, t.base+"-") && c.id.Name != t.base+"-abi-stablelists" {
				continue
			}
			if _, ok := t.fits(c); !ok || pick != nil && !pick(c) {
				continue
			}
			if best == nil || cmp.Or(boolCompare(c.repo.Enabled, best.repo.Enabled), c.id.EVR.Compare(best.id.EVR)) > 0 {
				best = c
			}
		}
	}
	return best
}

// fits tells whether a module package goes with the kernel: whether the kernel
// is of a version that it asks for, and has the symbols that it requires. The
// comparison of symbols is nil where there is nothing to compare.
func (t *targetKernel) fits(c *candidate) (*SymbolResult, bool) {
	for _, r := range c.full().Requires {
		if !r.Versioned() || !strings.HasPrefix(r.Name, "kernel") || strings.Contains(r.Name, "(") {
			continue
		}
		known, met := false, false
		for _, p := range t.parts {
			for _, d := range append([]rpmver.Dep{{Name: p.id.Name, Flags: rpmver.Equal, EVR: p.id.EVR}}, p.provides...) {
				if d.Name == r.Name {
					known, met = true, met || r.Matches(d)
				}
			}
		}
		if known && !met {
			return nil, false
		}
	}
	s := t.fitness(c)
	return s, s == nil || len(s.Changed)+len(s.Missing) == 0
}

// supplierOf returns the repository of modules that a candidate is in, nil
// where it is AlmaLinux's.
func (a *assessor) supplierOf(c *candidate) *Supplier { return a.supplierByRepo(c.repo) }

func (a *assessor) supplierByRepo(r *TargetRepo) *Supplier {
	for i := range a.in.Suppliers {
		if s := &a.in.Suppliers[i]; &s.TargetRepo == r {
			return s
		}
	}
	return nil
}

// supplierByID finds a repository of modules, nil where the id is AlmaLinux's.
func (a *assessor) supplierByID(id string) *Supplier {
	for i := range a.in.Suppliers {
		if s := &a.in.Suppliers[i]; s.ID == id && s.Index != nil {
			return s
		}
	}
	return nil
}

// inRepo names a package with where it is to be had, and how, if that takes
// more than installing it.
func (a *assessor) inRepo(c *candidate) string {
	s := a.supplierOf(c)
	title := c.repo.ID
	if s != nil {
		title = s.Title
	}
	text := c.id.Name + " in " + title
	if first := a.enabling(c.repo); first != "" {
		return text + " (not enabled: " + first + ")"
	} else if !c.repo.Enabled {
		return text + " (not enabled: dnf --enablerepo=" + a.hostRepo(c.repo) + ")"
	}
	return text
}

// enabling is the command that makes the repository of a candidate known to the
// host, "" where it is, or will be with AlmaLinux's own repo files.
func (a *assessor) enabling(r *TargetRepo) string {
	if r.Enabled {
		return ""
	}
	s := a.supplierByRepo(r)
	if s == nil {
		for _, t := range a.cat.TargetRepos(a.in.Major, a.inv.Host.Arch) {
			if t.ID == r.ID && t.Package != "" && !a.installed(t.Package) {
				return "dnf install " + t.Package
			}
		}
		return ""
	}
	if len(s.Host) > 0 {
		return ""
	}
	if s.Package != "" && slices.ContainsFunc(a.uni.named(s.Package), func(c *candidate) bool { return c.repo.Enabled }) {
		return "dnf install " + s.Package
	}
	return s.Enable
}

// hostRepo is the id under which the host knows a repository that is off.
func (a *assessor) hostRepo(r *TargetRepo) string {
	if s := a.supplierByRepo(r); s != nil && len(s.Host) > 0 {
		return s.Host[0]
	}
	return r.ID
}

// askedSuppliers says who else was asked for a module, and who was not.
func (a *assessor) askedSuppliers() (asked, rest string) {
	var yes, no []string
	for i := range a.in.Suppliers {
		s := &a.in.Suppliers[i]
		switch {
		case s.Index != nil:
			yes = append(yes, s.Title)
		case s.Err != nil:
			no = append(no, fmt.Sprintf("%s could not be asked: %v", s.Title, s.Err))
		case s.Unasked != "":
			no = append(no, fmt.Sprintf("%s was not asked: %s", s.Title, s.Unasked))
		}
	}
	return strings.Join(yes, " nor "), strings.Join(no, "; ")
}

// installCommand is the command that brings packages of the repositories given
// by their ids, enabled first where they are not.
func (a *assessor) installCommand(packages []string, repos []*TargetRepo) string {
	var first, off []string
	for _, r := range repos {
		if r.Enabled {
			continue
		}
		if cmd := a.enabling(r); cmd != "" {
			first = append(first, cmd)
			if a.supplierByRepo(r) == nil {
				continue // its repo file enables it
			}
			continue
		}
		off = append(off, a.hostRepo(r))
	}
	cmd := "dnf install "
	slices.Sort(off)
	if off = slices.Compact(off); len(off) > 0 {
		cmd = "dnf --enablerepo=" + strings.Join(off, ",") + " install "
	}
	slices.Sort(first)
	names := make([]string, len(packages))
	for i, n := range packages {
		names[i] = shellWord(n)
	}
	return strings.Join(append(slices.Compact(first), cmd+strings.Join(names, " ")), " && ")
}

// repoByID finds a repository that a module's verdict names.
func (a *assessor) repoByID(id string) *TargetRepo {
	if s := a.supplierByID(id); s != nil {
		return &s.TargetRepo
	}
	for i := range a.in.Repos {
		if a.in.Repos[i].ID == id {
			return &a.in.Repos[i]
		}
	}
	return nil
}

// aboutSuppliers says what a user should know before taking a package from
// repositories that are not AlmaLinux's.
func (a *assessor) aboutSuppliers(repos []*TargetRepo, enforced bool) string {
	text := ""
	for _, r := range repos {
		s := a.supplierByRepo(r)
		if s == nil {
			continue
		}
		text += " " + s.Title + " is not AlmaLinux's"
		switch {
		case strings.HasPrefix(s.Signature, "good "):
			text += "; its metadata is signed by its own key."
		case s.Key:
			text += "; its metadata is not signed, dnf checks the package itself with its key."
		default:
			text += ", and no key of it is known to this check: nothing of it counts as verified. dnf checks the package with the key that comes with the repository."
		}
		if enforced {
			text += " The kernel demands signed modules: its certificate has to be enrolled (mokutil --import) before the reboot."
		}
	}
	return text
}
