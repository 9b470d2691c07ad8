package capture

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// maxEntries is more than any set that makes sense to save file by file.
const maxEntries = 1 << 20

// Options changes how paths are read and saved.
type Options struct {
	// Shallow takes a folder without what is in it.
	Shallow bool
	// Skip names paths that are left out, with all that is below them.
	Skip []string
	// MaxBytes of contents; beyond is ErrTooLarge before anything is written. 0 is no limit.
	MaxBytes int64
}

// Describe tells what is at the paths, and below those that are folders. Paths are as seen below root; a symbolic link at
// the end of one is taken as itself.
func Describe(root string, paths []string, opt Options) (*State, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	tops, err := canonical(root, paths)
	if err != nil {
		return nil, err
	}
	return t.scan(tops, opt.Shallow, skipped(opt.Skip), true)
}

// canonical resolves the folders of paths below the root, so that no link is left on the way.
func canonical(root string, paths []string) ([]Name, error) {
	r, err := rootfs.Open(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []Name
	known := map[string]string{} // folders, resolved: most paths share theirs
	for _, p := range paths {
		clean := path.Clean("/" + p)
		if clean == "/" {
			return nil, fmt.Errorf("cannot save %q: the root itself", p)
		}
		if dir, ok := known[path.Dir(clean)]; ok {
			out = append(out, Name(path.Join("/", dir, path.Base(clean))))
			continue
		}
		// What does not exist cannot be resolved: the nearest folder that does, can.
		dir, rest := path.Dir(clean), path.Base(clean)
		for {
			resolved, err := r.Resolve(dir)
			if err == nil {
				if rest == path.Base(clean) {
					known[dir] = resolved
				}
				out = append(out, Name(path.Join("/", resolved, rest)))
				break
			}
			if dir == "/" || !errors.Is(err, fs.ErrNotExist) {
				return nil, pathError("resolve", Name(p), err)
			}
			dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// noFolder: there is none, or a file or link has taken its place. Either way nothing is in it.
func noFolder(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// scan describes the paths and, unless shallow, what is below them. digests asks for those of the contents.
func (t *tree) scan(tops []Name, shallow bool, skip map[Name]bool, digests bool) (*State, error) {
	seen := map[Name]Entry{}
	var visit func(p Name) error
	visit = func(p Name) error {
		if _, ok := seen[p]; ok || skip[p] {
			return nil
		}
		if len(seen) >= maxEntries {
			return pathError("read", p, fmt.Errorf("%w: more than %d files", ErrTooLarge, maxEntries))
		}
		dir, base := split(p)
		f, err := t.open(dir)
		if noFolder(err) {
			seen[p] = Entry{Path: p, Kind: Absent}
			return nil
		}
		if err != nil {
			return pathError("open", dir, err)
		}
		e, file, err := f.describe(base)
		f.close()
		if err != nil {
			return pathError("read", p, err)
		}
		if file != nil {
			defer file.Close()
		}
		if file != nil && digests {
			if e.SHA256, e.Size, err = hash(file); err != nil {
				return pathError("read", p, err)
			}
		}
		seen[p] = e
		if e.Kind != Dir || shallow {
			return nil
		}
		sub, err := t.open(p)
		if err != nil {
			return pathError("open", p, err)
		}
		names, err := sub.names()
		sub.close()
		if err != nil {
			return pathError("list", p, err)
		}
		for _, n := range names {
			if err := visit(Name(path.Join(string(p), n))); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range tops {
		if err := visit(p); err != nil {
			return nil, err
		}
	}
	s := &State{Entries: make([]Entry, 0, len(seen))}
	for _, e := range seen {
		s.Entries = append(s.Entries, e)
	}
	sort.Slice(s.Entries, func(i, j int) bool { return s.Entries[i].Path < s.Entries[j].Path })
	first := map[[2]uint64]Name{}
	for i, e := range s.Entries {
		if e.Kind != File || e.Links < 2 {
			continue
		}
		id := [2]uint64{e.dev, e.ino}
		if to, ok := first[id]; ok {
			s.Entries[i].LinkTo = to
		} else {
			first[id] = e.Path
		}
	}
	return s, nil
}

func skipped(paths []string) map[Name]bool {
	out := make(map[Name]bool, len(paths))
	for _, p := range paths {
		out[Name(path.Clean("/"+p))] = true
	}
	return out
}

// Saved is a complete set of saved files.
type Saved struct {
	dir    string
	digest string
	manifest
}

type manifest struct {
	Format  int    `json:"format"`
	Paths   []Name `json:"paths"` // as asked for, resolved
	Shallow bool   `json:"shallow,omitempty"`
	// Skip are paths that the set does not reach into.
	Skip []string `json:"skip,omitempty"`
	State
	// Parents are the folders above the paths, for the case that they are gone when something must be put back into them.
	Parents []Entry `json:"parents"`
}

// sealed is the file around a manifest or a state.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the bytes of body
	Body   json.RawMessage `json:"body"`
}

const (
	format       = 1
	manifestFile = "manifest.json"
	afterFile    = "after.json"
	contentDir   = "c"
	maxManifest  = 1 << 30
)

// Save saves what is at the paths, and below those that are folders, into the new folder dir. The set is complete and
// on the disk, and every content was read back, or there is no dir. ErrExists means that there is one already.
func Save(dir, root string, paths []string, opt Options) (*Saved, error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("cannot save into %s: %w", dir, ErrExists)
	}
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	tops, err := canonical(root, paths)
	if err != nil {
		return nil, err
	}
	m := manifest{Format: format, Paths: tops, Shallow: opt.Shallow, Skip: opt.Skip}
	state, err := t.scan(tops, opt.Shallow, skipped(opt.Skip), false)
	if err != nil {
		return nil, err
	}
	m.State = *state
	if n := m.Bytes(); opt.MaxBytes > 0 && n > opt.MaxBytes {
		return nil, fmt.Errorf("cannot save %d bytes: %w: at most %d are allowed", n, ErrTooLarge, opt.MaxBytes)
	}
	if m.Parents, err = t.parents(tops); err != nil {
		return nil, err
	}
	// What is in the folder of an interrupted attempt is worth nothing.
	tmp := dir + ".partial"
	if err := os.RemoveAll(tmp); err != nil {
		return nil, fmt.Errorf("cannot clear %s: %w", tmp, err)
	}
	if err := write(t, tmp, &m); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, err
	}
	if err := fault.Point("capture.save.commit"); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, err
	}
	if err := os.Rename(tmp, dir); err != nil {
		_ = os.RemoveAll(tmp)
		return nil, fmt.Errorf("cannot save into %s: %w", dir, err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return Open(dir)
}

func (t *tree) parents(tops []Name) ([]Entry, error) {
	seen := map[Name]bool{}
	var all []Name
	for _, p := range tops {
		for d, _ := split(p); d != "/" && !seen[d]; d, _ = split(d) {
			seen[d] = true
			all = append(all, d)
		}
	}
	s, err := t.scan(all, true, nil, false)
	if err != nil {
		return nil, err
	}
	return s.Entries, nil
}

func write(t *tree, tmp string, m *manifest) error {
	if err := os.MkdirAll(filepath.Join(tmp, contentDir), 0o700); err != nil {
		return fmt.Errorf("cannot save: %w", err)
	}
	sums := map[Name]Entry{}
	n := 0
	many := len(m.Entries) > manyFiles
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Kind != File {
			continue
		}
		if e.LinkTo != "" {
			e.SHA256, e.Size = sums[e.LinkTo].SHA256, sums[e.LinkTo].Size
			continue
		}
		n++
		store := fmt.Sprintf("%s/%06d", contentDir, n)
		if err := saveContent(t, e, filepath.Join(tmp, store), !many); err != nil {
			return err
		}
		e.Store = store
		sums[e.Path] = *e
	}
	if many {
		if err := syncFileSystem(filepath.Join(tmp, contentDir)); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncDir(filepath.Join(tmp, contentDir)); err != nil {
		return err
	}
	if err := seal(filepath.Join(tmp, manifestFile), m); err != nil {
		return err
	}
	// Read back before anybody relies on it.
	s, err := Open(tmp)
	if err != nil {
		return err
	}
	return s.Verify()
}

// manyFiles is from how many files on the whole file system is synced once,
// and not every file by itself: thousands of those take minutes.
const manyFiles = 1000

func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync: %w", err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("cannot sync the file system of %s: %w", dir, err)
	}
	return nil
}

func saveContent(t *tree, e *Entry, to string, sync bool) error {
	dir, base := split(e.Path)
	f, err := t.open(dir)
	if err != nil {
		return pathError("open", dir, err)
	}
	defer f.close()
	now, file, err := f.describe(base)
	if err != nil {
		return pathError("read", e.Path, err)
	}
	if file == nil {
		return pathError("save", e.Path, ErrChanged)
	}
	defer file.Close()
	if err := fault.Point("capture.save.content"); err != nil {
		return pathError("save", e.Path, err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return pathError("save", e.Path, err)
	}
	defer out.Close()
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, h), file)
	if err != nil {
		return pathError("save", e.Path, err)
	}
	// The change time moves with every write and every chmod: the entry and the content are of one moment.
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return pathError("read", e.Path, err)
	}
	if uint64(st.Ctim.Nano()) != e.ctime || now.ino != e.ino || now.dev != e.dev || size != e.Size {
		return pathError("save", e.Path, ErrChanged)
	}
	if sync {
		if err := out.Sync(); err != nil {
			return pathError("save", e.Path, err)
		}
	}
	if err := out.Close(); err != nil {
		return pathError("save", e.Path, err)
	}
	e.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

func seal(file string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %s: %w", file, err)
	}
	sum := sha256.Sum256(data)
	data, err = json.Marshal(sealed{SHA256: hex.EncodeToString(sum[:]), Body: data})
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %s: %w", file, err)
	}
	return atomicfile.Write(file, append(data, '\n'), 0o600)
}

