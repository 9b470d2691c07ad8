package repodata_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
)

const updateinfoSample = `<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="packager@almalinux.org" status="final" type="security" version="1">
    <id>ALSA-2099:0001</id><title>Important: web:2 security update</title>
    <issued date="2099-01-02 03:04:05"/><severity>Important</severity>
    <description>a &lt;b&gt; <![CDATA[<c>]]></description>
    <references>
      <reference href="https://example.com" id="CVE-2099-1" type="cve" title="x"/>
      <reference href="https://example.com" id="CVE-2099-1" type="cve" title="twice"/>
      <reference href="https://example.com" id="RHSA-1" type="rhsa" title="x"/>
    </references>
    <pkglist>
      <collection short="a"><name>a</name>
        <module name="web" stream="2" version="1" context="c" arch="x86_64"/>
        <package name="web" version="2.1" release="3.el8" epoch="1" arch="x86_64" src="s"><filename>f</filename><reboot_suggested>True</reboot_suggested></package>
        <package name="web" version="2.1" release="3.el8" epoch="1" arch="src" src="s"/>
      </collection>
      <collection short="b">
        <package name="lib" version="1" release="1" arch="noarch"/>
      </collection>
    </pkglist>
  </update>
  <update type="bugfix"><id>ALBA-2099:0002</id><issued date="1700000000"/><pkglist/></update>
</updates>
`

func readUpdateinfo(data string) ([]*repodata.Advisory, error) {
	var out []*repodata.Advisory
	err := repodata.ParseUpdateinfo(strings.NewReader(data), func(a *repodata.Advisory) error { out = append(out, a); return nil })
	return out, err
}

