package assess

import (
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// versionLock is one line of the versionlock plugin's list.
type versionLock struct {
	line    string
	pattern string // without the "!"
	name    string // the part of the pattern that is the package's name, may be a glob
	not     bool   // "!": what fits is hidden, rather than all that does not
}

func parseLocks(lines []string) []versionLock {
	var list []versionLock
	for _, line := range lines {
		pattern, not := strings.CutPrefix(line, "!")
		list = append(list, versionLock{line, pattern, nameOfPattern(pattern), not})
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
			if matchesPattern(l.pattern, n) {
				return "versionlock excludes " + l.pattern, l.line
			}
			continue
		}
		if !globs(l.name, n.Name) {
			continue
		}
		if fits = fits || matchesPattern(l.pattern, n); locked == "" {
			locked = l.line
		}
	}
	if locked != "" && !fits {
		return "versionlock holds " + locked, locked
	}
	if p, ok := matchAny(a.inv.DNF.Exclude, n); ok {
		return "exclude=" + p + " hides it", p
	}
	return "", ""
}
