package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describeScript tells everything about the paths on standard input: in the
// host, so that it is told what its programs see, and not one of the layers.
const describeScript = `
import hashlib, os, stat, sys
for p in sys.stdin.read().split("\0"):
    if not p:
        continue
    try:
        st = os.lstat(p)
    except OSError:
        print(p + "\tabsent")
        continue
    d = "mode %o owner %d:%d" % (st.st_mode, st.st_uid, st.st_gid)
    if stat.S_ISREG(st.st_mode):
        d += " size %d sha256 %s mtime %d" % (st.st_size, hashlib.sha256(open(p, "rb").read()).hexdigest(), st.st_mtime_ns)
    elif stat.S_ISLNK(st.st_mode):
        d += " to %s" % os.readlink(p)
    for x in sorted(os.listxattr(p, follow_symlinks=False)):
        d += " %s=%s" % (x, os.getxattr(p, x, follow_symlinks=False).hex())
    print(p + "\t" + d)
`

// notCompared are the exceptions: our own state, logs, and the inside of the
// rpm database, which is compared by what rpm says. The last are files that
// making a host writes anew.
var notCompared = []string{
	"/var/lib/almamigrate", "/var/cache/almamigrate", "/var/log", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/cache/dnf",
	"/etc/almamigrate", "/etc/pki/almamigrate", "/etc/dnf/vars/labhost",
	"/var/lib/dnf/rpmdb_lock.pid", // empty: dnf's lock, which the kernel took from a killed run
}

