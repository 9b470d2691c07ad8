package assess

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
)

// findKernelModules turns the verdicts on modules into findings.
func (a *assessor) findKernelModules(j *kernelJudge) {
	if j == nil || j.k.Reason != "" || len(j.modules) == 0 || a.unread {
		return
	}
	if j.t == nil {
		a.raise(Finding{
			ID: idKmodNoKernel, Severity: Warning, Resources: []Resource{{"package", "kernel-core", ""}},
			Title:  "there is no AlmaLinux kernel to judge the modules against",
			Detail: "The enabled repositories have no kernel-core for " + a.inv.Host.Arch + ". The host would go on with the kernel it has, without updates.",
			Remedy: Remedy{Text: "name a whole AlmaLinux mirror", Command: "almamigrate check --mirror https://repo.almalinux.org/almalinux"},
		})
		return
	}
	a.findDeep(j)
	dropped := a.findHardware(j)
	a.findMissing(j, dropped)
	a.findMoved(j)
	a.findForeign(j)
	a.findUnknownModules(j)
	a.findRebuilt(j)
	a.findForced(j)
	a.findRetpoline(j)
	a.findTaint(j)
	a.findOtherFile(j)
	a.findSecureBoot(j)
}

// essential tells whether the host may not come back without a module.
func (j *kernelJudge) essential(r *ModuleResult) bool {
	return j.k.Modules[j.byName[r.Name]].Essential()
}

// onlyInitramfs tells whether a module is there for no other reason than that
// the initramfs carries it: the next one is made anew.
func onlyInitramfs(r *ModuleResult) bool {
	return !r.Loaded && len(r.Roles) == 1 && r.Roles[0] == inventory.RoleInitramfs
}

// group is the modules of one finding, split by whether the host may not come
// back without them.
type moduleGroup struct {
	res   []Resource
	names []string
}

func (g *moduleGroup) add(r *ModuleResult, detail string) {
	if len(r.Why) > 0 {
		detail += "; " + strings.Join(r.Why, ", ")
	}
	g.res = append(g.res, Resource{"module", r.Name, detail})
	g.names = append(g.names, r.Name)
}

func (g *moduleGroup) list() string { return fewSymbols(g.names) }

// split raises one finding for the essential modules and one for the others.
func (j *kernelJudge) split(pick func(*ModuleResult) bool, raise func(g *moduleGroup, essential bool)) {
	var groups [2]moduleGroup
	for i := range j.modules {
		r := &j.modules[i]
		if onlyInitramfs(r) || !pick(r) {
			continue
		}
		n := 1
		if j.essential(r) {
			n = 0
		}
		groups[n].add(r, r.Reason)
	}
	for n := range groups {
		if len(groups[n].names) > 0 {
			raise(&groups[n], n == 0)
		}
	}
}

const essentialText = "The root disk, /boot or a network card hangs on it: the host may not come back. "

func severityOf(essential bool) Severity {
	if essential {
		return Blocker
	}
	return Warning
}

func (j *kernelJudge) kernelName() string {
	return strings.TrimPrefix(j.t.image.id.String(), j.t.base+"-core-")
}

