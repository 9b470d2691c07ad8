package reposync_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/filelock"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestConcurrentSyncs: goroutines with Syncers of their own, sharing a cache, fetch once.
func TestConcurrentSyncs(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1, pad: 100000}))
	m.onRequest(func(http.ResponseWriter, *http.Request) bool { time.Sleep(5 * time.Millisecond); return false })
	dir := t.TempDir()
	var ev events
	var wg sync.WaitGroup
	for range 4 {
		s := newSyncer(t, reposync.Options{CacheDir: dir, Progress: ev.add})
		wg.Go(func() {
			got, err := s.Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
			if err != nil {
				t.Error(err)
				return
			}
			if got.Index.Len() != 3 {
				t.Errorf("%d packages", got.Index.Len())
			}
			got.Close()
		})
	}
	wg.Wait()
	n := 0
	for _, r := range m.requests() {
		if r == "primary.xml.gz" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("primary was fetched %d times", n)
	}
}

// TestTwoProcesses: while this process holds the repository, the other one waits; then it uses what is there.
func TestTwoProcesses(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 5, pad: 100000}))
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var cmds []*exec.Cmd
	var outs []*strings.Builder
	for range 2 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"=sync", "CHILD_URL="+m.URL, "CHILD_CACHE="+dir)
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), reposync.Repo{ID: "child", BaseURLs: []string{m.URL}})
	if got.Revision != "5" {
		t.Errorf("revision %s", got.Revision)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil || outs[i].String() != "revision 5\n" {
			t.Errorf("child: %v: %s", err, outs[i])
		}
	}
	n := 0
	for _, r := range m.requests() {
		if r == "primary.xml.gz" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("primary was fetched %d times", n)
	}
}

func TestWaitsForTheLock(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	dir := t.TempDir()
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	l, err := filelock.TryLock(filepath.Join(got.Dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	var ev events
	_, err = newSyncer(t, reposync.Options{CacheDir: dir, Deadline: 60 * time.Millisecond, Progress: ev.add}).Sync(t.Context(), repo)
	if !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("error %v", err)
	}
	if waits := ev.kind(reposync.EventWait); len(waits) != 1 || !strings.Contains(waits[0].Detail, "process") {
		t.Errorf("wait events %+v", waits)
	}
}

// TestDamagedCache: whatever is broken in the cache is made good again, or fetched again, and never believed.
func TestDamagedCache(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}, MaxAge: -1}
	for _, tc := range []struct {
		glob   []string
		remove bool
		want   []string // requests of the repair
	}{
		{[]string{"index-*.bin"}, false, nil},
		{[]string{"index-*.bin"}, true, nil},
		{[]string{"*-primary.gz"}, false, nil}, // the index is all that is needed
		{[]string{"index-*.bin", "*-primary.gz"}, false, []string{"repomd.xml", "primary.xml.gz"}},
		{[]string{"index-*.bin", "*-primary.gz"}, true, []string{"repomd.xml", "primary.xml.gz"}},
		{[]string{"repomd.xml"}, false, []string{"repomd.xml"}},
		{[]string{"repomd.xml"}, true, []string{"repomd.xml"}},
		{[]string{"meta.json"}, false, []string{"repomd.xml"}},
		{[]string{"meta.json"}, true, []string{"repomd.xml"}},
	} {
		dir := t.TempDir()
		first := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
		m.requests()
		for _, g := range tc.glob {
			files, _ := filepath.Glob(filepath.Join(first.Dir, g))
			if len(files) != 1 {
				t.Fatalf("%s: %q", g, files)
			}
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
			if !tc.remove {
				if err := os.WriteFile(files[0], []byte("damaged"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
		if got.Index.Len() != 3 || got.Stale {
			t.Errorf("%q: %d packages, stale %v", tc.glob, got.Index.Len(), got.Stale)
		}
		if d := cmp.Diff(tc.want, m.requests()); d != "" {
			t.Errorf("%q, removed %v: requests (-want +got):\n%s", tc.glob, tc.remove, d)
		}
	}
}

func TestUnusableCache(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{file: "not a", filepath.Join(file, "sub"): "cannot use cache folder", open: "everybody may write"}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(dir, "foreign")
		if err := os.Mkdir(foreign, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, 4242, 4242); err != nil {
			t.Fatal(err)
		}
		cases[foreign] = "belongs to user 4242"
	} else {
		t.Log("skipped without root: a cache folder of another user")
	}
	for path, want := range cases {
		if _, err := reposync.New(reposync.Options{CacheDir: path}); !errors.Is(err, reposync.ErrCache) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := reposync.New(reposync.Options{}); !errors.Is(err, reposync.ErrConfig) {
		t.Errorf("no folder: %v", err)
	}
}

// TestReadOnlyCache: an ordinary user may use root's cache as long as nothing needs to be written.
func TestReadOnlyCache(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}))
	dir := t.TempDir()
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}
	first := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	opt := func(o reposync.Options) *reposync.Syncer { o.CacheDir = dir; return newSyncer(t, o) }
	offline, fresh, asking := opt(reposync.Options{Offline: true}), opt(reposync.Options{MaxAge: time.Hour}), opt(reposync.Options{})
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	} else if err := errors.Join(os.Chmod(first.Dir, 0o555), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
			if err := unix.Setfsuid(65534); err != nil {
				t.Log(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "probe"), nil, 0o600); err == nil {
				t.Error("this thread may still write")
			}
		}
		for name, s := range map[string]*reposync.Syncer{"offline": offline, "fresh": fresh} {
			got, err := s.Sync(t.Context(), repo)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got.Index.Len() != 3 {
				t.Errorf("%s: %d packages", name, got.Index.Len())
			}
			got.Close()
		}
		if _, err := asking.Sync(t.Context(), repo); !errors.Is(err, reposync.ErrCache) || !strings.Contains(err.Error(), first.Dir) {
			t.Errorf("a copy to be confirmed: %v", err)
		}
		if _, err := offline.Sync(t.Context(), reposync.Repo{ID: "other", BaseURLs: []string{m.URL}}); !errors.Is(err, reposync.ErrCache) {
			t.Errorf("a new repository: %v", err)
		}
	}()
	<-done
	if os.Geteuid() != 0 {
		_ = errors.Join(os.Chmod(first.Dir, 0o755), os.Chmod(dir, 0o755))
	}
}

