package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// judged is one installed package with what was found out about it.
type judged struct {
	p        *inventory.Package
	nevra    rpmver.NEVRA
	res      PackageResult
	target   *candidate   // what AlmaLinux has in its place
	also     []*candidate // further packages that replace it
	leaves   bool         // the installed package is gone after the move
	held     string       // why dnf would leave it alone though there is a target: a lock or an exclude
	branding bool         // replaced or dropped by the catalogue
	obsolete bool         // replaced by an Obsoletes
	dropped  bool         // taken out with nothing in its place
	shadowed []string     // streams that have the name but are not active
	group    int          // index of the newest package of its installonly group, or -1
}

// moves tells whether the move changes this row to its target.
func (j *judged) moves() bool {
	return j.target != nil && j.target.repo.Enabled && j.held == "" && j.res.Verdict != Same
}

// stays tells whether the installed package is still there after the move.
func (j *judged) stays() bool {
	if j.leaves {
		return false
	}
	return !j.moves() || j.group >= 0
}

// rebuilt tells whether AlmaLinux's build of the very same version comes in the
// place of the installed one. dnf's distro-sync reinstalls what is of the same
// NEVRA but not the same build; what counts then are AlmaLinux's dependencies.
func (a *assessor) rebuilt(j *judged) bool {
	return j.res.Verdict == Same && !j.leaves && j.group < 0 && j.target.repo.Enabled && a.kind(j.res.Origin) != originAlmaLinux && a.hidden(j.target.nevra()) == ""
}

// judge gives every installed package its verdict.
func (a *assessor) judge() {
	groups := a.installOnlyGroups()
	a.judged = make([]judged, 0, len(a.inv.Packages))
	for i := range a.inv.Packages {
		p := &a.inv.Packages[i]
		j := judged{p: p, nevra: p.NEVRA(), group: -1}
		if g, ok := groups[p.Name+"."+p.Arch]; ok && len(g) > 1 {
			j.group = g[len(g)-1]
		}
		j.res = PackageResult{
			Name: p.Name, NEVRA: j.nevra.String(), Arch: p.Arch, Installed: p.InstallTime,
			Origin: a.origin(p), Stream: moduleOf(p.ModuleLabel),
		}
		a.judgeOne(&j)
		if j.target != nil {
			j.res.Target = j.target.target(j.res.Verdict)
		}
		a.judged = append(a.judged, j)
	}
	for i := range a.judged {
		if j := &a.judged[i]; j.group >= 0 && j.group != i {
			a.judgeBeside(j, &a.judged[j.group])
		}
	}
}

// judgeBeside gives an older installed kernel the verdict of the newest one:
// the group is one decision, and the older ones stay beside it.
func (a *assessor) judgeBeside(j, newest *judged) {
	j.res.Verdict, j.res.Target, j.res.Risk = newest.res.Verdict, newest.res.Target, newest.res.Risk
	j.target, j.leaves, j.dropped, j.branding = newest.target, newest.leaves, newest.dropped, newest.branding
	j.res.Reason = fmt.Sprintf("several versions are installed side by side and judged as one; the newest, %s, decides: %s", newest.res.NEVRA, newest.res.Reason)
}

func (a *assessor) judgeOne(j *judged) {
	if a.judgeBranding(j) {
		return
	}
	list := a.candidates(j)
	seen := slices.DeleteFunc(slices.Clone(list), func(c *candidate) bool { return a.hidden(c.nevra()) != "" })
	best := a.uni.best(seen, j.p.Arch, true)
	if best == nil {
		best = a.uni.best(list, j.p.Arch, true)
	}
	if best != nil {
		if ob := a.obsoleters(best.nevra()); len(ob) > 0 {
			a.setObsoleted(j, ob)
			return
		}
		a.setCounterpart(j, best)
		return
	}
	if ob := a.obsoleters(j.nevra); len(ob) > 0 {
		a.setObsoleted(j, ob)
		return
	}
	if off := a.uni.best(list, j.p.Arch, false); off != nil {
		a.setCounterpart(j, off)
		j.res.Reason += fmt.Sprintf("; but only in %s, which would be off: it stays as it is", off.repo.ID)
		return
	}
	a.setStays(j)
}

