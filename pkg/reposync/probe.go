package reposync

import (
	"context"
	"errors"
	"fmt"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// Probe asks whether a repository answers: one of its mirrors has a repomd.xml that can be read. Nothing else is fetched,
// nothing is verified or kept. It returns the mirror that answered, redacted. The errors are those of Sync.
func (s *Syncer) Probe(ctx context.Context, r Repo) (baseURL string, err error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("cannot reach repository %s: %w", r.ID, err) }
	r, err = s.opt.resolved(r)
	if err != nil {
		return fail(err)
	}
	c, err := s.conn(r)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Deadline, errDeadline)
	defer cancel()
	ss := &session{s: s, repo: r, conn: c}
	set, err := ss.mirrors(ctx, nil)
	if err != nil {
		return fail(err)
	}
	if set == nil { // nobody may be asked
		return fail(ErrOffline)
	}
	var errs []error
	tries := min(len(set.urls), s.opt.MaxMirrors)
	for i, m := range set.urls[:tries] {
		u, err := join(m, "repodata/repomd.xml")
		if err != nil {
			return fail(err)
		}
		got, err := ss.getSmall(ctx, request{url: u, effort: s.opt.effort(i, tries)}, maxMetalink)
		if err == nil {
			if _, err = repodata.ParseRepomd(got.data); err == nil {
				return redactURL(m), nil
			}
			err = fmt.Errorf("%w: %w", ErrMetadata, err)
		}
		s.remember(m, err)
		errs = append(errs, fmt.Errorf("%s: %w", redactURL(m), err))
	}
	return fail(errors.Join(errs...))
}
