package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// What callers test for, beside fs.ErrPermission, rpmdb.ErrUnsupported,
// rpmdb.ErrCorrupt and rpmdb.ErrChanged.
var (
	// ErrNoDatabase says that the root has no rpm database.
	ErrNoDatabase = rpmdb.ErrNotFound
	// ErrNotEL says that the root is no Enterprise Linux.
	ErrNotEL = errors.New("not an Enterprise Linux")
	// ErrUnknownMajor says that it is one, but not which major release.
	ErrUnknownMajor = errors.New("unknown major release")
)

// Options of Take.
type Options struct {
	NoFiles      bool          // leave Package.Files empty
	NoSignatures bool          // verify nothing; every signature's status is empty
	ExtraKeys    []*rpmsig.Key // more keys to verify with
	// CacheDir is where the outcomes of verifying signatures are kept, so that
	// the next run need not verify what has not changed; empty: nowhere. It is
	// made if it is not there, and must belong to this user to be of use.
	CacheDir  string
	VerifyAll bool // verify all signatures, whatever is kept
	Deep      bool // also read what takes long: the initramfs
	Fixes     bool // also read which CVEs the packages' changelogs name
	Tool      Tool
}

// Take reads a host. It changes nothing on it. What cannot be read is listed
// in Inventory.Skipped; only the rpm database is indispensable: errors wrap
// ErrNotEL (without looking at packages, if os-release says so), or what
// rpmdb.Open and rpmdb.DB.Rows return.
func Take(ctx context.Context, h *host.Host, cat *catalog.Catalog, opt Options) (*Inventory, error) {
	t := &taker{h: h, cat: cat, opt: opt, ring: rpmsig.NewKeyring(opt.ExtraKeys...), owners: map[string]string{}}
	t.inv = &Inventory{
		Kind: Kind, SchemaVersion: SchemaVersion, Tool: opt.Tool, Taken: h.Now().UTC(),
		Packages: make([]Package, 0, 2048), Keys: []Key{}, Repos: []Repo{}, Skipped: []Skipped{},
	}
	osr := t.osRelease()
	if name, foreign := notEL(osr); foreign {
		return nil, fmt.Errorf("cannot take inventory of %s: this is %s: %w", h.Root, name, ErrNotEL)
	}
	t.readConf()
	if err := t.packages(ctx); err != nil {
		return nil, fmt.Errorf("cannot take inventory of %s: %w", h.Root, err)
	}
	t.identify(osr)
	t.readRepos()
	t.environment(h.Live(), h.Captured())
	t.kernel()
	t.finish()
	return t.inv, nil
}

type taker struct {
	h    *host.Host
	cat  *catalog.Catalog
	opt  Options
	ring *rpmsig.Keyring
	inv  *Inventory
	conf conf

	cache *sigCache // nil: none
	known *verdicts // nil: none

	mu     sync.Mutex
	owners map[string]string // path of a file in a watched folder: package
	later  []later
}

// later is a header whose key was not at hand when it was read: the database
// gives its keys in no particular order.
type later struct {
	index  int // in Packages
	row    uint32
	keyID  string
	header *rpmhdr.Header // nil: over the budget, to be read again
}

// keepBudget is how many bytes of headers may wait for their key. More than
// that is read a second time.
const keepBudget = 8 << 20

func (t *taker) skip(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inv.Skipped = append(t.inv.Skipped, Skipped{What: what, Reason: clean(err.Error())})
}