// obsoleters returns what takes the place of n by an Obsoletes: those that dnf
// sees, or where there is none, those that it would see but for the
// administrator's excludes and locks.
func (a *assessor) obsoleters(n rpmver.NEVRA) []*candidate {
	all := a.uni.obsoleters(n)
	seen := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return a.hidden(c.nevra()) != "" })
	if len(seen) > 0 {
		return seen
	}
	return all
}

// candidates returns the AlmaLinux packages that the installed one is compared
// with: those of its module stream when it is modular, else those that dnf sees.
func (a *assessor) candidates(j *judged) []*candidate {
	visible := a.uni.named(j.p.Name)
	if j.p.ModuleLabel != "" {
		name, stream := splitStream(j.res.Stream)
		want := name + ":" + a.uni.mods.mapped(stream)
		in := slices.DeleteFunc(slices.Clone(a.uni.all(j.p.Name)), func(c *candidate) bool { return c.stream != want })
		if len(in) > 0 {
			return in
		}
		if a.uni.mods.has(name, a.uni.mods.mapped(stream)) || a.uni.mods.enabledOnHost(name) == "" {
			return visible
		}
		// The stream does not exist in AlmaLinux; dnf keeps what it knows of it
		// and lets it hide the packages outside.
		return nil
	}
	if len(visible) == 0 {
		for _, c := range a.uni.all(j.p.Name) {
			if c.stream != "" && !slices.Contains(j.shadowed, c.stream) {
				j.shadowed = append(j.shadowed, c.stream)
			}
		}
		slices.Sort(j.shadowed)
	}
	return visible
}

// judgeBranding handles the packages that are the source distribution itself.
func (a *assessor) judgeBranding(j *judged) bool {
	if a.inv.Host.Distro == inventory.AlmaLinux && a.inv.Host.State == inventory.StateAlmaLinux {
		return false
	}
	rep, ok := a.cat.Branding(string(a.distro), a.inv.Host.Major, j.p.Name)
	if !ok {
		return false
	}
	if rep.OnlyIfMissing && a.uni.best(a.uni.named(j.p.Name), j.p.Arch, true) != nil {
		return false
	}
	var to []string
	for _, name := range rep.To {
		if c := a.uni.best(a.uni.named(name), j.p.Arch, true); c != nil {
			if j.target == nil {
				j.target = c
			} else {
				j.also = append(j.also, c)
			}
			to = append(to, c.nevra().String())
		} else {
			to = append(to, name+" (not in the repositories read)")
		}
	}
	if len(rep.To) == 0 {
		j.dropped = true
		j.res.Reason = "taken out, nothing comes in its place"
	} else {
		j.res.Reason = "replaced by " + strings.Join(to, ", ")
	}
	if rep.Why != "" {
		j.res.Reason += ": " + rep.Why
	}
	j.res.Verdict, j.branding, j.leaves = Replaced, true, true
	return true
}

func (a *assessor) setObsoleted(j *judged, by []*candidate) {
	j.target, j.also, j.obsolete = by[0], by[1:], true
	j.res.Verdict = Replaced
	var names []string
	for _, c := range by {
		names = append(names, fmt.Sprintf("%s of %s", c.nevra(), c.repo.ID))
	}
	j.res.Reason = "obsoleted by " + strings.Join(names, " and ")
	a.hold(j)
	j.leaves = j.held == ""
}

