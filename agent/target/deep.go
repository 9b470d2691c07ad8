package target

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// What a kernel package may unpack to, in bytes: kernel-modules of EL9 has
// 100 MB, debug kernels ten times that.
const (
	maxKernelPayload = 8 << 30
	maxKernelFile    = 256 << 20
	maxKernelFacts   = 256 << 20
)

// factsVersion is part of the names of cached facts: other facts, other names.
const factsVersion = "1"

// errNotGenuine marks a package that no trusted key signed.
var errNotGenuine = errors.New("not signed by a trusted key")

// Deep fetches and verifies the packages of the kernel that AlmaLinux would
// boot, and reads out of them what a verdict on modules needs. What was read is
// kept in the cache folder under the package's digest, so that it is fetched
// once. Failure is part of the result; nothing of a package is used that is not
// signed by a key of the ring.
func Deep(ctx context.Context, syncer *reposync.Syncer, synced map[string]*reposync.Synced, pkgs []assess.KernelPackage, ring *rpmsig.Keyring, cacheDir string) *assess.DeepFacts {
	d := &assess.DeepFacts{}
	dir := filepath.Join(cacheDir, "kernel")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.Err = fmt.Errorf("cannot make the cache folder: %w", err)
		return d
	}
	for _, p := range pkgs {
		facts, err := deepPackage(ctx, syncer, synced[p.Repo], p, ring, dir)
		if err != nil {
			d.Packages, d.Err = nil, err
			d.Forged = errors.Is(err, errNotGenuine) || errors.Is(err, rpmfile.ErrDigest)
			return d
		}
		d.Packages = append(d.Packages, *facts)
	}
	return d
}

func deepPackage(ctx context.Context, syncer *reposync.Syncer, synced *reposync.Synced, p assess.KernelPackage, ring *rpmsig.Keyring, dir string) (*assess.PackageFacts, error) {
	pkg, err := p.Index.Package(p.At)
	if err != nil {
		return nil, err
	}
	name := pkg.NEVRA.String()
	if synced == nil || !hexDigest(pkg.Pkgid) {
		return nil, fmt.Errorf("cannot fetch %s: its repository %s is not at hand", name, p.Repo)
	}
	cached := filepath.Join(dir, pkg.Pkgid+"-"+factsVersion+".json.gz")
	if facts, err := readFacts[assess.PackageFacts](cached); err == nil && facts.Pkgid == pkg.Pkgid && facts.NEVRA == name && trusts(ring, facts.Signature) {
		return facts, nil
	}
	file := filepath.Join(dir, pkg.Pkgid+".rpm")
	if err := syncer.FetchPackage(ctx, synced, pkg, file); err != nil {
		return nil, fmt.Errorf("cannot fetch %s: %w", name, err)
	}
	// What is wanted of it is in the facts; the file is large.
	defer os.Remove(file)
	facts, err := ReadKernelPackage(file, pkg, ring)
	if err != nil {
		return nil, err
	}
	if err := writeFacts(cached, facts); err != nil {
		return nil, fmt.Errorf("cannot keep what was read of %s: %w", name, err)
	}
	return facts, nil
}

func hexDigest(s string) bool {
	return len(s) >= 32 && len(s) <= 128 && strings.Trim(s, "0123456789abcdef") == ""
}

// trusts tells whether the key of a verified package is still trusted.
func trusts(ring *rpmsig.Keyring, signature string) bool {
	id, ok := strings.CutPrefix(signature, "good ")
	return ok && len(ring.ByKeyID(id)) > 0
}

func readFacts[T any](name string) (*T, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxKernelFacts))
	if err != nil {
		return nil, err
	}
	facts := new(T)
	return facts, json.Unmarshal(data, facts)
}

func writeFacts(name string, facts any) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(facts); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return atomicfile.Write(name, b.Bytes(), 0o644)
}

// ReadKernelPackage verifies a kernel package's file and reads its facts. It
// refuses one that is damaged, not signed by a key of the ring, or not the
// package that the metadata names.
func ReadKernelPackage(file string, pkg *repodata.Package, ring *rpmsig.Keyring) (*assess.PackageFacts, error) {
	f, rpm, key, err := openVerified(file, pkg, ring)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := pkg.NEVRA.String()
	facts := &assess.PackageFacts{NEVRA: name, Pkgid: pkg.Pkgid, Signature: "good " + key, Modules: map[string]string{}}
	if err := readPayload(rpm, facts); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return facts, nil
}

