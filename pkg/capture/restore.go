package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

// Outcome is what Restore did with a path.
type Outcome string

// The outcomes.
const (
	Kept     Outcome = "kept"     // left as it is: it is as saved, or only others have changed it
	Restored Outcome = "restored" // put back
	Removed  Outcome = "removed"  // it was not there before
	Failed   Outcome = "failed"
)

// Item is what Restore did with one path.
type Item struct {
	Difference
	Outcome Outcome `json:"outcome"`
	Copy    string  `json:"copy,omitempty"` // the saved set that holds what was there before Restore
	Err     error   `json:"-"`
}

// Restore puts back what was saved, as the package comment says. A path that cannot be restored does not keep the others
// from it: the error joins all of them, and the items tell which. Restoring a second time changes nothing.
func (s *Saved) Restore(root string) ([]Item, error) {
	return s.restore(root, nil, nil)
}

// RestoreKnowing is Restore for a change that others went on with: what is known, of paths in a state that nobody has noted
// (Unknown) or that others have brought about, is theirs to replace and no edit of somebody's. It goes back to what was
// saved, and no copy of it is kept: a disk that is full already may have no room for the copies.
func (s *Saved) RestoreKnowing(root string, known func(d Difference) bool) ([]Item, error) {
	return s.restore(root, nil, known)
}

// RestoreOnly is Restore for those paths that it is asked about and that are
// wanted.
func (s *Saved) RestoreOnly(root string, want func(path string) bool) ([]Item, error) {
	return s.restore(root, want, nil)
}

func (s *Saved) restore(root string, want func(path string) bool, known func(d Difference) bool) ([]Item, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	after, err := s.After()
	if err != nil {
		return nil, err
	}
	diffs, err := s.compare(t, after)
	if err != nil {
		return nil, err
	}
	r := &restorer{saved: s, t: t, synced: map[Name]bool{}, known: known}
	for _, d := range diffs {
		if want != nil && !want(string(d.Path)) {
			continue
		}
		if d.Status == ChangedByOthers && known != nil && known(d) {
			d.Status = ChangedSince
		}
		r.items = append(r.items, Item{Difference: d, Outcome: Kept})
	}
	r.keepCopies(root)
	r.remove()
	r.create()
	r.links()
	r.folders()
	var errs []error
	for _, it := range r.items {
		if it.Err != nil {
			errs = append(errs, pathError("restore", it.Path, it.Err))
		}
	}
	for dir := range r.synced {
		f, err := t.open(dir)
		if noFolder(err) {
			continue
		}
		if err == nil {
			if err = unix.Fsync(f.fd); errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
				err = nil
			}
			f.close()
		}
		if err != nil {
			errs = append(errs, pathError("sync folder", dir, err))
		}
	}
	return r.items, errors.Join(errs...)
}

type restorer struct {
	saved  *Saved
	t      *tree
	items  []Item
	synced map[Name]bool // folders whose names changed
	known  func(d Difference) bool
}

// ours tells whether a path is to be brought back to its saved state.
func (it *Item) ours() bool {
	if it.Err != nil || it.Saved.Kind == Socket {
		return false
	}
	switch it.Status {
	case AsWeLeftIt, ChangedSince, Unknown:
		return true
	case Unchanged:
		return len(it.Aspects) > 0 // its time
	}
	return false
}

func (it *Item) fail(err error) {
	if err != nil {
		it.Outcome, it.Err = Failed, err
	}
}

