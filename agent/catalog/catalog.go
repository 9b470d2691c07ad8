// Package catalog holds what is known about distributions: signing keys,
// identity packages and what replaces them, AlmaLinux's repositories and the
// ones of other distributions that they stand for, module streams, packages
// whose downgrade may hurt.
//
// The facts are data, INI files embedded in the program; a host adds to them
// or corrects them with files of the same form in Dir.
package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Dir is the folder, below the root, of the files that add to the catalogue
// or correct it.
const Dir = "/etc/almamigrate/catalog.d"

// ErrData marks a catalogue file whose content is not understood. The error's
// text names file and line.
var ErrData = errors.New("bad catalogue data")

// Kind says what sort of signer a key has.
type Kind string

// The kinds of signers.
const (
	KindDistro     Kind = "distro"      // a distribution's own packages
	KindSIG        Kind = "sig"         // a special interest group of CentOS
	KindThirdParty Kind = "third-party" // another vendor
)

// KeyInfo is what is known of a signing key.
type KeyInfo struct {
	Owner       string   // a distribution's owner name, e.g. "centos", or another vendor's, e.g. "epel"
	Fingerprint string   // of the primary key, 40 upper case hex digits
	KeyIDs      []string // 16 lower case hex digits each: primary and signing subkeys, primary first
	UserID      string
	Majors      []int // EL releases that it signs; empty: any
	Kind        Kind
	Pinned      bool   // trusted for packages to be installed from AlmaLinux
	Expires     string // YYYY-MM-DD, empty: never
	Note        string
}

// Action says what becomes of an identity package.
type Action string

// The actions.
const (
	Swap Action = "swap" // goes, other packages come in its place
	Drop Action = "drop" // goes without a replacement
)

// Replacement is what becomes of an identity package on the way to AlmaLinux.
type Replacement struct {
	Package string // name or pattern that the catalogue has it under
	Action  Action
	To      []string // AlmaLinux package names, for Swap
	Why     string
	// OnlyIfMissing limits the rule to where AlmaLinux's repositories do not
	// carry the package; where they do, it is judged as any other.
	OnlyIfMissing bool
}

// Distro is a distribution as the catalogue knows it.
type Distro struct {
	Name    string
	Title   string
	IDs     []string // ID= in os-release
	Names   []string // lower case words in NAME= that set it apart from another with the same ID
	Release []string // names of its release package
	Owners  []string // KeyInfo.Owner of those who sign its own packages
	Order   int
}

// TargetRepo is a repository of AlmaLinux.
type TargetRepo struct {
	ID             string
	Name           string
	Path           string // folder, e.g. "BaseOS"
	DefaultEnabled bool   // enabled in the repo file as shipped
	Package        string // brings the repo file, where that is not AlmaLinux's release or repos package
	BaseURL        string // with $releasever and $basearch
	Mirrorlist     string // with $releasever and $basearch
	Major          int
	Arch           string
}

func (r TargetRepo) expand(s string) string {
	return strings.NewReplacer("$releasever", fmt.Sprint(r.Major), "$basearch", r.Arch).Replace(s)
}

// URL returns the repository's base URL on AlmaLinux's own server.
func (r TargetRepo) URL() string { return r.expand(r.BaseURL) }

// MirrorlistURL returns where a list of mirrors is to be had.
func (r TargetRepo) MirrorlistURL() string { return r.expand(r.Mirrorlist) }

// URLUnder returns the repository's URL in a mirror of the whole tree, whose
// URL is that of the folder that holds 8, 9 and 10.
func (r TargetRepo) URLUnder(mirror string) string {
	return strings.TrimRight(mirror, "/") + r.expand("/$releasever/"+r.Path+"/$basearch/os/")
}

type repoDef struct {
	TargetRepo
	majors []int
	arches []string
	list   string // name in mirrorlist URLs
}

type brandKey struct {
	distro string
	major  int
}

type branding struct {
	identity []string
	exact    map[string]Replacement
	globs    []Replacement // longest pattern first
}

type repoMap struct {
	target string
	ids    []string
}

type risk struct {
	pattern, severity, why string
}

