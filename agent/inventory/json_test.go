package inventory_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// sample has every field set, and values that are easily lost on the way.
func sample() *inventory.Inventory {
	return &inventory.Inventory{
		Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion, Tool: inventory.Tool{Name: "almamigrate", Version: "1"},
		Taken: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Host: inventory.Host{Name: "h", Distro: inventory.Oracle, PrettyName: "<&>", Version: "9.3", Major: 9, Arch: "x86_64", State: inventory.StateSource,
			StateReason: "r", ReleasePackage: "x", OSRelease: map[string]string{"ID": "ol", "B": ""}, Kernel: "k", Root: "/", Live: true},
		Database: inventory.Database{Path: "/p", Backend: "sqlite", Rows: 3},
		Packages: []inventory.Package{
			{Row: 1, Name: "a", EVR: rpmver.EVR{Version: "1"}, Arch: "noarch"},
			{Row: 7, Name: "b\u2028\x1b[31m", EVR: rpmver.EVR{Epoch: 999, Version: "1~rc^x", Release: "2.el9"}, Arch: "x86_64", Vendor: "V", BuildHost: "h", BuildTime: 1, InstallTime: 2,
				Size: 1 << 60, SourceRPM: "s", ModuleLabel: "m:1:2:c",
				Signature: inventory.Signature{Status: "good", KeyID: "k", Fingerprint: "F", Owner: "o", UserID: "u", Weak: true, Reason: "r"},
				Requires: []rpmver.Dep{
					{Name: "(x if y)"},
					{Name: "v", Flags: rpmver.Sense(1<<3 | 1<<2 | 1<<9), EVR: rpmver.EVR{Epoch: 1, Version: "2-3", Release: "4"}},
					{Name: "odd", Flags: 1 << 3, EVR: rpmver.EVR{Version: "a:1", Release: ""}},
					{Name: "odder", Flags: 1 << 3, EVR: rpmver.EVR{Version: "1-2"}},
					{Name: "flag-without-version", Flags: 1 << 1},
				},
				Provides: []rpmver.Dep{{Name: "p"}}, Conflicts: []rpmver.Dep{{Name: "c"}}, Obsoletes: []rpmver.Dep{{Name: "o"}},
				Files: inventory.Files{Dirs: []string{"/etc/", "", "/"}, DirIndex: []uint32{0, 1, 0, 2}, Base: []string{"a", "relative", "b", ""}},
			},
		},
		Keys:    []inventory.Key{{Fingerprint: "F", KeyIDs: []string{"k"}, UserID: "u", Owner: "o", Source: "rpmdb", Expires: "2030-01-01", Armored: "-----\n"}},
		Repos:   []inventory.Repo{{ID: "r", Name: "n", File: "f", Enabled: true, BaseURLs: []string{"b"}, Mirrorlist: "m", Metalink: "l", GPGCheck: true, GPGKeys: []string{"g"}, Exclude: []string{"e"}, Options: map[string]string{"o": "p"}, OwnedBy: "q"}},
		DNF:     inventory.DNF{ConfFile: "c", Exclude: []string{"e"}, InstallOnly: []string{"i"}, Versionlock: []string{"!v"}, Protected: []inventory.Protected{{Package: "p", File: "f"}}, Vars: map[string]string{"a": "b"}, Modules: []inventory.ModuleState{{Name: "n", Stream: "s", State: "enabled", Profiles: []string{"p"}}}, Proxy: "p", ReleaseVer: "9"},
		Skipped: []inventory.Skipped{{What: "w", Reason: "r"}},
	}
}