// TestFullCacheDisk: a full disk is said to be one, and leaves nothing that counts as a copy.
func TestFullCacheDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting a small file system to fill needs root")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=755"); err != nil {
		t.Skipf("skipped: cannot mount a small tmpfs: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	m := newMirror(t, makeRepo(repoSpec{revision: 1, pad: 400000}))
	s := newSyncer(t, reposync.Options{CacheDir: dir})
	if _, err := s.Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}); !errors.Is(err, reposync.ErrCache) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v", err)
	}
	s = newSyncer(t, reposync.Options{CacheDir: dir, Offline: true})
	if _, err := s.Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{m.URL}}); !errors.Is(err, reposync.ErrOffline) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	tr := makeRepo(repoSpec{revision: 1})
	tr.write(t, dir)
	repo := reposync.Repo{ID: "local", BaseURLs: []string{"file://" + dir}}
	s := newSyncer(t, reposync.Options{Offline: true, MaxAge: time.Hour})
	got := mustSync(t, s, repo)
	if got.Stale || len(got.Warnings) > 0 {
		t.Errorf("stale %v, %q", got.Stale, got.Warnings)
	}
	p, err := got.Index.Package(2)
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "p.rpm")
	if err := s.FetchPackage(t.Context(), got, p, dst); err != nil {
		t.Error(err)
	}
	// A changed tree is seen at once.
	makeRepo(repoSpec{revision: 2, packages: 4}).write(t, dir)
	if got := mustSync(t, s, repo); got.Revision != "2" {
		t.Errorf("revision %s", got.Revision)
	}
	fresh := func() error {
		_, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), repo)
		return err
	}
	primary := filepath.Join(dir, makeRepo(repoSpec{revision: 2, packages: 4}).primary(t))
	if err := os.Truncate(primary, 50); err != nil {
		t.Fatal(err)
	}
	if err := fresh(); !errors.Is(err, reposync.ErrDigest) || !strings.Contains(err.Error(), primary) {
		t.Errorf("truncated: %v", err)
	}
	if err := os.Remove(primary); err != nil {
		t.Fatal(err)
	}
	if err := fresh(); !errors.Is(err, reposync.ErrNotFound) || !strings.Contains(err.Error(), primary) {
		t.Errorf("missing: %v", err)
	}
	if err := unix.Mkfifo(primary, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fresh(); !errors.Is(err, reposync.ErrUnreachable) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("FIFO: %v", err)
	}
	repo.BaseURLs = []string{"file://" + dir + "/nowhere"}
	if err := fresh(); !errors.Is(err, reposync.ErrNotFound) || !strings.Contains(err.Error(), "/nowhere/repodata/repomd.xml") {
		t.Errorf("no repository: %v", err)
	}
	repo.BaseURLs = []string{"file://otherhost/srv"}
	if err := fresh(); !errors.Is(err, reposync.ErrConfig) {
		t.Errorf("another host's file: %v", err)
	}
}