// openVerified opens a package's file. It refuses one that is damaged, not
// signed by a key of the ring, or not the package that the metadata names.
func openVerified(file string, pkg *repodata.Package, ring *rpmsig.Keyring) (f *os.File, rpm *rpmfile.File, key string, err error) {
	if f, err = os.Open(file); err != nil {
		return nil, nil, "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, "", err
	}
	name := pkg.NEVRA.String()
	if rpm, err = rpmfile.Open(f, info.Size()); err != nil {
		return nil, nil, "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	res, err := rpm.Verify(ring)
	if err != nil {
		return nil, nil, "", fmt.Errorf("cannot verify %s: %w", name, err)
	}
	if res.Status != rpmsig.Good {
		return nil, nil, "", fmt.Errorf("%s: signature %s %s: %w", name, res.Status, res.KeyID, errNotGenuine)
	}
	if have := rpm.Header().NEVRA(); have != pkg.NEVRA {
		return nil, nil, "", fmt.Errorf("the file of %s holds %s: %w", name, have, errNotGenuine)
	}
	return f, rpm, res.KeyID, nil
}

// kernelReader reads one payload. Modules are unpacked and parsed aside.
type kernelReader struct {
	facts   *assess.PackageFacts
	mu      sync.Mutex
	signers map[string]bool
	err     error
}

func readPayload(rpm *rpmfile.File, facts *assess.PackageFacts) error {
	if rpm.Header().String(rpmhdr.TagName) == "" {
		return errors.New("it has no name")
	}
	r := &kernelReader{facts: facts, signers: map[string]bool{}}
	type job struct {
		name, path string
		data       []byte
	}
	jobs := make(chan job, 4)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)-1) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range jobs {
				r.module(j.name, j.path, j.data)
			}
		}()
	}
	err := func() error {
		for e, err := range rpm.Payload(maxKernelPayload) {
			if err != nil {
				return err
			}
			release, rest, ok := inTree(e.Name)
			if !ok || e.Mode&0o170000 != 0o100000 {
				continue
			}
			name, isModule := kmod.NameOfFile(path.Base(rest))
			if !isModule && !wanted(rest) {
				continue
			}
			if e.Size > maxKernelFile {
				return fmt.Errorf("%s has %d bytes: %w", e.Name, e.Size, rpmfile.ErrTooLarge)
			}
			data, err := io.ReadAll(e)
			if err != nil {
				return err
			}
			if facts.Release == "" {
				facts.Release = release
			}
			if isModule {
				jobs <- job{name, rest, data}
				continue
			}
			if err := r.file(rest, data); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
		return nil
	}()
	close(jobs)
	wg.Wait()
	if err == nil {
		err = r.err
	}
	if err != nil {
		return err
	}
	facts.Signers = slices.Sorted(maps.Keys(r.signers))
	slices.SortFunc(facts.Aliases, func(a, b kmod.Alias) int {
		return strings.Compare(a.Module+"\x00"+a.Pattern, b.Module+"\x00"+b.Pattern)
	})
	facts.Aliases = slices.Compact(facts.Aliases)
	slices.Sort(facts.Builtin)
	facts.Builtin = slices.Compact(facts.Builtin)
	return nil
}

// inTree takes a payload's path apart: the release below lib/modules and what
// is below that.
func inTree(name string) (release, rest string, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "."), "/")
	name = strings.TrimPrefix(name, "usr/")
	name, ok = strings.CutPrefix(name, "lib/modules/")
	if !ok {
		return "", "", false
	}
	release, rest, ok = strings.Cut(name, "/")
	return release, rest, ok && release != "" && rest != ""
}

func wanted(rest string) bool {
	return rest == "modules.builtin" || rest == "modules.builtin.modinfo" || strings.HasPrefix(rest, "symvers.") && !strings.Contains(rest, "/")
}

func (r *kernelReader) file(rest string, data []byte) error {
	switch {
	case rest == "modules.builtin":
		names, err := kmod.ParseBuiltin(bytes.NewReader(data))
		if err != nil {
			return err
		}
		r.facts.Builtin = slices.AppendSeq(r.facts.Builtin, maps.Keys(names))
	case rest == "modules.builtin.modinfo":
		infos, err := kmod.ParseBuiltinInfo(data)
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for name, info := range infos {
			for _, a := range info.Aliases() {
				r.facts.Aliases = append(r.facts.Aliases, kmod.Alias{Pattern: a, Module: name})
			}
		}
	default:
		symbols, err := kmod.ParseSymvers(bytes.NewReader(data))
		if err != nil {
			return err
		}
		for _, s := range symbols {
			text := s.Name
			if s.HasCRC {
				text += fmt.Sprintf("=0x%08x", s.CRC)
			}
			r.facts.Symbols = append(r.facts.Symbols, text)
		}
	}
	return nil
}

func (r *kernelReader) module(name, rest string, data []byte) {
	fail := func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = fmt.Errorf("%s: %w", rest, err)
		}
	}
	raw, err := kmod.DecompressModule(data)
	if err != nil {
		fail(err)
		return
	}
	m, err := kmod.ParseModule(raw)
	if err != nil {
		fail(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts.Modules[name] = rest
	for _, a := range m.Info.Aliases() {
		r.facts.Aliases = append(r.facts.Aliases, kmod.Alias{Pattern: a, Module: name})
	}
	if v := m.Info.Vermagic().String(); r.facts.Vermagic == "" || v < r.facts.Vermagic {
		if v != "" {
			r.facts.Vermagic = v
		}
	}
	if m.Signature != nil {
		r.signers[m.Signature.Signer] = true
	}
}
