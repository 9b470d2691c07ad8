package sink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/report/sink"
)

func plain(s *httptest.Server) { s.Start() }

func options(dir string) sink.Options {
	return sink.Options{Dir: dir, MaxBytes: 1 << 20, MaxAge: 24 * time.Hour, Timeout: 20 * time.Second, // a busy machine takes its time
		RetryWaitMin: time.Millisecond, RetryWaitMax: 5 * time.Millisecond, UserAgent: "almamigrate/test"}
}

func open(t testing.TB, ep sink.Endpoint, o sink.Options) *sink.Sink {
	t.Helper()
	if ep.Name == "" {
		ep.Name = "fleet"
	}
	s, err := sink.Open(ep, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *sink.Sink, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := s.Put(id, []byte(`{"run":"`+id+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever the endpoint does, the report waits, the reason is told, and a
// later run sends everything in order.
func TestTroubles(t *testing.T) {
	for _, tt := range []struct{ trouble, reason string }{
		{"503", "answers 503"},
		{"busy", "answers 429"},
		{"hang", "Client.Timeout"},
		{"cut-before", "EOF"},
		{"cut-after", "EOF"},
		{"cut-answer", "the answer was cut"},
		{"302", "redirects to /moved"},
		{"elsewhere", "redirects to http://127.0.0.2:9/; correct url"},
		{"400", "answers 400"},
		{"401", "answers 401"},
		{"404", "answers 404"},
		{"409", "answers 409"},
		{"500", "answers 500"},
	} {
		t.Run(tt.trouble, func(t *testing.T) {
			c := newCollector(t, plain)
			c.set(tt.trouble)
			dir := t.TempDir()
			o := options(dir)
			if tt.trouble == "hang" {
				o.Timeout = 300 * time.Millisecond
			}
			s := open(t, sink.Endpoint{URL: c.URL + "/in?key=geheim", Gzip: true}, o)
			put(t, s, "a1", "b2")
			d := s.Drain(t.Context())
			if d.Sent != 0 || d.Waiting != 2 || !strings.Contains(d.Error, tt.reason) {
				t.Errorf("got %+v, want an error with %q", d, tt.reason)
			}
			if all := fmt.Sprintf("%+v", d); strings.Contains(all, "geheim") || strings.Contains(all, "secret") {
				t.Errorf("a query is told: %s", all)
			}
			if got := s.State(); got.Waiting != 2 || got.Error != d.Error || got.Oldest == nil {
				t.Errorf("state %+v", got)
			}
			c.set("")
			s = open(t, sink.Endpoint{URL: c.URL + "/in", Gzip: true}, options(dir)) // another run
			put(t, s, "c3")
			d = s.Drain(t.Context())
			if d.Sent != 3 || d.Waiting != 0 || d.Error != "" || d.LastSuccess == nil {
				t.Errorf("after the trouble: %+v", d)
			}
			if diff := cmp.Diff([]string{"a1", "b2", "c3"}, c.keys()); diff != "" {
				t.Error(diff)
			}
			if len(c.again) > 0 {
				t.Errorf("sent again after it was taken: %v", c.again)
			}
		})
	}
}

func TestRedirectWithin(t *testing.T) {
	c := newCollector(t, plain)
	c.set("307")
	s := open(t, sink.Endpoint{URL: c.URL}, options(t.TempDir()))
	put(t, s, "a1")
	if d := s.Drain(t.Context()); d.Sent != 1 {
		t.Errorf("got %+v", d)
	}
	if got := string(c.taken["a1"]); got != `{"run":"a1"}` {
		t.Errorf("got %q", got)
	}
}

func TestRetriesWithinARun(t *testing.T) {
	c := newCollector(t, plain)
	n := 0
	c.trouble = func(string) string { n++; return map[bool]string{true: "503"}[n < 3] }
	o := options(t.TempDir())
	o.Retries = 3
	s := open(t, sink.Endpoint{URL: c.URL}, o)
	put(t, s, "a1")
	if d := s.Drain(t.Context()); d.Sent != 1 || c.requests != 3 {
		t.Errorf("got %+v after %d requests", d, c.requests)
	}
}

func TestRefusedDoesNotHoldUpOthers(t *testing.T) {
	c := newCollector(t, plain)
	c.trouble = func(key string) string { return map[bool]string{true: "400"}[key == "a1"] }
	s := open(t, sink.Endpoint{URL: c.URL}, options(t.TempDir()))
	put(t, s, "a1", "b2")
	d := s.Drain(t.Context())
	if d.Sent != 1 || d.Waiting != 1 || d.Refused != 1 || !strings.Contains(d.Error, "400") {
		t.Errorf("got %+v", d)
	}
	c.set("")
	if d := s.Drain(t.Context()); d.Sent != 1 || d.Waiting != 0 || d.Refused != 0 {
		t.Errorf("got %+v", d)
	}
}

func TestBounds(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o := options(t.TempDir())
	o.Now = func() time.Time { return now }
	o.MaxAge = 48 * time.Hour
	ep := sink.Endpoint{URL: "http://127.0.0.1:1/"}
	s := open(t, ep, o)
	put(t, s, "aa", "bb")
	size := s.State().Bytes / 2
	o.MaxBytes = 3*size + size/2
	s = open(t, ep, o)
	put(t, s, "cc", "dd")
	if d := s.State(); d.Waiting != 3 || d.Dropped != 1 || d.Bytes > o.MaxBytes {
		t.Errorf("size: %+v", d)
	}
	now = now.Add(-time.Hour) // the clock is set back: the order stays
	put(t, s, "ee")
	now = now.Add(47 * time.Hour)
	s = open(t, ep, o)
	if d := s.Drain(t.Context()); d.Waiting != 3 || d.Dropped != 2 || d.Error == "" {
		t.Errorf("before the age: %+v", d)
	}
	now = now.Add(24 * time.Hour)
	if d := s.Drain(t.Context()); d.Waiting != 0 || d.Dropped != 5 {
		t.Errorf("age: %+v", d)
	}
	if err := s.Put("ff", make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := s.Put("../../x", nil); err == nil {
		t.Error("a run id that is a path")
	}
}

// A report that finds no room on the disk is sent all the same.
func TestWithoutSpool(t *testing.T) {
	c := newCollector(t, plain)
	o := options(t.TempDir())
	o.MaxBytes = 1
	s := open(t, sink.Endpoint{URL: c.URL}, o)
	if err := s.Put("a1", []byte("{}")); err == nil {
		t.Fatal("no error")
	}
	if d := s.Drain(t.Context()); d.Sent != 1 || d.Error != "" {
		t.Errorf("got %+v", d)
	}
}

func TestDamagedSpool(t *testing.T) {
	c := newCollector(t, plain)
	dir := t.TempDir()
	s := open(t, sink.Endpoint{URL: c.URL}, options(dir))
	put(t, s, "a1")
	for name, text := range map[string]string{"state.json": "{", "0000000000000000-20260301T000000Z-00.json.gz": "junk", "note": "mine", ".x.tmp": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, sink.Endpoint{URL: c.URL}, options(dir))
	put(t, s, "b2")
	s.Drain(t.Context())
	if diff := cmp.Diff([]string{"a1", "b2"}, c.keys()); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "note")); err != nil {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	c := newCollector(t, plain)
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(file)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, sink.Endpoint{URL: c.URL, TokenFile: file}, options(filepath.Join(dir, "spool")))
	put(t, s, "a1")
	for _, tt := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"geheim", 0o640, "has mode 0640: others may read it; chmod 600"},
		{"geheim", 0o604, "others may read it"},
		{"", 0o600, "does not hold one token"},
		{"geheim\r\nX-Evil: 1", 0o600, "does not hold one token"},
		{strings.Repeat("x", 70<<10), 0o600, "is too large"},
	} {
		write(tt.text, tt.mode)
		if d := s.Drain(t.Context()); d.Sent != 0 || !strings.Contains(d.Error, tt.want) || strings.Contains(d.Error, "geheim") {
			t.Errorf("%o %.20q: %+v", tt.mode, tt.text, d)
		}
	}
	if c.requests > 0 {
		t.Error("sent without a good token")
	}
	write("geheim\n", 0o600)
	if d := s.Drain(t.Context()); d.Sent != 1 || c.tokens["Bearer geheim"] != 1 {
		t.Errorf("got %+v, %v", d, c.tokens)
	}
}

// certificate makes a self-signed one, in cert.pem and key.pem of dir.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "host"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kder}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	data, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	c := newCollector(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		s.StartTLS()
	})
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	spool := options(filepath.Join(dir, "spool"))
	s := open(t, sink.Endpoint{URL: c.URL, CACert: ca}, spool)
	put(t, s, "a1")
	if d := s.Drain(t.Context()); d.Sent != 0 || !strings.Contains(d.Error, "certificate") {
		t.Errorf("without a certificate: %+v", d)
	}
	s = open(t, sink.Endpoint{URL: c.URL, ClientCert: cert, ClientKey: key}, spool)
	if d := s.Drain(t.Context()); d.Sent != 0 || !strings.Contains(d.Error, "unknown authority") {
		t.Errorf("server of an unknown authority: %+v", d)
	}
	s = open(t, sink.Endpoint{URL: c.URL, CACert: ca, ClientCert: cert, ClientKey: key}, spool)
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if d := s.Drain(t.Context()); d.Sent != 0 || !strings.Contains(d.Error, "others may read it") {
		t.Errorf("an open key: %+v", d)
	}
	if err := os.Chmod(key, 0o400); err != nil {
		t.Fatal(err)
	}
	if d := s.Drain(t.Context()); d.Sent != 1 || d.Error != "" {
		t.Errorf("got %+v", d)
	}
}

