package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// RepoAfter is an enabled repository that is not the source distribution's: what
// its addresses read now and after the move.
type RepoAfter struct {
	ID   string
	repo *inventory.Repo
	// Before and After are what its baseurl, mirrorlist and metalink read, those
	// without variables included, in that order.
	Before, After []string
	BaseURLs      []string // of After
	Mirrorlist    string   // of After
	Metalink      string   // of After
	Options       map[string]string
}

// Probe is the outcome of asking a repository's address.
type Probe struct {
	Answered string // the mirror that answered
	Err      error  // why none did
	Unasked  string // why nobody was asked, e.g. "--offline"
}

// Origins says where the packages come from that AlmaLinux does not replace, and
// what becomes of their repositories.
type Origins struct {
	Repos    []OriginRepo    `json:"repos"`    // sorted by id: enabled ones that are not the distribution's
	Packages []OriginGroup   `json:"packages"` // sorted by owner, repository, key
	Modified []ModifiedEntry `json:"modified"` // sorted by source package: installed ones that AlmaLinux changes
	// ModifiedSource says where that is known from, with the date.
	ModifiedSource string `json:"modified_source"`
}

// OriginRepo is one such repository.
type OriginRepo struct {
	ID       string   `json:"id"`
	File     string   `json:"file"`
	Package  string   `json:"package,omitempty"` // NEVRA of the one that owns the file
	Packages int      `json:"packages"`          // installed ones that most likely come from it
	Address  string   `json:"address"`           // same, other: what the URLs read after the move
	Before   []string `json:"before"`
	After    []string `json:"after"`
	Probe    string   `json:"probe"` // answers, dead, unprobed: at the address of after
	Detail   string   `json:"detail,omitempty"`
	Key      string   `json:"key"`      // present, imported (that decides: no file is named or left), missing, remote, unchecked (gpgcheck is off)
	Release  string   `json:"release"`  // holds, breaks, none: the requirements of Package after the move
	Fate     string   `json:"fate"`     // stays, goes
	FateWhy  string   `json:"fate_why"` // in words
}

// OriginGroup is packages of one signer and one repository.
type OriginGroup struct {
	Owner    string         `json:"owner"`          // the catalogue's name of the signer, unknown, unsigned
	Key      string         `json:"key,omitempty"`  // of an unknown signer: what the key says whose it is, where the host has it, else its id
	Repo     string         `json:"repo,omitempty"` // where they most likely come from
	Packages int            `json:"packages"`
	States   map[string]int `json:"states"`   // valid, superseded, twice, moved, replaced, unmaintained: how many
	Notable  []OriginNote   `json:"notable"`  // sorted by NEVRA: those that are not just valid
	Examples []string       `json:"examples"` // the first names
}

// From says in words where the packages come from.
func (g *OriginGroup) From() string {
	from := "of " + g.Owner
	switch g.Owner {
	case "unsigned":
		from = "without a signature"
	case "unknown":
		if g.Repo != "" { // its definition names the key
			return "signed with the key of " + g.Repo
		}
		if from = "signed with a key that nobody knows"; g.Key != "" {
			from = "signed with the key " + g.Key
		}
	}
	if g.Repo != "" && !strings.EqualFold(g.Repo, g.Owner) {
		from += ", from " + g.Repo
	}
	return from
}

// StateText says in words what becomes of them.
func (g *OriginGroup) StateText() string {
	var parts []string
	for _, s := range []struct{ state, one, more string }{
		{"valid", "stays as it is", "stay as they are"}, {"superseded", "is in AlmaLinux as well", "are in AlmaLinux as well"},
		{"twice", "is in two repositories", "are in two repositories"}, {"moved", "moved to another repository", "moved to another repository"},
		{"replaced", "is replaced under another name", "are replaced under another name"}, {"unmaintained", "gets no updates any more", "get no updates any more"},
	} {
		if n := g.States[s.state]; n > 0 {
			if n == g.Packages { // all of them: no need to count
				return strings.TrimPrefix(pluralOf(n, s.one, s.more), fmt.Sprint(n)+" ")
			}
			parts = append(parts, pluralOf(n, s.one, s.more))
		}
	}
	return strings.Join(parts, ", ")
}

