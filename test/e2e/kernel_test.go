package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// installed is a package of the guest, with files.
func installed(name, owner string, files ...string) inventory.Package {
	p := inventory.Package{Name: name, EVR: rpmver.EVR{Version: "6.1.0", Release: "56.el9"}, Arch: "x86_64", Signature: inventory.Signature{Status: "good", Owner: owner}}
	if owner == "" {
		p.Signature = inventory.Signature{Status: "missing"}
	}
	for i, f := range files {
		p.Files.Dirs = append(p.Files.Dirs, filepath.Dir(f)+"/")
		p.Files.DirIndex = append(p.Files.DirIndex, uint32(i))
		p.Files.Base = append(p.Files.Base, filepath.Base(f))
	}
	return p
}

// read takes the guest's inventory: the tree of the running kernel belongs to
// kernel-core, lab_base and lab_user to a vendor's kmod package, the other two
// to nobody.
func (g *guest) read(t testing.TB, cat *catalog.Catalog) *inventory.Inventory {
	t.Helper()
	var own []string
	for _, line := range strings.Split(string(g.files["lib/modules/"+guestRelease+"/modules.dep"]), "\n") {
		if file, _, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(file, "kernel/") {
			g.write(t, "lib/modules/"+guestRelease+"/"+file, nil)
			own = append(own, "/lib/modules/"+guestRelease+"/"+file)
		}
	}
	h, err := host.New(g.root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	inv := &inventory.Inventory{
		Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion,
		Host: inventory.Host{Name: "guest", Distro: inventory.CentOSStream, PrettyName: "CentOS Stream 9", Major: 9, Arch: "x86_64", State: inventory.StateSource},
		Packages: []inventory.Package{
			installed("kernel-core", "centos", own...),
			installed("kmod-lab", "", "/usr/lib/modules/"+guestRelease+"/extra/lab_base.ko.xz", "/usr/lib/modules/"+guestRelease+"/extra/lab_user.ko.xz"),
		},
	}
	var skipped []inventory.Skipped
	inv.Kernel, skipped = inventory.ReadKernel(h, cat, inv.Host.Distro, inv.Packages, false)
	if len(skipped) > 0 {
		t.Errorf("not read: %v", skipped)
	}
	return inv
}

func kernelModule(t testing.TB, inv *inventory.Inventory, name string) *inventory.KernelModule {
	t.Helper()
	for i := range inv.Kernel.Modules {
		if inv.Kernel.Modules[i].Name == name {
			return &inv.Kernel.Modules[i]
		}
	}
	t.Fatalf("no module %s", name)
	return nil
}

func loadCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	cat, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// TestGuestInventory reads what a real kernel showed of modules that were
// loaded into it.
func TestGuestInventory(t *testing.T) {
	g := newGuest(t)
	inv := g.read(t, loadCatalog(t))
	k := inv.Kernel
	if k.Release != guestRelease || k.Tree != guestRelease || k.Owner != "kernel-core-6.1.0-56.el9.x86_64" || k.Reason != "" {
		t.Errorf("kernel %+v", k)
	}
	if k.Tainted != 12291 { // proprietary, forced, out of tree, unsigned
		t.Errorf("taint %d", k.Tainted)
	}
	if n := len(k.Modules); n != 17 {
		t.Errorf("%d modules, want 17", n)
	}
	for name, want := range map[string]struct{ taint, owner string }{
		"lab_base": {"OE", "kmod-lab-6.1.0-56.el9.x86_64"}, "lab_user": {"OE", "kmod-lab-6.1.0-56.el9.x86_64"},
		"lab_forced": {"FOE", ""}, "lab_closed": {"POE", ""},
	} {
		m := kernelModule(t, inv, name)
		if !m.Loaded || m.Taint != want.taint || m.Owner != want.owner || m.Foreign == nil || m.Foreign.Problem != "" || len(m.Foreign.Imports) == 0 {
			t.Errorf("%s: %+v %+v", name, m, m.Foreign)
			continue
		}
		if !strings.HasPrefix(m.Foreign.Vermagic, guestRelease+" SMP preempt") {
			t.Errorf("%s: vermagic %q", name, m.Foreign.Vermagic)
		}
		// The kernel's word on the sources, which it gives for none that has no version, and the file's.
		if shown := name != "lab_forced"; (m.LoadedSource != "") != shown || shown && m.LoadedSource != m.FileSource {
			t.Errorf("%s: srcversion %q loaded, %q in the file", name, m.LoadedSource, m.FileSource)
		}
		if m.Size == 0 || name != "lab_forced" && (m.LoadedVersion == "" || m.LoadedVersion != m.Foreign.Version) {
			t.Errorf("%s: %d bytes, version %q loaded, %q in the file", name, m.Size, m.LoadedVersion, m.Foreign.Version)
		}
		if (m.Foreign.Signature != nil) != (name == "lab_user") {
			t.Errorf("%s: signature %+v", name, m.Foreign.Signature)
		}
	}
	user := kernelModule(t, inv, "lab_user").Foreign
	if s := user.Signature; s == nil || s.Signer != "Lab Vendor module signing key" || s.Organization != "Lab Vendor" || s.Hash != "sha256" || s.State != "no-certificate" {
		t.Errorf("lab_user's signature: %+v", s)
	}
	if !slices.Equal(user.Depends, []string{"lab_base"}) || !slices.Contains(user.Imports, "cancel_work_sync=0x03c12dfe") {
		t.Errorf("lab_user depends on %v and imports %v", user.Depends, user.Imports)
	}
	if m := kernelModule(t, inv, "xfs"); m.Foreign != nil || m.Owner != "kernel-core-6.1.0-56.el9.x86_64" || m.Essential() {
		t.Errorf("xfs: %+v", m)
	}
	for name, role := range map[string]string{"virtio_net": inventory.RoleNetwork, "virtio_blk": inventory.RoleBoot, "virtio_pci": inventory.RoleBoot, "virtio_ring": inventory.RoleBoot} {
		if m := kernelModule(t, inv, name); !slices.Contains(m.Roles, role) {
			t.Errorf("%s has the roles %v (%v), want %s", name, m.Roles, m.Why, role)
		}
	}
	var devices []string
	for _, d := range k.Devices {
		devices = append(devices, d.Bus+" "+d.Driver+" "+d.Module+" "+d.Role)
		if !d.Claimed {
			t.Errorf("%s is not claimed by %s", d.Modalias, d.Module)
		}
	}
	want := []string{"pci virtio-pci virtio_pci network", "pci virtio-pci virtio_pci boot", "virtio virtio_net virtio_net network", "virtio virtio_blk virtio_blk boot"}
	if d := cmp.Diff(want, devices); d != "" {
		t.Errorf("devices (-want +got):\n%s", d)
	}
	if k.Trust.Enforced() || k.Trust.SecureBoot != "not-available" {
		t.Errorf("trust %+v", k.Trust)
	}

	// The inventory as a document is the same.
	inv.Host.OSRelease = map[string]string{}
	var doc bytes.Buffer
	if err := inv.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	again, err := inventory.Read(&doc)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(k, again.Kernel); d != "" {
		t.Errorf("after a way through JSON (-before +after):\n%s", d)
	}
}

// guestKernel is a kernel made for the guest. It has what the guest's kernel
// has, but: cancel_work_sync changed, crc32c_intel is built in, dummy moved to
// kernel-modules-extra, and libcrc32c is gone, which xfs does without.
func guestKernel(t testing.TB, g *guest, s *signer) string {
	t.Helper()
	return kernelOf(t, g, s, strings.Replace(string(g.files["symvers"]), "0x03c12dfe\tcancel_work_sync", "0x0badc0de\tcancel_work_sync", 1))
}

func kernelOf(t testing.TB, g *guest, s *signer, symvers string) string {
	t.Helper()
	magic := "vermagic=" + targetRelease + " SMP preempt mod_unload modversions "
	aliases := map[string][]string{}
	for _, line := range strings.Split(string(g.files["lib/modules/"+guestRelease+"/modules.alias"]), "\n") {
		if f := strings.Fields(line); len(f) == 3 {
			aliases[f[2]] = append(aliases[f[2]], f[1])
		}
	}
	core := kernelRPM{name: "kernel-core", files: map[string][]byte{},
		provides: []string{"kernel-core-uname-r = " + targetRelease, "kernel-uname-r = " + targetRelease, "kmod(crc32c-intel.ko)"}}
	extra := kernelRPM{name: "kernel-modules-extra", files: map[string][]byte{}, requires: []string{"kernel-uname-r = " + targetRelease}}
	core.files["symvers.gz"] = gzipped(t, symvers)
	core.files["modules.builtin"] = []byte("kernel/arch/x86/crypto/crc32c-intel.ko\n")
	for _, line := range strings.Split(symvers, "\n") {
		if f := strings.Fields(line); len(f) > 2 {
			core.provides = append(core.provides, "kernel("+f[1]+") = "+f[0])
		}
	}
	for _, line := range strings.Split(string(g.files["lib/modules/"+guestRelease+"/modules.dep"]), "\n") {
		file, _, ok := strings.Cut(line, ":")
		name := strings.TrimSuffix(filepath.Base(file), ".ko")
		if !ok || !strings.HasPrefix(file, "kernel/") || name == "libcrc32c" || name == "crc32c-intel" {
			continue
		}
		p := &core
		if name == "dummy" {
			p = &extra
		}
		fields := []string{magic, "name=" + name, "intree=Y"}
		p.provides = append(p.provides, "kmod("+name+".ko)")
		for _, a := range aliases[strings.ReplaceAll(name, "-", "_")] {
			fields = append(fields, "alias="+a)
			p.provides = append(p.provides, "modalias("+a+")")
		}
		p.files["kernel/elsewhere/"+name+".ko.gz"] = gzipped(t, string(moduleFile(fields...)))
	}
	return repository(t, s, []kernelRPM{core, extra})
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// judge syncs the repository and judges the guest by it.
func judge(t testing.TB, inv *inventory.Inventory, cat *catalog.Catalog, repo, cache string, ring *rpmsig.Keyring, deep bool) *assess.Assessment {
	t.Helper()
	ctx := context.Background()
	syncer, err := reposync.New(reposync.Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer syncer.Close()
	plan := []target.Planned{{
		TargetRepo: assess.TargetRepo{ID: "baseos", Name: "BaseOS", URL: repo, Enabled: true, DefaultEnabled: true},
		Source:     reposync.Repo{ID: "baseos", BaseURLs: []string{"file://" + repo}},
	}}
	repos, synced, err := target.FetchSynced(ctx, syncer, plan)
	if err != nil {
		t.Fatal(err)
	}
	if repos[0].Err != nil {
		t.Fatal(repos[0].Err)
	}
	in := assess.Input{Inventory: inv, Catalog: cat, Major: 9, Repos: repos}
	if deep {
		in.Deep = target.Deep(ctx, syncer, synced, assess.KernelPackages(in), ring, cache)
	}
	return assess.Assess(in)
}

func moduleVerdicts(res *assess.Assessment) map[string]assess.ModuleVerdict {
	v := map[string]assess.ModuleVerdict{}
	for _, m := range res.Modules {
		v[m.Name] = m.Verdict
	}
	return v
}

func kernelFindings(res *assess.Assessment) []string {
	var list []string
	for _, f := range res.Findings {
		if kind, _, _ := strings.Cut(f.ID, "."); kind == "kmod" || kind == "hw" || kind == "secureboot" {
			list = append(list, string(f.Severity)+" "+f.ID)
		}
	}
	slices.Sort(list)
	return list
}

// TestGuestJudged judges the modules of a real kernel by a kernel made for it,
// by the packages' content and by the metadata alone.
func TestGuestJudged(t *testing.T) {
	cat := loadCatalog(t)
	g := newGuest(t)
	inv := g.read(t, cat)
	s := newSigner(t, "AlmaLinux look-alike")
	repo, cache := guestKernel(t, g, s), t.TempDir()

	want := map[string]assess.ModuleVerdict{
		"crc32c_intel": assess.ModuleBuiltIn, "dummy": assess.ModuleMoved, "libcrc32c": assess.ModuleMissing,
		"lab_base": assess.ModuleCompatible, "lab_closed": assess.ModuleCompatible, "lab_forced": assess.ModuleCompatible, "lab_user": assess.ModuleBreaks,
	}
	for _, n := range []string{"failover", "net_failover", "virtio", "virtio_blk", "virtio_net", "virtio_pci", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_ring", "xfs"} {
		want[n] = assess.ModuleInTree
	}
	findings := []string{"info kmod.compatible", "info kmod.merged", "warning kmod.breaks", "warning kmod.forced", "warning kmod.moved", "warning kmod.not-linked"}

	check := func(t *testing.T, res *assess.Assessment, evidence assess.Evidence) {
		t.Helper()
		if d := cmp.Diff(want, moduleVerdicts(res)); d != "" {
			t.Errorf("verdicts (-want +got):\n%s", d)
		}
		if d := cmp.Diff(findings, kernelFindings(res)); d != "" {
			t.Errorf("findings (-want +got):\n%s", d)
		}
		if res.Kernel.Evidence != evidence || res.Kernel.Release != targetRelease {
			t.Errorf("kernel %+v", res.Kernel)
		}
		for _, m := range res.Modules {
			if m.Name == "lab_user" && (m.Symbols == nil || m.Symbols.Total-m.Symbols.Met != 1 || !slices.Equal(m.Symbols.Changed, []string{"cancel_work_sync"})) {
				t.Errorf("lab_user: %+v", m.Symbols)
			}
		}
	}
	deep := judge(t, inv, cat, repo, cache, s.ring, true)
	check(t, deep, assess.EvidencePackages)

	// The second time nothing is fetched: the packages may be gone.
	for _, p := range []string{"kernel-core.rpm", "kernel-modules-extra.rpm"} {
		if err := os.Remove(filepath.Join(repo, p)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, judge(t, inv, cat, repo, cache, s.ring, true), assess.EvidencePackages)
	if left, _ := filepath.Glob(filepath.Join(cache, "kernel", "*.rpm*")); len(left) > 0 {
		t.Errorf("packages stay in the cache: %v", left)
	}

	// The metadata gives the same, but does not tell built-in modules from files,
	// and its few symbols might be the protected ones only.
	want["crc32c_intel"] = assess.ModuleInTree
	check(t, judge(t, inv, cat, repo, t.TempDir(), s.ring, false), assess.EvidenceMetadata)

	// As text, for a human.
	var text bytes.Buffer
	doc := report.NewCheck(inv, deep)
	if err := doc.WriteText(&text, report.TextOptions{Width: 200, Verbose: true}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Kernel modules: 17 loaded: 10 in-tree, 1 built-in, 1 moved, 3 out-of-tree-compatible, 1 out-of-tree-breaks, 1 missing (by the packages of " + targetRelease + ")",
		"lab_user: out-of-tree-breaks: 8 of 9 imported symbols met; 1 changed (cancel_work_sync)",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text lacks %q:\n%s", line, text.String())
		}
	}
}

// TestGuestOtherFile: the file of a loaded module was replaced by one of other sources.
func TestGuestOtherFile(t *testing.T) {
	g := newGuest(t)
	g.write(t, "sys/module/lab_user/srcversion", []byte("0123456789ABCDEF0123456\n"))
	cat := loadCatalog(t)
	s := newSigner(t, "AlmaLinux look-alike")
	res := judge(t, g.read(t, cat), cat, kernelOf(t, g, s, string(g.files["symvers"])), t.TempDir(), s.ring, true)
	var named []string
	for _, f := range res.Findings {
		if f.ID == "kmod.other-file" {
			for _, r := range f.Resources {
				named = append(named, r.Name)
			}
		}
	}
	if d := cmp.Diff([]string{"lab_user"}, named); d != "" {
		t.Error(d)
	}
}

// keyrings is what /proc/keys shows to root of the kernel's keyrings.
const keyrings = `1341f191 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 3
1c9e5a6c I------     1 perm 1f0b0000     0     0 keyring   .machine: empty
`

// TestGuestSecureBoot: under Secure Boot a signature by an enrolled key counts,
// and only that.
func TestGuestSecureBoot(t *testing.T) {
	cat := loadCatalog(t)
	s := newSigner(t, "AlmaLinux look-alike")
	for _, tc := range []struct {
		name     string
		enrolled bool
		change   func(*guest, *x509.Certificate)
		trusted  assess.Trust
		says     string
		untrust  []string
	}{
		{"enrolled", true, nil, assess.TrustYes, "whose certificate is in MokListRT", []string{"lab_base", "lab_closed", "lab_forced"}},
		{"enrolled, and the kernel has it", true, func(g *guest, c *x509.Certificate) {
			g.write(t, "proc/keys", []byte(keyrings+fmt.Sprintf("0a61b6a7 I------ 1 perm 1f030000 0 0 asymmetri %s: %x: X509.rsa 9e4f9ae1 []\n", c.Subject.CommonName, c.SubjectKeyId)))
		}, assess.TrustYes, "whose certificate is in MokListRT", []string{"lab_base", "lab_closed", "lab_forced"}},
		{"enrolled, and the kernel has not taken it over", true, func(g *guest, _ *x509.Certificate) {
			g.write(t, "proc/keys", []byte(keyrings))
		}, assess.TrustUnknown, "has not taken it over", []string{"lab_base", "lab_closed", "lab_forced"}},
		{"revoked", true, func(g *guest, c *x509.Certificate) { g.revoke(t, c) }, assess.TrustNo, "revoked (dbx)", []string{"lab_base", "lab_closed", "lab_forced", "lab_user"}},
		{"not enrolled", false, nil, assess.TrustNo, "neither in db nor", []string{"lab_base", "lab_closed", "lab_forced", "lab_user"}},
		{"not enrolled, a key of the kernel's own", false, func(g *guest, c *x509.Certificate) {
			g.write(t, "proc/keys", []byte(keyrings+fmt.Sprintf("0a61b6a7 I------ 1 perm 1f030000 0 0 asymmetri %s: %x: X509.rsa 9e4f9ae1 []\n", c.Subject.CommonName, c.SubjectKeyId)))
		}, assess.TrustNo, "it must be built in", []string{"lab_base", "lab_closed", "lab_forced", "lab_user"}},
		{"not enrolled, nobody's key", false, func(g *guest, _ *x509.Certificate) {
			g.write(t, "proc/keys", []byte(keyrings))
		}, assess.TrustNo, "has no key of that name either", []string{"lab_base", "lab_closed", "lab_forced", "lab_user"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGuest(t)
			if tc.enrolled {
				g.secureBoot(t, g.files["cert.der"])
			} else {
				g.secureBoot(t)
			}
			if tc.change != nil {
				cert, err := x509.ParseCertificate(g.files["cert.der"])
				if err != nil {
					t.Fatal(err)
				}
				tc.change(g, cert)
			}
			inv := g.read(t, cat)
			if !inv.Kernel.Trust.UEFI || inv.Kernel.Trust.SecureBoot != "enabled" || !inv.Kernel.Trust.Enforced() {
				t.Fatalf("trust %+v", inv.Kernel.Trust)
			}
			// A kernel with the symbols as they are: lab_user fits.
			res := judge(t, inv, cat, kernelOf(t, g, s, string(g.files["symvers"])), t.TempDir(), s.ring, true)
			for _, m := range res.Modules {
				if m.Name == "lab_user" && (m.Trusted != tc.trusted || !strings.Contains(m.Signature, tc.says)) {
					t.Errorf("lab_user: trusted %s, %s", m.Trusted, m.Signature)
				}
				if m.Name == "virtio_blk" && m.Trusted != assess.TrustYes {
					t.Errorf("virtio_blk: trusted %s, %s", m.Trusted, m.Signature)
				}
			}
			var named []string
			for _, f := range res.Findings {
				if f.ID == "secureboot.untrusted-module" {
					for _, r := range f.Resources {
						named = append(named, r.Name)
					}
				}
			}
			if d := cmp.Diff(tc.untrust, named); d != "" {
				t.Errorf("untrusted modules (-want +got):\n%s", d)
			}
		})
	}
}

// TestDeepRefusesForgeries: nothing is taken from packages that no trusted key
// signed.
func TestDeepRefusesForgeries(t *testing.T) {
	cat := loadCatalog(t)
	g := newGuest(t)
	inv := g.read(t, cat)
	s, other := newSigner(t, "AlmaLinux look-alike"), newSigner(t, "Somebody else")
	for _, tc := range []struct {
		name   string
		signed *signer
	}{{"not signed", nil}, {"signed by another key", other}} {
		t.Run(tc.name, func(t *testing.T) {
			cache := t.TempDir()
			res := judge(t, inv, cat, guestKernel(t, g, tc.signed), cache, s.ring, true)
			if !slices.Contains(kernelFindings(res), "blocker kmod.deep-failed") {
				t.Errorf("findings %v", kernelFindings(res))
			}
			if res.Kernel.Evidence != assess.EvidenceMetadata {
				t.Errorf("evidence %s", res.Kernel.Evidence)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "kernel", "*")); len(left) > 0 {
				t.Errorf("kept of a forgery: %v", left)
			}
		})
	}
	// A key that is no longer trusted makes the kept facts worthless.
	repo, cache := guestKernel(t, g, other), t.TempDir()
	if res := judge(t, inv, cat, repo, cache, other.ring, true); res.Kernel.Evidence != assess.EvidencePackages {
		t.Fatalf("evidence %s", res.Kernel.Evidence)
	}
	if res := judge(t, inv, cat, repo, cache, s.ring, true); res.Kernel.Evidence != assess.EvidenceMetadata {
		t.Errorf("with the key gone: evidence %s", res.Kernel.Evidence)
	}
}
