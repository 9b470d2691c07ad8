package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// bootEntry makes the firmware start AlmaLinux's boot loader: an entry of its
// own, first in the order. The entries of others are never touched; the old
// distribution's stays behind ours, and the files that it starts are put back
// where they went with their packages, until the migration is committed.
type bootEntry struct{ *Env }

type bootEntryUndo struct {
	Before  boot.Boot `json:"before"`  // all entries and their order
	Options [][]byte  `json:"options"` // ours, as the firmware is to hold them
	Kept    []kept    `json:"kept"`    // the old vendor's files on the ESP
	NoRoom  string    `json:"no_room,omitempty"`
}

// espReserve is what stays free on the ESP for the firmware and the next update of shim and GRUB.
const espReserve = 1 << 20

func (s bootEntry) Prepare(_ context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	_, b, err := bootOf(c)
	if err != nil {
		return nil, err
	}
	v, err := boot.OpenVariables(root)
	if err != nil {
		return nil, err
	}
	if err := v.Writable(); err != nil {
		return nil, fmt.Errorf("cannot make a boot entry: %w: mount -o remount,rw /sys/firmware/efi/efivars", err)
	}
	for _, e := range b.Entries {
		if err := notAnother(path.Dir(onESP(e))); err != nil {
			return nil, err
		}
	}
	u := bootEntryUndo{Options: [][]byte{}}
	if u.Before, err = v.Snapshot(); err != nil {
		return nil, err
	}
	r, err := rootfs.Open(root)
	if err != nil {
		return nil, fmt.Errorf("cannot make a boot entry: %w", err)
	}
	defer r.Close()
	for _, e := range b.Entries {
		p, err := boot.ReadPartition(r, e.Device)
		if err != nil {
			return nil, fmt.Errorf("cannot make a boot entry: %w", err)
		}
		if p.GUID != "" && p.GUID != e.PartUUID || int(p.Number) != e.Partition {
			return nil, fmt.Errorf("cannot make a boot entry: the partition %s is not the one of the plan any more", e.Device)
		}
		option, err := boot.FormatLoadOption(e.Label, p, e.Loader)
		if err != nil {
			return nil, err
		}
		u.Options = append(u.Options, option)
	}
	var size int64
	if u.Kept, size, err = keepOld(c, b, "esp"); err != nil {
		return nil, err
	}
	for _, e := range b.Entries {
		var st unix.Statfs_t
		// AlmaLinux's files come beside the old ones, and are about as large.
		if err := unix.Statfs(e.Mount, &st); err == nil && int64(st.Bavail)*int64(st.Bsize) < size+espReserve { //nolint:unconvert // 32 bits on s390x
			u.NoRoom = e.Mount
			s.say("%s has no room for both boot loaders: the old one goes, and its boot entry leads nowhere until a rollback", e.Mount)
		}
	}
	return json.Marshal(u)
}

