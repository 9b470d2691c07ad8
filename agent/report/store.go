package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// Latest is the file beside the reports that always holds the newest one.
const Latest = "latest.json"

// ErrNoReport means that there is no report yet.
var ErrNoReport = errors.New("no report yet")

// storeName is TIME.json, in UTC, with -2, -3 for more in the same second.
var storeName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z(-[0-9]+)?\.json$`)

// Store is a folder of reports.
type Store struct{ Dir string }

// Names lists the reports, oldest first.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the reports: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && storeName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	// "." sorts after "-", so T.json would follow T-2.json
	slices.SortFunc(names, func(a, b string) int {
		if a[:16] != b[:16] {
			return compareStrings(a[:16], b[:16])
		}
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return compareStrings(a, b)
	})
	return names, nil
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Add writes a report and makes it the latest. It returns the file's path.
func (s Store) Add(r *Report) (string, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the folder of the reports: %w", err)
	}
	base := r.Finished.UTC().Format("20060102T150405Z")
	path := filepath.Join(s.Dir, base+".json")
	for i := 2; ; i++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		path = filepath.Join(s.Dir, fmt.Sprintf("%s-%d.json", base, i))
	}
	return path, s.Replace(path, r)
}

// Replace writes a report anew, to the path that Add gave, and to the latest.
func (s Store) Replace(path string, r *Report) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	for _, p := range []string{path, filepath.Join(s.Dir, Latest)} {
		if err := atomicfile.Write(p, data, 0o600); err != nil {
			return fmt.Errorf("cannot write the report: %w", err)
		}
	}
	return nil
}

// Prune removes the oldest reports until keep are left.
func (s Store) Prune(keep int) error {
	names, err := s.Names()
	if err != nil {
		return err
	}
	for len(names) > keep {
		if err := os.Remove(filepath.Join(s.Dir, names[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove an old report: %w", err)
		}
		names = names[1:]
	}
	return nil
}

// Latest reads the newest report, or returns ErrNoReport.
func (s Store) Latest() (*Report, error) {
	r, err := ReadReportFile(filepath.Join(s.Dir, Latest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot find a report in %s: %w", s.Dir, ErrNoReport)
	}
	return r, err
}

// LastCheck reads the newest report that is one of a check that came to an
// end; damaged files are passed over.
func (s Store) LastCheck() (*Report, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(names) {
		if r, err := ReadReportFile(filepath.Join(s.Dir, n)); err == nil && r.Failure == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("cannot find a report of a check in %s: %w", s.Dir, ErrNoReport)
}

// Point is one earlier report, as the timeline shows it.
type Point struct {
	Finished time.Time      `json:"finished"`
	Verdict  assess.Verdict `json:"verdict"`
	Blockers int            `json:"blockers"`
	Warnings int            `json:"warnings"`
	Failed   bool           `json:"failed"`
}

// Timeline reads the last n reports, oldest first. Damaged files are passed
// over.
func (s Store) Timeline(n int) ([]Point, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	var out []Point
	for _, name := range names[max(0, len(names)-n):] {
		data, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			continue
		}
		var d struct {
			Finished time.Time      `json:"finished"`
			Verdict  assess.Verdict `json:"verdict"`
			Summary  assess.Summary `json:"summary"`
			Failure  *Failure       `json:"failure"`
		}
		if json.Unmarshal(data, &d) != nil || d.Verdict == "" {
			continue
		}
		out = append(out, Point{d.Finished, d.Verdict, d.Summary.Findings[assess.Blocker], d.Summary.Findings[assess.Warning], d.Failure != nil})
	}
	return out, nil
}
