package target_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func el8(arch string, repos ...inventory.Repo) *inventory.Inventory {
	return &inventory.Inventory{Host: inventory.Host{Distro: inventory.CentOS, Major: 8, Arch: arch}, Repos: repos}
}

func load(t *testing.T) *catalog.Catalog {
	t.Helper()
	cat, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

func TestSuppliers(t *testing.T) {
	inv := el8("x86_64",
		inventory.Repo{ID: "elrepo", Enabled: true, Mirrorlist: "http://mirrors.elrepo.org/mirrors-elrepo.el8", Options: map[string]string{"proxy": "http://proxy:3128"}},
		inventory.Repo{ID: "elrepo-testing", Enabled: true, BaseURLs: []string{"http://no"}},
		inventory.Repo{ID: "centos-kmods", BaseURLs: []string{"http://kmods"}})
	opt := target.Options{Transport: reposync.Repo{SSLClientCert: "/etc/pki/secret.pem", SSLCACert: "/etc/pki/ca.pem", Username: "me", Password: "x", ProxyUsername: "p"}}
	plan := target.Suppliers(load(t), inv, opt)
	if len(plan) != 2 || plan[0].ID != "centos-kmods" || plan[1].ID != "elrepo" {
		t.Fatalf("%+v", plan)
	}
	k, e := plan[0], plan[1]
	if k.Enabled || len(k.Host) != 1 || k.URL != "https://mirror.stream.centos.org/SIGs/8/kmods/x86_64/packages-main/" {
		t.Errorf("the SIG's: %+v", k)
	}
	if !e.Enabled || len(e.Host) != 0 || e.Source.Mirrorlist == "" || len(e.Source.BaseURLs) > 0 || e.Source.Proxy != "http://proxy:3128" || len(e.MappedFrom) != 1 {
		t.Errorf("ELRepo: %+v", e)
	}
	for _, p := range plan {
		if s := p.Source; s.SSLClientCert != "" || s.SSLCACert != "" || s.Username != "" || s.Password != "" || s.ProxyUsername != "p" {
			t.Errorf("%s gets what is for AlmaLinux's mirror: %+v", p.ID, s)
		}
		if p.Key {
			t.Errorf("%s: there is no key", p.ID)
		}
	}
	opt.Repos = map[string]string{"elrepo": "file:///srv/elrepo"}
	if u := target.Suppliers(load(t), inv, opt)[1].Source; u.Mirrorlist != "" || u.BaseURLs[0] != "file:///srv/elrepo" {
		t.Errorf("--repo elrepo: %+v", u)
	}
	// An address for ELRepo is no AlmaLinux repository, and leaves AlmaLinux's in.
	opt.OnlyRepos = true
	sel, err := target.Select(load(t), inv, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, p := range sel {
		ids[p.ID] = true
	}
	if ids["elrepo"] || !ids["baseos"] {
		t.Errorf("AlmaLinux's: %v", ids)
	}
}

// TestRealSupplier fetches the Kmods SIG's repository of EL 8, whose metadata is
// signed. That a key is on the host says nothing of whose it is: only the
// catalogue's fingerprint makes the signature count.
func TestRealSupplier(t *testing.T) {
	dir := realdata.Dir(t)
	key, err := os.ReadFile(filepath.Join(dir, "keys", "centos", "RPM-GPG-KEY-CentOS-SIG-Kmods"))
	if err != nil {
		t.Fatal(err)
	}
	inv := el8("aarch64")
	opt := target.Options{Repos: map[string]string{"centos-kmods": "file://" + filepath.Join(dir, "repodata", "centos8-kmods-sig-aarch64")}}
	for name, tc := range map[string]struct {
		keys []inventory.Key
		want string
	}{
		"no key":        {nil, "none"},
		"the SIG's key": {[]inventory.Key{{Fingerprint: "48EF712EC5DDB68B5280BE455B8E1A767AE06D54", Armored: string(key)}}, "good 5b8e1a767ae06d54"},
		"named so":      {[]inventory.Key{{Fingerprint: "48EF712EC5DDB68B5280BE455B8E1A767AE06D54", Owner: "centos-sig-kmods", Armored: otherKey(t, dir)}}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			inv.Keys = tc.keys
			s, err := reposync.New(reposync.Options{CacheDir: t.TempDir(), MaxAge: time.Hour, Retries: -1})
			if err != nil {
				t.Fatal(err)
			}
			var plan []target.PlannedSupplier
			for _, p := range target.Suppliers(load(t), inv, opt) {
				if p.ID == "centos-kmods" {
					plan = append(plan, p)
				}
			}
			got, err := target.FetchSuppliers(t.Context(), s, plan)
			if err != nil || len(got) != 1 || got[0].Err != nil {
				t.Fatalf("%v %+v", err, got)
			}
			if d := cmp.Diff(tc.want, got[0].Signature); d != "" || got[0].Index.Len() != 111 {
				t.Errorf("%d packages; %s", got[0].Index.Len(), d)
			}
			if len(got[0].Index.WhatProvides("kmod(3w-9xxx.ko)")) == 0 {
				t.Error("no 3w-9xxx")
			}
			_ = got[0].Index.Close()
		})
	}
	// What cannot be had is said, and is no error of the run.
	opt.Repos["centos-kmods"] = "file:///nonexistent"
	s, err := reposync.New(reposync.Options{CacheDir: t.TempDir(), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := target.FetchSuppliers(t.Context(), s, target.Suppliers(load(t), inv, opt)[:1])
	if err != nil || got[0].Err == nil || got[0].Index != nil || !strings.Contains(got[0].Err.Error(), "nonexistent") {
		t.Errorf("%v %+v", err, got)
	}
}

func otherKey(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "keys", "centos", "RPM-GPG-KEY-CentOS-Official"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