// OriginNote is what becomes of one package.
type OriginNote struct {
	NEVRA string `json:"nevra"`
	State string `json:"state"`
	Why   string `json:"why"`
}

// ModifiedEntry is a source package that AlmaLinux changes.
type ModifiedEntry struct {
	Source   string `json:"source"`
	What     string `json:"what"`
	Packages int    `json:"packages"` // installed ones of it
}

// newestRelease returns what AlmaLinux's newest release package provides.
func newestRelease(in *Input) []rpmver.Dep {
	var provides []rpmver.Dep
	var newest rpmver.EVR
	for i := range in.Repos {
		ix := in.Repos[i].Index
		if ix == nil || !in.Repos[i].Enabled {
			continue
		}
		for _, at := range ix.ByName("almalinux-release") {
			if p, err := ix.Package(at); err == nil && (provides == nil || newest.Compare(p.NEVRA.EVR) < 0) {
				provides, newest = p.Provides, p.NEVRA.EVR
			}
		}
	}
	return provides
}

// varsAfter returns the dnf variables before and after the move.
func varsAfter(in *Input) (before, after map[string]string) {
	before = inventory.RepoVariables(in.Inventory)
	after = map[string]string{}
	for k, v := range before {
		after[k] = v
	}
	major := strconv.Itoa(in.Major)
	if _, own := in.Inventory.DNF.Vars["releasever"]; !own {
		after["releasever"] = major
		release := newestRelease(in)
		for _, d := range release {
			if d.Name == "system-release(releasever)" && d.EVR.Version != "" {
				after["releasever"] = d.EVR.Version
			}
		}
		after["releasever_major"], after["releasever_minor"], _ = strings.Cut(after["releasever"], ".")
		for k, v := range inventory.ReleaseParts(release) {
			after[k] = v
		}
	}
	// What goes with the old release package and a repository file still names is
	// kept by the migration; what AlmaLinux's brings replaces it.
	for k, v := range in.Catalog.TargetVars(in.Major) {
		after[k] = v
	}
	return before, after
}

// OtherRepos lists the enabled repositories that are not the source
// distribution's, with their addresses before and after the move: what a caller
// may probe.
func OtherRepos(in Input) []RepoAfter {
	a := &assessor{in: in, inv: in.Inventory, cat: in.Catalog, distro: in.Inventory.Host.Distro, owners: map[string]originKind{}}
	return a.otherRepos()
}

func (a *assessor) otherRepos() []RepoAfter {
	before, after := varsAfter(&a.in)
	var out []RepoAfter
	for i := range a.inv.Repos {
		r := &a.inv.Repos[i]
		if !r.Enabled {
			continue
		}
		if _, mapped := a.cat.MapRepo(string(a.distro), a.inv.Host.Major, r.ID); mapped || a.isDistroRepo(r) {
			continue
		}
		x := RepoAfter{ID: r.ID, repo: r, BaseURLs: slices.Clone(r.BaseURLs), Mirrorlist: r.Mirrorlist, Metalink: r.Metalink, Options: r.Options}
		swap := map[string]string{}
		for _, w := range r.Written {
			swap[inventory.Substitute(w, before)] = inventory.Substitute(w, after)
		}
		change := func(u *string) {
			if *u == "" {
				return
			}
			x.Before = append(x.Before, *u)
			if to, ok := swap[*u]; ok {
				*u = to
			}
			x.After = append(x.After, *u)
		}
		for k := range x.BaseURLs {
			change(&x.BaseURLs[k])
		}
		change(&x.Mirrorlist)
		change(&x.Metalink)
		out = append(out, x)
	}
	slices.SortFunc(out, func(x, y RepoAfter) int {
		return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.repo.File, y.repo.File))
	})
	return out
}

