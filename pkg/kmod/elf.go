package kmod

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// The numbers of the ELF specification (System V gABI, chapter 4) used here.
const (
	elfClass32, elfClass64 = 1, 2
	elfLittle, elfBig      = 1, 2
	etRel                  = 1
	shtSymtab              = 2
	shtNobits              = 8
	shtNote                = 7
	shnUndef               = 0
	shnLoReserve           = 0xff00
	shnAbs                 = 0xfff1
	shnXindex              = 0xffff
	stbWeak                = 2
	sttSection             = 3
	emPPC64                = 21
)

const (
	maxSections = 65536     // more are built only with -ffunction-sections and never stripped
	maxSymbols  = 1_000_000 // the largest module known has about 60,000
	// maxModuleSize caps a module after decompression. nvidia.ko has about
	// 100 MB, amdgpu.ko with debug information about 400 MB.
	maxModuleSize = 512 << 20
)

// section is one entry of the section header table.
type section struct {
	name    string
	typ     uint32
	link    uint32
	off     uint64
	size    uint64
	entsize uint64
}

// elfFile is a bounds-checked view of an ELF image. debug/elf is not used: its
// documentation says that it is not hardened against hostile input.
type elfFile struct {
	data     []byte
	order    binary.ByteOrder
	is64     bool
	machine  uint16
	flags    uint32
	typ      uint16
	sections []section
}

// errNotELF is what data without the magic gives.
var errNotELF = fmt.Errorf("%w: not an ELF file", ErrCorrupt)

func parseELF(data []byte) (*elfFile, error) {
	if len(data) < 52 || !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil, errNotELF
	}
	f := &elfFile{data: data}
	switch data[4] {
	case elfClass32:
	case elfClass64:
		f.is64 = true
	default:
		return nil, corrupt("ELF class %d", data[4])
	}
	switch data[5] {
	case elfLittle:
		f.order = binary.LittleEndian
	case elfBig:
		f.order = binary.BigEndian
	default:
		return nil, corrupt("ELF byte order %d", data[5])
	}
	f.typ = f.order.Uint16(data[16:])
	f.machine = f.order.Uint16(data[18:])
	var shoff uint64
	var rest []byte // from e_flags on
	want := 40
	if f.is64 {
		if len(data) < 64 {
			return nil, corrupt("ELF header of %d bytes", len(data))
		}
		shoff = f.order.Uint64(data[40:])
		rest = data[48:]
		want = 64
	} else {
		shoff = uint64(f.order.Uint32(data[32:]))
		rest = data[36:]
	}
	f.flags = f.order.Uint32(rest)
	entsize := int(f.order.Uint16(rest[10:]))
	count := uint64(f.order.Uint16(rest[12:]))
	names := uint32(f.order.Uint16(rest[14:]))
	if shoff == 0 {
		return nil, corrupt("ELF file without sections")
	}
	if entsize < want {
		return nil, corrupt("ELF section headers of %d bytes", entsize)
	}
	first, _, err := f.sectionHeader(shoff, entsize, 0)
	if err != nil {
		return nil, err
	}
	// Numbers that do not fit the header stand in the first section header.
	if count == 0 {
		count = first.size
	}
	if names == shnXindex {
		names = first.link
	}
	if count > maxSections {
		return nil, tooLarge("%d ELF sections", count)
	}
	if uint64(names) >= count {
		return nil, corrupt("section name table %d of %d sections", names, count)
	}
	f.sections = make([]section, 0, count)
	nameAt := make([]uint32, 0, count)
	for i := range count {
		s, name, err := f.sectionHeader(shoff, entsize, i)
		if err != nil {
			return nil, err
		}
		f.sections = append(f.sections, s)
		nameAt = append(nameAt, name)
	}
	table, err := f.bytes(&f.sections[names])
	if err != nil {
		return nil, err
	}
	for i := range f.sections {
		// The table's first entry and any unnamed section give "".
		if f.sections[i].name, err = stringAt(table, nameAt[i]); err != nil {
			return nil, fmt.Errorf("name of section %d: %w", i, err)
		}
	}
	return f, nil
}

