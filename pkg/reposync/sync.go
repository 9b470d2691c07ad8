package reposync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/almamigrate/almamigrate/pkg/filelock"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// Syncer syncs repositories. It is safe for concurrent use.
type Syncer struct {
	opt   Options
	slots hostSlots

	mu       sync.Mutex // over the two maps
	conns    map[connKey]*conn
	failures map[string]int // by mirrorKey

	eventMu sync.Mutex
}

// New returns a Syncer. Errors: ErrCache where the cache folder cannot be used, ErrConfig.
func New(o Options) (*Syncer, error) {
	if err := makeCacheDir(o.CacheDir); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	return &Syncer{
		opt:      o,
		slots:    hostSlots{n: o.ConnsPerHost, slots: map[string]chan struct{}{}},
		conns:    map[connKey]*conn{},
		failures: map[string]int{},
	}, nil
}

// Close ends idle connections. The Syncer must not be used afterwards; what it synced may be.
func (s *Syncer) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.http.CloseIdleConnections()
	}
}

func (s *Syncer) event(e Event) {
	if s.opt.Progress == nil {
		return
	}
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	s.opt.Progress(e)
}

// Synced is a repository whose metadata is here and verified.
type Synced struct {
	Repo      Repo           // with variables and defaults filled in; holds credentials
	Revision  string         // of repomd.xml
	BaseURL   string         // the mirror that it came from, redacted
	Signature *rpmsig.Result // a good one; nil: none was verified
	Repomd    *repodata.Repomd
	Index     *repodata.Index
	Stale     bool      // no mirror could confirm it now; Warnings says why
	FetchedAt time.Time // when a mirror last confirmed that this is the current metadata
	Warnings  []string
	Dir       string // its folder in the cache

	session *session
	mu      sync.Mutex // over mirrors
	mirrors []*url.URL
}

// ClockAhead tells how far this machine's clock was ahead of the mirror's when
// that answered last, negative for behind; false where no mirror was asked or
// none said its time.
func (s *Synced) ClockAhead() (time.Duration, bool) {
	if s.session == nil {
		return 0, false
	}
	c := &s.session.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead, c.known
}

// Close releases the index. Packages taken from it stay valid.
func (s *Synced) Close() error {
	if s.Index == nil {
		return nil
	}
	return s.Index.Close()
}

// Result is the outcome for one repository of SyncAll: Synced, or Err.
type Result struct {
	Repo   Repo
	Synced *Synced
	Err    error
}

// SyncAll syncs repositories, at most parallel at a time; the results are in the order of repos.
func (s *Syncer) SyncAll(ctx context.Context, repos []Repo, parallel int) []Result {
	results := make([]Result, len(repos))
	slots := make(chan struct{}, max(parallel, 1))
	var wg sync.WaitGroup
	for i, r := range repos {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			synced, err := s.Sync(ctx, r)
			results[i] = Result{Repo: r, Synced: synced, Err: err}
		})
	}
	wg.Wait()
	return results
}

// Sync brings one repository up to date as far as MaxAge asks for it, and opens its index. Where the mirrors fail for
// reasons that are no attack, the cached copy serves, marked Stale and with a warning.
//
// Errors match the sentinels of this package; one about several mirrors may match several of them. A context that ended
// gives its own error.
func (s *Syncer) Sync(ctx context.Context, r Repo) (*Synced, error) {
	synced, err := s.sync(ctx, r)
	if err != nil {
		err = fmt.Errorf("cannot sync repository %s: %w", r.ID, err)
	}
	s.event(Event{Kind: EventDone, Repo: r.ID, Err: err})
	return synced, err
}

func (s *Syncer) sync(ctx context.Context, r Repo) (*Synced, error) {
	r, err := s.opt.resolved(r)
	if err != nil {
		return nil, err
	}
	c, err := s.conn(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Deadline, errDeadline)
	defer cancel()
	w := &work{session: &session{s: s, repo: r, conn: c}, dir: filepath.Join(s.opt.CacheDir, cacheName(r))}

	start := s.opt.Now()
	waited, unlock, err := w.lock(ctx)
	if err != nil {
		if synced, ok := w.readOnly(err); ok {
			return synced, nil
		}
		return nil, err
	}
	defer unlock()
	if w.cached, err = load(w.dir, r); err != nil {
		return nil, err
	}
	if w.fresh(waited, start) {
		if synced, err := w.fromCache(); err == nil {
			return synced, nil
		}
		w.cached = nil // damaged: fetch it anew
	}
	if !w.reachable() {
		if w.cached == nil {
			return nil, ErrOffline
		}
		synced, err := w.fromCache()
		if err != nil {
			return nil, fmt.Errorf("the cached copy cannot be used: %w: %w", err, ErrOffline)
		}
		if w.age() >= r.MaxAge && r.MaxAge >= 0 {
			w.stale(synced, "the network is not used")
		}
		return synced, nil
	}
	synced, err := w.refresh(ctx)
	if err == nil {
		return synced, nil
	}
	if !w.mayFallBack(ctx, err) {
		return nil, err
	}
	synced, cacheErr := w.fromCache()
	if cacheErr != nil {
		return nil, errors.Join(err, cacheErr)
	}
	w.stale(synced, err.Error())
	return synced, nil
}

