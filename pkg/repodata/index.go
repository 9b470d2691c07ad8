package repodata

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Index is a repository's metadata in an index file: packages are numbered from
// 0 in the order of primary.xml. Nothing is decoded before it is asked for.
// Its methods may be called from several goroutines; a package number outside
// [0, Len) panics, as an index into a slice would.
//
// The file is mapped, not read: whoever replaces it must write a new file and
// rename it over the old one. A file cut short in place under a running process
// would end that process.
type Index struct {
	*container
}

// OpenIndex opens a file that BuildIndex wrote. A damaged file, one of another
// version, and any other file give an error that wraps ErrIndex: the index must
// be built anew.
func OpenIndex(path string) (*Index, error) {
	c, err := openContainer(path, kindPrimary)
	if err != nil {
		return nil, err
	}
	return &Index{c}, nil
}

// record returns a cursor to the record of package i.
func (ix *Index) record(i int) cursor {
	return ix.cursor(secPackages, uint64(binary.LittleEndian.Uint32(ix.secs[secOffsets][4*i:])))
}

func (r *cursor) nevra() rpmver.NEVRA {
	n := rpmver.NEVRA{Name: r.str(), Arch: r.str()}
	n.EVR.Epoch = uint32(r.num())
	n.EVR.Version, n.EVR.Release = r.str(), r.str()
	return n
}

// NEVRA returns the identity of package i.
func (ix *Index) NEVRA(i int) rpmver.NEVRA {
	r := ix.record(i)
	return r.nevra()
}

// Package decodes package i. The error wraps ErrIndex.
func (ix *Index) Package(i int) (*Package, error) {
	r := ix.record(i)
	p := &Package{NEVRA: r.nevra(), ChecksumType: r.str()}
	p.Pkgid = r.hex()
	if form := r.bytes(1); len(form) == 1 && form[0] == locDerived {
		p.Location = r.str() + p.NEVRA.Name + "-" + p.NEVRA.EVR.Version + "-" + p.NEVRA.EVR.Release + "." + p.NEVRA.Arch + ".rpm"
	} else {
		p.Location = string(r.bytes(r.num()))
	}
	p.LocationBase = r.str()
	p.SizePackage, p.SizeInstalled, p.SizeArchive, p.BuildTime = r.signed(), r.signed(), r.signed(), r.signed()
	p.SourceRPM, p.Vendor, p.BuildHost = r.str(), r.str(), r.str()
	for k := range depKinds {
		*p.deps(k) = r.deps()
	}
	p.Files = r.files()
	if r.bad {
		return nil, ix.Err()
	}
	return p, ix.Err()
}

func (r *cursor) files() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	at := int64(0)
	for i := range out {
		at += r.signed()
		out[i] = string(r.c.bytesAt(uint64(at)))
	}
	return out
}

func (r *cursor) hex() string {
	n := r.num()
	if n&1 != 0 {
		return string(r.bytes(n / 2))
	}
	return hex.EncodeToString(r.bytes(n / 2))
}

func (r *cursor) deps() []rpmver.Dep {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]rpmver.Dep, n)
	at := int64(0)
	for i := range out {
		at += r.signed()
		d := r.c.cursor(secDeps, uint64(at))
		out[i] = d.dep(d.num())
	}
	return out
}

// dep decodes a dependency after its name, whose place is given.
func (r *cursor) dep(name uint64) rpmver.Dep {
	var ver, rel memoText
	return r.depWith(name, &ver, &rel)
}

func (r *cursor) depWith(name uint64, ver, rel *memoText) rpmver.Dep {
	d := rpmver.Dep{Name: string(r.c.bytesAt(name))}
	b := r.bytes(1)
	if len(b) == 0 {
		return d
	}
	d.Flags = rpmver.Sense(b[0]&(depLess|depGreater|depEqual)) << 1
	if b[0]&depPre != 0 {
		d.Flags |= rpmver.PreReq
	}
	if b[0]&depVersion != 0 {
		d.EVR.Epoch = uint32(r.num())
		d.EVR.Version, d.EVR.Release = r.text(ver), r.text(rel)
	}
	return d
}

// skipToDeps moves a cursor at a package record to its first list.
func (r *cursor) skipToDeps() {
	for range 6 { // name, arch, epoch, version, release, type of checksum
		r.num()
	}
	r.skipToSizes()
	for range 7 { // sizes and time; source, vendor, build host
		r.num()
	}
}

// skipToSizes moves a cursor from behind the type of checksum to the sizes.
func (r *cursor) skipToSizes() {
	r.bytes(r.num() / 2)
	form := r.bytes(1)
	n := r.num()
	if len(form) == 1 && form[0] == locLiteral {
		r.bytes(n)
	}
	r.num() // base of the location
}

