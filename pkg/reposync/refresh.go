package reposync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// refresh asks the mirrors, one after the other, for the current metadata.
func (w *work) refresh(ctx context.Context) (*Synced, error) {
	set, err := w.mirrors(ctx, w.cached)
	if err != nil {
		return nil, err
	}
	w.warnings = append(w.warnings, set.warnings...)
	var errs []error
	var older []*url.URL // mirrors with a version that the metalink knows as an older one
	tries := min(len(set.urls), w.s.opt.MaxMirrors)
	for i, m := range set.urls[:tries] {
		a := &attempt{work: w, mirror: m, link: set.link, effort: w.s.opt.effort(i, tries)}
		c, index, err := a.run(ctx)
		if err == nil {
			w.s.remember(m, nil)
			return w.finish(set, m, c, index)
		}
		if ctx.Err() != nil {
			if len(errs) == 0 {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("%w; before: %w", context.Cause(ctx), errors.Join(errs...))
		}
		if errors.Is(err, ErrCache) {
			return nil, err
		}
		w.s.remember(m, err)
		w.s.event(Event{Kind: EventMirror, Repo: w.repo.ID, URL: redactURL(m), Err: err})
		if errors.Is(err, errStale) && !a.olderThanCached {
			older = append(older, m)
		}
		errs = append(errs, fmt.Errorf("%s: %w", redactURL(m), err))
	}
	// Nothing newer is to be had: what we have, then what the metalink calls an older version.
	if w.cached != nil && onlyStale(errs) && len(older) == 0 {
		index, err := w.openIndex(w.cached.md)
		if err == nil {
			w.warnings = append(w.warnings, fmt.Sprintf("repository %s: every mirror offers older metadata than the copy of %s, which is kept (%s); to take the older one, remove %s",
				w.repo.ID, w.cached.meta.CheckedAt.UTC().Format("2006-01-02 15:04 MST"), errs[0], w.dir))
			return w.synced(w.cached, index), nil
		}
		errs = append(errs, err)
	}
	for _, m := range older {
		a := &attempt{work: w, mirror: m, link: set.link, effort: w.s.opt.effort(0, 1), allowOlder: true}
		c, index, err := a.run(ctx)
		if err == nil {
			w.warnings = append(w.warnings, fmt.Sprintf("repository %s: %s has older metadata than the metalink promises, and no mirror has the current one",
				w.repo.ID, redactURL(m)))
			return w.finish(set, m, c, index)
		}
		errs = append(errs, fmt.Errorf("%s: %w", redactURL(m), err))
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, &mirrorsError{what: "get its metadata", errs: errs}
}

func onlyStale(errs []error) bool {
	for _, err := range errs {
		if !errors.Is(err, errStale) {
			return false
		}
	}
	return len(errs) > 0
}

// finish makes the result the cached copy.
func (w *work) finish(set *mirrorset, m *url.URL, c *cached, index *repodata.Index) (*Synced, error) {
	c.meta.ID = w.repo.ID
	c.meta.BaseURL = redactURL(m)
	c.meta.CheckedAt = w.s.opt.Now().UTC()
	c.meta.Mirrors = nil
	for _, u := range set.urls {
		if u.User == nil && u.RawQuery == "" && u.Scheme != "file" { // no credentials on disk
			c.meta.Mirrors = append(c.meta.Mirrors, u.String())
		}
	}
	if err := c.store(w.dir); err != nil {
		index.Close()
		return nil, err
	}
	keep := map[string]bool{fileMeta: true, fileRepomd: true, filepath.Base(indexPath(w.dir, c.md)): true}
	if c.asc != nil {
		keep[fileAsc] = true
	}
	for _, rec := range c.md.Records {
		name := filepath.Base(cacheFile(w.dir, rec))
		keep[name], keep[name+".part"] = true, true
	}
	prune(w.dir, keep)
	if m.Scheme == "http" && c.sig == nil && !isLoopback(m) && (set.link == nil || len(set.link.current.sums) == 0) {
		w.warnings = append(w.warnings, fmt.Sprintf("repository %s: %s is plain http and its metadata is not signed: nothing proves that it is genuine",
			w.repo.ID, redactURL(m)))
	}
	synced := w.synced(c, index)
	synced.mirrors = w.s.ordered(set.urls, c)
	return synced, nil
}

// attempt is the work with one mirror.
type attempt struct {
	*work
	mirror *url.URL
	link   *metalink
	effort
	allowOlder      bool // a version that the metalink calls an older one will do
	olderThanCached bool
}

// run brings everything from this mirror. A mirror that looks like being updated right now gets a second look past all
// caches.
func (a *attempt) run(ctx context.Context) (*cached, *repodata.Index, error) {
	c, index, err := a.once(ctx, false)
	if err != nil && errors.Is(err, errMidSync) && ctx.Err() == nil && a.mirror.Scheme != "file" {
		a.s.event(Event{Kind: EventRetry, Repo: a.repo.ID, URL: redactURL(a.mirror), Err: err})
		c, index, err = a.once(ctx, true)
	}
	return c, index, err
}

func (a *attempt) once(ctx context.Context, bust bool) (*cached, *repodata.Index, error) {
	c, err := a.repomd(ctx, bust)
	if err != nil {
		return nil, nil, err
	}
	index, err := a.materialize(ctx, a.mirror, c.md, a.effort)
	if err != nil {
		return nil, nil, err
	}
	return c, index, nil
}

// repomd brings repomd.xml and its signature; the result is verified.
func (a *attempt) repomd(ctx context.Context, bust bool) (*cached, error) {
	u, err := join(a.mirror, "repodata/repomd.xml")
	if err != nil {
		return nil, err
	}
	req := request{url: u, bust: bust, effort: a.effort}
	old := a.cached
	if old != nil && !bust && old.meta.BaseURL == redactURL(a.mirror) {
		req.known = old.meta.Validators
	}
	got, err := a.getSmall(ctx, req, maxRepomd)
	if err != nil {
		return nil, fmt.Errorf("repomd.xml: %w", err)
	}
	if !got.notModified && isHTML(got.data) {
		return nil, fmt.Errorf("repomd.xml: %w", errHTML)
	}
	if got.notModified || old != nil && bytes.Equal(got.data, old.raw) {
		got.data = old.raw
	}
	if err := a.link.check(got.data); err != nil && !(a.allowOlder && errors.Is(err, errStale)) {
		return nil, err
	}
	if old != nil && bytes.Equal(got.data, old.raw) && (old.sig != nil || !a.looksForSignature()) {
		same := *old
		same.meta.Validators = got.validators
		return &same, nil
	}
	c := &cached{raw: got.data, meta: meta{Validators: got.validators}}
	if c.md, err = repodata.ParseRepomd(c.raw); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrMetadata)
	}
	if _, ok := c.md.Primary(); !ok {
		return nil, fmt.Errorf("repomd.xml names no primary metadata that can be read: %w", ErrMetadata)
	}
	if err := a.signature(ctx, c, bust); err != nil {
		return nil, err
	}
	if old != nil && older(c.md, old.md) {
		a.olderThanCached = true
		return nil, fmt.Errorf("repomd.xml has revision %.40q, older than %.40q in the cache: %w", c.md.Revision, old.md.Revision, errStale)
	}
	return c, nil
}

