package kmod

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"sort"
	"strings"
)

// Symbol is one symbol that a module imports or a kernel or module exports.
type Symbol struct {
	Name   string
	CRC    uint32 // of the symbol's type, as CONFIG_MODVERSIONS computes it
	HasCRC bool
	Weak   bool // an import that may stay unresolved
	// Module is who exports the symbol ("vmlinux" or a path), where known.
	Module string
	// Export is the way of exporting, where known: EXPORT_SYMBOL, EXPORT_SYMBOL_GPL...
	Export string
	// Namespace is the symbol's namespace, where known.
	Namespace string
}

// Module is what a module file says.
type Module struct {
	Machine string // as uname -m prints it
	BuildID string // lower-case hex, "" if there is none
	Info    Info
	// Versions are the imported symbols with the CRCs they were built against, in
	// file order: sections __version_ext_names and __version_ext_crcs where a
	// module has them (kernel 6.14 and later), else __versions.
	Versions []Symbol
	// Undefined are the undefined symbols of the symbol table, sorted. Weak ones
	// need not be there at load time.
	Undefined []Symbol
	// Exports are the exported symbols, sorted; without CRC where the module was
	// built without symbol versions or its symbol table was stripped.
	Exports []Symbol
	// Signature is the appended signature; nil for an unsigned module.
	Signature *Signature
}

// ParseModule reads a module file as it is on disk after decompression, with
// its signature. The layout is the same for all machines (kernel/module,
// scripts/mod/modpost.c). Errors wrap ErrCorrupt or ErrTooLarge.
func ParseModule(data []byte) (*Module, error) {
	if len(data) > maxModuleSize {
		return nil, tooLarge("module of %d bytes", len(data))
	}
	sig, err := ParseSignature(data)
	if err != nil {
		return nil, err
	}
	if sig != nil {
		data = data[:sig.SignedLen]
	}
	f, err := parseELF(data)
	if err != nil {
		return nil, err
	}
	if f.typ != etRel {
		return nil, corrupt("ELF file of type %d is no module", f.typ)
	}
	m := &Module{Machine: f.machineName(), Signature: sig}
	modinfo, err := f.find(".modinfo")
	if err != nil {
		return nil, err
	}
	if m.Info, err = ParseInfo(modinfo); err != nil {
		return nil, err
	}
	if m.Versions, err = f.versions(); err != nil {
		return nil, err
	}
	if err := f.readSymbols(m); err != nil {
		return nil, err
	}
	if m.BuildID, err = f.buildID(); err != nil {
		return nil, err
	}
	return m, nil
}

// Name returns the normalised name from .modinfo, "" where it is absent (the
// file name counts then).
func (m *Module) Name() string { return m.Info.Name() }

