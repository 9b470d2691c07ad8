package repack

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sort"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// lead is the 96 bytes in front. rpm reads only the magic, the version, the type and the signature type from it.
func (p *pkg) lead() []byte {
	b := make([]byte, 96)
	copy(b, "\xed\xab\xee\xdb\x03\x00")
	binary.BigEndian.PutUint16(b[8:], archNumber(p.built.String(rpmhdr.TagArch)))
	name := p.built.NEVRA()
	copy(b[10:75], name.Name+"-"+name.EVR.Version+"-"+name.EVR.Release)
	binary.BigEndian.PutUint16(b[76:], 1) // Linux
	binary.BigEndian.PutUint16(b[78:], 5) // a signature header follows
	return b
}

// archNumber is the architecture's number as packages of the distributions have it.
func archNumber(arch string) uint16 {
	switch arch {
	case "noarch":
		return 255
	case "aarch64":
		return 19
	case "ppc64", "ppc64le":
		return 16
	case "s390x":
		return 15
	case "s390":
		return 14
	}
	return 1 // x86
}

// sigEntry is a tag that rpm moves from the signature header into the database (headerMergeLegacySigs), with its number there.
type sigEntry struct {
	db, file rpmhdr.Tag
	typ      rpmhdr.Type
}

var sigEntries = []sigEntry{
	{257, 1000, rpmhdr.TypeInt32},      // size of header and payload
	{259, 1002, rpmhdr.TypeBin},        // signature over header and payload
	{261, 1004, rpmhdr.TypeBin},        // MD5 of header and payload
	{262, 1005, rpmhdr.TypeBin},        // DSA signature over header and payload
	{1046, 1007, rpmhdr.TypeInt32},     // size of the archive
	{267, 267, rpmhdr.TypeBin},         // DSA signature over the header
	{268, 268, rpmhdr.TypeBin},         // RSA signature over the header
	{269, 269, rpmhdr.TypeString},      // SHA-1 of the header
	{270, 270, rpmhdr.TypeInt64},       // as 257, from 4 GiB on
	{271, 271, rpmhdr.TypeInt64},       // as 1046
	{273, 273, rpmhdr.TypeString},      // SHA-256 of the header
	{274, 274, rpmhdr.TypeStringArray}, // IMA signatures of the files
	{275, 275, rpmhdr.TypeInt32},       // their length
	{276, 276, rpmhdr.TypeStringArray}, // fs-verity signatures of the files
	{277, 277, rpmhdr.TypeInt32},       // their algorithm
	{278, 278, rpmhdr.TypeStringArray}, // OpenPGP signatures over the header
	{279, 279, rpmhdr.TypeString},      // SHA3-256 of the header
}

// signature rebuilds the signature header with its padding.
func (p *pkg) signature() ([]byte, error) {
	type item struct {
		tag   rpmhdr.Tag
		typ   rpmhdr.Type
		count int
		data  []byte
	}
	var items []item
	for _, s := range sigEntries {
		if !p.h.Has(s.db) || p.built.Has(s.db) {
			continue
		}
		it := item{tag: s.file, typ: s.typ}
		switch s.typ {
		case rpmhdr.TypeBin:
			it.data = p.h.Bytes(s.db)
			it.count = len(it.data)
		case rpmhdr.TypeString:
			it.data, it.count = append([]byte(p.h.String(s.db)), 0), 1
		case rpmhdr.TypeStringArray:
			for _, v := range p.h.Strings(s.db) {
				it.data = append(append(it.data, v...), 0)
				it.count++
			}
		case rpmhdr.TypeInt32:
			for _, v := range p.h.Uint32s(s.db) {
				it.data = binary.BigEndian.AppendUint32(it.data, v)
				it.count++
			}
		case rpmhdr.TypeInt64:
			for _, v := range p.h.Uint64s(s.db) {
				it.data = binary.BigEndian.AppendUint64(it.data, v)
				it.count++
			}
		}
		if it.count == 0 {
			return nil, errors.New("its header holds a signature entry of an unexpected type")
		}
		items = append(items, it)
	}
	sort.Slice(items, func(i, j int) bool { return items[i].tag < items[j].tag })

	// The region's own entry comes first; its trailer, a negated copy of it, lies behind the data of all others.
	var index, data []byte
	entry := func(b []byte, tag rpmhdr.Tag, typ rpmhdr.Type, offset int32, count int) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(tag))
		b = binary.BigEndian.AppendUint32(b, uint32(typ))
		b = binary.BigEndian.AppendUint32(b, uint32(offset))
		return binary.BigEndian.AppendUint32(b, uint32(count))
	}
	align := map[rpmhdr.Type]int{rpmhdr.TypeInt32: 4, rpmhdr.TypeInt64: 8}
	for _, it := range items {
		if a := align[it.typ]; a > 0 {
			data = append(data, make([]byte, -len(data)&(a-1))...)
		}
		index = entry(index, it.tag, it.typ, int32(len(data)), it.count)
		data = append(data, it.data...)
	}
	il := len(items) + 1
	index = append(entry(nil, rpmhdr.TagHeaderSignatures, rpmhdr.TypeBin, int32(len(data)), 16), index...)
	data = entry(data, rpmhdr.TagHeaderSignatures, rpmhdr.TypeBin, int32(-16*il), 16)

	var b bytes.Buffer
	b.WriteString("\x8e\xad\xe8\x01\x00\x00\x00\x00")
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(il)))
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data))))
	b.Write(index)
	b.Write(data)
	b.Write(make([]byte, -b.Len()&7))
	return b.Bytes(), nil
}

// check compares the archive with what the header, or the signature header, says of the original one.
type check struct {
	p             *pkg
	plain, packed io.Writer
	payload, alt  hash.Hash
	md5           hash.Hash
}

func (p *pkg) newCheck() *check {
	c := &check{p: p, plain: io.Discard, packed: io.Discard}
	algo := uint32(8)
	if a := p.built.Uint32s(rpmhdr.TagPayloadDigestAlgo); len(a) > 0 {
		algo = a[0]
	}
	var packed []io.Writer
	if p.built.Has(rpmhdr.TagPayloadDigest) {
		if c.payload = newHash(algo); c.payload != nil {
			packed = append(packed, c.payload)
		}
	}
	if p.built.Has(rpmhdr.TagPayloadDigestAlt) {
		if c.alt = newHash(algo); c.alt != nil {
			c.plain = c.alt
		}
	}
	if len(p.h.Bytes(rpmhdr.TagSigMD5)) == md5.Size {
		c.md5 = md5.New()
		c.md5.Write(p.raw)
		packed = append(packed, c.md5)
	}
	if len(packed) > 0 {
		c.packed = io.MultiWriter(packed...)
	}
	return c
}

func (c *check) results() (exact, content bool) {
	matches := func(h hash.Hash, tag rpmhdr.Tag) bool {
		return h != nil && hex.EncodeToString(h.Sum(nil)) == c.p.built.String(tag)
	}
	content = matches(c.alt, rpmhdr.TagPayloadDigestAlt)
	if c.payload != nil {
		exact = matches(c.payload, rpmhdr.TagPayloadDigest)
		if c.md5 != nil {
			exact = exact && bytes.Equal(c.md5.Sum(nil), c.p.h.Bytes(rpmhdr.TagSigMD5))
		}
		return exact, content || exact && c.alt == nil
	}
	exact = c.md5 != nil && bytes.Equal(c.md5.Sum(nil), c.p.h.Bytes(rpmhdr.TagSigMD5))
	return exact, exact
}