func TestJSON(t *testing.T) {
	inv := sample()
	roundTrip(t, inv)
	var b bytes.Buffer
	if err := inv.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"row":1,"name":"a","epoch":0,"version":"1","release":"","arch":"noarch","size":0,"signature":{"status":""}}`,
		`{"name":"v","flags":">=","evr":"1:2-3-4","sense":524}`,
		`"files":["/etc/a","relative","/etc/b","/"]`,
		`"pretty_name":"<&>"`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is not in\n%s", want, b.String())
		}
	}
	if strings.ContainsRune(b.String(), 0x1b) {
		t.Error("an escape character is written raw")
	}
}

func document(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadErrors(t *testing.T) {
	doc := document(t)
	edit := func(old, new string) string {
		if !strings.Contains(doc, old) {
			t.Fatalf("%s is not in the document", old)
		}
		return strings.Replace(doc, old, new, 1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "at byte 0"},
		{"HTML", "<html>", "invalid character"},
		{"a list", "[]", "no JSON object"},
		{"another document", `{"kind":"almamigrate.check"}`, `its kind is "almamigrate.check"`},
		{"major version", edit(`"schema_version": "1.0"`, `"schema_version": "2.0"`), `schema version "2.0", this program reads 1.x`},
		{"truncated", doc[:len(doc)/2], "at byte"},
		{"no packages", `{"kind":"almamigrate.inventory","schema_version":"1.0","taken":"2026-01-01T00:00:00Z","host":{},"database":{}}`, `"packages" is missing`},
		{"packages is null", edit(`"packages": [`, `"packages": null, "x": [`), "packages is no list"},
		{"twice", edit(`"kind":`, `"kind": "almamigrate.inventory", "kind":`), `"kind" is there twice`},
		{"no name", edit(`"name":"a","epoch"`, `"name":"","epoch"`), "without name or version"},
		{"wrong type", edit(`"row":1`, `"row":"1"`), "package 1"},
		{"negative row", edit(`"row":1`, `"row":-1`), "package 1"},
		{"flags and sense", edit(`"flags":">="`, `"flags":"<="`), `flags "<=" and sense 524 disagree`},
		{"trailing", doc + "{}", "something follows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv, err := inventory.Read(strings.NewReader(tt.text))
			if inv != nil || !errors.Is(err, inventory.ErrDocument) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ...%s...", err, tt.want)
			}
		})
	}
}

// A later minor version may add fields.
func TestReadNewer(t *testing.T) {
	doc := strings.Replace(document(t), `"schema_version": "1.0"`, `"schema_version": "1.9", "added": {"x": [1]}`, 1)
	doc = strings.Replace(doc, `"row":1,`, `"row":1,"added":true,`, 1)
	inv, err := inventory.Read(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	inv.SchemaVersion = inventory.SchemaVersion
	if d := cmp.Diff(sample(), inv); d != "" {
		t.Error(d)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(document(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := inventory.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What is accepted can be written, and reads as the same again.
		var b bytes.Buffer
		if err := inv.WriteJSON(&b); err != nil {
			t.Skip() // a time that JSON cannot carry
		}
		again, err := inventory.Read(&b)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Packages) != len(inv.Packages) || again.Host.Distro != inv.Host.Distro {
			t.Error("another inventory after a second reading")
		}
	})
}

// Whatever order a header has its folders in, the list is the same before and
// after its way through JSON.
func TestPack(t *testing.T) {
	for _, tt := range []struct {
		dirs  []string
		index []uint32
		want  inventory.Files
	}{
		{[]string{"/a/", "/b/"}, []uint32{0, 0, 1}, inventory.Files{Dirs: []string{"/a/", "/b/"}, DirIndex: []uint32{0, 0, 1}}},
		{[]string{"/b/", "/a/"}, []uint32{0, 1, 0}, inventory.Files{Dirs: []string{"/b/", "/a/"}, DirIndex: []uint32{0, 1, 0}}},
		{[]string{"/a/", "/a/"}, []uint32{0, 1, 1}, inventory.Files{Dirs: []string{"/a/"}, DirIndex: []uint32{0, 0, 0}}},
		{[]string{"/a/", "/b/"}, []uint32{1, 0, 1}, inventory.Files{Dirs: []string{"/b/", "/a/"}, DirIndex: []uint32{0, 1, 0}}},
		{[]string{"/a/", "/unused/", "/b/"}, []uint32{0, 2, 2}, inventory.Files{Dirs: []string{"/a/", "/b/"}, DirIndex: []uint32{0, 1, 1}}},
		{[]string{"/a/", "/b/", "/unused/"}, []uint32{0, 1, 1}, inventory.Files{Dirs: []string{"/a/", "/b/"}, DirIndex: []uint32{0, 1, 1}}},
	} {
		base := []string{"x", "y", "z"}
		var want []string
		for i, n := range tt.index {
			want = append(want, tt.dirs[n]+base[i])
		}
		f := inventory.Pack(slices.Clone(tt.dirs), slices.Clone(tt.index), slices.Clone(base))
		var got []string
		for p := range f.All() {
			got = append(got, p)
		}
		tt.want.Base = base
		if cmp.Diff(want, got) != "" || cmp.Diff(tt.want, f) != "" {
			t.Errorf("%q %v: paths %q, %+v", tt.dirs, tt.index, got, f)
		}
	}
}
