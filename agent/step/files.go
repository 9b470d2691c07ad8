package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// single are files that are saved whoever owns them.
var single = []string{
	"/etc/os-release", "/usr/lib/os-release", "/etc/redhat-release", "/etc/system-release", "/etc/system-release-cpe", "/etc/centos-release",
	"/etc/issue", "/etc/issue.net", "/etc/dnf/dnf.conf", "/etc/yum.conf", "/etc/rhsm/rhsm.conf",
}

// saveFiles saves everything that any later step will touch, and puts it back.
// It is the first step, so its Undo is the last: the rpm database is then as
// it was.
type saveFiles struct{ *Env }

type saveFilesUndo struct {
	Files string `json:"files"` // digests of the two saved sets
	Trees string `json:"trees"`
	// FailedUnits are those that had failed before; nil: no systemd runs here.
	FailedUnits *[]string `json:"failed_units,omitempty"`
}

func setDir(c *txn.Change, which string) string { return filepath.Join(c.Dir, "files", which) }

func (s saveFiles) Prepare(ctx context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	s.say("saving the files that will change")
	var paths []string
	add := func(f string) { paths = append(paths, path.Clean("/"+f)) }
	for _, f := range single {
		add(f)
	}
	whole := p
	p = p.Restorable()
	for _, l := range p.Leaving {
		for _, h := range db.Packages[l.NEVRA] {
			pathsOf(h, add)
		}
	}
	generated(whole, db, add)
	files, err := comingFiles(c, p)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		pkg, done, err := openPackage(f)
		if err != nil {
			return nil, err
		}
		pathsOf(pkg.Header(), add)
		addGivingWay(pkg.Header(), add)
		done()
	}
	paths = withCaches(withParents(sortedUnique(paths)))
	trees, skip := whole.SavedFolders()
	real := newResolver()
	trees = withTargets(trees, real)
	// A folder of a tree may be a link that leads out of it, and the package's files are where it leads.
	paths = slices.DeleteFunc(paths, func(p string) bool { return inTree(trees, real(p)) })
	var u saveFilesUndo
	if u.Files, err = save(setDir(c, "single"), paths, capture.Options{Shallow: true}); err != nil {
		return nil, err
	}
	if u.Trees, err = save(setDir(c, "trees"), trees, capture.Options{Skip: skip}); err != nil {
		return nil, err
	}
	// Without the list nothing can be said about units afterwards; nothing else needs it.
	if units, err := FailedUnits(ctx); err == nil {
		u.FailedUnits = &units
	}
	return json.Marshal(u)
}

// addGivingWay adds all that is in a folder where a coming package has
// something else, mostly a link: the folder is cleared before.
func addGivingWay(h *rpmhdr.Header, add func(string)) {
	modes := h.Uint16s(rpmhdr.TagFileModes)
	i := -1
	for f := range h.Files() {
		i++
		if i >= len(modes) || modes[i]&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if st, err := os.Lstat(f); err != nil || !st.IsDir() {
			continue
		}
		// What cannot be read is found again, and refused, when the swap is prepared.
		_ = filepath.WalkDir(f, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				add(path)
			}
			return nil
		})
	}
}

// newResolver returns what tells where a path is when every link among its
// folders is followed; a link at its end is not.
func newResolver() func(p string) string {
	known := map[string]string{}
	return func(p string) string {
		dir, rest := path.Dir(p), path.Base(p)
		for {
			to, ok := known[dir]
			if !ok {
				var err error
				if to, err = filepath.EvalSymlinks(dir); err != nil {
					to = ""
				}
				known[dir] = to
			}
			if to != "" {
				return path.Join(to, rest)
			}
			if dir == "/" {
				return p
			}
			dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest)
		}
	}
}

// withTargets adds the folders that trees, or the folders of settings in them,
// are links to: a tree is saved with the links in it and not with what is
// behind these.
func withTargets(trees []string, real func(string) string) []string {
	out := slices.Clone(trees)
	for _, t := range slices.Concat(trees, plan.SettingsFolders) {
		st, err := os.Stat(t)
		if err != nil || !st.IsDir() {
			continue
		}
		// What is in it is where it is.
		if to := path.Dir(real(t + "/x")); to != "/" && !inTree(out, to) {
			out = append(out, to)
		}
	}
	return out
}

func inTree(trees []string, p string) bool {
	return slices.ContainsFunc(trees, func(t string) bool { return p == t || strings.HasPrefix(p, t+"/") })
}

// save saves a set and reads it back. One that an interrupted run left is made
// anew: nothing had been done then.
func save(dir string, paths []string, opt capture.Options) (string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("cannot save files: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", fmt.Errorf("cannot save files: %w", err)
	}
	set, err := capture.Save(dir, root, paths, opt)
	if err != nil {
		return "", err
	}
	if err := set.Verify(); err != nil {
		return "", err
	}
	for _, e := range set.Entries() {
		if e.Immutable() {
			return "", fmt.Errorf("cannot change %s: %w", e.Path, capture.ErrImmutable)
		}
	}
	return set.Digest(), nil
}

// withParents adds the folders that do not exist yet: rpm makes them without
// owning them.
func withParents(paths []string) []string {
	var more []string
	for _, p := range paths {
		for d := path.Dir(p); d != "/"; d = path.Dir(d) {
			if _, err := os.Lstat(d); !errors.Is(err, os.ErrNotExist) {
				break
			}
			more = append(more, d)
		}
	}
	return sortedUnique(append(paths, more...))
}

// withCaches adds the caches that scriptlets and file triggers make anew when
// icons come or go.
func withCaches(paths []string) []string {
	themes := map[string]bool{}
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, "/usr/share/icons/"); ok {
			theme, _, _ := strings.Cut(rest, "/")
			themes["/usr/share/icons/"+theme+"/icon-theme.cache"] = true
		}
	}
	for t := range themes {
		paths = append(paths, t)
	}
	return sortedUnique(paths)
}

