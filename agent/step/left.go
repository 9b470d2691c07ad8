package step

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// LeftToDo names the commands that do by hand what could not be taken back, in
// the order in which they have to be run. Every step that can be read from the
// change is there; what cannot is told as a comment.
func LeftToDo(c *txn.Change) []string {
	var out []string
	for i := len(c.Plan.Steps) - 1; i >= 0; i-- {
		if c.StepStatus(i) != txn.UndoFailed {
			continue
		}
		switch name := c.Plan.Steps[i].Name; name {
		case plan.StepSwapPackages, plan.StepSyncPackages:
			out = append(out, leftPackages(c, name)...)
		case plan.StepImportKeys:
			var list []importedKey
			if json.Unmarshal(c.UndoData(i), &list) == nil {
				for _, k := range list {
					out = append(out, "rpm -e --allmatches gpg-pubkey-"+k.Version)
				}
			}
		case plan.StepBootEntry:
			out = append(out, leftEntries(c)...)
		case plan.StepSaveFiles:
			out = append(out, leftFiles(c)...)
		}
	}
	return out
}

// leftPackages brings the old packages back in the database. Only what differs
// is named.
func leftPackages(c *txn.Change, step string) []string {
	var u swapUndo // the lists of both steps are alike
	if json.Unmarshal(undoOf(c, step), &u) != nil {
		return []string{"# the packages cannot be named: the journal in " + c.Dir + " is damaged"}
	}
	db, err := ReadDatabase()
	if err != nil {
		return []string{"# the rpm database cannot be read (" + err.Error() + "); first: rpm --rebuilddb"}
	}
	var files, gone, options, out []string
	was, unsaved := map[string]bool{}, false
	for _, s := range u.Leaving {
		was[s.NEVRA] = true
		if len(db.Packages[s.NEVRA]) != 1 && s.File == "" {
			unsaved = true
		} else if len(db.Packages[s.NEVRA]) != 1 {
			files = append(files, hostcmd.Quote(filepath.Join(rpmDir(c, "leaving"), s.File)))
			options = append(options, s.Options...)
		}
	}
	for _, s := range u.Coming {
		if !was[s.NEVRA] && db.Has(s.NEVRA) {
			gone = append(gone, hostcmd.Quote(s.NEVRA))
		}
	}
	if unsaved {
		// What AlmaLinux has of them is the only whole state there is: nothing of it may go.
		return []string{"dnf distro-sync"}
	}
	if len(files) > 0 {
		words := append([]string{"rpm -ivh --oldpackage --force --nodeps --justdb --noscripts --notriggers"}, sortedUnique(options)...)
		out = append(out, strings.Join(append(words, files...), " "))
	}
	if len(gone) > 0 {
		out = append(out, "rpm -e --nodeps --justdb --noscripts --notriggers "+strings.Join(gone, " "))
	}
	return out
}

// leftEntries brings the firmware's boot entries back. efibootmgr writes none
// with the very bytes of before, so entries that are gone are only named.
func leftEntries(c *txn.Change) []string {
	u, v, err := bootEntry{}.undo(c.UndoData(slices.IndexFunc(c.Plan.Steps, func(s txn.Step) bool { return s.Name == plan.StepBootEntry })))
	if err != nil {
		return []string{"# the boot entries cannot be read: " + err.Error()}
	}
	now, err := v.Snapshot()
	if err != nil {
		return []string{"# the boot entries cannot be read: " + err.Error()}
	}
	return entryCommands(u, now)
}

func entryCommands(u bootEntryUndo, now boot.Boot) (out []string) {
	for _, n := range slices.Sorted(maps.Keys(u.Before.Entries)) {
		if _, there := now.Entries[n]; !there {
			out = append(out, "# the boot entry "+n+" is gone: \"almamigrate rollback\" writes it again")
		}
	}
	mine := u.added(now)
	var order []string
	for _, n := range slices.Concat(u.Before.Numbers(), now.Numbers()) {
		hex := fmt.Sprintf("%04X", n)
		if _, there := now.Entries[boot.EntryName(n)]; there && !slices.Contains(mine, n) && !slices.Contains(order, hex) {
			order = append(order, hex)
		}
	}
	if len(order) > 0 && !slices.Equal(u.Before.Numbers(), now.Numbers()) {
		out = append(out, "efibootmgr -q -o "+strings.Join(order, ","))
	}
	for _, n := range mine {
		out = append(out, fmt.Sprintf("efibootmgr -q -b %04X -B", n))
	}
	return out
}

