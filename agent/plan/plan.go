// Package plan says what a migration will do, before anything is done: which
// packages leave and which come, which repository files, keys and settings
// change, what is saved, and what space that takes. A plan is built from the
// inventory, the assessment, the catalogue and AlmaLinux's repositories alone;
// the same evidence gives the same plan. It holds that evidence's digests, so
// that one approved on Monday is not carried out on another host on Friday.
package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// Kind and SchemaVersion mark the JSON form. A minor version only adds fields.
const (
	Kind          = "almamigrate.plan"
	SchemaVersion = "1.0"
)

// How far a migration goes. DepthBranding swaps the identity and branding
// packages and leaves all others to later updates; DepthFull goes on and brings
// every package to what AlmaLinux has.
const (
	DepthBranding = "branding"
	DepthFull     = "full"
)

// How far a rollback will be able to go: RollbackFull brings everything back,
// RollbackBranding the identity and branding packages only, RollbackNone
// nothing once the migration is done.
const (
	RollbackFull     = "full"
	RollbackBranding = "branding"
	RollbackNone     = "none"
)

// KindBranding marks the packages that are swapped for the identity's sake.
// Other kinds are those of assess.MoveKind. Plans of before that have none.
const KindBranding = "branding"

// maxDocument is far above any plan: one line for each package of a host.
const maxDocument = 64 << 20

// The errors of this package.
var (
	ErrDocument = errors.New("not a plan")                            // Read
	ErrDrift    = errors.New("the host or the repositories changed")  // Drift
	ErrNoTarget = errors.New("AlmaLinux's packages are not there")    // Build: no almalinux-release to be had
	ErrNothing  = errors.New("there is nothing to migrate")           // Build: AlmaLinux already
	ErrBranded  = fmt.Errorf("%w but other packages", ErrNothing)     // Build, for the branding alone: it is AlmaLinux's
	ErrUnsafe   = errors.New("unsafe data in the repository")         // Build: a name or path that must not be used
	ErrBroken   = errors.New("the swap would break dependencies")     // Build
	ErrHost     = errors.New("the host is not one that is supported") // Build
)

// Plan is the document.
type Plan struct {
	Kind          string         `json:"kind"`
	SchemaVersion string         `json:"schema_version"`
	Tool          inventory.Tool `json:"tool"`
	Created       time.Time      `json:"created"` // UTC
	Host          Host           `json:"host"`
	Target        string         `json:"target"` // e.g. "AlmaLinux 9"
	Major         int            `json:"major"`  // of the target
	Depth         string         `json:"depth"`  // branding, full
	RollbackDepth string         `json:"rollback_depth,omitempty"`
	RollbackBytes int64          `json:"rollback_bytes"` // what is saved for the way back, about
	Counts        Counts         `json:"counts"`         // packages by kind

	Leaving []Leaving `json:"leaving"` // sorted by NEVRA
	Coming  []Coming  `json:"coming"`  // sorted by NEVRA
	Staying []Note    `json:"staying"` // packages that the catalogue drops, and that stay until all packages are moved

	RepoFiles   []RepoFile `json:"repo_files"`       // sorted by file
	EnableRepos []string   `json:"enable_repos"`     // AlmaLinux repositories to enable that are off by default
	Mirror      *Mirror    `json:"mirror,omitempty"` // where AlmaLinux's repositories are read from afterwards; nil: AlmaLinux's own servers
	Keys        []Key      `json:"keys"`             // to import into the rpm database
	Streams     []Stream   `json:"streams"`          // module streams that are enabled, as they are named now and then; DepthFull only
	Vars        []string   `json:"vars"`             // dnf variables that would vanish although a repository file names them
	RHSM        bool       `json:"rhsm"`             // the subscription plugin is switched off, the registration kept

	RepoOptions     []RepoOption `json:"repo_options"`     // excludes and the like that AlmaLinux's repositories get
	Services        []string     `json:"services"`         // units that scriptlets restart or stop, where they run
	ServicesStopped []string     `json:"services_stopped"` // of these, those whose package leaves for good
	Saved           Saved        `json:"saved"`            // for the way back

	Blockers       []string   `json:"blockers"`        // ids of findings that stand in the way
	Overrides      []Override `json:"overrides"`       // of blockers, with the reason given
	NotRestorable  []string   `json:"not_restorable"`  // what a rollback does not bring back, told before consent
	Space          []Space    `json:"space"`           // by folder
	Seconds        int        `json:"seconds"`         // rough duration
	RebootRequired bool       `json:"reboot_required"` // a new kernel comes; never for branding
	Steps          []Step     `json:"steps"`           // in order
	Boot           *BootPlan  `json:"boot,omitempty"`  // with all packages only; made by (*Plan).boot in boot.go
	Evidence       Evidence   `json:"evidence"`

	// stops are the findings behind Blockers, for people.
	stops []assess.Finding
	// picks are the repositories' own descriptions of Coming, for the download.
	picks map[string]Pick
}

