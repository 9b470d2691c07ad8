package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

func cutVersion(s string) (major, minor string, ok bool) { return strings.Cut(s, ".") }

// evidence condenses what a plan rests on into lists that can be compared and
// named. Times, row numbers and the order of reading are not a part of it.
func evidence(inv *inventory.Inventory, repos []assess.TargetRepo) Evidence {
	var e Evidence
	e.Identity = []string{
		"distribution " + string(inv.Host.Distro), fmt.Sprint("major ", inv.Host.Major), "architecture " + inv.Host.Arch,
		"release package " + inv.Host.ReleasePackage, "PRETTY_NAME " + inv.Host.PrettyName,
	}
	e.Packages = make([]string, 0, len(inv.Packages))
	for i := range inv.Packages {
		p := &inv.Packages[i]
		e.Packages = append(e.Packages, strings.TrimSpace(p.NEVRA().String()+" "+p.Signature.KeyID))
	}
	slices.Sort(e.Packages)
	e.Repos = make([]string, 0, len(inv.Repos))
	for _, r := range inv.Repos {
		state := "disabled"
		if r.Enabled {
			state = "enabled"
		}
		e.Repos = append(e.Repos, strings.TrimSpace(strings.Join(append([]string{r.ID, state, r.File, r.Mirrorlist, r.Metalink}, r.BaseURLs...), " ")))
	}
	slices.Sort(e.Repos)
	h := sha256.New()
	for _, list := range [][]string{e.Identity, e.Packages, e.Repos} {
		for _, s := range list {
			fmt.Fprintf(h, "%d:%s,", len(s), s)
		}
		h.Write([]byte{'\n'})
	}
	e.Inventory = hex.EncodeToString(h.Sum(nil))
	e.Target = []TargetRev{}
	for _, r := range repos {
		if r.Enabled {
			e.Target = append(e.Target, TargetRev{ID: r.ID, URL: r.URL, Revision: r.Revision, Signed: r.Signature, Enabled: r.Enabled})
		}
	}
	slices.SortFunc(e.Target, func(a, b TargetRev) int { return strings.Compare(a.ID, b.ID) })
	return e
}

// maxNamed is how many differences an error names before it only counts.
const maxNamed = 12

// Drift compares an approved plan with one that was made now. It returns nil,
// or an error that wraps ErrDrift and names what changed. What would be done is
// compared as well as what it rests on: another catalogue or version of the
// program may decide otherwise.
func Drift(approved, now *Plan) error {
	var diff []string
	list := func(what string, was, is []string) {
		old, cur := map[string]bool{}, map[string]bool{}
		for _, s := range was {
			old[s] = true
		}
		for _, s := range is {
			cur[s] = true
			if !old[s] {
				diff = append(diff, what+" is new: "+s)
			}
		}
		for _, s := range was {
			if !cur[s] {
				diff = append(diff, what+" is gone: "+s)
			}
		}
	}
	a, b := approved.Evidence, now.Evidence
	if a.Inventory != b.Inventory {
		list("identity", a.Identity, b.Identity)
		list("package", a.Packages, b.Packages)
		list("repository", a.Repos, b.Repos)
		if len(diff) == 0 {
			diff = append(diff, "the inventory's digest")
		}
	}
	rev := func(t []TargetRev) (out []string) {
		for _, r := range t {
			out = append(out, fmt.Sprintf("%s revision %s", r.ID, r.Revision))
		}
		return out
	}
	list("AlmaLinux repository", rev(a.Target), rev(b.Target))
	coming := func(c []Coming) (out []string) {
		for _, p := range c {
			out = append(out, fmt.Sprintf("%s %s:%s", p.NEVRA, p.ChecksumType, p.Checksum))
		}
		return out
	}
	leaving := func(l []Leaving) (out []string) {
		for _, p := range l {
			out = append(out, p.NEVRA)
		}
		return out
	}
	list("coming package", coming(approved.Coming), coming(now.Coming))
	list("leaving package", leaving(approved.Leaving), leaving(now.Leaving))
	// What the catalogue in /etc decides, of evidence that is the same.
	done := func(p *Plan) (out []string) {
		for _, r := range p.RepoFiles {
			out = append(out, "repository file put aside: "+r.File)
		}
		for _, id := range p.EnableRepos {
			out = append(out, "AlmaLinux repository enabled: "+id)
		}
		for _, o := range p.RepoOptions {
			out = append(out, fmt.Sprintf("setting of AlmaLinux's %s: %s=%s", o.Repo, o.Key, o.Value))
		}
		for _, k := range p.Keys {
			out = append(out, "key imported: "+k.Fingerprint)
		}
		for _, v := range p.Vars {
			out = append(out, "dnf variable kept: "+v)
		}
		for _, s := range p.Streams {
			out = append(out, fmt.Sprintf("module stream: %s %s to %s", s.Module, s.From, s.To))
		}
		for _, s := range p.Steps {
			out = append(out, "step: "+s.Name)
		}
		return out
	}
	list("part of the plan", done(approved), done(now))
	if !approved.Mirror.equal(now.Mirror) {
		diff = append(diff, fmt.Sprintf("the mirror for later updates is %s, approved was %s", now.Mirror, approved.Mirror))
	}
	if approved.Depth != now.Depth {
		diff = append(diff, fmt.Sprintf("the depth is %s, approved was %s", now.Depth, approved.Depth))
	}
	if approved.RollbackDepth != now.RollbackDepth && approved.RollbackDepth != "" {
		diff = append(diff, fmt.Sprintf("the depth of a rollback is %s, approved was %s", now.RollbackDepth, approved.RollbackDepth))
	}
	if len(diff) == 0 {
		return nil
	}
	more := ""
	if len(diff) > maxNamed {
		more = fmt.Sprintf("\n  and %d more", len(diff)-maxNamed)
		diff = diff[:maxNamed]
	}
	return fmt.Errorf("cannot carry out the plan of %s: %w since it was made:\n  %s%s", approved.Created.Format("2006-01-02 15:04 UTC"), ErrDrift, strings.Join(diff, "\n  "), more)
}
