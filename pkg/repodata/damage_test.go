package repodata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

const oneFilelists = `<?xml version="1.0" encoding="UTF-8"?>
<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="1">
<package pkgid="aa11" name="foo" arch="x86_64">
  <version epoch="1" ver="2.0" rel="3.el9"/>
  <file type="dir">/lib/modules/5</file>
  <file>/lib/modules/5/a.ko.xz</file>
  <file>/lib/modules/5/b.ko.xz</file>
  <file>/usr/bin/foo &amp; bar</file>
  <file type="ghost">/etc/g</file>
  <file type="dir">/</file>
  <file>/lib/modules/5/c.ko.xz</file>
</package>
</filelists>
`

func indexBytes(t testing.TB, primary, modules string) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	var m io.Reader
	if modules != "" {
		m = strings.NewReader(modules)
	}
	_, err := repodata.BuildIndex(&b, strings.NewReader(primary), m, repodata.Source{Primary: "sha256:aa", Modules: "sha256:bb"})
	return b.Bytes(), err
}

func openBytes(t testing.TB, data []byte) (*repodata.Index, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ix, err := repodata.OpenIndex(path)
	if err == nil {
		t.Cleanup(func() { ix.Close() })
	}
	return ix, err
}

func indexOf(t testing.TB, primary, modules string) (*repodata.Index, error) {
	t.Helper()
	data, err := indexBytes(t, primary, modules)
	if err != nil {
		return nil, err
	}
	return openBytes(t, data)
}

func TestIndexOfLegalXML(t *testing.T) {
	for name, doc := range legal {
		t.Run(name, func(t *testing.T) {
			ix, err := indexOf(t, doc, "")
			if err != nil {
				t.Fatal(err)
			}
			compareIndex(t, ix, strings.NewReader(doc))
		})
	}
}

func TestIndexModules(t *testing.T) {
	ix, err := indexOf(t, onePackage, oneModules)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantModules(t), ix.Modules()); d != "" {
		t.Error(d)
	}
	if s := ix.StreamsOf(0); !slices.Equal(s, []int{0}) || !ix.Modular(0) {
		t.Errorf("streams %v", s)
	}
	if want := (repodata.Source{Primary: "sha256:aa", Modules: "sha256:bb"}); ix.Source() != want {
		t.Errorf("source %+v", ix.Source())
	}
	// The same with another epoch is another package.
	ix, err = indexOf(t, strings.Replace(onePackage, `epoch="1" ver="2.0" rel="3.el9"/>`, `epoch="2" ver="2.0" rel="3.el9"/>`, 1), oneModules)
	if err != nil {
		t.Fatal(err)
	}
	if s := ix.StreamsOf(0); s != nil {
		t.Errorf("streams %v", s)
	}
}

func TestSatisfying(t *testing.T) {
	ix, err := indexOf(t, onePackage, "")
	if err != nil {
		t.Fatal(err)
	}
	for dep, want := range map[string]bool{
		"foo": true, "foo = 1:2.0": true, "foo >= 1:2.0-3.el9": true, "foo > 1:2.0-3.el9": false, "foo < 2.0": false,
		"bar": true, "bar > 7": true, "baz": false, "/etc/d": true, "/etc/x": false, "x86_64": false,
	} {
		d, err := rpmver.ParseDep(dep)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(ix.Satisfying(d)) > 0; got != want {
			t.Errorf("%s: %v", dep, got)
		}
	}
	for evr, want := range map[string]int{"1.9-1": 1, "2.0-1": 0, "1:1.0-1": 0} {
		e, err := rpmver.ParseEVR(evr)
		if err != nil {
			t.Fatal(err)
		}
		if got := ix.ObsoletersOf("old", e); len(got) != want {
			t.Errorf("old-%s: %v", evr, got)
		}
	}
}

func TestBuildIndexErrors(t *testing.T) {
	for _, c := range []struct {
		primary, modules string
		is               error
	}{
		{onePackage[:700], "", repodata.ErrMalformed},
		{onePackage, "a: [", repodata.ErrMalformed},
		{strings.Replace(onePackage, "packages=\"1\"", "packages=\"2\"", 1), "", repodata.ErrMalformed},
	} {
		if b, err := indexBytes(t, c.primary, c.modules); !errors.Is(err, c.is) || len(b) > 0 {
			t.Errorf("%d bytes, error %v", len(b), err)
		}
	}
}

