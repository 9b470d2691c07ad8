package reposync_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/google/rpmpack"
)

// TestBusyMirrorIsLeft: with another mirror at hand, a Retry-After is honoured by going there.
func TestBusyMirrorIsLeft(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	busy, idle := newMirror(t, tr), newMirror(t, tr)
	busy.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	var ev events
	got := mustSync(t, newSyncer(t, reposync.Options{Progress: ev.add}), reposync.Repo{ID: "r", BaseURLs: []string{busy.URL, idle.URL}})
	if got.BaseURL != idle.URL || len(ev.kind(reposync.EventRetry)) > 0 || len(busy.requests()) != 1 {
		t.Errorf("served by %s, %d pauses", got.BaseURL, len(ev.kind(reposync.EventRetry)))
	}
}

// TestListKeepsTLS: mirrors without TLS in a list that came over TLS are left out while there are others.
func TestListKeepsTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, _, _ := ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	tr := makeRepo(repoSpec{revision: 1})
	plain := newMirror(t, tr)
	secure := newTLSMirror(t, tr, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		s.StartTLS()
	})
	repo := reposync.Repo{ID: "r", Mirrorlist: secure.URL + "/list", SSLCACert: ca.pem}
	secure.set(tr.with("list", []byte(plain.URL+"\n"+secure.URL+"\n")))
	if got := mustSync(t, newSyncer(t, reposync.Options{}), repo); got.BaseURL != secure.URL {
		t.Errorf("served by %s", got.BaseURL)
	}
	secure.set(tr.with("list", []byte(plain.URL+"\n")))
	if got := mustSync(t, newSyncer(t, reposync.Options{}), repo); got.BaseURL != plain.URL {
		t.Errorf("served by %s", got.BaseURL)
	}
}

// TestBadProxyOfEnvironment: the value is not repeated, it may hold a password.
func TestBadProxyOfEnvironment(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=sync", "CHILD_URL=http://repo.test/", "CHILD_CACHE="+t.TempDir(), "http_proxy=u:hunter2@%zz", "no_proxy=")
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Contains(string(out), "hunter2") {
		t.Errorf("child: %v: %s", err, out)
	}
}

// TestCreaterepo syncs what createrepo_c makes of real packages, in every compression it has.
func TestCreaterepo(t *testing.T) {
	tool, err := exec.LookPath("createrepo_c")
	if err != nil {
		t.Skip("skipped: createrepo_c is not installed")
	}
	dir := t.TempDir()
	for i := range 3 {
		r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{Name: fmt.Sprintf("real%d", i), Version: "1.0", Release: "1.el9", Arch: "noarch", Summary: "s", Licence: "MIT"})
		if err != nil {
			t.Fatal(err)
		}
		r.AddFile(rpmpack.RPMFile{Name: fmt.Sprintf("/etc/real%d.conf", i), Body: []byte("x"), Mode: 0o100644})
		var buf bytes.Buffer
		if err := r.Write(&buf); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("real%d-1.0-1.el9.noarch.rpm", i)), buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	for _, args := range [][]string{
		{"--general-compress-type=gz"}, {"--general-compress-type=bz2"}, {"--general-compress-type=xz"}, {"--general-compress-type=zstd"},
		{"--checksum=sha512"}, {"--checksum=sha1", "--simple-md-filenames"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			out, err := exec.Command(tool, append(append([]string{"--quiet"}, args...), dir)...).CombinedOutput()
			if err != nil {
				if strings.Contains(string(out), "compression") || strings.Contains(string(out), "Unknown") {
					t.Skipf("skipped: this createrepo_c cannot: %s", out)
				}
				t.Fatalf("createrepo_c: %v: %s", err, out)
			}
			s := newSyncer(t, reposync.Options{})
			got := mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{srv.URL}})
			if got.Index.Len() != 3 {
				t.Fatalf("%d packages", got.Index.Len())
			}
			r, err := s.Filelists(t.Context(), got)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := drain(r); err != nil || !strings.Contains(string(data), "real2.conf") {
				t.Errorf("filelists: %v", err)
			}
			dst := t.TempDir()
			var wg sync.WaitGroup
			for i := range 3 {
				p, err := got.Index.Package(i)
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					if err := s.FetchPackage(t.Context(), got, p, filepath.Join(dst, p.Location)); err != nil {
						t.Error(err)
						return
					}
					want, _ := os.ReadFile(filepath.Join(dir, p.Location))
					have, err := os.ReadFile(filepath.Join(dst, p.Location))
					if err != nil || !bytes.Equal(want, have) {
						t.Errorf("%s differs: %v", p.Location, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestIdentity: the cache folder's name is safe and tells repositories apart.
func TestIdentity(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	a, b := newMirror(t, tr), newMirror(t, makeRepo(repoSpec{revision: 2}))
	dir := t.TempDir()
	s := newSyncer(t, reposync.Options{CacheDir: dir})
	var dirs []string
	for _, r := range []reposync.Repo{{ID: "../../x", BaseURLs: []string{a.URL}}, {ID: "../../x", BaseURLs: []string{b.URL}}, {ID: "x y\n", BaseURLs: []string{a.URL}}} {
		got := mustSync(t, s, r)
		if filepath.Dir(got.Dir) != dir {
			t.Errorf("%q leads to %s", r.ID, got.Dir)
		}
		dirs = append(dirs, filepath.Base(got.Dir))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("folders %q, want those of %q", entries, dirs)
	}
	for _, r := range []reposync.Repo{{}, {ID: "r"}, {ID: "r", BaseURLs: []string{""}}, {ID: "r", BaseURLs: []string{a.URL}, RepoGPGCheck: "maybe"}} {
		if _, err := s.Sync(t.Context(), r); err == nil || !strings.Contains(err.Error(), reposync.ErrConfig.Error()) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