func unseal(file string, body any) (digest string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot read saved files: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", file, err)
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return "", fmt.Errorf("cannot read %s: %w: %w", file, ErrCorrupt, err)
	}
	sum := sha256.Sum256(s.Body)
	if hex.EncodeToString(sum[:]) != s.SHA256 {
		return "", fmt.Errorf("cannot read %s: %w: its checksum does not match", file, ErrCorrupt)
	}
	if err := json.Unmarshal(s.Body, body); err != nil {
		return "", fmt.Errorf("cannot read %s: %w: %w", file, ErrCorrupt, err)
	}
	return s.SHA256, nil
}

// Open reads the manifest of a saved set. The contents are checked by Verify, and again when they are restored.
func Open(dir string) (*Saved, error) {
	s := &Saved{dir: dir}
	file := filepath.Join(dir, manifestFile)
	var err error
	if s.digest, err = unseal(file, &s.manifest); err != nil {
		return nil, err
	}
	if s.Format != format {
		return nil, fmt.Errorf("cannot read %s: format %d is not known", file, s.Format)
	}
	if err := checkEntries(s.manifest.Entries); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	if err := checkEntries(s.Parents); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	return s, nil
}

// checkEntries refuses what Save does not write: these paths will be written to as root.
func checkEntries(entries []Entry) error {
	last := Name("")
	for _, e := range entries {
		if path.Clean(string(e.Path)) != string(e.Path) || !strings.HasPrefix(string(e.Path), "/") || e.Path == "/" || e.Path <= last {
			return fmt.Errorf("%w: path %q", ErrCorrupt, e.Path)
		}
		if e.Store != "" && (filepath.Dir(e.Store) != contentDir || !filepath.IsLocal(e.Store)) {
			return fmt.Errorf("%w: content %q of %q", ErrCorrupt, e.Store, e.Path)
		}
		last = e.Path
	}
	return nil
}

