package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// swapPackages removes the leaving and installs the coming packages in one rpm
// transaction, and takes that back in the database; the files are
// save-files' work.
type swapPackages struct{ *Env }

type swapUndo struct {
	Leaving []Saved  `json:"leaving"`
	Coming  []Saved  `json:"coming"`
	Clear   []string `json:"clear,omitempty"` // folders that must give way to something that is none
}

func (s swapPackages) Prepare(ctx context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	if err := enoughSpace(p); err != nil {
		return nil, err
	}
	p = p.Branding()
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	var u swapUndo
	files, err := comingFiles(c, p)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		v, err := s.verifyComing(f, p.Coming[i].NEVRA)
		if err != nil {
			return nil, err
		}
		if db.Has(v.NEVRA) {
			return nil, fmt.Errorf("cannot swap: %w: %s is installed already", ErrMismatch, v.NEVRA)
		}
		u.Coming = append(u.Coming, v)
	}
	s.say("saving the packages that leave")
	if u.Leaving, err = s.saveLeaving(ctx, c, p, db); err != nil {
		return nil, err
	}
	if u.Clear, err = inTheWay(c, u, db); err != nil {
		return nil, err
	}
	s.say("testing the transaction")
	t := forward(c, u, db)
	t.Test = true
	// The keys are not imported yet; the signatures were verified above.
	t.Macros = map[string]string{"_pkgverify_level": "digest"}
	if err := s.run(ctx, c, "test", t); err != nil {
		return nil, fmt.Errorf("cannot swap the packages: the test transaction fails: %w", err)
	}
	return json.Marshal(u)
}

// enoughSpace compares what is needed with what is free, together for paths of
// one file system.
func enoughSpace(p *plan.Plan) error {
	need, of := map[uint64]int64{}, map[uint64][]string{}
	for _, s := range p.Space {
		free, dev := Free(s.Path), device(s.Path)
		need[dev] += s.Need
		of[dev] = append(of[dev], s.For)
		if free >= 0 && free < need[dev] {
			return fmt.Errorf("cannot begin: %w: %s has %d MiB free, %d MiB are needed for %s", ErrHost, s.Path, free>>20, (need[dev]>>20)+1, strings.Join(of[dev], ", "))
		}
	}
	return nil
}

// device tells file systems apart; 0 is one that is not known.
func device(path string) uint64 {
	for {
		var st unix.Stat_t
		err := unix.Stat(path, &st)
		if err == nil {
			return uint64(st.Dev) //nolint:unconvert // 32 bits on some
		}
		if path == "/" || !errors.Is(err, unix.ENOENT) {
			return 0
		}
		path = filepath.Dir(path)
	}
}

// Links tells which file a path is, and how many names that has, where it is a
// regular one with more than one.
func Links(path string) (id [2]uint64, names uint64, ok bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink < 2 {
		return id, 0, false
	}
	return [2]uint64{uint64(st.Dev), st.Ino}, uint64(st.Nlink), true //nolint:unconvert // narrower on some
}

// Free returns the bytes free in the file system of a path, or of the nearest
// folder above it that exists; -1 if that cannot be told.
func Free(path string) int64 {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(path, &st)
		if err == nil {
			return int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // 32 bits on s390x
		}
		if path == "/" || !errors.Is(err, unix.ENOENT) {
			return -1
		}
		path = filepath.Dir(path)
	}
}

// forward is the transaction from what the database says now to what is meant:
// after a crash in the middle, some packages are there twice, old and new.
func forward(c *txn.Change, u swapUndo, db *Database) transaction {
	t := transaction{Names: map[string]string{}, NoDocs: noDocs(), GiveWay: u.Clear}
	for _, s := range u.Coming {
		t.Install = append(t.Install, filepath.Join(rpmDir(c, "coming"), s.File))
	}
	t.erase(u.Leaving, db)
	return t
}

// backward takes it back, in the database only.
func backward(c *txn.Change, u swapUndo, db *Database) transaction {
	t := transaction{Names: map[string]string{}, JustDB: true, Force: true, Macros: map[string]string{"_pkgverify_level": "none"}}
	back := map[string]bool{}
	for _, s := range u.Leaving {
		back[s.NEVRA] = true
		if hs := db.Packages[s.NEVRA]; len(hs) == 1 {
			if sum, err := headerDigest(hs[0]); err == nil && sum == s.Header {
				continue
			}
		}
		t.Install = append(t.Install, filepath.Join(rpmDir(c, "leaving"), s.File))
	}
	var gone []Saved
	names := map[string]bool{}
	for _, s := range u.Coming {
		if !back[s.NEVRA] {
			gone = append(gone, s)
		}
	}
	// What came may have been updated since.
	for _, s := range u.Coming {
		names[nameOf(s.NEVRA, c)] = true
	}
	for nevra, hs := range db.Packages {
		if names[hs[0].NEVRA().Name] && !back[nevra] && !slices.ContainsFunc(gone, func(s Saved) bool { return s.NEVRA == nevra }) {
			gone = append(gone, Saved{NEVRA: nevra})
		}
	}
	t.erase(gone, db)
	return t
}

func nameOf(nevra string, c *txn.Change) string {
	if p, err := Plan(c); err == nil {
		for _, w := range p.Coming {
			if w.NEVRA == nevra {
				return w.Name
			}
		}
	}
	return ""
}

