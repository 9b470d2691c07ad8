package kmod

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Modprobe is what modprobe.d says (modprobe.d(5)), in the order in which
// modprobe reads it.
type Modprobe struct {
	Aliases   []ConfAlias
	Blacklist []ConfEntry // modules whose own aliases are ignored
	Options   []ConfEntry
	Install   []ConfEntry // commands run instead of loading; "/bin/false" forbids
	Remove    []ConfEntry
	SoftDeps  []ConfSoftDep
	WeakDeps  []ConfEntry
	// Unknown are lines that no kmod program understands.
	Unknown []ConfEntry
}

// ConfEntry is one line about a module.
type ConfEntry struct {
	Module string // normalised
	Value  string // the rest of the line
	File   string // absolute path on the host
	Line   int
}

// ConfAlias is a line "alias PATTERN MODULE".
type ConfAlias struct {
	Alias
	File string
	Line int
}

// ConfSoftDep is a line "softdep MODULE pre: ... post: ...".
type ConfSoftDep struct {
	SoftDep
	File string
	Line int
}

// modprobeDirs is kmod's order: a file of the same name in an earlier folder
// hides the later one.
var modprobeDirs = []string{"etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d",
	"usr/lib/modprobe.d", "lib/modprobe.d"}

// Modprobe reads modprobe.d of the host and the module options of its kernel
// command line.
func (h *Host) Modprobe() (*Modprobe, error) {
	files, err := h.confFiles(modprobeDirs, true, ".conf", ".alias")
	if err != nil {
		return nil, fmt.Errorf("cannot read modprobe configuration: %w", err)
	}
	m := &Modprobe{}
	for _, f := range files {
		for _, l := range f.lines {
			m.add(l.text, "/"+f.path, l.number)
		}
	}
	cmdline, err := h.Cmdline()
	if err != nil {
		return nil, err
	}
	for _, name := range cmdline.Blacklist {
		m.Blacklist = append(m.Blacklist, ConfEntry{Module: name, File: "/proc/cmdline", Line: 1})
	}
	return m, nil
}

func (m *Modprobe) add(text, file string, line int) {
	words := strings.Fields(text)
	rest := func(n int) string { return strings.Join(words[min(n, len(words)):], " ") }
	entry := func() ConfEntry {
		e := ConfEntry{File: file, Line: line}
		if len(words) > 1 {
			e.Module, e.Value = NormalizeName(words[1]), rest(2)
		}
		return e
	}
	switch {
	case words[0] == "alias" && len(words) >= 3:
		m.Aliases = append(m.Aliases, ConfAlias{Alias{words[1], NormalizeName(words[2])}, file, line})
	case words[0] == "blacklist" && len(words) >= 2:
		m.Blacklist = append(m.Blacklist, entry())
	case words[0] == "options" && len(words) >= 3:
		m.Options = append(m.Options, entry())
	case words[0] == "install" && len(words) >= 3:
		m.Install = append(m.Install, entry())
	case words[0] == "remove" && len(words) >= 3:
		m.Remove = append(m.Remove, entry())
	case words[0] == "softdep" && len(words) >= 3:
		m.SoftDeps = append(m.SoftDeps, ConfSoftDep{parseSoftDep(words[1], words[2:]), file, line})
	case words[0] == "weakdep" && len(words) >= 3:
		m.WeakDeps = append(m.WeakDeps, entry())
	default:
		m.Unknown = append(m.Unknown, ConfEntry{Value: text, File: file, Line: line})
	}
}

// Blacklisted returns the line that blacklists a module. Such a module is not
// loaded for a device, but can still be loaded by name or as a dependency.
func (m *Modprobe) Blacklisted(name string) (ConfEntry, bool) {
	return findEntry(m.Blacklist, name)
}

// InstallCommand returns the command that modprobe runs instead of loading a
// module, as for modules that a hardening guide forbids ("/bin/false").
func (m *Modprobe) InstallCommand(name string) (ConfEntry, bool) {
	return findEntry(m.Install, name)
}

// CommandModules returns the normalised names that a command of an "install"
// line gives to modprobe. It knows the shell's separators and no more: what a
// command computes is not found.
func CommandModules(command string) []string {
	var out []string
	for part := range strings.FieldsFuncSeq(command, func(c rune) bool { return strings.ContainsRune(";&|{}()", c) }) {
		words := strings.Fields(part)
		at := slices.IndexFunc(words, func(w string) bool { return path.Base(w) == "modprobe" })
		if at < 0 {
			continue
		}
		remove := false
		for _, w := range words[at+1:] {
			switch {
			case w == "-r" || w == "--remove":
				remove = true
			case strings.HasPrefix(w, "-"):
			case !remove && plainName(w):
				out = append(out, NormalizeName(w))
			}
		}
	}
	return out
}

