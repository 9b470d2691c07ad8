package assess_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// realModules are the loaded modules of a RHEL CoreOS host with their files.
func realModules(t testing.TB, dir string) []inventory.KernelModule {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "host", "rhcos-el8-sosreport", "proc_modules"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	loaded, err := kmod.ParseProcModules(f)
	if err != nil {
		t.Fatal(err)
	}
	z, err := os.Open(filepath.Join(dir, "host", "rhcos-el8-sosreport", "modinfo_ALL_MODULES.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r, err := xz.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		if file, ok := strings.CutPrefix(scan.Text(), "filename:"); ok {
			file = strings.TrimSpace(file)
			if name, ok := kmod.NameOfFile(file); ok {
				files[name] = file
			}
		}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	var mods []inventory.KernelModule
	for _, l := range loaded {
		m := inventory.KernelModule{Name: l.Name, Loaded: true, UsedBy: l.UsedBy, Taint: l.Taint, File: files[l.Name], Owner: "kernel-core-4.18.0-80.11.2.el8_0.x86_64"}
		mods = append(mods, m)
	}
	return mods
}

// TestRealModules judges the 81 modules of a real EL8.0 host by a real EL9
// kernel's metadata: not one is lost on the way from 8 to 9, though six were
// merged into others or replaced.
func TestRealModules(t *testing.T) {
	dir := realdata.Dir(t)
	w := newWorld(t)
	mods := realModules(t, dir)
	if len(mods) != 81 {
		t.Fatalf("%d modules, want 81", len(mods))
	}
	withKernel(w, mods...)
	w.repo("baseos").Index = realIndex(t, "centos-stream9-baseos-2022-02")
	res := w.assess()
	if res.Kernel.Release != "5.14.0-55.el9.x86_64" || res.Kernel.Evidence != assess.EvidenceMetadata || res.Kernel.Loaded != 81 {
		t.Errorf("kernel %+v", res.Kernel)
	}
	others, merged := []string{}, []string{}
	for _, m := range res.Modules {
		if strings.Contains(m.Reason, "there what it did") || strings.Contains(m.Reason, "answers to its name") {
			merged = append(merged, m.Name)
		}
		if m.Verdict != assess.ModuleInTree {
			others = append(others, m.Name+" "+string(m.Verdict))
		}
	}
	t.Logf("%d of %d in tree; others: %v", res.Kernel.Counts[assess.ModuleInTree], len(res.Modules), others)
	want := []string{}
	if d := cmp.Diff(want, others); d != "" {
		t.Errorf("not in tree (-want +got):\n%s", d)
	}
	t.Logf("under another name: %v", merged)
	// Red Hat's key signed them all. Under Secure Boot it is AlmaLinux's own that counts.
	w.inv.Kernel.Trust.SecureBoot = "enabled"
	for _, m := range w.assess().Modules {
		if m.Trusted != assess.TrustYes {
			t.Errorf("%s: trusted %s, %s", m.Name, m.Trusted, m.Signature)
		}
	}
}

// TestRealHpsa compares a real module of the Kmods SIG with the lists of
// protected symbols that Red Hat published for the same minor release: 95 of
// its 143 imports are on the list, every one with the same checksum. The others
// are not protected, which proves nothing, so that the verdict stays open.
func TestRealHpsa(t *testing.T) {
	dir := realdata.Dir(t)
	file := filepath.Join(dir, "kernel", "ko", "hpsa-4.18.0-477.10.1.el8_8.aarch64.ko.xz")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = kmod.DecompressModule(data); err != nil {
		t.Fatal(err)
	}
	mod, err := kmod.ParseModule(data)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.Open(filepath.Join(dir, "kernel", "kabi", "4.18.0-477.27.1.el8_8", "Module.kabi_aarch64"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	symbols, err := kmod.ParseSymvers(list)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.inv.Host.Arch = "aarch64"
	m := inventory.KernelModule{Name: "hpsa", Loaded: true, Taint: "OE", File: "/lib/modules/4.18.0-477.10.1.el8_8.aarch64/extra/hpsa.ko.xz", Foreign: inventory.DescribeModule(mod)}
	withKernel(w, m)
	w.content = map[string][]rpm{"baseos": {pkg("kernel-core-4.18.0-477.27.1.el8_8.aarch64")}}
	for _, s := range symbols {
		w.content["baseos"][0].provides = append(w.content["baseos"][0].provides, "kernel("+s.Name+") = "+fmt.Sprintf("0x%08x", s.CRC))
	}
	// A kmod package of it requires the same symbols.
	w.carry("appstream", realKmod(t, filepath.Join(dir, "kernel", "kmod-rpms", "kmod-hpsa-4.18.0~477.10.1-1.el8.aarch64.rpm")))
	res := w.assess()
	got := module(t, res, "hpsa")
	if got.Symbols == nil || got.Symbols.Total != 143 || got.Symbols.Met != 95 || len(got.Symbols.Unverified) != 48 || len(got.Symbols.Changed)+len(got.Symbols.Missing) != 0 {
		t.Errorf("hpsa: %+v", got.Symbols)
	}
	if got.Verdict != assess.ModuleUnknown {
		t.Errorf("verdict %s: %s", got.Verdict, got.Reason)
	}

	// One checksum that differs is a break, however short the list.
	p := &w.content["baseos"][0]
	i := slices.IndexFunc(p.provides, func(s string) bool { return strings.HasPrefix(s, "kernel(scsi_add_host_with_dma)") })
	if i < 0 {
		i = slices.IndexFunc(p.provides, func(s string) bool { return strings.HasPrefix(s, "kernel(__kmalloc)") })
	}
	p.provides[i] = p.provides[i][:strings.Index(p.provides[i], "0x")] + "0x00000001"
	for i := range w.repos {
		w.repos[i].Index = nil
	}
	if got := module(t, w.assess(), "hpsa"); got.Verdict != assess.ModuleBreaks || len(got.Symbols.Changed) != 1 || got.Symbols.Met != 94 {
		t.Errorf("with one checksum changed: %s, %s", got.Verdict, got.Reason)
	}
}

// realKmod describes a real package's header for a made repository.
func realKmod(t testing.TB, file string) rpm {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := rpmfile.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return pkg(r.Header().NEVRA().String(), provides("kmod(hpsa.ko)"))
}

// BenchmarkRealModules is what the judgement of 81 modules and of the symbols of
// one out-of-tree module adds to a check.
func BenchmarkRealModules(b *testing.B) {
	dir := realdata.Dir(b)
	w := newWorld(b)
	withKernel(w, append(realModules(b, dir), vendor("acme", "printk=0x11111111"))...)
	for i := range 40 {
		w.inv.Kernel.Devices = append(w.inv.Kernel.Devices, inventory.KernelDevice{Bus: "pci", Name: fmt.Sprint(i), Modalias: hbaAlias, Driver: "virtio_pci", Module: "sd_mod", Claimed: true})
	}
	w.repo("baseos").Index = realIndex(b, "centos-stream9-baseos-2022-02")
	w.assess()
	b.Run("with", func(b *testing.B) {
		for b.Loop() {
			w.again()
		}
	})
	w.inv.Kernel = nil
	b.Run("without", func(b *testing.B) {
		for b.Loop() {
			w.again()
		}
	})
}

// again judges the same world once more, without the work around it.
func (w *world) again() *assess.Assessment {
	return assess.Assess(assess.Input{Inventory: w.inv, Catalog: w.cat, Major: w.major, Repos: w.repos})
}
