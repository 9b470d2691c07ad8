package elfdyn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Options of Read.
type Options struct {
	Symbols bool // also imports and exports
}

// Magic tells whether a file that begins like this may be an ELF file.
func Magic(head []byte) bool { return bytes.HasPrefix(head, []byte("\x7fELF")) }

// Read reads a file of size bytes. Errors name the file and wrap ErrNotELF,
// ErrCorrupt, ErrTooLarge or what the reader returned.
func Read(name string, r io.ReaderAt, size int64, opt Options) (*File, error) {
	d := &decoder{r: &window{r: r, size: max(size, 0)}}
	f, err := d.read(opt)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return f, nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}

// window reads small pieces through one buffer: tables are read entry by
// entry, and most entries lie beside each other.
type window struct {
	r    io.ReaderAt
	size int64
	at   int64
	buf  []byte
	mem  [16 << 10]byte
}

// bytes returns n bytes at off, valid until the next call; n is small.
func (w *window) bytes(off uint64, n int) ([]byte, error) {
	if off > uint64(w.size) || uint64(n) > uint64(w.size)-off {
		return nil, corrupt("%d bytes at %d lie outside of the file of %d bytes", n, off, w.size)
	}
	o := int64(off)
	if o < w.at || o+int64(n) > w.at+int64(len(w.buf)) {
		b := w.mem[:min(int64(len(w.mem)), w.size-o)]
		if m, err := w.r.ReadAt(b, o); m < len(b) {
			if err == nil || err == io.EOF {
				err = corrupt("it ends at byte %d of %d", o+int64(m), w.size)
			}
			w.buf = nil
			return nil, err
		}
		w.at, w.buf = o, b
	}
	return w.buf[o-w.at:][:n], nil
}

// whole returns n bytes at off in memory of their own.
func (w *window) whole(off, n uint64) ([]byte, error) {
	if off > uint64(w.size) || n > uint64(w.size)-off {
		return nil, corrupt("%d bytes at %d lie outside of the file of %d bytes", n, off, w.size)
	}
	b := make([]byte, n)
	if m, err := w.r.ReadAt(b, int64(off)); m < len(b) {
		if err == nil || err == io.EOF {
			err = corrupt("it ends at byte %d of %d", int64(off)+int64(m), w.size)
		}
		return nil, err
	}
	return b, nil
}

// segment is a PT_LOAD.
type segment struct{ vaddr, off, size uint64 }

type decoder struct {
	r     *window
	f     *File
	order binary.ByteOrder
	is64  bool

	loads   []segment
	dyn     map[uint64]uint64 // tags that occur once
	strings string
}

// The dynamic tags read (gABI, glibc's elf.h).
const (
	dtNull       = 0
	dtNeeded     = 1
	dtPLTRelSize = 2
	dtHash       = 4
	dtStrTab     = 5
	dtSymTab     = 6
	dtRela       = 7
	dtRelaSize   = 8
	dtStrSize    = 10
	dtSymEnt     = 11
	dtSoname     = 14
	dtRPath      = 15
	dtRel        = 17
	dtRelSize    = 18
	dtPLTRel     = 20
	dtJmpRel     = 23
	dtRunPath    = 29
	dtGNUHash    = 0x6ffffef5
	dtVerSym     = 0x6ffffff0
	dtFlags1     = 0x6ffffffb
	dtVerDef     = 0x6ffffffc
	dtVerDefNum  = 0x6ffffffd
	dtVerNeed    = 0x6ffffffe
	dtVerNeedNum = 0x6fffffff

	df1NoDefLib = 0x800
	df1PIE      = 0x08000000
)

func (d *decoder) read(opt Options) (*File, error) {
	phoff, phentsize, phnum, err := d.header()
	if err != nil {
		return nil, err
	}
	var dynamic, interp segment
	var notes []segment
	for i := range phnum {
		typ, s, err := d.programHeader(phoff, phentsize, i)
		if err != nil {
			return nil, err
		}
		switch typ {
		case 1: // PT_LOAD
			d.loads = append(d.loads, s)
		case 2: // PT_DYNAMIC
			if !d.f.Dynamic {
				d.f.Dynamic, dynamic = true, s
			}
		case 3: // PT_INTERP
			interp = s
		case 4: // PT_NOTE
			notes = append(notes, s)
		}
	}
	if interp.size > 0 {
		if d.f.Interp, err = d.interp(interp); err != nil {
			return nil, err
		}
	}
	if err := d.notes(notes); err != nil {
		return nil, err
	}
	// Files of debug information keep the header of the dynamic segment, but
	// nothing of its content.
	if d.f.Dynamic && dynamic.size > 0 {
		if err := d.dynamic(dynamic, opt); err != nil {
			return nil, err
		}
	}
	return d.f, nil
}

