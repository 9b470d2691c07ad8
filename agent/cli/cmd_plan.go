package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// repoFlags say where the AlmaLinux side is; plan and migrate have them.
type repoFlags struct {
	mirror   string
	repos    []string
	offline  bool
	cacheDir string
	override []string
	reason   string
	depth
}

// depth says how far a migration goes, and how far back.
type depth struct {
	full     bool
	rollback string
	verbose  bool
}

func (f *repoFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.mirror, "mirror", "", "use the AlmaLinux tree at `URL`, e.g. https://mirror.example.com/almalinux")
	fl.StringArrayVar(&f.repos, "repo", nil, "use `ID=URL` for a single repository (may be repeated); without --mirror these are all that is consulted")
	fl.BoolVar(&f.offline, "offline", false, "use only what is in the cache")
	fl.StringVar(&f.cacheDir, "cache-dir", "", "keep metadata in `DIR` (default /var/cache/almamigrate, for non-root users below ~/.cache)")
	fl.StringArrayVar(&f.override, "override", nil, "go on in spite of the blocker with this finding `ID` (may be repeated; needs --reason)")
	fl.BoolVar(&f.full, "full", false, "replace every package that AlmaLinux has, and the kernel and boot loader, not only the branding")
	fl.StringVar(&f.rollback, "rollback-depth", plan.RollbackFull, "with --full: how far a rollback can go: full (all packages are saved), branding (these only), none")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "list every package")
	fl.StringVar(&f.reason, "reason", "", "`TEXT` why a blocker is overridden; it is recorded in the plan")
}

// evidence is what a plan is made of, and what its packages are fetched with.
type evidence struct {
	plan    *plan.Plan
	ring    *rpmsig.Keyring
	syncer  *reposync.Syncer
	synced  map[string]*reposync.Synced
	keys    [][]byte // files that hold keys
	cleanup func()
}

func (e *evidence) fetch(ctx context.Context, repo string, p *repodata.Package, dst string) error {
	s := e.synced[repo]
	if s == nil {
		return fmt.Errorf("internal error: the repository %s is not synced", repo)
	}
	return e.syncer.FetchPackage(ctx, s, p, dst)
}

