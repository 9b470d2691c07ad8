package report_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/report"
)

func TestRedact(t *testing.T) {
	r := report.NewRedactor()
	r.Secret("hunter22secret")
	r.Host("web01.corp.example")
	r.Host("10.11.12.13")
	r.Host("localhost")
	r.Host("127.0.0.1")
	for _, tt := range []struct{ in, want string }{
		{"password = geheim", "password = [redacted]"},
		{`"proxy_password": "ge heim", "x": 1`, `"proxy_password": "[redacted]", "x": 1`},
		{"--token=abcdef --next", "--token=[redacted] --next"},
		{"token_file = /etc/almamigrate/token", "token_file = /etc/almamigrate/token"},
		{"gpgkey=file:///etc/pki/KEY", "gpgkey=file:///etc/pki/KEY"},
		{"a hunter22secret b", "a [redacted] b"},
		{"proxy=http://user:pass@proxy.corp.example:3128/", "proxy=http://[redacted]@host-4:3128/"},
		{"Authorization: Bearer abcdefghi.jkl", "Authorization: [redacted]"},
		{`curl -H "X-Api-Key: 12345"`, `curl -H "X-Api-Key: [redacted]`},
		{"sent Bearer abcdefghijkl", "sent Bearer [redacted]"},
		{"https://repo.almalinux.org/8/?sig=abc", "https://repo.almalinux.org/8/?[redacted]"},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "[redacted]\nrest"},
		{"-----BEGIN PRIVATE KEY-----\nMIIE cut", "[redacted]"},
		{"on web01 and WEB01.corp.example, not on web012", "on host-2 and host-1, not on web012"},
		{"db07.corp.example:5432 and db07.corp.example", "host-5:5432 and host-5"},
		{"from 10.11.12.13 to 127.0.0.1 and 110.11.12.131", "from host-3 to 127.0.0.1 and 110.11.12.131"},
		{"52:54:00:12:34:56 up", "[redacted] up"},
		{"admin@corp.example, packager@almalinux.org", "[redacted], packager@almalinux.org"},
		{"bash-4.4.20-1.el8.x86_64 localhost", "bash-4.4.20-1.el8.x86_64 localhost"},
	} {
		if got := r.Text(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("password: x", "web01.corp.example")
	f.Add("http://a:b@c/?d", "[::1]:80")
	f.Fuzz(func(t *testing.T, text, name string) {
		r := report.NewRedactor()
		r.Secret("correct horse battery")
		r.Host(name)
		out := r.Text(text + " correct horse battery " + name)
		if strings.Contains(out, "correct horse") {
			t.Errorf("the secret is in %q", out)
		}
	})
}

func TestBundle(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("changes/1/plan.json", "{}")
	write("changes/1/journal.jsonl", "{\"host\":\"db07.corp.example\"}\n")
	write("changes/1/files/etc/shadow", "root:hash")
	write("long.log", "secret=early\n"+strings.Repeat("line of a log\n", 700000)+"end\n")
	if err := os.Symlink("/etc/shadow", filepath.Join(dir, "link.log")); err != nil {
		t.Fatal(err)
	}
	b := &report.Bundle{Redactor: report.NewRedactor()}
	b.AddFile("first.txt", filepath.Join(dir, "changes/1/journal.jsonl")) // before its host is known
	b.Redactor.Host("web01.corp.example")
	b.AddDir("changes", filepath.Join(dir, "changes"), 1, 10, func(n string) bool { return n == "plan.json" || n == "journal.jsonl" || n == "shadow" })
	b.AddFile("long.log", filepath.Join(dir, "long.log"))
	b.AddFile("link.log", filepath.Join(dir, "link.log"))
	b.AddFile("none.log", filepath.Join(dir, "none.log"))
	list := b.List()
	if !strings.Contains(list, "link.log: not a regular file") || !strings.Contains(list, "(its end)") || strings.Contains(list, "shadow") {
		t.Errorf("list:\n%s", list)
	}
	var out bytes.Buffer
	if err := b.Write(&out, "top", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	var names []string
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(tr)
		if strings.Contains(string(data), "corp.example") || strings.Contains(string(data), "early") {
			t.Errorf("%s tells what it must not", h.Name)
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		if h.Name == "top/CONTENT.txt" && string(data) != list {
			t.Error("CONTENT.txt is not the list that was shown")
		}
		names = append(names, h.Name)
	}
	want := []string{"top/CONTENT.txt", "top/changes/1/journal.jsonl", "top/changes/1/plan.json", "top/first.txt", "top/long.log"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
}
