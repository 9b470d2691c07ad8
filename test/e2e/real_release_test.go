package e2e

import (
	"os"
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
	for _, f := range files {
		put(h, "/root/repo/"+filepath.Base(f), f)
	}
	h.Must("createrepo_c", "-q", "/root/repo")
	// Without its key on the host, or any other network than the lab's, nothing is trusted.
	conf := "[trust]\nrepo_gpgcheck = if-present\n"
	h.Write("/etc/almamigrate/almamigrate.conf", conf)
	args := []string{"migrate", "-y", "-q", "--repo", "baseos=file:///root/repo"}
	for _, x := range []*Host{h, twin} {
		put(x, "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", key[0])
		x.Must("touch", "-d", "2024-01-01", "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9", "/etc/pki/rpm-gpg")
	}
	h.code(0, args...)
	if got := h.Must("sh", "-c", "rpm -q almalinux-release almalinux-repos almalinux-gpg-keys; . /etc/os-release; echo $PRETTY_NAME"); !strings.Contains(got, "almalinux-release-9.3-1.el9.x86_64") || !strings.Contains(got, "AlmaLinux 9.3") {
		t.Errorf("not AlmaLinux 9.3: %s", got)
	}
	if r := h.Run("rpm", "-V", "almalinux-release", "almalinux-repos", "almalinux-gpg-keys"); r.Stdout != "" {
		t.Errorf("rpm -V: %s", r.Stdout)
	}
	if got := h.Must("rpm", "-q", "gpg-pubkey"); !strings.Contains(got, "gpg-pubkey-b86b3716-61e69f29") {
		t.Errorf("AlmaLinux's key is not imported: %s", got)
	}
	h.code(0, "verify")
	h.code(0, "rollback", "-y", "-q")
	h.Must("rm", "-r", "/root/repo")
	mustEqual(t, "after the rollback", h, twin, true)
}
