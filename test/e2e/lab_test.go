package e2e

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// The hosts are what they claim to be.
func TestHosts(t *testing.T) {
	lab(t)
	for _, c := range []struct {
		distro  string
		major   int
		id      string
		release string
	}{
		{"centos", 8, "centos", "centos-linux-release"},
		{"stream", 9, "centos", "centos-stream-release"},
		{"rocky", 9, "rocky", "rocky-release"},
		{"oracle", 8, "ol", "oraclelinux-release"},
		{"rhel", 9, "rhel", "redhat-release"},
	} {
		t.Run(c.distro+strconv.Itoa(c.major), func(t *testing.T) {
			h := NewHost(t, c.distro, c.major)
			if got := h.Must("sh", "-c", ". /etc/os-release; echo $ID $PLATFORM_ID"); got != c.id+" platform:el"+strconv.Itoa(c.major)+"\n" {
				t.Errorf("os-release: %q", got)
			}
			if got := h.Must("rpm", "-q", "--whatprovides", "system-release", "--qf", "%{NAME}\n"); got != c.release+"\n" {
				t.Errorf("release package: %q", got)
			}
			if got := h.Must("rpm", "-qf", "/etc/os-release", "--qf", "%{NAME}\n"); got != c.release+"\n" {
				t.Errorf("owner of os-release: %q", got)
			}
			installed := strings.Fields(h.Must("rpm", "-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\n"))
			have := map[string]bool{}
			for _, p := range installed {
				have[p] = true
			}
			want := ReadMeta(t, c.distro+"-"+strconv.Itoa(c.major)).Install
			if len(want) < 300 {
				t.Fatalf("the world is small: %d packages", len(want))
			}
			for _, p := range want {
				if !have[p] {
					t.Errorf("%s is not installed", p)
				}
			}
			// dnf works against the served repositories
			if r := h.Run("dnf", "-q", "repoquery", "--available", "--qf", "%{name}", c.release); r.Code != 0 || !strings.Contains(r.Stdout, c.release) {
				t.Errorf("dnf repoquery: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
		})
	}
}

// The real almalinux-release has neither Obsoletes nor Conflicts; what stands
// in the way of a naive move must do so here too.
func TestAlmaReleaseIsTrueToLife(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	for _, c := range []struct {
		major   int
		folder  string
		inside  bool // repositories and keys are in the release package
		missing string
	}{{8, "8", true, "almalinux-repos"}, {9, "9", false, ""}} {
		driver(t, "world", "alma-"+strconv.Itoa(c.major))
		files, err := filepath.Glob(filepath.Join(World(t), "www/almalinux", c.folder, "BaseOS/*/os/Packages/almalinux-release-[0-9]*.rpm"))
		if err != nil || len(files) != 1 {
			t.Fatalf("almalinux-release of %d: %v %v", c.major, files, err)
		}
		inHost := "/mnt/world" + strings.TrimPrefix(files[0], World(t))
		if out := h.Must("rpm", "-qp", "--nosignature", "--obsoletes", "--conflicts", inHost); strings.TrimSpace(out) != "" {
			t.Errorf("EL%d: obsoletes or conflicts: %s", c.major, out)
		}
		list := h.Must("rpm", "-qlp", "--nosignature", inHost)
		if got := strings.Contains(list, "/etc/yum.repos.d/almalinux"); got != c.inside {
			t.Errorf("EL%d: repositories inside the release package: %v", c.major, got)
		}
		if !strings.Contains(list, "/etc/os-release\n") {
			t.Errorf("EL%d: no os-release in %s", c.major, list)
		}
	}
	r := h.Run("sh", "-c", "rpm -U --test --nodeps --nosignature /mnt/world/www/almalinux/8/BaseOS/*/os/Packages/almalinux-release-[0-9]*.rpm")
	if r.Code == 0 || !strings.Contains(r.Stderr, "conflicts with file from package centos-linux-release") {
		t.Errorf("no file conflict with the CentOS package: exit code %d\n%s", r.Code, r.Stderr)
	}
}

// Making and entering a host changes nothing in it: or no test could tell what
// a command changed.
func TestEnteringChangesNothing(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.Must("true")
	if r := h.DoUnchanged(Cmd{Args: []string{"cat", "/etc/os-release"}}); r.Code != 0 {
		t.Errorf("exit code %d: %s", r.Code, r.Stderr)
	}
	if r := h.DoUnchanged(Cmd{Args: []string{"id", "-un"}, User: "nobody"}); r.Stdout != "nobody\n" {
		t.Errorf("as nobody: %+v", r)
	}
	if r := h.DoUnchanged(Cmd{Args: []string{"touch", "/etc/allowed"}}, "/etc/allowed"); r.Code != 0 {
		t.Errorf("exit code %d: %s", r.Code, r.Stderr)
	}
	// and a change is seen
	before := Tree(t, h.Upper())
	h.Must("chmod", "600", "/etc/centos-release")
	if c := Changes(before, Tree(t, h.Upper())); len(c) == 0 {
		t.Error("a change of mode was not seen")
	}
}

// The EL8 look-alike with a Berkeley DB holds the same packages.
func TestBerkeleyDB(t *testing.T) {
	lab(t)
	const qf = "%{NEVRA} %{SIGMD5} %{INSTALLTIME}\n"
	list := func(h *Host, options ...string) string {
		return h.Must(append([]string{"sh", "-c", `rpm "$@" 2>/dev/null | LC_ALL=C sort`, "sh", "-qa", "--qf", qf}, options...)...)
	}
	a, b := NewHost(t, "centos", 8), NewHost(t, "centos", 8, "--bdb")
	if got := b.Must("sh", "-c", "cd /var/lib/rpm; ls"); got != "Packages\n" {
		t.Errorf("/var/lib/rpm: %q", got)
	}
	want, got := list(a), list(b, "--define", "_db_backend bdb_ro")
	if strings.Count(want, "\n") < 300 || got != want {
		t.Errorf("%d packages in SQLite, %d in the Berkeley DB", strings.Count(want, "\n"), strings.Count(got, "\n"))
	}
}

// The oracle of the verdicts sees every kind of change.
func TestDistroSyncRows(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	rows := h.DistroSync()
	kinds := map[string]int{}
	for _, r := range rows {
		kinds[r.Action]++
	}
	for _, k := range []string{"keep", "upgrade", "downgrade", "reinstall", "obsoleted", "install"} {
		if kinds[k] == 0 {
			t.Errorf("no package with action %s: %v", k, kinds)
		}
	}
	find := func(rows []SyncRow, name string) string {
		for _, r := range rows {
			if r.Name == name {
				return r.Action
			}
		}
		return ""
	}
	if got := find(rows, "oldname"); got != "obsoleted" {
		t.Errorf("oldname: %s", got)
	}
	if got := find(rows, "crb-devel"); got != "keep" {
		t.Errorf("crb-devel without CRB: %s", got)
	}
	if got := find(h.DistroSync("baseos", "appstream", "extras", "crb"), "crb-devel"); got != "upgrade" {
		t.Errorf("crb-devel with CRB: %s", got)
	}
}

// The binary is static: it runs on any EL, whatever libc is there.
func TestStaticBinary(t *testing.T) {
	path := filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate")
	f, err := elf.Open(path)
	if err != nil {
		t.Skipf("SKIPPED: there is no bin/almamigrate, make build makes it: %v", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("bin/almamigrate is linked dynamically")
		}
	}
	if out, err := exec.Command(path, "--version").CombinedOutput(); err != nil {
		t.Errorf("almamigrate --version: %v\n%s", err, out)
	}
}
