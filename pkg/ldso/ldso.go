// Package ldso finds libraries and binds symbols as glibc's dynamic linker
// would (ld.so(8), dlopen(3)), without running anything: it reads the files
// below a root. What only shows when a program runs it does not know: dlopen,
// and of LD_LIBRARY_PATH what it is told (see In).
package ldso

import (
	"bufio"
	"bytes"
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// Limits.
const (
	maxScope    = 4096    // libraries of one program; the largest desktop programs have 300
	maxKnown    = 1 << 17 // paths that are remembered
	maxExported = 1 << 19 // exported symbols that are remembered, of all libraries
	maxBytes    = 64 << 20
	maxConfig   = 1 << 20 // bytes of one file of ld.so.conf.d
	maxConfigs  = 1000
	maxInclude  = 8
	maxTries    = 1 << 17 // paths that are tried for one program
)

// Linker looks at one root. It is not safe for concurrent use.
type Linker struct {
	root *rootfs.Root
	conf []string // folders of ld.so.conf

	known    map[string]*Object // by path; nil: not there, or no ELF file
	exported int
	bytes    int
	tries    int // since the last Scope began
	env      Environment
}

// Environment is what a program is started with, as far as it decides which
// libraries are found.
type Environment struct {
	LibraryPath []string // LD_LIBRARY_PATH, split; relative folders are left out
	// Own says that the program brings its own dynamic linker, such as musl's:
	// ld.so.conf and the default folders are not its. OwnFolders are.
	Own        bool
	OwnFolders []string
}

// In sets the environment for what is looked for from now on.
func (l *Linker) In(env Environment) { l.env = env }

// GaveUp tells whether the last Scope, and what was looked for since, named so
// many libraries and folders that not all were tried.
func (l *Linker) GaveUp() bool { return l.tries > maxTries }

// Object is a program or a library.
type Object struct {
	Path string // as it was found, with a leading slash
	Real string // the same without symbolic links
	File *elfdyn.File

	exports   []elfdyn.Symbol // sorted by name
	versioned bool            // it defines versions
	loader    *Object         // whose need brought it in, in this scope only
}

// New reads ld.so.conf.
func New(root *rootfs.Root) *Linker {
	l := &Linker{root: root, known: map[string]*Object{}}
	files := 0
	l.readConf("/etc/ld.so.conf", 0, &files)
	return l
}

// readConf reads folders and includes, as ldconfig(8) does.
func (l *Linker) readConf(name string, depth int, files *int) {
	if *files++; *files > maxConfigs || depth > maxInclude {
		return
	}
	data, err := l.root.ReadFile(name, maxConfig)
	if err != nil {
		return
	}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxConfig+1)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "include"); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
			for _, pattern := range strings.Fields(rest) {
				if !path.IsAbs(pattern) {
					pattern = path.Join(path.Dir(name), pattern)
				}
				l.include(pattern, depth, files)
			}
			continue
		}
		// "hwcap" lines are of old; a folder may have "=libc6" behind it.
		if line, _, _ = strings.Cut(line, "="); path.IsAbs(line) {
			l.conf = append(l.conf, path.Clean(strings.TrimSpace(line)))
		}
	}
}

func (l *Linker) include(pattern string, depth int, files *int) {
	names, err := l.root.Names(path.Dir(pattern))
	if err != nil {
		return
	}
	for _, n := range names {
		if ok, err := path.Match(path.Base(pattern), n); ok && err == nil {
			l.readConf(path.Join(path.Dir(pattern), n), depth+1, files)
		}
	}
}

// Open reads the file at a path. It wraps fs.ErrNotExist, elfdyn's errors and
// those of opening.
func (l *Linker) Open(name string) (*Object, error) {
	if o := l.known[name]; o != nil {
		return o, nil
	}
	f, err := l.root.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	e, err := elfdyn.Read(name, f, info.Size(), elfdyn.Options{Symbols: true})
	if err != nil {
		return nil, err
	}
	o := NewObject(name, e)
	if real, err := l.root.Resolve(name); err == nil {
		o.Real = "/" + real
	}
	return o, nil
}

