package kmod_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// TestRealHost reads a real EL8 host's module list and compares it with lsmod's
// print of the same moment and with the modinfo of all its modules.
func TestRealHost(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "host/rhcos-el8-sosreport")
	mods, err := kmod.ParseProcModules(bytes.NewReader(read(t, filepath.Join(dir, "proc_modules"))))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name, size, refs, users string
	}
	var want, got []row
	for line := range strings.Lines(string(read(t, filepath.Join(dir, "lsmod")))) {
		w := append(strings.Fields(line), "")
		if w[0] != "Module" {
			want = append(want, row{w[0], w[1], w[2], sortedUsers(w[3])})
		}
	}
	for _, m := range mods {
		got = append(got, row{m.Name, strconv.FormatUint(m.Size, 10), strconv.Itoa(m.Refs), sortedUsers(strings.Join(m.UsedBy, ","))})
	}
	if len(mods) != 81 {
		t.Errorf("%d modules", len(mods))
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("lsmod (-), ParseProcModules (+):\n%s", diff)
	}

	// The modinfo texts name the same modules and one signer for all.
	f, err := os.Open(filepath.Join(dir, "modinfo_ALL_MODULES.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := xz.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	// The report has modinfo's complaints about built-in modules between the lines
	// and in the middle of them.
	text = regexp.MustCompile(`modinfo: ERROR: Module \S+ not found\.\n`).ReplaceAll(text, nil)
	described := map[string]string{}
	name := ""
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "filename":
			n, ok := kmod.NameOfFile(value)
			if !ok {
				t.Errorf("%s is no module's file", value)
			}
			name = n
		case "name":
			if kmod.NormalizeName(value) != name {
				t.Errorf("file of %s is named %s", value, name)
			}
		case "vermagic":
			v := kmod.ParseVermagic(value)
			if v.Release != "4.18.0-80.11.2.el8_0.x86_64" || !v.SMP() || !v.Modversions() || v.Preempt() != "" {
				t.Errorf("%s: vermagic %+v", name, v)
			}
		case "signer":
			described[name] = value
		}
	}
	for _, m := range mods {
		if described[m.Name] != "Red Hat Enterprise Linux kernel signing key" {
			t.Errorf("%s: signer %q", m.Name, described[m.Name])
		}
	}
}

// sortedUsers puts a list of users into one order: the two prints of the host
// differ in it.
func sortedUsers(list string) string {
	return strings.Join(sortedCopy(strings.Split(list, ",")), ",")
}

