package repodata

import "github.com/almamigrate/almamigrate/pkg/rpmver"

// Reader decodes many packages of an index for less than Index.Package: only
// what resolving dependencies needs, and a dependency that packages have in
// common mostly once. It is for one goroutine at a time.
type Reader struct {
	ix       *Index
	memo     []memoEntry // by a hash of the place; nil before the first package
	ver, rel memoText
}

// memoEntry is a dependency that was decoded, with its place plus one.
type memoEntry struct {
	at  uint64
	dep rpmver.Dep
}

// memoText is the string that was decoded last: the Provides of a package have
// mostly one version and release.
type memoText struct {
	at uint64
	s  string
}

const (
	readerBits = 12
	readerMix  = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
)

// NewReader returns a Reader of the index.
func (ix *Index) NewReader() *Reader { return &Reader{ix: ix} }

// Package decodes the identity, the sizes of the package and of what it
// installs, Requires, Provides, Conflicts, Obsoletes and Files of package i;
// all else in the result is empty. Errors are those of Index.Package.
func (rd *Reader) Package(i int) (*Package, error) {
	if rd.memo == nil {
		rd.memo = make([]memoEntry, 1<<readerBits)
	}
	r := rd.ix.record(i)
	p := &Package{NEVRA: r.nevra()}
	r.num() // type of checksum
	r.skipToSizes()
	p.SizePackage, p.SizeInstalled = r.signed(), r.signed()
	for range 5 { // archive size and time; source, vendor, build host
		r.num()
	}
	for k := range depKinds {
		switch k {
		case Requires, Provides, Conflicts, Obsoletes:
			*p.deps(k) = rd.deps(&r)
		default:
			r.skipRefs()
		}
	}
	p.Files = r.files()
	if r.bad {
		return nil, rd.ix.Err()
	}
	return p, rd.ix.Err()
}

func (rd *Reader) deps(r *cursor) []rpmver.Dep {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]rpmver.Dep, n)
	at := int64(0)
	for i := range out {
		at += r.signed()
		m := &rd.memo[uint64(at)*readerMix>>(64-readerBits)]
		if m.at != uint64(at)+1 || at < 0 {
			d := r.c.cursor(secDeps, uint64(at))
			m.at, m.dep = uint64(at)+1, d.depWith(d.num(), &rd.ver, &rd.rel)
		}
		out[i] = m.dep
	}
	return out
}

// text is str with the last one kept.
func (r *cursor) text(m *memoText) string {
	off := r.num()
	if off == 0 {
		return ""
	}
	if off != m.at {
		m.at, m.s = off, string(r.c.bytesAt(off))
	}
	return m.s
}
