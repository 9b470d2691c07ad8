package inventory_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/kmod"
)

const treeRelease = "4.18.0-348.el8.x86_64"

// moduleTree is a kernel's module tree as depmod leaves it, without the files.
func moduleTree() map[string]string {
	dir := "lib/modules/" + treeRelease + "/"
	return map[string]string{
		dir + "modules.dep": "kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\nkernel/lib/libcrc32c.ko.xz:\n" +
			"kernel/fs/fat/vfat.ko.xz: kernel/fs/fat/fat.ko.xz\nkernel/fs/fat/fat.ko.xz:\nkernel/fs/nfs/nfs.ko.xz:\n" +
			"kernel/drivers/net/bonding/bonding.ko.xz:\nkernel/drivers/net/virtio_net.ko.xz:\nkernel/drivers/md/dm-mod.ko.xz:\n" +
			"kernel/crypto/crc32c.ko.xz:\nkernel/drivers/scsi/sg.ko.xz:\nkernel/drivers/acpi/ipmi_si.ko.xz:\n",
		dir + "modules.alias": "alias fs-xfs xfs\nalias fs-vfat vfat\nalias fs-nfs nfs\n",
		"proc/self/mountinfo": "20 1 0:40 / / rw - tmpfs tmpfs rw\n",
		"etc/fstab":           "UUID=1 / xfs defaults 0 0\nUUID=2 /boot/efi vfat umask=0077 0 2\nsrv:/data /data nfs defaults 0 0\n",
	}
}