// work is one run of Sync.
type work struct {
	*session
	dir    string
	cached *cached // verified copy; nil: none

	sawSignature bool // a mirror had a repomd.xml.asc
	warnings     []string
}

// lock takes the repository's folder; waited tells that somebody else had it.
func (w *work) lock(ctx context.Context) (waited bool, unlock func(), err error) {
	if err := os.Mkdir(w.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, nil, fmt.Errorf("cannot make cache folder: %w: %w", err, ErrCache)
	}
	l, err := filelock.Acquire(ctx, filepath.Join(w.dir, fileLock), func(h filelock.Holder) {
		waited = true
		ev := Event{Kind: EventWait, Repo: w.repo.ID}
		if h.PID != 0 {
			ev.Detail = fmt.Sprintf("%s, process %d", h.Program, h.PID)
		}
		w.s.event(ev)
	})
	switch {
	case err == nil:
		return waited, func() { _ = l.Unlock() }, nil
	case errors.Is(err, filelock.ErrLocked):
		return waited, nil, err
	}
	return waited, nil, fmt.Errorf("%w: %w", err, ErrCache)
}

// readOnly serves from a cache that may be read but not written, as an ordinary user finds root's; only if nothing needs
// to be fetched.
func (w *work) readOnly(lockErr error) (*Synced, bool) {
	if !errors.Is(lockErr, fs.ErrPermission) && !errors.Is(lockErr, syscall.EROFS) {
		return nil, false
	}
	for range 5 { // a writer may replace the files between our reads
		c, err := load(w.dir, w.repo)
		if err != nil {
			return nil, false
		}
		if c == nil {
			continue
		}
		w.cached = c
		if w.reachable() && !w.fresh(false, time.Time{}) {
			return nil, false
		}
		index, err := repodata.OpenIndex(indexPath(w.dir, c.md))
		if err != nil {
			continue
		}
		synced := w.synced(c, index)
		if w.age() >= w.repo.MaxAge && w.repo.MaxAge >= 0 {
			w.stale(synced, "the network is not used")
		}
		return synced, true
	}
	return nil, false
}

// reachable tells whether there is anything to ask. Local files are read even when offline.
func (w *work) reachable() bool {
	if !w.s.opt.Offline {
		return true
	}
	for _, b := range w.bases() {
		if b.Scheme == "file" {
			return true
		}
	}
	return false
}

// age is the time since a mirror confirmed the cached copy; a copy from the future is infinitely old.
func (w *work) age() time.Duration {
	age := w.s.opt.Now().Sub(w.cached.meta.CheckedAt)
	if age < 0 {
		return 1<<63 - 1
	}
	return age
}

// fresh tells whether the cached copy may be used without asking. A copy that another process finished while we waited
// for it is fresh even without a MaxAge; local repositories are always looked at, since that costs nothing.
func (w *work) fresh(waited bool, start time.Time) bool {
	if w.cached == nil {
		return false
	}
	for _, b := range w.bases() {
		if b.Scheme == "file" {
			return false
		}
	}
	if waited && !w.cached.meta.CheckedAt.Before(start) {
		return true
	}
	return w.repo.MaxAge < 0 || w.age() < w.repo.MaxAge
}

func (w *work) fromCache() (*Synced, error) {
	index, err := w.openIndex(w.cached.md)
	if err != nil {
		return nil, err
	}
	return w.synced(w.cached, index), nil
}

func (w *work) synced(c *cached, index *repodata.Index) *Synced {
	return &Synced{
		Repo: w.repo, Revision: c.md.Revision, BaseURL: c.meta.BaseURL, Signature: c.sig, Repomd: c.md, Index: index,
		FetchedAt: c.meta.CheckedAt, Warnings: w.warnings, Dir: w.dir,
		session: w.session, mirrors: w.s.ordered(dedupe(append(c.mirrorURLs(), w.bases()...)), c),
	}
}

func (w *work) stale(s *Synced, why string) {
	s.Stale = true
	s.Warnings = append(s.Warnings, fmt.Sprintf("the metadata of repository %s is %s old and could not be confirmed: %s",
		w.repo.ID, roundAge(w.s.opt.Now().Sub(s.FetchedAt)), why))
}

func roundAge(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", max(int(d.Seconds()), 0))
}

// mayFallBack: what might be an attack, or a setting to be mended, must be seen, and an interrupted run ends.
func (w *work) mayFallBack(ctx context.Context, err error) bool {
	if w.cached == nil || errors.Is(err, ErrSignature) || errors.Is(err, ErrTLS) || errors.Is(err, ErrCache) || errors.Is(err, ErrConfig) {
		return false
	}
	return ctx.Err() == nil || errors.Is(context.Cause(ctx), errDeadline)
}
