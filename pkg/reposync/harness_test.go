package reposync_test

import (
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// newSyncer returns a Syncer with pauses that suit a test and a cache of its own unless one is given.
func newSyncer(t testing.TB, o reposync.Options) *reposync.Syncer {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	if o.RetryWaitMin == 0 {
		o.RetryWaitMin, o.RetryWaitMax = time.Millisecond, 2*time.Millisecond
	}
	s, err := reposync.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