// origins judges what is not the distribution's. It raises its findings whether
// or not the whole result is wanted.
func (a *assessor) origins() *Origins {
	if a.distro == inventory.AlmaLinux && a.inv.Host.State != inventory.StateHalf && a.in.Probes == nil {
		return nil
	}
	res := &Origins{Repos: []OriginRepo{}, Packages: []OriginGroup{}, Modified: []ModifiedEntry{}}
	for _, x := range a.otherRepos() {
		res.Repos = append(res.Repos, a.originRepo(x))
	}
	a.findOrigins(res)
	if a.in.Probes == nil {
		return nil
	}
	a.originPackages(res)
	src := a.cat.ModifiedSource()
	res.ModifiedSource = src.Source + ", as of " + src.Checked
	a.modified(res)
	return res
}

func (a *assessor) originRepo(x RepoAfter) OriginRepo {
	r := x.repo
	o := OriginRepo{ID: r.ID, File: r.File, Address: "same", Before: x.Before, After: x.After, Probe: "unprobed", Release: "none", Fate: "stays", FateWhy: "AlmaLinux leaves it as it is"}
	if o.Before == nil {
		o.Before, o.After = []string{}, []string{}
	}
	if !slices.Equal(x.Before, x.After) {
		o.Address = "other"
	}
	if p, ok := a.in.Probes[r.ID]; ok {
		switch {
		case p.Unasked != "":
			o.Detail = p.Unasked
		case p.Err != nil:
			// Several mirrors are several lines.
			text := strings.TrimPrefix(p.Err.Error(), "cannot reach repository "+r.ID+": ")
			o.Probe, o.Detail = "dead", strings.ReplaceAll(text, "\n", "; ")
		default:
			o.Probe, o.Detail = "answers", p.Answered
		}
	}
	for i := range a.judged {
		j := &a.judged[i]
		if j.res.Origin.Repo == r.ID {
			o.Packages++
		}
		if j.p.Name == r.OwnedBy && o.Package == "" {
			o.Package, o.Release = j.res.NEVRA, "holds"
			if j.leaves {
				o.Fate, o.FateWhy = "goes", "its package "+j.p.Name+" goes: "+j.res.Reason
			}
			if a.breaks(i) {
				o.Release = "breaks"
			}
		}
	}
	o.Key, _ = a.keyOf(r)
	return o
}

// breaks tells whether an installed package's requirements break by the move.
func (a *assessor) breaks(judged int) bool {
	return slices.ContainsFunc(a.closure.broken, func(b breakage) bool {
		m := &a.closure.members[b.by]
		return m.inst != nil && m.judged == judged && !b.before
	})
}

// keyOf tells whether the keys that a repository names are on the host, and stay;
// of a missing one also which file it is.
func (a *assessor) keyOf(r *inventory.Repo) (state, file string) {
	switch {
	case !r.GPGCheck:
		return "unchecked", ""
	case len(r.GPGKeys) == 0:
		return "imported", ""
	}
	state = "remote"
	for _, u := range r.GPGKeys {
		file, local := inventory.KeyFile(u)
		if !local {
			continue
		}
		switch {
		case !slices.Contains(r.NoKeyFiles, file) && !a.leavesFile(file):
			if state == "remote" {
				state = "present"
			}
		case a.imported(r, file):
			state = "imported"
		default:
			return "missing", file
		}
	}
	return state, ""
}

// missingKey names the key file that a repository lacks.
func (a *assessor) missingKey(o *OriginRepo) string {
	for i := range a.inv.Repos {
		if r := &a.inv.Repos[i]; r.ID == o.ID && r.File == o.File {
			_, file := a.keyOf(r)
			return file
		}
	}
	return ""
}

// imported tells whether the rpm database has the key of a file that is not
// there: dnf looks for the file only where it has not.
func (a *assessor) imported(r *inventory.Repo, file string) bool {
	for i := range a.inv.Keys {
		if k := &a.inv.Keys[i]; k.Source == file {
			return slices.ContainsFunc(a.inv.Keys, func(o inventory.Key) bool { return o.Source == "rpmdb" && o.Fingerprint == k.Fingerprint })
		}
	}
	// What was in the file nobody knows; what the repository's packages are signed with is known.
	for i := range a.judged {
		o := &a.judged[i].res.Origin
		if o.Repo == r.ID && o.KeyID != "" && slices.ContainsFunc(a.inv.Keys, func(k inventory.Key) bool { return k.Source == "rpmdb" && slices.Contains(k.KeyIDs, o.KeyID) }) {
			return true
		}
	}
	return false
}

