package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// Look-alike hosts take the real almalinux-release 9.3 with -repos and
// -gpg-keys, and the real almalinux-release 8.9, which has all of it in one
// package and is signed by a subkey; verified against the keys whose
// fingerprints are compiled in. They give them back.
func TestRealAlmaLinuxRelease(t *testing.T) {
	lab(t)
	for _, c := range []struct {
		distro, major string
		packages      int
		nevra, pretty string
		key           string // as rpm notes it
	}{
		{"rocky", "9", 3, "almalinux-release-9.3-1.el9.x86_64", "AlmaLinux 9.3", "gpg-pubkey-b86b3716-61e69f29"},
		{"centos", "8", 1, "almalinux-release-8.9-1.el8.x86_64", "AlmaLinux 8.9", "gpg-pubkey-ced7258b-"},
	} {
		t.Run(c.distro+c.major, func(t *testing.T) { realRelease(t, c.distro, c.major, c.packages, c.nevra, c.pretty, c.key) })
	}
}

func realRelease(t *testing.T, distro, major string, packages int, nevra, pretty, imported string) {
	data := realdata.Dir(t)
	files, err := filepath.Glob(filepath.Join(data, "rpms/almalinux"+major+"/almalinux-*-latest-"+major+".x86_64.rpm"))
	if err != nil || len(files) != packages {
		t.Fatalf("packages: %v %v", files, err)
	}
	key, err := filepath.Glob(filepath.Join(data, "keys/*/RPM-GPG-KEY-AlmaLinux-"+major))
	if err != nil || len(key) == 0 {
		t.Skipf("SKIPPED: the shared data has no RPM-GPG-KEY-AlmaLinux-%s: %v", major, err)
	}
	n, err := strconv.Atoi(major)
	if err != nil {
		t.Fatal(err)
	}
	h, twin := NewHost(t, distro, n), NewHost(t, distro, n)
	put := func(h *Host, name, from string) {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(name, string(content))
	}
	// A mirror as in a network without a way out: mirrors.almalinux.org, which the real repository files name, is not to be reached.
	www := t.TempDir()
	for _, repo := range []string{"BaseOS", "AppStream", "extras"} {
		dir := filepath.Join(www, "alma", major, repo, "x86_64/os")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if data, err := os.ReadFile(f); err != nil || repo == "BaseOS" && os.WriteFile(filepath.Join(dir, filepath.Base(f)), data, 0o644) != nil {
				t.Fatal(f, err)
			}
		}
		if out, err := exec.Command("createrepo_c", "-q", dir).CombinedOutput(); err != nil {
			t.Fatalf("createrepo_c: %v\n%s", err, out)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(www)))
	defer server.Close()
	// Without its key on the host, or any other network than the lab's, nothing is trusted.
	conf := "[trust]\nrepo_gpgcheck = if-present\n"
	h.Write("/etc/almamigrate/almamigrate.conf", conf)
	args := []string{"migrate", "-y", "-q", "--mirror", server.URL + "/alma"}
	for _, x := range []*Host{h, twin} {
		put(x, "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-"+major, key[0])
		x.Must("touch", "-d", "2024-01-01", "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-"+major, "/etc/pki/rpm-gpg")
	}
	h.code(0, args...)
	if got := h.Must("sh", "-c", "rpm -qa 'almalinux-*'; . /etc/os-release; echo $PRETTY_NAME"); !strings.Contains(got, nevra) || strings.Count(got, "almalinux-") != packages || !strings.Contains(got, pretty) {
		t.Errorf("not %s: %s", pretty, got)
	}
	if r := h.Run("sh", "-c", "rpm -V $(rpm -qa 'almalinux-*') | grep -v '^S.5....T.  c /etc/yum.repos.d/'"); r.Stdout != "" {
		t.Errorf("rpm -V: %s", r.Stdout)
	}
	if got := h.Must("rpm", "-q", "gpg-pubkey"); !strings.Contains(got, imported) {
		t.Errorf("AlmaLinux's key is not imported: %s", got)
	}
	if r := h.code(0, "verify"); !strings.Contains(r.Stdout, "all 3 enabled AlmaLinux repositories answer") {
		t.Errorf("verify: %s", r.Stdout)
	}
	if got := h.Must("dnf", "-q", "repoquery", "--repo", "baseos,appstream,extras", "--qf", "%{name} ", "almalinux*"); strings.Count(got, "almalinux-") != packages {
		t.Errorf("dnf does not find them at the mirror: %s", got)
	}
	h.code(0, "rollback", "-y", "-q")
	mustEqual(t, "after the rollback", h, twin, true)
}