// keepCopies saves what is about to be replaced and may not be ours. Without a copy, a path is not touched.
func (r *restorer) keepCopies(root string) {
	var paths []string
	keep := func(it *Item) bool {
		if (it.Current.Kind == File || it.Current.Kind == Symlink) && r.known != nil && r.known(it.Difference) {
			return false
		}
		return (it.Status == ChangedSince || it.Status == Unknown) && it.Current.Kind != Absent && it.Current.Kind != Socket &&
			!(it.Current.Kind == Dir && it.Saved.Kind == Dir)
	}
	for i := range r.items {
		if keep(&r.items[i]) {
			paths = append(paths, string(r.items[i].Path))
		}
	}
	if len(paths) == 0 {
		return
	}
	var dir string
	for n := 1; ; n++ {
		dir = filepath.Join(r.saved.dir, fmt.Sprintf("clash-%d", n))
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	_, err := Save(dir, root, paths, Options{Shallow: true})
	for i := range r.items {
		if it := &r.items[i]; keep(it) {
			if err != nil {
				it.fail(fmt.Errorf("no copy could be kept: %w", err))
				continue
			}
			it.Copy = dir
		}
	}
}

// remove takes away what was not there, and folders where something else was, children first. A folder that others
// put something into stays.
func (r *restorer) remove() {
	for i := len(r.items) - 1; i >= 0; i-- {
		it := &r.items[i]
		gone := it.Saved.Kind == Absent && it.Current.Kind != Absent
		replaced := it.Current.Kind == Dir && it.Saved.Kind != Dir
		if !it.ours() || !gone && !replaced {
			continue
		}
		dir, base := split(it.Path)
		if err := fault.Point("capture.restore.remove"); err != nil {
			it.fail(err)
			continue
		}
		f, err := r.t.open(dir)
		if err != nil {
			it.fail(err)
			continue
		}
		flags := 0
		if it.Current.Kind == Dir {
			flags = unix.AT_REMOVEDIR
			f.removeTemps(base)
		}
		err = unix.Unlinkat(f.fd, base, flags)
		f.close()
		switch {
		case err == nil:
			r.synced[dir] = true
			it.Outcome = Removed
		case errors.Is(err, unix.ENOENT):
			it.Outcome = Removed
		case gone && (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST)):
			it.Outcome = Kept
		case errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST):
			it.fail(fmt.Errorf("%w: a folder with files of others", ErrInTheWay))
		default:
			it.fail(immutable(it.Current, err))
		}
	}
}

// removeTemps clears what an interrupted Restore left in a folder that is to go.
func (f *folder) removeTemps(base string) {
	sub, err := f.t.open(f.path + "/" + Name(base))
	if err != nil {
		return
	}
	defer sub.close()
	fd, err := unix.Openat(sub.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	d := os.NewFile(uintptr(fd), base)
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if isTemp(n) {
			sub.removeTemp(n)
		}
	}
}

func (f *folder) removeTemp(name string) {
	if err := unix.Unlinkat(f.fd, name, 0); errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
		_ = unix.Unlinkat(f.fd, name, unix.AT_REMOVEDIR)
	}
}

func immutable(current Entry, err error) error {
	if errors.Is(err, unix.EPERM) && current.Immutable() {
		return fmt.Errorf("%w: %w", ErrImmutable, err)
	}
	return err
}

// create puts back what was there, folders before what is in them.
func (r *restorer) create() {
	for i := range r.items {
		it := &r.items[i]
		if !it.ours() || it.Saved.Kind == Absent {
			continue
		}
		if it.Saved.Kind == Dir && it.Current.Kind == Dir {
			continue // see folders
		}
		if err := r.createOne(it); err != nil {
			it.fail(immutable(it.Current, err))
			continue
		}
		it.Outcome = Restored
	}
}

func (r *restorer) createOne(it *Item) error {
	dir, base := split(it.Path)
	f, err := r.parent(dir)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%w: %s, or a folder above it, is now a file or a link", ErrInTheWay, dir)
	}
	if err != nil {
		return err
	}
	defer f.close()
	f.removeTemp(tempName(base))
	e := it.Saved
	if e.LinkTo != "" {
		return r.link(f, base, e)
	}
	sameContent := it.Current.Kind == e.Kind && it.Current.SHA256 == e.SHA256 && it.Current.Size == e.Size &&
		it.Current.Target == e.Target && it.Current.Rdev == e.Rdev
	if sameContent && e.Kind == File {
		// Only what surrounds the content: in place, so that hard links stay.
		return f.setAttributes(base, e)
	}
	tmp := tempName(base)
	defer f.removeTemp(tmp)
	if err := r.build(f, tmp, e); err != nil {
		return err
	}
	if err := fault.Point("capture.restore.rename"); err != nil {
		return err
	}
	if err := unix.Renameat(f.fd, tmp, f.fd, base); err != nil {
		if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			// A file cannot be renamed over a folder, nor a folder over a file. The second is ours to remove; the first was
			// removed before, if it was.
			if e.Kind != Dir {
				return fmt.Errorf("%w: %w", ErrInTheWay, err)
			}
			if err := unix.Unlinkat(f.fd, base, 0); err != nil {
				return err
			}
			err = unix.Renameat(f.fd, tmp, f.fd, base)
		}
		if err != nil {
			return err
		}
	}
	r.synced[dir] = true
	return f.setFlags(base, e)
}