// makePlan reads the host, fetches the repositories, judges, and plans.
func (a *app) makePlan(ctx context.Context, f repoFlags) (*evidence, error) {
	if len(f.override) > 0 && strings.TrimSpace(f.reason) == "" {
		return nil, usageError("cannot override a finding without --reason TEXT")
	}
	for _, id := range f.override {
		if !slices.ContainsFunc(assess.Catalogue(), func(t assess.FindingType) bool { return t.ID == id }) {
			return nil, &UserError{Msg: "cannot override " + id + ": no finding has this id", Hint: "almamigrate explain   (lists all ids)", Code: ExitUsage}
		}
	}
	switch f.rollback {
	case plan.RollbackFull, plan.RollbackBranding, plan.RollbackNone:
		if f.rollback != plan.RollbackFull && !f.full {
			return nil, usageError("cannot use --rollback-depth without --full: the swap of the branding can always be taken back")
		}
	default:
		return nil, usageError("cannot use --rollback-depth %s: it is full, branding or none", f.rollback)
	}
	cf := checkFlags{mirror: f.mirror, repos: f.repos, offline: f.offline, cacheDir: f.cacheDir}
	if err := cf.settle(a); err != nil {
		return nil, err
	}
	opt := target.Options{Mirror: cf.mirror, Repos: map[string]string{}, GPGCheck: reposync.Check(a.cfg.Trust.RepoGPGCheck), Transport: a.transport()}
	for id, r := range a.cfg.Repo {
		opt.Repos[id] = r.URL
	}
	for _, r := range f.repos {
		id, u, ok := strings.Cut(r, "=")
		if !ok || id == "" || u == "" {
			return nil, usageError("cannot use --repo %s: it is ID=URL", r)
		}
		if err := checkURL(u); err != nil {
			return nil, usageError("cannot use --repo %s: %v", r, err)
		}
		opt.Repos[id] = u
	}
	opt.OnlyRepos = len(f.repos) > 0 && f.mirror == ""
	cat, keys, err := a.facts("/", a.cfg.Trust.ExtraKeys)
	if err != nil {
		return nil, err
	}
	opt.Keys = keys
	inv, err := a.takeInventory(ctx, cat, inventory.Options{ExtraKeys: keys})
	if err != nil {
		return nil, err
	}
	dir, cleanup, err := cacheDir(cf.cacheDir, a.cfg.Main.CacheDir)
	if err != nil {
		return nil, err
	}
	e := &evidence{cleanup: cleanup}
	p := a.newProgress()
	defer p.done()
	p.say("fetching the AlmaLinux repositories ...")
	if opt.Transport.Proxy == "" {
		opt.Transport.Proxy = inv.DNF.Proxy
	}
	e.syncer, err = reposync.New(reposync.Options{
		CacheDir: dir, Offline: cf.offline, MaxAge: a.cfg.Repos.MetadataExpire, Timeout: a.cfg.Repos.Timeout, Retries: a.cfg.Repos.Retries,
		UserAgent: "almamigrate/" + Version,
		Progress:  func(ev reposync.Event) { a.event(p, ev) },
	})
	if err != nil {
		return e, err
	}
	e.ring = target.Keyring(ctx, e.syncer, dir, cat, inv, opt)
	selected, err := target.Select(cat, inv, e.ring, opt)
	if err != nil {
		return e, &UserError{Err: err, Code: ExitNotSupported, Hint: "name the repositories with --repo ID=URL"}
	}
	var repos []assess.TargetRepo
	if repos, e.synced, err = target.FetchSynced(ctx, e.syncer, selected); err != nil {
		return e, err
	}
	for _, r := range repos {
		if r.Enabled && r.Err != nil {
			return e, fmt.Errorf("cannot plan without the repository %s: %w", r.ID, r.Err)
		}
	}
	major := target.Major(inv.Host.Major)
	judged := assess.Input{Inventory: inv, Catalog: cat, Major: major, Repos: repos, Moves: f.full}
	// The same repositories of kernel modules as check asks: what it calls supplied
	// must not be a blocker here.
	if err := a.enabledSuppliers(ctx, &judged, e.syncer, opt); err != nil {
		return e, err
	}
	res := assess.Assess(judged)
	if asked, err := a.askSuppliers(ctx, &judged, res, dir, &cf, opt); err != nil {
		return e, err
	} else if asked {
		res = assess.Assess(judged)
	}
	scriptlets, err := step.InstalledScriptlets()
	if err != nil {
		return e, err
	}
	in := plan.Input{
		Scriptlets: scriptlets, Links: step.Links, Full: f.full, RollbackDepth: f.rollback,
		Inventory: inv, Assessment: res, Catalog: cat, Major: major, Repos: repos, Tool: thisTool(),
		Now: time.Now(), Free: step.Free, Mirror: a.laterMirror(cf.mirror),
	}
	for _, fp := range e.ring.Fingerprints() {
		k := e.ring.ByFingerprint(fp)
		in.Keys = append(in.Keys, plan.Key{Fingerprint: fp, UserID: k.UserID})
	}
	for _, id := range f.override {
		in.Overrides = append(in.Overrides, plan.Override{ID: id, Reason: f.reason})
	}
	e.keys = keyMaterial(a.cfg.Trust.ExtraKeys, filepath.Join(dir, "keys"), inv)
	e.plan, err = plan.Build(in)
	return e, err
}

// laterMirror is what AlmaLinux's repository files get: the mirror, and how the
// host must speak to it.
func (a *app) laterMirror(u string) *plan.Mirror {
	var options []string
	r := a.cfg.Repos
	for _, o := range []struct{ key, value string }{{"sslcacert", r.SSLCACert}, {"sslclientcert", r.SSLClientCert}, {"sslclientkey", r.SSLClientKey}} {
		if o.value != "" {
			options = append(options, o.key+"="+o.value)
		}
	}
	if !r.SSLVerify {
		options = append(options, "sslverify=0")
	}
	return plan.NewMirror(u, options)
}

