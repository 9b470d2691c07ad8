package boot_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// firmware is a root whose efivarfs holds the given variables, in hex.
func firmware(t *testing.T, vars map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "sys/firmware/efi/efivars")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for n, v := range vars {
		data, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n+"-"+global), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLoadOptionThereAndBack(t *testing.T) {
	for _, p := range []boot.Partition{
		{Number: 1, Start: 2048, Blocks: 409600, GUID: "0fc63daf-8483-4772-8e79-3d69d8477de4"},
		{Number: 12, Start: 1 << 40, Blocks: 1, GUID: "00000000-0000-0000-0000-000000000001"},
		{Number: 15, Start: 34, Blocks: 9, MBR: 0xdeadbeef},
	} {
		b, err := boot.FormatLoadOption("AlmaLinux ä", p, `\EFI\almalinux\shimx64.efi`)
		if err != nil {
			t.Fatal(err)
		}
		got, err := boot.ParseLoadOption(b)
		if err != nil {
			t.Fatal(err)
		}
		want := boot.Entry{Description: "AlmaLinux ä", Active: true, PartUUID: p.GUID, Partition: p.Number, File: `\EFI\almalinux\shimx64.efi`, DevicePath: got.DevicePath}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	for _, bad := range []struct {
		label, file string
		p           boot.Partition
	}{{"", `\a`, boot.Partition{MBR: 1}}, {"a", "a", boot.Partition{MBR: 1}}, {"a\x00b", `\a`, boot.Partition{MBR: 1}}, {"a", `\a`, boot.Partition{}}, {"a", `\a`, boot.Partition{GUID: "0fc63daf"}}} {
		if _, err := boot.FormatLoadOption(bad.label, bad.p, bad.file); !errors.Is(err, boot.ErrFormat) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The bytes of an entry as the specification lays them out, by hand.
func TestLoadOptionBytes(t *testing.T) {
	got, err := boot.FormatLoadOption("A", boot.Partition{Number: 2, Start: 3, Blocks: 4, GUID: "01020304-0506-0708-090a-0b0c0d0e0f10"}, `\x`)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll("01000000 3800 4100 0000 "+
		"0401 2a00 02000000 0300000000000000 0400000000000000 04030201 0605 0807 090a0b0c0d0e0f10 02 02 "+
		"0404 0a00 5c00 7800 0000 7fff 0400", " ", "")
	if hex.EncodeToString(got) != want {
		t.Errorf("%x\nwant %s", got, want)
	}
}

func TestVariablesAreWrittenAndPutBack(t *testing.T) {
	root := firmware(t, map[string]string{"BootOrder": "0700000001000300", "Boot0001": "07000000aabb", "Boot0003": "07000000cc", "BootCurrent": "060000000100", "Boot0000": ""})
	v, err := boot.OpenVariables(root)
	if err != nil {
		t.Fatal(err)
	}
	before, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]uint16{1, 3}, before.Numbers()); d != "" {
		t.Error(d)
	}
	if len(before.Entries) != 2 {
		t.Errorf("%v", before.Entries)
	}
	n, err := before.Free()
	if err != nil || n != 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if err := v.SetEntry(n, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := v.SetOrder([]uint16{0, 1, 3}); err != nil {
		t.Fatal(err)
	}
	now, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]uint16{0, 1, 3}, now.Numbers()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]uint16{0}, now.Find([]byte{1, 2, 3})); d != "" {
		t.Error(d)
	}
	// A shorter value leaves nothing of the longer one.
	if err := v.SetRaw("BootOrder", before.Order); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.SetRaw("Boot0000", nil); err != nil {
			t.Fatal(err)
		}
	}
	after, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
}

func TestNoRoomAndNoEfivarfs(t *testing.T) {
	if _, err := boot.OpenVariables(t.TempDir()); err == nil {
		t.Error("no efivarfs, no error")
	}
	root := firmware(t, map[string]string{"BootOrder": "07000000"})
	v, err := boot.OpenVariables(root)
	if err != nil {
		t.Fatal(err)
	}
	// /dev/full refuses every write as a full store does.
	if err := os.Symlink("/dev/full", filepath.Join(root, "sys/firmware/efi/efivars", "Boot0007-"+global)); err != nil {
		t.Fatal(err)
	}
	if err := boot.WriteOnly(v, 7, []byte{7, 0, 0, 0, 1}); !errors.Is(err, boot.ErrFull) {
		t.Errorf("%v", err)
	}
}

