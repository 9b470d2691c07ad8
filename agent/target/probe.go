package target

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// probesAtOnce is how many servers are asked at the same time.
const probesAtOnce = 4

// ProbeOthers asks the repositories that are not the distribution's at the
// addresses that they will have. Nothing but repomd.xml is fetched. With offline
// nobody is asked.
func ProbeOthers(ctx context.Context, syncer *reposync.Syncer, repos []assess.RepoAfter, transport reposync.Repo, offline bool) map[string]assess.Probe {
	out := make(map[string]assess.Probe, len(repos))
	var mu sync.Mutex
	var wg sync.WaitGroup
	gate := make(chan struct{}, probesAtOnce)
	for _, r := range repos {
		if offline {
			out[r.ID] = assess.Probe{Unasked: "--offline"}
			continue
		}
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			p := assess.Probe{}
			p.Answered, p.Err = syncer.Probe(ctx, probeSource(r, transport))
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

// probeSource is how a repository of another vendor is asked: as its own
// definition says. Of the settings for AlmaLinux's mirror only the proxy is
// used: the certificates and passwords are not for others, and its authority
// does not vouch for them.
func probeSource(r assess.RepoAfter, transport reposync.Repo) reposync.Repo {
	src := reposync.Repo{
		ID: r.ID, Name: r.ID, BaseURLs: r.BaseURLs, Mirrorlist: r.Mirrorlist, Metalink: r.Metalink,
		Proxy: transport.Proxy, ProxyUsername: transport.ProxyUsername, ProxyPassword: transport.ProxyPassword,
	}
	for option, to := range map[string]*string{"sslcacert": &src.SSLCACert, "sslclientcert": &src.SSLClientCert, "sslclientkey": &src.SSLClientKey} {
		if v := r.Options[option]; strings.HasPrefix(v, "/") {
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
