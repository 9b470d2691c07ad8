package pagecheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/pagecheck"
)

// recorder takes the errors of a check that is to find some.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

// badPage has one of each thing that the browser's check is there for, and
// enough text to count as a page.
const badPage = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title></title>
<style>:root { color-scheme: light dark; } @media (prefers-color-scheme: dark) { body { background: #111111; color: #eeeeee; } .night { color: #444444; } }
.pale { color: #aaaaaa; background: #ffffff; } .scroll { overflow-x: auto; width: 200px; }</style></head><body>
<h1>Top</h1><h3>skips</h3><p class="pale">pale by day</p><p class="night">pale by night</p>
<a href="#x"></a><div style="width: 600px">broad</div>
<div class="scroll"><pre>a long line that scrolls, and no key of the keyboard gets there</pre></div>
<table><tr><td>no</td><td>header</td></tr></table><p style="font-size: 6px">tiny</p>
<img src="http://127.0.0.1:9/x.png" alt="x"><script>console.log("hello")</script>` + "%s" + `</body></html>`

// What the check is for, it finds; it would be worth nothing otherwise.
func TestInChromiumFinds(t *testing.T) {
	r := &recorder{TB: t}
	pagecheck.InChromium(r, map[string]string{"bad": fmt.Sprintf(badPage, strings.Repeat("<p>more</p>", 30))})
	all := strings.Join(r.said, "\n")
	for _, want := range []string{
		`bad, light: hard to read: ["p.pale \"pale by day\"`, `bad, dark: hard to read: ["p.pale \"pale by day\": 2.32" "p.night`, "bad, narrow: too wide",
		"bad, light: scrolls, and no key reaches it", "bad, light: a table with cells that no header names", "bad, light: too small",
		"bad, light: has no place here", "bad, light: a link has no name", "bad, light: a RootWebArea has no name",
		`bad, light: heading "skips" of level 3 after 1`, "bad, light: the console says", "bad, light: it loads http://127.0.0.1:9/x.png", "bad, print: hard to read",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("it did not find %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "bad, light: too wide") {
		t.Error("what fits into a wide screen is too wide")
	}
}
