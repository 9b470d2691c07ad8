package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// checkFlags are the flags of check.
type checkFlags struct {
	mirror    string
	repos     []string
	offline   bool
	inventory string
	demo      bool
	verbose   bool
	only      []string
	failOn    string
	cacheDir  string
	verify    bool
	deep      bool
	security  bool
	advisory  []string
	optional  []string // advisories of the configuration: one that cannot be read does not end the run
	origins   bool
	abi       bool
	folders   []string
}

func (a *app) checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Tell whether this host can become AlmaLinux, and what would change",
		Long: `check judges every installed package against the AlmaLinux repositories and
tells what a move would change and what stands in its way. It changes nothing:
it takes no lock, calls neither dnf nor rpm, and writes only to its own cache.

Without root it reads what it can and says what it had to skip.`,
		Example: `  almamigrate check
  almamigrate check --demo
  almamigrate check --verbose --only missing,older
  almamigrate check --abi --abi-folder /data/apps
  almamigrate check --deep
  almamigrate check --mirror https://mirror.example.com/almalinux --json
  almamigrate check --inventory web01.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context(), f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.mirror, "mirror", "", "use the AlmaLinux tree at `URL` (https://, http:// or file://), e.g. https://mirror.example.com/almalinux")
	fl.StringArrayVar(&f.repos, "repo", nil, "use `ID=URL` for a single repository (may be repeated); without --mirror these are all that is consulted")
	fl.BoolVar(&f.offline, "offline", false, "use only what is in the cache")
	fl.StringVar(&f.inventory, "inventory", "", "judge the inventory in `FILE` (of \"almamigrate inventory --json\"; - is standard input) instead of this host")
	fl.BoolVar(&f.demo, "demo", false, "judge a small built-in EL host against a small built-in repository")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "list every package")
	fl.StringSliceVar(&f.only, "only", nil, "list only packages with this `VERDICT`: "+verdictNames())
	fl.StringVar(&f.failOn, "fail-on", "", "exit with 10 on findings of this severity or worse: blocker (default) or warning")
	fl.StringVar(&f.cacheDir, "cache-dir", "", "keep metadata in `DIR` (default /var/cache/almamigrate, for non-root users below ~/.cache)")
	fl.BoolVar(&f.deep, "deep", false, "also fetch AlmaLinux's kernel packages (some 100 MB, once), verify them and judge the kernel modules by their content, and read the initramfs; with --abi, and the same for every library that applications import symbols from")
	abiFlags(fl, &f.abi, &f.folders)
	fl.BoolVar(&f.verify, "verify-signatures", false, "verify the signatures of all packages, also where an earlier run did and nothing changed since")
	securityFlags(fl, &f)
	c.MarkFlagsMutuallyExclusive("demo", "inventory")
	c.MarkFlagsMutuallyExclusive("demo", "mirror")
	c.MarkFlagsMutuallyExclusive("demo", "repo")
	_ = c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(strings.Split(verdictNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"blocker", "warning"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// securityFlags adds the flags of what check and report tell beside the verdict.
func securityFlags(fl *pflag.FlagSet, f *checkFlags) {
	fl.BoolVar(&f.security, "security", false, "also tell which of AlmaLinux's advisories the move closes, which stay open, and which CVEs would open again")
	fl.StringArrayVar(&f.advisory, "advisories", nil, "read advisories from `FILE` as well: AlmaLinux's OSV records (JSON, a folder, tar or zip of them) or updateinfo.xml; implies --security (may be repeated)")
	fl.BoolVar(&f.origins, "origins", false, "also tell where the packages of other vendors come from, what becomes of their repositories (asks their servers), and what AlmaLinux changes of its own")
}

var allVerdicts = []assess.PackageVerdict{assess.Same, assess.Newer, assess.Older, assess.Replaced, assess.Missing, assess.ThirdParty, assess.Local}

func verdictNames() string {
	names := make([]string, len(allVerdicts))
	for i, v := range allVerdicts {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}

// settle fills what the command line left open from the configuration and
// rejects what cannot be meant.
func (f *checkFlags) settle(a *app) error {
	if f.failOn == "" {
		f.failOn = string(a.cfg.Main.FailOn)
	}
	switch f.failOn {
	case "":
		f.failOn = "blocker"
	case "blocker", "warning":
	default:
		return usageError("cannot use --fail-on %s: it is blocker or warning", f.failOn)
	}
	for _, o := range f.only {
		if !slices.Contains(allVerdicts, assess.PackageVerdict(o)) {
			return usageError("cannot use --only %s: it is one of %s", o, verdictNames())
		}
	}
	if f.mirror == "" {
		f.mirror = a.cfg.Repos.Mirror
	}
	f.mirror = strings.TrimSuffix(f.mirror, "/")
	if f.mirror != "" {
		if err := checkURL(f.mirror); err != nil {
			return usageError("cannot use the mirror %s: %v", f.mirror, err)
		}
	}
	f.offline = f.offline || a.cfg.Repos.Offline
	f.security = f.security || len(f.advisory)+len(f.optional) > 0
	return nil
}

// checkURL accepts what can be fetched from.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("not a URL")
	}
	switch u.Scheme {
	case "file", "http", "https":
		return nil
	}
	return fmt.Errorf("it must start with https://, http:// or file://")
}

func (a *app) check(ctx context.Context, f checkFlags) error {
	d, res, err := a.judge(ctx, &f)
	if err != nil {
		return err
	}
	if a.json {
		err = d.WriteJSON(a.out)
	} else {
		to := report.TextOptions{Color: a.colored(), Width: a.width(), Verbose: f.verbose, Demo: f.demo, Command: a.again(), Here: a.root == "/" && f.inventory == "" && !f.demo}
		for _, o := range f.only {
			to.Only = append(to.Only, assess.PackageVerdict(o))
		}
		err = d.WriteText(a.out, to)
	}
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if code := exitCode(res, f.failOn); code != ExitOK {
		return &finished{code}
	}
	return nil
}

// judge is a check without its output: what report and check have in common.
func (a *app) judge(ctx context.Context, f *checkFlags) (*report.Check, *assess.Assessment, error) {
	started := time.Now()
	if err := f.settle(a); err != nil {
		return nil, nil, err
	}
	opt := target.Options{Mirror: f.mirror, Repos: map[string]string{}, GPGCheck: reposync.Check(a.cfg.Trust.RepoGPGCheck), Transport: a.transport()}
	for id, r := range a.cfg.Repo {
		opt.Repos[id] = r.URL
	}
	for _, r := range f.repos {
		id, u, ok := strings.Cut(r, "=")
		if !ok || id == "" || u == "" {
			return nil, nil, usageError("cannot use --repo %s: it is ID=URL, e.g. baseos=https://mirror.example.com/9/BaseOS/x86_64/os", r)
		}
		if err := checkURL(u); err != nil {
			return nil, nil, usageError("cannot use --repo %s: %v", r, err)
		}
		opt.Repos[id] = u
	}
	opt.OnlyRepos = len(f.repos) > 0 && f.mirror == ""
	keyFiles := a.cfg.Trust.ExtraKeys
	if f.demo {
		d, err := unpackDemo()
		if err != nil {
			return nil, nil, err
		}
		defer d.remove()
		a.root, opt.Mirror, f.cacheDir = d.root, d.mirror, d.cache
		opt.Repos = map[string]string{}
		keyFiles = []string{d.key}
	}
	root := "/"
	if f.demo {
		root = a.root // the demo's keys are its own
	}
	cat, keys, err := a.facts(root, keyFiles)
	if err != nil {
		return nil, nil, err
	}
	opt.Keys = keys
	dir, cleanup, err := cacheDir(f.cacheDir, a.cfg.Main.CacheDir)
	if err != nil {
		return nil, nil, err
	}
	defer cleanup()
	var inv *inventory.Inventory
	if f.inventory != "" {
		inv, err = a.readInventory(f.inventory)
	} else {
		inv, err = a.takeInventory(ctx, cat, inventory.Options{ExtraKeys: keys, CacheDir: dir, VerifyAll: f.verify, Deep: f.deep, Fixes: f.security})
	}
	if err != nil {
		return nil, nil, err
	}
	if f.abi && f.inventory != "" && inv.Applications == nil {
		return nil, nil, &UserError{Msg: "cannot judge the applications: the inventory does not have them", Code: ExitUsage,
			Hint: "write one on the host with: almamigrate inventory --abi --json > FILE"}
	}
	if err := inv.Host.Supported(); err != nil {
		return nil, nil, err
	}
	in := assess.Input{Inventory: inv, Catalog: cat, Major: target.Major(inv.Host.Major)}
	err = a.fetch(ctx, &in, dir, f, &opt)
	if err != nil {
		return nil, nil, err
	}
	if f.inventory != "" {
		for i := range in.Repos {
			in.Repos[i].ClockAhead = nil // it is this machine's, not the host's
		}
	}
	res := assess.Assess(in)
	if asked, err := a.askSuppliers(ctx, &in, res, dir, f, opt); err != nil {
		return nil, nil, err
	} else if asked {
		res = assess.Assess(in)
	}
	d := report.NewCheck(inv, res)
	d.Tool = thisTool()
	d.RunID, d.Started, d.Finished = runID(), started.UTC(), time.Now().UTC()
	return d, res, nil
}

// exitCode is DESIGN's mapping of a verdict: no verdict because of the
// repositories is 13, whatever else was found.
func exitCode(res *assess.Assessment, failOn string) int {
	switch {
	case res.Verdict == assess.Unknown:
		for _, r := range res.Repos {
			if r.Error != "" {
				return ExitRepos
			}
		}
		return ExitNotSupported
	case res.Summary.Findings[assess.Blocker] > 0:
		return ExitFindings
	case failOn == "warning" && res.Summary.Findings[assess.Warning] > 0:
		return ExitFindings
	}
	return ExitOK
}

// transport is what every repository gets from the configuration.
func (a *app) transport() reposync.Repo {
	r := a.cfg.Repos
	return reposync.Repo{
		Proxy: r.Proxy, ProxyUsername: r.ProxyUsername, ProxyPassword: r.ProxyPassword,
		SSLCACert: r.SSLCACert, SSLClientCert: r.SSLClientCert, SSLClientKey: r.SSLClientKey,
		SSLNoVerify: !r.SSLVerify,
	}
}

// fetch brings the AlmaLinux repositories up to date and, for --deep, reads the
// kernel packages.
func (a *app) fetch(ctx context.Context, in *assess.Input, dir string, f *checkFlags, opt *target.Options) error {
	if opt.Transport.Proxy == "" {
		opt.Transport.Proxy = in.Inventory.DNF.Proxy
	}
	p := a.newProgress()
	defer p.done()
	p.say("fetching the AlmaLinux repositories ...")
	syncer, err := reposync.New(reposync.Options{
		CacheDir: dir, Offline: f.offline, MaxAge: a.cfg.Repos.MetadataExpire, Timeout: a.cfg.Repos.Timeout, Retries: a.cfg.Repos.Retries,
		UserAgent: "almamigrate/" + Version,
		Progress:  func(e reposync.Event) { a.event(p, e) },
	})
	if err != nil {
		return err
	}
	ring := target.Keyring(ctx, syncer, dir, in.Catalog, in.Inventory, *opt)
	plan, err := target.Select(in.Catalog, in.Inventory, ring, *opt)
	if err != nil {
		return &UserError{Err: err, Code: ExitNotSupported, Hint: "name the repositories with --repo ID=URL"}
	}
	var synced map[string]*reposync.Synced
	if in.Repos, synced, err = target.FetchSynced(ctx, syncer, plan); err != nil {
		return err
	}
	for _, r := range in.Repos {
		// A full or read-only disk of ours says nothing about network and mirror.
		if r.Enabled && errors.Is(r.Err, reposync.ErrCache) {
			return r.Err
		}
	}
	if kernels := assess.KernelPackages(*in); f.deep && len(kernels) > 0 {
		p.say("reading the kernel packages ...")
		in.Deep = target.Deep(ctx, syncer, synced, kernels, ring, dir)
	}
	if f.security {
		p.say("reading the advisories ...")
		in.Advisories = target.Advisories(ctx, syncer, in.Repos, synced)
		if err := target.AddFiles(ctx, in, f.advisory); err != nil {
			return &UserError{Err: err, Code: ExitUsage, Hint: "name a file of AlmaLinux's OSV records, or the updateinfo.xml of a repository"}
		}
		for _, file := range f.optional {
			src, err := target.AdvisoryFile(ctx, file, in.Major)
			src.Err = err
			in.Advisories = append(in.Advisories, src)
		}
	}
	if f.origins {
		p.say("asking the repositories of other vendors ...")
		in.Probes = target.ProbeOthers(ctx, syncer, assess.OtherRepos(*in), opt.Transport, target.Vantage{Root: a.root, Away: f.inventory != "", Offline: f.offline || f.demo})
	}
	if err := a.enabledSuppliers(ctx, in, syncer, *opt); err != nil {
		return err
	}
	if err := a.judgeApplications(ctx, in, f, p); err != nil {
		return err
	}
	if libraries := f.libraries(in); len(libraries) > 0 {
		p.say("reading the packages with libraries of applications ...")
		in.Libraries = target.Libraries(ctx, syncer, synced, libraries, ring, dir)
	}
	return ctx.Err()
}

// event shows what the fetch is at, and logs it for --debug.
func (a *app) event(p *progress, e reposync.Event) {
	switch e.Kind {
	case reposync.EventDownload:
		if e.Total > 0 {
			p.say("%s: %s, %d of %d KiB", e.Repo, e.File, e.Done>>10, e.Total>>10)
		} else {
			p.say("%s: %s", e.Repo, e.File)
		}
		if e.Done != e.Total {
			return // only the end is worth a line in a log
		}
	case reposync.EventRetry:
		p.say("%s: trying again: %v", e.Repo, e.Err)
	case reposync.EventWait:
		p.say("%s: waiting for %s", e.Repo, e.Detail)
	case reposync.EventIndex:
		p.say("%s: reading the metadata", e.Repo)
	}
	attrs := []any{"kind", string(e.Kind), "repo", e.Repo}
	for _, kv := range []struct{ k, v string }{{"url", e.URL}, {"file", e.File}, {"detail", e.Detail}} {
		if kv.v != "" {
			attrs = append(attrs, kv.k, kv.v)
		}
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err.Error())
	}
	a.log.Debug("repository", attrs...)
}

// cacheDir finds a folder that can be written: the one asked for, the
// system's, the user's, and last a private one that goes with the run.
func cacheDir(asked, configured string) (dir string, cleanup func(), err error) {
	none := func() {}
	if asked == "" && configured != "" && os.Geteuid() == 0 {
		asked = configured
	}
	if asked != "" {
		abs, err := filepath.Abs(asked)
		if err != nil {
			return "", none, fmt.Errorf("cannot use the cache folder %s: %w", asked, err)
		}
		return abs, none, nil
	}
	if os.Geteuid() == 0 {
		return "/var/cache/almamigrate", none, nil
	}
	if user, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(user, "almamigrate")
		if os.MkdirAll(dir, 0o700) == nil {
			return dir, none, nil
		}
	}
	dir, err = os.MkdirTemp("", "almamigrate-cache-")
	if err != nil {
		return "", none, fmt.Errorf("cannot make a cache folder: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// runID is a random (version 4) UUID.
func runID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
