package plan

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Input is everything that a plan is made of.
type Input struct {
	Inventory  *inventory.Inventory
	Assessment *assess.Assessment
	Catalog    *catalog.Catalog
	Major      int
	Repos      []assess.TargetRepo
	Keys       []Key      // those that will be imported, unless the rpm database has them
	Overrides  []Override // of blockers
	Mirror     *Mirror    // for the repositories' files, if any
	Tool       inventory.Tool
	Now        time.Time
	Free       func(path string) int64 // bytes free in a path's file system; nil: unknown
	// Links tells the identity of a regular file that has more than one name, and how many; nil: nobody looks.
	Links func(path string) (id [2]uint64, names uint64, ok bool)
	// Scriptlets of an installed package; nil: none are looked at.
	Scriptlets func(nevra string) (Scriptlets, bool)

	Full          bool   // DepthFull; the Assessment must have its Moves
	RollbackDepth string // empty: RollbackFull
}

// Kept is what is added to the name of a repository file of the old
// distribution: dnf reads *.repo only.
const Kept = ".before-almalinux"

// The figures behind the space and time that a plan asks for.
const (
	// rpm's write-ahead log was seen to take 32 MiB over a 1.4 MiB database within one transaction of 250 packages.
	databaseReserve = 64 << 20
	stateReserve    = 32 << 20 // journal, its reserve, manifests, and the room that is held for the way back
)

// Build makes the plan. It reads nothing but its input.
func Build(in Input) (*Plan, error) {
	inv := in.Inventory
	if inv.Host.Distro == inventory.NotEL || inv.Host.Major < 8 {
		return nil, fmt.Errorf("cannot plan for %s: %w: the branding is swapped on EL 8, 9 and 10", inv.Host.PrettyName, ErrHost)
	}
	if inv.Host.State == inventory.StateAlmaLinux && !in.Full {
		return nil, fmt.Errorf("cannot plan: %w: this is AlmaLinux", ErrNothing)
	}
	if in.RollbackDepth == "" {
		in.RollbackDepth = RollbackFull
	}
	p := &Plan{
		Kind: Kind, SchemaVersion: SchemaVersion, Tool: in.Tool, Created: in.Now.UTC().Truncate(time.Second),
		Host: Host{
			Name: inv.Host.Name, Distro: string(inv.Host.Distro), Title: inv.Host.PrettyName, Major: inv.Host.Major, Arch: inv.Host.Arch,
		},
		Target: fmt.Sprintf("AlmaLinux %d", in.Major), Major: in.Major, Depth: DepthBranding, RollbackDepth: in.RollbackDepth,
		Streams: []Stream{}, Counts: Counts{map[string]int{}, map[string]int{}},
		Leaving: []Leaving{}, Coming: []Coming{}, Staying: []Note{}, RepoFiles: []RepoFile{}, EnableRepos: []string{}, Keys: []Key{}, Vars: []string{},
		RepoOptions: []RepoOption{}, Services: []string{}, ServicesStopped: []string{}, Blockers: []string{}, Overrides: []Override{}, NotRestorable: []string{}, Space: []Space{},
		Evidence: evidence(inv, in.Repos), picks: map[string]Pick{},
	}
	p.Overrides = append(p.Overrides, in.Overrides...)
	p.Mirror = in.Mirror
	if in.Full {
		p.Depth = DepthFull
	}
	p.NotRestorable = append(p.NotRestorable,
		"the times at which the old packages were installed, as rpm records them",
		"what the scriptlets of the packages do outside of the packages' own files",
		"entries in logs")
	s := newSwap(in)
	if err := s.run(); err != nil {
		return nil, err
	}
	s.fill(p)
	if in.Full {
		if err := p.full(in, s); err != nil {
			return nil, err
		}
	}
	p.count()
	p.repoFiles(in)
	p.repoOptions(in)
	p.keysAndVars(in, s)
	p.services(in.Scriptlets)
	p.saved(in)
	p.blockers(in)
	p.space(in)
	p.steps()
	return p, nil
}

func (p *Plan) count() {
	for _, l := range p.Leaving {
		p.Counts.Leaving[l.Kind]++
	}
	for _, c := range p.Coming {
		p.Counts.Coming[c.Kind]++
	}
}

