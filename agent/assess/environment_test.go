package assess_test

import (
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/luks"
)

const (
	worldKernel = "4.18.0-348.el8.x86_64"
	machineID   = "0123456789abcdef0123456789abcdef"
)

// cleanEnvironment is a UEFI host with room enough and nothing in the way.
func cleanEnvironment() *inventory.Environment {
	gib := uint64(1 << 30)
	mount := func(point, fs string, holds ...string) inventory.Mount {
		return inventory.Mount{Point: point, FSType: fs, Holds: holds, Known: true, Size: 20 * gib, Free: 11 * gib, Available: 10 * gib, Inodes: 1 << 20, InodesFree: 1 << 19}
	}
	esp := boot.Device{Number: "259:1", Name: "nvme0n1p1", Kind: "partition", Partition: 1, Disk: "nvme0n1", PartUUID: "aaaa", PartType: boot.ESPType}
	efi := mount("/boot/efi", "vfat", "/boot/efi")
	efi.Inodes, efi.InodesFree = 0, 0
	return &inventory.Environment{
		Firmware:    &boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootOff},
		BootManager: &boot.Manager{Order: []uint16{1}, Current: 1, Entries: []boot.Entry{{Number: 1, Description: "CentOS", Active: true, PartUUID: "aaaa", Partition: 1, File: `\EFI\centos\shimx64.efi`}}},
		ESPs:        []boot.ESP{{Mount: "/boot/efi", Device: esp, Vendors: []string{"BOOT", "centos"}}},
		LoaderFiles: []inventory.LoaderFile{{Path: "/boot/efi/EFI/centos/shimx64.efi", Package: "bash-4.4.20-1.el8.x86_64"}},
		Loader: &boot.Loader{
			Kind: "grub2", Config: "/boot/grub2/grub.cfg", BLS: true, EnvFile: "/boot/grub2/grubenv", Default: machineID + "-" + worldKernel,
			Entries: []boot.BLSEntry{{File: machineID + "-" + worldKernel, Machine: machineID, Version: worldKernel, Linux: "/vmlinuz-" + worldKernel}},
		},
		Kernels:      []inventory.InstalledKernel{{Release: worldKernel, Package: "kernel-core-4.18.0-348.el8.x86_64", Name: "kernel-core", Flavour: inventory.FlavourStock, Installed: 1600000000}},
		RunningOwner: "kernel-core-4.18.0-348.el8.x86_64",
		BootFiles:    []boot.KernelFiles{{Release: worldKernel, Image: 10 << 20, Initramfs: 60 << 20, Other: 5 << 20}},
		Mounts: []inventory.Mount{
			mount("/", "xfs", "/", "/etc", "/opt", "/srv", "/tmp", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/lib/rpm", "/var/log", "/var/tmp"),
			mount("/boot", "xfs", "/boot"),
			efi,
		},
		SELinux:      inventory.SELinux{Mode: "enforcing", Configured: "enforcing"},
		Alternatives: []inventory.Alternative{{Name: "python", Target: "/usr/bin/python3"}},
		Started:      1700000000,
		CPU:          inventory.CPU{Level: 3, Missing: []string{"avx512f"}},
		DatabaseSize: 70 << 20,
	}
}

// at changes a mount.
func (w *world) at(point string, change func(*inventory.Mount)) {
	for i := range w.inv.Environment.Mounts {
		if m := &w.inv.Environment.Mounts[i]; m.Point == point {
			change(m)
			return
		}
	}
	w.t.Fatalf("no mount %s", point)
}

// runs makes another installed kernel the running one and the default.
func (w *world) runs(k inventory.InstalledKernel) {
	e := w.inv.Environment
	w.inv.Host.Kernel = k.Release
	e.Kernels = append(e.Kernels, k)
	id := machineID + "-" + k.Release
	e.Loader.Default = id
	e.Loader.Entries = append(e.Loader.Entries, boot.BLSEntry{File: id, Machine: machineID, Version: k.Release, Linux: "/vmlinuz-" + k.Release})
}

// newKernel is a kernel update that the move brings.
func newKernel(w *world) {
	w.install("centos", pkg("kernel-core-4.18.0-348.el8.x86_64", provides("installonlypkg(kernel)")))
	w.carry("baseos", pkg("kernel-core-4.18.0-553.el8_10.x86_64", provides("installonlypkg(kernel)")))
}

// newShim is an update of what is on the ESP.
func newShim(w *world) {
	w.install("centos", pkg("shim-x64-15-1.el8.x86_64", files("/boot/efi/EFI/centos/shimx64.efi")))
	w.carry("baseos", pkg("shim-x64-15.8-1.el8.x86_64"))
}

