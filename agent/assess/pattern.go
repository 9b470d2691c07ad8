package assess

import (
	"path"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// matchesPattern tells whether a package fits a pattern as dnf.conf(5) and the
// versionlock plugin have them: a glob over the name, name.arch, name-version,
// name-version-release[.arch] with or without an epoch, or yum's epoch:name-...
func matchesPattern(pattern string, n rpmver.NEVRA) bool {
	if !strings.ContainsAny(pattern, "*?[") {
		// The common case without building any of the forms.
		if pattern == n.Name {
			return true
		}
		if !strings.HasPrefix(pattern, n.Name) && !strings.Contains(pattern, ":"+n.Name) {
			return false
		}
	}
	vr := n.EVR.Version + "-" + n.EVR.Release
	e := strconv.FormatUint(uint64(n.EVR.Epoch), 10)
	for _, form := range [...]string{
		n.Name,
		n.Name + "." + n.Arch,
		n.Name + "-" + n.EVR.Version,
		n.Name + "-" + vr,
		n.Name + "-" + vr + "." + n.Arch,
		n.Name + "-" + e + ":" + n.EVR.Version,
		n.Name + "-" + e + ":" + vr,
		n.Name + "-" + e + ":" + vr + "." + n.Arch,
		e + ":" + n.Name + "-" + vr,
		e + ":" + n.Name + "-" + vr + "." + n.Arch,
	} {
		if ok, err := path.Match(pattern, form); ok && err == nil {
			return true
		}
	}
	return false
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