func (w *work) looksForSignature() bool {
	return w.repo.RepoGPGCheck == CheckRequired || w.repo.RepoGPGCheck == CheckIfPresent && hasKeys(w.repo.Keyring)
}

// signature brings and verifies repomd.xml.asc.
func (a *attempt) signature(ctx context.Context, c *cached, bust bool) error {
	if !a.looksForSignature() {
		return nil
	}
	u, err := join(a.mirror, "repodata/repomd.xml.asc")
	if err != nil {
		return err
	}
	got, err := a.getSmall(ctx, request{url: u, bust: bust, effort: a.effort}, maxAsc)
	switch {
	case err == nil && isHTML(got.data):
		// Some servers answer 200 with a page to anything. Whether there is a signature is then unknown.
		err = fmt.Errorf("repomd.xml.asc: %w", errHTML)
		if a.repo.RepoGPGCheck == CheckRequired || a.sawSignature {
			return fmt.Errorf("%w: %w", err, ErrSignature)
		}
		return err
	case err == nil:
		c.asc = got.data
		a.sawSignature = true
	case !missing(err):
		return fmt.Errorf("repomd.xml.asc: %w", err)
	case a.sawSignature:
		// Taking one away must not help who cannot make one.
		return fmt.Errorf("repomd.xml.asc is missing here, while another mirror has one: %w", ErrSignature)
	case a.cached != nil && a.cached.asc != nil && a.repo.RepoGPGCheck != CheckRequired:
		a.warnings = append(a.warnings, fmt.Sprintf("repository %s was signed before and is not any more", a.repo.ID))
	}
	c.sig, err = judgeSignature(a.repo, c.raw, c.asc)
	if errors.Is(err, errBadSignature) && !bust && a.mirror.Scheme != "file" {
		// The two files may be from before and after an update.
		return fmt.Errorf("%w: %w", err, errMidSync)
	}
	return err
}