// packages reads the database: one goroutine finds the rows, others decode
// headers and verify signatures.
func (t *taker) packages(ctx context.Context) error {
	t.readKeyFiles()
	t.cache = t.newSigCache()
	t.known = t.cache.load()
	db, err := rpmdb.Open(t.h.Root)
	if err != nil {
		return err
	}
	defer db.Close()
	loc := db.Location()
	t.inv.Database = Database{Path: t.inside(loc.Path), Backend: string(loc.Backend)}

	damaged := map[uint32]string{} // the database may be walked twice
	db.PassOver(func(num uint32, err error) { damaged[num] = clean(err.Error()) })
	defer func() {
		for _, num := range slices.Sorted(maps.Keys(damaged)) {
			t.inv.Database.Damaged = append(t.inv.Database.Damaged, DamagedRow{num, damaged[num]})
		}
	}()

	rows := make(chan blob, 4)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept := 0
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := &worker{t: t, words: map[string]string{}}
			for r := range rows {
				hdr, err := rpmhdr.Parse(*r.data)
				if err != nil { // it was read a moment ago
					t.skip(fmt.Sprintf("row %d of the rpm database", r.num), err)
					continue
				}
				p, unknown := w.decode(r.num, len(*r.data), hdr)
				keep := false
				t.mu.Lock()
				t.inv.Packages = append(t.inv.Packages, p)
				if unknown {
					l := later{index: len(t.inv.Packages) - 1, row: r.num, keyID: p.Signature.KeyID}
					if keep = kept+len(*r.data) <= keepBudget; keep {
						kept += len(*r.data)
						l.header = hdr
					}
					t.later = append(t.later, l)
				}
				t.mu.Unlock()
				if !keep && cap(*r.data) <= keepBlob {
					blobs.Put(r.data)
				}
			}
		}()
	}
	err = t.feed(ctx, db, rows, damaged)
	close(rows)
	wg.Wait()
	if err != nil {
		return err
	}
	if err := t.retry(ctx, db); err != nil {
		return err
	}
	if t.known == nil {
		t.cache.save()
	}
	return nil
}

// blob is a header on its way to a worker. Its memory goes round: a database
// holds many times more bytes than an inventory.
type blob struct {
	num  uint32
	data *[]byte
}

// keepBlob is the largest memory that goes round: few headers are larger, and
// every blob would grow to the size of the largest.
const keepBlob = 128 << 10

var blobs = sync.Pool{New: func() any { return new([]byte) }}

