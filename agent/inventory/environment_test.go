package inventory_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// lay lays out a host: content, or "-> target" for a link.
func lay(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// environment reads a tree as the running system, or as an image.
func environment(t testing.TB, root string, live bool, h inventory.Host, pkgs ...inventory.Package) (*inventory.Environment, []inventory.Skipped) {
	t.Helper()
	hh, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hh.Close() })
	cat, err := catalog.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return inventory.ReadEnvironment(hh, cat, live, h, pkgs)
}

func validate(t testing.TB, doc []byte) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", "inventory-1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
}

func withFiles(nevra string, provides []string, files ...string) inventory.Package {
	n, err := rpmver.ParseNEVRA(nevra)
	if err != nil {
		panic(err)
	}
	p := inventory.Package{Name: n.Name, EVR: n.EVR, Arch: n.Arch}
	for _, s := range provides {
		d, err := rpmver.ParseDep(s)
		if err != nil {
			panic(err)
		}
		p.Provides = append(p.Provides, d)
	}
	for i, f := range files {
		cut := strings.LastIndexByte(f, '/') + 1
		p.Files.Dirs = append(p.Files.Dirs, f[:cut])
		p.Files.DirIndex = append(p.Files.DirIndex, uint32(i))
		p.Files.Base = append(p.Files.Base, f[cut:])
	}
	return p
}

const machine = "0123456789abcdef0123456789abcdef"

// liveHost is a UEFI host with everything that is looked at.
func liveHost() map[string]string {
	const rel = "4.18.0-348.el8.x86_64"
	env := "# GRUB Environment Block\nsaved_entry=" + machine + "-" + rel + "\n"
	env += strings.Repeat("#", 1024-len(env))
	attr := "\x06\x00\x00\x00"
	return map[string]string{
		"etc/machine-id":                 machine + "\n",
		"boot/vmlinuz-" + rel:            "kernel",
		"boot/initramfs-" + rel + ".img": "initramfs!",
		"boot/grub2/grub.cfg":            "blscfg\n",
		"boot/grub2/grubenv":             env,
		"boot/loader/entries/" + machine + "-" + rel + ".conf":                     "linux /vmlinuz-" + rel + "\ninitrd /initramfs-" + rel + ".img\n",
		"boot/loader/entries/ffffffffffffffffffffffffffffffff-" + rel + ".conf":    "linux /vmlinuz-gone\n",
		"boot/efi/EFI/centos/shimx64.efi":                                          "shim",
		"boot/efi/EFI/centos/grubx64.efi":                                          "grub",
		"boot/efi/EFI/BOOT/BOOTX64.EFI":                                            "shim",
		"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": attr + "\x01",
		"sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c":  attr + "\x01\x00",
		"sys/fs/selinux/enforce":                                                   "1",
		"sys/kernel/livepatch/kpatch_4_18_0_348_1_1/enabled":                       "1\n",
		"sys/dev/block/8:1":                                                        "-> ../../devices/pci/block/sda/sda1",
		"sys/devices/pci/block/sda/sda1/partition":                                 "1\n",
		"sys/devices/pci/block/sda/sda1/dev":                                       "8:1\n",
		"run/udev/data/b8:1":                                                       "E:ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\nE:ID_PART_ENTRY_UUID=AAAA\n",
		"proc/self/mountinfo": "20 1 8:2 / / rw,relatime - xfs /dev/sda2 rw\n" +
			"21 20 8:1 / /boot/efi rw,relatime - vfat /dev/sda1 rw\n" +
			"22 20 0:5 / /proc rw - proc proc rw\n" +
			"23 20 0:44 / /usr/local ro - nfs4 srv:/local ro\n" +
			"24 20 7:0 / /var/lib/snapd/snap/x ro - squashfs /dev/loop0 ro\n" +
			"25 20 7:1 / /mnt ro - iso9660 /dev/loop1 ro\n" +
			"26 20 8:3 / /data rw - xfs /dev/sda3 rw\n",
		"proc/stat":                          "cpu 1 2 3\nbtime 1700000000\n",
		"proc/1/stat":                        "1 (sys) temd) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1234 100 200\n",
		"proc/1/environ":                     "HOME=/\x00TERM=linux\x00",
		"proc/cpuinfo":                       "processor\t: 0\nflags\t\t: fpu cmov cx8 fxsr mmx syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx\n",
		"etc/selinux/config":                 "# comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
		"etc/crypttab":                       "# name device key options\nluks-1 UUID=1234 none tpm2-device=auto\nbad\n",
		"etc/alternatives/java":              "-> /usr/lib/jvm/jre/bin/java",
		"usr/lib/jvm/jre/bin/java":           "x",
		"var/lib/alternatives/java":          "manual\n/usr/bin/java\n",
		"etc/alternatives/mta":               "-> /usr/sbin/sendmail.postfix",
		"var/lib/alternatives/mta":           "auto\n/usr/sbin/sendmail\n",
		"etc/alternatives/mta-mailqman":      "-> /usr/share/man/man1/mailq.1.gz",
		"usr/local/psa/version":              "18.0.52 CentOS 8 1800230427.12\n",
		"etc/pki/consumer/cert.pem":          "cert",
		"etc/rhsm/rhsm.conf":                 "[server]\nhostname = satellite.example.org\n[rhsm]\nhostname = no\n",
		"etc/salt/minion.d/susemanager.conf": "master: uyuni.example.org\nserver_id_use_crc: adler32\n",
		"etc/sysconfig/rhn/systemid":         "<xml/>",
		"etc/crypto-policies/config":         "DEFAULT\n",
		"etc/sysconfig/kernel":               "# comment\nUPDATEDEFAULT=yes\nDEFAULTKERNEL=\"kernel-uek\"\n",
		"run/reboot-required":                "",
		"proc/4711/comm":                     "dnf\n",
		"proc/4711/stat":                     "4711 (dnf) S 1\n",
		"proc/4712/comm":                     "dnf\n",
		"proc/4712/stat":                     "4712 (dnf) Z 1\n",
		"proc/4713/comm":                     "yum\n",
		"proc/4713/stat":                     "4713 (yum) R 1\n",
		"run/yum.pid":                        "4713\n",
		"var/cache/dnf/metadata_lock.pid":    "99",
		"proc/99/comm":                       "nginx\n",
	}
}

