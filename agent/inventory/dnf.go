package inventory

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/ini"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// conf is what dnf.conf or yum.conf say, as far as it is needed to read more.
type conf struct {
	file     string
	main     ini.Section
	inline   []ini.Section // repositories defined in the main file
	reposdir []string
	watched  []string // folders whose files' owners are wanted, each with a "/" behind
	yum      bool     // EL7's yum rather than dnf
}

// parse reads an INI file of the host. A file that does not exist is no error.
func (t *taker) parse(name string) (*ini.File, bool) {
	data, err := t.h.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		t.skip(name, err)
		return nil, false
	}
	f, err := ini.Parse(name, bytes.NewReader(data))
	if err != nil {
		t.skip(name, err)
		return nil, false
	}
	return f, true
}

// list lists the files of a folder with a suffix, with their paths.
func (t *taker) list(dir, suffix string) []string {
	entries, err := t.h.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.skip(dir, err)
		}
		return nil
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, path.Join(dir, e.Name()))
		}
	}
	return out
}

// readConf reads the main file: dnf.conf where there is one, else yum.conf,
// which on EL8 and later is a link to it.
func (t *taker) readConf() {
	c := &t.conf
	for _, name := range []string{"/etc/dnf/dnf.conf", "/etc/yum.conf", "/etc/yum/yum.conf"} {
		f, ok := t.parse(name)
		if !ok {
			continue
		}
		c.file, c.yum = name, name != "/etc/dnf/dnf.conf"
		for _, s := range f.Sections {
			if s.Name == "main" {
				c.main = s
			} else {
				c.inline = append(c.inline, s)
			}
		}
		break
	}
	c.reposdir = []string{"/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"} // dnf.conf(5), reposdir
	if v, ok := c.main.Get("reposdir"); ok && strings.TrimSpace(v) != "" {
		c.reposdir = words(v)
	}
	for i, d := range c.reposdir {
		c.reposdir[i] = path.Clean("/" + d)
	}
	// rpm's file lists name real folders: a configured one may be a link.
	for _, d := range c.reposdir {
		c.watched = append(c.watched, d+"/")
		if real, err := t.h.Resolve(d); err == nil && "/"+real != d {
			c.watched = append(c.watched, "/"+real+"/")
		}
	}
}

// words splits a list option: white space and commas.
func words(v string) []string {
	return strings.FieldsFunc(clean(v), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' || r == '\r' })
}

// truth reads a boolean as dnf does; anything else is the default.
func truth(v string, def bool) bool {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "1", "yes", "true", "on", "enabled":
		return true
	case "0", "no", "false", "off", "disabled":
		return false
	}
	return def
}

