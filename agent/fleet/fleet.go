// Package fleet makes one picture of the reports of many hosts: how many are
// ready, what stands in the way of most, and in which order they could move.
//
// Reports are read one at a time and only what the picture needs is kept of
// each: a host is some hundred bytes, however long its report is. What is
// counted over hosts is a Fact; adding another kind of fact is one reader in
// sections and one line in facets.
package fleet

import (
	"io"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
)

// Kind and SchemaVersion mark the JSON form, which
// packaging/schema/fleet-1.0.json describes. A minor version only adds fields.
const (
	Kind          = "almamigrate.fleet"
	SchemaVersion = "1.0"
)

// Fleet is the picture. All lists are sorted, and the same reports give the
// same picture, in whatever order and packing they come.
type Fleet struct {
	Kind          string         `json:"kind"`
	SchemaVersion string         `json:"schema_version"`
	Tool          inventory.Tool `json:"tool"`
	Generated     time.Time      `json:"generated"`
	StaleAfter    int64          `json:"stale_after"` // seconds; older reports are stale
	Summary       Summary        `json:"summary"`
	Findings      []Finding      `json:"findings"` // by severity, then by hosts, most first; infos are left out
	Facets        []Facet        `json:"facets"`
	Security      *Security      `json:"security,omitempty"` // nil: no report tells of advisories
	Systems       []System       `json:"systems"`
	Groups        []Group        `json:"groups"` // of hosts that are not in a wave
	Waves         []Wave         `json:"waves"`
	Hosts         []Host         `json:"hosts"` // by name
	Duplicates    []Duplicate    `json:"duplicates"`
	Unread        []Unread       `json:"unread"`
	Ignored       []Unread       `json:"ignored"` // files that do not look like reports
}

// Summary counts hosts and files.
type Summary struct {
	Hosts     int `json:"hosts"`
	Ready     int `json:"ready"`     // can move now, warnings included; those that are AlmaLinux not
	Warnings  int `json:"warnings"`  // of those that are ready
	Blocked   int `json:"blocked"`   //
	Unknown   int `json:"unknown"`   // no verdict
	AlmaLinux int `json:"almalinux"` // there already
	Stale     int `json:"stale"`     // would be ready, by a report too old to go by or of the future
	Outdated  int `json:"outdated"`  // of all hosts, those with such a report
	Reports   int `json:"reports"`   // documents read
	Older     int `json:"older"`     // of these, put aside for a newer one of the same host
	Copies    int `json:"copies"`    // of these, the same report again
	Unread    int `json:"unread"`
	Ignored   int `json:"ignored"`
}

// Finding is one finding over all hosts.
type Finding struct {
	ID           string          `json:"id"`
	Severity     assess.Severity `json:"severity"`
	Title        string          `json:"title"`
	Hosts        int             `json:"hosts"`
	Examples     []string        `json:"examples"`          // hosts, a few
	Resources    []Count         `json:"resources"`         // what it names, by hosts, a few
	Remedy       string          `json:"remedy"`            // in general
	Command      string          `json:"command,omitempty"` // what most hosts are told to type
	CommandHosts int             `json:"command_hosts,omitempty"`
}

// Count is a name and how many hosts have it.
type Count struct {
	Name  string `json:"name"`
	Hosts int    `json:"hosts"`
}

// Facet is one kind of thing that hosts have, by how many have it.
type Facet struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Total int    `json:"total"` // how many things there are
	Items []Item `json:"items"` // most hosts first, at most maxItems
}

// Item is one thing of a facet.
type Item struct {
	Class    string   `json:"class"` // e.g. a verdict
	Name     string   `json:"name"`
	Hosts    int      `json:"hosts"`
	Examples []string `json:"examples"`
}

// System is a distribution in one version and architecture.
type System struct {
	Distro    string `json:"distro"`
	Version   string `json:"version"`
	Arch      string `json:"arch"`
	Hosts     int    `json:"hosts"`
	Ready     int    `json:"ready"`
	Warnings  int    `json:"warnings"`
	Blocked   int    `json:"blocked"`
	Unknown   int    `json:"unknown"`
	Stale     int    `json:"stale"`
	AlmaLinux int    `json:"almalinux"`
}

// Group is hosts that do not move for the same reasons.
type Group struct {
	Status   Status   `json:"status"`
	Findings []string `json:"findings"` // the ids that they have in common
	Hosts    []string `json:"hosts"`
}

// Wave is hosts that move together.
type Wave struct {
	Name  string   `json:"name"` // canary, wave1, ...
	Kinds int      `json:"kinds"`
	Hosts []string `json:"hosts"`
}

// Status is what becomes of a host in the rollout.
type Status string

// The statuses.
const (
	Ready     Status = "ready"
	Blocked   Status = "blocked"
	NoVerdict Status = "no-verdict"
	Stale     Status = "stale"     // ready by a report too old to go by
	AlmaLinux Status = "almalinux" // there already
)

// Host is one host, by its newest report.
type Host struct {
	Name     string         `json:"name"`
	Status   Status         `json:"status"`
	Verdict  assess.Verdict `json:"verdict"`
	Distro   string         `json:"distro"`
	Version  string         `json:"version"`
	Major    int            `json:"major"`
	Arch     string         `json:"arch"`
	State    string         `json:"state"`
	Kernel   string         `json:"kernel"`
	Target   string         `json:"target"`
	Finished time.Time      `json:"finished"`
	Stale    bool           `json:"stale"`
	Packages int            `json:"packages"` // judged
	Blockers []string       `json:"blockers"` // ids
	Warnings []string       `json:"warnings"` // ids
	Wave     string         `json:"wave"`     // empty: in none
	Failure  string         `json:"failure,omitempty"`
	Source   string         `json:"source"`             // the file
	Security *HostSecurity  `json:"security,omitempty"` // nil: the report does not tell of advisories

	runID string
	tool  string
	facts []uint32 // sorted
	late  bool     // of the future

	advisories []uint32 // sorted facts, shared among hosts that have the same
}

// Duplicate is a host of which there was more than one report.
type Duplicate struct {
	Host   string   `json:"host"`
	Kept   string   `json:"kept"`
	Others []string `json:"others"` // older ones, newest first, a few
	Count  int      `json:"count"`
}

// Unread is a file that gave no report.
type Unread struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
}

// Bounds of what is listed and kept.
const (
	maxExamples  = 5
	maxResources = 10
	maxItems     = 500
	maxListed    = 10000   // unread and ignored files, each
	maxName      = 256     // bytes of a name that is counted
	maxFacts     = 20000   // of one report
	maxDistinct  = 1 << 20 // different facts of all reports
	skew         = 24 * time.Hour
)

// WriteJSON writes the document.
func (f *Fleet) WriteJSON(w io.Writer) error { return report.WriteDocument(w, f) }

// ExitCode says how it stands: 10 where a host is blocked, has no verdict or
// only a stale one, with warning also where one has warnings; else 0.
func (f *Fleet) ExitCode(failOn string) int {
	if f.Summary.Blocked+f.Summary.Unknown+f.Summary.Stale > 0 || failOn == "warning" && f.Summary.Warnings > 0 {
		return 10
	}
	return 0
}
