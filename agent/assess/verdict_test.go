package assess_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*world)
		pkg     string
		verdict assess.PackageVerdict
		target  string   // NEVRA, "" for none
		reason  []string // parts of the reason
	}{
		{"same", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1-1.el8.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Same, "foo-1-1.el8.x86_64", []string{"appstream"}},
		{"newer by epoch", func(w *world) {
			w.install("centos", pkg("foo-9-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1:1-1.el8.x86_64"))
		}, "foo-9-1.el8.x86_64", assess.Newer, "foo-1:1-1.el8.x86_64", nil},
		{"rebuilt", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1-1.el8.alma.1.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-1-1.el8.alma.1.x86_64", []string{"rebuilt with AlmaLinux's changes"}},
		{"tilde is before", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1~rc1-1.el8.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Older, "foo-1~rc1-1.el8.x86_64", nil},
		{"caret is after", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1^git1-1.el8.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-1^git1-1.el8.x86_64", nil},
		{"highest of several repositories", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64"), pkg("foo-4-1.el8.i686"))
			w.carry("baseos", pkg("foo-3-1.el8.x86_64"), pkg("foo-1-9.el8.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-3-1.el8.x86_64", nil},
		{"stream ahead", func(w *world) {
			w.inv.Host.Distro = inventory.CentOSStream
			w.install("centos", pkg("foo-2-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1-1.el8.x86_64"))
		}, "foo-2-1.el8.x86_64", assess.Older, "foo-1-1.el8.x86_64", []string{"CentOS Stream is ahead"}},
		{"almalinux ahead of the mirror", func(w *world) {
			w.inv.Host.Distro, w.inv.Host.State = inventory.AlmaLinux, inventory.StateAlmaLinux
			w.install("almalinux", pkg("foo-2-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1-1.el8.x86_64"))
		}, "foo-2-1.el8.x86_64", assess.Older, "foo-1-1.el8.x86_64", []string{"behind"}},
		{"noarch becomes x86_64", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.noarch"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64"), pkg("foo-2-1.el8.i686"))
		}, "foo-1-1.el8.noarch", assess.Newer, "foo-2-1.el8.x86_64", []string{"noarch becomes x86_64"}},
		{"x86_64 becomes noarch", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.noarch"))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-2-1.el8.noarch", nil},
		{"i686 stays i686", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.i686"))
			w.carry("appstream", pkg("foo-3-1.el8.x86_64"), pkg("foo-2-1.el8.i686"))
		}, "foo-1-1.el8.i686", assess.Newer, "foo-2-1.el8.i686", nil},
		{"i686 that is x86_64 only", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.i686"))
			w.carry("appstream", pkg("foo-3-1.el8.x86_64"))
		}, "foo-1-1.el8.i686", assess.Missing, "", []string{"for x86_64 only, not for i686"}},
		{"branding", func(w *world) {
			w.install("centos", pkg("centos-logos-85-1.el8.x86_64"))
			w.carry("appstream", pkg("almalinux-logos-84-1.el8.x86_64"))
		}, "centos-logos-85-1.el8.x86_64", assess.Replaced, "almalinux-logos-84-1.el8.x86_64", []string{"almalinux-logos"}},
		{"obsoleted though carried", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-1-2.el8.x86_64"), pkg("bar-2-1.el8.x86_64", obsoletes("foo < 2")))
		}, "foo-1-1.el8.x86_64", assess.Replaced, "bar-2-1.el8.x86_64", []string{"obsoleted by bar"}},
		{"obsoletes an older version only", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-2.el8.x86_64"), pkg("bar-2-1.el8.x86_64", obsoletes("foo < 2")))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-2-2.el8.x86_64", nil},
		{"off", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("powertools", pkg("foo-2-2.el8.x86_64"))
		}, "foo-1-1.el8.x86_64", assess.Newer, "foo-2-2.el8.x86_64", []string{"only in powertools, which would be off"}},
		{"third-party from a repository", func(w *world) {
			w.inv.Keys = append(w.inv.Keys, inventory.Key{Fingerprint: "94E279EB8D8F25B21810ADF121EA45AB2F86D6A1", KeyIDs: []string{"21ea45ab2f86d6a1"}, Owner: "epel", Source: epelFile})
			w.inv.Repos = append(w.inv.Repos,
				inventory.Repo{ID: "epel-testing", Enabled: false, GPGKeys: []string{"file://" + epelFile}},
				inventory.Repo{ID: "extra-packages", Enabled: true, GPGKeys: []string{"file://" + epelFile}})
			w.install("epel", pkg("htop-3-1.el8.x86_64", requires("libc.so.6()(64bit)")))
		}, "htop-3-1.el8.x86_64", assess.ThirdParty, "", []string{"signed by epel", "repository extra-packages", "its dependencies hold"}},
		{"unsigned from the one unchecked repository", func(w *world) {
			w.inv.Repos = append(w.inv.Repos, inventory.Repo{ID: "inhouse", Enabled: true})
			w.install("", pkg("acme-3-1.x86_64"))
		}, "acme-3-1.x86_64", assess.ThirdParty, "", []string{"unsigned", "inhouse"}},
		{"vendor lies", func(w *world) {
			w.install("", pkg("acme-3-1.x86_64"))
			w.last().Vendor = "CentOS"
		}, "acme-3-1.x86_64", assess.Local, "", nil},
		{"older third-party of the same name", func(w *world) {
			w.install("epel", pkg("nginx-2-1.el8.x86_64"))
			w.carry("appstream", pkg("nginx-1-1.el8.x86_64"))
		}, "nginx-2-1.el8.x86_64", assess.Older, "nginx-1-1.el8.x86_64", []string{"signed by epel", "does not heed"}},
		{"modular in its stream", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.install("centos", pkg("ruby-3.1.2-1.module_el8.x86_64"))
			w.last().ModuleLabel = "ruby:3.1:8050:c0"
			w.carry("appstream", pkg("ruby-2.5.9-1.module_el8.x86_64"), pkg("ruby-3.1.4-1.module_el8.x86_64"))
		}, "ruby-3.1.2-1.module_el8.x86_64", assess.Newer, "ruby-3.1.4-1.module_el8.x86_64", nil},
		{"stream enabled on the host", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.inv.DNF.Modules = []inventory.ModuleState{{Name: "ruby", Stream: "3.1", State: "enabled"}}
			w.install("centos", pkg("ruby-3.0.0-1.el8.x86_64"))
			w.carry("appstream", pkg("ruby-2.5.9-1.module_el8.x86_64"), pkg("ruby-3.1.4-1.module_el8.x86_64"))
		}, "ruby-3.0.0-1.el8.x86_64", assess.Newer, "ruby-3.1.4-1.module_el8.x86_64", nil},
		{"default stream", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.install("centos", pkg("ruby-2.5.0-1.el8.x86_64"))
			w.carry("appstream", pkg("ruby-2.5.9-1.module_el8.x86_64"), pkg("ruby-3.1.4-1.module_el8.x86_64"))
		}, "ruby-2.5.0-1.el8.x86_64", assess.Newer, "ruby-2.5.9-1.module_el8.x86_64", nil},
		{"active stream hides the package outside", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.install("centos", pkg("ruby-2.5.0-1.el8.x86_64"))
			w.carry("appstream", pkg("ruby-2.5.9-1.module_el8.x86_64"))
			w.carry("baseos", pkg("ruby-9-1.el8.x86_64"))
		}, "ruby-2.5.0-1.el8.x86_64", assess.Newer, "ruby-2.5.9-1.module_el8.x86_64", nil},
		{"module disabled", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.inv.DNF.Modules = []inventory.ModuleState{{Name: "ruby", State: "disabled"}}
			w.install("centos", pkg("ruby-2.5.0-1.el8.x86_64"))
			w.carry("appstream", pkg("ruby-2.5.9-1.module_el8.x86_64"))
		}, "ruby-2.5.0-1.el8.x86_64", assess.Missing, "", []string{"only in ruby:2.5, which is not enabled"}},
		{"held by a lock", func(w *world) {
			w.inv.DNF.Versionlock = []string{"bash-0:4.4.20-1.el8.*"}
		}, "bash-4.4.20-1.el8.x86_64", assess.Newer, "bash-4.4.20-6.el8_10.x86_64", []string{"stays as it is", "versionlock"}},
		{"a lock that fits the target too", func(w *world) {
			w.inv.DNF.Versionlock = []string{"bash-0:4.4.20-*"}
		}, "bash-4.4.20-1.el8.x86_64", assess.Newer, "bash-4.4.20-6.el8_10.x86_64", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w)
			r := result(t, w.assess(), tt.pkg)
			if r.Verdict != tt.verdict {
				t.Errorf("verdict %s, want %s (%s)", r.Verdict, tt.verdict, r.Reason)
			}
			target := ""
			if r.Target != nil {
				target = r.Target.NEVRA
			}
			if target != tt.target {
				t.Errorf("target %q, want %q", target, tt.target)
			}
			for _, part := range tt.reason {
				if !strings.Contains(r.Reason, part) {
					t.Errorf("reason %q lacks %q", r.Reason, part)
				}
			}
		})
	}
}

