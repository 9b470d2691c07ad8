package assess_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
)

const (
	kernelEVR   = "4.18.0-553.el8_10"
	hbaAlias    = "pci:v00001000d0000005Dsv00001028sd00001F49bc01sc04i00"
	hbaPattern  = "modalias(pci:v00001000d0000005D*sv*sd*bc*sc*i*)"
	sas2008     = "pci:v00001000d00000072sv00001028sd00001F1Cbc01sc07i00" // went with RHEL 8, AlmaLinux has it
	sasPattern  = "modalias(pci:v00001000d00000072*sv*sd*bc*sc*i*)"
	manySymbols = 5000
)

// withKernel gives the host a kernel with modules, and AlmaLinux one that has
// them all.
func withKernel(w *world, mods ...inventory.KernelModule) {
	w.inv.Kernel = &inventory.Kernel{
		Release: "4.18.0-348.el8.x86_64", Tree: "4.18.0-348.el8.x86_64",
		Modules: mods, Devices: []inventory.KernelDevice{}, Sources: []inventory.ModuleSource{},
		Trust: inventory.ModuleTrust{SecureBoot: "not-available", Certificates: []inventory.Certificate{}},
	}
	slices.SortFunc(w.inv.Kernel.Modules, func(a, b inventory.KernelModule) int { return strings.Compare(a.Name, b.Name) })
	w.install("centos", pkg("kernel-core-4.18.0-348.el8.x86_64"), pkg("kernel-modules-4.18.0-348.el8.x86_64"))
	symbols := []string{"kernel(printk) = 0x11111111", "kernel(kmalloc) = 0x22222222"}
	for i := range manySymbols {
		symbols = append(symbols, fmt.Sprintf("kernel(filler_%d) = 0x%08x", i, i+1))
	}
	w.carry("baseos",
		pkg("kernel-core-"+kernelEVR+".x86_64", provides("kernel-core-uname-r = "+kernelEVR+".x86_64", "kernel-uname-r = "+kernelEVR+".x86_64",
			"kmod(xfs.ko)", "kmod(sd_mod.ko)", "kmod(mpt3sas.ko)", "kmod(nf_conntrack.ko)", "modalias(fs-xfs)", "modalias(ipt_OLD)"), provides(symbols...)),
		pkg("kernel-modules-"+kernelEVR+".x86_64", provides("kernel-modules-uname-r = "+kernelEVR+".x86_64", "kmod(snd-hda-intel.ko)", "kmod(megaraid_sas.ko)", hbaPattern, sasPattern),
			requires("kernel-uname-r = "+kernelEVR+".x86_64")),
		pkg("kernel-modules-extra-"+kernelEVR+".x86_64", provides("kmod(sctp.ko)"), requires("kernel-uname-r = "+kernelEVR+".x86_64")),
		pkg("kernel-devel-"+kernelEVR+".x86_64"),
	)
}

func loaded(name string) inventory.KernelModule {
	return inventory.KernelModule{Name: name, Loaded: true, File: "/usr/lib/modules/4.18.0-348.el8.x86_64/kernel/" + name + ".ko.xz", Owner: "kernel-core-4.18.0-348.el8.x86_64"}
}

func rooted(m inventory.KernelModule) inventory.KernelModule {
	m.Roles, m.Why = []string{inventory.RoleRoot}, []string{"/: driver of the disk"}
	return m
}

// vendor is an out-of-tree module of a kmod package.
func vendor(name string, imports ...string) inventory.KernelModule {
	return inventory.KernelModule{
		Name: name, Loaded: true, Taint: "OE", File: "/usr/lib/modules/4.18.0-348.el8.x86_64/extra/" + name + ".ko", Owner: "kmod-" + name + "-1-1.el8.x86_64",
		Foreign: &inventory.ForeignModule{Vermagic: "4.18.0-348.el8.x86_64 SMP mod_unload modversions", Machine: "x86_64", Imports: imports},
	}
}

func signed(m inventory.KernelModule, state, in string) inventory.KernelModule {
	m.Foreign.Signature = &inventory.ModuleSignature{Signer: "CentOS Linux kernel signing key", Hash: "sha256", State: state, EnrolledIn: in}
	return m
}

