// Package inventory reads what a host is: its identity, its installed packages
// with their signatures, its repositories and package manager settings. The
// result is one immutable value that can be written as JSON on one machine and
// judged on another.
package inventory

import (
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Kind and SchemaVersion mark the JSON form. A minor version only adds fields.
const (
	Kind          = "almamigrate.inventory"
	SchemaVersion = "1.0"
)

// Inventory is everything that check needs to know about a host.
type Inventory struct {
	Kind          string        `json:"kind"`
	SchemaVersion string        `json:"schema_version"`
	Tool          Tool          `json:"tool"`
	Taken         time.Time     `json:"taken"` // UTC
	Host          Host          `json:"host"`
	Database      Database      `json:"database"`
	Packages      []Package     `json:"packages"` // sorted by name, EVR, arch, database row; gpg-pubkey rows are in Keys
	Keys          []Key         `json:"keys"`     // sorted by fingerprint, source
	Repos         []Repo        `json:"repos"`    // sorted by id, file
	DNF           DNF           `json:"dnf"`
	Environment   *Environment  `json:"environment,omitempty"`  // nil: an inventory of before there was one
	Kernel        *Kernel       `json:"kernel,omitempty"`       // nil: not read
	Applications  *Applications `json:"applications,omitempty"` // nil: not asked for
	Skipped       []Skipped     `json:"skipped"`                // what could not be read, and why
}

// Tool names the program that wrote a document.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Distro is a distribution as this tool tells them apart.
type Distro string

// The distributions that are told apart. CentOS Linux and CentOS Stream share
// ID=centos in os-release and are told apart by the release package and NAME.
const (
	CentOS       Distro = "centos"
	CentOSStream Distro = "centos-stream"
	RHEL         Distro = "rhel"
	Rocky        Distro = "rocky"
	Oracle       Distro = "oracle"
	AlmaLinux    Distro = "almalinux"
	Scientific   Distro = "scientific"
	MiracleLinux Distro = "miraclelinux"
	Virtuozzo    Distro = "virtuozzo"
	EuroLinux    Distro = "eurolinux"
	OtherEL      Distro = "other-el" // an EL platform of nobody that the catalogue knows
	NotEL        Distro = "not-el"
)

// State tells how far a host is on its way.
type State string

// The states of a host's identity.
const (
	StateSource    State = "source"        // identity and packages agree: not AlmaLinux
	StateAlmaLinux State = "almalinux"     // identity and packages agree: AlmaLinux
	StateHalf      State = "half-migrated" // identity says one thing, packages another
	StateUnknown   State = "unknown"
)

// Host is who the host says it is, and what the release package says.
type Host struct {
	Name           string            `json:"name"` // host name, may be empty for an image
	Distro         Distro            `json:"distro"`
	PrettyName     string            `json:"pretty_name"`
	Version        string            `json:"version"` // as the release package or os-release has it, e.g. "8.5"
	Major          int               `json:"major"`   // EL major, 0 unknown
	Arch           string            `json:"arch"`    // base architecture: x86_64, aarch64, ppc64le, s390x
	State          State             `json:"state"`
	StateReason    string            `json:"state_reason"`
	ReleasePackage string            `json:"release_package"` // NEVRA, empty if none
	OSRelease      map[string]string `json:"os_release"`
	Kernel         string            `json:"kernel"` // uname -r, empty for an image
	Root           string            `json:"root"`   // what was read: "/" or the image's folder
	Live           bool              `json:"live"`   // the running system rather than an image
	// Captured: a copy of a running system's files, /proc and /sys included, as
	// sosreports and the like have them.
	Captured bool `json:"captured,omitempty"`
}

// Running tells whether it is known what the system was like while it ran.
func (h *Host) Running() bool { return h.Live || h.Captured }

// Database says which rpm database was read.
type Database struct {
	Path    string `json:"path"`    // inside the root
	Backend string `json:"backend"` // bdb, sqlite
	Rows    int    `json:"rows"`    // headers read, gpg-pubkey included
	// Damaged are the rows that hold no header that could be read: rpm passes over
	// them, too, so that their packages are on the disk and not known.
	Damaged []DamagedRow `json:"damaged,omitempty"` // sorted by row
}

// DamagedRow is a row of the rpm database without a readable header.
type DamagedRow struct {
	Row    uint32 `json:"row"`
	Reason string `json:"reason"`
}

// Package is one installed package.
type Package struct {
	Row         uint32       `json:"row"` // the database's row or record number
	Name        string       `json:"name"`
	EVR         rpmver.EVR   `json:"-"`
	Arch        string       `json:"arch"`
	Vendor      string       `json:"vendor,omitempty"`
	BuildHost   string       `json:"build_host,omitempty"`
	BuildTime   int64        `json:"build_time,omitempty"`   // seconds since 1970
	InstallTime int64        `json:"install_time,omitempty"` // seconds since 1970
	Size        uint64       `json:"size"`                   // installed size in bytes
	SourceRPM   string       `json:"source_rpm,omitempty"`
	ModuleLabel string       `json:"module_label,omitempty"` // rpm tag 5096: name:stream:version:context
	Signature   Signature    `json:"signature"`
	Fixes       []Fix        `json:"fixes,omitempty"` // newest first; empty where changelogs were not asked for
	Requires    []rpmver.Dep `json:"-"`
	Provides    []rpmver.Dep `json:"-"`
	Conflicts   []rpmver.Dep `json:"-"`
	Obsoletes   []rpmver.Dep `json:"-"`
	Files       Files        `json:"-"`
}

// NEVRA returns the package's full name.
func (p *Package) NEVRA() rpmver.NEVRA {
	return rpmver.NEVRA{Name: p.Name, EVR: p.EVR, Arch: p.Arch}
}

// Files holds a package's paths as rpm stores them: folders once, base names
// beside an index into the folders. A host has hundreds of thousands of files.
type Files struct {
	Dirs     []string // each ends with "/"
	DirIndex []uint32
	Base     []string
}

// Signature is the outcome of verifying a header with the keys at hand.
type Signature struct {
	Status      string `json:"status"`                // good, bad, missing, unknown-key, unsupported
	KeyID       string `json:"key_id,omitempty"`      // 16 lower case hex digits
	Fingerprint string `json:"fingerprint,omitempty"` // of the primary key, upper case hex, when the key was at hand
	Owner       string `json:"owner,omitempty"`       // the catalogue's name of the key's owner, e.g. "centos", "epel"
	UserID      string `json:"user_id,omitempty"`
	Weak        bool   `json:"weak,omitempty"` // MD5, SHA-1 or a short key
	Reason      string `json:"reason,omitempty"`
}

// Key is a public key on the host: a gpg-pubkey row or a file.
type Key struct {
	Fingerprint string   `json:"fingerprint"`
	KeyIDs      []string `json:"key_ids"`
	UserID      string   `json:"user_id"`
	Owner       string   `json:"owner,omitempty"` // the catalogue's name of the owner
	Source      string   `json:"source"`          // "rpmdb" or the file's path inside the root
	Expires     string   `json:"expires,omitempty"`
	Armored     string   `json:"armored"` // the key itself, so that another machine can use it
}

// Repo is one section of a .repo file.
type Repo struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	File       string            `json:"file"` // path inside the root
	Enabled    bool              `json:"enabled"`
	BaseURLs   []string          `json:"base_urls,omitempty"` // with variables replaced
	Mirrorlist string            `json:"mirrorlist,omitempty"`
	Metalink   string            `json:"metalink,omitempty"`
	Written    []string          `json:"written,omitempty"` // of these URLs, as written, those that hold variables
	GPGCheck   bool              `json:"gpg_check"`
	GPGKeys    []string          `json:"gpg_keys,omitempty"`
	NoKeyFiles []string          `json:"no_key_files,omitempty"` // of GPGKeys, the files that are not there
	Exclude    []string          `json:"exclude,omitempty"`
	Options    map[string]string `json:"options,omitempty"`  // every other key as written, secrets left out
	OwnedBy    string            `json:"owned_by,omitempty"` // name of the package that owns the file
}

