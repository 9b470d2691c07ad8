package assess_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/realdata"
)

var update = flag.Bool("update", false, "write the generated files")

// fixtures raise exactly the findings that they name: no finding of one shows
// in another.
var fixtures = []struct {
	name    string
	change  func(*world)
	want    []string
	verdict assess.Verdict
}{
	{"clean host", func(*world) {}, []string{}, assess.Ready},
	{"not el", func(w *world) {
		w.inv.Host.Distro, w.inv.Host.Major, w.inv.Host.PrettyName = inventory.NotEL, 0, "Debian GNU/Linux 12"
		w.inv.Packages = nil
	}, []string{"blocker host.not-el"}, assess.Blocked},
	{"el 7", func(w *world) { w.inv.Host.Major, w.inv.Packages, w.inv.Repos = 7, nil, nil }, []string{"blocker host.unsupported-major"}, assess.Blocked},
	{"el 11", func(w *world) { w.inv.Host.Major, w.inv.Packages, w.inv.Repos = 11, nil, nil }, []string{"blocker host.unsupported-major"}, assess.Blocked},
	{"unknown major", func(w *world) { w.inv.Host.Major, w.inv.Packages, w.inv.Repos = 0, nil, nil }, []string{"blocker host.unsupported-major"}, assess.Blocked},
	{"i686 host", func(w *world) {
		w.inv.Host.Arch = "i686"
		w.inv.Packages = nil
	}, []string{"blocker host.unsupported-arch"}, assess.Blocked},
	{"almalinux", func(w *world) {
		w.inv.Host.Distro, w.inv.Host.State = inventory.AlmaLinux, inventory.StateAlmaLinux
		w.inv.Packages = nil
		w.install("almalinux", pkg("almalinux-release-8.10-1.el8.x86_64"))
	}, []string{"info host.already-almalinux"}, assess.Ready},
	{"half-migrated", func(w *world) {
		w.inv.Host.State, w.inv.Host.StateReason = inventory.StateHalf, "os-release says AlmaLinux, the packages are CentOS's"
	}, []string{"warning host.half-migrated"}, assess.ReadyWithWarnings},
	{"distro of nobody", func(w *world) {
		w.inv.Host.Distro = inventory.OtherEL
		w.inv.Repos = nil
	}, []string{"warning host.unknown-distro"}, assess.ReadyWithWarnings},
	{"not root", func(w *world) {
		w.inv.Skipped = []inventory.Skipped{{What: "/etc/dnf/plugins/versionlock.list", Reason: "permission denied"}}
	}, []string{"warning host.incomplete"}, assess.ReadyWithWarnings},

	{"missing", func(w *world) { w.install("centos", pkg("old-tool-1-1.el8.x86_64")) },
		[]string{"warning pkg.missing"}, assess.ReadyWithWarnings},
	{"older", func(w *world) {
		w.install("centos", pkg("foo-2-1.el8.x86_64"))
		w.carry("appstream", pkg("foo-1-1.el8.x86_64"))
	}, []string{"warning pkg.older"}, assess.ReadyWithWarnings},
	{"older database", func(w *world) {
		w.install("centos", pkg("postgresql-server-16.2-1.el8.x86_64"))
		w.carry("appstream", pkg("postgresql-server-15.1-1.el8.x86_64"))
	}, []string{"blocker pkg.older-data-format", "warning pkg.older"}, assess.Blocked},
	{"older release of a database", func(w *world) {
		w.install("centos", pkg("postgresql-server-15.1-2.el8.x86_64"))
		w.carry("appstream", pkg("postgresql-server-15.1-1.el8.x86_64"))
	}, []string{"warning pkg.older", "warning pkg.older-data-format"}, assess.ReadyWithWarnings},
	{"third-party", func(w *world) { w.install("epel", pkg("htop-3-1.el8.x86_64")) },
		[]string{"info pkg.third-party"}, assess.Ready},
	{"third-party of an unknown key", func(w *world) { w.install("?", pkg("acme-3-1.x86_64")) },
		[]string{"info pkg.signature-unknown-key", "info pkg.third-party"}, assess.Ready},
	{"third-party that AlmaLinux has", func(w *world) {
		w.install("epel", pkg("nginx-2-1.el8.x86_64"))
		w.carry("appstream", pkg("nginx-3-1.el8.x86_64"))
	}, []string{"warning pkg.third-party-superseded"}, assess.ReadyWithWarnings},
	{"local", func(w *world) { w.install("", pkg("inhouse-1-1.noarch")) },
		[]string{"info pkg.local"}, assess.Ready},
	{"obsoleted", func(w *world) {
		w.install("centos", pkg("oldname-1-1.el8.x86_64"))
		w.carry("appstream", pkg("newname-2-1.el8.x86_64", obsoletes("oldname < 2"), provides("oldname = 2")))
	}, []string{"info pkg.obsoleted"}, assess.Ready},
	{"dropped", func(w *world) { w.install("centos", pkg("libreport-plugin-rhtsupport-2-1.el8.x86_64")) },
		[]string{"info pkg.dropped"}, assess.Ready},
	{"duplicate", func(w *world) { w.install("centos", pkg("bash-4.4.19-1.el8.x86_64")) },
		[]string{"warning pkg.duplicate"}, assess.ReadyWithWarnings},
	{"several kernels", func(w *world) {
		w.install("centos", pkg("kernel-4.18.0-1.el8.x86_64"), pkg("kernel-4.18.0-2.el8.x86_64"))
		w.carry("baseos", pkg("kernel-4.18.0-3.el8.x86_64"))
	}, []string{}, assess.Ready},
	{"row twice", func(w *world) { w.install("centos", pkg("bash-4.4.20-1.el8.x86_64")) },
		[]string{"warning db.duplicate"}, assess.ReadyWithWarnings},
	{"damaged rows", func(w *world) {
		w.inv.Database.Damaged = []inventory.DamagedRow{{Row: 7, Reason: "0 index entries"}, {Row: 9, Reason: "the header has no package name"}}
	}, []string{"blocker db.damaged"}, assess.Blocked},
	{"bad signature", func(w *world) {
		w.inv.Packages[2].Signature.Status, w.inv.Packages[2].Signature.Reason = "bad", "digest mismatch"
	}, []string{"blocker pkg.signature-bad"}, assess.Blocked},
	{"counterpart in powertools", func(w *world) {
		w.install("centos", pkg("foo-devel-1-1.el8.x86_64"))
		w.carry("powertools", pkg("foo-devel-1-2.el8.x86_64"))
	}, []string{"warning pkg.repo-disabled"}, assess.ReadyWithWarnings},
	{"stream that AlmaLinux lacks", func(w *world) {
		w.inv.DNF.Modules = []inventory.ModuleState{{Name: "ruby", Stream: "9.9", State: "enabled"}}
		w.modules["appstream"] = rubyModules
	}, []string{"warning pkg.module-stream-missing"}, assess.ReadyWithWarnings},
	{"versionlock", func(w *world) { w.inv.DNF.Versionlock = []string{"bash-0:4.4.20-1.el8.*"} },
		[]string{"warning pkg.versionlocked"}, assess.ReadyWithWarnings},
	{"exclude", func(w *world) { w.inv.DNF.Exclude = []string{"bas?"} },
		[]string{"warning pkg.excluded"}, assess.ReadyWithWarnings},
	{"protected", func(w *world) {
		w.inv.DNF.Protected = []inventory.Protected{{Package: "centos-linux-release", File: "/etc/dnf/protected.d/centos.conf"}, {Package: "bash", File: "/etc/dnf/protected.d/x.conf"}}
	}, []string{"info pkg.protected"}, assess.Ready},

	{"broken dependency", func(w *world) {
		w.install("centos", pkg("libold-1-1.el8.x86_64", provides("libold.so.1()(64bit)")))
		w.carry("appstream", pkg("libold-2-1.el8.x86_64", provides("libold.so.2()(64bit)")))
		w.install("epel", pkg("user-1-1.el8.x86_64", requires("libold.so.1()(64bit)")))
	}, []string{"blocker dep.broken", "info pkg.third-party"}, assess.Blocked},
	{"broken before", func(w *world) { w.install("", pkg("sad-1-1.noarch", requires("nowhere"))) },
		[]string{"info pkg.local", "warning dep.broken-before"}, assess.ReadyWithWarnings},
	{"dependency in powertools", func(w *world) {
		w.install("centos", pkg("libold-1-1.el8.x86_64", provides("libold.so.1()(64bit)")))
		w.carry("appstream", pkg("libold-2-1.el8.x86_64", provides("libold.so.2()(64bit)")))
		w.carry("powertools", pkg("compat-libold-1-9.el8.x86_64", provides("libold.so.1()(64bit)")))
		w.install("epel", pkg("user-1-1.el8.x86_64", requires("libold.so.1()(64bit)")))
	}, []string{"blocker dep.repo-disabled", "info pkg.third-party"}, assess.Blocked},
	{"conflict", func(w *world) {
		w.install("epel", pkg("foe-1-1.el8.x86_64", conflicts("bash >= 4.4.20-6")))
	}, []string{"blocker dep.conflict", "info pkg.third-party"}, assess.Blocked},
	{"comes along", func(w *world) {
		w.install("centos", pkg("foo-1-1.el8.x86_64"))
		w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("foo-libs = 2-1.el8")), pkg("foo-libs-2-1.el8.x86_64"))
	}, []string{"info dep.comes-along"}, assess.Ready},

	{"repository unreachable", func(w *world) { w.repo("appstream").Err = errors.New("connection refused") },
		[]string{"blocker repo.unreachable"}, assess.Unknown},
	{"repository unreachable that is off", func(w *world) { w.repo("powertools").Err = errors.New("connection refused") },
		[]string{"info repo.unreachable"}, assess.Ready},
	{"no almalinux-release", func(w *world) {
		w.drop("baseos", "almalinux-release")
	}, []string{"blocker repo.no-release"}, assess.Blocked},
	{"sig repository", func(w *world) {
		w.install("centos", pkg("centos-release-gluster9-1-1.el8.noarch"))
		w.inv.Repos = append(w.inv.Repos, inventory.Repo{ID: "centos-gluster9", File: "/etc/yum.repos.d/CentOS-Gluster-9.repo", Enabled: true, GPGCheck: true, OwnedBy: "centos-release-gluster9"})
	}, []string{"info pkg.dropped", "warning repo.vanishes"}, assess.ReadyWithWarnings},
	{"vault by hand", func(w *world) {
		key := "/etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial"
		w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "99DB70FAE1D7CE227FB6488205B555B38483C65D", KeyIDs: []string{"05b555b38483c65d"}, Owner: "centos", Source: key})
		w.inv.Repos = append(w.inv.Repos, inventory.Repo{ID: "my-vault", File: "/etc/yum.repos.d/vault.repo", Enabled: true, GPGCheck: true, GPGKeys: []string{"file://" + key}})
	}, []string{"warning repo.unmapped"}, assess.ReadyWithWarnings},
	{"stale", func(w *world) { w.repo("baseos").Stale = true }, []string{"warning repo.stale"}, assess.ReadyWithWarnings},
	{"unsigned metadata", func(w *world) { w.repo("baseos").Signature = "none" }, []string{"info repo.unsigned"}, assess.Ready},
	{"key missing", func(w *world) { w.inv.Keys = nil }, []string{"info key.missing"}, assess.Ready},
	{"key missing on almalinux", func(w *world) {
		w.inv.Host.Distro, w.inv.Host.State = inventory.AlmaLinux, inventory.StateAlmaLinux
		w.inv.Packages, w.inv.Keys = nil, nil
	}, []string{"info host.already-almalinux", "warning key.missing"}, assess.ReadyWithWarnings},
	{"key expired", func(w *world) {
		w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "AA", Owner: "acme", Source: "rpmdb", Expires: "2025-01-01T00:00:00Z"})
	}, []string{"warning key.expired"}, assess.ReadyWithWarnings},
	{"key expired and replaced", func(w *world) {
		w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "5E9B8F5617B5066CE92057C3488FCF7C3ABB34F8", Owner: "almalinux", Source: "rpmdb", Expires: "2024-01-12"})
	}, []string{"info key.expired"}, assess.Ready},
}

