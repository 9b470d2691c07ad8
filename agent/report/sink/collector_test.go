package sink_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// collector is an endpoint that takes reports, once for each Idempotency-Key,
// and misbehaves as its trouble says.
type collector struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	trouble  func(key string) string // "", or what goes wrong with the next request
	taken    map[string][]byte       // by key
	order    []string                // keys, in the order in which they were taken
	answered map[string]bool         // keys whose 2xx reached the client as a whole
	again    []string                // keys that came again after that
	requests int
	tokens   map[string]int
	gone     chan struct{}
}

func newCollector(t testing.TB, start func(*httptest.Server)) *collector {
	c := &collector{t: t, trouble: func(string) string { return "" }, taken: map[string][]byte{}, answered: map[string]bool{}, tokens: map[string]int{}, gone: make(chan struct{})}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.Config.ErrorLog = nil
	start(c.Server)
	t.Cleanup(func() { close(c.gone); c.Server.CloseClientConnections(); c.Server.Close() })
	return c
}

func (c *collector) set(trouble string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = func(string) string { return trouble }
}

func (c *collector) keys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.order...)
}

func (c *collector) serve(w http.ResponseWriter, r *http.Request) {
	key, err := strconv.Unquote(r.Header.Get("Idempotency-Key"))
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "not a report", http.StatusTeapot)
		return
	}
	c.mu.Lock()
	c.requests++
	c.tokens[r.Header.Get("Authorization")]++
	if c.answered[key] {
		c.again = append(c.again, key)
	}
	trouble := c.trouble(key)
	c.mu.Unlock()
	if r.URL.Path == "/moved" {
		trouble = ""
	}
	switch trouble {
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case "busy":
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case "hang":
		select {
		case <-r.Context().Done():
		case <-c.gone:
		}
		return
	case "cut-before":
		c.cut(w)
		return
	case "302":
		http.Redirect(w, r, "/moved", http.StatusFound)
		return
	case "307":
		http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
		return
	case "elsewhere":
		w.Header().Set("Location", "http://127.0.0.2:9/?secret=1")
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	case "400", "401", "404", "409", "500":
		n, _ := strconv.Atoi(trouble)
		w.WriteHeader(n)
		return
	}
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	if have, ok := c.taken[key]; ok {
		if !bytes.Equal(have, data) {
			c.t.Errorf("%s came again with other content", key)
		}
	} else {
		c.taken[key] = data
		c.order = append(c.order, key)
	}
	c.answered[key] = trouble == ""
	c.mu.Unlock()
	switch trouble {
	case "cut-after":
		c.cut(w)
	case "cut-answer":
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half of an ans")
		w.(http.Flusher).Flush()
		c.cut(w)
	default:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, "ok")
	}
}

func (c *collector) cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close()
}

// troubles picks one by chance, the same for the same seed.
func troubles(seed uint64, names ...string) func(string) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(string) string { return names[rng.IntN(len(names))] }
}