func TestDamagedVariable(t *testing.T) {
	v, err := boot.OpenVariables(firmware(t, map[string]string{"Boot0001": "07"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Snapshot(); !errors.Is(err, boot.ErrFormat) {
		t.Errorf("%v", err)
	}
	if err := v.SetRaw("Boot0002", []byte{1}); !errors.Is(err, boot.ErrFormat) {
		t.Errorf("%v", err)
	}
}

func TestFreeNumber(t *testing.T) {
	b := boot.Boot{Order: []byte{7, 0, 0, 0, 0, 0, 2, 0}, Entries: map[string][]byte{"Boot0001": {7, 0, 0, 0, 1}}}
	if n, err := b.Free(); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	for n := range 0x10000 {
		b.Entries[boot.EntryName(uint16(n))] = []byte{7, 0, 0, 0}
	}
	if _, err := b.Free(); !errors.Is(err, boot.ErrFull) {
		t.Errorf("%v", err)
	}
}

func TestPartition(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(number, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, "sys/dev/block"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, "sys/dev/block", number)); err != nil {
			t.Fatal(err)
		}
	}
	// partition 12 of an NVMe disk with blocks of 4 KiB: sysfs counts 512 bytes
	put("sys/devices/x/nvme0n1/queue/logical_block_size", "4096")
	put("sys/devices/x/nvme0n1/nvme0n1p12/partition", "12")
	put("sys/devices/x/nvme0n1/nvme0n1p12/start", "2048")
	put("sys/devices/x/nvme0n1/nvme0n1p12/size", "1228800")
	link("259:12", "../../devices/x/nvme0n1/nvme0n1p12")
	put("run/udev/data/b259:12", "S:disk/by-x\nE:ID_PART_ENTRY_UUID=0FC63DAF-8483-4772-8e79-3d69d8477de4\nE:ID_PART_ENTRY_SCHEME=gpt")
	// an MBR's
	put("sys/devices/x/sda/sda1/partition", "1")
	put("sys/devices/x/sda/sda1/start", "63")
	put("sys/devices/x/sda/sda1/size", "100")
	link("8:1", "../../devices/x/sda/sda1")
	put("run/udev/data/b8:1", "E:ID_PART_ENTRY_UUID=deadbeef-01")
	// of a multipath map: sysfs has no partition, udev does
	put("sys/devices/virtual/block/dm-3/size", "409600")
	link("253:3", "../../devices/virtual/block/dm-3")
	put("run/udev/data/b253:3", "E:ID_PART_ENTRY_NUMBER=2\nE:ID_PART_ENTRY_OFFSET=4096\nE:ID_PART_ENTRY_SIZE=409600\nE:ID_PART_ENTRY_UUID=00000000-0000-0000-0000-000000000001")
	// nobody knows its GUID
	put("sys/devices/x/sdb/sdb1/partition", "1")
	put("sys/devices/x/sdb/sdb1/start", "63")
	put("sys/devices/x/sdb/sdb1/size", "100")
	link("8:17", "../../devices/x/sdb/sdb1")

	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for number, want := range map[string]boot.Partition{
		"259:12": {Number: 12, Start: 256, Blocks: 153600, GUID: "0fc63daf-8483-4772-8e79-3d69d8477de4"},
		"8:1":    {Number: 1, Start: 63, Blocks: 100, MBR: 0xdeadbeef},
		"253:3":  {Number: 2, Start: 4096, Blocks: 409600, GUID: "00000000-0000-0000-0000-000000000001"},
	} {
		got, err := boot.ReadPartition(r, number)
		if err != nil {
			t.Errorf("%s: %v", number, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", number, d)
		}
	}
	for _, number := range []string{"8:17", "8:99"} {
		if p, err := boot.ReadPartition(r, number); err == nil {
			t.Errorf("%s: %+v", number, p)
		}
	}
}

func TestSetGrubEnv(t *testing.T) {
	fill := func(s string) []byte { return append([]byte(s), bytes.Repeat([]byte("#"), 1024-len(s))...) }
	head := "# GRUB Environment Block\n"
	note := "# WARNING: Do not edit this file by tools other than grub-editenv!!!\n"
	for _, c := range []struct {
		name, in, want string
		set            map[string]string
	}{
		{"added", head + "a=1\n", head + "a=1\nsaved_entry=x\n", map[string]string{"saved_entry": "x"}},
		{"replaced in its place", head + note + "saved_entry=old\nkernelopts=root=/dev/sda ro\n", head + note + "saved_entry=x\nkernelopts=root=/dev/sda ro\n", map[string]string{"saved_entry": "x"}},
		{"removed", head + "next_entry=1\nb=2\n", head + "b=2\n", map[string]string{"next_entry": ""}},
		{"escaped", head, head + "v=a\\\\b\\\nc\n", map[string]string{"v": "a\\b\nc"}},
		{"a value of two lines is replaced whole", head + "v=a\\\nw=1\nw=2\n", head + "v=x\nw=2\n", map[string]string{"v": "x"}},
		{"twice in it", head + "v=1\nv=2\n", head + "v=3\n", map[string]string{"v": "3"}},
	} {
		var names []string
		for n := range c.set {
			names = append(names, n)
		}
		got, err := boot.SetGrubEnv(fill(c.in), names, c.set)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !bytes.Equal(got, fill(c.want)) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
		env, err := boot.ParseGrubEnv(got)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for n, v := range c.set {
			if env[n] != v {
				t.Errorf("%s: read back %q", c.name, env[n])
			}
		}
	}
	ended := append(fill(head + "a=1\n")[:1023], '\n')
	if got, err := boot.SetGrubEnv(ended, []string{"b"}, map[string]string{"b": "2"}); err != nil || !bytes.Equal(got, fill(head+"a=1\nb=2\n")) {
		t.Errorf("filled by a line with an end: %q, %v", got, err)
	}
	if got, err := boot.SetGrubEnv(nil, []string{"a"}, map[string]string{"a": "b"}); err != nil || !bytes.Equal(got, fill(head+"a=b\n")) {
		t.Errorf("%q, %v", got, err)
	}
	// As editors leave blocks: cut, and with the newline that they end files with.
	for name, in := range map[string][]byte{
		"short": []byte(head + "a=1\n"), "a newline at the end": append(fill(head+"a=1\n"), '\n'), "shorter, with both": []byte(head + "a=1\n####\n"),
	} {
		if env, err := boot.ParseGrubEnv(in); err != nil || env["a"] != "1" {
			t.Errorf("%s: %v, %v", name, env, err)
		}
		if got, err := boot.SetGrubEnv(in, []string{"b"}, map[string]string{"b": "2"}); err != nil || !bytes.Equal(got, fill(head+"a=1\nb=2\n")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	large := append(fill(head+"a="+strings.Repeat("x", 990)+"\n"), bytes.Repeat([]byte("#"), 1024)...)
	if got, err := boot.SetGrubEnv(large, []string{"b"}, map[string]string{"b": "22222222"}); err != nil || len(got) != 2048 || !bytes.Contains(got, []byte("\nb=22222222\n#")) {
		t.Errorf("a block of 2,048 bytes: %q, %v", got, err)
	}
	for name, in := range map[string][]byte{"empty": {}, "no magic": bytes.Repeat([]byte("#"), 1024)} {
		if _, err := boot.SetGrubEnv(in, []string{"a"}, map[string]string{"a": "b"}); !errors.Is(err, boot.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := boot.SetGrubEnv(nil, []string{"a"}, map[string]string{"a": strings.Repeat("x", 1024)}); !errors.Is(err, boot.ErrFormat) {
		t.Errorf("too long: %v", err)
	}
}

func FuzzSetGrubEnv(f *testing.F) {
	f.Add("a=1\n", "a", "2")
	f.Add("a=1\\\nb=2\n#c", "b", "x\\\n")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		head := "# GRUB Environment Block\n"
		if len(text) > 900 {
			return
		}
		in := []byte(head + text + strings.Repeat("#", 1024-len(head)-len(text)))
		old, err := boot.ParseGrubEnv(in)
		if err != nil {
			return
		}
		out, err := boot.SetGrubEnv(in, []string{key}, map[string]string{key: value})
		if err != nil {
			return
		}
		now, err := boot.ParseGrubEnv(out)
		if err != nil {
			t.Fatal(err)
		}
		if now[key] != value && strings.IndexByte(text, '\\') < 0 {
			t.Errorf("%q: %q, want %q", key, now[key], value)
		}
		for k, v := range old {
			if k != key && strings.HasSuffix(text, "\n") && strings.IndexByte(text, '\\') < 0 && now[k] != v {
				t.Errorf("%q was %q, is %q", k, v, now[k])
			}
		}
	})
}
