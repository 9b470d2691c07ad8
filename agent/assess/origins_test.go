package assess_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

func init() {
	for _, f := range []struct {
		name    string
		change  func(*world)
		want    []string
		verdict assess.Verdict
	}{
		{"the same address", func(w *world) { w.vendor("https://acme.example/el/$releasever_major/$basearch") }, []string{}, assess.Ready},
		{"another address", func(w *world) { w.vendor("https://acme.example/el/$releasever/$basearch") }, []string{"info repo.address-changes"}, assess.Ready},
		{"another content folder", func(w *world) {
			w.inv.DNF.Vars = map[string]string{"contentdir": "centos"}
			w.vendor("https://acme.example/$contentdir/")
		}, []string{"info repo.address-changes"}, assess.Ready},
		{"an address that is dead", func(w *world) {
			w.vendor("https://acme.example/el/$releasever/$basearch")
			w.probes = map[string]assess.Probe{"acme": {Err: errors.New("not found")}}
		}, []string{"warning repo.dead"}, assess.ReadyWithWarnings},
		{"an address that answers", func(w *world) {
			w.vendor("https://acme.example/el")
			w.probes = map[string]assess.Probe{"acme": {Answered: "https://acme.example/el"}}
		}, []string{}, assess.Ready},
		{"no key", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].GPGKeys, w.inv.Repos[1].NoKeyFiles = []string{"file:///etc/pki/acme"}, []string{"/etc/pki/acme"}
		},
			[]string{"warning repo.key-missing"}, assess.ReadyWithWarnings},
		{"no key of two repositories", func(w *world) {
			w.vendor("https://acme.example/el")
			w.vendor("https://acme.example/source")
			for i := 1; i < 3; i++ {
				w.inv.Repos[i].ID = fmt.Sprintf("acme-%d", i)
				w.inv.Repos[i].GPGKeys, w.inv.Repos[i].NoKeyFiles = []string{"file:///etc/pki/acme"}, []string{"/etc/pki/acme"}
			}
		},
			[]string{"warning repo.key-missing"}, assess.ReadyWithWarnings},
		{"a key in a place of its own", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].GPGKeys = []string{"file:///opt/acme/key"} // and nothing of it could be read as a key
		}, []string{}, assess.Ready},
		{"no key is named", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].GPGKeys = nil
		}, []string{}, assess.Ready},
		{"a key that goes and that was imported", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].GPGKeys = []string{"file:///etc/pki/rpm-gpg/RPM-GPG-KEY-old"}
			w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "00", Source: "/etc/pki/rpm-gpg/RPM-GPG-KEY-old"}, inventory.Key{Fingerprint: "00", Source: "rpmdb"})
			w.install("centos", pkg("centos-gpg-keys-8-3.el8.noarch", files("/etc/pki/rpm-gpg/RPM-GPG-KEY-old")))
		}, []string{}, assess.Ready},
		{"a key that goes", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].GPGKeys = []string{"file:///etc/pki/rpm-gpg/RPM-GPG-KEY-old"}
			w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "00", Source: "/etc/pki/rpm-gpg/RPM-GPG-KEY-old"})
			w.install("centos", pkg("centos-gpg-keys-8-3.el8.noarch", files("/etc/pki/rpm-gpg/RPM-GPG-KEY-old")))
		}, []string{"warning repo.key-missing"}, assess.ReadyWithWarnings},
		{"EPEL without PowerTools", func(w *world) { w.vendor("https://acme.example/el"); w.inv.Repos[1].ID = "epel" }, []string{"info repo.epel-needs"}, assess.Ready},
		{"EPEL with PowerTools", func(w *world) {
			w.vendor("https://acme.example/el")
			w.inv.Repos[1].ID = "epel"
			w.repo("powertools").Enabled = true
		}, []string{}, assess.Ready},
	} {
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{"origins: " + f.name, f.change, f.want, f.verdict})
	}
}

// vendor adds an enabled repository of another vendor, acme, with a key on the host.
func (w *world) vendor(url string) {
	w.inv.DNF.ReleaseVer = "8.5"
	w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "94E279EB8D8F25B21810ADF121EA45AB2F86D6A1", Owner: "epel", Source: epelFile})
	w.inv.Repos = append(w.inv.Repos, inventory.Repo{
		ID: "acme", Name: "ACME", File: "/etc/yum.repos.d/acme.repo", Enabled: true, GPGCheck: true, GPGKeys: []string{"file://" + epelFile},
		BaseURLs: []string{inventory.Substitute(url, inventory.RepoVariables(w.inv))}, Written: []string{url},
	})
}

