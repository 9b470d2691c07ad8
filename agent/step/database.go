package step

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// Database is what the rpm database says, read afresh.
type Database struct {
	Packages map[string][]*rpmhdr.Header // by NEVRA; two of the same are what a killed transaction may leave
	Rows     map[*rpmhdr.Header]uint32   // the number of each in the database
	Keys     map[string]bool             // "version-release" of the gpg-pubkey entries
}

// ReadDatabase reads all of it.
func ReadDatabase() (*Database, error) {
	db, err := rpmdb.Open(root)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	d := &Database{Packages: map[string][]*rpmhdr.Header{}, Rows: map[*rpmhdr.Header]uint32{}, Keys: map[string]bool{}}
	for row, err := range db.Rows() {
		if err != nil {
			return nil, err
		}
		n := row.Header.NEVRA()
		if n.Name == "gpg-pubkey" {
			d.Keys[n.EVR.Version+"-"+n.EVR.Release] = true
			continue
		}
		d.Rows[row.Header] = row.Num
		d.Packages[n.String()] = append(d.Packages[n.String()], row.Header)
	}
	return d, nil
}

// InstalledScriptlets returns what tells the scriptlets of an installed
// package, for the plan.
func InstalledScriptlets() (func(nevra string) (plan.Scriptlets, bool), error) {
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	return func(nevra string) (plan.Scriptlets, bool) {
		hs := db.Packages[nevra]
		if len(hs) == 0 {
			return plan.Scriptlets{}, false
		}
		return plan.Scriptlets{
			Before: hs[0].String(rpmhdr.TagPreUn), After: hs[0].String(rpmhdr.TagPostUn),
		}, true
	}, nil
}

// Has tells whether a package is installed.
func (d *Database) Has(nevra string) bool { return len(d.Packages[nevra]) > 0 }

// headerDigest identifies a package for good: two builds of one NEVRA differ.
func headerDigest(h *rpmhdr.Header) (string, error) {
	sum := sha256.New()
	if _, err := h.WriteImmutable(sum); err != nil {
		return "", fmt.Errorf("cannot read the header of %s: %w", h.NEVRA(), err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// differ compares the database with what it is meant to be: all of present
// once and as saved, nothing of absent.
func (d *Database) differ(present []Saved, absent []Saved) error {
	var wrong []string
	want := map[string]bool{}
	for _, s := range present {
		want[s.NEVRA] = true
		switch hs := d.Packages[s.NEVRA]; len(hs) {
		case 0:
			wrong = append(wrong, s.NEVRA+" is not installed")
		case 1:
			if sum, err := headerDigest(hs[0]); err != nil || sum != s.Header {
				wrong = append(wrong, s.NEVRA+" is another build than the one meant")
			}
		default:
			wrong = append(wrong, fmt.Sprintf("%s is installed %d times", s.NEVRA, len(hs)))
		}
	}
	for _, s := range absent {
		if d.Has(s.NEVRA) && !want[s.NEVRA] {
			wrong = append(wrong, s.NEVRA+" is still installed")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	more := ""
	if len(wrong) > 8 {
		more, wrong = fmt.Sprintf(" and %d more", len(wrong)-8), wrong[:8]
	}
	return fmt.Errorf("%w: %s%s", ErrMismatch, join(wrong), more)
}

func join(s []string) string {
	out := ""
	for i, x := range s {
		if i > 0 {
			out += "; "
		}
		out += x
	}
	return out
}
