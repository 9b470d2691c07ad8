package inventory

import "fmt"

// Applications is every ELF file of the host that does not come from its
// distribution, with what it wants of libraries: the evidence for whether it
// runs after the libraries changed. It is bounded; what was left out is told.
type Applications struct {
	Files     []Application `json:"files"`               // sorted by path
	Libraries []UsedLibrary `json:"libraries"`           // sorted by soname, class, path: those of packages that Files bind to
	Runtimes  []Runtime     `json:"runtimes"`            // sorted by kind, version
	Folders   []string      `json:"folders"`             // what was searched, as it was asked for
	Looked    int           `json:"looked"`              // files looked into
	Dynamic   int           `json:"dynamic"`             // of those: ELF files that need libraries
	Static    int           `json:"static"`              // ELF files that need none
	Foreign   int           `json:"foreign"`             // ELF files for other processors
	CutShort  string        `json:"cut_short,omitempty"` // which limit ended the search early
	Skipped   []Skipped     `json:"skipped"`             // what could not be read or was not entered
}

// Application is one program or library.
type Application struct {
	Path        string         `json:"path"`
	Package     string         `json:"package,omitempty"` // NEVRA of the owner, empty for none
	Why         []string       `json:"why,omitempty"`     // beside lying in a folder or package: "unit NAME", "process NAME", "library of PATH"
	Program     bool           `json:"program,omitempty"` // a program, not a library
	Class       int            `json:"class"`             // 32 or 64
	Soname      string         `json:"soname,omitempty"`
	ISALevel    int            `json:"isa_level,omitempty"`      // x86-64 level that it says it needs
	Since       int64          `json:"since"`                    // when it was installed or changed, seconds since 1970
	NoInterp    string         `json:"no_interpreter,omitempty"` // the dynamic linker that it asks for, where that is not there
	OwnLinker   string         `json:"own_linker,omitempty"`     // the dynamic linker that it brings, or that is another system's: where that looks is not known
	LibraryPath []string       `json:"library_path,omitempty"`   // LD_LIBRARY_PATH that its unit or process has
	Needs       []LibraryNeed  `json:"needs"`                    // in the file's order
	Imports     []SymbolImport `json:"imports,omitempty"`        // by library
	Unbound     int            `json:"unbound,omitempty"`        // imports that none of its libraries supplies: plug-ins have these
}

// LibraryNeed is one library that a file names.
type LibraryNeed struct {
	Soname   string   `json:"soname"`
	Versions []string `json:"versions,omitempty"` // symbol versions that it must have
	Lacks    []string `json:"lacks,omitempty"`    // of those, what today's file does not have
	Path     string   `json:"path,omitempty"`     // where it is found today, empty: nowhere
	Package  string   `json:"package,omitempty"`  // NEVRA of the owner of Path
	Beside   bool     `json:"beside,omitempty"`   // found by its name in the same tree, where ld.so would not look by itself
}

// SymbolImport is what a file imports from one library.
type SymbolImport struct {
	Library int   `json:"library"` // index in Applications.Libraries
	Symbols []int `json:"symbols"` // indexes in its Symbols, ascending
}

// UsedLibrary is a library of a package, with all that is imported from it.
type UsedLibrary struct {
	Soname  string       `json:"soname"`
	Class   int          `json:"class"`
	Path    string       `json:"path"`    // today
	Package string       `json:"package"` // NEVRA
	Symbols []UsedSymbol `json:"symbols"` // sorted by name, version, copied, type
}

// UsedSymbol is an imported symbol as its library has it today.
type UsedSymbol struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Type    string `json:"type"`             // func, object, tls, ...
	Copied  uint64 `json:"copied,omitempty"` // bytes that a program holds a copy of, 0: not copied
	Today   uint64 `json:"today,omitempty"`  // bytes that the library has of it today, where that is not Copied
	// AnyVersion says that the program asks for no version: it was linked before
	// the library had versions. Version is then the one that it gets today.
	AnyVersion bool `json:"any_version,omitempty"`
}

// String gives name@version.
func (s UsedSymbol) String() string {
	if s.Version == "" {
		return s.Name
	}
	return s.Name + "@" + s.Version
}

// Runtime is an interpreter that native modules outside of the distribution
// are bound to.
type Runtime struct {
	Kind     string   `json:"kind"`               // python, perl, php, ruby, node, java
	Version  string   `json:"version"`            // that the modules are made for, empty where they do not tell
	Dep      string   `json:"dep,omitempty"`      // the rpm dependency that stands for it, e.g. "python(abi) = 3.6"
	Package  string   `json:"package,omitempty"`  // NEVRA of the installed package that provides it
	Stream   string   `json:"stream,omitempty"`   // its module stream, name:stream
	Modules  int      `json:"modules"`            // native modules
	Examples []string `json:"examples,omitempty"` // paths of some
}

// check makes sure that the numbers in a document from elsewhere point to
// something.
func (a *Applications) check() error {
	if a == nil {
		return nil
	}
	for i := range a.Files {
		for _, imp := range a.Files[i].Imports {
			if imp.Library < 0 || imp.Library >= len(a.Libraries) {
				return fmt.Errorf("applications: %s imports from library %d of %d: %w", a.Files[i].Path, imp.Library, len(a.Libraries), ErrDocument)
			}
			for _, n := range imp.Symbols {
				if n < 0 || n >= len(a.Libraries[imp.Library].Symbols) {
					return fmt.Errorf("applications: %s imports symbol %d of %d: %w", a.Files[i].Path, n, len(a.Libraries[imp.Library].Symbols), ErrDocument)
				}
			}
		}
	}
	return nil
}
