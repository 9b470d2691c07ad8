// Package pagecheck looks at HTML pages as tests do: as a tree, by what makes
// them accessible, by contrast, and in a real browser.
package pagecheck

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Element is a start tag of the page.
type Element struct {
	Name string
	Attr map[string]string
	Text string // of what is directly inside
}

// Elements reads the page as the tree that it must be: every element closed,
// which HTML's own parsers would forgive.
func Elements(t *testing.T, page string) []Element {
	t.Helper()
	page = strings.Replace(page, "<!DOCTYPE html>", "", 1)
	d := xml.NewDecoder(strings.NewReader(regexp.MustCompile(`<meta ([^>]*)>`).ReplaceAllString(page, "<meta $1/>")))
	d.Entity = xml.HTMLEntity
	var out []Element
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
			e := Element{Name: v.Name.Local, Attr: map[string]string{}}
			for _, a := range v.Attr {
				e.Attr[a.Name.Local] = a.Value
			}
			out = append(out, e)
			open = append(open, len(out)-1)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				out[open[len(open)-1]].Text += string(v)
			}
		}
	}
}

// Accessible checks what axe would look for first, without axe: language,
// title, headings that skip no level, one h1 and one main, ids once and
// referred to rightly, header cells with a scope, captions, names for images
// and landmarks, and nothing that is loaded or run.
func Accessible(t *testing.T, name, page string) {
	t.Helper()
	els := Elements(t, page)
	ids, level, count := map[string]bool{}, 0, map[string]int{}
	for _, e := range els {
		count[e.Name]++
		if id := e.Attr["id"]; id != "" {
			if ids[id] {
				t.Errorf("%s: id %s twice", name, id)
			}
			ids[id] = true
		}
		switch e.Name {
		case "html":
			if e.Attr["lang"] != "en" {
				t.Errorf("%s: no lang", name)
			}
		case "h1", "h2", "h3", "h4":
			n := int(e.Name[1] - '0')
			if n > level+1 {
				t.Errorf("%s: %s %q after h%d", name, e.Name, e.Text, level)
			}
			level = n
		case "th":
			if e.Attr["scope"] == "" {
				t.Errorf("%s: th %q without scope", name, e.Text)
			}
		case "svg":
			if e.Attr["role"] != "img" || e.Attr["aria-labelledby"] == "" {
				t.Errorf("%s: svg without a name", name)
			}
		case "nav":
			if e.Attr["aria-label"] == "" {
				t.Errorf("%s: nav without a name", name)
			}
		case "script", "iframe", "object", "embed", "link", "img", "form", "base", "audio", "video":
			t.Errorf("%s: a page without %s was promised", name, e.Name)
		}
		for k, v := range e.Attr {
			if strings.HasPrefix(k, "on") || k == "src" || k == "href" && !strings.HasPrefix(v, "#") || strings.Contains(v, "url(") {
				t.Errorf("%s: <%s %s=%q>", name, e.Name, k, v)
			}
		}
		if e.Name == "title" && strings.TrimSpace(e.Text) == "" {
			t.Errorf("%s: empty title", name)
		}
	}
	for _, e := range els {
		for _, k := range []string{"aria-labelledby", "href"} {
			for _, id := range strings.Fields(e.Attr[k]) {
				if id = strings.TrimPrefix(id, "#"); !ids[id] {
					t.Errorf("%s: <%s %s> names %q, which is not there", name, e.Name, k, id)
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

var cssColor = regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6});`)

// Contrast checks that text is readable: a contrast of 4.5 at least (WCAG 2.1, 1.4.3), in light, in
// dark and on paper.
func Contrast(t *testing.T, page string) {
	t.Helper()
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

// InChromium opens pages in a real browser: no message on its console, nothing loaded, and
// the picture is not one colour.
func InChromium(t *testing.T, pages map[string]string) {
	t.Helper()
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
	for name, page := range pages {
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
