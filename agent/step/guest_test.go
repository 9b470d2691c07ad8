package step

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// TestFirmwareGuest is run by test/lab/efi-guest as the only program of a
// machine with real UEFI firmware, three times with a reboot in between: the
// entry is made, the firmware has started it, and it is taken back. Debian's
// efibootmgr says what it reads.
func TestFirmwareGuest(t *testing.T) {
	phase := os.Getenv("ALMAMIGRATE_EFI_GUEST")
	if phase == "" {
		t.Skip("SKIPPED: only inside the machine that `make efi-guest` starts")
	}
	v, err := boot.OpenVariables(root)
	if err != nil {
		t.Fatal(err)
	}
	state := "/state"
	switch phase {
	case "1":
		before := guestSnapshot(t, v)
		guestSave(t, state+"/before.json", before)
		guestCapture(t, "before", before)
		p := guestPlan(t)
		extra, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := txn.Create(state+"/changes", txn.Plan{ID: "guest", Created: time.Now(), Steps: Steps(p), Extra: extra})
		if err != nil {
			t.Fatal(err)
		}
		r := &txn.Runner{Change: c, Registry: (&Env{}).Registry()}
		if err := r.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		theirs := byEfibootmgr(t, v, p.Boot.Entries[0])
		var u bootEntryUndo
		if err := json.Unmarshal(c.UndoData(0), &u); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs[4:], u.Options[0]) || !bytes.Equal(theirs[:4], []byte{7, 0, 0, 0}) {
			t.Errorf("efibootmgr makes another entry:\n%x\nours\n%x", theirs, u.Options[0])
		}
		fmt.Printf("CAPTURE efibootmgr-entry %s\n", base64.StdEncoding.EncodeToString(theirs))
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		there := guestSnapshot(t, v)
		guestCapture(t, "there", there)
		guestOracle(t, v, true)
		// Last: what was removed is room again only after a reset.
		guestFull(t, v)
		if got := guestSnapshot(t, v); !guestSame(got, there) {
			t.Errorf("not as before the store was filled: %v, was %v", got, there)
		}
	case "2":
		r, err := rootfs.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m, problems, err := boot.ReadManager(r)
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		i := slices.IndexFunc(m.Entries, func(e boot.Entry) bool { return int(e.Number) == m.Current })
		if i < 0 || m.Entries[i].Description != plan.BootLabel || m.Entries[i].File != `\EFI\almalinux\shimx64.efi` {
			t.Errorf("the firmware started %d of %+v", m.Current, m.Entries)
		} else {
			fmt.Printf("GUEST the firmware started %s %q %s\n", boot.EntryName(uint16(m.Current)), m.Entries[i].Description, m.Entries[i].File)
		}
		guestOracle(t, v, true)
		c, err := txn.Open(state + "/changes/guest")
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := (bootEntry{&Env{}}).Verify(t.Context(), c, nil, c.UndoData(0)); err != nil || !ok {
			t.Errorf("after the reboot: %v, %v", ok, err)
		}
		run := &txn.Runner{Change: c, Registry: (&Env{}).Registry()}
		if err := run.Rollback(t.Context()); err != nil {
			t.Fatal(err, c.Errors())
		}
		guestOracle(t, v, false)
		if got, want := guestSnapshot(t, v), guestLoad(t, state+"/before.json"); !guestSame(got, want) {
			t.Errorf("rolled back: %v, was %v", got, want)
		}
	case "3":
		if got, want := guestSnapshot(t, v), guestLoad(t, state+"/before.json"); !guestSame(got, want) {
			t.Errorf("after the last reboot: %v, was %v", got, want)
		}
		guestOracle(t, v, false)
	default:
		t.Fatalf("phase %q", phase)
	}
}

// guestPlan is a plan with nothing but the boot entry, made of what the guest
// shows of its ESP.
func guestPlan(t *testing.T) *plan.Plan {
	t.Helper()
	r, err := rootfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	mounts, err := boot.ReadMounts(r)
	if err != nil {
		t.Fatal(err)
	}
	esps, problems := boot.ReadESPs(r, mounts)
	if len(esps) != 1 || len(problems) > 0 || esps[0].Mount != "/boot/efi" {
		t.Fatalf("%+v, %v", esps, problems)
	}
	d := esps[0].Device
	if d.Partition != 12 || d.Disk != "vda" {
		t.Fatalf("%+v", d)
	}
	return &plan.Plan{
		Kind: plan.Kind, SchemaVersion: plan.SchemaVersion, Tool: inventory.Tool{Name: "almamigrate"}, RollbackDepth: plan.RollbackFull,
		Steps: []plan.Step{{Name: plan.StepBootEntry, Title: "boot entry"}},
		Boot: &plan.BootPlan{Firmware: plan.FirmwareUEFI, Entries: []plan.BootEntry{{
			Label: plan.BootLabel, Loader: `\EFI\almalinux\shimx64.efi`, Mount: esps[0].Mount, Disk: d.Disk, Device: d.Number, Partition: d.Partition, PartUUID: d.PartUUID,
		}}, Folders: []plan.OldFolder{{Path: "/boot/efi/EFI/debian"}}},
	}
}

