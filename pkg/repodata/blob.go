package repodata

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
)

const blobChunk = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blob is a section of an index being built: bytes in chunks, so that growing
// never copies.
type blob struct {
	chunks [][]byte // all but the last are full
	n      int
}

func (b *blob) grow() {
	b.chunks = append(b.chunks, make([]byte, 0, blobChunk))
}

// write appends p, which may come to lie in several chunks.
func (b *blob) write(p []byte) {
	b.n += len(p)
	for len(p) > 0 {
		if len(b.chunks) == 0 || len(b.chunks[len(b.chunks)-1]) == blobChunk {
			b.grow()
		}
		c := &b.chunks[len(b.chunks)-1]
		k := min(len(p), blobChunk-len(*c))
		*c = append(*c, p[:k]...)
		p = p[k:]
	}
}

// place appends p, at most blobChunk bytes, in one piece, and returns where.
func (b *blob) place(p []byte) uint32 {
	if len(b.chunks) > 0 {
		if c := &b.chunks[len(b.chunks)-1]; blobChunk-len(*c) < len(p) {
			b.n += blobChunk - len(*c)
			*c = (*c)[:blobChunk]
		}
	}
	at := b.n
	b.write(p)
	return uint32(at)
}

// at returns the bytes from off to the end of their chunk.
func (b *blob) at(off uint32) []byte {
	return b.chunks[off/blobChunk][off%blobChunk:]
}

func (b *blob) u32(v uint32) {
	var t [4]byte
	binary.LittleEndian.PutUint32(t[:], v)
	b.write(t[:])
}

func (b *blob) crc() uint32 {
	var c uint32
	for _, p := range b.chunks {
		c = crc32.Update(c, castagnoli, p)
	}
	return c
}

func (b *blob) writeTo(w io.Writer) error {
	for _, p := range b.chunks {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// hashBytes is a keyed hash in the manner of wyhash: it spreads well, and with
// a random key nobody can write metadata whose names all collide.
func hashBytes(b []byte, seed uint64) uint32 {
	const k0, k1 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db
	h := seed ^ uint64(len(b))*k0
	for len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), seed^k1)
		b = b[8:]
	}
	var t uint64
	for i, c := range b {
		t |= uint64(c) << (8 * i)
	}
	h = mix(h^t, seed^k0)
	return uint32(h) ^ uint32(h>>32)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func newSeed() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// interner keeps byte strings of a self-delimiting encoding once each. A string
// is known by its offset in the blob.
type interner struct {
	blob  blob
	seed  uint64
	skip  int      // bytes before the string proper, for the user of the table
	slots []uint64 // hash<<32 | offset+1; 0 is free
	used  int
}

func newInterner(seed uint64, skip int) *interner {
	return &interner{seed: seed, skip: skip, slots: make([]uint64, 1<<10)}
}

// intern returns the offset of enc[skip:], which is added if it is new; then
// all of enc is stored, and the offset is that of enc.
func (t *interner) intern(enc []byte, hash uint32) uint32 {
	key := enc[t.skip:]
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s == 0 {
			off := t.blob.place(enc)
			t.slots[i] = uint64(hash)<<32 | uint64(off+1)
			if t.used++; t.used*3 > len(t.slots)*2 {
				t.rehash()
			}
			return off
		}
		if uint32(s>>32) == hash {
			off := uint32(s) - 1
			if have := t.blob.at(off)[t.skip:]; len(have) >= len(key) && string(have[:len(key)]) == string(key) {
				return off
			}
		}
	}
}

func (t *interner) rehash() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := uint32(s>>32) & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

// table writes the slots as they are looked up in the file: offset+1 each.
func (t *interner) table() *blob {
	b := &blob{}
	var p [4 * 1024]byte
	n := 0
	for _, s := range t.slots {
		binary.LittleEndian.PutUint32(p[n:], uint32(s))
		if n += 4; n == len(p) {
			b.write(p[:])
			n = 0
		}
	}
	b.write(p[:n])
	return b
}

// strings is an interner for strings with room for a reference to what is known
// of each: 4 bytes (owner's use), uvarint length, bytes.
type stringTable struct {
	*interner
	enc []byte
}

const strHead = 4

func newStringTable() *stringTable {
	t := &stringTable{interner: newInterner(newSeed(), strHead)}
	t.add(nil) // the empty string is at offset 0
	return t
}

func (t *stringTable) add(s []byte) uint32 {
	if len(s) == 0 && t.used > 0 {
		return 0
	}
	t.enc = append(t.enc[:0], 0, 0, 0, 0)
	t.enc = binary.AppendUvarint(t.enc, uint64(len(s)))
	t.enc = append(t.enc, s...)
	return t.intern(t.enc, hashBytes(s, t.seed))
}

func (t *stringTable) addString(s string) uint32 { return t.add([]byte(s)) }

// lookup returns the offset of s if it is there.
func (t *stringTable) lookup(s string) (uint32, bool) {
	h := hashBytes([]byte(s), t.seed)
	mask := uint32(len(t.slots) - 1)
	for i := h & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if uint32(t.slots[i]>>32) != h {
			continue
		}
		off := uint32(t.slots[i]) - 1
		if string(t.get(off)) == s {
			return off, true
		}
	}
	return 0, false
}

func (t *stringTable) get(off uint32) []byte {
	b := t.blob.at(off)[strHead:]
	n, k := binary.Uvarint(b)
	return b[k : k+int(n)]
}

// head returns the 4 bytes of a string that are the owner's.
func (t *stringTable) head(off uint32) uint32 { return binary.LittleEndian.Uint32(t.blob.at(off)) }

func (t *stringTable) setHead(off, v uint32) { binary.LittleEndian.PutUint32(t.blob.at(off), v) }

// chains collects, per string, what refers to it.
type chains struct {
	strs  *stringTable
	heads []uint32 // per string with a chain: its last node; string heads hold index+1
	owner []uint32 // per head: the string's offset
	nodes [][]chainNode
	n     int // nodes in all
}

// chainNode is a link; next is the index of the one before, plus one.
type chainNode struct{ val, aux, next uint32 }

const chainChunk = 1 << 14

// node returns the node of an index plus one, nil for 0.
func (c *chains) node(i uint32) *chainNode {
	if i == 0 {
		return nil
	}
	i--
	return &c.nodes[i/chainChunk][i%chainChunk]
}

// last returns the node most recently added for a string.
func (c *chains) last(str uint32) *chainNode {
	if h := c.strs.head(str); h != 0 {
		return c.node(c.heads[h-1])
	}
	return nil
}

func (c *chains) add(str, val, aux uint32) {
	h := c.strs.head(str)
	if h == 0 {
		c.heads = append(c.heads, 0)
		c.owner = append(c.owner, str)
		h = uint32(len(c.heads))
		c.strs.setHead(str, h)
	}
	if c.n%chainChunk == 0 {
		c.nodes = append(c.nodes, make([]chainNode, 0, chainChunk))
	}
	last := &c.nodes[len(c.nodes)-1]
	*last = append(*last, chainNode{val, aux, c.heads[h-1]})
	c.n++
	c.heads[h-1] = uint32(c.n)
}

const maxBlob = 1 << 31

func tooLarge(b *blob, what string) error {
	if b.n > maxBlob {
		return fmt.Errorf("cannot index %s: more than %d bytes: %w", what, maxBlob, ErrTooLarge)
	}
	return nil
}