func (d *decoder) header() (phoff uint64, phentsize uint16, phnum int, err error) {
	if d.r.size < 4 {
		return 0, 0, 0, ErrNotELF
	}
	b, err := d.r.bytes(0, 4)
	if err != nil {
		return 0, 0, 0, err
	}
	if !Magic(b) {
		return 0, 0, 0, ErrNotELF
	}
	if b, err = d.r.bytes(0, 52); err != nil {
		return 0, 0, 0, err
	}
	d.f = &File{OSABI: b[7]}
	switch b[4] {
	case 1:
		d.f.Class = 32
	case 2:
		d.f.Class, d.is64 = 64, true
		if b, err = d.r.bytes(0, 64); err != nil {
			return 0, 0, 0, err
		}
	default:
		return 0, 0, 0, corrupt("class %d", b[4])
	}
	switch b[5] {
	case 1:
		d.order = binary.LittleEndian
	case 2:
		d.order, d.f.BigEndian = binary.BigEndian, true
	default:
		return 0, 0, 0, corrupt("byte order %d", b[5])
	}
	d.f.Type, d.f.Machine = Type(d.order.Uint16(b[16:])), d.order.Uint16(b[18:])
	rest := b[36:]
	phoff = uint64(d.order.Uint32(b[28:]))
	if d.is64 {
		rest = b[48:]
		phoff = d.order.Uint64(b[32:])
	}
	d.f.Flags = d.order.Uint32(rest)
	phentsize, phnum = d.order.Uint16(rest[6:]), int(d.order.Uint16(rest[8:]))
	want := uint16(32)
	if d.is64 {
		want = 56
	}
	if phnum > maxPhdrs {
		return 0, 0, 0, tooLarge("%d program headers", phnum)
	}
	if phnum > 0 && phentsize < want {
		return 0, 0, 0, corrupt("program headers of %d bytes", phentsize)
	}
	return phoff, phentsize, phnum, nil
}

func (d *decoder) programHeader(off uint64, size uint16, i int) (typ uint32, s segment, err error) {
	n := 32
	if d.is64 {
		n = 56
	}
	at := off + uint64(size)*uint64(i)
	if at < off {
		return 0, s, corrupt("program headers at %d", off)
	}
	b, err := d.r.bytes(at, n)
	if err != nil {
		return 0, s, err
	}
	typ = d.order.Uint32(b)
	if d.is64 {
		s = segment{off: d.order.Uint64(b[8:]), vaddr: d.order.Uint64(b[16:]), size: d.order.Uint64(b[32:])}
	} else {
		s = segment{off: uint64(d.order.Uint32(b[4:])), vaddr: uint64(d.order.Uint32(b[8:])), size: uint64(d.order.Uint32(b[16:]))}
	}
	return typ, s, nil
}

func (d *decoder) interp(s segment) (string, error) {
	if s.size > maxInterp {
		return "", tooLarge("an interpreter's path of %d bytes", s.size)
	}
	b, err := d.r.bytes(s.off, int(s.size))
	if err != nil {
		return "", err
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b), nil
}

// notes looks for the x86 ISA property: a note of "GNU", type 5, with
// properties that are padded to the class's width (x86-64 psABI, "Program
// Property").
func (d *decoder) notes(list []segment) error {
	if d.f.Machine != emX86_64 && d.f.Machine != em386 {
		return nil
	}
	const ntProperty, isaNeeded = 5, 0xc0008002
	pad := func(n uint64, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }
	width := uint64(4)
	if d.is64 {
		width = 8
	}
	for _, s := range list {
		if s.size > maxNotes {
			continue // a core dump's
		}
		for at := uint64(0); s.size-at >= 12; {
			b, err := d.r.bytes(s.off+at, 12)
			if err != nil {
				return nil // a file of debug information has no content for it
			}
			namesz, descsz, typ := uint64(d.order.Uint32(b)), uint64(d.order.Uint32(b[4:])), d.order.Uint32(b[8:])
			desc := at + 12 + pad(namesz, 4)
			if namesz > s.size || descsz > s.size || desc > s.size || descsz > s.size-desc {
				return nil // padded otherwise; nothing that is needed here depends on it
			}
			isGNU := false
			if namesz == 4 {
				if b, err = d.r.bytes(s.off+at+12, 4); err != nil {
					return nil
				}
				isGNU = string(b) == "GNU\x00"
			}
			for p := uint64(0); isGNU && typ == ntProperty && descsz-p >= 8; {
				if b, err = d.r.bytes(s.off+desc+p, 8); err != nil {
					return nil
				}
				prop, n := d.order.Uint32(b), uint64(d.order.Uint32(b[4:]))
				if n > descsz-p-8 {
					break
				}
				if prop == isaNeeded && n == 4 {
					if b, err = d.r.bytes(s.off+desc+p+8, 4); err != nil {
						return nil
					}
					d.f.ISANeeded |= d.order.Uint32(b)
				}
				if p += 8 + pad(n, width); p > descsz {
					break
				}
			}
			step := 12 + pad(namesz, 4) + pad(descsz, 4)
			if typ == ntProperty {
				step = pad(step, width)
			}
			if step > s.size-at {
				break
			}
			at += step
		}
	}
	return nil
}