// plainName tells a module's name from redirections, options and variables.
func plainName(w string) bool {
	return strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

func findEntry(list []ConfEntry, name string) (ConfEntry, bool) {
	name = NormalizeName(name)
	i := slices.IndexFunc(list, func(e ConfEntry) bool { return e.Module == name })
	if i < 0 {
		return ConfEntry{}, false
	}
	return list[i], true
}

// Resolve does what modprobe --resolve-alias does: aliases of modprobe.d come
// first, then what the module tree knows. Blacklisted modules are left out only
// of what aliases gave, as modprobe -b and udev do.
func (m *Modprobe) Resolve(t *Tree, name string) []string {
	for _, a := range m.Aliases {
		if MatchAlias(a.Pattern, name) {
			return []string{a.Module}
		}
	}
	found := t.Resolve(name)
	if len(found) == 1 && found[0] == NormalizeName(name) {
		return found
	}
	return slices.DeleteFunc(found, func(mod string) bool {
		_, black := m.Blacklisted(mod)
		return black
	})
}

// Wanted is a module that something on the host asks for, loaded or not.
type Wanted struct {
	Name string // module name, or an alias such as "fs-xfs": resolve it with a Tree
	// Why is the kind of the source: "modules-load", "cmdline", "fstab",
	// "crypttab", "sysconfig".
	Why  string
	File string // absolute path on the host
	Line int
	// Detail is the rest: the mount point, the mapping's name.
	Detail string
}

// ModulesLoad lists the modules that systemd-modules-load loads at boot
// (modules-load.d(5)), those of the kernel command line included, and the
// scripts of EL6 and EL7 in /etc/sysconfig/modules, which are named, not read.
func (h *Host) ModulesLoad() ([]Wanted, error) {
	files, err := h.confFiles([]string{"etc/modules-load.d", "run/modules-load.d",
		"usr/local/lib/modules-load.d", "usr/lib/modules-load.d", "lib/modules-load.d"}, false, ".conf")
	if err != nil {
		return nil, fmt.Errorf("cannot read modules-load configuration: %w", err)
	}
	var out []Wanted
	for _, f := range files {
		for _, l := range f.lines {
			out = append(out, Wanted{Name: NormalizeName(l.text), Why: "modules-load", File: "/" + f.path, Line: l.number})
		}
	}
	cmdline, err := h.Cmdline()
	if err != nil {
		return nil, err
	}
	for _, name := range cmdline.Load {
		out = append(out, Wanted{Name: name, Why: "cmdline", File: "/proc/cmdline", Line: 1})
	}
	scripts, err := h.names("etc/sysconfig/modules")
	if err != nil {
		return nil, err
	}
	for _, s := range scripts {
		if strings.HasSuffix(s, ".modules") {
			out = append(out, Wanted{Why: "sysconfig", File: "/etc/sysconfig/modules/" + s, Detail: "a script: what it loads is not known"})
		}
	}
	return out, nil
}

// Cmdline is what the kernel command line says about modules.
type Cmdline struct {
	// Load are modules-load=, rd.modules-load=, rd.driver.pre= and rd.driver.post=.
	Load []string
	// Blacklist are modprobe.blacklist=, rd.driver.blacklist= and
	// module_blacklist= (the kernel's own, which nothing can override).
	Blacklist []string
	// SigEnforce is module.sig_enforce: unsigned modules are refused.
	SigEnforce bool
	// Lockdown is lockdown=: "integrity", "confidentiality" or "".
	Lockdown string
	// FIPS is fips=1.
	FIPS bool
}

// ParseCmdline reads the text of /proc/cmdline.
func ParseCmdline(text string) Cmdline {
	var c Cmdline
	list := func(v string) (out []string) {
		for n := range strings.SplitSeq(v, ",") {
			if n != "" {
				out = append(out, NormalizeName(n))
			}
		}
		return out
	}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		value = strings.Trim(value, `"`)
		// The kernel takes '-' and '_' in its own parameters for the same.
		switch strings.ReplaceAll(key, "-", "_") {
		case "modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post":
			c.Load = append(c.Load, list(value)...)
		case "modprobe.blacklist", "rd.driver.blacklist", "module_blacklist":
			c.Blacklist = append(c.Blacklist, list(value)...)
		case "module.sig_enforce":
			c.SigEnforce = value == "" || value == "1" || value == "y" || value == "Y"
		case "lockdown":
			c.Lockdown = value
		case "fips":
			c.FIPS = value == "1"
		}
	}
	return c
}

// Cmdline reads /proc/cmdline; the zero value if it is absent.
func (h *Host) Cmdline() (Cmdline, error) {
	const file = "proc/cmdline"
	if !h.exists(file) {
		return Cmdline{}, nil
	}
	data, err := h.readFile(file, maxAttr)
	if err != nil {
		return Cmdline{}, fmt.Errorf("cannot read /%s: %w", file, err)
	}
	return ParseCmdline(string(data)), nil
}
