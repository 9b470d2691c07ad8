package target

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// TestProbeSource keeps what is for AlmaLinux's mirror, and for its proxy, from
// others.
func TestProbeSource(t *testing.T) {
	transport := reposync.Repo{
		Proxy: "http://proxy:1", ProxyUsername: "u", ProxyPassword: "p", SSLCACert: "/ca", SSLClientCert: "/cert", SSLClientKey: "/key",
		SSLNoVerify: true, Username: "mu", Password: "mp",
	}
	for _, c := range []struct {
		name    string
		options map[string]string
		want    reposync.Repo
	}{
		{"nothing said", nil, reposync.Repo{Proxy: "http://proxy:1", ProxyUsername: "u", ProxyPassword: "p"}},
		{"the same proxy", map[string]string{"proxy": "http://proxy:1"}, reposync.Repo{Proxy: "http://proxy:1", ProxyUsername: "u", ProxyPassword: "p"}},
		{"its own proxy", map[string]string{"proxy": "http://other:1"}, reposync.Repo{Proxy: "http://other:1"}},
		{"no proxy", map[string]string{"proxy": "_none_"}, reposync.Repo{Proxy: reposync.NoProxy}},
		{"its own certificates", map[string]string{"proxy": "_none_", "sslcacert": "/a", "sslclientcert": "/b", "sslclientkey": "/c", "sslverify": "False"},
			reposync.Repo{Proxy: reposync.NoProxy, SSLCACert: "/a", SSLClientCert: "/b", SSLClientKey: "/c", SSLNoVerify: true}},
	} {
		got := probeSource(assess.RepoAfter{Options: c.options}, transport)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
