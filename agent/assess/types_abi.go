package assess

import (
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// ABIResult is whether the programs that AlmaLinux does not replace find what
// they need of the libraries that it does.
type ABIResult struct {
	Sentence  string              `json:"sentence"`         // the result in words
	Evidence  Evidence            `json:"evidence"`         // packages: symbol by symbol (--deep); metadata: libraries and their versions
	Reason    string              `json:"reason,omitempty"` // why nothing was judged
	Looked    int                 `json:"looked"`           // files looked into
	Programs  int                 `json:"programs"`         // that need libraries which AlmaLinux supplies
	Files     int                 `json:"files"`            // libraries and plug-ins that do
	From      int                 `json:"from"`             // libraries that they import from
	Symbols   int                 `json:"symbols"`          // different symbols that they import
	Proven    int                 `json:"proven"`           // symbols found unchanged in AlmaLinux's packages
	Static    int                 `json:"static"`           // ELF files that need no library
	Foreign   int                 `json:"foreign"`          // ELF files for other processors
	Unmet     []UnmetNeed         `json:"unmet"`            // sorted by path, library, version, symbol
	Runtimes  []RuntimeResult     `json:"runtimes"`         // sorted by kind, version
	Libraries []LibraryResult     `json:"libraries"`        // sorted by soname, class: those of From
	Folders   []string            `json:"folders"`          // what was searched
	Skipped   []inventory.Skipped `json:"skipped"`
}

// UnmetNeed is something that a file needs and that is not there after the
// move, or was not proven to be.
type UnmetNeed struct {
	Path    string   `json:"path"`
	Package string   `json:"package,omitempty"` // NEVRA of the file's owner
	Use     []string `json:"use,omitempty"`     // units and processes
	Since   int64    `json:"since,omitempty"`   // when the file was installed or changed, seconds since 1970
	Library string   `json:"library"`
	Version string   `json:"version,omitempty"`
	Symbol  string   `json:"symbol,omitempty"`
	Kind    string   `json:"kind"`             // library, version, symbol, type, size, interpreter, processor; see Reason
	State   string   `json:"state"`            // breaks, before: not met today either, unproven
	Today   string   `json:"today,omitempty"`  // NEVRA of the package that has it
	Target  string   `json:"target,omitempty"` // NEVRA of the package in its place
	Remedy  string   `json:"remedy,omitempty"` // NEVRA of an AlmaLinux package that has it
	Repo    string   `json:"repo,omitempty"`   // of Remedy
	Reason  string   `json:"reason"`
	told    bool     // by dep.broken, as the package declares it
	repoOff bool
}

// The states of an UnmetNeed.
const (
	NeedBreaks   = "breaks"
	NeedBefore   = "before"
	NeedUnproven = "unproven"
)

// LibraryResult is what becomes of one library.
type LibraryResult struct {
	Soname   string `json:"soname"`
	Class    int    `json:"class"`
	Today    string `json:"today"`            // NEVRA
	Target   string `json:"target,omitempty"` // NEVRA, empty: nobody has it
	Repo     string `json:"repo,omitempty"`
	Symbols  int    `json:"symbols"` // imported by Files
	Programs int    `json:"programs"`
	Proven   bool   `json:"proven"` // read out of the verified package
	Stays    bool   `json:"stays,omitempty"`
}

// RuntimeResult is what becomes of an interpreter.
type RuntimeResult struct {
	inventory.Runtime
	Target  string `json:"target,omitempty"` // NEVRA of the package that provides it after the move
	Verdict string `json:"verdict"`          // stays, gone, before, unknown
	Reason  string `json:"reason"`
}

// LibraryPackage is a package that a deep check reads libraries out of.
type LibraryPackage struct {
	Repo  string
	Index *repodata.Index
	At    int
}

// LibraryFacts is what was read out of AlmaLinux's packages.
type LibraryFacts struct {
	Packages []PackageLibraries
	Failed   []inventory.Skipped // packages that could not be had, and why
	Forged   bool                // one of them is not genuine
}

// PackageLibraries are the libraries of one package.
type PackageLibraries struct {
	NEVRA     string           `json:"nevra"`
	Pkgid     string           `json:"pkgid"`
	Signature string           `json:"signature"` // "good <key id>"
	Libraries []LibraryContent `json:"libraries"`
}

// LibraryContent is one library of a package.
type LibraryContent struct {
	Soname   string          `json:"soname"`
	Path     string          `json:"path"`
	Class    int             `json:"class"`
	Arch     string          `json:"arch"`
	Versions []string        `json:"versions,omitempty"`
	Symbols  []elfdyn.Symbol `json:"symbols"` // sorted by name
}

// The ids of the findings on applications.
const (
	idABILibrary    = "abi.library-missing"
	idABIVersion    = "abi.version-missing"
	idABISymbol     = "abi.symbol-missing"
	idABIChanged    = "abi.symbol-changed"
	idABIBefore     = "abi.broken-before"
	idABIUnproven   = "abi.unproven"
	idABIRuntime    = "abi.runtime-gone"
	idABIDeep       = "abi.deep-failed"
	idABIIncomplete = "abi.incomplete"
)

func init() { findingTypes = append(findingTypes, abiFindingTypes...) }

var abiFindingTypes = []FindingType{
	{
		ID: idABILibrary, Title: "An application needs a library that is not there after the move", Severities: []Severity{Blocker},
		Meaning: "A program or library that AlmaLinux does not replace needs a shared library which a package of the source distribution has today. That package moves, and nothing on the host provides a library of that name afterwards. Found with --abi.",
		Why:     "The dynamic linker refuses to start the program.",
		Action:  "Install the package named as the remedy, if there is one: mostly a compat package with the old library. Else get a build of the application for this release, or put the library beside it.",
	},
	{
		ID: idABIVersion, Title: "An application needs a symbol version that is not there after the move", Severities: []Severity{Blocker},
		Meaning: "AlmaLinux has a library of that name, but it does not define a symbol version that the application was linked with, such as GLIBC_2.34.",
		Why:     "The dynamic linker refuses to start the program: version not found.",
		Action:  "AlmaLinux's library is mostly older than the host's: wait for the minor release that has the version, or get a build of the application for this release.",
	},
	{
		ID: idABISymbol, Title: "An application imports a symbol that AlmaLinux's library does not have", Severities: []Severity{Blocker},
		Meaning: "The library was read out of AlmaLinux's verified package (--deep), and a symbol that the application imports from it today is not in it.",
		Why:     "The program does not start, or stops in the middle when it calls the function for the first time.",
		Action:  "AlmaLinux calls every application that stops working a bug: report it at bugs.almalinux.org with this finding. Until then keep the host, or get a build of the application for AlmaLinux.",
	},
	{
		ID: idABIChanged, Title: "An application imports a symbol that AlmaLinux's library has otherwise", Severities: []Severity{Blocker},
		Meaning: "The symbol is there, but as something else: data in place of a function, or data of another size of which the program holds a copy.",
		Why:     "The program would read or write beyond the end, or jump into data.",
		Action:  "Report it at bugs.almalinux.org with this finding, and get a build of the application for AlmaLinux.",
	},
	{
		ID: idABIBefore, Title: "Applications lack a library already today", Severities: []Severity{Warning, Info},
		Meaning: "A file needs a library or a symbol version that the dynamic linker does not find on the host today, as far as files tell: what LD_LIBRARY_PATH in a script adds is not known. Or it says that it needs a processor of a higher level than this one. It is a warning for programs, for information for libraries and plug-ins, which are often there for software that is not installed.",
		Why:     "The move does not break it; after the move it does not work either.",
		Action:  "Look whether it is still in use: ldd FILE shows what is missing.",
	},
	{
		ID: idABIUnproven, Title: "Some imports could not be proven without the packages", Severities: []Severity{Info},
		Meaning: "Applications use libraries that their packages do not announce in the repositories' metadata, as they are private to these packages. Only the packages themselves show whether AlmaLinux's have them.",
		Why:     "Nothing is known to break.",
		Action:  "Run almamigrate check --deep: it fetches and verifies the packages and compares every imported symbol.",
	},
	{
		ID: idABIRuntime, Title: "Native modules are made for an interpreter that goes", Severities: []Severity{Blocker, Warning},
		Meaning: "Modules of Python, Perl, PHP, Ruby or Node that no package of the distribution owns are compiled for one version of their interpreter, and no package has that version after the move. It is a warning where the version is not there today either.",
		Why:     "The interpreter of another version does not find or refuses the modules.",
		Action:  "Enable the module stream, or install the package, of that version on AlmaLinux; or build the modules again (pip, cpan, pecl, gem, npm) after the move.",
	},
	{
		ID: idABIDeep, Title: "Packages could not be read to prove applications", Severities: []Severity{Warning, Blocker},
		Meaning: "--deep was given, and a package of AlmaLinux with libraries that applications import from could not be fetched or read. It is a blocker where the package is not signed by AlmaLinux's key or is damaged.",
		Why:     "Its symbols were not compared; the verdict rests on the metadata for these. A package that is not genuine means that the mirror cannot be trusted.",
		Action:  "Check again with the mirror at hand, or name another: almamigrate check --deep --mirror URL.",
	},
	{
		ID: idABIIncomplete, Title: "Some places were not searched for applications", Severities: []Severity{Info, Warning},
		Meaning: "Files could not be read, or places were left alone: network file systems, links to folders elsewhere, containers, chroots. It is a warning where the search was cut short by its limit.",
		Why:     "What was not seen was not judged.",
		Action:  "Name further folders with --abi-folder or in almamigrate.conf ([applications] folders). Run as root.",
	},
}
