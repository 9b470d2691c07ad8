package assess

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/luks"
)

// registerChange says why a register of the TPM has another value once shim,
// GRUB and kernel of another vendor have booted (TCG PC Client Platform Firmware
// Profile 3.3.4, and what shim and GRUB measure: README.tpm of shim, "Measured
// Boot" in GRUB's manual). Certain is false where it depends on the firmware.
func (a *assessor) registerChange(n int) (why string, certain bool) {
	secure := a.inv.Environment.Firmware != nil && a.inv.Environment.Firmware.SecureBoot == "enabled"
	switch n {
	case 1:
		return "the firmware's settings, with many firmwares the boot entries too", false
	case 4:
		return "the boot programs themselves: shim, GRUB, kernel", true
	case 7:
		if secure {
			return "Secure Boot's keys, with the one that vouches for GRUB and the kernel: AlmaLinux's from then on", true
		}
		return "Secure Boot's state and keys, with shim's list of revocations", false
	case 8:
		return "GRUB's commands and the kernel's command line", true
	case 9:
		return "the files that GRUB reads: kernel, initramfs, configuration", true
	}
	return "", false
}

// fate is what becomes of a way to unlock a volume.
type fate int

const (
	fateStays   fate = iota // works as before
	fateMay                 // may fail
	fateFails               // fails at the next boot
	fateUnknown             // what it is bound to could not be read
)

func (a *assessor) unlockFate(u *luks.Unlock) fate {
	worst := fateStays
	if u.Kind != "tpm2" {
		return worst
	}
	for _, n := range slices.Concat(u.PCRs, u.Signed) {
		why, certain := a.registerChange(n)
		if why == "" {
			continue
		}
		f := fateMay
		if certain && slices.Contains(u.PCRs, n) {
			f = fateFails
		}
		worst = max(worst, f)
	}
	return worst
}

// tokenFate judges a token: of a policy of several parts, enough have to work.
func (a *assessor) tokenFate(t *luks.Token) fate {
	if t.Problem != "" {
		return fateUnknown
	}
	worst, good, may := fateStays, 0, 0
	for i := range t.Unlock {
		f := a.unlockFate(&t.Unlock[i])
		worst = max(worst, f)
		switch f {
		case fateStays:
			good++
		case fateMay:
			may++
		}
	}
	if len(t.Unlock) == 0 || t.Unlock[0].OneOf == 0 || worst == fateStays {
		return worst
	}
	if slices.ContainsFunc(t.Unlock, func(u luks.Unlock) bool { return u.OneOf != len(t.Unlock) }) {
		return min(worst, fateMay) // policies within policies
	}
	switch need := t.Unlock[0].Needed; {
	case good >= need:
		return fateStays
	case good+may >= need:
		return fateMay
	}
	return fateFails
}

// machine tells tokens that open a volume without a person.
func machine(t *luks.Token) bool { return t.Type == "clevis" || t.Type == "systemd-tpm2" }

// describe says how a token opens the volume and what it hangs on.
func (a *assessor) describeToken(t *luks.Token) string {
	if t.Problem != "" {
		return t.Type + ", bound to something that cannot be read (" + t.Problem + ")"
	}
	var parts []string
	for i := range t.Unlock {
		u := &t.Unlock[i]
		switch {
		case u.Kind == "tang":
			parts = append(parts, "the Tang server "+u.URL)
		case u.Kind != "tpm2":
			parts = append(parts, u.Kind)
		case len(u.PCRs)+len(u.Signed) == 0:
			parts = append(parts, "the TPM, bound to no register")
		case len(u.PCRs) == 0:
			parts = append(parts, "the TPM, by a signed policy of "+registers(u.Signed))
		default:
			text := "the TPM, bound to " + registers(u.PCRs)
			if len(u.Signed) > 0 {
				text += " and by a signed policy of " + registers(u.Signed)
			}
			parts = append(parts, text)
		}
	}
	text := t.Type + ": " + strings.Join(parts, ", ")
	if len(t.Unlock) > 0 && t.Unlock[0].OneOf > 0 {
		text += fmt.Sprintf(" (%d of %d are needed)", t.Unlock[0].Needed, t.Unlock[0].OneOf)
	}
	return text
}

