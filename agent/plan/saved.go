package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Saved is what is put aside for the way back before anything changes.
type Saved struct {
	Packages int      `json:"packages"` // as package files
	Files    int      `json:"files"`    // of these packages; those that the coming ones replace are added when they are at hand
	Folders  []string `json:"folders"`  // with all that is in them
	Except   []string `json:"except"`   // of the folders
}

// SettingsFolders are the folders that are saved with all that is in them,
// whatever comes and leaves.
var SettingsFolders = []string{
	"/etc/yum.repos.d", "/etc/dnf/vars", "/etc/yum/vars", "/etc/dnf/protected.d", "/etc/yum/protected.d", "/etc/dnf/plugins",
	"/etc/yum/pluginconf.d", "/etc/pki/rpm-gpg", "/etc/rpm", "/etc/issue.d",
}

// accounts are left alone by a rollback of all packages: a user that somebody
// made since is worth more than one that a package made.
var accounts = []string{
	"/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/shadow-", "/etc/group", "/etc/group-", "/etc/gshadow", "/etc/gshadow-",
	"/etc/subuid", "/etc/subuid-", "/etc/subgid", "/etc/subgid-", "/etc/.pwd.lock",
}

// Restorable is the part of the plan whose packages are saved to come back.
func (p *Plan) Restorable() *Plan {
	if p.Depth == DepthFull && p.RollbackDepth != RollbackFull {
		return p.Branding()
	}
	return p
}

// SavedFolders are the folders that are saved with all that is in them, but
// for what is skipped. Where all packages move that is all of /etc, since
// scriptlets enable services and make alternatives, and the folders of new
// kernels, where depmod and the like write.
func (p *Plan) SavedFolders() (folders, skip []string) {
	if p.Depth != DepthFull || p.RollbackDepth != RollbackFull {
		return SettingsFolders, nil
	}
	folders = []string{"/etc", "/var/lib/alternatives"}
	for _, c := range p.Coming {
		if n, err := rpmver.ParseNEVRA(c.NEVRA); err == nil && c.Kind == string(assess.MoveBeside) {
			folders = append(folders, fmt.Sprintf("/usr/lib/modules/%s-%s.%s", n.EVR.Version, n.EVR.Release, n.Arch))
		}
	}
	_, loader := p.BootPaths()
	folders = append(folders, loader...)
	slices.Sort(folders)
	return slices.Compact(folders), accounts
}

// saved tells what of it there is to tell before anything is fetched.
func (p *Plan) saved(in Input) {
	leaving := map[string]bool{}
	for _, l := range p.Restorable().Leaving {
		leaving[l.NEVRA] = true
	}
	files := map[string]bool{}
	for i := range in.Inventory.Packages {
		q := &in.Inventory.Packages[i]
		if !leaving[q.NEVRA().String()] {
			continue
		}
		for f := range q.Files.All() {
			files[f] = true
		}
	}
	if outside := linkedOutside(files, in.Links); len(outside) > 0 {
		text := strings.Join(outside[:min(len(outside), maxNamed)], ", ")
		if n := len(outside) - maxNamed; n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		p.NotRestorable = append(p.NotRestorable, "hard links to other places: the content comes back, but no longer as one file with them: "+text)
	}
	p.Saved = Saved{Packages: len(leaving), Files: len(files), Folders: []string{}, Except: []string{}}
	folders, except := p.SavedFolders()
	p.Saved.Folders = append(p.Saved.Folders, folders...)
	p.Saved.Except = append(p.Saved.Except, except...)
}

// linkedOutside are the files that have a further name which is not among
// them: when they are replaced, that one keeps the other content.
func linkedOutside(files map[string]bool, links func(string) ([2]uint64, uint64, bool)) (out []string) {
	if links == nil {
		return nil
	}
	type file struct {
		first string
		names uint64
		found uint64
	}
	seen := map[[2]uint64]*file{}
	for _, f := range slices.Sorted(maps.Keys(files)) {
		id, n, ok := links(f)
		if !ok {
			continue
		}
		if seen[id] == nil {
			seen[id] = &file{first: f, names: n}
		}
		seen[id].found++
	}
	for _, f := range seen {
		if f.found < f.names {
			out = append(out, f.first)
		}
	}
	slices.Sort(out)
	return out
}
