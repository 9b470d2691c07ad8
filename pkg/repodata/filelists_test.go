package repodata_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func fileIndexBytes(t testing.TB) []byte {
	t.Helper()
	ix, err := indexOf(t, onePackage, "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := repodata.BuildFileIndex(&b, strings.NewReader(oneFilelists), ix, repodata.Source{Filelists: "sha256:cc"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openFileIndex(t testing.TB, data []byte) *repodata.FileIndex {
	t.Helper()
	path := filepath.Join(t.TempDir(), "files")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	fx, err := repodata.OpenFileIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fx.Close() })
	return fx
}

func TestFileIndex(t *testing.T) {
	fx := openFileIndex(t, fileIndexBytes(t))
	want := []repodata.File{
		{Path: "/lib/modules/5", Type: repodata.Dir}, {Path: "/lib/modules/5/a.ko.xz"}, {Path: "/lib/modules/5/b.ko.xz"},
		{Path: "/usr/bin/foo & bar"}, {Path: "/etc/g", Type: repodata.Ghost}, {Path: "/", Type: repodata.Dir}, {Path: "/lib/modules/5/c.ko.xz"},
	}
	if d := cmp.Diff(want, slices.Collect(fx.Files(0))); d != "" {
		t.Error(d)
	}
	for _, f := range want {
		if got := fx.Owners(f.Path); !slices.Equal(got, []int{0}) {
			t.Errorf("%s: %v", f.Path, got)
		}
	}
	for _, p := range []string{"", "/lib", "/lib/modules/5/", "/etc/a.ko.xz", "foo", "/x/y"} {
		if got := fx.Owners(p); got != nil {
			t.Errorf("%q: %v", p, got)
		}
	}
	for prefix, n := range map[string]int{"/lib/modules/": 4, "/lib/modules/5": 4, "/lib/modules/5/": 3, "/lib/modules/5/b": 1, "/usr": 1, "": 7, "/": 7, "/x": 0, "lib": 0} {
		got := 0
		for pkg, f := range fx.Under(prefix) {
			if pkg != 0 || !strings.HasPrefix(f.Path, prefix) {
				t.Errorf("%q: %d %v", prefix, pkg, f)
			}
			got++
		}
		if got != n {
			t.Errorf("%q: %d files, want %d", prefix, got, n)
		}
	}
	if fx.Source().Filelists != "sha256:cc" || fx.Len() != 1 || fx.Err() != nil {
		t.Error(fx.Source(), fx.Len(), fx.Err())
	}
}

func TestBadFilelists(t *testing.T) {
	ix, err := indexOf(t, onePackage, "")
	if err != nil {
		t.Fatal(err)
	}
	twice := strings.Replace(oneFilelists, "</filelists>", oneFilelists[strings.Index(oneFilelists, "<package"):], 1)
	for _, c := range [][2]string{
		{strings.Replace(oneFilelists, `"aa11"`, `"bb"`, 1), "is not in primary metadata"},
		{strings.Replace(oneFilelists, `pkgid="aa11"`, ``, 1), "no pkgid"},
		{strings.Replace(oneFilelists, `packages="1"`, `packages="0"`, 1), "1 packages where 0 are declared"},
		{strings.Replace(twice, `packages="1"`, `packages="2"`, 1), "or there less often"},
		{strings.Replace(oneFilelists, `"dir"`, `"x"`, 1), "unknown file type"},
		{onePackage, "the root element is <metadata>"},
		{oneFilelists[:400], "unfinished tag"},
	} {
		var b bytes.Buffer
		_, err := repodata.BuildFileIndex(&b, strings.NewReader(c[0]), ix, repodata.Source{})
		if err == nil || !strings.Contains(err.Error(), c[1]) || !errors.Is(err, repodata.ErrMalformed) || b.Len() > 0 {
			t.Errorf("error %v, want %q", err, c[1])
		}
	}
}

