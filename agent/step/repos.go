package step

import (
	"bytes"
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

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/ini"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// savedEntry finds a path among what was saved before the migration, and the
// set that holds it; ok is false where nothing of the kind was there.
func savedEntry(c *txn.Change, name string, kind capture.Kind) (set *capture.Saved, e capture.Entry, ok bool, err error) {
	sets, err := Sets(c)
	if err != nil {
		return nil, e, false, err
	}
	real := newResolver()(name) // saved sets have no link among the folders of a path
	for _, set := range sets {
		for _, e := range set.Entries() {
			if string(e.Path) == real && e.Kind == kind {
				return set, e, true, nil
			}
		}
	}
	return nil, e, false, nil
}

// savedFile returns what a regular file held before the migration; ok is false
// where there was none.
func savedFile(c *txn.Change, name string) (data []byte, e capture.Entry, ok bool, err error) {
	set, e, ok, err := savedEntry(c, name, capture.File)
	if err != nil || !ok {
		return nil, e, false, err
	}
	if e.LinkTo != "" {
		return savedFile(c, string(e.LinkTo))
	}
	if data, err = os.ReadFile(filepath.Join(set.Dir(), e.Store)); err != nil {
		return nil, e, false, fmt.Errorf("cannot read what was saved of %s: %w", name, err)
	}
	if sha256Hex(data) != e.SHA256 {
		return nil, e, false, fmt.Errorf("cannot use what was saved of %s: %w", name, capture.ErrCorrupt)
	}
	return data, e, true, nil
}

func hasContent(name string, data []byte) bool {
	got, err := os.ReadFile(name)
	return err == nil && bytes.Equal(got, data)
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", name, err)
	}
	return nil
}

// disableRepos keeps the old distribution's repository files under a name that
// dnf does not read.
type disableRepos struct{ *Env }

func (d disableRepos) Prepare(ctx context.Context, c *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return nothing{}.Prepare(ctx, c, p)
}

func (d disableRepos) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error {
	return nil
}

// each calls fn for each file, and link for each that is a link to one, as
// tools that manage settings make them.
func (d disableRepos) each(c *txn.Change, fn func(f plan.RepoFile, data []byte) error, link func(f plan.RepoFile, target string) error) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	for _, f := range p.RepoFiles {
		_, e, is, err := savedEntry(c, f.File, capture.Symlink)
		if err == nil && is {
			err = link(f, string(e.Target))
		}
		if err != nil {
			return err
		}
		data, _, ok, err := savedFile(c, f.File)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := fn(f, data); err != nil {
			return err
		}
	}
	return nil
}

func leadsTo(name, target string) bool {
	to, err := os.Readlink(name)
	return err == nil && to == target
}

func (d disableRepos) Do(_ context.Context, c *txn.Change, _, _ json.RawMessage) error {
	return d.each(c, func(f plan.RepoFile, data []byte) error {
		if err := atomicfile.Write(f.Kept, data, 0o644); err != nil {
			return fmt.Errorf("cannot keep %s: %w", f.File, err)
		}
		// rpm puts an edited file aside; the kept one is the same.
		for _, name := range []string{f.File, f.File + ".rpmsave"} {
			if _, _, was, err := savedFile(c, name); err != nil {
				return err
			} else if was && name != f.File || !hasContent(name, data) {
				continue
			}
			if err := remove(name); err != nil {
				return err
			}
		}
		return nil
	}, func(f plan.RepoFile, target string) error {
		// The name is what dnf goes by: the link moves, and the file that it leads to is left alone.
		if !leadsTo(f.Kept, target) {
			if err := remove(f.Kept); err != nil {
				return err
			}
			if err := os.Symlink(target, f.Kept); err != nil {
				return fmt.Errorf("cannot keep %s: %w", f.File, err)
			}
		}
		if !leadsTo(f.File, target) {
			return nil
		}
		return remove(f.File)
	})
}

func (d disableRepos) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	ok := true
	err := d.each(c, func(f plan.RepoFile, data []byte) error {
		ok = ok && hasContent(f.Kept, data) && !hasContent(f.File, data)
		return nil
	}, func(f plan.RepoFile, target string) error {
		ok = ok && leadsTo(f.Kept, target) && !leadsTo(f.File, target)
		return nil
	})
	return ok, err
}

