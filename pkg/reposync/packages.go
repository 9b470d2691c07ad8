package reposync

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"golang.org/x/sys/unix"
)

// errNoSpace is what a full disk says.
var errNoSpace error = unix.ENOSPC

// FetchPackage brings a package of a synced repository to the file dst, with the size and digest that the metadata gives;
// nothing is done where dst is that file already. An interrupted download leaves dst.part, which the next call continues.
// The file is synced to disk. The package's own signature is not looked at.
//
// ErrNotFound: no mirror has it, mostly because the repository was updated after the sync.
func (s *Syncer) FetchPackage(ctx context.Context, synced *Synced, p *repodata.Package, dst string) error {
	want := wanted{sum: repodata.Checksum{Type: p.ChecksumType, Value: p.Pkgid}, size: p.SizePackage}
	what := fmt.Sprintf("fetch package %s from repository %s", p.NEVRA, synced.Repo.ID)
	if want.size < 0 {
		return fmt.Errorf("cannot %s: its size is negative: %w", what, ErrMetadata)
	}
	if want.verify(dst) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Deadline, errDeadline)
	defer cancel()
	part := dst + ".part"
	err := synced.eachMirror(ctx, what, func(m *url.URL, e effort) error {
		base, err := based(m, p.LocationBase)
		if err != nil {
			return err
		}
		u, err := join(base, p.Location)
		if err != nil {
			return err
		}
		return synced.session.download(ctx, u, part, want, e)
	})
	if err != nil {
		return err
	}
	if err := commit(part, dst); err != nil {
		return fmt.Errorf("cannot %s: %w: %w", what, err, ErrCache)
	}
	return nil
}

func commit(part, dst string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, dst)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(dst))
	}
	return err
}

// eachMirror calls fetch with one mirror after the other until one serves.
func (s *Synced) eachMirror(ctx context.Context, what string, fetch func(m *url.URL, e effort) error) error {
	ss := s.session
	s.mu.Lock()
	if len(s.mirrors) == 0 { // the cache keeps no URL with credentials
		set, err := ss.mirrors(ctx, nil)
		if err != nil {
			s.mu.Unlock()
			return fmt.Errorf("cannot %s: %w", what, err)
		}
		s.mirrors = set.urls
	}
	list := ss.s.ordered(slices.Clone(s.mirrors), nil)
	s.mu.Unlock()
	var errs []error
	for i, m := range list {
		if len(errs) == ss.s.opt.MaxMirrors {
			break
		}
		if ss.s.opt.Offline && m.Scheme != "file" {
			continue
		}
		err := fetch(m, ss.s.opt.effort(i, min(len(list), ss.s.opt.MaxMirrors)))
		if err == nil {
			ss.s.remember(m, nil)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cannot %s: %w", what, context.Cause(ctx))
		}
		if errors.Is(err, ErrCache) {
			return fmt.Errorf("cannot %s: %w", what, err)
		}
		if !missing(err) {
			ss.s.remember(m, err)
		}
		ss.s.event(Event{Kind: EventMirror, Repo: ss.repo.ID, URL: redactURL(m), Err: err})
		errs = append(errs, fmt.Errorf("%s: %w", redactURL(m), err))
	}
	if len(errs) == 0 {
		return fmt.Errorf("cannot %s: %w", what, ErrOffline)
	}
	return allMirrors(what, errs)
}

// based applies the xml:base of a location. Metadata that came over TLS must not lead to plain http, and none to files of
// this machine.
func based(mirror *url.URL, base string) (*url.URL, error) {
	if base == "" {
		return mirror, nil
	}
	u, ok := listedURL(base)
	if !ok {
		return nil, fmt.Errorf("xml:base %.200q is no http or https URL: %w", Redact(base), ErrMetadata)
	}
	if mirror.Scheme == "https" && u.Scheme != "https" {
		return nil, errDowngrade
	}
	return u, nil
}
