package cli_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/cli"
	"github.com/almamigrate/almamigrate/agent/report"
)

// run calls the program as its user does.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errw bytes.Buffer
	code = cli.Main(args, strings.NewReader(""), &out, &errw)
	return code, out.String(), errw.String()
}

// lab is an unpacked demo: a host to spoil and a mirror to spoil.
type lab struct {
	t            *testing.T
	dir          string
	root, mirror string
	conf         string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	if err := cli.UnpackDemo(dir); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, root: filepath.Join(dir, "root"), mirror: filepath.Join(dir, "mirror"), conf: filepath.Join(dir, "test.conf")}
	l.write(l.conf, "[repos]\nretries = 0\n[trust]\nextra_keys = "+filepath.Join(l.mirror, "RPM-GPG-KEY-AlmaLinux-8")+"\n")
	return l
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// check judges the host with a mirror at url, the unpacked one for "".
func (l *lab) check(url string, args ...string) (int, string, string) {
	if url == "" {
		url = "file://" + l.mirror
	}
	return run(append([]string{"check", "--root", l.root, "--config", l.conf, "--mirror", url, "--cache-dir", filepath.Join(l.dir, "cache")}, args...)...)
}

// baseos is the folder of the mirror's first repository.
func (l *lab) baseos() string {
	l.t.Helper()
	m, err := filepath.Glob(filepath.Join(l.mirror, "8/BaseOS/*/os"))
	if err != nil || len(m) != 1 {
		l.t.Fatal(m, err)
	}
	return m[0]
}

// resign replaces repomd.xml, whose signature then has to go as well.
func (l *lab) replaceMetadata(primary []byte, openSize int64) {
	l.t.Helper()
	dir := filepath.Join(l.baseos(), "repodata")
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(primary)
	_ = zw.Close()
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	if openSize == 0 {
		openSize = int64(len(primary))
	}
	l.write(filepath.Join(dir, "x-primary.xml.gz"), packed.String())
	l.write(filepath.Join(dir, "repomd.xml"), fmt.Sprintf(`<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1800000000</revision>
<data type="primary"><checksum type="sha256">%s</checksum><open-checksum type="sha256">%s</open-checksum><location href="repodata/x-primary.xml.gz"/><timestamp>1800000000</timestamp><size>%d</size><open-size>%d</open-size></data></repomd>`,
		sum(packed.Bytes()), sum(primary), packed.Len(), openSize))
	if err := os.Remove(filepath.Join(dir, "repomd.xml.asc")); err != nil {
		l.t.Fatal(err)
	}
}

func wantCode(t *testing.T, got, want int, out, errs string) {
	t.Helper()
	if got != want {
		t.Fatalf("exit code %d, want %d\n--- stdout\n%s\n--- stderr\n%s", got, want, out, errs)
	}
}