// TestKernelGroup: several installed kernels are one decision, by the newest.
func TestKernelGroup(t *testing.T) {
	w := newWorld(t)
	w.install("centos", pkg("kernel-core-4.18.0-2.el8.x86_64", provides("installonlypkg(kernel)")), pkg("kernel-core-4.18.0-10.el8.x86_64"))
	w.carry("baseos", pkg("kernel-core-4.18.0-9.el8.x86_64"))
	res := w.assess()
	for _, n := range []string{"kernel-core-4.18.0-2.el8.x86_64", "kernel-core-4.18.0-10.el8.x86_64"} {
		r := result(t, res, n)
		if r.Verdict != assess.Older || r.Target == nil || r.Target.NEVRA != "kernel-core-4.18.0-9.el8.x86_64" {
			t.Errorf("%s: %s -> %v", n, r.Verdict, r.Target)
		}
	}
	if r := result(t, res, "kernel-core-4.18.0-2.el8.x86_64"); !strings.Contains(r.Reason, "the newest, kernel-core-4.18.0-10.el8.x86_64, decides") {
		t.Error(r.Reason)
	}
	if f := finding(t, res, "pkg.older"); len(f.Resources) != 1 {
		t.Errorf("pkg.older counts every kernel: %v", f.Resources)
	}
}

