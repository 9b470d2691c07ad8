package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// ReportKind is the kind of the documents that report writes.
const ReportKind = "almamigrate.report"

// maxDocument is how large a document of a host may be, in bytes.
const maxDocument = 128 << 20

// ErrDocument means that a file is not a check or report of ours.
var ErrDocument = errors.New("not a check or report")

// Report is the document of one run of report: a check, what changed since the
// report before it, and what became of its delivery.
// packaging/schema/report-1.0.json describes its JSON form.
type Report struct {
	Check
	Failure  *Failure   `json:"failure,omitempty"`  // why there is no check; its fields are then empty and the verdict unknown
	Changes  *Changes   `json:"changes"`            // null: there was no report before
	Delivery []Delivery `json:"delivery"`           // sorted by endpoint
	Problems []string   `json:"problems,omitempty"` // what the run could not write, e.g. the textfile; only in the copy on the host
}

// Failure is why a run came to no check.
type Failure struct {
	Code    int    `json:"code"` // the exit code
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// NewReport makes the document of a check. A check that failed is given as nil
// with its failure.
func NewReport(c *Check, failure *Failure) *Report {
	r := &Report{Failure: failure, Delivery: []Delivery{}}
	if c != nil {
		r.Check = *c
		if r.Modules == nil {
			r.Modules = []assess.ModuleResult{}
		}
	} else {
		r.Check = Check{
			SchemaVersion: SchemaVersion, Verdict: assess.Unknown, Findings: []assess.Finding{}, Packages: []assess.PackageResult{},
			Incoming: []assess.Incoming{}, Modules: []assess.ModuleResult{}, Repos: []assess.RepoResult{}, Skipped: []inventory.Skipped{},
			Host:    inventory.Host{OSRelease: map[string]string{}, State: inventory.StateUnknown},
			Summary: assess.Summary{Packages: map[assess.PackageVerdict]int{}, Findings: map[assess.Severity]int{}},
		}
	}
	r.Kind = ReportKind
	return r
}

// WriteJSON writes the document. The same content gives the same bytes.
func (r *Report) WriteJSON(w io.Writer) error {
	d := *r
	d.Started, d.Finished = stamp(r.Started), stamp(r.Finished)
	return writeJSON(w, &d)
}

// Headline is the run in a line: the verdict and what it rests on.
func (r *Report) Headline() string {
	n := r.Summary.Findings
	judged := " judged"
	if r.Verdict == assess.Unknown {
		judged = ", not judged" // counts from half of the repositories would read like a result
	}
	return fmt.Sprintf("%s: %s, %s, %s, %s%s", r.Summary.Target, r.Verdict,
		counted(n[assess.Blocker], "blocker"), counted(n[assess.Warning], "warning"), counted(r.Summary.Total, "package"), judged)
}

// Encode returns the document as WriteJSON writes it.
func (r *Report) Encode() ([]byte, error) {
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ReadReport reads a document of report or check; of a check, what only a
// report has is empty. What is neither wraps ErrDocument.
func ReadReport(r io.Reader) (*Report, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("larger than %d MiB: %w", maxDocument>>20, ErrDocument)
	}
	d := &Report{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrDocument)
	}
	if d.Kind != ReportKind && d.Kind != CheckKind {
		return nil, fmt.Errorf("kind is %q: %w", d.Kind, ErrDocument)
	}
	var major int
	if _, err := fmt.Sscanf(d.SchemaVersion, "%d.", &major); err != nil || major != 1 {
		return nil, fmt.Errorf("schema version %q is not 1.x; is there a newer almamigrate?: %w", d.SchemaVersion, ErrDocument)
	}
	return d, nil
}

// ReadReportFile reads a document from a file.
func ReadReportFile(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the report: %w", err)
	}
	defer f.Close()
	d, err := ReadReport(f)
	if err != nil {
		return nil, fmt.Errorf("cannot read the report %s: %w", name, err)
	}
	return d, nil
}

// Blockers returns the findings that stand in the way.
func (c *Check) Blockers() []assess.Finding {
	var out []assess.Finding
	for _, f := range c.Findings {
		if f.Severity == assess.Blocker {
			out = append(out, f)
		}
	}
	return out
}

// Moves returns the packages that the move changes, of one verdict.
func (c *Check) Moves(v assess.PackageVerdict) []assess.PackageResult {
	var out []assess.PackageResult
	for _, p := range c.Packages {
		if p.Verdict == v {
			out = append(out, p)
		}
	}
	return out
}

// Duration is how long the check took.
func (c *Check) Duration() time.Duration { return max(c.Finished.Sub(c.Started), 0) }