func wantText(t *testing.T, text string, want ...string) {
	t.Helper()
	// The layout wraps lines; what is said counts.
	flat := strings.Join(strings.Fields(text), " ")
	for _, w := range want {
		if !strings.Contains(flat, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestCheckDemo(t *testing.T) {
	code, out, errs := run("check", "--demo")
	if code != cli.ExitOK && code != cli.ExitFindings {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	wantText(t, out, "AlmaLinux 8", "Next: almamigrate explain", "packages:")
	if strings.Contains(out, "\x1b") {
		t.Error("colour without a terminal")
	}
	if code, out, errs = run("check", "--demo", "--color", "always"); !strings.Contains(out, "\x1b[") {
		t.Errorf("--color always: no colour: %d\n%s%s", code, out, errs)
	}
}

func TestCheckJSON(t *testing.T) {
	_, out, _ := run("check", "--demo", "--json")
	var d report.Check
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	if d.Kind != report.CheckKind || d.RunID == "" || len(d.Packages) == 0 || len(d.Repos) == 0 || d.Tool.Name != "almamigrate" {
		t.Errorf("thin document: %+v", d)
	}
	// The same input gives the same bytes, run id and times aside.
	_, again, _ := run("check", "--demo", "--json")
	vary := regexp.MustCompile(`("run_id"|"started"|"finished"|"fetched_at"|"root"|"url"|"name"|"message"): "[^"]*"|almamigrate-demo-[0-9]+`)
	if a, b := vary.ReplaceAllString(out, ""), vary.ReplaceAllString(again, ""); a != b {
		t.Error("two runs differ in more than run id and times")
	}
}

// TestInventoryElsewhere: the facts taken here give the same verdict there.
func TestInventoryElsewhere(t *testing.T) {
	l := newLab(t)
	code, inv, errs := run("inventory", "--root", l.root, "--json", "--config", l.conf)
	wantCode(t, code, 0, "", errs)
	file := filepath.Join(l.dir, "inv.json")
	l.write(file, inv)
	code1, here, _ := l.check("", "--json")
	code2, there, errs := l.check("", "--json", "--inventory", file)
	if code1 != code2 {
		t.Fatalf("%d here, %d there\n%s", code1, code2, errs)
	}
	var a, b report.Check
	if err := json.Unmarshal([]byte(here), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(there), &b); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal([]any{a.Verdict, a.Summary, a.Findings, a.Packages, a.Incoming})
	y, _ := json.Marshal([]any{b.Verdict, b.Summary, b.Findings, b.Packages, b.Incoming})
	if !bytes.Equal(x, y) {
		t.Errorf("the verdicts differ:\n%s\n%s", x, y)
	}
}

// TestCheckLeavesNoTrace compares names, sizes, modes, times and content of
// the whole tree. The end-to-end tests do the same on a live host.
func TestCheckLeavesNoTrace(t *testing.T) {
	l := newLab(t)
	before := fingerprint(t, l.root)
	if code, out, errs := l.check(""); code != cli.ExitOK && code != cli.ExitFindings {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	if after := fingerprint(t, l.root); after != before {
		t.Error("the host's tree changed")
	}
}

func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, p, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			h.Write(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestBadHosts(t *testing.T) {
	t.Run("no such root", func(t *testing.T) {
		code, out, errs := run("check", "--root", "/no/such/root")
		wantCode(t, code, cli.ExitUsage, out, errs)
		wantText(t, errs, "/no/such/root", "next:")
	})
	t.Run("no rpm database", func(t *testing.T) {
		code, out, errs := run("check", "--root", t.TempDir())
		wantCode(t, code, cli.ExitNotSupported, out, errs)
		wantText(t, errs, "no rpm database", "/var/lib/rpm", "--demo")
	})
	t.Run("not an EL host", func(t *testing.T) {
		l := newLab(t)
		must(t, os.Remove(filepath.Join(l.root, "etc/os-release")))
		l.write(filepath.Join(l.root, "etc/os-release"), "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=12\n")
		must(t, os.RemoveAll(filepath.Join(l.root, "var/lib/rpm")))
		code, out, errs := l.check("")
		wantCode(t, code, cli.ExitNotSupported, out, errs)
		wantText(t, errs, "Debian GNU/Linux 12", "not an Enterprise Linux")
	})
	t.Run("unreadable database", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("SKIPPED: root reads everything; run as a user to see this case")
		}
		l := newLab(t)
		must(t, os.Chmod(filepath.Join(l.root, "var/lib/rpm/rpmdb.sqlite"), 0))
		code, out, errs := l.check("")
		wantCode(t, code, cli.ExitNotSupported, out, errs)
		wantText(t, errs, "permission denied", "rpmdb.sqlite", "root")
	})
	t.Run("damaged database", func(t *testing.T) {
		l := newLab(t)
		name := filepath.Join(l.root, "var/lib/rpm/rpmdb.sqlite")
		data, err := os.ReadFile(name)
		must(t, err)
		must(t, os.WriteFile(name, data[:len(data)/2], 0o644))
		code, out, errs := l.check("")
		wantCode(t, code, cli.ExitError, out, errs)
		wantText(t, errs, "rpmdb.sqlite", "rebuilddb")
	})
	t.Run("unknown major", func(t *testing.T) {
		l := newLab(t)
		inv := l.inventory()
		inv = regexp.MustCompile(`"major": ?8`).ReplaceAllString(inv, `"major":31`)
		file := filepath.Join(l.dir, "inv.json")
		l.write(file, inv)
		code, out, errs := l.check("", "--inventory", file)
		wantCode(t, code, cli.ExitNotSupported, out, errs)
		wantText(t, out+errs, "31")
	})
	t.Run("terminal escapes in names", func(t *testing.T) {
		l := newLab(t)
		inv := regexp.MustCompile(`"name": ?"acme-agent"`).ReplaceAllString(l.inventory(), `"name":"../../etc/passwd\u001b[31m\u202e"`)
		file := filepath.Join(l.dir, "inv.json")
		l.write(file, inv)
		for _, args := range [][]string{{"--verbose"}, {"--json"}} {
			_, out, errs := l.check("", append(args, "--inventory", file)...)
			if strings.ContainsAny(out+errs, "\x1b\u202e") {
				t.Errorf("%v: an escape sequence went through", args)
			}
			wantText(t, out, "../../etc/passwd")
		}
	})
	t.Run("not an inventory", func(t *testing.T) {
		l := newLab(t)
		file := filepath.Join(l.dir, "inv.json")
		l.write(file, `{"kind":"something.else"}`)
		code, out, errs := l.check("", "--inventory", file)
		wantCode(t, code, cli.ExitUsage, out, errs)
		wantText(t, errs, file, "almamigrate inventory --json")
	})
}

func (l *lab) inventory() string {
	l.t.Helper()
	code, inv, errs := run("inventory", "--root", l.root, "--json", "--config", l.conf)
	wantCode(l.t, code, 0, "", errs)
	return inv
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadMirrors(t *testing.T) {
	serve := func(t *testing.T, h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, l *lab) (url string)
		want  []string
	}{
		{"nothing there", func(t *testing.T, _ *lab) string { return serve(t, http.NotFoundHandler()) }, []string{"404"}},
		{"a page for everything", func(t *testing.T, _ *lab) string {
			return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("<!DOCTYPE html><html><body>please log in</body></html>"))
			}))
		}, []string{"HTML"}},
		{"an unknown certificate authority", func(t *testing.T, l *lab) string {
			s := httptest.NewTLSServer(http.FileServer(http.Dir(l.mirror)))
			t.Cleanup(s.Close)
			return s.URL
		}, []string{"certificate"}},
		{"a wrong checksum", func(t *testing.T, l *lab) string {
			m, err := filepath.Glob(filepath.Join(l.baseos(), "repodata/*primary.xml*"))
			must(t, err)
			data, err := os.ReadFile(m[0])
			must(t, err)
			data[len(data)/2] ^= 1
			must(t, os.WriteFile(m[0], data, 0o644))
			return ""
		}, []string{"baseos", "digest"}},
		{"a bad signature", func(t *testing.T, l *lab) string {
			name := filepath.Join(l.baseos(), "repodata/repomd.xml")
			data, err := os.ReadFile(name)
			must(t, err)
			must(t, os.WriteFile(name, append(data, '\n'), 0o644))
			return ""
		}, []string{"baseos", "signature bad"}},
		{"malformed XML", func(_ *testing.T, l *lab) string {
			l.replaceMetadata([]byte(`<metadata packages="1"><package type="rpm"><name>x</name`), 0)
			return ""
		}, []string{"baseos", "primary"}},
		{"fewer packages than said", func(_ *testing.T, l *lab) string {
			l.replaceMetadata([]byte(`<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" packages="7"></metadata>`), 0)
			return ""
		}, []string{"baseos", "7"}},
		{"a zip bomb", func(_ *testing.T, l *lab) string {
			l.replaceMetadata(bytes.Repeat([]byte{' '}, 64<<20), 1000)
			return ""
		}, []string{"baseos", "1000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			url := tc.spoil(t, l)
			code, out, errs := l.check(url, "--verbose")
			wantCode(t, code, cli.ExitRepos, out, errs)
			wantText(t, out+errs, tc.want...)
			// A machine gets the same verdict.
			if code, out, _ := l.check(url, "--json"); code != cli.ExitRepos || !json.Valid([]byte(out)) {
				t.Errorf("--json: exit code %d\n%s", code, out)
			}
		})
	}
	t.Run("offline with an empty cache", func(t *testing.T) {
		l := newLab(t)
		code, out, errs := l.check("http://127.0.0.1:9/almalinux", "--offline")
		wantCode(t, code, cli.ExitRepos, out, errs)
		wantText(t, out+errs, "offline")
	})
	t.Run("offline with a cache", func(t *testing.T) {
		l := newLab(t)
		url := serve(t, http.FileServer(http.Dir(l.mirror)))
		code1, out1, _ := l.check(url)
		code2, out2, errs := l.check(url, "--offline")
		if code1 == cli.ExitRepos || code1 != code2 {
			t.Errorf("online %d, offline %d\n%s\n%s%s", code1, code2, out1, out2, errs)
		}
	})
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"chek"}, "chek"},
		{[]string{"check", "--nope"}, "--nope"},
		{[]string{"check", "--only", "nope"}, "nope"},
		{[]string{"check", "--fail-on", "nope"}, "nope"},
		{[]string{"check", "--mirror", "ftp://x"}, "ftp://x"},
		{[]string{"check", "--repo", "baseos"}, "ID=URL"},
		{[]string{"check", "--demo", "--mirror", "http://x"}, "demo"},
		{[]string{"check", "extra"}, "extra"},
		{[]string{"check", "--color", "mauve"}, "mauve"},
		{[]string{"explain", "pkg"}, "almamigrate explain pkg."},
		{[]string{"explain", "a", "b"}, "almamigrate explain [ID]"},
		{[]string{"check", "--config", "/no/such.conf"}, "/no/such.conf"},
	} {
		code, out, errs := run(tc.args...)
		if code != cli.ExitUsage && tc.args[1] != "--config" || code == 0 {
			t.Errorf("%v: exit code %d\n%s%s", tc.args, code, out, errs)
		}
		wantText(t, errs, tc.want, "next:")
		if strings.Contains(errs, "next: almamigrate --help") && tc.args[0] != "chek" {
			t.Errorf("%v: the hint is not about the command:\n%s", tc.args, errs)
		}
		if _, out, _ := run(append(tc.args, "--json")...); !json.Valid([]byte(out)) {
			t.Errorf("%v --json: not one JSON document: %q", tc.args, out)
		}
	}
	if code, out, _ := run("--help"); code != 0 || !strings.Contains(out, "almamigrate check") || !strings.Contains(out, "Exit codes") {
		t.Errorf("--help: %d\n%s", code, out)
	}
	if code, out, _ := run("--version"); code != 0 || !strings.HasPrefix(out, "almamigrate ") {
		t.Errorf("--version: %d %q", code, out)
	}
}

