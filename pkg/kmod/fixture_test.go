package kmod_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// elfSpec says what a module made for a test contains.
type elfSpec struct {
	order   byteOrder
	is64    bool
	machine uint16
	flags   uint32
	modinfo []string
	imports map[string]uint32
	ext     bool // CRCs in the extended sections
	exports map[string]uint32
	weak    []string
}

// build writes a relocatable ELF file from scratch, so that every byte order and
// width is covered without cross compilers.
func (s elfSpec) build() []byte {
	word := 8
	if !s.is64 {
		word = 4
	}
	type sec struct {
		name          string
		typ           uint32
		data          []byte
		link, entsize int
	}
	crc32 := func(v uint32) []byte { return s.order.AppendUint32(nil, v) }
	var versions, extCRC, extNames, strtab, symtab, kcrc []byte
	strtab = []byte{0}
	sym := func(name string, info byte, shndx uint16, value uint64) {
		at := uint32(len(strtab))
		strtab = append(append(strtab, name...), 0)
		symtab = s.order.AppendUint32(symtab, at)
		if s.is64 {
			symtab = append(symtab, info, 0)
			symtab = s.order.AppendUint16(symtab, shndx)
			symtab = s.order.AppendUint64(symtab, value)
			symtab = s.order.AppendUint64(symtab, 0)
		} else {
			symtab = s.order.AppendUint32(symtab, uint32(value))
			symtab = s.order.AppendUint32(symtab, 0)
			symtab = append(symtab, info, 0)
			symtab = s.order.AppendUint16(symtab, shndx)
		}
	}
	symtab = make([]byte, 16)
	if s.is64 {
		symtab = make([]byte, 24)
	}
	for _, name := range keys(s.imports) {
		sym(name, 0x10, 0, 0)
		if s.ext {
			extCRC = append(extCRC, crc32(s.imports[name])...)
			extNames = append(append(extNames, name...), 0)
			continue
		}
		entry := make([]byte, 64)
		if s.is64 {
			s.order.PutUint64(entry, uint64(s.imports[name]))
		} else {
			s.order.PutUint32(entry, s.imports[name])
		}
		copy(entry[word:], name)
		versions = append(versions, entry...)
	}
	for _, name := range s.weak {
		sym(name, 0x20, 0, 0)
	}
	const crcSection = 2
	for i, name := range keys(s.exports) {
		sym("__ksymtab_"+name, 0x11, crcSection+1, 0)
		if i%2 == 0 {
			sym("__crc_"+name, 0x10, 0xfff1, uint64(s.exports[name]))
		} else {
			sym("__crc_"+name, 0x10, crcSection, uint64(len(kcrc)))
			kcrc = append(kcrc, crc32(s.exports[name])...)
		}
	}
	symSize := 16
	if s.is64 {
		symSize = 24
	}
	secs := []sec{{},
		{".modinfo", 1, []byte(strings.Join(s.modinfo, "\x00") + "\x00"), 0, 0},
		{"__kcrctab", 1, kcrc, 0, 0},
		{"__ksymtab", 1, nil, 0, 0},
		{"__versions", 1, versions, 0, 0},
		{"__version_ext_crcs", 1, extCRC, 0, 0},
		{"__version_ext_names", 1, extNames, 0, 0},
		{".symtab", 2, symtab, 8, symSize},
		{".strtab", 3, strtab, 0, 0},
		{".shstrtab", 3, nil, 0, 0},
	}
	var names []byte
	at := make([]uint32, len(secs))
	for i, x := range secs {
		at[i] = uint32(len(names))
		names = append(append(names, x.name...), 0)
	}
	secs[len(secs)-1].data = names
	head, shsize := 52, 40
	if s.is64 {
		head, shsize = 64, 64
	}
	out := make([]byte, head)
	offs := make([]int, len(secs))
	for i, x := range secs {
		offs[i] = len(out)
		out = append(out, x.data...)
	}
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	shoff := len(out)
	for i, x := range secs {
		h := make([]byte, shsize)
		s.order.PutUint32(h, at[i])
		s.order.PutUint32(h[4:], x.typ)
		if s.is64 {
			s.order.PutUint64(h[24:], uint64(offs[i]))
			s.order.PutUint64(h[32:], uint64(len(x.data)))
			s.order.PutUint32(h[40:], uint32(x.link))
			s.order.PutUint64(h[56:], uint64(x.entsize))
		} else {
			s.order.PutUint32(h[16:], uint32(offs[i]))
			s.order.PutUint32(h[20:], uint32(len(x.data)))
			s.order.PutUint32(h[24:], uint32(x.link))
			s.order.PutUint32(h[36:], uint32(x.entsize))
		}
		out = append(out, h...)
	}
	copy(out, "\x7fELF")
	out[4], out[5], out[6] = 1, 1, 1
	if s.is64 {
		out[4] = 2
	}
	if s.order.Uint16([]byte{0, 1}) == 1 {
		out[5] = 2
	}
	s.order.PutUint16(out[16:], 1)
	s.order.PutUint16(out[18:], s.machine)
	s.order.PutUint32(out[20:], 1)
	tail := out[36:]
	if s.is64 {
		s.order.PutUint64(out[40:], uint64(shoff))
		tail = out[48:]
	} else {
		s.order.PutUint32(out[32:], uint32(shoff))
	}
	s.order.PutUint32(tail, s.flags)
	s.order.PutUint16(tail[4:], uint16(head))
	s.order.PutUint16(tail[10:], uint16(shsize))
	s.order.PutUint16(tail[12:], uint16(len(secs)))
	s.order.PutUint16(tail[14:], uint16(len(secs)-1))
	return out
}

