package repodata_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
	"os"
	"path/filepath"
)

const oneModules = `---
document: modulemd-defaults
version: 1
data:
  module: ruby
  modified: 202001010000
  stream: 2.5
  profiles:
    2.5: [common]
    3.10: []
---
document: modulemd-defaults
version: 1
data: {module: ruby, stream: "2.7", modified: 202101010000}
---
document: modulemd
version: 2
data:
  name: ruby
  stream: 3.10
  version: 920240126110506
  context: 9
  static_context: true
  arch: x86_64
  summary: Ruby
  dependencies:
  - buildrequires: {platform: [el9]}
    requires: {platform: [el9], perl: [], nodejs: [-10, 12]}
  - requires: {platform: [el8]}
  profiles:
    common: {rpms: [ruby, foo]}
    devel: {description: x, rpms: [ruby-devel]}
  xmd: {mbs: &a [1, 2], other: *a}
  artifacts:
    rpms:
    - foo-1:2.0-3.el9.x86_64
    - foo-0:2.0-3.el9.x86_64
    - ruby-libs-0:3.10-1.module_el9+853+7b957b9b.src
...
---
document: modulemd
version: 1
data: {name: old, stream: s, version: 1, context: c, dependencies: {requires: {platform: f27}}, artifacts: {rpms: }}
---
document: modulemd
version: 3
data: {name: new, stream: s, version: 1, context: c, dependencies: {platform: f40, requires: {x: [y]}}, profiles: {p: {default: true, rpms: [q]}}}
---
document: modulemd-obsoletes
version: 1
data:
  modified: 2022-08-01T00:00Z
  module: ruby
  stream: 2.5
  context: 9
  eol_date: 2023-01-01T00:00Z
  message: end
  obsoleted_by: {module: ruby, stream: 3.10}
---
document: modulemd-translations
version: 1
data: {anything: [at, all]}
`

func nevra(t testing.TB, s string) rpmver.NEVRA {
	t.Helper()
	n, err := rpmver.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantModules(t testing.TB) *repodata.Modules {
	return &repodata.Modules{
		Streams: []repodata.Stream{
			{
				Name: "ruby", Stream: "3.10", Version: 920240126110506, Context: "9", Arch: "x86_64", Static: true, Summary: "Ruby",
				Requires: [][]repodata.ModuleDep{
					{{Module: "nodejs", Streams: []string{"-10", "12"}}, {Module: "perl"}, {Module: "platform", Streams: []string{"el9"}}},
					{{Module: "platform", Streams: []string{"el8"}}},
				},
				Profiles: []repodata.Profile{{Name: "common", RPMs: []string{"ruby", "foo"}}, {Name: "devel", RPMs: []string{"ruby-devel"}}},
				Artifacts: []rpmver.NEVRA{
					nevra(t, "foo-1:2.0-3.el9.x86_64"), nevra(t, "foo-0:2.0-3.el9.x86_64"), nevra(t, "ruby-libs-3.10-1.module_el9+853+7b957b9b.src"),
				},
			},
			{Name: "old", Stream: "s", Version: 1, Context: "c", Requires: [][]repodata.ModuleDep{{{Module: "platform", Streams: []string{"f27"}}}}, Artifacts: []rpmver.NEVRA{}},
			{
				Name: "new", Stream: "s", Version: 1, Context: "c", Artifacts: []rpmver.NEVRA{},
				Requires: [][]repodata.ModuleDep{{{Module: "platform", Streams: []string{"f40"}}, {Module: "x", Streams: []string{"y"}}}},
				Profiles: []repodata.Profile{{Name: "p", RPMs: []string{"q"}, Default: true}},
			},
		},
		Defaults: []repodata.ModuleDefaults{
			{Module: "ruby", Stream: "2.5", Modified: 202001010000, Profiles: []repodata.StreamProfiles{{Stream: "2.5", Profiles: []string{"common"}}, {Stream: "3.10"}}},
			{Module: "ruby", Stream: "2.7", Modified: 202101010000},
		},
		Obsoletes: []repodata.ModuleObsoletes{{
			Module: "ruby", Stream: "2.5", Context: "9", Modified: "2022-08-01T00:00Z", EOLDate: "2023-01-01T00:00Z", Message: "end", ByModule: "ruby", ByStream: "3.10",
		}},
		Skipped: []string{"modulemd-translations/1"},
	}
}

func TestModules(t *testing.T) {
	got, err := repodata.ParseModules(strings.NewReader(oneModules))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantModules(t), got); d != "" {
		t.Error(d)
	}
	if s := got.DefaultStream("ruby"); s != "2.7" {
		t.Errorf("default %q", s)
	}
	if p := got.DefaultProfiles("ruby", "2.5"); !slices.Equal(p, []string{"common"}) {
		t.Errorf("profiles %q", p)
	}
	if s := got.Streams[0].NSVCA(); s != "ruby:3.10:920240126110506:9:x86_64" {
		t.Errorf("NSVCA %q", s)
	}
	if f := got.Find("ruby", "3.10"); !slices.Equal(f, []int{0}) || got.Find("ruby", "3.1") != nil {
		t.Errorf("Find %v", f)
	}
	same := &repodata.Modules{Defaults: []repodata.ModuleDefaults{{Module: "m", Stream: "a"}, {Module: "m", Stream: "b"}}}
	if s := same.DefaultStream("m"); s != "" {
		t.Errorf("defaults that disagree give %q", s)
	}
}

