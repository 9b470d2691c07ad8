package rpmver

import (
	"fmt"
	"strings"
)

// NEVRA identifies a package build: name, EVR and architecture.
type NEVRA struct {
	Name string
	EVR  EVR
	Arch string
}

// String returns "name-[epoch:]version-release.arch" without an epoch of 0;
// an empty release or arch is left out with its separator, as for the
// gpg-pubkey rows of the rpm database, which have no architecture.
func (n NEVRA) String() string {
	s := n.Name + "-" + n.EVR.String()
	if n.Arch != "" {
		s += "." + n.Arch
	}
	return s
}

// ParseNEVRA reads "name-[epoch:]version-release.arch" from its end: arch after
// the last dot, release after the last '-', version after the one before. The
// form "epoch:name-version-release.arch", which yum prints, is read too.
// Errors wrap ErrSyntax.
func ParseNEVRA(s string) (NEVRA, error) {
	bad := func(why string) (NEVRA, error) {
		return NEVRA{}, fmt.Errorf("cannot parse package %q: %s: %w", s, why, ErrSyntax)
	}
	rest, arch, ok := cutLast(s, '.')
	if !ok || arch == "" || strings.IndexByte(arch, '-') >= 0 {
		return bad("no architecture")
	}
	rest, release, ok := cutLast(rest, '-')
	if !ok || release == "" {
		return bad("no release")
	}
	name, ver, ok := cutLast(rest, '-')
	if !ok || ver == "" || name == "" {
		return bad("no name or version")
	}
	epoch, ver2, inVersion := strings.Cut(ver, ":")
	if inVersion {
		ver = ver2
	} else if e, n, ok := strings.Cut(name, ":"); ok {
		epoch, name = e, n
	} else {
		epoch = "0"
	}
	n, err := parseEpoch(epoch)
	if err != nil || epoch == "" {
		return bad("bad epoch")
	}
	if name == "" || ver == "" {
		return bad("no name or version")
	}
	return NEVRA{Name: name, EVR: EVR{n, ver, release}, Arch: arch}, nil
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
