package step

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// packageCaches are where package managers keep what they downloaded.
var packageCaches = []string{"/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/PackageKit"}

// saveLeaving puts a package file for every leaving package into the change's
// folder: the very one that was installed, where a cache still has it, else
// one that is made of the header in the rpm database.
func (e *Env) saveLeaving(c *txn.Change, p *plan.Plan, db *Database) ([]Saved, error) {
	dir := rpmDir(c, "leaving")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a folder for the packages: %w", err)
	}
	cached := findCached(p)
	out := make([]Saved, 0, len(p.Leaving))
	for _, l := range p.Leaving {
		hs := db.Packages[l.NEVRA]
		if len(hs) != 1 {
			return nil, fmt.Errorf("cannot save %s: it is installed %d times", l.NEVRA, len(hs))
		}
		h := hs[0]
		s := Saved{NEVRA: l.NEVRA, File: plan.FileName(h.NEVRA())}
		var err error
		if s.Header, err = headerDigest(h); err != nil {
			return nil, err
		}
		dst := filepath.Join(dir, s.File)
		s.From = "package cache"
		if !copyIfSame(cached[l.NEVRA], dst, s.Header) {
			s.From = "rpm database"
			data, err := headerPackage(h)
			if err != nil {
				return nil, err
			}
			if err := atomicfile.Write(dst, data, 0o600); err != nil {
				return nil, fmt.Errorf("cannot save %s: %w", l.NEVRA, err)
			}
		}
		// What was written must be readable as what it is meant to be.
		f, done, err := openPackage(dst)
		if err != nil {
			return nil, err
		}
		sum, err := headerDigest(f.Header())
		done()
		if err != nil || sum != s.Header {
			return nil, fmt.Errorf("cannot save %s: %w: %s", l.NEVRA, ErrTampered, dst)
		}
		if s.SHA256, err = fileSHA256(dst); err != nil {
			return nil, fmt.Errorf("cannot save %s: %w", l.NEVRA, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// findCached looks for the leaving packages in the caches, by file name.
func findCached(p *plan.Plan) map[string][]string {
	want := map[string]string{}
	for _, l := range p.Leaving {
		base := l.NEVRA
		if i := strings.LastIndex(base, ":"); i >= 0 { // caches leave the epoch out
			start := strings.LastIndex(base[:i], "-") + 1
			base = base[:start] + base[i+1:]
		}
		want[base+".rpm"] = l.NEVRA
	}
	out := map[string][]string{}
	for _, dir := range packageCaches {
		// A cache that cannot be read has nothing for us.
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if n, ok := want[d.Name()]; ok {
					out[n] = append(out[n], path)
				}
			}
			return nil
		})
	}
	return out
}

// copyIfSame copies the first of the files whose header is the installed one.
func copyIfSame(files []string, dst, header string) bool {
	for _, name := range files {
		f, done, err := openPackage(name)
		if err != nil {
			continue
		}
		sum, err := headerDigest(f.Header())
		if err == nil && sum == header {
			_, err = f.Verify(nil)
			if err == nil {
				data, rerr := os.ReadFile(name)
				err = rerr
				if err == nil {
					err = atomicfile.Write(dst, data, 0o600)
				}
			}
			done()
			if err == nil {
				return true
			}
			continue
		}
		done()
	}
	return false
}

// headerPackage makes a package file without a payload of an installed
// package's header. It serves transactions that touch the database only: the
// files come back from where they were saved. Format: LSB Core, "Package File
// Format".
func headerPackage(h *rpmhdr.Header) ([]byte, error) {
	im, err := h.Immutable()
	if err != nil {
		return nil, fmt.Errorf("cannot save %s: %w", h.NEVRA(), err)
	}
	var b bytes.Buffer
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0, 1})
	copy(lead[10:75], h.NEVRA().String())
	lead[77], lead[79] = 1, 5 // Linux; the signature is a header
	b.Write(lead)
	// The signature header: its region (tag 62) and the size of what follows (tag 1000).
	be := binary.BigEndian
	word := func(v ...uint32) {
		for _, x := range v {
			_ = binary.Write(&b, be, x)
		}
	}
	b.Write([]byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0})
	word(2, 20)                 // entries, bytes of data
	word(62, 7, 4, 16)          // the region's trailer is at offset 4
	word(1000, 4, 0, 1)         // SIZE, INT32
	word(uint32(len(im)))       // its value
	word(62, 7, 0xffffffe0, 16) // the trailer: minus two entries of 16 bytes
	for b.Len()%8 != 0 {
		b.WriteByte(0)
	}
	b.Write(im)
	return b.Bytes(), nil
}
