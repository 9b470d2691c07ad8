// Package assess judges an inventory against the AlmaLinux repositories. It
// reads nothing itself: the same inventory and the same repositories give the
// same result on any machine.
package assess

import (
	"time"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// Input is everything that a judgement rests on.
type Input struct {
	Inventory *inventory.Inventory
	Catalog   *catalog.Catalog
	Major     int           // AlmaLinux's major to compare with
	Repos     []TargetRepo  // AlmaLinux's repositories, in any order
	Now       time.Time     // the moment that keys are judged at; zero: when the inventory was taken
	Deep      *DeepFacts    // what --deep read out of the kernel packages; nil: not asked for
	Libraries *LibraryFacts // what --deep read out of packages with libraries of applications; nil: not asked for
	Suppliers []Supplier    // repositories of kernel modules that are not AlmaLinux's, in any order
	Moves     bool          // Assessment.Moves is wanted
	// Advisories are AlmaLinux's, by source; nil: not asked for.
	Advisories []AdvisorySource
	// Probes are the outcomes of asking OtherRepos, by id; nil: Assessment.Origins
	// is not wanted.
	Probes map[string]Probe
}

// TargetRepo is one AlmaLinux repository, fetched and indexed, or the reason
// why there is none.
type TargetRepo struct {
	ID, Name, URL  string
	DefaultEnabled bool     // enabled in AlmaLinux's own repo files
	Enabled        bool     // would be enabled on this host after the move
	MappedFrom     []string // the host's repo ids that map to it
	Index          *repodata.Index
	Revision       string
	Signature      string // "good <key id>", "none", ...
	Stale          bool
	FetchedAt      time.Time
	ClockAhead     *time.Duration // how far the host's clock is ahead of the mirror's; nil: not known
	Err            error          // why there is no Index
}

// Verdict is the host's verdict.
type Verdict string

// The verdicts of a host.
const (
	Ready             Verdict = "ready"
	ReadyWithWarnings Verdict = "ready-with-warnings"
	Blocked           Verdict = "blocked"
	Unknown           Verdict = "unknown" // the evidence does not suffice, e.g. a repository is unreachable
)

// PackageVerdict is what AlmaLinux has for one installed package.
type PackageVerdict string

// The verdicts of a package.
const (
	Same       PackageVerdict = "same"        // the same NEVRA
	Newer      PackageVerdict = "newer"       // AlmaLinux has a newer one
	Older      PackageVerdict = "older"       // a downgrade
	Replaced   PackageVerdict = "replaced"    // branding swap or Obsoletes
	Missing    PackageVerdict = "missing"     // the source distribution's own, no counterpart
	ThirdParty PackageVerdict = "third-party" // signed by another vendor: stays
	Local      PackageVerdict = "local"       // unsigned and in no known repository: stays
)

// Severity of a finding.
type Severity string

// The severities of a finding.
const (
	Blocker Severity = "blocker"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Assessment is the result of judging a host.
type Assessment struct {
	Verdict  Verdict             `json:"verdict"`
	Summary  Summary             `json:"summary"`
	Findings []Finding           `json:"findings"`         // sorted by severity, id, first resource
	Packages []PackageResult     `json:"packages"`         // sorted by name, EVR, arch, row
	Incoming []Incoming          `json:"incoming"`         // sorted by NEVRA: packages that come along
	Repos    []RepoResult        `json:"repos"`            // sorted by id
	Kernel   *KernelResult       `json:"kernel,omitempty"` // nil: the inventory has none
	Modules  []ModuleResult      `json:"modules"`          // sorted by name
	Space    []SpaceNeed         `json:"space"`            // sorted by mount; empty where free space is not known
	ABI      *ABIResult          `json:"abi,omitempty"`    // nil: applications were not looked for
	Skipped  []inventory.Skipped `json:"skipped"`
	Security *SecurityResult     `json:"security,omitempty"` // nil: not asked for
	Origins  *Origins            `json:"origins,omitempty"`  // nil: not asked for
	Moves    *Moves              `json:"-"`                  // nil: not asked for, or a repository could not be read
}

// Summary counts.
type Summary struct {
	Packages map[PackageVerdict]int `json:"packages"` // every verdict, zero included
	Findings map[Severity]int       `json:"findings"` // every severity, zero included
	Total    int                    `json:"total"`    // installed packages judged
	Target   string                 `json:"target"`   // e.g. "AlmaLinux 9"
}

// Finding is one thing that a human should know before the move.
type Finding struct {
	ID        string     `json:"id"` // stable, e.g. "pkg.missing"; see Catalogue
	Severity  Severity   `json:"severity"`
	Title     string     `json:"title"`     // one line, starts with what is wrong
	Detail    string     `json:"detail"`    // why it matters here, in words
	Resources []Resource `json:"resources"` // sorted
	Remedy    Remedy     `json:"remedy"`
}

// Resource is what a finding is about.
type Resource struct {
	Kind   string `json:"kind"` // package, repo, file, key, module, host, device, mount
	Name   string `json:"name"` // NEVRA, repo id, path, ...
	Detail string `json:"detail,omitempty"`
}

// Remedy is the way out, with the command to type where there is one.
type Remedy struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
}

// PackageResult is the verdict on one installed package.
type PackageResult struct {
	Name      string         `json:"name"`
	NEVRA     string         `json:"nevra"`
	Arch      string         `json:"arch"`
	Verdict   PackageVerdict `json:"verdict"`
	Reason    string         `json:"reason"` // in words
	Target    *Target        `json:"target,omitempty"`
	Origin    Origin         `json:"origin"`
	Risk      string         `json:"risk,omitempty"`   // why a downgrade may hurt
	Stream    string         `json:"stream,omitempty"` // module name:stream that it is compared in
	Installed int64          `json:"install_time"`
}

// Target is the AlmaLinux package that would stand in its place.
type Target struct {
	NEVRA          string `json:"nevra"`
	Repo           string `json:"repo"`
	RepoEnabled    bool   `json:"repo_enabled"`     // would be enabled after the move on this host
	DefaultEnabled bool   `json:"default_enabled"`  // enabled in AlmaLinux's own repo files
	Size           int64  `json:"size"`             // download, bytes; 0 where the verdict is same
	InstalledSize  int64  `json:"installed_size"`   // bytes; 0 where the verdict is same
	Stream         string `json:"stream,omitempty"` // module name:stream
}

// Incoming is a package that is not installed and that the move brings in,
// because a package that comes or stays requires it, or because it obsoletes an
// installed one together with that one's target (Requirement is "obsoletes NAME").
type Incoming struct {
	NEVRA         string `json:"nevra"`
	Repo          string `json:"repo"`
	RequiredBy    string `json:"required_by"` // NEVRA
	Requirement   string `json:"requirement"`
	Size          int64  `json:"size"`           // download, bytes
	InstalledSize int64  `json:"installed_size"` // bytes
}

// Origin says where an installed package comes from, by its signature.
type Origin struct {
	Owner     string `json:"owner"`     // the catalogue's name of the signer: centos, epel, ...; "unknown", "unsigned"
	Signature string `json:"signature"` // inventory.Signature.Status
	KeyID     string `json:"key_id,omitempty"`
	Vendor    string `json:"vendor,omitempty"` // the header's Vendor string, which may lie
	Repo      string `json:"repo,omitempty"`   // the configured repo that it most likely came from
}

// RepoResult is what is known of one AlmaLinux repository after the fetch.
type RepoResult struct {
	ID             string   `json:"id"`
	URL            string   `json:"url"`
	Enabled        bool     `json:"enabled"` // would be enabled after the move
	DefaultEnabled bool     `json:"default_enabled"`
	MappedFrom     []string `json:"mapped_from,omitempty"` // the host's repo ids that map to it
	Packages       int      `json:"packages"`
	Revision       string   `json:"revision,omitempty"`
	Signed         string   `json:"signed"` // "good <key id>", "none"
	Stale          bool     `json:"stale,omitempty"`
	FetchedAt      string   `json:"fetched_at,omitempty"`
	Error          string   `json:"error,omitempty"`
}
