package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/schemas"
)

// full are the flags of a full migration. The hosts of EL8 have a module stream
// that AlmaLinux does not have, which stops it unless somebody says otherwise.
func full(args ...string) []string {
	return append([]string{"migrate", "--full", "-q", "--override", "pkg.module-stream-missing", "--reason", "test"}, args...)
}

// installed lists what rpm says is there as NAME EVR.ARCH, but for keys and for
// the packages that say or show which distribution this is.
func (h *Host) packageSet() map[string]bool {
	h.t.Helper()
	out := map[string]bool{}
	for l := range strings.Lines(h.Must("rpm", "-qa", "--qf", `%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}.%{ARCH}\n`)) {
		if n, evr, _ := strings.Cut(strings.TrimSpace(l), " "); !identity(n) && !strings.HasPrefix(n, "gpg-pubkey") {
			out[n+" "+strings.TrimPrefix(evr, "0:")] = true
		}
	}
	return out
}

func identity(name string) bool {
	for _, p := range []string{"almalinux-", "centos-", "rocky-", "oraclelinux-", "oracle-", "redhat-"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return name == "epel-release"
}

// afterSync is what dnf's distro-sync would leave installed.
func afterSync(rows []SyncRow) map[string]bool {
	out := map[string]bool{}
	for _, r := range rows {
		switch {
		case identity(r.Name), r.Action == "remove", r.Action == "obsoleted":
		default:
			out[r.Name+" "+strings.TrimPrefix(r.To, "0:")] = true
		}
	}
	return out
}

func compareSets(t *testing.T, dnf, ours map[string]bool, except func(string) string) {
	t.Helper()
	for n := range dnf {
		if !ours[n] && except(n) == "" {
			t.Errorf("dnf's distro-sync would have %s", n)
		}
	}
	for n := range ours {
		if !dnf[n] && except(n) == "" {
			t.Errorf("dnf's distro-sync would not have %s", n)
		}
	}
}

// exceptions are where a full migration means to differ from distro-sync.
func exceptions(distro string) func(string) string {
	return func(n string) string {
		name, _, _ := strings.Cut(n, " ")
		switch {
		case strings.HasPrefix(name, "kernel"):
			return "a kernel of AlmaLinux's comes also where it is older, and no old one is removed for installonly_limit"
		case distro == "oracle" && slices.Contains([]string{"linux-firmware-core", "btrfs-progs"}, name):
			return "Oracle's own, taken out by the catalogue"
		case distro == "oracle" && slices.Contains([]string{"buildah", "podman", "runc", "libvirt-libs", "qemu-img"}, name):
			return "of module streams that Oracle calls ol8 and ol: dnf does not see AlmaLinux's rhel8 and rhel for them, the plan does"
		case distro == "stream" && (strings.HasPrefix(name, "openssl-fips-provider") || name == "epel-next-release"):
			return "CentOS Stream's own, taken out by the catalogue"
		case distro == "rhel" && slices.Contains([]string{"insights-client", "subscription-manager-rhsm-certificates"}, name):
			return "of Red Hat's services, taken out by the catalogue"
		}
		return ""
	}
}

// valid demands that a document is what its schema says.
func valid(t testing.TB, name, document string) {
	t.Helper()
	if err := schemas.Validate(t, strings.TrimSuffix(name, ".json"), []byte(document)); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// A full migration leaves the packages that dnf's distro-sync to AlmaLinux
// would leave, and a rollback the host that was. ALMAMIGRATE_FULL=all takes all
// kinds of hosts.
func TestMigrateFull(t *testing.T) {
	lab(t)
	kinds := []struct {
		distro string
		major  int
		staged bool // the branding first, and then on to all
	}{{"centos", 8, false}}
	if os.Getenv("ALMAMIGRATE_FULL") == "all" {
		kinds = append(kinds, []struct {
			distro string
			major  int
			staged bool
		}{{"rocky", 9, true}, {"stream", 9, false}, {"oracle", 8, false}, {"rhel", 9, false}, {"centos", 8, true}, {"rocky", 9, false}}...)
	}
	for _, k := range kinds {
		t.Run(fmt.Sprintf("%s%d staged %v", k.distro, k.major, k.staged), func(t *testing.T) {
			h, twin := NewHost(t, k.distro, k.major), NewHost(t, k.distro, k.major)
			for _, x := range []*Host{h, twin} {
				x.Write("/etc/issue", "Property of Example Inc.\n")
				x.Must("touch", "-d", "2020-02-02", "/etc/issue")
			}
			want := afterSync(h.DistroSync())
			if k.major == 8 {
				if r := h.code(10, "plan", "--full"); !strings.Contains(r.Stdout, "explain pkg.module-stream-missing") || !strings.Contains(r.Stdout, "and more") && strings.Count(r.Stdout, "\n") > 250 {
					t.Errorf("the plan does not name the missing stream, or is too long:\n%s", r.Stdout)
				}
			}
			if k.staged {
				h.code(0, "migrate", "-y", "-q")
			}
			doc := h.Almamigrate("plan", "--full", "--json").Stdout
			valid(t, "plan-1.0.json", doc)
			if !regexp.MustCompile(`"services": \[\s*"scriptlets-all\.service"\s*\]`).MatchString(doc) {
				t.Error("the plan does not name the service that a scriptlet restarts")
			}
			valid(t, "outcome-1.0.json", h.code(0, full("-y", "--json")...).Stdout)
			valid(t, "status-1.0.json", h.code(0, "status", "--json").Stdout)
			compareSets(t, want, h.packageSet(), exceptions(k.distro))
			if r := h.Run("sh", "-c", "rpm -V $(rpm -qa --qf '%{NAME}\n' | grep -v gpg-pubkey) | grep -v -i 'unsatisfied\\| c /'"); strings.TrimSpace(r.Stdout) != strings.TrimSpace(twin.Run("sh", "-c", "rpm -V $(rpm -qa --qf '%{NAME}\n' | grep -v gpg-pubkey) | grep -v -i 'unsatisfied\\| c /'").Stdout) {
				t.Errorf("rpm -V: %s", r.Stdout)
			}
			h.code(0, "verify")
			h.code(12, full("-y")...) // there is nothing left to do
			valid(t, "outcome-1.0.json", h.code(0, "rollback", "-y", "-q", "--json").Stdout)
			if k.staged {
				if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID"); got != "almalinux\n" {
					t.Errorf("after the first rollback os-release says %s", got)
				}
				var d struct{ Changes []struct{ ID, State string } }
				if err := json.Unmarshal([]byte(h.code(0, "changes", "list", "--json").Stdout), &d); err != nil || len(d.Changes) != 2 {
					t.Fatalf("changes: %v %+v", err, d)
				}
				h.code(0, "rollback", "-y", "-q", d.Changes[0].ID)
			}
			mustEqual(t, "after the rollback", h, twin, true)
			h.code(0, "rollback", "-y", "-q") // does nothing
		})
	}
}

// TestFullCrash kills a full migration in the middle of its transaction of all
// packages: both ways lead out.
func TestFullCrash(t *testing.T) {
	lab(t)
	program := faulty(t)
	twin, finish := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	var there []string
	for _, p := range points(t, finish, append([]string{program}, full("-y")...)...) {
		if strings.HasPrefix(p, "rpm.sync") || strings.Contains(p, "sync-packages") || strings.Contains(p, "boot") {
			there = append(there, p)
		}
	}
	if len(there) < 300 {
		t.Fatalf("only %d fault points in the transaction of all packages", len(there))
	}
	if os.Getenv("ALMAMIGRATE_CRASH") != "all" {
		there = sample(t, there)[:1]
	} else if n := len(there); n > 60 { // every tenth package, and all that is around
		there = slices.DeleteFunc(there, func(p string) bool {
			_, nth, _ := strings.Cut(p, ":%s:")
			return strings.HasPrefix(p, "rpm.sync.") && len(nth) > 1 && !strings.HasSuffix(nth, "7")
		})
	}
	for _, p := range there {
		for _, way := range []string{"rollback", "resume"} {
			t.Run(strings.ReplaceAll(p, ":%s", "")+"/"+way, func(t *testing.T) {
				h := NewHost(t, "centos", 8)
				h.kill(p, program, full("-y")...)
				// The script that rpm was running when all died: nobody's, and in a folder that is emptied by age. The machine below may
				// have such ones, too.
				for _, x := range []*Host{h, twin, finish} {
					x.Must("sh", "-c", "rm -f /var/tmp/rpm-tmp.*")
				}
				switch state := h.state(); {
				case state == "nothing" || state == "planned":
					mustEqual(t, "killed before the first change", h, twin, true)
				case state == "done":
					mustEqual(t, "killed when all was done", h, finish, false)
				case way == "rollback":
					h.code(0, "rollback", "-y", "-q")
					mustEqual(t, "killed, then rolled back", h, twin, true)
				default:
					h.code(0, "migrate", "--resume", "-q")
					mustEqual(t, "killed, then resumed", h, finish, false)
				}
			})
		}
	}
}

// A package that does not unpack, though the test transaction had nothing
// against it, takes everything back.
func TestFullFails(t *testing.T) {
	lab(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	for _, x := range []*Host{h, twin} {
		// Where a file is to come, there is a folder with something in it.
		x.Must("sh", "-c", `f=/usr/share/doc/newname; f=$(rpm -qlp /mnt/world/www/almalinux/8*/*/x86_64/os/Packages/newname-2.0-1*.rpm | tail -1); mkdir -p "$f/mine"; touch -d 2020-02-02 "$f/mine" "$f" "$(dirname "$f")"`)
	}
	r := h.Almamigrate(full("-y", "--json")...)
	if r.Code != 20 && r.Code != 1 {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	t.Logf("exit code %d", r.Code)
	valid(t, "outcome-1.0.json", r.Stdout)
	valid(t, "status-1.0.json", h.Almamigrate("status", "--json").Stdout)
	mustEqual(t, "after the failure", h, twin, true)
}

// How far back a rollback goes is chosen before, and giving it up is more than
// a yes.
func TestRollbackDepth(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	if r := h.code(2, full("-y", "--rollback-depth", "none")...); !strings.Contains(r.Stderr, "--accept-no-rollback") {
		t.Errorf("not told how: %s", r.Stderr)
	}
	h.code(2, "migrate", "-y", "--rollback-depth", "branding")
	if s := h.state(); s != "nothing" {
		t.Errorf("state %s", s)
	}
	before := h.packageSet()
	h.code(0, full("-y", "--rollback-depth", "branding")...)
	moved := h.packageSet()
	h.code(0, "rollback", "-y", "-q")
	if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID"); got != "centos\n" {
		t.Errorf("os-release says %s", got)
	}
	now := h.packageSet()
	same := 0
	for n := range now {
		if moved[n] {
			same++
		} else if !before[n] {
			t.Errorf("%s is of neither", n)
		}
	}
	if same < len(moved) {
		t.Errorf("%d of %d packages stayed AlmaLinux's", same, len(moved))
	}
	// Again, with no way back.
	h.code(0, full("-y", "--rollback-depth", "none", "--accept-no-rollback")...)
	if s := h.state(); s != "committed" {
		t.Errorf("state %s", s)
	}
	if r := h.code(2, "rollback", "-y"); !strings.Contains(r.Stderr, "committed") {
		t.Errorf("rollback: %s", r.Stderr)
	}
}
