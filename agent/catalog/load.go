package catalog

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/ini"
)

//go:embed data/*.conf
var embedded embed.FS

// Load returns the embedded facts with what the files in Dir below root add or
// change, in the order of their names. Errors name file and line. A folder
// that does not exist is no error. Keys that are trusted for AlmaLinux's
// packages cannot be added or changed: the root may be a foreign image.
func Load(root string) (*Catalog, error) {
	c := &Catalog{
		keys: map[string]*KeyInfo{}, byID: map[string]*KeyInfo{}, distros: map[string]*Distro{},
		brand: map[brandKey]*branding{}, repoMaps: map[int][]*repoMap{}, streams: map[string]string{},
	}
	names, err := fs.Glob(embedded, "data/*.conf")
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	for _, name := range names {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("internal error: %w", err)
		}
		if err := c.add(name, data, false); err != nil {
			return nil, err
		}
	}
	if err := c.loadDir(root); err != nil {
		return nil, err
	}
	return c, c.check()
}

func (c *Catalog) loadDir(root string) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("cannot open root: %w", err)
	}
	defer r.Close()
	dir := strings.TrimPrefix(Dir, "/")
	d, err := r.Open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read catalogue folder %s: %w", Dir, err)
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil {
		return fmt.Errorf("cannot read catalogue folder %s: %w", Dir, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".conf") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := r.ReadFile(dir + "/" + e.Name())
		if err != nil {
			return fmt.Errorf("cannot read catalogue file %s: %w", path.Join(Dir, e.Name()), err)
		}
		if err := c.add(path.Join(Dir, e.Name()), data, true); err != nil {
			return err
		}
	}
	return nil
}

// loader reads one file.
type loader struct {
	c     *Catalog
	file  string
	local bool // from the host rather than embedded
}

func (l *loader) fail(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %w", l.file, line, fmt.Sprintf(format, args...), ErrData)
}

