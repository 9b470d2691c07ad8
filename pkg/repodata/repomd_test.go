package repodata_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/test/realdata"
)

const sum = "c03bb2ebc33bbee3046da091b45d90717273a43d3641a9d84e6eede05637bc8a"

const oneRepomd = `<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>9-stream</revision>
  <tags><content>binary</content><repo>base</repo><distro cpeid="cpe:/o:x:9">X 9</distro></tags>
  <data type="primary">
    <checksum type="sha256">` + sum + `</checksum><open-checksum type="SHA256">` + sum + `</open-checksum>
    <location href="repodata/primary.xml.xz"/><timestamp>1736761560.25</timestamp><size>3597627</size><open-size>51840420</open-size>
  </data>
  <data type="primary"><checksum type="sha256">` + sum + `</checksum><location href="repodata/primary.xml.gz"/></data>
  <data type="primary_zck"><checksum type="sha256">` + sum + `</checksum><location href="repodata/primary.xml.zck"/></data>
  <data type="primary_db"><location href="repodata/primary.sqlite.bz2"/></data>
  <data type="future"><location href="x" xml:base="http://e.org/"/></data>
  <data type="filelists"><location href="repodata/filelists.xml.zck"/></data>
</repomd>`

func TestRepomd(t *testing.T) {
	got, err := repodata.ParseRepomd([]byte(oneRepomd))
	if err != nil {
		t.Fatal(err)
	}
	c := repodata.Checksum{Type: "sha256", Value: sum}
	want := &repodata.Repomd{
		Revision: "9-stream", Content: []string{"binary"}, Repo: []string{"base"}, Distro: []repodata.DistroTag{{CPEID: "cpe:/o:x:9", Text: "X 9"}},
		Records: []repodata.Record{
			{Type: "primary", Checksum: c, OpenChecksum: c, Location: "repodata/primary.xml.xz", Timestamp: 1736761560, Size: 3597627, OpenSize: 51840420},
			{Type: "primary", Checksum: c, Location: "repodata/primary.xml.gz"},
			{Type: "primary_zck", Checksum: c, Location: "repodata/primary.xml.zck"},
			{Type: "primary_db", Location: "repodata/primary.sqlite.bz2"},
			{Type: "future", Location: "x", LocationBase: "http://e.org/"},
			{Type: "filelists", Location: "repodata/filelists.xml.zck"},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if r, ok := got.Primary(); !ok || r.Location != "repodata/primary.xml.gz" {
		t.Errorf("primary: %v %v", r, ok)
	}
	for _, typ := range []string{"filelists", "modules"} {
		if r, ok := got.Record(typ); ok {
			t.Errorf("%s: %v", typ, r)
		}
	}
}

func TestBadRepomd(t *testing.T) {
	for old, c := range map[string][2]string{
		"</repomd>":                           {"</repomd>x", "text outside"},
		"<repomd ":                            {"<html ", "HTML page"},
		"<size>3597627":                       {"<size>-1", "bad number"},
		"<open-size>5":                        {"<open-size>x", "bad number"},
		`href="repodata/primary.xml.` + `gz"`: {`href=""`, "without a type or a location"},
		`type="future"`:                       {``, "without a type or a location"},
		">" + sum + "</checksum><loc":         {">zz</checksum><loc", "bad checksum"},
		`type="sha256">`:                      {`type="">`, "bad checksum"},
		"UTF-8":                               {"UTF-16", "encoding other than UTF-8"},
	} {
		doc := strings.Replace(oneRepomd, old, c[0], 1)
		if old == "<repomd " {
			doc = "<html>"
		}
		_, err := repodata.ParseRepomd([]byte(doc))
		if err == nil || !strings.Contains(err.Error(), c[1]) || !errors.Is(err, repodata.ErrMalformed) {
			t.Errorf("%s: error %v, want %q", old, err, c[1])
		}
	}
	if _, err := repodata.ParseRepomd(make([]byte, 5<<20)); !errors.Is(err, repodata.ErrTooLarge) {
		t.Error(err)
	}
}

func TestRealRepomd(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(realdata.Dir(t), "repodata/*/repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"repodata/*/repodata/repomd.xml", "repodata/*/*/repodata/repomd.xml"} {
		more, _ := filepath.Glob(filepath.Join(realdata.Dir(t), pattern))
		files = append(files, more...)
	}
	if len(files) < 9 {
		t.Fatalf("only %d", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		md, err := repodata.ParseRepomd(data)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if n := strings.Count(string(data), "<data "); n != len(md.Records) {
			t.Errorf("%s: %d records, want %d", f, len(md.Records), n)
		}
		for _, r := range md.Records {
			if r.Checksum.Value == "" || r.Size == 0 {
				t.Errorf("%s: %+v", f, r)
			}
		}
	}
}

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(oneRepomd))
	f.Fuzz(func(t *testing.T, data []byte) {
		md, err := repodata.ParseRepomd(data)
		if err != nil {
			return
		}
		for _, r := range md.Records {
			if r.Type == "" || r.Location == "" || r.Size < 0 || r.OpenSize < 0 {
				t.Errorf("%+v", r)
			}
		}
		md.Primary()
	})
}
