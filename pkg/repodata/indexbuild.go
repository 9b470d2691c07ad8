package repodata

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Source tells what an index was made from: the checksums that repomd.xml has
// for the files ("sha256:...", see Checksum.String), "" where a file was not
// used. A cache compares it to know whether an index is still of use.
type Source struct {
	Primary   string
	Modules   string
	Filelists string
}

// Stats says what went into an index.
type Stats struct {
	Packages int
	Entries  int // dependency entries and files
	Streams  int // modulemd documents
	Bytes    int64
}

// What refers to a string, in the order in which postings hold it.
const (
	relName = iota
	relProvides
	relObsoletes
	relFile
	relConflicts
	relRequires
	relCount
)

const relBits = 3

// BuildIndex reads primary.xml and modules.yaml (both uncompressed; modules may
// be nil) and writes the index of them to w, for OpenIndex. Nothing is written
// unless all was read without error. Errors are those of ParsePrimary,
// ParseModules and the readers' and writer's own.
//
// The readers are read in goroutines of their own, which have ended when
// BuildIndex returns: their Read must not block for ever.
func BuildIndex(w io.Writer, primary, modules io.Reader, src Source) (Stats, error) {
	type parsed struct {
		m   *Modules
		err error
	}
	mods := make(chan parsed, 1)
	if modules == nil {
		mods <- parsed{m: &Modules{}}
	} else {
		go func() {
			m, err := ParseModules(modules)
			mods <- parsed{m, err}
		}()
	}
	b := newIndexBuilder()
	ahead := newReadAhead(primary)
	_, err := parsePrimary(ahead, b)
	ahead.stop()
	m := <-mods
	if err != nil {
		return Stats{}, err
	}
	if m.err != nil {
		return Stats{}, m.err
	}
	b.modules(m.m)
	secs, err := b.finish(src)
	if err != nil {
		return Stats{}, err
	}
	n, err := writeIndex(w, kindPrimary, b.strs.seed, secs)
	return Stats{len(b.offs), b.entries, len(m.m.Streams), n}, err
}

// indexBuilder is the primarySink that collects an index.
type indexBuilder struct {
	strs    *stringTable
	deps    *interner // encoded dependencies
	refs    chains    // who refers to a name
	pkgs    blob      // package records
	offs    []uint32  // where each begins
	ids     []pkgKey
	lists   [depKinds][]uint32 // of the package being read: offsets in deps
	files   []uint32           // and in strs
	enc     []byte
	entries int
	memo    [memoSize]memoDep
	ver     memoString
	rel     memoString
	mod     blob
	pkgMod  blob
}

// pkgKey is what an artifact of a module is matched by.
type pkgKey struct{ name, epoch, ver, rel, arch uint32 }

func newIndexBuilder() *indexBuilder {
	b := &indexBuilder{strs: newStringTable()}
	b.deps = newInterner(b.strs.seed, 0)
	b.refs.strs = b.strs
	return b
}

// refer notes that the package being read (which will be the next) has str in
// relation rel. A package that says it twice is noted once: the nodes of a
// string are in package order.
func (b *indexBuilder) refer(str uint32, rel int) {
	val := uint32(len(b.offs))<<relBits | uint32(rel)
	for n := b.refs.last(str); n != nil && n.val>>relBits == val>>relBits; n = b.refs.node(n.next) {
		if n.val == val {
			return
		}
	}
	b.refs.add(str, val, 0)
}

// A dependency is: name, flags, and if a version is given epoch, version,
// release.
const (
	depLess = 1 << iota
	depGreater
	depEqual
	depPre
	depVersion
)

// memoSize is the number of entries kept as they were written, by their hash:
// more than half of all Requires are the same few hundred.
const memoSize = 1 << 12

type memoDep struct {
	raw       []byte
	name, ref uint32
}

// memoString is the string that was asked for last: a package gives most of its
// Provides the same version and release.
type memoString struct {
	s   []byte
	ref uint32
}

func (m *memoString) add(t *stringTable, s []byte) uint32 {
	if string(s) != string(m.s) {
		m.s = append(m.s[:0], s...)
		m.ref = t.add(s)
	}
	return m.ref
}

