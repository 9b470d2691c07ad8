package step

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
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

// leftFiles brings files back that are not as they were saved.
func leftFiles(c *txn.Change) []string {
	sets, err := Sets(c)
	if err != nil {
		return []string{"# the saved files cannot be read: " + err.Error()}
	}
	var out []string
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
	case strings.HasPrefix(cmd, "rm -f "):
		return 0
	case strings.HasPrefix(cmd, "rmdir "):
		return 1
	case strings.HasPrefix(cmd, "install -d "):
		return 2
	}
	return 3
}