// leftFiles brings files back that are not as they were saved.
func leftFiles(c *txn.Change) []string {
	sets, err := Sets(c)
	if err != nil {
		return []string{"# the saved files cannot be read: " + err.Error()}
	}
	var out []string
	locked := lockedFolders()
	for _, set := range sets {
		after, err := set.After()
		if err != nil {
			after = nil
		}
		diffs, err := set.Compare(root, after)
		if err != nil {
			out = append(out, "# the files cannot be compared: "+err.Error())
			continue
		}
		for _, d := range diffs {
			if d.Status == capture.Unchanged || d.Status == capture.ChangedByOthers {
				continue
			}
			e, p := d.Saved, hostcmd.Quote(string(d.Path))
			out = append(out, makeWay(d, locked)...)
			switch e.Kind {
			case capture.Absent:
				rm := "rm -f "
				if d.Current.Kind == capture.Dir {
					rm = "rmdir "
				}
				out = append(out, rm+p)
			case capture.Dir:
				out = append(out, fmt.Sprintf("install -d -m %04o -o %d -g %d %s", e.Mode, e.UID, e.GID, p))
			case capture.Symlink:
				out = append(out, "ln -sfnT "+hostcmd.Quote(string(e.Target))+" "+p)
			case capture.File:
				from := "# the same file as " + string(e.LinkTo) + ": ln -f " + hostcmd.Quote(string(e.LinkTo)) + " " + p
				if e.Store != "" {
					from = fmt.Sprintf("install -m %04o -o %d -g %d %s %s && touch -d @%d.%09d %s", e.Mode, e.UID, e.GID,
						hostcmd.Quote(filepath.Join(set.Dir(), e.Store)), p, e.MTime/1e9, e.MTime%1e9, p)
				}
				out = append(out, from)
			}
		}
	}
	out = append(out, updatedCommands(c, sets)...)
	// What must go is in the way of what comes: folders last, deepest first.
	slices.SortStableFunc(out, func(a, b string) int {
		if r := rank(a) - rank(b); r != 0 || rank(a) != 1 {
			return r
		}
		return strings.Compare(b, a)
	})
	return out
}

func rank(cmd string) int {
	switch {
	case strings.HasPrefix(cmd, "chattr "):
		return -2
	case strings.HasPrefix(cmd, "mv -T "):
		return -1
	case strings.HasPrefix(cmd, "rm -f "):
		return 0
	case strings.HasPrefix(cmd, "rmdir "):
		return 1
	case strings.HasPrefix(cmd, "install -d "):
		return 2
	}
	return 3
}

// makeWay takes away what keeps even root from putting a path back: chattr's
// attributes, on it or its folder, and a folder with files of others where
// something else was, which only moves aside.
func makeWay(d capture.Difference, locked func(folder string) bool) (out []string) {
	name := string(d.Path)
	if dir := path.Dir(name); locked(dir) {
		out = append(out, "chattr -ia "+hostcmd.Quote(dir))
	}
	if d.Current.Immutable() {
		out = append(out, "chattr -ia "+hostcmd.Quote(name))
	}
	if d.Current.Kind == capture.Dir && d.Saved.Kind != capture.Dir && d.Saved.Kind != capture.Absent {
		out = append(out, "mv -T "+hostcmd.Quote(name)+" "+hostcmd.Quote(name+".in-the-way"))
	}
	return out
}

// lockedFolders returns what tells whether a folder carries one of chattr's
// attributes that forbid changes: true only once for each, as one command is
// enough.
func lockedFolders() func(string) bool {
	seen := map[string]bool{}
	return func(dir string) bool {
		if seen[dir] {
			return false
		}
		seen[dir] = true
		r, err := rootfs.Open(root)
		if err != nil {
			return false
		}
		defer r.Close()
		f, err := r.Flags(dir)
		return err == nil && f != (rootfs.Flags{})
	}
}