// byEfibootmgr lets efibootmgr make the same entry, and removes it again.
func byEfibootmgr(t *testing.T, v *boot.Variables, e plan.BootEntry) []byte {
	t.Helper()
	before := guestSnapshot(t, v)
	guestRun(t, "-q", "-c", "-d", "/dev/"+e.Disk, "-p", fmt.Sprint(e.Partition), "-L", e.Label, "-l", e.Loader)
	var raw []byte
	for n, r := range guestSnapshot(t, v).Entries {
		if _, was := before.Entries[n]; !was {
			raw = r
			guestRun(t, "-q", "-B", "-b", n[4:])
		}
	}
	if raw == nil {
		t.Fatal("efibootmgr made no entry")
	}
	return raw
}

// guestFull fills the firmware's store, and demands a clear error and nothing
// left of the attempt. Boot entries fill it: of other variables OVMF takes less.
func guestFull(t *testing.T, v *boot.Variables) {
	t.Helper()
	var err error
	n := uint16(0x1000)
	for _, size := range []int{7000, 1000, 100, 10} {
		for ; n < 0x1200; n++ {
			// The kernel looks at the form of boot variables: these are sound.
			option, ferr := boot.FormatLoadOption(strings.Repeat("x", size), boot.Partition{Number: 1, Start: 1, Blocks: 1, MBR: 1}, `\x`)
			if ferr != nil {
				t.Fatal(ferr)
			}
			if err = v.SetEntry(n, option); err != nil {
				break
			}
		}
	}
	fmt.Printf("GUEST a full store (%d variables): %v\n", n-0x1000, err)
	if !errors.Is(err, boot.ErrFull) {
		t.Errorf("a full store: %v", err)
	}
	for i := range n - 0x1000 + 1 {
		if err := v.SetRaw(boot.EntryName(0x1000+i), nil); err != nil {
			t.Error(err)
		}
	}
}

// guestOracle compares what efibootmgr says with what is meant to be.
func guestOracle(t *testing.T, v *boot.Variables, there bool) {
	t.Helper()
	out := guestRun(t, "-v")
	fmt.Println("GUEST efibootmgr -v:\n" + out)
	b := guestSnapshot(t, v)
	var order []string
	for _, n := range b.Numbers() {
		order = append(order, fmt.Sprintf("%04X", n))
	}
	if !strings.Contains(out, "BootOrder: "+strings.Join(order, ",")+"\n") {
		t.Errorf("we read the order %v", order)
	}
	found := false
	for l := range strings.Lines(out) {
		found = found || strings.HasPrefix(l, "Boot"+order[0]+"* AlmaLinux") && strings.Contains(l, "HD(12,GPT,") && strings.Contains(l, `File(\EFI\almalinux\shimx64.efi)`)
	}
	if found != there || strings.Contains(out, "AlmaLinux") != there {
		t.Errorf("AlmaLinux is first: %v, want %v", found, there)
	}
}

func guestRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/efibootmgr", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("efibootmgr %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func guestSnapshot(t *testing.T, v *boot.Variables) boot.Boot {
	t.Helper()
	b, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func guestSame(a, b boot.Boot) bool {
	if !bytes.Equal(a.Order, b.Order) || len(a.Entries) != len(b.Entries) {
		return false
	}
	for n, raw := range a.Entries {
		if !bytes.Equal(raw, b.Entries[n]) {
			return false
		}
	}
	return true
}

func guestSave(t *testing.T, name string, b boot.Boot) {
	t.Helper()
	data, err := json.Marshal(b)
	if err == nil {
		err = os.WriteFile(filepath.Clean(name), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func guestLoad(t *testing.T, name string) (b boot.Boot) {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(name))
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// guestCapture prints the variables for the fixture.
func guestCapture(t *testing.T, when string, b boot.Boot) {
	t.Helper()
	fmt.Printf("CAPTURE %s/BootOrder %s\n", when, base64.StdEncoding.EncodeToString(b.Order))
	for n, raw := range b.Entries {
		fmt.Printf("CAPTURE %s/%s %s\n", when, n, base64.StdEncoding.EncodeToString(raw))
	}
}