// kernelOf reads the kernel side of a tree, whose environment is read first.
func kernelOf(t testing.TB, root string, live bool, pkgs ...inventory.Package) *inventory.Kernel {
	t.Helper()
	h, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	cat, err := catalog.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	k, skipped := inventory.ReadBoth(h, cat, live, inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64"}, pkgs)
	if len(skipped) > 0 {
		t.Errorf("skipped %v", skipped)
	}
	if k == nil {
		t.Fatal("no kernel")
	}
	return k
}

func roles(k *inventory.Kernel, name string) string {
	for _, m := range k.Modules {
		if m.Name == name {
			return strings.Join(m.Roles, ",")
		}
	}
	return "not there"
}

// TestContainerModules: a container shows the modules of the machine below it,
// which the move of the container does not concern.
func TestContainerModules(t *testing.T) {
	files := moduleTree()
	files["proc/modules"] = "zfs 1 0 - Live 0x0 (POE)\n"
	files["proc/sys/kernel/osrelease"] = "6.8.0-45-generic\n"
	files["run/systemd/container"] = "lxc\n"
	root := lay(t, files)
	if k := kernelOf(t, root, true); k.Reason != inventory.ReasonContainer || len(k.Modules) > 0 {
		t.Errorf("%q, %v", k.Reason, k.Modules)
	}
	delete(files, "run/systemd/container")
	if k := kernelOf(t, lay(t, files), true); k.Reason != "" || roles(k, "zfs") != "" {
		t.Errorf("a machine: %q, %v", k.Reason, k.Modules)
	}
}

// TestImageModules: of an image nothing is loaded, and what it will need is
// known all the same: by fstab, with the tree of the kernel that it would start.
func TestImageModules(t *testing.T) {
	files := moduleTree()
	files["boot/grub2/grub.cfg"] = "blscfg\n"
	pkgs := []inventory.Package{
		withFiles("kernel-core-4.18.0-348.el8.x86_64", []string{"kernel-core-uname-r = " + treeRelease, "kernel-uname-r = " + treeRelease}),
		withFiles("kernel-core-4.18.0-999.el8.x86_64", []string{"kernel-core-uname-r = 4.18.0-999.el8.x86_64", "kernel-uname-r = 4.18.0-999.el8.x86_64"}), // without a tree
	}
	k := kernelOf(t, lay(t, files), false, pkgs...)
	if k.Reason != "" || k.Tree != treeRelease || k.Release != "" {
		t.Errorf("%q, tree %s, release %q", k.Reason, k.Tree, k.Release)
	}
	for name, want := range map[string]string{"xfs": "root", "libcrc32c": "root", "vfat": "boot", "fat": "boot", "nfs": "mount", "sg": "not there"} {
		if got := roles(k, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if slices.ContainsFunc(k.Modules, func(m inventory.KernelModule) bool { return m.Loaded }) {
		t.Error("a module of an image is loaded")
	}
	delete(files, "lib/modules/"+treeRelease+"/modules.dep")
	if k := kernelOf(t, lay(t, files), false, pkgs...); k.Reason == "" || len(k.Modules) > 0 {
		t.Errorf("an image without a tree: %q, %v", k.Reason, k.Modules)
	}
}

// TestAskedModules: what is asked for together with a module in use.
func TestAskedModules(t *testing.T) {
	files := moduleTree()
	files["proc/modules"] = "xfs 1 0 - Live 0x0\nbonding 1 0 - Live 0x0\nvirtio_net 1 0 - Live 0x0\n"
	files["proc/sys/kernel/osrelease"] = treeRelease + "\n"
	files["etc/modprobe.d/a.conf"] = "softdep xfs pre: crc32c no-such-module post: dm-mod\nsoftdep ext4 pre: nfs\n" +
		"install bonding /sbin/modprobe -q sg && /sbin/modprobe --ignore-install bonding; modprobe -r ipmi_si > /dev/null\n"
	sys := "sys/devices/pci0000:00/0000:00:03.0/"
	files["sys/class/net/eth0"] = "-> ../../devices/pci0000:00/0000:00:03.0/net/eth0"
	files[sys+"net/eth0/uevent"] = "INTERFACE=eth0\n"
	files[sys+"driver"] = "-> ../../../bus/pci/drivers/virtio_net"
	files[sys+"subsystem"] = "-> ../../../bus/pci"
	files["sys/bus/pci/drivers/virtio_net/module"] = "-> ../../../../module/virtio_net"
	for _, m := range []string{"virtio_net", "bonding", "bridge"} {
		files["sys/module/"+m+"/initstate"] = "live\n"
	}
	files["sys/class/net/bond0"] = "-> ../../devices/virtual/net/bond0"
	files["sys/devices/virtual/net/bond0/uevent"] = "DEVTYPE=bond\nINTERFACE=bond0\n"
	files["sys/devices/virtual/net/bond0/lower_eth0"] = "-> ../../../pci0000:00/0000:00:03.0/net/eth0"
	files["sys/class/net/virbr0"] = "-> ../../devices/virtual/net/virbr0" // no card below it
	files["sys/devices/virtual/net/virbr0/uevent"] = "DEVTYPE=bridge\nINTERFACE=virbr0\n"
	k := kernelOf(t, lay(t, files), true)
	for name, want := range map[string]string{
		"crc32c": "requested", "dm_mod": "requested", "sg": "requested", "nfs": "mount", "ipmi_si": "not there", "no_such_module": "not there",
		"bonding": "network", "virtio_net": "network", "bridge": "not there", "xfs": "root",
	} {
		if got := roles(k, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestStrayModules: a module that depmod does not know was loaded by its path.
func TestStrayModules(t *testing.T) {
	files := moduleTree()
	dir := "lib/modules/" + treeRelease + "/"
	files["proc/modules"] = "late 1 0 - Live 0x0 (OE)\nelsewhere 1 0 - Live 0x0 (OE)\nnowhere 1 0 - Live 0x0 (OE)\nlinked 1 0 - Live 0x0 (OE)\n"
	files["proc/sys/kernel/osrelease"] = treeRelease + "\n"
	files[dir+"kernel/late.ko"] = "x"
	files[dir+"updates/late.ko.xz"] = "x" // depmod would take this one
	files["lib/modules/old/extra/linked.ko"] = "x"
	files[dir+"weak-updates/linked.ko"] = "-> /lib/modules/old/extra/linked.ko"
	files["opt/vendor/elsewhere.ko"] = "x"
	k := kernelOf(t, lay(t, files), true, withFiles("vendor-1-1.x86_64", nil, "/opt/vendor/elsewhere.ko"))
	got := map[string]string{}
	for _, m := range k.Modules {
		got[m.Name] = m.File + " " + m.Owner
	}
	for name, want := range map[string]string{
		"late": "/" + dir + "updates/late.ko.xz ", "elsewhere": "/opt/vendor/elsewhere.ko vendor-1-1.x86_64",
		"linked": "/lib/modules/old/extra/linked.ko ", "nowhere": " ",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

// TestNoSys: without /sys, what is mounted and in /proc/modules is no part of the
// image.
func TestNoSys(t *testing.T) {
	files := map[string]string{
		"proc/modules":                  "xfs 1 1 - Live 0x0\nvfat 1 1 - Live 0x0\n",
		"proc/sys/kernel/osrelease":     treeRelease + "\n",
		"proc/self/mountinfo":           "20 1 8:2 / / rw - xfs /dev/sda2 rw\n21 20 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n22 20 8:3 / /boot rw - ext4 /dev/sda3 rw\n",
		"lib/modules/other/modules.dep": "",
	}
	k := kernelOf(t, lay(t, files), true)
	for name, want := range map[string]string{"xfs": "root", "vfat": "boot", "ext4": "not there"} {
		if got := roles(k, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestNoFirmware: only a tree with a /sys tells that there is no Secure Boot.
func TestNoFirmware(t *testing.T) {
	files := map[string]string{"proc/self/mountinfo": "20 1 0:40 / / rw - tmpfs tmpfs rw\n", "sys/firmware/acpi/x": "x"}
	if k := kernelOf(t, lay(t, files), true); k.Trust.SecureBoot != "not-available" {
		t.Errorf("BIOS: %s", k.Trust.SecureBoot)
	}
	delete(files, "sys/firmware/acpi/x")
	if k := kernelOf(t, lay(t, files), true); k.Trust.SecureBoot != "unknown" {
		t.Errorf("without /sys: %s", k.Trust.SecureBoot)
	}
}

// TestRetpoline: the mark is there on x86 only.
func TestRetpoline(t *testing.T) {
	for _, c := range []struct {
		machine, info string
		want          bool
	}{{"x86_64", "retpoline=Y", false}, {"x86_64", "intree=Y", true}, {"i686", "", true}, {"aarch64", "", false}} {
		info, err := kmod.ParseInfo([]byte(c.info + "\x00"))
		if err != nil {
			t.Fatal(err)
		}
		if f := inventory.DescribeModule(&kmod.Module{Machine: c.machine, Info: info}); f.NoRetpoline != c.want {
			t.Errorf("%s, %q: %v", c.machine, c.info, f.NoRetpoline)
		}
	}
}
