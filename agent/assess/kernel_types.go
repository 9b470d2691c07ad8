package assess

import (
	"github.com/almamigrate/almamigrate/pkg/kmod"
)

// ModuleVerdict is what becomes of one kernel module under AlmaLinux's kernel.
type ModuleVerdict string

// The verdicts of a module.
const (
	ModuleInTree     ModuleVerdict = "in-tree"                // comes with the kernel packages that come
	ModuleMoved      ModuleVerdict = "moved"                  // in a kernel package that would not come by itself
	ModuleBuiltIn    ModuleVerdict = "built-in"               // part of the kernel's image
	ModuleCompatible ModuleVerdict = "out-of-tree-compatible" // AlmaLinux's kernel has every symbol it imports, unchanged
	ModuleBreaks     ModuleVerdict = "out-of-tree-breaks"     // AlmaLinux's kernel would refuse it
	ModuleSupplied   ModuleVerdict = "supplied-by"            // another package of the repositories has it
	ModuleMissing    ModuleVerdict = "missing"                // nobody has it
	ModuleUnknown    ModuleVerdict = "unknown"                // no evidence; not to be called fine
)

// ModuleVerdicts lists the verdicts in the order in which they are told.
var ModuleVerdicts = []ModuleVerdict{
	ModuleInTree, ModuleBuiltIn, ModuleMoved, ModuleCompatible, ModuleSupplied, ModuleBreaks, ModuleMissing, ModuleUnknown,
}

// Evidence says what a verdict on modules rests on.
type Evidence string

// The kinds of evidence.
const (
	EvidencePackages Evidence = "packages" // the kernel packages themselves, verified (--deep)
	EvidenceMetadata Evidence = "metadata" // what the repositories' metadata says of them
	EvidenceNone     Evidence = "none"
)

// KernelResult is the kernel that AlmaLinux would boot, and how many modules
// have which verdict.
type KernelResult struct {
	Running    string                `json:"running"`           // release of the running kernel
	Target     string                `json:"target,omitempty"`  // NEVRA of AlmaLinux's kernel image package
	Release    string                `json:"release,omitempty"` // what uname -r says under it
	Repo       string                `json:"repo,omitempty"`
	Comes      []string              `json:"comes"` // NEVRAs of the kernel packages that come, sorted
	Evidence   Evidence              `json:"evidence"`
	Reason     string                `json:"reason,omitempty"` // why modules are not judged, or not with certainty
	SecureBoot string                `json:"secure_boot"`      // enabled, disabled, not-available, unknown
	Enforced   bool                  `json:"enforced"`         // the kernel refuses modules without a trusted signature
	Loaded     int                   `json:"loaded"`           // loaded modules
	Counts     map[ModuleVerdict]int `json:"counts"`           // of all judged modules; every verdict, zero included
	Suppliers  []SupplierResult      `json:"module_repos,omitempty"`

	wanted map[string]bool // what no repository of AlmaLinux's supplies
}

// ModuleResult is the verdict on one module.
type ModuleResult struct {
	Name      string        `json:"name"`
	Loaded    bool          `json:"loaded"`
	Verdict   ModuleVerdict `json:"verdict"`
	Reason    string        `json:"reason"`
	Evidence  Evidence      `json:"evidence"`
	Roles     []string      `json:"roles,omitempty"` // what fails without it: root, boot, network, mount, requested
	Why       []string      `json:"why,omitempty"`   // who needs it
	File      string        `json:"file,omitempty"`
	Owner     string        `json:"owner,omitempty"` // NEVRA of the package that owns the file
	Taint     string        `json:"taint,omitempty"` // what the kernel's letters mean
	Target    string        `json:"target,omitempty"`
	Repo      string        `json:"repo,omitempty"`
	RepoOff   bool          `json:"repo_off,omitempty"`  // the repository would be off
	RepoName  string        `json:"repo_name,omitempty"` // what a repository that is not AlmaLinux's is called
	Symbols   *SymbolResult `json:"symbols,omitempty"`
	Rebuilt   string        `json:"rebuilt,omitempty"`   // dkms NAME/VERSION or akmods NAME
	Signature string        `json:"signature,omitempty"` // who vouches for it under AlmaLinux's kernel
	Trusted   Trust         `json:"trusted"`

	vermagic string // of an out-of-tree module
	weak     bool   // compatible, but nobody puts it into the new kernel's tree
	broke    bool   // supplied, and the build that is there would be refused
}

// Trust says whether a kernel that demands signatures would load a module.
type Trust string

// The answers.
const (
	TrustYes     Trust = "yes"
	TrustNo      Trust = "no"
	TrustUnknown Trust = "unknown"
)

// SymbolResult compares the imports of an out-of-tree module with the exports
// of AlmaLinux's kernel.
type SymbolResult struct {
	Met        int      `json:"met"` // the kernel or another module has it, with the same CRC
	Total      int      `json:"total"`
	Changed    []string `json:"changed,omitempty"` // there with another CRC: the interface changed
	Missing    []string `json:"missing,omitempty"`
	Unverified []string `json:"unverified,omitempty"` // on no list, but the list is not complete
}

// PackageFacts is what was read out of a kernel package's payload.
type PackageFacts struct {
	NEVRA     string            `json:"nevra"`
	Pkgid     string            `json:"pkgid"`     // digest of the .rpm file
	Signature string            `json:"signature"` // "good <key id>"
	Release   string            `json:"release"`   // folder below /lib/modules
	Modules   map[string]string `json:"modules"`   // name to path below that folder
	Builtin   []string          `json:"builtin,omitempty"`
	Symbols   []string          `json:"symbols,omitempty"` // name=0xCRC
	Aliases   []kmod.Alias      `json:"aliases,omitempty"`
	Vermagic  string            `json:"vermagic,omitempty"`
	Signers   []string          `json:"signers,omitempty"` // of its modules, sorted
}

// DeepFacts is what --deep adds.
type DeepFacts struct {
	Packages []PackageFacts
	// Err is why packages could not be had or were not genuine; then there are none.
	Err error
	// Forged says that a package's signature or digest is wrong.
	Forged bool
}