// setCounterpart compares versions with the package of the same name.
func (a *assessor) setCounterpart(j *judged, c *candidate) {
	j.target = c
	what := "AlmaLinux's build"
	switch d := c.nevra().EVR.Compare(j.nevra.EVR); {
	case d == 0:
		j.res.Verdict, j.res.Reason = Same, "the same version in "+c.repo.ID
		if j.res.Origin.Owner != ownerAlmaLinux {
			j.res.Reason += ", " + what
		}
	case d > 0:
		j.res.Verdict = Newer
		j.res.Reason = fmt.Sprintf("%s has %s", c.repo.ID, c.nevra().EVR)
		if strings.Contains(c.nevra().EVR.Release, ".alma") && strings.HasPrefix(c.nevra().EVR.Release, strings.TrimSuffix(j.nevra.EVR.Release, ".")) &&
			c.nevra().EVR.Version == j.nevra.EVR.Version {
			j.res.Reason += ", the same version rebuilt with AlmaLinux's changes"
		}
	default:
		j.res.Verdict = Older
		j.res.Reason = fmt.Sprintf("%s has only %s", c.repo.ID, c.nevra().EVR)
		switch {
		case j.res.Origin.Owner == ownerAlmaLinux:
			j.res.Reason += ": the installed one is AlmaLinux's own, so the repository read is behind"
		case a.inv.Host.Distro == inventory.CentOSStream:
			j.res.Reason += ": CentOS Stream is ahead of the release"
		}
		a.noteRisk(j, c)
		if j.group >= 0 {
			j.res.Reason += "; the installed one can stay beside it, and the boot loader's default decides"
		}
	}
	if c.nevra().Arch != j.p.Arch {
		j.res.Reason += fmt.Sprintf(" (%s becomes %s)", j.p.Arch, c.nevra().Arch)
	}
	if k := a.kind(j.res.Origin); k == originForeign || k == originUnsigned {
		j.res.Reason += fmt.Sprintf("; the installed one is %s, which distro-sync does not heed", a.signer(j.res.Origin))
	}
	if c.stream != "" && j.res.Stream == "" {
		j.res.Stream = c.stream
	}
	a.hold(j)
}

// noteRisk notes what is known to break. Where only the release goes back, the
// format is most likely the same: a blocker becomes a warning, and a mere
// warning is not worth one.
func (a *assessor) noteRisk(j *judged, c *candidate) {
	why, sev, ok := a.cat.DowngradeRisk(j.p.Name)
	if !ok {
		return
	}
	severity := Severity(sev)
	if c.id.EVR.Epoch == j.nevra.EVR.Epoch && c.id.EVR.Version == j.nevra.EVR.Version {
		if severity != Blocker {
			return
		}
		severity = Warning
	}
	j.res.Risk = why
	a.risky = append(a.risky, risk{len(a.judged), severity})
}

// hold notes a version lock or an exclude that keeps dnf from using the target.
func (a *assessor) hold(j *judged) {
	if j.target == nil || j.res.Verdict == Same {
		return
	}
	why, pattern := a.hiddenBy(j.target.nevra())
	if why == "" && j.obsolete {
		// The plugin hides what obsoletes a locked version, too.
		for _, l := range a.locks {
			if !l.not && l.name != l.pattern.text && l.pattern.matches(j.nevra) {
				why, pattern = "versionlock holds "+l.line, l.line
				break
			}
		}
	}
	for i := range a.excludes {
		// dnf leaves an installed package alone, too, that an exclude fits.
		if p := &a.excludes[i]; why == "" && p.matches(j.nevra) {
			why, pattern = "exclude="+p.text+" hides it", p.text
		}
	}
	if why == "" {
		return
	}
	j.held = why
	if strings.HasPrefix(why, "exclude=") {
		a.excluded = append(a.excluded, heldPackage{len(a.judged), pattern})
	} else {
		a.locked = append(a.locked, heldPackage{len(a.judged), pattern})
	}
	j.res.Reason += "; stays as it is, because " + j.held
}

