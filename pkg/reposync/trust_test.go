package reposync_test

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

func TestSignature(t *testing.T) {
	signer, other := newSigner(t, "signer"), newSigner(t, "other")
	ring := signer.ring(t)
	tr := makeRepo(repoSpec{revision: 1})
	good := signer.sign(t, tr)
	bad := good.with("repodata/repomd.xml", append(append([]byte(nil), tr["repodata/repomd.xml"]...), '\n'))
	unknown := other.sign(t, tr)
	otherID := other.ring(t).Fingerprints()[0]
	otherID = strings.ToLower(otherID[len(otherID)-16:])
	for _, tc := range []struct {
		name  string
		tree  tree
		check reposync.Check
		ring  *rpmsig.Keyring
		text  string // of the error; empty: none
		good  bool   // verified
	}{
		{"good", good, reposync.CheckIfPresent, ring, "", true},
		{"good, the default", good, "", ring, "", true},
		{"good, required", good, reposync.CheckRequired, ring, "", true},
		{"good, never asked", good, reposync.CheckNever, ring, "", false},
		{"good, no keys", good, reposync.CheckIfPresent, nil, "", false},
		{"good, empty ring", good, reposync.CheckIfPresent, rpmsig.NewKeyring(), "", false},
		{"required, no keys", good, reposync.CheckRequired, nil, "no key to verify", false},
		{"bad", bad, reposync.CheckIfPresent, ring, "signature bad", false},
		{"bad, required", bad, reposync.CheckRequired, ring, "signature bad", false},
		{"unknown key", unknown, reposync.CheckIfPresent, ring, otherID, false},
		{"garbage", tr.with("repodata/repomd.xml.asc", []byte("garbage")), reposync.CheckIfPresent, ring, "repomd.xml.asc", false},
		{"empty", tr.with("repodata/repomd.xml.asc", []byte{}), reposync.CheckIfPresent, ring, "repomd.xml.asc", false},
		{"missing", tr, reposync.CheckIfPresent, ring, "", false},
		{"missing, required", tr, reposync.CheckRequired, ring, "missing, and a signature is required", false},
		{"HTML, required", tr.with("repodata/repomd.xml.asc", []byte(htmlPage)), reposync.CheckRequired, ring, "HTML page", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMirror(t, tc.tree)
			dir := t.TempDir()
			tc.tree.write(t, dir)
			for _, base := range []string{m.URL, dir} {
				got, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), reposync.Repo{ID: "r", BaseURLs: []string{base}, Keyring: tc.ring, RepoGPGCheck: tc.check})
				if tc.text != "" {
					if !errors.Is(err, reposync.ErrSignature) || !strings.Contains(err.Error(), tc.text) {
						t.Errorf("error %v, want ErrSignature with %q", err, tc.text)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got.Close()
				if (got.Signature != nil) != tc.good || tc.good && got.Signature.Status != rpmsig.Good {
					t.Errorf("signature %+v", got.Signature)
				}
			}
		})
	}
	repo := reposync.Repo{ID: "r", Keyring: ring}

	// A mirror with a bad signature is passed over, but one where it was taken away is no way around it.
	a, b := newMirror(t, bad), newMirror(t, tr)
	repo.BaseURLs = []string{a.URL, b.URL}
	if _, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrSignature) || !strings.Contains(err.Error(), "another mirror has one") {
		t.Errorf("stripped signature: %v", err)
	}
	b.set(good)
	if got := mustSync(t, newSyncer(t, reposync.Options{}), repo); got.Signature == nil || got.BaseURL != b.URL {
		t.Errorf("signature %+v from %s", got.Signature, got.BaseURL)
	}

	// An answer in between update: the second look gets the pair that fits.
	a.onRequest(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Cache-Control") == "no-cache" {
			a.set(good)
		}
		return false
	})
	repo.BaseURLs = []string{a.URL}
	mustSync(t, newSyncer(t, reposync.Options{}), repo)

	// No silent use of the cache where somebody may be tampering, nor of a copy that today's keys do not cover.
	dir := t.TempDir()
	mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	a.onRequest(nil)
	a.set(signer.sign(t, makeRepo(repoSpec{revision: 2})).with("repodata/repomd.xml", makeRepo(repoSpec{revision: 3})["repodata/repomd.xml"]))
	if _, err := newSyncer(t, reposync.Options{CacheDir: dir}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrSignature) {
		t.Errorf("bad signature with a cached copy: %v", err)
	}
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir, Offline: true}), repo)
	if got.Revision != "1" || got.Signature == nil {
		t.Errorf("cached copy: revision %s, signature %v", got.Revision, got.Signature)
	}
	repo.Keyring = other.ring(t)
	if _, err := newSyncer(t, reposync.Options{CacheDir: dir, Offline: true}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrOffline) {
		t.Errorf("cached copy under other keys: %v", err)
	}
}

