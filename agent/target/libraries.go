package target

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// What a package with libraries may unpack to, in bytes: java's have 300 MB,
// and libLLVM alone 120 MB.
const (
	maxLibraryPayload = 8 << 30
	maxLibraryFile    = 512 << 20
	maxLibraries      = 4096 // of one package
)

// libraryVersion is part of the names of cached facts.
const libraryVersion = "1"

// Libraries fetches and verifies the packages of AlmaLinux that applications of
// the host import from, and reads their libraries' symbols. What was read is
// kept in the cache folder under the package's digest. A package that fails is
// in the result with the reason; nothing of it is used.
func Libraries(ctx context.Context, syncer *reposync.Syncer, synced map[string]*reposync.Synced, pkgs []assess.LibraryPackage, ring *rpmsig.Keyring, cacheDir string) *assess.LibraryFacts {
	facts := &assess.LibraryFacts{}
	dir := filepath.Join(cacheDir, "libraries")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		facts.Failed = append(facts.Failed, inventory.Skipped{What: dir, Reason: "cannot make the cache folder: " + err.Error()})
		return facts
	}
	for _, p := range pkgs {
		one, name, err := libraryPackage(ctx, syncer, synced[p.Repo], p, ring, dir)
		if err != nil {
			facts.Failed = append(facts.Failed, inventory.Skipped{What: name, Reason: err.Error()})
			facts.Forged = facts.Forged || errors.Is(err, errNotGenuine) || errors.Is(err, rpmfile.ErrDigest)
			continue
		}
		facts.Packages = append(facts.Packages, *one)
	}
	return facts
}

func libraryPackage(ctx context.Context, syncer *reposync.Syncer, synced *reposync.Synced, p assess.LibraryPackage, ring *rpmsig.Keyring, dir string) (*assess.PackageLibraries, string, error) {
	pkg, err := p.Index.Package(p.At)
	if err != nil {
		return nil, p.Repo, err
	}
	name := pkg.NEVRA.String()
	if synced == nil || !hexDigest(pkg.Pkgid) {
		return nil, name, fmt.Errorf("cannot fetch %s: its repository %s is not at hand", name, p.Repo)
	}
	cached := filepath.Join(dir, pkg.Pkgid+"-"+libraryVersion+".json.gz")
	if l, err := readFacts[assess.PackageLibraries](cached); err == nil && l.Pkgid == pkg.Pkgid && l.NEVRA == name && trusts(ring, l.Signature) {
		return l, name, nil
	}
	file := filepath.Join(dir, pkg.Pkgid+".rpm")
	if err := syncer.FetchPackage(ctx, synced, pkg, file); err != nil {
		return nil, name, fmt.Errorf("cannot fetch %s: %w", name, err)
	}
	defer os.Remove(file)
	l, err := ReadLibraries(file, pkg, ring)
	if err != nil {
		return nil, name, err
	}
	if err := writeFacts(cached, l); err != nil {
		return nil, name, fmt.Errorf("cannot keep what was read of %s: %w", name, err)
	}
	return l, name, nil
}

// ReadLibraries verifies a package's file and reads the symbols that its shared
// libraries export. It refuses what ReadKernelPackage refuses.
func ReadLibraries(file string, pkg *repodata.Package, ring *rpmsig.Keyring) (*assess.PackageLibraries, error) {
	f, rpm, key, err := openVerified(file, pkg, ring)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &assess.PackageLibraries{NEVRA: pkg.NEVRA.String(), Pkgid: pkg.Pkgid, Signature: "good " + key, Libraries: []assess.LibraryContent{}}
	for e, err := range rpm.Payload(maxLibraryPayload) {
		if err != nil {
			return nil, err
		}
		// Whatever is called libfoo.so.1.2, libfoo-1.2.so or ld-linux.so.2.
		if e.Mode&0o170000 != 0o100000 || !strings.Contains(path.Base(e.Name), ".so") {
			continue
		}
		if e.Size > maxLibraryFile {
			return nil, fmt.Errorf("cannot read %s: %s has %d bytes: %w", out.NEVRA, e.Name, e.Size, rpmfile.ErrTooLarge)
		}
		data, err := io.ReadAll(e)
		if err != nil {
			return nil, err
		}
		lib, err := elfdyn.Read(e.Name, bytes.NewReader(data), int64(len(data)), elfdyn.Options{Symbols: true})
		if errors.Is(err, elfdyn.ErrNotELF) {
			continue // a linker script, a checksum
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", out.NEVRA, err)
		}
		if lib.Type != elfdyn.Dyn || !lib.Dynamic {
			continue
		}
		if len(out.Libraries) == maxLibraries {
			return nil, fmt.Errorf("cannot read %s: %w: more than %d libraries", out.NEVRA, rpmfile.ErrTooLarge, maxLibraries)
		}
		c := assess.LibraryContent{Soname: lib.Soname, Path: "/" + strings.TrimLeft(e.Name, "./"), Class: int(lib.Class), Arch: lib.Arch(), Symbols: lib.Exports}
		if c.Soname == "" {
			c.Soname = path.Base(e.Name)
		}
		for _, d := range lib.Defs {
			if !d.Base {
				c.Versions = append(c.Versions, d.Name)
			}
		}
		slices.SortStableFunc(c.Symbols, func(a, b elfdyn.Symbol) int { return cmp.Compare(a.Name, b.Name) })
		out.Libraries = append(out.Libraries, c)
	}
	return out, nil
}
