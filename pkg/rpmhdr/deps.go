package rpmhdr

import (
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// DepKind is one of the kinds of dependency that a header carries.
type DepKind int

// The kinds of dependency. The weak ones exist from rpm 4.12 (EL8) on.
const (
	Requires DepKind = iota
	Provides
	Conflicts
	Obsoletes
	Recommends
	Suggests
	Supplements
	Enhances
)

var depTags = [...]struct{ name, flags, version Tag }{
	Requires:    {TagRequireName, TagRequireFlags, TagRequireVersion},
	Provides:    {TagProvideName, TagProvideFlags, TagProvideVersion},
	Conflicts:   {TagConflictName, TagConflictFlags, TagConflictVersion},
	Obsoletes:   {TagObsoleteName, TagObsoleteFlags, TagObsoleteVersion},
	Recommends:  {TagRecommendName, TagRecommendFlags, TagRecommendVersion},
	Suggests:    {TagSuggestName, TagSuggestFlags, TagSuggestVersion},
	Supplements: {TagSupplementName, TagSupplementFlags, TagSupplementVersion},
	Enhances:    {TagEnhanceName, TagEnhanceFlags, TagEnhanceVersion},
}

var depNames = [...]string{"requires", "provides", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"}

// String returns the kind as dnf spells it: "requires".
func (k DepKind) String() string {
	if k < 0 || int(k) >= len(depNames) {
		return "unknown"
	}
	return depNames[k]
}

// Deps returns the dependencies of one kind in the order of the header, flags
// as given there. A name in parentheses may be a rich dependency: see
// rpmver.ParseRich. The error wraps ErrCorrupt: names, flags and versions that
// are not of one number.
func (h *Header) Deps(kind DepKind) ([]rpmver.Dep, error) {
	if kind < 0 || int(kind) >= len(depTags) {
		return nil, corrupt("no dependency kind %d", int(kind))
	}
	t := depTags[kind]
	names, n := h.texts(t.name)
	versions, nv := h.texts(t.version)
	flags, hasFlags := h.find(t.flags)
	nf := 0
	if hasFlags && flags.isInteger() && elementSize[flags.typ] <= 4 {
		nf = flags.count
	}
	// Packages of before rpm 4.0.3 may have names alone.
	bare := !hasFlags && !h.Has(t.version)
	if !bare && (nf != n || nv != n) {
		return nil, corrupt("%s: %d names, %d flags, %d versions", kind, n, nf, nv)
	}
	if n == 0 {
		if h.Has(t.name) {
			return nil, corrupt("%s: tag %d is no list of names", kind, t.name)
		}
		return nil, nil
	}
	deps := make([]rpmver.Dep, n)
	var version, last string
	var evr rpmver.EVR // of last: a package's Provides mostly have one version
	for i := range deps {
		deps[i].Name, names = cutText(names)
		if bare {
			continue
		}
		deps[i].Flags = rpmver.Sense(h.element(flags, i))
		if version, versions = cutText(versions); version != "" {
			if version != last {
				last, evr = version, lenientEVR(version)
			}
			deps[i].EVR = evr
		}
	}
	return deps, nil
}

// lenientEVR is ParseEVR for text that stands in a header already. rpm takes
// an epoch that is no number for a part of the version.
func lenientEVR(s string) rpmver.EVR {
	if evr, err := rpmver.ParseEVR(s); err == nil {
		return evr
	}
	// "1:", an epoch alone, stands in Obsoletes of real packages.
	if n, ok := strings.CutSuffix(s, ":"); ok {
		if epoch, err := strconv.ParseUint(n, 10, 32); err == nil {
			return rpmver.EVR{Epoch: uint32(epoch)}
		}
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		return rpmver.EVR{Version: s[:i], Release: s[i+1:]}
	}
	return rpmver.EVR{Version: s}
}

// NEVRA returns the package's identity. An absent epoch is 0. Arch is empty
// for the gpg-pubkey entries of the database, which are no packages.
func (h *Header) NEVRA() rpmver.NEVRA {
	epoch, _ := h.Uint64(TagEpoch)
	return rpmver.NEVRA{
		Name: h.String(TagName),
		EVR:  rpmver.EVR{Epoch: uint32(epoch), Version: h.String(TagVersion), Release: h.String(TagRelease)},
		Arch: h.String(TagArch),
	}
}
