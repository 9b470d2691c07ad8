package repodata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The index file. All numbers are little-endian.
//
//	0   magic "AMREPOIX"
//	8   u32 version
//	12  u32 kind: 1 primary and modules, 2 filelists
//	16  u64 length of the file
//	24  u64 key of the hash function
//	32  sections, in the order of their ids: u32 id, u32 CRC-32C, u64 offset, u64 length
//	... u32 CRC-32C of the bytes before
//
// The sections follow, one after the other. The version changes with anything
// in the file or in how it is made: an older index is not read but built anew.
const (
	indexMagic   = "AMREPOIX"
	indexVersion = 1

	kindPrimary   = 1
	kindFilelists = 2

	headerFixed  = 32
	headerSec    = 24
	maxSourceLen = 1024
)

// Sections. Those of kind filelists are source, strings, table, postings,
// offsets, packages and dirs.
const (
	secSource         = iota
	secStrings        // strings: u32 place of the posting plus one, uvarint length, bytes
	secTable          // hash table over them: u32 offset plus one
	secDeps           // dependencies
	secPost           // who refers to a string
	secOffsets        // u32 per package: its record
	secPackages       // package records
	secModules        // modules.yaml
	secPackageStreams // u32 package, u32 stream, sorted
	secDirs           // u32 per folder: its string
	secCount
)

type section struct {
	id   int
	data *blob
}

func writeIndex(w io.Writer, kind uint32, seed uint64, secs []section) (int64, error) {
	head := headerFixed + headerSec*secCount + 4
	h := make([]byte, 0, head)
	h = append(h, indexMagic...)
	h = binary.LittleEndian.AppendUint32(h, indexVersion)
	h = binary.LittleEndian.AppendUint32(h, kind)
	total := uint64(head)
	var all [secCount]*blob
	for i := range all {
		all[i] = &blob{}
	}
	for _, s := range secs {
		all[s.id] = s.data
	}
	for _, b := range all {
		total += uint64(b.n)
	}
	h = binary.LittleEndian.AppendUint64(h, total)
	h = binary.LittleEndian.AppendUint64(h, seed)
	off := uint64(head)
	for id, b := range all {
		h = binary.LittleEndian.AppendUint32(h, uint32(id))
		h = binary.LittleEndian.AppendUint32(h, b.crc())
		h = binary.LittleEndian.AppendUint64(h, off)
		h = binary.LittleEndian.AppendUint64(h, uint64(b.n))
		off += uint64(b.n)
	}
	h = binary.LittleEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	if _, err := w.Write(h); err != nil {
		return 0, fmt.Errorf("cannot write metadata index: %w", err)
	}
	for _, b := range all {
		if err := b.writeTo(w); err != nil {
			return 0, fmt.Errorf("cannot write metadata index: %w", err)
		}
	}
	return int64(total), nil
}

// container is an open index file. Its methods may be called from several
// goroutines, Close only after all of them are done.
type container struct {
	name string
	data []byte
	secs [secCount][]byte
	seed uint64
	src  Source
	bad  atomic.Pointer[error]
}

// openContainer maps the file and checks its checksums. They are taken with
// plain reads, so that only the pages that are really looked up count as memory
// in use.
func openContainer(path string, kind uint32) (*container, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open metadata index: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot open metadata index: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot open metadata index %s: not a regular file: %w", path, ErrIndex)
	}
	c := &container{name: path}
	size := st.Size()
	const head = headerFixed + headerSec*secCount + 4
	if size < head || size > 8*maxBlob || int64(int(size)) != size {
		return nil, c.damaged("its size is impossible")
	}
	h := make([]byte, head)
	if _, err := f.ReadAt(h, 0); err != nil {
		return nil, c.readError(err)
	}
	secs, err := c.header(h, size, kind)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 128<<10)
	for id, s := range secs {
		var crc uint32
		for at := s.off; at < s.off+s.len; {
			p := buf[:min(int64(len(buf)), s.off+s.len-at)]
			if _, err := f.ReadAt(p, at); err != nil {
				return nil, c.readError(err)
			}
			crc = crc32.Update(crc, castagnoli, p)
			at += int64(len(p))
		}
		if crc != s.crc {
			return nil, c.damaged(fmt.Sprintf("wrong checksum of section %d", id))
		}
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map metadata index %s: %w", path, err)
	}
	c.data = data
	if err := c.attach(secs); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

type secRange struct {
	crc      uint32
	off, len int64
}

// header checks the header of a file of the given size.
func (c *container) header(h []byte, size int64, kind uint32) (secs [secCount]secRange, err error) {
	le := binary.LittleEndian
	n := len(h) - 4
	switch {
	case string(h[:8]) != indexMagic:
		return secs, c.damaged("it does not begin as one")
	case le.Uint32(h[8:]) != indexVersion:
		return secs, c.damaged(fmt.Sprintf("version %d, not %d", le.Uint32(h[8:]), indexVersion))
	case crc32.Checksum(h[:n], castagnoli) != le.Uint32(h[n:]):
		return secs, c.damaged("wrong checksum of the header")
	case le.Uint32(h[12:]) != kind:
		return secs, c.damaged(fmt.Sprintf("kind %d, not %d", le.Uint32(h[12:]), kind))
	case le.Uint64(h[16:]) != uint64(size):
		return secs, c.damaged(fmt.Sprintf("%d bytes, not %d", size, le.Uint64(h[16:])))
	}
	c.seed = le.Uint64(h[24:])
	next := uint64(len(h))
	for id := range secs {
		e := h[headerFixed+headerSec*id:]
		off, l := le.Uint64(e[8:]), le.Uint64(e[16:])
		if le.Uint32(e) != uint32(id) || off != next || l > uint64(size)-off {
			return secs, c.damaged(fmt.Sprintf("section %d is misplaced", id))
		}
		secs[id] = secRange{le.Uint32(e[4:]), int64(off), int64(l)}
		next = off + l
	}
	if next != uint64(size) {
		return secs, c.damaged("bytes after the last section")
	}
	return secs, nil
}

