package reposync_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/google/go-cmp/cmp"
)

// authority is a small certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string // file
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pem: filepath.Join(t.TempDir(), "ca.pem")}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.pem, "CERTIFICATE", der)
	return a
}

func writePEM(t *testing.T, name, typ string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue returns a certificate for 127.0.0.1 or another name, and its two files.
func (a *authority) issue(t *testing.T, host string, until time.Time) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-2 * time.Hour),
		NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "EC PRIVATE KEY", keyDER)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certFile, keyFile
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	good, clientCert, clientKey := ca.issue(t, "127.0.0.1", hour)
	expired, _, _ := ca.issue(t, "127.0.0.1", time.Now().Add(-time.Hour))
	foreign, _, _ := ca.issue(t, "other.example", hour)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	serve := func(cert tls.Certificate, client bool) *mirror {
		return newTLSMirror(t, makeRepo(repoSpec{revision: 1}), func(s *httptest.Server) {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			if client {
				s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
			}
			s.StartTLS()
		})
	}
	plain := newMirror(t, nil)
	for _, tc := range []struct {
		name string
		url  string
		repo reposync.Repo
		want string // part of the error; empty: none
	}{
		{"unknown authority", serve(good, false).URL, reposync.Repo{}, "sslcacert"},
		{"sslcacert", serve(good, false).URL, reposync.Repo{SSLCACert: ca.pem}, ""},
		{"expired", serve(expired, false).URL, reposync.Repo{SSLCACert: ca.pem}, "clock"},
		{"another host's", serve(foreign, false).URL, reposync.Repo{SSLCACert: ca.pem}, "another host's"},
		{"sslverify=false", serve(foreign, false).URL, reposync.Repo{SSLNoVerify: true}, ""},
		{"no client certificate", serve(good, true).URL, reposync.Repo{SSLCACert: ca.pem}, "sslclientcert"},
		{"client certificate", serve(good, true).URL, reposync.Repo{SSLCACert: ca.pem, SSLClientCert: clientCert, SSLClientKey: clientKey}, ""},
		{"no TLS there", strings.Replace(plain.URL, "http:", "https:", 1), reposync.Repo{SSLCACert: ca.pem}, "http port"},
		{"no such file", plain.URL, reposync.Repo{SSLCACert: "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"},
		{"no certificate in it", plain.URL, reposync.Repo{SSLCACert: clientKey}, "no certificate in it"},
		{"client key missing", plain.URL, reposync.Repo{SSLClientCert: clientCert}, clientCert},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.repo.ID, tc.repo.BaseURLs = "r", []string{tc.url}
			var ev events
			got, err := newSyncer(t, reposync.Options{Progress: ev.add}).Sync(t.Context(), tc.repo)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				got.Close()
				return
			}
			if !errors.Is(err, reposync.ErrTLS) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want ErrTLS with %q", err, tc.want)
			}
			if n := len(ev.kind(reposync.EventRetry)); n > 0 {
				t.Errorf("%d retries of what cannot get better", n)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	target := newMirror(t, tr)
	ca := newAuthority(t)
	cert, _, _ := ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	secure := newTLSMirror(t, nil, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
	})
	open := newMirror(t, nil)
	to := func(dest string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, dest+r.URL.Path, http.StatusFound)
			return true
		}
	}
	sync := func(m *mirror, dest string) error {
		m.onRequest(to(dest))
		got, err := newSyncer(t, reposync.Options{Retries: 2}).Sync(t.Context(), reposync.Repo{ID: "r", SSLCACert: ca.pem,
			BaseURLs: []string{m.URL}, Username: "user", Password: "secret"})
		if got != nil {
			got.Close()
		}
		return err
	}
	if err := sync(open, target.URL); err != nil {
		t.Errorf("http to http: %v", err)
	}
	// Ports differ, hosts do not, so net/http passes the credentials on; another name must not get them.
	target.requests()
	if err := sync(open, strings.Replace(target.URL, "127.0.0.1", "localhost", 1)); err != nil {
		t.Errorf("http to another name: %v", err)
	}
	if last := target.reqs[len(target.reqs)-1]; last.Header.Get("Authorization") != "" || last.Referer() != "" {
		t.Errorf("the other host was told: %v", last.Header)
	}
	if err := sync(secure, target.URL); !errors.Is(err, reposync.ErrTLS) || !strings.Contains(err.Error(), "redirects from https to plain http") {
		t.Errorf("https to http: %v", err)
	}
	if n := len(secure.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	if err := sync(open, open.URL); !errors.Is(err, reposync.ErrUnreachable) || !strings.Contains(err.Error(), "circle") {
		t.Errorf("loop: %v", err)
	}
	if n := len(open.requests()); n > 10+2 {
		t.Errorf("loop: %d requests", n)
	}
	if err := sync(open, "file:///etc"); !errors.Is(err, reposync.ErrUnreachable) {
		t.Errorf("http to file: %v", err)
	}
}