// setStays is for packages that AlmaLinux has nothing for.
func (a *assessor) setStays(j *judged) {
	o := j.res.Origin
	switch a.kind(o) {
	case originDistro, originAlmaLinux:
		j.res.Verdict = Missing
		j.res.Reason = "AlmaLinux has no package of this name"
		if a.kind(o) == originAlmaLinux {
			j.res.Reason = "AlmaLinux's own, but no longer in its repositories"
		}
		if archs := a.otherArchs(j); archs != "" {
			j.res.Reason = fmt.Sprintf("AlmaLinux has it for %s only, not for %s", archs, j.p.Arch)
		} else if len(j.shadowed) > 0 {
			j.res.Reason = "AlmaLinux has it only in " + strings.Join(j.shadowed, ", ") + ", which is not enabled"
		} else if n, s := splitStream(j.res.Stream); n != "" && j.p.ModuleLabel != "" && !a.uni.mods.has(n, a.uni.mods.mapped(s)) {
			j.res.Reason = "AlmaLinux does not have the module stream " + j.res.Stream
		}
		if a.unread {
			j.res.Reason = "not found, but not every needed repository could be read"
		} else {
			j.res.Reason += "; it stays, without updates"
		}
	case originUnsigned:
		if o.Repo == "" {
			j.res.Verdict = Local
			j.res.Reason = "unsigned and in no configured repository; stays"
			break
		}
		j.res.Verdict = ThirdParty
		j.res.Reason = "unsigned; stays"
	default:
		j.res.Verdict = ThirdParty
		j.res.Reason = a.signer(o) + "; stays"
	}
	if j.res.Verdict == ThirdParty && o.Repo != "" {
		j.res.Reason += "; most likely from repository " + o.Repo
	}
}

func (a *assessor) otherArchs(j *judged) string {
	var archs []string
	for _, c := range a.uni.named(j.p.Name) {
		if ar := c.nevra().Arch; !slices.Contains(archs, ar) {
			archs = append(archs, ar)
		}
	}
	slices.Sort(archs)
	return strings.Join(archs, ", ")
}

// installOnlyGroups returns, by name and architecture, the rows of packages of
// which dnf keeps several versions, oldest first.
func (a *assessor) installOnlyGroups() map[string][]int {
	groups := map[string][]int{}
	for i := range a.inv.Packages {
		p := &a.inv.Packages[i]
		if a.installOnly(p) {
			k := p.Name + "." + p.Arch
			groups[k] = append(groups[k], i)
		}
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(x, y int) int { return a.inv.Packages[x].EVR.Compare(a.inv.Packages[y].EVR) })
	}
	return groups
}

// dnfInstallOnly are dnf's built-in installonlypkgs (dnf.conf(5)). They name
// provides, so that kernel-core is one by its installonlypkg(kernel).
var dnfInstallOnly = map[string]bool{
	"kernel": true, "kernel-PAE": true, "installonlypkg(kernel)": true, "installonlypkg(kernel-module)": true,
	"installonlypkg(vm)": true, "multiversion(kernel)": true,
}

func (a *assessor) installOnly(p *inventory.Package) bool {
	if strings.HasPrefix(p.Name, "kernel") {
		switch strings.TrimPrefix(p.Name, "kernel") {
		case "", "-PAE", "-core", "-modules", "-modules-core", "-modules-extra", "-modules-internal", "-modules-partner", "-devel",
			"-debug", "-debug-core", "-debug-modules", "-debug-modules-core", "-debug-modules-extra", "-debug-devel",
			"-rt", "-rt-core", "-rt-modules", "-rt-modules-core", "-rt-modules-extra", "-rt-devel", "-rt-kvm",
			"-64k", "-64k-core", "-64k-modules", "-64k-modules-core", "-64k-modules-extra", "-64k-devel",
			"-uek", "-uek-core", "-uek-modules", "-uek-modules-core", "-uek-modules-extra", "-uek-devel",
			"-plus", "-plus-core", "-plus-modules", "-plus-devel", "-lt", "-ml", "-zfcpdump", "-zfcpdump-core", "-zfcpdump-modules":
			return true
		}
	}
	for i := range p.Provides {
		if dnfInstallOnly[p.Provides[i].Name] {
			return true
		}
	}
	for _, pat := range a.inv.DNF.InstallOnly {
		if pat == p.Name || matchesPattern(pat, p.NEVRA()) {
			return true
		}
		for i := range p.Provides {
			if p.Provides[i].Name == pat {
				return true
			}
		}
	}
	return false
}
