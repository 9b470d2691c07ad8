package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
)

// bootWorld is a UEFI host with an NVMe disk, its ESP being partition 12.
func bootWorld() (Input, *Plan) {
	esp := boot.Device{Number: "259:12", Name: "nvme0n1p12", Kind: "partition", Partition: 12, Disk: "nvme0n1", PartUUID: "aaaa"}
	in := Input{Inventory: &inventory.Inventory{
		Environment: &inventory.Environment{
			Firmware: &boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootOff},
			BootManager: &boot.Manager{Order: []uint16{0, 3, 4}, Current: 3, Entries: []boot.Entry{
				{Number: 0, Description: "Windows Boot Manager", Active: true, PartUUID: "aaaa", Partition: 12, File: `\EFI\Microsoft\Boot\bootmgfw.efi`},
				{Number: 3, Description: "CentOS Linux", Active: true, PartUUID: "aaaa", Partition: 12, File: `\EFI\centos\shimx64.efi`},
				{Number: 4, Description: "CentOS on another disk", Active: true, PartUUID: "bbbb", Partition: 1, File: `\EFI\centos\shimx64.efi`},
			}},
			ESPs: []boot.ESP{{Mount: "/boot/efi", Device: esp}, {Device: boot.Device{Kind: "partition", Partition: 1, PartUUID: "bbbb"}}},
			LoaderFiles: []inventory.LoaderFile{
				{Path: "/boot/efi/EFI/BOOT/BOOTX64.EFI", Package: "shim-x64-15-15.el8.x86_64"},
				{Path: "/boot/efi/EFI/Microsoft/bootmgfw.efi"},
				{Path: "/boot/efi/EFI/centos/shimx64.efi", Package: "shim-x64-15-15.el8.x86_64"},
				{Path: "/boot/efi/EFI/centos/grubx64.efi", Package: "grub2-efi-x64-2.02-106.el8.x86_64"},
			},
			Loader:    &boot.Loader{Kind: "grub2", Config: "/etc/grub2-efi.cfg", BLS: true, Default: "id-4.18.0-348.el8.x86_64", EnvFile: "/boot/efi/EFI/centos/grubenv"},
			Kernels:   []inventory.InstalledKernel{{Release: "4.18.0-240.el8.x86_64", Package: "kernel-core-4.18.0-240.el8.x86_64"}, {Release: "4.18.0-348.el8.x86_64", Package: "kernel-core-4.18.0-348.el8.x86_64"}},
			BootFiles: []boot.KernelFiles{{Release: "4.18.0-240.el8.x86_64", Image: 1}, {Release: "4.18.0-348.el8.x86_64", Image: 10 << 20, Initramfs: 60 << 20}},
		},
		Kernel: &inventory.Kernel{Modules: []inventory.KernelModule{
			{Name: "xfs", Roles: []string{inventory.RoleRoot}, Why: []string{"file system of /"}}, {Name: "dm_crypt", Roles: []string{inventory.RoleRoot, inventory.RoleBoot}},
			{Name: "e1000", Roles: []string{inventory.RoleNetwork}},
		}},
	}}
	in.Inventory.Host.Kernel = "4.18.0-240.el8.x86_64"
	p := &Plan{Host: Host{Arch: "x86_64"}, Coming: []Coming{
		{Name: "kernel-core", NEVRA: "kernel-core-4.18.0-553.el8_10.x86_64"}, {Name: "kernel-core", NEVRA: "kernel-core-4.18.0-553.16.1.el8_10.x86_64"},
		{Name: "shim-x64", NEVRA: "shim-x64-15.8-4.el8.x86_64"}, {Name: "grub2-efi-x64", NEVRA: "grub2-efi-x64-2.02-156.el8.x86_64"},
	}}
	return in, p
}

func TestBootPlan(t *testing.T) {
	in, p := bootWorld()
	p.boot(in)
	b := p.Boot
	if b == nil || !p.RebootRequired {
		t.Fatal("no plan")
	}
	if d := cmp.Diff(&BootKernel{"4.18.0-553.16.1.el8_10.x86_64", "kernel-core-4.18.0-553.16.1.el8_10.x86_64"}, b.Kernel); d != "" {
		t.Error(d)
	}
	if b.FallBack == nil || b.FallBack.Release != "4.18.0-240.el8.x86_64" { // the running one, although not the newest
		t.Errorf("to fall back on: %+v", b.FallBack)
	}
	if d := cmp.Diff([]BootEntry{{"AlmaLinux", `\EFI\almalinux\shimx64.efi`, "/boot/efi", "nvme0n1", "259:12", 12, "aaaa"}}, b.Entries); d != "" {
		t.Error(d)
	}
	// Only the entry that starts what leaves, on the ESP where it leaves.
	if d := cmp.Diff([]OldEntry{{3, "CentOS Linux", `\EFI\centos\shimx64.efi`, "aaaa"}}, b.Old); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]OldFolder{{"/boot/efi/EFI/centos", []string{"/boot/efi/EFI/centos/grubx64.efi", "/boot/efi/EFI/centos/shimx64.efi"}}}, b.Folders); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]BootDriver{{"dm_crypt", []string{}}, {"xfs", []string{"file system of /"}}}, b.Drivers); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/boot/efi/EFI/almalinux/grub.cfg"}, b.Config); d != "" {
		t.Error(d)
	}
	var names []string
	for _, s := range b.steps() {
		names = append(names, s.Name)
	}
	if d := cmp.Diff([]string{StepBootKernel, StepBootDefault, StepBootEntry}, names); d != "" {
		t.Error(d)
	}
	files, folders := p.BootPaths()
	for _, f := range []string{"/boot/initramfs-4.18.0-553.16.1.el8_10.x86_64.img", "/boot/initramfs-4.18.0-553.el8_10.x86_64.img"} {
		if !slices.Contains(files, f) {
			t.Errorf("not saved: %s", f)
		}
	}
	if d := cmp.Diff([]string{"/boot/loader", "/boot/grub2", "/boot/efi/EFI/almalinux", "/boot/efi/EFI/BOOT", "/boot/efi/EFI/centos"}, folders); d != "" {
		t.Error(d)
	}
	if s := b.space(in); len(s) != 1 || s[0].Need < 70<<20 {
		t.Errorf("%+v", s)
	}
}