func TestBadModules(t *testing.T) {
	bomb := "document: modulemd\nversion: 2\ndata:\n  a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("  a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	bomb += "  name: *a11\n"
	for doc, is := range map[string]error{
		"a: [":                       repodata.ErrMalformed,
		"document: modulemd\n  a: b": repodata.ErrMalformed,
		"document: modulemd\nversion: 2\ndata: {stream: s}":                                          repodata.ErrMalformed,
		"document: modulemd\nversion: 2\ndata: {name: n, stream: s, version: -1}":                    repodata.ErrMalformed,
		"document: modulemd\nversion: 2\ndata: {name: n, stream: s, artifacts: {rpms: [../../etc]}}": repodata.ErrMalformed,
		"document: modulemd\nversion: 2\ndata: {name: n, stream: s, artifacts: 1}":                   repodata.ErrMalformed,
		bomb:                          repodata.ErrMalformed,
		strings.Repeat("[", 1<<20):    repodata.ErrMalformed,
		strings.Repeat("- ", 100_000): repodata.ErrMalformed,
		"document: modulemd-defaults\nversion: 1\ndata: {}":           repodata.ErrMalformed,
		"document: modulemd-obsoletes\nversion: 1\ndata: {module: x}": repodata.ErrMalformed,
	} {
		if m, err := repodata.ParseModules(strings.NewReader(doc)); !errors.Is(err, is) {
			t.Errorf("%.60q: %v, %v", doc, m, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("document: x\ndata: "), &repeat{})
	if _, err := repodata.ParseModules(endless); !errors.Is(err, repodata.ErrTooLarge) {
		t.Errorf("endless: %v", err)
	}
	if m, err := repodata.ParseModules(strings.NewReader("")); err != nil || len(m.Streams) > 0 {
		t.Errorf("empty: %v %v", m, err)
	}
}

type repeat struct{}

func (*repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestRealModules(t *testing.T) {
	f, err := os.Open(filepath.Join(realdata.Dir(t), "repodata/rhel8-modules/rhel8.modules.yaml.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := repodata.Decompress(f.Name(), f, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	m, err := repodata.ParseModules(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Streams) != 862 || len(m.Defaults) != 49 || m.Skipped != nil {
		t.Errorf("%d streams, %d defaults, skipped %v", len(m.Streams), len(m.Defaults), m.Skipped)
	}
	artifacts := 0
	for _, s := range m.Streams {
		artifacts += len(s.Artifacts)
	}
	t.Logf("%d artifacts", artifacts)
	for module, stream := range map[string]string{"postgresql": "10", "nodejs": "10", "perl": "5.26", "maven": "3.5"} {
		if got := m.DefaultStream(module); got != stream {
			t.Errorf("default of %s: %q, want %q", module, got, stream)
		}
	}
}

func FuzzModules(f *testing.F) {
	f.Add(oneModules)
	f.Fuzz(func(t *testing.T, doc string) {
		m, err := repodata.ParseModules(strings.NewReader(doc))
		if err != nil {
			return
		}
		// What was read goes through an index unchanged.
		ix, err := indexOf(t, "<metadata/>", doc)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, ix.Modules()); d != "" {
			t.Error(d)
		}
		if ix.Err() != nil {
			t.Error(ix.Err())
		}
	})
}
