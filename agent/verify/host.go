package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// Options say how the host's repositories may be asked.
type Options struct {
	Offline   bool // they are not asked, and that is said
	UserAgent string
	Transport reposync.Repo // proxy credentials, which the host's dnf.conf is not read for
	// Advisories are what the packages of before and of now are held against; nil
	// leaves that out.
	Advisories []assess.AdvisorySource
}

// The bounds for asking one repository: enough for a slow proxy, and little
// enough for somebody who waits.
const (
	probeTimeout  = 10 * time.Second
	probeDeadline = 25 * time.Second
)

// configured reads what dnf would use: the repository files as they are now.
func configured(ctx context.Context) (*inventory.Inventory, *catalog.Catalog, error) {
	cat, err := catalog.Load("/")
	if err != nil {
		return nil, nil, err
	}
	h, err := host.New("/")
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	inv, err := inventory.Take(ctx, h, cat, inventory.Options{NoFiles: true, NoSignatures: true})
	return inv, cat, err
}

func almaFile(file string) bool { return strings.HasPrefix(path.Base(file), "almalinux") }

// answers asks every AlmaLinux repository that is enabled whether it is there.
func (r *Report) answers(ctx context.Context, p *plan.Plan, inv *inventory.Inventory, opt Options) error {
	var ask []inventory.Repo
	for _, q := range inv.Repos {
		if q.Enabled && almaFile(q.File) {
			ask = append(ask, q)
		}
	}
	k := Check{ID: "repositories-answer", Level: OK, Details: []string{}}
	defer func() { r.Checks = append(r.Checks, k) }()
	switch {
	case len(ask) == 0:
		k.Level, k.Text = Failure, "no AlmaLinux repository is enabled: enable one with dnf config-manager --set-enabled baseos appstream"
		return nil
	case opt.Offline:
		k.Level, k.Text = Info, notAsked(len(ask))
		return nil
	}
	dir, err := os.MkdirTemp("", "almamigrate-")
	if err != nil {
		k.Level, k.Text = Info, "the repositories were not asked: "+err.Error()
		return nil
	}
	defer os.RemoveAll(dir)
	s, err := reposync.New(reposync.Options{
		CacheDir: dir, Timeout: probeTimeout, Deadline: probeDeadline, Retries: 1, MaxMirrors: 3, UserAgent: opt.UserAgent, Proxy: inv.DNF.Proxy,
	})
	if err != nil {
		k.Level, k.Text = Info, "the repositories were not asked: "+err.Error()
		return nil
	}
	defer s.Close()
	vars := map[string]string{"basearch": inv.Host.Arch, "arch": inv.Host.Arch, "releasever": inv.DNF.ReleaseVer}
	errs := make([]error, len(ask))
	var wg sync.WaitGroup
	for i, q := range ask {
		wg.Go(func() {
			_, errs[i] = s.Probe(ctx, reposync.Repo{
				ID: q.ID, BaseURLs: q.BaseURLs, Mirrorlist: q.Mirrorlist, Metalink: q.Metalink, Vars: vars,
				SSLCACert: q.Options["sslcacert"], SSLClientCert: q.Options["sslclientcert"], SSLClientKey: q.Options["sslclientkey"],
				SSLNoVerify:   slices.Contains([]string{"0", "no", "false", "off"}, strings.ToLower(q.Options["sslverify"])),
				Proxy:         q.Options["proxy"],
				ProxyUsername: opt.Transport.ProxyUsername, ProxyPassword: opt.Transport.ProxyPassword,
			})
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil {
			k.Details = append(k.Details, fmt.Sprintf("%s (%s): %v", ask[i].ID, ask[i].File, err))
		}
	}
	switch {
	case len(k.Details) == 0:
		k.Text = answering(len(ask))
	case onlyFiles(p):
		// The migration came from a medium: that the host reaches no server is no surprise.
		k.Level, k.Text = Info, "AlmaLinux repositories do not answer, so dnf will not find updates: set mirror= in almamigrate.conf before a migration, or baseurl= in the files named"
	default:
		k.Level, k.Text = Failure, "AlmaLinux repositories do not answer: dnf will not find updates; correct baseurl= in the files named, or proxy= in /etc/dnf/dnf.conf"
	}
	return nil
}

func notAsked(n int) string {
	if n == 1 {
		return "the one enabled AlmaLinux repository was not asked: offline"
	}
	return fmt.Sprintf("the %d enabled AlmaLinux repositories were not asked: offline", n)
}

func answering(n int) string {
	if n == 1 {
		return "the one enabled AlmaLinux repository answers"
	}
	return fmt.Sprintf("all %d enabled AlmaLinux repositories answer", n)
}

// onlyFiles tells whether the packages came from local files alone.
func onlyFiles(p *plan.Plan) bool {
	return !slices.ContainsFunc(p.Evidence.Target, func(t plan.TargetRev) bool {
		return !strings.HasPrefix(t.URL, "file:") && !strings.HasPrefix(t.URL, "/")
	})
}

// oldRepos finds repositories of the old distribution that are still on.
func (r *Report) oldRepos(p *plan.Plan, inv *inventory.Inventory, cat *catalog.Catalog) {
	var bad []string
	for _, q := range inv.Repos {
		if !q.Enabled || almaFile(q.File) {
			continue
		}
		if id, ok := cat.MapRepo(p.Host.Distro, p.Host.Major, q.ID); ok {
			bad = append(bad, fmt.Sprintf("%s in %s stands for AlmaLinux's %s: disable it with dnf config-manager --set-disabled %s", q.ID, q.File, id, q.ID))
		}
	}
	slices.Sort(bad)
	r.add("old-repositories", bad, "no repository of "+p.Host.Title+" is enabled", "repositories of "+p.Host.Title+" are still enabled")
}

// signers sorts what is installed by who signed it.
func (r *Report) signers(p *plan.Plan, db *step.Database, cat *catalog.Catalog) {
	var identity []string
	old, alma, theirs := 0, 0, map[string]bool{}
	for _, w := range p.Coming {
		for _, h := range db.Packages[w.NEVRA] {
			theirs[rpmsig.VerifyHeader(h, nil).KeyID] = true // a mirror's own key, which no catalogue knows
		}
	}
	names := cat.Identity(p.Host.Distro, p.Host.Major)
	for nevra, hs := range db.Packages {
		for _, h := range hs {
			// Without a key ring only the key's id is known, and that is enough to tell whose build it says it is.
			id := rpmsig.VerifyHeader(h, nil).KeyID
			key, ok := cat.KeyByID(id)
			switch {
			case id != "" && theirs[id], ok && cat.Owns("almalinux", key.Owner):
				alma++
			case ok && cat.Owns(p.Host.Distro, key.Owner):
				old++
				stays := slices.ContainsFunc(p.Staying, func(s plan.Note) bool { return s.NEVRA == nevra })
				if n := h.NEVRA().Name; !stays && slices.Contains(names, n) {
					identity = append(identity, nevra)
				}
			}
		}
	}
	slices.Sort(identity)
	r.add("signers", identity, fmt.Sprintf("%s %s AlmaLinux's, %d still %s of %s", count(alma, "package"), verb(alma, "is", "are"), old, verb(old, "a build", "builds"), p.Host.Title), "identity packages are still signed by "+p.Host.Title)
	if old > 0 && p.Depth == plan.DepthBranding {
		r.Checks[len(r.Checks)-1].Text += "; these become AlmaLinux's with: dnf distro-sync"
	}
}

// units compares the failed units with those of before.
func (r *Report) units(ctx context.Context, c *txn.Change) {
	k := Check{ID: "units", Level: OK, Text: "no unit has failed since", Details: []string{}}
	defer func() { r.Checks = append(r.Checks, k) }()
	now, err := step.FailedUnits(ctx)
	before, ok := step.FailedBefore(c)
	switch {
	case errors.Is(err, step.ErrNoSystemd):
		k.Level, k.Text = Info, "units were not looked at: "+err.Error()
	case err != nil:
		k.Level, k.Text = Info, err.Error()
	case !ok:
		k.Level, k.Text = Info, "units were not looked at before the migration"
	default:
		for _, u := range now {
			if !slices.Contains(before, u) {
				k.Details = append(k.Details, u+": systemctl status "+u)
			}
		}
		if len(k.Details) > 0 {
			k.Level, k.Text = Failure, "units have failed that had not before"
		} else if len(before) > 0 {
			k.Text = fmt.Sprintf("no unit has failed since (%d had before)", len(before))
		}
	}
}

// advice tells what to do about a file that rpm, or we, put beside another one.
func advice(aside string) string {
	name, suffix, _ := cutSuffix(aside)
	if _, err := os.Lstat(name); err != nil {
		return fmt.Sprintf("%s: it was edited, and its package is gone: keep what you need of it, then rm %s", aside, aside)
	}
	what := "what was there before; " + name + " is AlmaLinux's"
	if suffix == ".rpmnew" {
		what = "AlmaLinux's; " + name + " is as you edited it"
	}
	return fmt.Sprintf("%s is %s: diff -u %s %s, merge what you need, then rm %s", aside, what, name, aside, aside)
}

func cutSuffix(name string) (base, suffix string, ok bool) {
	for _, s := range []string{".rpmnew", ".rpmsave", ".rpmorig"} {
		if b, ok := strings.CutSuffix(name, s); ok {
			return b, s, true
		}
	}
	return name, "", false
}
