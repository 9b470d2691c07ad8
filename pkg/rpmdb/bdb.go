package rpmdb

import (
	"encoding/binary"
	"math/bits"
	"os"
)

// Berkeley DB, dbinc/db_page.h: the metadata page of a hash database.
const (
	bdbHashMagic  = 0x061561
	bdbBtreeMagic = 0x053162
	bdbMetaLen    = 512

	bdbMetaMagic    = 12
	bdbMetaVersion  = 16
	bdbMetaPageSize = 20
	bdbMetaEncrypt  = 24
	bdbMetaType     = 25
	bdbMetaFlags    = 26
	bdbMetaLastPage = 32
	bdbMetaBuckets  = 72 // highest bucket
	bdbMetaHighMask = 76
	bdbMetaRecords  = 88 // nelem
	bdbMetaSpares   = 96 // 32 of them

	bdbFlagChecksum = 0x01
)

// The head of every page, and the types that occur here.
const (
	bdbPageNumber  = 8
	bdbPagePrev    = 12
	bdbPageNext    = 16
	bdbPageEntries = 20
	bdbPageOffset  = 22 // on an overflow page: bytes of data
	bdbPageType    = 25
	bdbPageHead    = 26

	bdbTypeUnused       = 0
	bdbTypeHashUnsorted = 2
	bdbTypeOverflow     = 7
	bdbTypeHashMeta     = 8
	bdbTypeHash         = 13
)

// The types of an item on a hash page.
const (
	bdbItemData     = 1
	bdbItemOverflow = 3
	bdbOverflowLen  = 12 // type, three bytes unused, page, length
)

// bdbFile is a Berkeley DB hash file: rpm's Packages.
type bdbFile struct {
	f        *os.File
	w        window
	stamp    stamp
	order    binary.ByteOrder
	pageSize int
	pages    uint32 // in the file, the metadata page included
	buckets  uint32
	records  uint32
	spares   [32]uint32
	seen     pageSet
	alloc    allocator
	page     []byte // copy of the hash page under way
}

func newBDB(f *os.File) (*bdbFile, error) {
	st, err := takeStamp(f, bdbMetaLen)
	if err != nil {
		return nil, err
	}
	b := &bdbFile{f: f, stamp: st, w: window{f: f, size: st.info.Size(), next: windowMin}}
	if err := b.readMeta(st.start); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *bdbFile) close() { b.f.Close() }

func (b *bdbFile) changed() (changed, busy bool, err error) {
	changed, err = b.stamp.moved(b.f)
	return changed, recent(b.f), err
}

func (b *bdbFile) readMeta(m []byte) error {
	if len(m) < bdbMetaLen {
		return corrupt("page 0: the file has %d bytes, too few for Berkeley DB", len(m))
	}
	b.order = binary.LittleEndian
	if binary.BigEndian.Uint32(m[bdbMetaMagic:]) == bdbHashMagic || binary.BigEndian.Uint32(m[bdbMetaMagic:]) == bdbBtreeMagic {
		b.order = binary.BigEndian
	}
	u32 := func(at int) uint32 { return b.order.Uint32(m[at:]) }
	switch magic := u32(bdbMetaMagic); magic {
	case bdbHashMagic:
	case bdbBtreeMagic:
		return unsupported("a Berkeley DB btree; rpm's Packages is a hash")
	default:
		return corrupt("page 0: no Berkeley DB file (magic %#x)", magic)
	}
	if v := u32(bdbMetaVersion); v < 8 || v > 10 {
		return unsupported("Berkeley DB hash version %d; versions 8 to 10 can be read", v)
	}
	if m[bdbMetaType] != bdbTypeHashMeta {
		return corrupt("page 0 has type %d, want %d", m[bdbMetaType], bdbTypeHashMeta)
	}
	if m[bdbMetaEncrypt] != 0 || m[bdbMetaFlags]&bdbFlagChecksum != 0 {
		return unsupported("Berkeley DB with encryption or page checksums, which rpm never uses")
	}
	size := u32(bdbMetaPageSize)
	if size < 512 || size > 64<<10 || bits.OnesCount32(size) != 1 {
		return corrupt("page 0: page size %d", size)
	}
	b.pageSize = int(size)
	last := u32(bdbMetaLastPage)
	if want := (int64(last) + 1) * int64(size); b.w.size < want {
		return corrupt("the file has %d bytes, its %d pages need %d: page %d is cut off or missing", b.w.size, int64(last)+1, want, b.w.size/int64(size))
	}
	b.pages = last + 1
	b.buckets = u32(bdbMetaBuckets)
	if b.pages == 0 || b.buckets >= b.pages {
		return corrupt("page 0: %d buckets in %d pages", int64(b.buckets)+1, b.pages)
	}
	b.records = u32(bdbMetaRecords)
	for i := range b.spares {
		b.spares[i] = u32(bdbMetaSpares + 4*i)
	}
	return nil
}

// rows walks the buckets, each a chain of hash pages.
func (b *bdbFile) rows(alloc allocator, fn func(uint32, []byte) error) error {
	b.alloc = alloc
	b.seen = newPageSet(b.pages)
	b.seen.add(0)
	b.page = make([]byte, b.pageSize)
	var count uint32
	var highest uint32
	counter := false
	var top uint32
	err := error(nil)
	for bucket := uint32(0); bucket <= b.buckets && err == nil; bucket++ {
		// Buckets of one doubling lie together: spares holds the shift of each.
		n := bucket + b.spares[bits.Len32(bucket)]
		err = b.chain(n, func(key uint32, value []byte, page uint32) error {
			count++
			if key != 0 {
				top = max(top, key)
				return fn(key, value)
			}
			// Record 0 is no header: it holds the highest number given out.
			if len(value) != 4 || counter {
				return corrupt("page %d: the record counter has %d bytes or is there twice", page, len(value))
			}
			highest, counter = b.order.Uint32(value), true
			return nil
		})
	}
	switch {
	case err != nil:
		return err
	case count != b.records:
		return corrupt("%d records were found, page 0 counts %d; \"rpm --rebuilddb\" on the host repairs what can be repaired", count, b.records)
	case counter && top > highest:
		return corrupt("record %d is above the highest number given out, %d", top, highest)
	}
	return nil
}