func TestFetchPackage(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	a, b := newMirror(t, tr), newMirror(t, tr)
	s := newSyncer(t, reposync.Options{})
	got := mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{a.URL, b.URL}})
	p, err := got.Index.Package(0)
	if err != nil {
		t.Fatal(err)
	}
	content := tr[p.Location]
	dst := filepath.Join(t.TempDir(), "p.rpm")
	fetch := func() error { return s.FetchPackage(t.Context(), got, p, dst) }
	check := func(when string) {
		t.Helper()
		if b, err := os.ReadFile(dst); err != nil || string(b) != string(content) {
			t.Errorf("%s: %d bytes, %v", when, len(b), err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dst), "*")); len(left) != 1 {
			t.Errorf("%s: folder holds %q", when, left)
		}
	}
	a.requests()
	if err := fetch(); err != nil {
		t.Fatal(err)
	}
	check("plain")
	a.requests()
	if err := fetch(); err != nil || len(a.requests()) != 0 {
		t.Errorf("fetched again: %v", err)
	}
	// A damaged one is replaced; a broken transfer is continued, from the other mirror at that.
	if err := os.WriteFile(dst, content[:len(content)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	a.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") == "" {
			cut(w, 200, nil, content, 7000)
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	b.requests()
	if err := fetch(); err != nil {
		t.Fatal(err)
	}
	check("broken")
	if d := cmp.Diff([]string{"pkg0-1-1.noarch.rpm bytes=7000-"}, b.requests()); d != "" {
		t.Errorf("second mirror: %s", d)
	}
	a.onRequest(nil)
	// Replaced under the same name: the digest tells; gone: said so.
	if err := os.Remove(dst); err != nil {
		t.Fatal(err)
	}
	resigned := append([]byte(nil), content...)
	resigned[100] ^= 1
	a.set(tr.with(p.Location, resigned))
	b.set(tr.with(p.Location, resigned))
	if err := fetch(); !errors.Is(err, reposync.ErrDigest) || !strings.Contains(err.Error(), "pkg0-1-1.noarch") {
		t.Errorf("replaced: %v", err)
	}
	a.set(tr.with(p.Location, nil))
	b.set(tr.with(p.Location, []byte(htmlPage)))
	if err := fetch(); !errors.Is(err, reposync.ErrNotFound) || !errors.Is(err, reposync.ErrMetadata) {
		t.Errorf("gone: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dst), "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	evil := *p
	evil.Location = "../../../etc/passwd"
	if err := s.FetchPackage(t.Context(), got, &evil, dst); !errors.Is(err, reposync.ErrMetadata) {
		t.Errorf("location that leads out: %v", err)
	}
	evil = *p
	evil.LocationBase = "file:///etc"
	if err := s.FetchPackage(t.Context(), got, &evil, dst); !errors.Is(err, reposync.ErrMetadata) {
		t.Errorf("xml:base of a file: %v", err)
	}
	evil.LocationBase, a.tree = b.URL, tree{}
	b.set(tr)
	if err := s.FetchPackage(t.Context(), got, &evil, dst); err != nil {
		t.Errorf("xml:base: %v", err)
	}
	offline := newSyncer(t, reposync.Options{CacheDir: filepath.Dir(got.Dir), Offline: true})
	cached := mustSync(t, offline, reposync.Repo{ID: "r", BaseURLs: []string{a.URL, b.URL}})
	if err := offline.FetchPackage(t.Context(), cached, p, filepath.Join(t.TempDir(), "x")); !errors.Is(err, reposync.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}

func TestOpen(t *testing.T) {
	tr := makeRepo(repoSpec{revision: 1})
	m := newMirror(t, tr)
	s := newSyncer(t, reposync.Options{})
	got := mustSync(t, s, reposync.Repo{ID: "r", BaseURLs: []string{m.URL}})
	for range 2 {
		r, err := s.Filelists(t.Context(), got)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := drain(r); err != nil || !strings.Contains(string(data), "<filelists") {
			t.Errorf("filelists: %q, %v", data, err)
		}
	}
	if d := cmp.Diff([]string{"repomd.xml", "primary.xml.gz", "filelists.xml.gz"}, m.requests()); d != "" {
		t.Errorf("requests: %s", d)
	}
	if _, err := s.Open(t.Context(), got, "group"); !errors.Is(err, reposync.ErrNotFound) {
		t.Errorf("no such record: %v", err)
	}
}
