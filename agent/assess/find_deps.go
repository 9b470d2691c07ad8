package assess

import (
	"fmt"
	"slices"
	"strings"
)

// wholeMirror is the way out where AlmaLinux's own packages do not fit
// together, or where the host lives on the package in question.
var wholeMirror = Remedy{Text: "wait until the mirror is whole, or name another", Command: "almamigrate check --mirror URL"}

// noteDependencies writes into the reasons of the packages that stay whether
// their dependencies still hold.
func (a *assessor) noteDependencies() {
	broken := map[int]int{}
	for _, b := range a.closure.broken {
		if m := &a.closure.members[b.by]; m.inst != nil && !b.before {
			broken[m.judged]++
		}
	}
	for i := range a.judged {
		j := &a.judged[i]
		switch j.res.Verdict {
		case ThirdParty, Local, Missing:
		default:
			continue
		}
		all := a.closure.reqCount[i]
		switch n := broken[i]; {
		case n > 0:
			j.res.Reason += fmt.Sprintf("; %d of %s would break", n, plural(all, "dependency"))
		case all > 0:
			j.res.Reason += "; its dependencies hold"
		}
	}
}

// findDependencies turns what the closure found into findings, one for each
// package whose requirements break, and one for each conflict.
func (a *assessor) findDependencies() {
	type key struct {
		by   string
		id   string
		repo string
	}
	groups := map[key][]breakage{}
	var order []key
	var before, theirs []breakage
	for _, b := range a.closure.broken {
		k := key{by: a.closure.members[b.by].nevra.String(), id: idDepBroken}
		switch {
		case b.before:
			before = append(before, b)
			continue
		case b.offRepo != "":
			k.id, k.repo = idDepRepoDisabled, b.offRepo
		case a.closure.members[b.by].inst == nil:
			theirs = append(theirs, b)
			continue
		}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], b)
	}
	for _, k := range order {
		a.raiseBroken(k.id, k.repo, groups[k])
	}
	if len(theirs) > 0 {
		res, names, what := a.brokenTogether(theirs)
		a.raise(Finding{
			ID: idDepBroken, Severity: Blocker, Resources: res,
			Title:  fmt.Sprintf("%s of AlmaLinux %s what nothing would provide: %s", plural(len(names), "package"), verb(len(names), "requires", "require"), few(what)),
			Detail: "Packages that come require it, and neither they nor those that stay provide it: " + few(names) + ".",
			Remedy: wholeMirror,
		})
	}
	if len(before) > 0 {
		res, names, what := a.brokenTogether(before)
		a.raise(Finding{
			ID: idDepBrokenBefore, Severity: Warning, Resources: res,
			Title:  fmt.Sprintf("%s %s broken already: nothing provides %s", plural(len(names), "package"), verb(len(names), "is", "are"), few(what)),
			Detail: "It is so today; the move does not depend on it: " + few(names) + ".",
			Remedy: Remedy{Text: "repair or remove them", Command: "dnf check"},
		})
	}
	for _, c := range a.closure.clashes {
		m, o := &a.closure.members[c.by], &a.closure.members[c.with]
		f := Finding{
			ID: idDepConflict, Severity: Blocker,
			Resources: []Resource{{"package", m.nevra.String(), a.role(m) + "; " + c.what}, {"package", o.nevra.String(), a.role(o)}},
			Title:     fmt.Sprintf("%s conflicts with %s", m.nevra, o.nevra),
			Detail:    fmt.Sprintf("%s %s (%s), and %s %s.", m.nevra, c.what, a.role(m), o.nevra, a.role(o)),
			Remedy:    Remedy{Text: "remove the one that you need less before the move"},
		}
		if s := m; m.inst != nil || o.inst != nil {
			if m.inst == nil {
				s = o
			}
			if f.Remedy.Command = a.removal(s.nevra.Name); f.Remedy.Command == "" {
				f.Remedy = wholeMirror
			}
		}
		a.raise(f)
	}
	if n := len(a.closure.incoming); n > 0 {
		var res []Resource
		var names []string
		var size int64
		for _, in := range a.closure.incoming {
			res = append(res, Resource{"package", in.NEVRA, fmt.Sprintf("from %s, for %s (%s)", in.Repo, in.RequiredBy, in.Requirement)})
			names = append(names, in.NEVRA)
			size += in.InstalledSize
		}
		a.raise(Finding{
			ID: idDepComesAlong, Severity: Info, Resources: res,
			Title:  fmt.Sprintf("%s %s along: %s", plural(n, "new package"), verb(n, "comes", "come"), few(names)),
			Detail: fmt.Sprintf("They are required by packages that come or stay, and take %d MiB.", (size+1<<20-1)>>20),
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
}

// role says what a member of the resulting set is.
func (a *assessor) role(m *member) string {
	switch {
	case m.inst != nil:
		j := &a.judged[m.judged]
		if j.held != "" {
			return "held back"
		}
		return fmt.Sprintf("stays (%s)", j.res.Verdict)
	case m.judged < 0:
		return "comes along from " + m.repo
	}
	return "comes from " + m.repo
}

// brokenTogether makes one finding's parts of several breakages.
func (a *assessor) brokenTogether(list []breakage) (res []Resource, names, reqs []string) {
	for _, b := range list {
		m := &a.closure.members[b.by]
		res = append(res, Resource{"package", m.nevra.String(), a.role(m) + "; requires " + b.req})
		names = append(names, m.nevra.String())
		reqs = append(reqs, b.req)
	}
	slices.Sort(names)
	return res, slices.Compact(names), reqs
}

// raiseBroken is for one package that stays and whose requirements break.
func (a *assessor) raiseBroken(id, repo string, list []breakage) {
	m := &a.closure.members[list[0].by]
	name := m.nevra.String()
	f := Finding{ID: id, Severity: Blocker}
	var reqs, details []string
	for _, b := range list {
		reqs = append(reqs, b.req)
		f.Resources = append(f.Resources, Resource{"package", name, a.role(m) + "; requires " + b.req})
		switch {
		case b.offRepo != "":
			details = append(details, fmt.Sprintf("%s is in %s of %s.", b.req, b.offPkg, b.offRepo))
			f.Resources = append(f.Resources, Resource{"package", b.offPkg, "in " + b.offRepo + ", which would be off"})
		case b.provider >= 0:
			p := &a.judged[b.provider]
			after := "which leaves"
			if p.target != nil {
				after = fmt.Sprintf("which becomes %s, and that does not", p.target.nevra())
			}
			details = append(details, fmt.Sprintf("%s provides %s today, %s.", p.res.NEVRA, b.req, after))
			f.Resources = append(f.Resources, Resource{"package", p.res.NEVRA, "provides it today"})
		default:
			details = append(details, fmt.Sprintf("Nothing in the enabled AlmaLinux repositories provides %s.", b.req))
		}
	}
	what := few(reqs)
	switch id {
	case idDepRepoDisabled:
		f.Title = fmt.Sprintf("%s requires %s, which only %s has", name, what, repo)
		f.Remedy = Remedy{Text: fmt.Sprintf("enable what maps to %s on the host and check again", repo), Command: "dnf config-manager --set-enabled " + shellWord(repo)}
	default:
		f.Title = fmt.Sprintf("%s requires %s, which nothing would provide", name, what)
		f.Remedy = Remedy{Text: "remove it before the move, or wait for a version of its vendor that fits", Command: a.removal(m.nevra.Name)}
		if f.Remedy.Command == "" {
			f.Remedy = wholeMirror
		}
	}
	f.Detail = strings.Join(details, " ")
	a.raise(f)
}
