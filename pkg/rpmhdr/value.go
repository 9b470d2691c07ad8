package rpmhdr

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Has reports whether the header has an entry of that tag.
func (h *Header) Has(t Tag) bool {
	_, ok := h.find(t)
	return ok
}

// String returns a string entry, the first one of an array, or the first
// locale of a translated text, which is the untranslated ("C") one. It is
// empty where the tag is absent or no text. The result is a copy: it does not
// keep the header in memory.
func (h *Header) String(t Tag) string {
	e, ok := h.find(t)
	if !ok || !e.isText() {
		return ""
	}
	b := h.data[e.offset:]
	return string(b[:bytes.IndexByte(b, 0)])
}

// Strings returns all strings of an entry, nil where the tag is absent or no
// text. All of them share one copy of their bytes.
func (h *Header) Strings(t Tag) []string {
	block, n := h.texts(t)
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i], block = cutText(block)
	}
	return out
}

// texts returns one copy of all strings of an entry, each ended by a NUL, and
// their number: 0 where the tag is absent or no text. cutText takes them off.
func (h *Header) texts(t Tag) (block string, n int) {
	i := h.index(t)
	if i < 0 {
		return "", 0
	}
	e := h.entry(i)
	if !e.isText() {
		return "", 0
	}
	// Entries mostly lie one behind the other, with few bytes of padding.
	if i+1 < len(h.entries)/entryLen {
		if next := h.entry(i + 1).offset; next > e.offset && next <= len(h.data) && h.data[next-1] == 0 {
			if k := bytes.Count(h.data[e.offset:next], nul); k >= e.count && k < e.count+8 {
				return string(h.data[e.offset:next]), e.count
			}
		}
	}
	end := e.offset
	for range e.count {
		end += bytes.IndexByte(h.data[end:], 0) + 1
	}
	return string(h.data[e.offset:end]), e.count
}

func cutText(block string) (s, rest string) {
	at := strings.IndexByte(block, 0)
	return block[:at], block[at+1:]
}

func (e entry) isText() bool {
	return e.typ == TypeString || e.typ == TypeStringArray || e.typ == TypeI18NString
}

// Bytes returns a binary entry: the Header's own memory, which must not be
// changed and keeps the whole header alive. It is nil where the tag is absent
// or of another type.
func (h *Header) Bytes(t Tag) []byte {
	e, ok := h.find(t)
	if !ok || (e.typ != TypeBin && e.typ != TypeChar && e.typ != TypeInt8) {
		return nil
	}
	return h.data[e.offset : e.offset+e.count : e.offset+e.count]
}

// Uint16s returns the elements of an entry of 16-bit or narrower integers, nil
// where the tag is absent or of another type.
func (h *Header) Uint16s(t Tag) []uint16 { return integers[uint16](h, t, 2) }

// Uint32s returns the elements of an entry of 32-bit or narrower integers, nil
// where the tag is absent or of another type.
func (h *Header) Uint32s(t Tag) []uint32 { return integers[uint32](h, t, 4) }

// Uint64s returns the elements of an entry of integers of any width, nil where
// the tag is absent or of another type.
func (h *Header) Uint64s(t Tag) []uint64 { return integers[uint64](h, t, 8) }

// Uint64 returns the first element of an entry of integers of any width, and
// whether there is one.
func (h *Header) Uint64(t Tag) (uint64, bool) {
	e, ok := h.find(t)
	if !ok || !e.isInteger() {
		return 0, false
	}
	return h.element(e, 0), true
}

func (e entry) isInteger() bool { return e.typ >= TypeChar && e.typ <= TypeInt64 }

func (h *Header) element(e entry, i int) uint64 {
	b := h.data[e.offset+i*elementSize[e.typ]:]
	switch e.typ {
	case TypeInt16:
		return uint64(binary.BigEndian.Uint16(b))
	case TypeInt32:
		return uint64(binary.BigEndian.Uint32(b))
	case TypeInt64:
		return binary.BigEndian.Uint64(b)
	}
	return uint64(b[0])
}

func integers[T uint16 | uint32 | uint64](h *Header, t Tag, width int) []T {
	e, ok := h.find(t)
	if !ok || !e.isInteger() || elementSize[e.typ] > width {
		return nil
	}
	out := make([]T, e.count)
	if e.typ == TypeInt32 { // file flags, directory indexes: the long ones
		b := h.data[e.offset : e.offset+4*e.count]
		for i := range out {
			out[i] = T(binary.BigEndian.Uint32(b[4*i:]))
		}
		return out
	}
	for i := range out {
		out[i] = T(h.element(e, i))
	}
	return out
}