// safeName is what a name, version, release or architecture may be made of
// when a file name and a command line are made of it.
var safeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~^-]{0,200}$`)

// checkPick refuses what a hostile repository could smuggle in by names.
func checkPick(repo string, q *repodata.Package) error {
	n := q.NEVRA
	for _, s := range []string{n.Name, n.EVR.Version, n.EVR.Release, n.Arch} {
		if !safeName.MatchString(s) || strings.Contains(s, "..") {
			return fmt.Errorf("cannot use %q of repository %s: %w: not a package name", n.String(), repo, ErrUnsafe)
		}
	}
	loc := q.Location
	if loc == "" || path.IsAbs(loc) || strings.ContainsAny(loc, "\\\x00\n") || slices.Contains(strings.Split(loc, "/"), "..") || !strings.HasSuffix(loc, ".rpm") {
		return fmt.Errorf("cannot use %s of repository %s: %w: its location is %q", n, repo, ErrUnsafe, loc)
	}
	return nil
}

// FileName is the name under which a package is kept in a folder of our own:
// made of the NEVRA, never of what the repository calls the file.
func FileName(n rpmver.NEVRA) string {
	return fmt.Sprintf("%s-%d_%s-%s.%s.rpm", n.Name, n.EVR.Epoch, n.EVR.Version, n.EVR.Release, n.Arch)
}

func (s *swap) fill(p *Plan) {
	for i, why := range s.leaving {
		p.leave(&s.inv.Packages[i], KindBranding, why)
	}
	slices.SortFunc(p.Leaving, func(a, b Leaving) int { return strings.Compare(a.NEVRA, b.NEVRA) })
	for _, c := range s.coming {
		p.come(c.repo, c.pkg, KindBranding, c.why)
	}
	p.Staying = append(p.Staying, s.staying...)
	p.sort()
}

func (p *Plan) leave(q *inventory.Package, kind, why string) {
	signer := q.Signature.KeyID
	if signer == "" {
		signer = q.Signature.Status
	}
	p.Leaving = append(p.Leaving, Leaving{Name: q.Name, NEVRA: q.NEVRA().String(), Size: q.Size, Signer: signer, Why: why, Kind: kind})
}

func (p *Plan) come(repo string, q *repodata.Package, kind, why string) {
	p.Coming = append(p.Coming, Coming{
		Name: q.NEVRA.Name, NEVRA: q.NEVRA.String(), Repo: repo, Location: q.Location, Size: q.SizePackage, InstalledSize: q.SizeInstalled,
		ChecksumType: q.ChecksumType, Checksum: q.Pkgid, Why: why, Kind: kind,
	})
	p.picks[q.NEVRA.String()] = Pick{Repo: repo, Package: q}
}

func (p *Plan) sort() {
	slices.SortFunc(p.Leaving, func(a, b Leaving) int { return strings.Compare(a.NEVRA, b.NEVRA) })
	slices.SortFunc(p.Coming, func(a, b Coming) int { return strings.Compare(a.NEVRA, b.NEVRA) })
	slices.SortFunc(p.Staying, func(a, b Note) int { return strings.Compare(a.NEVRA, b.NEVRA) })
}

// repoFiles finds the files of the old distribution's repositories: those that
// leave with their package, and those that nobody owns but that name a
// repository which AlmaLinux has one for.
func (p *Plan) repoFiles(in Input) {
	leaving := map[string]bool{}
	for _, l := range p.Leaving {
		leaving[l.Name] = true
	}
	files := map[string][]string{}
	enable := map[string]bool{}
	for _, r := range in.Inventory.Repos {
		if !strings.HasSuffix(r.File, ".repo") {
			continue
		}
		id, mapped := in.Catalog.MapRepo(p.Host.Distro, p.Host.Major, r.ID)
		if mapped && r.Enabled {
			enable[id] = true
		}
		if leaving[r.OwnedBy] || r.OwnedBy == "" && mapped {
			files[r.File] = append(files[r.File], r.ID)
		}
	}
	for f, ids := range files {
		slices.Sort(ids)
		p.RepoFiles = append(p.RepoFiles, RepoFile{File: f, IDs: ids, Kept: f + Kept})
		if path.Base(f) == "redhat.repo" {
			p.RHSM = true
		}
	}
	slices.SortFunc(p.RepoFiles, func(a, b RepoFile) int { return strings.Compare(a.File, b.File) })
	for _, r := range in.Repos {
		if enable[r.ID] && !r.DefaultEnabled {
			p.EnableRepos = append(p.EnableRepos, r.ID)
		}
	}
	slices.Sort(p.EnableRepos)
	for i := range in.Inventory.Packages {
		if in.Inventory.Packages[i].Name == "subscription-manager" {
			p.RHSM = true
		}
	}
}

// repoVar finds the variables in a repository's URLs.
var repoVar = regexp.MustCompile(`\$\{?([A-Za-z0-9_]+)`)

func (p *Plan) keysAndVars(in Input, s *swap) {
	have := map[string]bool{}
	for _, k := range in.Inventory.Keys {
		if k.Source == "rpmdb" {
			have[k.Fingerprint] = true
		}
	}
	for _, k := range in.Keys {
		if !have[k.Fingerprint] {
			p.Keys = append(p.Keys, k)
		}
	}
	slices.SortFunc(p.Keys, func(a, b Key) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	gone := map[string]bool{}
	for i := range s.leaving {
		for f := range in.Inventory.Packages[i].Files.All() {
			if d := path.Dir(f); d == "/etc/dnf/vars" || d == "/etc/yum/vars" {
				gone[f] = true
			}
		}
	}
	for _, c := range s.coming {
		for _, f := range c.pkg.Files { // primary lists everything below /etc
			delete(gone, f)
		}
	}
	kept := map[string]bool{}
	for _, f := range p.RepoFiles {
		kept[f.File] = true
	}
	used := map[string]bool{}
	for _, r := range in.Inventory.Repos {
		if kept[r.File] {
			continue
		}
		// of the URLs only those that hold variables are kept as written
		for _, v := range slices.Concat(r.Written, r.GPGKeys, slices.Collect(maps.Values(r.Options))) {
			for _, m := range repoVar.FindAllStringSubmatch(v, -1) {
				used[m[1]] = true
			}
		}
	}
	for f := range gone {
		if used[path.Base(f)] {
			p.Vars = append(p.Vars, f)
		}
	}
	slices.Sort(p.Vars)
}

func (p *Plan) blockers(in Input) {
	over := map[string]bool{}
	for _, o := range in.Overrides {
		over[o.ID] = true
	}
	if in.Assessment == nil {
		return
	}
	for _, f := range in.Assessment.Findings {
		stops := f.Severity == assess.Blocker || p.Depth == DepthFull && f.ID == StreamMissing
		if stops && !over[f.ID] && !slices.Contains(p.Blockers, f.ID) {
			p.Blockers = append(p.Blockers, f.ID)
		}
		if stops && !over[f.ID] {
			p.stops = append(p.stops, f)
		}
	}
	slices.Sort(p.Blockers)
}

func (p *Plan) space(in Input) {
	if p.Depth == DepthFull && in.Assessment != nil && len(in.Assessment.Space) > 0 {
		p.fullSpace(in)
		return
	}
	var installed, leaving int64
	for _, c := range p.Coming {
		installed += c.InstalledSize
	}
	for _, l := range p.Leaving {
		leaving += int64(min(l.Size, 1<<40))
	}
	free := func(path string) int64 {
		if in.Free == nil {
			return -1
		}
		return in.Free(path)
	}
	db := path.Dir("/" + strings.TrimPrefix(in.Inventory.Database.Path, "/"))
	p.Space = []Space{
		{"/var/lib/almamigrate", p.Download() + 2*leaving + stateReserve, 0, "downloaded packages, and what is needed to go back"},
		{db, databaseReserve, 0, "the rpm database's log"},
		{"/usr", installed, 0, "the coming packages"},
	}
	p.RollbackBytes = 2 * leaving
	p.Space = append(p.Space, p.Boot.space(in)...)
	for i := range p.Space {
		p.Space[i].Free = free(p.Space[i].Path)
	}
	p.Seconds = 10 + len(p.Leaving)/4 + int(p.Download()>>20)
}

// The names of the steps, which are their kinds, too.
const (
	StepSaveFiles    = "save-files"
	StepImportKeys   = "import-keys"
	StepSwapPackages = "swap-packages"
	StepDisableRepos = "disable-old-repos"
	StepEnableRepos  = "enable-repos"
	StepCarry        = "carry-settings"
	StepMapStreams   = "map-streams"
	StepSyncPackages = "sync-packages"
	StepRHSM         = "rhsm-teardown"
	StepSeal         = "seal"
)

func (p *Plan) steps() {
	p.Steps = []Step{{StepSaveFiles, "save every file that will change"}}
	if len(p.Keys) > 0 {
		p.Steps = append(p.Steps, Step{StepImportKeys, fmt.Sprintf("import %s into the rpm database", count(len(p.Keys), "AlmaLinux key"))})
	}
	if b := p.Branding(); len(b.Leaving)+len(b.Coming) > 0 {
		p.Steps = append(p.Steps, Step{StepSwapPackages, fmt.Sprintf("swap %s for %s in one rpm transaction", count(len(b.Leaving), "package"), fmt.Sprint(len(b.Coming)))})
	}
	p.Steps = append(p.Steps,
		Step{StepDisableRepos, fmt.Sprintf("keep %s of the old distribution under another name", count(len(p.RepoFiles), "repository file"))},
		Step{StepEnableRepos, p.enableTitle()},
		Step{StepCarry, "carry local settings over"})
	p.Steps = append(p.Steps, p.fullSteps()...)
	if p.RHSM {
		p.Steps = append(p.Steps, Step{StepRHSM, "switch the subscription plugin off (the registration stays)"})
	}
	p.Steps = append(p.Steps, p.Boot.steps()...)
	p.Steps = append(p.Steps, Step{StepSeal, "note what the files are now"})
}

func (p *Plan) enableTitle() string {
	t := "enable AlmaLinux repositories: " + orNone(p.EnableRepos)
	if n := len(p.RepoOptions); n > 0 {
		t += fmt.Sprintf("; give them %s of the old ones", count(n, "setting"))
	}
	if p.Mirror != nil {
		t += "; read them from " + p.Mirror.URL
	}
	return t
}

func orNone(s []string) string {
	if len(s) == 0 {
		return "none beyond the default ones"
	}
	return strings.Join(s, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