func (f *elfFile) sectionHeader(shoff uint64, entsize int, i uint64) (section, uint32, error) {
	at := shoff + uint64(entsize)*i
	if shoff > uint64(len(f.data)) || at > uint64(len(f.data)) || uint64(len(f.data))-at < uint64(entsize) {
		return section{}, 0, corrupt("section header %d lies outside of the file", i)
	}
	b := f.data[at:]
	s := section{typ: f.order.Uint32(b[4:])}
	if f.is64 {
		s.off, s.size = f.order.Uint64(b[24:]), f.order.Uint64(b[32:])
		s.link, s.entsize = f.order.Uint32(b[40:]), f.order.Uint64(b[56:])
	} else {
		s.off, s.size = uint64(f.order.Uint32(b[16:])), uint64(f.order.Uint32(b[20:]))
		s.link, s.entsize = f.order.Uint32(b[24:]), uint64(f.order.Uint32(b[36:]))
	}
	return s, f.order.Uint32(b), nil
}

// bytes returns a section's content without copying it.
func (f *elfFile) bytes(s *section) ([]byte, error) {
	if s.typ == shtNobits {
		return nil, nil
	}
	n := uint64(len(f.data))
	if s.off > n || s.size > n-s.off {
		return nil, corrupt("section %s lies outside of the file", clip(s.name))
	}
	return f.data[s.off : s.off+s.size], nil
}

// find returns the content of the first section of a name; nil if there is none.
func (f *elfFile) find(name string) ([]byte, error) {
	for i := range f.sections {
		if f.sections[i].name == name {
			return f.bytes(&f.sections[i])
		}
	}
	return nil, nil
}

// maxString caps a name in a string table: C++ has longer ones, modules do not.
const maxString = 4096

func stringAt(table []byte, off uint32) (string, error) {
	if uint64(off) > uint64(len(table)) || off == uint32(len(table)) && off != 0 {
		return "", corrupt("string at %d of a table of %d bytes", off, len(table))
	}
	b := table[off:]
	if len(b) > maxString {
		b = b[:maxString]
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		if len(b) == 0 {
			return "", nil
		}
		return "", corrupt("string at %d has no end", off)
	}
	return string(b[:end]), nil
}

// elfSym is one symbol table entry.
type elfSym struct {
	name  string
	info  byte
	shndx uint16
	value uint64
}

// symbols calls fn for every named symbol of the symbol table; a module without
// one (fully stripped) has none.
func (f *elfFile) symbols(fn func(elfSym) error) error {
	for i := range f.sections {
		s := &f.sections[i]
		if s.typ != shtSymtab {
			continue
		}
		size := 16
		if f.is64 {
			size = 24
		}
		if s.entsize != uint64(size) {
			return corrupt("symbols of %d bytes", s.entsize)
		}
		tab, err := f.bytes(s)
		if err != nil {
			return err
		}
		if len(tab)/size > maxSymbols {
			return tooLarge("%d symbols", len(tab)/size)
		}
		if uint64(s.link) >= uint64(len(f.sections)) {
			return corrupt("symbol names in section %d of %d", s.link, len(f.sections))
		}
		names, err := f.bytes(&f.sections[s.link])
		if err != nil {
			return err
		}
		for ; len(tab) >= size; tab = tab[size:] {
			var sym elfSym
			if f.is64 {
				sym.info, sym.shndx, sym.value = tab[4], f.order.Uint16(tab[6:]), f.order.Uint64(tab[8:])
			} else {
				sym.info, sym.shndx, sym.value = tab[12], f.order.Uint16(tab[14:]), uint64(f.order.Uint32(tab[4:]))
			}
			nameAt := f.order.Uint32(tab)
			if nameAt == 0 || sym.info&0xf == sttSection {
				continue
			}
			if sym.name, err = stringAt(names, nameAt); err != nil {
				return fmt.Errorf("symbol name: %w", err)
			}
			if err := fn(sym); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// machineNames are the names that uname -m prints, by e_machine and width.
func (f *elfFile) machineName() string {
	switch f.machine {
	case 62:
		return "x86_64"
	case 3:
		return "i686"
	case 183:
		return "aarch64"
	case 22:
		if f.is64 {
			return "s390x"
		}
		return "s390"
	case emPPC64:
		if f.order == binary.LittleEndian {
			return "ppc64le"
		}
		return "ppc64"
	case 40:
		return "armv7l"
	case 243:
		if f.is64 {
			return "riscv64"
		}
	case 258:
		return "loongarch64"
	}
	return fmt.Sprintf("machine-%d", f.machine)
}

// dedot removes the leading '.' that function symbols have under the first ABI
// of 64-bit PowerPC; the kernel compares without it (dedotify_versions).
func (f *elfFile) dedot(name string) string {
	if f.machine == emPPC64 && f.flags&3 < 2 {
		return strings.TrimPrefix(name, ".")
	}
	return name
}
