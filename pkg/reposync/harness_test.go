package reposync_test

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
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

// tree is a repository as it lies on a server: path to content.
type tree map[string][]byte

// tree options
type repoSpec struct {
	revision int
	packages int
	pad      int    // bytes of hardly compressible padding in primary.xml
	modules  string // modules.yaml; empty: none
	openSize int64  // announced in place of the true one
	size     int64
	location string // of primary in place of the true one
	extra    string // further records
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func gz(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b)
	_ = w.Close()
	return buf.Bytes()
}

// noise is reproducible text that does not compress away.
func noise(seed string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(sum([]byte(fmt.Sprint(seed, i))))
	}
	return b.String()[:n]
}

func rpmContent(name string) []byte { return []byte("package " + name + "\n" + noise(name, 20000)) }

func record(typ, location string, file, open []byte, size, openSize int64) string {
	if size == 0 {
		size = int64(len(file))
	}
	if openSize == 0 {
		openSize = int64(len(open))
	}
	return fmt.Sprintf(`<data type="%s"><checksum type="sha256">%s</checksum><open-checksum type="sha256">%s</open-checksum>`+
		`<location href="%s"/><timestamp>%d</timestamp><size>%d</size><open-size>%d</open-size></data>`,
		typ, sum(file), sum(open), location, 1700000000, size, openSize)
}

func makeRepo(spec repoSpec) tree {
	if spec.packages == 0 {
		spec.packages = 3
	}
	tr := tree{}
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, spec.packages)
	for i := range spec.packages {
		name := fmt.Sprintf("pkg%d", i)
		content := rpmContent(name)
		location := fmt.Sprintf("Packages/%s-1-%d.noarch.rpm", name, spec.revision)
		tr[location] = content
		fmt.Fprintf(&b, `<package type="rpm"><name>%s</name><arch>noarch</arch><version epoch="0" ver="1" rel="%d"/>`+
			`<checksum type="sha256" pkgid="YES">%s</checksum><summary>s</summary><description>%s</description><packager/><url/>`+
			`<time file="1" build="1"/><size package="%d" installed="1" archive="1"/><location href="%s"/>`+
			`<format><rpm:license>MIT</rpm:license><rpm:vendor/><rpm:group>x</rpm:group><rpm:buildhost/><rpm:sourcerpm>%s-1-1.src.rpm</rpm:sourcerpm>`+
			`<rpm:header-range start="1" end="2"/><rpm:provides><rpm:entry name="%s" flags="EQ" epoch="0" ver="1" rel="%d"/></rpm:provides></format></package>`,
			name, spec.revision, sum(content), noise(name, spec.pad/spec.packages), len(content), location, name, name, spec.revision)
	}
	b.WriteString("</metadata>\n")
	primary := []byte(b.String())
	file := gz(primary)
	location := "repodata/" + sum(file) + "-primary.xml.gz"
	tr[location] = file
	if spec.location != "" {
		location = spec.location
	}
	records := record("primary", location, file, primary, spec.size, spec.openSize)
	lists := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="0"></filelists>`)
	tr["repodata/"+sum(gz(lists))+"-filelists.xml.gz"] = gz(lists)
	records += record("filelists", "repodata/"+sum(gz(lists))+"-filelists.xml.gz", gz(lists), lists, 0, 0)
	if spec.modules != "" {
		m := []byte(spec.modules)
		tr["repodata/"+sum(gz(m))+"-modules.yaml.gz"] = gz(m)
		records += record("modules", "repodata/"+sum(gz(m))+"-modules.yaml.gz", gz(m), m, 0, 0)
	}
	tr["repodata/repomd.xml"] = []byte(fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>%d</revision>%s%s</repomd>`, spec.revision, records, spec.extra))
	return tr
}

func (tr tree) primary(t testing.TB) string {
	t.Helper()
	for name := range tr {
		if strings.HasSuffix(name, "-primary.xml.gz") {
			return name
		}
	}
	t.Fatal("no primary")
	return ""
}

