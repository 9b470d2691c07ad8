package inventory_test

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

// luks2 makes a header of version 2.
func luks2(metadata string) string {
	b := make([]byte, 16<<10)
	copy(b, "LUKS\xba\xbe\x00\x02")
	binary.BigEndian.PutUint64(b[8:], uint64(len(b)))
	copy(b[72:], "sha256")
	copy(b[4096:], metadata)
	sum := sha256.Sum256(b)
	copy(b[448:], sum[:])
	return string(b)
}

// TestCryptVolumes: headers are found by crypttab's ways to name a device, by
// what is active, and by an option; what is no LUKS volume has none.
func TestCryptVolumes(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	head := func(slot string) string { return luks2(`{"keyslots":{"` + slot + `":{}},"tokens":{}}`) }
	write("dev/sda1", head("1"))
	write("dev/sda2", head("2"))
	write("dev/sda3", "a partition for swap")
	write("dev/sda4", head("4")[:5000])
	write("dev/nvme0n1p3", head("5"))
	write("etc/header", head("6"))
	write("dev/disk/by-uuid/x", "")
	if err := os.Symlink("../../sda1", filepath.Join(root, "dev/disk/by-uuid/abcd")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "dev/disk/by-label"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../sda1", filepath.Join(root, `dev/disk/by-label/a\x2fb`)); err != nil {
		t.Fatal(err)
	}
	write("sys/block/dm-0/dm/uuid", "CRYPT-LUKS2-817ee02668b849e8aa749bff6150a01b-root\n")
	write("sys/block/dm-0/dm/name", "root\n")
	write("sys/block/dm-0/slaves/sda2/x", "")
	write("sys/block/dm-1/dm/uuid", "CRYPT-LUKS2-11-home\n")
	write("sys/block/dm-1/dm/name", "home\n")
	write("sys/block/dm-1/slaves/nvme0n1p3/x", "")
	write("sys/block/dm-2/dm/uuid", "LVM-abc\n")
	write("etc/crypttab", "a UUID=ABCD none luks\nquoted UUID=\"abcd\" none luks\nlabel LABEL='a/b' none luks\nroot UUID=gone none luks\nswap /dev/sda3 /dev/urandom swap\nbroken /dev/sda4\nlost /dev/sdz1\ndetached /dev/sda3 none luks,header=/etc/header\n")
	e, skipped := environment(t, root, true, inventory.Host{})
	got := map[string]string{}
	for _, v := range e.Crypt {
		text := "-"
		if v.Header != nil {
			text = v.Device
			if len(v.Header.Keyslots) == 1 {
				text += " " + string(rune('0'+v.Header.Keyslots[0]))
			}
		}
		got[v.Name] = text
	}
	want := map[string]string{
		"a": "/dev/disk/by-uuid/abcd 1", "quoted": "/dev/disk/by-uuid/abcd 1", "label": `/dev/disk/by-label/a\x2fb 1`, "root": "/dev/sda2 2", "home": "/dev/nvme0n1p3 5", "swap": "-", "broken": "-", "lost": "-", "detached": "/etc/header 6",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	n := 0
	for _, s := range skipped {
		if s.What == "the LUKS header of broken on /dev/sda4" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the damaged header is not told: %v", skipped)
	}
	// Of an image what is active here is not its own.
	if e, _ = environment(t, root, false, inventory.Host{}); len(e.Crypt) != 8 {
		t.Errorf("%+v", e.Crypt)
	}
}
