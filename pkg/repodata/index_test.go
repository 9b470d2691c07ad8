package repodata_test

import (
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// compareIndex checks that an index holds what the XML holds, and that every
// lookup finds what a search through all packages finds.
func compareIndex(t *testing.T, ix *repodata.Index, primary io.Reader) {
	t.Helper()
	by := map[string]map[string][]int{}
	note := func(rel, name string, i int) {
		if by[rel] == nil {
			by[rel] = map[string][]int{}
		}
		if l := by[rel][name]; len(l) == 0 || l[len(l)-1] != i {
			by[rel][name] = append(l, i)
		}
	}
	n := 0
	_, err := repodata.ParsePrimary(primary, func(p *repodata.Package) error {
		got, err := ix.Package(n)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(p, got) {
			t.Fatalf("package %d %s (-xml +index):\n%s", n, p.NEVRA, cmp.Diff(p, got))
		}
		if ix.NEVRA(n) != p.NEVRA {
			t.Fatalf("package %d: NEVRA %s, want %s", n, ix.NEVRA(n), p.NEVRA)
		}
		for k := repodata.Requires; k <= repodata.Enhances; k++ {
			if !slices.Equal(ix.Deps(n, k), p.Deps(k)) {
				t.Fatalf("package %d: %s differ", n, k)
			}
			for _, d := range p.Deps(k) {
				note(k.String(), d.Name, n)
			}
		}
		note("name", p.NEVRA.Name, n)
		for _, f := range p.Files {
			note("file", f, n)
		}
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if ix.Len() != n {
		t.Fatalf("%d packages, want %d", ix.Len(), n)
	}
	for rel, lookup := range map[string]func(string) []int{
		"name": ix.ByName, "provides": ix.WhatProvides, "obsoletes": ix.WhatObsoletes,
		"conflicts": ix.WhatConflicts, "requires": ix.WhatRequires, "file": ix.ProvidersOfFile,
	} {
		for name, want := range by[rel] {
			if got := lookup(name); !slices.Equal(got, want) {
				t.Fatalf("%s %q: %v, want %v", rel, name, got, want)
			}
		}
		if got := lookup("no such thing"); got != nil {
			t.Fatalf("%s of nothing: %v", rel, got)
		}
	}
	for _, name := range []string{"1", "noarch", ""} { // strings of the index that are mostly no names
		if got := ix.ByName(name); !slices.Equal(got, by["name"][name]) {
			t.Fatalf("name %q: %v", name, got)
		}
	}
	if err := ix.Err(); err != nil {
		t.Fatal(err)
	}
}
