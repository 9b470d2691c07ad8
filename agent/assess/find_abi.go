package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

// findABI turns what was found on applications into findings: one for each
// library, version or symbol that is missing, however many programs miss it.
func (a *assessor) findABI(j *abiJudge) {
	if j == nil {
		return
	}
	a.findIncomplete(j)
	if j.res.Reason != "" {
		return
	}
	type key struct{ id, library, version string }
	groups := map[key][]*UnmetNeed{}
	var order []key
	for i := range j.res.Unmet {
		u := &j.res.Unmet[i]
		if u.told {
			continue
		}
		k := key{library: u.Library}
		switch {
		case u.State == NeedUnproven:
			k = key{id: idABIUnproven}
		case u.State == NeedBefore:
			k = key{id: idABIBefore, version: string(a.beforeSeverity(j, u))}
		case u.Kind == "library":
			k.id = idABILibrary
		case u.Kind == "version":
			k.id, k.version = idABIVersion, u.Version
		case u.Kind == "symbol":
			k.id = idABISymbol
		default:
			k.id = idABIChanged
		}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], u)
	}
	for _, k := range order {
		list := groups[k]
		switch k.id {
		case idABIUnproven:
			a.raise(Finding{
				ID: k.id, Severity: Info, Resources: needResources(list),
				Title:  fmt.Sprintf("%s of applications in private libraries cannot be judged by the metadata", plural(len(list), "need")),
				Detail: "Their packages do not announce these libraries: " + few(needNames(list)) + ".",
				Remedy: Remedy{Text: "have the packages themselves read", Command: "almamigrate check --deep"},
			})
		case idABIBefore:
			a.raise(Finding{
				ID: k.id, Severity: Severity(k.version), Resources: needResources(list),
				Title:  fmt.Sprintf("%s %s what is not there today either: %s", fileCount(list), verb(len(needPaths(list)), "needs", "need"), few(needNames(list))),
				Detail: "The move neither breaks nor repairs it: " + few(needPaths(list)) + ".",
				Remedy: Remedy{Text: "look whether it is in use", Command: "ldd " + shellWord(list[0].Path)},
			})
		default:
			a.raiseUnmet(k.id, list)
		}
	}
	a.findRuntimes(j)
	a.findABIDeep(j)
}

// beforeSeverity: a program that does not run is worth a warning, a plug-in
// for something that is not installed is not.
func (a *assessor) beforeSeverity(j *abiJudge, u *UnmetNeed) Severity {
	i, ok := slices.BinarySearchFunc(j.apps.Files, u.Path, func(f inventory.Application, p string) int { return cmp.Compare(f.Path, p) })
	if ok && j.apps.Files[i].Program && u.Kind != "interpreter" {
		return Warning
	}
	return Info
}

func needNames(list []*UnmetNeed) []string {
	var out []string
	for _, u := range list {
		out = append(out, u.what())
	}
	return out
}

