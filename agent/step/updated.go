package step

import (
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
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// What came may have been updated since, by dnf, before a migration is taken
// back. The newer packages go from the database as what came does, but they
// have files that the migration never saw: newer libraries, which ldconfig
// would prefer to the old ones that come back. These go as well, last of all:
// until the files are back, programs of the host may need them.

// updatedFile is a file of a package that was updated since.
type updatedFile struct {
	Path   string `json:"path"` // without links among its folders
	Mode   uint16 `json:"mode"`
	Digest string `json:"digest,omitempty"` // of a regular file
	Algo   uint32 `json:"algo,omitempty"`
	Target string `json:"target,omitempty"` // of a link
	Config bool   `json:"config,omitempty"`
	Gone   bool   `json:"gone,omitempty"` // the update dropped it
}

func updatedName(c *txn.Change) string { return filepath.Join(c.Dir, "updated-since.json") }

// UpdatedSince lists the packages in the database that stand where the
// migration had put others of their names: they go with a rollback.
func UpdatedSince(c *txn.Change, db *Database) ([]*rpmhdr.Header, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	back := p.Restorable()
	names, known, kernels := map[string]bool{}, map[string]bool{}, beside(p)
	for _, w := range back.Coming {
		if !kernels[w.NEVRA] {
			names[w.Name] = true
		}
		known[w.NEVRA] = true
	}
	for _, l := range back.Leaving {
		known[l.NEVRA] = true
	}
	for _, n := range p.Evidence.Packages {
		n, _, _ = strings.Cut(n, " ")
		known[n] = true
	}
	var out []*rpmhdr.Header
	for nevra, hs := range db.Packages {
		if !known[nevra] && names[hs[0].NEVRA().Name] {
			out = append(out, hs...)
		}
	}
	slices.SortFunc(out, func(a, b *rpmhdr.Header) int { return strings.Compare(a.NEVRA().String(), b.NEVRA().String()) })
	return out, nil
}

// PackagedSince returns what tells whether a path is as a package made it that
// was updated since: that is nobody's edit, and goes back with the package.
func PackagedSince(c *txn.Change, list []*rpmhdr.Header) (func(d capture.Difference) bool, error) {
	files, err := filesOfUpdated(c, list)
	return func(d capture.Difference) bool { return packagedAs(files, d) }, err
}

func packagedAs(files map[string]updatedFile, d capture.Difference) bool {
	f, ok := files[string(d.Path)]
	if !ok || f.Gone {
		return ok && d.Current.Kind == capture.Absent
	}
	switch d.Current.Kind {
	case capture.File:
		return f.Mode&unix.S_IFMT == unix.S_IFREG && f.Algo == digestSHA256 && f.Digest == d.Current.SHA256
	case capture.Symlink:
		return f.Mode&unix.S_IFMT == unix.S_IFLNK && f.Target == string(d.Current.Target)
	}
	return false
}

// filesOfUpdated lists the files of packages that were updated since, and those
// that the packages had before as they came, and have no more.
func filesOfUpdated(c *txn.Change, list []*rpmhdr.Header) (map[string]updatedFile, error) {
	real, out := newResolver(), map[string]updatedFile{}
	if len(list) == 0 {
		return out, nil
	}
	names := map[string]bool{}
	for _, h := range list {
		names[h.NEVRA().Name] = true
	}
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	came := &plan.Plan{}
	for _, w := range p.Coming {
		if names[w.Name] {
			came.Coming = append(came.Coming, w)
		}
	}
	rpms, err := comingFiles(c, came)
	if err != nil {
		return nil, err
	}
	for _, name := range rpms {
		pkg, done, err := openPackage(name)
		if err != nil {
			continue // what it had is not known then; the way back does not hang on it
		}
		for f := range pkg.Header().Files() {
			f = real(path.Clean("/" + f))
			out[f] = updatedFile{Path: f, Gone: true}
		}
		done()
	}
	for _, h := range list {
		digests, links := h.Strings(rpmhdr.TagFileDigests), h.Strings(rpmhdr.TagFileLinktos)
		modes, flags, states := h.Uint16s(rpmhdr.TagFileModes), h.Uint32s(rpmhdr.TagFileFlags), h.Uint16s(rpmhdr.TagFileStates)
		i := -1
		for name := range h.Files() {
			i++
			if i >= len(modes) || i < len(flags) && flags[i]&rpmGhost != 0 || i < len(states) && states[i] != 0 {
				continue
			}
			f := updatedFile{Path: real(path.Clean("/" + name)), Mode: modes[i], Config: i < len(flags) && flags[i]&rpmConfig != 0}
			switch f.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				if i < len(digests) {
					f.Digest, f.Algo = digests[i], digestAlgo(h)
				}
			case unix.S_IFLNK:
				if i < len(links) {
					f.Target = links[i]
				}
			}
			out[f.Path] = f
		}
	}
	return out, nil
}

