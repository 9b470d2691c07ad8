package rpmver

import (
	"fmt"
	"strings"
)

// Sense is rpm's dependency flag word, with rpm's bits (RPMSENSE_*). Only the
// three comparison bits decide a match; the others are kept as given.
type Sense uint32

// The flag bits this project looks at; rpm/rpmds.h has them all.
const (
	Less    Sense = 1 << 1
	Greater Sense = 1 << 2
	Equal   Sense = 1 << 3

	Posttrans     Sense = 1 << 5
	PreReq        Sense = 1 << 6 // dependency needed before any scriptlet runs
	Pretrans      Sense = 1 << 7
	Interp        Sense = 1 << 8 // interpreter of a scriptlet
	ScriptPre     Sense = 1 << 9
	ScriptPost    Sense = 1 << 10
	ScriptPreun   Sense = 1 << 11
	ScriptPostun  Sense = 1 << 12
	FindRequires  Sense = 1 << 14 // generated, not written by the packager
	FindProvides  Sense = 1 << 15
	TriggerIn     Sense = 1 << 16
	TriggerUn     Sense = 1 << 17
	TriggerPostun Sense = 1 << 18
	MissingOK     Sense = 1 << 19 // a weak dependency of old packages
	Rpmlib        Sense = 1 << 24 // rpmlib(...): a feature of rpm itself
	TriggerPrein  Sense = 1 << 25
	Keyring       Sense = 1 << 26
	Config        Sense = 1 << 28

	compareMask = Less | Greater | Equal
)

// Comparison returns the comparison bits alone.
func (s Sense) Comparison() Sense { return s & compareMask }

// String returns the comparison as written in a spec file: "", "<", "<=", "=",
// ">=", ">" ("<>" for the unequal that old packages carry).
func (s Sense) String() string {
	var b [3]byte
	n := 0
	for _, x := range [...]struct {
		bit Sense
		c   byte
	}{{Less, '<'}, {Greater, '>'}, {Equal, '='}} {
		if s&x.bit != 0 {
			b[n] = x.c
			n++
		}
	}
	return string(b[:n])
}

// ParseSense reads a comparison operator: "<", "<=", "=", "==", ">=", ">".
func ParseSense(op string) (Sense, bool) {
	switch op {
	case "<":
		return Less, true
	case "<=", "=<":
		return Less | Equal, true
	case "=", "==":
		return Equal, true
	case ">=", "=>":
		return Greater | Equal, true
	case ">":
		return Greater, true
	}
	return 0, false
}

// Dep is one entry of a package's Requires, Provides, Conflicts, Obsoletes or
// weak dependencies. A Name that starts with '(' is a rich dependency: see
// IsRich and ParseRich.
type Dep struct {
	Name  string
	Flags Sense
	EVR   EVR
}

// ParseDep reads "name", "name op evr" with op as in ParseSense. Errors wrap
// ErrSyntax. Rich dependencies are for ParseRich.
func ParseDep(s string) (Dep, error) {
	f := strings.Fields(s)
	switch len(f) {
	case 1:
		return Dep{Name: f[0]}, nil
	case 3:
		op, ok := ParseSense(f[1])
		if !ok {
			return Dep{}, fmt.Errorf("cannot parse dependency %q: bad operator %q: %w", s, f[1], ErrSyntax)
		}
		evr, err := ParseEVR(f[2])
		if err != nil {
			return Dep{}, fmt.Errorf("cannot parse dependency %q: %w", s, err)
		}
		return Dep{f[0], op, evr}, nil
	}
	return Dep{}, fmt.Errorf("cannot parse dependency %q: %w", s, ErrSyntax)
}

// IsRich reports whether the name is a rich (boolean) dependency.
func (d Dep) IsRich() bool { return strings.HasPrefix(d.Name, "(") }

// Versioned reports whether the dependency restricts versions at all. An epoch
// alone does: "kmod-3c59x < 1:" in the CentOS Kmods SIG's Obsoletes.
func (d Dep) Versioned() bool { return d.Flags&compareMask != 0 && d.EVR != EVR{} }

// String returns the dependency as in a spec file: "foo >= 1:2-3".
func (d Dep) String() string {
	if !d.Versioned() {
		return d.Name
	}
	return d.Name + " " + d.Flags.String() + " " + d.EVR.String()
}

// Matches reports whether the range of d and the range of prov overlap, as
// rpm's transaction check decides it (measured with rpm 4.18, see the tests):
//
//   - names must be equal, byte for byte;
//   - where one side has no version, they overlap: "Provides: foo" does meet
//     "Requires: foo >= 2", and does collide with "Conflicts: foo < 2";
//   - an absent epoch is 0;
//   - releases are compared only where both sides have one. Where only one
//     has, equal versions overlap if the side without a release says "=":
//     "foo = 1.0-5" meets "foo = 1.0" and "foo <= 1.0", not "foo < 1.0".
//
// The relation is symmetric.
func (d Dep) Matches(prov Dep) bool {
	if d.Name != prov.Name {
		return false
	}
	if !d.Versioned() || !prov.Versioned() {
		return true
	}
	return overlap(d.Flags, d.EVR, prov.Flags, prov.EVR)
}

// MatchesEVR reports whether a package of version evr, and the right name, is
// within the range of d: the rule for Obsoletes, which look at package names
// only.
func (d Dep) MatchesEVR(evr EVR) bool {
	return !d.Versioned() || overlap(d.Flags, d.EVR, Equal, evr)
}

func overlap(af Sense, a EVR, bf Sense, b EVR) bool {
	c := a.compareEV(b)
	if c == 0 {
		switch {
		case a.Release != "" && b.Release != "":
			c = CompareSegment(a.Release, b.Release)
		case a.Release != "" && bf&Equal != 0, b.Release != "" && af&Equal != 0:
			return true
		}
	}
	switch {
	case c < 0:
		return af&Greater != 0 || bf&Less != 0
	case c > 0:
		return af&Less != 0 || bf&Greater != 0
	}
	return af&bf&compareMask != 0
}
