package fleet_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/agent/fleet"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/fleetgen"
	"github.com/almamigrate/almamigrate/test/pagecheck"
	"github.com/almamigrate/almamigrate/test/realdata"
)

var update = flag.Bool("update", false, "write golden files anew")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func template(t testing.TB) *report.Report {
	t.Helper()
	r, err := report.ReadReportFile(filepath.Join(realdata.ProjectRoot(t), "agent", "report", "testdata", "check.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// folder has the reports of n hosts.
func folder(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	err := fleetgen.Fleet{Template: template(t), Hosts: n, Packages: 20, Seed: 7, Now: now}.Each(func(name string, doc []byte) error {
		return os.WriteFile(filepath.Join(dir, name), doc, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func options() fleet.Options {
	return fleet.Options{Tool: inventory.Tool{Name: "almamigrate", Version: "1.0"}, Now: now, Stale: 7 * 24 * time.Hour}
}

func read(t testing.TB, in io.Reader, opt fleet.Options, args ...string) *fleet.Fleet {
	t.Helper()
	f, err := fleet.Read(context.Background(), args, in, opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func document(t testing.TB, f *fleet.Fleet) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-update writes it): %s", name, d)
	}
}

func validate(t *testing.T, doc string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, n := range []string{"check-1.0", "fleet-1.0"} {
		data, err := os.ReadFile(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", n+".json"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err == nil {
			err = c.AddResource("urn:almamigrate:schema:"+n, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("urn:almamigrate:schema:fleet-1.0")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestForms(t *testing.T) {
	root := realdata.ProjectRoot(t)
	dir := folder(t, 150)
	t.Chdir(dir) // so that files are called the same everywhere
	f := read(t, nil, options(), ".")
	doc := document(t, f)
	var text bytes.Buffer
	if err := f.WriteText(&text, report.TextOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(root, "agent", "fleet"))
	validate(t, doc)
	golden(t, "fleet.txt", text.String())
	validate(t, document(t, read(t, strings.NewReader(""), options(), "-")))

	if s := f.Summary; s.Hosts != 150 || s.Ready+s.Blocked+s.Unknown+s.Stale+s.AlmaLinux != 150 || s.Reports != 150 || f.ExitCode("blocker") != 10 {
		t.Errorf("got %+v", s)
	}
	// each host that is ready is in one wave, no other is in any
	seen := map[string]string{}
	for _, w := range f.Waves {
		for _, h := range w.Hosts {
			if seen[h] != "" {
				t.Errorf("%s is in %s and %s", h, seen[h], w.Name)
			}
			seen[h] = w.Name
		}
	}
	for _, h := range f.Hosts {
		if (h.Status == fleet.Ready) != (seen[h.Name] != "") || h.Wave != seen[h.Name] {
			t.Errorf("%s is %s and in wave %q, %q", h.Name, h.Status, seen[h.Name], h.Wave)
		}
	}
	// what it counts is what is there
	for _, fd := range f.Findings {
		n := 0
		for _, h := range f.Hosts {
			if slices.Contains(append(slices.Clone(h.Blockers), h.Warnings...), fd.ID) {
				n++
			}
		}
		if n != fd.Hosts || n == 0 {
			t.Errorf("%s: %d hosts, counted %d", fd.ID, n, fd.Hosts)
		}
	}
}

// The same reports in another packing give the same picture.
func TestPackings(t *testing.T) {
	dir := folder(t, 30)
	opt := options()
	plain := func(f *fleet.Fleet) string {
		for i := range f.Hosts {
			f.Hosts[i].Source = ""
		}
		return document(t, f)
	}
	want := plain(read(t, nil, opt, dir))
	names, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	var tarred, lines bytes.Buffer
	tw := tar.NewWriter(&tarred)
	for _, n := range names {
		data, _ := os.ReadFile(n)
		lines.Write(data)
		must(t, tw.WriteHeader(&tar.Header{Name: "fleet/" + filepath.Base(n), Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}))
		_, err := tw.Write(data)
		must(t, err)
	}
	must(t, tw.Close())
	pack := map[string][]byte{"reports.tar": tarred.Bytes(), "reports.ndjson": lines.Bytes()}
	for ext, open := range map[string]func(io.Writer) io.WriteCloser{
		".gz":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		".zst": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
		".xz":  func(w io.Writer) io.WriteCloser { z, _ := xz.NewWriter(w); return z },
	} {
		for _, base := range []string{"reports.tar", "reports.ndjson"} {
			var b bytes.Buffer
			z := open(&b)
			_, err := z.Write(pack[base])
			must(t, err)
			must(t, z.Close())
			pack[base+ext] = b.Bytes()
		}
	}
	for name, data := range pack {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, data, 0o644))
		if d := cmp.Diff(want, plain(read(t, nil, opt, path))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(want, plain(read(t, bytes.NewReader(data), opt, "-"))); d != "" {
			t.Errorf("%s on standard input: %s", name, d)
		}
	}
	// a limit that cuts the stream into pieces changes nothing
	opt.MaxDocument = 40 << 10
	if d := cmp.Diff(want, plain(read(t, bytes.NewReader(pack["reports.ndjson"]), opt, "-"))); d != "" {
		t.Errorf("in pieces: %s", d)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// doc is a small report.
func doc(host, finished, more string) string {
	return fmt.Sprintf(`{"kind":"almamigrate.report","schema_version":"1.3","tool":{"version":"9"},"run_id":%q,"host":{"name":%q,"distro":"centos","version":"8.5","major":8,"arch":"x86_64","state":"source"},"finished":%q,"verdict":"ready","findings":[],"new_field":{"a":[1]}%s}`, host+finished, host, finished, more)
}

func TestDamagedAndDuplicate(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	const day1, day2, tomorrow = "2026-02-27T12:00:00Z", "2026-02-28T12:00:00Z", "2026-06-01T00:00:00Z"
	put("web/20260227T120000Z.json", doc("web01", day1, ""))
	put("web/20260228T120000Z.json", doc("WEB01", day2, ""))
	put("web/latest.json", doc("WEB01", day2, ""))
	put("clock1.json", doc("clock", tomorrow, "")) // must not win for ever
	put("clock2.json", doc("clock", day1, ""))
	put("image/latest.json", doc("localhost", day1, ""))
	put("other/latest.json", doc("localhost.localdomain", day1, "")) // not the same host
	put("liar.json", doc("liar", day2, `,"findings":[{"id":"dep.broken","severity":"blocker","title":"x","resources":[{"kind":"package","name":"a-1-1.noarch"}]}]`))
	put("failed.json", doc("failed", day2, `,"failure":{"code":13,"message":"no network"}`))
	put("truncated.json", doc("t", day1, "")[:120])
	put("empty.json", "")
	put("text.json", "hello")
	put("README", "hello")
	put(".hidden.json", doc("hidden", day1, ""))
	put("list.json", "["+doc("l", day1, "")+"]")
	put("inventory.json", `{"kind":"almamigrate.inventory","schema_version":"1.0","packages":{"not":"a list"}}`)
	put("error.json", `{"kind":"almamigrate.error","schema_version":"1.0","message":"root needed"}`)
	put("two.json", strings.Replace(doc("new", day1, ""), `"1.3"`, `"2.0"`, 1))
	put("zero.json", strings.Replace(doc("new", day1, ""), `"1.3"`, `"0.9"`, 1))
	put("deep.json", `{"x":`+strings.Repeat("[", 1<<20))
	put("type.json", doc("type", day1, `,"packages":7`))
	put("notime.json", doc("notime", "yesterday", ""))
	put("nokind.json", `{"a":1}`)
	put("long.json", doc("long", day1, `,"findings":[{"id":"`+strings.Repeat("x", 1<<16)+`","severity":"blocker"}]`))
	put("stream.json", doc("s1", day1, "")+"\n{\"kind\": bad\n"+doc("s2", day1, "")+"\n") // the damaged one in the middle costs only itself
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link.json")))
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "../../etc/x.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}, {Name: "hard.json", Typeflag: tar.TypeLink, Linkname: "x"}, {Name: "dev", Typeflag: tar.TypeChar},
		{Name: "../../../up/\x1b[31m.json", Typeflag: tar.TypeReg, Size: 3},
	} {
		must(t, tw.WriteHeader(&h))
		if h.Size > 0 {
			_, _ = tw.Write([]byte("abc"))
		}
	}
	must(t, tw.Flush())
	put("cut.tar", b.String()+strings.Repeat("x", 700))

	f := read(t, nil, options(), dir)
	var hosts, unread, ignored []string
	for _, h := range f.Hosts {
		hosts = append(hosts, h.Name+" "+string(h.Status))
	}
	rel := func(s string) string { return strings.TrimPrefix(s, dir+"/") }
	for _, u := range f.Unread {
		unread = append(unread, rel(u.Source)+": "+u.Reason)
	}
	for _, u := range f.Ignored {
		ignored = append(ignored, rel(u.Source)+": "+u.Reason)
	}
	if d := cmp.Diff([]string{"clock ready", "failed no-verdict", "image ready", "liar blocked", "other ready", "s1 ready", "s2 ready", "WEB01 ready"}, hosts); d != "" {
		t.Error(d)
	}
	golden(t, "unread.txt", strings.Join(unread, "\n")+"\n\n"+strings.Join(ignored, "\n")+"\n")
	if len(f.Duplicates) != 2 || f.Summary.Older != 2 || f.Summary.Copies != 1 || rel(f.Duplicates[0].Kept) != "clock2.json" || f.Duplicates[1].Count != 1 {
		t.Errorf("duplicates: %+v", f.Duplicates)
	}
	validate(t, document(t, f))
	if f.ExitCode("blocker") != 10 {
		t.Error("a host is blocked")
	}
	if _, err := fleet.Read(context.Background(), []string{filepath.Join(dir, "none")}, nil, options()); err == nil {
		t.Error("an argument that is not there")
	}
	// called after their files
	opt := options()
	opt.FileNames = true
	if f := read(t, nil, opt, filepath.Join(dir, "web"), filepath.Join(dir, "liar.json")); len(f.Hosts) != 2 || f.Hosts[1].Name != "web" {
		t.Errorf("by files: %+v", f.Hosts)
	}
	opt = options()
	opt.MaxDocument = 100
	if f := read(t, nil, opt, filepath.Join(dir, "liar.json")); len(f.Unread) != 1 || !strings.Contains(f.Unread[0].Reason, "larger than") {
		t.Errorf("too large: %+v", f.Unread)
	}
}

const hostile = "=cmd|' /C calc'!A0\"><script>alert(1)</script>\u202e\x1b[31m\n[all:vars]\nansible_connection=local {{ 7*7 }}"

// hostileFleet has the same text wherever a report can put one.
func hostileFleet(t *testing.T) *fleet.Fleet {
	r := template(t)
	r.Kind = report.ReportKind
	h := hostile
	r.Host.Name, r.Host.PrettyName, r.Host.Arch, r.Host.Version, r.Host.Kernel, r.Tool.Version, r.Summary.Target = h, h, h, h, h, h, h
	r.Finished = now
	for i := range r.Findings {
		r.Findings[i].ID, r.Findings[i].Title, r.Findings[i].Remedy.Command = h, h, h
		for j := range r.Findings[i].Resources {
			r.Findings[i].Resources[j].Name = h
		}
	}
	for i := range r.Packages {
		r.Packages[i].Name = h
	}
	var in bytes.Buffer
	must(t, r.WriteJSON(&in))
	r.Host.Name = "web[01:99].example.com"
	must(t, r.WriteJSON(&in))
	r.Host.Name, r.Failure = "failed", &report.Failure{Message: h}
	must(t, r.WriteJSON(&in))
	f := read(t, &in, options(), "-")
	f.Unread = append(f.Unread, fleet.Unread{Source: h, Reason: h})
	f.Summary.Unread++
	return f
}

func TestHostile(t *testing.T) {
	f := hostileFleet(t)
	if f.Summary.Hosts != 3 {
		t.Fatalf("got %+v", f.Summary)
	}
	var text, table, ini, yml, page bytes.Buffer
	must(t, f.WriteText(&text, report.TextOptions{Verbose: true}))
	must(t, f.WriteCSV(&table))
	left, err := f.WriteInventory(&ini, false)
	must(t, err)
	_, err = f.WriteInventory(&yml, true)
	must(t, err)
	must(t, f.WriteHTML(&page))
	for name, out := range map[string]string{"text": text.String(), "csv": table.String(), "json": document(t, f), "html": page.String(), "ini": ini.String(), "yaml": yml.String()} {
		if strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("%s: characters that act upon a terminal", name)
		}
	}
	if len(left) != 2 || strings.Contains(ini.String()+yml.String(), "web[01") || strings.Contains(ini.String()+yml.String(), "all:vars") {
		t.Errorf("the inventory: left out %q\n%s", left, ini.String())
	}
	rows, err := csv.NewReader(&table).ReadAll()
	must(t, err)
	for _, row := range rows {
		for _, c := range row {
			if c != "" && strings.ContainsRune("=+-@\t\r\uff1d", []rune(c)[0]) {
				t.Errorf("a formula: %q", c)
			}
		}
	}
	for _, e := range pagecheck.Elements(t, page.String()) {
		if e.Name == "script" || e.Name == "img" {
			t.Errorf("<%s> came in", e.Name)
		}
	}
}

func pages(t *testing.T) map[string]string {
	out := map[string]string{}
	for name, f := range map[string]*fleet.Fleet{
		"fleet": read(t, nil, options(), folder(t, 150)), "fleet-hostile": hostileFleet(t), "fleet-empty": read(t, strings.NewReader(""), options(), "-"),
	} {
		var b bytes.Buffer
		must(t, f.WriteHTML(&b))
		out[name] = b.String()
	}
	return out
}

func TestPage(t *testing.T) {
	for name, page := range pages(t) {
		pagecheck.Accessible(t, name, page)
		pagecheck.Contrast(t, page)
	}
}

func TestPageInChromium(t *testing.T) {
	p := pages(t)
	delete(p, "fleet-empty")
	pagecheck.InChromium(t, p)
}

// The inventory as Ansible itself reads it.
func TestInventory(t *testing.T) {
	f := read(t, nil, options(), folder(t, 150))
	for _, ext := range []string{"ini", "yml"} {
		var b bytes.Buffer
		left, err := f.WriteInventory(&b, ext == "yml")
		must(t, err)
		if len(left) > 0 {
			t.Errorf("left out: %q", left)
		}
		if ext == "ini" {
			for _, w := range f.Waves {
				if !strings.Contains(b.String(), "["+fleet.AnsibleGroup+w.Name+"]\n"+w.Hosts[0]+"\n") {
					t.Errorf("%s is not there:\n%s", w.Name, b.String())
				}
			}
		}
		tool, err := exec.LookPath("ansible-inventory")
		if err != nil {
			t.Log("SKIPPED: ansible-inventory is absent (apt-get install ansible-core); the own check ran")
			continue
		}
		path := filepath.Join(t.TempDir(), "waves."+ext)
		must(t, os.WriteFile(path, b.Bytes(), 0o644))
		cmd := exec.Command(tool, "-i", path, "--graph", fleet.AnsibleGroup+"rollout")
		cmd.Env = append(os.Environ(), "ANSIBLE_LOCALHOST_WARNING=False", "HOME="+t.TempDir(), "ANSIBLE_LOCAL_TEMP="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "WARNING") || strings.Count(string(out), "|--") != f.Summary.Ready+len(f.Waves) {
			t.Errorf("%s: %v, %d lines for %d hosts:\n%.2000s", ext, err, strings.Count(string(out), "|--"), f.Summary.Ready, out)
		}
	}
}

func TestWaves(t *testing.T) {
	dir := folder(t, 400)
	for _, n := range []int{0, 1, 2, 3, 5, 29, 1000} {
		opt := options()
		opt.Waves, opt.Canaries = n, 3
		f := read(t, nil, opt, dir)
		sum := 0
		for _, w := range f.Waves {
			sum += len(w.Hosts)
			if len(w.Hosts) == 0 {
				t.Errorf("%d waves: %s is empty", n, w.Name)
			}
		}
		if sum != f.Summary.Ready || len(f.Waves[0].Hosts) != 3 || n > 0 && len(f.Waves) != min(n, 30)+1 {
			t.Errorf("%d waves: %d hosts of %d in %d waves", n, sum, f.Summary.Ready, len(f.Waves))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(doc("web01", "2026-02-27T12:00:00Z", `,"modules":[{"name":"m","verdict":"missing"}],"incoming":[{"nevra":"a-1-1.x","repo":"r"}],"packages":[{"name":"p","verdict":"missing","target":{"repo":"x","repo_enabled":false}}]`)))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	_ = tw.WriteHeader(&tar.Header{Name: "a.json", Size: 2, Typeflag: tar.TypeReg})
	_, _ = tw.Write([]byte("{}"))
	_ = tw.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		opt := options()
		opt.MaxDocument = 4096
		p, err := fleet.Read(context.Background(), []string{"-"}, bytes.NewReader(data), opt)
		if err != nil {
			t.Fatal(err)
		}
		if p.Summary.Hosts == 0 && p.Summary.Unread == 0 && p.Summary.Ignored == 0 && len(bytes.TrimSpace(data)) > 0 && data[0] == '{' {
			t.Errorf("nothing is told of %q", data)
		}
		if err := p.WriteText(io.Discard, report.TextOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkFleet reads 10,000 reports of some 300 kB. The heap's peak is told
// as heap-MB.
func BenchmarkFleet(b *testing.B) {
	dir := b.TempDir()
	var size int64
	must(b, fleetgen.Fleet{Template: template(b), Hosts: 10000, Packages: 500, Seed: 1, Now: now}.Each(func(name string, doc []byte) error {
		size += int64(len(doc))
		return os.WriteFile(filepath.Join(dir, name), doc, 0o644)
	}))
	b.SetBytes(size)
	var m runtime.MemStats
	for b.Loop() {
		if f := read(b, nil, options(), dir); f.Summary.Hosts != 10000 {
			b.Fatal(f.Summary)
		}
	}
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/(1<<20), "heap-MB")
}