// touched lists every path that the host changed since it was made.
func (h *Host) touched() []string {
	h.t.Helper()
	var out []string
	for p := range Tree(h.t, h.Upper()) {
		if p == "/" || slices.ContainsFunc(notCompared, func(x string) bool { return p == x || strings.HasPrefix(p, x+"/") }) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// describe tells the state of paths as seen in the host; without times where
// they cannot be the same.
func (h *Host) describe(paths []string, times bool) map[string]string {
	h.t.Helper()
	r := h.Do(Cmd{Args: []string{"python3", "-c", describeScript}, Stdin: strings.Join(paths, "\x00")})
	if r.Code != 0 {
		h.t.Fatalf("cannot describe the host's files: %s", r.Stderr)
	}
	out := map[string]string{}
	for l := range strings.Lines(r.Stdout) {
		p, d, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		if !times {
			d, _, _ = strings.Cut(d, " mtime ")
		}
		out[p] = d
	}
	return out
}

// database is what rpm says of all packages, and whether their files are as
// packaged.
func (h *Host) database() string {
	h.t.Helper()
	return h.Must("sh", "-c", `rpm -qa --qf '%{NEVRA} %{SHA256HEADER} %{SIGMD5} %{RSAHEADER:pgpsig} [%{FILESTATES}]\n' | LC_ALL=C sort
rpm -V $(rpm -qa --qf '%{NAME}\n' | grep -v gpg-pubkey) | grep -v -i "unsatisfied" | LC_ALL=C sort; true`)
}

// mustEqual compares a host with another one: the whole tree and the database.
func mustEqual(t *testing.T, what string, got, want *Host, times bool) {
	t.Helper()
	paths := append(got.touched(), want.touched()...)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	a, b := want.describe(paths, times), got.describe(paths, times)
	for _, p := range paths {
		if a[p] != b[p] {
			t.Errorf("%s: %s\n  want %s\n  got  %s", what, p, a[p], b[p])
		}
	}
	if a, b := want.database(), got.database(); a != b {
		t.Errorf("%s: the rpm databases differ:\n%s", what, lineDiff(a, b))
	}
}

func lineDiff(a, b string) string {
	in := map[string]int{}
	for l := range strings.Lines(a) {
		in[l]--
	}
	for l := range strings.Lines(b) {
		in[l]++
	}
	var out []string
	for l, n := range in {
		if n < 0 {
			out = append(out, "- "+l)
		} else if n > 0 {
			out = append(out, "+ "+l)
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 20)], "")
}

// code runs the binary and demands an exit code.
func (h *Host) code(want int, args ...string) Result {
	h.t.Helper()
	r := h.Almamigrate(args...)
	if r.Code != want {
		h.t.Fatalf("almamigrate %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.Code, want, r.Stdout, r.Stderr)
	}
	return r
}

func (h *Host) state() string {
	h.t.Helper()
	var d struct{ State string }
	r := h.Almamigrate("status", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		h.t.Fatalf("status: %v\n%s%s", err, r.Stdout, r.Stderr)
	}
	return d.State
}

// There and back, on every kind of host that can be.
func TestMigrateAndBack(t *testing.T) {
	lab(t)
	kinds := []struct {
		distro string
		major  int
	}{{"centos", 8}, {"stream", 9}, {"rocky", 9}, {"oracle", 8}, {"rhel", 9}}
	if testing.Short() {
		kinds = kinds[:2]
	}
	for _, k := range kinds {
		t.Run(fmt.Sprint(k.distro, k.major), func(t *testing.T) {
			h, twin := NewHost(t, k.distro, k.major), NewHost(t, k.distro, k.major)
			// An edit of the administrator's is carried over, and brought back.
			for _, x := range []*Host{h, twin} {
				x.Write("/etc/issue", "Property of Example Inc.\n")
				x.Must("touch", "-d", "2020-02-02", "/etc/issue")
			}
			if r := h.code(0, "check"); !strings.Contains(r.Stdout, "READY") {
				t.Fatal(r.Stdout)
			}
			before := Tree(t, h.Upper())
			h.code(0, "plan")
			h.code(0, "migrate", "--dry-run")
			for _, c := range Changes(before, Tree(t, h.Upper()), append([]string{"/var/lib/dnf"}, notCompared...)...) {
				t.Errorf("plan and dry run: %s", c)
			}
			h.code(0, "migrate", "-y")
			if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID"); got != "almalinux\n" {
				t.Errorf("os-release says %s", got)
			}
			if got := h.Must("rpm", "-q", "--whatprovides", "system-release", "--qf", "%{NAME}\n"); got != "almalinux-release\n" {
				t.Errorf("system-release is provided by %s", got)
			}
			if r := h.Run("sh", "-c", "rpm -V $(rpm -qa 'almalinux-*' --qf '%{NAME}\n') | grep -v '^S.5....T.  c /etc/\\(issue$\\|yum.repos.d/almalinux\\)'"); r.Stdout != "" {
				t.Errorf("rpm -V: %s", r.Stdout)
			}
			if got := h.Must("cat", "/etc/issue"); got != "Property of Example Inc.\n" {
				t.Errorf("/etc/issue: %q", got)
			}
			if got := h.Must("sh", "-c", "dnf -q repolist --enabled | grep -c '^\\(baseos\\|appstream\\|extras\\) *AlmaLinux'"); got != "3\n" {
				t.Errorf("repositories of AlmaLinux enabled: %s", got)
			}
			// The configured mirror is where updates come from now.
			if r := h.Run("sh", "-c", `grep -h ^baseurl= /etc/yum.repos.d/almalinux*.repo | grep -v "^baseurl=$(sed -n 's/^mirror = //p' /etc/almamigrate/almamigrate.conf)/"`); r.Stdout != "" {
				t.Errorf("not the mirror: %s", r.Stdout)
			}
			if r := h.code(0, "verify"); !strings.Contains(r.Stdout, "all 3 enabled AlmaLinux repositories answer") {
				t.Errorf("verify: %s", r.Stdout)
			}
			h.Must("sh", "-c", "rpm -K --nosignature /var/lib/almamigrate/changes/*/rpms/leaving/*-logos-[0-9]*.rpm") // rebuilt to the last bit
			if s := h.state(); s != "done" {
				t.Errorf("state %s", s)
			}
			h.code(0, "rollback", "--dry-run")
			h.code(0, "rollback", "-y")
			mustEqual(t, "after the rollback", h, twin, true)
			if s := h.state(); s != "rolled-back" {
				t.Errorf("state %s", s)
			}
			h.code(0, "rollback", "-y") // does nothing
			mustEqual(t, "after the second rollback", h, twin, true)
		})
	}
}

// What was changed since is kept: edits of files that the migration did not
// touch stay, of the others both sides are kept.
func TestRollbackKeepsLaterChanges(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.code(0, "migrate", "-y", "-q")
	h.Write("/etc/yum.repos.d/acme.repo", "[acme]\nname=mine\nbaseurl=http://acme.invalid/\n")
	h.Write("/etc/yum.repos.d/new.repo", "[new]\nname=new\nbaseurl=http://new.invalid/\n")
	h.Write("/etc/issue", "mine\n") // the same in both distributions: the migration did not change it
	h.Write("/usr/lib/os-release", "edited=since\n")
	r := h.code(0, "rollback", "--dry-run")
	for _, want := range []string{"/etc/yum.repos.d/acme.repo", "/etc/issue", "/usr/lib/os-release"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("the dry run does not name %s:\n%s", want, r.Stdout)
		}
	}
	h.code(0, "rollback", "-y")
	if got := h.Must("cat", "/etc/yum.repos.d/acme.repo"); !strings.Contains(got, "mine") {
		t.Errorf("acme.repo: %s", got)
	}
	h.Must("test", "-e", "/etc/yum.repos.d/new.repo")
	if got := h.Must("cat", "/etc/issue"); got != "mine\n" {
		t.Errorf("/etc/issue: %q", got)
	}
	if got := h.Must("cat", "/etc/os-release"); !strings.Contains(got, "CentOS Linux") {
		t.Errorf("os-release: %q", got)
	}
	const clashes = "grep -rq edited=since /var/lib/almamigrate/changes/*/files/*/clash-*"
	h.Must("sh", "-c", clashes)
	// They are the only copies: a change that holds some is pruned by name only.
	r = h.code(0, "changes", "prune")
	if !strings.Contains(r.Stdout, "kept ") {
		t.Errorf("prune: %s", r.Stdout)
	}
	h.Must("sh", "-c", clashes)
	id := strings.TrimSpace(h.Must("ls", "/var/lib/almamigrate/changes"))
	h.code(0, "changes", "prune", id)
	if got := h.Must("ls", "/var/lib/almamigrate/changes"); strings.Contains(got, id) {
		t.Errorf("prune %s left %s", id, got)
	}
}