const rubyModules = `---
document: modulemd
version: 2
data:
  name: ruby
  stream: "2.5"
  version: 1
  context: c1
  arch: x86_64
  summary: Ruby
  description: Ruby
  license: {module: [MIT]}
  artifacts:
    rpms:
    - ruby-0:2.5.9-1.module_el8.x86_64
...
---
document: modulemd
version: 2
data:
  name: ruby
  stream: "3.1"
  version: 1
  context: c1
  arch: x86_64
  summary: Ruby
  description: Ruby
  license: {module: [MIT]}
  artifacts:
    rpms:
    - ruby-0:3.1.4-1.module_el8.x86_64
...
---
document: modulemd-defaults
version: 1
data:
  module: ruby
  stream: "2.5"
...
`

func TestFindings(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", "check-1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	raised := map[string]map[assess.Severity]bool{}
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t)
			f.change(w)
			res := w.assess()
			if d := cmp.Diff(f.want, ids(res)); d != "" {
				for _, x := range res.Findings {
					t.Logf("%s %s: %s %v", x.Severity, x.ID, x.Title, x.Resources)
				}
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if res.Verdict != f.verdict {
				t.Errorf("verdict %s, want %s", res.Verdict, f.verdict)
			}
			var doc bytes.Buffer
			if err := report.NewCheck(w.inv, res).WriteJSON(&doc); err != nil {
				t.Fatal(err)
			}
			if v, err := jsonschema.UnmarshalJSON(&doc); err != nil {
				t.Error(err)
			} else if err := schema.Validate(v); err != nil {
				t.Error(err)
			}
			for _, x := range res.Findings {
				if raised[x.ID] == nil {
					raised[x.ID] = map[assess.Severity]bool{}
				}
				raised[x.ID][x.Severity] = true
				if x.Title == "" || x.Detail == "" || x.Remedy.Text == "" || x.Resources == nil {
					t.Errorf("%s is not complete: %+v", x.ID, x)
				}
			}
		})
	}
	// Every id that is raised is catalogued with its severity, and the other
	// way round.
	for _, ft := range assess.Catalogue() {
		for _, s := range ft.Severities {
			if !raised[ft.ID][s] {
				t.Errorf("%s is catalogued as %s, but no fixture raises it so", ft.ID, s)
			}
			delete(raised[ft.ID], s)
		}
		for s := range raised[ft.ID] {
			t.Errorf("%s is raised as %s, but not catalogued so", ft.ID, s)
		}
		delete(raised, ft.ID)
		for _, text := range []string{ft.Title, ft.Meaning, ft.Why, ft.Action} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s has an empty text", ft.ID)
			}
		}
	}
	for id := range raised {
		t.Errorf("%s is raised, but not catalogued", id)
	}
}