// TestSignatureGone: a repository that was signed and is not any more says so.
func TestSignatureGone(t *testing.T) {
	signer := newSigner(t, "signer")
	m := newMirror(t, signer.sign(t, makeRepo(repoSpec{revision: 1})))
	s := newSyncer(t, reposync.Options{})
	repo := reposync.Repo{ID: "r", BaseURLs: []string{m.URL}, Keyring: signer.ring(t)}
	mustSync(t, s, repo)
	m.set(makeRepo(repoSpec{revision: 2}))
	got := mustSync(t, s, repo)
	if got.Signature != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "signed before") {
		t.Errorf("warnings %q", got.Warnings)
	}
}

func TestMirrorlist(t *testing.T) {
	m := newMirror(t, makeRepo(repoSpec{revision: 1}).with("lists/x", nil))
	tr := m.tree
	served := tree{}
	for k, v := range tr {
		served["el/9/x86_64/"+k] = v
	}
	list := func(text string) tree { return served.with("list", []byte(text)) }
	vars := map[string]string{"basearch": "x86_64", "releasever": "9"}
	repo := reposync.Repo{ID: "r", Mirrorlist: m.URL + "/list?arch=$basearch", Vars: vars}
	dir := t.TempDir()

	m.set(list("# comment\r\n\r\nrsync://x/y\n" + "file:///etc\n/etc\n" + m.URL + "/gone/\n" + m.URL + "/el/${releasever}/$basearch\n"))
	got := mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	if got.BaseURL != m.URL+"/el/9/x86_64" {
		t.Errorf("served by %s", got.BaseURL)
	}
	m.requests()

	// The list cannot be had: the mirrors of the last time serve, and the one that worked is asked first.
	m.set(served)
	got = mustSync(t, newSyncer(t, reposync.Options{CacheDir: dir}), repo)
	if got.Stale || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "mirrorlist") {
		t.Errorf("remembered mirrors: stale %v, %q", got.Stale, got.Warnings)
	}
	if reqs := m.requests(); len(reqs) != 2 {
		t.Errorf("requests %q", reqs)
	}

	for text, want := range map[string]string{
		htmlPage:           "HTML page",
		"":                 "empty",
		"# only comments":  "empty",
		"Invalid release":  `begins with "Invalid release"`,
		"rsync://a/\nftp:": "no usable URL",
	} {
		m.set(list(text))
		_, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), repo)
		if !errors.Is(err, reposync.ErrMetadata) || !strings.Contains(err.Error(), want) {
			t.Errorf("list %.20q: %v", text, err)
		}
		// baseurl is the way out.
		withBase := repo
		withBase.BaseURLs = []string{m.URL + "/el/9/$basearch/"}
		got := mustSync(t, newSyncer(t, reposync.Options{}), withBase)
		if len(got.Warnings) != 1 {
			t.Errorf("list %.20q with baseurl: %q", text, got.Warnings)
		}
	}

	// Politeness: no more than MaxMirrors are bothered.
	m.set(list(m.URL + "/a\n" + m.URL + "/b\n" + m.URL + "/c\n" + m.URL + "/d\n"))
	m.requests()
	_, err := newSyncer(t, reposync.Options{MaxMirrors: 2}).Sync(t.Context(), repo)
	if !errors.Is(err, reposync.ErrNotFound) || !strings.Contains(err.Error(), "2 mirrors") {
		t.Errorf("error %v", err)
	}
	if reqs := m.requests(); len(reqs) != 3 {
		t.Errorf("requests %q", reqs)
	}
}