func needPaths(list []*UnmetNeed) []string {
	var out []string
	for _, u := range list {
		out = append(out, u.Path)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func fileCount(list []*UnmetNeed) string {
	p := needPaths(list)
	if len(p) == 1 {
		return p[0]
	}
	return plural(len(p), "file")
}

// what names what is needed.
func (u *UnmetNeed) what() string {
	switch {
	case u.Symbol != "":
		return u.Symbol + " of " + u.Library
	case u.Version != "":
		return u.Version + " of " + u.Library
	}
	return u.Library
}

func needResources(list []*UnmetNeed) []Resource {
	var out []Resource
	for _, u := range list {
		detail := "needs " + u.what()
		if u.Symbol != "" || u.Kind == "interpreter" || u.Kind == "processor" {
			detail += ": " + u.Reason
		}
		if u.Package != "" {
			detail += "; of " + u.Package
		}
		if len(u.Use) > 0 {
			detail += "; " + strings.Join(u.Use, ", ")
		}
		if u.Since > 0 {
			detail += "; there since " + time.Unix(u.Since, 0).UTC().Format(time.DateOnly)
		}
		out = append(out, Resource{"file", u.Path, detail})
	}
	return out
}

func (a *assessor) raiseUnmet(id string, list []*UnmetNeed) {
	u := list[0]
	paths := needPaths(list)
	who := fileCount(list)
	need := verb(len(paths), "needs", "need")
	f := Finding{ID: id, Severity: Blocker, Resources: needResources(list)}
	why := u.Reason + "."
	switch id {
	case idABILibrary:
		f.Title = fmt.Sprintf("%s %s %s, which nothing would provide", who, need, u.Library)
		f.Detail = "The program would not start. "
	case idABIVersion:
		f.Title = fmt.Sprintf("%s %s %s of %s, which AlmaLinux's does not have", who, need, u.Version, u.Library)
		f.Detail = "The program would not start. "
	case idABISymbol:
		f.Title = fmt.Sprintf("%s %s %s, which AlmaLinux's %s does not have", who, verb(len(paths), "imports", "import"), few(symbolNames(list)), u.Library)
		f.Detail = "The program would not start, or stop when it comes there. "
		why = fmt.Sprintf("Read out of %s.", u.Target)
	default:
		f.Title = fmt.Sprintf("%s %s %s, which %s in AlmaLinux's %s", who, verb(len(paths), "imports", "import"), few(symbolNames(list)), verb(len(symbolNames(list)), "is another thing", "are other things"), u.Library)
		f.Detail = "The program would read or write what is not there. "
		why = strings.ToUpper(u.Reason[:1]) + u.Reason[1:] + fmt.Sprintf(" (%s).", u.Target)
	}
	f.Detail += why
	for _, p := range []string{u.Today, u.Target} {
		if p != "" {
			role := "has it today"
			if p == u.Target {
				role = "comes in its place"
			}
			f.Resources = append(f.Resources, Resource{"package", p, role})
		}
	}
	switch {
	case u.Remedy != "" && u.repoOff:
		f.Remedy = Remedy{Text: fmt.Sprintf("%s of %s has it: install it with the move", u.Remedy, u.Repo), Command: "dnf --enablerepo=" + shellWord(u.Repo) + " install " + shellWord(nameOf(u.Remedy))}
	case u.Remedy != "":
		f.Remedy = Remedy{Text: u.Remedy + " has it: install it before the move, or with it", Command: "dnf install " + shellWord(nameOf(u.Remedy))}
	case id == idABISymbol || id == idABIChanged:
		f.Remedy = Remedy{Text: "report it at https://bugs.almalinux.org, and get a build of the application for AlmaLinux"}
	default:
		f.Remedy = Remedy{Text: "get a build of the application for this release, or put the library beside it", Command: "ldd " + shellWord(u.Path)}
	}
	a.raise(f)
}

func symbolNames(list []*UnmetNeed) []string {
	var out []string
	for _, u := range list {
		out = append(out, u.Symbol)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *assessor) findRuntimes(j *abiJudge) {
	for i := range j.res.Runtimes {
		r := &j.res.Runtimes[i]
		if r.Modules == 0 || r.Verdict != RuntimeGone && r.Verdict != RuntimeBefore {
			continue
		}
		f := Finding{
			ID: idABIRuntime, Severity: Blocker,
			Title:  fmt.Sprintf("%s for %s outside of packages: %s goes", plural(r.Modules, "native module"), runtimeName(r.Runtime), runtimeName(r.Runtime)),
			Detail: "They are not found, or are refused, by an interpreter of another version: " + few(r.Examples) + ". " + strings.ToUpper(r.Reason[:1]) + r.Reason[1:] + ".",
			Remedy: Remedy{Text: "enable the stream or install the package of that version on AlmaLinux, or build the modules again after the move"},
		}
		if r.Verdict == RuntimeBefore {
			f.Severity = Warning
			f.Title = fmt.Sprintf("%s for %s, which is not there today either", plural(r.Modules, "native module"), runtimeName(r.Runtime))
			f.Remedy = Remedy{Text: "look whether they are in use"}
		}
		if stream := r.Stream; stream != "" && r.Verdict == RuntimeGone {
			f.Remedy.Command = "dnf module enable " + shellWord(stream)
		}
		for _, x := range r.Examples {
			f.Resources = append(f.Resources, Resource{"file", x, "made for " + runtimeName(r.Runtime)})
		}
		if r.Package != "" {
			f.Resources = append(f.Resources, Resource{"package", r.Package, "the interpreter today"})
		}
		a.raise(f)
	}
}

func (a *assessor) findABIDeep(j *abiJudge) {
	if j.facts == nil || len(j.facts.Failed) == 0 {
		return
	}
	f := Finding{ID: idABIDeep, Severity: Warning}
	var names []string
	for _, s := range j.facts.Failed {
		names = append(names, s.What)
		f.Resources = append(f.Resources, Resource{"package", s.What, s.Reason})
	}
	f.Title = fmt.Sprintf("%s with libraries of applications could not be read: %s", plural(len(names), "package"), few(names))
	f.Detail = "Their symbols were not compared: " + j.facts.Failed[0].Reason + "."
	f.Remedy = Remedy{Text: "check again with the mirror at hand, or name another", Command: "almamigrate check --deep --mirror URL"}
	if j.facts.Forged {
		f.Severity = Blocker
		f.Title = fmt.Sprintf("%s not genuine, or damaged: %s", verb(len(names), "a package is", "packages are"), few(names))
	}
	a.raise(f)
}

func (a *assessor) findIncomplete(j *abiJudge) {
	apps := j.apps
	if len(apps.Skipped) == 0 && apps.CutShort == "" {
		return
	}
	f := Finding{ID: idABIIncomplete, Severity: Info}
	var what []string
	for _, s := range apps.Skipped {
		f.Resources = append(f.Resources, Resource{"file", s.What, s.Reason})
		what = append(what, s.What+" ("+s.Reason+")")
	}
	f.Title = fmt.Sprintf("%s not searched for applications: %s", verb(len(what), "a place was", fmt.Sprintf("%d sorts of places were", len(what))), fewSymbols(what))
	f.Detail = "What is there was not judged. Searched were " + strings.Join(apps.Folders, ", ") + ", module folders of interpreters and servers, packages of others, units and running processes."
	f.Remedy = Remedy{Text: "name further folders", Command: "almamigrate check --abi --abi-folder DIR"}
	if apps.CutShort != "" {
		f.Severity = Warning
		f.Title = "the search for applications was cut short: " + apps.CutShort
	}
	a.raise(f)
}