// TestFindingsDoc keeps the table in the documentation as the code has it.
func TestFindingsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Findings\n\n<!-- Generated from agent/assess: go test ./agent/assess -run TestFindingsDoc -update -->\n\n")
	b.WriteString("Everything that `almamigrate check` can report. The ids are stable. `almamigrate explain ID` prints the same.\n\n")
	b.WriteString("| id | severity | title |\n|---|---|---|\n")
	sev := func(ft assess.FindingType) string {
		var s []string
		for _, x := range ft.Severities {
			s = append(s, string(x))
		}
		return strings.Join(s, ", ")
	}
	for _, ft := range assess.Catalogue() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", ft.ID, strings.ReplaceAll(ft.ID, ".", ""), sev(ft), ft.Title)
	}
	for _, ft := range assess.Catalogue() {
		fmt.Fprintf(&b, "\n## %s\n\n**%s** (%s)\n\n%s\n\n*Why it matters:* %s\n\n*What to do:* %s\n", ft.ID, ft.Title, sev(ft), ft.Meaning, ft.Why, ft.Action)
	}
	name := filepath.Join(realdata.ProjectRoot(t), "packaging", "doc", "findings.md")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b.String(), string(have)); d != "" {
		t.Errorf("%s is not what the code says; run the test with -update (-code +file):\n%s", name, d)
	}
}

// TestIncomplete: root is asked for where permission was lacking, and not by who
// is root and met something else.
func TestIncomplete(t *testing.T) {
	for reason, want := range map[string]string{
		"open /etc/x: permission denied": "sudo almamigrate check", "readdirent /etc/dnf/modules.d: not a directory": "almamigrate check --verbose",
	} {
		w := newWorld(t)
		w.inv.Skipped = []inventory.Skipped{{What: "/etc/x", Reason: reason}}
		if got := finding(t, w.assess(), "host.incomplete").Remedy.Command; got != want {
			t.Errorf("%s: %s", reason, got)
		}
	}
}
