package repodata_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// TestReaderAgrees: what a Reader gives of each package is what Index.Package
// gives, also where another dependency had the same place in its memory.
func TestReaderAgrees(t *testing.T) {
	ix := openIndex(t, buildIndex(t, realRepo(t, "centos-stream9-baseos-2022-02")))
	rd := ix.NewReader()
	for i := range ix.Len() {
		p, err := ix.Package(i)
		if err != nil {
			t.Fatal(err)
		}
		want := &repodata.Package{NEVRA: p.NEVRA, SizePackage: p.SizePackage, SizeInstalled: p.SizeInstalled,
			Requires: p.Requires, Provides: p.Provides, Conflicts: p.Conflicts, Obsoletes: p.Obsoletes, Files: p.Files}
		got, err := rd.Package(i)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("package %d, %s (-want +got):\n%s", i, p.NEVRA, d)
		}
	}
}
