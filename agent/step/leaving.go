package step

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// packageCaches are where package managers keep what they downloaded.
var packageCaches = []string{"/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache/PackageKit"}

// saveLeaving puts a package file for every leaving package into the change's
// folder: the very one that was installed, where a cache still has it, else
// one that is rebuilt from the rpm database and the files on disk. What was
// edited there is not in it: the files are saved by themselves.
func (e *Env) saveLeaving(ctx context.Context, c *txn.Change, p *plan.Plan, db *Database) ([]Saved, error) {
	dir := rpmDir(c, "leaving")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a folder for the packages: %w", err)
	}
	r, err := rootfs.Open(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cached := findCached(p)
	packer := repack.NewHostCompressor(root)
	out := make([]Saved, 0, len(p.Leaving))
	for _, l := range p.Leaving {
		hs := db.Packages[l.NEVRA]
		if len(hs) != 1 {
			return nil, fmt.Errorf("cannot save %s: it is installed %d times", l.NEVRA, len(hs))
		}
		h := hs[0]
		s := Saved{NEVRA: l.NEVRA, File: plan.FileName(h.NEVRA())}
		if s.Header, err = headerDigest(h); err != nil {
			return nil, err
		}
		dst := filepath.Join(dir, s.File)
		s.From = "package cache"
		rebuilt := ""
		if !copyIfSame(cached[l.NEVRA], dst, s.Header) {
			s.From = "rpm database"
			rep, err := rebuild(ctx, r, h, dst, packer)
			if err != nil {
				return nil, err
			}
			s.Exact, s.Options, s.Placeholders, rebuilt = rep.Exact, rep.InstallOptions(), rep.Files, rep.SHA256
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
		if rebuilt != "" && s.SHA256 != rebuilt {
			return nil, fmt.Errorf("cannot save %s: %w: %s is not what was written", l.NEVRA, ErrTampered, dst)
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

// rebuild writes a package file of an installed package, where it can as it
// came from its distribution, to the last bit.
func rebuild(ctx context.Context, r *rootfs.Root, h *rpmhdr.Header, dst string, packer repack.Compressor) (repack.Report, error) {
	fail := func(err error) (repack.Report, error) {
		return repack.Report{}, fmt.Errorf("cannot save %s: %w", h.NEVRA(), err)
	}
	f, err := atomicfile.Create(dst, 0o600)
	if err != nil {
		return fail(err)
	}
	defer f.Cancel()
	rep, err := repack.Write(ctx, f, r, h, repack.Options{Compressor: packer, Placeholders: true})
	if err != nil {
		return fail(err)
	}
	if err := f.Commit(); err != nil {
		return fail(err)
	}
	return rep, nil
}