// TestCacheUnusable: a disk of ours that cannot be written to is not told as a
// network that is down.
func TestCacheUnusable(t *testing.T) {
	l := newLab(t)
	// No program makes folders there, root or not.
	code, out, errs := run("check", "--root", l.root, "--config", l.conf, "--mirror", "file://"+l.mirror, "--cache-dir", "/sys/kernel")
	wantCode(t, code, cli.ExitError, out, errs)
	wantText(t, errs, "cache folder", "--cache-dir DIR")
	if strings.Contains(out+errs, "network") {
		t.Errorf("%s%s", out, errs)
	}
}

func TestABIFolderMissing(t *testing.T) {
	l := newLab(t)
	code, out, errs := l.check("", "--abi-folder", "/no/such/folder")
	wantCode(t, code, cli.ExitUsage, out, errs)
	wantText(t, errs, filepath.Join(l.root, "/no/such/folder")+": there is no such folder")
}

func TestFailOnWarning(t *testing.T) {
	l := newLab(t)
	_, out, _ := l.check("", "--json")
	var d report.Check
	must(t, json.Unmarshal([]byte(out), &d))
	if d.Summary.Findings["warning"] == 0 {
		t.Fatal("the demo has no warning")
	}
	code, _, _ := l.check("", "--fail-on", "warning")
	if code != cli.ExitFindings {
		t.Errorf("exit code %d", code)
	}
}

func TestExplainAndMan(t *testing.T) {
	code, out, errs := run("explain")
	wantCode(t, code, 0, out, errs)
	wantText(t, out, "pkg.missing")
	code, out, errs = run("explain", "pkg.missing")
	wantCode(t, code, 0, out, errs)
	if len(strings.Fields(out)) < 30 {
		t.Errorf("a thin explanation:\n%s", out)
	}
	dir := t.TempDir()
	code, out, errs = run("man", dir)
	wantCode(t, code, 0, out, errs)
	data, err := os.ReadFile(filepath.Join(dir, "almamigrate-check.8"))
	must(t, err)
	wantText(t, string(data), `\fB\-\-fail\-on\fR`, `\fB\-\-mirror\fR \fIURL\fR`)
}