// TestOriginsReleaseParts is EPEL 10 on CentOS Stream 10, which has no minor
// releases: on AlmaLinux its address is that of one, the newest.
func TestOriginsReleaseParts(t *testing.T) {
	w := newWorld(t)
	w.vendor("https://acme.example/epel$releasever_major${releasever_minor:+.$releasever_minor}/")
	w.inv.DNF.ReleaseVer = "8"
	w.inv.Repos[1].BaseURLs = []string{"https://acme.example/epel8/"}
	w.drop("baseos", "almalinux-release")
	for _, minor := range []string{"9", "10", "7"} {
		w.carry("baseos", pkg("almalinux-release-8."+minor+"-1.el8.x86_64", provides("system-release = 8."+minor, "centos-release = 8.10", "system-release(releasever) = 8", "system-release(releasever_major) = 8", "system-release(releasever_minor) = "+minor)))
	}
	w.probes = map[string]assess.Probe{}
	o := w.assess().Origins.Repos[0]
	if o.Address != "other" || o.After[0] != "https://acme.example/epel8.10/" {
		t.Errorf("%+v", o)
	}
}

// TestOriginsAsked does not send away to ask what was asked.
func TestOriginsAsked(t *testing.T) {
	for want, p := range map[string]assess.Probe{
		"It answers there.": {Answered: "https://acme.example/el/8"}, "It was not asked: --offline.": {Unasked: "--offline"},
	} {
		w := newWorld(t)
		w.vendor("https://acme.example/el/$releasever")
		w.probes = map[string]assess.Probe{"acme": p}
		f := finding(t, w.assess(), "repo.address-changes")
		if !strings.Contains(f.Detail, want) || (p.Err == nil && p.Unasked == "") != (f.Remedy.Command == "") {
			t.Errorf("%+v", f)
		}
	}
}

// TestOriginsUnknown keeps the packages of several unknown signers apart.
func TestOriginsUnknown(t *testing.T) {
	w := newWorld(t)
	for i, id := range []string{"1111111111111111", "2222222222222222", "2222222222222222"} {
		w.install("", pkg(fmt.Sprintf("own%d-1-1.noarch", i)))
		w.last().Signature = inventory.Signature{Status: "good", KeyID: id}
	}
	w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "00", KeyIDs: []string{"2222222222222222"}, UserID: "In-house <root@example.org>", Source: "rpmdb"})
	w.probes = map[string]assess.Probe{}
	var got []string
	for _, g := range w.assess().Origins.Packages {
		got = append(got, fmt.Sprint(g.Packages, " ", g.From()))
	}
	if d := cmp.Diff([]string{"1 signed with the key 1111111111111111", "2 signed with the key In-house <root@example.org>"}, got); d != "" {
		t.Error(d)
	}
}

// TestOriginsKeys tells what dnf checks a vendor's packages with.
func TestOriginsKeys(t *testing.T) {
	const file = "/etc/pki/epel"
	for want, change := range map[string]func(r *inventory.Repo, w *world){
		"present":   func(*inventory.Repo, *world) {},
		"missing":   func(r *inventory.Repo, _ *world) { r.NoKeyFiles = []string{file} },
		"unchecked": func(r *inventory.Repo, _ *world) { r.GPGCheck = false },
		"remote":    func(r *inventory.Repo, _ *world) { r.GPGKeys = []string{"https://acme.example/key"} },
		"imported": func(r *inventory.Repo, w *world) {
			r.ID, r.NoKeyFiles = "epel", []string{file}
			w.install("epel", pkg("htop-1-1.el8.x86_64"))
			w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "94E279EB8D8F25B21810ADF121EA45AB2F86D6A1", KeyIDs: []string{w.last().Signature.KeyID}, Source: "rpmdb"})
		},
	} {
		w := newWorld(t)
		w.vendor("https://acme.example/el")
		r := &w.inv.Repos[1]
		r.GPGKeys = []string{"file://" + file}
		change(r, w)
		w.probes = map[string]assess.Probe{}
		if o := w.assess().Origins; len(o.Repos) != 1 || o.Repos[0].Key != want {
			t.Errorf("%s: %+v", want, o.Repos)
		}
	}
}

// The finding names the file: what to look for.
func TestMissingKeyIsNamed(t *testing.T) {
	w := newWorld(t)
	w.vendor("https://acme.example/el")
	w.inv.Repos[1].GPGKeys = []string{"https://acme.example/key", "file:/opt/acme/key"}
	w.inv.Repos[1].NoKeyFiles = []string{"/opt/acme/key"}
	f := finding(t, w.assess(), "repo.key-missing")
	if !slices.Contains(f.Resources, assess.Resource{Kind: "file", Name: "/opt/acme/key", Detail: "the key"}) {
		t.Errorf("%+v", f.Resources)
	}
}