// Catalog is a set of facts. It is not changed after Load and is safe for
// concurrent use.
type Catalog struct {
	keys            map[string]*KeyInfo // by fingerprint
	byID            map[string]*KeyInfo // by key id
	distros         map[string]*Distro
	brand           map[brandKey]*branding
	repos           []*repoDef
	repoMaps        map[int][]*repoMap
	streams         map[string]string
	risks           []risk
	hardware        map[string]*Hardware
	merged          map[string][2]string // old module name: new one, why
	hardwareSources []HardwareSource
	panels          []Panel
	agents          []Agent
	moduleRepos     []*moduleRepoDef
	modified        map[int]map[string]string // major, source package: what is other
	modifiedSource  ModifiedSource
	targetVars      map[int]map[string]string // major, name: value
	baseURL         string
	mirrorlist      string
}

// KeyByID finds a key by the id that a signature carries: 16 hex digits, of a
// primary key or a signing subkey.
func (c *Catalog) KeyByID(id string) (KeyInfo, bool) {
	k, ok := c.byID[strings.ToLower(id)]
	if !ok {
		return KeyInfo{}, false
	}
	return *k, true
}

// KeyByFingerprint finds a key by its primary key's fingerprint.
func (c *Catalog) KeyByFingerprint(fp string) (KeyInfo, bool) {
	k, ok := c.keys[strings.ToUpper(fp)]
	if !ok {
		return KeyInfo{}, false
	}
	return *k, true
}

// Keys returns every key, sorted by owner and fingerprint.
func (c *Catalog) Keys() []KeyInfo {
	out := make([]KeyInfo, 0, len(c.keys))
	for _, k := range c.keys {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b KeyInfo) int {
		return strings.Compare(a.Owner+" "+a.Fingerprint, b.Owner+" "+b.Fingerprint)
	})
	return out
}

// Trust says that the administrator named a key (extra_keys) for a private
// AlmaLinux tree: what it signed counts as AlmaLinux's. It is for the time
// between Load and the first use. A key that the catalogue knows keeps its
// owner.
func (c *Catalog) Trust(fingerprint string, keyIDs []string, userID string) {
	fp := strings.ToUpper(fingerprint)
	if c.keys[fp] != nil {
		return
	}
	k := &KeyInfo{Fingerprint: fp, Owner: "almalinux", Kind: KindDistro, KeyIDs: keyIDs, UserID: userID, Note: "named by the administrator"}
	c.keys[fp] = k
	for _, id := range keyIDs {
		if id = strings.ToLower(id); c.byID[id] == nil {
			c.byID[id] = k
		}
	}
}

// PinnedFingerprints returns the fingerprints of the keys that AlmaLinux's
// packages of a major may be signed with, sorted.
func (c *Catalog) PinnedFingerprints(major int) []string {
	var out []string
	for fp, k := range c.keys {
		if k.Pinned && slices.Contains(k.Majors, major) {
			out = append(out, fp)
		}
	}
	slices.Sort(out)
	return out
}