// judgeSignature applies the repository's policy to repomd.xml and its signature, nil where there is none. The result is
// nil where nothing was verified.
func judgeSignature(r Repo, repomd, asc []byte) (*rpmsig.Result, error) {
	switch {
	case r.RepoGPGCheck == CheckNever, asc == nil && r.RepoGPGCheck == CheckIfPresent, !hasKeys(r.Keyring) && r.RepoGPGCheck != CheckRequired:
		return nil, nil
	case asc == nil:
		return nil, fmt.Errorf("repomd.xml.asc is missing, and a signature is required: %w", ErrSignature)
	}
	res, err := rpmsig.VerifyDetached(bytes.NewReader(repomd), asc, r.Keyring)
	if err != nil {
		return nil, fmt.Errorf("repomd.xml.asc: %w: %w", err, ErrSignature)
	}
	if res.Status == rpmsig.Good && (res.HashAlgo == "SHA1" || res.HashAlgo == "MD5") {
		// Files with a chosen digest can be made for both.
		return nil, fmt.Errorf("repomd.xml.asc: signature of key %s rests on %s, which is too weak: %w", res.KeyID, res.HashAlgo, ErrSignature)
	}
	if res.Status == rpmsig.Good {
		return &res, nil
	}
	sentinel := ErrSignature
	if res.Status == rpmsig.Bad {
		sentinel = errBadSignature
	}
	text := "repomd.xml.asc: signature " + string(res.Status)
	if res.KeyID != "" {
		text += ", key " + res.KeyID
	}
	if res.Reason != "" {
		text += " (" + res.Reason + ")"
	}
	return nil, fmt.Errorf("%s: %w", text, sentinel)
}

// errBadSignature is a signature that does not fit, as against one that cannot be judged.
var errBadSignature = fmt.Errorf("%w", ErrSignature)

// older compares two repomd.xml: by revision where both are numbers (createrepo_c writes the time), else by the newest
// time stamp of their records.
func older(a, b *repodata.Repomd) bool {
	ra, errA := strconv.ParseInt(a.Revision, 10, 64)
	rb, errB := strconv.ParseInt(b.Revision, 10, 64)
	if errA == nil && errB == nil && ra != rb {
		return ra < rb
	}
	ta, tb := newest(a), newest(b)
	return ta > 0 && tb > 0 && ta < tb
}

func newest(md *repodata.Repomd) int64 {
	var t int64
	for _, r := range md.Records {
		t = max(t, r.Timestamp)
	}
	return t
}

// fetchRecord makes sure that a metadata file is in the cache and is what repomd.xml says.
func (ss *session) fetchRecord(ctx context.Context, dir string, mirror *url.URL, rec repodata.Record, e effort) error {
	dst := cacheFile(dir, rec)
	want := wanted{sum: rec.Checksum, size: rec.Size}
	if _, err := os.Lstat(dst); err == nil {
		if want.verify(dst) == nil {
			return nil
		}
		if err := os.Remove(dst); err != nil {
			return fmt.Errorf("cannot remove damaged %s: %w: %w", dst, err, ErrCache)
		}
	}
	if mirror == nil {
		return fmt.Errorf("%s is not in the cache: %w", rec.Type, ErrOffline)
	}
	if rec.Size > maxMetadata || rec.OpenSize > maxOpen {
		return fmt.Errorf("%s: %d bytes announced, %d uncompressed: %w", rec.Location, rec.Size, rec.OpenSize, ErrTooLarge)
	}
	base, err := based(mirror, rec.LocationBase)
	if err != nil {
		return err
	}
	u, err := join(base, rec.Location)
	if err != nil {
		return err
	}
	part := dst + ".part"
	if err := ss.download(ctx, u, part, want, e); err != nil {
		err = fmt.Errorf("%s: %w", rec.Location, err)
		if missing(err) || errors.Is(err, ErrDigest) {
			err = fmt.Errorf("%w: %w", err, errMidSync)
		}
		return err
	}
	if err := os.Rename(part, dst); err != nil {
		return fmt.Errorf("cannot put %s in place: %w: %w", dst, err, ErrCache)
	}
	return nil
}

func isLoopback(u *url.URL) bool {
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}
