package assess

import (
	"path"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// form is one way to read a pattern. dnf tries them in this order and takes
// the first that fits any package it knows.
type form int

const (
	formNEVRA form = iota // name-[epoch:]version-release.arch, or yum's epoch:name-version-release.arch
	formNA                // name.arch
	formName
	formNEVR
	formNEV
	forms

	formAny = forms
)

// pattern is an entry of exclude= (dnf.conf(5)) or of the versionlock plugin's
// list, with the form that it is read in.
type pattern struct {
	text string
	form form
}

// newPattern decides how to read the text: "foo-1-1.el9.*" is release 1.el9 of
// any architecture where that is installed; where it is not, it may also be any
// release that begins so.
func newPattern(text string, installed []inventory.Package) pattern {
	for f := range forms {
		for i := range installed {
			if matchesForm(text, f, installed[i].NEVRA()) {
				return pattern{text, f}
			}
		}
	}
	return pattern{text, formAny}
}

func (p *pattern) matches(n rpmver.NEVRA) bool {
	if p.form != formAny {
		return matchesForm(p.text, p.form, n)
	}
	return matchesPattern(p.text, n)
}

// matchesPattern tells whether a package fits a pattern in any form.
func matchesPattern(text string, n rpmver.NEVRA) bool {
	for f := range forms {
		if matchesForm(text, f, n) {
			return true
		}
	}
	return false
}

// matchesForm reads the pattern in one form, each part of it as a glob of its own.
func matchesForm(text string, f form, n rpmver.NEVRA) bool {
	if f == formName {
		return globs(text, n.Name)
	}
	if !strings.ContainsAny(text, "*?[\\") && !strings.Contains(text, n.Name) {
		return false // the common case
	}
	if f == formNEVRA || f == formNA {
		rest, arch, ok := cutLast(text, '.')
		if !ok || !globs(arch, n.Arch) {
			return false
		}
		if f == formNA {
			return globs(rest, n.Name)
		}
		text = rest
	}
	epoch := ""
	if e, rest, ok := strings.Cut(text, ":"); ok && isNumber(e) {
		text, epoch = rest, e
	}
	if f != formNEV {
		rest, release, ok := cutLast(text, '-')
		if !ok || !globs(release, n.EVR.Release) {
			return false
		}
		text = rest
	}
	name, version, ok := cutLast(text, '-')
	if !ok || !globs(name, n.Name) {
		return false
	}
	if e, v, ok := strings.Cut(version, ":"); ok {
		epoch, version = e, v
	}
	// without an epoch any fits
	return globs(version, n.EVR.Version) && (epoch == "" || globs(epoch, strconv.FormatUint(uint64(n.EVR.Epoch), 10)))
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