// Dir is the folder of the set.
func (s *Saved) Dir() string { return s.dir }

// Digest is the sha256 of the manifest, which holds those of the contents: the whole set in one value, for a journal.
func (s *Saved) Digest() string { return s.digest }

// Entries returns what was saved, sorted by path. It must not be changed.
func (s *Saved) Entries() []Entry { return s.manifest.Entries }

// Verify reads all contents and compares them with the manifest.
func (s *Saved) Verify() error {
	for _, e := range s.manifest.Entries {
		if e.Kind != File || e.LinkTo != "" {
			continue
		}
		f, err := os.Open(filepath.Join(s.dir, e.Store))
		if err != nil {
			return fmt.Errorf("cannot read the saved content of %s: %w", e.Path, err)
		}
		// Reading back is to read the disk, not our own memory.
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		sum, n, err := hash(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("cannot read the saved content of %s: %w", e.Path, err)
		}
		if sum != e.SHA256 || n != e.Size {
			return fmt.Errorf("cannot use the saved content of %s: %w: its checksum does not match", e.Path, ErrCorrupt)
		}
	}
	return nil
}

// RecordAfter notes what is at the paths now, when the change is done. Without it, Restore cannot tell the change's work
// from that of others, and keeps a copy of everything it replaces.
func (s *Saved) RecordAfter(root string) error {
	t, err := openTree(root)
	if err != nil {
		return err
	}
	defer t.close()
	state, err := t.scan(s.Paths, s.Shallow, skipped(s.Skip), true)
	if err != nil {
		return err
	}
	return seal(filepath.Join(s.dir, afterFile), state)
}

// After returns what RecordAfter noted, nil if it never ran.
func (s *Saved) After() (*State, error) {
	var state State
	_, err := unseal(filepath.Join(s.dir, afterFile), &state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &state, nil
}
