package elfdyn

import "fmt"

// versionName is what an index of DT_VERSYM stands for.
type versionName struct {
	name    string
	library string // needed: whose; "" for one that is defined
	needed  bool
	base    bool
}

type versions struct {
	names map[uint16]versionName
	count int
}

func (v *versions) add() error {
	if v.count++; v.count > maxVersions {
		return tooLarge("more than %d symbol versions", maxVersions)
	}
	return nil
}

// at reads n bytes at an offset below an address.
func (d *decoder) at(base, left, rel uint64, n int) ([]byte, error) {
	if rel > left || uint64(n) > left-rel {
		return nil, corrupt("an entry at %d of a table of %d bytes", rel, left)
	}
	return d.r.bytes(base+rel, n)
}

// verdefs reads Elf64_Verdef and Verdaux: the first name of each is the
// version, the others are its parents. The chain must go forward, so that it
// ends.
func (d *decoder) verdefs(v *versions) error {
	addr, ok := d.dyn[dtVerDef]
	if !ok {
		return nil
	}
	base, left, err := d.offset(addr)
	if err != nil {
		return fmt.Errorf("version definitions: %w", err)
	}
	rel := uint64(0)
	for range d.dyn[dtVerDefNum] {
		if err := v.add(); err != nil {
			return err
		}
		b, err := d.at(base, left, rel, 20)
		if err != nil {
			return fmt.Errorf("version definitions: %w", err)
		}
		flags, index, count := d.order.Uint16(b[2:]), d.order.Uint16(b[4:]), d.order.Uint16(b[6:])
		aux, next := uint64(d.order.Uint32(b[12:])), uint64(d.order.Uint32(b[16:]))
		if count > 0 {
			if b, err = d.at(base, left, rel+aux, 8); err != nil {
				return fmt.Errorf("version definitions: %w", err)
			}
			name, err := d.string(uint64(d.order.Uint32(b)))
			if err != nil {
				return fmt.Errorf("version definitions: %w", err)
			}
			d.f.Defs = append(d.f.Defs, Def{Name: name, Base: flags&1 != 0})
			v.names[index&0x7fff] = versionName{name: name, base: flags&1 != 0}
		}
		if next == 0 {
			break
		}
		rel += next
	}
	return nil
}

// verneeds reads Elf64_Verneed and Vernaux.
func (d *decoder) verneeds(v *versions) error {
	addr, ok := d.dyn[dtVerNeed]
	if !ok {
		return nil
	}
	base, left, err := d.offset(addr)
	if err != nil {
		return fmt.Errorf("version needs: %w", err)
	}
	rel := uint64(0)
	for range d.dyn[dtVerNeedNum] {
		if err := v.add(); err != nil {
			return err
		}
		b, err := d.at(base, left, rel, 16)
		if err != nil {
			return fmt.Errorf("version needs: %w", err)
		}
		count, file := d.order.Uint16(b[2:]), uint64(d.order.Uint32(b[4:]))
		aux, next := rel+uint64(d.order.Uint32(b[8:])), uint64(d.order.Uint32(b[12:]))
		n := Need{}
		if n.Library, err = d.string(file); err != nil {
			return fmt.Errorf("version needs: %w", err)
		}
		for range count {
			if err := v.add(); err != nil {
				return err
			}
			if b, err = d.at(base, left, aux, 16); err != nil {
				return fmt.Errorf("version needs: %w", err)
			}
			flags, index := d.order.Uint16(b[4:]), d.order.Uint16(b[6:])
			follow := uint64(d.order.Uint32(b[12:]))
			name, err := d.string(uint64(d.order.Uint32(b[8:])))
			if err != nil {
				return fmt.Errorf("version needs: %w", err)
			}
			n.Versions = append(n.Versions, Version{Name: name, Weak: flags&2 != 0})
			v.names[index&0x7fff] = versionName{name: name, library: n.Library, needed: true}
			if follow == 0 {
				break
			}
			aux += follow
		}
		d.f.Needs = append(d.f.Needs, n)
		if next == 0 {
			break
		}
		rel += next
	}
	return nil
}

