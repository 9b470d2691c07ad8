// Package rpmhdr reads the header format of rpm: the form in which the
// installed-package database stores a package (no magic) and the form in which
// a package file carries its signature header and its header (with magic).
//
// The format, as the Linux Standard Base (Core, "Package File Format") and
// rpm's own docs/manual/hregions.md describe it: two big-endian 32-bit counts
// (index entries, bytes of data), then the index of 16-byte entries (tag, type,
// offset, count), then the data. A first entry of tag 61, 62 or 63 is a
// "region": it says how many of the entries and how much of the data were
// there when the header was built. What was added later, such as the install
// time, follows behind it ("dribbles") and replaces entries of the same tag.
// Digests and signatures cover the region only.
//
// Parse checks the whole structure, string terminators included, so that no
// accessor can meet damage later: an absent entry and a damaged one are never
// confused.
package rpmhdr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt is wrapped by every error about bytes that are no valid header.
var ErrCorrupt = errors.New("corrupt rpm header")

// Limits of rpm itself (lib/header.c): larger headers are refused by rpm too.
const (
	maxEntries = 0xffff
	maxData    = 256 << 20

	entryLen   = 16
	introLen   = 8
	trailerLen = 16
)

var magic = [8]byte{0x8e, 0xad, 0xe8, 0x01}

// Header is one parsed header over a byte slice that it owns. Nothing is
// decoded before it is asked for, and no method changes it, so that it may be
// used by several goroutines.
type Header struct {
	blob    []byte
	entries []byte
	data    []byte

	regionTag Tag // 0: a header without region
	ril, rdl  int // entries and bytes of data that belong to the region
}

type entry struct {
	tag    Tag
	typ    Type
	offset int
	count  int
}

func (h *Header) entry(i int) entry {
	b := h.entries[i*entryLen : i*entryLen+entryLen]
	return entry{
		tag:    Tag(binary.BigEndian.Uint32(b)),
		typ:    Type(binary.BigEndian.Uint32(b[4:])),
		offset: int(int32(binary.BigEndian.Uint32(b[8:]))),
		count:  int(binary.BigEndian.Uint32(b[12:])),
	}
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// Parse reads a header in the form of the installed-package database: the
// whole of blob, nothing more. The Header refers to blob, which must not be
// changed afterwards. Errors wrap ErrCorrupt.
func Parse(blob []byte) (*Header, error) {
	if len(blob) < introLen {
		return nil, corrupt("%d bytes, too short for a header", len(blob))
	}
	il, dl, err := checkIntro(blob)
	if err != nil {
		return nil, err
	}
	want := introLen + il*entryLen + dl
	if len(blob) != want {
		return nil, corrupt("%d bytes, but %d entries and %d bytes of data make %d", len(blob), il, dl, want)
	}
	h := &Header{
		blob:    blob,
		entries: blob[introLen : introLen+il*entryLen : introLen+il*entryLen],
		data:    blob[introLen+il*entryLen:],
	}
	if err := h.checkRegion(); err != nil {
		return nil, err
	}
	if err := h.checkEntries(); err != nil {
		return nil, err
	}
	return h, nil
}

// ParseMagic reads a header in the form of a package file, which starts with
// the magic 8e ad e8 01. It reads exactly the header, without the padding that
// follows a signature header, and returns the number of bytes read. Errors
// about the content wrap ErrCorrupt; a short file is io.ErrUnexpectedEOF.
func ParseMagic(r io.Reader) (*Header, int64, error) {
	var intro [16]byte
	n, err := io.ReadFull(r, intro[:])
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, int64(n), fmt.Errorf("cannot read rpm header: %w", err)
	}
	if !bytes.Equal(intro[:4], magic[:4]) {
		return nil, int64(n), corrupt("starts with % x, want % x", intro[:4], magic[:4])
	}
	il, dl, err := checkIntro(intro[8:])
	if err != nil {
		return nil, int64(n), err
	}
	// The counts are not trusted with memory before the bytes are there.
	rest := int64(il*entryLen + dl)
	buf := bytes.NewBuffer(make([]byte, 0, introLen+min(rest, 1<<20)))
	buf.Write(intro[8:])
	m, err := io.CopyN(buf, r, rest)
	read := int64(n) + m
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, read, fmt.Errorf("cannot read rpm header: %w", err)
	}
	h, err := Parse(buf.Bytes())
	return h, read, err
}

func checkIntro(b []byte) (il, dl int, err error) {
	uil, udl := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if uil < 1 || uil > maxEntries {
		return 0, 0, corrupt("%d index entries, want 1 to %d", uil, maxEntries)
	}
	if udl > maxData {
		return 0, 0, corrupt("%d bytes of data, at most %d are allowed", udl, maxData)
	}
	return int(uil), int(udl), nil
}

