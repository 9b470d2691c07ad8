package boot_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

const global = "8be4df61-93ca-11d2-aa0d-00e098032b8c"

// hostDir makes a root of files (content) and links ("-> target").
func hostDir(t testing.TB, files map[string]string) *rootfs.Root {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func efivar(name, guid string) string { return "sys/firmware/efi/efivars/" + name + "-" + guid }

func TestFirmware(t *testing.T) {
	attr := "\x06\x00\x00\x00"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  boot.Firmware
	}{
		{"bios", map[string]string{"proc/x": ""}, boot.Firmware{SecureBoot: boot.SecureBootNone}},
		{"secure boot on", map[string]string{
			efivar("SecureBoot", global):                                   attr + "\x01",
			efivar("SetupMode", global):                                    attr + "\x00",
			"sys/kernel/security/lockdown":                                 "none [integrity] confidentiality\n",
			"proc/sys/crypto/fips_enabled":                                 "1\n",
			efivar("MokSBStateRT", "605dab50-e046-4300-abb6-3dd810dd8b23"): attr + "\x00",
		}, boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootOn, Lockdown: "integrity", FIPS: true}},
		{"off, setup mode, validation disabled", map[string]string{
			efivar("SecureBoot", global):                                   attr + "\x00",
			efivar("SetupMode", global):                                    attr + "\x01",
			efivar("MokSBStateRT", "605dab50-e046-4300-abb6-3dd810dd8b23"): attr + "\x01",
		}, boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootOff, SetupMode: true, MokDisable: true}},
		{"efivarfs not mounted", map[string]string{"sys/firmware/efi/fw_platform_size": "64\n"},
			boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootUnknown}},
		{"firmware without secure boot", map[string]string{efivar("BootOrder", global): attr + "\x01\x00"},
			boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootNone}},
		{"a short variable", map[string]string{efivar("SecureBoot", global): "\x06"},
			boot.Firmware{UEFI: true, SecureBoot: boot.SecureBootUnknown}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, boot.ReadFirmware(hostDir(t, tc.files))); d != "" {
				t.Error(d)
			}
		})
	}
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// loadOption builds an EFI_LOAD_OPTION as efibootmgr writes it.
func loadOption(text string, part uint32, guid [16]byte, file string) []byte {
	hd := binary.LittleEndian.AppendUint32(nil, part)
	hd = append(hd, make([]byte, 16)...) // start and size
	hd = append(hd, guid[:]...)
	hd = append(hd, 2, 2) // GPT, GUID
	node := func(typ, sub byte, body []byte) []byte {
		return append(binary.LittleEndian.AppendUint16([]byte{typ, sub}, uint16(4+len(body))), body...)
	}
	path := append(node(4, 1, hd), node(4, 4, utf16le(file))...)
	path = append(path, node(0x7f, 0xff, nil)...)
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	return append(append(b, utf16le(text)...), path...)
}

var guid = [16]byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15}

func TestManager(t *testing.T) {
	attr := "\x07\x00\x00\x00"
	r := hostDir(t, map[string]string{
		efivar("BootOrder", global):   attr + "\x0a\x00\x01\x00",
		efivar("BootCurrent", global): attr + "\x0a\x00",
		efivar("Boot000A", global):    attr + string(loadOption("CentOS Linux", 12, guid, `\EFI\centos\shimx64.efi`)),
		efivar("Boot0001", global):    attr + "\x01\x00\x00\x00\xff\xff",
		efivar("BootNext", global):    attr + "\x01\x00",
	})
	m, problems, err := boot.ReadManager(r)
	if err != nil {
		t.Fatal(err)
	}
	want := boot.Manager{Order: []uint16{10, 1}, Current: 10, Entries: []boot.Entry{{
		Number: 10, Description: "CentOS Linux", Active: true, Partition: 12,
		PartUUID: "00112233-4455-6677-0809-0a0b0c0d0e0f", File: `\EFI\centos\shimx64.efi`, DevicePath: "HD(12)/File",
	}}}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "Boot0001") {
		t.Errorf("the damaged entry is not named: %v", problems)
	}
}