// symbols reads the dynamic symbol table. Only DT_HASH says how long it is;
// the GNU hash table tells it for what is exported, and the relocations name
// what is used of the rest.
func (d *decoder) symbols(v *versions) error {
	addr, ok := d.dyn[dtSymTab]
	if !ok {
		return nil
	}
	size := 16
	if d.is64 {
		size = 24
	}
	if n, ok := d.dyn[dtSymEnt]; ok && n != uint64(size) {
		return corrupt("symbols of %d bytes", n)
	}
	base, left, err := d.offset(addr)
	if err != nil {
		return fmt.Errorf("symbols: %w", err)
	}
	copied, used, err := d.relocations()
	if err != nil {
		return fmt.Errorf("relocations: %w", err)
	}
	count, err := d.symbolCount(used)
	if err != nil {
		return err
	}
	if count > maxSymbols {
		return tooLarge("%d symbols", count)
	}
	if count > left/uint64(size) {
		return corrupt("%d symbols where %d have room", count, left/uint64(size))
	}
	var indexes []byte
	if at, ok := d.dyn[dtVerSym]; ok {
		off, room, err := d.offset(at)
		if err != nil {
			return fmt.Errorf("symbol versions: %w", err)
		}
		if room < 2*count {
			return corrupt("%d symbol versions where %d bytes are", count, room)
		}
		if indexes, err = d.r.whole(off, 2*count); err != nil {
			return fmt.Errorf("symbol versions: %w", err)
		}
	}
	names := 0
	for i := uint64(1); i < count; i++ {
		b, err := d.r.bytes(base+i*uint64(size), size)
		if err != nil {
			return fmt.Errorf("symbols: %w", err)
		}
		var info, other byte
		var section uint16
		var length uint64
		if d.is64 {
			info, other, section, length = b[4], b[5], d.order.Uint16(b[6:]), d.order.Uint64(b[16:])
		} else {
			info, other, section, length = b[12], b[13], d.order.Uint16(b[14:]), uint64(d.order.Uint32(b[8:]))
		}
		bind, typ := info>>4, info&0xf
		const local, global, weak, unique = 0, 1, 2, 10
		if bind != global && bind != weak && bind != unique || typ == 3 || typ == 4 { // sections and file names
			continue
		}
		at := uint64(d.order.Uint32(b))
		if at == 0 {
			continue
		}
		s := Symbol{Type: SymbolType(typ), Weak: bind == weak, Unique: bind == unique}
		if s.Name, err = d.string(at); err != nil {
			return fmt.Errorf("symbol %d: %w", i, err)
		}
		if s.Name == "" {
			continue
		}
		// Many symbols may name the same long string; looking for its end each
		// time must not take for ever.
		if names += len(s.Name); names > maxNames {
			return tooLarge("symbol names of %d bytes", names)
		}
		hidden, index := false, uint16(1)
		if indexes != nil {
			raw := d.order.Uint16(indexes[2*i:])
			hidden, index = raw&0x8000 != 0, raw&0x7fff
		}
		ver := versionName{}
		if index > 1 {
			if ver, ok = v.names[index]; !ok {
				return corrupt("symbol %d has version %d of none such", i, index)
			}
		}
		if !ver.base {
			s.Version = ver.name
		}
		switch {
		case section == 0:
			s.Library = ver.library
			d.f.Imports = append(d.f.Imports, s)
		case copied[uint32(i)], ver.needed && s.Type == Object: // the second: another name of something copied
			s.Library, s.Copied, s.Size = ver.library, true, length
			d.f.Imports = append(d.f.Imports, s)
		case index == local, other&3 == 1, other&3 == 2: // internal and hidden ones
		case section == 0xfff1 && s.Name == ver.name: // the linker makes one for each version (SHN_ABS)
		default:
			s.Size = length
			s.Default = s.Version != "" && !hidden
			d.f.Exports = append(d.f.Exports, s)
		}
	}
	return nil
}

