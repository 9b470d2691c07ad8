package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// ErrNotSaved means that packages cannot go back, since they were not saved:
// so it was asked for by --rollback-depth.
var ErrNotSaved = errors.New("not saved")

// syncPackages brings all packages but the branding ones to what AlmaLinux has,
// in one rpm transaction. Its way back is that of swapPackages: the database,
// and save-files for the files. As these hold every content, the saved package
// files hold the headers alone.
type syncPackages struct{ *Env }

type syncUndo struct {
	Depth   string  `json:"depth"` // of the rollback
	Leaving []Saved `json:"leaving"`
	Coming  []Saved `json:"coming"`
}

func (s syncPackages) Prepare(ctx context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	whole, err := Plan(c)
	if err != nil {
		return nil, err
	}
	if err := enoughSpace(whole); err != nil {
		return nil, err
	}
	p := whole.Others()
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	u := syncUndo{Depth: p.RollbackDepth, Leaving: []Saved{}, Coming: []Saved{}}
	files, err := comingFiles(c, p)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		v, err := s.verifyComing(f, p.Coming[i].NEVRA)
		if err != nil {
			return nil, err
		}
		u.Coming = append(u.Coming, v)
	}
	s.say("saving what the database says of the packages that leave (%d)", len(p.Leaving))
	if u.Leaving, err = s.saveHeaders(ctx, c, p, db); err != nil {
		return nil, err
	}
	s.say("testing the transaction of all packages")
	t := syncForward(c, p, u, db)
	t.Test, t.Macros = true, map[string]string{"_pkgverify_level": "digest"}
	// The swap of the identity comes before: what counts is what there is after both.
	if undo := undoOf(c, plan.StepSwapPackages); undo != nil {
		var swap swapUndo
		if err := json.Unmarshal(undo, &swap); err != nil {
			return nil, fmt.Errorf("cannot read the journal: %w", err)
		}
		first := forward(c, swap, db)
		t.Install, t.GiveWay = append(t.Install, first.Install...), first.GiveWay
		t.Erase = append(t.Erase, first.Erase...)
		for n, name := range first.Names {
			t.Names[n] = name
		}
	}
	if err := s.run(ctx, c, "sync-test", t); err != nil {
		return nil, fmt.Errorf("cannot replace the packages: the test transaction fails: %w", err)
	}
	return json.Marshal(u)
}

// saveHeaders saves the packages that leave: as package files without content,
// where they are to come back, and by name and digest in any case.
func (s syncPackages) saveHeaders(ctx context.Context, c *txn.Change, p *plan.Plan, db *Database) ([]Saved, error) {
	dir := rpmDir(c, "leaving")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a folder for the packages: %w", err)
	}
	out := make([]Saved, 0, len(p.Leaving))
	for _, l := range p.Leaving {
		hs := db.Packages[l.NEVRA]
		if len(hs) != 1 {
			return nil, fmt.Errorf("cannot save %s: it is installed %d times", l.NEVRA, len(hs))
		}
		v := Saved{NEVRA: l.NEVRA}
		var err error
		if v.Header, err = headerDigest(hs[0]); err != nil {
			return nil, err
		}
		if p.RollbackDepth == plan.RollbackFull {
			if err := saveHeader(ctx, dir, hs[0], &v); err != nil {
				return nil, fmt.Errorf("cannot save %s: %w", l.NEVRA, err)
			}
		}
		out = append(out, v)
	}
	return out, atomicfile.SyncDir(dir)
}

func saveHeader(ctx context.Context, dir string, h *rpmhdr.Header, v *Saved) error {
	v.File, v.From = plan.FileName(h.NEVRA()), "rpm database"
	name := filepath.Join(dir, v.File)
	f, err := atomicfile.Create(name, 0o600)
	if err != nil {
		return err
	}
	defer f.Cancel()
	rep, err := repack.Write(ctx, f, nil, h, repack.Options{HeaderOnly: true})
	if err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	// What was written must be readable as what it is meant to be.
	v.SHA256 = rep.SHA256
	if sum, err := fileSHA256(name); err != nil || sum != v.SHA256 {
		return errors.Join(err, fmt.Errorf("%w: %s", ErrTampered, name))
	}
	pkg, done, err := openPackage(name)
	if err != nil {
		return err
	}
	defer done()
	if sum, err := headerDigest(pkg.Header()); err != nil || sum != v.Header {
		return errors.Join(err, fmt.Errorf("%w: %s", ErrTampered, name))
	}
	return nil
}

