package elfdyn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
)

// image builds small ELF files of either class and byte order: an executable
// that imports one versioned function, copies one object and exports another.
type image struct {
	is64  bool
	order binary.AppendByteOrder
	get   binary.ByteOrder
	mach  uint16
	at    map[string]int // where parts lie, for tests that damage them
}

func little(is64 bool, mach uint16) *image {
	return &image{is64, binary.LittleEndian, binary.LittleEndian, mach, map[string]int{}}
}

func big(is64 bool, mach uint16) *image {
	return &image{is64, binary.BigEndian, binary.BigEndian, mach, map[string]int{}}
}

// base is the address of the first byte of the file.
const base = 0x10000

func (m *image) build() []byte {
	word := func(b []byte, v uint64) []byte {
		if m.is64 {
			return m.order.AppendUint64(b, v)
		}
		return m.order.AppendUint32(b, uint32(v))
	}
	u16, u32 := m.order.AppendUint16, m.order.AppendUint32
	strs := []byte{0}
	str := func(s string) uint32 {
		n := len(strs)
		strs = append(append(strs, s...), 0)
		return uint32(n)
	}
	libc, libx, soname, run := str("libc.so.6"), str("libx.so.1"), str("me.so"), str("$ORIGIN/../lib:/opt/x")
	v1, v2, parent := str("GLIBC_2.2.5"), str("ME_2"), str("ME_1")
	read, table, mine := str("read"), str("table"), str("mine")

	size := 52
	if m.is64 {
		size = 64
	}
	const phnum = 4
	phsize := 32
	if m.is64 {
		phsize = 56
	}
	out := make([]byte, size+phnum*phsize)
	put := func(name string, data []byte) int {
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		m.at[name] = len(out)
		out = append(out, data...)
		return m.at[name]
	}
	interp := put("interp", []byte("/lib/ld.so\x00"))
	strtab := put("strtab", strs)
	sym := func(b []byte, name uint32, info byte, section uint16, value, length uint64) []byte {
		b = u32(b, name)
		if m.is64 {
			b = append(b, info, 0)
			return word(word(u16(b, section), value), length)
		}
		b = u32(u32(b, uint32(value)), uint32(length))
		return u16(append(b, info, 0), section)
	}
	var syms []byte
	syms = sym(syms, 0, 0, 0, 0, 0)
	syms = sym(syms, read, 1<<4|2, 0, 0, 0)
	syms = sym(syms, table, 1<<4|1, 7, 0x99, 40)
	syms = sym(syms, mine, 2<<4|2, 5, 0x11, 12)
	symtab := put("symtab", syms)
	versym := put("versym", u16(u16(u16(u16(nil, 0), 3), 3), 2))
	var need []byte
	need = u32(u32(u32(u16(u16(need, 1), 1), libc), 16), 0)
	need = u32(u32(u16(u16(u32(need, 0x1234), 0), 3), v1), 0)
	verneed := put("verneed", need)
	var def []byte
	def = u32(u32(u32(u16(u16(u16(u16(def, 1), 1), 1), 1), 7), 20), 28)
	def = u32(u32(def, soname), 0)
	def = u32(u32(u32(u16(u16(u16(u16(def, 1), 0), 2), 2), 7), 20), 0)
	def = u32(u32(def, v2), 8)
	def = u32(u32(def, parent), 0)
	verdef := put("verdef", def)
	var hash []byte
	if m.mach == 22 && m.is64 {
		hash = word(word(hash, 1), 4)
	} else {
		hash = u32(u32(hash, 1), 4)
	}
	hashAt := put("hash", hash)
	kind := map[uint16]uint64{62: 5, 3: 5, 183: 1024, 22: 9, 21: 19}[m.mach]
	var addends []byte
	if m.is64 {
		addends = word(word(word(nil, 0x99), 2<<32|kind), 0)
	} else {
		addends = word(word(word(nil, 0x99), 2<<8|kind), 0)
	}
	relaAt := put("addends", addends)
	isa := u32(u32(u32(nil, 4), 0), 5)
	isa = append(isa, "GNU\x00"...)
	prop := u32(u32(u32(nil, 0xc0008002), 4), 1|2|4)
	for m.is64 && len(prop)%8 != 0 {
		prop = append(prop, 0)
	}
	m.get.PutUint32(isa[4:], uint32(len(prop)))
	noteAt := put("note", append(isa, prop...))
	noteSize := len(out) - noteAt

	var dyn []byte
	for _, e := range [][2]uint64{
		{1, uint64(libc)}, {1, uint64(libx)}, {14, uint64(soname)}, {29, uint64(run)},
		{5, base + uint64(strtab)}, {10, uint64(len(strs))}, {6, base + uint64(symtab)},
		{0x6ffffff0, base + uint64(versym)}, {0x6ffffffe, base + uint64(verneed)}, {0x6fffffff, 1},
		{0x6ffffffc, base + uint64(verdef)}, {0x6ffffffd, 2}, {4, base + uint64(hashAt)},
		{7, base + uint64(relaAt)}, {8, uint64(len(addends))}, {0x6ffffffb, 0x08000800}, {0, 0},
	} {
		dyn = word(word(dyn, e[0]), e[1])
	}
	dynAt := put("dynamic", dyn)

	copy(out, "\x7fELF")
	out[4], out[5], out[6] = 1, 1, 1
	if m.is64 {
		out[4] = 2
	}
	if m.get == binary.ByteOrder(binary.BigEndian) {
		out[5] = 2
	}
	m.get.PutUint16(out[16:], 3)
	m.get.PutUint16(out[18:], m.mach)
	rest := out[36:]
	if m.is64 {
		m.get.PutUint64(out[32:], uint64(size))
		rest = out[48:]
	} else {
		m.get.PutUint32(out[28:], uint32(size))
	}
	m.get.PutUint16(rest[6:], uint16(phsize))
	m.get.PutUint16(rest[8:], phnum)
	for i, p := range [][3]uint64{{1, 0, uint64(len(out))}, {2, uint64(dynAt), uint64(len(dyn))}, {3, uint64(interp), 11}, {4, uint64(noteAt), uint64(noteSize)}} {
		b := out[size+i*phsize:]
		m.get.PutUint32(b, uint32(p[0]))
		if m.is64 {
			m.get.PutUint64(b[8:], p[1])
			m.get.PutUint64(b[16:], base+p[1])
			m.get.PutUint64(b[32:], p[2])
		} else {
			m.get.PutUint32(b[4:], uint32(p[1]))
			m.get.PutUint32(b[8:], uint32(base+p[1]))
			m.get.PutUint32(b[16:], uint32(p[2]))
		}
	}
	return out
}

