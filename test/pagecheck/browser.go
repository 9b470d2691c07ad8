package pagecheck

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// browser is a Chromium that is told by its DevTools protocol what to do, by
// two pipes: it opens no port.
type browser struct {
	t       testing.TB
	in      io.Writer
	out     *bufio.Reader
	id      int
	session string
	said    []string // on the console, by the page or by Chromium about it
	asked   []string // what was loaded
	lost    bool     // it does not answer any more
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// open starts a browser, or skips the test where there is none.
func open(t testing.TB) *browser {
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
	toIn, toOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromIn, fromOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--hide-scrollbars", "--user-data-dir="+filepath.Join(t.TempDir(), "profile"), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{toIn, fromOut} // 3 and 4
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = toIn.Close(), fromOut.Close()
	b := &browser{t: t, in: toOut, out: bufio.NewReaderSize(fromIn, 1<<20)}
	t.Cleanup(func() {
		_, _ = toOut.Write([]byte(`{"id":0,"method":"Browser.close"}` + "\x00"))
		_ = toOut.Close()
		_ = cmd.Wait()
		_ = fromIn.Close()
		cancel()
		if b.lost {
			t.Logf("Chromium says:\n%s", log.String())
		}
	})
	var target struct {
		TargetID  string `json:"targetId"`
		SessionID string `json:"sessionId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, m := range []string{"Page.enable", "Runtime.enable", "Network.enable", "Log.enable", "Accessibility.enable"} {
		b.call(m, nil, nil)
	}
	return b
}

// call sends a command and waits for its answer; the events before it are kept.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.id++
	p, err := json.Marshal(params)
	if err != nil {
		b.t.Fatal(err)
	}
	if params == nil {
		p = []byte("{}")
	}
	data, err := json.Marshal(message{ID: b.id, Method: method, Params: p, SessionID: b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		m := b.read(method)
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// read takes the next message and keeps what it tells of the page.
func (b *browser) read(during string) message {
	b.t.Helper()
	data, err := b.out.ReadBytes(0)
	if err != nil {
		b.lost = true
		b.t.Fatalf("%s: %v", during, err)
	}
	var m message
	if err := json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &m); err != nil {
		b.t.Fatalf("%s: %v", during, err)
	}
	switch m.Method {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		b.said = append(b.said, string(m.Params))
	case "Network.requestWillBeSent":
		var p struct {
			Request struct {
				URL string `json:"url"`
			} `json:"request"`
		}
		_ = json.Unmarshal(m.Params, &p)
		b.asked = append(b.asked, p.Request.URL)
	}
	return m
}

// show opens a file and waits until it is loaded.
func (b *browser) show(file string) {
	b.t.Helper()
	b.said, b.asked = nil, nil
	var r struct {
		ErrorText string `json:"errorText"`
	}
	b.call("Page.navigate", map[string]any{"url": "file://" + file}, &r)
	if r.ErrorText != "" {
		b.t.Fatalf("%s: %s", file, r.ErrorText)
	}
	var ready string
	for range 200 {
		if b.eval("document.readyState", &ready); ready == "complete" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatalf("%s is not loaded: %s", file, ready)
}

// look sets how the page is looked at: how wide, in which colours, on what.
func (b *browser) look(l look) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": l.width, "height": l.height, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": l.media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": l.colours}}}, nil)
}

// eval runs an expression in the page, which has no script of its own.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string          `json:"text"`
			Exception json.RawMessage `json:"exception"`
		} `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		b.t.Fatalf("%s: %s %s", expression[:min(60, len(expression))], r.Exception.Text, r.Exception.Exception)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, result); err != nil {
		b.t.Fatalf("%s: %v", expression[:min(60, len(expression))], err)
	}
}

// picture takes a picture of what is seen.
func (b *browser) picture(whole bool) []byte {
	b.t.Helper()
	var r struct {
		Data string `json:"data"`
	}
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &r)
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// axNode is a node of the accessibility tree: what a screen reader is told.
type axNode struct {
	ID      string   `json:"nodeId"`
	Ignored bool     `json:"ignored"`
	Role    axValue  `json:"role"`
	Name    axValue  `json:"name"`
	Parent  string   `json:"parentId"`
	Kids    []string `json:"childIds"`
	Props   []struct {
		Name  string  `json:"name"`
		Value axValue `json:"value"`
	} `json:"properties"`
}

type axValue struct {
	Value any `json:"value"`
}

func (v axValue) String() string {
	if v.Value == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprint(v.Value))
}

// tree returns the nodes in the order in which they are read out.
func (b *browser) tree() []axNode {
	b.t.Helper()
	var r struct {
		Nodes []axNode `json:"nodes"`
	}
	b.call("Accessibility.getFullAXTree", nil, &r)
	nodes := map[string]axNode{}
	for _, n := range r.Nodes {
		nodes[n.ID] = n
	}
	var out []axNode
	var walk func(id string)
	walk = func(id string) {
		n, ok := nodes[id]
		if !ok {
			return
		}
		delete(nodes, id)
		if !n.Ignored {
			out = append(out, n)
		}
		for _, k := range n.Kids {
			walk(k)
		}
	}
	for _, n := range r.Nodes {
		if n.Parent == "" {
			walk(n.ID)
		}
	}
	return out
}
