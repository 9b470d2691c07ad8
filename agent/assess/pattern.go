package assess

import (
	"path"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// matchesPattern tells whether a package fits a pattern as dnf.conf(5) and the
// versionlock plugin have them: name-[epoch:]version-release.arch, name.arch,
// name, name-[epoch:]version-release or name-[epoch:]version, each part a glob
// of its own; or yum's epoch:name-version-release[.arch]. As each part is
// matched alone, "foo-0:1-1.el9.*" fits release 1.el9 and not 1.el9.alma.1.
func matchesPattern(pattern string, n rpmver.NEVRA) bool {
	if pattern == n.Name {
		return true
	}
	if !strings.ContainsAny(pattern, "*?[") && !strings.Contains(pattern, n.Name) {
		return false // the common case
	}
	epoch := ""
	if e, rest, ok := strings.Cut(pattern, ":"); ok && isNumber(e) {
		pattern, epoch = rest, e
	}
	rest, arch, hasArch := cutLast(pattern, '.')
	switch {
	case hasArch && globs(arch, n.Arch) && (matchesNEVR(rest, epoch, n) || globs(rest, n.Name)):
		return true
	case globs(pattern, n.Name) || matchesNEVR(pattern, epoch, n):
		return true
	}
	name, ev, ok := cutLast(pattern, '-')
	return ok && globs(name, n.Name) && matchesEV(ev, epoch, n)
}

func matchesNEVR(pattern, epoch string, n rpmver.NEVRA) bool {
	rest, release, ok := cutLast(pattern, '-')
	if !ok || !globs(release, n.EVR.Release) {
		return false
	}
	name, ev, ok := cutLast(rest, '-')
	return ok && globs(name, n.Name) && matchesEV(ev, epoch, n)
}

// matchesEV compares [epoch:]version; without an epoch any fits.
func matchesEV(ev, epoch string, n rpmver.NEVRA) bool {
	if e, v, ok := strings.Cut(ev, ":"); ok {
		epoch, ev = e, v
	}
	return globs(ev, n.EVR.Version) && (epoch == "" || globs(epoch, strconv.FormatUint(uint64(n.EVR.Epoch), 10)))
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i <= 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// globs matches as fnmatch(3) does.
func globs(pattern, s string) bool {
	if !strings.ContainsAny(pattern, "*?[\\") {
		return pattern == s
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), s)
	return ok && err == nil
}

// matchAny returns the first of the patterns that fits the package.
func matchAny(patterns []string, n rpmver.NEVRA) (string, bool) {
	for _, p := range patterns {
		if matchesPattern(p, n) {
			return p, true
		}
	}
	return "", false
}
