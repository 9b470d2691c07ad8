package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
)

// local loads the catalogue of a root with one file of its own.
func local(t *testing.T, text string) (*catalog.Catalog, error) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, catalog.Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "10-own.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "20-old.conf.rpmsave"), []byte("[nonsense]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return catalog.Load(root)
}

func TestOverride(t *testing.T) {
	c, err := local(t, `
[key 00112233445566778899AABBCCDDEEFF00112233]
owner = acme
kind = third-party
majors = *
ids = ccddeeff00112233
[key FF8AD1344597106ECE813B918A3872BF3228467C]
owner = epel-renamed
kind = third-party
majors = 9
ids = 8a3872bf3228467c
[distro acme]
title = Acme Linux
ids = acme
release = acme-release
owners = acme
[branding acme 9]
identity = acme-release
acme-release = swap almalinux-release | ours
[branding centos 8]
centos-logos = drop | no art
acme-* = drop | ours
[repo acme-extra 9]
path = acme
enabled = yes
[repo crb 9]
name = CRB, moved
path = CRB2
[repomap acme-extra 9]
ids = acme-extra
[repomap crb 9]
ids = acme-devel
[streams]
acme = rhel
[downgrade]
acme* = blocker | because
[urls]
baseurl = http://mirror.acme/{path}/$basearch/
`)
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := c.KeyByID("ccddeeff00112233"); !ok || k.Owner != "acme" || k.Pinned {
		t.Errorf("%+v", k)
	}
	if k, ok := c.KeyByID("8a3872bf3228467c"); !ok || k.Owner != "epel-renamed" {
		t.Errorf("%+v", k)
	}
	if !c.Owns("acme", "acme") {
		t.Error("Owns")
	}
	if r, ok := c.Branding("centos", 8, "centos-logos"); !ok || r.Action != catalog.Drop {
		t.Errorf("%+v", r)
	}
	if r, ok := c.Branding("centos", 8, "acme-tool"); !ok || r.Why != "ours" {
		t.Errorf("%+v", r)
	}
	if r, ok := c.Branding("centos", 8, "centos-indexhtml"); !ok || r.Action != catalog.Swap {
		t.Errorf("the built-in rules are gone: %+v", r)
	}
	if to, _ := c.MapRepo("acme", 9, "acme-devel"); to != "crb" {
		t.Errorf("acme-devel maps to %q", to)
	}
	if c.MapStream("acme") != "rhel" {
		t.Error("MapStream")
	}
	if _, sev, _ := c.DowngradeRisk("acme-db"); sev != "blocker" {
		t.Error("DowngradeRisk")
	}
	seen := 0
	for _, r := range c.TargetRepos(9, "x86_64") {
		if r.ID == "crb" || r.ID == "acme-extra" {
			seen++
		}
		if r.ID == "crb" && r.URL() != "http://mirror.acme/CRB2/x86_64/" {
			t.Errorf("crb is at %s", r.URL())
		}
	}
	if seen != 2 {
		t.Errorf("%d of crb and acme-extra", seen)
	}
	for _, r := range c.TargetRepos(10, "x86_64") {
		if r.ID == "crb" && r.Path != "CRB" {
			t.Error("crb of 10 changed as well")
		}
	}
}

// A file in an image must not be able to say whom to trust.
func TestTrustIsNotOverridden(t *testing.T) {
	for name, text := range map[string]string{
		"a pinned key":            "[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=acme\nkind=distro\nids=ccddeeff00112233\npinned=yes\n",
		"a key of AlmaLinux's":    "[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=almalinux\nkind=distro\nids=ccddeeff00112233\n",
		"an edit of a pinned key": "[key BF18AC2876178908D6E71267D36CB86CB86B3716]\nowner=epel\nkind=third-party\nids=d36cb86cb86b3716\n",
		"a stolen key id":         "[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=acme\nkind=distro\nids=d36cb86cb86b3716\n",
		"AlmaLinux's owners":      "[distro almalinux]\nowners = almalinux acme\n",
	} {
		if _, err := local(t, text); !errors.Is(err, catalog.ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadData(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"nonsense\n", "10-own.conf:1: setting outside of any [section]"},
		{"[nonsense]\n", "10-own.conf:1: unknown section [nonsense]"},
		{"[key 123]\n", `:1: "123" is not a fingerprint`},
		{"[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=a\nkind=odd\nids=ccddeeff00112233\n", "kind must be"},
		{"[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=a\nkind=sig\nids=xyz\n", `key id "xyz"`},
		{"[key 00112233445566778899AABBCCDDEEFF00112233]\nowner=a\nexpires=soon\n", `:3: expires`},
		{"[distro a]\ncolour=red\n", `:2: unknown key "colour"`},
		{"[branding centos eight]\n", `"eight" is not an EL major`},
		{"[branding centos 8]\nx = drop\n", ":2: x: a reason is missing"},
		{"[branding centos 8]\nx = swap | why\n", "expected swap NAME"},
		{"[branding centos 8]\nx[ = drop | why\n", "is not a pattern"},
		{"[branding nobody 8]\nx = drop | why\n", "no such distribution"},
		{"[repo a 8]\npath = ../x\n", "needs a plain path"},
		{"[repo a 8]\npath = x\nenabled = perhaps\n", "neither yes nor no"},
		{"[repomap nowhere 8]\nids = a\n", "no such repository"},
		{"[downgrade]\nx = maybe | why\n", "expected blocker or warning"},
		{"[streams]\na = b\na = c\n", ":3:"},
		{"no section\n", "10-own.conf"},
	} {
		_, err := local(t, tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want ...%s...", tt.text, err, tt.want)
		}
	}
}