// notAnother refuses where AlmaLinux's folder on the ESP is there already and
// belongs to no package: then another AlmaLinux on this machine boots by it.
func notAnother(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the EFI system partition: %w", err)
	}
	db, err := ReadDatabase()
	if err != nil {
		return err
	}
	for _, hs := range db.Packages {
		for _, h := range hs {
			for f := range h.Files() {
				if strings.HasPrefix(f, dir+"/") {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("cannot make a boot entry: %w: %s is there and belongs to no package of this host: another AlmaLinux on this machine may boot by it; if it is a leftover, move it away", ErrBoot, dir)
}

func (s bootEntry) undo(undo json.RawMessage) (u bootEntryUndo, v *boot.Variables, err error) {
	if err := json.Unmarshal(undo, &u); err != nil {
		return u, nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	v, err = boot.OpenVariables(root)
	return u, v, err
}

func (s bootEntry) Do(_ context.Context, c *txn.Change, _, undo json.RawMessage) error {
	_, b, err := bootOf(c)
	if err != nil {
		return err
	}
	u, v, err := s.undo(undo)
	if err != nil {
		return err
	}
	for _, e := range b.Entries {
		if file := onESP(e); !regular(file) {
			return fmt.Errorf("%w: there is no %s", ErrBoot, file)
		}
	}
	if u.NoRoom == "" {
		for _, k := range u.Kept {
			if _, err := os.Lstat(k.Path); err == nil {
				continue
			}
			data, err := k.content(c)
			if err != nil {
				return err
			}
			if err := fault.Point("boot.keep.before"); err != nil {
				return err
			}
			if err := putOnESP(k.Path, data, fs.FileMode(k.Mode)); err != nil {
				return err
			}
			if err := os.Chtimes(k.Path, time.Time{}, time.Unix(0, k.MTime)); err != nil {
				return fmt.Errorf("cannot write %s: %w", k.Path, err)
			}
		}
	}
	for _, option := range u.Options {
		now, err := v.Snapshot()
		if err != nil {
			return err
		}
		if len(now.Find(option)) > 0 {
			continue // from a run that was cut short, or a former AlmaLinux
		}
		n, err := now.Free()
		if err != nil {
			return err
		}
		if err := fault.Point("boot.entry.before"); err != nil {
			return err
		}
		s.say("writing the boot entry %s", boot.EntryName(n))
		if err := v.SetEntry(n, option); err != nil {
			return explainFull(err)
		}
		if err := fault.Point("boot.entry.after"); err != nil {
			return err
		}
	}
	now, err := v.Snapshot()
	if err != nil {
		return err
	}
	order := ours(now, u.Options)
	for _, n := range now.Numbers() {
		if !slices.Contains(order, n) {
			order = append(order, n)
		}
	}
	if err := fault.Point("boot.order.before"); err != nil {
		return err
	}
	if err := v.SetOrder(order); err != nil {
		return explainFull(err)
	}
	return fault.Point("boot.order.after")
}

// explainFull says what helps where the firmware's store is full.
func explainFull(err error) error {
	if errors.Is(err, boot.ErrFull) {
		return fmt.Errorf("%w; crash dumps of the kernel (/sys/fs/pstore, dump-type* in /sys/firmware/efi/efivars) are what mostly fills it: save and remove them, or reset it in the firmware's setup", err)
	}
	return err
}

// ours are the numbers of our entries, one for each option, in their order.
func ours(b boot.Boot, options [][]byte) []uint16 {
	var out []uint16
	for _, o := range options {
		if f := b.Find(o); len(f) > 0 && !slices.Contains(out, f[0]) {
			out = append(out, f[0])
		}
	}
	return out
}

// onESP is the file that an entry starts.
func onESP(e plan.BootEntry) string {
	return e.Mount + strings.ReplaceAll(e.Loader, `\`, "/")
}

func (s bootEntry) Verify(_ context.Context, c *txn.Change, _, undo json.RawMessage) (bool, error) {
	_, b, err := bootOf(c)
	if err != nil {
		return false, err
	}
	u, v, err := s.undo(undo)
	if err != nil {
		return false, err
	}
	now, err := v.Snapshot()
	if err != nil {
		return false, err
	}
	if err := entryProblem(b, now, u.Options); err != nil {
		return false, err
	}
	return true, nil
}

// entryProblem says why the firmware would not start AlmaLinux's boot loader.
func entryProblem(b *plan.BootPlan, now boot.Boot, options [][]byte) error {
	mine := ours(now, options)
	if len(mine) != len(options) {
		return fmt.Errorf("%w: the firmware shows %d of %d boot entries", ErrBoot, len(mine), len(options))
	}
	if order := now.Numbers(); len(order) < len(mine) || !slices.Equal(order[:len(mine)], mine) {
		return fmt.Errorf("%w: %q is not first in the firmware's boot order", ErrBoot, plan.BootLabel)
	}
	for i, e := range b.Entries {
		got, err := boot.ParseLoadOption(now.Entries[boot.EntryName(mine[i])][4:])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBoot, err)
		}
		if got.File != e.Loader || got.PartUUID != e.PartUUID && got.PartUUID != "" || !got.Active {
			return fmt.Errorf("%w: the firmware shows %s as %q on %s", ErrBoot, boot.EntryName(mine[i]), got.File, got.PartUUID)
		}
		if file := onESP(e); !regular(file) {
			return fmt.Errorf("%w: there is no %s", ErrBoot, file)
		}
	}
	return nil
}

// added are the entries of ours that were not there before.
func (u *bootEntryUndo) added(now boot.Boot) (mine []uint16) {
	for _, o := range u.Options {
		for _, n := range now.Find(o) {
			if _, was := u.Before.Entries[boot.EntryName(n)]; !was && !slices.Contains(mine, n) {
				mine = append(mine, n)
			}
		}
	}
	return mine
}

// Undo puts entries and order back as they were. What others did to theirs in
// the meantime stays. The files on the ESP are save-files'.
func (s bootEntry) Undo(_ context.Context, c *txn.Change, _, undo json.RawMessage) error {
	p, _, err := bootOf(c)
	if err != nil {
		return err
	}
	if p.RollbackDepth != plan.RollbackFull {
		return nil // AlmaLinux's boot loader stays, and is the only one that is whole
	}
	u, v, err := s.undo(undo)
	if err != nil {
		return err
	}
	now, err := v.Snapshot()
	if err != nil {
		return err
	}
	mine := u.added(now)
	// The order first: it must not name what is gone.
	if err := fault.Point("boot.undo.before"); err != nil {
		return err
	}
	for n, raw := range u.Before.Entries {
		if _, there := now.Entries[n]; !there {
			if err := v.SetRaw(n, raw); err != nil { // firmware prunes entries whose file it does not find
				return err
			}
		}
	}
	if err := s.orderBack(v, u.Before, now, mine); err != nil {
		return err
	}
	if err := fault.Point("boot.undo.order"); err != nil {
		return err
	}
	for _, n := range mine {
		if err := v.SetRaw(boot.EntryName(n), nil); err != nil {
			return err
		}
	}
	after, err := v.Snapshot()
	if err != nil {
		return err
	}
	for n, raw := range u.Before.Entries {
		if _, changed := now.Entries[n]; !changed && !bytes.Equal(after.Entries[n], raw) {
			return fmt.Errorf("cannot put the boot entry %s back: the firmware does not show it", n)
		}
	}
	return nil
}

func (s bootEntry) orderBack(v *boot.Variables, before, now boot.Boot, mine []uint16) error {
	was := before.Numbers()
	others := []uint16{} // that came since
	for _, n := range now.Numbers() {
		if !slices.Contains(mine, n) && !slices.Contains(was, n) {
			others = append(others, n)
		}
	}
	if len(others) == 0 {
		return v.SetRaw("BootOrder", before.Order)
	}
	return v.SetOrder(append(was, others...))
}

// OldBoot is what a commit removes of the old distribution's way to boot.
type OldBoot struct {
	Entries []string `json:"entries"` // variables, e.g. Boot0003 "CentOS"
	Files   []string `json:"files"`
	Bytes   int64    `json:"bytes"`
}

// FindOldBoot tells what is there of the old boot loader that nobody but its
// entries and the way back needs: entries that are as they were, and files that
// no package owns and that are as they were kept.
func FindOldBoot(c *txn.Change) (OldBoot, error) {
	return oldBoot(c, false)
}

// RemoveOldBoot removes it. It may be called again after an interruption.
func RemoveOldBoot(c *txn.Change) (OldBoot, error) {
	return oldBoot(c, true)
}

func oldBoot(c *txn.Change, remove bool) (OldBoot, error) {
	out := OldBoot{Entries: []string{}, Files: []string{}}
	p, err := Plan(c)
	if err != nil || p.Boot == nil || len(p.Boot.Entries) == 0 {
		return out, err
	}
	undo := undoOf(c, plan.StepBootEntry)
	if undo == nil {
		return out, nil
	}
	u, v, err := bootEntry{}.undo(undo)
	if err != nil {
		return out, err
	}
	now, err := v.Snapshot()
	if err != nil {
		return out, err
	}
	order := now.Numbers()
	for _, e := range p.Boot.Old {
		n := boot.EntryName(e.Number)
		if now.Entries[n] == nil || !bytes.Equal(now.Entries[n], u.Before.Entries[n]) {
			continue // gone, or somebody else's by now
		}
		out.Entries = append(out.Entries, fmt.Sprintf("%s %q", n, e.Label))
		if !remove {
			continue
		}
		if rest := slices.DeleteFunc(slices.Clone(order), func(x uint16) bool { return x == e.Number }); len(rest) < len(order) {
			if err := v.SetOrder(rest); err != nil {
				return out, err
			}
			order = rest
		}
		if err := fault.Point("boot.commit.entry"); err != nil {
			return out, err
		}
		if err := v.SetRaw(n, nil); err != nil {
			return out, err
		}
	}
	return out, u.removeKept(p.Boot, &out, remove)
}

func (u *bootEntryUndo) removeKept(b *plan.BootPlan, out *OldBoot, remove bool) error {
	if len(u.Kept) == 0 {
		return nil
	}
	db, err := ReadDatabase()
	if err != nil {
		return err
	}
	owned := map[string]bool{}
	for _, hs := range db.Packages {
		for _, h := range hs {
			for f := range h.Files() {
				if strings.HasPrefix(f, "/boot/") || strings.HasPrefix(f, "/efi/") {
					owned[strings.ToLower(f)] = true
				}
			}
		}
	}
	for _, k := range u.Kept {
		data, err := os.ReadFile(k.Path)
		if err != nil || owned[strings.ToLower(k.Path)] || sha256Hex(data) != k.SHA256 {
			continue
		}
		out.Files, out.Bytes = append(out.Files, k.Path), out.Bytes+int64(len(data))
		if !remove {
			continue
		}
		if err := os.Remove(k.Path); err != nil {
			return fmt.Errorf("cannot remove %s: %w", k.Path, err)
		}
	}
	if remove {
		for _, f := range b.Folders {
			if os.Remove(f.Path) == nil { // only where nothing else is in it
				if err := atomicfile.SyncDir(path.Dir(f.Path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
