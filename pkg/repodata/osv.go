package repodata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// maxOSV is the largest record that is read, in bytes: AlmaLinux's have up to
// half a megabyte.
const maxOSV = 16 << 20

// osvRecord is what of the Open Source Vulnerability format, version 1
// (https://ossf.github.io/osv-schema/), AlmaLinux's records fill.
type osvRecord struct {
	ID        string        `json:"id"`
	Summary   string        `json:"summary"`
	Published time.Time     `json:"published"`
	Withdrawn *time.Time    `json:"withdrawn"`
	Related   []string      `json:"related"`
	Aliases   []string      `json:"aliases"`
	Upstream  []string      `json:"upstream"`
	Affected  []osvAffected `json:"affected"`
}

type osvAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges []struct {
		Type   string `json:"type"`
		Events []struct {
			Fixed string `json:"fixed"`
		} `json:"events"`
	} `json:"ranges"`
}

// inTitle finds the module stream in a title, e.g. in "Important: nodejs:12
// security update"
// or "Moderate: httpd:2.4/httpd security update".
var inTitle = regexp.MustCompile(`(?:^|\s)([A-Za-z0-9._+-]*[A-Za-z][A-Za-z0-9._+-]*):([A-Za-z0-9][A-Za-z0-9._+-]*)(?:[\s,/]|$)`)

// ParseOSV reads OSV records, one, several behind each other, or a list, and
// calls fn for those of an ecosystem, e.g. "AlmaLinux:8". fn's error ends the
// reading. A record that was withdrawn is passed over. An error that wraps
// ErrMalformed or ErrTooLarge says which record is wrong.
//
// The records name neither architectures nor module streams. The stream is
// taken from the title where it has one; a modular package without it has
// Stream "?".
func ParseOSV(r io.Reader, ecosystem string, fn func(*Advisory) error) error {
	in := &osvReader{LimitedReader: io.LimitedReader{R: r, N: maxOSV}}
	d := json.NewDecoder(in)
	one := func() error {
		in.N = maxOSV
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return osvError(in, d, err)
		}
		var rec osvRecord
		if err := json.Unmarshal(raw, &rec); err != nil {
			return osvError(in, d, err)
		}
		a, err := rec.advisory(ecosystem)
		if err != nil || a == nil {
			return err
		}
		return fn(a)
	}
	count := 0
	for {
		// A list is read element by element.
		if b, err := peekByte(d, in); err == io.EOF {
			if count == 0 {
				return fmt.Errorf("cannot read OSV records: %w: there is none", ErrMalformed)
			}
			return nil
		} else if err != nil {
			return osvError(in, d, err)
		} else if b == '[' {
			if _, err := d.Token(); err != nil {
				return osvError(in, d, err)
			}
			for d.More() {
				if count++; count > maxAdvisories {
					return fmt.Errorf("cannot read OSV records: %w: more than %d", ErrTooLarge, maxAdvisories)
				}
				if err := one(); err != nil {
					return err
				}
			}
			if _, err := d.Token(); err != nil {
				return osvError(in, d, err)
			}
			continue
		}
		if count++; count > maxAdvisories {
			return fmt.Errorf("cannot read OSV records: %w: more than %d", ErrTooLarge, maxAdvisories)
		}
		if err := one(); err != nil {
			return err
		}
	}
}

// osvReader keeps the error that ended the reading.
type osvReader struct {
	io.LimitedReader
	err error
}

func (r *osvReader) Read(p []byte) (int, error) {
	n, err := r.LimitedReader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// peekByte returns the first byte of the decoder's next value.
func peekByte(d *json.Decoder, in *osvReader) (byte, error) {
	in.N = maxOSV
	if !d.More() { // at the end, or at a stray ] or }
		rest, err := io.ReadAll(io.LimitReader(d.Buffered(), 1<<10))
		if err != nil {
			return 0, err
		}
		if len(bytes.TrimSpace(rest)) > 0 {
			return 0, fmt.Errorf("unexpected %.20q", bytes.TrimSpace(rest))
		}
		// More takes an error of the reader, a damaged archive's, for the end.
		if in.err != nil {
			return 0, in.err
		}
		if in.N <= 0 {
			return 0, io.ErrUnexpectedEOF // nothing but white space up to the limit
		}
		return 0, io.EOF
	}
	buf := make([]byte, 1)
	for b := d.Buffered(); ; {
		if _, err := b.Read(buf); err != nil {
			return '{', nil //nolint:nilerr // nothing is buffered beyond white space: Decode reads on and says what is wrong
		}
		if !bytes.ContainsAny(buf, " \t\r\n") {
			return buf[0], nil
		}
	}
}

func osvError(in *osvReader, d *json.Decoder, err error) error {
	if in.N <= 0 {
		return fmt.Errorf("cannot read OSV records: %w: one before byte %d is larger than %d MiB", ErrTooLarge, d.InputOffset(), maxOSV>>20)
	}
	return fmt.Errorf("cannot read OSV records: %w: before byte %d: %w", ErrMalformed, d.InputOffset(), err)
}

// osvTypes are the kinds of AlmaLinux's advisories by their ids.
var osvTypes = map[string]AdvisoryType{"ALSA": AdvisorySecurity, "ALBA": AdvisoryBugfix, "ALEA": AdvisoryEnhancement}

func (rec *osvRecord) advisory(ecosystem string) (*Advisory, error) {
	if rec.ID == "" {
		return nil, fmt.Errorf("cannot read OSV records: %w: one has no id", ErrMalformed)
	}
	if rec.Withdrawn != nil {
		return nil, nil
	}
	kind, _, _ := strings.Cut(rec.ID, "-")
	a := &Advisory{ID: rec.ID, Type: osvTypes[kind], Title: rec.Summary, Issued: rec.Published.UTC()}
	if s, _, ok := strings.Cut(rec.Summary, ": "); ok && a.Type == AdvisorySecurity {
		switch s {
		case "Critical", "Important", "Moderate", "Low":
			a.Severity = s
		}
	}
	seen := map[string]bool{}
	for _, ids := range [][]string{rec.Related, rec.Aliases, rec.Upstream} {
		for _, id := range ids {
			if strings.HasPrefix(id, "CVE-") && !seen[id] {
				seen[id] = true
				a.CVEs = append(a.CVEs, id)
			}
		}
	}
	var module, stream string
	if m := inTitle.FindStringSubmatch(rec.Summary); m != nil {
		module, stream = m[1], m[2]
	}
	for _, af := range rec.Affected {
		if af.Package.Ecosystem != ecosystem {
			continue
		}
		for _, r := range af.Ranges {
			for _, ev := range r.Events {
				if ev.Fixed == "" {
					continue
				}
				evr, err := rpmver.ParseEVR(ev.Fixed)
				if err != nil || af.Package.Name == "" {
					return nil, fmt.Errorf("cannot read OSV records: %w: %.100q: package %.200q fixed in %.200q", ErrMalformed, rec.ID, af.Package.Name, ev.Fixed)
				}
				p := AdvisoryPackage{Name: af.Package.Name, EVR: evr}
				if strings.Contains(evr.Release, ".module") {
					if p.Module, p.Stream = module, stream; module == "" {
						p.Stream = "?"
					}
				}
				a.Packages = append(a.Packages, p)
			}
		}
	}
	if len(a.Packages) == 0 {
		return nil, nil // of another major
	}
	return a, nil
}
