package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
)

func TestModuleRepos(t *testing.T) {
	c := load(t)
	for major, want := range map[int]string{7: "", 8: "centos-kmods elrepo", 9: "centos-kmods centos-kmods-rebuild elrepo", 10: "centos-kmods centos-kmods-rebuild elrepo"} {
		var got []string
		for _, r := range c.ModuleRepos(major, "x86_64") {
			got = append(got, r.ID)
			if r.Source == "" || r.Checked == "" || r.Owner == "" {
				t.Errorf("%s: no source, date or owner: %+v", r.ID, r)
			}
			if strings.Contains(r.BaseURL+r.Enable, "$") {
				t.Errorf("%s: a variable is left: %s; %s", r.ID, r.BaseURL, r.Enable)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("EL %d: %q, want %q", major, s, want)
		}
	}
	if r := c.ModuleRepos(9, "s390x"); len(r) > 0 {
		t.Errorf("s390x: %+v", r)
	}
	// The SIG's key is known and ELRepo's is not: neither is made up.
	for owner, want := range map[string]bool{"centos-sig-kmods": true, "elrepo": false} {
		if _, ok := c.OwnerKind(owner); ok != want {
			t.Errorf("key of %s known: %v, want %v", owner, ok, want)
		}
	}
	r := c.ModuleRepos(9, "aarch64")[0]
	if r.BaseURL != "https://mirror.stream.centos.org/SIGs/9/kmods/aarch64/packages-main/" || !r.Is("CentOS-Kmods") || r.Is("centos-kmods-debuginfo") {
		t.Errorf("%+v", r)
	}
}

// A host may have a mirror of its own of such a repository.
func TestModuleReposOfTheHost(t *testing.T) {
	with := func(text string) (*catalog.Catalog, error) {
		root := t.TempDir()
		dir := filepath.Join(root, catalog.Dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return catalog.Load(root)
	}
	c, err := with("[module-repo elrepo 8]\ntitle = ours\nbaseurl = http://mirror/$basearch\nids = elrepo ours-*\nenable = dnf config-manager --enable ours\n")
	if err != nil {
		t.Fatal(err)
	}
	for major, want := range map[int]string{8: "http://mirror/x86_64", 9: "https://elrepo.org/linux/elrepo/el9/x86_64/"} {
		n := 0
		for _, r := range c.ModuleRepos(major, "x86_64") {
			if r.ID == "elrepo" {
				n++
				if r.BaseURL != want {
					t.Errorf("EL %d: %s, want %s", major, r.BaseURL, want)
				}
			}
		}
		if n != 1 {
			t.Errorf("EL %d: %d times", major, n)
		}
	}
	for _, bad := range []string{
		"title = x\nids = x\nenable = x", "title = x\nids = [\nenable = x\nbaseurl = http://x/", "title = x\nids = x\nenable = x\nbaseurl = x", "what = x", "title = x\nids = x\nenable = x\nbaseurl = http://x/\nchecked = today",
	} {
		if _, err := with("[module-repo x 8]\n" + bad + "\n"); !errors.Is(err, catalog.ErrData) || !strings.Contains(err.Error(), "own.conf:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
