package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// FactDir is where Ansible's setup module looks for local facts. The fact is a
// plain file: an executable one would run at every gathering of facts.
const FactDir = "/etc/ansible/facts.d"

// FactName is the file in it; Ansible makes ansible_local.almamigrate of it.
const FactName = "almamigrate.fact"

// Fact is what playbooks decide upon.
type Fact struct {
	Version      string                        `json:"version"`
	RunID        string                        `json:"run_id"`
	Finished     time.Time                     `json:"finished"`
	Success      bool                          `json:"success"` // the run came to a verdict
	Error        string                        `json:"error,omitempty"`
	Verdict      assess.Verdict                `json:"verdict"`
	Ready        bool                          `json:"ready"` // no blockers; warnings are allowed
	Target       string                        `json:"target"`
	Findings     map[assess.Severity]int       `json:"findings"`
	Packages     map[assess.PackageVerdict]int `json:"packages"`
	Blockers     []string                      `json:"blockers"` // ids
	NewBlockers  int                           `json:"new_blockers"`
	GoneBlockers int                           `json:"gone_blockers"`
	Waiting      map[string]int                `json:"waiting"` // by endpoint: reports that were not taken yet
	Report       string                        `json:"report"`  // path of the whole report
}

// NewFact makes the fact of a report that lies at path.
func NewFact(r *Report, path string) Fact {
	f := Fact{
		Version: r.Tool.Version, RunID: r.RunID, Finished: stamp(r.Finished), Success: r.Failure == nil && r.Verdict != assess.Unknown,
		Verdict: r.Verdict, Ready: r.Verdict == assess.Ready || r.Verdict == assess.ReadyWithWarnings, Target: r.Summary.Target,
		Findings: r.Summary.Findings, Packages: r.Summary.Packages, Blockers: []string{}, Waiting: map[string]int{}, Report: path,
	}
	if r.Failure != nil {
		f.Error = r.Failure.Message
	}
	for _, b := range r.Blockers() {
		f.Blockers = append(f.Blockers, b.ID)
	}
	f.NewBlockers, f.GoneBlockers = r.Changes.Blockers()
	for _, d := range r.Delivery {
		f.Waiting[d.Endpoint] = d.Waiting
	}
	return f
}

// WriteFact writes the fact to a folder; where there is no such folder, nobody
// asked for it.
func WriteFact(dir string, f Fact) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var b bytes.Buffer
	if err := writeJSON(&b, f); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, FactName), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("cannot write Ansible's fact: %w", err)
	}
	return nil
}