const reposDir = "/etc/yum.repos.d"

// enableRepos switches on those AlmaLinux repositories whose counterparts were
// on, gives them the excludes and the like that these had, and points all of
// them to the administrator's mirror.
type enableRepos struct{ *Env }

func (r enableRepos) Prepare(ctx context.Context, c *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return nothing{}.Prepare(ctx, c, p)
}

func (r enableRepos) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error {
	return nil
}

func (r enableRepos) Do(_ context.Context, c *txn.Change, _, _ json.RawMessage) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	if _, err := useMirror(p.Mirror, true); err != nil {
		return err
	}
	for _, id := range p.EnableRepos {
		name, err := repoFileOf(id)
		if err != nil {
			return err
		}
		if err := setOption(name, id, "enabled", "1"); err != nil {
			return err
		}
	}
	for _, o := range p.RepoOptions {
		name, err := repoFileOf(o.Repo)
		if err != nil {
			return err
		}
		if err := setOption(name, o.Repo, o.Key, o.Value); err != nil {
			return err
		}
	}
	return nil
}

func (r enableRepos) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	p, err := Plan(c)
	if err != nil {
		return false, err
	}
	if same, err := useMirror(p.Mirror, false); err != nil || !same {
		return false, err
	}
	for _, id := range p.EnableRepos {
		name, err := repoFileOf(id)
		if err != nil {
			return false, err
		}
		if v, err := option(name, id, "enabled"); err != nil || v != "1" {
			return false, err
		}
	}
	for _, o := range p.RepoOptions {
		name, err := repoFileOf(o.Repo)
		if err != nil {
			return false, err
		}
		if v, err := option(name, o.Repo, o.Key); err != nil || v != o.Value {
			return false, err
		}
	}
	return true, nil
}

// repoFileOf finds the file that holds a repository.
func repoFileOf(id string) (string, error) {
	files, err := filepath.Glob(reposDir + "/*.repo")
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("cannot read %s: %w", f, err)
		}
		parsed, err := ini.Parse(f, bytes.NewReader(data))
		if err != nil {
			continue // a broken file of somebody else's is not in our way
		}
		for _, s := range parsed.Sections {
			if s.Name == id {
				return f, nil
			}
		}
	}
	return "", fmt.Errorf("cannot enable the repository %s: no file in %s has it", id, reposDir)
}

func option(name, section, key string) (string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	f, err := ini.Parse(name, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	for _, s := range f.Sections {
		if s.Name == section {
			if v, ok := s.Get(key); ok {
				return v, nil
			}
		}
	}
	return "", nil
}

// setOption sets one key of an INI file and leaves every other byte as it is.
func setOption(name, section, key, value string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("cannot change %s: %w", name, err)
	}
	out := editOption(string(data), section, key, value)
	if out == string(data) {
		return nil
	}
	if err := atomicfile.Write(name, []byte(out), 0o644, atomicfile.Keep); err != nil {
		return fmt.Errorf("cannot change %s: %w", name, err)
	}
	return nil
}

func editOption(text, section, key, value string) string {
	lines := strings.SplitAfter(text, "\n")
	in, at := false, -1
	for i, l := range lines {
		t := strings.TrimSpace(l)
		if strings.HasPrefix(t, "[") {
			in = strings.HasPrefix(t, "["+section+"]")
			if in {
				at = i
			}
			continue
		}
		if !in || strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") || l != strings.TrimLeft(l, " \t") {
			continue
		}
		if cut := strings.IndexAny(t, "=:"); cut > 0 && strings.TrimSpace(t[:cut]) == key {
			lines[i] = key + "=" + value + "\n"
			return strings.Join(lines, "")
		}
	}
	if at < 0 {
		return text
	}
	if !strings.HasSuffix(lines[at], "\n") {
		lines[at] += "\n"
	}
	lines[at] += key + "=" + value + "\n"
	return strings.Join(lines, "")
}

// carry brings edits of the administrator's over to files that AlmaLinux has,
// too, and keeps dnf variables that other repositories use.
type carry struct{ *Env }

type carryUndo struct {
	Edited []string `json:"edited"` // configuration files that differ from what the leaving package had
}