// leavesFile tells whether a file goes with a package that leaves and comes with
// none that takes its place.
func (a *assessor) leavesFile(file string) bool {
	for i := range a.judged {
		j := &a.judged[i]
		if !j.leaves || !j.p.Files.Has(file) {
			continue
		}
		return j.target == nil || !slices.Contains(j.target.full().Files, file)
	}
	return false
}

// originPackages groups what is not the distribution's by signer and repository.
func (a *assessor) originPackages(res *Origins) {
	type key struct{ owner, key, repo string }
	groups := map[key]*OriginGroup{}
	for i := range a.judged {
		j := &a.judged[i]
		kind := a.kind(j.res.Origin)
		foreign := j.res.Verdict == ThirdParty || j.res.Verdict == Local || kind == originForeign
		swapped := j.branding && kind == originForeign
		var state, why string
		switch {
		case swapped && j.target != nil:
			state, why = "replaced", "by "+j.target.nevra().Name+": "+j.res.Reason
		case swapped:
			state, why = "unmaintained", j.res.Reason
		case j.res.Verdict == Missing && j.res.Origin.Owner == ownerAlmaLinux:
			state, why = "moved", "AlmaLinux signed it, and none of the repositories that were read has it any more: look in EPEL"
		case !foreign:
			continue
		default:
			state, why = a.foreignState(j)
		}
		k := key{j.res.Origin.Owner, "", j.res.Origin.Repo}
		if k.owner == ownerUnknown { // several of one's own are not one
			k.key = a.keyName(j.res.Origin.KeyID)
		}
		g := groups[k]
		if g == nil {
			g = &OriginGroup{Owner: k.owner, Key: k.key, Repo: k.repo, States: map[string]int{}, Notable: []OriginNote{}, Examples: []string{}}
			groups[k] = g
		}
		g.Packages++
		g.States[state]++
		if state != "valid" {
			g.Notable = append(g.Notable, OriginNote{j.res.NEVRA, state, why})
		}
		if len(g.Examples) < 5 && !slices.Contains(g.Examples, j.p.Name) {
			g.Examples = append(g.Examples, j.p.Name)
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.Notable, func(x, y OriginNote) int { return cmp.Compare(x.NEVRA, y.NEVRA) })
		slices.Sort(g.Examples)
		res.Packages = append(res.Packages, *g)
	}
	slices.SortFunc(res.Packages, func(x, y OriginGroup) int {
		return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.Repo, y.Repo), cmp.Compare(x.Key, y.Key))
	})
}

// keyName is what a key of the host says whose it is, else its id.
func (a *assessor) keyName(id string) string {
	for i := range a.inv.Keys {
		if k := &a.inv.Keys[i]; k.UserID != "" && slices.Contains(k.KeyIDs, id) {
			return k.UserID
		}
	}
	return id
}

// synergy is the id of AlmaLinux's own repository of additions.
const synergy = "almalinux-synergy"

// ofEPELNext tells EPEL Next's packages: by the dist tag of their releases
// (.el9.next), as EPEL signs them with the key that it signs its own with.
func ofEPELNext(j *judged) bool {
	repo := strings.ToLower(j.res.Origin.Repo)
	return strings.HasPrefix(repo, "epel") && strings.Contains(repo, "next") ||
		j.res.Origin.Owner == "epel" && strings.Contains(j.p.EVR.Release+".", ".next.")
}

// foreignState tells what AlmaLinux's repositories have beside a package of
// somebody else's.
func (a *assessor) foreignState(j *judged) (state, why string) {
	if ofEPELNext(j) {
		return "unmaintained", "EPEL Next is built for CentOS Stream; EPEL's version comes with the next dnf distro-sync"
	}
	inSynergy := ""
	for i := range a.in.Repos {
		r := &a.in.Repos[i]
		if r.Index == nil {
			continue
		}
		for _, at := range r.Index.ByName(j.p.Name) {
			n := r.Index.NEVRA(at)
			if n.Arch != j.p.Arch && n.Arch != "noarch" && j.p.Arch != "noarch" {
				continue
			}
			switch {
			case r.ID == synergy:
				inSynergy = n.String()
			case r.Enabled:
				return "superseded", "AlmaLinux has " + n.String() + " in " + r.ID
			}
		}
	}
	if inSynergy != "" {
		if j.res.Origin.Owner == "epel" {
			return "twice", "it is from EPEL, and AlmaLinux's Synergy has " + inSynergy
		}
		return "twice", "AlmaLinux's Synergy has " + inSynergy
	}
	return "valid", ""
}