// noteUpdated writes down the files of packages that were updated since,
// before the database forgets them. What an interrupted rollback noted stays.
func noteUpdated(c *txn.Change, db *Database) error {
	list, err := UpdatedSince(c, db)
	if err != nil || len(list) == 0 {
		return err
	}
	files, err := notedUpdated(c)
	if err != nil {
		return err
	}
	more, err := filesOfUpdated(c, list)
	if err != nil {
		return err
	}
	for p, f := range more {
		files[p] = f
	}
	out := make([]updatedFile, 0, len(files))
	for _, f := range files {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b updatedFile) int { return strings.Compare(a.Path, b.Path) })
	return writeJSON(updatedName(c), out)
}

func notedUpdated(c *txn.Change) (map[string]updatedFile, error) {
	out := map[string]updatedFile{}
	data, err := os.ReadFile(updatedName(c))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	var list []updatedFile
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was updated since the migration: %w", err)
	}
	for _, f := range list {
		if path.Clean(f.Path) != f.Path || !strings.HasPrefix(f.Path, "/") || f.Path == "/" {
			return nil, fmt.Errorf("cannot use %s: path %q", updatedName(c), f.Path)
		}
		out[f.Path] = f
	}
	return out, nil
}

// leftUpdated are the noted files that are still there as their packages had
// them and that are nobody's now: no saved set knows them, and no package that
// is installed. What is in a folder comes before it.
func leftUpdated(files map[string]updatedFile, sets []*capture.Saved, db *Database) (out []updatedFile) {
	if len(files) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, set := range sets {
		for _, e := range set.Entries() {
			known[string(e.Path)] = true
		}
	}
	real := newResolver()
	for _, hs := range db.Packages {
		for _, h := range hs {
			for name := range h.Files() {
				known[real(path.Clean("/"+name))] = true
			}
		}
	}
	for _, f := range files {
		if !known[f.Path] && f.unedited() {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b updatedFile) int { return strings.Compare(b.Path, a.Path) })
	return out
}

// unedited tells whether a file is there as its package had it.
func (f updatedFile) unedited() bool {
	st, err := os.Lstat(f.Path)
	if err != nil || f.Gone {
		return false
	}
	switch f.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return st.IsDir()
	case unix.S_IFLNK:
		to, err := os.Readlink(f.Path)
		return err == nil && to == f.Target
	case unix.S_IFREG:
		if !st.Mode().IsRegular() {
			return false
		}
		if !f.Config { // goes as rpm would let it go
			return true
		}
		sum, err := digestFile(f.Path, f.Algo)
		return err == nil && sum == f.Digest
	}
	return false
}

// clearUpdated removes them where the files are back already, and the packages
// come only now: at a second try.
func clearUpdated(c *txn.Change) error {
	i := slices.IndexFunc(c.Plan.Steps, func(s txn.Step) bool { return s.Name == plan.StepSaveFiles })
	if i < 0 || c.StepStatus(i) != txn.Undone {
		return nil
	}
	files, err := notedUpdated(c)
	if err != nil {
		return err
	}
	sets, err := Sets(c)
	if err != nil {
		return err
	}
	return removeUpdated(files, sets)
}

func removeUpdated(files map[string]updatedFile, sets []*capture.Saved) error {
	if len(files) == 0 {
		return nil
	}
	db, err := ReadDatabase()
	if err != nil {
		return err
	}
	var errs error
	for _, f := range leftUpdated(files, sets, db) {
		if err := fault.Point("step.updated.remove"); err != nil {
			return errors.Join(errs, err)
		}
		remove := unix.Unlink
		if f.Mode&unix.S_IFMT == unix.S_IFDIR {
			remove = unix.Rmdir
		}
		err := remove(f.Path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			continue // a folder with files of others stays
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot remove %s, which an update since the migration brought: %w", f.Path, err))
		}
	}
	return errs
}

// updatedCommands do by hand what removeUpdated does.
func updatedCommands(c *txn.Change, sets []*capture.Saved) (out []string) {
	files, err := notedUpdated(c)
	if err != nil || len(files) == 0 {
		return nil
	}
	db, err := ReadDatabase()
	if err != nil {
		return nil
	}
	for _, f := range leftUpdated(files, sets, db) {
		cmd := "rm -f "
		if f.Mode&unix.S_IFMT == unix.S_IFDIR {
			if list, err := os.ReadDir(f.Path); err != nil || len(list) > 0 {
				continue
			}
			cmd = "rmdir "
		}
		out = append(out, cmd+hostcmd.Quote(f.Path))
	}
	return out
}
