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

// TestVantage asks for folders where they are, and nobody for what only dnf or
// the host can answer.
func TestVantage(t *testing.T) {
	for _, c := range []struct {
		name    string
		from    Vantage
		repo    assess.RepoAfter
		want    assess.RepoAfter
		unasked string
	}{
		{"the host itself", Vantage{Root: "/"}, assess.RepoAfter{BaseURLs: []string{"file:///srv/repo"}, Options: map[string]string{"sslcacert": "/etc/ca"}},
			assess.RepoAfter{BaseURLs: []string{"file:///srv/repo"}, Options: map[string]string{"sslcacert": "/etc/ca"}}, ""},
		{"an image", Vantage{Root: "/img"}, assess.RepoAfter{BaseURLs: []string{"file:///srv/repo", "https://x/"}, Mirrorlist: "file:///srv/list", Options: map[string]string{"sslcacert": "/etc/ca", "sslverify": "1"}},
			assess.RepoAfter{BaseURLs: []string{"file:///img/srv/repo", "https://x/"}, Mirrorlist: "file:///img/srv/list", Options: map[string]string{"sslcacert": "/img/etc/ca", "sslverify": "1"}}, ""},
		{"an image that points out of itself", Vantage{Root: "/img"}, assess.RepoAfter{BaseURLs: []string{"file:///../etc"}, Options: map[string]string{"sslclientkey": "/../etc/key"}},
			assess.RepoAfter{BaseURLs: []string{"file:///img/etc"}, Options: map[string]string{"sslclientkey": "/img/etc/key"}}, ""},
		{"a folder elsewhere", Vantage{Root: "/", Away: true}, assess.RepoAfter{BaseURLs: []string{"file:///srv/repo"}}, assess.RepoAfter{}, "it is in a folder of the host, which is not at hand"},
		{"a folder elsewhere, and a server", Vantage{Root: "/", Away: true}, assess.RepoAfter{BaseURLs: []string{"file:///srv/repo", "http://x"}}, assess.RepoAfter{BaseURLs: []string{"http://x"}}, ""},
		{"a certificate elsewhere", Vantage{Root: "/", Away: true}, assess.RepoAfter{BaseURLs: []string{"https://x"}, Options: map[string]string{"sslclientcert": "/c"}},
			assess.RepoAfter{BaseURLs: []string{"https://x"}, Options: map[string]string{"sslclientcert": "/c"}}, "its sslclientcert is on the host, which is not at hand"},
		{"ftp", Vantage{Root: "/"}, assess.RepoAfter{BaseURLs: []string{"ftp://x/y"}}, assess.RepoAfter{}, "only dnf can ask ftp://x/y"},
		{"nothing", Vantage{Root: "/"}, assess.RepoAfter{}, assess.RepoAfter{}, ""},
		{"no URL", Vantage{Root: "/"}, assess.RepoAfter{BaseURLs: []string{"x"}}, assess.RepoAfter{BaseURLs: []string{"x"}}, ""},
		{"offline", Vantage{Offline: true}, assess.RepoAfter{}, assess.RepoAfter{}, "--offline"},
	} {
		got, unasked := c.from.see(c.repo)
		if unasked != c.unasked {
			t.Errorf("%s: unasked %q, want %q", c.name, unasked, c.unasked)
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(assess.RepoAfter{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	if got := (Vantage{Root: "/img"}).without("file:///img/srv/repo/"); got != "file:///srv/repo/" {
		t.Error(got)
	}
	if got := (Vantage{Root: "/"}).without("file:///srv/repo/"); got != "file:///srv/repo/" {
		t.Error(got)
	}
}