// load returns the page, checked to be itself, met for the first time.
func (b *bdbFile) load(n, prev uint32) ([]byte, error) {
	if n == 0 || n >= b.pages {
		return nil, corrupt("page %d refers to page %d of %d", prev, n, b.pages)
	}
	if !b.seen.add(n) {
		return nil, corrupt("page %d is used twice", n)
	}
	p, err := b.w.at(int64(n)*int64(b.pageSize), b.pageSize)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// chain reads the pages of a bucket from its first one.
func (b *bdbFile) chain(n uint32, fn func(key uint32, value []byte, page uint32) error) error {
	prev := uint32(0)
	for n != 0 || prev == 0 {
		p, err := b.load(n, prev)
		if err != nil {
			return err
		}
		if p[bdbPageType] == bdbTypeUnused && prev == 0 && allZero(p) {
			return nil // a bucket that never held anything has no page yet
		}
		if got := b.order.Uint32(p[bdbPageNumber:]); got != n {
			return corrupt("page %d says it is page %d", n, got)
		}
		if t := p[bdbPageType]; t != bdbTypeHash && t != bdbTypeHashUnsorted {
			return corrupt("page %d has type %d, want a hash page", n, t)
		}
		if got := b.order.Uint32(p[bdbPagePrev:]); got != prev {
			return corrupt("page %d follows page %d, but says page %d", n, prev, got)
		}
		copy(b.page, p)
		if err := b.hashPage(n, b.page, fn); err != nil {
			return err
		}
		prev, n = n, b.order.Uint32(b.page[bdbPageNext:])
	}
	return nil
}

func allZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// hashPage reads the pairs of one page. Item i ends where item i-1 begins.
func (b *bdbFile) hashPage(n uint32, p []byte, fn func(key uint32, value []byte, page uint32) error) error {
	entries := int(b.order.Uint16(p[bdbPageEntries:]))
	low := bdbPageHead + 2*entries
	if entries%2 != 0 || low > len(p) {
		return corrupt("page %d has %d items", n, entries)
	}
	end := len(p)
	item := func(i int) ([]byte, error) {
		start := int(b.order.Uint16(p[bdbPageHead+2*i:]))
		if start < low || start >= end {
			return nil, corrupt("page %d: item %d lies at %d to %d", n, i, start, end)
		}
		it := p[start:end]
		end = start
		return it, nil
	}
	for i := 0; i < entries; i += 2 {
		k, err := item(i)
		if err != nil {
			return err
		}
		v, err := item(i + 1)
		if err != nil {
			return err
		}
		if k[0] != bdbItemData || len(k) != 5 {
			return corrupt("page %d: item %d of type %d and %d bytes is no record number", n, i, k[0], len(k))
		}
		key := b.order.Uint32(k[1:])
		var value []byte
		switch v[0] {
		case bdbItemData:
			value = append(b.alloc(len(v)-1), v[1:]...)
		case bdbItemOverflow:
			if value, err = b.overflow(n, i+1, v); err != nil {
				return err
			}
		default:
			return corrupt("page %d: item %d has type %d", n, i+1, v[0])
		}
		if err := fn(key, value, n); err != nil {
			return err
		}
	}
	if entries > 0 && int(b.order.Uint16(p[bdbPageOffset:])) != end {
		return corrupt("page %d: items begin at %d, the page says %d", n, end, b.order.Uint16(p[bdbPageOffset:]))
	}
	return nil
}

// overflow collects an item that is kept in a chain of pages of its own.
func (b *bdbFile) overflow(from uint32, i int, it []byte) ([]byte, error) {
	if len(it) != bdbOverflowLen {
		return nil, corrupt("page %d: item %d has %d bytes, want %d", from, i, len(it), bdbOverflowLen)
	}
	n, total := b.order.Uint32(it[4:]), int64(b.order.Uint32(it[8:]))
	if total > int64(b.pages)*int64(b.pageSize) {
		return nil, corrupt("page %d: item %d claims %d bytes, more than the file has", from, i, total)
	}
	value := b.alloc(int(total))
	prev := uint32(0)
	for n != 0 {
		p, err := b.load(n, from)
		if err != nil {
			return nil, err
		}
		if got := b.order.Uint32(p[bdbPageNumber:]); got != n {
			return nil, corrupt("page %d says it is page %d", n, got)
		}
		if p[bdbPageType] != bdbTypeOverflow {
			return nil, corrupt("page %d has type %d, want an overflow page", n, p[bdbPageType])
		}
		if got := b.order.Uint32(p[bdbPagePrev:]); got != prev {
			return nil, corrupt("page %d follows page %d, but says page %d", n, prev, got)
		}
		have := int(b.order.Uint16(p[bdbPageOffset:]))
		if have == 0 || bdbPageHead+have > len(p) || int64(len(value)+have) > total {
			return nil, corrupt("page %d: %d bytes of data, %d of %d were there before", n, have, len(value), total)
		}
		value = append(value, p[bdbPageHead:bdbPageHead+have]...)
		prev, n = n, b.order.Uint32(p[bdbPageNext:])
	}
	if int64(len(value)) != total {
		return nil, corrupt("page %d: item %d has %d bytes, want %d", from, i, len(value), total)
	}
	return value, nil
}
