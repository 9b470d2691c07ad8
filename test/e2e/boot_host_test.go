package e2e

import (
	bin "encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// The ESP of bootable hosts: partition 1 of /dev/vda, on no real device.
const (
	espGUID   = "5f6bb3a1-6b6e-4c8e-9a2b-0d5c6e7f8091"
	machineID = "0123456789abcdef0123456789abcdef"
	efiGlobal = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

// bootHost is a host that boots: shim, GRUB and entries of the old distribution,
// an ESP as far as sysfs, udev and mountinfo tell, and the firmware's variables.
// Its firmware knows three entries: a disk of another system, the host's own, and
// the network.
type bootHost struct {
	*Host
	vendor string // the folder below EFI
	uefi   bool
}

func newBootHost(t testing.TB, distro string, major int, uefi bool) *bootHost {
	t.Helper()
	h := &bootHost{NewHost(t, distro, major), map[string]string{"centos": "centos", "stream": "centos", "rocky": "rocky"}[distro], uefi}
	fixtures, put := filepath.Join(filepath.Dir(h.Upper()), "fixtures"), h.fixture
	h.farm = true
	mounts := "20 1 0:50 / / rw - overlay lab rw\n21 20 0:5 / /proc rw - proc proc rw\n22 20 0:6 / /sys rw - sysfs sysfs rw\n"
	packages := ""
	if uefi {
		mounts += "23 20 254:1 / /boot/efi rw - vfat /dev/vda1 rw\n24 22 0:7 / /sys/firmware/efi/efivars rw - efivarfs efivarfs rw\n"
		packages = "dnf -q -y install shim-x64 grub2-efi-x64"
		for n, v := range map[string]string{
			"BootOrder": "07000000" + "0000" + "0300" + "0100", "BootCurrent": "06000000" + "0300",
			"Boot0000": "07000000" + loadOption("Windows Boot Manager", `\EFI\Microsoft\Boot\bootmgfw.efi`),
			"Boot0001": "07000000" + "01000000" + "0400" + utf16z("PXE") + "7fff0400",
			"Boot0003": "07000000" + loadOption("Old Linux", `\EFI\`+h.vendor+`\shimx64.efi`),
		} {
			data, err := hex.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			put("sys/firmware/efi/efivars/"+n+"-"+efiGlobal, string(data))
		}
		put("run/udev/data/b254:1", "E:ID_PART_ENTRY_UUID="+espGUID+"\nE:ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\nE:ID_PART_ENTRY_SCHEME=gpt\n")
	} else {
		put("sys/firmware/acpi", "")
	}
	put("proc/self/mountinfo", mounts)
	for f, text := range map[string]string{"partition": "1", "start": "2048", "size": "204800", "dev": "254:1"} {
		put("sys/dev/vda/vda1/"+f, text+"\n")
	}
	if err := os.MkdirAll(filepath.Join(fixtures, "sys/dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../vda/vda1", filepath.Join(fixtures, "sys/dev/block/254:1")); err != nil {
		t.Fatal(err)
	}
	h.Must("bash", "-ec", packages+`
echo `+machineID+` > /etc/machine-id
mkdir -p /boot/loader/entries /boot/grub2 /etc/kernel
printf 'GRUB_DEFAULT=saved\nGRUB_ENABLE_BLSCFG=true\n' > /etc/default/grub
cfg=/boot/grub2/grub.cfg
[ -z "$2" ] || [ "$1" != 8 ] || cfg=/boot/efi/EFI/$2/grub.cfg
grub2-mkconfig -o $cfg
[ -z "$2" ] || [ "$1" = 8 ] || printf 'search --no-floppy --fs-uuid --set=dev 1111-2222\nset prefix=($dev)/grub2\nexport $prefix\nconfigfile $prefix/grub.cfg\n' > /boot/efi/EFI/$2/grub.cfg
rm -f /boot/efi/EFI/almalinux/grub.cfg
for k in $(rpm -q --qf '%{VERSION}-%{RELEASE}.%{ARCH}\n' kernel-core); do kernel-install add $k /lib/modules/$k/vmlinuz; done
grub2-editenv - set "saved_entry=`+machineID+`-$k" "kernelopts=root=/dev/vda2 ro quiet" boot_success=1
sync`, "bash", fmt.Sprint(major), map[bool]string{true: h.vendor}[uefi])
	return h
}

// fixture puts a file where the lab shows it to the host instead of the kernel's.
func (h *bootHost) fixture(name, text string) {
	h.t.Helper()
	p := filepath.Join(filepath.Dir(h.Upper()), "fixtures", name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// loadOption is an EFI_LOAD_OPTION, made by hand.
func loadOption(label, file string) string {
	f := utf16z(file)
	path := "04012a00" + "01000000" + "0008000000000000" + "0020030000000000" + "a1b36b5f6e6b8e4c9a2b0d5c6e7f8091" + "0202" +
		"0404" + le16(4+len(f)/2) + f + "7fff0400"
	return "01000000" + le16(len(path)/2) + utf16z(label) + path
}

func le16(n int) string { return hex.EncodeToString(bin.LittleEndian.AppendUint16(nil, uint16(n))) }

func utf16z(s string) string {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = bin.LittleEndian.AppendUint16(b, u)
	}
	return hex.EncodeToString(b)
}

// firmware is all that the firmware's variables hold.
func (h *bootHost) firmware() string {
	h.t.Helper()
	dir := filepath.Join(filepath.Dir(h.Upper()), "fixtures/sys/firmware/efi/efivars")
	list, err := os.ReadDir(dir)
	if err != nil && h.uefi {
		h.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range list {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			h.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", strings.TrimSuffix(e.Name(), "-"+efiGlobal), data)
	}
	return b.String()
}

// clone is another host that is the same now.
func (h *bootHost) clone(t testing.TB) *bootHost {
	t.Helper()
	from := filepath.Dir(h.Upper())
	c := &Host{t: t, Name: fmt.Sprintf("%s-%d", h.Name, hosts.Add(1)), Distro: h.Distro, Major: h.Major, farm: true}
	to := filepath.Join(filepath.Dir(from), c.Name)
	t.Cleanup(func() { driver(t, "rm", c.Name) })
	for _, d := range []string{"work", "m"} {
		if err := os.MkdirAll(filepath.Join(to, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"upper", "fixtures", "gold"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(from, d), to).CombinedOutput(); err != nil {
			t.Fatalf("cannot copy host %s: %v\n%s", h.Name, err, out)
		}
	}
	return &bootHost{c, h.vendor, h.uefi}
}

// mustBe compares the host, and its firmware, with another one.
func (h *bootHost) mustBe(what string, want *bootHost, times bool) {
	h.t.Helper()
	mustEqual(h.t.(*testing.T), what, h.Host, want.Host, times)
	if a, b := want.firmware(), h.firmware(); a != b {
		h.t.Errorf("%s: the firmware's variables differ:\n%s", what, lineDiff(a, b))
	}
}
