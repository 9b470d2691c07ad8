package reposync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// connKey is everything that forbids two repositories to share connections.
type connKey struct {
	ca, cert, key         string
	noVerify              bool
	proxy, proxyUser, pwd string
}

// conn is an HTTP client for one set of TLS and proxy settings.
type conn struct{ http *http.Client }

// errRedirect is returned by CheckRedirect; never worth another attempt.
var (
	errDowngrade     = fmt.Errorf("refused: the server redirects from https to plain http: %w", ErrTLS)
	errRedirectLoop  = fmt.Errorf("the server redirects in a circle, or too often: %w", ErrUnreachable)
	errRedirectOther = fmt.Errorf("refused: the server redirects to something other than http and https: %w", ErrUnreachable)
)

const maxRedirects = 8

// conn returns the client for a repository, shared with others of the same settings.
func (s *Syncer) conn(r Repo) (*conn, error) {
	key := connKey{r.SSLCACert, r.SSLClientCert, r.SSLClientKey, r.SSLNoVerify, r.Proxy, r.ProxyUsername, r.ProxyPassword}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.conns[key]; ok {
		return c, nil
	}
	tlsConf, err := tlsConfig(r)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFunc(r)
	if err != nil {
		return nil, err
	}
	tr := &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: s.opt.Timeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       tlsConf,
		TLSHandshakeTimeout:   s.opt.Timeout,
		ResponseHeaderTimeout: s.opt.Timeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   s.opt.ConnsPerHost,
		MaxIdleConns:          32,
		// Digests and sizes are those of the files as they lie on the server.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 256 << 10,
	}
	c := &conn{http: &http.Client{
		Transport:     &guard{next: tr, timeout: s.opt.Timeout, minRate: s.opt.MinRate},
		CheckRedirect: checkRedirect,
	}}
	s.conns[key] = c
	return c, nil
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return errRedirectOther
	}
	for _, v := range via {
		if v.URL.Scheme == "https" && req.URL.Scheme == "http" {
			return errDowngrade
		}
	}
	if len(via) >= maxRedirects {
		return errRedirectLoop
	}
	// net/http repeats our URL with its credentials here.
	req.Header.Del("Referer")
	return nil
}