func TestParseUpdateinfo(t *testing.T) {
	got, err := readUpdateinfo(updateinfoSample)
	if err != nil {
		t.Fatal(err)
	}
	want := []*repodata.Advisory{
		{
			ID: "ALSA-2099:0001", Type: repodata.AdvisorySecurity, Severity: "Important", Title: "Important: web:2 security update",
			Issued: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC), CVEs: []string{"CVE-2099-1"}, Reboot: true,
			Packages: []repodata.AdvisoryPackage{
				{Name: "web", EVR: rpmver.EVR{Epoch: 1, Version: "2.1", Release: "3.el8"}, Arch: "x86_64", Module: "web", Stream: "2"},
				{Name: "lib", EVR: rpmver.EVR{Version: "1", Release: "1"}, Arch: "noarch"},
			},
		},
		{ID: "ALBA-2099:0002", Type: repodata.AdvisoryBugfix, Issued: time.Unix(1700000000, 0).UTC()},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseUpdateinfoRejects(t *testing.T) {
	for name, doc := range map[string]string{
		"another root": "<metadata/>",
		"empty":        "",
		"cut":          updateinfoSample[:len(updateinfoSample)/2],
		"no id":        "<updates><update type='security'/></updates>",
		"bad epoch":    "<updates><update><id>A</id><pkglist><collection><package name='a' version='1' epoch='x'/></collection></pkglist></update></updates>",
		"no version":   "<updates><update><id>A</id><pkglist><collection><package name='a'/></collection></pkglist></update></updates>",
		"behind":       "<updates/><updates/>",
		"deep":         "<updates>" + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</updates>",
	} {
		var pe *repodata.ParseError
		if _, err := readUpdateinfo(doc); !errors.As(err, &pe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := "<updates><update><id>A</id><pkglist><collection>" + strings.Repeat("<package name='a' version='1'/>", 20_001) + "</collection></pkglist></update></updates>"
	if _, err := readUpdateinfo(many); !errors.Is(err, repodata.ErrTooLarge) {
		t.Errorf("too many packages: %v", err)
	}
}

// AlmaLinux's own form, and EPEL's.
func TestRealUpdateinfo(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "repodata")
	files, err := filepath.Glob(filepath.Join(dir, "reduced-alma-updateinfo", "fixtures", "happy", "*", "*", "*", "*", "os", "repodata", "*updateinfo.xml.gz"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	epel, err := filepath.Glob(filepath.Join(dir, "epel-real-updateinfo", "*.xml.xz"))
	if err != nil || len(epel) == 0 {
		t.Fatal("no EPEL updateinfo")
	}
	for _, f := range append(files, epel...) {
		in, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		r, err := repodata.Decompress(f, in, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list, err := readUpdateinfo(string(data))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(f), err)
		}
		if want := bytes.Count(data, []byte("<update ")); len(list) != want || want == 0 {
			t.Errorf("%s: %d of %d updates", filepath.Base(f), len(list), want)
		}
		for _, a := range list {
			if a.Issued.IsZero() || a.Title == "" {
				t.Errorf("%s: %+v", filepath.Base(f), a)
			}
		}
	}
}

// All of AlmaLinux's records.
func TestRealOSV(t *testing.T) {
	f, err := os.Open(filepath.Join(realdata.Dir(t), "repodata", "almalinux-osv", "almalinux-osv-advisories-8-9-10.tar.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := xz.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(x)
	records, advisories, packages, unnamed := 0, 0, 0, map[string]bool{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		records++
		for _, eco := range []string{"AlmaLinux:8", "AlmaLinux:9", "AlmaLinux:10"} {
			if !bytes.Contains(data, []byte(`"`+eco+`"`)) {
				continue
			}
			err := repodata.ParseOSV(bytes.NewReader(data), eco, func(a *repodata.Advisory) error {
				advisories++
				packages += len(a.Packages)
				for _, p := range a.Packages {
					if p.Stream == "?" {
						unnamed[a.ID] = true
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", h.Name, err)
			}
		}
	}
	// Counted with another program: 5,680 records, 71,329 pairs of package and version.
	if records != 5680 || advisories < 5680 || packages != 71329 {
		t.Errorf("%d records, %d advisories, %d packages", records, advisories, packages)
	}
	if len(unnamed) > 20 {
		t.Errorf("%d modular advisories without a stream", len(unnamed))
	}
}

func TestParseOSV(t *testing.T) {
	const rec = `{"id":"ALSA-2099:1","summary":"Low: perl:5.32 security update","published":"2099-01-01T00:00:00Z","related":["CVE-1","RHSA-1","CVE-1"],
"affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"perl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"4:5.32-1.module_el8+1"}]}]},
{"package":{"ecosystem":"AlmaLinux:9","name":"other"},"ranges":[{"events":[{"fixed":"1-1"}]}]}]}`
	read := func(s string) (out []*repodata.Advisory, err error) {
		err = repodata.ParseOSV(strings.NewReader(s), "AlmaLinux:8", func(a *repodata.Advisory) error { out = append(out, a); return nil })
		return out, err
	}
	want := &repodata.Advisory{
		ID: "ALSA-2099:1", Type: repodata.AdvisorySecurity, Severity: "Low", Title: "Low: perl:5.32 security update",
		Issued: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), CVEs: []string{"CVE-1"},
		Packages: []repodata.AdvisoryPackage{{Name: "perl", EVR: rpmver.EVR{Epoch: 4, Version: "5.32", Release: "1.module_el8+1"}, Module: "perl", Stream: "5.32"}},
	}
	for name, s := range map[string]string{"one": rec, "two": rec + "\n" + rec, "list": "[" + rec + "," + rec + "]", "spaces": "\n\t " + rec + "  \n"} {
		got, err := read(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, a := range got {
			if d := cmp.Diff(want, a); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
		if n := map[string]int{"two": 2, "list": 2}[name]; n != 0 && len(got) != n {
			t.Errorf("%s: %d records", name, len(got))
		}
	}
	if got, err := read(strings.Replace(rec, "perl:5.32", "perl", 1)); err != nil || len(got) != 1 || got[0].Packages[0].Stream != "?" {
		t.Errorf("no stream in the title: %v %v", got, err)
	}
	if got, err := read(`{"id":"A","withdrawn":"2020-01-01T00:00:00Z"}`); err != nil || len(got) != 0 {
		t.Errorf("withdrawn: %v %v", got, err)
	}
	for name, s := range map[string]string{
		"empty": "", "cut": rec[:100], "no id": "{}", "no JSON": "<html>", "cut list": "[" + rec, "stray": rec + "]", "number": "12",
		"bad version": strings.Replace(rec, "4:5.32-1.module_el8+1", "x:1-1", 1),
	} {
		if _, err := read(s); !errors.Is(err, repodata.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := read(`{"id":"` + strings.Repeat("x", 17<<20) + `"}`); !errors.Is(err, repodata.ErrTooLarge) {
		t.Errorf("huge: %v", err)
	}
}

func FuzzUpdateinfo(f *testing.F) {
	f.Add([]byte(updateinfoSample))
	f.Add([]byte(`<updates><update><id>A</id><issued date="2020-01-01"/></update></updates>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		_ = repodata.ParseUpdateinfo(bytes.NewReader(data), func(a *repodata.Advisory) error {
			if n++; a.ID == "" {
				t.Error("an advisory without id")
			}
			return nil
		})
	})
}

func FuzzOSV(f *testing.F) {
	f.Add([]byte(`{"id":"ALSA-1","summary":"Low: a:1 x","affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"a"},"ranges":[{"events":[{"fixed":"1:2-3.module"}]}]}]}`))
	f.Add([]byte(`[{"id":"A"},{"id":"B"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = repodata.ParseOSV(bytes.NewReader(data), "AlmaLinux:8", func(a *repodata.Advisory) error {
			if a.ID == "" || len(a.Packages) == 0 {
				t.Error("an empty advisory")
			}
			return nil
		})
	})
}