// relocations returns the symbols that are copied into an executable, and the
// highest number of a symbol that a relocation uses, plus one.
func (d *decoder) relocations() (copied map[uint32]bool, used uint64, err error) {
	kind := d.f.copyReloc()
	_, hasHash := d.dyn[dtHash]
	if (kind == 0 || !d.f.Executable()) && hasHash {
		return nil, 0, nil
	}
	copied = map[uint32]bool{}
	type table struct {
		addr, size uint64
		addend     bool
	}
	tables := []table{
		{d.dyn[dtRela], d.dyn[dtRelaSize], true}, {d.dyn[dtRel], d.dyn[dtRelSize], false},
		{d.dyn[dtJmpRel], d.dyn[dtPLTRelSize], d.dyn[dtPLTRel] == dtRela},
	}
	for _, t := range tables {
		if t.size == 0 {
			continue
		}
		entry := 8 // Elf32_Rel
		switch {
		case d.is64 && t.addend:
			entry = 24
		case d.is64:
			entry = 16
		case t.addend:
			entry = 12
		}
		off, left, err := d.offset(t.addr)
		if err != nil {
			return nil, 0, err
		}
		if t.size > left {
			return nil, 0, corrupt("%d bytes where %d are", t.size, left)
		}
		n := t.size / uint64(entry)
		if n > maxRelocs {
			return nil, 0, tooLarge("%d of them", n)
		}
		for i := range n {
			b, err := d.r.bytes(off+i*uint64(entry), entry)
			if err != nil {
				return nil, 0, err
			}
			var sym, typ uint32
			if d.is64 {
				info := d.order.Uint64(b[8:])
				sym, typ = uint32(info>>32), uint32(info)
			} else {
				info := d.order.Uint32(b[4:])
				sym, typ = info>>8, info&0xff
			}
			used = max(used, uint64(sym)+1)
			if typ == kind && kind != 0 && sym != 0 {
				if copied[sym] = true; len(copied) > maxSymbols {
					return nil, 0, tooLarge("more than %d copied symbols", maxSymbols)
				}
			}
		}
	}
	return copied, used, nil
}

// symbolCount is the length of the symbol table.
func (d *decoder) symbolCount(used uint64) (uint64, error) {
	if addr, ok := d.dyn[dtHash]; ok {
		off, left, err := d.offset(addr)
		if err != nil {
			return 0, fmt.Errorf("hash table: %w", err)
		}
		// s390x (and Alpha) have words of 64 bits here.
		if d.f.Machine == emS390 && d.is64 {
			b, err := d.at(off, left, 8, 8)
			if err != nil {
				return 0, fmt.Errorf("hash table: %w", err)
			}
			return d.order.Uint64(b), nil
		}
		b, err := d.at(off, left, 4, 4)
		if err != nil {
			return 0, fmt.Errorf("hash table: %w", err)
		}
		return uint64(d.order.Uint32(b)), nil
	}
	if addr, ok := d.dyn[dtGNUHash]; ok {
		n, err := d.gnuHashCount(addr)
		if err != nil {
			return 0, fmt.Errorf("GNU hash table: %w", err)
		}
		return max(n, used), nil
	}
	return used, nil
}

// gnuHashCount finds the last symbol of the GNU hash table: the chain of the
// highest bucket ends with it.
func (d *decoder) gnuHashCount(addr uint64) (uint64, error) {
	off, left, err := d.offset(addr)
	if err != nil {
		return 0, err
	}
	b, err := d.at(off, left, 0, 16)
	if err != nil {
		return 0, err
	}
	buckets, first, bloom := uint64(d.order.Uint32(b)), uint64(d.order.Uint32(b[4:])), uint64(d.order.Uint32(b[8:]))
	word := uint64(4)
	if d.is64 {
		word = 8
	}
	at := 16 + bloom*word
	if at > left || buckets > (left-at)/4 {
		return 0, corrupt("%d buckets behind %d words where %d bytes are", buckets, bloom, left)
	}
	if buckets > maxSymbols {
		return 0, tooLarge("%d buckets", buckets)
	}
	last := uint64(0)
	for i := range buckets {
		if b, err = d.at(off, left, at+4*i, 4); err != nil {
			return 0, err
		}
		last = max(last, uint64(d.order.Uint32(b)))
	}
	if last == 0 {
		return 0, nil // exports nothing; first may be anything
	}
	if last < first {
		return 0, corrupt("a bucket of symbol %d before the first, %d", last, first)
	}
	chains := at + 4*buckets
	for ; ; last++ {
		if last > maxSymbols {
			return 0, tooLarge("more than %d symbols", maxSymbols)
		}
		if b, err = d.at(off, left, chains+4*(last-first), 4); err != nil {
			return 0, err
		}
		if d.order.Uint32(b)&1 != 0 {
			return last + 1, nil
		}
	}
}