// A plan that was approved is carried out as it is or not at all.
func TestPlanDrift(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.code(0, "plan", "-o", "/root/plan.json")
	h.code(0, "migrate", "--plan", "/root/plan.json", "--dry-run")
	h.Must("rpm", "-e", "--nodeps", "source-only-tool")
	r := h.code(1, "migrate", "--plan", "/root/plan.json", "-y")
	if !strings.Contains(r.Stderr, "package is gone: source-only-tool") {
		t.Errorf("drift is not named: %s", r.Stderr)
	}
	if s := h.state(); s != "nothing" {
		t.Errorf("state %s", s)
	}
}

// Whoever else is at work is let finish; users other than root are refused.
func TestMigrateIsAlone(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	if r := h.Do(Cmd{Args: []string{binary, "migrate", "-y"}, User: "nobody"}); r.Code != 12 {
		t.Errorf("as nobody: %d\n%s", r.Code, r.Stderr)
	}
	// dnf's lock, held by a process that lives
	r := h.Run("sh", "-c", "sleep 60 & echo -n $! > /var/lib/dnf/rpmdb_lock.pid; "+binary+" migrate -y -q")
	if r.Code != 11 {
		t.Errorf("dnf at work: %d\n%s", r.Code, r.Stderr)
	}
	r = h.Run("python3", "-c", `import fcntl, subprocess, sys
f = open("/var/lib/rpm/.rpm.lock", "w")
fcntl.lockf(f, fcntl.LOCK_EX)
sys.exit(subprocess.call(["`+binary+`", "migrate", "-y", "-q"]))`)
	if r.Code != 11 {
		t.Errorf("rpm at work: %d\n%s", r.Code, r.Stderr)
	}
	r = h.Run("sh", "-c", "flock /run/almamigrate.lock "+binary+" migrate -y -q")
	if r.Code != 11 {
		t.Errorf("almamigrate at work: %d\n%s", r.Code, r.Stderr)
	}
	if s := h.state(); s != "nothing" {
		t.Errorf("state %s", s)
	}
}

// A step that fails takes everything back.
func TestFailedMigrationIsTakenBack(t *testing.T) {
	lab(t)
	program := faulty(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	r := h.Do(Cmd{Args: []string{program, "migrate", "-y", "--json"}, Env: map[string]string{"ALMAMIGRATE_FAULT": "txn.did.enable-repos:error"}})
	if r.Code != 20 {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	var d struct {
		State string
		Code  int `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil || d.State != "rolled-back" || d.Code != 20 {
		t.Errorf("%v %+v\n%s", err, d, r.Stdout)
	}
	mustEqual(t, "after the failure", h, twin, true)
	// and a failure before the first change leaves nothing behind
	r = h.Do(Cmd{Args: []string{program, "migrate", "-y", "-q"}, Env: map[string]string{"ALMAMIGRATE_FAULT": "rpm.test.after:error"}})
	if r.Code != 1 {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	mustEqual(t, "after the failed preparation", h, twin, true)
}