// proxy is a small forward proxy; it speaks CONNECT, too. Names ending in .test lead to the mirror.
type proxy struct {
	*httptest.Server
	mu   sync.Mutex
	log  []string
	auth string // what Proxy-Authorization must be; empty: nothing
	dest string // host:port that .test names stand for
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.log = append(p.log, r.Method+" "+r.Host)
	auth, dest := p.auth, p.dest
	p.mu.Unlock()
	if auth != "" && r.Header.Get("Proxy-Authorization") != auth {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	host := r.Host
	if name, _, _ := strings.Cut(host, ":"); strings.HasSuffix(name, ".test") {
		host = dest
	}
	if r.Method == http.MethodConnect {
		up, err := net.Dial("tcp", host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			up.Close()
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, down); up.Close() }()
		_, _ = io.Copy(down, up)
		down.Close()
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Host = host
	out.Header.Del("Proxy-Authorization")
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func (p *proxy) set(auth, dest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.auth, p.dest = auth, dest
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.log
	p.log = nil
	return out
}

func TestProxy(t *testing.T) {
	ca := newAuthority(t)
	cert, _, _ := ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	tr := makeRepo(repoSpec{revision: 1})
	open := newMirror(t, tr)
	secure := newTLSMirror(t, tr, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
	})
	p := newProxy(t)
	host := func(raw string) string { u, _ := url.Parse(raw); return u.Host }
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("pu:p:w"))
	for _, tc := range []struct {
		name string
		auth string
		opt  reposync.Options
		repo reposync.Repo
		want []string
		err  error
		text string
	}{
		{name: "http", repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: p.URL}, want: []string{"GET " + host(open.URL), "GET " + host(open.URL)}},
		{name: "https", repo: reposync.Repo{BaseURLs: []string{secure.URL}, Proxy: p.URL}, want: []string{"CONNECT " + host(secure.URL)}},
		{name: "of the options, without a scheme", opt: reposync.Options{Proxy: host(p.URL), ProxyUsername: "pu", ProxyPassword: "p:w"}, auth: basic,
			repo: reposync.Repo{BaseURLs: []string{secure.URL}}, want: []string{"CONNECT " + host(secure.URL)}},
		{name: "none for this repository", opt: reposync.Options{Proxy: p.URL}, repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: reposync.NoProxy}},
		{name: "credentials in the URL", auth: basic, repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: "http://pu:p%3Aw@" + host(p.URL)},
			want: []string{"GET " + host(open.URL), "GET " + host(open.URL)}},
		{name: "407 for http", auth: basic, repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: p.URL, ProxyUsername: "pu", ProxyPassword: "wrong-one"},
			want: []string{"GET " + host(open.URL)}, err: reposync.ErrUnreachable, text: "the proxy wants"},
		{name: "407 for https", auth: basic, repo: reposync.Repo{BaseURLs: []string{secure.URL}, Proxy: p.URL},
			want: []string{"CONNECT " + host(secure.URL)}, err: reposync.ErrUnreachable, text: "Proxy Authentication Required"},
		{name: "bad scheme", repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: "gopher://u:wrong-one@x"}, err: reposync.ErrConfig, text: "gopher://x"},
		{name: "bad URL", repo: reposync.Repo{BaseURLs: []string{open.URL}, Proxy: "http://u:wrong-one@x:y:z/"}, err: reposync.ErrConfig, text: "cannot use proxy http://x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.set(tc.auth, "")
			p.requests()
			tc.repo.ID, tc.repo.SSLCACert = "r", ca.pem
			tc.opt.Retries = -1
			got, err := newSyncer(t, tc.opt).Sync(t.Context(), tc.repo)
			if got != nil {
				got.Close()
			}
			if !errors.Is(err, tc.err) || err != nil && (!strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "wrong-one")) {
				t.Errorf("error %v, want %v with %q", err, tc.err, tc.text)
			}
			if d := cmp.Diff(tc.want, p.requests()); d != "" {
				t.Errorf("the proxy saw (-want +got):\n%s", d)
			}
		})
	}
}

