package reposync_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func realKeys(t *testing.T, file string) *rpmsig.Keyring {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(realdata.Dir(t), "keys", file))
	if err != nil {
		t.Fatal(err)
	}
	keys, problems := rpmsig.ParseKeys(data)
	if len(keys) == 0 {
		t.Fatalf("no key in %s: %v", file, problems)
	}
	return rpmsig.NewKeyring(keys...)
}

// TestRealSignedRepository syncs the CentOS Kmods SIG's repository, signed by the SIG itself.
func TestRealSignedRepository(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "repodata/centos8-kmods-sig-aarch64")
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	for _, base := range []string{"file://" + dir, dir, srv.URL, srv.URL + "/"} {
		s := newSyncer(t, reposync.Options{})
		got, err := s.Sync(t.Context(), reposync.Repo{ID: "kmods", BaseURLs: []string{base}, RepoGPGCheck: reposync.CheckRequired,
			Keyring: realKeys(t, "centos/RPM-GPG-KEY-CentOS-SIG-Kmods")})
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if got.Index.Len() != 111 || got.Revision != "1692707957" || got.Stale || len(got.Warnings) > 0 {
			t.Errorf("%s: %d packages, revision %s, stale %v, warnings %q", base, got.Index.Len(), got.Revision, got.Stale, got.Warnings)
		}
		if got.Signature == nil || got.Signature.Status != rpmsig.Good {
			t.Errorf("%s: signature %+v", base, got.Signature)
		}
		r, err := s.Filelists(t.Context(), got)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != 119577 {
			t.Errorf("filelists: %d bytes, %v", n, err)
		}
		r.Close()
	}
	s := newSyncer(t, reposync.Options{})
	_, err := s.Sync(t.Context(), reposync.Repo{ID: "kmods", BaseURLs: []string{dir}, Keyring: realKeys(t, "alma/RPM-GPG-KEY-AlmaLinux-9")})
	if !errors.Is(err, reposync.ErrSignature) {
		t.Errorf("with another vendor's keys: %v", err)
	}
	t.Log(err)
}

// TestRealStream9 syncs repositories of real size, with modules in xz.
func TestRealStream9(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "repodata")
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	s := newSyncer(t, reposync.Options{MaxAge: -1})
	repos := []reposync.Repo{
		{ID: "baseos", BaseURLs: []string{srv.URL + "/centos-stream9-baseos-2022-02"}},
		{ID: "appstream", BaseURLs: []string{srv.URL + "/centos-stream9-appstream-2025-01"}},
	}
	for _, when := range []string{"cold", "warm"} {
		for i, res := range s.SyncAll(t.Context(), repos, 2) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			if n := res.Synced.Index.Len(); n != []int{1125, 17649}[i] {
				t.Errorf("%s: %s has %d packages", when, res.Repo.ID, n)
			}
			res.Synced.Close()
		}
	}
}