func read(b []byte) (*elfdyn.File, error) {
	return elfdyn.Read("/opt/x", bytes.NewReader(b), int64(len(b)), elfdyn.Options{Symbols: true})
}

func TestClassesAndOrders(t *testing.T) {
	for _, c := range []struct {
		name, arch string
		m          *image
		isa        int
	}{
		{"x86-64", "x86_64", little(true, 62), 3}, {"i386", "i686", little(false, 3), 3}, {"aarch64", "aarch64", little(true, 183), 0},
		{"s390x", "s390x", big(true, 22), 0}, {"s390", "", big(false, 22), 0}, {"ppc64", "", big(true, 21), 0}, {"ppc64le", "ppc64le", little(true, 21), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := read(c.m.build())
			if err != nil {
				t.Fatal(err)
			}
			want := &elfdyn.File{
				Class: 32, BigEndian: c.m.get == binary.ByteOrder(binary.BigEndian), Machine: c.m.mach, Type: elfdyn.Dyn,
				Interp: "/lib/ld.so", Dynamic: true, PIE: true, NoDefault: true, Soname: "me.so",
				Needed: []string{"libc.so.6", "libx.so.1"}, RunPath: []string{"$ORIGIN/../lib", "/opt/x"},
				Needs: []elfdyn.Need{{Library: "libc.so.6", Versions: []elfdyn.Version{{Name: "GLIBC_2.2.5"}}}},
				Defs:  []elfdyn.Def{{Name: "me.so", Base: true}, {Name: "ME_2"}},
				Imports: []elfdyn.Symbol{
					{Name: "read", Version: "GLIBC_2.2.5", Library: "libc.so.6", Type: elfdyn.Func},
					{Name: "table", Version: "GLIBC_2.2.5", Library: "libc.so.6", Type: elfdyn.Object, Size: 40, Copied: true},
				},
				Exports: []elfdyn.Symbol{{Name: "mine", Version: "ME_2", Size: 12, Type: elfdyn.Func, Weak: true, Default: true}},
			}
			if c.m.is64 {
				want.Class = 64
			}
			if c.isa > 0 {
				want.ISANeeded = 7
			}
			if d := cmp.Diff(want, f); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if f.Arch() != c.arch || f.ISALevel() != c.isa || !f.Executable() {
				t.Errorf("arch %q, level %d, executable %v", f.Arch(), f.ISALevel(), f.Executable())
			}
		})
	}
}