// DNF is the package manager's configuration.
type DNF struct {
	ConfFile    string            `json:"conf_file,omitempty"`
	Exclude     []string          `json:"exclude,omitempty"`     // exclude= and excludepkgs= of [main]
	InstallOnly []string          `json:"installonly,omitempty"` // installonlypkgs= of [main]
	Versionlock []string          `json:"versionlock,omitempty"` // patterns, "!" prefix = excluded
	Protected   []Protected       `json:"protected,omitempty"`   // /etc/dnf/protected.d, /etc/yum/protected.d
	Vars        map[string]string `json:"vars,omitempty"`        // /etc/dnf/vars, /etc/yum/vars
	Modules     []ModuleState     `json:"modules,omitempty"`     // /etc/dnf/modules.d
	Proxy       string            `json:"proxy,omitempty"`       // credentials left out
	ReleaseVer  string            `json:"releasever,omitempty"`
}

// Protected is a package that dnf refuses to remove.
type Protected struct {
	Package string `json:"package"`
	File    string `json:"file"`
}

// ModuleState is one module of /etc/dnf/modules.d.
type ModuleState struct {
	Name     string   `json:"name"`
	Stream   string   `json:"stream"`
	State    string   `json:"state"` // enabled, disabled, or empty
	Profiles []string `json:"profiles,omitempty"`
}

// Skipped is something that could not be read.
type Skipped struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}
