package report_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
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
		{"from 10.11.12.13 to 127.0.0.1 and 110.11.12.131", "from host-3 to 127.0.0.1 and host-6"},
		{"52:54:00:12:34:56 up", "[redacted] up"},
		{"admin@corp.example, packager@almalinux.org", "[redacted], packager@almalinux.org"},
		{"bash-4.4.20-1.el8.x86_64 localhost", "bash-4.4.20-1.el8.x86_64 localhost"},
	} {
		if got := r.Text(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// What people and programs really write: none of it may show a secret or a
// name, and what is around it stays readable.
func TestRedactHostile(t *testing.T) {
	r := report.NewRedactor()
	r.Host("web-01.corp.example")
	r.Secret(`pa"ss <w>/d`)
	for _, tt := range []struct{ in, want string }{
		// passwords that break the forms
		{"proxy=http://user:p@ss@proxy.internal:3128/", "proxy=http://[redacted]@host-3:3128/"},
		{"proxy=http://user:p/ss@proxy.internal:3128/", "proxy=http://[redacted]@host-3:3128/"},
		{"proxy_password = correct horse, battery", "proxy_password = [redacted]"},
		{"#proxy_username = joe", "#proxy_username = [redacted]"},
		{"ran: password=ab,cd;ef next", "ran: password=[redacted] next"},
		{`{"password": "a\"b", "x": 1}`, `{"password": "[redacted]", "x": 1}`},
		{`{"text": "{\"token\": \"ab\\\"c\", \"x\": 1}"}`, `{"text": "{\"token\": \"[redacted]\", \"x\": 1}"}`},
		{"--password hunter3 --yes", "--password [redacted] --yes"},
		{"export DB_PASS=geheim PGPASSWORD='ge heim'", "export DB_PASS=[redacted] PGPASSWORD='[redacted]'"},
		{"bypass = yes, compass: north", "bypass = yes, compass: north"},
		{`as JSON "pa\"ss \u003cw\u003e/d", in a URL pa%22ss+%3Cw%3E%2Fd`, `as JSON "[redacted]", in a URL [redacted]`},
		{"MIIE\nabcd\n-----END RSA PRIVATE KEY-----\nrest", "[redacted]\nrest"},
		// secrets that no name announces
		{"id AKIAIOSFODNN7EXAMPLE", "id [redacted]"},
		{`{"t":"\nghp_abcdefghijklmnopqrstuvwxyz0123456789"}`, `{"t":"\n[redacted]"}`},
		{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop", "[redacted]"},
		{"root:$6$salt$abcdefghijklmnopqrstuvwxyz:1:", "root:[redacted]:1:"},
		{"https://repo.almalinux.org/priv/0a1b2c3d4e5f60718293/el8/", "https://repo.almalinux.org/priv/[redacted]/el8/"},
		{"https://repo.almalinux.org/x/7f1c2a3b-0000-4000-8000-0123456789ab", "https://repo.almalinux.org/x/[redacted]"},
		{"https://repo.almalinux.org/almalinux/8.10/AppStream-x86_64-source-tree/repodata/0a1b2c3d4e5f60718293-primary.xml.gz",
			"https://repo.almalinux.org/almalinux/8.10/AppStream-x86_64-source-tree/repodata/0a1b2c3d4e5f60718293-primary.xml.gz"},
		// names in all their forms
		{"rd.lvm.lv=rhel_web-01/root /dev/mapper/rhel_web--01-root", "rd.lvm.lv=rhel_host-2/root /dev/mapper/rhel_host-2-root"},
		{`dev-mapper-rhel_web\x2d\x2d01\x2droot.device`, `dev-mapper-rhel_host-2\x2droot.device`},
		{`{"text":"line\nweb-01.corp.example\tWEB-01\nadmin@corp.example"}`, `{"text":"line\nhost-1\thost-2\n[redacted]"}`},
		{"https%3A%2F%2Fweb-01.corp.example%2Fx", "https%3A%2F%2Fhost-1%2Fx"},
		{"\x1b[1mweb-01\x1b[0m", "\x1b[1mhost-2\x1b[0m"},
		{"Could not resolve host: Mirror2.Other.Example; x", "Could not resolve host: host-4; x"},
		{"lookup squid.other.example on 10.0.0.53:53: no such host", "lookup host-5 on host-6:53: no such host"},
		{"proxy = squid.other.example:3128", "proxy = host-5:3128"},
		{`{"build_host": "mock", "x": "mock"}`, `{"build_host": "host-7", "x": "mock"}`},
		{"nfs01:/export /mnt nfs4 rw,addr=10.1.2.3 0 0", "host-8:/export /mnt nfs4 rw,addr=host-9 0 0"},
		{"//smb/share /mnt cifs rw,username=svc,addr=10.1.2.3 0 0", "//host-10/share /mnt cifs rw,username=[redacted] 0 0"},
		// addresses, and what only looks like one
		{"ip=192.168.1.5::192.168.1.1:255.255.255.0:web-01:eth0:none", "ip=host-11::host-12:255.255.255.0:host-2:eth0:none"},
		{"fe80::5054:ff:fe12:3456%eth0, [2001:DB8:1:0::15]:443, 2001:db8:1::15", "host-13%eth0, [host-14]:443, host-14"},
		{"to ::ffff:10.1.2.3 and 203.0.113.9", "to ::ffff:host-9 and host-15"},
		{`{"x": "icedtea-10.0.0.1-5.el8 glibc 2.28.0.1", "version": "10.0.0.1", "evr": "1:10.0.0.1"}`, `{"x": "icedtea-10.0.0.1-5.el8 glibc 2.28.0.1", "version": "10.0.0.1", "evr": "1:10.0.0.1"}`},
		{"12:34:56 std::a::b perl(B::C) 1:2:3", "12:34:56 std::a::b perl(B::C) 1:2:3"},
		{"getty@tty1.service jdk.internal.misc", "getty@tty1.service jdk.internal.misc"},
	} {
		if got := r.Text(tt.in); got != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// A host has one number, however it was met first, and a short domain is none
// that is left in a text which has nothing else.
func TestRedactZone(t *testing.T) {
	r := report.NewRedactor()
	r.Host("web01.lab.io")
	for _, tt := range []struct{ in, want string }{
		{"db1.lab.io is met", "host-3 is met"},
		{"http://db1.lab.io/ is learnt, http://db2.lab.io/", "http://host-3/ is learnt, http://host-4/"},
		{"DB2.lab.io, db1.lab.io and web01", "host-4, host-3 and host-2"},
		{"search lab.io", "search host-5"},
		{"xlab.io stays", "xlab.io stays"},
	} {
		if got := r.Text(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// A document stays one that tools can read.
func TestRedactKeepsJSON(t *testing.T) {
	r := report.NewRedactor()
	r.Host("web-01.corp.example")
	doc := map[string]any{
		"output": "password=abc\\ \"x\"\nweb-01\ttoken: \"q\"\nadmin@corp.example\n10.0.0.1\x1b[1mweb-01\x1b[0m\n",
		"secret": `a"b\`, "nested": `{"token":"a\"b","list":["web-01.corp.example"]}`, "url": "https://u:p@web-01.corp.example/x?y=\"z\"",
	}
	for _, indent := range []string{"", "  "} {
		data, err := json.MarshalIndent(doc, "", indent)
		if err != nil {
			t.Fatal(err)
		}
		out := r.Redact(data)
		if !json.Valid(out) || bytes.Contains(out, []byte("web-01")) || bytes.Contains(out, []byte("corp")) {
			t.Errorf("%s\nbecame\n%s", data, out)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("password: x", "web01.corp.example")
	f.Add("http://a:b@c/?d", "[::1]:80")
	f.Add(`{"token":"a\"b\nweb-01.corp.example"}`, "web-01.corp.example")
	f.Add("x.internal.y \\u001b[1m%2Fx 10.0.0.1:fe80::1", "a-b.internal")
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