func registers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return verb(len(list), "register ", "registers ") + strings.Join(words, ", ")
}

// sealedVolume is a volume whose header was read and that a machine opens.
type sealedVolume struct {
	v     *inventory.CryptVolume
	fate  fate
	token *luks.Token // the first that does not stay, or the first
	res   Resource
}

// findSealed tells of disk keys that are bound to what was measured at boot.
func (a *assessor) findSealed() {
	var volumes [4][]sealedVolume
	var unread []inventory.CryptVolume
	for i := range a.inv.Environment.Crypt {
		v := &a.inv.Environment.Crypt[i]
		if v.Header == nil {
			unread = append(unread, *v)
			continue
		}
		s := sealedVolume{v: v, fate: fateUnknown + 1, res: Resource{Kind: "device", Name: v.Name}}
		var how []string
		for j := range v.Header.Tokens {
			t := &v.Header.Tokens[j]
			if !machine(t) {
				continue
			}
			f := a.tokenFate(t)
			how = append(how, a.describeToken(t))
			if s.token == nil || f > fateStays && a.tokenFate(s.token) == fateStays {
				s.token = t
			}
			s.fate = min(s.fate, f) // one way that goes on to work is enough
		}
		if s.token == nil {
			continue
		}
		s.res.Detail = v.Device + ": " + strings.Join(how, "; ")
		volumes[s.fate] = append(volumes[s.fate], s)
	}
	a.sealedStays(volumes[fateStays])
	a.sealedChanges(append(append(volumes[fateFails], volumes[fateMay]...), volumes[fateUnknown]...))
	a.sealedUnread(unread)
}

func (a *assessor) sealedStays(list []sealedVolume) {
	if len(list) == 0 {
		return
	}
	f := Finding{
		ID: idBootSealed, Severity: Info,
		Title:  fmt.Sprintf("%s unlocked as before: %s", verb(len(list), "an encrypted volume is", "encrypted volumes are"), sealedNames(list)),
		Detail: "What it is bound to, by the volume's header, does not change with shim, GRUB and kernel.",
		Remedy: Remedy{Text: "nothing to do; have the passphrase at hand all the same"},
	}
	for _, s := range list {
		f.Resources = append(f.Resources, s.res)
	}
	a.raise(f)
}

func sealedNames(list []sealedVolume) string {
	var names []string
	for _, s := range list {
		names = append(names, s.v.Name)
	}
	return fewSymbols(names)
}

// sealedChanges tells of volumes that may stay closed. Those that nobody could
// open by hand are a blocker.
func (a *assessor) sealedChanges(all []sealedVolume) {
	var lists [2][]sealedVolume
	for _, s := range all {
		n := 1
		if len(s.v.Header.Keyless()) == 0 {
			n = 0
		}
		lists[n] = append(lists[n], s)
	}
	for n, list := range lists {
		if len(list) == 0 {
			continue
		}
		f := Finding{ID: idBootSealed, Severity: Warning}
		certain := false
		var why []string
		for _, s := range list {
			f.Resources = append(f.Resources, s.res)
			certain = certain || s.fate == fateFails
			for i := range s.token.Unlock {
				for _, r := range slices.Concat(s.token.Unlock[i].PCRs, s.token.Unlock[i].Signed) {
					if text, _ := a.registerChange(r); text != "" {
						why = append(why, fmt.Sprintf("%d holds %s", r, text))
					}
				}
			}
		}
		slices.Sort(why)
		why = slices.Compact(why)
		f.Title = fmt.Sprintf("%s for the passphrase at the next boot: %s", verb(len(list), "an encrypted volume may ask", "encrypted volumes may ask"), sealedNames(list))
		if certain {
			f.Title = fmt.Sprintf("%s for the passphrase at the next boot: %s", verb(len(list), "an encrypted volume will ask", "encrypted volumes will ask"), sealedNames(list))
		}
		f.Detail = "The key is bound to registers of the TPM that change with a new shim, GRUB or kernel: " + strings.Join(why, "; ") + "."
		if len(why) == 0 {
			f.Detail = "What the key is bound to could not be read; a new shim, GRUB and kernel change most measurements."
		}
		f.Detail += " A host without a console waits there for ever."
		s := list[0]
		f.Remedy = Remedy{Text: "have the passphrase and a console at hand, and bind the key anew after the reboot", Command: rebind(s)}
		if n == 0 {
			f.Severity = Blocker
			f.Detail += " No keyslot is left for a person: every one of them is a token's."
			f.Remedy = Remedy{Text: "add a passphrase before the move, as long as the volume is still unlocked by itself", Command: addPassphrase(s)}
		}
		a.raise(f)
	}
}

