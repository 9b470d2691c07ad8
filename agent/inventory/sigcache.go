package inventory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// Verifying 1,500 signatures costs several times what everything else about
// reading a host costs, and has the same outcome as long as the rpm database
// and the keys are the same. So the outcomes are kept, in a file that belongs
// to the user who runs the program. Headers are read and parsed in every run
// all the same: only the outcome of arithmetic is taken from there.

const (
	verdictFormat = 1
	// verdictAge is how long outcomes count: it bounds what a change that
	// nothing showed can do.
	verdictAge = 24 * time.Hour
	// quiet is how long the database must have been left alone before it was
	// read: a second change within the same tick of a file system's clock
	// leaves all times as they were. The coarsest ticks are those of FAT, 2 s.
	quiet = 2 * time.Second
	// maxVerdicts bounds the file, in bytes; 1,500 packages take 30 KB.
	maxVerdicts = 64 << 20
)

// fileID tells whether a file is the same and untouched. Times are in
// nanoseconds since 1970. The zero fileID is that of no file, and of a
// write-ahead log with nothing in it.
type fileID struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"`
	CTime int64  `json:"ctime"`
}

// verdicts are the outcomes of verifying every header of a database.
type verdicts struct {
	Format   int         `json:"format"`
	Program  string      `json:"program"`
	Made     time.Time   `json:"made"`
	Root     string      `json:"root"`
	Path     string      `json:"path"`
	Database [2]fileID   `json:"database"` // the file and its write-ahead log
	Keys     string      `json:"keys"`     // digest of the keys that are not in the database itself
	Outcomes []Signature `json:"outcomes"` // each once, without owners: they are the catalogue's to say
	Rows     [][3]uint32 `json:"rows"`     // number, size of the header in bytes, index into Outcomes

	byRow map[uint32][2]uint32
}

// outcome returns what an earlier run found out on a row.
func (v *verdicts) outcome(row uint32, size int) (Signature, bool) {
	if v == nil {
		return Signature{}, false
	}
	r, ok := v.byRow[row]
	if !ok || int(r[0]) != size {
		return Signature{}, false
	}
	return v.Outcomes[r[1]], true
}

// sigCache is the place of the outcomes for one database.
type sigCache struct {
	t      *taker
	dir    string
	name   string
	path   string // of the database, inside the root
	start  time.Time
	before [2]fileID
	keys   string
	sizes  map[uint32]int
}

// newSigCache looks at the database before it is opened: what is read then is
// as new as that, or newer. It returns nil where nothing is to be kept.
func (t *taker) newSigCache() *sigCache {
	if t.opt.CacheDir == "" || t.opt.NoSignatures {
		return nil
	}
	loc, err := rpmdb.Locate(t.h.Root)
	if err != nil {
		return nil
	}
	c := &sigCache{t: t, dir: t.opt.CacheDir, path: t.inside(loc.Path), start: t.h.Now(), sizes: map[uint32]int{}}
	if c.before, err = c.identity(); err != nil {
		return nil
	}
	// The database's own keys are part of the database.
	keys := t.ring.Digest()
	c.keys = hex.EncodeToString(keys[:])
	sum := sha256.Sum256([]byte(t.h.Root + "\x00" + c.path))
	c.name = "verified-" + hex.EncodeToString(sum[:8]) + ".json"
	return c
}

// identity looks at the database as it is now.
func (c *sigCache) identity() (ids [2]fileID, err error) {
	for i, name := range []string{c.path, c.path + "-wal"} {
		f, err := c.t.h.Open(name)
		if i == 1 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return ids, err
		}
		fi, err := f.Stat()
		f.Close()
		if err != nil {
			return ids, err
		}
		// Every query that root makes with rpm sets owner and mode of the log,
		// and with them its ctime. An empty one says nothing.
		if i == 1 && fi.Size() == 0 {
			continue
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return ids, errors.New("internal error: no identity of a file")
		}
		ids[i] = fileID{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
	}
	return ids, nil
}

