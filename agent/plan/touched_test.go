package plan_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
)

// What rpm's macros for services make of a spec file, on EL8 and on EL9.
const (
	el8Postun = `
if [ $1 -ge 1 ] ; then
        # Package upgrade, not uninstall
        systemctl try-restart lib00.service lib00.socket >/dev/null 2>&1 || :
fi
`
	el9Postun = `
if [ $1 -ge 1 ] && [ -x "/usr/lib/systemd/systemd-update-helper" ]; then
    # Package upgrade, not uninstall: systemctl restart comment.service
    /usr/lib/systemd/systemd-update-helper mark-restart-system-units lib01@main.service || :
fi
if [ $1 -ge 1 ]; then
    /usr/lib/systemd/systemd-update-helper mark-restart-user-units of-users.service || :
fi
`
	oldPostun = `/sbin/service lib02 condrestart >/dev/null 2>&1 || :
systemctl daemon-reload; systemctl enable lib02-enabled.service
echo restart told.service`
	preun = `
if [ $1 -eq 0 ] && [ -x "/usr/lib/systemd/systemd-update-helper" ]; then
    # Package removal, not upgrade
    /usr/lib/systemd/systemd-update-helper remove-system-units gone.service gone.timer || :
fi
systemctl --no-reload disable --now also.socket
systemctl --no-reload disable later.service
systemctl restart \
  joined.service; systemctl stop last.service
`
)

func TestServicesAndSaved(t *testing.T) {
	in, content := fullWorld(t)
	at := slices.IndexFunc(in.Inventory.Packages, func(p inventory.Package) bool { return p.Name == "centos-logos" })
	in.Inventory.Packages[at].Files = inventory.Files{Dirs: []string{"/usr/share/logos/"}, DirIndex: []uint32{0, 0}, Base: []string{"a", "b"}}
	in.Scriptlets = func(n string) (plan.Scriptlets, bool) {
		switch n {
		case "lib00-1-1.x86_64":
			return plan.Scriptlets{Before: preun, After: el8Postun}, true
		case "lib01-1-1.x86_64":
			return plan.Scriptlets{After: el9Postun}, true
		case "lib02-1-1.x86_64":
			return plan.Scriptlets{After: oldPostun}, true
		case "centos-linux-repos-8-3.noarch":
			return plan.Scriptlets{Before: preun, After: el8Postun}, true
		}
		return plan.Scriptlets{}, false
	}
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"also.socket", "gone.service", "gone.timer", "last.service", "lib00.service", "lib00.socket", "lib01@main.service", "lib02.service"}, p.Services); d != "" {
		t.Errorf("services: %s", d)
	}
	if d := cmp.Diff([]string{"also.socket", "gone.service", "gone.timer", "last.service"}, p.ServicesStopped); d != "" {
		t.Errorf("services that stop: %s", d)
	}
	if p.Saved.Packages != 45 || p.Saved.Files != 2 || !slices.Contains(p.Saved.Folders, "/etc") || !slices.Contains(p.Saved.Except, "/etc/shadow") {
		t.Errorf("saved: %+v", p.Saved)
	}
	in.RollbackDepth = plan.RollbackBranding
	branding, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if s := branding.Saved; s.Packages != 4 || !slices.Contains(s.Folders, "/etc/yum.repos.d") || len(s.Except) != 0 {
		t.Errorf("saved for the branding alone: %+v", s)
	}
	text := func(p *plan.Plan) string {
		var b bytes.Buffer
		if err := p.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, says := range []string{
		"restarted by their packages, if they run: lib00.service, lib00.socket, lib01@main.service, lib02.service\n",
		"stopped, as their packages leave: also.socket, gone.service, gone.timer, last.service\n",
		"45 packages, their 2 files, and every file that a coming package replaces\n", "  not /etc/passwd, ",
	} {
		if !strings.Contains(text(p), says) {
			t.Errorf("does not say %q:\n%s", says, text(p))
		}
	}
	in.Scriptlets = nil
	if p, err = build(t, in, *content); err != nil || !strings.Contains(text(p), "no scriptlet of the packages that leave restarts or stops one") {
		t.Errorf("%v\n%s", err, text(p))
	}
}

// What somebody wrote into the old repositories about which packages to take
// from them holds for AlmaLinux's, too, where these stand for no others.
func TestRepoOptionsAreCarried(t *testing.T) {
	in, content := world(t)
	r := in.Inventory.Repos
	r[0].Exclude, r[0].Options = []string{"postgresql*", "kernel*"}, map[string]string{"priority": "10", "proxy": "http://p", "includepkgs": " a\n b "}
	r[1].Exclude, r[1].Enabled = []string{"off*"}, false
	in.Inventory.Repos = append(r, inventory.Repo{ID: "centos-baseos", File: "/etc/yum.repos.d/b.repo", Enabled: true, Exclude: []string{"postgresql*", "kernel*"}, Options: map[string]string{"priority": "20", "includepkgs": "a b"}})
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	want := []plan.RepoOption{{Repo: "baseos", Key: "excludepkgs", Value: "postgresql* kernel*", From: "baseos"}, {Repo: "baseos", Key: "includepkgs", Value: "a b", From: "baseos"}}
	if d := cmp.Diff(want, p.RepoOptions); d != "" {
		t.Error(d)
	}
	var b bytes.Buffer
	if err := p.WriteText(&b, true); err != nil || !strings.Contains(b.String(), "AlmaLinux's baseos gets excludepkgs=postgresql* kernel*, as baseos has it") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// The same evidence and another catalogue: what would be done is not what was
// approved.
func TestDriftOfTheCatalogue(t *testing.T) {
	in, content := world(t)
	in.Inventory.Repos[1].Enabled = false
	approved, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "etc", "almamigrate", "catalog.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "site.conf"), []byte("[repomap powertools 8]\nids = epel\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if in.Catalog, err = catalog.Load(root); err != nil {
		t.Fatal(err)
	}
	now, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Drift(approved, now); !errors.Is(err, plan.ErrDrift) || !strings.Contains(err.Error(), "part of the plan is new: AlmaLinux repository enabled: powertools") {
		t.Errorf("not noticed: %v", err)
	}
}

// A file that has a name outside of what is saved is told before consent.
func TestHardLinksOutside(t *testing.T) {
	in, content := world(t)
	at := slices.IndexFunc(in.Inventory.Packages, func(p inventory.Package) bool { return p.Name == "centos-logos" })
	in.Inventory.Packages[at].Files = inventory.Files{Dirs: []string{"/l/"}, DirIndex: []uint32{0, 0, 0, 0}, Base: []string{"a", "b", "c", "d"}}
	in.Links = func(path string) ([2]uint64, uint64, bool) {
		switch path {
		case "/l/a", "/l/b":
			return [2]uint64{1, 1}, 2, true // of each other
		case "/l/c":
			return [2]uint64{1, 2}, 2, true
		}
		return [2]uint64{}, 0, false
	}
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.NotRestorable, "\n")
	if !strings.Contains(got, "hard links to other places") || !strings.HasSuffix(got, ": /l/c") {
		t.Error(got)
	}
}
