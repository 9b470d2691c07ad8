package boot_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// ovmf reads what test/lab/efi-guest captured.
func ovmf(t *testing.T) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/ovmf.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if out[name], err = base64.StdEncoding.DecodeString(value); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// What real firmware held: our entry is efibootmgr's, byte for byte, and the
// same steps on these variables lead there and back.
func TestRealFirmware(t *testing.T) {
	vars := ovmf(t)
	root := t.TempDir()
	dir := filepath.Join(root, "sys/firmware/efi/efivars")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for n, raw := range vars {
		if name, ok := strings.CutPrefix(n, "before/"); ok {
			if err := os.WriteFile(filepath.Join(dir, name+"-"+global), raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	v, err := boot.OpenVariables(root)
	if err != nil {
		t.Fatal(err)
	}
	before, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	option, err := boot.FormatLoadOption("AlmaLinux", boot.Partition{Number: 12, Start: 2048, Blocks: 229376, GUID: "5f6bb3a1-6b6e-4c8e-9a2b-0d5c6e7f8091"}, `\EFI\almalinux\shimx64.efi`)
	if err != nil {
		t.Fatal(err)
	}
	if want := vars["efibootmgr-entry"]; !bytes.Equal(want, append([]byte{7, 0, 0, 0}, option...)) {
		t.Errorf("efibootmgr made\n%x, we make\n%x", want, option)
	}
	n, err := before.Free()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.SetEntry(n, option); err != nil {
		t.Fatal(err)
	}
	if err := v.SetOrder(append([]uint16{n}, before.Numbers()...)); err != nil {
		t.Fatal(err)
	}
	there, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	want := boot.Boot{Order: vars["there/BootOrder"], Entries: map[string][]byte{}}
	for name, raw := range vars {
		if b, ok := strings.CutPrefix(name, "there/Boot"); ok && b != "Order" {
			want.Entries["Boot"+b] = raw
		}
	}
	if d := cmp.Diff(want, there); d != "" {
		t.Error(d)
	}
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, problems, err := boot.ReadManager(r)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	var titles []string
	for _, e := range m.Entries {
		titles = append(titles, e.Description)
	}
	if d := cmp.Diff([]string{"UiApp", "UEFI Misc Device", "UEFI Misc Device 2", "EFI Internal Shell", "AlmaLinux"}, titles); d != "" {
		t.Error(d)
	}
	if err := v.SetRaw(boot.EntryName(n), nil); err != nil {
		t.Fatal(err)
	}
	if err := v.SetRaw("BootOrder", before.Order); err != nil {
		t.Fatal(err)
	}
	after, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
}
