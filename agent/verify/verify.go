// Package verify looks, after a migration, whether the host is what the plan
// promised. It rests on the host alone: the rpm database, the files, the
// repositories; nothing is believed because a step said so.
package verify

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// The levels of a check's outcome.
const (
	OK      = "ok"
	Info    = "info"    // worth knowing
	Failure = "failure" // not what the plan promised
)

// Check is one thing that was looked at.
type Check struct {
	ID      string   `json:"id"`
	Level   string   `json:"level"`
	Text    string   `json:"text"`
	Details []string `json:"details"`
}

// Report is all of them.
type Report struct {
	Change string  `json:"change"`
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
	// Security is there where Options had advisories.
	Security *assess.SecuritySince `json:"security,omitempty"`
}

// Run looks at the host that a change has migrated.
func Run(ctx context.Context, c *txn.Change, opt Options) (*Report, error) {
	p, err := step.Plan(c)
	if err != nil {
		return nil, err
	}
	db, err := step.ReadDatabase()
	if err != nil {
		return nil, err
	}
	r := &Report{Change: c.Plan.ID, OK: true}
	r.identity(p)
	r.packages(p, db)
	r.leftovers(p, db)
	r.boot(c, p)
	inv, cat, err := configured(ctx)
	if err != nil {
		return nil, err
	}
	r.signers(p, db, cat)
	r.keys(c, p)
	r.repos(p)
	r.oldRepos(p, inv, cat)
	if err := r.answers(ctx, p, inv, opt); err != nil {
		return nil, err
	}
	r.units(ctx, c)
	r.aside(p, db)
	if err := r.security(c, p, db, cat, opt.Advisories); err != nil {
		return nil, err
	}
	for _, k := range r.Checks {
		r.OK = r.OK && k.Level != Failure
	}
	return r, nil
}

// count is a number of things whose name takes an s.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// verb is the form that goes with a number.
func verb(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

func (r *Report) add(id string, bad []string, good, wrong string) {
	k := Check{ID: id, Level: OK, Text: good, Details: []string{}}
	if len(bad) > 0 {
		k.Level, k.Text, k.Details = Failure, wrong, bad
	}
	r.Checks = append(r.Checks, k)
}

func (r *Report) identity(p *plan.Plan) {
	var bad []string
	got, err := osRelease("/etc/os-release")
	switch {
	case err != nil:
		bad = append(bad, err.Error())
	case got["ID"] != "almalinux":
		bad = append(bad, fmt.Sprintf("ID is %q", got["ID"]))
	case strings.SplitN(got["VERSION_ID"], ".", 2)[0] != fmt.Sprint(p.Major):
		bad = append(bad, fmt.Sprintf("VERSION_ID is %q", got["VERSION_ID"]))
	}
	r.add("identity", bad, "/etc/os-release says "+got["PRETTY_NAME"], "/etc/os-release does not say "+p.Target)
}

func osRelease(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the identity: %w", err)
	}
	defer f.Close()
	out := map[string]string{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			out[k] = strings.Trim(v, `"'`)
		}
	}
	return out, s.Err()
}

func (r *Report) packages(p *plan.Plan, db *step.Database) {
	var bad, files []string
	for _, w := range p.Coming {
		hs := db.Packages[w.NEVRA]
		switch len(hs) {
		case 1:
			for _, b := range step.CheckFiles(hs[0]) {
				files = append(files, w.NEVRA+": "+b)
			}
		case 0:
			if newer := installedName(db, w.Name); newer != "" { // updated since
				for _, h := range db.Packages[newer] {
					for _, b := range step.CheckFiles(h) {
						files = append(files, newer+": "+b)
					}
				}
				continue
			}
			bad = append(bad, w.NEVRA+" is not installed")
		default:
			bad = append(bad, fmt.Sprintf("%s is installed %d times", w.NEVRA, len(hs)))
		}
	}
	came := map[string]bool{}
	for _, w := range p.Coming {
		came[w.NEVRA] = true
	}
	for _, l := range p.Leaving {
		if db.Has(l.NEVRA) && !came[l.NEVRA] { // AlmaLinux may have built the very same version
			bad = append(bad, l.NEVRA+" is still installed")
		}
	}
	r.add("packages", bad, fmt.Sprintf("the packages of the plan came (%d) and left (%d)", len(p.Coming), len(p.Leaving)), "the installed packages are not those of the plan")
	r.add("files", files, "the files of the new packages are as packaged", "files of the new packages differ (rpm -V)")
}