func (c *Catalog) add(name string, data []byte, local bool) error {
	f, err := ini.Parse(name, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrData)
	}
	l := &loader{c: c, file: name, local: local}
	for _, d := range f.Duplicates {
		return l.fail(d.Line, "%s", d.String())
	}
	for _, s := range f.Sections {
		words := strings.Fields(s.Name)
		var err error
		switch {
		case len(words) == 2 && words[0] == "key":
			err = l.key(s, words[1])
		case len(words) == 2 && words[0] == "distro":
			err = l.distro(s, words[1])
		case len(words) >= 3 && words[0] == "branding":
			err = l.branding(s, words[1], words[2:])
		case len(words) >= 3 && words[0] == "repo":
			err = l.repo(s, words[1], words[2:])
		case len(words) >= 3 && words[0] == "repomap":
			err = l.repoMap(s, words[1], words[2:])
		case s.Name == "urls":
			err = l.urls(s)
		case s.Name == "streams":
			for _, k := range s.Keys {
				c.streams[k.Name] = k.Value
			}
		case s.Name == "downgrade":
			err = l.downgrade(s)
		case len(words) == 2 && words[0] == "hardware":
			err = l.hardware(s, words[1])
		case s.Name == "modules-merged":
			err = l.mergedModules(s)
		case len(words) == 2 && words[0] == "hardware-source":
			err = l.hardwareSource(s, words[1])
		case len(words) >= 3 && words[0] == "module-repo":
			err = l.moduleRepo(s, words[1], words[2:])
		case len(words) == 2 && words[0] == "panel":
			err = l.panel(s, words[1])
		case len(words) == 2 && words[0] == "agent":
			err = l.agent(s, words[1])
		case len(words) == 2 && words[0] == "modified":
			err = l.byMajor(s, words[1], &c.modified)
		case len(words) == 2 && words[0] == "vars":
			err = l.byMajor(s, words[1], &c.targetVars)
		case s.Name == "modified-source":
			err = l.texts(s, map[string]*string{"source": &c.modifiedSource.Source, "checked": &c.modifiedSource.Checked})
		default:
			err = l.fail(s.Line, "unknown section [%s]", s.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) majors(line int, words []string) ([]int, error) {
	var out []int
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil || n < 5 || n > 20 {
			return nil, l.fail(line, "%q is not an EL major release", w)
		}
		out = append(out, n)
	}
	return out, nil
}

func (l *loader) yes(k ini.Key) (bool, error) {
	switch strings.ToLower(k.Value) {
	case "yes", "1", "true", "on":
		return true, nil
	case "no", "0", "false", "off":
		return false, nil
	}
	return false, l.fail(k.Line, "%s: %q is neither yes nor no", k.Name, k.Value)
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

func (l *loader) key(s ini.Section, fp string) error {
	if !isHex(fp, 40) && !isHex(fp, 64) {
		return l.fail(s.Line, "%q is not a fingerprint of 40 or 64 hex digits", fp)
	}
	fp = strings.ToUpper(fp)
	if old := l.c.keys[fp]; old != nil {
		if old.Pinned || !l.local {
			return l.fail(s.Line, "key %s is built in and cannot be changed", fp)
		}
		for _, id := range old.KeyIDs {
			delete(l.c.byID, id)
		}
	}
	k := &KeyInfo{Fingerprint: fp}
	for _, kv := range s.Keys {
		var err error
		switch kv.Name {
		case "owner":
			k.Owner = kv.Value
		case "kind":
			k.Kind = Kind(kv.Value)
		case "majors":
			if kv.Value != "*" {
				k.Majors, err = l.majors(kv.Line, strings.Fields(kv.Value))
			}
		case "ids":
			k.KeyIDs = strings.Fields(strings.ToLower(kv.Value))
		case "uid":
			k.UserID = kv.Value
		case "pinned":
			k.Pinned, err = l.yes(kv)
		case "expires":
			if _, perr := time.Parse(time.DateOnly, kv.Value); perr != nil {
				err = l.fail(kv.Line, "expires: %q is not a date like 2024-01-12", kv.Value)
			}
			k.Expires = kv.Value
		case "note":
			k.Note = kv.Value
		default:
			err = l.fail(kv.Line, "unknown key %q", kv.Name)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case k.Owner == "" || len(k.KeyIDs) == 0:
		return l.fail(s.Line, "key %s needs owner and ids", fp)
	case k.Kind != KindDistro && k.Kind != KindSIG && k.Kind != KindThirdParty:
		return l.fail(s.Line, "key %s: kind must be distro, sig or third-party", fp)
	case l.local && (k.Pinned || k.Owner == "almalinux"):
		return l.fail(s.Line, "keys of AlmaLinux are built in; trust a mirror's own key with extra_keys in section [trust] of almamigrate.conf")
	}
	for _, id := range k.KeyIDs {
		if !isHex(id, 16) {
			return l.fail(s.Line, "key id %q is not 16 hex digits", id)
		}
		if other := l.c.byID[id]; other != nil {
			return l.fail(s.Line, "key id %s belongs to %s already", id, other.Fingerprint)
		}
	}
	for _, id := range k.KeyIDs {
		l.c.byID[id] = k
	}
	l.c.keys[fp] = k
	return nil
}

func (l *loader) distro(s ini.Section, name string) error {
	d := l.c.distros[name]
	if d == nil {
		d = &Distro{Name: name, Order: 500}
		l.c.distros[name] = d
	}
	for _, kv := range s.Keys {
		list := strings.Fields(kv.Value)
		switch kv.Name {
		case "title":
			d.Title = kv.Value
		case "ids":
			d.IDs = list
		case "names":
			d.Names = strings.Fields(strings.ToLower(kv.Value))
		case "release":
			d.Release = list
		case "owners":
			if l.local && name == "almalinux" {
				return l.fail(kv.Line, "who signs for AlmaLinux is built in")
			}
			d.Owners = list
		case "order":
			n, err := strconv.Atoi(kv.Value)
			if err != nil {
				return l.fail(kv.Line, "order: %q is not a number", kv.Value)
			}
			d.Order = n
		default:
			return l.fail(kv.Line, "unknown key %q", kv.Name)
		}
	}
	return nil
}

func (l *loader) branding(s ini.Section, distro string, words []string) error {
	majors, err := l.majors(s.Line, words)
	if err != nil {
		return err
	}
	for _, m := range majors {
		b := l.c.brand[brandKey{distro, m}]
		if b == nil {
			b = &branding{exact: map[string]Replacement{}}
			l.c.brand[brandKey{distro, m}] = b
		}
		for _, kv := range s.Keys {
			if kv.Name == "identity" {
				b.identity = strings.Fields(kv.Value)
				continue
			}
			r, err := l.replacement(kv)
			if err != nil {
				return err
			}
			if !strings.ContainsAny(kv.Name, "*?[") {
				b.exact[kv.Name] = r
				continue
			}
			b.globs = slices.DeleteFunc(b.globs, func(o Replacement) bool { return o.Package == r.Package })
			b.globs = append(b.globs, r)
			slices.SortStableFunc(b.globs, func(x, y Replacement) int { return cmp.Compare(len(y.Package), len(x.Package)) })
		}
	}
	return nil
}

func (l *loader) replacement(kv ini.Key) (Replacement, error) {
	rule, why, ok := strings.Cut(kv.Value, "|")
	words := strings.Fields(rule)
	r := Replacement{Package: kv.Name, Why: strings.TrimSpace(why)}
	if _, err := path.Match(kv.Name, ""); err != nil {
		return r, l.fail(kv.Line, "%q is not a pattern", kv.Name)
	}
	switch {
	case !ok || r.Why == "":
		return r, l.fail(kv.Line, "%s: a reason is missing, as in: drop | why", kv.Name)
	case len(words) >= 2 && words[0] == "swap":
		r.Action, r.To = Swap, words[1:]
	case len(words) == 1 && words[0] == "drop":
		r.Action = Drop
	case len(words) == 1 && words[0] == "drop?":
		r.Action, r.OnlyIfMissing = Drop, true
	default:
		return r, l.fail(kv.Line, "%s: expected swap NAME..., drop or drop?", kv.Name)
	}
	return r, nil
}

func (l *loader) repo(s ini.Section, id string, words []string) error {
	majors, err := l.majors(s.Line, words)
	if err != nil {
		return err
	}
	r := &repoDef{TargetRepo: TargetRepo{ID: id}, majors: majors}
	for _, kv := range s.Keys {
		switch kv.Name {
		case "name":
			r.Name = kv.Value
		case "path":
			r.Path = kv.Value
		case "enabled":
			if r.DefaultEnabled, err = l.yes(kv); err != nil {
				return err
			}
		case "arches":
			r.arches = strings.Fields(kv.Value)
		case "list":
			r.list = kv.Value
		case "package":
			r.Package = kv.Value
		default:
			return l.fail(kv.Line, "unknown key %q", kv.Name)
		}
	}
	if r.Path == "" || path.Clean("/"+r.Path) != "/"+r.Path {
		return l.fail(s.Line, "repository %s needs a plain path", id)
	}
	for _, o := range l.c.repos {
		if o.ID != id {
			continue
		}
		for _, m := range majors {
			if slices.Contains(o.majors, m) && !l.local {
				return l.fail(s.Line, "repository %s of %d is defined twice", id, m)
			}
		}
		o.majors = slices.DeleteFunc(o.majors, func(m int) bool { return slices.Contains(majors, m) })
	}
	l.c.repos = append(l.c.repos, r)
	return nil
}

func (l *loader) urls(s ini.Section) error {
	for _, kv := range s.Keys {
		switch kv.Name {
		case "baseurl":
			l.c.baseURL = kv.Value
		case "mirrorlist":
			l.c.mirrorlist = kv.Value
		default:
			return l.fail(kv.Line, "unknown key %q", kv.Name)
		}
	}
	return nil
}

func (l *loader) repoMap(s ini.Section, target string, words []string) error {
	majors, err := l.majors(s.Line, words)
	if err != nil {
		return err
	}
	m := &repoMap{target: target}
	for _, kv := range s.Keys {
		if kv.Name != "ids" {
			return l.fail(kv.Line, "unknown key %q", kv.Name)
		}
		m.ids = strings.Fields(strings.ToLower(kv.Value))
		for _, p := range m.ids {
			if _, err := path.Match(p, ""); err != nil {
				return l.fail(kv.Line, "%q is not a pattern", p)
			}
		}
	}
	for _, n := range majors {
		// The host's own entries come first: they win over equally long ones.
		if l.local {
			l.c.repoMaps[n] = append([]*repoMap{m}, l.c.repoMaps[n]...)
		} else {
			l.c.repoMaps[n] = append(l.c.repoMaps[n], m)
		}
	}
	return nil
}

func (l *loader) downgrade(s ini.Section) error {
	for _, kv := range s.Keys {
		sev, why, ok := strings.Cut(kv.Value, "|")
		r := risk{kv.Name, strings.TrimSpace(sev), strings.TrimSpace(why)}
		if _, err := path.Match(kv.Name, ""); err != nil || !ok || r.why == "" || r.severity != "blocker" && r.severity != "warning" {
			return l.fail(kv.Line, "%s: expected blocker or warning, then | and the reason", kv.Name)
		}
		l.c.risks = slices.DeleteFunc(l.c.risks, func(o risk) bool { return o.pattern == r.pattern })
		l.c.risks = append(l.c.risks, r)
	}
	slices.SortStableFunc(l.c.risks, func(a, b risk) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	return nil
}

// check looks for entries that point to nothing.
func (c *Catalog) check() error {
	for key := range c.brand {
		if c.distros[key.distro] == nil {
			return fmt.Errorf("section [branding %s %d]: no such distribution: %w", key.distro, key.major, ErrData)
		}
	}
	for major, maps := range c.repoMaps {
		for _, m := range maps {
			if !slices.ContainsFunc(c.repos, func(r *repoDef) bool {
				return r.ID == m.target && slices.Contains(r.majors, max(major, 8))
			}) {
				return fmt.Errorf("section [repomap %s %d]: no such repository: %w", m.target, major, ErrData)
			}
		}
	}
	return nil
}