// hide takes the user's name and password out of a URL.
func hide(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	if u, err := url.Parse(raw); err == nil && u.User == nil {
		return raw
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	return scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + tail
}

// secret tells options that hold a secret by name.
func secret(option string) bool {
	o := strings.ToLower(option)
	return strings.Contains(o, "password") || strings.Contains(o, "username") || strings.Contains(o, "token") || strings.Contains(o, "secret")
}

// readRepos reads repositories and the package manager's settings. It needs
// Host and the packages, for $releasever and $basearch.
func (t *taker) readRepos() {
	t.readDNF()
	vars := t.variables()
	for _, s := range t.conf.inline {
		t.addRepo(t.conf.file, s, vars)
	}
	seen := map[string]bool{}
	for _, dir := range t.conf.reposdir {
		if real, err := t.h.Resolve(dir); err == nil {
			if seen[real] {
				continue
			}
			seen[real] = true
		}
		for _, name := range t.list(dir, ".repo") {
			f, ok := t.parse(name)
			if !ok {
				continue
			}
			for _, s := range f.Sections {
				if s.Name != "main" {
					t.addRepo(clean(name), s, vars)
				}
			}
		}
	}
	t.readNamedKeys()
}

func (t *taker) addRepo(file string, s ini.Section, vars map[string]string) {
	get := func(name string) string { v, _ := s.Get(name); return Substitute(v, vars) }
	list := func(name string) []string {
		out := words(get(name))
		for i := range out {
			out[i] = hide(out[i])
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	gpg, _ := t.conf.main.Get("gpgcheck")
	if v, ok := s.Get("gpgcheck"); ok {
		gpg = v
	}
	r := Repo{
		ID: clean(Substitute(s.Name, vars)), Name: clean(get("name")), File: file,
		Enabled:    truth(get("enabled"), true),
		BaseURLs:   list("baseurl"),
		Mirrorlist: hide(clean(get("mirrorlist"))), Metalink: hide(clean(get("metalink"))),
		GPGCheck: truth(gpg, false),
		GPGKeys:  list("gpgkey"),
		OwnedBy:  t.owner(file),
	}
	for _, name := range []string{"baseurl", "mirrorlist", "metalink"} {
		v, _ := s.Get(name)
		for _, u := range words(v) {
			if strings.Contains(u, "$") {
				r.Written = append(r.Written, hide(u))
			}
		}
	}
	for _, o := range []string{"exclude", "excludes", "excludepkgs"} {
		r.Exclude = append(r.Exclude, words(get(o))...)
	}
	for _, k := range s.Keys {
		switch name := strings.ToLower(k.Name); {
		case slices.Contains([]string{"name", "enabled", "baseurl", "mirrorlist", "metalink", "gpgcheck", "gpgkey", "exclude", "excludes", "excludepkgs"}, name), secret(name):
		default:
			if r.Options == nil {
				r.Options = map[string]string{}
			}
			r.Options[clean(name)] = hide(clean(k.Value))
		}
	}
	t.inv.Repos = append(t.inv.Repos, r)
}

// owner returns the package that owns a file in a watched folder.
func (t *taker) owner(file string) string {
	if p := t.owners[file]; p != "" {
		return p
	}
	dir, base := path.Split(file)
	if real, err := t.h.Resolve(dir); err == nil {
		return t.owners["/"+real+"/"+base]
	}
	return ""
}

// variables returns what may stand behind a $ in a .repo file.
func (t *taker) variables() map[string]string { return RepoVariables(t.inv) }

// RepoVariables returns what may stand behind a $ in a .repo file of a host.
func RepoVariables(inv *Inventory) map[string]string {
	vars := map[string]string{"basearch": inv.Host.Arch, "arch": inv.Host.Arch, "releasever": inv.DNF.ReleaseVer}
	for k, v := range inv.DNF.Vars {
		vars[k] = v
	}
	var parts map[string]string
	if _, own := inv.DNF.Vars["releasever"]; !own {
		for i := range inv.Packages {
			if parts = ReleaseParts(inv.Packages[i].Provides); parts != nil {
				break
			}
		}
	}
	major, minor, _ := strings.Cut(vars["releasever"], ".")
	for k, v := range map[string]string{"releasever_major": major, "releasever_minor": minor} {
		if said, ok := parts[k]; ok {
			v = said
		}
		if _, ok := vars[k]; !ok {
			vars[k] = v
		}
	}
	return vars
}

// ReleaseParts finds what a release package says of $releasever_major and
// $releasever_minor, which then are not parts of $releasever: EL10's say 10 and
// 10 and 1, and EPEL's addresses depend on it. It is nil for other packages.
func ReleaseParts(provides []rpmver.Dep) map[string]string {
	var out map[string]string
	for _, d := range provides {
		name, ok := strings.CutPrefix(d.Name, "system-release(")
		if name = strings.TrimSuffix(name, ")"); !ok || name != "releasever_major" && name != "releasever_minor" || d.EVR.Version == "" {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = d.EVR.Version
	}
	return out
}

// releasever is the version that dnf finds: of the capability
// system-release(releasever), or of the package that provides the
// distribution's version, system-release or, with yum, redhat-release.
func (t *taker) releasever() string {
	names := []string{"system-release(releasever)", "system-release", "distribution-release(releasever)", "redhat-release"}
	if v, ok := t.conf.main.Get("distroverpkg"); ok {
		names = append([]string{v}, names...)
	}
	for _, name := range names {
		for i := range t.inv.Packages {
			p := &t.inv.Packages[i]
			if p.Name == name {
				return p.EVR.Version
			}
			for _, d := range p.Provides {
				if d.Name != name {
					continue
				}
				if strings.HasSuffix(name, "(releasever)") {
					return d.EVR.Version
				}
				return p.EVR.Version
			}
		}
	}
	return ""
}

// Substitute replaces variables as dnf does: $name, ${name}, ${name:-text} for
// one that is not set or empty, ${name:+text} for one that is set. What is not
// known stays as it is.
func Substitute(s string, vars map[string]string) string { return substitute(s, vars, 0) }

func substitute(s string, vars map[string]string, depth int) string {
	const maxDepth = 8 // ${a:-${b:-...}}
	if !strings.Contains(s, "$") || depth > maxDepth {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '}') {
			b.WriteByte(s[i+1])
			i += 2
			continue
		}
		if s[i] != '$' {
			b.WriteByte(s[i])
			i++
			continue
		}
		braced := i+1 < len(s) && s[i+1] == '{'
		start := i + 1
		if braced {
			start++
		}
		end := start
		for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
			end++
		}
		value, known := vars[s[start:end]]
		if end == start {
			b.WriteByte('$')
			i++
			continue
		}
		if !braced {
			if known {
				b.WriteString(value)
			} else {
				b.WriteString(s[i:end])
			}
			i = end
			continue
		}
		close := closing(s, end)
		switch {
		case close < 0:
			b.WriteString(s[i:])
			return b.String()
		case close == end && known:
			b.WriteString(value)
		case close > end+1 && s[end:end+2] == ":-":
			if value == "" {
				value = substitute(s[end+2:close], vars, depth+1)
			}
			b.WriteString(value)
		case close > end+1 && s[end:end+2] == ":+":
			if value != "" {
				b.WriteString(substitute(s[end+2:close], vars, depth+1))
			}
		default:
			b.WriteString(s[i : close+1])
		}
		i = close + 1
	}
	return b.String()
}

// closing finds the brace that ends an expression begun before position i.
func closing(s string, i int) int {
	depth := 1
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '{':
			if s[i-1] == '$' {
				depth++
			}
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// readDNF reads the package manager's settings.
func (t *taker) readDNF() {
	d := &t.inv.DNF
	d.ConfFile = t.conf.file
	d.Vars = t.readVars()
	d.ReleaseVer = clean(cmp.Or(d.Vars["releasever"], t.releasever()))
	vars := t.variables()
	get := func(name string) string { v, _ := t.conf.main.Get(name); return Substitute(v, vars) }
	for _, o := range []string{"exclude", "excludes", "excludepkgs"} {
		d.Exclude = append(d.Exclude, words(get(o))...)
	}
	if l := words(get("installonlypkgs")); len(l) > 0 {
		d.InstallOnly = l
	}
	if p := clean(get("proxy")); p != "_none_" {
		d.Proxy = hide(p)
	}
	d.Versionlock = t.versionlock()
	t.readProtected(get("protected_packages"))
	t.readModules()
}

// readVars reads /etc/yum/vars and /etc/dnf/vars; the latter wins. A file's
// first line is the value.
func (t *taker) readVars() map[string]string {
	var out map[string]string
	dirs := []string{"/etc/yum/vars", "/etc/dnf/vars"}
	if v, ok := t.conf.main.Get("varsdir"); ok && strings.TrimSpace(v) != "" {
		dirs = words(v)
	}
	for _, dir := range dirs {
		for _, name := range t.list(dir, "") {
			data, err := t.h.ReadFile(name)
			if err != nil {
				t.skip(name, err)
				continue
			}
			line, _, _ := strings.Cut(string(data), "\n")
			if out == nil {
				out = map[string]string{}
			}
			out[clean(path.Base(name))] = clean(strings.TrimSpace(line))
		}
	}
	return out
}

// versionlock reads the plugin's list: one pattern a line, "!" before what
// must not be installed.
func (t *taker) versionlock() []string {
	var out []string
	for _, p := range []struct{ conf, list string }{
		{"/etc/dnf/plugins/versionlock.conf", "/etc/dnf/plugins/versionlock.list"},
		{"/etc/yum/pluginconf.d/versionlock.conf", "/etc/yum/pluginconf.d/versionlock.list"},
	} {
		list := p.list
		if f, ok := t.parse(p.conf); ok {
			if s, ok := f.Section("main"); ok {
				if v, ok := s.Get("enabled"); ok && !truth(v, true) {
					continue
				}
				if v, ok := s.Get("locklist"); ok && path.IsAbs(v) {
					list = v
				}
			}
		}
		data, err := t.h.ReadFile(list)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.skip(list, err)
			}
			continue
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			if line = clean(strings.TrimSpace(line)); line != "" && !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	}
	return out
}

// readProtected reads whom dnf refuses to remove: the option, and the files
// that it names by default.
func (t *taker) readProtected(option string) {
	add := func(file string) {
		data, err := t.h.ReadFile(file)
		if err != nil {
			t.skip(file, err)
			return
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			for _, w := range words(line) {
				t.inv.DNF.Protected = append(t.inv.DNF.Protected, Protected{Package: w, File: clean(file)})
			}
		}
	}
	globs := []string{"/etc/yum/protected.d/*.conf", "/etc/dnf/protected.d/*.conf"}
	if _, set := t.conf.main.Get("protected_packages"); set {
		globs = nil
	}
	for _, w := range words(option) {
		if g, ok := strings.CutPrefix(w, "glob:"); ok {
			globs = append(globs, g)
			continue
		}
		t.inv.DNF.Protected = append(t.inv.DNF.Protected, Protected{Package: w, File: t.conf.file})
	}
	for _, g := range globs {
		for _, name := range t.list(path.Dir(g), "") {
			if ok, err := path.Match(path.Base(g), path.Base(name)); err == nil && ok {
				add(name)
			}
		}
	}
	slices.SortFunc(t.inv.DNF.Protected, func(a, b Protected) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.File, b.File))
	})
	t.inv.DNF.Protected = slices.Compact(t.inv.DNF.Protected)
}

func (t *taker) readModules() {
	for _, name := range t.list("/etc/dnf/modules.d", ".module") {
		f, ok := t.parse(name)
		if !ok {
			continue
		}
		for _, s := range f.Sections {
			get := func(k string) string { v, _ := s.Get(k); return clean(v) }
			m := ModuleState{Name: cmp.Or(get("name"), clean(s.Name)), Stream: get("stream"), State: get("state")}
			if l := words(get("profiles")); len(l) > 0 {
				m.Profiles = l
			}
			t.inv.DNF.Modules = append(t.inv.DNF.Modules, m)
		}
	}
	slices.SortFunc(t.inv.DNF.Modules, func(a, b ModuleState) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Stream, b.Stream))
	})
}