func init() {
	type change = func(*world)
	ready, warn, blocked := assess.Ready, assess.ReadyWithWarnings, assess.Blocked
	add := func(name string, v assess.Verdict, c change, want ...string) {
		if want == nil {
			want = []string{}
		}
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{name, c, want, v})
	}
	env := func(c func(*inventory.Environment)) change { return func(w *world) { c(w.inv.Environment) } }

	// What a copied /proc says counts: the reboot is pending.
	add("captured", warn, func(w *world) {
		w.inv.Host.Live, w.inv.Host.Captured = false, true
		w.inv.Environment.RebootFlags = []string{"/run/reboot-required"}
	}, "info host.not-examined", "warning host.reboot-pending")
	add("inventory of an older version", ready, func(w *world) { w.inv.Environment = nil }, "info host.not-examined")
	add("image", ready, func(w *world) {
		w.inv.Host.Live, w.inv.Host.Kernel = false, ""
		e := w.inv.Environment
		w.inv.Environment = &inventory.Environment{Loader: e.Loader, Kernels: e.Kernels, BootFiles: e.BootFiles}
	}, "info host.not-examined")
	add("container", ready, func(w *world) {
		e := w.inv.Environment
		e.Container = inventory.Container{Kind: "docker", Evidence: "/.dockerenv"}
		// None of this is the container's own.
		e.Loader, e.Kernels, e.RunningOwner, e.ESPs = nil, nil, "", nil
		w.inv.Host.Kernel = "6.12.0-55.el10.x86_64"
		w.install("centos", pkg("systemd-239-1.el8.x86_64"))
		w.carry("baseos", pkg("systemd-239-2.el8.x86_64"))
		w.last().InstallTime = e.Started + 1
	}, "info host.container")

	// Reboots.
	add("newer kernel than the running one", warn, func(w *world) {
		w.inv.Environment.Kernels = append(w.inv.Environment.Kernels, inventory.InstalledKernel{Release: "4.18.0-400.el8.x86_64", Package: "kernel-core-4.18.0-400.el8.x86_64", Name: "kernel-core", Flavour: inventory.FlavourStock})
	}, "warning host.reboot-pending")
	add("glibc updated since the start", warn, func(w *world) {
		for i := range w.inv.Packages {
			if w.inv.Packages[i].Name == "glibc" {
				w.inv.Packages[i].InstallTime = w.inv.Environment.Started + 60
			}
		}
	}, "warning host.reboot-pending")
	add("bash updated since the start", ready, func(w *world) {
		for i := range w.inv.Packages {
			if w.inv.Packages[i].Name == "bash" {
				w.inv.Packages[i].InstallTime = w.inv.Environment.Started + 60
			}
		}
	})
	add("reboot asked for", warn, env(func(e *inventory.Environment) { e.RebootFlags = []string{"/run/reboot-required"} }), "warning host.reboot-pending")
	add("selinux off now", warn, env(func(e *inventory.Environment) { e.SELinux.Mode = "disabled" }), "warning host.selinux-off")
	add("selinux off for good", ready, env(func(e *inventory.Environment) {
		e.SELinux = inventory.SELinux{Mode: "disabled", Configured: "disabled"}
	}))
	add("selinux permissive", ready, env(func(e *inventory.Environment) { e.SELinux.Mode = "permissive" }))
	add("fips", warn, env(func(e *inventory.Environment) { e.Firmware.FIPS = true }), "warning host.fips")
	add("dnf at work", warn, env(func(e *inventory.Environment) {
		e.PackageTools = []inventory.PackageTool{{Name: "dnf", PID: 4711, Evidence: "/var/lib/rpm/.rpm.lock"}}
	}), "warning host.package-manager-running")
	add("clock behind", warn, func(w *world) { w.inv.Packages[2].BuildTime = w.inv.Taken.Add(72 * time.Hour).Unix() }, "warning host.clock")
	add("installed an hour ahead", ready, func(w *world) { w.inv.Packages[2].InstallTime = w.inv.Taken.Add(time.Hour).Unix() })
	add("old processor on el 10", blocked, func(w *world) {
		w.major, w.inv.Host.Major = 10, 10
		w.inv.Host.Distro, w.inv.Host.State = inventory.AlmaLinux, inventory.StateAlmaLinux
		w.inv.Packages, w.inv.Environment.Kernels, w.inv.Host.Kernel = nil, nil, ""
		w.inv.Keys[0].Fingerprint = "EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572"
		w.inv.Environment.CPU = inventory.CPU{Level: 2, Missing: []string{"avx2"}}
	}, "blocker host.cpu-level", "info host.already-almalinux")
	add("old processor on el 8", ready, env(func(e *inventory.Environment) { e.CPU = inventory.CPU{Level: 1, Missing: []string{"popcnt"}} }))
	add("java chosen by hand", warn, func(w *world) {
		w.install("centos", pkg("java-1.8.0-openjdk-headless-1.8.0.312-1.el8.x86_64", files("/usr/lib/jvm/java-1.8.0/jre/bin/java")))
		w.carry("appstream", pkg("java-1.8.0-openjdk-headless-1.8.0.412-1.el8.x86_64"))
		w.inv.Environment.Alternatives = append(w.inv.Environment.Alternatives, inventory.Alternative{Name: "java", Target: "/usr/lib/jvm/java-1.8.0/jre/bin/java", Manual: true})
	}, "warning host.alternatives")
	add("java chosen by itself", ready, func(w *world) {
		w.install("centos", pkg("java-1.8.0-openjdk-headless-1.8.0.312-1.el8.x86_64", files("/usr/lib/jvm/java-1.8.0/jre/bin/java")))
		w.carry("appstream", pkg("java-1.8.0-openjdk-headless-1.8.0.412-1.el8.x86_64"))
		w.inv.Environment.Alternatives = append(w.inv.Environment.Alternatives, inventory.Alternative{Name: "java", Target: "/usr/lib/jvm/java-1.8.0/jre/bin/java"})
	})
	add("alternative that points to nothing", ready, env(func(e *inventory.Environment) {
		e.Alternatives = []inventory.Alternative{{Name: "mta", Target: "/usr/sbin/sendmail.postfix", Broken: true}, {Name: "mta-mailqman", Target: "/usr/share/man/man1/mailq.1.gz", Broken: true}}
	}), "info host.alternatives")

	// Boot.
	add("no loader", ready, env(func(e *inventory.Environment) { e.Loader = &boot.Loader{Kind: "unknown"} }), "info boot.no-loader")
	add("systemd-boot", warn, env(func(e *inventory.Environment) {
		e.Loader = &boot.Loader{Kind: "systemd-boot", Config: "/boot/efi/loader/loader.conf", BLS: true}
	}), "warning boot.other-loader")
	add("zipl on a mainframe", ready, func(w *world) {
		w.inv.Host.Arch, w.inv.Packages, w.inv.Repos = "s390x", nil, nil
		w.inv.Environment.Loader = &boot.Loader{Kind: "zipl", Config: "/etc/zipl.conf", BLS: true}
		w.inv.Environment.Firmware = &boot.Firmware{}
	})
	add("grubenv damaged", warn, env(func(e *inventory.Environment) { e.Loader.EnvProblem, e.Loader.Default = "malformed", "" }), "warning boot.grubenv")
	add("no entries", warn, env(func(e *inventory.Environment) { e.Loader.Entries = nil }), "warning boot.no-entries")
	add("no entries, and grub.cfg does not ask for them", ready, env(func(e *inventory.Environment) { e.Loader.Entries, e.Loader.BLS = nil, false }))
	add("initramfs gone", warn, env(func(e *inventory.Environment) {
		e.Loader.Entries[0].Missing = []string{"/initramfs-" + worldKernel + ".img"}
	}), "warning boot.entry-broken")
	add("default gone", warn, env(func(e *inventory.Environment) { e.Loader.Default = machineID + "-4.18.0-1.el8.x86_64" }), "warning boot.default-missing")
	add("default by number", ready, env(func(e *inventory.Environment) { e.Loader.Default = "0" }))
	add("grub.cfg cut off", warn, env(func(e *inventory.Environment) {
		e.Loader.ConfigProblem = "it ends in the middle of /etc/grub.d/10_linux"
	}), "warning boot.grub-config")
	add("grub.cfg does not read the entries", warn, env(func(e *inventory.Environment) { e.Loader.BLS = false }), "warning boot.entries-unread")
	add("grub.cfg goes on to another file", ready, env(func(e *inventory.Environment) { e.Loader.BLS, e.Loader.Chained = false, true }))
	add("a list of one's own is meant", ready, env(func(e *inventory.Environment) { e.Loader.BLS, e.Loader.Disabled = false, true }))
	add("no entry of the running kernel", warn, env(func(e *inventory.Environment) {
		e.Loader.Entries[0].Version, e.Loader.Entries[0].Linux = "5.5", "/vmlinuz-5.5"
	}), "warning boot.default-other", "warning boot.entry-missing")
	older := boot.BLSEntry{File: machineID + "-4.18.0-80.el8.x86_64", Machine: machineID, Version: "4.18.0-80.el8.x86_64", Linux: "/vmlinuz-4.18.0-80.el8.x86_64"}
	add("older kernel is the default", warn, env(func(e *inventory.Environment) {
		e.Loader.Entries, e.Loader.Default = append(e.Loader.Entries, older), older.File
	}), "warning boot.default-other")
	add("older kernel is there", ready, env(func(e *inventory.Environment) { e.Loader.Entries = append(e.Loader.Entries, older) }))
	add("new kernels are no default", warn, env(func(e *inventory.Environment) { e.KernelChoice.Update = "no" }), "warning boot.default-kernel-type")
	realTime := func(w *world) {
		withKernel(w, loaded("xfs"))
		w.inv.Kernel.Release, w.inv.Host.Kernel = "4.18.0-348.rt7.130.el8.x86_64", "4.18.0-348.rt7.130.el8.x86_64"
		w.inv.Environment.KernelChoice = inventory.KernelChoice{Update: "yes", Package: "kernel-rt"}
	}
	rt := pkg("kernel-rt-core-4.18.0-553.rt7.342.el8_10.x86_64", provides("kernel-rt-core-uname-r = 4.18.0-553.rt7.342.el8_10.x86_64", "kmod(xfs.ko)"))
	add("a real-time kernel, and AlmaLinux's comes", ready, func(w *world) {
		realTime(w)
		w.carry("baseos", rt)
	})
	add("a real-time kernel, and AlmaLinux's is off", warn, func(w *world) {
		realTime(w)
		w.carry("powertools", rt)
	}, "warning boot.default-kernel-type", "warning boot.kernel-flavour")
	skewed := func(live bool, ahead ...time.Duration) change {
		return func(w *world) {
			w.inv.Host.Live = live
			for i := range ahead {
				w.repos[i].ClockAhead = &ahead[i]
			}
		}
	}
	add("the clock is ahead", warn, skewed(true, 3*time.Hour, 3*time.Hour), "warning host.clock")
	add("the clock is behind the mirrors'", warn, skewed(true, -72*time.Hour, time.Second, -73*time.Hour), "warning host.clock")
	add("the clock differs a little", ready, skewed(true, 14*time.Minute))
	add("one mirror's clock is wrong", ready, skewed(true, 0, 9*time.Hour, time.Second))
	add("uek is the default", warn, env(func(e *inventory.Environment) { e.KernelChoice.Package = "kernel-uek" }), "warning boot.default-kernel-type")
	add("standard kernels are the default", ready, env(func(e *inventory.Environment) {
		e.KernelChoice = inventory.KernelChoice{Update: "yes", Package: "kernel-core"}
	}))
	add("cloned host", warn, env(func(e *inventory.Environment) { e.OtherMachine = []string{e.Loader.Entries[0].File} }), "warning boot.other-machine-id")
	add("runs uek", warn, func(w *world) {
		w.runs(inventory.InstalledKernel{Release: "5.15.0-206.153.7.el8uek.x86_64", Package: "kernel-uek-core-5.15.0-206.153.7.el8uek.x86_64", Name: "kernel-uek-core", Flavour: inventory.FlavourUEK})
	}, "warning boot.kernel-flavour")
	add("runs a provider's kernel", warn, func(w *world) {
		w.inv.Host.Kernel, w.inv.Environment.RunningOwner = "6.1.10-x86_64-linode159", ""
	}, "warning boot.kernel-flavour")
	add("uek beside", ready, env(func(e *inventory.Environment) {
		e.Kernels = append(e.Kernels, inventory.InstalledKernel{Release: "5.15.0-206.el8uek.x86_64", Package: "kernel-uek-core-5.15.0-206.el8uek.x86_64", Name: "kernel-uek-core", Flavour: inventory.FlavourUEK})
	}), "info boot.kernel-flavour")
	add("kernel of nobody", warn, func(w *world) { w.inv.Host.Kernel, w.inv.Environment.RunningOwner = "6.6.30", "" }, "warning boot.kernel-unowned")
	add("live patch", ready, env(func(e *inventory.Environment) { e.LivePatches = []string{"kpatch_4_18_0_348_1_1"} }), "info boot.live-patch")
	add("esp not mounted", blocked, func(w *world) {
		newShim(w)
		w.inv.Environment.ESPs[0].Mount = ""
		w.inv.Environment.Mounts = w.inv.Environment.Mounts[:2]
	}, "blocker boot.esp-not-mounted")
	add("esp mounted on first use", ready, func(w *world) {
		newShim(w)
		w.inv.Environment.ESPs[0].Mount = ""
		w.at("/boot/efi", func(m *inventory.Mount) { m.FSType, m.Known = "autofs", false })
	})
	add("esp not mounted on a host without shim", ready, env(func(e *inventory.Environment) { e.ESPs[0].Mount = "" }))
	add("bios", ready, env(func(e *inventory.Environment) {
		e.Firmware, e.BootManager, e.ESPs, e.LoaderFiles, e.Mounts = &boot.Firmware{}, nil, nil, nil, e.Mounts[:2]
	}))
	add("two esps", ready, env(func(e *inventory.Environment) {
		e.ESPs = append(e.ESPs, boot.ESP{Device: boot.Device{Name: "sdb1", Kind: "partition", PartType: boot.ESPType, PartUUID: "bbbb"}})
	}), "info boot.esp-several")
	add("esp on md", warn, env(func(e *inventory.Environment) {
		part := e.ESPs[0].Device
		e.ESPs[0].Device = boot.Device{Name: "md127", Kind: "md", Level: "raid1", Below: []boot.Device{part}}
	}), "warning boot.esp-on-raid")
	add("esp of nowhere", warn, env(func(e *inventory.Environment) { e.ESPProblems = []string{"cannot find the block device 8:1 in sysfs"} }), "warning boot.esp-unknown")
	add("efivars read-only", warn, env(func(e *inventory.Environment) {
		e.Mounts = append(e.Mounts, inventory.Mount{Point: "/sys/firmware/efi/efivars", FSType: "efivarfs", ReadOnly: true})
	}), "warning boot.efivars-read-only")
	add("fallback boot", ready, env(func(e *inventory.Environment) { e.BootManager.Entries[0].PartUUID = "cccc" }), "info boot.no-firmware-entry")
	add("shim put there by hand", warn, env(func(e *inventory.Environment) { e.LoaderFiles[0].Package = "" }), "warning boot.loader-unowned")
	add("grub of another vendor", warn, func(w *world) {
		w.install("epel", pkg("own-grub-1-1.el8.x86_64"))
		w.inv.Environment.LoaderFiles[0] = inventory.LoaderFile{Path: "/boot/efi/EFI/own/grubx64.efi", Package: "own-grub-1-1.el8.x86_64"}
	}, "info pkg.third-party", "warning boot.loader-unowned")
	add("tpm", warn, env(func(e *inventory.Environment) {
		e.Crypt = []inventory.CryptVolume{{Name: "luks-root", Source: "UUID=1", Options: "tpm2-device=auto,discard"}}
	}), "warning boot.sealed-key")
	add("clevis", warn, func(w *world) {
		w.inv.Environment.Crypt = []inventory.CryptVolume{{Name: "luks-root", Source: "UUID=1"}}
		w.install("centos", pkg("clevis-luks-15-1.el8.x86_64"))
		w.carry("appstream", pkg("clevis-luks-15-1.el8.x86_64"))
	}, "warning boot.sealed-key")
	add("luks by passphrase", ready, env(func(e *inventory.Environment) {
		e.Crypt = []inventory.CryptVolume{{Name: "luks-root", Source: "UUID=1"}}
	}))

	sealed := func(change func(*inventory.CryptVolume), tokens ...luks.Token) func(*world) {
		return env(func(e *inventory.Environment) {
			v := inventory.CryptVolume{Name: "luks-root", Source: "UUID=1", Device: "/dev/sda3", Header: &luks.Header{Version: 2, Keyslots: []int{0, 1}, Tokens: tokens}}
			if change != nil {
				change(&v)
			}
			e.Crypt = []inventory.CryptVolume{v}
		})
	}
	tpm := func(pcrs ...int) luks.Token {
		return luks.Token{Type: "systemd-tpm2", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: pcrs}}}
	}
	tang := luks.Token{Type: "clevis", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tang", URL: "http://tang"}}}
	policy := func(needed int) luks.Token {
		return luks.Token{Type: "clevis", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tang", OneOf: 2, Needed: needed}, {Kind: "tpm2", PCRs: []int{4}, OneOf: 2, Needed: needed}}}
	}
	add("luks, bound to the boot programs", warn, sealed(nil, tpm(0, 4)), "warning boot.sealed-key")
	add("luks, bound to the firmware only", ready, sealed(nil, tpm(0, 2)), "info boot.sealed-key")
	add("luks, tang", ready, sealed(nil, tang), "info boot.sealed-key")
	add("luks, tang beside the TPM", ready, sealed(nil, tpm(4), tang), "info boot.sealed-key")
	add("luks, one of TPM and tang", ready, sealed(nil, policy(1)), "info boot.sealed-key")
	add("luks, both TPM and tang", warn, sealed(nil, policy(2)), "warning boot.sealed-key")
	add("luks, a signed policy", warn, sealed(nil, luks.Token{Type: "systemd-tpm2", Unlock: []luks.Unlock{{Kind: "tpm2", Signed: []int{4}}}}), "warning boot.sealed-key")
	add("luks, a binding that cannot be read", warn, sealed(nil, luks.Token{Type: "clevis", Keyslots: []int{1}, Problem: "damaged"}), "warning boot.sealed-key")
	add("luks, no passphrase", blocked, sealed(func(v *inventory.CryptVolume) { v.Header.Keyslots = []int{1} }, tpm(7)), "blocker boot.sealed-key")
	add("luks, a recovery key", warn, sealed(func(v *inventory.CryptVolume) { v.Header.Keyslots = []int{1, 2} }, tpm(7), luks.Token{Type: "systemd-recovery", Keyslots: []int{2}}), "warning boot.sealed-key")
	add("luks, fido2", ready, sealed(nil, luks.Token{Type: "systemd-fido2", Keyslots: []int{1}}))

	// Space.
	add("boot too small", blocked, func(w *world) {
		newKernel(w)
		w.at("/boot", func(m *inventory.Mount) { m.Free, m.Available = 60<<20, 60<<20 })
	}, "blocker boot.full")
	add("boot holds root's reserve only", warn, func(w *world) {
		newKernel(w)
		w.at("/boot", func(m *inventory.Mount) { m.Free, m.Available = 80<<20, 60<<20 })
	}, "warning boot.full")
	add("boot small, no new kernel", ready, func(w *world) {
		w.at("/boot", func(m *inventory.Mount) { m.Free, m.Available = 60<<20, 60<<20 })
	})
	add("esp too small", blocked, func(w *world) {
		newShim(w)
		w.at("/boot/efi", func(m *inventory.Mount) { m.Free, m.Available = 900, 900 })
	}, "blocker boot.esp-full")
	add("esp nearly too small", warn, func(w *world) {
		newShim(w)
		w.at("/boot/efi", func(m *inventory.Mount) { m.Free, m.Available = 10<<20, 900 })
	}, "warning boot.esp-full")
	add("disk full", blocked, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.Free, m.Available = 20<<20, 20<<20 })
	}, "blocker space.short")
	add("disk holds root's reserve only", warn, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.Free, m.Available = 1<<30, 20<<20 })
	}, "warning space.short")
	add("disk nearly full", warn, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.Available = 248 << 20 })
	}, "warning space.tight")
	add("no inodes", blocked, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.InodesFree = 3 })
	}, "blocker space.inodes")
	add("file system that makes inodes as needed", ready, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.Inodes, m.InodesFree = 0, 0 })
	})
	add("free space not known", ready, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.Known, m.Free, m.Available, m.InodesFree = false, 0, 0, 0 })
	})

	// File systems.
	add("usr read-only", blocked, func(w *world) {
		w.inv.Environment.Mounts = append(w.inv.Environment.Mounts, inventory.Mount{Point: "/usr", FSType: "xfs", ReadOnly: true, Holds: []string{"/usr"}})
	}, "blocker fs.read-only")
	add("mnt read-only, filesystem owns it", blocked, func(w *world) {
		w.install("centos", pkg("filesystem-3.8-3.el8.x86_64", files("/mnt", "/sys")))
		w.carry("baseos", pkg("filesystem-3.8-6.el8.x86_64"))
		w.inv.Environment.Mounts = append(w.inv.Environment.Mounts, inventory.Mount{Point: "/mnt", FSType: "iso9660", ReadOnly: true})
	}, "blocker fs.read-only")
	add("sys read-only in a container", warn, func(w *world) {
		w.install("centos", pkg("filesystem-3.8-3.el8.x86_64", files("/mnt", "/sys")))
		w.carry("baseos", pkg("filesystem-3.8-6.el8.x86_64"))
		w.inv.Environment.Container = inventory.Container{Kind: "docker", Evidence: "/.dockerenv"}
		w.inv.Environment.Mounts = append(w.inv.Environment.Mounts, inventory.Mount{Point: "/sys", FSType: "sysfs", ReadOnly: true})
	}, "info host.container", "warning fs.read-only")
	add("data read-only", ready, func(w *world) {
		w.inv.Environment.Mounts = append(w.inv.Environment.Mounts, inventory.Mount{Point: "/data", FSType: "xfs", ReadOnly: true}, inventory.Mount{Point: "/opt", FSType: "squashfs", ReadOnly: true, Holds: []string{"/opt"}})
	})
	add("os-release immutable", blocked, func(w *world) {
		p := &w.inv.Packages[0]
		p.Files.Dirs, p.Files.DirIndex, p.Files.Base = append(p.Files.Dirs, "/usr/lib/"), append(p.Files.DirIndex, 1), append(p.Files.Base, "os-release")
		w.inv.Environment.Flagged = []inventory.FlaggedFile{{Path: "/usr/lib/os-release", Immutable: true}}
	}, "blocker fs.immutable")
	add("folder append-only", blocked, env(func(e *inventory.Environment) {
		e.Flagged = []inventory.FlaggedFile{{Path: "/usr/bin", AppendOnly: true, Folder: true}}
	}), "blocker fs.immutable")
	add("passwd immutable", warn, env(func(e *inventory.Environment) {
		e.Flagged = []inventory.FlaggedFile{{Path: "/etc/passwd", Immutable: true}}
	}), "warning fs.immutable")
	add("root on btrfs", blocked, func(w *world) { w.at("/", func(m *inventory.Mount) { m.FSType = "btrfs" }) }, "blocker fs.btrfs")
	add("root on btrfs with elrepo's kernel", warn, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.FSType = "btrfs" })
		w.runs(inventory.InstalledKernel{Release: "6.8.9-1.el8.elrepo.x86_64", Package: "kernel-ml-core-6.8.9-1.el8.elrepo.x86_64", Name: "kernel-ml-core", Flavour: inventory.FlavourML})
	}, "warning boot.kernel-flavour", "warning fs.btrfs")
	add("data on btrfs", ready, env(func(e *inventory.Environment) {
		e.Mounts = append(e.Mounts, inventory.Mount{Point: "/opt", FSType: "btrfs", Holds: []string{"/opt"}})
	}))
	add("overlay root", ready, func(w *world) {
		w.at("/", func(m *inventory.Mount) { m.FSType = "overlay" })
		w.inv.Environment.Loader.Entries = nil // not its own
	}, "info fs.overlay-root")

	// Who else manages the host.
	add("cpanel", warn, env(func(e *inventory.Environment) {
		e.Panels = []inventory.Panel{{Name: "cpanel", Version: "11.110.0.15", Path: "/usr/local/cpanel/cpanel"}}
	}), "warning panel.present")
	add("plesk", warn, env(func(e *inventory.Environment) {
		e.Panels = []inventory.Panel{{Name: "plesk", Version: "18.0.35", Path: "/usr/local/psa/version"}}
	}), "warning panel.present")
	add("old plesk", blocked, env(func(e *inventory.Environment) {
		e.Panels = []inventory.Panel{{Name: "plesk", Version: "18.0.9", Path: "/usr/local/psa/version"}}
	}), "blocker panel.too-old")
	add("panel that the catalogue lost", ready, env(func(e *inventory.Environment) { e.Panels = []inventory.Panel{{Name: "gone", Path: "/opt/gone"}} }))
	manage := func(kind string) change {
		return env(func(e *inventory.Environment) {
			e.Management = []inventory.Management{{Kind: kind, Server: "host.example.org", Evidence: "/etc/x"}}
		})
	}
	add("rhsm", ready, manage("rhsm"), "info mgmt.subscription")
	add("satellite", warn, manage("satellite"), "warning mgmt.satellite")
	add("uyuni", warn, manage("uyuni"), "warning mgmt.uyuni")
	add("spacewalk", warn, manage("rhn"), "warning mgmt.spacewalk")
	add("rhui", warn, func(w *world) {
		w.install("epel", pkg("rh-amazon-rhui-client-4.0-1.el8.noarch"))
	}, "info pkg.third-party", "warning mgmt.rhui")
	add("falcon", warn, func(w *world) { w.install("?", pkg("falcon-sensor-7.10-1.el8.x86_64")) },
		"info pkg.signature-unknown-key", "info pkg.third-party", "warning mgmt.agent")
}

