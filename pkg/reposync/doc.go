// Package reposync brings the metadata of rpm repositories to this machine, verifies it, keeps it in a cache and hands out
// the index made of it. It speaks file://, http:// and https://, and is the only package that does.
//
// What is trusted, and why: repomd.xml is protected by TLS, by the digest in a metalink, or by repomd.xml.asc and the
// caller's keys; every other file by the digest, the size and the open digest that repomd.xml gives for it; a package by
// the digest that primary.xml gives. Sizes are hard caps: no byte beyond them is read.
//
// What goes wrong with mirrors is told apart: one that is in the middle of a sync (repomd.xml newer than the files it
// names), a stale one (older than what we have or what the metalink promises), a truncated or wrong file, an HTML page
// served in place of a file. Each is tried elsewhere, then named.
//
// A cache folder may be used by several processes at once.
package reposync

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What callers test for with errors.Is. An error about several mirrors matches what any of them failed with.
var (
	// ErrUnreachable: no answer, a broken one, or a server's or proxy's error.
	ErrUnreachable = errors.New("repository unreachable")
	// ErrNotFound: the server answers, but has no such file.
	ErrNotFound = errors.New("not found")
	// ErrTLS: a certificate is not trusted, missing or unusable, or a redirect leads from https to plain http.
	ErrTLS = errors.New("TLS failure")
	// ErrDigest: a file is not the one that repomd.xml, the metalink or primary.xml describes.
	ErrDigest = errors.New("file does not match its digest")
	// ErrSignature: repomd.xml.asc is bad, made with a key that is not trusted, or missing where it is required.
	ErrSignature = errors.New("signature not acceptable")
	// ErrMetadata: repomd.xml, a mirrorlist, a metalink or the metadata itself cannot be understood.
	ErrMetadata = errors.New("unusable metadata")
	// ErrLogin: the server answers, but wants a user name and password. It comes with ErrUnreachable.
	ErrLogin = errors.New("login needed")
	// ErrOffline: the network was not to be used, and the cache has no copy.
	ErrOffline = errors.New("not in the cache, and offline")
	// ErrTooLarge: a file is larger than announced, or than any sane one.
	ErrTooLarge = errors.New("file too large")
	// ErrCache: the cache folder cannot be used.
	ErrCache = errors.New("cache folder unusable")
	// ErrConfig: the repository or the options contradict themselves.
	ErrConfig = errors.New("bad repository settings")
)

// errMidSync marks what a mirror shows while it is being updated.
var errMidSync = errors.New("the mirror seems to be in the middle of an update")

// errStale marks a mirror whose metadata is older than what is known to exist.
var errStale = errors.New("stale mirror")

// statusError is an HTTP answer that is none.
type statusError struct {
	code       int
	retryAfter time.Duration // 0: not given
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("HTTP status %d %s", e.code, http.StatusText(e.code))
	switch e.code {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += " (credentials, client certificate or subscription missing?)"
	case http.StatusProxyAuthRequired:
		text += " (the proxy wants a user name and password)"
	}
	if e.retryAfter > 0 {
		text += fmt.Sprintf(", asks to come back in %s", e.retryAfter.Round(time.Second))
	}
	return text
}

// Is files the status under one of the sentinels.
func (e *statusError) Is(target error) bool {
	if e.absent() {
		return target == ErrNotFound
	}
	return target == ErrUnreachable || target == ErrLogin && e.code == http.StatusUnauthorized
}

func (e *statusError) absent() bool {
	return e.code == http.StatusNotFound || e.code == http.StatusGone
}

// missing says whether the answer means "there is no such file": object stores answer 403 for absent names, too.
func missing(err error) bool {
	var st *statusError
	if errors.As(err, &st) {
		return st.absent() || st.code == http.StatusForbidden
	}
	return errors.Is(err, ErrNotFound)
}

// mirrorsError collects why each mirror was given up.
type mirrorsError struct {
	what string
	errs []error
}

func (e *mirrorsError) Error() string {
	const shown = 4
	var b strings.Builder
	fmt.Fprintf(&b, "cannot %s: all %d mirrors tried failed", e.what, len(e.errs))
	for i, err := range e.errs {
		if i == shown {
			fmt.Fprintf(&b, "; and %d more", len(e.errs)-shown)
			break
		}
		fmt.Fprintf(&b, "; %v", err)
	}
	return b.String()
}

// Unwrap lets errors.Is and errors.As look at every mirror's error.
func (e *mirrorsError) Unwrap() []error { return e.errs }

// allMirrors makes one error of those of all mirrors.
func allMirrors(what string, errs []error) error {
	if len(errs) == 1 {
		return fmt.Errorf("cannot %s: %w", what, errs[0])
	}
	return &mirrorsError{what: what, errs: errs}
}

// plainQuery are the query parameters known to hold no secret, so that a mirrorlist's URL stays readable.
var plainQuery = map[string]bool{"repo": true, "arch": true, "basearch": true, "release": true, "releasever": true,
	"infra": true, "country": true, "protocol": true, "path": true, "version": true, "redirect": true, "cc": true}

// Redact returns a URL without what must not be shown: user name, password, fragment, and the values of query parameters
// that might be tokens. It takes unparsable URLs, too.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Scheme == "" {
		// Whatever stands before the last @ of the authority may be a password.
		scheme, rest, found := strings.Cut(raw, "://")
		if !found {
			scheme, rest = "", raw
		} else {
			scheme += "://"
		}
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			rest = rest[i+1:]
		}
		rest, _, _ = strings.Cut(rest, "?")
		return scheme + rest
	}
	return redactURL(u)
}

func redactURL(u *url.URL) string {
	c := *u
	c.User = nil
	c.Fragment, c.RawFragment = "", ""
	if c.RawQuery != "" {
		parts := strings.Split(c.RawQuery, "&")
		for i, p := range parts {
			if k, _, _ := strings.Cut(p, "="); !plainQuery[k] {
				parts[i] = k + "=..."
			}
		}
		c.RawQuery = strings.Join(parts, "&")
	}
	return c.String()
}