func (b *indexBuilder) dep(k DepKind, d *rawDep) error {
	b.entries++
	var memo *memoDep
	if k == Requires && d.raw != nil {
		memo = &b.memo[hashBytes(d.raw, b.strs.seed)%memoSize]
		if string(memo.raw) == string(d.raw) {
			b.lists[k] = append(b.lists[k], memo.ref)
			b.refer(memo.name, relRequires)
			return nil
		}
	}
	name := b.strs.add(d.name)
	flags := byte(d.flags>>1) & (depLess | depGreater | depEqual)
	if d.flags&rpmver.PreReq != 0 {
		flags |= depPre
	}
	if len(d.ver) > 0 || len(d.rel) > 0 || d.epoch != 0 {
		flags |= depVersion
	}
	e := binary.AppendUvarint(b.enc[:0], uint64(name))
	e = append(e, flags)
	if flags&depVersion != 0 {
		e = binary.AppendUvarint(e, uint64(d.epoch))
		e = binary.AppendUvarint(e, uint64(b.ver.add(b.strs, d.ver)))
		e = binary.AppendUvarint(e, uint64(b.rel.add(b.strs, d.rel)))
	}
	b.enc = e
	ref := b.deps.intern(e, hashBytes(e, b.deps.seed))
	b.lists[k] = append(b.lists[k], ref)
	if memo != nil {
		memo.raw = append(memo.raw[:0], d.raw...)
		memo.name, memo.ref = name, ref
	}
	switch k {
	case Provides:
		b.refer(name, relProvides)
	case Obsoletes:
		b.refer(name, relObsoletes)
	case Conflicts:
		b.refer(name, relConflicts)
	case Requires:
		b.refer(name, relRequires)
	}
	return nil
}

func (b *indexBuilder) file(path []byte, _ FileType) error {
	b.entries++
	s := b.strs.add(path)
	b.files = append(b.files, s)
	b.refer(s, relFile)
	return nil
}

// Forms of a location.
const (
	locLiteral = iota
	locDerived // prefix + name-version-release.arch.rpm
)

func (b *indexBuilder) pkg(p *rawPackage) error {
	key := pkgKey{b.strs.add(p.name), p.epoch, b.strs.add(p.ver), b.strs.add(p.rel), b.strs.add(p.arch)}
	b.refer(key.name, relName)
	e := b.enc[:0]
	for _, v := range [...]uint32{key.name, key.arch, key.epoch, key.ver, key.rel, b.strs.add(p.cksumType)} {
		e = binary.AppendUvarint(e, uint64(v))
	}
	e = appendHex(e, p.pkgid)
	// "Packages/a/NAME-VERSION-RELEASE.ARCH.rpm" is all but always the case.
	n := len(e)
	e = append(e, p.name...)
	e = append(append(e, '-'), p.ver...)
	e = append(append(e, '-'), p.rel...)
	e = append(append(e, '.'), p.arch...)
	e = append(e, ".rpm"...)
	usual := e[n:]
	if k := len(p.location) - len(usual); k >= 0 && string(p.location[k:]) == string(usual) {
		e = append(e[:n], locDerived)
		e = binary.AppendUvarint(e, uint64(b.strs.add(p.location[:k])))
	} else {
		e = append(e[:n], locLiteral)
		e = binary.AppendUvarint(e, uint64(len(p.location)))
		e = append(e, p.location...)
	}
	e = binary.AppendUvarint(e, uint64(b.strs.add(p.locationBase)))
	for _, v := range [...]int64{p.size, p.installed, p.archive, p.buildTime} {
		e = binary.AppendVarint(e, v)
	}
	for _, s := range [...][]byte{p.sourceRPM, p.vendor, p.buildHost} {
		e = binary.AppendUvarint(e, uint64(b.strs.add(s)))
	}
	for k := range b.lists {
		e = appendRefs(e, b.lists[k])
		b.lists[k] = b.lists[k][:0]
	}
	e = appendRefs(e, b.files)
	b.files = b.files[:0]
	b.enc = e

	b.offs = append(b.offs, uint32(b.pkgs.n))
	b.ids = append(b.ids, key)
	b.pkgs.write(e)
	for _, c := range [...]*blob{&b.pkgs, &b.strs.blob, &b.deps.blob} {
		if err := tooLarge(c, "primary metadata"); err != nil {
			return err
		}
	}
	return nil
}