func TestSignatureLists(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Lab MOK"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	list := func(kind string, sigs ...[]byte) []byte {
		b := []byte(kind)
		size := 16 + len(sigs[0])
		b = binary.LittleEndian.AppendUint32(b, uint32(28+size*len(sigs)))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(size))
		for _, s := range sigs {
			b = append(append(b, make([]byte, 16)...), s...)
		}
		return b
	}
	x509Kind := "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
	shaKind := "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
	data := append(list(x509Kind, der), list(shaKind, make([]byte, 32), make([]byte, 32))...)
	got, err := boot.ParseSignatureLists(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Certificates) != 1 || got.Certificates[0].Subject.CommonName != "Lab MOK" || got.Hashes != 2 || !bytes.Equal(got.Raw[0], der) {
		t.Errorf("got %d certificates, %d hashes", len(got.Certificates), got.Hashes)
	}
	cert := got.Certificates[0]
	if !got.Holds(cert) || (&boot.Trust{}).Holds(cert) {
		t.Error("whether a certificate is listed")
	}
	// dbx names certificates by the digest of what is signed in them; the time of revocation follows.
	s256, s384, s512 := sha256.Sum256(cert.RawTBSCertificate), sha512.Sum384(cert.RawTBSCertificate), sha512.Sum512(cert.RawTBSCertificate)
	for kind, sum := range map[string][]byte{
		"\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed": s256[:],
		"\x6e\x87\x76\x70\xc2\x80\xe6\x4e\xaa\xd2\x28\xb3\x49\xa6\x86\x5b": s384[:],
		"\x63\xbf\x6d\x44\x02\x25\xda\x4c\xbc\xfa\x24\x65\xd2\xb0\xfe\x9d": s512[:],
	} {
		x, err := boot.ParseSignatureLists(list(kind, append(bytes.Clone(sum), make([]byte, 16)...)))
		if err != nil || !x.Holds(cert) {
			t.Errorf("digest of %d bytes: %v %+v", len(sum), err, x)
		}
		sum[0] ^= 1
		if x, _ = boot.ParseSignatureLists(list(kind, append(bytes.Clone(sum), make([]byte, 16)...))); x.Holds(cert) {
			t.Errorf("another digest of %d bytes", len(sum))
		}
	}
	for cut := 1; cut < len(data); cut++ {
		if _, err := boot.ParseSignatureLists(data[:cut]); err == nil && cut != len(list(x509Kind, der)) {
			t.Fatalf("cut at %d of %d: no error", cut, len(data))
		}
	}
}

// TestESPs has what peers got wrong by reading digits: partition 12 of an NVMe
// disk, an array of two partitions, and a multipath map.
func TestESPs(t *testing.T) {
	esp := "E:ID_PART_ENTRY_TYPE=" + boot.ESPType + "\nE:ID_PART_ENTRY_UUID=AAAA\n"
	r := hostDir(t, map[string]string{
		"sys/dev/block/259:12":                              "-> ../../devices/pci/nvme/nvme0n1/nvme0n1p12",
		"sys/devices/pci/nvme/nvme0n1/dev":                  "259:0\n",
		"sys/devices/pci/nvme/nvme0n1/nvme0n1p12/dev":       "259:12\n",
		"sys/devices/pci/nvme/nvme0n1/nvme0n1p12/partition": "12\n",
		"run/udev/data/b259:12":                             esp,

		"sys/dev/block/9:127":                         "-> ../../devices/virtual/block/md127",
		"sys/devices/virtual/block/md127/dev":         "9:127\n",
		"sys/devices/virtual/block/md127/md/level":    "raid1\n",
		"sys/devices/virtual/block/md127/slaves/sda1": "-> ../../../../ata1/sda/sda1",
		"sys/devices/virtual/block/md127/slaves/sdb1": "-> ../../../../ata2/sdb/sdb1",
		"sys/devices/ata1/sda/sda1/dev":               "8:1\n",
		"sys/devices/ata1/sda/sda1/partition":         "1\n",
		"sys/devices/ata2/sdb/sdb1/dev":               "8:17\n",
		"sys/devices/ata2/sdb/sdb1/partition":         "1\n",
		"sys/dev/block/8:1":                           "-> ../../devices/ata1/sda/sda1",
		"sys/dev/block/8:17":                          "-> ../../devices/ata2/sdb/sdb1",
		"run/udev/data/b8:1":                          esp,
		"run/udev/data/b8:17":                         esp,

		"sys/dev/block/253:3":                    "-> ../../devices/virtual/block/dm-3",
		"sys/devices/virtual/block/dm-3/dev":     "253:3\n",
		"sys/devices/virtual/block/dm-3/dm/uuid": "part1-mpath-3600508\n",
		"run/udev/data/b253:3":                   esp,
		"boot/efi/EFI/centos/shimx64.efi":        "x",
		"boot/efi/EFI/BOOT/BOOTX64.EFI":          "x",
	})
	mounts, err := boot.ParseMountinfo([]byte(
		"22 1 8:2 / / rw,relatime shared:1 - xfs /dev/sda2 rw\n" +
			"40 22 259:12 / /boot/efi rw,relatime shared:2 master:3 - vfat /dev/nvme0n1p12 rw,fmask=0077\n" +
			"41 22 9:127 / /boot/efi2\\040b ro - vfat /dev/md127 ro\n"))
	if err != nil {
		t.Fatal(err)
	}
	if mounts[2].Point != "/boot/efi2 b" || !mounts[2].ReadOnly() || mounts[1].ReadOnly() {
		t.Errorf("mounts: %+v", mounts)
	}
	mounts[2].Point = "/efi"
	got, problems := boot.ReadESPs(r, mounts)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(got) != 3 {
		t.Fatalf("%d ESPs: %+v", len(got), got)
	}
	if d := got[1].Device; got[1].Mount != "/boot/efi" || d.Disk != "nvme0n1" || d.Partition != 12 || d.PartUUID != "aaaa" {
		t.Errorf("nvme: %+v", got[1])
	}
	if d := cmp.Diff([]string{"BOOT", "centos"}, got[1].Vendors); d != "" {
		t.Error(d)
	}
	md := got[0].Device
	if md.Kind != "md" || md.Level != "raid1" || len(md.Below) != 2 || md.Below[1].Disk != "sdb" || md.Below[1].Partition != 1 {
		t.Errorf("md: %+v", md)
	}
	if d := got[2].Device; got[2].Mount != "" || d.Kind != "partition" || d.Partition != 1 || d.Name != "dm-3" {
		t.Errorf("multipath: %+v", got[2])
	}
}