// Distros returns every distribution in the order in which release packages
// are to be asked for.
func (c *Catalog) Distros() []Distro {
	out := make([]Distro, 0, len(c.distros))
	for _, d := range c.distros {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Distro) int {
		if a.Order != b.Order {
			return a.Order - b.Order
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// Distro finds a distribution by its name.
func (c *Catalog) Distro(name string) (Distro, bool) {
	d, ok := c.distros[name]
	if !ok {
		return Distro{}, false
	}
	return *d, true
}

// DistroByRelease finds the distribution that has a release package of that
// name. Where several do, the first in the order of Distros.
func (c *Catalog) DistroByRelease(pkg string) (Distro, bool) {
	for _, d := range c.Distros() {
		if slices.Contains(d.Release, pkg) {
			return d, true
		}
	}
	return Distro{}, false
}

// DistroByOSRelease finds a distribution by ID and NAME of os-release.
func (c *Catalog) DistroByOSRelease(id, name string) (Distro, bool) {
	id, name = strings.ToLower(id), strings.ToLower(name)
	var best Distro
	found := false
	for _, d := range c.Distros() {
		if !slices.Contains(d.IDs, id) {
			continue
		}
		words := slices.ContainsFunc(d.Names, func(w string) bool { return strings.Contains(name, w) })
		if len(d.Names) > 0 && !words {
			continue
		}
		if !found || len(d.Names) > len(best.Names) {
			best, found = d, true
		}
	}
	return best, found
}

// Owns tells whether packages signed by the owner of a key are the
// distribution's own. CentOS Linux and CentOS Stream share theirs.
func (c *Catalog) Owns(distro, owner string) bool {
	d, ok := c.distros[distro]
	return ok && owner != "" && slices.Contains(d.Owners, owner)
}

// OwnerKind returns what sort of signer an owner is.
func (c *Catalog) OwnerKind(owner string) (Kind, bool) {
	for _, k := range c.keys {
		if k.Owner == owner {
			return k.Kind, true
		}
	}
	return "", false
}

// Branding tells what becomes of an identity package of a distribution. For a
// host that says it is AlmaLinux, or that the catalogue does not know, the
// rules of every distribution count: a half migrated host keeps packages of
// where it came from.
func (c *Catalog) Branding(distro string, major int, pkg string) (Replacement, bool) {
	if b := c.brand[brandKey{distro, major}]; b != nil {
		if r, ok := b.find(pkg); ok {
			return r, true
		}
	}
	if _, known := c.distros[distro]; known && distro != "almalinux" {
		return Replacement{}, false
	}
	for _, d := range c.Distros() {
		if b := c.brand[brandKey{d.Name, major}]; b != nil && d.Name != distro {
			if r, ok := b.find(pkg); ok {
				return r, true
			}
		}
	}
	return Replacement{}, false
}

func (b *branding) find(pkg string) (Replacement, bool) {
	if r, ok := b.exact[pkg]; ok {
		return r, true
	}
	for _, r := range b.globs {
		if match(r.Package, pkg) {
			return r, true
		}
	}
	return Replacement{}, false
}

// BrandingRules returns every rule of a distribution and major, sorted by
// package name or pattern.
func (c *Catalog) BrandingRules(distro string, major int) []Replacement {
	b := c.brand[brandKey{distro, major}]
	if b == nil {
		return nil
	}
	out := slices.Concat(slices.Collect(maps.Values(b.exact)), b.globs)
	slices.SortFunc(out, func(x, y Replacement) int { return strings.Compare(x.Package, y.Package) })
	return out
}

// Identity returns the names of the packages that say which distribution this
// is and bring its repositories and keys. Not all of them are installed on
// every host. Artwork is not among them, see Branding.
func (c *Catalog) Identity(distro string, major int) []string {
	if b := c.brand[brandKey{distro, major}]; b != nil {
		return slices.Clone(b.identity)
	}
	return nil
}

// TargetRepos returns AlmaLinux's repositories for a major and architecture,
// sorted by id; none for a major that AlmaLinux does not have.
func (c *Catalog) TargetRepos(major int, arch string) []TargetRepo {
	var out []TargetRepo
	for _, r := range c.repos {
		if !slices.Contains(r.majors, major) || len(r.arches) > 0 && !slices.Contains(r.arches, arch) {
			continue
		}
		t := r.TargetRepo
		t.Major, t.Arch = major, arch
		fill := strings.NewReplacer("{path}", t.Path, "{list}", cmp.Or(r.list, t.ID))
		t.BaseURL, t.Mirrorlist = fill.Replace(c.baseURL), fill.Replace(c.mirrorlist)
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b TargetRepo) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// MapRepo returns the AlmaLinux repository that stands for a repository of
// the host. Major is the host's; repositories of EL7 map to those of
// AlmaLinux 8. Debug and source repositories map to nothing.
func (c *Catalog) MapRepo(distro string, major int, id string) (target string, ok bool) {
	id = strings.ToLower(id)
	best := -1
	for _, m := range c.repoMaps[major] {
		for _, p := range m.ids {
			if !match(p, id) {
				continue
			}
			// An exact id first, then the longest pattern.
			n := len(p)
			if !strings.ContainsAny(p, "*?[") {
				n += 1 << 16
			}
			if n > best {
				best, target, ok = n, m.target, true
			}
		}
	}
	if ok && !strings.ContainsAny(id, "*?[") && auxiliary(id) {
		return "", false
	}
	return target, ok
}

// auxiliary tells repositories of sources and debugging information by the
// words that all distributions use in their ids.
func auxiliary(id string) bool {
	for _, w := range strings.FieldsFunc(id, func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch w {
		case "source", "sources", "src", "debug", "debuginfo", "debugsource":
			return true
		}
	}
	return false
}

// MapStream returns AlmaLinux's name for a module stream; streams that are
// named alike everywhere are returned as they are.
func (c *Catalog) MapStream(stream string) string {
	if s, ok := c.streams[stream]; ok {
		return s
	}
	return stream
}

// DowngradeRisk tells why a downgrade of a package may hurt. Severity is
// "blocker" or "warning".
func (c *Catalog) DowngradeRisk(pkg string) (why string, severity string, ok bool) {
	for _, r := range c.risks {
		if match(r.pattern, pkg) {
			return r.why, r.severity, true
		}
	}
	return "", "", false
}

// match compares a name with a shell pattern. Patterns are checked on load.
func match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