// Any damage to an index is seen when it is opened.
func TestDamagedIndex(t *testing.T) {
	data, err := indexBytes(t, onePackage, oneModules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openBytes(t, data); err != nil {
		t.Fatal(err)
	}
	for at := range data {
		if at > 2000 && at%97 != 0 {
			continue
		}
		bad := bytes.Clone(data)
		bad[at] ^= 1 << (at % 8)
		if _, err := openBytes(t, bad); !errors.Is(err, repodata.ErrIndex) {
			t.Fatalf("byte %d: error %v", at, err)
		}
	}
	for _, bad := range [][]byte{nil, data[:1], data[:32], data[:300], data[:len(data)-1], append(bytes.Clone(data), 0), []byte(onePackage)} {
		if _, err := openBytes(t, bad); !errors.Is(err, repodata.ErrIndex) {
			t.Errorf("%d bytes: error %v", len(bad), err)
		}
	}
	if _, err := repodata.OpenIndex(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) || errors.Is(err, repodata.ErrIndex) {
		t.Errorf("no file: %v", err)
	}
	if _, err := repodata.OpenIndex(t.TempDir()); !errors.Is(err, repodata.ErrIndex) {
		t.Errorf("a folder: %v", err)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := repodata.OpenFileIndex(path); !errors.Is(err, repodata.ErrIndex) {
		t.Errorf("an index of another kind: %v", err)
	}
}

// reseal makes the checksums of an index file right again.
func reseal(data []byte) {
	const fixed, sec, n = 32, 24, 10
	if len(data) < fixed+sec*n+4 {
		return
	}
	le := binary.LittleEndian
	table := crc32.MakeTable(crc32.Castagnoli)
	for i := range n {
		e := data[fixed+sec*i:]
		off, l := le.Uint64(e[8:]), le.Uint64(e[16:])
		if off <= uint64(len(data)) && l <= uint64(len(data))-off {
			le.PutUint32(e[4:], crc32.Checksum(data[off:off+l], table))
		}
	}
	le.PutUint32(data[fixed+sec*n:], crc32.Checksum(data[:fixed+sec*n], table))
}

// exercise asks an index everything there is to ask.
func exercise(ix *repodata.Index) {
	rd := ix.NewReader()
	for i := range min(ix.Len(), 50) {
		_, _ = rd.Package(i)
		p, err := ix.Package(i)
		if err == nil {
			for _, name := range append([]string{p.NEVRA.Name, "foo", "old", "a"}, p.Files...) {
				ix.ByName(name)
				ix.ProvidersOfFile(name)
				ix.WhatRequires(name)
				ix.Satisfying(rpmver.Dep{Name: name, Flags: rpmver.Equal, EVR: p.NEVRA.EVR})
				ix.ObsoletersOf(name, p.NEVRA.EVR)
			}
		}
		ix.NEVRA(i)
		ix.Deps(i, repodata.Enhances)
		ix.StreamsOf(i)
	}
	ix.Modules()
}

// A file whose checksums are right and whose content is not gives wrong
// answers at worst, and mostly says so.
func TestResealedIndex(t *testing.T) {
	data, err := indexBytes(t, onePackage, oneModules)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "index")
	opened, noticed := 0, 0
	for at := 0; at < len(data)-4; at += 4 {
		bad := bytes.Clone(data)
		bad[at+at/4%4] ^= []byte{0x01, 0x80, 0xff}[at/4%3]
		reseal(bad)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		ix, err := repodata.OpenIndex(path)
		if err != nil {
			continue
		}
		opened++
		exercise(ix)
		if ix.Err() != nil {
			noticed++
		}
		ix.Close()
	}
	t.Logf("%d files opened, %d of them gave an error later", opened, noticed)
	if opened == 0 || noticed == 0 {
		t.Error("the damage does nothing")
	}
}

func FuzzOpenIndex(f *testing.F) {
	data, err := indexBytes(f, onePackage, oneModules)
	if err != nil {
		f.Fatal(err)
	}
	fx := fileIndexBytes(f)
	f.Add(data, uint32(300), byte(7), true)
	f.Add(fx, uint32(300), byte(7), true)
	f.Add(data[:400], uint32(1), byte(7), false)
	f.Fuzz(func(t *testing.T, data []byte, at uint32, x byte, seal bool) {
		data = bytes.Clone(data)
		if len(data) > 0 {
			data[int(at)%len(data)] ^= x
		}
		if seal {
			reseal(data)
		}
		path := filepath.Join(t.TempDir(), "index")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if ix, err := repodata.OpenIndex(path); err == nil {
			exercise(ix)
			ix.Close()
		} else if !errors.Is(err, repodata.ErrIndex) {
			t.Error(err)
		}
		if fx, err := repodata.OpenFileIndex(path); err == nil {
			for i := range min(fx.Len(), 50) {
				for file := range fx.Files(i) {
					fx.Owners(file.Path)
				}
			}
			for range fx.Under("/lib") {
			}
			fx.Close()
		} else if !errors.Is(err, repodata.ErrIndex) {
			t.Error(err)
		}
	})
}
