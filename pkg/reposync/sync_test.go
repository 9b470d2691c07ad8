package reposync_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/google/go-cmp/cmp"
)

const htmlPage = "\n<!DOCTYPE html>\n<html><head><title>Please log in</title></head><body>portal</body></html>"

func TestConditionalAndFresh(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1, modules: "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: perl\n  stream: \"5.26\"\n"}))
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	repo := reposync.Repo{ID: "base os/é", BaseURLs: []string{m.URL}}
	s := newSyncer(t, reposync.Options{CacheDir: dir, MaxAge: time.Hour, Now: clock})

	first := mustSync(t, s, repo)
	if first.Index.Len() != 3 || first.Revision != "1" || first.Stale || !first.FetchedAt.Equal(now) || first.BaseURL != m.URL {
		t.Errorf("first sync: %+v", first)
	}
	if d := cmp.Diff([]string{"repomd.xml", "primary.xml.gz", "modules.yaml.gz"}, m.requests()); d != "" {
		t.Errorf("first sync asked (-want +got):\n%s", d)
	}
	p, err := first.Index.Package(1)
	if err != nil || p.NEVRA.String() != "pkg1-1-1.noarch" {
		t.Errorf("package 1: %v, %v", p, err)
	}

	now = now.Add(59 * time.Minute)
	fresh := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir, MaxAge: time.Hour, Now: clock}), repo)
	if reqs := m.requests(); len(reqs) != 0 || fresh.Index.Len() != 3 || fresh.Stale {
		t.Errorf("fresh copy: asked %q, stale %v", reqs, fresh.Stale)
	}

	now = now.Add(2 * time.Minute)
	again := mustSync(t, s, repo)
	if d := cmp.Diff([]string{"repomd.xml"}, m.requests()); d != "" {
		t.Errorf("expired copy (-want +got):\n%s", d)
	}
	last := m.reqs[len(m.reqs)-1]
	if last.Header.Get("If-None-Match") == "" || last.Header.Get("If-Modified-Since") == "" || last.UserAgent() != "almamigrate" {
		t.Errorf("request was not conditional: %v", last.Header)
	}
	if !again.FetchedAt.Equal(now) {
		t.Errorf("confirmed at %v, want %v", again.FetchedAt, now)
	}

	old, err := filepath.Glob(filepath.Join(first.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	m.set(makeRepo(repoSpec{revision: 2, packages: 4}))
	newer := mustSync(t, s, repo)
	if newer.Index.Len() != 4 || newer.Revision != "2" {
		t.Errorf("new metadata: %d packages, revision %s", newer.Index.Len(), newer.Revision)
	}
	files, _ := filepath.Glob(filepath.Join(first.Dir, "*"))
	for _, f := range files {
		for _, o := range old {
			if f == o && !strings.Contains(filepath.Base(f), ".xml") && !strings.HasSuffix(f, "meta.json") {
				t.Errorf("not pruned: %s", f)
			}
		}
	}
	if len(files) != 4 { // repomd.xml, meta.json, primary, index
		t.Errorf("cache holds %q", files)
	}
	if first.Index.Len() != 3 {
		t.Error("an open index was harmed by the update")
	}
	if hidden, _ := filepath.Glob(filepath.Join(first.Dir, ".*")); len(hidden) > 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func TestRepomdNotFoundIsFinal(t *testing.T) {
	m := newMirror(t, tree{})
	_, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
	if !errors.Is(err, reposync.ErrNotFound) || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), m.URL) {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff([]string{"repomd.xml"}, m.requests()); d != "" {
		t.Errorf("requests: %s", d)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	tr := makeRepo(repoSpec{revision: 1})
	for _, tc := range []struct {
		header string
		fails  int
		wait   time.Duration
		ok     bool
	}{
		{"0", 2, 0, true},
		{"1", 1, time.Second, true},
		{"3600", 1, 0, false},                // longer than we wait
		{"99999999999999999999", 1, 0, true}, // no number: the usual pause
		{"9999999999999", 1, 0, false},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 1, 0, true},
	} {
		m := newMirror(t, tr)
		var n atomic.Int32
		m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
			if int(n.Add(1)) > tc.fails {
				return false
			}
			w.Header().Set("Retry-After", tc.header)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		var ev events
		s := newSyncer(t, reposync.Options{RetryAfterMax: 2 * time.Second, Progress: ev.add})
		got, err := s.Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
		if (err == nil) != tc.ok {
			t.Errorf("Retry-After %s: %v", tc.header, err)
		}
		if err != nil && (!errors.Is(err, reposync.ErrUnreachable) || !strings.Contains(err.Error(), "asks to come back in")) {
			t.Errorf("Retry-After %s: %v", tc.header, err)
		}
		if got != nil {
			got.Close()
		}
		if retries := ev.kind(reposync.EventRetry); tc.ok && (len(retries) != tc.fails || tc.wait > 0 && retries[0].Wait != tc.wait) {
			t.Errorf("Retry-After %s: pauses %+v", tc.header, retries)
		}
	}
}

func TestRetriesAreBounded(t *testing.T) {
	m := newMirror(t, nil)
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	_, err := newSyncer(t, reposync.Options{Retries: 2}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
	if !errors.Is(err, reposync.ErrUnreachable) || !strings.Contains(err.Error(), "502") {
		t.Errorf("error %v", err)
	}
	if got := m.requests(); len(got) != 3 {
		t.Errorf("%d requests, want 3", len(got))
	}
	// Nobody listens there any more.
	m.Close()
	var ev events
	_, err = newSyncer(t, reposync.Options{Retries: 2, Progress: ev.add}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
	if !errors.Is(err, reposync.ErrUnreachable) || len(ev.kind(reposync.EventRetry)) != 2 {
		t.Errorf("refused connections: %v, %d retries", err, len(ev.kind(reposync.EventRetry)))
	}
	_, err = newSyncer(t, reposync.Options{Retries: -1}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{"ftp://x/"}})
	if !errors.Is(err, reposync.ErrConfig) {
		t.Errorf("ftp: %v", err)
	}
}

func TestBrokenBody(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1, pad: 300000})
	primary := tr.primary(t)
	content := tr[primary]
	half := len(content) / 2
	for name, tc := range map[string]struct {
		hook func(n int32, w http.ResponseWriter, r *http.Request) bool
		want []string
	}{
		"with ranges": {
			func(n int32, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					cut(w, 200, http.Header{"Etag": {`"` + sum(content)[:16] + `"`}}, content, half)
				}
				return false
			},
			[]string{"primary.xml.gz", fmt.Sprintf("primary.xml.gz bytes=%d-", half)},
		},
		"without ranges": {
			func(n int32, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					cut(w, 200, nil, content, half)
				}
				_, _ = w.Write(content)
				return true
			},
			[]string{"primary.xml.gz", fmt.Sprintf("primary.xml.gz bytes=%d-", half)},
		},
		"without a length": {
			func(n int32, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					_ = http.NewResponseController(w).Flush()
					_, _ = w.Write(content[:half])
					return true
				}
				return false
			},
			[]string{"primary.xml.gz", fmt.Sprintf("primary.xml.gz bytes=%d-", half)},
		},
		"wrong Content-Range": {
			func(n int32, w http.ResponseWriter, r *http.Request) bool {
				switch n {
				case 1:
					cut(w, 200, nil, content, half)
				case 2:
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content)))
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(content)
					return true
				}
				return false
			},
			[]string{"primary.xml.gz", fmt.Sprintf("primary.xml.gz bytes=%d-", half), "primary.xml.gz"},
		},
		"If-Range does not hold": {
			func(n int32, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					cut(w, 200, http.Header{"Etag": {`"another"`}}, content, half)
				}
				if got := r.Header.Get("If-Range"); got != `"another"` {
					t.Errorf("If-Range %q", got)
				}
				return false
			},
			[]string{"primary.xml.gz", fmt.Sprintf("primary.xml.gz bytes=%d-", half)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMirror(t, tr)
			var n atomic.Int32
			m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, primary) && tc.hook(n.Add(1), w, r)
			})
			got := mustSync(t, newSyncer(t, reposync.Options{}), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
			if got.Index.Len() != 3 {
				t.Errorf("%d packages", got.Index.Len())
			}
			if d := cmp.Diff(append([]string{"repomd.xml"}, tc.want...), m.requests()); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
		})
	}
}