func (t *taker) feed(ctx context.Context, db *rpmdb.DB, rows chan<- blob, damaged map[uint32]string) error {
	for r, err := range db.Transient() {
		if err != nil {
			return err
		}
		t.inv.Database.Rows++
		name := r.Header.String(rpmhdr.TagName)
		switch {
		case name == "gpg-pubkey":
			t.keyRow(r)
			continue
		case name == "":
			damaged[r.Num] = "the header has no package name"
			continue
		}
		b := blob{r.Num, blobs.Get().(*[]byte)}
		*b.data = append((*b.data)[:0], r.Header.Raw()...)
		if t.cache != nil {
			t.cache.sizes[r.Num] = len(*b.data)
		}
		select {
		case rows <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// retry verifies the headers whose key turned up later in the database, and
// has the digests of the others checked.
func (t *taker) retry(ctx context.Context, db *rpmdb.DB) error {
	again := map[uint32]int{}
	for _, l := range t.later {
		switch {
		case l.header != nil:
			t.inv.Packages[l.index].Signature = t.signature(l.header)
		case len(t.ring.ByKeyID(l.keyID)) > 0:
			again[l.row] = l.index
		}
	}
	t.later = nil
	if len(again) == 0 {
		return nil
	}
	for r, err := range db.Transient() {
		if err != nil {
			return err
		}
		if i, ok := again[r.Num]; ok && t.inv.Packages[i].NEVRA() == r.Header.NEVRA() {
			t.inv.Packages[i].Signature = t.signature(r.Header)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// worker decodes headers, one at a time.
type worker struct {
	t     *taker
	words map[string]string
}

// word keeps one copy of strings that many packages share.
func (w *worker) word(s string) string {
	if k, ok := w.words[s]; ok {
		return k
	}
	k := strings.Clone(clean(s))
	w.words[k] = k
	return k
}

// clean makes text that JSON can carry unchanged. Names in headers from before
// UTF-8 became a must may be Latin-1.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// decode turns a row into a Package. Unknown says that the signature's key is
// not at hand yet.
func (w *worker) decode(num uint32, size int, h *rpmhdr.Header) (p Package, unknown bool) {
	p = Package{
		Row:         num,
		Name:        clean(h.String(rpmhdr.TagName)),
		Arch:        w.word(h.String(rpmhdr.TagArch)),
		Vendor:      w.word(h.String(rpmhdr.TagVendor)),
		BuildHost:   w.word(h.String(rpmhdr.TagBuildHost)),
		SourceRPM:   w.word(h.String(rpmhdr.TagSourceRPM)),
		ModuleLabel: w.word(h.String(rpmhdr.TagModularityLabel)),
	}
	epoch, _ := h.Uint64(rpmhdr.TagEpoch)
	p.EVR = rpmver.EVR{Epoch: uint32(epoch), Version: w.word(h.String(rpmhdr.TagVersion)), Release: w.word(h.String(rpmhdr.TagRelease))}
	if n, ok := h.Uint64(rpmhdr.TagBuildTime); ok {
		p.BuildTime = int64(n)
	}
	if n, ok := h.Uint64(rpmhdr.TagInstallTime); ok {
		p.InstallTime = int64(n)
	}
	if n, ok := h.Uint64(rpmhdr.TagLongSize); ok {
		p.Size = n
	} else {
		p.Size, _ = h.Uint64(rpmhdr.TagSize)
	}
	deps := func(kind rpmhdr.DepKind) []rpmver.Dep {
		d, err := h.Deps(kind)
		if err != nil {
			w.t.skip(fmt.Sprintf("%s of %s, row %d of the rpm database", kind, p.NEVRA(), num), err)
		}
		for i := range d {
			d[i].Name = clean(d[i].Name)
			d[i].EVR.Version, d[i].EVR.Release = clean(d[i].EVR.Version), clean(d[i].EVR.Release)
		}
		return d
	}
	p.Requires, p.Provides = deps(rpmhdr.Requires), deps(rpmhdr.Provides)
	p.Conflicts, p.Obsoletes = deps(rpmhdr.Conflicts), deps(rpmhdr.Obsoletes)
	w.files(&p, h)
	if w.t.opt.Fixes {
		p.Fixes = fixes(h)
	}
	if w.t.opt.NoSignatures {
		return p, false
	}
	if s, ok := w.t.known.outcome(num, size); ok {
		p.Signature = s
		return p, false
	}
	res := rpmsig.VerifyHeader(h, w.t.ring)
	if res.Status == rpmsig.UnknownKey {
		p.Signature = w.t.judge(h, res)
		return p, true
	}
	p.Signature = w.t.judge(h, res)
	return p, false
}

func (w *worker) files(p *Package, h *rpmhdr.Header) {
	dirs, index, base, err := h.FilePaths()
	if err != nil {
		w.t.skip(fmt.Sprintf("files of %s, row %d of the rpm database", p.NEVRA(), p.Row), err)
		return
	}
	for i, d := range dirs {
		if !slices.Contains(w.t.conf.watched, d) {
			continue
		}
		w.t.mu.Lock()
		for j, n := range index {
			if int(n) == i {
				w.t.owners[d+clean(base[j])] = p.Name
			}
		}
		w.t.mu.Unlock()
	}
	if w.t.opt.NoFiles || len(base) == 0 {
		return
	}
	p.Files = w.pack(dirs, index, base)
}

// pack brings a file list into the form that it also has after a way through
// JSON: folders in the order of their first use, each used, none twice.
func (w *worker) pack(dirs []string, index []uint32, base []string) Files {
	for i, b := range base {
		base[i] = clean(b)
	}
	f := Files{Dirs: dirs, DirIndex: index, Base: base}
	next := uint32(0)
	tidy := true
	for _, n := range index {
		if n > next {
			tidy = false
			break
		}
		if n == next {
			next++
		}
	}
	// rpmbuild sorts them: then none is there twice.
	tidy = tidy && int(next) == len(dirs) && slices.IsSortedFunc(dirs, func(a, b string) int {
		return cmp.Or(strings.Compare(a, b), -1)
	})
	if !tidy {
		f.Dirs, f.DirIndex = nil, make([]uint32, len(index))
		at := map[string]uint32{}
		for i, n := range index {
			d := dirs[n]
			k, ok := at[d]
			if !ok {
				k = uint32(len(f.Dirs))
				at[d] = k
				f.Dirs = append(f.Dirs, d)
			}
			f.DirIndex[i] = k
		}
	}
	for i, d := range f.Dirs {
		f.Dirs[i] = clean(d)
	}
	return f
}

func (t *taker) signature(h *rpmhdr.Header) Signature {
	return t.judge(h, rpmsig.VerifyHeader(h, t.ring))
}

// judge adds the key's owner to the outcome of a verification. A name counts
// only if the key that fits has the catalogued fingerprint: key ids can be made
// to collide. Where the key is not at hand the id's owner is named, and the
// status says that this is a claim.
func (t *taker) judge(h *rpmhdr.Header, res rpmsig.Result) Signature {
	s := Signature{
		Status: string(res.Status), KeyID: res.KeyID, Fingerprint: res.Fingerprint,
		UserID: clean(res.UserID), Weak: res.Weak, Reason: clean(res.Reason),
	}
	s.Owner = t.signer(s)
	if res.Status == rpmsig.Good {
		return s
	}
	// No good signature vouches for this header: see at least that it is whole.
	if err := h.VerifyDigests(); errors.Is(err, rpmhdr.ErrDigest) {
		s.Status, s.Owner = string(rpmsig.Bad), ""
		s.Reason = "damaged in the rpm database: " + clean(err.Error())
	}
	return s
}

// signer names the owner of a signature's key.
func (t *taker) signer(s Signature) string {
	switch rpmsig.Status(s.Status) {
	case rpmsig.Good:
		if k, ok := t.cat.KeyByFingerprint(s.Fingerprint); ok {
			return k.Owner
		}
	case rpmsig.UnknownKey, rpmsig.Unsupported:
		if k, ok := t.cat.KeyByID(s.KeyID); ok {
			return k.Owner
		}
	}
	return ""
}

// inside returns the path below the root.
func (t *taker) inside(p string) string {
	if rel, ok := strings.CutPrefix(p, strings.TrimSuffix(t.h.Root, "/")+"/"); ok {
		return path.Clean("/" + rel)
	}
	return p
}

// finish puts everything in order.
func (t *taker) finish() {
	inv := t.inv
	slices.SortFunc(inv.Packages, func(a, b Package) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return cmp.Or(a.EVR.Compare(b.EVR), strings.Compare(a.Arch, b.Arch), cmp.Compare(a.Row, b.Row))
	})
	inv.Packages = slices.Clip(inv.Packages)
	slices.SortFunc(inv.Keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Armored, b.Armored))
	})
	inv.Keys = slices.CompactFunc(inv.Keys, func(a, b Key) bool {
		return a.Fingerprint == b.Fingerprint && a.Source == b.Source && a.Armored == b.Armored
	})
	slices.SortFunc(inv.Repos, func(a, b Repo) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.File, b.File))
	})
	slices.SortFunc(inv.Skipped, func(a, b Skipped) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Reason, b.Reason))
	})
	inv.Skipped = slices.Compact(inv.Skipped)
}

// Duplicates returns the indexes into Packages of those that are there more
// than once under the same name, version, release and architecture, as a
// broken database or an interrupted transaction leaves them.
func (inv *Inventory) Duplicates() [][]int {
	var out [][]int
	at := map[rpmver.NEVRA][]int{}
	for i := range inv.Packages {
		n := inv.Packages[i].NEVRA()
		at[n] = append(at[n], i)
	}
	for i := range inv.Packages {
		if l := at[inv.Packages[i].NEVRA()]; len(l) > 1 && l[0] == i {
			out = append(out, l)
		}
	}
	return out
}
