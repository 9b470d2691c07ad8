package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// settings are what an administrator made of a host. The variables are of the
// release packages: one is used by a repository that stays, one by none.
const settings = `set -e
echo 'Property of Example Inc.' > /etc/issue
echo 'Property of Example Inc., by net' > /etc/issue.net
echo 'exclude=webserver almalinux-logos-httpd' >> /etc/dnf/dnf.conf
printf '# held by ops\nacl-0:*\n%s-logos-httpd-*\n' "$1" > /etc/dnf/plugins/versionlock.list
echo site-7 > /etc/dnf/vars/site
printf '[site]\nname=Site\nbaseurl=http://site.invalid/$site/$contentdir/\nenabled=0\n' > /etc/yum.repos.d/site.repo
[ ! -e /etc/dnf/vars/contentdir ] || echo edited/content > /etc/dnf/vars/contentdir
mkdir -p /etc/alternatives /var/lib/alternatives
printf 'manual\n/usr/bin/lab-editor\n\n/usr/bin/true\n10\n' > /var/lib/alternatives/lab-editor
ln -s /usr/bin/true /etc/alternatives/lab-editor; ln -s /etc/alternatives/lab-editor /usr/bin/lab-editor
touch -h -d 2020-02-02 /etc/issue* /etc/dnf/dnf.conf /etc/dnf/plugins/versionlock.list /etc/dnf/vars/* /etc/yum.repos.d/site.repo /var/lib/alternatives/lab-editor \
  /etc/alternatives/lab-editor /usr/bin/lab-editor /etc/alternatives /var/lib/alternatives /usr/bin
`

// carried are the files that settings makes, which a migration leaves as they
// are.
var carried = []string{
	"/etc/issue", "/etc/issue.net", "/etc/dnf/dnf.conf", "/etc/dnf/plugins/versionlock.list", "/etc/dnf/vars/site", "/etc/dnf/vars/contentdir",
	"/etc/yum.repos.d/site.repo", "/var/lib/alternatives/lab-editor", "/etc/alternatives/lab-editor", "/usr/bin/lab-editor",
}

// What an administrator set crosses the swap: alternatives, excludes, locks,
// variables of dnf, and the text of the login prompt. Excludes and locks that
// name packages of the swap do not stop it. ALMAMIGRATE_FULL=all: a full
// migration, too.
func TestMigrateFullAndCarry(t *testing.T) {
	lab(t)
	type kind struct {
		distro string
		major  int
		full   bool
	}
	kinds := []kind{{"rocky", 10, false}}
	if os.Getenv("ALMAMIGRATE_FULL") == "all" {
		kinds = append(kinds, kind{"centos", 8, true})
	}
	for _, k := range kinds {
		name := k.distro + map[bool]string{true: " full"}[k.full]
		t.Run(name, func(t *testing.T) {
			h, twin := NewHost(t, k.distro, k.major), NewHost(t, k.distro, k.major)
			for _, x := range []*Host{h, twin} {
				x.Must("bash", "-c", settings, "bash", k.distro)
			}
			carried := carried
			if k.major == 8 {
				// AlmaLinux 8 has this file, too, and not as configuration: its own comes, and the edited one is kept aside.
				carried = slices.DeleteFunc(slices.Clone(carried), func(f string) bool { return strings.HasSuffix(f, "/contentdir") })
			}
			before := h.describe(carried, false)
			if k.full {
				h.code(0, full("-y")...)
			} else {
				h.code(0, "migrate", "-y", "-q")
			}
			if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID"); got != "almalinux\n" {
				t.Errorf("os-release says %s", got)
			}
			after := h.describe(carried, false)
			for _, f := range carried {
				if before[f] != after[f] || strings.HasSuffix(after[f], "absent") {
					t.Errorf("%s was not carried over:\n  was %s\n  is  %s", f, before[f], after[f])
				}
			}
			// dnf reads them as it did: the variables, the exclude, the lock.
			if got := h.Must("sh", "-c", "dnf -q repolist -v --repo site 2>/dev/null | grep -o 'http://site.*' || dnf config-manager --dump site | grep -o 'http://site.*'"); !strings.HasPrefix(got, "http://site.invalid/site-7/"+map[int]string{8: "almalinux", 10: "edited/content"}[k.major]+"/") {
				t.Errorf("the repository of the site is at %s", got)
			}
			if got := h.Must("sh", "-c", "dnf -q repoquery --available webserver; dnf -q versionlock list 2>/dev/null | head -1"); strings.Contains(got, "webserver") {
				t.Errorf("the exclude is lost: %s", got)
			}
			r := h.code(0, "verify")
			if k.full {
				if got := h.Must("cat", "/etc/dnf/vars/contentdir.rpmsave"); got != "edited/content\n" || !strings.Contains(r.Stdout, "/etc/dnf/vars/contentdir.rpmsave") {
					t.Errorf("the edited variable: %q\n%s", got, r.Stdout)
				}
				if got := h.Must("rpm", "-q", "acl", "webserver"); got != twin.Must("rpm", "-q", "acl", "webserver") {
					t.Errorf("held packages moved: %s", got)
				}
			}
			h.code(0, "rollback", "-y", "-q")
			mustEqual(t, "after the rollback", h, twin, true)
		})
	}
}