func installedName(db *step.Database, name string) string {
	for n, hs := range db.Packages {
		if hs[0].NEVRA().Name == name {
			return n
		}
	}
	return ""
}

// leftovers looks for what still provides or names the old identity.
func (r *Report) leftovers(p *plan.Plan, db *step.Database) {
	names := map[string]bool{}
	for _, l := range p.Leaving {
		names[l.Name] = true
	}
	came := map[string]bool{}
	for _, w := range p.Coming {
		came[w.Name] = true
	}
	var bad []string
	for n, hs := range db.Packages {
		name := hs[0].NEVRA().Name
		if came[name] {
			continue
		}
		if names[name] {
			bad = append(bad, n)
			continue
		}
		deps, err := hs[0].Deps(rpmhdr.Provides)
		if err == nil && slices.ContainsFunc(deps, func(d rpmver.Dep) bool { return d.Name == "system-release" }) && !strings.HasPrefix(name, "almalinux-") {
			bad = append(bad, n+" provides system-release")
		}
	}
	slices.Sort(bad)
	r.add("leftovers", bad, "no identity package of "+p.Host.Title+" is left", "identity packages of the old distribution are left")
	if len(p.Staying) > 0 {
		k := Check{ID: "staying", Level: Info, Text: "packages that are made for " + p.Host.Title + " only, and that stay", Details: []string{}}
		for _, n := range p.Staying {
			k.Details = append(k.Details, n.NEVRA+": "+n.Text)
		}
		r.Checks = append(r.Checks, k)
	}
}

func (r *Report) keys(c *txn.Change, p *plan.Plan) {
	if len(p.Keys) == 0 {
		r.add("keys", nil, "AlmaLinux's keys were there before", "")
		return
	}
	var bad []string
	if ok, err := step.KeysImported(c); err != nil || !ok {
		for _, k := range p.Keys {
			bad = append(bad, k.Fingerprint+" "+k.UserID)
		}
	}
	r.add("keys", bad, count(len(p.Keys), "key")+verb(len(p.Keys), " is", " are")+" imported", "a key is missing in the rpm database")
}

func (r *Report) repos(p *plan.Plan) {
	var bad []string
	files, err := filepath.Glob("/etc/yum.repos.d/almalinux*.repo")
	if err != nil || len(files) == 0 {
		bad = append(bad, "no almalinux*.repo in /etc/yum.repos.d")
	}
	for _, f := range p.RepoFiles {
		if _, err := os.Lstat(f.File); err == nil && filepath.Base(f.File) != "redhat.repo" {
			bad = append(bad, f.File+" is still read by dnf")
		}
	}
	r.add("repositories", bad, count(len(files), "AlmaLinux repository file"), "the repository files are not those of the plan")
}

// aside lists what rpm put beside configuration files.
func (r *Report) aside(p *plan.Plan, db *step.Database) {
	var found []string
	look := func(f string) {
		if _, _, is := cutSuffix(f); is {
			return
		}
		for _, s := range []string{".rpmnew", ".rpmsave", ".rpmorig"} {
			if _, err := os.Lstat(f + s); err == nil {
				found = append(found, f+s)
			}
		}
	}
	for _, w := range p.Coming {
		for _, h := range db.Packages[w.NEVRA] {
			for f := range h.Files() {
				look(f)
			}
		}
	}
	for _, f := range p.RepoFiles {
		look(f.File)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	k := Check{ID: "rpmnew", Level: OK, Text: "no .rpmnew or .rpmsave files", Details: []string{}}
	if len(found) > 0 {
		k.Level, k.Text = Info, "configuration files have a second version beside them"
		for _, f := range found {
			k.Details = append(k.Details, advice(f))
		}
	}
	r.Checks = append(r.Checks, k)
}
