package reposync

import (
	"context"
	"fmt"
	"path/filepath"
)

// FetchFile brings one small file, a key say, with the transport settings of r. Nothing is verified and nothing is
// cached: that is for the caller, who knows what the file must be. The errors are those of Sync.
func (s *Syncer) FetchFile(ctx context.Context, r Repo, rawURL string, limit int64) ([]byte, error) {
	fail := func(err error) error { return fmt.Errorf("cannot fetch %s: %w", Redact(rawURL), err) }
	if len(r.BaseURLs) == 0 {
		r.BaseURLs = []string{rawURL}
	}
	if r.ID == "" {
		r.ID = filepath.Base(rawURL)
	}
	r, err := s.opt.resolved(r)
	if err != nil {
		return nil, fail(err)
	}
	c, err := s.conn(r)
	if err != nil {
		return nil, fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Deadline, errDeadline)
	defer cancel()
	data, err := (&session{s: s, repo: r, conn: c}).list(ctx, rawURL, limit)
	if err != nil {
		return nil, fail(err)
	}
	if isHTML(data) {
		return nil, fail(errHTML)
	}
	return data, nil
}
