package kmod

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// SymbolTable is what a kernel, with or without its modules, exports.
type SymbolTable struct {
	syms map[string][]Symbol
}

// Add puts symbols into the table. A symbol may come with several CRCs, when a
// table is made of several kernels or packages; one equal CRC meets an import.
func (t *SymbolTable) Add(symbols ...Symbol) {
	if t.syms == nil {
		t.syms = make(map[string][]Symbol, len(symbols))
	}
	for _, s := range symbols {
		have := t.syms[s.Name]
		known := slices.ContainsFunc(have, func(o Symbol) bool { return o.HasCRC == s.HasCRC && o.CRC == s.CRC })
		if !known {
			t.syms[s.Name] = append(have, s)
		}
	}
}

// Len is the number of symbol names.
func (t *SymbolTable) Len() int { return len(t.syms) }

// Lookup returns what the table has for a name: one entry for each CRC.
func (t *SymbolTable) Lookup(name string) []Symbol { return t.syms[name] }

// Names returns all symbol names, sorted.
func (t *SymbolTable) Names() []string {
	names := make([]string, 0, len(t.syms))
	for n := range t.syms {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Mismatch is an import whose symbol exists with other CRCs only.
type Mismatch struct {
	Symbol
	Have []uint32 // the CRCs in the table
}

// Comparison is what CompareImports found; every import is in exactly one list,
// each in the order of the imports.
type Comparison struct {
	// Met have the same CRC in the table.
	Met []Symbol
	// NoCRC are in the table, but the import or the table has no CRC: the name is
	// there, whether the type is the same is not known.
	NoCRC []Symbol
	// Mismatched are in the table with other CRCs: loading fails.
	Mismatched []Mismatch
	// Missing are not in the table. Whether that breaks the module depends on how
	// complete the table is: a kABI list names only the protected symbols.
	Missing []Symbol
	// MissingWeak are not in the table and need not be.
	MissingWeak []Symbol
}

// Total is the number of imports compared.
func (c Comparison) Total() int {
	return len(c.Met) + len(c.NoCRC) + len(c.Mismatched) + len(c.Missing) + len(c.MissingWeak)
}

// CompareImports checks what a module imports against what a kernel exports.
func CompareImports(imports []Symbol, table *SymbolTable) Comparison {
	var c Comparison
	for _, im := range imports {
		have := table.Lookup(im.Name)
		switch {
		case len(have) == 0 && im.Weak:
			c.MissingWeak = append(c.MissingWeak, im)
		case len(have) == 0:
			c.Missing = append(c.Missing, im)
		case im.HasCRC && slices.ContainsFunc(have, func(s Symbol) bool { return s.HasCRC && s.CRC == im.CRC }):
			c.Met = append(c.Met, im)
		case !im.HasCRC || slices.ContainsFunc(have, func(s Symbol) bool { return !s.HasCRC }):
			c.NoCRC = append(c.NoCRC, im)
		default:
			m := Mismatch{Symbol: im}
			for _, s := range have {
				m.Have = append(m.Have, s.CRC)
			}
			c.Mismatched = append(c.Mismatched, m)
		}
	}
	return c
}

// ParseSymvers reads a Module.symvers file (Documentation/kbuild/modules.rst) or
// a kABI list in the same form (Module.kabi_ARCH, kernel-abi-stablelists):
// tab-separated CRC, symbol, exporter, kind of export and, from kernel 5.4 on,
// namespace. Compressed files (symvers.gz, symvers.xz) are recognised. Errors
// wrap ErrCorrupt or ErrTooLarge.
func ParseSymvers(r io.Reader) ([]Symbol, error) {
	const maxSymvers = 64 << 20 // that of a distribution kernel has about 2 MB
	raw, err := readCapped(r, maxSymvers)
	if err != nil {
		return nil, fmt.Errorf("cannot read symvers: %w", err)
	}
	raw, err = decompress(raw, maxSymvers)
	if err != nil {
		return nil, fmt.Errorf("cannot read symvers: %w", err)
	}
	var out []Symbol
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, 64<<10)
	for line := 1; sc.Scan(); line++ {
		text := sc.Text()
		if strings.TrimSpace(text) == "" || text[0] == '#' {
			continue
		}
		f := strings.Split(text, "\t")
		if len(f) < 3 || f[1] == "" {
			return nil, fmt.Errorf("cannot read symvers: line %d: %w", line, corrupt("%q", clip(text)))
		}
		crc, err := parseCRC(f[0])
		if err != nil {
			return nil, fmt.Errorf("cannot read symvers: line %d: %w", line, err)
		}
		// Without CONFIG_MODVERSIONS every CRC is written as zero.
		s := Symbol{Name: f[1], CRC: crc, HasCRC: crc != 0, Module: f[2]}
		if len(f) > 3 {
			s.Export = f[3]
		}
		if len(f) > 4 {
			s.Namespace = f[4]
		}
		// Kernel 5.4 and 5.5 had the namespace before the exporter.
		if !strings.HasPrefix(s.Export, "EXPORT_") && strings.HasPrefix(s.Namespace, "EXPORT_") {
			s.Namespace, s.Module, s.Export = s.Module, s.Export, s.Namespace
		}
		if len(out) == maxSymbols {
			return nil, tooLarge("more than %d symbols", maxSymbols)
		}
		out = append(out, s)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("cannot read symvers: %w: %w", ErrCorrupt, err)
	}
	return out, nil
}

// ParseStablelist reads a kABI stablelist without CRCs
// (/lib/modules/kabi-current/kabi_stablelist_ARCH): a heading in brackets and
// one indented symbol name a line.
func ParseStablelist(r io.Reader) ([]string, error) {
	data, err := readCapped(r, 16<<20)
	if err != nil {
		return nil, fmt.Errorf("cannot read kABI stablelist: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		word := strings.TrimSpace(line)
		if word == "" || word[0] == '[' || word[0] == '#' {
			continue
		}
		if strings.ContainsAny(word, " \t\x00") {
			return nil, fmt.Errorf("cannot read kABI stablelist: %w", corrupt("line %q", clip(word)))
		}
		out = append(out, word)
	}
	return out, nil
}

// parseCRC reads "0x12345678". 64-bit machines once wrote 16 digits.
func parseCRC(s string) (uint32, error) {
	hexDigits, ok := strings.CutPrefix(strings.TrimSpace(s), "0x")
	n, err := strconv.ParseUint(hexDigits, 16, 64)
	if !ok || err != nil || n > 1<<32-1 {
		return 0, corrupt("symbol CRC %q", clip(s))
	}
	return uint32(n), nil
}
