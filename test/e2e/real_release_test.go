package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// A look-alike host takes the real almalinux-release, -repos and -gpg-keys 9.3,
// verified against the key whose fingerprint is compiled in, and gives them
// back.
func TestRealAlmaLinuxRelease(t *testing.T) {
	lab(t)
	data := realdata.Dir(t)
	files, err := filepath.Glob(filepath.Join(data, "rpms/almalinux9/almalinux-*-latest-9.x86_64.rpm"))
	if err != nil || len(files) != 3 {
		t.Fatalf("packages: %v %v", files, err)
	}
	key, err := filepath.Glob(filepath.Join(data, "keys/*/RPM-GPG-KEY-AlmaLinux-9"))
	if err != nil || len(key) == 0 {
		t.Skipf("SKIPPED: the shared data has no RPM-GPG-KEY-AlmaLinux-9: %v", err)
	}
	h, twin := NewHost(t, "rocky", 9), NewHost(t, "rocky", 9)
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
		dir := filepath.Join(www, "alma/9", repo, "x86_64/os")
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
		put(x, "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", key[0])
		x.Must("touch", "-d", "2024-01-01", "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", "/etc/pki/rpm-gpg")
	}
	h.code(0, args...)
	if got := h.Must("sh", "-c", "rpm -q almalinux-release almalinux-repos almalinux-gpg-keys; . /etc/os-release; echo $PRETTY_NAME"); !strings.Contains(got, "almalinux-release-9.3-1.el9.x86_64") || !strings.Contains(got, "AlmaLinux 9.3") {
		t.Errorf("not AlmaLinux 9.3: %s", got)
	}
	if r := h.Run("sh", "-c", "rpm -V almalinux-release almalinux-repos almalinux-gpg-keys | grep -v '^S.5....T.  c /etc/yum.repos.d/'"); r.Stdout != "" {
		t.Errorf("rpm -V: %s", r.Stdout)
	}
	if got := h.Must("rpm", "-q", "gpg-pubkey"); !strings.Contains(got, "gpg-pubkey-b86b3716-61e69f29") {
		t.Errorf("AlmaLinux's key is not imported: %s", got)
	}
	if r := h.code(0, "verify"); !strings.Contains(r.Stdout, "all 3 enabled AlmaLinux repositories answer") {
		t.Errorf("verify: %s", r.Stdout)
	}
	if got := h.Must("dnf", "-q", "repoquery", "--repo", "baseos,appstream,extras", "--qf", "%{name} ", "almalinux*"); strings.Count(got, "almalinux-") != 3 {
		t.Errorf("dnf does not find them at the mirror: %s", got)
	}
	h.code(0, "rollback", "-y", "-q")
	mustEqual(t, "after the rollback", h, twin, true)
}
