package report_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
)

func points(n int) []report.Point {
	var out []report.Point
	for i := range n {
		p := report.Point{Finished: time.Date(2026, 1, 1+i, 3, 0, 0, 0, time.UTC), Verdict: assess.Blocked, Blockers: 7 - i%8, Warnings: i % 5}
		switch {
		case i%7 == 3:
			p = report.Point{Finished: p.Finished, Verdict: assess.Unknown, Failed: true}
		case p.Blockers == 0:
			p.Verdict = assess.ReadyWithWarnings
		}
		out = append(out, p)
	}
	return out
}

func html(t *testing.T, r *report.Report, pts []report.Point) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b, pts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// element is a start tag of the page.
type element struct {
	name string
	attr map[string]string
	text string // of what is directly inside
}

// elements reads the page as the tree that it must be: every element closed,
// which HTML's own parsers would forgive.
func elements(t *testing.T, page string) []element {
	t.Helper()
	page = strings.Replace(page, "<!DOCTYPE html>", "", 1)
	d := xml.NewDecoder(strings.NewReader(regexp.MustCompile(`<meta ([^>]*)>`).ReplaceAllString(page, "<meta $1/>")))
	d.Entity = xml.HTMLEntity
	var out []element
	var open []int
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch v := tok.(type) {
		case xml.StartElement:
			e := element{name: v.Name.Local, attr: map[string]string{}}
			for _, a := range v.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			out = append(out, e)
			open = append(open, len(out)-1)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				out[open[len(open)-1]].text += string(v)
			}
		}
	}
}

// What axe would look for first, without axe: language, title, headings that
// skip no level, one h1 and one main, ids once and referred to rightly, header
// cells with a scope, captions, names for images and landmarks, and nothing
// that is loaded or run.
func TestPageAccessibility(t *testing.T) {
	full, _ := sampleReport()
	full.Incoming = sample().Incoming
	full.Modules = []assess.ModuleResult{{Name: "acme_raid", Loaded: true, Verdict: assess.ModuleMissing, Reason: "nobody has it", Roles: []string{"root"}}, {Name: "xfs", Loaded: true, Verdict: assess.ModuleInTree}}
	full.Space = []assess.SpaceNeed{{Mount: "/boot", Free: 1 << 28, Need: 1 << 27}}
	full.Skipped = []inventory.Skipped{{What: "/etc/x", Reason: "permission denied"}}
	empty := report.NewReport(nil, &report.Failure{Code: 13, Message: "no network", Hint: "look"})
	for name, page := range map[string]string{"full": html(t, full, points(40)), "failed": html(t, empty, nil), "one point": html(t, full, points(1))} {
		els := elements(t, page)
		ids, level, count := map[string]bool{}, 0, map[string]int{}
		for _, e := range els {
			count[e.name]++
			if id := e.attr["id"]; id != "" {
				if ids[id] {
					t.Errorf("%s: id %s twice", name, id)
				}
				ids[id] = true
			}
			switch e.name {
			case "html":
				if e.attr["lang"] != "en" {
					t.Errorf("%s: no lang", name)
				}
			case "h1", "h2", "h3", "h4":
				n := int(e.name[1] - '0')
				if n > level+1 {
					t.Errorf("%s: %s %q after h%d", name, e.name, e.text, level)
				}
				level = n
			case "th":
				if e.attr["scope"] == "" {
					t.Errorf("%s: th %q without scope", name, e.text)
				}
			case "svg":
				if e.attr["role"] != "img" || e.attr["aria-labelledby"] == "" {
					t.Errorf("%s: svg without a name", name)
				}
			case "nav":
				if e.attr["aria-label"] == "" {
					t.Errorf("%s: nav without a name", name)
				}
			case "script", "iframe", "object", "embed", "link", "img", "form", "base", "audio", "video":
				t.Errorf("%s: a page without %s was promised", name, e.name)
			}
			for k, v := range e.attr {
				if strings.HasPrefix(k, "on") || k == "src" || k == "href" && !strings.HasPrefix(v, "#") || strings.Contains(v, "url(") {
					t.Errorf("%s: <%s %s=%q>", name, e.name, k, v)
				}
			}
			if e.name == "title" && strings.TrimSpace(e.text) == "" {
				t.Errorf("%s: empty title", name)
			}
		}
		for _, e := range els {
			for _, k := range []string{"aria-labelledby", "href"} {
				for _, id := range strings.Fields(e.attr[k]) {
					if id = strings.TrimPrefix(id, "#"); !ids[id] {
						t.Errorf("%s: <%s %s> names %q, which is not there", name, e.name, k, id)
					}
				}
			}
		}
		if count["h1"] != 1 || count["main"] != 1 || count["table"] != count["caption"] {
			t.Errorf("%s: %d h1, %d main, %d tables with %d captions", name, count["h1"], count["main"], count["table"], count["caption"])
		}
		for _, bad := range []string{"@import", "url(", "http-equiv=\"refresh\""} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: %s", name, bad)
			}
		}
	}
}

