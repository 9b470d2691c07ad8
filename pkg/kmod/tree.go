package kmod

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Tree is what depmod and the kernel's build left in /lib/modules/RELEASE: which
// modules a kernel has, where, and what they depend on.
type Tree struct {
	Release string
	// Dir is the folder below the host's root: "lib/modules/RELEASE".
	Dir string
	// Files maps a normalised name to the module's file, relative to Dir as
	// modules.dep has it (absolute where depmod was told of outside folders).
	Files map[string]string
	// Depends maps a name to the names of all modules that must be loaded before
	// it, in the order of modules.dep.
	Depends map[string][]string
	// Builtin maps the names of modules that are part of the kernel image to
	// their paths in the build tree.
	Builtin map[string]string
	// BuiltinInfo is what built-in modules say about themselves (aliases,
	// licence), from kernel 5.2 on; nil where the file is absent.
	BuiltinInfo map[string]Info
	// Aliases are modules.alias plus the aliases of built-in modules.
	Aliases *AliasTable
	// SymbolOwner maps an exported symbol to the module that has it.
	SymbolOwner map[string]string
	// SoftDeps are modules.softdep, WeakDeps modules.weakdep.
	SoftDeps []SoftDep
	WeakDeps map[string][]string
	// Missing names the files of the usual set that the folder does not have.
	Missing []string
}