// Deps returns one dependency list of package i.
func (ix *Index) Deps(i int, k DepKind) []rpmver.Dep {
	r := ix.record(i)
	r.skipToDeps()
	for range k {
		r.skipRefs()
	}
	return r.deps()
}

// namedDeps calls fn for the entries of a list of package i that have a name,
// until fn returns false.
func (ix *Index) namedDeps(i int, k DepKind, name uint32, fn func(rpmver.Dep) bool) {
	r := ix.record(i)
	r.skipToDeps()
	for range k {
		r.skipRefs()
	}
	at := int64(0)
	for range r.count() {
		at += r.signed()
		d := ix.cursor(secDeps, uint64(at))
		if n := d.num(); n == uint64(name) && !fn(d.dep(n)) {
			return
		}
	}
}

// who returns the packages that have name in a relation, in rising order.
func (ix *Index) who(name string, rel int) ([]int, uint32) {
	str, ok := ix.find([]byte(name))
	if !ok {
		return nil, 0
	}
	r, ok := ix.posting(str)
	if !ok {
		return nil, str
	}
	mask := r.bytes(1)
	if len(mask) == 0 || mask[0]&(1<<rel) == 0 {
		return nil, str
	}
	for k := range rel {
		if mask[0]&(1<<k) != 0 {
			for range r.count() {
				r.num()
			}
		}
	}
	out := make([]int, 0, r.count())
	pkg := uint64(0)
	for len(out) < cap(out) {
		pkg += r.num()
		if r.bad || pkg >= uint64(ix.Len()) {
			ix.spoil("a package that is not there")
			return nil, str
		}
		out = append(out, int(pkg))
	}
	return out, str
}

// ByName returns the packages of a name.
func (ix *Index) ByName(name string) []int {
	out, _ := ix.who(name, relName)
	return out
}

// WhatProvides returns the packages with a Provides of that name, of any
// version. Files are looked up with ProvidersOfFile.
func (ix *Index) WhatProvides(name string) []int {
	out, _ := ix.who(name, relProvides)
	return out
}

// WhatObsoletes returns the packages with an Obsoletes of that name, of any
// version.
func (ix *Index) WhatObsoletes(name string) []int {
	out, _ := ix.who(name, relObsoletes)
	return out
}

// WhatConflicts returns the packages with a Conflicts of that name.
func (ix *Index) WhatConflicts(name string) []int {
	out, _ := ix.who(name, relConflicts)
	return out
}

// WhatRequires returns the packages with a Requires of exactly that name; what
// rich dependencies mention is not found.
func (ix *Index) WhatRequires(name string) []int {
	out, _ := ix.who(name, relRequires)
	return out
}

// ProvidersOfFile returns the packages that own a path, as far as primary.xml
// lists files (see FileIndex for all).
func (ix *Index) ProvidersOfFile(path string) []int {
	out, _ := ix.who(path, relFile)
	return out
}

// Satisfying returns the packages that satisfy a plain (not rich) dependency:
// through a Provides, or where its name is a path also through a file that
// primary.xml lists.
func (ix *Index) Satisfying(d rpmver.Dep) []int {
	pkgs, name := ix.who(d.Name, relProvides)
	out := make([]int, 0, len(pkgs))
	for _, i := range pkgs {
		found := !d.Versioned()
		if !found {
			ix.namedDeps(i, Provides, name, func(p rpmver.Dep) bool {
				found = d.Matches(p)
				return !found
			})
		}
		if found {
			out = append(out, i)
		}
	}
	if len(d.Name) == 0 || d.Name[0] != '/' {
		return out
	}
	return merge(out, ix.ProvidersOfFile(d.Name))
}

// ObsoletersOf returns the packages whose Obsoletes name a package of that name
// and version. A package that obsoletes its own name is not among those for
// itself only by its number: the caller decides what an obsoleting package of
// the same name means (rpm ignores it).
func (ix *Index) ObsoletersOf(name string, evr rpmver.EVR) []int {
	pkgs, str := ix.who(name, relObsoletes)
	out := make([]int, 0, len(pkgs))
	for _, i := range pkgs {
		ix.namedDeps(i, Obsoletes, str, func(o rpmver.Dep) bool {
			if !o.MatchesEVR(evr) {
				return true
			}
			out = append(out, i)
			return false
		})
	}
	return out
}

// merge joins two rising lists.
func merge(a, b []int) []int {
	if len(b) == 0 {
		return a
	}
	out := make([]int, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return out
}
