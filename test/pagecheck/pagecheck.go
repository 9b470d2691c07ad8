// Package pagecheck looks at HTML pages as tests do: as a tree, by what makes
// them accessible, by contrast, and in a real browser.
package pagecheck

import (
	"encoding/xml"
	"io"
	"math"
	"os"
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

// look is a way of looking at a page.
type look struct {
	name           string
	width, height  int
	colours, media string
}

// looks are the ways in which a page must be good: a screen, by day and by
// night, one that is as narrow as WCAG 2.1 has it (1.4.10: 320 pixels, which is
// 1280 enlarged to 400 %), and paper, which is white whatever the screen is.
var looks = []look{
	{"light", 1000, 1400, "light", "screen"},
	{"dark", 1000, 1400, "dark", "screen"},
	{"narrow", 320, 1400, "light", "screen"},
	{"narrow-dark", 320, 1400, "dark", "screen"},
	{"print", 700, 1000, "dark", "print"},
}

// seen is what the script below finds in the page as it is drawn.
type seen struct {
	Texts    int      // how many texts were looked at
	Pale     []string // text that its background hides: WCAG 1.4.3
	Wide     []string // what makes the page wider than the screen: 1.4.10
	Stuck    []string // what scrolls and cannot be reached by the keyboard: 2.1.1
	Small    []string // text below 9 pixels
	Heads    int      // headings, as the browser counts them
	Forbid   []string // elements that a page without scripts has not
	Headless []string // tables of which cells have no header: 1.3.1
}

// measure opens what is folded and looks at every text with the colours that
// the browser computed for it and for what is behind it.
const measure = `(() => {
  for (const d of document.querySelectorAll('details')) d.open = true;
  const rgb = s => { const m = s.match(/[\d.]+/g).map(Number); return {r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1}; };
  const over = (f, b) => ({r: f.r*f.a + b.r*(1-f.a), g: f.g*f.a + b.g*(1-f.a), b: f.b*f.a + b.b*(1-f.a), a: 1});
  const lum = c => { const l = v => { v /= 255; return v <= 0.04045 ? v/12.92 : ((v+0.055)/1.055)**2.4; }; return 0.2126*l(c.r) + 0.7152*l(c.g) + 0.0722*l(c.b); };
  const ratio = (a, b) => (Math.max(lum(a), lum(b)) + 0.05) / (Math.min(lum(a), lum(b)) + 0.05);
  const behind = e => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.a > 0) layers.push(c);
      if (c.a === 1) break;
    }
    return layers.reverse().reduce((b, f) => over(f, b), {r: 255, g: 255, b: 255, a: 1});
  };
  const say = e => e.tagName.toLowerCase() + (e.className && e.className.baseVal === undefined ? '.' + e.className : '') + ' ' + JSON.stringify(e.textContent.trim().slice(0, 40));
  const out = {Texts: 0, Pale: [], Wide: [], Stuck: [], Small: [], Forbid: [], Headless: [], Heads: document.querySelectorAll('h1,h2,h3,h4').length};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walk.nextNode();) {
    const e = n.parentElement;
    if (!n.data.trim() || ['STYLE', 'SCRIPT', 'title', 'desc'].includes(e.tagName) || !e.checkVisibility()) continue;
    const range = document.createRange(); range.selectNodeContents(n);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    out.Texts++;
    const s = getComputedStyle(e), size = parseFloat(s.fontSize), back = behind(e);
    const fore = over(rgb(e.namespaceURI.endsWith('svg') ? s.fill : s.color), back);
    const large = size >= 24 || size >= 18.66 && Number(s.fontWeight) >= 700;
    const r = ratio(fore, back);
    if (r < (large ? 3 : 4.5)) out.Pale.push(say(e) + ': ' + r.toFixed(2));
    if (size < 9) out.Small.push(say(e) + ': ' + size);
  }
  for (const e of document.querySelectorAll('body *')) {
    if (e.namespaceURI.endsWith('svg') && e.tagName !== 'svg' || !e.checkVisibility()) continue;
    const s = getComputedStyle(e), scrolls = x => ['auto', 'scroll', 'hidden'].includes(getComputedStyle(x).overflowX);
    if (scrolls(e) && e.scrollWidth > e.clientWidth + 1 && s.overflowX !== 'hidden' && e.tabIndex < 0) out.Stuck.push(say(e));
    if (e.getBoundingClientRect().right > innerWidth + 1) {
      let p = e.parentElement;
      while (p && !scrolls(p)) p = p.parentElement;
      if (!p) out.Wide.push(say(e));
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) out.Wide.push('the page: ' + document.documentElement.scrollWidth);
  for (const t of document.querySelectorAll('table')) {
    const wide = t.tHead && t.tHead.rows.length ? t.tHead.rows[t.tHead.rows.length - 1] : null;
    for (const row of t.rows) for (const c of row.cells) {
      if (c.tagName === 'TH') continue;
      const above = wide && wide.cells[c.cellIndex], beside = row.querySelector('th[scope=row]');
      if (!beside && !(above && above.tagName === 'TH' && above.textContent.trim())) { out.Headless.push(say(t)); break; }
    }
  }
  for (const e of document.querySelectorAll('script, img, iframe, object, embed, link, form, base, audio, video, [onerror], [onload], [onclick]')) out.Forbid.push(e.outerHTML.slice(0, 80));
  return out;
})()`

// InChromium opens pages in a real browser, in every look. There nothing is
// loaded and the console stays silent; every text has the contrast that WCAG
// 2.1 wants, as drawn; nothing is wider than the screen or out of the
// keyboard's reach; and what a screen reader is told has names, one main part,
// headings in order and tables with headers. It is what axe's rules for such a
// page look at; with ALMAMIGRATE_AXE=axe.min.js axe itself has to agree.
// ALMAMIGRATE_SCREENSHOTS=DIR keeps the pages and their pictures.
func InChromium(t testing.TB, pages map[string]string) {
	t.Helper()
	b := open(t)
	dir, keep := t.TempDir(), os.Getenv("ALMAMIGRATE_SCREENSHOTS")
	var axe []byte
	if name := os.Getenv("ALMAMIGRATE_AXE"); name != "" {
		var err error
		if axe, err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, page := range pages {
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		if keep != "" {
			_ = os.WriteFile(filepath.Join(keep, name+".html"), []byte(page), 0o644)
		}
		for _, l := range looks {
			b.look(l)
			b.show(file)
			where := name + ", " + l.name
			shot := b.picture(l.media == "print")
			if len(shot) < 8000 {
				t.Errorf("%s: a picture of %d bytes shows nothing", where, len(shot))
			}
			if keep != "" {
				_ = os.WriteFile(filepath.Join(keep, name+"-"+l.name+".png"), shot, 0o644)
			}
			var s seen
			b.eval(measure, &s)
			s.judge(t, where, page)
			told(t, where, b.tree(), s)
			if len(b.said) > 0 {
				t.Errorf("%s: the console says %q", where, b.said)
			}
			for _, u := range b.asked {
				if u != "file://"+file {
					t.Errorf("%s: it loads %s", where, u)
				}
			}
			if axe != nil {
				b.axe(t, where, string(axe))
			}
		}
	}
}

func (s seen) judge(t testing.TB, where, page string) {
	t.Helper()
	if s.Texts < 20 {
		t.Errorf("%s: %d texts are seen", where, s.Texts)
	}
	for _, l := range []struct {
		what string
		list []string
	}{
		{"hard to read", s.Pale}, {"too wide", s.Wide}, {"scrolls, and no key reaches it", s.Stuck}, {"too small", s.Small},
		{"has no place here", s.Forbid}, {"a table with cells that no header names", s.Headless},
	} {
		if len(l.list) > 0 {
			t.Errorf("%s: %s: %q", where, l.what, l.list[:min(len(l.list), 8)])
		}
	}
	if n := len(regexp.MustCompile(`<h[1-4][ >]`).FindAllString(page, -1)); n != s.Heads {
		t.Errorf("%s: the browser sees %d headings, the source has %d", where, s.Heads, n)
	}
}

// told checks what a screen reader is told of the page.
func told(t testing.TB, where string, nodes []axNode, s seen) {
	t.Helper()
	count, level, heads := map[string]int{}, 0, 0
	for _, n := range nodes {
		role, name := n.Role.String(), n.Name.String()
		count[role]++
		switch role {
		case "RootWebArea", "link", "button", "image", "img", "table", "region", "navigation", "heading", "DisclosureTriangle", "columnheader", "rowheader", "graphics-document":
			if name == "" {
				t.Errorf("%s: a %s has no name", where, role)
			}
		}
		if role != "heading" {
			continue
		}
		heads++
		for _, p := range n.Props {
			if p.Name == "level" {
				v, _ := strconv.Atoi(p.Value.String())
				if v > level+1 {
					t.Errorf("%s: heading %q of level %d after %d", where, name, v, level)
				}
				level = v
			}
		}
	}
	if count["RootWebArea"] != 1 || count["main"] != 1 || heads != s.Heads {
		t.Errorf("%s: a screen reader is told of %v, and of %d headings of %d", where, count, heads, s.Heads)
	}
	if count["table"] > 0 && count["columnheader"]+count["rowheader"] == 0 {
		t.Errorf("%s: tables without headers: %v", where, count)
	}
}

// axe asks the program of that name.
func (b *browser) axe(t testing.TB, where, source string) {
	t.Helper()
	b.eval(source+"; 0", nil)
	var violations []struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML string `json:"html"`
		} `json:"nodes"`
	}
	b.eval(`axe.run().then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map(n => ({html: n.html.slice(0, 200)}))})))`, &violations)
	for _, v := range violations {
		t.Errorf("%s: axe: %s: %s: %+v", where, v.ID, v.Help, v.Nodes)
	}
}
