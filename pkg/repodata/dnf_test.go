package repodata_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// dnfRows returns what dnf reads from a repository: testdata/reposack.py's
// lines, sorted.
func dnfRows(t *testing.T, repo string) []string {
	t.Helper()
	const python = "/usr/bin/python3" // the one that Debian's dnf is a module of
	if out, err := exec.Command(python, "-c", "import dnf").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: dnf is not installed: %v: %s", err, out)
	}
	repo, err := filepath.Abs(repo)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/reposack.py", repo, t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	rows := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(out) == 0 {
		rows = nil
	}
	slices.Sort(rows)
	return rows
}

// solvString writes a dependency as libsolv does: "foo < 1:" where only an epoch
// is given (the Kmods SIG has such Obsoletes), rich dependencies without the
// parentheses that add nothing.
func solvString(d rpmver.Dep) string {
	if !d.IsRich() {
		if d.EVR == (rpmver.EVR{}) || d.Flags.Comparison() == 0 {
			return d.Name
		}
		return d.Name + " " + d.Flags.String() + " " + d.EVR.String()
	}
	s := d.Name
	for again := true; again; {
		again = false
		for open := range s {
			if s[open] != '(' || open > 0 && s[open-1] != ' ' && s[open-1] != '(' {
				continue
			}
			depth, end := 0, open
			for ; end < len(s); end++ {
				if s[end] == '(' {
					depth++
				} else if s[end] == ')' {
					if depth--; depth == 0 {
						break
					}
				}
			}
			inner := s[open+1 : end]
			words := strings.Fields(inner)
			if len(words) == 1 || len(words) == 3 && strings.Trim(words[1], "<=>") == "" {
				s = s[:open] + inner + s[end+1:]
				again = true
				break
			}
		}
	}
	return s
}

// depRow writes a list as libsolv has it: a set, sorted.
func depRow(deps []rpmver.Dep) string {
	var l []string
	for _, d := range deps {
		l = append(l, solvString(d))
	}
	slices.Sort(l)
	return strings.Join(slices.Compact(l), "\x1f")
}

func indexRows(t *testing.T, ix *repodata.Index) []string {
	t.Helper()
	var rows []string
	for i := range ix.Len() {
		p, err := ix.Package(i)
		if err != nil {
			t.Fatal(err)
		}
		n := p.NEVRA
		f := []string{fmt.Sprintf("%s-%d:%s-%s.%s", n.Name, n.EVR.Epoch, n.EVR.Version, n.EVR.Release, n.Arch), p.Pkgid, p.Location}
		for k := repodata.Requires; k <= repodata.Enhances; k++ {
			f = append(f, depRow(p.Deps(k)))
		}
		rows = append(rows, strings.Join(f, "\t"))
	}
	slices.Sort(rows)
	return rows
}

func compareDNF(t *testing.T, repo string) {
	t.Helper()
	want := dnfRows(t, repo)
	got := indexRows(t, openIndex(t, buildIndex(t, repo)))
	if len(got) != len(want) {
		t.Errorf("%d packages, dnf has %d", len(got), len(want))
	}
	bad := 0
	for i := range min(len(got), len(want)) {
		if got[i] == want[i] {
			continue
		}
		if bad++; bad <= 5 {
			split := func(s string) []string {
				return strings.FieldsFunc(s, func(r rune) bool { return r == '\t' || r == '\x1f' })
			}
			t.Errorf("(-dnf +index)\n%s", cmp.Diff(split(want[i]), split(got[i])))
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d packages differ", bad, len(want))
	}
}

func TestRealReposAsDNF(t *testing.T) {
	for _, name := range realRepos {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) { compareDNF(t, realRepo(t, name)) })
	}
}

// A repository made here, in every compression, is what dnf says it is.
func TestOwnRepoAsDNF(t *testing.T) {
	createrepo, err := exec.LookPath("createrepo_c")
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	for _, comp := range []string{"gz", "xz", "zstd", "bz2"} {
		t.Run(comp, func(t *testing.T) {
			repo := ownRepo(t)
			out, err := exec.Command(createrepo, "--general-compress-type="+comp, "--no-database", repo).CombinedOutput()
			if err != nil {
				if comp == "zstd" { // createrepo_c learned it with 1.0
					t.Skipf("SKIPPED: this createrepo_c does not write zstd: %s", out)
				}
				t.Fatalf("%v: %s", err, out)
			}
			compareDNF(t, repo)
			ix := openIndex(t, buildIndex(t, repo))
			if ix.Len() != 6 {
				t.Errorf("%d packages", ix.Len())
			}
			compareIndex(t, ix, record(t, repo, "primary"))
			var b bytes.Buffer
			if _, err := repodata.BuildFileIndex(&b, record(t, repo, "filelists"), ix, repodata.Source{}); err != nil {
				t.Fatal(err)
			}
			fx := openFileIndex(t, b.Bytes())
			if o := fx.Owners("/usr/share/p0/<&\"'>"); len(o) != 1 || ix.NEVRA(o[0]).Name != "p0" {
				t.Errorf("owners %v", o)
			}
			if o := fx.Owners("/usr/share/shared"); len(o) != 6 {
				t.Errorf("owners %v", o)
			}
			if o := ix.ProvidersOfFile("/etc/p3.conf"); len(o) != 1 || ix.NEVRA(o[0]).Name != "p3" {
				t.Errorf("owners in primary %v", o)
			}
		})
	}
}

// ownRepo writes packages with dependencies of every kind to a new folder.
func ownRepo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	rels := func(l ...string) (out rpmpack.Relations) {
		for _, s := range l {
			r, err := rpmpack.NewRelation(s)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		return out
	}
	for i := range 6 {
		r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
			Name: fmt.Sprintf("p%d", i), Epoch: uint32(i % 3), Version: fmt.Sprintf("1.%d~rc1", i), Release: "2^git.el9", Arch: []string{"x86_64", "noarch"}[i%2],
			Summary: "<&>", Description: "\"a\" & 'b' ]]>\n\n\ttab ünïcode", Vendor: "V & W", BuildTime: time.Unix(1700000000, 0), OS: "linux",
			Provides:  rels(fmt.Sprintf("p%d = %d:1.%d~rc1-2^git.el9", i, i%3, i), "virtual", fmt.Sprintf("versioned = %d:1-1", i), "font(:lang=de)", "a<b"),
			Requires:  rels("/bin/sh", "glibc >= 2.34", "c++ < 9", "exact = 1.2-3", "libx.so.1(V&1)(64bit)"),
			Conflicts: rels("bad > 1", "worse <= 2:3-4"), Obsoletes: rels(fmt.Sprintf("old%d < 2-1", i), "ancient"),
			Recommends: rels("nice"), Suggests: rels("maybe = 1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{fmt.Sprintf("/usr/share/p%d/<&\"'>", i), fmt.Sprintf("/etc/p%d.conf", i), "/usr/share/shared", "/usr/bin/über"} {
			r.AddFile(rpmpack.RPMFile{Name: name, Body: []byte("x"), Mode: 0o644, Owner: "root", Group: "root"})
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("p%d.rpm", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
