package reposync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// validators are what a conditional request rests on (RFC 9110, section 8.8).
type validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

func (v validators) empty() bool { return v.ETag == "" && v.LastModified == "" }

// strong returns what may stand in If-Range: weak tags must not (section 13.1.5).
func (v validators) strong() string {
	if v.ETag != "" && !bytes.HasPrefix([]byte(v.ETag), []byte("W/")) {
		return v.ETag
	}
	return ""
}

// request is one file asked of one mirror.
type request struct {
	url     *url.URL
	from    int64      // resume at this byte
	ifRange string     // only if it is still this version
	known   validators // answer 304 if it is still this version
	bust    bool       // past all caches between here and the mirror
	effort
}

// session is the work on one repository: its settings, its connections and its deadline.
type session struct {
	s    *Syncer
	repo Repo
	conn *conn

	clock clock
}

// clock is how far this machine's clock is ahead of a mirror's.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
	known bool
}

// note compares the clock with the Date of an answer. One that a cache kept
// (RFC 9111, section 5.1) tells when it was kept.
func (c *clock) note(h http.Header, now time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if age := h.Get("Age"); err != nil || age != "" && age != "0" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead, c.known = now.Sub(date).Round(time.Second), true
}

// do sends a request; an answer other than 200, 206, 304 or 416 is a statusError. The body must be closed.
func (ss *session) do(ctx context.Context, r request) (*http.Response, error) {
	release, err := ss.s.slots.acquire(ctx, r.url.Host)
	if err != nil {
		return nil, err
	}
	u := *r.url
	u.User = nil
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		release()
		return nil, classify(err)
	}
	user := r.url.User
	if user == nil && ss.repo.Username != "" {
		user = url.UserPassword(ss.repo.Username, ss.repo.Password)
	}
	if user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	req.Header.Set("User-Agent", ss.s.opt.UserAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	if r.from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.from))
		if r.ifRange != "" {
			req.Header.Set("If-Range", r.ifRange)
		}
	}
	if r.bust {
		req.Header.Set("Cache-Control", "no-cache")
		req.Header.Set("Pragma", "no-cache")
	} else {
		if r.known.ETag != "" {
			req.Header.Set("If-None-Match", r.known.ETag)
		}
		if r.known.LastModified != "" {
			req.Header.Set("If-Modified-Since", r.known.LastModified)
		}
	}
	resp, err := ss.s.retrying(ss.conn, ss.repo.ID, redactURL(r.url), r.effort).Do(req)
	if err != nil {
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		release()
		return nil, ctxError(ctx, err)
	}
	ss.clock.note(resp.Header, ss.s.opt.Now())
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		resp.Body = &releasing{resp.Body, release}
		return resp, nil
	}
	after := retryAfter(resp.Header)
	resp.Body.Close()
	release()
	return nil, &statusError{code: resp.StatusCode, retryAfter: after}
}

// ctxError prefers why the context ended over what the end of it broke.
func ctxError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return classify(err)
}

type releasing struct {
	io.ReadCloser
	release func()
}

func (r *releasing) Close() error {
	err := r.ReadCloser.Close()
	r.release()
	return err
}

// small is a small file held in memory.
type small struct {
	data        []byte
	validators  validators
	notModified bool
}

// getSmall reads a file of at most limit bytes, as often as the options allow where the body breaks.
func (ss *session) getSmall(ctx context.Context, r request, limit int64) (*small, error) {
	if r.url.Scheme == "file" {
		data, err := readLocal(r.url.Path, limit)
		return &small{data: data}, err
	}
	for attempt := 0; ; attempt++ {
		got, err := ss.getOnce(ctx, r, limit)
		if err == nil || attempt >= r.retries || !errors.Is(err, errBroken) {
			return got, err
		}
		if err := ss.pause(ctx, attempt, r.url, err); err != nil {
			return nil, err
		}
	}
}

// errBroken marks a body that ended too early or stalled: worth another attempt.
var errBroken = errors.New("the transfer broke")

func (ss *session) getOnce(ctx context.Context, r request, limit int64) (*small, error) {
	resp, err := ss.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotModified:
		if r.known.empty() || r.bust {
			return nil, fmt.Errorf("answer 304 to an unconditional request: %w", ErrUnreachable)
		}
		return &small{notModified: true, validators: r.known}, nil
	case http.StatusOK:
	default:
		return nil, &statusError{code: resp.StatusCode}
	}
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%d bytes announced, at most %d expected: %w", resp.ContentLength, limit, ErrTooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, ctxError(ctx, err))
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
	}
	return &small{data: data, validators: validatorsOf(resp.Header)}, nil
}

func validatorsOf(h http.Header) validators {
	v := validators{ETag: h.Get("ETag"), LastModified: h.Get("Last-Modified")}
	if len(v.ETag) > 512 || len(v.LastModified) > 128 {
		return validators{}
	}
	return v
}

// pause waits before the next attempt on a broken body.
func (ss *session) pause(ctx context.Context, attempt int, u *url.URL, why error) error {
	o := ss.s.opt
	wait := retryablehttp.LinearJitterBackoff(o.RetryWaitMin, o.RetryWaitMax, attempt, nil)
	ss.s.event(Event{Kind: EventRetry, Repo: ss.repo.ID, URL: redactURL(u), Wait: wait, Err: why})
	return sleep(ctx, wait)
}

// localError files an error of the local file system.
func localError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	return fmt.Errorf("%w: %w", err, ErrUnreachable)
}

func readLocal(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, localError(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", path, limit, ErrTooLarge)
	}
	return data, nil
}

// openRegular opens a file without waiting for the writer of a FIFO.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, localError(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, localError(err)
	}
	return f, nil
}
