package kmod_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func TestCompareImports(t *testing.T) {
	var table kmod.SymbolTable
	table.Add(kmod.Symbol{Name: "same", CRC: 1, HasCRC: true}, kmod.Symbol{Name: "differs", CRC: 2, HasCRC: true},
		kmod.Symbol{Name: "bare"}, kmod.Symbol{Name: "two", CRC: 3, HasCRC: true}, kmod.Symbol{Name: "two", CRC: 4, HasCRC: true})
	c := kmod.CompareImports([]kmod.Symbol{
		{Name: "same", CRC: 1, HasCRC: true}, {Name: "differs", CRC: 9, HasCRC: true}, {Name: "bare", CRC: 5, HasCRC: true},
		{Name: "two", CRC: 4, HasCRC: true}, {Name: "same"}, {Name: "gone", CRC: 1, HasCRC: true}, {Name: "maybe", Weak: true},
	}, &table)
	names := func(list []kmod.Symbol) (out []string) {
		for _, s := range list {
			out = append(out, s.Name)
		}
		return out
	}
	got := map[string][]string{"met": names(c.Met), "no crc": names(c.NoCRC), "missing": names(c.Missing), "weak": names(c.MissingWeak)}
	want := map[string][]string{"met": {"same", "two"}, "no crc": {"bare", "same"}, "missing": {"gone"}, "weak": {"maybe"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(c.Mismatched) != 1 || c.Mismatched[0].Name != "differs" || c.Mismatched[0].Have[0] != 2 || c.Total() != 7 {
		t.Errorf("%+v", c.Mismatched)
	}
}

func TestParseSymvers(t *testing.T) {
	text := "0x75d19f57\t__alloc_disk_node\tvmlinux\tEXPORT_SYMBOL\n" +
		"0xc07351b3\tnamed\tdrivers/usb/storage/usb-storage\tEXPORT_SYMBOL_GPL\tUSB_STORAGE\n" +
		"0x00000000\tbare\tvmlinux\tEXPORT_SYMBOL\t\n" +
		"0x00000001\told54\tNS\tvmlinux\tEXPORT_SYMBOL_GPL\n"
	want := []kmod.Symbol{
		{Name: "__alloc_disk_node", CRC: 0x75d19f57, HasCRC: true, Module: "vmlinux", Export: "EXPORT_SYMBOL"},
		{Name: "named", CRC: 0xc07351b3, HasCRC: true, Module: "drivers/usb/storage/usb-storage", Export: "EXPORT_SYMBOL_GPL", Namespace: "USB_STORAGE"},
		{Name: "bare", Module: "vmlinux", Export: "EXPORT_SYMBOL"},
		{Name: "old54", CRC: 1, HasCRC: true, Module: "vmlinux", Export: "EXPORT_SYMBOL_GPL", Namespace: "NS"},
	}
	for _, data := range [][]byte{[]byte(text), compressWith(t, []byte(text), "gzip"), compressWith(t, []byte(text), "xz")} {
		got, err := kmod.ParseSymvers(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{"x\n", "0xzz\ta\tb\n", "0x1\ta\n", "0x123456789\ta\tvmlinux\tE\n"} {
		if _, err := kmod.ParseSymvers(strings.NewReader(bad)); !errors.Is(err, kmod.ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	cut := compressWith(t, []byte(text), "gzip")
	if _, err := kmod.ParseSymvers(bytes.NewReader(cut[:len(cut)-4])); !errors.Is(err, kmod.ErrCorrupt) {
		t.Errorf("cut gzip: %v", err)
	}
	list, err := kmod.ParseStablelist(strings.NewReader("[rhel10_x86_64_stablelist]\n\t__alloc\n\tb\n"))
	if err != nil || !cmp.Equal(list, []string{"__alloc", "b"}) {
		t.Errorf("%v, %v", list, err)
	}
}

func TestParsePackageDeps(t *testing.T) {
	var deps []rpmver.Dep
	for _, s := range []string{"kernel(printk) = 0xdeadbeef", "ksym(foo) = 0x00000001", "kernel(bare)", "kmod(hpsa.ko) = 3.4", "kmod(a-b.ko.xz)",
		"modalias(pci:v00000E11d*sv*sd*bc01sc04i*) = 3.4.20_200_RH1", "installonlypkg(kernel)", "kernel-core-uname-r = 5.14.0-427.el9.x86_64",
		"libc.so.6(GLIBC_2.34)(64bit)", "kernel >= 4.18.0-477", "/bin/sh"} {
		d, err := rpmver.ParseDep(s)
		if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, d)
	}
	p, err := kmod.ParsePackageDeps(deps)
	if err != nil {
		t.Fatal(err)
	}
	p.ModuleRanges = nil
	if diff := cmp.Diff(kmod.PackageKernel{
		Symbols:    []kmod.Symbol{{Name: "printk", CRC: 0xdeadbeef, HasCRC: true}, {Name: "foo", CRC: 1, HasCRC: true}, {Name: "bare"}},
		Modules:    []string{"a_b", "hpsa"},
		ModAliases: []kmod.ModAlias{{Pattern: "pci:v00000E11d*sv*sd*bc01sc04i*", Version: "3.4.20_200_RH1"}},
		Unames:     map[string][]string{"kernel-core-uname-r": {"5.14.0-427.el9.x86_64"}}, InstallOnly: []string{"kernel"},
	}, p); diff != "" {
		t.Error(diff)
	}
	if _, err := kmod.ParsePackageDeps([]rpmver.Dep{{Name: "kernel(x)", EVR: rpmver.EVR{Version: "0xnothex"}}}); !errors.Is(err, kmod.ErrCorrupt) {
		t.Errorf("damaged CRC: %v", err)
	}
}

// TestGlobAgainstFnmatch asks the C library's fnmatch(3), by way of Python.
func TestGlobAgainstFnmatch(t *testing.T) {
	python := tool(t, "python3")
	if err := exec.Command(python, "-c", "import ctypes; ctypes.CDLL(None).fnmatch").Run(); err != nil {
		t.Skip("SKIPPED: python3 cannot reach the C library")
	}
	patterns := []string{"*", "?", "a*b", "a?b", "[abc]x", "[!abc]x", "[^abc]x", "[a", "[]a]x", "[0123456789ABCDE]*", `a\*b`, "*sv*sd*bc*", "", "a**b", "[[:digit:]]*",
		"[z]*[y]", "**", "a*?b", "[A_F]x", "[0-9]x", "x[!0-4]", "pci:v0000103Cd0000323[AB]sv*sd*bc*sc*i*"}
	names := []string{"", "a", "ab", "axb", "bx", "zx", "[a", "]x", "a*b", "5sv1sd2bc3", "0abc", "9x", "x5", "x3", "zy", "a/b", ".a", "_x", "Bx", "aab", "aXXb",
		"pci:v0000103Cd0000323Asv0000103Csd00003233bc01sc04i00"}
	script := "import ctypes,sys\nf=ctypes.CDLL(None).fnmatch\nfor l in sys.stdin.read().split('\\1'):\n p,n=l.split('\\2')\n print(int(f(p.encode(),n.encode(),0)==0))\n"
	var in []string
	for _, p := range patterns {
		for _, n := range names {
			in = append(in, p+"\x02"+n)
		}
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = strings.NewReader(strings.Join(in, "\x01"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(out))
	for i, pair := range in {
		p, n, _ := strings.Cut(pair, "\x02")
		got := "0"
		if kmod.MatchAlias(p, n) {
			got = "1"
		}
		if got != want[i] {
			t.Errorf("pattern %q, name %q: fnmatch %s, MatchAlias %s", p, n, want[i], got)
		}
	}
}

func BenchmarkAliasMatch(b *testing.B) {
	var aliases []kmod.Alias
	for i := range 30000 {
		aliases = append(aliases, kmod.Alias{Pattern: fmt.Sprintf("pci:v%08Xd%08Xsv*sd*bc*sc*i*", 0x8000+i%300, i), Module: fmt.Sprintf("m%d", i%900)})
	}
	aliases = append(aliases, kmod.Alias{Pattern: "pci:v*d*sv*sd*bc01sc06i01*", Module: "ahci"})
	table := kmod.NewAliasTable(aliases)
	for b.Loop() {
		table.Match("pci:v00008010d00000010sv00001028sd00000001bc01sc06i01")
	}
}
