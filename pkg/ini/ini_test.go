package ini_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/almamigrate/almamigrate/pkg/ini"
	"github.com/almamigrate/almamigrate/test/realdata"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = "\xef\xbb\xbf# top comment\r\n" +
		"[main]\r\n" +
		"gpgcheck=1\r\n" +
		"proxy = http://u:p#w@proxy:3128/ ; not a comment\r\n" +
		"\r\n" +
		"[baseos] # a comment behind a header\n" +
		"name: Alma = BaseOS\n" +
		"baseurl =\n" +
		"   http://a/\n" +
		"#  http://commented.out/\n" +
		"\n" +
		"\thttp://b/  \n" +
		"exclude=a* b*,\n" +
		"  c*\n" +
		"empty=\n" +
		"[main]\n" +
		"GPGCheck = 0\n" +
		"last = no newline"
	f, err := ini.Parse("x.repo", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &ini.File{
		Name: "x.repo",
		Sections: []ini.Section{
			{Name: "main", Line: 2, Keys: []ini.Key{
				{Name: "GPGCheck", Value: "0", Line: 17},
				{Name: "proxy", Value: "http://u:p#w@proxy:3128/ ; not a comment", Line: 4},
				{Name: "last", Value: "no newline", Line: 18},
			}},
			{Name: "baseos", Line: 6, Keys: []ini.Key{
				{Name: "name", Value: "Alma = BaseOS", Line: 7},
				{Name: "baseurl", Value: "http://a/\nhttp://b/", Line: 8},
				{Name: "exclude", Value: "a* b*,\nc*", Line: 13},
				{Name: "empty", Value: "", Line: 15},
			}},
		},
		Duplicates: []ini.Duplicate{
			{Section: "main", Line: 16, Previous: 2},
			{Section: "main", Key: "GPGCheck", Line: 17, Previous: 3},
		},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("parsed file differs (-want +got):\n%s", d)
	}
	s, ok := f.Section("main")
	if !ok {
		t.Fatal("section main not found")
	}
	if v, ok := s.Get("gpgcheck"); !ok || v != "0" {
		t.Errorf("Get(gpgcheck) = %q, %v", v, ok)
	}
	if _, ok := s.Get("nothing"); ok {
		t.Error("Get found a key that is not there")
	}
	b, _ := f.Section("baseos")
	ex, _ := b.Get("exclude")
	if d := cmp.Diff([]string{"a*", "b*", "c*"}, ini.List(ex)); d != "" {
		t.Errorf("List: %s", d)
	}
	for i, d := range f.Duplicates {
		if !strings.Contains(d.String(), "line 1") || d.String() == "" {
			t.Errorf("duplicate %d reads %q", i, d)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"key before section", "a=1\n", `c:1: setting outside of any [section]: "a=..."`},
		{"no delimiter", "[s]\nnonsense\n", `c:2: neither a [section] nor a "key = value": "nonsense"`},
		{"no key", "[s]\n= x\n", `c:2: no key in front of the "="`},
		{"unclosed header", "[s\n", `c:1: section header without "]": "[s"`},
		{"empty header", "[ ]\n", `c:1: section without a name`},
		{"text behind header", "[s] x\n", `c:1: text behind the section header [s]: "x"`},
		{"continues nothing", "[s]\n  x\n", `c:2: continues a value, but there is none above it: "x"`},
		{"continues across a header", "[s]\na=1\n[t]\n  x\n", `c:4: continues a value, but there is none above it: "x"`},
		{"indented at the top", "  [s]\n", `c:1: continues a value, but there is none above it: "[s]"`},
		{"binary", "[s]\na=\x00\n", `c:2: contains a NUL byte: this is not a text file`},
		{"secret stays out", "password = hunter2\n", `c:1: setting outside of any [section]: "password =..."`},
		{"html", "<!DOCTYPE html>\n<html>", `c:1: setting outside of any [section]: "<!DOCTYPE html>"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := ini.Parse("c", strings.NewReader(tc.text))
			var se *ini.SyntaxError
			if !errors.As(err, &se) {
				t.Fatalf("error is %v (%T), not a SyntaxError", err, err)
			}
			if err.Error() != tc.want {
				t.Errorf("got  %s\nwant %s", err, tc.want)
			}
			if f != nil {
				t.Error("a partial file came with the error")
			}
		})
	}
	if _, err := ini.Parse("c", io.LimitReader(zeros{}, ini.MaxSize+1)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too large a file: %v", err)
	}
	if _, err := ini.Parse("c", iotest.ErrReader(os.ErrPermission)); !errors.Is(err, os.ErrPermission) {
		t.Errorf("reader's error is lost: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func TestBool(t *testing.T) {
	for v, want := range map[string][2]bool{
		"1": {true, true}, " Yes ": {true, true}, "TRUE": {true, true}, "on": {true, true}, "enabled": {true, true},
		"0": {false, true}, "No": {false, true}, "false": {false, true}, "off": {false, true}, "disabled": {false, true},
		"": {false, false}, "2": {false, false}, "maybe": {false, false},
	} {
		if b, ok := ini.Bool(v); b != want[0] || ok != want[1] {
			t.Errorf("Bool(%q) = %v, %v", v, b, ok)
		}
	}
}

// TestRealRepoFiles reads every .repo file of real release packages.
func TestRealRepoFiles(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "host")
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".repo" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := ini.Parse(path, strings.NewReader(string(data)))
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		n++
		headers := 0
		for l := range strings.SplitSeq(string(data), "\n") {
			if strings.HasPrefix(l, "[") {
				headers++
			}
		}
		if len(f.Sections) != headers {
			t.Errorf("%s: %d sections, %d headers", path, len(f.Sections), headers)
		}
		for _, s := range f.Sections {
			_, base := s.Get("baseurl")
			_, mirror := s.Get("mirrorlist")
			_, meta := s.Get("metalink")
			if !base && !mirror && !meta {
				t.Errorf("%s: [%s] has no URL", path, s.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatalf("no .repo file under %s", dir)
	}
	t.Logf("%d files", n)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "[a]\nb=c\n", "[a]\nb: c\n  d\n\n#x\n\te\n[a]\nB=2", "[a", "=", "[x]\n = y", "[é]\r\nk=\xff\r\n", "\xef\xbb\xbf[a]\nk=v",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := ini.Parse("f", strings.NewReader(string(data)))
		if err != nil {
			if file != nil {
				t.Fatal("file and error at once")
			}
			return
		}
		lines := strings.Count(string(data), "\n") + 1
		keys := 0
		for _, s := range file.Sections {
			if s.Name == "" || s.Line < 1 || s.Line > lines {
				t.Fatalf("section %+v of %d lines", s, lines)
			}
			for _, k := range s.Keys {
				keys++
				if k.Name == "" || k.Line <= 0 || k.Line > lines {
					t.Fatalf("key %+v of %d lines", k, lines)
				}
				if v, ok := s.Get(k.Name); !ok || v != k.Value {
					t.Fatalf("Get(%q) = %q, %v; want %q", k.Name, v, ok, k.Value)
				}
			}
		}
		// Every line is a comment, a continuation, a header or a key: none may get lost.
		for l := range strings.SplitSeq(strings.TrimPrefix(string(data), "\xef\xbb\xbf"), "\n") {
			if t := strings.TrimSpace(l); t != "" && !strings.ContainsAny(l[:1], "#; \t[") {
				keys--
			}
		}
		for _, d := range file.Duplicates {
			if d.Key != "" {
				keys++
			}
		}
		if keys != 0 {
			t.Fatalf("keys lost or invented: %d", keys)
		}
	})
}
