package rpmver

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	version "github.com/knqyf263/go-rpm-version"
)

// ErrSyntax is wrapped by every parse error of this package.
var ErrSyntax = errors.New("bad syntax")

// EVR is epoch, version and release. An absent epoch is 0, as rpm has it; an
// absent release is "" and is told apart from any given one.
type EVR struct {
	Epoch   uint32
	Version string
	Release string
}

// ParseEVR reads "[epoch:]version[-release]". The release starts after the
// last '-', as in rpm. An epoch that is not a decimal number below 2^32 and an
// empty version are errors that wrap ErrSyntax.
func ParseEVR(s string) (EVR, error) {
	var e EVR
	rest := s
	if epoch, after, ok := strings.Cut(s, ":"); ok {
		// rpm takes ":1.0" as epoch 0.
		if epoch != "" {
			n, err := parseEpoch(epoch)
			if err != nil {
				return EVR{}, fmt.Errorf("cannot parse version %q: bad epoch %q: %w", s, epoch, ErrSyntax)
			}
			e.Epoch = n
		}
		rest = after
	}
	e.Version = rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		e.Version, e.Release = rest[:i], rest[i+1:]
	}
	if e.Version == "" {
		return EVR{}, fmt.Errorf("cannot parse version %q: no version: %w", s, ErrSyntax)
	}
	return e, nil
}

func parseEpoch(s string) (uint32, error) {
	// strconv takes a sign and, with other bases, underscores: digits only here.
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrSyntax
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// IsZero reports whether no version is given at all.
func (e EVR) IsZero() bool { return e == EVR{} }

// String returns "[epoch:]version[-release]" without an epoch of 0.
func (e EVR) String() string {
	if e.Epoch == 0 && e.Release == "" {
		return e.Version
	}
	var b strings.Builder
	b.Grow(len(e.Version) + len(e.Release) + 12)
	if e.Epoch != 0 {
		b.WriteString(strconv.FormatUint(uint64(e.Epoch), 10))
		b.WriteByte(':')
	}
	b.WriteString(e.Version)
	if e.Release != "" {
		b.WriteByte('-')
		b.WriteString(e.Release)
	}
	return b.String()
}

// Compare orders two EVRs as rpm orders two packages of one name: epoch, then
// version, then release. The result is -1, 0 or 1. An absent release sorts
// before any given one; a dependency does not compare that way, see
// Dep.Matches.
func (e EVR) Compare(o EVR) int {
	if c := e.compareEV(o); c != 0 {
		return c
	}
	return CompareSegment(e.Release, o.Release)
}

// compareEV compares epoch and version only.
func (e EVR) compareEV(o EVR) int {
	switch {
	case e.Epoch < o.Epoch:
		return -1
	case e.Epoch > o.Epoch:
		return 1
	}
	return CompareSegment(e.Version, o.Version)
}

// CompareSegment orders two bare version or two bare release strings by rpm's
// segment rules (rpmvercmp). The result is -1, 0 or 1. Equal strings cost
// nothing.
func CompareSegment(a, b string) int {
	if a == b {
		return 0
	}
	if !hasMark(a) && !hasMark(b) {
		return compareUnmarked(a, b)
	}
	return bare(a).Compare(bare(b))
}

// hasMark tells whether the string has one of the two characters that order
// otherwise than digits, letters and what is between them.
func hasMark(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '~' || s[i] == '^' {
			return true
		}
	}
	return false
}

// compareUnmarked does what the comparison module does with strings without
// '~' and '^', which nearly all are, without its regular expression: runs of
// digits and runs of letters are compared one by one, whatever separates them.
func compareUnmarked(a, b string) int {
	for {
		x, digits, restA := segment(a)
		y, digitsB, restB := segment(b)
		switch {
		case x == "" && y == "":
			return 0
		case x == "":
			return -1
		case y == "":
			return 1
		case digits != digitsB:
			if digits {
				return 1
			}
			return -1
		case digits:
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
		a, b = restA, restB
	}
}

// segment returns the first run of digits or of letters; "" is none.
func segment(s string) (run string, digits bool, rest string) {
	i := 0
	for i < len(s) && !isDigit(s[i]) && !isLetter(s[i]) {
		i++
	}
	if i == len(s) {
		return "", false, ""
	}
	is := isLetter
	if isDigit(s[i]) {
		is, digits = isDigit, true
	}
	j := i + 1
	for j < len(s) && is(s[j]) {
		j++
	}
	return s[i:j], digits, s[j:]
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isLetter(c byte) bool { return c|0x20-'a' < 26 }

// bare wraps one segment string for the comparison module. The "0:" keeps a
// colon inside the string from being read as the end of an epoch, and '-',
// which would start a release there, is replaced by another separator: rpm
// treats all separators alike.
func bare(s string) version.Version {
	if strings.IndexByte(s, '-') >= 0 {
		s = strings.ReplaceAll(s, "-", ".")
	}
	return version.NewVersion("0:" + s)
}