// Releases lists the kernel releases that have a folder in /lib/modules, sorted
// as text. A folder need not belong to an installed kernel: removed ones leave
// weak-updates and build links behind.
func (h *Host) Releases() ([]string, error) {
	entries, err := h.readDir("lib/modules")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list kernels: %w", err)
	}
	var out []string
	for _, e := range entries {
		if info, err := h.stat("lib/modules/" + e.Name()); err == nil && info.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Tree reads the module tree of one kernel release. Without modules.dep it is
// ErrNotFound; other files that are absent are named in Missing.
func (h *Host) Tree(release string) (*Tree, error) {
	if release == "" || strings.ContainsAny(release, "/\x00") || release == ".." || release == "." {
		return nil, fmt.Errorf("cannot read modules of kernel %q: %w", release, ErrNotFound)
	}
	t := &Tree{Release: release, Dir: "lib/modules/" + release}
	fail := func(file string, err error) error {
		return fmt.Errorf("cannot read /%s/%s: %w", t.Dir, file, err)
	}
	read := func(file string) ([]byte, error) {
		data, err := h.readFile(t.Dir+"/"+file, maxTextFile)
		if errors.Is(err, fs.ErrNotExist) {
			t.Missing = append(t.Missing, file)
			return nil, nil
		}
		return data, err
	}
	data, err := read("modules.dep")
	if err == nil && data == nil && len(t.Missing) > 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fail("modules.dep", err)
	}
	if t.Files, t.Depends, err = ParseDep(bytes.NewReader(data)); err != nil {
		return nil, fail("modules.dep", err)
	}
	if data, err = read("modules.builtin"); err == nil {
		t.Builtin, err = ParseBuiltin(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fail("modules.builtin", err)
	}
	if data, err = read("modules.builtin.modinfo"); err == nil && data != nil {
		t.BuiltinInfo, err = ParseBuiltinInfo(data)
	}
	if err != nil {
		return nil, fail("modules.builtin.modinfo", err)
	}
	var aliases []Alias
	if data, err = read("modules.alias"); err == nil {
		aliases, err = ParseAliases(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fail("modules.alias", err)
	}
	for name, info := range t.BuiltinInfo {
		for _, a := range info.Aliases() {
			aliases = append(aliases, Alias{a, name})
		}
	}
	t.Aliases = NewAliasTable(aliases)
	var symbols []Alias
	if data, err = read("modules.symbols"); err == nil {
		symbols, err = ParseAliases(bytes.NewReader(data))
	}
	if err != nil {
		return nil, fail("modules.symbols", err)
	}
	t.SymbolOwner = make(map[string]string, len(symbols))
	for _, s := range symbols {
		t.SymbolOwner[strings.TrimPrefix(s.Pattern, "symbol:")] = s.Module
	}
	if data, err = read("modules.softdep"); err == nil {
		t.SoftDeps, err = parseSoftDeps(data)
	}
	if err != nil {
		return nil, fail("modules.softdep", err)
	}
	// depmod of kmod 33 and later.
	if data, err = h.readFile(t.Dir+"/modules.weakdep", maxTextFile); err == nil {
		t.WeakDeps = parseWeakDeps(data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fail("modules.weakdep", err)
	}
	return t, nil
}

// Path returns a module's file below the host's root, without a leading slash.
func (t *Tree) Path(name string) (string, bool) {
	file, ok := t.Files[NormalizeName(name)]
	if !ok {
		return "", false
	}
	if strings.HasPrefix(file, "/") {
		return strings.TrimLeft(file, "/"), true
	}
	return path.Join(t.Dir, file), true
}

// Has says whether a kernel offers a module, as a file or built in.
func (t *Tree) Has(name string) (file string, builtin, ok bool) {
	name = NormalizeName(name)
	if file, ok := t.Files[name]; ok {
		return file, false, true
	}
	file, ok = t.Builtin[name]
	return file, ok, ok
}

// Resolve returns the modules that modprobe would load for a name, an alias or
// a modalias, without modprobe.d: the module of that name, else the owner of the
// symbol ("symbol:foo"), else all modules whose aliases match, else the built-in
// module of that name. Built-in modules found by alias are among the result.
func (t *Tree) Resolve(name string) []string {
	n := NormalizeName(name)
	if _, ok := t.Files[n]; ok {
		return []string{n}
	}
	if symbol, ok := strings.CutPrefix(name, "symbol:"); ok {
		if owner, ok := t.SymbolOwner[symbol]; ok {
			return []string{owner}
		}
	}
	if mods := t.Aliases.Match(name); len(mods) > 0 {
		return mods
	}
	if _, ok := t.Builtin[n]; ok {
		return []string{n}
	}
	return nil
}

// ParseDep reads modules.dep: "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz".
// The first result maps a normalised name to its file, the second to the names
// of what it needs. Errors wrap ErrCorrupt.
func ParseDep(r io.Reader) (files map[string]string, deps map[string][]string, err error) {
	files, deps = map[string]string{}, map[string][]string{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for line := 1; sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		file, needs, ok := strings.Cut(text, ":")
		name, isModule := NameOfFile(file)
		if !ok || !isModule {
			return nil, nil, fmt.Errorf("line %d: %w", line, corrupt("%q", clip(text)))
		}
		if _, dup := files[name]; dup {
			// depmod writes the file that modprobe uses; it never writes two.
			continue
		}
		files[name] = file
		for _, need := range strings.Fields(needs) {
			n, ok := NameOfFile(need)
			if !ok {
				return nil, nil, fmt.Errorf("line %d: %w", line, corrupt("%q is no module file", clip(need)))
			}
			deps[name] = append(deps[name], n)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return files, deps, nil
}

// ParseBuiltin reads modules.builtin: one path of the build tree a line.
func ParseBuiltin(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		file := strings.TrimSpace(sc.Text())
		if file == "" || file[0] == '#' {
			continue
		}
		name, ok := NameOfFile(file)
		if !ok {
			return nil, fmt.Errorf("line %d: %w", line, corrupt("%q is no module file", clip(file)))
		}
		out[name] = file
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, nil
}

// parseSoftDeps reads lines "softdep MODULE pre: ... post: ...".
func parseSoftDeps(data []byte) ([]SoftDep, error) {
	var out []SoftDep
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) < 2 || words[0] != "softdep" {
			return nil, corrupt("%q is no softdep", clip(line))
		}
		out = append(out, parseSoftDep(words[1], words[2:]))
	}
	return out, nil
}

// parseWeakDeps reads lines "weakdep MODULE a b".
func parseWeakDeps(data []byte) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "weakdep" {
			continue
		}
		name := NormalizeName(words[1])
		for _, w := range words[2:] {
			out[name] = append(out[name], NormalizeName(w))
		}
	}
	return out
}

// ModuleFile is one module file found in a tree, whether depmod knows it or not.
type ModuleFile struct {
	Name string // normalised
	Path string // relative to the tree's folder: "extra/foo.ko.xz"
	// Area is the first folder: "kernel", "updates", "extra", "weak-updates"...
	Area string
	// Target is where a symbolic link ends, below the host's root; "" for a file.
	// Modules under weak-updates are links to the tree of the kernel they were
	// built for.
	Target string
	// Broken is set for a link whose end is not there.
	Broken bool
}

const maxTreeFiles = 200_000

// WalkTree finds all module files of a release, sorted by path. It is what
// stands on disk; modules.dep has what depmod chose (see DepmodConfig.Choose).
func (h *Host) WalkTree(release string) ([]ModuleFile, error) {
	if release == "" || strings.ContainsAny(release, "/\x00") || release == ".." || release == "." {
		return nil, fmt.Errorf("cannot walk modules of kernel %q: %w", release, ErrNotFound)
	}
	top := "lib/modules/" + release
	var out []ModuleFile
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		if depth > 32 {
			return tooLarge("folders nested deeper than 32 at %s", dir)
		}
		entries, err := h.readDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			full := path.Join(dir, e.Name())
			if e.IsDir() {
				// As depmod: these are links or folders to sources.
				if e.Name() == "build" || e.Name() == "source" {
					continue
				}
				if err := walk(full, depth+1); err != nil {
					return err
				}
				continue
			}
			name, ok := NameOfFile(e.Name())
			if !ok {
				continue
			}
			if len(out) == maxTreeFiles {
				return tooLarge("more than %d module files", maxTreeFiles)
			}
			rel := strings.TrimPrefix(full, top+"/")
			area, _, _ := strings.Cut(rel, "/")
			f := ModuleFile{Name: name, Path: rel, Area: area}
			if e.Type()&fs.ModeSymlink != 0 {
				f.Broken = true
				if f.Target, err = h.resolve(full); err == nil {
					f.Broken = !h.exists(f.Target)
				}
			}
			out = append(out, f)
		}
		return nil
	}
	if err := walk(top, 0); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, fmt.Errorf("cannot walk modules of kernel %s: %w", release, err)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out, nil
}