func (c *container) attach(secs [secCount]secRange) error {
	for id, s := range secs {
		c.secs[id] = c.data[s.off : s.off+s.len : s.off+s.len]
	}
	if n := len(c.secs[secTable]) / 4; n == 0 || n&(n-1) != 0 || len(c.secs[secTable])%4 != 0 ||
		len(c.secs[secOffsets])%4 != 0 || len(c.secs[secDirs])%4 != 0 || len(c.secs[secPackageStreams])%8 != 0 {
		return c.damaged("a table of impossible size")
	}
	var ok bool
	if c.src, ok = decodeSource(c.secs[secSource]); !ok {
		return c.damaged("bad source")
	}
	return nil
}

func (c *container) damaged(why string) error {
	return fmt.Errorf("cannot use metadata index %s: %s: %w", c.name, why, ErrIndex)
}

func (c *container) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return c.damaged("it ends early")
	}
	return fmt.Errorf("cannot read metadata index %s: %w", c.name, err)
}

// Err returns an error that wraps ErrIndex if a lookup met something that no
// index holds. The checksums are verified when the file is opened, so this
// means that the file was changed since, or made by somebody else; what the
// lookup gave must not be used.
func (c *container) Err() error {
	if p := c.bad.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *container) spoil(why string) {
	err := c.damaged(why)
	c.bad.CompareAndSwap(nil, &err)
}

// Close unmaps the file. Values that were returned stay good.
func (c *container) Close() error {
	if c.data == nil {
		return nil
	}
	data := c.data
	c.data = nil
	c.secs = [secCount][]byte{}
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("cannot unmap metadata index %s: %w", c.name, err)
	}
	return nil
}

// Source returns what the index was made from.
func (c *container) Source() Source { return c.src }

// Len returns the number of packages.
func (c *container) Len() int { return len(c.secs[secOffsets]) / 4 }

func (s Source) encode() *blob {
	b := &blob{}
	for _, f := range [...]string{s.Primary, s.Modules, s.Filelists} {
		b.write(binary.AppendUvarint(nil, uint64(len(f))))
		b.write([]byte(f))
	}
	return b
}

func decodeSource(b []byte) (s Source, ok bool) {
	for _, f := range [...]*string{&s.Primary, &s.Modules, &s.Filelists} {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > maxSourceLen || n > uint64(len(b)-k) {
			return s, false
		}
		*f, b = string(b[k:k+int(n)]), b[k+int(n):]
	}
	return s, len(b) == 0
}

// bytesAt returns the string at an offset, still in the map.
func (c *container) bytesAt(off uint64) []byte {
	s := c.secs[secStrings]
	if off > uint64(len(s)) || uint64(len(s))-off < strHead {
		c.spoil("a string outside its section")
		return nil
	}
	s = s[off+strHead:]
	n, k := binary.Uvarint(s)
	if k <= 0 || n > uint64(len(s)-k) {
		c.spoil("a string outside its section")
		return nil
	}
	return s[k : k+int(n)]
}

// find returns the offset of a string.
func (c *container) find(s []byte) (uint32, bool) {
	t := c.secs[secTable]
	n := uint32(len(t) / 4)
	if n == 0 {
		return 0, false
	}
	i := hashBytes(s, c.seed) & (n - 1)
	for range n {
		slot := binary.LittleEndian.Uint32(t[4*i:])
		if slot == 0 {
			return 0, false
		}
		if string(c.bytesAt(uint64(slot-1))) == string(s) {
			return slot - 1, true
		}
		i = (i + 1) & (n - 1)
	}
	c.spoil("a hash table without a free place")
	return 0, false
}

// posting returns a cursor to what is known of a string, false for nothing.
func (c *container) posting(off uint32) (cursor, bool) {
	place := binary.LittleEndian.Uint32(c.secs[secStrings][off:]) // find looked there
	if place == 0 {
		return cursor{}, false
	}
	return c.cursor(secPost, uint64(place)-1), true
}

// cursor decodes a section from some place on. After the first thing that
// cannot be, all it gives is 0.
type cursor struct {
	c   *container
	b   []byte
	bad bool
}

func (c *container) cursor(sec int, off uint64) cursor {
	b := c.secs[sec]
	if off > uint64(len(b)) {
		c.spoil("a reference outside its section")
		return cursor{c: c, bad: true}
	}
	return cursor{c: c, b: b[off:]}
}

func (r *cursor) fail() {
	if !r.bad {
		r.bad = true
		r.b = nil
		r.c.spoil("a record that ends early")
	}
}

func (r *cursor) num() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *cursor) signed() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[k:]
	return n
}

// count returns how many entries follow; each takes a byte or more.
func (r *cursor) count() int {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *cursor) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *cursor) str() string {
	off := r.num()
	if off == 0 {
		return ""
	}
	return string(r.c.bytesAt(off))
}

func (r *cursor) strs() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = r.str()
	}
	return out
}

func (r *cursor) skipRefs() {
	for range r.count() {
		r.signed()
	}
}

func (r *cursor) done() {
	if len(r.b) > 0 {
		r.c.spoil("bytes after the last record")
	}
}
