package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostFindings runs a script and then a check in a host, and returns the
// findings about the host around the packages.
func hostFindings(t *testing.T, h *Host, script string) []string {
	t.Helper()
	h.Write("/tmp.sh", script+"\nexec "+binary+" check --json --cache-dir /run/cache\n")
	r := h.Run("bash", "/tmp.sh")
	var doc struct {
		Findings []struct {
			ID, Severity, Title string
			Resources           []struct{ Name, Detail string }
		}
		Skipped []struct{ What, Reason string }
		Space   []struct{ Mount string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &doc); err != nil {
		t.Fatalf("exit code %d: %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	if len(doc.Skipped) > 0 {
		t.Errorf("skipped %v", doc.Skipped)
	}
	if len(doc.Space) == 0 {
		t.Error("no needs of space")
	}
	out := []string{}
	for _, f := range doc.Findings {
		area, _, _ := strings.Cut(f.ID, ".")
		if slices.Contains([]string{"host", "boot", "space", "fs", "panel", "mgmt"}, area) {
			out = append(out, f.Severity+" "+f.ID)
			t.Log(f.Severity, f.ID, f.Title, fmt.Sprint(f.Resources))
		}
	}
	return out
}

// TestPlainHost: nothing around the packages of a plain host is an alarm.
func TestPlainHost(t *testing.T) {
	lab(t)
	for _, c := range []struct {
		distro string
		major  int
		more   []string
	}{{"centos", 8, nil}, {"stream", 9, nil}, {"oracle", 8, nil}, {"rhel", 9, []string{"info mgmt.subscription"}}} {
		t.Run(c.distro, func(t *testing.T) {
			got := hostFindings(t, NewHost(t, c.distro, c.major), "")
			if d := cmp.Diff(append([]string{"info fs.overlay-root"}, c.more...), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestTroubledHost: real mounts, locks and attributes are seen, and the check
// leaves them as they are.
func TestTroubledHost(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	got := hostFindings(t, h, `
mkdir -p /etc/pki/consumer /usr/local/psa /etc/salt/minion.d
touch /etc/pki/consumer/cert.pem
echo "18.0.20 CentOS 8" > /usr/local/psa/version
echo "master: uyuni.example.org" > /etc/salt/minion.d/susemanager.conf
mount --bind /usr/share /usr/share && mount -o remount,bind,ro /usr/share
mkdir -p /var/lib/almamigrate && mount -t tmpfs -o size=1m x /var/lib/almamigrate
python3 -c 'import fcntl,time
f=open("/var/lib/rpm/.rpm.lock","a+"); fcntl.lockf(f,fcntl.LOCK_EX); open("/run/locked","w"); time.sleep(60)' &
while [ ! -e /run/locked ]; do sleep 0.05; done
`)
	want := []string{
		"blocker fs.read-only", "blocker panel.too-old", "blocker space.short",
		"warning host.package-manager-running", "warning mgmt.uyuni",
		"info fs.overlay-root", "info mgmt.subscription",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestImmutableHost: chattr is seen, where the file system has it.
func TestImmutableHost(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	if r := h.Run("sh", "-c", "chattr +i /usr/lib/os-release && lsattr /usr/lib/os-release | grep -q i; rc=$?; chattr -i /usr/lib/os-release; exit $rc"); r.Code != 0 {
		t.Skipf("SKIPPED: no chattr in this lab: %s", r.Stderr)
	}
	got := hostFindings(t, h, "chattr +i /usr/lib/os-release /etc/passwd")
	h.Must("chattr", "-i", "/usr/lib/os-release", "/etc/passwd")
	if d := cmp.Diff([]string{"blocker fs.immutable", "warning fs.immutable", "info fs.overlay-root"}, got); d != "" {
		t.Error(d)
	}
}