// parent opens a folder, and makes it as it was when it is gone.
func (r *restorer) parent(dir Name) (*folder, error) {
	f, err := r.t.open(dir)
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	up, base := split(dir)
	above, err := r.parent(up)
	if err != nil {
		return nil, err
	}
	defer above.close()
	for _, list := range [][]Entry{r.saved.manifest.Entries, r.saved.Parents} {
		for _, e := range list {
			if e.Path != dir || e.Kind != Dir {
				continue
			}
			tmp := tempName(base)
			above.removeTemp(tmp)
			if err := r.build(above, tmp, e); err != nil {
				return nil, err
			}
			if err := unix.Renameat(above.fd, tmp, above.fd, base); err != nil {
				return nil, err
			}
			r.synced[up] = true
			return r.t.open(dir)
		}
	}
	return nil, fmt.Errorf("folder %s: %w", dir, unix.ENOENT)
}

// links ties together again what was one file with several names, and is two now with the same content: one of them was
// replaced, by the change or by us.
func (r *restorer) links() {
	usable := map[Name]bool{}
	for i := range r.items {
		it := &r.items[i]
		usable[it.Path] = it.Err == nil && it.Status != ChangedByOthers && it.Saved.Kind == File
	}
	for i := range r.items {
		it := &r.items[i]
		if it.Saved.LinkTo == "" || !usable[it.Path] || !usable[it.Saved.LinkTo] {
			continue
		}
		dir, base := split(it.Path)
		f, err := r.t.open(dir)
		if err != nil {
			it.fail(err)
			continue
		}
		f.removeTemp(tempName(base))
		it.fail(r.link(f, base, it.Saved))
		f.close()
	}
}

// link makes a path a name of the file that it was a name of.
func (r *restorer) link(f *folder, base string, e Entry) error {
	dir, first := split(e.LinkTo)
	to, err := r.t.open(dir)
	if err != nil {
		return err
	}
	defer to.close()
	var a, b unix.Stat_t
	if err := unix.Fstatat(to.fd, first, &a, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fstatat(f.fd, base, &b, unix.AT_SYMLINK_NOFOLLOW); err == nil && a.Ino == b.Ino && a.Dev == b.Dev {
		return nil
	}
	tmp := tempName(base)
	if err := unix.Linkat(to.fd, first, f.fd, tmp, 0); err != nil {
		return err
	}
	defer f.removeTemp(tmp)
	if err := unix.Renameat(f.fd, tmp, f.fd, base); err != nil {
		return err
	}
	r.synced[f.path] = true
	return nil
}

// folders sets owner, mode and time of the saved folders, children first, now that nothing in them changes any more.
func (r *restorer) folders() {
	busy := map[Name]bool{} // others have changed something in there: its time is theirs
	for i := range r.items {
		if r.items[i].Status == ChangedByOthers {
			dir, _ := split(r.items[i].Path)
			busy[dir] = true
		}
	}
	for i := len(r.items) - 1; i >= 0; i-- {
		it := &r.items[i]
		if it.Err != nil || it.Saved.Kind != Dir || it.Status == ChangedByOthers {
			continue
		}
		if it.Status == Unchanged && (busy[it.Path] || it.Saved.MTime == it.Current.MTime && !r.synced[it.Path]) {
			continue
		}
		dir, base := split(it.Path)
		f, err := r.t.open(dir)
		if err != nil {
			it.fail(err)
			continue
		}
		if err := f.setAttributes(base, it.Saved); err != nil {
			it.fail(immutable(it.Current, err))
		} else if it.Status != Unchanged {
			it.Outcome = Restored
		}
		f.close()
	}
}
