package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/klauspost/compress/gzip"

	"github.com/almamigrate/almamigrate/agent/report"
)

// What callers test.
var (
	ErrSecretOpen = errors.New("others may read it") // a secret's file is not its owner's alone
	ErrRefused    = errors.New("refused")            // the endpoint will not have this report
	ErrDown       = errors.New("not taken")          // the endpoint did not take a report; a later run tries again
)

const (
	maxSecret   = 64 << 10
	maxAnswer   = 64 << 10
	maxUnpacked = 256 << 20
)

// Drain sends what waits, in order, until all is sent, the endpoint fails, or
// the deadline is over. A report that is refused for what it is (400, 413, 415,
// 422) stays, is tried again by later runs, and does not hold up the others.
func (s *Sink) Drain(ctx context.Context) report.Delivery {
	if s.opt.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.opt.Deadline)
		defer cancel()
	}
	sent, err := s.drain(ctx)
	s.state.Error = ""
	if err != nil {
		s.state.Error = err.Error()
	}
	if serr := s.save(); err == nil && serr != nil {
		s.state.Error = serr.Error()
	}
	d := s.State()
	d.Sent = sent
	return d
}

func (s *Sink) drain(ctx context.Context) (sent int, err error) {
	waiting, err := s.items()
	if err != nil && s.loose == nil {
		return 0, err
	}
	waiting = s.trim(waiting, 0)
	if s.loose != nil {
		waiting = append(waiting, *s.loose)
	}
	if len(waiting) == 0 {
		return 0, nil
	}
	c, err := s.client()
	if err != nil {
		return 0, err
	}
	defer c.HTTPClient.CloseIdleConnections()
	token, err := s.token()
	if err != nil {
		return 0, err
	}
	var refused []string
	var refusal error
	for _, it := range waiting {
		file := filepath.Join(s.opt.Dir, it.name)
		body := it.body
		if body == nil {
			if body, err = os.ReadFile(file); err != nil {
				return sent, fmt.Errorf("cannot read a report of the spool: %w", err)
			}
		}
		err := s.post(ctx, c, token, it.runID, body)
		if errors.Is(err, ErrRefused) {
			refused, refusal = append(refused, it.name), err
			continue
		}
		if err != nil {
			// the refused ones of before are still refused
			s.state.Refused = append(refused, slices.DeleteFunc(s.state.Refused, func(n string) bool { return slices.Contains(refused, n) })...)
			return sent, err
		}
		sent++
		now := s.opt.Now().UTC().Truncate(time.Second)
		s.state.LastSuccess = &now
		if it.name == "" || it.body != nil {
			s.loose = nil
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sent, fmt.Errorf("cannot remove a sent report from the spool: %w", err)
		}
	}
	s.state.Refused = refused
	return sent, refusal
}