func (a *assessor) findMissing(j *kernelJudge, dropped map[string]bool) {
	merged := moduleGroup{}
	j.split(func(r *ModuleResult) bool {
		if r.Verdict != ModuleMissing || dropped[r.Name] {
			return false
		}
		if j.unused(&j.k.Modules[j.byName[r.Name]]) {
			merged.add(r, r.Reason)
			return false
		}
		return true
	}, func(g *moduleGroup, essential bool) {
		f := Finding{
			ID: idKmodMissing, Severity: severityOf(essential), Resources: g.res,
			Title:  fmt.Sprintf("AlmaLinux's kernel does not have %s: %s", plural(len(g.names), "module"), g.list()),
			Detail: "Neither the kernel " + j.kernelName() + " nor another package of the repositories has a module of that name, built in or as a file.",
			Remedy: Remedy{Text: "find out what needs it; look for a kmod package in ELRepo or the CentOS Kmods SIG, or stop using it", Command: "modinfo " + shellWord(g.names[0])},
		}
		switch asked, rest := a.askedSuppliers(); {
		case rest != "":
			f.Detail += " " + sentence(rest)
		case asked != "":
			f.Detail += " Nor has " + asked + "."
			f.Remedy.Text = "find out what needs it; ask its supplier for a build for " + j.t.release + ", or stop using it"
		}
		if essential {
			f.Detail = essentialText + f.Detail
		}
		a.raise(f)
	})
	if n := len(merged.names); n > 0 {
		a.raise(Finding{
			ID: idKmodMerged, Severity: Info, Resources: merged.res,
			Title:  fmt.Sprintf("%s by that name under AlmaLinux's kernel: %s", verb(n, "a helper module is not there", "helper modules are not there"), merged.list()),
			Detail: "Only other modules use " + verb(n, "it", "them") + " here, and these come with AlmaLinux's kernel together with what they need.",
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
}

func (a *assessor) findMoved(j *kernelJudge) {
	packages := map[string]bool{}
	j.split(func(r *ModuleResult) bool { return r.Verdict == ModuleMoved }, func(g *moduleGroup, essential bool) {
		clear(packages)
		off := map[string]bool{}
		for _, res := range g.res {
			r := &j.modules[j.byName[res.Name]]
			packages[nameOf(r.Target)] = true
			if r.RepoOff {
				off[r.Repo] = true
			}
		}
		cmd := "dnf install " + strings.Join(sortedKeys(packages), " ")
		if len(off) > 0 {
			cmd = "dnf --enablerepo=" + strings.Join(sortedKeys(off), ",") + " install " + strings.Join(sortedKeys(packages), " ")
		}
		f := Finding{
			ID: idKmodMoved, Severity: severityOf(essential), Resources: g.res,
			Title:  fmt.Sprintf("%s %s in a kernel package that does not come by itself: %s", plural(len(g.names), "module"), verb(len(g.names), "is", "are"), g.list()),
			Detail: "AlmaLinux's kernel has it in " + strings.Join(sortedKeys(packages), ", ") + ", which the host does not have and nothing requires.",
			Remedy: Remedy{Text: "install it together with the kernel, before the reboot", Command: cmd},
		}
		if essential {
			f.Detail = essentialText + f.Detail
		}
		a.raise(f)
	})
}

// findForeign tells of out-of-tree modules that break, and of those that fit.
func (a *assessor) findForeign(j *kernelJudge) {
	j.split(func(r *ModuleResult) bool { return r.Verdict == ModuleBreaks && r.Rebuilt == "" }, func(g *moduleGroup, essential bool) {
		// Where the kernel has a driver of its own, the host comes back with that.
		alone := slices.ContainsFunc(g.names, func(n string) bool { _, _, ok := j.t.found(n); return !ok })
		f := Finding{
			ID: idKmodBreaks, Severity: severityOf(essential && alone), Resources: g.res,
			Title:  fmt.Sprintf("AlmaLinux's kernel would refuse %s: %s", plural(len(g.names), "out-of-tree module"), g.list()),
			Detail: j.modules[j.byName[g.names[0]]].Reason + ".",
			Remedy: Remedy{Text: "get a build of it for the kernel " + j.t.release + " from whoever supplies it, and install it before the reboot"},
		}
		f.Detail = sentence(f.Detail)
		lost := slices.ContainsFunc(g.names, func(n string) bool { return j.modules[j.byName[n]].Target == "" })
		if _, rest := a.askedSuppliers(); rest != "" && lost && alone {
			f.Detail += " " + sentence(rest)
		}
		if essential && alone {
			f.Detail = essentialText + f.Detail
		}
		if c := j.modules[j.byName[g.names[0]]]; c.Target != "" && !strings.HasPrefix(nameOf(c.Target), j.t.base) {
			if r := a.repoByID(c.Repo); r != nil {
				f.Remedy = Remedy{Text: "try the package that has a newer build", Command: a.installCommand([]string{nameOf(c.Target)}, []*TargetRepo{r})}
			}
		}
		a.raise(f)
	})
	j.split(func(r *ModuleResult) bool { return r.Verdict == ModuleSupplied }, func(g *moduleGroup, essential bool) {
		var names []string
		var repos []*TargetRepo
		for _, n := range g.names {
			r := &j.modules[j.byName[n]]
			// What is installed and fits stays, or is replaced by itself.
			if r.broke || !a.installed(nameOf(r.Target)) {
				names = append(names, nameOf(r.Target))
				if at := a.repoByID(r.Repo); at != nil && !slices.Contains(repos, at) {
					repos = append(repos, at)
				}
			}
		}
		if len(names) == 0 {
			return
		}
		slices.Sort(names)
		names = slices.Compact(names)
		f := Finding{
			ID: idKmodSupplied, Severity: severityOf(essential), Resources: g.res,
			Title:  fmt.Sprintf("%s %s from a package of its own: %s", plural(len(g.names), "module"), verb(len(g.names), "comes", "come"), g.list()),
			Detail: "AlmaLinux's kernel does not have it in a form that fits; " + strings.Join(names, ", ") + " does.",
			Remedy: Remedy{Text: "install it together with the kernel, before the reboot", Command: a.installCommand(names, repos)},
		}
		f.Detail += a.aboutSuppliers(repos, j.res.Enforced)
		if essential {
			f.Detail = essentialText + f.Detail
		}
		a.raise(f)
	})
	var fit, loose moduleGroup
	for i := range j.modules {
		r := &j.modules[i]
		if r.Verdict != ModuleCompatible {
			continue
		}
		text := r.Reason
		if r.Owner != "" {
			text += ", from " + r.Owner
		}
		if r.weak {
			loose.add(r, text)
		} else {
			fit.add(r, text)
		}
	}
	if n := len(fit.names); n > 0 {
		s := j.modules[j.byName[fit.names[0]]].Symbols
		a.raise(Finding{
			ID: idKmodCompatible, Severity: Info, Resources: fit.res,
			Title:  fmt.Sprintf("%s %s AlmaLinux's kernel: %s", plural(n, "out-of-tree module"), verb(n, "fits", "fit"), fit.list()),
			Detail: fmt.Sprintf("Every imported symbol is there with the same checksum (%s: %d of %d).", fit.names[0], s.Met, s.Total),
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
	if n := len(loose.names); n > 0 {
		m := &j.modules[j.byName[loose.names[0]]]
		a.raise(Finding{
			ID: idKmodNotLinked, Severity: Warning, Resources: loose.res,
			Title:  fmt.Sprintf("nobody carries %s over to the new kernel: %s", plural(n, "out-of-tree module"), loose.list()),
			Detail: verb(n, "It would fit, but its file lies", "They would fit, but their files lie") + " in the folder of the kernel that runs now, and neither a kmod package nor DKMS nor akmods puts " + verb(n, "it", "them") + " into that of the next one.",
			Remedy: Remedy{Text: "after the move link it into the new kernel's tree, before the reboot", Command: "echo " + shellWord(m.File) + " | weak-modules --add-modules"},
		})
	}
}

func (a *assessor) findUnknownModules(j *kernelJudge) {
	if j.t.evidence == EvidenceNone {
		names := moduleGroup{}
		for i := range j.modules {
			if j.modules[i].Verdict == ModuleUnknown && !onlyInitramfs(&j.modules[i]) {
				names.add(&j.modules[i], j.modules[i].Reason)
			}
		}
		if len(names.names) > 0 {
			a.raise(Finding{
				ID: idKmodUnknown, Severity: Warning, Resources: names.res,
				Title:  fmt.Sprintf("whether AlmaLinux's kernel has the host's %s is not known", plural(len(names.names), "module")),
				Detail: "The metadata of " + j.t.image.id.String() + " does not name its modules.",
				Remedy: Remedy{Text: "have the kernel packages fetched and read", Command: "almamigrate check --deep"},
			})
		}
		return
	}
	var g moduleGroup
	for i := range j.modules {
		r := &j.modules[i]
		if r.Verdict == ModuleUnknown && r.Rebuilt == "" && !onlyInitramfs(r) {
			g.add(r, r.Reason)
		}
	}
	if n := len(g.names); n > 0 {
		f := Finding{
			ID: idKmodUnknown, Severity: Warning, Resources: g.res,
			Title:  fmt.Sprintf("nothing tells whether %s %s under AlmaLinux's kernel: %s", plural(n, "module"), verb(n, "works", "work"), g.list()),
			Detail: sentence(j.modules[j.byName[g.names[0]]].Reason),
			Remedy: Remedy{Text: "look what it is for, and ask its supplier for a build for " + j.t.release, Command: "modinfo " + shellWord(g.names[0])},
		}
		readable := slices.ContainsFunc(g.names, func(n string) bool {
			f := j.k.Modules[j.byName[n]].Foreign
			return f == nil || f.Problem == ""
		})
		if j.t.evidence != EvidencePackages && readable {
			f.Remedy = Remedy{Text: "have the kernel packages fetched and read", Command: "almamigrate check --deep"}
		}
		a.raise(f)
	}
}

// byShell finds what a shell has still to fill in: a variable, a command.
var byShell = regexp.MustCompile("\\$[A-Za-z_{(]|`")

// findRebuilt tells of what DKMS and akmods build, and what that needs.
func (a *assessor) findRebuilt(j *kernelJudge) {
	if len(j.k.Sources) == 0 {
		return
	}
	installed := map[string]bool{}
	for i := range a.inv.Packages {
		installed[a.inv.Packages[i].Name] = true
	}
	var lack []string
	devel := j.t.base + "-devel"
	have := false
	for _, c := range a.uni.named(devel) {
		have = have || c.id.EVR == j.t.image.id.EVR && c.repo.Enabled
	}
	if !have {
		lack = append(lack, fmt.Sprintf("%s-%s is in no enabled repository", devel, j.t.image.id.EVR))
	} else if !installed[devel] {
		lack = append(lack, devel+" is not installed")
	}
	for _, tool := range []string{"gcc", "make"} {
		if !installed[tool] {
			lack = append(lack, tool+" is not installed")
		}
	}
	var res []Resource
	var names []string
	for i := range j.k.Sources {
		s := &j.k.Sources[i]
		text := "built for " + strings.Join(s.Kernels, ", ")
		if len(s.Kernels) == 0 {
			text = "built for no kernel yet"
		}
		if s.Problem != "" {
			text += "; " + s.Problem
			lack = append(lack, s.Name+": "+s.Problem)
		}
		if !s.Automatic {
			text += "; not built by itself when a kernel is installed"
			lack = append(lack, s.Name+" is not built by itself (AUTOINSTALL)")
		}
		if s.OnlyKernel != "" {
			text += "; only for kernels like " + s.OnlyKernel
			// An expression that Go does not understand says nothing, nor does one that a shell has still to fill in.
			if re, err := regexp.Compile(s.OnlyKernel); err == nil && !byShell.MatchString(s.OnlyKernel) && !re.MatchString(j.t.release) {
				lack = append(lack, fmt.Sprintf("%s is built for kernels like %s only, and not for %s", s.Name, s.OnlyKernel, j.t.release))
			}
		}
		res = append(res, Resource{"module", s.Name, strings.TrimSpace(s.Kind + " " + s.Version + ": " + text)})
		names = append(names, s.Name)
	}
	f := Finding{
		ID: idKmodRebuilt, Severity: Info, Resources: res,
		Title:  fmt.Sprintf("%s built anew for AlmaLinux's kernel: %s", verb(len(names), "a module is", "modules are"), fewSymbols(names)),
		Detail: "What the build needs is there: " + devel + " of the same version, gcc and make. Whether the sources compile with this kernel shows only when they are built.",
		Remedy: Remedy{Text: "after the move, before the reboot, see that they were built", Command: "dkms status"},
	}
	if len(lack) > 0 {
		f.Severity = Warning
		f.Title = fmt.Sprintf("%s could not be built anew for AlmaLinux's kernel: %s", verb(len(names), "a module", "modules"), fewSymbols(names))
		f.Detail = "The build is short of something: " + strings.Join(lack, "; ") + "."
		if slices.ContainsFunc(j.modules, func(r ModuleResult) bool {
			return r.Rebuilt != "" && j.essential(&r) && (r.Verdict == ModuleBreaks || r.Verdict == ModuleMissing || r.Verdict == ModuleUnknown)
		}) {
			f.Severity = Blocker
			f.Detail = essentialText + f.Detail
		}
		f.Remedy = Remedy{Text: "install what the build needs together with the kernel", Command: fmt.Sprintf("dnf install %s-%s gcc make", devel, j.t.image.id.EVR)}
	}
	a.raise(f)
}

func (a *assessor) findForced(j *kernelJudge) {
	var g moduleGroup
	for i := range j.modules {
		if strings.Contains(j.k.Modules[i].Taint, "F") {
			g.add(&j.modules[i], j.modules[i].Reason)
		}
	}
	if n := len(g.names); n > 0 {
		a.raise(Finding{
			ID: idKmodForced, Severity: Warning, Resources: g.res,
			Title:  fmt.Sprintf("%s %s loaded by force: %s", plural(n, "module"), verb(n, "was", "were"), g.list()),
			Detail: "Its version check was overridden: it was not built for the running kernel. Under another kernel the same command may crash the host, and where signatures are demanded it fails.",
			Remedy: Remedy{Text: "find what loads it, and get a build for " + j.t.release, Command: "grep -rs " + shellWord(g.names[0]) + " /etc/modprobe.d /etc/modules-load.d /etc/rc.d /etc/systemd/system"},
		})
	}
}

// findRetpoline tells of out-of-tree modules that would be loaded and weaken
// the kernel's protection.
func (a *assessor) findRetpoline(j *kernelJudge) {
	var g moduleGroup
	for i := range j.modules {
		r, f := &j.modules[i], j.k.Modules[i].Foreign
		if f != nil && f.NoRetpoline && f.Problem == "" && (r.Verdict == ModuleCompatible || r.Verdict == ModuleUnknown) {
			g.add(r, "built without retpolines")
		}
	}
	if n := len(g.names); n > 0 {
		a.raise(Finding{
			ID: idKmodRetpoline, Severity: Info, Resources: g.res,
			Title:  fmt.Sprintf("%s %s built without protection against Spectre v2: %s", plural(n, "out-of-tree module"), verb(n, "is", "are"), g.list()),
			Detail: "Its compiler did not make retpolines. A kernel that rests on them calls itself vulnerable as soon as it has loaded such a module.",
			Remedy: Remedy{Text: "ask its supplier for a newer build", Command: "cat /sys/devices/system/cpu/vulnerabilities/spectre_v2"},
		})
	}
}

// trouble are the flags of a kernel that is not well: M, B, D, L.
const trouble = 1<<4 | 1<<5 | 1<<7 | 1<<14

// findTaint explains what the kernel says of itself, without what the loaded
// modules say: that is told with them.
func (a *assessor) findTaint(j *kernelJudge) {
	var bad, rest []Resource
	for _, f := range kmod.ExplainTaint(j.k.Tainted) {
		r := Resource{"host", fmt.Sprintf("taint %c", f.Letter), f.Meaning}
		if f.Letter == 0 {
			r.Name = fmt.Sprintf("taint bit %d", f.Bit)
		}
		switch {
		case 1<<f.Bit&uint64(trouble) != 0:
			bad = append(bad, r)
		case f.Letter != 0 && slices.ContainsFunc(j.k.Modules, func(m inventory.KernelModule) bool { return strings.IndexByte(m.Taint, f.Letter) >= 0 }):
		default:
			rest = append(rest, r)
		}
	}
	if len(bad) > 0 {
		a.raise(Finding{
			ID: idKmodTainted, Severity: Warning, Resources: append(bad, rest...),
			Title:  "the running kernel has had trouble since it started: " + bad[0].Detail,
			Detail: "It says so in /proc/sys/kernel/tainted. What is wrong now may stop the move half way, and would be blamed on it.",
			Remedy: Remedy{Text: "look into the kernel's log, then restart the host before the move", Command: "journalctl -k -p err"},
		})
	} else if len(rest) > 0 {
		a.raise(Finding{
			ID: idKmodTainted, Severity: Info, Resources: rest,
			Title:  "the running kernel is tainted by what no loaded module explains: " + rest[0].Detail,
			Detail: "It says so in /proc/sys/kernel/tainted. A module that was unloaded since is not among those that were judged.",
			Remedy: Remedy{Text: "look into the kernel's log for what it was", Command: "journalctl -k | grep -i taint"},
		})
	}
}

// findOtherFile tells of modules whose file is not what was loaded: the next boot
// loads something that has not run yet.
func (a *assessor) findOtherFile(j *kernelJudge) {
	var g moduleGroup
	for i := range j.modules {
		m := &j.k.Modules[i]
		switch {
		case m.LoadedSource != "" && m.FileSource != "":
			if m.LoadedSource != m.FileSource {
				g.add(&j.modules[i], fmt.Sprintf("loaded: srcversion %s; %s: %s", m.LoadedSource, m.File, m.FileSource))
			}
		case m.LoadedVersion != "" && m.Foreign != nil && m.Foreign.Version != "" && m.LoadedVersion != m.Foreign.Version:
			g.add(&j.modules[i], fmt.Sprintf("loaded: version %s; %s: %s", m.LoadedVersion, m.File, m.Foreign.Version))
		}
	}
	if n := len(g.names); n > 0 {
		a.raise(Finding{
			ID: idKmodOtherFile, Severity: Warning, Resources: g.res,
			Title:  fmt.Sprintf("%s %s loaded from another file than the one that is there: %s", plural(n, "module"), verb(n, "was", "were"), g.list()),
			Detail: "The sources of what runs and of the file differ: the file was replaced since, or an older copy is in the initramfs. The verdict is on the file.",
			Remedy: Remedy{Text: "restart the host before the move, so that what is judged is what works", Command: "modinfo -F srcversion " + shellWord(g.names[0]) + "; cat /sys/module/" + shellWord(g.names[0]) + "/srcversion"},
		})
	}
}

// findDeep tells why --deep gave nothing.
func (a *assessor) findDeep(j *kernelJudge) {
	d := a.in.Deep
	if d == nil || d.Err == nil {
		return
	}
	f := Finding{
		ID: idKmodDeep, Severity: Warning, Resources: []Resource{{"package", j.t.image.id.String(), d.Err.Error()}},
		Title:  "the kernel packages could not be read",
		Detail: "The verdicts on modules rest on the repositories' metadata: " + d.Err.Error() + ".",
		Remedy: Remedy{Text: "check network and mirror, then try again", Command: "almamigrate check --deep"},
	}
	if d.Forged {
		f.Severity = Blocker
		f.Title = "a kernel package is not signed as AlmaLinux signs"
		f.Detail = "It is damaged or forged: " + d.Err.Error() + "."
		f.Remedy = Remedy{Text: "use another mirror, and tell this one's owner", Command: "almamigrate check --deep --mirror https://repo.almalinux.org/almalinux"}
	}
	a.raise(f)
}

// nameOf cuts a NEVRA to its name.
func nameOf(nevra string) string {
	s := nevra
	for range 2 {
		if i := strings.LastIndexByte(s, '-'); i > 0 {
			s = s[:i]
		}
	}
	return s
}
