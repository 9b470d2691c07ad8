package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The verdicts on an interpreter.
const (
	RuntimeStays   = "stays"
	RuntimeGone    = "gone"
	RuntimeBefore  = "before" // not there today either
	RuntimeUnknown = "unknown"
)

// runtimes judges the interpreters that native modules are made for.
func (j *abiJudge) runtimes() {
	for _, r := range j.apps.Runtimes {
		res := RuntimeResult{Runtime: r}
		switch {
		case r.Dep != "":
			j.runtimeByDep(&res)
		case r.Package != "":
			j.runtimeByPackage(&res)
		case r.Kind == "java":
			res.Verdict, res.Reason = RuntimeUnknown, r.Version+" belongs to no package"
		default:
			res.Verdict, res.Reason = RuntimeUnknown, "the interpreter is not one of a package"
		}
		j.res.Runtimes = append(j.res.Runtimes, res)
	}
}

func (j *abiJudge) runtimeByDep(res *RuntimeResult) {
	want, err := rpmver.ParseDep(res.Dep)
	if err != nil {
		res.Verdict, res.Reason = RuntimeUnknown, "its dependency "+res.Dep+" cannot be read"
		return
	}
	for i := range j.a.closure.members {
		m := &j.a.closure.members[i]
		if slices.ContainsFunc(m.provides, func(d rpmver.Dep) bool { return d.Name == want.Name && want.Matches(d) }) {
			res.Verdict, res.Target = RuntimeStays, m.nevra.String()
			res.Reason = fmt.Sprintf("%s provides %s", m.nevra, res.Dep)
			return
		}
	}
	if res.Package == "" {
		res.Verdict, res.Reason = RuntimeBefore, "nothing provides "+res.Dep+" today either"
		return
	}
	res.Verdict, res.Reason = RuntimeGone, fmt.Sprintf("%s provides %s today, nothing does after the move", res.Package, res.Dep)
}

// runtimeByPackage compares the versions that matter to native modules: Perl's,
// PHP's and Ruby's minor release, Node's major one.
func (j *abiJudge) runtimeByPackage(res *RuntimeResult) {
	i, ok := j.byNEVRA[res.Package]
	if !ok {
		res.Verdict, res.Reason = RuntimeUnknown, res.Package+" is not installed"
		return
	}
	p := &j.a.judged[i]
	if p.stays() {
		res.Verdict, res.Target, res.Reason = RuntimeStays, res.Package, res.Package+" stays"
		return
	}
	if p.target == nil {
		res.Verdict, res.Reason = RuntimeGone, res.Package+" goes"
		return
	}
	res.Target = p.target.nevra().String()
	today, after := series(res.Kind, p.nevra.EVR.Version), series(res.Kind, p.target.nevra().EVR.Version)
	if today == after {
		res.Verdict, res.Reason = RuntimeStays, fmt.Sprintf("%s comes in its place, also of %s", res.Target, after)
		return
	}
	res.Verdict, res.Reason = RuntimeGone, fmt.Sprintf("%s comes in the place of %s: %s becomes %s", res.Target, res.Package, today, after)
}

func series(kind, version string) string {
	f := strings.Split(version, ".")
	n := 2
	if kind == "node" || kind == "java" {
		n = 1
	}
	return strings.Join(f[:min(n, len(f))], ".")
}

func runtimeName(r inventory.Runtime) string {
	return strings.TrimSpace(map[string]string{"python": "Python", "perl": "Perl", "php": "PHP", "ruby": "Ruby", "node": "Node", "java": "Java"}[r.Kind] + " " + r.Version)
}
