package reposync_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/reposync"
)

func TestProbe(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/good/repodata/repomd.xml":
			_, _ = w.Write([]byte(`<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary"><checksum type="sha256">` + strings.Repeat("0", 64) + `</checksum><location href="repodata/p.xml.gz"/><size>1</size></data></repomd>`))
		case "/list":
			_, _ = w.Write([]byte("http://" + r.Host + "/gone\nhttp://" + r.Host + "/good\n"))
		case "/login/repodata/repomd.xml":
			w.WriteHeader(http.StatusUnauthorized)
		case "/portal/repodata/repomd.xml":
			_, _ = w.Write([]byte("<!DOCTYPE html><html>log in</html>"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	s, err := reposync.New(reposync.Options{CacheDir: t.TempDir(), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		name string
		repo reposync.Repo
		want string
		err  error
	}{
		{"answers", reposync.Repo{BaseURLs: []string{srv.URL + "/good"}}, srv.URL + "/good", nil},
		{"second of a mirrorlist", reposync.Repo{Mirrorlist: srv.URL + "/list"}, srv.URL + "/good", nil},
		{"not there", reposync.Repo{BaseURLs: []string{srv.URL + "/gone"}}, "", reposync.ErrNotFound},
		{"wants a password", reposync.Repo{BaseURLs: []string{srv.URL + "/login"}}, "", reposync.ErrLogin},
		{"a portal's page", reposync.Repo{BaseURLs: []string{srv.URL + "/portal"}}, "", reposync.ErrMetadata},
		{"nobody listens", reposync.Repo{BaseURLs: []string{"http://127.0.0.1:1/"}}, "", reposync.ErrUnreachable},
	} {
		c.repo.ID = "x"
		got, err := s.Probe(t.Context(), c.repo)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	before := asked
	off, err := reposync.New(reposync.Options{CacheDir: t.TempDir(), Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := off.Probe(t.Context(), reposync.Repo{ID: "x", BaseURLs: []string{srv.URL + "/good"}}); !errors.Is(err, reposync.ErrOffline) || asked != before {
		t.Errorf("offline: %v, asked %d times", err, asked-before)
	}
}