// TestShortStringTable reads a program as linkers of before 2001 made them:
// DT_STRSZ ends before the names of versions, and in the middle of a name.
func TestShortStringTable(t *testing.T) {
	for _, inside := range []int{0, len("GLIBC")} {
		m := little(false, 3)
		b := m.build()
		end := bytes.Index(b[m.at["strtab"]:], []byte("GLIBC_2.2.5")) + inside
		for at := m.at["dynamic"]; ; at += 8 {
			if binary.LittleEndian.Uint32(b[at:]) == 10 {
				binary.LittleEndian.PutUint32(b[at+4:], uint32(end))
				break
			}
		}
		f, err := read(b)
		if err != nil {
			t.Fatalf("a table of %d bytes: %v", end, err)
		}
		want := []elfdyn.Need{{Library: "libc.so.6", Versions: []elfdyn.Version{{Name: "GLIBC_2.2.5"}}}}
		if d := cmp.Diff(want, f.Needs); d != "" || len(f.Imports) != 2 || f.Imports[0].String() != "read@GLIBC_2.2.5" {
			t.Errorf("a table of %d bytes: imports %v, needs (-want +got):\n%s", end, f.Imports, d)
		}
	}
}

// TestHostile damages one thing after the other.
func TestHostile(t *testing.T) {
	m := little(true, 62)
	good := m.build()
	// entry returns where the value of a dynamic tag stands.
	entry := func(b []byte, tag uint64) []byte {
		for at := m.at["dynamic"]; ; at += 16 {
			if binary.LittleEndian.Uint64(b[at:]) == tag {
				return b[at+8:]
			}
		}
	}
	put64, put32, put16 := binary.LittleEndian.PutUint64, binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint16
	for _, c := range []struct {
		name   string
		damage func(b []byte) []byte
		want   error
		says   string
	}{
		{"empty", func(b []byte) []byte { return nil }, elfdyn.ErrNotELF, ""},
		{"a script", func(b []byte) []byte { return []byte("#!/bin/sh\n") }, elfdyn.ErrNotELF, ""},
		{"only the magic", func(b []byte) []byte { return b[:4] }, elfdyn.ErrCorrupt, "outside"},
		{"half a header", func(b []byte) []byte { return b[:60] }, elfdyn.ErrCorrupt, "outside"},
		{"cut in the middle", func(b []byte) []byte { return b[:m.at["verneed"]] }, elfdyn.ErrCorrupt, ""},
		{"class", func(b []byte) []byte { b[4] = 9; return b }, elfdyn.ErrCorrupt, "class 9"},
		{"order", func(b []byte) []byte { b[5] = 9; return b }, elfdyn.ErrCorrupt, "byte order 9"},
		{"program headers beyond", func(b []byte) []byte { put64(b[32:], math.MaxUint64-8); return b }, elfdyn.ErrCorrupt, ""},
		{"65,535 program headers", func(b []byte) []byte { put16(b[56:], 65535); return b }, elfdyn.ErrTooLarge, "program headers"},
		{"tiny program headers", func(b []byte) []byte { put16(b[54:], 1); return b }, elfdyn.ErrCorrupt, ""},
		{"strings beyond", func(b []byte) []byte { put64(entry(b, 10), 1<<20); return b }, elfdyn.ErrCorrupt, "string table"},
		{"4 GiB of strings", func(b []byte) []byte { put64(entry(b, 10), 4<<30); return b }, elfdyn.ErrTooLarge, "string table"},
		{"no address", func(b []byte) []byte { put64(entry(b, 6), 1); return b }, elfdyn.ErrCorrupt, "not in the file"},
		{"symbol size", func(b []byte) []byte { put64(entry(b, 0), 0); put64(entry(b, 8), 1<<40); return b }, elfdyn.ErrCorrupt, ""},
		{"a billion symbols", func(b []byte) []byte { put32(b[m.at["hash"]+4:], 1<<30); return b }, elfdyn.ErrTooLarge, "symbols"},
		{"more symbols than bytes", func(b []byte) []byte { put32(b[m.at["hash"]+4:], 1000); return b }, elfdyn.ErrCorrupt, "symbols"},
		{"symbol name beyond", func(b []byte) []byte { put32(b[m.at["symtab"]+24:], 1<<30); return b }, elfdyn.ErrCorrupt, "symbol 1"},
		{"version of nobody", func(b []byte) []byte { put16(b[m.at["versym"]+2:], 77); return b }, elfdyn.ErrCorrupt, "version 77"},
		{"needs that go round", func(b []byte) []byte {
			// Backwards: an offset of 2^32-16 and as many entries as can be said.
			put64(entry(b, 0x6fffffff), math.MaxUint64)
			put32(b[m.at["verneed"]+12:], math.MaxUint32-15)
			return b
		}, elfdyn.ErrCorrupt, "version needs"},
		{"needs without an end", func(b []byte) []byte {
			put16(b[m.at["verneed"]+2:], 65535)
			put32(b[m.at["verneed"]+16+12:], 1)
			return b
		}, elfdyn.ErrCorrupt, "version needs"},
		{"definitions without an end", func(b []byte) []byte {
			put64(entry(b, 0x6ffffffd), math.MaxUint64)
			put32(b[m.at["verdef"]+28+16:], math.MaxUint32-7)
			return b
		}, elfdyn.ErrCorrupt, "version definitions"},
		{"relocations beyond", func(b []byte) []byte { put64(entry(b, 8), 24000); return b }, elfdyn.ErrCorrupt, "relocations"},
		{"interpreter of a megabyte", func(b []byte) []byte { put64(b[64+2*56+32:], 1<<20); return b }, elfdyn.ErrTooLarge, "interpreter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.damage(bytes.Clone(good)))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "/opt/x") {
				t.Errorf("error %v, want %v that names /opt/x and says %q", err, c.want, c.says)
			}
		})
	}
	for n := range good {
		if _, err := read(good[:n]); err == nil && n < m.at["dynamic"] {
			t.Errorf("the first %d bytes are read without an error", n)
		}
	}
}

