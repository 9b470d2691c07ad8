package reposync

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// The files of a repository's folder, beside the metadata files and the index. meta.json is written last: it names the
// digest of the repomd.xml that it belongs to, so that any other pair is no cached copy.
const (
	fileMeta   = "meta.json"
	fileRepomd = "repomd.xml"
	fileAsc    = "repomd.xml.asc"
	fileLock   = ".lock"
)

const (
	metaVersion = 1
	maxMeta     = 4 << 20
	maxRepomd   = 4 << 20 // ParseRepomd's own limit
	maxAsc      = 1 << 20
)

type meta struct {
	Version    int        `json:"version"`
	ID         string     `json:"id"`
	BaseURL    string     `json:"base_url"` // redacted
	Validators validators `json:"validators"`
	SHA256     string     `json:"repomd_sha256"`
	Signed     bool       `json:"signed"`     // there is a repomd.xml.asc
	CheckedAt  time.Time  `json:"checked_at"` // a mirror last confirmed it
	Mirrors    []string   `json:"mirrors,omitempty"`
}

// cached is a verified copy on disk.
type cached struct {
	meta meta
	raw  []byte
	asc  []byte
	md   *repodata.Repomd
	sig  *rpmsig.Result
}

func (c *cached) mirrorURLs() []*url.URL {
	var list []*url.URL
	for _, m := range c.meta.Mirrors {
		if u, ok := listedURL(m); ok {
			list = append(list, u)
		}
	}
	return list
}

// load reads the cached copy of a repository: nil without an error where there is none, or none to be believed. The
// signature is verified again, for the keys and the policy may be others now.
func load(dir string, r Repo) (*cached, error) {
	raw, err := readLocal(filepath.Join(dir, fileMeta), maxMeta)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the cache of repository %s: %w: %w", r.ID, err, ErrCache)
	}
	c := &cached{}
	if json.Unmarshal(raw, &c.meta) != nil || c.meta.Version != metaVersion {
		return nil, nil
	}
	c.raw, err = readLocal(filepath.Join(dir, fileRepomd), maxRepomd)
	if err != nil || c.meta.SHA256 != sha256Hex(c.raw) {
		return nil, nil
	}
	if c.md, err = repodata.ParseRepomd(c.raw); err != nil {
		return nil, nil
	}
	if c.meta.Signed {
		if c.asc, err = readLocal(filepath.Join(dir, fileAsc), maxAsc); err != nil {
			return nil, nil
		}
	}
	if c.sig, err = judgeSignature(r, c.raw, c.asc); err != nil {
		return nil, nil
	}
	return c, nil
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// store makes a copy the cached one. The metadata files and the index must be there already.
func (c *cached) store(dir string) error {
	put := func(name string, data []byte) error {
		// Not synced: after a power cut the digests tell what is whole.
		if err := atomicfile.Write(filepath.Join(dir, name), data, 0o644, atomicfile.NoSync); err != nil {
			return fmt.Errorf("%w: %w", err, ErrCache)
		}
		return nil
	}
	c.meta.Version = metaVersion
	c.meta.SHA256 = sha256Hex(c.raw)
	c.meta.Signed = c.asc != nil
	if err := put(fileRepomd, c.raw); err != nil {
		return err
	}
	if c.asc != nil {
		if err := put(fileAsc, c.asc); err != nil {
			return err
		}
	}
	m, err := json.MarshalIndent(c.meta, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", fileMeta, err)
	}
	return put(fileMeta, append(m, '\n'))
}

// cacheFile is where a metadata file lies. Its name is made of digest and type, never of what the server calls it.
func cacheFile(dir string, rec repodata.Record) string {
	name := rec.Checksum.Value + "-" + idRe.ReplaceAllString(rec.Type, "_")
	switch ext := strings.ToLower(filepath.Ext(rec.Location)); ext {
	case ".gz", ".xz", ".zst", ".bz2":
		name += ext
	}
	return filepath.Join(dir, name)
}

// prune removes what no longer belongs to the cached copy. The lock must be held; readers that have a file open keep it.
func prune(dir string, keep map[string]bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it costs space only
	}
	for _, e := range entries {
		if name := e.Name(); !keep[name] && name != fileLock && !e.IsDir() {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

// makeCacheDir makes the cache folder and sees to it that nobody else can plant files in it: an index found there is
// used without being computed again.
func makeCacheDir(dir string) error {
	if dir == "" {
		return fmt.Errorf("no cache folder given: %w", ErrConfig)
	}
	mkErr := os.MkdirAll(dir, 0o755)
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("cannot use cache folder %s: %w: %w", dir, errors.Join(mkErr, err), ErrCache)
	}
	if !st.IsDir() {
		return fmt.Errorf("cannot use cache folder %s: it is not a folder: %w", dir, ErrCache)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		if uid := int(sys.Uid); uid != 0 && uid != os.Geteuid() {
			return fmt.Errorf("cannot use cache folder %s: it belongs to user %d: %w", dir, uid, ErrCache)
		}
	}
	if st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("cannot use cache folder %s: everybody may write to it: %w", dir, ErrCache)
	}
	return nil
}