// A thousand hosts, three reports each, and a collector that fails in every
// way it can: each report arrives once, unchanged, in its host's order.
func TestThousandAgents(t *testing.T) {
	const agents, reports = 1000, 3
	c := newCollector(t, plain)
	// a third of all requests is taken and answered at once
	some := troubles(7, "", "", "", "", "", "", "503", "503", "503", "cut-before", "cut-after", "cut-answer", "302", "307", "409", "500", "404")
	asked := 0
	c.trouble = func(key string) string {
		if asked++; asked%500 == 0 {
			return "hang" // rarely: each costs a whole timeout
		}
		return some(key)
	}
	dir := t.TempDir()
	body := func(a, n int) string {
		return fmt.Sprintf(`{"host":"h%d","n":%d,"pad":"%s"}`, a, n, strings.Repeat("x", 2000+a))
	}
	id := func(a, n int) string { return fmt.Sprintf("%08x-%04x", a, n) }
	var rounds int
	work := make(chan func())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	var mu sync.Mutex
	last := make([]report.Delivery, agents)
	for rounds = 0; rounds < 60; rounds++ {
		if rounds == 20 {
			c.set("") // the collector is repaired
		}
		var round sync.WaitGroup
		left := 0
		for a := range agents {
			mu.Lock()
			done := rounds >= reports && last[a].Waiting == 0
			mu.Unlock()
			if done {
				continue
			}
			left++
			round.Add(1)
			work <- func() {
				defer round.Done()
				o := options(filepath.Join(dir, fmt.Sprint(a)))
				o.Timeout, o.Retries = 5*time.Second, 1
				s, err := sink.Open(sink.Endpoint{Name: "fleet", URL: c.URL, Gzip: a%3 != 0}, o)
				if err == nil && rounds < reports {
					err = s.Put(id(a, rounds), []byte(body(a, rounds)))
				}
				if err != nil {
					t.Error(err)
					return
				}
				d := s.Drain(context.Background())
				mu.Lock()
				last[a] = d
				mu.Unlock()
			}
		}
		round.Wait()
		if left == 0 {
			break
		}
	}
	close(work)
	wg.Wait()
	if len(c.order) != agents*reports {
		t.Errorf("%d reports arrived, want %d", len(c.order), agents*reports)
	}
	next := make([]int, agents)
	for _, key := range c.order {
		var a, n int
		if _, err := fmt.Sscanf(key, "%08x-%04x", &a, &n); err != nil || next[a] != n || string(c.taken[key]) != body(a, n) {
			t.Fatalf("report %s: out of order (want number %d) or changed", key, next[a])
		}
		next[a]++
	}
	if len(c.again) > 0 {
		t.Errorf("%d reports were sent again although their endpoint had answered, e.g. %s", len(c.again), c.again[0])
	}
	t.Logf("%d reports in %d requests and %d runs of each host", len(c.order), c.requests, rounds)
}
