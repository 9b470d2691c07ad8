package e2e

import (
	"strings"
	"testing"
)

// makeHostile prepares /root/good, a small copy of AlmaLinux's BaseOS, and the
// repositories that nobody must fall for.
const makeHostile = `
set -e
cd /root
mkdir good
cp /mnt/world/www/almalinux/8/BaseOS/x86_64/os/Packages/almalinux-*.rpm good/
createrepo_c -q good
release=$(cd good; ls almalinux-release-8*.rpm)

# changed after it was indexed: one byte of the payload
cp -r good tampered-late
python3 - tampered-late/$release <<'P'
import sys
f = open(sys.argv[1], "r+b"); f.seek(-100, 2); b = f.read(1); f.seek(-100, 2); f.write(bytes([b[0] ^ 1]))
P

# changed before it was indexed: the repository vouches for it, the signature does not
cp -r tampered-late tampered-early; rm -rf tampered-early/repodata; createrepo_c -q tampered-early

# without a signature
cp -r good unsigned; rpmsign --delsign unsigned/$release >/dev/null; rm -rf unsigned/repodata; createrepo_c -q unsigned

# signed by somebody else, whose key even is in the rpm database: dnf would take it
export GNUPGHOME=/root/gnupg; mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key evil@lab.invalid rsa2048 sign never
gpg --batch --export --armor evil@lab.invalid > evil.asc; rpm --import evil.asc
cp -r unsigned foreign
rpmsign --define '_gpg_name evil@lab.invalid' --define '__gpg /usr/bin/gpg' --addsign foreign/$release >/dev/null
rm -rf foreign/repodata; createrepo_c -q foreign

# a newer one from elsewhere, beside the right repository
mkdir -p evil spec
cat > spec/r.spec <<'S'
Name: almalinux-release
Version: 99
Release: 1
Summary: x
License: x
BuildArch: noarch
Provides: system-release = 99, redhat-release = 99, centos-release = 99
%description
x
%files
S
rpmbuild -bb --quiet --define '_topdir /root/spec' --define '_rpmdir /root/evil' --define '_buildshell /bin/bash' spec/r.spec >/dev/null 2>&1
rpmsign --define '_gpg_name evil@lab.invalid' --define '__gpg /usr/bin/gpg' --addsign evil/noarch/*.rpm >/dev/null
createrepo_c -q evil

# names that lead out of the folder
cp -r good traversal; rm -rf traversal/repodata; createrepo_c -q --location-prefix ../../../../etc/ traversal
gpgconf --kill gpg-agent
`

// What must not be installed is refused before anything changes.
func TestHostileRepositories(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	if r := h.Do(Cmd{Args: []string{"bash"}, Stdin: makeHostile}); r.Code != 0 {
		t.Fatalf("cannot make the repositories: %s%s", r.Stdout, r.Stderr)
	}
	// The first run of all also makes overlayfs mark folders.
	h.code(0, "migrate", "--dry-run", "-q", "--repo", "baseos=file:///root/good")
	for _, c := range []struct{ name, says string }{
		{"tampered-late", "does not match its digest"},
		{"tampered-early", "not acceptable as AlmaLinux's"},
		{"unsigned", "its signature is missing"},
		{"foreign", "its signature is unknown-key"},
		{"evil", "its signature is unknown-key"},
		{"traversal", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			args := []string{binary, "migrate", "-y", "-q", "--repo", "baseos=file:///root/" + c.name}
			if c.name == "evil" {
				args = append(args[:len(args)-1], "baseos=file:///root/good", "--repo", "evil=file:///root/evil")
			}
			before := Tree(t, h.Upper())
			r := h.Run(args...)
			for _, d := range Changes(before, Tree(t, h.Upper()), "/var/lib/almamigrate", "/var/cache/almamigrate", "/var/lib/dnf") {
				t.Error(d)
			}
			if r.Code != 13 {
				t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
			if !strings.Contains(r.Stderr, c.says) {
				t.Errorf("does not say %q: %s", c.says, r.Stderr)
			}
			if s := h.state(); s != "nothing" {
				t.Errorf("state %s", s)
			}
		})
	}
	h.t = t
	h.code(0, "migrate", "-y", "-q", "--repo", "baseos=file:///root/good")
	h.code(0, "rollback", "-y", "-q")
}
