// Package elfdyn reads what an ELF file tells the dynamic linker: which
// libraries it needs and in which symbol versions, where it looks for them,
// which symbols it imports and exports, and what the processor must be able to
// do. It goes by the program headers and the dynamic segment alone, as ld.so
// does, so that stripped files and files without sections read the same.
//
// The sources of the format are the System V gABI (chapters 4 and 5), the
// processor supplements, the LSB's "Symbol Versioning" and elf.h of glibc. The
// standard library's debug/elf is not used: its documentation says that it is
// not hardened against hostile input, and it needs section headers.
//
// Everything that a file declares is checked against the file's size, and the
// memory that one file can cost is capped (see MaxMemory).
package elfdyn

import "errors"

// What callers test for.
var (
	// ErrNotELF says that the file has no ELF magic.
	ErrNotELF = errors.New("not an ELF file")
	// ErrCorrupt says that the file contradicts itself or is cut off.
	ErrCorrupt = errors.New("corrupt ELF file")
	// ErrTooLarge says that a table is larger than any real file's.
	ErrTooLarge = errors.New("too large")
)

// Limits. The largest real files known (Chromium, libLLVM, libtorch) have
// 30 MB of symbol names and some 300,000 dynamic symbols.
const (
	// MaxMemory is about what reading one file can hold at most, in bytes.
	MaxMemory    = 512 << 20
	maxStrings   = 128 << 20
	strSlack     = 4096      // bytes behind the string table that names may lie in
	maxNames     = 256 << 20 // bytes of the names of all symbols
	maxSymbols   = 1 << 20
	maxVersions  = 1 << 16 // entries of all version tables; an index has 15 bits
	maxPhdrs     = 4096
	maxDynamic   = 1 << 16
	maxNotes     = 1 << 20 // bytes
	maxRelocs    = 1 << 25
	maxName      = 1 << 16 // C++ mangles to some 10,000
	maxInterp    = 4096
	maxSearchDir = 4096
)

// Type is e_type.
type Type uint16

// The types of files that a dynamic linker deals with.
const (
	Rel  Type = 1
	Exec Type = 2
	Dyn  Type = 3 // a library, or an executable at any address
	Core Type = 4
)

// Class is the width of addresses in bits: 32 or 64.
type Class int

// SymbolType is the type of a symbol, as far as it matters whether an importer
// and an exporter agree.
type SymbolType uint8

// The types (STT_*).
const (
	NoType   SymbolType = 0
	Object   SymbolType = 1
	Func     SymbolType = 2
	Common   SymbolType = 5
	TLS      SymbolType = 6
	Indirect SymbolType = 10 // GNU_IFUNC: a function chosen when the program starts
)

// String names the type as readelf(1) does, in lower case.
func (t SymbolType) String() string {
	switch t {
	case NoType:
		return "notype"
	case Object:
		return "object"
	case Func:
		return "func"
	case Common:
		return "common"
	case TLS:
		return "tls"
	case Indirect:
		return "ifunc"
	}
	return "other"
}

// Symbol is one dynamic symbol.
type Symbol struct {
	Name    string
	Version string // "" for none
	Library string // of an import with a version: the soname that the version is needed of
	Size    uint64 // bytes; of an import 0, but for a copied one
	Type    SymbolType
	Weak    bool
	Unique  bool // STB_GNU_UNIQUE
	Copied  bool // an import whose data the executable holds a copy of, of Size bytes
	Default bool // an export that a link without a version finds (name@@version)
}

// String gives name@version.
func (s *Symbol) String() string {
	switch {
	case s.Version == "":
		return s.Name
	case s.Default:
		return s.Name + "@@" + s.Version
	}
	return s.Name + "@" + s.Version
}

// Version is one version that is needed of a library.
type Version struct {
	Name string
	Weak bool // ld.so only warns where it is missing
}

// Need is what is needed of one library in versions.
type Need struct {
	Library  string
	Versions []Version
}

// Def is a version that a file defines.
type Def struct {
	Name string
	Base bool // the file's own name, no version
}

// File is what was read of one file.
type File struct {
	Class     Class
	BigEndian bool
	Machine   uint16 // EM_*
	Type      Type
	Flags     uint32 // e_flags
	OSABI     uint8

	Interp    string   // path of the dynamic linker; "" for a library
	Dynamic   bool     // it has a dynamic segment
	PIE       bool     // DF_1_PIE: an executable, though Type is Dyn
	Soname    string   // DT_SONAME
	Needed    []string // DT_NEEDED, in order
	RPath     []string // DT_RPATH, split; "" stands for the current folder
	RunPath   []string // DT_RUNPATH, split; where there is one, ld.so ignores RPath
	NoDefault bool     // DF_1_NODEFLIB: default folders are not searched
	Needs     []Need   // DT_VERNEED
	Defs      []Def    // DT_VERDEF

	// ISANeeded has a bit for each x86-64 level that the file says it needs:
	// bit 0 the baseline, bit 1 v2, bit 2 v3, bit 3 v4.
	ISANeeded uint32

	// With Options.Symbols:
	Imports []Symbol // in the file's order
	Exports []Symbol
}

// Executable tells a program from a library.
func (f *File) Executable() bool {
	return f.Type == Exec || f.Type == Dyn && (f.PIE || f.Interp != "" && f.Soname == "")
}

// ISALevel is the x86-64 level that the file says it needs, 0 if it does not say.
func (f *File) ISALevel() int {
	for n := 4; n > 0; n-- {
		if f.ISANeeded&(1<<(n-1)) != 0 {
			return n
		}
	}
	return 0
}

// The machines of EL and some others (EM_*).
const (
	em386     = 3
	emPPC     = 20
	emPPC64   = 21
	emS390    = 22
	emARM     = 40
	emX86_64  = 62
	emAArch64 = 183
	emRISCV   = 243
)

// Arch names the machine as uname -m does, "" for one that EL does not run on.
func (f *File) Arch() string {
	switch {
	case f.Machine == emX86_64 && f.Class == 64 && !f.BigEndian:
		return "x86_64"
	case f.Machine == em386 && f.Class == 32 && !f.BigEndian:
		return "i686"
	case f.Machine == emAArch64 && f.Class == 64 && !f.BigEndian:
		return "aarch64"
	case f.Machine == emPPC64 && f.Class == 64 && !f.BigEndian:
		return "ppc64le"
	case f.Machine == emS390 && f.Class == 64 && f.BigEndian:
		return "s390x"
	}
	return ""
}

// copyReloc is the relocation that copies data out of a library (R_*_COPY), 0
// where none is known.
func (f *File) copyReloc() uint32 {
	switch f.Machine {
	case emX86_64, em386:
		return 5
	case emAArch64:
		return 1024
	case emPPC, emPPC64:
		return 19
	case emS390:
		return 9
	case emARM:
		return 20
	case emRISCV:
		return 4
	}
	return 0
}