// post sends one report.
func (s *Sink) post(ctx context.Context, c *retryablehttp.Client, token, runID string, packed []byte) error {
	body := packed
	if !s.ep.Gzip {
		var err error
		if body, err = unpack(packed); err != nil {
			// the file is damaged: nobody will ever take it
			return fmt.Errorf("cannot unpack a report of the spool: %w: %w", err, ErrRefused)
		}
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, s.ep.URL, body)
	if err != nil {
		return fmt.Errorf("cannot send to %s: %w", shown(s.ep.URL), bare(err))
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", s.opt.UserAgent)
	h.Set("Idempotency-Key", strconv.Quote(runID)) // a string of structured fields, as the IETF's draft has it
	if s.ep.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if resp != nil {
		defer resp.Body.Close()
	}
	switch {
	case err != nil:
		return fmt.Errorf("cannot send to %s: %w: %w", shown(s.ep.URL), bare(err), ErrDown)
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("cannot send to %s: it redirects to %s; correct url: %w", shown(s.ep.URL), shown(resp.Header.Get("Location")), ErrDown)
	}
	err = fmt.Errorf("cannot send to %s: it answers %d %s", shown(s.ep.URL), resp.StatusCode, http.StatusText(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return fmt.Errorf("%w: %w", err, ErrDown)
}

// client makes the client for one Drain: certificates are read anew, since
// they are replaced while the host runs.
func (s *Sink) client() (*retryablehttp.Client, error) {
	tlsConf := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ep.CACert != "" {
		pem, err := os.ReadFile(s.ep.CACert)
		if err != nil {
			return nil, fmt.Errorf("cannot read ca_cert: %w", err)
		}
		tlsConf.RootCAs = x509.NewCertPool()
		if !tlsConf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use ca_cert %s: no certificate in it", s.ep.CACert)
		}
	}
	if s.ep.ClientCert != "" {
		cert, err := os.ReadFile(s.ep.ClientCert)
		if err != nil {
			return nil, fmt.Errorf("cannot read client_cert: %w", err)
		}
		key, err := readSecret(s.ep.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("cannot use client_key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cannot use client_cert %s with client_key %s: %w", s.ep.ClientCert, s.ep.ClientKey, err)
		}
		tlsConf.Certificates = []tls.Certificate{pair}
	}
	proxy := http.ProxyFromEnvironment
	if s.ep.Proxy != "" {
		u, err := url.Parse(s.ep.Proxy)
		if err != nil {
			return nil, fmt.Errorf("cannot use the proxy of endpoint %s: not a URL", s.ep.Name)
		}
		proxy = http.ProxyURL(u)
	}
	tr := &http.Transport{
		Proxy: proxy, TLSClientConfig: tlsConf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1,
		DialContext: (&net.Dialer{Timeout: s.opt.Timeout}).DialContext, TLSHandshakeTimeout: s.opt.Timeout,
	}
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: tr, Timeout: s.opt.Timeout, CheckRedirect: checkRedirect},
		RetryWaitMin: s.opt.RetryWaitMin, RetryWaitMax: s.opt.RetryWaitMax, RetryMax: s.opt.Retries,
		CheckRetry: s.checkRetry, Backoff: s.backoff, ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}, nil
}

// checkRedirect follows within one server and where the method stays (307,
// 308). Elsewhere the answer itself is the result: after a 302 the report would
// turn into a GET, whose 200 says nothing, and another server has no right to
// the token or the report.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.Method != http.MethodPost || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

func (s *Sink) checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		var cert *tls.CertificateVerificationError
		var rec tls.RecordHeaderError
		return !errors.As(err, &cert) && !errors.As(err, &rec), nil
	}
	switch code := resp.StatusCode; {
	case code/100 == 2:
		// only a whole answer says that the report was taken
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(text))
		if err != nil {
			return true, fmt.Errorf("the answer was cut: %w", err)
		}
		return false, nil
	case code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code >= 500 && code != http.StatusNotImplemented:
		return retryAfter(resp.Header, s.opt.Now()) <= s.opt.RetryWaitMax, nil
	}
	return false, nil
}

// backoff doubles the wait and takes a random half of it off, so that a
// thousand hosts do not come back at once.
func (s *Sink) backoff(lo, hi time.Duration, attempt int, resp *http.Response) time.Duration {
	wait := min(lo<<min(attempt, 20), hi)
	wait -= time.Duration(rand.Int64N(int64(wait)/2 + 1)) //nolint:gosec // spreads load, hides nothing
	if resp != nil {
		wait = max(wait, min(retryAfter(resp.Header, s.opt.Now()), hi))
	}
	return wait
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), 1<<30)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

func (s *Sink) token() (string, error) {
	if s.ep.TokenFile == "" {
		return "", nil
	}
	data, err := readSecret(s.ep.TokenFile)
	if err != nil {
		return "", fmt.Errorf("cannot use token_file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	// RFC 6750, section 2.1: visible ASCII; the token itself stays out of the message
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("cannot use token_file %s: it does not hold one token", s.ep.TokenFile)
	}
	return token, nil
}

// readSecret reads a file that is root's or ours and that nobody else may read.
func readSecret(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: %w; chmod 600 %s", name, perm, ErrSecretOpen, name)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to user %d: %w; chown root %s", name, st.Uid, ErrSecretOpen, name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("%s is too large", name)
	}
	return data, nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err == nil && len(data) > maxUnpacked {
		err = errors.New("too large")
	}
	return data, err
}

// shown is a URL as it may stand in messages: a query or a user may be secret.
func shown(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "an address that is not a URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// bare takes the URL out of an error of net/http.
func bare(err error) error {
	for {
		var ue *url.Error
		if !errors.As(err, &ue) {
			return err
		}
		err = ue.Err
	}
}