// Imports returns every symbol the module needs: those with CRCs and, without
// CRC, the remaining undefined ones, sorted by name.
func (m *Module) Imports() []Symbol {
	weak := map[string]bool{}
	for _, u := range m.Undefined {
		weak[u.Name] = u.Weak
	}
	seen := make(map[string]bool, len(m.Versions))
	out := make([]Symbol, 0, len(m.Versions)+8)
	for _, v := range m.Versions {
		if !seen[v.Name] {
			seen[v.Name] = true
			v.Weak = weak[v.Name]
			out = append(out, v)
		}
	}
	for _, u := range m.Undefined {
		if !seen[u.Name] {
			out = append(out, u)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// versions reads the CRC tables of the imports.
func (f *elfFile) versions() ([]Symbol, error) {
	crcs, err := f.find("__version_ext_crcs")
	if err != nil {
		return nil, err
	}
	if len(crcs) > 0 {
		names, err := f.find("__version_ext_names")
		if err != nil {
			return nil, err
		}
		return f.extVersions(crcs, names)
	}
	tab, err := f.find("__versions")
	if err != nil {
		return nil, err
	}
	// struct modversion_info: unsigned long crc; char name[64 - sizeof(long)].
	const size = 64
	if len(tab)%size != 0 {
		return nil, corrupt("section __versions of %d bytes is no multiple of %d", len(tab), size)
	}
	if len(tab)/size > maxSymbols {
		return nil, tooLarge("%d imported symbols", len(tab)/size)
	}
	out := make([]Symbol, 0, len(tab)/size)
	for ; len(tab) > 0; tab = tab[size:] {
		var crc uint64
		name := tab[4:size]
		if f.is64 {
			crc = f.order.Uint64(tab)
			name = tab[8:size]
		} else {
			crc = uint64(f.order.Uint32(tab))
		}
		end := bytes.IndexByte(name, 0)
		if end < 0 {
			return nil, corrupt("name in __versions has no end")
		}
		if end == 0 {
			// ppc64le modules pad the table with an empty entry for their TOC.
			continue
		}
		if crc > math.MaxUint32 {
			return nil, corrupt("CRC %#x of symbol %s", crc, name[:end])
		}
		out = append(out, Symbol{Name: f.dedot(string(name[:end])), CRC: uint32(crc), HasCRC: true})
	}
	return out, nil
}

// extVersions pairs an array of 32-bit CRCs with a list of NUL-terminated names.
func (f *elfFile) extVersions(crcs, names []byte) ([]Symbol, error) {
	if len(crcs)%4 != 0 {
		return nil, corrupt("section __version_ext_crcs of %d bytes", len(crcs))
	}
	if len(crcs)/4 > maxSymbols {
		return nil, tooLarge("%d imported symbols", len(crcs)/4)
	}
	out := make([]Symbol, 0, len(crcs)/4)
	for ; len(crcs) > 0; crcs = crcs[4:] {
		end := bytes.IndexByte(names, 0)
		if end <= 0 || end > maxString {
			return nil, corrupt("%d CRCs but only %d names in __version_ext_names", len(out)+len(crcs)/4, len(out))
		}
		out = append(out, Symbol{Name: f.dedot(string(names[:end])), CRC: f.order.Uint32(crcs), HasCRC: true})
		names = names[end+1:]
	}
	return out, nil
}

// readSymbols fills Undefined and Exports.
func (f *elfFile) readSymbols(m *Module) error {
	exports := map[string]*Symbol{}
	export := func(name string) *Symbol {
		s := exports[name]
		if s == nil {
			s = &Symbol{Name: name}
			exports[name] = s
		}
		return s
	}
	err := f.symbols(func(sym elfSym) error {
		if crcOf, ok := strings.CutPrefix(sym.name, "__crc_"); ok && sym.shndx != shnUndef {
			crc, err := f.crcValue(sym)
			if err != nil {
				return err
			}
			s := export(f.dedot(crcOf))
			s.CRC, s.HasCRC = crc, true
			return nil
		}
		if name, ok := strings.CutPrefix(sym.name, "__ksymtab_"); ok && sym.shndx != shnUndef {
			s := export(f.dedot(name))
			if int(sym.shndx) < len(f.sections) {
				if strings.HasPrefix(f.sections[sym.shndx].name, "__ksymtab_gpl") ||
					strings.HasPrefix(f.sections[sym.shndx].name, "___ksymtab_gpl") {
					s.Export = "EXPORT_SYMBOL_GPL"
				} else {
					s.Export = "EXPORT_SYMBOL"
				}
			}
			return nil
		}
		if sym.shndx == shnUndef {
			m.Undefined = append(m.Undefined, Symbol{Name: f.dedot(sym.name), Weak: sym.info>>4 == stbWeak})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(exports) == 0 {
		// A stripped symbol table leaves the names.
		names, err := f.find("__ksymtab_strings")
		if err != nil {
			return err
		}
		for name := range bytes.SplitSeq(names, []byte{0}) {
			if len(name) > maxString {
				return corrupt("exported symbol name of %d bytes", len(name))
			}
			if len(name) > 0 {
				export(string(name))
			}
			if len(exports) > maxSymbols {
				return tooLarge("more than %d exported symbols", maxSymbols)
			}
		}
	}
	m.Exports = make([]Symbol, 0, len(exports))
	for _, s := range exports {
		m.Exports = append(m.Exports, *s)
	}
	sort.Slice(m.Exports, func(i, j int) bool { return m.Exports[i].Name < m.Exports[j].Name })
	sort.Slice(m.Undefined, func(i, j int) bool { return m.Undefined[i].Name < m.Undefined[j].Name })
	return nil
}

// crcValue returns the CRC behind a __crc_ symbol: its value where it is
// absolute (up to kernel 4.10 and on machines without relative CRCs), else the
// 32-bit number it points to.
func (f *elfFile) crcValue(sym elfSym) (uint32, error) {
	if sym.shndx == shnAbs {
		if sym.value > math.MaxUint32 {
			return 0, corrupt("CRC %#x of %s", sym.value, clip(sym.name))
		}
		return uint32(sym.value), nil
	}
	if int(sym.shndx) >= len(f.sections) || sym.shndx >= shnLoReserve {
		return 0, corrupt("symbol %s lies in section %d of %d", clip(sym.name), sym.shndx, len(f.sections))
	}
	b, err := f.bytes(&f.sections[sym.shndx])
	if err != nil {
		return 0, err
	}
	if sym.value > uint64(len(b)) || uint64(len(b))-sym.value < 4 {
		return 0, corrupt("CRC of %s lies outside of its section", clip(sym.name))
	}
	return f.order.Uint32(b[sym.value:]), nil
}

// buildID reads the note that the linker writes (--build-id).
func (f *elfFile) buildID() (string, error) {
	for i := range f.sections {
		s := &f.sections[i]
		if s.typ != shtNote || s.name != ".note.gnu.build-id" {
			continue
		}
		b, err := f.bytes(s)
		if err != nil {
			return "", err
		}
		if len(b) < 16 || !bytes.Equal(b[12:16], []byte("GNU\x00")) {
			return "", corrupt("build id note of %d bytes", len(b))
		}
		n := f.order.Uint32(b[4:])
		if uint64(n) > uint64(len(b)-16) || n > 64 {
			return "", corrupt("build id of %d bytes", n)
		}
		return hex.EncodeToString(b[16 : 16+n]), nil
	}
	return "", nil
}

// String names the module for messages.
func (m *Module) String() string {
	return fmt.Sprintf("%s %s", m.Name(), m.Info.Vermagic().Release)
}