// TestResumeAcrossRuns: what an interrupted run left is continued, and dropped where it was damaged.
func TestResumeAcrossRuns(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1, pad: 300000})
	primary := tr.primary(t)
	content := tr[primary]
	for _, damaged := range []bool{false, true} {
		m := newMirror(t, tr)
		m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, primary) {
				cut(w, 200, nil, content, 5000)
			}
			return false
		})
		dir := t.TempDir()
		repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}
		_, err := newSyncer(t, reposync.Options{CacheDir: dir, Retries: -1}).Sync(t.Context(), repo)
		if !errors.Is(err, reposync.ErrUnreachable) || !strings.Contains(err.Error(), "after 5000 bytes") {
			t.Fatalf("broken transfer: %v", err)
		}
		parts, _ := filepath.Glob(filepath.Join(dir, "*", "*.part"))
		if len(parts) != 1 {
			t.Fatalf("parts: %q", parts)
		}
		want := []string{"repomd.xml", "primary.xml.gz bytes=5000-"}
		if damaged {
			if err := os.WriteFile(parts[0], make([]byte, 5000), 0o644); err != nil {
				t.Fatal(err)
			}
			want = append(want, "primary.xml.gz")
		}
		m.requests()
		m.onRequest(nil)
		mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
		if d := cmp.Diff(want, m.requests()); d != "" {
			t.Errorf("damaged %v: requests (-want +got):\n%s", damaged, d)
		}
	}
}