func TestDeviceLoop(t *testing.T) {
	r := hostDir(t, map[string]string{
		"sys/dev/block/253:0":                     "-> ../../devices/virtual/block/dm-0",
		"sys/devices/virtual/block/dm-0/dm/uuid":  "LVM-x\n",
		"sys/devices/virtual/block/dm-0/slaves/a": "-> ../../dm-0",
	})
	if _, err := boot.ReadDevice(r, "253:0"); err == nil {
		t.Error("a device built on itself was accepted")
	}
}

func grubenv(lines string) string {
	s := "# GRUB Environment Block\n" + lines
	return s + strings.Repeat("#", 1024-len(s))
}

func TestConfigProblem(t *testing.T) {
	whole := "### BEGIN /etc/grub.d/00_header ###\nset pager=1\n### END /etc/grub.d/00_header ###\n\n### BEGIN /etc/grub.d/10_linux ###\ninsmod part_gpt\nblscfg\n### END /etc/grub.d/10_linux ###\n"
	for text, want := range map[string]string{
		whole: "",
		"menuentry 'CentOS' {\n  linux16 /vmlinuz\n}\n":   "",
		"search --set=dev\nconfigfile $prefix/grub.cfg\n": "",
		whole[:len(whole)-20]:                             "it ends in the middle of /etc/grub.d/10_linux",
		"set default=0\n":                                 "it has no entry that could be started",
	} {
		l, err := boot.ReadLoader(hostDir(t, map[string]string{"boot/grub2/grub.cfg": text}))
		if err != nil || l.ConfigProblem != want {
			t.Errorf("%q: %q, %v, want %q", text, l.ConfigProblem, err, want)
		}
	}
}

