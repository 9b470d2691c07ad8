package kmod_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

func FuzzELF(f *testing.F) {
	for _, s := range []elfSpec{
		{order: binary.LittleEndian, is64: true, machine: 62, imports: map[string]uint32{"a": 1}, exports: map[string]uint32{"b": 2, "c": 3}},
		{order: binary.BigEndian, is64: true, machine: 22, imports: map[string]uint32{"a": 1}, ext: true, weak: []string{"w"}},
		{order: binary.LittleEndian, machine: 3, imports: map[string]uint32{"a": 1}},
	} {
		s.modinfo = []string{"name=x", "alias=pci:v*", "vermagic=1 SMP", "parm=a:b", "parmtype=a:int", "softdep=pre: x"}
		f.Add(s.build())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := kmod.ParseModule(data)
		if err != nil {
			return
		}
		if len(m.Imports()) < len(m.Undefined) && len(m.Versions) == 0 && !duplicates(m.Undefined) {
			t.Error("an undefined symbol is no import")
		}
		m.Info.Parameters()
		m.Info.SoftDeps()
	})
}

func duplicates(s []kmod.Symbol) bool {
	seen := map[string]bool{}
	for _, x := range s {
		if seen[x.Name] {
			return true
		}
		seen[x.Name] = true
	}
	return false
}

func FuzzModinfo(f *testing.F) {
	f.Add([]byte("name=x\x00alias=a\x00\x00depends=a,b\x00parm=p:text\x00"))
	f.Add([]byte("ext4.alias=fs-ext4\x00md_mod.license=GPL\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := kmod.ParseInfo(data)
		if err != nil {
			return
		}
		n := 0
		for _, e := range bytes.Split(data, []byte{0}) {
			if len(e) > 0 {
				n++
			}
		}
		if n != len(info.Fields) {
			t.Errorf("%d entries, %d fields", n, len(info.Fields))
		}
		info.Depends()
		info.Parameters()
		info.Vermagic()
		kmod.ParseBuiltinInfo(data)
	})
}

func FuzzPKCS7Trailer(f *testing.F) {
	f.Add([]byte("body0123456789"), byte(2), uint32(10))
	f.Add([]byte("\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), byte(2), uint32(13))
	f.Add([]byte("name\x00\x02ab"), byte(1), uint32(4))
	dir := f.TempDir()
	s, _ := newSigner(f, dir, "fuzz", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	for _, flags := range [][]string{{"-noattr"}, {"-keyid"}} {
		sig := s.sign(f, dir, []byte("body"), flags...)
		f.Add(append([]byte("body"), sig...), byte(2), uint32(len(sig)))
	}
	f.Fuzz(func(t *testing.T, body []byte, idType byte, sigLen uint32) {
		info := make([]byte, 12)
		info[2] = idType
		binary.BigEndian.PutUint32(info[8:], sigLen)
		data := append(append(bytes.Clone(body), info...), "~Module signature appended~\n"...)
		sig, err := kmod.ParseSignature(data)
		if err != nil {
			return
		}
		if sig == nil || sig.SignedLen+int(sigLen) > len(body) {
			t.Errorf("%+v of %d bytes", sig, len(body))
		}
		sig.KeyLabel()
	})
}

func FuzzInitramfs(f *testing.F) {
	f.Add(append(earlyArchive(), newc(cpioEntry{"a", "b", 0o100644})...))
	small := newc(cpioEntry{"lib/modules/1/x.ko", "data", 0o100644}, cpioEntry{"l", "t", 0o120777})
	for _, c := range [][]string{{"gzip"}, {"xz", "--check=crc32"}, {"zstd"}, {"bzip2"}, {"lz4", "-l"}, {"lz4"}, {"xz", "--format=lzma"}, {"lzop"}, {"lzop", "-9"}} {
		f.Add(compressWith(f, small, c...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := kmod.ParseInitramfs(bytes.NewReader(data), kmod.InitramfsLimits{MaxBytes: 1 << 20, MaxEntries: 1000})
		if err != nil {
			if img != nil {
				t.Error("an error and a list")
			}
			return
		}
		n := 0
		for _, s := range img.Segments {
			n += s.Entries
		}
		if n != len(img.Files) {
			t.Errorf("%d entries in segments, %d files", n, len(img.Files))
		}
		img.Modules()
	})
}

func FuzzProcModules(f *testing.F) {
	f.Add("nvidia 56807424 12 nvidia_modeset, Live 0x0000000000000000 (POE)\nx 1 - -\n")
	f.Fuzz(func(t *testing.T, text string) {
		mods, err := kmod.ParseProcModules(strings.NewReader(text))
		if err != nil {
			return
		}
		lines := 0
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		if lines != len(mods) {
			t.Errorf("%d lines, %d modules", lines, len(mods))
		}
		for _, m := range mods {
			kmod.ExplainModuleTaint(m.Taint)
		}
	})
}

// FuzzAlias holds the table against one match after the other.
func FuzzAlias(f *testing.F) {
	f.Add("pci:v00008086d*sv*", "pci:v00008086d000010D3sv00000000")
	f.Add("a[!b-d]*?\\*", "ae-x*")
	f.Add("[[:alpha:]-]x", "_x")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		table := kmod.NewAliasTable([]kmod.Alias{{Pattern: pattern, Module: "m"}, {Pattern: "other", Module: "o"}})
		got := false
		for _, m := range table.Match(name) {
			got = got || m == "m"
		}
		if want := kmod.MatchAlias(pattern, name); got != want {
			t.Errorf("table %v, MatchAlias %v", got, want)
		}
		kmod.ParseAliases(strings.NewReader("alias " + pattern + " m\n"))
	})
}

// FuzzShellVars: whatever a dkms.conf holds, what is read of it stays small.
func FuzzShellVars(f *testing.F) {
	f.Add("PACKAGE_NAME=\"a\"\nBUILT_MODULE_NAME[0]='b' # c\nX=(a \"b c\" $PACKAGE_NAME # d\n e)\n")
	f.Add("if true; then\nA[$i]=${A}$B\\\n$(c)\nfi\nexport B=\"x\ny\"\n")
	f.Add("A=" + strings.Repeat("x", 60<<10) + "\n" + strings.Repeat("B=($A $A $A $A)\nC=$A\n", 200))
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := kmod.ParseShellVars(text, map[string]string{"PACKAGE_VERSION": "1"})
		if err != nil && !errors.Is(err, kmod.ErrCorrupt) && !errors.Is(err, kmod.ErrTooLarge) {
			t.Error(err)
		}
		total := 0
		for _, v := range vars {
			total += len(v)
		}
		if total > 2<<20 {
			t.Errorf("%d bytes of values", total)
		}
	})
}