// TestSpace: what is needed is computed from the packages that come.
func TestSpace(t *testing.T) {
	w := newWorld(t)
	newKernel(w)
	res := w.assess()
	if len(res.Space) != 2 || res.Space[0].Mount != "/" || res.Space[1].Mount != "/boot" {
		t.Fatalf("%+v", res.Space)
	}
	part := func(n assess.SpaceNeed, what string) uint64 {
		t.Helper()
		for _, p := range n.Parts {
			if strings.Contains(p.What, what) {
				return p.Bytes
			}
		}
		t.Errorf("%s: no part %q in %+v", n.Mount, what, n.Parts)
		return 0
	}
	// One more kernel is as large as the one that is there.
	if got := part(res.Space[1], "kernel"); got != 75<<20 || res.Space[1].Need != got {
		t.Errorf("/boot: %d bytes", got)
	}
	// bash, glibc, coreutils, the kernel, and the release package for two of the old ones.
	root := res.Space[0]
	if got := part(root, "download"); got != 5*1000 {
		t.Errorf("download: %d bytes", got)
	}
	moved := uint64(0)
	for _, p := range res.Packages {
		if p.Verdict != assess.Same {
			moved++
		}
	}
	want := moved*128<<10 + 2*70<<20*moved/uint64(len(res.Packages))
	if got := part(root, "rpm database"); got != want {
		t.Errorf("rpm database: %d bytes, want %d for %d packages", got, want, moved)
	}
	sum := uint64(0)
	for _, p := range root.Parts {
		sum += p.Bytes
	}
	if sum != root.Need {
		t.Errorf("parts make %d, need is %d", sum, root.Need)
	}

	// Each part is asked of the file system that it will be on.
	w = newWorld(t)
	e := w.inv.Environment
	v := e.Mounts[0]
	v.Point, v.Holds = "/var", []string{"/var", "/var/cache", "/var/lib", "/var/lib/rpm", "/var/log", "/var/tmp"}
	e.Mounts[0].Holds = []string{"/", "/etc", "/opt", "/srv", "/tmp", "/usr", "/usr/local"}
	e.Mounts = append(e.Mounts, v)
	byMount := map[string]assess.SpaceNeed{}
	for _, n := range w.assess().Space {
		byMount[n.Mount] = n
	}
	part(byMount["/var"], "download")
	part(byMount["/var"], "rpm database")
	part(byMount["/var"], "saved packages")
	part(byMount["/"], "configuration")

	// Nothing changes: nothing is needed.
	w = newWorld(t)
	w.inv.Packages = nil
	if res := w.assess(); len(res.Space) != 0 {
		t.Errorf("%+v", res.Space)
	}
}