func tlsConfig(r Repo) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.SSLNoVerify}
	if r.SSLCACert != "" {
		pem, err := os.ReadFile(r.SSLCACert)
		if err != nil {
			return nil, fmt.Errorf("cannot read sslcacert: %w: %w", err, ErrTLS)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use sslcacert %s: no certificate in it: %w", r.SSLCACert, ErrTLS)
		}
	}
	if r.SSLClientCert != "" {
		key := r.SSLClientKey
		if key == "" {
			key = r.SSLClientCert
		}
		cert, err := tls.LoadX509KeyPair(r.SSLClientCert, key)
		if err != nil {
			return nil, fmt.Errorf("cannot use client certificate %s with key %s: %w: %w", r.SSLClientCert, key, err, ErrTLS)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

func proxyFunc(r Repo) (func(*http.Request) (*url.URL, error), error) {
	switch r.Proxy {
	case NoProxy, "none":
		return nil, nil
	case "":
		return func(req *http.Request) (*url.URL, error) {
			u, err := http.ProxyFromEnvironment(req)
			if err != nil { // it repeats the value, with the password in it
				return nil, fmt.Errorf("http_proxy or https_proxy in the environment is no URL: %w", ErrConfig)
			}
			return u, nil
		}, nil
	}
	raw := r.Proxy
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("cannot use proxy %s: %w: %w", Redact(raw), err, ErrConfig)
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, fmt.Errorf("cannot use proxy %s: only http, https and socks5 are known: %w", Redact(raw), ErrConfig)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("cannot use proxy %s: no host: %w", Redact(raw), ErrConfig)
	}
	if r.ProxyUsername != "" {
		u.User = url.UserPassword(r.ProxyUsername, r.ProxyPassword)
	}
	return http.ProxyURL(u), nil
}

// hostSlots bounds the requests in flight to one host, over all repositories and settings.
type hostSlots struct {
	mu    sync.Mutex
	n     int
	slots map[string]chan struct{}
}

func (h *hostSlots) acquire(ctx context.Context, host string) (release func(), err error) {
	h.mu.Lock()
	ch, ok := h.slots[host]
	if !ok {
		ch = make(chan struct{}, h.n)
		h.slots[host] = ch
	}
	h.mu.Unlock()
	select {
	case ch <- struct{}{}:
		return sync.OnceFunc(func() { <-ch }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// effort is how much is tried with one mirror.
type effort struct {
	retries int  // further attempts
	hurry   bool // there are other mirrors: go to them rather than wait for long
}

// effort for mirror i of n.
func (o Options) effort(i, n int) effort {
	if i+1 < n {
		return effort{retries: min(o.Retries, 1), hurry: true}
	}
	return effort{retries: o.Retries}
}

// retrying returns a client that makes further attempts where the answer, or its absence, suggests it. A body that breaks
// is not its business: see download.
func (s *Syncer) retrying(c *conn, repo, shown string, e effort) *retryablehttp.Client {
	longest := s.opt.RetryAfterMax
	if e.hurry {
		longest = min(longest, s.opt.RetryWaitMax)
	}
	rc := &retryablehttp.Client{
		HTTPClient:   c.http,
		RetryWaitMin: s.opt.RetryWaitMin,
		RetryWaitMax: s.opt.RetryWaitMax,
		RetryMax:     e.retries,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	rc.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		switch {
		case ctx.Err() != nil:
			return false, nil // the error at hand says more
		case err != nil:
			return transient(err), nil
		case !worthRetry(resp.StatusCode):
			return false, nil
		}
		return retryAfter(resp.Header) <= longest, nil
	}
	rc.Backoff = func(lo, hi time.Duration, attempt int, resp *http.Response) time.Duration {
		wait := min(retryablehttp.RateLimitLinearJitterBackoff(lo, hi, attempt, resp), s.opt.RetryAfterMax) // not less: jitter may exceed RetryWaitMax
		wait = max(wait, 0)                                                                                 // a Retry-After of centuries overflows in there
		ev := Event{Kind: EventRetry, Repo: repo, URL: shown, Wait: wait}
		if resp != nil {
			ev.Err = &statusError{code: resp.StatusCode}
		}
		s.event(ev)
		return wait
	}
	return rc
}

func worthRetry(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date; 0 where there is none.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		const century = 100 * 365 * 24 * 3600
		return time.Duration(min(max(n, 0), century)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// transient tells whether another attempt may help.
func transient(err error) bool {
	err = classify(err)
	if errors.Is(err, ErrConfig) || errors.Is(err, ErrTLS) || errors.Is(err, errRedirectLoop) || errors.Is(err, errRedirectOther) {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false
	}
	var st *statusError
	if errors.As(err, &st) {
		return worthRetry(st.code)
	}
	return true
}

// classify files an error of net/http under a sentinel and takes the URL off it, which may hold credentials.
func classify(err error) error {
	var ue *url.Error
	for errors.As(err, &ue) {
		err = ue.Err
	}
	for _, known := range []error{ErrConfig, ErrTLS, ErrUnreachable, ErrNotFound, ErrTooLarge, ErrMetadata} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, errDeadline) {
		return err
	}
	if hint := tlsHint(err); hint != "" {
		return fmt.Errorf("%w (%s): %w", err, hint, ErrTLS)
	}
	return fmt.Errorf("%w: %w", err, ErrUnreachable)
}

// tlsHint says what to do about a TLS error; "" if it is none.
func tlsHint(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		roots   x509.SystemRootsError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return "signed by an authority that this host does not trust; an own mirror's or a TLS-inspecting proxy's can be named by sslcacert"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired or not yet valid: is this host's clock right?"
	case errors.As(err, &host):
		return "the certificate is another host's: portal or proxy in between?"
	case errors.As(err, &roots):
		return "this host has no certificate authorities: is ca-certificates installed?"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "the certificate is not usable"
	case errors.As(err, &record):
		return "the answer is no TLS: is this an http port?"
	case errors.As(err, &alert):
		return alertHint(alert.Error())
	case errors.As(err, &op) && op.Op == "remote error", strings.Contains(err.Error(), "remote error: tls:"):
		return alertHint(err.Error())
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the answer is no TLS: is this an http port?"
	case strings.HasPrefix(err.Error(), "tls: "):
		return "no TLS version or cipher in common"
	}
	return ""
}

func alertHint(text string) string {
	if strings.Contains(text, "certificate") || strings.Contains(text, "unknown authority") || strings.Contains(text, "access denied") {
		return "the server wants another client certificate, or one at all: sslclientcert, sslclientkey"
	}
	return "refused by the server"
}