func device(alias, module string, claimed bool, role string) inventory.KernelDevice {
	return inventory.KernelDevice{Bus: "pci", Name: "0000:03:00.0", Modalias: alias, Driver: module, Module: module, Claimed: claimed, Role: role}
}

func installKmod(w *world, name string) { w.install("?", pkg("kmod-"+name+"-1-1.el8.x86_64")) }

const thirdParty = "info pkg.third-party"

func init() {
	add := func(name string, verdict assess.Verdict, want []string, change func(*world)) {
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{"kernel: " + name, change, want, verdict})
	}
	add("all in tree", assess.Ready, []string{}, func(w *world) {
		withKernel(w, rooted(loaded("xfs")), rooted(loaded("sd_mod")), loaded("snd_hda_intel"), loaded("nf_conntrack_ipv4"), loaded("ipt_OLD"))
		w.inv.Kernel.Devices = append(w.inv.Kernel.Devices, device(hbaAlias, "megaraid_sas", true, inventory.RoleRoot))
	})
	add("no list of modules", assess.Ready, []string{}, func(w *world) {
		withKernel(w)
		w.inv.Kernel.Reason = "a container"
	})
	add("a container that shows the machine's modules", assess.Ready, []string{"info host.container"}, func(w *world) {
		withKernel(w, loaded("zfs"), rooted(loaded("btrfs")))
		w.inv.Environment.Container = inventory.Container{Kind: "lxc", Evidence: "/proc/1/environ"}
	})
	add("no kernel in the repositories", assess.ReadyWithWarnings, []string{"warning kmod.no-target-kernel"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		for _, p := range []string{"kernel-core", "kernel-modules", "kernel-modules-extra"} {
			w.drop("baseos", p)
		}
		w.inv.Packages = slices.DeleteFunc(w.inv.Packages, func(p inventory.Package) bool { return strings.HasPrefix(p.Name, "kernel") })
	})
	add("missing", assess.ReadyWithWarnings, []string{"warning kmod.missing"}, func(w *world) { withKernel(w, loaded("btrfs")) })
	add("missing below root", assess.Blocked, []string{"blocker kmod.missing"}, func(w *world) { withKernel(w, rooted(loaded("btrfs"))) })
	add("helper gone", assess.Ready, []string{"info kmod.merged"}, func(w *world) {
		m := loaded("mbcache")
		m.UsedBy = []string{"xfs"}
		withKernel(w, m, loaded("xfs"))
	})
	// A kernel of another make: its nvme_core has code of its own for what needs another module there.
	add("helper of the root disk's driver gone", assess.Ready, []string{"info kmod.merged"}, func(w *world) {
		m := rooted(loaded("nvme_auth"))
		m.Why = []string{inventory.NeededBy + "sd_mod", inventory.InInitramfs}
		withKernel(w, m, rooted(loaded("sd_mod")))
	})
	add("helper gone, of a driver that is gone too", assess.Blocked, []string{"blocker kmod.missing"}, func(w *world) {
		m := rooted(loaded("nvme_auth"))
		m.UsedBy, m.Why = []string{"nvme_core"}, []string{inventory.NeededBy + "nvme_core"}
		withKernel(w, m, rooted(loaded("nvme_core")))
	})
	add("helper gone that a person asks for", assess.ReadyWithWarnings, []string{"warning kmod.missing"}, func(w *world) {
		m := loaded("nvme_auth")
		m.UsedBy, m.Roles, m.Why = []string{"sd_mod"}, []string{inventory.RoleRequested}, []string{"requested by /etc/modules-load.d/x.conf"}
		withKernel(w, m, loaded("sd_mod"))
	})
	add("moved", assess.ReadyWithWarnings, []string{"warning kmod.moved"}, func(w *world) { withKernel(w, loaded("sctp")) })
	add("moved, a network card", assess.Blocked, []string{"blocker kmod.moved"}, func(w *world) {
		m := loaded("sctp")
		m.Roles = []string{inventory.RoleNetwork}
		withKernel(w, m)
	})
	add("extra is installed", assess.Ready, []string{}, func(w *world) {
		withKernel(w, loaded("sctp"))
		w.install("centos", pkg("kernel-modules-extra-4.18.0-348.el8.x86_64"))
	})
	add("out of tree, fits", assess.Ready, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		withKernel(w, vendor("acme", "printk=0x11111111", "kmalloc=0x22222222", "?weak_one"))
		installKmod(w, "acme")
	})
	add("out of tree, a symbol changed", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.breaks"}, func(w *world) {
		withKernel(w, vendor("acme", "printk=0x11111111", "kmalloc=0x99999999"))
		installKmod(w, "acme")
	})
	add("out of tree below root, a symbol is gone", assess.Blocked, []string{"blocker kmod.breaks", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		withKernel(w, rooted(vendor("acme", "printk=0x11111111", "gone=0x00000001")))
		installKmod(w, "acme")
	})
	add("out of tree below root, the kernel has its own", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.breaks"}, func(w *world) {
		withKernel(w, rooted(vendor("mpt3sas", "printk=0x33333333")))
		installKmod(w, "mpt3sas")
	})
	add("out of tree, no package", assess.ReadyWithWarnings, []string{"warning kmod.not-linked"}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.Owner = ""
		withKernel(w, m)
	})
	add("supplied by a repository that is off", assess.ReadyWithWarnings, []string{"warning kmod.supplied"}, func(w *world) {
		withKernel(w, loaded("hpsa_old"))
		w.carry("powertools", pkg("kmod-hpsa_old-1-1.el8.x86_64", provides("kmod(hpsa-old.ko)"), requires("kernel(printk) = 0x11111111")))
	})
	add("supplied, root hangs on it", assess.Blocked, []string{"blocker kmod.supplied"}, func(w *world) {
		withKernel(w, rooted(loaded("hpsa_old")))
		w.carry("appstream", pkg("kmod-hpsa_old-1-1.el8.x86_64", provides("kmod(hpsa_old.ko)")))
	})
	add("a supplier that does not fit", assess.ReadyWithWarnings, []string{"warning kmod.missing"}, func(w *world) {
		withKernel(w, loaded("hpsa_old"))
		w.carry("appstream", pkg("kmod-hpsa_old-1-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x99999999")))
	})
	add("no evidence", assess.ReadyWithWarnings, []string{"warning kmod.unknown"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		for _, p := range []string{"kernel-core", "kernel-modules", "kernel-modules-extra"} {
			w.drop("baseos", p)
		}
		w.carry("baseos", pkg("kernel-core-"+kernelEVR+".x86_64"), pkg("kernel-modules-"+kernelEVR+".x86_64"))
	})
	add("a file that is gone", assess.ReadyWithWarnings, []string{"warning kmod.unknown"}, func(w *world) {
		m := inventory.KernelModule{Name: "ghost", Loaded: true, Taint: "OE", Foreign: &inventory.ForeignModule{Problem: "no file of this module is in the tree of the running kernel"}}
		withKernel(w, m)
	})
	add("dkms, all there", assess.Ready, []string{"info kmod.rebuilt"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		w.install("centos", pkg("kernel-devel-4.18.0-348.el8.x86_64"), pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.carry("baseos", pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.inv.Kernel.Sources = []inventory.ModuleSource{{Kind: "dkms", Name: "acme", Version: "1", Modules: []string{"acme"}, Automatic: true, Kernels: []string{"4.18.0-348.el8.x86_64"}}}
	})
	add("dkms, no compiler", assess.ReadyWithWarnings, []string{"warning kmod.rebuilt"}, func(w *world) {
		m := vendor("acme", "printk=0x99999999")
		m.Owner = ""
		withKernel(w, m)
		w.inv.Kernel.Sources = []inventory.ModuleSource{{Kind: "dkms", Name: "acme", Version: "1", Modules: []string{"acme"}, Automatic: true}}
	})
	add("dkms, no compiler, the root disk", assess.Blocked, []string{"blocker kmod.rebuilt"}, func(w *world) {
		m := rooted(vendor("acme", "printk=0x99999999"))
		m.Owner = ""
		withKernel(w, m)
		w.inv.Kernel.Sources = []inventory.ModuleSource{{Kind: "dkms", Name: "acme", Version: "1", Modules: []string{"acme"}, Automatic: true}}
	})
	add("dkms, not for such a kernel", assess.ReadyWithWarnings, []string{"warning kmod.rebuilt"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		w.install("centos", pkg("kernel-devel-4.18.0-348.el8.x86_64"), pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.carry("baseos", pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.inv.Kernel.Sources = []inventory.ModuleSource{{Kind: "dkms", Name: "acme", Version: "1", Modules: []string{"acme"}, Automatic: true, OnlyKernel: "^5\\.(4|15)\\."}}
	})
	add("dkms, for kernels that only a shell could tell", assess.Ready, []string{"info kmod.rebuilt"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		w.install("centos", pkg("kernel-devel-4.18.0-348.el8.x86_64"), pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.carry("baseos", pkg("gcc-8-1.el8.x86_64"), pkg("make-4-1.el8.x86_64"))
		w.inv.Kernel.Sources = []inventory.ModuleSource{{Kind: "dkms", Name: "acme", Version: "1", Modules: []string{"acme"}, Automatic: true, OnlyKernel: "^$KVER"}}
	})
	add("forced", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning kmod.forced"}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.Taint = "FOE"
		withKernel(w, m)
		installKmod(w, "acme")
	})
	add("loaded from another file", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning kmod.other-file"}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.LoadedSource, m.FileSource = "533BB7E5866E52F63B9ACCB", "0123456789ABCDEF0123456"
		withKernel(w, m)
		installKmod(w, "acme")
	})
	add("loaded from a file of another version", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning kmod.other-file"}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.LoadedVersion, m.Foreign.Version = "1.2", "1.3"
		withKernel(w, m)
		installKmod(w, "acme")
	})
	add("loaded from its file", assess.Ready, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.LoadedSource, m.FileSource = "533BB7E5866E52F63B9ACCB", "533BB7E5866E52F63B9ACCB"
		withKernel(w, m)
		installKmod(w, "acme")
	})
	deep := func(err error, forged bool) func(*world) {
		return func(w *world) {
			withKernel(w, loaded("xfs"))
			w.deep = &assess.DeepFacts{Err: err, Forged: forged}
		}
	}
	add("deep failed", assess.ReadyWithWarnings, []string{"warning kmod.deep-failed"}, deep(errors.New("cannot fetch kernel-core: timeout"), false))
	add("deep met a forgery", assess.Blocked, []string{"blocker kmod.deep-failed"}, deep(errors.New("kernel-core: signature bad"), true))

	add("driver dropped", assess.ReadyWithWarnings, []string{"warning hw.driver-dropped"}, func(w *world) {
		withKernel(w, loaded("3w_9xxx"))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v000013C1d00001010sv000013C1sd00001010bc01sc04i00", "3w_9xxx", true, "")}
	})
	add("driver of the root disk dropped", assess.Blocked, []string{"blocker hw.driver-dropped"}, func(w *world) {
		withKernel(w, rooted(loaded("3w_9xxx")))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v000013C1d00001010sv000013C1sd00001010bc01sc04i00", "3w_9xxx", true, inventory.RoleRoot)}
	})
	add("id dropped", assess.ReadyWithWarnings, []string{"warning hw.id-dropped"}, func(w *world) {
		withKernel(w, loaded("megaraid_sas"))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v00001000d00000FFFsv00001028sd00001F49bc01sc04i00", "megaraid_sas", true, "")}
	})
	add("id of the root disk dropped", assess.Blocked, []string{"blocker hw.id-dropped"}, func(w *world) {
		withKernel(w, rooted(loaded("megaraid_sas")))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v00001000d00000FFFsv00001028sd00001F49bc01sc04i00", "megaraid_sas", true, inventory.RoleRoot)}
	})
	add("bound by hand", assess.Ready, []string{}, func(w *world) {
		withKernel(w, loaded("megaraid_sas"))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v00001000d00000FFFsv00001028sd00001F49bc01sc04i00", "megaraid_sas", false, "")}
	})
	add("id that AlmaLinux has again", assess.Ready, []string{"info hw.restored"}, func(w *world) {
		withKernel(w, loaded("mpt3sas"))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device(sas2008, "mpt3sas", true, "")}
	})

	// The id is one that AlmaLinux has again, the module is another's, and AlmaLinux's kernel has no driver of that name.
	add("id that AlmaLinux has again, of a driver nobody knows", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.unknown"}, func(w *world) {
		m := vendor("hpsa")
		m.Foreign = &inventory.ForeignModule{Problem: "cannot read it"}
		withKernel(w, m)
		installKmod(w, "hpsa")
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v0000103Cd0000323Asv0000103Csd00003243bc01sc04i00", "hpsa", true, "")}
	})

	add("without retpolines", assess.Ready, []string{"info kmod.compatible", "info kmod.no-retpoline", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		m := vendor("acme", "printk=0x11111111")
		m.Foreign.NoRetpoline = true
		withKernel(w, m)
		installKmod(w, "acme")
	})
	add("without retpolines, refused anyway", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.breaks"}, func(w *world) {
		m := vendor("acme", "printk=0x99999999")
		m.Foreign.NoRetpoline = true
		withKernel(w, m)
		installKmod(w, "acme")
	})
	add("tainted by what is loaded", assess.Ready, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		withKernel(w, vendor("acme", "printk=0x11111111"))
		installKmod(w, "acme")
		w.inv.Kernel.Tainted = 1<<12 | 1<<13
	})
	add("tainted by what is gone", assess.Ready, []string{"info kmod.kernel-tainted"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		w.inv.Kernel.Tainted = 1<<12 | 1<<40
	})
	add("tainted by an oops", assess.ReadyWithWarnings, []string{"warning kmod.kernel-tainted"}, func(w *world) {
		withKernel(w, loaded("xfs"))
		w.inv.Kernel.Tainted = 1<<7 | 1<<9
	})

	secure := func(m inventory.KernelModule) func(*world) {
		return func(w *world) {
			withKernel(w, m, loaded("xfs"))
			w.inv.Kernel.Trust.SecureBoot = "enabled"
			installKmod(w, m.Name)
		}
	}
	add("Secure Boot, enrolled", assess.Ready, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty},
		secure(signed(vendor("acme", "printk=0x11111111"), "good", "MokListRT")))
	add("Secure Boot, not signed", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning secureboot.untrusted-module"},
		secure(vendor("acme", "printk=0x11111111")))
	add("Secure Boot, CentOS's key, root", assess.Blocked, []string{"blocker secureboot.untrusted-module", "info kmod.compatible", "info pkg.signature-unknown-key", thirdParty},
		secure(rooted(signed(vendor("acme", "printk=0x11111111"), "no-certificate", ""))))
	add("Secure Boot, cannot be verified", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning secureboot.unknown"},
		secure(signed(vendor("acme", "printk=0x11111111"), "unsupported", "")))
	add("Secure Boot off, not signed", assess.Ready, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty}, func(w *world) {
		secure(vendor("acme", "printk=0x11111111"))(w)
		w.inv.Kernel.Trust.SecureBoot = "disabled"
	})
	add("Secure Boot not known", assess.ReadyWithWarnings, []string{"info kmod.compatible", "info pkg.signature-unknown-key", thirdParty, "warning secureboot.unknown"}, func(w *world) {
		secure(vendor("acme", "printk=0x11111111"))(w)
		w.inv.Kernel.Trust.SecureBoot = "unknown"
	})
}

