package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/verify"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// header begins every document of this package. packaging/schema describes each
// kind; a minor version only adds fields.
type header struct {
	Kind          string         `json:"kind"`
	SchemaVersion string         `json:"schema_version"`
	Tool          inventory.Tool `json:"tool"`
}

func newHeader(kind string) header {
	return header{Kind: kind, SchemaVersion: "1.0", Tool: thisTool()}
}

// thisTool is what documents say of the program that wrote them.
func thisTool() inventory.Tool { return inventory.Tool{Name: "almamigrate", Version: Version} }

// writeDocument writes what --json has in place of text.
func writeDocument(w io.Writer, v any) error {
	if err := report.WriteDocument(w, v); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}

// changeRow is one change in the lists of them.
type changeRow struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	State   string    `json:"state"`
	Title   string    `json:"title"`
	Bytes   int64     `json:"bytes"` // all that its folder takes
}

func newChangeRow(c *txn.Change) changeRow {
	return changeRow{c.Plan.ID, c.Plan.Created, string(c.State()), c.Plan.Title, folderSize(c.Dir)}
}

// changesDocument is what "changes list" tells.
type changesDocument struct {
	header
	Changes []changeRow `json:"changes"`
}

func newChangesDocument(rows []changeRow) changesDocument {
	return changesDocument{newHeader("almamigrate.changes"), rows}
}

// changeDocument is what "changes show" tells.
type changeDocument struct {
	header
	ID      string       `json:"id"`
	State   txn.State    `json:"state"`
	Plan    *plan.Plan   `json:"plan"`
	Journal []txn.Record `json:"journal"`
}

func newChangeDocument(c *txn.Change, p *plan.Plan) changeDocument {
	return changeDocument{newHeader("almamigrate.change"), c.Plan.ID, c.State(), p, append([]txn.Record{}, c.Records...)}
}

// prunedDocument is what "changes prune" did.
type prunedDocument struct {
	header
	Removed []changeRow `json:"removed"`
	Kept    []string    `json:"kept"` // go by name only
}

func newPrunedDocument(removed []changeRow, kept []string) prunedDocument {
	return prunedDocument{newHeader("almamigrate.pruned"), removed, kept}
}

// verifyDocument is what verify found.
type verifyDocument struct {
	header
	*verify.Report
}

func newVerifyDocument(r *verify.Report) verifyDocument {
	return verifyDocument{newHeader("almamigrate.verify"), r}
}

// timerDocument is what the commands of timer leave.
type timerDocument struct {
	header
	timerState
}

func newTimerDocument(s timerState) timerDocument {
	return timerDocument{newHeader("almamigrate.timer"), s}
}

// bundleDocument is what support-bundle packed, or would.
type bundleDocument struct {
	header
	File    string        `json:"file"` // empty where none was written
	Files   []bundleEntry `json:"files"`
	LeftOut []string      `json:"left_out"`
}

type bundleEntry struct {
	Name string `json:"name"`
	From string `json:"from"`
	Size int    `json:"size"`
	Cut  bool   `json:"cut"`
}

func newBundleDocument(b *report.Bundle, file string) bundleDocument {
	d := bundleDocument{header: newHeader("almamigrate.support-bundle"), File: file, Files: []bundleEntry{}, LeftOut: append([]string{}, b.Left...)}
	for _, f := range b.Content() {
		d.Files = append(d.Files, bundleEntry{f.Name, f.From, len(f.Data), f.Cut})
	}
	return d
}
