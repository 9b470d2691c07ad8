package step

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// Fetcher brings a package of a repository to a file, its digest checked.
type Fetcher func(ctx context.Context, repo string, p *repodata.Package, dst string) error

// Fetch brings every coming package into the change's folder and verifies it:
// the repository's digest, every digest inside, and the signature of a trusted
// key. Errors wrap ErrUntrusted for what must not be installed.
func (e *Env) Fetch(ctx context.Context, c *txn.Change, p *plan.Plan, fetch Fetcher) error {
	dir := rpmDir(c, "coming")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make a folder for the packages: %w", err)
	}
	picks := p.Picks()
	for i, w := range p.Coming {
		pick, ok := picks[w.NEVRA]
		if !ok {
			return fmt.Errorf("internal error: nobody knows where %s is", w.NEVRA)
		}
		e.say("fetching %s (%d of %d)", w.NEVRA, i+1, len(p.Coming))
		dst := filepath.Join(dir, plan.FileName(pick.Package.NEVRA))
		if err := fetch(ctx, pick.Repo, pick.Package, dst); err != nil {
			return err
		}
		if err := fault.Point("step.fetched." + w.Name); err != nil {
			return err
		}
		if _, err := e.verifyComing(dst, w.NEVRA); err != nil {
			return err
		}
	}
	return nil
}

// verifyComing is the one gate for what will be installed.
func (e *Env) verifyComing(file, nevra string) (Saved, error) {
	s := Saved{NEVRA: nevra, File: filepath.Base(file)}
	fail := func(err error) (Saved, error) {
		return s, fmt.Errorf("cannot accept the package %s: %w", nevra, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	pkg, err := rpmfile.Open(f, st.Size())
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrUntrusted, err))
	}
	res, err := pkg.Verify(e.Ring)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrUntrusted, err))
	}
	if res.Status != rpmsig.Good {
		return fail(fmt.Errorf("%w: its signature is %s (key %s)", ErrUntrusted, res.Status, orUnknown(res.KeyID)))
	}
	if got := pkg.Header().NEVRA().String(); got != nevra {
		return fail(fmt.Errorf("%w: it is %s", ErrUntrusted, got))
	}
	if s.Header, err = headerDigest(pkg.Header()); err != nil {
		return fail(err)
	}
	if s.SHA256, err = fileSHA256(file); err != nil {
		return fail(err)
	}
	s.From = res.KeyID
	return s, nil
}

func orUnknown(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// openPackage opens a package file of the change.
func openPackage(file string) (*rpmfile.File, func(), error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil {
		var p *rpmfile.File
		if p, err = rpmfile.Open(f, st.Size()); err == nil {
			return p, func() { _ = f.Close() }, nil
		}
	}
	_ = f.Close()
	return nil, nil, fmt.Errorf("cannot open %s: %w", file, err)
}

// comingFiles lists the packages of a plan as they lie in the change's folder.
func comingFiles(c *txn.Change, p *plan.Plan) ([]string, error) {
	out := make([]string, len(p.Coming))
	for i, w := range p.Coming {
		n, err := rpmver.ParseNEVRA(w.NEVRA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the plan: %w", err)
		}
		out[i] = filepath.Join(rpmDir(c, "coming"), plan.FileName(n))
	}
	return out, nil
}

// pathsOf adds what a package owns to the paths to save: its files, and where
// it has configuration files, what rpm may put beside them.
func pathsOf(h *rpmhdr.Header, add func(string)) {
	flags := h.Uint32s(rpmhdr.TagFileFlags)
	i := 0
	for f := range h.Files() {
		add(f)
		if i < len(flags) && flags[i]&(rpmConfig) != 0 {
			for _, suffix := range rpmSuffixes {
				add(f + suffix)
			}
		}
		i++
	}
}

// File flags of rpm's header (rpmfileAttrs in rpm's documentation).
const (
	rpmConfig = 1 << 0
	rpmGhost  = 1 << 6
)

// rpmSuffixes are what rpm adds to names of configuration files.
var rpmSuffixes = []string{".rpmnew", ".rpmsave", ".rpmorig"}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func sortedUnique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
