package reposync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errStalled is what a body that does not move fails with.
var errStalled = fmt.Errorf("no data, or hardly any, for too long: %w", ErrUnreachable)

// errDeadline ends a sync that takes too long as a whole.
var errDeadline = fmt.Errorf("gave up: it takes too long: %w", ErrUnreachable)

// guard watches every body for progress. http.Client.Timeout would bound the whole download instead, and so forbid either
// slow lines or the detection of dead ones.
type guard struct {
	next    *http.Transport
	timeout time.Duration
	minRate int64
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &guardedBody{body: resp.Body, g: g, ctx: ctx, cancel: cancel}
	return resp, nil
}

// CloseIdleConnections is looked for by http.Client.
func (g *guard) CloseIdleConnections() { g.next.CloseIdleConnections() }

type guardedBody struct {
	body   io.ReadCloser
	g      *guard
	ctx    context.Context
	cancel context.CancelCauseFunc
	spent  time.Duration // in Read, since the last check of the rate: our own pauses do not count
	got    int64
}

func (b *guardedBody) Read(p []byte) (int, error) {
	start := time.Now()
	timer := time.AfterFunc(b.g.timeout, func() { b.cancel(errStalled) })
	n, err := b.body.Read(p)
	timer.Stop()
	b.spent += time.Since(start)
	b.got += int64(n)
	if err == nil && b.spent >= b.g.timeout {
		if float64(b.got) < float64(b.g.minRate)*b.spent.Seconds() {
			b.cancel(errStalled)
			return n, errStalled
		}
		b.spent, b.got = 0, 0
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil && errors.Is(cause, errStalled) {
			err = errStalled
		}
	}
	return n, err
}

func (b *guardedBody) Close() error {
	err := b.body.Close()
	b.cancel(nil)
	return err
}