// NewObject makes an object of a file that was read with its symbols.
func NewObject(name string, e *elfdyn.File) *Object {
	o := &Object{Path: name, Real: name, File: e, exports: e.Exports}
	slices.SortStableFunc(o.exports, func(a, b elfdyn.Symbol) int { return cmp.Compare(a.Name, b.Name) })
	for _, d := range e.Defs {
		o.versioned = o.versioned || !d.Base
	}
	return o
}

// library returns the object at a path if it is one that a program of this
// kind can load, nil otherwise.
func (l *Linker) library(name string, like *elfdyn.File) *Object {
	if l.tries++; l.tries > maxTries {
		return nil
	}
	o, ok := l.known[name]
	if !ok {
		if len(l.known) >= maxKnown || l.exported > maxExported || l.bytes > maxBytes {
			l.known, l.exported, l.bytes = map[string]*Object{}, 0, 0
		}
		if info, err := l.root.Stat(name); err == nil && info.Mode().IsRegular() {
			o, _ = l.Open(name)
		}
		if o != nil {
			o.File.Imports = slices.Clip(o.File.Imports)
			l.exported += len(o.exports) + len(o.File.Imports)
			for i := range o.exports {
				l.bytes += len(o.exports[i].Name)
			}
		}
		l.known[name] = o
	}
	if o == nil || o.File.Machine != like.Machine || o.File.Class != like.Class || o.File.BigEndian != like.BigEndian || o.File.Type != elfdyn.Dyn {
		return nil
	}
	return o
}

// Missing is a library that is not found.
type Missing struct {
	Soname string
	For    string // path of the object that needs it
}

// Scope returns the objects that the start of an object brings in, itself
// first, in the order in which symbols are looked up: breadth first.
func (l *Linker) Scope(o *Object) ([]*Object, []Missing) {
	scope := []*Object{o}
	var missing []Missing
	byName := map[string]bool{}
	if o.File.Soname != "" {
		byName[o.File.Soname] = true
	}
	byPath := map[string]bool{o.Real: true}
	o.loader = nil
	l.tries = 0
	for i := 0; i < len(scope); i++ {
		from := scope[i]
		for _, name := range from.File.Needed {
			if byName[name] {
				continue
			}
			byName[name] = true
			lib := l.Find(name, from)
			if lib == nil {
				missing = append(missing, Missing{name, from.Path})
				continue
			}
			if lib.File.Soname != "" {
				byName[lib.File.Soname] = true
			}
			if byPath[lib.Real] {
				continue
			}
			byPath[lib.Real] = true
			if len(scope) < maxScope {
				lib.loader = from
				scope = append(scope, lib)
			}
		}
	}
	return scope, missing
}

// Find looks for a needed library of an object, nil if there is none.
func (l *Linker) Find(name string, from *Object) *Object {
	like := from.File
	if strings.Contains(name, "/") {
		p := l.expand(name, from)
		if !path.IsAbs(p) {
			return nil // relative to wherever the program is started
		}
		return l.library(path.Clean(p), like)
	}
	if len(like.RunPath) == 0 {
		// RPATH of the object, of the one that loaded it, and so on; each only
		// if it has no RUNPATH.
		seen := 0
		for o := from; o != nil && seen < maxScope; o = o.loader {
			seen++
			if len(o.File.RunPath) > 0 {
				continue
			}
			if lib := l.search(o.File.RPath, name, o, like); lib != nil {
				return lib
			}
		}
	}
	if len(l.env.LibraryPath) > 0 {
		program := from
		for seen := 0; program.loader != nil && seen < maxScope; seen++ {
			program = program.loader
		}
		if lib := l.search(l.env.LibraryPath, name, program, like); lib != nil {
			return lib
		}
	}
	if lib := l.search(like.RunPath, name, from, like); lib != nil {
		return lib
	}
	if l.env.Own {
		return l.search(l.env.OwnFolders, name, from, like)
	}
	if !like.NoDefault {
		for _, d := range l.conf {
			if lib := l.library(path.Join(d, name), like); lib != nil {
				return lib
			}
		}
		for _, d := range defaults(like) {
			if lib := l.library(path.Join(d, name), like); lib != nil {
				return lib
			}
		}
	}
	return nil
}