// TestHalfMigrated: the finding says how far it is, the way on and the way back.
func TestHalfMigrated(t *testing.T) {
	w := newWorld(t)
	w.inv.Host.State, w.inv.Host.StateReason = inventory.StateHalf, "os-release says AlmaLinux, the packages are CentOS's"
	w.install("almalinux", pkg("almalinux-release-8.10-1.el8.x86_64"))
	f := finding(t, w.assess(), "host.half-migrated")
	for _, want := range []string{"1 package is AlmaLinux's", "5 packages are the source distribution's", "almamigrate migrate --full", "dnf distro-sync", "almamigrate rollback", "dnf history undo"} {
		if !strings.Contains(f.Detail, want) {
			t.Errorf("%q is not in %q", want, f.Detail)
		}
	}
	if !strings.Contains(f.Remedy.Command, "almamigrate plan --full") {
		t.Errorf("%+v", f.Remedy)
	}
}

// TestGrubenvRemedy: what a block holds, the kernels' options on EL8, is not to
// be thrown away with it.
func TestGrubenvRemedy(t *testing.T) {
	for _, env := range []map[string]string{nil, {"kernelopts": "root=/dev/sda2 ro"}} {
		w := newWorld(t)
		l := w.inv.Environment.Loader
		l.EnvFile, l.EnvProblem, l.Env = "/boot/grub2/grubenv", "no room", env
		got := finding(t, w.assess(), "boot.grubenv").Remedy.Command
		if keeps := strings.Contains(got, "cp -p /boot/grub2/grubenv /boot/grub2/grubenv.old && ") && strings.Contains(got, "grub2-editenv /boot/grub2/grubenv.old list"); keeps != (env != nil) {
			t.Errorf("of %v: %s", env, got)
		}
		if !strings.Contains(got, "grub2-editenv /boot/grub2/grubenv create") {
			t.Errorf("of %v: %s", env, got)
		}
	}
}

