package inventory_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// TestStringsAreThoseOfEncodingJSON for every byte and every rune that it
// treats in its own way.
func TestStringsAreThoseOfEncodingJSON(t *testing.T) {
	words := []string{"", "plain-1.0/x+y_~^", "a\"b\\c", "<&>", "\u2028\u2029", "\ufffd", "caf\u00e9", "\xff\xfe", "tail\xc3", "\U0001f600"}
	for c := range 256 {
		words = append(words, "x"+string([]byte{byte(c)})+"y")
	}
	for _, w := range words {
		want, err := inventory.Encode(w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inventory.AppendString([]byte("before"), w)
		if err != nil || string(got) != "before"+string(want) {
			t.Errorf("%q: %s, %v, want %s", w, got, err, want)
		}
	}
}

// bigInventory has as many packages, dependencies and files as a host.
func bigInventory() *inventory.Inventory {
	inv := &inventory.Inventory{Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion}
	for i := range 1500 {
		p := inventory.Package{Row: uint32(i + 1), Name: fmt.Sprintf("package-%d", i), Arch: "x86_64", EVR: rpmver.EVR{Version: "1.2", Release: "3.el9"}}
		for j := range 25 {
			p.Requires = append(p.Requires, rpmver.Dep{Name: fmt.Sprintf("lib%d.so.%d()(64bit)", i*j%4000, j)})
			p.Provides = append(p.Provides, rpmver.Dep{Name: fmt.Sprintf("lib%d-%d", i, j), Flags: 8, EVR: p.EVR})
		}
		p.Files.Dirs = []string{fmt.Sprintf("/usr/share/package-%d/", i)}
		for j := range 100 {
			p.Files.Base, p.Files.DirIndex = append(p.Files.Base, fmt.Sprintf("file-%d.txt", j)), append(p.Files.DirIndex, 0)
		}
		inv.Packages = append(inv.Packages, p)
	}
	return inv
}

// TestPackagesDoNotShare: the memory for paths goes round while reading.
func TestPackagesDoNotShare(t *testing.T) {
	inv := bigInventory()
	inv.Packages = inv.Packages[:20]
	inv.Packages[3].Files = inventory.Files{}
	inv.Packages[4].Files.Base = inv.Packages[4].Files.Base[:2]
	inv.Packages[4].Files.DirIndex = inv.Packages[4].Files.DirIndex[:2]
	var b bytes.Buffer
	if err := inv.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got, err := inventory.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inv.Packages, got.Packages); d != "" {
		t.Error(d)
	}
}

func BenchmarkWriteJSON(b *testing.B) {
	inv := bigInventory()
	b.ReportAllocs()
	for b.Loop() {
		if err := inv.WriteJSON(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadJSON(b *testing.B) {
	var doc bytes.Buffer
	if err := bigInventory().WriteJSON(&doc); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(doc.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inventory.Read(bytes.NewReader(doc.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