// A key that several repositories name is missing once, and another one is
// another finding.
func TestMissingKeyIsOneFinding(t *testing.T) {
	w := newWorld(t)
	for i, key := range []string{"/opt/acme/key", "/opt/acme/key", "/opt/other/key", "/opt/acme/key"} {
		w.vendor("https://acme.example/el")
		r := &w.inv.Repos[len(w.inv.Repos)-1]
		r.ID = fmt.Sprintf("acme-%d", i)
		if i == 3 {
			r.File = "/etc/yum.repos.d/acme-more.repo"
		}
		r.GPGKeys, r.NoKeyFiles = []string{"file://" + key}, []string{key}
	}
	var got []string
	for _, f := range w.assess().Findings {
		if f.ID != "repo.key-missing" {
			continue
		}
		text := f.Title + ":"
		for _, r := range f.Resources {
			text += " " + r.Name
		}
		got = append(got, text)
		if strings.Contains(f.Title, "3 repositories") != strings.Contains(f.Detail, "Their definitions name a key file") {
			t.Errorf("%s: %s", f.Title, f.Detail)
		}
	}
	slices.Sort(got)
	want := []string{
		"the key of 3 repositories is not on the host after the move: /etc/yum.repos.d/acme-more.repo /etc/yum.repos.d/acme.repo /opt/acme/key acme-0 acme-1 acme-3",
		"the key of the repository acme-2 is not on the host after the move: /etc/yum.repos.d/acme.repo /opt/other/key acme-2",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOrigins(t *testing.T) {
	w := newWorld(t)
	w.vendor("https://acme.example/el/$releasever")
	w.repos = append(w.repos, assess.TargetRepo{ID: "almalinux-synergy", Name: "Synergy", URL: "file:///synergy", Revision: "1", Signature: "good", FetchedAt: w.inv.Taken})
	w.install("epel", pkg("htop-3-1.el8.x86_64"), pkg("nginx-2-1.el8.x86_64"), pkg("btop-1-1.el8.x86_64"), pkg("ahead-2-1.el8.next.x86_64"), pkg("ahead-not-2-1.el8.nextcloud.x86_64"))
	w.install("almalinux", pkg("left-synergy-1-1.el8.x86_64"))
	w.install("", pkg("inhouse-1-1.noarch"))
	w.carry("appstream", pkg("nginx-3-1.el8.x86_64"))
	w.carry("almalinux-synergy", pkg("btop-2-1.el8.x86_64"))
	for i := range w.inv.Packages {
		switch p := &w.inv.Packages[i]; p.Name {
		case "bash":
			p.SourceRPM = "bash-4.4.20-1.el8.src.rpm"
		case "glibc":
			p.SourceRPM = "grub2-2.02-1.el8.src.rpm"
		case "htop":
			p.SourceRPM = "kernel-1-1.src.rpm" // another vendor's kernel is not AlmaLinux's
		}
	}
	if w.assess().Origins != nil {
		t.Error("a result that nobody asked for")
	}
	w.probes = map[string]assess.Probe{"acme": {Unasked: "--offline"}}
	o := w.assess().Origins
	if o == nil {
		t.Fatal("no result")
	}
	want := []assess.OriginRepo{{
		ID: "acme", File: "/etc/yum.repos.d/acme.repo", Address: "other", Before: []string{"https://acme.example/el/8.5"}, After: []string{"https://acme.example/el/8"},
		Probe: "unprobed", Detail: "--offline", Key: "present", Release: "none", Fate: "stays", FateWhy: "AlmaLinux leaves it as it is",
	}}
	if d := cmp.Diff(want, o.Repos); d != "" {
		t.Errorf("repos (-want +got):\n%s", d)
	}
	got := map[string]string{}
	for _, g := range o.Packages {
		n := 0
		for _, k := range g.States {
			n += k
		}
		if n != g.Packages {
			t.Errorf("%s: %d of %d packages have a state", g.Owner, n, g.Packages)
		}
		for _, x := range g.Notable {
			got[x.NEVRA] = x.State
		}
	}
	if d := cmp.Diff(map[string]string{"ahead-2-1.el8.next.x86_64": "unmaintained", "nginx-2-1.el8.x86_64": "superseded", "btop-1-1.el8.x86_64": "twice", "left-synergy-1-1.el8.x86_64": "moved"}, got); d != "" {
		t.Error(d)
	}
	if len(o.Modified) != 1 || o.Modified[0].Source != "grub2" || o.Modified[0].Packages != 1 || o.ModifiedSource == "" {
		t.Errorf("modified: %+v", o.Modified)
	}
}