// modified lists the installed source packages that AlmaLinux changes.
func (a *assessor) modified(res *Origins) {
	count := map[string]int{}
	for i := range a.judged {
		j := &a.judged[i]
		if src := sourceName(j.p.SourceRPM); src != "" && j.res.Verdict != ThirdParty && j.res.Verdict != Local {
			count[src]++
		}
	}
	for src, n := range count {
		if what := a.cat.Modified(a.in.Major, src); what != "" {
			res.Modified = append(res.Modified, ModifiedEntry{src, what, n})
		}
	}
	slices.SortFunc(res.Modified, func(x, y ModifiedEntry) int { return cmp.Compare(x.Source, y.Source) })
}

// sourceName is the name in a source package's file name: name-version-release.src.rpm.
func sourceName(file string) string {
	s := strings.TrimSuffix(strings.TrimSuffix(file, ".src.rpm"), ".nosrc.rpm")
	for range 2 {
		i := strings.LastIndexByte(s, '-')
		if i <= 0 {
			return ""
		}
		s = s[:i]
	}
	return s
}

func (a *assessor) findOrigins(res *Origins) {
	crb := "crb"
	if a.in.Major == 8 {
		crb = "powertools"
	}
	var keyless []*OriginRepo
	for i := range res.Repos {
		o := &res.Repos[i]
		if o.Fate == "goes" {
			continue // repo.vanishes tells
		}
		resources := []Resource{{"repo", o.ID, strings.Join(o.After, " ")}, {"file", o.File, ""}}
		supplies := ""
		if o.Packages > 0 {
			supplies = fmt.Sprintf(" %s most likely %s from it.", plural(o.Packages, "installed package"), verb(o.Packages, "comes", "come"))
		}
		switch {
		case o.Probe == "dead":
			title, today := "the repository %s does not answer at the address that it has after the move", ""
			if o.Address == "same" {
				title, today = "the repository %s does not answer", " The move does not change its address."
			}
			a.raise(Finding{
				ID: idRepoDead, Severity: Warning, Resources: resources,
				Title:  fmt.Sprintf(title, o.ID),
				Detail: "What was asked said: " + o.Detail + "." + today + supplies,
				Remedy: Remedy{Text: "correct its address, or disable it, before dnf stumbles over it", Command: "dnf config-manager --set-disabled " + shellWord(o.ID)},
			})
		case o.Address == "other":
			asked, remedy := "", Remedy{Text: "see whether it answers there", Command: "almamigrate check --origins"}
			switch {
			case o.Probe == "answers":
				asked, remedy = " It answers there.", Remedy{Text: "nothing, if the vendor serves there what you expect"}
			case a.in.Probes != nil && o.Detail != "":
				asked = " It was not asked: " + o.Detail + "."
			}
			a.raise(Finding{
				ID: idRepoAddress, Severity: Info, Resources: resources,
				Title:  fmt.Sprintf("the address of the repository %s reads otherwise after the move", o.ID),
				Detail: fmt.Sprintf("A variable in it changes: %s becomes %s.%s%s", strings.Join(o.Before, " "), strings.Join(o.After, " "), asked, supplies),
				Remedy: remedy,
			})
		}
		if o.Key == "missing" {
			keyless = append(keyless, o)
		}
		if epel := strings.ToLower(o.ID); epel == "epel" && !a.enabledAfter(crb) {
			a.raise(Finding{
				ID: idRepoEPELNeeds, Severity: Info, Resources: []Resource{{"repo", o.ID, ""}, {"repo", crb, "would be off"}},
				Title:  fmt.Sprintf("EPEL is built against %s, which would be off", strings.ToUpper(crb)),
				Detail: "EPEL stays as it is and is valid on AlmaLinux. Some of its packages require packages of " + crb + "; what is installed now was judged with it off.",
				Remedy: Remedy{Text: "enable it after the move", Command: "dnf config-manager --set-enabled " + crb},
			})
		}
	}
	a.findMissingKeys(keyless)
}

