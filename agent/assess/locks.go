package assess

import (
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// versionLock is one line of the versionlock plugin's list.
type versionLock struct {
	line    string
	pattern pattern // without the "!"
	name    string  // the part of the pattern that is the package's name, may be a glob
	not     bool    // "!": what fits is hidden, rather than all that does not
}

func parseLocks(inv *inventory.Inventory) []versionLock {
	var list []versionLock
	for _, line := range inv.DNF.Versionlock {
		text, not := strings.CutPrefix(line, "!")
		list = append(list, versionLock{line, newPattern(text, inv.Packages), nameOfPattern(text), not})
	}
	return list
}

func parseExcludes(inv *inventory.Inventory) []pattern {
	var list []pattern
	for _, text := range inv.DNF.Exclude {
		list = append(list, newPattern(text, inv.Packages))
	}
	return list
}

// nameOfPattern returns what is the name in name-[epoch:]version-release[.arch],
// name-[epoch:]version or a mere name, each possibly with globs.
func nameOfPattern(pattern string) string {
	if e, rest, ok := strings.Cut(pattern, ":"); ok && isNumber(e) {
		pattern = rest // yum's epoch:name-version-release
	}
	version := func(s string) bool { return s != "" && strings.ContainsRune("0123456789*?[", rune(s[0])) }
	if i := strings.LastIndexByte(pattern, '-'); i > 0 {
		if k := strings.LastIndexByte(pattern[:i], '-'); k > 0 && version(pattern[i+1:]) && version(pattern[k+1:i]) {
			return pattern[:k]
		}
		if version(pattern[i+1:]) {
			return pattern[:i]
		}
	}
	return pattern
}

// hidden tells why dnf does not see a package of a repository, "" if it does.
func (a *assessor) hidden(n rpmver.NEVRA) string {
	why, _ := a.hiddenBy(n)
	return why
}

// hiddenBy tells why dnf does not see a package of a repository, and the line
// that says so: an exclude, a lock of the name on other versions, or a lock
// against this version.
func (a *assessor) hiddenBy(n rpmver.NEVRA) (why, line string) {
	locked, fits := "", false
	for i := range a.locks {
		l := &a.locks[i]
		if l.not {
			if l.pattern.matches(n) {
				return "versionlock excludes " + l.pattern.text, l.line
			}
			continue
		}
		if !globs(l.name, n.Name) {
			continue
		}
		if fits = fits || l.pattern.matches(n); locked == "" {
			locked = l.line
		}
	}
	if locked != "" && !fits {
		return "versionlock holds " + locked, locked
	}
	for i := range a.excludes {
		if p := &a.excludes[i]; p.matches(n) {
			return "exclude=" + p.text + " hides it", p.text
		}
	}
	return "", ""
}