func TestEnvironment(t *testing.T) {
	const rel = "4.18.0-348.el8.x86_64"
	h := inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64", Kernel: rel}
	root := lay(t, liveHost())
	e, skipped := environment(t, root, true, h,
		withFiles("kernel-core-4.18.0-348.el8.x86_64", []string{"kernel-uname-r = 4.18.0-348.el8.x86_64"}, "/lib/modules/"+rel+"/vmlinuz"),
		withFiles("kernel-core-4.18.0-80.el8.x86_64", nil, "/lib/modules/4.18.0-80.el8.x86_64/vmlinuz"),
		withFiles("kernel-uek-5.4.17-2136.el8uek.x86_64", nil, "/boot/vmlinuz-5.4.17-2136.el8uek.x86_64"),
		withFiles("kernel-modules-4.18.0-348.el8.x86_64", []string{"kernel-modules-uname-r = 4.18.0-348.el8.x86_64"}, "/lib/modules/"+rel+"/kernel/x.ko"),
		withFiles("shim-x64-15-1.el8.x86_64", nil, "/boot/efi/EFI/centos/shimx64.efi", "/boot/efi/EFI/BOOT/BOOTX64.EFI"),
	)
	if len(skipped) > 0 {
		t.Errorf("skipped %v", skipped)
	}
	diff := func(what string, want, got any) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	diff("container", inventory.Container{}, e.Container)
	if f := e.Firmware; f == nil || !f.UEFI || f.SecureBoot != "enabled" {
		t.Errorf("firmware %+v", f)
	}
	if m := e.BootManager; m == nil || len(m.Order) != 1 {
		t.Errorf("boot manager %+v", m)
	}
	if len(e.ESPs) != 1 || e.ESPs[0].Mount != "/boot/efi" || e.ESPs[0].Device.PartUUID != "aaaa" {
		t.Errorf("esps %+v", e.ESPs)
	}
	diff("loader files", []inventory.LoaderFile{
		{Path: "/boot/efi/EFI/BOOT/BOOTX64.EFI", Package: "shim-x64-15-1.el8.x86_64"},
		{Path: "/boot/efi/EFI/centos/grubx64.efi"},
		{Path: "/boot/efi/EFI/centos/shimx64.efi", Package: "shim-x64-15-1.el8.x86_64"},
	}, e.LoaderFiles)
	if l := e.Loader; l == nil || l.Kind != "grub2" || len(l.Entries) != 2 || l.Entries[0].Missing != nil || len(l.Entries[1].Missing) != 1 {
		t.Errorf("loader %+v", l)
	}
	diff("other machine", []string{"ffffffffffffffffffffffffffffffff-" + rel}, e.OtherMachine)
	var kernels []string
	for _, k := range e.Kernels {
		kernels = append(kernels, k.Release+" "+k.Flavour)
	}
	diff("kernels", []string{"4.18.0-80.el8.x86_64 stock", rel + " stock", "5.4.17-2136.el8uek.x86_64 uek"}, kernels)
	if e.RunningOwner != "kernel-core-4.18.0-348.el8.x86_64" {
		t.Errorf("owner of the running kernel %q", e.RunningOwner)
	}
	if len(e.BootFiles) != 1 || e.BootFiles[0].Bytes() != 16 {
		t.Errorf("boot files %+v", e.BootFiles)
	}
	diff("kernel choice", inventory.KernelChoice{Update: "yes", Package: "kernel-uek"}, e.KernelChoice)
	diff("live patches", []string{"kpatch_4_18_0_348_1_1"}, e.LivePatches)
	var mounts []string
	for _, m := range e.Mounts {
		mounts = append(mounts, fmt.Sprint(m.Point, " ", m.FSType, " ro=", m.ReadOnly, " known=", m.Known, " ", m.Holds))
	}
	diff("mounts", []string{
		"/ xfs ro=false known=true [/ /boot /etc /usr /var /var/cache /var/lib]",
		"/boot/efi vfat ro=false known=true [/boot/efi]",
		"/mnt iso9660 ro=true known=false []",
		"/usr/local nfs4 ro=true known=false [/usr/local]",
	}, mounts)
	diff("selinux", inventory.SELinux{Mode: "enforcing", Configured: "enforcing"}, e.SELinux)
	diff("crypto policy", "DEFAULT", e.FIPSPolicy)
	diff("management", []inventory.Management{
		{Kind: "satellite", Server: "satellite.example.org", Evidence: "/etc/rhsm/rhsm.conf"},
		{Kind: "uyuni", Server: "uyuni.example.org", Evidence: "/etc/salt/minion.d/susemanager.conf"},
		{Kind: "rhn", Evidence: "/etc/sysconfig/rhn/systemid"},
	}, e.Management)
	diff("panels", []inventory.Panel{{Name: "plesk", Version: "18.0.52", Path: "/usr/local/psa/version"}}, e.Panels)
	diff("crypttab", []inventory.CryptVolume{{Name: "luks-1", Source: "UUID=1234", Options: "tpm2-device=auto"}}, e.Crypt)
	diff("alternatives", []inventory.Alternative{
		{Name: "java", Target: "/usr/lib/jvm/jre/bin/java", Manual: true},
		{Name: "mta", Target: "/usr/sbin/sendmail.postfix", Broken: true},
	}, e.Alternatives)
	diff("package tools", []inventory.PackageTool{
		{Name: "yum", PID: 4713, Evidence: "/run/yum.pid"},
		{Name: "dnf", PID: 4711, Evidence: "/proc/4711"},
	}, e.PackageTools)
	if e.Started != 1700000012 {
		t.Errorf("started %d", e.Started)
	}
	diff("reboot flags", []string{"/run/reboot-required"}, e.RebootFlags)
	diff("cpu", inventory.CPU{Level: 2, Missing: []string{"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}}, e.CPU)

	// Nothing of it is lost on the way to another machine, and the schema knows all of it.
	inv := &inventory.Inventory{
		Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion, Tool: inventory.Tool{Name: "almamigrate", Version: "test"}, Environment: e,
		Host:     inventory.Host{Distro: inventory.CentOS, State: inventory.StateSource, OSRelease: map[string]string{}},
		Packages: []inventory.Package{}, Keys: []inventory.Key{}, Repos: []inventory.Repo{}, Skipped: []inventory.Skipped{},
	}
	var doc bytes.Buffer
	if err := inv.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	validate(t, doc.Bytes())
	back, err := inventory.Read(&doc)
	if err != nil {
		t.Fatal(err)
	}
	diff("after JSON", e, back.Environment)

	// The same tree as an image: what the running system would say is left out.
	e, skipped = environment(t, root, false, h)
	if len(skipped) > 0 {
		t.Errorf("image: skipped %v", skipped)
	}
	if e.Firmware != nil || e.Mounts != nil || e.PackageTools != nil || e.Started != 0 || e.RebootFlags != nil || e.CPU.Level != 0 || e.SELinux.Mode != "" || e.LivePatches != nil || e.ESPs != nil {
		t.Errorf("image: %+v", e)
	}
	if e.Loader == nil || len(e.Panels) != 1 || len(e.Management) != 3 || e.SELinux.Configured != "enforcing" || len(e.BootFiles) != 1 {
		t.Errorf("image: %+v", e)
	}

	// An empty tree: nothing is there, and nothing is wrong with that.
	e, skipped = environment(t, lay(t, map[string]string{"etc/x": ""}), false, inventory.Host{})
	if len(skipped) > 0 || e.Loader == nil || e.Loader.Kind != "unknown" {
		t.Errorf("empty: %+v, skipped %v", e, skipped)
	}
}

func TestContainer(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  inventory.Container
	}{
		{"machine", map[string]string{"proc/1/environ": "TERM=linux\x00"}, inventory.Container{}},
		{"told by systemd", map[string]string{"run/systemd/container": "systemd-nspawn\n", ".dockerenv": ""}, inventory.Container{Kind: "systemd-nspawn", Evidence: "/run/systemd/container"}},
		{"environment of process 1", map[string]string{"proc/1/environ": "A=b\x00container=lxc\x00"}, inventory.Container{Kind: "lxc", Evidence: "/proc/1/environ"}},
		{"docker", map[string]string{".dockerenv": ""}, inventory.Container{Kind: "docker", Evidence: "/.dockerenv"}},
		{"podman", map[string]string{"run/.containerenv": ""}, inventory.Container{Kind: "podman", Evidence: "/run/.containerenv"}},
		{"openvz container", map[string]string{"proc/vz/version": ""}, inventory.Container{Kind: "openvz", Evidence: "/proc/vz"}},
		{"openvz host", map[string]string{"proc/vz/version": "", "proc/bc/0/resources": ""}, inventory.Container{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files["proc/self/mountinfo"] = "20 1 8:2 / / rw - xfs /dev/sda2 rw\n"
			e, _ := environment(t, lay(t, c.files), true, inventory.Host{})
			if e.Container != c.want {
				t.Errorf("%+v, want %+v", e.Container, c.want)
			}
		})
	}
}

func TestManagement(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []inventory.Management
	}{
		{"not registered", map[string]string{"etc/rhsm/rhsm.conf": "[server]\nhostname = sat.example.org\n"}, nil},
		{"red hat", map[string]string{"etc/pki/consumer/cert.pem": "", "etc/rhsm/rhsm.conf": "[server]\nhostname = subscription.rhsm.redhat.com\n"},
			[]inventory.Management{{Kind: "rhsm", Server: "subscription.rhsm.redhat.com", Evidence: "/etc/pki/consumer/cert.pem"}}},
		{"katello", map[string]string{"etc/pki/consumer/cert.pem": "", "etc/rhsm/ca/katello-server-ca.pem": ""},
			[]inventory.Management{{Kind: "satellite", Evidence: "/etc/rhsm/ca/katello-server-ca.pem"}}},
	} {
		e, _ := environment(t, lay(t, c.files), false, inventory.Host{})
		if d := cmp.Diff(c.want, e.Management); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// TestRPMLock: who holds rpm's lock is seen, and the lock is not taken. POSIX
// locks of the own process do not count, so that it takes another kind of
// lock, as rpm takes none: the one of an open file description.
func TestRPMLock(t *testing.T) {
	root := lay(t, map[string]string{"var/lib/rpm/.rpm.lock": "", "proc/self/mountinfo": "20 1 8:2 / / rw - xfs /dev/sda2 rw\n"})
	name := filepath.Join(root, "var/lib/rpm/.rpm.lock")
	if e, _ := environment(t, root, true, inventory.Host{}); len(e.PackageTools) != 0 {
		t.Errorf("a free lock: %+v", e.PackageTools)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk); err != nil {
		t.Skipf("SKIPPED: this kernel has no locks of open file descriptions: %v", err)
	}
	e, _ := environment(t, root, true, inventory.Host{})
	if len(e.PackageTools) != 1 || e.PackageTools[0].Evidence != "/var/lib/rpm/.rpm.lock" {
		t.Errorf("a lock that is held: %+v", e.PackageTools)
	}
	// Still ours, and only ours: nobody else took or broke it.
	lk = unix.Flock_t{Type: unix.F_UNLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lk); err != nil {
		t.Fatal(err)
	}
	if e, _ = environment(t, root, true, inventory.Host{}); len(e.PackageTools) != 0 {
		t.Errorf("a lock given back: %+v", e.PackageTools)
	}
}

// TestFlagged: chattr is seen on a file of a release package.
func TestFlagged(t *testing.T) {
	root := lay(t, map[string]string{"usr/lib/os-release": "x", "etc/os-release": "-> ../usr/lib/os-release", "etc/yum.repos.d/a.repo": "x"})
	fd, err := unix.Open(filepath.Join(root, "usr/lib/os-release"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0x10); err != nil {
		t.Skipf("SKIPPED: chattr is not possible here (not root, or a file system without): %v", err)
	}
	defer func() { _ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0) }()
	h := inventory.Host{Distro: inventory.CentOS, Major: 8}
	e, _ := environment(t, root, false, h, withFiles("centos-linux-release-8.5-1.el8.noarch", nil, "/etc/os-release", "/usr/lib/os-release"))
	if d := cmp.Diff([]inventory.FlaggedFile{{Path: "/usr/lib/os-release", Immutable: true}}, e.Flagged); d != "" {
		t.Error(d)
	}
}

// TestUnreadableEnvironment: what a user may not read is said, and the rest is read.
func TestUnreadableEnvironment(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root reads everything; the thread that runs this test gives that up.
		done := make(chan struct{})
		go func() {
			defer close(done)
			unreadable(t)
		}()
		<-done
		return
	}
	unreadable(t)
}

func unreadable(t *testing.T) {
	files := liveHost()
	root := lay(t, files)
	for _, name := range []string{"boot/grub2", "boot/loader/entries", "etc/rhsm"} {
		if err := os.Chmod(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "etc/crypttab"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir := root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		// setfsuid is for the one thread, which goes with the goroutine.
		lockThread()
		if _, _, e := syscall.RawSyscall(unix.SYS_SETFSUID, 65534, 0, 0); e != 0 {
			t.Logf("SKIPPED: setfsuid: %v", e)
			return
		}
	}
	_, skipped := environment(t, root, true, inventory.Host{Distro: inventory.CentOS, Major: 8})
	var what []string
	for _, s := range skipped {
		what = append(what, s.What)
	}
	got := strings.Join(what, "\n")
	for _, want := range []string{"/etc/crypttab", "the boot loader's configuration"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in:\n%s", want, got)
		}
	}
}

// TestCapturedHost: of the copied files of a running system all is judged that
// they say, and nothing that only this machine would answer.
func TestCapturedHost(t *testing.T) {
	files := liveHost()
	delete(files, "sys/fs/selinux/enforce")
	read := func() (*inventory.Environment, []inventory.Skipped) {
		root := lay(t, files)
		h, err := host.New(root)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		cat, err := catalog.Load(root)
		if err != nil {
			t.Fatal(err)
		}
		return inventory.ReadCaptured(h, cat, inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64"})
	}
	e, skipped := read()
	if len(skipped) > 0 {
		t.Errorf("skipped %v", skipped)
	}
	if e.Firmware == nil || !e.Firmware.UEFI || len(e.ESPs) != 1 || e.ESPs[0].Device.Partition != 1 || e.Started == 0 || len(e.LoaderFiles) == 0 || e.SELinux.Mode != "" {
		t.Errorf("%+v", e)
	}
	if len(e.Mounts) != 4 {
		t.Errorf("mounts %+v", e.Mounts)
	}
	for _, m := range e.Mounts {
		if m.Known {
			t.Errorf("the usage of %s is this machine's", m.Point)
		}
	}
	for name := range files {
		if strings.HasPrefix(name, "sys/dev/") || strings.HasPrefix(name, "sys/devices/") {
			delete(files, name)
		}
	}
	if e, _ := read(); len(e.ESPProblems) > 0 || len(e.ESPs) != 1 || e.ESPs[0].Mount != "/boot/efi" {
		t.Errorf("without devices: problems %v, ESPs %+v", e.ESPProblems, e.ESPs)
	}
}

// TestFlaggedSettings: settings and programs of any package are looked at, and
// the folders that hold them.
func TestFlaggedSettings(t *testing.T) {
	root := t.TempDir()
	for _, f := range []string{"etc/httpd/conf/httpd.conf", "usr/bin/passwd", "usr/share/doc/x"} {
		put(t, root, f, "x")
	}
	locked := []string{"/etc/httpd/conf", "/etc/httpd/conf/httpd.conf", "/usr/bin/passwd", "/usr/share/doc/x"}
	for _, f := range locked[1:] {
		lock(t, filepath.Join(root, f))
	}
	lock(t, filepath.Join(root, locked[0]))
	e, skipped := environment(t, root, false, inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64"},
		withFiles("httpd-2-1.x86_64", nil, "/etc/httpd/conf/httpd.conf", "/etc/httpd/gone", "/usr/bin/passwd", "/usr/share/doc/x"))
	if len(skipped) > 0 {
		t.Errorf("skipped %v", skipped)
	}
	var got []string
	for _, f := range e.Flagged {
		got = append(got, f.Path)
	}
	// What lies in /usr/share is left out: all that packages own would be too much.
	if d := cmp.Diff(locked[:3], got); d != "" {
		t.Error(d)
	}
}

// TestFlaggedMany: where packages have more files than are looked at, what every
// move changes is not among those left out, and that some are is told.
func TestFlaggedMany(t *testing.T) {
	root := t.TempDir()
	put(t, root, "usr/bin/rpm", "x")
	lock(t, filepath.Join(root, "usr/bin/rpm"))
	var many []string
	for i := range 20_001 {
		many = append(many, fmt.Sprintf("/etc/many/%05d", i))
	}
	e, skipped := environment(t, root, false, inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: "x86_64"}, withFiles("many-2-1.x86_64", nil, many...))
	if len(skipped) != 1 || !strings.Contains(skipped[0].What, "/etc/many/") {
		t.Errorf("skipped %v", skipped)
	}
	if len(e.Flagged) != 1 || e.Flagged[0].Path != "/usr/bin/rpm" {
		t.Errorf("flagged %v", e.Flagged)
	}
}

// lock makes a file or folder immutable until the test ends.
func lock(t *testing.T, name string) {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0x10); err != nil {
		_ = unix.Close(fd)
		t.Skipf("SKIPPED: chattr is not possible here (not root, or a file system without): %v", err)
	}
	t.Cleanup(func() {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0)
		_ = unix.Close(fd)
	})
}