// appendHex appends a digest in binary after twice its length; what is no
// lower-case hex goes as text, after twice its length plus one.
func appendHex(e, h []byte) []byte {
	lower := len(h)%2 == 0
	for _, c := range h {
		lower = lower && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
	}
	if !lower {
		e = binary.AppendUvarint(e, uint64(len(h)*2+1))
		return append(e, h...)
	}
	e = binary.AppendUvarint(e, uint64(len(h))) // twice the bytes that follow
	e, _ = hex.AppendDecode(e, h)
	return e
}

// appendRefs appends a list of references: how many, then the difference of
// each to the one before, since new strings and dependencies follow each other.
func appendRefs(e []byte, refs []uint32) []byte {
	e = binary.AppendUvarint(e, uint64(len(refs)))
	last := int64(0)
	for _, r := range refs {
		e = binary.AppendVarint(e, int64(r)-last)
		last = int64(r)
	}
	return e
}

// find returns the packages that have a key's name, epoch, version, release and
// arch, in falling order.
func (b *indexBuilder) find(n rpmver.NEVRA) []int {
	var key pkgKey
	for _, f := range [...]struct {
		s   string
		dst *uint32
	}{{n.Name, &key.name}, {n.EVR.Version, &key.ver}, {n.EVR.Release, &key.rel}, {n.Arch, &key.arch}} {
		off, ok := b.strs.lookup(f.s)
		if !ok {
			return nil
		}
		*f.dst = off
	}
	key.epoch = n.EVR.Epoch
	var out []int
	for node := b.refs.last(key.name); node != nil; node = b.refs.node(node.next) {
		if i := int(node.val >> relBits); node.val&(1<<relBits-1) == relName && b.ids[i] == key {
			out = append(out, i)
		}
	}
	return out
}

// postings writes who refers to what, and leaves in every string where to find
// it, plus one.
func (b *indexBuilder) postings() (*blob, error) {
	post := &blob{}
	var lists [relCount][]uint32
	var e []byte
	for h, last := range b.refs.heads {
		for r := range lists {
			lists[r] = lists[r][:0]
		}
		for n := b.refs.node(last); n != nil; n = b.refs.node(n.next) {
			r := n.val & (1<<relBits - 1)
			lists[r] = append(lists[r], n.val>>relBits)
		}
		mask := byte(0)
		e = append(e[:0], 0)
		for r := range lists {
			if len(lists[r]) == 0 {
				continue
			}
			mask |= 1 << r
			e = binary.AppendUvarint(e, uint64(len(lists[r])))
			last := uint32(0)
			for i := len(lists[r]) - 1; i >= 0; i-- { // chains run backwards
				e = binary.AppendUvarint(e, uint64(lists[r][i]-last))
				last = lists[r][i]
			}
		}
		e[0] = mask
		b.strs.setHead(b.refs.owner[h], uint32(post.n)+1)
		post.write(e)
	}
	return post, tooLarge(post, "primary metadata")
}

func (b *indexBuilder) finish(src Source) ([]section, error) {
	post, err := b.postings()
	if err != nil {
		return nil, err
	}
	var offs blob
	for _, o := range b.offs {
		offs.u32(o)
	}
	for _, s := range [...]string{src.Primary, src.Modules, src.Filelists} {
		if len(s) > maxSourceLen {
			return nil, fmt.Errorf("cannot build index: source %.40q: %w", s, ErrTooLarge)
		}
	}
	return []section{
		{secSource, src.encode()}, {secStrings, &b.strs.blob}, {secTable, b.strs.table()},
		{secDeps, &b.deps.blob}, {secPost, post}, {secOffsets, &offs}, {secPackages, &b.pkgs},
		{secModules, &b.mod}, {secPackageStreams, &b.pkgMod},
	}, nil
}
