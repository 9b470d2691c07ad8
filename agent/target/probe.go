package target

import (
	"context"
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
			src := transport
			src.ID, src.Name, src.BaseURLs, src.Mirrorlist, src.Metalink = r.ID, r.ID, r.BaseURLs, r.Mirrorlist, r.Metalink
			// What the definition itself says of the connection goes before the configuration.
			for option, to := range map[string]*string{"sslcacert": &src.SSLCACert, "sslclientcert": &src.SSLClientCert, "sslclientkey": &src.SSLClientKey, "proxy": &src.Proxy} {
				if v := r.Options[option]; strings.HasPrefix(v, "/") || option == "proxy" && strings.Contains(v, "://") {
					*to = v
				}
			}
			p := assess.Probe{}
			p.Answered, p.Err = syncer.Probe(ctx, src)
			mu.Lock()
			defer mu.Unlock()
			out[r.ID] = p
		})
	}
	wg.Wait()
	return out
}
