package target

import (
	"context"
	"errors"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// probesAtOnce is how many servers are asked at the same time.
const probesAtOnce = 4

// Vantage is from where repositories are asked.
type Vantage struct {
	Root    string // of the host that is judged: its folders and certificates are below
	Away    bool   // the host is another machine: its folders and certificates are not at hand
	Offline bool   // nobody is asked
}

// ProbeOthers asks the repositories that are not the distribution's at the
// addresses that they will have. Nothing but repomd.xml is fetched.
func ProbeOthers(ctx context.Context, syncer *reposync.Syncer, repos []assess.RepoAfter, transport reposync.Repo, from Vantage) map[string]assess.Probe {
	out := make(map[string]assess.Probe, len(repos))
	var mu sync.Mutex
	var wg sync.WaitGroup
	gate := make(chan struct{}, probesAtOnce)
	for _, r := range repos {
		r, unasked := from.see(r)
		if unasked != "" {
			mu.Lock()
			out[r.ID] = assess.Probe{Unasked: unasked}
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			p := assess.Probe{}
			p.Answered, p.Err = syncer.Probe(ctx, probeSource(r, transport))
			p.Answered = from.without(p.Answered)
			if errors.Is(p.Err, reposync.ErrLogin) {
				p = assess.Probe{Unasked: "its server wants a user name and password, which only dnf reads"}
			}
			mu.Lock()
			defer mu.Unlock()
			out[r.ID] = p
		})
	}
	wg.Wait()
	return out
}

// certificates are the options of a repository that name files of the host.
var certificates = []string{"sslcacert", "sslclientcert", "sslclientkey"}

// see returns a repository with its folders and certificates where they are seen
// from here, or why it cannot be asked from here.
func (v Vantage) see(r assess.RepoAfter) (assess.RepoAfter, string) {
	if v.Offline {
		return r, "--offline"
	}
	var bases []string
	other, local := "", false
	for _, u := range r.BaseURLs {
		scheme, _, _ := strings.Cut(strings.ToLower(u), "://")
		switch {
		case scheme != "http" && scheme != "https" && scheme != "file" && scheme != strings.ToLower(u):
			other = u
			continue // dnf has other ways, ftp for one
		case scheme == "file" && v.Away:
			local = true
			continue
		}
		bases = append(bases, v.below(u))
	}
	for _, u := range []*string{&r.Mirrorlist, &r.Metalink} {
		if strings.HasPrefix(*u, "file://") && v.Away {
			local, *u = true, ""
		}
		*u = v.below(*u)
	}
	r.BaseURLs = bases
	if len(bases) == 0 && r.Mirrorlist == "" && r.Metalink == "" {
		switch {
		case local:
			return r, "it is in a folder of the host, which is not at hand"
		case other != "":
			return r, "only dnf can ask " + other
		}
	}
	options := r.Options
	r.Options = maps.Clone(r.Options)
	for _, o := range certificates {
		name := options[o]
		switch {
		case !strings.HasPrefix(name, "/"):
		case v.Away:
			return r, "its " + o + " is on the host, which is not at hand"
		case v.Root != "" && v.Root != "/":
			r.Options[o] = filepath.Join(v.Root, path.Clean(name))
		}
	}
	return r, ""
}

func (v Vantage) below(u string) string {
	if name, ok := strings.CutPrefix(u, "file://"); ok && v.Root != "" && v.Root != "/" && strings.HasPrefix(name, "/") {
		if root, err := filepath.Abs(v.Root); err == nil {
			return "file://" + filepath.Join(root, path.Clean(name)) // ".." does not lead out
		}
	}
	return u
}

// without takes the root out of what below has made.
func (v Vantage) without(u string) string {
	if base := v.below("file:///"); base != "file:///" {
		if name, ok := strings.CutPrefix(u, base); ok {
			return "file://" + name
		}
	}
	return u
}

// probeSource is how a repository of another vendor is asked: as its own
// definition says. Of the settings for AlmaLinux's mirror only the proxy is
// used: the certificates and passwords are not for others, and its authority
// does not vouch for them.
func probeSource(r assess.RepoAfter, transport reposync.Repo) reposync.Repo {
	src := reposync.Repo{
		ID: r.ID, Name: r.ID, BaseURLs: r.BaseURLs, Mirrorlist: r.Mirrorlist, Metalink: r.Metalink,
		Proxy: transport.Proxy, ProxyUsername: transport.ProxyUsername, ProxyPassword: transport.ProxyPassword,
	}
	for i, to := range []*string{&src.SSLCACert, &src.SSLClientCert, &src.SSLClientKey} {
		if v := r.Options[certificates[i]]; strings.HasPrefix(v, "/") {
			*to = v
		}
	}
	// Nothing that is fetched is used, so that an unverified answer does no harm.
	src.SSLNoVerify = slices.Contains([]string{"0", "no", "false", "off", "disabled"}, strings.ToLower(strings.TrimSpace(r.Options["sslverify"])))
	switch v := strings.TrimSpace(r.Options["proxy"]); {
	case strings.EqualFold(v, reposync.NoProxy):
		src.Proxy, src.ProxyUsername, src.ProxyPassword = reposync.NoProxy, "", ""
	case strings.Contains(v, "://") && v != transport.Proxy:
		src.Proxy, src.ProxyUsername, src.ProxyPassword = v, "", ""
	}
	return src
}
