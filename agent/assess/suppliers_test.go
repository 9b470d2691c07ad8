package assess_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

const elrepoEnable = "dnf install https://www.elrepo.org/elrepo-release-8.el8.elrepo.noarch.rpm"

// elrepo adds ELRepo as the check knows it when the host has not enabled it.
func elrepo(w *world, pkgs ...rpm) *assess.Supplier {
	s := assess.Supplier{Title: "ELRepo", Package: "elrepo-release", Enable: elrepoEnable}
	s.ID, s.URL = "elrepo", "https://elrepo.org/linux/elrepo/el8/x86_64/"
	w.others = append(w.others, s)
	w.carry("elrepo", pkgs...)
	return &w.others[len(w.others)-1]
}

func init() {
	add := func(name string, verdict assess.Verdict, want []string, change func(*world)) {
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{"module repositories: " + name, change, want, verdict})
	}
	fitting := pkg("kmod-hpsa_old-2-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x11111111", "kernel >= 4.18.0-553.el8_10"))
	add("ELRepo has it", assess.ReadyWithWarnings, []string{"warning kmod.supplied"}, func(w *world) {
		withKernel(w, loaded("hpsa_old"))
		elrepo(w, fitting)
	})
	add("ELRepo has it, root hangs on it", assess.Blocked, []string{"blocker kmod.supplied"}, func(w *world) {
		withKernel(w, rooted(loaded("hpsa_old")))
		elrepo(w, fitting)
	})
	add("ELRepo has it for another kernel", assess.ReadyWithWarnings, []string{"warning kmod.missing"}, func(w *world) {
		withKernel(w, loaded("hpsa_old"))
		elrepo(w, pkg("kmod-hpsa_old-2-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel >= 4.18.0-999.el8_11")))
		w.carry("baseos", pkg("kernel-"+kernelEVR+".x86_64"))
	})
	add("ELRepo has a build that fits", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.supplied"}, func(w *world) {
		withKernel(w, vendor("acme", "printk=0x99999999"))
		installKmod(w, "acme")
		elrepo(w, pkg("kmod-acme-2-1.el8.x86_64", provides("kmod(acme.ko)"), requires("kernel(printk) = 0x11111111"))).Enabled = true
	})
	add("ELRepo has a build of which nothing is known", assess.ReadyWithWarnings, []string{"info pkg.signature-unknown-key", thirdParty, "warning kmod.breaks"}, func(w *world) {
		withKernel(w, vendor("acme", "printk=0x99999999"))
		installKmod(w, "acme")
		elrepo(w, pkg("kmod-acme-2-1.el8.x86_64", provides("kmod(acme.ko)")))
	})
	add("ELRepo could not be asked", assess.ReadyWithWarnings, []string{"warning kmod.missing"}, func(w *world) {
		withKernel(w, loaded("hpsa_old"))
		elrepo(w).Err = errors.New("no route to host")
	})
	add("ELRepo claims the device", assess.Blocked, []string{"blocker hw.id-dropped"}, func(w *world) {
		withKernel(w, rooted(loaded("megaraid_sas")))
		w.inv.Kernel.Devices = []inventory.KernelDevice{device("pci:v00001000d00000FFFsv00001028sd00001F49bc01sc04i00", "megaraid_sas", true, inventory.RoleRoot)}
		elrepo(w, pkg("kmod-megaraid_sas-7-1.el8.x86_64", provides("kmod(megaraid_sas.ko)", "modalias(pci:v00001000d00000FFFsv*sd*bc*sc*i*)"), requires("kernel(printk) = 0x11111111")))
	})
}

func TestSuppliedByOthers(t *testing.T) {
	fit := pkg("kmod-hpsa_old-2-1.el8.x86_64", provides("kmod(hpsa-old.ko)"), requires("kernel(printk) = 0x11111111"))
	for _, tc := range []struct {
		name            string
		change          func(w *world, s *assess.Supplier)
		reason, command string
	}{
		{"not on the host", func(*world, *assess.Supplier) {},
			"AlmaLinux's kernel does not have it; supplied by kmod-hpsa_old in ELRepo (not enabled: " + elrepoEnable + ")",
			elrepoEnable + " && dnf install kmod-hpsa_old"},
		{"its release package is in AlmaLinux's repositories", func(w *world, _ *assess.Supplier) { w.carry("appstream", pkg("elrepo-release-8.4-2.el8.noarch")) },
			"AlmaLinux's kernel does not have it; supplied by kmod-hpsa_old in ELRepo (not enabled: dnf install elrepo-release)",
			"dnf install elrepo-release && dnf install kmod-hpsa_old"},
		{"off on the host", func(_ *world, s *assess.Supplier) { s.Host = []string{"elrepo-el8"} },
			"AlmaLinux's kernel does not have it; supplied by kmod-hpsa_old in ELRepo (not enabled: dnf --enablerepo=elrepo-el8)",
			"dnf --enablerepo=elrepo-el8 install kmod-hpsa_old"},
		{"enabled on the host", func(_ *world, s *assess.Supplier) { s.Enabled = true },
			"AlmaLinux's kernel does not have it; supplied by kmod-hpsa_old in ELRepo", "dnf install kmod-hpsa_old"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			withKernel(w, loaded("hpsa_old"), loaded("xfs"))
			tc.change(w, elrepo(w, fit))
			res := w.assess()
			m := module(t, res, "hpsa_old")
			if m.Verdict != assess.ModuleSupplied || m.Reason != tc.reason || m.RepoName != "ELRepo" || m.Trusted == assess.TrustYes {
				t.Errorf("%+v\nwant reason %q", m, tc.reason)
			}
			f := finding(t, res, "kmod.supplied")
			if f.Remedy.Command != tc.command {
				t.Errorf("remedy %q, want %q", f.Remedy.Command, tc.command)
			}
			if !strings.Contains(f.Detail, "nothing of it counts as verified") {
				t.Errorf("an unknown key is not told: %s", f.Detail)
			}
			if d := cmp.Diff([]string{"hpsa_old"}, res.Unsupplied()); d != "" {
				t.Error(d)
			}
			k := res.Kernel.Suppliers
			if len(k) != 1 || k[0].ID != "elrepo" || k[0].Packages != 1 || k[0].Signed != "none" {
				t.Errorf("%+v", k)
			}
		})
	}
}