// offset finds an address in the file, and how many bytes of its segment
// follow there.
func (d *decoder) offset(addr uint64) (off, left uint64, err error) {
	for _, s := range d.loads {
		if addr >= s.vaddr && addr-s.vaddr < s.size {
			in := addr - s.vaddr
			off = s.off + in
			if off < s.off || off >= uint64(d.r.size) {
				break
			}
			return off, min(s.size-in, uint64(d.r.size)-off), nil
		}
	}
	return 0, 0, corrupt("address %#x is not in the file", addr)
}

// dynamic reads the dynamic segment and what it leads to.
func (d *decoder) dynamic(s segment, opt Options) error {
	size := 8
	if d.is64 {
		size = 16
	}
	n := s.size / uint64(size)
	if n > maxDynamic {
		return tooLarge("%d dynamic entries", n)
	}
	d.dyn = map[uint64]uint64{}
	var needed []uint64
	for i := range n {
		b, err := d.r.bytes(s.off+i*uint64(size), size)
		if err != nil {
			return err
		}
		tag, val := uint64(d.order.Uint32(b)), uint64(0)
		if d.is64 {
			tag, val = d.order.Uint64(b), d.order.Uint64(b[8:])
		} else {
			val = uint64(d.order.Uint32(b[4:]))
		}
		if tag == dtNull {
			break
		}
		if tag == dtNeeded {
			needed = append(needed, val)
			continue
		}
		d.dyn[tag] = val // the last one counts, as for ld.so
	}
	if err := d.loadStrings(); err != nil {
		return err
	}
	for _, at := range needed {
		name, err := d.string(at)
		if err != nil {
			return fmt.Errorf("DT_NEEDED: %w", err)
		}
		d.f.Needed = append(d.f.Needed, name)
	}
	var err error
	if at, ok := d.dyn[dtSoname]; ok {
		if d.f.Soname, err = d.string(at); err != nil {
			return fmt.Errorf("DT_SONAME: %w", err)
		}
	}
	for _, p := range []struct {
		tag uint64
		dst *[]string
	}{{dtRPath, &d.f.RPath}, {dtRunPath, &d.f.RunPath}} {
		at, ok := d.dyn[p.tag]
		if !ok {
			continue
		}
		text, err := d.string(at)
		if err != nil {
			return fmt.Errorf("search path: %w", err)
		}
		if *p.dst = strings.Split(text, ":"); len(*p.dst) > maxSearchDir {
			return tooLarge("%d folders to search", len(*p.dst))
		}
	}
	flags := d.dyn[dtFlags1]
	d.f.NoDefault, d.f.PIE = flags&df1NoDefLib != 0, flags&df1PIE != 0
	v := &versions{names: map[uint16]versionName{}}
	if err := d.verdefs(v); err != nil {
		return err
	}
	if err := d.verneeds(v); err != nil {
		return err
	}
	if !opt.Symbols {
		return nil
	}
	return d.symbols(v)
}

// loadStrings brings the string table into one string that names share.
//
// What follows the table in its segment is read, too, as far as strSlack goes:
// linkers of before 2001 put the names of versions behind the others and left
// them out of DT_STRSZ. ld.so does not look at that size, so those programs run
// to this day.
func (d *decoder) loadStrings() error {
	addr, ok := d.dyn[dtStrTab]
	size := d.dyn[dtStrSize]
	if !ok || size == 0 {
		return nil
	}
	if size > maxStrings {
		return tooLarge("a string table of %d bytes", size)
	}
	off, left, err := d.offset(addr)
	if err != nil {
		return fmt.Errorf("string table: %w", err)
	}
	if size > left {
		return corrupt("a string table of %d bytes where %d are", size, left)
	}
	b, err := d.r.whole(off, min(left, size+strSlack))
	d.strings = string(b)
	return err
}

func (d *decoder) string(at uint64) (string, error) {
	if at >= uint64(len(d.strings)) {
		return "", corrupt("string at %d of a table of %d bytes", at, len(d.strings))
	}
	s := d.strings[at:]
	if len(s) > maxName {
		s = s[:maxName]
	}
	end := strings.IndexByte(s, 0)
	if end < 0 {
		return "", corrupt("string at %d has no end", at)
	}
	return s[:end], nil
}