// beside are the packages that come without that others of their name leave:
// kernels, also one of the very version that is there.
func beside(p *plan.Plan) map[string]bool {
	out := map[string]bool{}
	for _, c := range p.Coming {
		if c.Kind == string(assess.MoveBeside) || c.Kind == string(assess.MoveRebuild) && strings.HasPrefix(c.Name, "kernel") {
			out[c.NEVRA] = true
		}
	}
	return out
}

// syncForward is the transaction from what the database says now to what is
// meant. Packages come as upgrades, so that rpm keeps an old one whose new one
// fails, and all that leaves is named, so that nothing else does.
func syncForward(c *txn.Change, p *plan.Plan, u syncUndo, db *Database) transaction {
	t := transaction{Names: map[string]string{}, NoDocs: noDocs()}
	kernels, same := beside(p), map[string]bool{}
	for _, s := range u.Coming {
		same[s.NEVRA] = true
		file := filepath.Join(rpmDir(c, "coming"), s.File)
		if kernels[s.NEVRA] {
			t.Install = append(t.Install, file)
		} else {
			t.Upgrade = append(t.Upgrade, file)
			// rpm exchanges builds of one version by itself, also its own of an interrupted run.
			t.Replaced = append(t.Replaced, s.NEVRA)
		}
	}
	var gone []Saved
	for _, s := range u.Leaving {
		if !same[s.NEVRA] {
			gone = append(gone, s)
		}
	}
	t.erase(gone, db)
	return t
}

func (s syncPackages) Do(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	u, db, err := loadUndo[syncUndo](s.Env, c, undo)
	if err != nil {
		return err
	}
	if err := checkSaved(rpmDir(c, "coming"), u.Coming); err != nil {
		return err
	}
	sets, err := Sets(c)
	if err != nil {
		return err
	}
	if err := removeHalfWritten(sets); err != nil {
		return err
	}
	if again(c, plan.StepSyncPackages) {
		if err := mend(c, u.Coming, u.Leaving); err != nil {
			return err
		}
	}
	t := syncForward(c, p.Others(), u, db)
	t.Test = true
	if err := s.run(ctx, c, "sync-test", t); err != nil {
		return fmt.Errorf("the test transaction fails: %w", err)
	}
	t.Test = false
	s.say("replacing the packages (%d)", len(u.Leaving))
	return s.run(ctx, c, "sync", t)
}

func (s syncPackages) Verify(_ context.Context, c *txn.Change, _, undo json.RawMessage) (bool, error) {
	u, db, err := loadUndo[syncUndo](s.Env, c, undo)
	if err != nil {
		return false, err
	}
	return came(c, db, u.Coming, u.Leaving, checkContents, emptied)
}

