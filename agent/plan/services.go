package plan

import (
	"regexp"
	"slices"
	"strings"
)

// Scriptlets are what an installed package runs when it leaves.
type Scriptlets struct {
	Before string // %preun
	After  string // %postun
}

// A scriptlet names the units that it acts on behind one of these words:
// systemctl's own, those of systemd-update-helper (EL9 and later), and service's.
var (
	restarts = regexp.MustCompile(`\b(?:restart|condrestart|reload)\b`) // and try-restart, mark-restart-system-units, ...
	stops    = regexp.MustCompile(`\b(?:stop|disable|remove-system-units)\b`)
	stopsNow = regexp.MustCompile(`\bstop\b|--now\b|\bremove-system-units\b`)
	ofUsers  = regexp.MustCompile(`-user-units\b|--user\b|--global\b`)
	unitName = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]+\.(?:service|socket|timer|path|mount|target)$`)
	bySysV   = regexp.MustCompile(`\bservice\s+([A-Za-z0-9_.@-]+)\s+[a-z-]*(?:restart|reload|stop)\b`)
)

// services finds the units that the scriptlets of leaving packages restart,
// where another build of the package comes, and stop, where none does. What a
// scriptlet does in other ways is not found; whether a unit runs is not asked,
// as that changes until the plan is carried out.
func (p *Plan) services(of func(nevra string) (Scriptlets, bool)) {
	if of == nil {
		return
	}
	again := map[string]bool{}
	for _, c := range p.Coming {
		again[c.Name] = true
	}
	for _, l := range p.Leaving {
		s, ok := of(l.NEVRA)
		switch {
		case !ok:
		case again[l.Name]:
			p.Services = append(p.Services, unitsIn(s.After, restarts, restarts)...)
		default:
			gone := unitsIn(s.Before, stops, stopsNow)
			p.Services = append(p.Services, gone...)
			p.ServicesStopped = append(p.ServicesStopped, gone...)
		}
	}
	slices.Sort(p.Services)
	p.Services = slices.Compact(p.Services)
	slices.Sort(p.ServicesStopped)
	p.ServicesStopped = slices.Compact(p.ServicesStopped)
}

// unitsIn returns the units named behind a verb, in the commands of a shell
// script that have one and do it at once.
func unitsIn(script string, verb, now *regexp.Regexp) (out []string) {
	script = strings.ReplaceAll(script, "\\\n", " ")
	for _, cmd := range strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune("\n;|&()", r) }) {
		if strings.HasPrefix(strings.TrimSpace(cmd), "#") {
			continue
		}
		at := verb.FindStringIndex(cmd)
		if at == nil || !now.MatchString(cmd) || ofUsers.MatchString(cmd) {
			continue
		}
		if m := bySysV.FindStringSubmatch(cmd); m != nil {
			out = append(out, m[1]+".service")
			continue
		}
		if !strings.Contains(cmd, "systemctl") && !strings.Contains(cmd, "systemd-update-helper") {
			continue
		}
		for _, w := range strings.Fields(cmd[at[0]:]) {
			if w = strings.Trim(w, `"'`); unitName.MatchString(w) {
				out = append(out, w)
			}
		}
	}
	return out
}
