// Package report turns results into documents (JSON with a schema) and into
// text for people.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// The kinds of the JSON documents, and their version. A minor version only
// adds fields.
const (
	CheckKind     = "almamigrate.check"
	ErrorKind     = "almamigrate.error"
	FindingsKind  = "almamigrate.findings"
	SchemaVersion = "1.0"
)

// Check is the document of a check. packaging/schema/check-1.0.json describes
// its JSON form.
type Check struct {
	Kind          string                 `json:"kind"`
	SchemaVersion string                 `json:"schema_version"`
	Tool          inventory.Tool         `json:"tool"`
	RunID         string                 `json:"run_id"`
	Host          inventory.Host         `json:"host"`
	Started       time.Time              `json:"started"`
	Finished      time.Time              `json:"finished"`
	Verdict       assess.Verdict         `json:"verdict"`
	Summary       assess.Summary         `json:"summary"`
	Findings      []assess.Finding       `json:"findings"`
	Packages      []assess.PackageResult `json:"packages"`
	Incoming      []assess.Incoming      `json:"incoming"`
	Kernel        *assess.KernelResult   `json:"kernel,omitempty"`
	Modules       []assess.ModuleResult  `json:"modules"` // kernel modules
	Repos         []assess.RepoResult    `json:"repos"`
	Space         []assess.SpaceNeed     `json:"space,omitempty"`
	ABI           *assess.ABIResult      `json:"abi,omitempty"`
	Security      *assess.SecurityResult `json:"security,omitempty"`
	Origins       *assess.Origins        `json:"origins,omitempty"`
	Skipped       []inventory.Skipped    `json:"skipped"`
}

// NewCheck makes the document of an assessment. Tool, RunID, Started and
// Finished are for the caller to fill in.
func NewCheck(inv *inventory.Inventory, res *assess.Assessment) *Check {
	return &Check{
		Kind: CheckKind, SchemaVersion: SchemaVersion, Tool: inv.Tool, Host: inv.Host,
		Verdict: res.Verdict, Summary: res.Summary, Findings: res.Findings, Packages: res.Packages,
		Incoming: res.Incoming, Kernel: res.Kernel, Modules: res.Modules, Repos: res.Repos, Space: res.Space, ABI: res.ABI, Security: res.Security, Origins: res.Origins, Skipped: res.Skipped,
	}
}

// WriteJSON writes the document. The same content gives the same bytes.
func (c *Check) WriteJSON(w io.Writer) error {
	d := *c
	d.Started, d.Finished = stamp(c.Started), stamp(c.Finished)
	if d.Modules == nil {
		d.Modules = []assess.ModuleResult{} // the schema has a list
	}
	return writeJSON(w, &d)
}

// stamp brings a time to what the documents carry: UTC, whole seconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func writeJSON(w io.Writer, doc any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("cannot encode the document: %w", err)
	}
	_, err := w.Write(safeJSON(b.Bytes()))
	return err
}

// Error is the document that --json writes in place of a result.
type Error struct {
	Tool    inventory.Tool
	Command string // e.g. "almamigrate check"
	Code    int    // the exit code
	Message string
	Hint    string // the next command to type, may be empty
}

// WriteError writes the document of a failure.
func WriteError(w io.Writer, e Error) error {
	return writeJSON(w, struct {
		Kind          string         `json:"kind"`
		SchemaVersion string         `json:"schema_version"`
		Tool          inventory.Tool `json:"tool"`
		Command       string         `json:"command"`
		Code          int            `json:"code"`
		Message       string         `json:"message"`
		Hint          string         `json:"hint,omitempty"`
	}{ErrorKind, SchemaVersion, e.Tool, e.Command, e.Code, e.Message, e.Hint})
}

// WriteFindingTypesJSON writes what explain tells as a document.
func WriteFindingTypesJSON(w io.Writer, tool inventory.Tool, types []assess.FindingType) error {
	return writeJSON(w, struct {
		Kind          string               `json:"kind"`
		SchemaVersion string               `json:"schema_version"`
		Tool          inventory.Tool       `json:"tool"`
		Findings      []assess.FindingType `json:"findings"`
	}{FindingsKind, SchemaVersion, tool, types})
}

// WriteDocument writes a document of another room as all documents are
// written: indented, without characters that a terminal acts upon.
func WriteDocument(w io.Writer, doc any) error { return writeJSON(w, doc) }
