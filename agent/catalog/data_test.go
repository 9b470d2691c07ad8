package catalog_test

import (
	"bufio"
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/pkg/ini"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

var (
	hexFingerprint = regexp.MustCompile(`^[0-9A-F]{40}$`)
	hexKeyID       = regexp.MustCompile(`^[0-9a-f]{16}$`)
	packageName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
)

func TestKeys(t *testing.T) {
	c := load(t)
	ids := map[string]string{}
	for _, k := range c.Keys() {
		if !hexFingerprint.MatchString(k.Fingerprint) {
			t.Errorf("%s: %q is no fingerprint", k.Owner, k.Fingerprint)
		}
		if k.KeyIDs[0] != strings.ToLower(k.Fingerprint[24:]) {
			t.Errorf("%s: the first key id %s is not the primary's", k.Fingerprint, k.KeyIDs[0])
		}
		for _, id := range k.KeyIDs {
			if !hexKeyID.MatchString(id) || ids[id] != "" {
				t.Errorf("%s: key id %q is bad, or also of %s", k.Fingerprint, id, ids[id])
			}
			ids[id] = k.Fingerprint
			if got, ok := c.KeyByID(strings.ToUpper(id)); !ok || got.Fingerprint != k.Fingerprint {
				t.Errorf("KeyByID(%s) = %v, %v", id, got, ok)
			}
		}
		if got, ok := c.KeyByFingerprint(strings.ToLower(k.Fingerprint)); !ok || got.Owner != k.Owner {
			t.Errorf("KeyByFingerprint(%s) = %v, %v", k.Fingerprint, got, ok)
		}
		if k.UserID == "" {
			t.Errorf("%s: no user id", k.Fingerprint)
		}
		if k.Pinned != (k.Owner == "almalinux") {
			t.Errorf("%s of %s: pinned is %v", k.Fingerprint, k.Owner, k.Pinned)
		}
		// An owner is one kind of signer only: the verdict on a package rests on it.
		if kind, _ := c.OwnerKind(k.Owner); kind != k.Kind {
			t.Errorf("%s is %s and %s", k.Owner, kind, k.Kind)
		}
	}
	if _, ok := c.KeyByID("0000000000000000"); ok {
		t.Error("an unknown key id is known")
	}
}

// The pinned keys, written down a second time on purpose: what packages are
// trusted for must not change with an edit of the data.
func TestPinned(t *testing.T) {
	c := load(t)
	for major, want := range map[int][]string{
		7:  nil,
		8:  {"5E9B8F5617B5066CE92057C3488FCF7C3ABB34F8", "BC5EDDCADF502C077F1582882AE81E8ACED7258B"},
		9:  {"BF18AC2876178908D6E71267D36CB86CB86B3716"},
		10: {"EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572"},
	} {
		if d := gocmp.Diff(want, c.PinnedFingerprints(major)); d != "" {
			t.Errorf("%d:\n%s", major, d)
		}
	}
	if k, ok := c.KeyByID("51d6647ec21ad6ea"); !ok || k.Owner != "almalinux" || k.Expires != "2024-01-12" {
		t.Errorf("the signing subkey of AlmaLinux 8: %+v", k)
	}
}

// Every key file at hand agrees with the catalogue: fingerprints, signing
// subkeys, and that no key of a known vendor is missing.
func TestKeysAgainstRealFiles(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "keys")
	c := load(t)
	owner := map[string]string{"alma": "almalinux", "redhat": "rhel", "oraclelinux": "oracle", "scientific-linux": "scientific"}
	files, err := filepath.Glob(filepath.Join(dir, "*/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	checked := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		keys, _ := rpmsig.ParseKeys(data)
		vendor := filepath.Base(filepath.Dir(f))
		for _, k := range keys {
			if k.Version != 4 {
				continue
			}
			checked++
			info, ok := c.KeyByFingerprint(k.Fingerprint)
			if !ok {
				t.Errorf("%s: %s (%s) is not in the catalogue", filepath.Base(f), k.Fingerprint, k.UserID)
				continue
			}
			if want := cmp.Or(owner[vendor], vendor); !strings.HasPrefix(info.Owner, want) {
				t.Errorf("%s: owner %s, want %s", filepath.Base(f), info.Owner, want)
			}
			got, want := slices.Sorted(slices.Values(info.KeyIDs)), slices.Sorted(slices.Values(k.KeyIDs))
			if d := gocmp.Diff(want, got); d != "" {
				t.Errorf("%s %s: key ids:\n%s", filepath.Base(f), k.Fingerprint, d)
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d keys compared", checked)
	}
	tsv, err := os.Open(filepath.Join(dir, "FINGERPRINTS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer tsv.Close()
	for s := bufio.NewScanner(tsv); s.Scan(); {
		f := strings.Split(s.Text(), "\t")
		if f[1] != "pub" {
			continue
		}
		if _, ok := c.KeyByFingerprint(f[2]); !ok {
			t.Errorf("%s of %s is not in the catalogue", f[2], f[0])
		}
	}
}

func TestBrandingData(t *testing.T) {
	c := load(t)
	release := map[int][]string{
		8:  {"almalinux-release", "epel-release"},
		9:  {"almalinux-release", "almalinux-repos", "almalinux-gpg-keys", "epel-release"},
		10: {"almalinux-release", "almalinux-repos", "almalinux-gpg-keys", "epel-release"},
	}
	release[7] = release[8]
	art := []string{"almalinux-backgrounds", "almalinux-logos", "almalinux-indexhtml", "almalinux-logos-ipa", "almalinux-logos-httpd"}
	for _, d := range c.Distros() {
		for _, major := range []int{7, 8, 9, 10} {
			for _, name := range c.Identity(d.Name, major) {
				if !packageName.MatchString(name) {
					t.Errorf("%s %d: identity %q is no package name", d.Name, major, name)
				}
				if _, ok := c.Branding(d.Name, major, name); !ok && d.Name != "almalinux" {
					t.Errorf("%s %d: nothing is said of identity package %s", d.Name, major, name)
				}
			}
			for _, r := range c.BrandingRules(d.Name, major) {
				if r.Why == "" || len(r.To) == 0 != (r.Action == catalog.Drop) {
					t.Errorf("%s %d: %+v", d.Name, major, r)
				}
				for _, to := range r.To {
					if !slices.Contains(release[major], to) && !slices.Contains(art, to) {
						t.Errorf("%s %d: %s is replaced by %s, which AlmaLinux %d does not have", d.Name, major, r.Package, to, major)
					}
				}
				if strings.HasPrefix(r.Package, "almalinux") {
					t.Errorf("%s %d: AlmaLinux's own %s goes", d.Name, major, r.Package)
				}
			}
		}
		// Every distribution with rules for a major says what its identity packages are.
		for _, major := range []int{7, 8, 9, 10} {
			if len(c.BrandingRules(d.Name, major)) > 0 && len(c.Identity(d.Name, major)) == 0 {
				t.Errorf("%s %d has rules but no identity packages", d.Name, major)
			}
		}
	}
}

func TestDistroData(t *testing.T) {
	c := load(t)
	owners := map[string]bool{}
	for _, k := range c.Keys() {
		owners[k.Owner] = true
	}
	for _, d := range c.Distros() {
		if d.Title == "" || len(d.IDs) == 0 || len(d.Release) == 0 || len(d.Owners) == 0 {
			t.Errorf("%+v is incomplete", d)
		}
		for _, o := range d.Owners {
			// The keys of these two are published on their own sites only.
			if !owners[o] && o != "miraclelinux" && o != "virtuozzo" {
				t.Errorf("%s: no key of owner %s", d.Name, o)
			}
		}
	}
	for _, tt := range []struct{ id, name, want string }{
		{"centos", "CentOS Linux", "centos"}, {"centos", "CentOS Stream", "centos-stream"}, {"rhel", "Red Hat Enterprise Linux Server", "rhel"},
		{"ol", "Oracle Linux Server", "oracle"}, {"rocky", "Rocky Linux", "rocky"}, {"almalinux", "AlmaLinux", "almalinux"}, {"debian", "Debian", ""}, {"", "", ""},
	} {
		if d, _ := c.DistroByOSRelease(tt.id, tt.name); d.Name != tt.want {
			t.Errorf("%s, %s: %q, want %q", tt.id, tt.name, d.Name, tt.want)
		}
	}
	if !c.Owns("centos-stream", "centos") || c.Owns("centos", "epel") || c.Owns("centos", "") || c.Owns("nobody", "centos") {
		t.Error("Owns")
	}
}

func TestTargetRepos(t *testing.T) {
	c := load(t)
	ids := func(major int, arch string, enabled bool) []string {
		var out []string
		for _, r := range c.TargetRepos(major, arch) {
			if !enabled || r.DefaultEnabled {
				out = append(out, r.ID)
			}
		}
		return out
	}
	if d := gocmp.Diff([]string{"appstream", "baseos", "extras"}, ids(9, "x86_64", true)); d != "" {
		t.Error(d)
	}
	if slices.Contains(ids(9, "aarch64", false), "rt") || !slices.Contains(ids(9, "x86_64", false), "rt") {
		t.Error("rt exists on x86_64 only")
	}
	if ids(7, "x86_64", false) != nil {
		t.Error("there is no AlmaLinux 7")
	}
	for _, r := range c.TargetRepos(8, "aarch64") {
		if r.ID == "ha" {
			got := []string{r.BaseURL, r.URL(), r.MirrorlistURL(), r.URLUnder("file:///srv/alma/")}
			want := []string{
				"https://repo.almalinux.org/almalinux/$releasever/HighAvailability/$basearch/os/",
				"https://repo.almalinux.org/almalinux/8/HighAvailability/aarch64/os/",
				"https://mirrors.almalinux.org/mirrorlist/8/ha",
				"file:///srv/alma/8/HighAvailability/aarch64/os/",
			}
			if d := gocmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}

// AlmaLinux's own repo files and the catalogue name the same repositories,
// at the same places.
func TestReposAgainstRealFiles(t *testing.T) {
	etc := filepath.Join(realdata.Dir(t), "host/etc-trees")
	c := load(t)
	for major, dirs := range map[int][]string{
		8: {"almalinux-release-latest-8.x86_64", "almalinux-release-synergy-latest-8.noarch"},
		9: {"almalinux-repos-latest-9.x86_64"},
	} {
		want := map[string][3]string{}
		for _, dir := range dirs {
			files, err := filepath.Glob(filepath.Join(etc, dir, "etc/yum.repos.d/*.repo"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %v, %v", dir, files, err)
			}
			for _, name := range files {
				// The base URLs are commented out there.
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				f, err := ini.Parse(name, strings.NewReader(strings.ReplaceAll(string(text), "# baseurl", "baseurl")))
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range f.Sections {
					if strings.HasSuffix(s.Name, "-source") || strings.Contains(s.Name, "-debug") {
						continue
					}
					get := func(k string) string { v, _ := s.Get(k); return v }
					enabled := get("enabled")
					if s.Name == "almalinux-synergy" {
						enabled = "0" // enabled by installing its release package
					}
					want[s.Name] = [3]string{get("baseurl"), get("mirrorlist"), enabled}
				}
			}
		}
		got := map[string][3]string{}
		for _, r := range c.TargetRepos(major, "x86_64") {
			if r.Package != "" && want[r.ID] == [3]string{} {
				continue // the file of its own package is not at hand
			}
			enabled := "0"
			if r.DefaultEnabled {
				enabled = "1"
			}
			got[r.ID] = [3]string{r.BaseURL, r.Mirrorlist, enabled}
		}
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("AlmaLinux %d:\n%s", major, d)
		}
		// Enabled on a host that is AlmaLinux already, each stands for itself.
		for id := range maps.Keys(want) {
			if id == "almalinux-synergy" {
				continue
			}
			if to, ok := c.MapRepo("almalinux", major, id); !ok || to != id {
				t.Errorf("%s maps to %q", id, to)
			}
		}
	}
}

func TestStreamsAndRisks(t *testing.T) {
	c := load(t)
	for in, want := range map[string]string{"ol8": "rhel8", "ol": "rhel", "ol9": "rhel9", "rhel8": "rhel8", "18": "18", "": ""} {
		if got := c.MapStream(in); got != want {
			t.Errorf("MapStream(%s) = %s, want %s", in, got, want)
		}
	}
	for name, want := range map[string]string{
		"postgresql-server": "blocker", "postgresql": "warning", "sssd-common": "warning", "ipa-server": "blocker", "glibc": "warning",
		"mariadb-server-utils": "blocker", "bash": "", "glib2": "", "": "",
	} {
		why, sev, ok := c.DowngradeRisk(name)
		if sev != want || ok != (want != "") || ok && why == "" {
			t.Errorf("DowngradeRisk(%s) = %q, %q, %v; want %q", name, why, sev, ok, want)
		}
	}
}