var cssColor = regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6});`)

// Text is readable: a contrast of 4.5 at least (WCAG 2.1, 1.4.3), in light, in
// dark and on paper.
func TestPageContrast(t *testing.T) {
	page := html(t, report.NewReport(sample(), nil), nil)
	blocks := strings.Split(page, ":root {")[1:]
	if len(blocks) != 3 {
		t.Fatalf("%d sets of colours", len(blocks))
	}
	for i, b := range blocks {
		b, _, _ = strings.Cut(b, "}")
		c := map[string]float64{}
		for _, m := range cssColor.FindAllStringSubmatch(b, -1) {
			c[m[1]] = luminance(t, m[2])
		}
		for _, fore := range []string{"text", "muted", "link", "bad", "warn", "good", "calm"} {
			for _, back := range []string{"bg", "card"} {
				if r := contrast(c[fore], c[back]); r < 4.5 {
					t.Errorf("set %d: %s on %s: %.2f", i, fore, back, r)
				}
			}
		}
		for _, back := range []string{"bad", "warn", "good", "calm"} {
			if r := contrast(c["on"], c[back]); r < 4.5 {
				t.Errorf("set %d: badge on %s: %.2f", i, back, r)
			}
		}
	}
}

// luminance is WCAG's relative luminance.
func luminance(t *testing.T, hex string) float64 {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i, w := range []float64{0.2126, 0.7152, 0.0722} {
		v := float64(n>>(16-8*i)&0xff) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += w * v
	}
	return sum
}

func contrast(a, b float64) float64 { return (max(a, b) + 0.05) / (min(a, b) + 0.05) }

const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\u202egpj.exe\x1b[31m</style></title>javascript:alert(1)"

// hostileReport has the same text everywhere that a package, a repository or a
// host can put one.
func hostileReport() *report.Report {
	r, _ := sampleReport()
	h := hostile
	r.Host.Name, r.Host.PrettyName, r.Host.Arch, r.Host.Kernel, r.Tool.Version, r.RunID, r.Verdict, r.Summary.Target = h, h, h, h, h, h, assess.Verdict(h), h
	r.Findings = []assess.Finding{{ID: h, Severity: assess.Blocker, Title: h, Detail: h, Resources: []assess.Resource{{Kind: h, Name: h, Detail: h}}, Remedy: assess.Remedy{Text: h, Command: h}},
		{ID: "boot." + h, Severity: assess.Warning, Title: h}}
	for i := range r.Packages {
		p := &r.Packages[i]
		p.Name, p.NEVRA, p.Reason, p.Risk = h, h, h, h
		if p.Target != nil {
			p.Target = &assess.Target{NEVRA: h, Repo: h}
		}
	}
	r.Incoming = []assess.Incoming{{NEVRA: h, Repo: h, RequiredBy: h, Requirement: h}}
	r.Modules = []assess.ModuleResult{{Name: h, Verdict: assess.ModuleVerdict(h), Reason: h, Roles: []string{h}}}
	r.Repos = []assess.RepoResult{{ID: h, URL: h, Signed: h, Error: h}}
	r.Space = []assess.SpaceNeed{{Mount: h}}
	r.Skipped = []inventory.Skipped{{What: h, Reason: h}}
	r.Changes.New = []report.FindingChange{{ID: h, Severity: assess.Severity(h), Title: h, Resource: h}}
	r.Changes.Packages = []report.PackageChange{{Name: h, From: []string{h}, To: []string{h}}}
	r.Delivery = []report.Delivery{{Endpoint: h, URL: h, Error: h}}
	r.Failure = &report.Failure{Message: h, Hint: h}
	return r
}

func TestPageHostile(t *testing.T) {
	pts := points(2)
	pts[0].Verdict = hostile
	page := html(t, hostileReport(), pts)
	plain := html(t, report.NewReport(sample(), nil), nil)
	for _, e := range elements(t, page) {
		if e.name == "script" || e.name == "img" {
			t.Errorf("<%s> came in", e.name)
		}
		for k := range e.attr {
			if strings.HasPrefix(k, "on") {
				t.Errorf("<%s %s> came in", e.name, k)
			}
		}
		if strings.Contains(fmt.Sprint(e.attr["class"], e.attr["id"], e.attr["href"]), "<") {
			t.Errorf("<%s>: %v", e.name, e.attr)
		}
	}
	if strings.Count(page, "</style>") != strings.Count(plain, "</style>") || strings.ContainsAny(page, "\u202e\x1b") {
		t.Error("the style was closed, or characters came through that hide or turn text")
	}
}

// The page in a real browser: no message on its console, nothing loaded, and
// the picture is not one colour.
func TestPageInChromium(t *testing.T) {
	chromium := ""
	for _, n := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(n); err == nil {
			chromium = p
			break
		}
	}
	if chromium == "" {
		t.Skip("SKIPPED: no Chromium (apt-get install chromium): the page was not opened in a browser")
	}
	dir := t.TempDir()
	full, _ := sampleReport()
	for name, page := range map[string]string{"full": html(t, full, points(40)), "hostile": html(t, hostileReport(), points(9))} {
		file, shot := filepath.Join(dir, name+".html"), filepath.Join(dir, name+".png")
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(dir, "profile"),
			"--enable-logging=stderr", "--window-size=1000,1400", "--virtual-time-budget=2000"}
		out, err := exec.Command(chromium, append(args, "--screenshot="+shot, "file://"+file)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if m := regexp.MustCompile(`(?m)^.*(CONSOLE|Refused to).*$`).FindAllString(string(out), -1); len(m) > 0 {
			t.Errorf("%s: the console says %q", name, m)
		}
		if info, err := os.Stat(shot); err != nil || info.Size() < 20000 {
			t.Errorf("%s: screenshot: %v", name, err)
		}
		dom, err := exec.Command(chromium, append(args, "--dump-dom", "file://"+file)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		// what the browser made of it: the same elements as in the source
		for _, tag := range []string{"<script", "<img", " onerror"} {
			if bytes.Contains(dom, []byte(tag+" ")) || bytes.Contains(dom, []byte(tag+">")) || bytes.Contains(dom, []byte(tag+"=\"")) {
				t.Errorf("%s: the browser sees %s", name, tag)
			}
		}
		if n := bytes.Count(dom, []byte("<h2")); n != strings.Count(page, "<h2") {
			t.Errorf("%s: the browser sees %d headings, the source has %d", name, n, strings.Count(page, "<h2"))
		}
		if keep := os.Getenv("ALMAMIGRATE_SCREENSHOTS"); keep != "" {
			data, _ := os.ReadFile(shot)
			_ = os.WriteFile(filepath.Join(keep, name+".png"), data, 0o644)
			_ = os.WriteFile(filepath.Join(keep, name+".html"), []byte(page), 0o644)
		}
	}
}
