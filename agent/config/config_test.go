package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/config"
)

const full = `# comment
[main]
cache_dir = /srv/cache/
fail_on = warning
[repos]
mirror = https://mirror.example.org/almalinux/
offline = yes
proxy = http://proxy.example.org:3128
proxy_username = u
proxy_password = p#;=x
metadata_expire = 2d
timeout = 90
retries = 0
sslcacert = /etc/pki/ca.pem
sslverify = 0
sslclientcert = /etc/pki/c.pem
sslclientkey = /etc/pki/k.pem
[repo baseos]
url = file:///srv/baseos
[repo my-repo]
url = http://10.0.0.1/x
[trust]
extra_keys = /etc/pki/a, file:///etc/pki/b
             /etc/pki/c
repo_gpgcheck = required
`

func TestEverySetting(t *testing.T) {
	c := config.Default()
	if err := c.Parse("f", []byte(full)); err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		Main: config.Main{CacheDir: "/srv/cache", FailOn: config.FailOnWarning},
		Repos: config.Repos{
			Mirror: "https://mirror.example.org/almalinux/", Offline: true,
			Proxy: "http://proxy.example.org:3128", ProxyUsername: "u", ProxyPassword: "p#;=x",
			MetadataExpire: 48 * time.Hour, Timeout: 90 * time.Second, Retries: 0,
			SSLCACert: "/etc/pki/ca.pem", SSLVerify: false, SSLClientCert: "/etc/pki/c.pem", SSLClientKey: "/etc/pki/k.pem",
		},
		Repo:   map[string]config.Repo{"baseos": {URL: "file:///srv/baseos"}, "my-repo": {URL: "http://10.0.0.1/x"}},
		Trust:  config.Trust{ExtraKeys: []string{"/etc/pki/a", "/etc/pki/b", "/etc/pki/c"}, RepoGPGCheck: config.Required},
		Report: config.Default().Report, Endpoint: map[string]config.Endpoint{},
		Files: []string{"f"},
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[repos]\nmiror = http://x/\n", `f:2: unknown key "miror" in section [repos], did you mean "mirror"?`},
		{"[repo]\nurl = http://x/\n", `f:1: unknown section [repo]`},
		{"[reqos]\n", `f:1: unknown section [reqos], did you mean "repos"?`},
		{"[main x]\n", `f:1: unknown section [main x]`},
		{"[main]\nzzzzzzzzzzzz=1\n", `known are cache_dir, fail_on`},
		{"[main]\nfail_on = never\n", `f:2: fail_on: "never" is none of blocker, warning`},
		{"[main]\ncache_dir = var\n", `f:2: cache_dir: "var" is not an absolute path`},
		{"[repos]\noffline = maybe\n", `"maybe" is neither yes nor no`},
		{"[repos]\nmetadata_expire = 3w\n", `"3w" is not a time`},
		{"[repos]\nmetadata_expire = -5\n", `"-5" is not a time`},
		{"[repos]\nmetadata_expire = 99999999d\n", `is not a time`},
		{"[repos]\ntimeout = 0\n", `must be more than 0`},
		{"[repos]\nretries = many\n", `is not a number from 0 to 100`},
		{"[repos]\nmirror = mirror.example.org\n", `not a URL that begins with http://`},
		{"[repos]\nmirror = ftp://x/\n", `not a URL`},
		{"[repos]\nproxy = proxy:3128\n", `not a URL`},
		{"[repo a/b]\nurl = http://x/\n", `is not a repository id`},
		{"[repo ..]\nurl = http://x/\n", `is not a repository id`},
		{"[repo x]\n", `f:1: section [repo x] needs url`},
		{"[trust]\nextra_keys = key.asc\n", `"key.asc" is not an absolute path`},
		{"[trust]\nrepo_gpgcheck = 1\n", `is none of never, if-present, required`},
		{"[main]\nfail_on = blocker\nfail_on = warning\n", `f:3: given twice, first in line 2`},
		{"fail_on = blocker\n", `f:1`},
	} {
		err := config.Default().Parse("f", []byte(tt.text))
		if !errors.Is(err, config.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want ...%s...", tt.text, err, tt.want)
		}
	}
}

func TestPasswordIsNotRepeated(t *testing.T) {
	err := config.Default().Parse("f", []byte("[repos]\nproxy = user:geheim@proxy\n"))
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}

func TestFiles(t *testing.T) {
	root := t.TempDir()
	if c, err := config.Load(root, ""); err != nil || cmp.Diff(config.Default(), c) != "" {
		t.Fatalf("no files: %v, %v", c, err)
	}
	dir := filepath.Join(root, "etc/almamigrate/conf.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"../almamigrate.conf": "[repos]\nretries = 1\ntimeout = 1\n",
		"10-a.conf":           "[repos]\nretries = 2\n",
		"20-b.conf":           "[repos]\nretries = 3\n",
		"30-c.conf.rpmnew":    "[nonsense]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Repos.Retries != 3 || c.Repos.Timeout != time.Second {
		t.Errorf("got %+v", c.Repos)
	}
	want := []string{config.File, config.Dir + "/10-a.conf", config.Dir + "/20-b.conf"}
	if d := cmp.Diff(want, c.Files); d != "" {
		t.Error(d)
	}
	own := filepath.Join(root, "own.conf")
	if _, err := config.Load(root, own); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("explicit file that is absent: %v", err)
	}
	if err := os.WriteFile(own, []byte("[repos]\nretries = 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Load(root, own); err != nil || c.Repos.Retries != 9 || c.Repos.Timeout != 30*time.Second {
		t.Errorf("explicit file: %+v, %v", c, err)
	}
}