func TestLoaded(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/modules", `nvidia 56807424 12 nvidia_modeset,foo, Live 0x0000000000000000 (POE)
kpatch_1 16384 1 - Live 0xffffffffc0ab3000 (OEK)
half 4096 1 - Loading 0x0 (O+)
ext4 4096 3 [permanent], Live 0x0
nounload 8192 - - Live 0x0
xfs 1 0 - Live 0x0
`)
	write(t, root, "proc/sys/kernel/tainted", "12289\n")
	write(t, root, "proc/sys/kernel/osrelease", rel+"\n")
	write(t, root, "sys/module/xfs/srcversion", "ABC\n")
	write(t, root, "sys/module/xfs/coresize", "1234\n")
	write(t, root, "sys/module/xfs/version", "1.2\n")
	write(t, root, "sys/module/xfs/initstate", "live\n")
	write(t, root, "sys/module/xfs/taint", "X\n")
	write(t, root, "sys/module/xfs/parameters/a", "secret\n")
	write(t, root, "sys/module/kernel/parameters/b", "1\n")
	h := open(t, root)
	got, err := h.Loaded()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kmod.Loaded{
		{Name: "nvidia", Size: 56807424, Refs: 12, UsedBy: []string{"nvidia_modeset", "foo"}, State: "Live", Taint: "POE"},
		{Name: "kpatch_1", Size: 16384, Refs: 1, State: "Live", Taint: "OEK"},
		{Name: "half", Size: 4096, Refs: 1, State: "Loading", Taint: "O"},
		{Name: "ext4", Size: 4096, Refs: 3, Permanent: true, State: "Live"},
		{Name: "nounload", Size: 8192, Refs: -1, State: "Live"},
		{Name: "xfs", Size: 1, State: "Live"},
	}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(kmod.Shown{SrcVersion: "ABC", Version: "1.2", CoreSize: 1234, Taint: "X"}, h.Shown("xfs")); diff != "" {
		t.Error(diff)
	}
	if s := h.Shown("../kernel"); s != (kmod.Shown{}) {
		t.Errorf("a name that is a path: %+v", s)
	}
	mask, err := h.Tainted()
	if err != nil || mask != 12289 {
		t.Errorf("%d, %v", mask, err)
	}
	letters := ""
	for _, f := range kmod.ExplainTaint(mask) {
		letters += string(f.Letter)
	}
	if letters != "POE" || len(kmod.ExplainModuleTaint("GPOE")) != 3 || kmod.ExplainModuleTaint("?")[0].Bit != -1 || kmod.ExplainTaint(1 << 40)[0].Letter != 0 {
		t.Errorf("letters %s", letters)
	}
	if seen, err := h.BuiltinSeen(); err != nil || !cmp.Equal(seen, []string{"kernel"}) {
		t.Errorf("built in: %v, %v", seen, err)
	}
	if _, err := open(t, t.TempDir()).Loaded(); !errors.Is(err, kmod.ErrNoModules) {
		t.Errorf("no /proc/modules: %v", err)
	}
	for _, bad := range []string{"x\n", "x y 1 -\n", "x 1 z - Live 0x0\n", "x 1 1 - Live 0x0 (O\n"} {
		if _, err := kmod.ParseProcModules(strings.NewReader(bad)); !errors.Is(err, kmod.ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRootIsTheRoot shows that links cannot lead out of the tree.
func TestRootIsTheRoot(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "tainted", "4096\n")
	root := t.TempDir()
	link(t, root, "proc/sys/kernel/tainted", filepath.Join(outside, "tainted"))
	link(t, root, "proc/modules", "../../../../../../../../../../"+outside+"/tainted")
	h := open(t, root)
	if _, err := h.Tainted(); err == nil {
		t.Error("an absolute link led out of the root")
	}
	if _, err := h.Loaded(); err == nil {
		t.Error("a relative link led out of the root")
	}
	// The same absolute path inside the root is what such a link means.
	write(t, root, filepath.Join(outside, "tainted"), "1\n")
	if mask, err := h.Tainted(); err != nil || mask != 1 {
		t.Errorf("%d, %v", mask, err)
	}
	link(t, root, "proc/sys/kernel/osrelease", "osrelease")
	if _, err := h.Release(); err == nil {
		t.Error("a link to itself was read")
	}
}

func TestConfiguration(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/modprobe.d/a.conf", "# text\nblacklist nouveau\ninstall usb-storage \\\n  /bin/false\noptions kvm_intel nested=1\nalias net-pf-10 off\nsoftdep xfs pre: a-b post: c\nfrob x\n")
	write(t, root, "usr/lib/modprobe.d/a.conf", "blacklist hidden\n")
	write(t, root, "usr/lib/modprobe.d/b.conf", "blacklist pcspkr\n")
	write(t, root, "etc/modprobe.d/ignored.txt", "blacklist x\n")
	link(t, root, "etc/modprobe.d/b.conf", "/dev/null")
	link(t, root, "lib", "usr/lib")
	write(t, root, "proc/cmdline", "ro modprobe.blacklist=nouveau,lp rd.driver.blacklist=sr-mod module_blacklist=fb modules-load=br-netfilter lockdown=integrity fips=1 module.sig_enforce\n")
	write(t, root, "etc/modules-load.d/x.conf", "; c\n# c\nip-vs\n\n")
	write(t, root, "usr/lib/modules-load.d/y.conf", "vhost_net\n")
	write(t, root, "etc/sysconfig/modules/ipvs.modules", "#!/bin/sh\nmodprobe ip_vs\n")
	write(t, root, "etc/fstab", "# c\nUUID=1 / xfs defaults 0 0\nUUID=2 /my\\040data auto defaults 0 0\nsrv:/x /mnt nfs4 defaults 0 0\nUUID=3 none swap sw 0 0\n//s/x /c cifs ro 0 0\n")
	write(t, root, "etc/crypttab", "luks-1 UUID=1 none\n")
	h := open(t, root)
	m, err := h.Modprobe()
	if err != nil {
		t.Fatal(err)
	}
	black := ""
	for _, e := range m.Blacklist {
		black += e.Module + " "
	}
	if black != "nouveau nouveau lp sr_mod fb " {
		t.Errorf("blacklist %s", black)
	}
	if e, ok := m.InstallCommand("usb_storage"); !ok || e.Value != "/bin/false" || e.Line != 3 || e.File != "/etc/modprobe.d/a.conf" {
		t.Errorf("install: %+v", e)
	}
	if len(m.Options) != 1 || len(m.Aliases) != 1 || len(m.SoftDeps) != 1 || m.SoftDeps[0].Pre[0] != "a_b" || len(m.Unknown) != 1 || m.Unknown[0].Line != 8 {
		t.Errorf("%+v", m)
	}
	load, err := h.ModulesLoad()
	if err != nil {
		t.Fatal(err)
	}
	fstab, err := h.FstabModules()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range append(load, fstab...) {
		names = append(names, w.Why+":"+w.Name)
	}
	if diff := cmp.Diff([]string{"modules-load:ip_vs", "modules-load:vhost_net", "cmdline:br_netfilter", "sysconfig:", "fstab:fs-xfs", "fstab:fs-nfs",
		"fstab:fs-cifs", "crypttab:dm_crypt"}, names); diff != "" {
		t.Error(diff)
	}
	c, err := h.Cmdline()
	if err != nil || !c.SigEnforce || !c.FIPS || c.Lockdown != "integrity" {
		t.Errorf("%+v, %v", c, err)
	}
}

// sysfs makes an LVM root on md RAID 1 over a virtio disk and an NVMe disk with
// multipath names, and two network cards.
func sysfs(t testing.TB) string {
	root := t.TempDir()
	dev := func(p, subsystem, driver, module, modalias string) {
		write(t, root, "sys/"+p+"/modalias", modalias+"\n")
		link(t, root, "sys/"+p+"/subsystem", "/sys/bus/"+subsystem)
		link(t, root, "sys/bus/"+subsystem+"/devices/"+filepath.Base(p), "/sys/"+p)
		if driver != "" {
			link(t, root, "sys/"+p+"/driver", "/sys/bus/"+subsystem+"/drivers/"+driver)
			d := filepath.Join(root, "sys/bus", subsystem, "drivers", driver)
			if _, err := os.Stat(d); err != nil {
				write(t, root, "sys/bus/"+subsystem+"/drivers/"+driver+"/bind", "")
				if module != "" {
					link(t, root, "sys/bus/"+subsystem+"/drivers/"+driver+"/module", "/sys/module/"+module)
				}
			}
		}
	}
	for _, m := range []string{"virtio_blk", "nvme", "virtio_net", "virtio_pci", "dm_mod", "raid1", "md_mod", "xfs"} {
		write(t, root, "sys/module/"+m+"/initstate", "live\n")
	}
	block := func(p, num string) {
		write(t, root, "sys/"+p+"/dev", num+"\n")
		link(t, root, "sys/dev/block/"+num, "../../"+p)
		link(t, root, "sys/class/block/"+filepath.Base(p), "../../"+p)
	}
	const pci = "devices/pci0000:00/"
	dev(pci+"0000:00:04.0", "pci", "virtio-pci", "virtio_pci", "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00")
	dev(pci+"0000:00:04.0/virtio1", "virtio", "virtio_blk", "virtio_blk", "virtio:d00000002v00001AF4")
	block(pci+"0000:00:04.0/virtio1/block/vda", "252:0")
	block(pci+"0000:00:04.0/virtio1/block/vda/vda2", "252:2")
	write(t, root, "sys/"+pci+"0000:00:04.0/virtio1/block/vda/vda2/partition", "2\n")
	dev(pci+"0000:00:05.0", "pci", "nvme", "nvme", "pci:v0000144Dd0000A808sv*")
	write(t, root, "sys/"+pci+"0000:00:05.0/nvme/nvme0/transport", "pcie\n")
	const subsys = "devices/virtual/nvme-subsystem/nvme-subsys0"
	link(t, root, "sys/"+subsys+"/nvme0", "/sys/"+pci+"0000:00:05.0/nvme/nvme0")
	block(subsys+"/nvme0n1", "259:0")
	block(subsys+"/nvme0n1/nvme0n1p1", "259:1")
	write(t, root, "sys/"+subsys+"/nvme0n1/nvme0n1p1/partition", "1\n")
	block("devices/virtual/block/md127", "9:127")
	write(t, root, "sys/devices/virtual/block/md127/md/level", "raid1\n")
	link(t, root, "sys/devices/virtual/block/md127/slaves/vda2", "/sys/"+pci+"0000:00:04.0/virtio1/block/vda/vda2")
	link(t, root, "sys/devices/virtual/block/md127/slaves/nvme0n1p1", "/sys/"+subsys+"/nvme0n1/nvme0n1p1")
	block("devices/virtual/block/dm-0", "253:0")
	write(t, root, "sys/devices/virtual/block/dm-0/dm/name", "vg-root\n")
	write(t, root, "sys/devices/virtual/block/dm-0/dm/uuid", "LVM-abc\n")
	link(t, root, "sys/devices/virtual/block/dm-0/slaves/md127", "/sys/devices/virtual/block/md127")
	write(t, root, "proc/self/mountinfo", "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 253:0 / / rw,relatime shared:1 - xfs /dev/mapper/vg-root rw\n23 22 0:40 / /btrfs rw - btrfs /dev/vda2 rw\n24 22 0:41 / /n rw - nfs4 srv:/x rw\n")

	dev(pci+"0000:00:06.0", "pci", "virtio-pci", "virtio_pci", "pci:v00001AF4d00001000sv*")
	dev(pci+"0000:00:06.0/virtio2", "virtio", "virtio_net", "virtio_net", "virtio:d00000001v00001AF4")
	write(t, root, "sys/"+pci+"0000:00:06.0/virtio2/net/eth0/address", "52:54\n")
	link(t, root, "sys/class/net/eth0", "/sys/"+pci+"0000:00:06.0/virtio2/net/eth0")
	write(t, root, "sys/devices/virtual/net/bond0/uevent", "DEVTYPE=bond\nINTERFACE=bond0\n")
	link(t, root, "sys/devices/virtual/net/bond0/lower_eth0", "/sys/class/net/eth0")
	link(t, root, "sys/class/net/bond0", "/sys/devices/virtual/net/bond0")
	write(t, root, "sys/class/net/bonding_masters", "bond0\n")
	dev(pci+"0000:00:1f.0", "pci", "lpc_ich", "", "pci:v00008086d00002918*")
	dev(pci+"0000:00:09.0", "pci", "", "", "pci:v000010DEd00001234*")
	write(t, root, "sys/"+pci+"0000:00:09.0/driver_override", "vfio-pci\n")
	return root
}

func needNames(needs []kmod.Need) []string {
	var out []string
	for _, n := range needs {
		name := n.Name
		if n.Builtin {
			name += "*"
		}
		out = append(out, name)
	}
	return out
}

func TestStorage(t *testing.T) {
	h := open(t, sysfs(t))
	for point, want := range map[string]struct{ kinds, needs []string }{
		"/": {[]string{"dm-0 dm", "md127 md", "nvme0n1p1 partition", "vda2 partition", "nvme0n1 nvme-multipath", "vda disk"},
			[]string{"fs-xfs", "dm_mod", "md_mod", "raid1", "nvme", "virtio_blk", "virtio_pci"}},
		"/btrfs": {[]string{"vda2 partition", "vda disk"}, []string{"fs-btrfs*", "virtio_blk", "virtio_pci"}},
		"/n":     {nil, []string{"fs-nfs4*"}},
	} {
		s, err := h.StorageOf(point)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, n := range s.Nodes {
			kinds = append(kinds, n.Name+" "+n.Kind)
		}
		if diff := cmp.Diff(want.kinds, kinds); diff != "" {
			t.Errorf("%s: %s", point, diff)
		}
		if diff := cmp.Diff(want.needs, needNames(s.Needs)); diff != "" {
			t.Errorf("%s: %s", point, diff)
		}
	}
	if _, err := h.StorageOf("/nowhere"); !errors.Is(err, kmod.ErrNotFound) {
		t.Errorf("/nowhere: %v", err)
	}
}

func TestDevices(t *testing.T) {
	h := open(t, sysfs(t))
	devs, err := h.Devices()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range devs {
		got = append(got, strings.Join([]string{d.Bus, d.Name, d.Driver, d.Module, d.Override, strconv.FormatBool(d.Builtin)}, " "))
	}
	if diff := cmp.Diff([]string{
		"pci 0000:00:04.0 virtio-pci virtio_pci  false", "pci 0000:00:05.0 nvme nvme  false", "pci 0000:00:06.0 virtio-pci virtio_pci  false",
		"pci 0000:00:09.0   vfio-pci false", "pci 0000:00:1f.0 lpc_ich   true",
		"virtio virtio1 virtio_blk virtio_blk  false", "virtio virtio2 virtio_net virtio_net  false"}, got); diff != "" {
		t.Error(diff)
	}
	cards, err := h.NetCards()
	if err != nil {
		t.Fatal(err)
	}
	if len(cards) != 2 || cards[0].Name != "bond0" || cards[0].Kind != "bond" || !cards[0].Virtual || !cmp.Equal(cards[0].Lower, []string{"eth0"}) ||
		!cmp.Equal(needNames(cards[0].Needs), []string{"bonding*"}) || !cmp.Equal(needNames(cards[1].Needs), []string{"virtio_net", "virtio_pci"}) {
		t.Errorf("%+v", cards)
	}
}

// A dkms.conf is a shell script, and people write it so.
func TestDKMSScripts(t *testing.T) {
	for name, c := range map[string]struct {
		conf string
		want kmod.DKMS
	}{
		"indexes that are computed": {
			"i=0\nBUILT_MODULE_NAME[$i]=one-a\ni=$((i+1))\nBUILT_MODULE_NAME[$i]=two\n((i++))\nif true; then\n\tBUILT_MODULE_NAME[${i}]=three\nfi\n",
			kmod.DKMS{Modules: []string{"one_a", "three", "two"}},
		},
		"lists": {
			"BUILT_MODULE_NAME=(one \"two\"\n\t# not these\n\t'three' )\nBUILD_DEPENDS=(base)\nAUTOINSTALL=yes # )\n",
			kmod.DKMS{Modules: []string{"one", "three", "two"}, BuildDepends: []string{"base"}, Autoinstall: true},
		},
		"a kernel refused by a value that none matches": {
			"AUTOINSTALL=yes\nif [ -f $kernel_source_dir/.config ]; then\n  . $kernel_source_dir/.config\n  if [ \"${CONFIG_USB:-n}\" = n ]; then BUILD_EXCLUSIVE_ARCH=none; fi\n" +
				"  if [ \"${CONFIG_HID:-n}\" = n ]; then\n    BUILD_EXCLUSIVE_KERNEL=\"REQUIRES CONFIG_HID\"\n  fi\nfi\nBUILD_EXCLUSIVE_ARCH=x86_64\n",
			kmod.DKMS{Modules: []string{"acme"}, Autoinstall: true, ExclusiveArch: "x86_64"},
		},
		"the usual case first": {
			"check() {\n  BUILD_EXCLUSIVE_KERNEL=never\n}\ncase $x in a) y=1;; esac\nfor k in 1 2; do z=$k; done\nexport BUILD_EXCLUSIVE_KERNEL='^4\\.18\\.'\n",
			kmod.DKMS{Modules: []string{"acme"}, ExclusiveKernel: `^4\.18\.`},
		},
		"a value of several lines": {
			"MAKE=\"make \\\n  one\n  two\"\nBUILT_MODULE_NAME=mod#1\n",
			kmod.DKMS{Modules: []string{"mod#1"}},
		},
		"names that are computed": {
			"for m in $mods; do\n  BUILT_MODULE_NAME[$i]=$(basename $m)\ndone\n",
			kmod.DKMS{Problem: "its dkms.conf computes the names of its modules"},
		},
		"a list that never ends": {
			"BUILT_MODULE_NAME=(\n" + strings.Repeat("a\n", 400_000),
			kmod.DKMS{Problem: "line 1: damaged or not of this format: a quote or parenthesis is not closed"},
		},
		"an open list": {
			"AUTOINSTALL=yes\nBUILT_MODULE_NAME=(one\ntwo\n",
			kmod.DKMS{Autoinstall: true, Problem: "line 2: damaged or not of this format: a quote or parenthesis is not closed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "usr/src/acme-1.0/dkms.conf", c.conf)
			got, err := open(t, root).DKMS()
			if err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
			c.want.Name, c.want.Version, c.want.Source, c.want.Config = "acme", "1.0", "usr/src/acme-1.0", "usr/src/acme-1.0/dkms.conf"
			if diff := cmp.Diff(c.want, got[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDKMSAndAkmods(t *testing.T) {
	root := t.TempDir()
	write(t, root, "usr/src/zfs-2.1.4/dkms.conf", "PACKAGE_NAME=\"zfs\"\nPACKAGE_VERSION=\"2.1.4\"\nAUTOINSTALL=\"yes\"\nBUILD_DEPENDS[0]=\"spl\"\nBUILT_MODULE_NAME[0]=\"zfs\"\nBUILT_MODULE_NAME[1]=\"${PACKAGE_NAME}-extra\"\nMAKE=\"make\" # x\nif x; then\n  y\nfi\nBUILD_EXCLUSIVE_KERNEL=\"^(5\\.)\"\n")
	link(t, root, "var/lib/dkms/zfs/2.1.4/source", "/usr/src/zfs-2.1.4")
	write(t, root, "var/lib/dkms/zfs/2.1.4/"+rel+"/x86_64/module/zfs.ko.xz", "x")
	link(t, root, "var/lib/dkms/zfs/kernel-"+rel+"-x86_64", "2.1.4/"+rel+"/x86_64")
	write(t, root, "var/lib/dkms/mok.pub", "x")
	write(t, root, "usr/src/acme-1.0/dkms.conf", "PACKAGE_NAME=acme\nPACKAGE_VERSION=1.0\n")
	write(t, root, "usr/src/akmods/nvidia-kmod-550-1.src.rpm", "x")
	link(t, root, "usr/src/akmods/nvidia-kmod.latest", "nvidia-kmod-550-1.src.rpm")
	write(t, root, "var/cache/akmods/nvidia/kmod-nvidia-"+rel+"-550-1.rpm", "x")
	write(t, root, "var/cache/akmods/nvidia/551-for-"+rel+".failed.log", "x")
	h := open(t, root)
	got, err := h.DKMS()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kmod.DKMS{
		{Name: "acme", Version: "1.0", Source: "usr/src/acme-1.0", Config: "usr/src/acme-1.0/dkms.conf", Modules: []string{"acme"}},
		{Name: "zfs", Version: "2.1.4", Source: "usr/src/zfs-2.1.4", Config: "usr/src/zfs-2.1.4/dkms.conf", Modules: []string{"zfs", "zfs_extra"}, Autoinstall: true,
			BuildDepends: []string{"spl"}, ExclusiveKernel: `^(5\.)`, Built: []kmod.DKMSBuild{{Kernel: rel, Arch: "x86_64", Installed: true,
				Files: []string{"var/lib/dkms/zfs/2.1.4/" + rel + "/x86_64/module/zfs.ko.xz"}}}},
	}, got); diff != "" {
		t.Error(diff)
	}
	ak, err := h.Akmods()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]kmod.Akmod{{Name: "nvidia", Source: "usr/src/akmods/nvidia-kmod-550-1.src.rpm", Packages: []string{"kmod-nvidia-" + rel + "-550-1.rpm"},
		Failed: []string{"551-for-" + rel + ".failed.log"}}}, ak); diff != "" {
		t.Error(diff)
	}
}