// load returns the outcomes of an earlier run if they still hold, else nil.
// Why they do not does not matter: then everything is verified.
func (c *sigCache) load() *verdicts {
	if c == nil || c.t.opt.VerifyAll {
		return nil
	}
	data, err := readPrivate(c.dir, c.name)
	if err != nil {
		return nil
	}
	sum, body, ok := bytes.Cut(data, []byte("\n"))
	if own := sha256.Sum256(body); !ok || string(sum) != hex.EncodeToString(own[:]) {
		return nil
	}
	v := &verdicts{}
	if json.Unmarshal(body, v) != nil {
		return nil
	}
	age := c.t.h.Now().Sub(v.Made)
	if v.Format != verdictFormat || v.Program != c.t.opt.Tool.Version || age < 0 || age >= verdictAge ||
		v.Root != c.t.h.Root || v.Path != c.path || v.Database != c.before || v.Keys != c.keys {
		return nil
	}
	v.byRow = make(map[uint32][2]uint32, len(v.Rows))
	for _, r := range v.Rows {
		if uint64(r[2]) >= uint64(len(v.Outcomes)) {
			return nil
		}
		v.byRow[r[0]] = [2]uint32{r[1], r[2]}
	}
	for i := range v.Outcomes {
		switch o := &v.Outcomes[i]; rpmsig.Status(o.Status) {
		case rpmsig.Good, rpmsig.Bad, rpmsig.UnknownKey, rpmsig.Unsupported, rpmsig.Missing:
			o.Owner = c.t.signer(*o)
		default:
			return nil
		}
	}
	return v
}

// save keeps the outcomes of a run that verified everything, unless the
// database changed meanwhile or shortly before. It is no error if that is not
// possible: the next run verifies again.
func (c *sigCache) save() {
	if c == nil {
		return
	}
	after, err := c.identity()
	if err != nil || after != c.before || c.start.Add(-quiet).UnixNano() <= max(after[0].CTime, after[1].CTime) {
		return
	}
	v := &verdicts{
		Format: verdictFormat, Program: c.t.opt.Tool.Version, Made: c.start.UTC(),
		Root: c.t.h.Root, Path: c.path, Database: after, Keys: c.keys,
	}
	at := map[Signature]uint32{}
	for i := range c.t.inv.Packages {
		p := &c.t.inv.Packages[i]
		s := p.Signature
		s.Owner = ""
		n, ok := at[s]
		if !ok {
			n = uint32(len(v.Outcomes))
			at[s] = n
			v.Outcomes = append(v.Outcomes, s)
		}
		v.Rows = append(v.Rows, [3]uint32{p.Row, uint32(c.sizes[p.Row]), n})
	}
	body, err := json.Marshal(v)
	if err != nil || os.MkdirAll(c.dir, 0o755) != nil {
		return
	}
	r, err := privateDir(c.dir)
	if err != nil {
		return
	}
	defer r.Close()
	c.prune(r)
	sum := sha256.Sum256(body)
	data := append(append([]byte(hex.EncodeToString(sum[:])), '\n'), body...)
	_ = atomicfile.Write(filepath.Join(c.dir, c.name), data, 0o600, atomicfile.NoSync)
}

// prune removes what has expired, of images that are looked at no more.
func (c *sigCache) prune(r *os.Root) {
	entries, err := fs.ReadDir(r.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "verified-") || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		if fi, err := e.Info(); err == nil && c.start.Sub(fi.ModTime()) > verdictAge {
			_ = r.Remove(e.Name())
		}
	}
}

// errNotPrivate says that somebody else could have written what is in a file.
var errNotPrivate = errors.New("others can write here")

func private(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && fi.Mode().Perm()&0o022 == 0
}

// privateDir opens a folder that belongs to this user and that nobody else can
// write to.
func privateDir(dir string) (*os.Root, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if fi, err := r.Stat("."); err != nil || !private(fi) {
		r.Close()
		return nil, errors.Join(err, errNotPrivate)
	}
	return r, nil
}

// readPrivate reads a file that only this user can have written.
func readPrivate(dir, name string) ([]byte, error) {
	r, err := privateDir(dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// A second name could stand where somebody else writes.
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || !fi.Mode().IsRegular() || !private(fi) || st.Nlink != 1 {
		return nil, errNotPrivate
	}
	if fi.Size() > maxVerdicts {
		return nil, fmt.Errorf("%d bytes: too many", fi.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxVerdicts))
}