func TestBootPlanOfOtherHosts(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Input, *Plan)
		check  func(*BootPlan) bool
	}{
		{"a container boots nothing", func(in *Input, _ *Plan) { in.Inventory.Environment.Container.Kind = "podman" }, func(b *BootPlan) bool { return b == nil }},
		{"an inventory of before", func(in *Input, _ *Plan) { in.Inventory.Environment = nil }, func(b *BootPlan) bool { return b == nil }},
		{"BIOS", func(in *Input, _ *Plan) { in.Inventory.Environment.Firmware = &boot.Firmware{} }, func(b *BootPlan) bool {
			return b.Firmware == FirmwareBIOS && len(b.Entries) == 0 && len(b.steps()) == 2 && noted(b, "grub2-install is not run")
		}},
		{"no shim comes", func(_ *Input, p *Plan) { p.Coming = p.Coming[:2] }, func(b *BootPlan) bool { return len(b.Entries) == 0 && noted(b, "neither shim nor GRUB") }},
		{"GRUB without shim", func(_ *Input, p *Plan) { p.Coming = append(p.Coming[:2:2], p.Coming[3]) }, func(b *BootPlan) bool {
			return len(b.Entries) == 1 && b.Entries[0].Loader == `\EFI\almalinux\grubx64.efi`
		}},
		{"no kernel comes", func(_ *Input, p *Plan) { p.Coming = p.Coming[2:] }, func(b *BootPlan) bool {
			return b.Kernel == nil && len(b.steps()) == 1 && noted(b, "no kernel")
		}},
		{"mirrored ESP: an entry for each half", func(in *Input, _ *Plan) {
			half := func(disk, id string) boot.Device {
				return boot.Device{Kind: "partition", Disk: disk, Partition: 1, PartUUID: id, Number: "8:1"}
			}
			in.Inventory.Environment.ESPs = []boot.ESP{{Mount: "/boot/efi", Device: boot.Device{Kind: "md", Level: "raid1", Below: []boot.Device{half("sda", "aaaa"), half("sdb", "cccc")}}}}
		}, func(b *BootPlan) bool {
			return len(b.Entries) == 2 && b.Entries[0].Disk == "sda" && b.Entries[1].PartUUID == "cccc"
		}},
		{"ESP on an array that firmware cannot read", func(in *Input, _ *Plan) {
			in.Inventory.Environment.ESPs = []boot.ESP{{Mount: "/boot/efi", Device: boot.Device{Kind: "md", Level: "raid5", Below: []boot.Device{{Kind: "partition", Partition: 1, PartUUID: "aaaa"}}}}}
		}, func(b *BootPlan) bool { return len(b.Entries) == 0 && noted(b, "could be identified") }},
		{"menu without entries", func(in *Input, _ *Plan) { in.Inventory.Environment.Loader.BLS = false }, func(b *BootPlan) bool { return b.MkConfig == "/etc/grub2-efi.cfg" }},
		{"Secure Boot", func(in *Input, _ *Plan) { in.Inventory.Environment.Firmware.SecureBoot = boot.SecureBootOn }, func(b *BootPlan) bool {
			return b.Secure && noted(b, "choose the old entry")
		}},
		{"the old kernel leaves", func(_ *Input, p *Plan) {
			p.Leaving = []Leaving{{NEVRA: "kernel-core-4.18.0-240.el8.x86_64"}, {NEVRA: "kernel-core-4.18.0-348.el8.x86_64"}}
		}, func(b *BootPlan) bool { return b.FallBack == nil && noted(b, "no other kernel") }},
		{"kernel of 64k pages", func(in *Input, p *Plan) {
			in.Inventory.Host.Kernel = "5.14.0-1.el9.aarch64+64k"
			p.Host.Arch = "aarch64"
			p.Coming = append(p.Coming, Coming{Name: "kernel-64k-core", NEVRA: "kernel-64k-core-4.18.0-1.el8.aarch64"}, Coming{Name: "shim-aa64", NEVRA: "shim-aa64-1-1.aarch64"})
		}, func(b *BootPlan) bool {
			return strings.HasPrefix(b.Kernel.Package, "kernel-64k-core") && b.Entries[0].Loader == `\EFI\almalinux\shimaa64.efi`
		}},
	} {
		in, p := bootWorld()
		c.change(&in, p)
		p.boot(in)
		if !c.check(p.Boot) {
			t.Errorf("%s: %+v", c.name, p.Boot)
		}
	}
}

func noted(b *BootPlan, text string) bool {
	return slices.ContainsFunc(b.Notes, func(n string) bool { return strings.Contains(n, text) })
}