func TestKernelFlavour(t *testing.T) {
	for _, c := range []struct{ name, release, want string }{
		{"kernel-core", "4.18.0-348.el8.x86_64", "stock"},
		{"kernel", "3.10.0-1160.el7.x86_64", "stock"},
		{"kernel-uek", "5.4.17-2136.el8uek.x86_64", "uek"},
		{"kernel-plus", "3.10.0-1160.el7.centos.plus.x86_64", "plus"},
		{"kernel-ml-core", "6.8.9-1.el9.elrepo.x86_64", "elrepo-ml"},
		{"kernel-lt", "5.4.275-1.el8.elrepo.x86_64", "elrepo-lt"},
		{"kernel-rt-core", "5.14.0-70.rt21.el9.x86_64", "rt"},
		{"kernel-rt-core", "5.14.0-427.el9.x86_64+rt", "rt"},
		{"kernel-64k-core", "5.14.0-427.el9.aarch64+64k", "64k"},
		{"", "6.1.10-x86_64-linode159", "linode"},
		{"", "6.8.0-azure", "cloud"},
		{"", "5.14.0-427.el9.x86_64", "stock"},
		{"", "6.6.30", "other"},
	} {
		if got := inventory.KernelFlavour(c.name, c.release); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.release, got, c.want)
		}
	}
}

// TestMemberEntries: an ESP on an array says for each member whether the
// firmware would start from it.
func TestMemberEntries(t *testing.T) {
	w := newWorld(t)
	e := w.inv.Environment
	part := e.ESPs[0].Device
	other := boot.Device{Name: "sdb1", Kind: "partition", PartUUID: "bbbb"}
	e.ESPs[0].Device = boot.Device{Name: "md127", Kind: "md", Level: "raid1", Below: []boot.Device{part, other}}
	for _, f := range w.assess().Findings {
		if f.ID != "boot.esp-on-raid" {
			continue
		}
		if len(f.Resources) != 3 || !strings.HasPrefix(f.Resources[1].Detail, "boot entry 0") || f.Resources[2] != (assess.Resource{Kind: "device", Name: "/dev/sdb1", Detail: "no boot entry of the firmware names it"}) {
			t.Errorf("%+v", f.Resources)
		}
		return
	}
	t.Error("boot.esp-on-raid is not raised")
}