func (t *transaction) erase(list []Saved, db *Database) {
	for _, s := range list {
		if hs := db.Packages[s.NEVRA]; len(hs) > 0 {
			t.Erase = append(t.Erase, s.NEVRA)
			t.Names[s.NEVRA] = hs[0].NEVRA().Name
		}
	}
	slices.Sort(t.Erase)
}

func (s swapPackages) Do(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	u, db, err := loadUndo[swapUndo](s.Env, c, undo)
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
	// A transaction that was killed left files half written, "name;tid".
	if err := removeHalfWritten(sets); err != nil {
		return err
	}
	saved := map[string]bool{}
	for _, set := range sets {
		for _, e := range set.Entries() {
			saved[string(e.Path)] = true
		}
	}
	for _, d := range u.Clear {
		if err := clearFolder(d, saved); err != nil {
			return err
		}
	}
	if again(c, plan.StepSwapPackages) {
		if err := mend(c, u.Coming, u.Leaving); err != nil {
			return err
		}
	}
	s.say("swapping the packages")
	return s.Env.run(ctx, c, "swap", forward(c, u, db))
}

// loadUndo reads what a step noted to undo itself, and the database, once no
// transaction of an interrupted run is at work any more.
func loadUndo[U any](e *Env, c *txn.Change, undo json.RawMessage) (u U, db *Database, err error) {
	if err := json.Unmarshal(undo, &u); err != nil {
		return u, nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	release, err := e.alone(c)
	if err != nil {
		return u, nil, err
	}
	defer release()
	db, err = ReadDatabase()
	return u, db, err
}

// came proves a transaction: the database is as meant, and so are the files of
// the packages that came, and their configuration files.
func came(c *txn.Change, db *Database, coming, leaving []Saved, files func(*rpmhdr.Header) []string, configs func(*txn.Change, *rpmhdr.Header) ([]string, error)) (bool, error) {
	if err := db.differ(coming, leaving); err != nil {
		return false, err
	}
	for _, w := range coming {
		if bad := files(db.Packages[w.NEVRA][0]); len(bad) > 0 {
			return false, fmt.Errorf("%w: %s is in the database, but %s", ErrMismatch, w.NEVRA, bad[0])
		}
		if bad, err := configs(c, db.Packages[w.NEVRA][0]); err != nil || len(bad) > 0 {
			return false, errors.Join(err, fmt.Errorf("%w: %s is in the database, but %v", ErrMismatch, w.NEVRA, bad))
		}
	}
	return true, nil
}

func (s swapPackages) Verify(_ context.Context, c *txn.Change, _, undo json.RawMessage) (bool, error) {
	u, db, err := loadUndo[swapUndo](s.Env, c, undo)
	if err != nil {
		return false, err
	}
	return came(c, db, u.Coming, u.Leaving, CheckFiles, checkConfigs)
}

func (s swapPackages) Undo(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	u, db, err := loadUndo[swapUndo](s.Env, c, undo)
	if err != nil {
		return err
	}
	if err := noteUpdated(c, db); err != nil {
		return err
	}
	t := backward(c, u, db)
	if len(t.Install)+len(t.Erase) > 0 {
		if err := checkSaved(rpmDir(c, "leaving"), u.Leaving); err != nil {
			return err
		}
		s.say("bringing the old packages back")
		if err := s.Env.run(ctx, c, "back", t); err != nil {
			return err
		}
		if db, err = ReadDatabase(); err != nil {
			return err
		}
	}
	return errors.Join(db.differ(u.Leaving, u.Coming), clearUpdated(c))
}

// inTheWay finds folders where a coming package has something else, mostly a
// symbolic link: rpm cannot replace a folder, and its test does not see that.
// Everything in such a folder must be a leaving package's.
func inTheWay(c *txn.Change, u swapUndo, db *Database) ([]string, error) {
	owned := map[string]bool{}
	for _, s := range u.Leaving {
		for _, h := range db.Packages[s.NEVRA] {
			for f := range h.Files() {
				owned[f] = true
			}
		}
	}
	var out []string
	for _, s := range u.Coming {
		pkg, done, err := openPackage(filepath.Join(rpmDir(c, "coming"), s.File))
		if err != nil {
			return nil, err
		}
		modes := pkg.Header().Uint16s(rpmhdr.TagFileModes)
		i := -1
		for f := range pkg.Header().Files() {
			i++
			if i >= len(modes) || modes[i]&unix.S_IFMT == unix.S_IFDIR {
				continue
			}
			st, err := os.Lstat(f)
			if err != nil || !st.IsDir() {
				continue
			}
			err = filepath.WalkDir(f, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && !owned[path] {
					err = fmt.Errorf("cannot install %s: the folder %s must give way, and %s in it belongs to no package that leaves: move it elsewhere", s.NEVRA, f, path)
				}
				return err
			})
			if err != nil {
				done()
				return nil, err
			}
			out = append(out, f)
		}
		done()
	}
	return out, nil
}

// clearFolder removes a folder whose content was saved; a symbolic link or a
// file in its place is what an earlier try has put there. What somebody has put
// into it since, which may be long ago when a run is resumed, is not destroyed.
func clearFolder(dir string, saved map[string]bool) error {
	st, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return nil
	}
	above := ""
	if err == nil {
		above, err = filepath.EvalSymlinks(filepath.Dir(dir)) // saved paths are without links
	}
	if err == nil {
		dir = filepath.Join(above, filepath.Base(dir))
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !saved[path] {
				err = fmt.Errorf("%s was put there since: move it elsewhere", path)
			}
			return err
		})
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot make room for a coming package: %w", err)
	}
	return nil
}