// sparse is a file of 4 GiB with an image at its beginning and nothing else.
type sparse struct{ head []byte }

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(s.head)) {
		copy(b, s.head[off:])
	}
	return len(b), nil
}

// TestMemory reads a file of 4 GiB whose tables claim all of it.
func TestMemory(t *testing.T) {
	m := little(true, 62)
	b := m.build()
	put := binary.LittleEndian.PutUint64
	put(b[64+32:], 4<<30) // the first segment holds everything
	for at := m.at["dynamic"]; at < len(b)-16; at += 16 {
		switch binary.LittleEndian.Uint64(b[at:]) {
		case 10:
			put(b[at+8:], 127<<20)
		case 8:
			put(b[at+8:], 24*1000)
		}
	}
	binary.LittleEndian.PutUint32(b[m.at["hash"]+4:], 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := elfdyn.Read("big", sparse{b}, 4<<30, elfdyn.Options{Symbols: true})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > elfdyn.MaxMemory {
		t.Errorf("reading cost %d MiB", got>>20)
	}
	if err != nil && !errors.Is(err, elfdyn.ErrCorrupt) && !errors.Is(err, elfdyn.ErrTooLarge) {
		t.Error(err)
	}
}

// TestShortRead is about a file that is cut off while it is read.
func TestShortRead(t *testing.T) {
	b := little(true, 62).build()
	_, err := elfdyn.Read("cut", bytes.NewReader(b[:200]), int64(len(b)), elfdyn.Options{Symbols: true})
	if !errors.Is(err, elfdyn.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	_, err = elfdyn.Read("sick", failing{}, int64(len(b)), elfdyn.Options{})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("error %v, want the reader's", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, os.ErrPermission }

var _ io.ReaderAt = failing{}

func FuzzRead(f *testing.F) {
	for _, m := range []*image{little(true, 62), little(false, 3), big(true, 22), big(false, 20), little(true, 183)} {
		f.Add(m.build())
	}
	if b, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := read(b)
		if err != nil {
			if !errors.Is(err, elfdyn.ErrNotELF) && !errors.Is(err, elfdyn.ErrCorrupt) && !errors.Is(err, elfdyn.ErrTooLarge) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		// Nothing can be in a file more often than it has bytes.
		if len(e.Imports)+len(e.Exports) > len(b) || len(e.Needed) > len(b) || len(e.Needs) > len(b) {
			t.Errorf("%d bytes gave %d imports, %d exports, %d needed", len(b), len(e.Imports), len(e.Exports), len(e.Needed))
		}
	})
}