// write lays the tree out on disk.
func (tr tree) write(t testing.TB, dir string) {
	t.Helper()
	for name, content := range tr {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// mirror is an HTTP server with a tree and a log of its requests. hook, if set, may answer in place of the tree.
type mirror struct {
	*httptest.Server
	mu   sync.Mutex
	tree tree
	hook func(w http.ResponseWriter, r *http.Request) bool
	log  []string
	reqs []*http.Request
}

func newMirror(t testing.TB, tr tree) *mirror {
	t.Helper()
	m := &mirror{tree: tr}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func newTLSMirror(t testing.TB, tr tree, start func(*httptest.Server)) *mirror {
	t.Helper()
	m := &mirror{tree: tr}
	m.Server = httptest.NewUnstartedServer(m)
	m.Config.ErrorLog = quiet()
	start(m.Server)
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	m.mu.Lock()
	entry := name
	if rng := r.Header.Get("Range"); rng != "" {
		entry += " " + rng
	}
	m.log = append(m.log, entry)
	m.reqs = append(m.reqs, r.Clone(r.Context()))
	hook := m.hook
	m.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	m.mu.Lock()
	content, ok := m.tree[name] // the hook may have changed it
	m.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"`+sum(content)[:16]+`"`)
	http.ServeContent(w, r, name, time.Unix(1700000000, 0), bytes.NewReader(content))
}

func (m *mirror) set(tr tree) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tree = tr
}

func (m *mirror) onRequest(hook func(w http.ResponseWriter, r *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// requests returns the log and begins a new one. Names are shortened to their last part without the digest.
func (m *mirror) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, l := range m.log {
		l = l[strings.LastIndexByte(strings.SplitN(l, " ", 2)[0], '/')+1:]
		if len(l) > 65 && l[64] == '-' {
			l = l[65:]
		}
		out = append(out, l)
	}
	m.log = nil
	return out
}

// cut answers with the announced length but closes the connection after n bytes.
func cut(w http.ResponseWriter, status int, header http.Header, content []byte, n int) {
	for k, v := range header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// events collects what Progress gets.
type events struct {
	mu   sync.Mutex
	list []reposync.Event
}

func (e *events) add(ev reposync.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) kind(k reposync.EventKind) []reposync.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []reposync.Event
	for _, ev := range e.list {
		if ev.Kind == k {
			out = append(out, ev)
		}
	}
	return out
}

func mustSync(t testing.TB, s *reposync.Syncer, r reposync.Repo) *reposync.Synced {
	t.Helper()
	got, err := s.Sync(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Close() })
	return got
}

// signer makes keys and detached signatures.
type signer struct{ entity *openpgp.Entity }

func newSigner(t testing.TB, name string) *signer {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return &signer{e}
}

func (s *signer) ring(t testing.TB) *rpmsig.Keyring {
	t.Helper()
	var buf bytes.Buffer
	if err := s.entity.Serialize(&buf); err != nil {
		t.Fatal(err)
	}
	keys, problems := rpmsig.ParseKeys(buf.Bytes())
	if len(keys) != 1 {
		t.Fatalf("generated key: %d, %v", len(keys), problems)
	}
	return rpmsig.NewKeyring(keys...)
}

func (s *signer) sign(t testing.TB, tr tree) tree {
	t.Helper()
	var buf bytes.Buffer
	err := openpgp.ArmoredDetachSign(&buf, s.entity, bytes.NewReader(tr["repodata/repomd.xml"]), &packet.Config{DefaultHash: crypto.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	out := tree{}
	for k, v := range tr {
		out[k] = v
	}
	out["repodata/repomd.xml.asc"] = buf.Bytes()
	return out
}

func (tr tree) with(name string, content []byte) tree {
	out := tree{}
	for k, v := range tr {
		out[k] = v
	}
	if content == nil {
		delete(out, name)
	} else {
		out[name] = content
	}
	return out
}

func drain(r io.ReadCloser) ([]byte, error) {
	defer r.Close()
	return io.ReadAll(r)
}