// notCarried are files whose content is the distribution's identity.
var notCarried = []string{"/etc/os-release", "/etc/redhat-release", "/etc/system-release", "/etc/system-release-cpe"}

func (k carry) Prepare(_ context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	p = p.Branding() // of all others rpm keeps edits as it always does
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	coming := map[string]bool{}
	files, err := comingFiles(c, p)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		pkg, done, err := openPackage(f)
		if err != nil {
			return nil, err
		}
		for _, f := range configFiles(pkg.Header()) {
			coming[f.path] = true
		}
		done()
	}
	u := carryUndo{Edited: []string{}}
	for _, l := range p.Leaving {
		for _, h := range db.Packages[l.NEVRA] {
			for _, f := range configFiles(h) {
				if !coming[f.path] || slices.Contains(notCarried, f.path) || path.Dir(f.path) == reposDir {
					continue
				}
				if sum, err := digestFile(f.path, f.algo); err == nil && sum != f.digest {
					u.Edited = append(u.Edited, f.path)
				}
			}
		}
	}
	return json.Marshal(u)
}

func (k carry) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error { return nil }

func (k carry) each(c *txn.Change, undo json.RawMessage, fn func(name string, data []byte, mode os.FileMode, edited bool) error) error {
	var u carryUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return fmt.Errorf("cannot read the journal: %w", err)
	}
	p, err := Plan(c)
	if err != nil {
		return err
	}
	for _, name := range append(slices.Clone(u.Edited), p.Vars...) {
		data, e, ok, err := savedFile(c, name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := fn(name, data, os.FileMode(e.Mode).Perm(), slices.Contains(u.Edited, name)); err != nil {
			return err
		}
	}
	return nil
}

func (k carry) Do(_ context.Context, c *txn.Change, _, undo json.RawMessage) error {
	return k.each(c, undo, func(name string, data []byte, mode os.FileMode, edited bool) error {
		if hasContent(name, data) {
			return nil
		}
		if now, err := os.ReadFile(name); err == nil && edited {
			if _, err := os.Lstat(name + ".rpmnew"); errors.Is(err, fs.ErrNotExist) {
				if err := atomicfile.Write(name+".rpmnew", now, 0o644); err != nil {
					return fmt.Errorf("cannot keep AlmaLinux's %s aside: %w", name, err)
				}
			}
		}
		if err := atomicfile.Write(name, data, mode, atomicfile.Keep); err != nil {
			return fmt.Errorf("cannot carry %s over: %w", name, err)
		}
		if hasContent(name+".rpmsave", data) {
			return remove(name + ".rpmsave")
		}
		return nil
	})
}

func (k carry) Verify(_ context.Context, c *txn.Change, _, undo json.RawMessage) (bool, error) {
	ok := true
	err := k.each(c, undo, func(name string, data []byte, _ os.FileMode, _ bool) error {
		ok = ok && hasContent(name, data)
		return nil
	})
	return ok, err
}

// rhsm switches the subscription plugin off. Nothing is unregistered: that
// could not be taken back.
type rhsm struct{ *Env }

// rhsmOptions are what keeps dnf and subscription-manager from bringing Red
// Hat's repositories back.
var rhsmOptions = []struct{ file, section, key, value string }{
	{"/etc/dnf/plugins/subscription-manager.conf", "main", "enabled", "0"},
	{"/etc/dnf/plugins/product-id.conf", "main", "enabled", "0"},
	{"/etc/yum/pluginconf.d/subscription-manager.conf", "main", "enabled", "0"},
	{"/etc/yum/pluginconf.d/product-id.conf", "main", "enabled", "0"},
	{"/etc/rhsm/rhsm.conf", "rhsm", "manage_repos", "0"},
}

func (r rhsm) Prepare(ctx context.Context, c *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return nothing{}.Prepare(ctx, c, p)
}

func (r rhsm) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error { return nil }

func (r rhsm) Do(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error {
	for _, o := range rhsmOptions {
		if err := setOption(o.file, o.section, o.key, o.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r rhsm) Verify(context.Context, *txn.Change, json.RawMessage, json.RawMessage) (bool, error) {
	for _, o := range rhsmOptions {
		v, err := option(o.file, o.section, o.key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err == nil && v != o.value && v != "" {
			return false, nil
		}
	}
	return true, nil
}