func (s saveFiles) Do(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error {
	return nil
}

func (s saveFiles) Verify(_ context.Context, c *txn.Change, _, undo json.RawMessage) (bool, error) {
	_, err := savedSets(c, undo)
	return err == nil, err
}

// savedSets opens the saved sets and checks that they are the ones of the
// journal.
func savedSets(c *txn.Change, undo json.RawMessage) ([]*capture.Saved, error) {
	var u saveFilesUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	var sets []*capture.Saved
	for _, w := range []struct{ dir, digest string }{{setDir(c, "single"), u.Files}, {setDir(c, "trees"), u.Trees}} {
		set, err := capture.Open(w.dir)
		if err != nil {
			return nil, err
		}
		if set.Digest() != w.digest {
			return nil, fmt.Errorf("cannot use the saved files in %s: %w", w.dir, capture.ErrCorrupt)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

func (s saveFiles) Undo(_ context.Context, c *txn.Change, _, undo json.RawMessage) error {
	sets, err := savedSets(c, undo)
	if err != nil {
		return err
	}
	// Where the packages could not be brought back, which is tried before, this was perhaps not noted. A database that
	// cannot be read has nothing to note, and does not keep the files from coming back.
	if db, err := ReadDatabase(); err == nil {
		if err := noteUpdated(c, db); err != nil {
			return err
		}
	}
	s.say("putting the files back")
	err = removeHalfWritten(sets)
	known := packaged(c)
	updated, uerr := notedUpdated(c)
	err = errors.Join(err, uerr)
	for _, set := range sets {
		_, rerr := set.RestoreKnowing(root, func(d capture.Difference) bool {
			return d.Status == capture.Unknown && known[d.Current.SHA256] || packagedAs(updated, d)
		})
		err = errors.Join(err, rerr)
	}
	return errors.Join(err, removeUpdated(updated, sets))
}

// packaged are the SHA-256 digests of the files in the coming packages, which
// are kept as they are in the change's folder. A package that cannot be read
// has none: of its files copies are kept.
func packaged(c *txn.Change) map[string]bool {
	out := map[string]bool{}
	for _, name := range []string{plan.StepSwapPackages, plan.StepSyncPackages} {
		var u swapUndo // the lists of both steps are alike
		undo := undoOf(c, name)
		if undo == nil || json.Unmarshal(undo, &u) != nil {
			continue
		}
		for _, s := range u.Coming {
			files, err := contents(rpmDir(c, "coming"), []Saved{s})
			if err != nil {
				continue
			}
			for _, list := range files {
				for _, f := range list {
					if f.algo == digestSHA256 {
						out[f.digest] = true
					}
				}
			}
		}
	}
	return out
}

// digestSHA256 is its number in RFC 4880, 9.4.
const digestSHA256 = 8

// removeHalfWritten removes what a killed rpm leaves: it writes a file as
// NAME;hex of eight digits and renames it.
func removeHalfWritten(sets []*capture.Saved) error {
	var errs error
	dirs := map[string]map[string]bool{}
	for _, set := range sets {
		for _, e := range set.Entries() {
			d, b := path.Split(string(e.Path))
			if dirs[d] == nil {
				dirs[d] = map[string]bool{}
			}
			dirs[d][b] = true
		}
	}
	for _, d := range plan.SettingsFolders { // a new file's half is there as well
		if dirs[d+"/"] == nil {
			dirs[d+"/"] = map[string]bool{}
		}
	}
	for d, names := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue // gone with its package
		}
		for _, e := range entries {
			name, tid, ok := cutLast(e.Name(), ";")
			if !ok || len(tid) != 8 || strings.Trim(tid, "0123456789abcdef") != "" || !names[name] && !inTree(plan.SettingsFolders, path.Clean(d)) || names[e.Name()] {
				continue
			}
			if err := unix.Unlink(d + e.Name()); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = errors.Join(errs, fmt.Errorf("cannot remove %s: %w", d+e.Name(), err))
			}
		}
	}
	return errs
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// seal notes what the files are when all is done, so that a later rollback can
// tell what was changed since by others.
type seal struct{ *Env }

func (s seal) Prepare(ctx context.Context, c *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return nothing{}.Prepare(ctx, c, p)
}

func (s seal) sets(c *txn.Change) ([]*capture.Saved, error) {
	return savedSets(c, undoOf(c, plan.StepSaveFiles))
}

func (s seal) Do(_ context.Context, c *txn.Change, _, _ json.RawMessage) error {
	sets, err := s.sets(c)
	if err != nil {
		return err
	}
	// A run that was killed in rpm's transaction, and resumed, leaves some.
	if err := removeHalfWritten(sets); err != nil {
		return err
	}
	for _, set := range sets {
		if err := set.RecordAfter(root); err != nil {
			return err
		}
	}
	return nil
}

func (s seal) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error { return nil }

func (s seal) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	sets, err := s.sets(c)
	if err != nil {
		return false, err
	}
	for _, set := range sets {
		if after, err := set.After(); err != nil || after == nil {
			return false, err
		}
	}
	return true, nil
}

// undoOf returns what a step of a change saved.
func undoOf(c *txn.Change, name string) json.RawMessage {
	for i, s := range c.Plan.Steps {
		if s.Name == name {
			return c.UndoData(i)
		}
	}
	return nil
}

// Sets returns the saved files of a change: what rollback compares the host
// with.
func Sets(c *txn.Change) ([]*capture.Saved, error) {
	return savedSets(c, undoOf(c, plan.StepSaveFiles))
}