// Undo brings the database back. In between nothing but the database is
// touched, so it may first forget what came and then note what was there.
func (s syncPackages) Undo(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	u, db, err := loadUndo[syncUndo](s.Env, c, undo)
	if err != nil {
		return err
	}
	if u.Depth != plan.RollbackFull {
		// What is whole may stay: that was asked for.
		if db.differ(u.Coming, u.Leaving) == nil || db.differ(u.Leaving, u.Coming) == nil {
			return nil
		}
		return fmt.Errorf("cannot bring the packages back: %w (--rollback-depth %s), and only a part of them was replaced; "+
			"\"dnf distro-sync\" with AlmaLinux's repositories completes it", ErrNotSaved, u.Depth)
	}
	if err := checkSaved(rpmDir(c, "leaving"), u.Leaving); err != nil {
		return err
	}
	if err := noteUpdated(c, db); err != nil {
		return err
	}
	quiet := func() transaction {
		return transaction{Names: map[string]string{}, JustDB: true, Force: true, Macros: map[string]string{"_pkgverify_level": "none"}}
	}
	if t := quiet(); s.strangers(p.Others(), u, db, &t) {
		s.say("bringing the old packages back: taking AlmaLinux's out of the database")
		if err := s.run(ctx, c, "sync-back-out", t); err != nil {
			return err
		}
		if db, err = ReadDatabase(); err != nil {
			return err
		}
	}
	t := quiet()
	for _, l := range u.Leaving {
		if !db.Has(l.NEVRA) {
			t.Install = append(t.Install, filepath.Join(rpmDir(c, "leaving"), l.File))
		}
	}
	if len(t.Install) > 0 {
		s.say("bringing the old packages back: noting %d of them", len(t.Install))
		if err := s.run(ctx, c, "sync-back-in", t); err != nil {
			return err
		}
		if db, err = ReadDatabase(); err != nil {
			return err
		}
	}
	return errors.Join(db.differ(u.Leaving, u.Coming), clearUpdated(c))
}

// strangers are the rows of the database that are to go: what came, also where
// it was updated since. Kernels go only as what came.
func (s syncPackages) strangers(p *plan.Plan, u syncUndo, db *Database, t *transaction) bool {
	old, names, kernels := map[string]string{}, map[string]bool{}, beside(p)
	for _, l := range u.Leaving {
		old[l.NEVRA] = l.Header
	}
	before := map[string]bool{}
	for _, n := range p.Evidence.Packages {
		n, _, _ = strings.Cut(n, " ")
		before[n] = true
	}
	for _, w := range p.Coming {
		if !kernels[w.NEVRA] {
			names[w.Name] = true
		}
	}
	for nevra, hs := range db.Packages {
		for i, h := range hs {
			want, leaves := old[nevra]
			switch {
			case leaves:
				sum, err := headerDigest(h)
				if err == nil && sum == want && !slices.ContainsFunc(hs[:i], func(o *rpmhdr.Header) bool {
					sum, err := headerDigest(o)
					return err == nil && sum == want
				}) {
					continue
				}
			case kernels[nevra]:
			case !names[h.NEVRA().Name] || before[nevra]:
				continue
			}
			t.Rows = append(t.Rows, row{db.Rows[h], h.NEVRA().Name})
		}
	}
	slices.SortFunc(t.Rows, func(a, b row) int { return int(a.Row) - int(b.Row) })
	return len(t.Rows) > 0
}

// Verify flags of rpm's header (rpmVerifyAttrs): 1 is the digest.
const verifyDigest = 1 << 0

// checkContents compares the contents of an installed package's files with
// what its header says of them, but for configuration files and those that the
// package itself does not want compared: whether it was unpacked in full.
func checkContents(h *rpmhdr.Header) []string {
	digests, modes, flags := h.Strings(rpmhdr.TagFileDigests), h.Uint16s(rpmhdr.TagFileModes), h.Uint32s(rpmhdr.TagFileFlags)
	verify, states := h.Uint32s(tagFileVerifyFlags), h.Uint16s(rpmhdr.TagFileStates)
	algo := digestAlgo(h)
	var bad []string
	i := -1
	for f := range h.Files() {
		i++
		if i >= len(modes) || i < len(flags) && flags[i]&(rpmGhost|rpmConfig) != 0 || i < len(states) && states[i] != 0 ||
			i < len(verify) && verify[i]&verifyDigest == 0 {
			continue
		}
		var st unix.Stat_t
		if err := unix.Lstat(f, &st); err != nil {
			bad = append(bad, fmt.Sprintf("%s is missing", f))
			continue
		}
		if modes[i]&unix.S_IFMT == unix.S_IFREG && i < len(digests) && digests[i] != "" {
			if sum, err := digestFile(f, algo); err == nil && sum != digests[i] {
				bad = append(bad, fmt.Sprintf("%s has other content", f))
			}
		}
	}
	return bad
}

const tagFileVerifyFlags rpmhdr.Tag = 1045