// findMissingKeys raises one finding for each key that is not there: a vendor's
// repositories, of binaries, sources and debug information, name the same one.
func (a *assessor) findMissingKeys(list []*OriginRepo) {
	var order []string
	of := map[string][]*OriginRepo{}
	for _, o := range list {
		key := a.missingKey(o)
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], o)
	}
	for _, key := range order {
		repos := of[key]
		var resources []Resource
		packages := 0
		for _, o := range repos {
			resources = append(resources, Resource{"repo", o.ID, strings.Join(o.After, " ")}, Resource{"file", o.File, ""})
			packages += o.Packages
		}
		what, names, them := "the repository "+repos[0].ID, "Its definition names", "it"
		if n := len(repos); n > 1 {
			what, names, them = plural(n, "repository"), "Their definitions name", "them"
		}
		supplies := ""
		if packages > 0 {
			supplies = fmt.Sprintf(" %s most likely %s from %s.", plural(packages, "installed package"), verb(packages, "comes", "come"), them)
		}
		a.raise(Finding{
			ID: idRepoKeyMissing, Severity: Warning, Resources: append(resources, Resource{"file", key, "the key"}),
			Title:  fmt.Sprintf("the key of %s is not on the host after the move", what),
			Detail: names + " a key file that is not there, or that goes with a package of the source distribution. dnf will refuse " + verb(len(repos), "its", "their") + " packages." + supplies,
			Remedy: Remedy{Text: "fetch the vendor's key again and compare its fingerprint with the vendor's word"},
		})
	}
}

// enabledAfter tells whether a repository of AlmaLinux's would be on.
func (a *assessor) enabledAfter(id string) bool {
	return slices.ContainsFunc(a.in.Repos, func(r TargetRepo) bool { return r.ID == id && r.Enabled })
}

const (
	idRepoAddress    = "repo.address-changes"
	idRepoDead       = "repo.dead"
	idRepoKeyMissing = "repo.key-missing"
	idRepoEPELNeeds  = "repo.epel-needs"
)

var originFindingTypes = []FindingType{
	{
		ID: idRepoAddress, Title: "A third-party repository's address changes", Severities: []Severity{Info},
		Meaning: "The URL of a repository that stays holds a dnf variable ($releasever, $stream, $contentdir ...) whose value is another one after the move.",
		Why:     "The vendor may serve something else there, or nothing.",
		Action:  "\"almamigrate check --origins\" asks the address.",
	},
	{
		ID: idRepoDead, Title: "A third-party repository does not answer", Severities: []Severity{Warning},
		Meaning: "The address that a repository will have after the move was asked and gave no repository. Only check and report with --origins ask.",
		Why:     "dnf fails, or warns at each call, over an enabled repository that it cannot read.",
		Action:  "Correct the address in its .repo file, or disable the repository.",
	},
	{
		ID: idRepoKeyMissing, Title: "A third-party repository's key is missing", Severities: []Severity{Warning},
		Meaning: "The repository checks signatures, and the key file that it names is not on the host, or goes with a package of the source distribution. Repositories that name the same file are one finding.",
		Why:     "dnf refuses packages whose key it cannot import.",
		Action:  "Fetch the key from the vendor, compare its fingerprint, and put it where the .repo file says.",
	},
	{
		ID: idRepoEPELNeeds, Title: "EPEL needs CRB or PowerTools", Severities: []Severity{Info},
		Meaning: "EPEL is enabled, and AlmaLinux's CRB (PowerTools on 8) would be off.",
		Why:     "EPEL's packages may require packages from there. EPEL itself stays: it is valid on AlmaLinux.",
		Action:  "Enable it: dnf config-manager --set-enabled crb (powertools on 8).",
	},
}