// Host is whom the plan is for.
type Host struct {
	Name   string `json:"name"`
	Distro string `json:"distro"`
	Title  string `json:"title"`
	Major  int    `json:"major"`
	Arch   string `json:"arch"`
}

// Leaving is a package that is removed.
type Leaving struct {
	Name   string `json:"name"`
	NEVRA  string `json:"nevra"`
	Size   uint64 `json:"installed_size"` // bytes
	Signer string `json:"signer"`         // key id, or the signature's status
	Why    string `json:"why"`
	Kind   string `json:"kind,omitempty"` // KindBranding or an assess.MoveKind
}

// Coming is a package that is installed.
type Coming struct {
	Name          string `json:"name"`
	NEVRA         string `json:"nevra"`
	Repo          string `json:"repo"`
	Location      string `json:"location"` // below the repository
	Size          int64  `json:"size"`     // download, bytes
	InstalledSize int64  `json:"installed_size"`
	ChecksumType  string `json:"checksum_type"`
	Checksum      string `json:"checksum"`
	Why           string `json:"why"`
	Kind          string `json:"kind,omitempty"` // as in Leaving
}

// Counts says how many packages come and leave, by kind.
type Counts struct {
	Coming  map[string]int `json:"coming"`
	Leaving map[string]int `json:"leaving"`
}

// Stream is a module stream that is enabled on the host.
type Stream struct {
	Module string `json:"module"`
	From   string `json:"from"`
	To     string `json:"to"` // AlmaLinux's name of it; mostly the same
}

// Note is a package and a remark on it.
type Note struct {
	NEVRA string `json:"nevra"`
	Text  string `json:"text"`
}

// RepoFile is a file of the old distribution's repositories. It is kept beside
// its place, under a name that dnf does not read.
type RepoFile struct {
	File string   `json:"file"`
	IDs  []string `json:"ids"`
	Kept string   `json:"kept"` // the new name
}

// Key is a key that is imported.
type Key struct {
	Fingerprint string `json:"fingerprint"`
	UserID      string `json:"user_id"`
}

// Override is a blocker that somebody took upon themselves.
type Override struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Space is what is needed in a folder's file system.
type Space struct {
	Path string `json:"path"`
	Need int64  `json:"need"` // bytes
	Free int64  `json:"free"` // bytes, -1 unknown
	For  string `json:"for"`
}

// Step is one step of the migration, in words.
type Step struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// Evidence is what the plan rests on.
type Evidence struct {
	Inventory string      `json:"inventory_sha256"` // of the lists below
	Identity  []string    `json:"identity"`
	Packages  []string    `json:"packages"` // NEVRA, signing key; sorted
	Repos     []string    `json:"repos"`    // the host's own: id, state, file, URLs; sorted
	Target    []TargetRev `json:"target"`   // sorted by id
}

// TargetRev is the state of an AlmaLinux repository.
type TargetRev struct {
	ID       string `json:"id"`
	URL      string `json:"url"`
	Revision string `json:"revision"`
	Signed   string `json:"signed"`
	Enabled  bool   `json:"enabled"`
}

// Pick is where a coming package was found.
type Pick struct {
	Repo    string
	Package *repodata.Package
}

// Picks returns, by NEVRA, the repositories' descriptions of the coming
// packages; nil for a plan that was read from a file.
func (p *Plan) Picks() map[string]Pick { return p.picks }

// Branding returns the part of the plan that swaps the identity: the same
// plan with fewer packages.
func (p *Plan) Branding() *Plan {
	return p.only(func(kind string) bool { return kind == KindBranding || kind == "" })
}

// Others returns the part that brings all other packages to AlmaLinux.
func (p *Plan) Others() *Plan {
	return p.only(func(kind string) bool { return kind != KindBranding && kind != "" })
}

func (p *Plan) only(want func(kind string) bool) *Plan {
	q := *p
	q.Leaving, q.Coming = nil, nil
	for _, l := range p.Leaving {
		if want(l.Kind) {
			q.Leaving = append(q.Leaving, l)
		}
	}
	for _, c := range p.Coming {
		if want(c.Kind) {
			q.Coming = append(q.Coming, c)
		}
	}
	return &q
}

// Download is the number of bytes to fetch.
func (p *Plan) Download() (n int64) {
	for _, c := range p.Coming {
		n += c.Size
	}
	return n
}

// WriteJSON writes the document, indented, with a newline at its end.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(p); err != nil {
		return fmt.Errorf("cannot write the plan: %w", err)
	}
	return nil
}

// Read reads a plan that WriteJSON wrote.
func Read(r io.Reader) (*Plan, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("cannot read the plan: %w: larger than %d MiB", ErrDocument, maxDocument>>20)
	}
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w: %w", ErrDocument, err)
	}
	if p.Kind != Kind {
		return nil, fmt.Errorf("cannot read the plan: %w: its kind is %q", ErrDocument, p.Kind)
	}
	if major, _, _ := cutVersion(p.SchemaVersion); major != "1" {
		return nil, fmt.Errorf("cannot read the plan: %w: its version is %q, this program reads 1.x", ErrDocument, p.SchemaVersion)
	}
	return &p, nil
}
