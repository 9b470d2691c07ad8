package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/config"
)

func TestReportSettings(t *testing.T) {
	c := config.Default()
	err := c.Parse("f", []byte(`[report]
keep = 7
journal = no
textfile_dir = /var/lib/node_exporter/textfile_collector/
ansible_fact = off
spool_size = 10M
spool_age = 2d
send_time = 90
security = yes
advisories = /srv/osv.tar.xz, /srv/updateinfo.xml.gz
origins = on
[endpoint fleet]
url = https://fleet.example.com/reports
token_file = /etc/almamigrate/fleet.token
ca_cert = /etc/pki/ca.pem
client_cert = /etc/almamigrate/c.pem
client_key = /etc/almamigrate/k.pem
proxy = http://proxy.example.com:3128
gzip = no
timeout = 5s
retries = 0
[endpoint spare]
url = http://10.0.0.1/
`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Report{Keep: 7, TextfileDir: "/var/lib/node_exporter/textfile_collector", SpoolSize: 10 << 20, SpoolAge: 48 * time.Hour, SendTime: 90 * time.Second,
		Security: true, Advisories: []string{"/srv/osv.tar.xz", "/srv/updateinfo.xml.gz"}, Origins: true}
	if d := cmp.Diff(want, c.Report); d != "" {
		t.Error(d)
	}
	ends := map[string]config.Endpoint{
		"fleet": {URL: "https://fleet.example.com/reports", TokenFile: "/etc/almamigrate/fleet.token", CACert: "/etc/pki/ca.pem",
			ClientCert: "/etc/almamigrate/c.pem", ClientKey: "/etc/almamigrate/k.pem", Proxy: "http://proxy.example.com:3128", Timeout: 5 * time.Second},
		"spare": {URL: "http://10.0.0.1/", Gzip: true, Timeout: 30 * time.Second, Retries: 3},
	}
	if d := cmp.Diff(ends, c.Endpoint); d != "" {
		t.Error(d)
	}
}

func TestReportErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[report]\nkepe = 1\n", `did you mean "keep"?`},
		{"[report]\nkeep = 0\n", `is not a number from 1 to 10000`},
		{"[report]\nspool_size = 0\n", `is not a size`},
		{"[report]\nspool_size = 9999999999G\n", `is not a size`},
		{"[report]\nspool_age = 0\n", `must be more than 0`},
		{"[report]\ntextfile_dir = x\n", `is not an absolute path`},
		{"[report]\nsecurity = maybe\n", `is neither yes nor no`},
		{"[report]\nadvisories = osv.json\n", `absolute`},
		{"[report x]\nkeep = 1\n", `unknown section [report x]`},
		{"[endpoint]\nurl = https://x/\n", `unknown section [endpoint]`},
		{"[endpoint a/../b]\nurl = https://x/\n", `is not a name`},
		{"[endpoint .x]\nurl = https://x/\n", `is not a name`},
		{"[endpoint x]\nurl = file:///x\n", `not a URL`},
		{"[endpoint x]\nurl = https://u:geheim@x/\n", `must not hold a user or password`},
		{"[endpoint x]\ngzip = yes\n", `[endpoint x] needs url`},
		{"[endpoint x]\nurl = https://x/\nclient_key = /k\n", `go together`},
		{"[endpoint x]\nurl = http://10.1.1.1/\ntoken_file = /t\n", `clear text`},
	} {
		f := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(f, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load("/", f)
		if !errors.Is(err, config.ErrConfig) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: got %v, want ...%s...", tt.text, err, tt.want)
		}
	}
	c := config.Default()
	if err := c.Parse("f", []byte("[endpoint x]\nurl = http://127.0.0.1:1/\ntoken_file = /t\n")); err != nil {
		t.Errorf("a token over loopback: %v", err)
	}
}