// TestWrongFiles: a file that is not what repomd.xml says is named, and the same repository is had from another mirror.
func TestWrongFiles(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	primary := tr.primary(t)
	flipped := append([]byte(nil), tr[primary]...)
	flipped[len(flipped)/2] ^= 1
	for name, tc := range map[string]struct {
		tree tree
		is   error
		text string
	}{
		"truncated":       {tr.with(primary, tr[primary][:100]), reposync.ErrDigest, "100 bytes instead of"},
		"empty":           {tr.with(primary, []byte{}), reposync.ErrDigest, "0 bytes instead of"},
		"longer":          {tr.with(primary, append(append([]byte(nil), tr[primary]...), 'x')), reposync.ErrTooLarge, "announced"},
		"wrong checksum":  {tr.with(primary, flipped), reposync.ErrDigest, "as announced"},
		"missing":         {tr.with(primary, nil), reposync.ErrNotFound, "middle of an update"},
		"HTML primary":    {tr.with(primary, []byte(htmlPage)), reposync.ErrMetadata, "HTML page (captive portal or proxy?)"},
		"HTML repomd":     {tr.with("repodata/repomd.xml", []byte(htmlPage)), reposync.ErrMetadata, "HTML page (captive portal or proxy?)"},
		"empty repomd":    {tr.with("repodata/repomd.xml", []byte{}), reposync.ErrMetadata, "repomd.xml"},
		"half a repomd":   {tr.with("repodata/repomd.xml", tr["repodata/repomd.xml"][:200]), reposync.ErrMetadata, "repomd.xml"},
		"no primary":      {tree{"repodata/repomd.xml": []byte(`<repomd><revision>1</revision></repomd>`)}, reposync.ErrMetadata, "no primary"},
		"endless repomd":  {tr.with("repodata/repomd.xml", make([]byte, 5<<20)), reposync.ErrTooLarge, "at most"},
		"open size":       {makeRepo(repoSpec{revision: 1, openSize: 100}), reposync.ErrTooLarge, "100 bytes allowed"},
		"open size more":  {makeRepo(repoSpec{revision: 1, openSize: 1 << 20}), reposync.ErrDigest, "uncompressed instead of"},
		"huge size":       {makeRepo(repoSpec{revision: 1, size: 1 << 40}), reposync.ErrTooLarge, "announced"},
		"leads out":       {makeRepo(repoSpec{revision: 1, location: "../../etc/passwd"}), reposync.ErrMetadata, "leads out of the repository"},
		"leads out coded": {makeRepo(repoSpec{revision: 1, location: "%2e%2e/x.gz"}), reposync.ErrMetadata, "leads out of the repository"},
		"absolute":        {makeRepo(repoSpec{revision: 1, location: "/etc/passwd"}), reposync.ErrMetadata, "leads out of the repository"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := newMirror(t, tc.tree)
			_, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{bad.URL}})
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), "repository r") {
				t.Errorf("error %v, want %v with %q", err, tc.is, tc.text)
			}
			good := newMirror(t, tr)
			var ev events
			s := newSyncer(t, reposync.Options{Progress: ev.add})
			got := mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{bad.URL, good.URL}})
			if got.BaseURL != good.URL || got.Stale {
				t.Errorf("served by %s, stale %v", got.BaseURL, got.Stale)
			}
			if given := ev.kind(reposync.EventMirror); len(given) != 1 || given[0].URL != bad.URL || given[0].Err == nil {
				t.Errorf("mirror events: %+v", given)
			}
			// The mirror that failed comes last from now on.
			bad.requests()
			mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{bad.URL, good.URL}})
			if reqs := bad.requests(); len(reqs) > 0 {
				t.Errorf("the bad mirror was asked again: %q", reqs)
			}
		})
	}
}