// keyMaterial gathers what may hold the keys to import.
func keyMaterial(files []string, cached string, inv *inventory.Inventory) [][]byte {
	var out [][]byte
	if list, err := filepath.Glob(cached + "/*"); err == nil {
		files = append(append([]string(nil), files...), list...)
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil { // what cannot be read is missed later, by name
			out = append(out, data)
		}
	}
	for _, k := range inv.Keys {
		out = append(out, []byte(k.Armored))
	}
	return out
}

func (a *app) planCommand() *cobra.Command {
	var f repoFlags
	var output string
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what a migration would do, step by step",
		Long: `plan shows which packages leave and which come, what becomes of repositories,
keys and settings, what is saved, and what a rollback does not bring back.
It changes nothing on the host.

With -o FILE the plan is written as JSON, with digests of the host's packages
and repositories and of AlmaLinux's. "almamigrate migrate --plan FILE" carries
it out, and refuses when any of these changed since.

With --full it is the plan of "migrate --full": every package, and booting.`,
		Example: "  almamigrate plan\n  almamigrate plan --full\n  almamigrate plan -o /root/plan.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.root != "/" {
				return usageError("cannot plan for %s: the running system only", a.root)
			}
			e, err := a.makePlan(cmd.Context(), f)
			if e != nil {
				defer e.cleanup()
			}
			if err != nil {
				return err
			}
			if output != "" {
				var b bytes.Buffer
				if err := e.plan.WriteJSON(&b); err != nil {
					return err
				}
				if err := atomicfile.Write(output, b.Bytes(), 0o644); err != nil {
					return fmt.Errorf("cannot write the plan: %w", err)
				}
			}
			if a.json {
				err = e.plan.WriteJSON(a.out)
			} else {
				err = e.plan.WriteText(a.out, f.verbose)
				if err == nil {
					_, err = fmt.Fprintf(a.out, "\nNext: %s\n", strings.Join(a.afterPlan(e.plan, output), "\n  or: "))
				}
			}
			if err != nil {
				return err
			}
			if len(e.plan.Blockers) > 0 {
				return &finished{ExitFindings}
			}
			return nil
		},
	}
	f.add(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "", "write the plan as JSON to `FILE`")
	return c
}

// afterPlan is what comes after the plan: migrate with the same flags, or what
// explains the first blocker, and the plan that overrides it.
func (a *app) afterPlan(p *plan.Plan, output string) []string {
	if len(p.Blockers) > 0 {
		return []string{"almamigrate explain " + p.Blockers[0], a.again("--override", p.Blockers[0], "--reason", "TEXT")}
	}
	var args []string
	seen, skip := false, false
	for _, s := range a.args {
		switch {
		case skip:
			skip = false
		case s == "plan" && !seen:
			seen = true
			args = append(args, "migrate")
		case s == "-o" || s == "--output":
			skip = true
		case strings.HasPrefix(s, "-o") || strings.HasPrefix(s, "--output=") || s == "-v" || s == "--verbose":
		default:
			args = append(args, s)
		}
	}
	if output != "" {
		args = append(args, "--plan", output)
	}
	return []string{(&app{args: args}).again()}
}

// planError gives the errors of planning their codes.
func planError(err error) (code int, hint string) {
	switch {
	case errors.Is(err, plan.ErrDrift):
		return ExitError, "make a new plan with: almamigrate plan -o FILE, and have it approved"
	case errors.Is(err, plan.ErrDocument):
		return ExitUsage, "write one with: almamigrate plan -o FILE"
	case errors.Is(err, plan.ErrBranded):
		return ExitNotSupported, "almamigrate plan --full   (all other packages)"
	case errors.Is(err, plan.ErrNothing):
		return ExitNotSupported, "almamigrate check"
	case errors.Is(err, plan.ErrHost):
		return ExitNotSupported, "almamigrate check says what is possible"
	case errors.Is(err, plan.ErrNoTarget), errors.Is(err, plan.ErrUnsafe), errors.Is(err, step.ErrUntrusted), errors.Is(err, step.ErrTampered):
		return ExitRepos, "the mirror is incomplete, damaged, or not who it says it is; try another with --mirror URL"
	case errors.Is(err, plan.ErrBroken):
		return ExitFindings, "almamigrate check --verbose; remove or update the package named first"
	}
	return 0, ""
}
