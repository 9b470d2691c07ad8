package repodata_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func realRepo(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(realdata.Dir(t), "repodata", name)
}

func readRepomd(t testing.TB, repo string) *repodata.Repomd {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repo, "repodata/repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	md, err := repodata.ParseRepomd(data)
	if err != nil {
		t.Fatal(err)
	}
	return md
}

// record opens a metadata file of a repository; nil if it lists none.
func record(t testing.TB, repo, typ string) io.ReadCloser {
	t.Helper()
	rec, ok := readRepomd(t, repo).Record(typ)
	if !ok {
		return nil
	}
	f, err := os.Open(filepath.Join(repo, rec.Location))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := repodata.Decompress(rec.Location, f, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func buildIndex(t testing.TB, repo string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	md := readRepomd(t, repo)
	primary, _ := md.Primary()
	mods, _ := md.Record("modules")
	src := repodata.Source{Primary: primary.Checksum.String(), Modules: mods.Checksum.String()}
	m := record(t, repo, "modules")
	var st repodata.Stats
	if m != nil {
		st, err = repodata.BuildIndex(f, record(t, repo, "primary"), m, src)
	} else {
		st, err = repodata.BuildIndex(f, record(t, repo, "primary"), nil, src)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %+v", filepath.Base(repo), st)
	return path
}

func openIndex(t testing.TB, path string) *repodata.Index {
	t.Helper()
	ix, err := repodata.OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

var realRepos = []string{
	"centos-stream9-baseos-2022-02", "centos-stream9-appstream-2025-01", "centos8-kmods-sig-aarch64", "zfs-el9",
	"osbuild-custom-zst", "createrepo_c-tests/repo_03", "createrepo_c-tests/repo_04", "createrepo_c-tests/repo_with_additional_metadata",
}

// Every package of an index is what ParsePrimary gives.
func TestIndexHoldsPrimary(t *testing.T) {
	for _, name := range realRepos {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			repo := realRepo(t, name)
			compareIndex(t, openIndex(t, buildIndex(t, repo)), record(t, repo, "primary"))
		})
	}
}