func TestLoader(t *testing.T) {
	entry := "title CentOS Linux (4.18.0-348.el8.x86_64) 8\nversion 4.18.0-348.el8.x86_64\nlinux /vmlinuz-4.18.0-348.el8.x86_64\n" +
		"initrd /initramfs-4.18.0-348.el8.x86_64.img $tuned_initrd\n# a comment\noptions $kernelopts\ngrub_users $grub_users\n"
	id := "0123456789abcdef0123456789abcdef-4.18.0-348.el8.x86_64"
	r := hostDir(t, map[string]string{
		"boot/grub2/grub.cfg":                 "insmod blscfg\nblscfg\n",
		"boot/grub2/grubenv":                  "-> ../efi/EFI/centos/grubenv",
		"boot/efi/EFI/centos/grubenv":         grubenv("saved_entry=" + id + "\nkernelopts=root=/dev/mapper/a\\\\b ro\n"),
		"boot/loader/entries/" + id + ".conf": entry,
		"boot/loader/entries/readme.txt":      "x",
		"boot/vmlinuz-4.18.0-348.el8.x86_64":  "kernel",
		"etc/default/grub":                    "GRUB_TIMEOUT=5\nGRUB_ENABLE_BLSCFG=true\n",
	})
	got, err := boot.ReadLoader(r)
	if err != nil {
		t.Fatal(err)
	}
	want := boot.Loader{
		Kind: "grub2", Config: "/boot/grub2/grub.cfg", EnvFile: "/boot/efi/EFI/centos/grubenv", BLS: true, Default: id,
		Env: map[string]string{"saved_entry": id, "kernelopts": `root=/dev/mapper/a\b ro`},
		Entries: []boot.BLSEntry{{
			File: id, Machine: id[:32], Title: "CentOS Linux (4.18.0-348.el8.x86_64) 8", Version: "4.18.0-348.el8.x86_64",
			Linux: "/vmlinuz-4.18.0-348.el8.x86_64", Initrd: "/initramfs-4.18.0-348.el8.x86_64.img $tuned_initrd", Options: "$kernelopts",
			Missing: []string{"/initramfs-4.18.0-348.el8.x86_64.img"},
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// The link of EL8 under UEFI, whose target is gone.
	r = hostDir(t, map[string]string{"boot/grub2/grub.cfg": "x", "boot/grub2/grubenv": "-> ../efi/EFI/centos/grubenv"})
	if got, err = boot.ReadLoader(r); err != nil || !strings.Contains(got.EnvProblem, "does not exist") {
		t.Errorf("dangling grubenv: %+v %v", got, err)
	}
	// Blocks that GRUB reads, whatever their size, but cannot take room from.
	for text, problem := range map[string]string{
		grubenv("saved_entry=x\n"):                                  "",
		grubenv("saved_entry=x\n")[:900]:                            "",
		grubenv("saved_entry=x\n") + "\n":                           "no # at its end",
		"# GRUB Environment Block\nsaved_entry=x\n":                 "no # at its end",
		strings.Replace(grubenv("saved_entry=x\n"), "GRUB", "X", 1): "without its first line",
	} {
		got, err := boot.ReadLoader(hostDir(t, map[string]string{"boot/grub2/grub.cfg": "x", "boot/grub2/grubenv": text}))
		if err != nil || got.EnvProblem != problem && (problem == "" || !strings.Contains(got.EnvProblem, problem)) || (got.Default == "x") != !strings.Contains(problem, "first line") {
			t.Errorf("grubenv of %d bytes: %q, default %q, %v, want %q", len(text), got.EnvProblem, got.Default, err, problem)
		}
	}
	for file, kind := range map[string]string{"etc/zipl.conf": "zipl", "boot/grub/grub.conf": "grub-legacy", "efi/loader/loader.conf": "systemd-boot"} {
		if got, err := boot.ReadLoader(hostDir(t, map[string]string{file: "x"})); err != nil || got.Kind != kind {
			t.Errorf("%s: %q %v", file, got.Kind, err)
		}
	}
}

func FuzzLoadOption(f *testing.F) {
	f.Add(loadOption("x", 1, guid, `\a`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = boot.ParseLoadOption(b) })
}

func FuzzSignatureLists(f *testing.F) {
	f.Add(make([]byte, 60))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = boot.ParseSignatureLists(b) })
}

func FuzzGrubEnv(f *testing.F) {
	f.Add([]byte(grubenv("a=b\n")))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = boot.ParseGrubEnv(b) })
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("22 1 8:2 / /a\\040b rw shared:1 - xfs /dev/sda2 rw\n"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = boot.ParseMountinfo(b) })
}

// TestNoGrubenv: a configuration that loads its environment, and none is there;
// the one beside a configuration on the ESP counts.
func TestNoGrubenv(t *testing.T) {
	const config = "if [ -f ${config_directory}/grubenv ]; then\n  load_env -f ${config_directory}/grubenv\nelif [ -s $prefix/grubenv ]; then\n  load_env\nfi\nblscfg\n"
	for _, c := range []struct {
		files         map[string]string
		file, problem string
	}{
		{map[string]string{"boot/grub2/grub.cfg": config}, "", "there is none"},
		{map[string]string{"boot/grub2/grub.cfg": "blscfg\n"}, "", ""},
		{map[string]string{"boot/efi/EFI/rocky/grub.cfg": config, "boot/efi/EFI/rocky/grubenv": grubenv("a=b\n")}, "/boot/efi/EFI/rocky/grubenv", ""},
		{map[string]string{"boot/grub2/grub.cfg": config, "boot/grub2/grubenv": grubenv("a=b\n")}, "/boot/grub2/grubenv", ""},
	} {
		l, err := boot.ReadLoader(hostDir(t, c.files))
		if err != nil || l.EnvFile != c.file || l.EnvProblem != c.problem {
			t.Errorf("%v: %q, %q, %v; want %q, %q", c.files, l.EnvFile, l.EnvProblem, err, c.file, c.problem)
		}
	}
}