// TestProxyOfEnvironment needs a process of its own: net/http reads the environment once.
func TestProxyOfEnvironment(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 7}))
	p := newProxy(t)
	p.set("", strings.TrimPrefix(m.URL, "http://"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=sync", "CHILD_URL=http://repo.test/", "CHILD_CACHE="+t.TempDir(), "http_proxy="+p.URL, "no_proxy=")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "revision 7\n" {
		t.Fatalf("child: %v: %s", err, out)
	}
	if d := cmp.Diff([]string{"GET repo.test", "GET repo.test"}, p.requests()); d != "" {
		t.Errorf("the proxy saw (-want +got):\n%s", d)
	}
}

// TestNoCredentialsShown looks for a password everywhere it must not be.
func TestNoCredentialsShown(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if u, pw, _ := r.BasicAuth(); u != "admin" || pw != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	withUser := strings.Replace(m.URL, "http://", "http://admin:hunter2@", 1)
	dir := t.TempDir()
	var ev events
	opt := reposync.Options{CacheDir: dir, Progress: ev.add, Retries: 1}
	s := newSyncer(t, opt)
	got := mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{withUser + "/"}})
	var texts []string
	texts = append(texts, got.BaseURL)
	texts = append(texts, got.Warnings...)
	again := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), reposync.Repo{ID: "r", BaseURLs: []string{withUser + "/"}})
	if p, err := again.Index.Package(0); err != nil {
		t.Error(err)
	} else if err := s.FetchPackage(t.Context(), again, p, filepath.Join(t.TempDir(), "p.rpm")); err != nil {
		t.Error(err)
	}
	// The settings serve as well as the URL.
	mustSync(t, newSyncer(t, reposync.Options{}), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}, Username: "admin", Password: "hunter2"})
	if _, err := newSyncer(t, opt).Sync(t.Context(), reposync.Repo{ID: "x", BaseURLs: []string{m.URL}}); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("without credentials: %v", err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			texts = append(texts, path, string(b))
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	for _, raw := range []string{withUser, withUser + "/%zz", "http://admin:hunter2@bad host/", "ftp://admin:hunter2@x/", withUser + "?token=hunter2",
		"http://admin:hunter2@x:port/", "//admin:hunter2@x"} {
		_, err := newSyncer(t, opt).Sync(t.Context(), reposync.Repo{ID: "y", BaseURLs: []string{raw}})
		if err == nil {
			t.Errorf("%s could be synced", raw)
			continue
		}
		texts = append(texts, err.Error())
		_, err = newSyncer(t, opt).Sync(t.Context(), reposync.Repo{ID: "z", Mirrorlist: raw})
		texts = append(texts, err.Error())
	}
	for _, e := range ev.list {
		texts = append(texts, e.URL, e.Detail)
		if e.Err != nil {
			texts = append(texts, e.Err.Error())
		}
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "admin") {
			t.Errorf("shown: %.300q", text)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://u:p@h/x":                   "https://h/x",
		"https://h/list?repo=a&arch=x#frag": "https://h/list?repo=a&arch=x",
		"https://h/list?token=s&repo=a":     "https://h/list?token=...&repo=a",
		"http://u:p@h:bad/x?t=s":            "http://h:bad/x",
		"http://u:p@q@h:bad/x":              "http://h:bad/x",
		"file:///a/b":                       "file:///a/b",
	} {
		if got := reposync.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}