func keys(m map[string]uint32) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func TestModulesOfAllMachines(t *testing.T) {
	for _, c := range []struct {
		name string
		spec elfSpec
	}{
		{"x86_64", elfSpec{order: binary.LittleEndian, is64: true, machine: 62}},
		{"aarch64", elfSpec{order: binary.LittleEndian, is64: true, machine: 183, ext: true}},
		{"ppc64le", elfSpec{order: binary.LittleEndian, is64: true, machine: 21, flags: 2}},
		{"s390x", elfSpec{order: binary.BigEndian, is64: true, machine: 22}},
		{"i686", elfSpec{order: binary.LittleEndian, machine: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.spec
			s.modinfo = []string{"name=foo-bar", "alias=pci:v00001AF4d*", "depends=a,b-c", "intree=Y", "softdep=pre: x-y post: z",
				"vermagic=5.14.0-1.el9." + c.name + " SMP preempt mod_unload modversions "}
			s.imports = map[string]uint32{"printk": 0xdeadbeef, "module_layout": 1, ".dotted": 7}
			s.exports = map[string]uint32{"one": 0x11111111, "two": 0x22222222, "three": 0xffffffff}
			s.weak = []string{"maybe"}
			m, err := kmod.ParseModule(s.build())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{"machine": m.Machine, "name": m.Name(), "depends": m.Info.Depends(), "release": m.Info.Vermagic().Release,
				"preempt": m.Info.Vermagic().Preempt(), "softdeps": m.Info.SoftDeps(), "imports": m.Imports(), "exports": m.Exports}
			want := map[string]any{"machine": c.name, "name": "foo_bar", "depends": []string{"a", "b_c"}, "release": "5.14.0-1.el9." + c.name,
				"preempt": "preempt", "softdeps": []kmod.SoftDep{{Module: "foo_bar", Pre: []string{"x_y"}, Post: []string{"z"}}},
				"imports": []kmod.Symbol{{Name: ".dotted", CRC: 7, HasCRC: true}, {Name: "maybe", Weak: true},
					{Name: "module_layout", CRC: 1, HasCRC: true}, {Name: "printk", CRC: 0xdeadbeef, HasCRC: true}},
				"exports": []kmod.Symbol{{Name: "one", CRC: 0x11111111, HasCRC: true, Export: "EXPORT_SYMBOL"},
					{Name: "three", CRC: 0xffffffff, HasCRC: true, Export: "EXPORT_SYMBOL"}, {Name: "two", CRC: 0x22222222, HasCRC: true, Export: "EXPORT_SYMBOL"}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestModuleDamage changes every byte of a small module in turn: an error or a
// module, never a panic.
func TestModuleDamage(t *testing.T) {
	good := elfSpec{order: binary.LittleEndian, is64: true, machine: 62, modinfo: []string{"name=x"},
		imports: map[string]uint32{"a": 1}, exports: map[string]uint32{"b": 2, "c": 3}}.build()
	for i := range good {
		for _, v := range []byte{0, 0xff, good[i] ^ 0x80} {
			bad := bytes.Clone(good)
			bad[i] = v
			kmod.ParseModule(bad)
		}
		if _, err := kmod.ParseModule(good[:i]); err == nil {
			t.Errorf("cut at %d of %d: no error", i, len(good))
		}
	}
}

const rel = "5.14.0-427.el9.x86_64"

// moduleTree writes modules of several areas and lets depmod index them.
func moduleTree(t testing.TB) string {
	root := t.TempDir()
	mod := func(dir, name string, exports map[string]uint32, imports map[string]uint32, info ...string) {
		spec := elfSpec{order: binary.LittleEndian, is64: true, machine: 62, exports: exports, imports: imports,
			modinfo: append([]string{"name=" + strings.ReplaceAll(name, "-", "_"), "license=GPL", "vermagic=" + rel + " SMP"}, info...)}
		write(t, root, "lib/modules/"+rel+"/"+dir+"/"+name+".ko", string(spec.build()))
	}
	mod("kernel/lib", "libcrc32c", map[string]uint32{"crc32c": 0x1234}, nil)
	mod("kernel/fs/xfs", "xfs", nil, map[string]uint32{"crc32c": 0x1234}, "alias=fs-xfs", "depends=libcrc32c", "softdep=pre: crc32-generic")
	mod("kernel/drivers/net", "e1000e", nil, nil, "alias=pci:v00008086d000010D3sv*sd*bc*sc*i*")
	mod("extra/e1000e", "e1000e", nil, nil, "alias=pci:v00008086d000010D3sv*sd*bc*sc*i*", "version=3.8")
	mod("weak-updates/x", "foo-bar", nil, nil, "alias=platform:foo-bar")
	mod("updates", "foo-bar", nil, nil, "alias=platform:foo-bar")
	write(t, root, "lib/modules/"+rel+"/modules.order", "kernel/lib/libcrc32c.ko\nkernel/fs/xfs/xfs.ko\nkernel/drivers/net/e1000e.ko\n")
	write(t, root, "lib/modules/"+rel+"/modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/drivers/md/md-mod.ko\n")
	write(t, root, "lib/modules/"+rel+"/modules.builtin.modinfo", "ext4.license=GPL\x00ext4.alias=fs-ext4\x00md_mod.alias=md\x00")
	return root
}

func TestTreeAgainstDepmod(t *testing.T) {
	for _, search := range []string{"", "search updates extra built-in weak-updates\n", "search built-in extra\nsearch updates\n",
		"override e1000e * extra/e1000e\n", "search weak-updates updates built-in\n"} {
		t.Run(search, func(t *testing.T) {
			root := moduleTree(t)
			conf := filepath.Join(root, "etc/depmod.d")
			write(t, root, "etc/depmod.d/dist.conf", search)
			run(t, tool(t, "depmod"), "-b", root, "-C", conf, rel)
			h := open(t, root)
			tree, err := h.Tree(rel)
			if err != nil {
				t.Fatal(err)
			}
			files, err := h.WalkTree(rel)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := h.DepmodConfig()
			if err != nil {
				t.Fatal(err)
			}
			byName := map[string][]string{}
			for _, f := range files {
				byName[f.Name] = append(byName[f.Name], f.Path)
			}
			chosen := map[string]string{}
			for name, paths := range byName {
				chosen[name] = cfg.Choose(rel, paths)
			}
			if diff := cmp.Diff(tree.Files, chosen); diff != "" {
				t.Errorf("depmod (-), Choose (+):\n%s", diff)
			}
			if diff := cmp.Diff(map[string][]string{"xfs": {"libcrc32c"}}, tree.Depends); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]kmod.SoftDep{{Module: "xfs", Pre: []string{"crc32_generic"}}}, tree.SoftDeps); diff != "" {
				t.Error(diff)
			}
			for _, name := range []string{"xfs", "fs-xfs", "fs-ext4", "ext4", "md-mod", "md", "foo-bar", "foo_bar", "platform:foo_bar",
				"platform:foo-bar", "symbol:crc32c", "pci:v00008086d000010D3sv00001043sd00008369bc02sc00i00", "nothing"} {
				var want []string
				if out, err := exec.Command(tool(t, "modprobe"), "-d", root, "-S", rel, "-C", "/nonexistent", "--resolve-alias", name).Output(); err == nil {
					want = strings.Fields(string(out))
				}
				sort.Strings(want)
				if fmt.Sprint(want) != fmt.Sprint(tree.Resolve(name)) {
					t.Errorf("%s: modprobe says %v, Resolve %v", name, want, tree.Resolve(name))
				}
			}
		})
	}
}

func TestTreeAbsent(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "lib/modules/1"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := open(t, root)
	for _, release := range []string{"1", "2", "", "..", "a/b"} {
		if _, err := h.Tree(release); err == nil {
			t.Errorf("%q: no error", release)
		}
	}
}
