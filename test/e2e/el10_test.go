package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// EL10 differs from its elders: the rpm database is in /usr/lib/sysimage/rpm,
// metadata is compressed with zstd, and there are no module streams. There and
// back, every package compared with dnf's distro-sync; ALMAMIGRATE_EL10=all
// takes every kind of host, and full migrations.
func TestEL10(t *testing.T) {
	lab(t)
	kinds, all := []string{"rocky"}, os.Getenv("ALMAMIGRATE_EL10") == "all"
	if all {
		kinds = append(kinds, "stream", "oracle", "rhel")
	}
	for _, distro := range kinds {
		t.Run(distro, func(t *testing.T) {
			h, twin := NewHost(t, distro, 10), NewHost(t, distro, 10)
			for _, x := range []*Host{h, twin} {
				x.Write("/etc/issue", "Property of Example Inc.\n")
				x.Must("touch", "-d", "2020-02-02", "/etc/issue")
			}
			repodata := filepath.Join(World(t), "www/almalinux/10/BaseOS/x86_64/os/repodata")
			if zst, _ := filepath.Glob(repodata + "/*-primary.xml.zst"); len(zst) != 1 {
				t.Fatalf("no metadata compressed with zstd in %s", repodata)
			}
			if r := h.code(0, "check"); !strings.Contains(r.Stdout, "READY") {
				t.Fatal(r.Stdout)
			}
			h.Must("test", "-s", "/usr/lib/sysimage/rpm/rpmdb.sqlite")
			h.code(0, "plan")
			h.code(0, "migrate", "-y", "-q")
			if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID $VERSION_ID $PLATFORM_ID; cat /etc/issue"); got != "almalinux 10.0 platform:el10\nProperty of Example Inc.\n" {
				t.Errorf("os-release and /etc/issue say %s", got)
			}
			if got := h.Must("rpm", "-qf", "/etc/os-release", "/etc/yum.repos.d/almalinux-baseos.repo", "/etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-10", "--qf", "%{NAME} "); got != "almalinux-release almalinux-repos almalinux-gpg-keys " {
				t.Errorf("owners: %s", got)
			}
			// The host's own dnf takes AlmaLinux's repositories for what they are.
			if got := h.Must("sh", "-c", "dnf -q repolist --enabled | grep -o '^\\(baseos\\|appstream\\|extras\\)\\b' | sort | tr '\\n' ' '; dnf -q repoquery --available --qf '%{reponame}' almalinux-release"); got != "appstream baseos extras baseos\n" {
				t.Errorf("dnf: %s", got)
			}
			if r := h.code(0, "verify"); !strings.Contains(r.Stdout, "all 3 enabled AlmaLinux repositories answer") {
				t.Errorf("verify: %s", r.Stdout)
			}
			h.code(0, "rollback", "-y", "-q")
			mustEqual(t, "after the rollback", h, twin, true)
			if !all {
				return
			}
			want := afterSync(h.DistroSync())
			h.code(0, "migrate", "--full", "-y", "-q")
			compareSets(t, want, h.packageSet(), exceptions(distro))
			h.code(0, "verify")
			h.code(0, "rollback", "-y", "-q")
			mustEqual(t, "after the rollback of all packages", h, twin, true)
		})
	}
}