func metalinkFor(current []byte, alternates [][]byte, urls ...string) []byte {
	file := func(b []byte) string {
		s5 := sha512.Sum512(b)
		return fmt.Sprintf(`<mm0:timestamp>1700000000</mm0:timestamp><size>%d</size><verification><hash type="md5">00</hash>`+
			`<hash type="sha256">%s</hash><hash type="sha512">%s</hash></verification>`, len(b), sum(b), hex.EncodeToString(s5[:]))
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><metalink version="3.0" xmlns="http://www.metalinker.org/" ` +
		`type="dynamic" xmlns:mm0="http://fedorahosted.org/mirrormanager"><files><file name="repomd.xml">` + file(current) + `<mm0:alternates>`)
	for _, a := range alternates {
		b.WriteString(`<mm0:alternate>` + file(a) + `</mm0:alternate>`)
	}
	b.WriteString(`</mm0:alternates><resources maxconnections="1"><url protocol="rsync" type="rsync" preference="100">rsync://x/repodata/repomd.xml</url>`)
	for i, u := range urls {
		fmt.Fprintf(&b, `<url protocol="http" type="http" location="US" preference="%d">%s/repodata/repomd.xml</url>`, 10+i, u)
	}
	b.WriteString(`</resources></file></files></metalink>`)
	return []byte(b.String())
}

func TestMetalink(t *testing.T) {
	one, two, rogue := makeRepo(repoSpec{revision: 1}), makeRepo(repoSpec{revision: 2}), makeRepo(repoSpec{revision: 9})
	a, b := newMirror(t, one), newMirror(t, two)
	link := metalinkFor(two["repodata/repomd.xml"], [][]byte{one["repodata/repomd.xml"]}, b.URL, a.URL) // a is preferred
	lists := newMirror(t, tree{"metalink": link})
	repo := reposync.Repo{ID: "r", Metalink: lists.URL + "/metalink"}

	got := mustSync(t, newSyncer(t, reposync.Options{}), repo)
	if got.Revision != "2" || len(got.Warnings) > 0 || !strings.HasPrefix(got.BaseURL, b.URL) {
		t.Errorf("one stale mirror: revision %s from %s, %q", got.Revision, got.BaseURL, got.Warnings)
	}
	if len(a.requests()) == 0 {
		t.Error("the preferred mirror was not asked first")
	}
	b.set(one)
	got = mustSync(t, newSyncer(t, reposync.Options{}), repo)
	if got.Revision != "1" || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "older metadata than the metalink promises") {
		t.Errorf("all stale: revision %s, %q", got.Revision, got.Warnings)
	}
	a.set(rogue)
	b.set(rogue)
	if _, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrDigest) || !strings.Contains(err.Error(), "metalink describes") {
		t.Errorf("another repomd.xml: %v", err)
	}
	for _, text := range []string{htmlPage, "", "<metalink/>", string(link[:300]),
		strings.Replace(string(link), `"sha256">`, `"sha256">zz`, 1), strings.Replace(string(link), "<size>", "<size>-", 1),
		string(metalinkFor(two["repodata/repomd.xml"], nil))} {
		lists.set(tree{"metalink": []byte(text)})
		if _, err := newSyncer(t, reposync.Options{}).Sync(t.Context(), repo); !errors.Is(err, reposync.ErrMetadata) {
			t.Errorf("metalink %.60q: %v", text, err)
		}
	}
}

func TestParsedMirrors(t *testing.T) {
	list, err := reposync.ParseMirrorlist([]byte("https://a/$basearch/\n  http://b/x  \nfile:///etc/passwd\n"), map[string]string{"basearch": "aarch64"})
	if err != nil || len(list) != 2 || list[0].String() != "https://a/aarch64/" || list[1].String() != "http://b/x" {
		t.Errorf("%v, %v", list, err)
	}
}

func TestContentRange(t *testing.T) {
	for v, want := range map[string]struct {
		from, total int64
		ok          bool
	}{
		"bytes 5-9/10": {5, 10, true}, "bytes 5-9/*": {5, -1, true}, "bytes 5-10/10": {5, 10, false}, "bytes 9-5/10": {9, 10, false},
		"bytes */10": {0, 0, false}, "": {0, 0, false}, "bytes 5-9": {0, 0, false}, "bytes 99999999999999999999-9/1": {0, 0, false},
	} {
		from, total, ok := reposync.ContentRange(v)
		if ok != want.ok || ok && (from != want.from || total != want.total) {
			t.Errorf("ContentRange(%q) = %d, %d, %v", v, from, total, ok)
		}
	}
}

func FuzzMirrorlist(f *testing.F) {
	for _, s := range []string{"", "http://a/\n", "# x\r\nhttps://u:p@h:1/$basearch/${releasever}\n", "file:///etc\n", htmlPage, "http://[::1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := reposync.ParseMirrorlist(data, map[string]string{"basearch": "x86_64"})
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d URLs, error %v", len(list), err)
		}
		for _, u := range list {
			if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
				t.Fatalf("URL %q", u)
			}
		}
	})
}

func FuzzMetalink(f *testing.F) {
	f.Add(metalinkFor([]byte("x"), [][]byte{[]byte("y")}, "http://a", "https://b/c"))
	f.Add([]byte("<metalink><files><file name='repomd.xml'/></files></metalink>"))
	f.Add([]byte(htmlPage))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := reposync.ParseMetalinkMirrors(data)
		if (err == nil) != (n > 0) {
			t.Fatalf("%d mirrors, error %v", n, err)
		}
	})
}

func FuzzJoin(f *testing.F) {
	for _, s := range []string{"repodata/x.gz", "../x", "%2e%2e/x", "a%2Fb", "a?b#c", "/x", "http://h/x", "a//b", "%zz", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		for _, base := range []string{"https://h/a/b", "https://h/a%20b/", "file:///srv/repo"} {
			got, err := reposync.JoinString(base, location)
			if err != nil {
				continue
			}
			prefix := map[string]string{"https://h/a/b": "https://h/a/b/", "https://h/a%20b/": "https://h/a%20b/", "file:///srv/repo": "file:///srv/repo/"}[base]
			if !strings.HasPrefix(got, prefix) || strings.Contains(got, "/../") || strings.HasSuffix(got, "/..") {
				t.Fatalf("Join(%q, %q) = %q", base, location, got)
			}
		}
	})
}