// checkRegion finds the region and checks its trailer.
func (h *Header) checkRegion() error {
	e := h.entry(0)
	if e.tag < TagHeaderImage || e.tag > TagHeaderImmutable {
		return nil
	}
	if e.typ != TypeBin || e.count != trailerLen {
		return corrupt("region tag %d has type %d and count %d, want %d and %d", e.tag, e.typ, e.count, TypeBin, trailerLen)
	}
	if e.offset == 0 && e.tag == TagHeaderImage {
		return nil // made by rpm 3 and earlier: no trailer, nothing to rebuild
	}
	if e.offset < 0 || e.offset+trailerLen > len(h.data) {
		return corrupt("the trailer of region %d lies at %d, outside %d bytes of data", e.tag, e.offset, len(h.data))
	}
	t := h.data[e.offset:]
	tag := Tag(binary.BigEndian.Uint32(t))
	typ := Type(binary.BigEndian.Uint32(t[4:]))
	back := int(int32(binary.BigEndian.Uint32(t[8:])))
	count := int(binary.BigEndian.Uint32(t[12:]))
	// rpm accepts 61 in the trailer of a signature region: old packages have it.
	if tag != e.tag && !(e.tag == TagHeaderSignatures && tag == TagHeaderImage) {
		return corrupt("region %d ends in a trailer of tag %d", e.tag, tag)
	}
	if typ != TypeBin || count != trailerLen || back >= 0 || back%entryLen != 0 {
		return corrupt("region %d has a bad trailer: type %d, offset %d, count %d", e.tag, typ, back, count)
	}
	ril := -back / entryLen
	if ril > len(h.entries)/entryLen {
		return corrupt("region %d claims %d of %d entries", e.tag, ril, len(h.entries)/entryLen)
	}
	h.regionTag, h.ril, h.rdl = e.tag, ril, e.offset+trailerLen
	return nil
}

// checkEntries checks type, bounds, alignment and string terminators of every
// entry but the region's.
func (h *Header) checkEntries() error {
	n := len(h.entries) / entryLen
	first := 0
	if h.regionTag != 0 || h.entry(0).tag == TagHeaderImage {
		first = 1
	}
	// Entries normally lie one behind the other. Where they overlap, the same
	// bytes are searched for terminators again: a budget bounds that.
	budget := 8*len(h.data) + 1<<20
	for i := first; i < n; i++ {
		e := h.entry(i)
		end := len(h.data)
		if h.regionTag != 0 && i < h.ril {
			end = h.rdl - trailerLen
		}
		if e.typ > typeMax {
			return corrupt("tag %d has unknown type %d", e.tag, e.typ)
		}
		if e.offset < 0 || e.offset > end {
			return corrupt("tag %d lies at %d, outside %d bytes of data", e.tag, e.offset, end)
		}
		if e.count == 0 || e.count > maxData {
			return corrupt("tag %d has count %d", e.tag, e.count)
		}
		if e.typ == TypeNull {
			continue
		}
		if size := elementSize[e.typ]; size > 0 {
			if e.offset%size != 0 {
				return corrupt("tag %d of type %d lies at %d, not aligned", e.tag, e.typ, e.offset)
			}
			if e.count > (end-e.offset)/size {
				return corrupt("tag %d: %d elements of %d bytes at %d do not fit in %d bytes of data", e.tag, e.count, size, e.offset, end)
			}
			continue
		}
		if e.typ == TypeString && e.count != 1 {
			return corrupt("tag %d is one string with count %d", e.tag, e.count)
		}
		if e.typ == TypeString || e.count == 1 {
			at := bytes.IndexByte(h.data[e.offset:end], 0)
			if budget -= at + 1; at < 0 || budget < 0 {
				return corrupt("tag %d: a string at %d does not end", e.tag, e.offset)
			}
			continue
		}
		next := end
		if i+1 < n {
			if o := h.entry(i + 1).offset; o > e.offset && o < end {
				next = o
			}
		}
		budget -= next - e.offset
		if bytes.Count(h.data[e.offset:next], nul) >= e.count {
			continue
		}
		budget -= end - e.offset
		if budget < 0 || bytes.Count(h.data[e.offset:end], nul) < e.count {
			return corrupt("tag %d: %d strings at %d do not end within the data", e.tag, e.count, e.offset)
		}
	}
	return nil
}

var nul = []byte{0}

// find looks a tag up.
func (h *Header) find(t Tag) (entry, bool) {
	if i := h.index(t); i >= 0 {
		return h.entry(i), true
	}
	return entry{}, false
}

// index returns the entry of a tag, -1 for none. Entries behind the region
// replace those in it.
func (h *Header) index(t Tag) int {
	n := len(h.entries) / entryLen
	if h.regionTag != 0 {
		for i := h.ril; i < n; i++ {
			if Tag(binary.BigEndian.Uint32(h.entries[i*entryLen:])) == t {
				return i
			}
		}
		n = h.ril
	}
	for i := 0; i < n; i++ {
		if Tag(binary.BigEndian.Uint32(h.entries[i*entryLen:])) == t {
			return i
		}
	}
	return -1
}

// Raw returns the header in the form that Parse reads. It is the Header's own
// memory and must not be changed.
func (h *Header) Raw() []byte { return h.blob }