// TestChunkedTooLong: no length is announced, and the body does not end.
func TestChunkedTooLong(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	primary := tr.primary(t)
	for _, name := range []string{primary, "repodata/repomd.xml"} {
		m := newMirror(t, tr)
		var sent atomic.Int64
		m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, name) {
				return false
			}
			for sent.Load() < 64<<20 {
				n, err := w.Write(make([]byte, 64<<10))
				if sent.Add(int64(n)); err != nil {
					break
				}
			}
			return true
		})
		_, err := newSyncer(t, reposync.Options{Retries: -1}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
		if !errors.Is(err, reposync.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		m.Close()
		if sent.Load() >= 64<<20 {
			t.Errorf("%s: everything was read", name)
		}
	}
}

// TestMidSync: the old repomd.xml comes out of a cache on the way, the files it names are gone from the mirror.
func TestMidSync(t *testing.T) {
	old, fresh := makeRepo(repoSpec{revision: 1}), makeRepo(repoSpec{revision: 2, packages: 5})
	m := newMirror(t, fresh)
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "repomd.xml") && r.Header.Get("Cache-Control") != "no-cache" {
			_, _ = w.Write(old["repodata/repomd.xml"])
			return true
		}
		return false
	})
	got := mustSync(t, newSyncer(t, reposync.Options{}), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
	if got.Revision != "2" || got.Index.Len() != 5 {
		t.Errorf("revision %s", got.Revision)
	}
	if d := cmp.Diff([]string{"repomd.xml", "primary.xml.gz", "repomd.xml", "primary.xml.gz"}, m.requests()); d != "" {
		t.Errorf("requests: %s", d)
	}
}

func TestStaleMirror(t *testing.T) {
	old, fresh := makeRepo(repoSpec{revision: 1}), makeRepo(repoSpec{revision: 2, packages: 5})
	a, b := newMirror(t, fresh), newMirror(t, fresh)
	repo := reposync.Repo{ID: "r", BaseURLs: []string{a.URL, b.URL}}
	dir := t.TempDir()
	mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	a.set(old)
	a.requests()
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	if got.Revision != "2" || got.BaseURL != b.URL || got.Stale || len(got.Warnings) > 0 {
		t.Errorf("one stale mirror: revision %s from %s, stale %v, %q", got.Revision, got.BaseURL, got.Stale, got.Warnings)
	}
	if reqs := a.requests(); len(reqs) == 0 {
		// It may only come second because b is the one that served last.
		t.Log("the stale mirror was not asked")
	}
	b.set(old)
	got = mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	if got.Revision != "2" || got.Index.Len() != 5 || got.Stale || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "older metadata") {
		t.Errorf("all mirrors stale: revision %s, stale %v, %q", got.Revision, got.Stale, got.Warnings)
	}
}

func TestOfflineAndUnreachable(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	repo := reposync.Repo{ID: "appstream", BaseURLs: []string{m.URL}}
	opt := reposync.Options{CacheDir: dir, Offline: true, Now: clock, Retries: -1}
	_, err := newSyncer(t, opt).Sync(t.Context(), repo)
	if !errors.Is(err, reposync.ErrOffline) || !strings.Contains(err.Error(), "appstream") {
		t.Errorf("offline without a copy: %v", err)
	}
	if reqs := m.requests(); len(reqs) > 0 {
		t.Errorf("offline, but asked %q", reqs)
	}
	opt.Offline = false
	mustSync(t, newSyncer(t, opt), repo)
	m.requests()
	now = now.Add(3 * 24 * time.Hour)
	opt.Offline = true
	got := mustSync(t, newSyncer(t, opt), repo)
	if len(m.requests()) > 0 || got.Index.Len() != 3 || !got.Stale || !strings.Contains(strings.Join(got.Warnings, ""), "3 days old") {
		t.Errorf("offline with a copy: stale %v, %q", got.Stale, got.Warnings)
	}
	opt.Offline = false
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true })
	got = mustSync(t, newSyncer(t, opt), repo)
	if !got.Stale || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "3 days old") || !strings.Contains(got.Warnings[0], "500") {
		t.Errorf("server down: stale %v, %q", got.Stale, got.Warnings)
	}
	m.Close()
	got = mustSync(t, newSyncer(t, opt), repo)
	if !got.Stale || got.Revision != "1" {
		t.Errorf("nobody there: %+v", got)
	}
}