// The file index of a real repository gives what a search through filelists
// gives.
func TestRealFileIndex(t *testing.T) {
	for _, name := range realRepos {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			repo := realRepo(t, name)
			if strings.Contains(name, "appstream") {
				t.Skip("its filelists is empty")
			}
			ix := openIndex(t, buildIndex(t, repo))
			var b bytes.Buffer
			st, err := repodata.BuildFileIndex(&b, record(t, repo, "filelists"), ix, repodata.Source{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", st)
			fx := openFileIndex(t, b.Bytes())
			byID := map[string]int{}
			for i := range ix.Len() {
				p, err := ix.Package(i)
				if err != nil {
					t.Fatal(err)
				}
				byID[p.Pkgid] = i
			}
			owners := map[string][]int{}
			modules := 0
			err = repodata.ParseFilelists(record(t, repo, "filelists"), func(pkgid, name, arch string, evr rpmver.EVR, files []repodata.File) error {
				i := byID[pkgid]
				if n := ix.NEVRA(i); n != (rpmver.NEVRA{Name: name, EVR: evr, Arch: arch}) {
					t.Errorf("%s: %s", pkgid, n)
				}
				if got := slices.Collect(fx.Files(i)); !slices.Equal(got, files) {
					t.Fatalf("package %d: %s", i, cmp.Diff(files, got))
				}
				for _, f := range files {
					if l := owners[f.Path]; len(l) == 0 || l[len(l)-1] != i {
						owners[f.Path] = append(l, i)
					}
					if strings.HasPrefix(f.Path, "/lib/modules/") {
						modules++
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for path, want := range owners {
				slices.Sort(want)
				if got := fx.Owners(path); !slices.Equal(got, want) {
					t.Fatalf("%s: %v, want %v", path, got, want)
				}
			}
			for range fx.Under("/lib/modules/") {
				modules--
			}
			if modules != 0 || fx.Err() != nil {
				t.Errorf("%d files below /lib/modules missed, %v", modules, fx.Err())
			}
			// What primary lists of files is a part of it.
			for i := range ix.Len() {
				p, err := ix.Package(i)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range p.Files {
					if !slices.Contains(owners[f], i) {
						t.Fatalf("%s: %s is in primary alone", p.NEVRA, f)
					}
				}
			}
		})
	}
}

func FuzzFilelists(f *testing.F) {
	f.Add(oneFilelists)
	f.Fuzz(func(t *testing.T, doc string) {
		type pkg struct {
			id, name, arch string
			evr            rpmver.EVR
			files          []repodata.File
		}
		var got, want []pkg
		err := repodata.ParseFilelists(strings.NewReader(doc), func(pkgid, name, arch string, evr rpmver.EVR, files []repodata.File) error {
			evr.Version, evr.Release = blanks.Replace(evr.Version), blanks.Replace(evr.Release)
			got = append(got, pkg{blanks.Replace(pkgid), blanks.Replace(name), blanks.Replace(arch), evr, files})
			return nil
		})
		if err != nil {
			return
		}
		root, err := oracleTree(strings.NewReader(doc))
		if err != nil {
			if strings.Contains(err.Error(), "invalid XML name") {
				return
			}
			t.Fatalf("encoding/xml alone refuses it: %v", err)
		}
		for _, n := range root.kids {
			if n.local != "package" {
				continue
			}
			evr := oracleEVR(n.child("version"))
			evr.Version, evr.Release = blanks.Replace(evr.Version), blanks.Replace(evr.Release)
			p := pkg{blanks.Replace(n.attr("pkgid")), blanks.Replace(n.attr("name")), blanks.Replace(n.attr("arch")), evr, nil}
			for _, k := range n.kids {
				if k.local == "file" {
					typ := map[string]repodata.FileType{"dir": repodata.Dir, "ghost": repodata.Ghost}[k.attr("type")]
					p.files = append(p.files, repodata.File{Path: k.text, Type: typ})
				}
			}
			want = append(want, p)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(pkg{})); d != "" {
			t.Errorf("(-encoding/xml +ParseFilelists)\n%s", d)
		}
	})
}