func module(t testing.TB, res *assess.Assessment, name string) assess.ModuleResult {
	t.Helper()
	for _, m := range res.Modules {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no module %s in the result", name)
	return assess.ModuleResult{}
}

func verdicts(res *assess.Assessment) map[string]assess.ModuleVerdict {
	out := map[string]assess.ModuleVerdict{}
	for _, m := range res.Modules {
		out[m.Name] = m.Verdict
	}
	return out
}

func TestModuleVerdicts(t *testing.T) {
	w := newWorld(t)
	spl := vendor("spl", "printk=0x99999999")
	spl.Foreign.Exports = []string{"spl_init=0x00000005"}
	zfs := vendor("zfs", "printk=0x11111111", "spl_init=0x00000005")
	zfs.Foreign.Depends = []string{"spl"}
	own := vendor("noversions", "printk")
	withKernel(w, loaded("xfs"), loaded("snd_hda_intel"), loaded("sctp"), loaded("btrfs"), loaded("nf_conntrack_ipv4"), spl, zfs, own)
	res := w.assess()
	want := map[string]assess.ModuleVerdict{
		"xfs": assess.ModuleInTree, "snd_hda_intel": assess.ModuleInTree, "sctp": assess.ModuleMoved, "btrfs": assess.ModuleMissing,
		"nf_conntrack_ipv4": assess.ModuleInTree, "spl": assess.ModuleBreaks, "zfs": assess.ModuleBreaks, "noversions": assess.ModuleBreaks,
	}
	if d := cmp.Diff(want, verdicts(res)); d != "" {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
	if m := module(t, res, "zfs"); m.Reason != "it needs spl, which breaks" || m.Symbols.Met != 2 || m.Symbols.Total != 2 {
		t.Errorf("zfs, whose own imports are met: %+v %+v", m, m.Symbols)
	}
	if m := module(t, res, "spl"); m.Symbols.Met != 0 || !slices.Equal(m.Symbols.Changed, []string{"printk"}) {
		t.Errorf("spl: %+v %+v", m, m.Symbols)
	}
	k := res.Kernel
	if k.Release != kernelEVR+".x86_64" || k.Evidence != assess.EvidenceMetadata || k.Loaded != 8 || k.Counts[assess.ModuleInTree] != 3 {
		t.Errorf("kernel: %+v", k)
	}
	if want := []string{"kernel-core-" + kernelEVR + ".x86_64", "kernel-modules-" + kernelEVR + ".x86_64"}; !slices.Equal(k.Comes, want) {
		t.Errorf("comes %v, want %v", k.Comes, want)
	}
}

// TestProtectedListOnly: a list of the protected symbols does not prove that
// another symbol is gone.
func TestProtectedListOnly(t *testing.T) {
	w := newWorld(t)
	withKernel(w, vendor("acme", "printk=0x11111111", "other=0x00000007"), vendor("fits", "printk=0x11111111"), vendor("changed", "printk=0x00000001"))
	for i := range w.content["baseos"] {
		p := &w.content["baseos"][i]
		p.provides = slices.DeleteFunc(p.provides, func(s string) bool { return strings.HasPrefix(s, "kernel(filler") })
	}
	res := w.assess()
	want := map[string]assess.ModuleVerdict{"acme": assess.ModuleUnknown, "fits": assess.ModuleCompatible, "changed": assess.ModuleBreaks}
	if d := cmp.Diff(want, verdicts(res)); d != "" {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
	if m := module(t, res, "acme"); m.Symbols.Met != 1 || m.Symbols.Total != 2 || len(m.Symbols.Unverified) != 1 {
		t.Errorf("acme: %+v", m.Symbols)
	}
}

// TestDeep: the packages' content decides, whatever the metadata says.
func TestDeep(t *testing.T) {
	w := newWorld(t)
	withKernel(w, loaded("xfs"), loaded("ext4"), loaded("loop"), vendor("acme", "printk=0x11111111"), vendor("debug", "printk=0x11111111"))
	w.inv.Kernel.Modules[slices.IndexFunc(w.inv.Kernel.Modules, func(m inventory.KernelModule) bool { return m.Name == "debug" })].Foreign.Vermagic = "4.18.0 SMP preempt mod_unload modversions"
	w.deep = &assess.DeepFacts{Packages: []assess.PackageFacts{
		{NEVRA: "kernel-core-" + kernelEVR + ".x86_64", Release: kernelEVR + ".x86_64", Modules: map[string]string{"ext4": "kernel/fs/ext4/ext4.ko.xz"},
			Builtin: []string{"loop"}, Symbols: []string{"printk=0x11111111"}, Vermagic: kernelEVR + ".x86_64 SMP mod_unload modversions",
			Aliases: []kmod.Alias{{Pattern: "fs-ext4", Module: "ext4"}}},
	}}
	res := w.assess()
	want := map[string]assess.ModuleVerdict{
		"xfs": assess.ModuleMissing, "ext4": assess.ModuleInTree, "loop": assess.ModuleBuiltIn, "acme": assess.ModuleCompatible, "debug": assess.ModuleBreaks,
	}
	if d := cmp.Diff(want, verdicts(res)); d != "" {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
	if res.Kernel.Evidence != assess.EvidencePackages {
		t.Errorf("evidence %s", res.Kernel.Evidence)
	}
}

// TestModulesOfFlavour: a real-time host is judged by the real-time kernel.
func TestModulesOfFlavour(t *testing.T) {
	for _, tc := range []struct{ release, want string }{
		{"4.18.0-348.rt7.130.el8.x86_64", "kernel-rt-core-" + kernelEVR + ".x86_64"},
		{"5.14.0-427.el9.x86_64+rt", "kernel-rt-core-" + kernelEVR + ".x86_64"},
		{"5.4.17-2136.el8uek.x86_64", "kernel-core-" + kernelEVR + ".x86_64"},
		{"5.14.0-427.el9.aarch64+64k", "kernel-core-" + kernelEVR + ".x86_64"}, // no such kernel in the repositories
	} {
		w := newWorld(t)
		withKernel(w, loaded("xfs"))
		w.inv.Kernel.Release = tc.release
		w.carry("appstream", pkg("kernel-rt-core-"+kernelEVR+".x86_64", provides("kmod(xfs.ko)")))
		if got := w.assess().Kernel.Target; got != tc.want {
			t.Errorf("%s: judged by %s, want %s", tc.release, got, tc.want)
		}
	}
}

// TestOtherKernelOnly: a host with another maker's kernel only gets the whole
// of AlmaLinux's.
func TestOtherKernelOnly(t *testing.T) {
	w := newWorld(t)
	withKernel(w, loaded("megaraid_sas"))
	w.inv.Packages = slices.DeleteFunc(w.inv.Packages, func(p inventory.Package) bool { return strings.HasPrefix(p.Name, "kernel") })
	w.carry("baseos", pkg("kernel-"+kernelEVR+".x86_64", requires("kernel-core-uname-r = "+kernelEVR+".x86_64", "kernel-modules-uname-r = "+kernelEVR+".x86_64")))
	res := w.assess()
	if m := module(t, res, "megaraid_sas"); m.Verdict != assess.ModuleInTree {
		t.Errorf("megaraid_sas: %+v", m)
	}
}

// TestUnreadableModule: the way out of a file that cannot be read is no other
// reading of AlmaLinux's packages, and the sentence ends once.
func TestUnreadableModule(t *testing.T) {
	w := newWorld(t)
	m := vendor("acme")
	m.Foreign = &inventory.ForeignModule{Problem: "cannot read it: unexpected EOF"}
	withKernel(w, m)
	installKmod(w, "acme")
	for _, f := range w.assess().Findings {
		if f.ID == "kmod.unknown" {
			if strings.Contains(f.Remedy.Command, "--deep") || f.Detail != "Cannot read it: unexpected EOF." {
				t.Errorf("%q, %+v", f.Detail, f.Remedy)
			}
			return
		}
	}
	t.Error("kmod.unknown is not raised")
}

// TestOutsideModule: what is loaded by its path needs no link in a new tree.
func TestOutsideModule(t *testing.T) {
	w := newWorld(t)
	m := vendor("acme", "printk=0x11111111")
	m.File, m.Owner = "/opt/acme/acme.ko", ""
	withKernel(w, m)
	for _, f := range w.assess().Findings {
		if f.ID == "kmod.not-linked" {
			t.Errorf("%s: %s", f.ID, f.Title)
		}
	}
	if got := module(t, w.again(), "acme"); got.Verdict != assess.ModuleCompatible {
		t.Errorf("%s: %s", got.Verdict, got.Reason)
	}
}