func TestCancelAndDeadline(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	dir := t.TempDir()
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}
	mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	// An interrupted run ends, even if the cache could serve.
	if _, err := newSyncer(t, reposync.Options{CacheDir: dir}).Sync(ctx, repo); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir, Deadline: 50 * time.Millisecond}), repo)
	if !got.Stale || !strings.Contains(got.Warnings[0], "takes too long") {
		t.Errorf("deadline: stale %v, %q", got.Stale, got.Warnings)
	}
	if _, err := newSyncer(t, reposync.Options{Deadline: 50 * time.Millisecond}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrUnreachable) {
		t.Errorf("deadline without a copy: %v", err)
	}
}

func TestSlowServers(t *testing.T) {
	t.Parallel()
	tr := makeRepo(repoSpec{revision: 1})
	primary := tr.primary(t)
	for name, hook := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"no answer": func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true },
		"no body": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(tr[primary])))
			_, _ = w.Write(tr[primary][:10])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		},
		"a byte now and then": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(tr[primary])))
			for _, b := range tr[primary] {
				_, err := w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
				if err != nil || r.Context().Err() != nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, tr)
			m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, primary) && hook(w, r)
			})
			s := newSyncer(t, reposync.Options{Timeout: 100 * time.Millisecond, MinRate: 100000, Retries: 1})
			_, err := s.Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
			if !errors.Is(err, reposync.ErrUnreachable) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSyncAll(t *testing.T) {
	m := newMirror(t, nil)
	var now, most atomic.Int32
	trees := map[string]tree{}
	var repos []reposync.Repo
	for i := range 12 {
		id := fmt.Sprintf("r%02d", i)
		if i != 5 {
			trees[id] = makeRepo(repoSpec{revision: i})
		}
		repos = append(repos, reposync.Repo{ID: id, BaseURLs: []string{m.URL + "/" + id}})
	}
	m.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		content, ok := trees[id][rest]
		if !ok {
			http.NotFound(w, r)
			return true
		}
		_, _ = w.Write(content)
		return true
	})
	s := newSyncer(t, reposync.Options{ConnsPerHost: 2})
	for i, res := range s.SyncAll(t.Context(), repos, 6) {
		switch {
		case res.Repo.ID != repos[i].ID:
			t.Errorf("result %d is of %s", i, res.Repo.ID)
		case i == 5:
			if !errors.Is(res.Err, reposync.ErrNotFound) || res.Synced != nil {
				t.Errorf("result 5: %v", res.Err)
			}
		case res.Err != nil:
			t.Error(res.Err)
		default:
			if res.Synced.Revision != fmt.Sprint(i) {
				t.Errorf("result %d has revision %s", i, res.Synced.Revision)
			}
			res.Synced.Close()
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d requests at once to one host, 2 allowed", most.Load())
	}
}

// TestClockAhead: a mirror's Date tells whether this clock is right; an answer
// out of a cache, and one from the cache's folder, do not.
func TestClockAhead(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	mirrors := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	age := ""
	m.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Date", mirrors.Format(http.TimeFormat))
		if age != "" {
			w.Header().Set("Age", age)
		}
		return false
	}
	dir := t.TempDir()
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}
	at := func(now time.Time, maxAge time.Duration) *reposync.Synced {
		return mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir, MaxAge: maxAge, Now: func() time.Time { return now }}), repo)
	}
	if d, ok := at(mirrors.Add(3*time.Hour), -1).ClockAhead(); !ok || d != 3*time.Hour {
		t.Errorf("three hours ahead: %v, %v", d, ok)
	}
	if d, ok := at(mirrors.Add(4*time.Hour), 24*time.Hour).ClockAhead(); ok {
		t.Errorf("no mirror was asked: %v", d)
	}
	age = "7200"
	m.set(makeRepo(repoSpec{revision: 2}))
	dir = t.TempDir()
	if d, ok := at(mirrors.Add(2*time.Hour), -1).ClockAhead(); ok {
		t.Errorf("the answer is a cache's: %v", d)
	}
}