// TestOracleStream: Oracle's ol8 stream is AlmaLinux's rhel8.
func TestOracleStream(t *testing.T) {
	w := newWorld(t)
	w.modules["appstream"] = strings.NewReplacer("ruby", "virt", `"2.5"`, "rhel8", "2.5.9", "6.2").Replace(rubyModules)
	w.inv.DNF.Modules = []inventory.ModuleState{{Name: "virt", Stream: "ol8", State: "enabled"}}
	w.install("centos", pkg("virt-6.0-1.module_el8.x86_64"))
	w.last().ModuleLabel = "virt:ol8:1:c"
	w.carry("appstream", pkg("virt-6.2-1.module_el8.x86_64"))
	res := w.assess()
	if r := result(t, res, "virt-6.0-1.module_el8.x86_64"); r.Verdict != assess.Newer || r.Stream != "virt:ol8" || r.Target.Stream != "virt:rhel8" {
		t.Errorf("%s %s -> %+v", r.Verdict, r.Stream, r.Target)
	}
	for _, f := range res.Findings {
		if f.ID == "pkg.module-stream-missing" {
			t.Error(f.Title)
		}
	}
}

// TestStreamRemedy: resetting a module is not enough while its packages are installed.
func TestStreamRemedy(t *testing.T) {
	for _, tc := range []struct{ stream, label, command string }{
		{"ruby:9.9", "", "dnf module reset ruby"},
		{"ruby:9.9", "ruby:9.9:1:c", "dnf module switch-to ruby:STREAM"},
		{"gone:1", "", "dnf module reset gone"},
		{"gone:1", "gone:1:1:c", "dnf module reset gone; dnf remove app"},
	} {
		w := newWorld(t)
		w.modules["appstream"] = rubyModules
		name, stream, _ := strings.Cut(tc.stream, ":")
		w.inv.DNF.Modules = []inventory.ModuleState{{Name: name, Stream: stream, State: "enabled"}}
		if tc.label != "" {
			w.install("centos", pkg("app-6.0-1.module_el8.x86_64"))
			w.last().ModuleLabel = tc.label
		}
		if f := finding(t, w.assess(), "pkg.module-stream-missing"); f.Remedy.Command != tc.command {
			t.Errorf("%s, installed %q: %q, want %q", tc.stream, tc.label, f.Remedy.Command, tc.command)
		}
	}
}

// TestUnreadRepository: nothing is called missing while a needed repository is
// out of reach.
func TestUnreadRepository(t *testing.T) {
	w := newWorld(t)
	w.install("centos", pkg("foo-1-1.el8.x86_64", requires("nothing")))
	w.repo("appstream").Err = errTest
	res := w.assess()
	if res.Verdict != assess.Unknown {
		t.Error(res.Verdict)
	}
	if d := cmp.Diff([]string{"blocker repo.unreachable"}, ids(res)); d != "" {
		t.Error(d)
	}
}

// TestDeterministic: the order in which rows, repositories and keys come does
// not show in the result.
func TestDeterministic(t *testing.T) {
	build := func(reverse bool) *assess.Assessment {
		w := newWorld(t)
		w.install("epel", pkg("b-1-1.x86_64"), pkg("a-1-1.x86_64"))
		w.install("centos", pkg("c-1-1.x86_64"), pkg("d-1-1.x86_64", requires("nowhere", "nobody")))
		if reverse {
			for i, j := 0, len(w.inv.Packages)-1; i < j; i, j = i+1, j-1 {
				w.inv.Packages[i], w.inv.Packages[j] = w.inv.Packages[j], w.inv.Packages[i]
			}
			w.repos[0], w.repos[2] = w.repos[2], w.repos[0]
		}
		return w.assess()
	}
	if d := cmp.Diff(build(false), build(true)); d != "" {
		t.Error(d)
	}
}