// rebind is the command that binds a key to the values of the next boot.
func rebind(s sealedVolume) string {
	if s.token.Type == "clevis" {
		slot := 0
		if len(s.token.Keyslots) > 0 {
			slot = s.token.Keyslots[0]
		}
		return fmt.Sprintf("clevis luks regen -q -d %s -s %d", shellWord(s.v.Device), slot)
	}
	cmd := "systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto"
	if u := s.token.Unlock; len(u) > 0 && len(u[0].PCRs) > 0 {
		_, list, _ := strings.Cut(registers(u[0].PCRs), " ")
		cmd += " --tpm2-pcrs=" + strings.ReplaceAll(list, ", ", "+")
	}
	return cmd + " " + shellWord(s.v.Device)
}

func addPassphrase(s sealedVolume) string {
	if s.token.Type == "clevis" && len(s.token.Keyslots) > 0 {
		return fmt.Sprintf("clevis luks pass -d %s -s %d", shellWord(s.v.Device), s.token.Keyslots[0]) + "; cryptsetup luksAddKey " + shellWord(s.v.Device)
	}
	return "cryptsetup luksAddKey --token-only " + shellWord(s.v.Device)
}

// sealedUnread is what can be said without the header.
func (a *assessor) sealedUnread(volumes []inventory.CryptVolume) {
	var res []Resource
	for _, v := range volumes {
		if strings.Contains(v.Options, "tpm2-device=") {
			res = append(res, Resource{"device", v.Name, "crypttab: " + v.Options})
		}
	}
	sure := len(res) > 0
	for i := range a.inv.Packages {
		switch p := &a.inv.Packages[i]; p.Name {
		case "clevis-luks", "clevis-dracut", "clevis-systemd":
			if len(volumes) > 0 {
				res = append(res, Resource{"package", p.NEVRA().String(), "may unlock with the TPM or over the network"})
			}
		}
	}
	if len(res) == 0 {
		return
	}
	f := Finding{
		ID: idBootSealed, Severity: Warning, Resources: res,
		Title:  "an encrypted volume may be unlocked by clevis",
		Detail: "Which way is written in the volume's header, which could not be read. If it is the TPM, new shim, grub and kernel change what it is bound to, and the volume asks for its passphrase.",
		Remedy: Remedy{Text: "run the check as root; have the passphrase at hand and see how it is bound", Command: "clevis luks list -d DEVICE"},
	}
	if sure {
		f.Title = "an encrypted volume is unlocked by the TPM"
		f.Detail = "Its key may be bound to measurements of shim, grub, kernel and Secure Boot state (the bound registers are in the volume's header, which could not be read). New ones change these, and the volume asks for its passphrase at the next boot."
		f.Remedy = Remedy{Text: "have the passphrase at hand, and enrol again after the reboot", Command: "systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto DEVICE"}
	}
	a.raise(f)
}