func (l *Linker) search(dirs []string, name string, origin *Object, like *elfdyn.File) *Object {
	for _, d := range dirs {
		if l.GaveUp() {
			return nil
		}
		d = l.expand(d, origin)
		if !path.IsAbs(d) {
			continue // "" and relative ones mean the folder that a program is started in
		}
		if lib := l.library(path.Join(d, name), like); lib != nil {
			return lib
		}
	}
	return nil
}

// expand replaces $ORIGIN, $LIB and $PLATFORM.
func (l *Linker) expand(s string, o *Object) string {
	if !strings.Contains(s, "$") {
		return s
	}
	origin := path.Dir(o.Path)
	if o.loader == nil {
		origin = path.Dir(o.Real) // of a program ld.so knows the real path only
	}
	lib := "lib"
	if o.File.Class == 64 {
		lib = "lib64"
	}
	for _, r := range [][2]string{{"ORIGIN", origin}, {"LIB", lib}, {"PLATFORM", o.File.Arch()}} {
		s = strings.ReplaceAll(s, "${"+r[0]+"}", r[1])
		s = strings.ReplaceAll(s, "$"+r[0], r[1])
	}
	return s
}

// defaults are the folders that are searched without any setting: EL's, and
// those that other distributions have in their place.
func defaults(f *elfdyn.File) []string {
	if f.Class == 32 {
		return []string{"/lib", "/usr/lib"}
	}
	return []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
}

// Default tells whether a folder is searched for every program.
func (l *Linker) Default(dir string, like *elfdyn.File) bool {
	return slices.Contains(l.conf, dir) || slices.Contains(defaults(like), dir)
}

// Binding is an import and the object that supplies it.
type Binding struct {
	Symbol *elfdyn.Symbol
	By     *Object        // nil: nobody in the scope
	Export *elfdyn.Symbol // of By
}

// Bind finds for every import of the first object of a scope who supplies it.
// A weak import that nobody supplies is left out: it is allowed to be absent.
func Bind(scope []*Object) []Binding {
	o := scope[0]
	byName := make(map[string]*Object, len(scope))
	for _, s := range scope[1:] {
		if s.File.Soname != "" {
			byName[s.File.Soname] = s
		}
	}
	list := make([]Binding, 0, len(o.File.Imports))
	for i := range o.File.Imports {
		imp := &o.File.Imports[i]
		b := Binding{Symbol: imp}
		// Nearly always the library that the version is needed of.
		if s := byName[imp.Library]; imp.Library != "" && s != nil {
			if b.Export = s.Lookup(imp.Name, imp.Version); b.Export != nil && b.Export.Version == imp.Version {
				b.By = s
			}
		}
		if b.By == nil {
			for _, s := range scope[1:] {
				if b.Export = s.Lookup(imp.Name, imp.Version); b.Export != nil {
					b.By = s
					break
				}
			}
		}
		if b.By == nil && imp.Weak {
			continue
		}
		list = append(list, b)
	}
	return list
}

// Lookup finds what an object exports under a name for an import with a
// version ("" for none), by ld.so's rules, nil if nothing fits.
func (o *Object) Lookup(name, version string) *elfdyn.Symbol {
	return Lookup(o.exports, o.versioned, name, version)
}

// Lookup is Object.Lookup for exports sorted by name; versioned says that their
// library defines versions.
func Lookup(exports []elfdyn.Symbol, versioned bool, name, version string) *elfdyn.Symbol {
	i, ok := slices.BinarySearchFunc(exports, name, func(s elfdyn.Symbol, name string) int { return cmp.Compare(s.Name, name) })
	if !ok {
		return nil
	}
	var other *elfdyn.Symbol
	for ; i < len(exports) && exports[i].Name == name; i++ {
		s := &exports[i]
		switch {
		case !versioned, s.Version == version:
			return s
		case s.Version == "":
			return s // of before the library had versions
		case version == "" && (other == nil || s.Default):
			other = s
		}
	}
	return other
}
