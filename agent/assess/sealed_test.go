package assess_test

import (
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/luks"
)

// TestSealedText: what is said names the registers, why they change, and the
// command for that very volume.
func TestSealedText(t *testing.T) {
	tpm := luks.Token{Type: "systemd-tpm2", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{0, 7}, Bank: "sha256"}}}
	clevis := luks.Token{Type: "clevis", Keyslots: []int{3}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{9}}}}
	for name, tc := range map[string]struct {
		token         luks.Token
		secure        boot.SecureBoot
		slots         []int
		title, detail string
		command       string
	}{
		"Secure Boot": {tpm, "enabled", []int{0, 1}, "will ask", "7 holds Secure Boot's keys, with the one that vouches", "systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto --tpm2-pcrs=0+7 /dev/sda3"},
		"off":         {tpm, "disabled", []int{0, 1}, "may ask", "7 holds Secure Boot's state", "systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto --tpm2-pcrs=0+7 /dev/sda3"},
		"clevis":      {clevis, "disabled", []int{0, 3}, "will ask", "9 holds the files that GRUB reads", "clevis luks regen -q -d /dev/sda3 -s 3"},
		"locked out":  {clevis, "disabled", []int{3}, "will ask", "No keyslot is left for a person", "clevis luks pass -d /dev/sda3 -s 3; cryptsetup luksAddKey /dev/sda3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.inv.Environment.Firmware.SecureBoot = tc.secure
			w.inv.Environment.Crypt = []inventory.CryptVolume{{Name: "luks-root", Source: "UUID=1", Device: "/dev/sda3", Header: &luks.Header{Version: 2, Keyslots: tc.slots, Tokens: []luks.Token{tc.token}}}}
			f := finding(t, w.assess(), "boot.sealed-key")
			if !strings.Contains(f.Title, tc.title) || !strings.Contains(f.Detail, tc.detail) || strings.Contains(f.Detail, "0 holds") || f.Remedy.Command != tc.command {
				t.Errorf("%s\n%s\n%s", f.Title, f.Detail, f.Remedy.Command)
			}
			if r := f.Resources[0]; r.Name != "luks-root" || !strings.Contains(r.Detail, "/dev/sda3: ") {
				t.Errorf("%+v", r)
			}
		})
	}
}