// What AlmaLinux has is not looked for elsewhere, and nobody is asked for a
// module that the host does without.
func TestUnsupplied(t *testing.T) {
	w := newWorld(t)
	m := loaded("mbcache")
	m.UsedBy = []string{"xfs"}
	ram := inventory.KernelModule{Name: "old_raid", Roles: []string{inventory.RoleInitramfs}}
	withKernel(w, loaded("xfs"), loaded("sctp"), loaded("hpsa_old"), m, ram, loaded("btrfs"), vendor("acme", "printk=0x99999999"), vendor("fits", "printk=0x11111111"))
	w.carry("powertools", pkg("kmod-hpsa_old-1-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x11111111")))
	elrepo(w, pkg("kmod-hpsa_old-9-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x11111111")))
	res := w.assess()
	if d := cmp.Diff([]string{"acme", "btrfs"}, res.Unsupplied()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if r := module(t, res, "hpsa_old"); r.Repo != "powertools" || r.RepoName != "" {
		t.Errorf("AlmaLinux's own comes first: %+v", r)
	}
	if r := module(t, res, "btrfs"); !strings.Contains(r.Reason, "nor has ELRepo") {
		t.Errorf("who was asked is not told: %s", r.Reason)
	}
	w.inv.Kernel.Modules = slices.DeleteFunc(w.inv.Kernel.Modules, func(m inventory.KernelModule) bool { return m.Name == "acme" || m.Name == "btrfs" })
	if n := w.assess().Unsupplied(); len(n) > 0 {
		t.Errorf("asks for %v", n)
	}
}

// A module that fits, but builds on one that is to be replaced, has no proof.
func TestBuildsOnReplaced(t *testing.T) {
	w := newWorld(t)
	spl := vendor("spl", "printk=0x99999999")
	spl.Foreign.Exports = []string{"spl_init=0x00000005"}
	zfs := vendor("zfs", "printk=0x11111111", "spl_init=0x00000005")
	zfs.Foreign.Depends = []string{"spl"}
	withKernel(w, spl, zfs)
	elrepo(w, pkg("kmod-spl-9-1.el8.x86_64", provides("kmod(spl.ko)"), requires("kernel(printk) = 0x11111111")))
	res := w.assess()
	if s, z := module(t, res, "spl"), module(t, res, "zfs"); s.Verdict != assess.ModuleSupplied || !strings.HasPrefix(s.Reason, "0 of 1 imported symbols met; 1 changed (printk)") || z.Verdict != assess.ModuleUnknown {
		t.Errorf("spl %s: %s; zfs %s: %s", s.Verdict, s.Reason, z.Verdict, z.Reason)
	}
}

// Under Secure Boot the supplier's certificate matters.
func TestSupplierSecureBoot(t *testing.T) {
	w := newWorld(t)
	withKernel(w, loaded("hpsa_old"))
	w.inv.Kernel.Trust.SecureBoot = "enabled"
	s := elrepo(w, pkg("kmod-hpsa_old-2-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x11111111")))
	s.Signature = "good 5b8e1a767ae06d54"
	f := finding(t, w.assess(), "kmod.supplied")
	if !strings.Contains(f.Detail, "mokutil --import") || strings.Contains(f.Detail, "counts as verified") {
		t.Error(f.Detail)
	}
}

// Synergy's repo file comes with a package of its own.
func TestSynergy(t *testing.T) {
	w := newWorld(t)
	withKernel(w, loaded("hpsa_old"))
	w.repos = append(w.repos, assess.TargetRepo{ID: "almalinux-synergy", Name: "Synergy", URL: "file:///synergy", Revision: "1", Signature: "none"})
	w.carry("almalinux-synergy", pkg("kmod-hpsa_old-2-1.el8.x86_64", provides("kmod(hpsa_old.ko)"), requires("kernel(printk) = 0x11111111")))
	res := w.assess()
	want := "dnf install almalinux-release-synergy && dnf install kmod-hpsa_old"
	if f := finding(t, res, "kmod.supplied"); f.Remedy.Command != want {
		t.Errorf("%q, want %q", f.Remedy.Command, want)
	}
	if m := module(t, res, "hpsa_old"); m.Repo != "almalinux-synergy" || m.Trusted == assess.TrustYes {
		t.Errorf("%+v", m)
	}
}
