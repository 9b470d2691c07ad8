package assess_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
)

var errTest = errors.New("connection refused")

// depFindings are the titles of the dependency findings that would stop a move.
func depFindings(res *assess.Assessment) []string {
	out := []string{}
	for _, f := range res.Findings {
		if strings.HasPrefix(f.ID, "dep.") && f.ID != "dep.comes-along" {
			out = append(out, f.ID+": "+f.Title)
		}
	}
	return out
}

func incoming(res *assess.Assessment) []string {
	out := []string{}
	for _, i := range res.Incoming {
		out = append(out, i.NEVRA)
	}
	return out
}

func TestClosure(t *testing.T) {
	tests := []struct {
		name     string
		change   func(*world)
		findings []string
		incoming []string
	}{
		{"soname version that goes", func(w *world) {
			w.install("centos", pkg("lib-1-1.el8.x86_64", provides("lib.so.1(V_1)(64bit)")))
			w.install("epel", pkg("app-1-1.el8.x86_64", requires("lib.so.1(V_1)(64bit)")))
			w.carry("appstream", pkg("lib-1-2.el8.x86_64", provides("lib.so.1(V_2)(64bit)")))
		}, []string{"dep.broken: app-1-1.el8.x86_64 requires lib.so.1(V_1)(64bit), which nothing would provide"}, nil},
		{"range that the target leaves", func(w *world) {
			w.install("centos", pkg("lib-1-1.el8.x86_64"))
			w.install("epel", pkg("app-1-1.el8.x86_64", requires("lib < 2")))
			w.carry("appstream", pkg("lib-2-1.el8.x86_64"))
		}, []string{"dep.broken: app-1-1.el8.x86_64 requires lib < 2, which nothing would provide"}, nil},
		{"range that a locked package keeps", func(w *world) {
			w.inv.DNF.Versionlock = []string{"lib-0:1-1.el8.*"}
			w.install("centos", pkg("lib-1-1.el8.x86_64"))
			w.install("epel", pkg("app-1-1.el8.x86_64", requires("lib < 2")))
			w.carry("appstream", pkg("lib-2-1.el8.x86_64"))
		}, nil, nil},
		{"missing package whose sibling moves", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"), pkg("foo-extra-1-1.el8.x86_64", requires("foo = 1-1.el8")))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64"))
		}, []string{"dep.broken: foo-extra-1-1.el8.x86_64 requires foo = 1-1.el8, which nothing would provide"}, nil},
		{"multilib half", func(w *world) {
			w.install("centos", pkg("lib-1-1.el8.i686", provides("lib.so.1")), pkg("lib-1-1.el8.x86_64", provides("lib.so.1()(64bit)")))
			w.install("epel", pkg("app-1-1.el8.i686", requires("lib.so.1")))
			w.carry("appstream", pkg("lib-2-1.el8.i686", provides("lib.so.1")), pkg("lib-2-1.el8.x86_64", provides("lib.so.1()(64bit)")))
		}, nil, nil},
		// What dnf 4.14 does in these two cases was tried.
		{"split package: its update is enough", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64"), pkg("foo-data-2-1.el8.noarch", obsoletes("foo < 2")))
		}, nil, nil},
		{"several obsolete it: all come", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("a-2-1.el8.noarch", obsoletes("foo < 2")), pkg("b-1-1.el8.noarch", obsoletes("foo < 2")), pkg("b-2-1.el8.noarch", obsoletes("foo < 2")))
		}, nil, []string{"b-2-1.el8.noarch"}},
		{"chain of new packages", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("a")), pkg("a-1-1.el8.x86_64", requires("libb")),
				pkg("b-1-1.el8.x86_64", provides("libb"), requires("c")), pkg("b-1-1.el8.i686", provides("libb")))
			w.carry("baseos", pkg("c-1-1.el8.noarch"))
		}, nil, []string{"a-1-1.el8.x86_64", "b-1-1.el8.x86_64", "c-1-1.el8.noarch"}},
		{"new package that breaks", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("a")), pkg("a-1-1.el8.x86_64", requires("nowhere")))
		}, []string{"dep.broken: 1 package of AlmaLinux requires what nothing would provide: nowhere"}, []string{"a-1-1.el8.x86_64"}},
		{"rich: met because the condition is not", func(w *world) {
			w.install("epel", pkg("app-1-1.noarch", requires("(x if y)")))
		}, nil, nil},
		{"rich: condition met, comes along", func(w *world) {
			w.install("epel", pkg("app-1-1.noarch", requires("(x if bash)")))
			w.carry("appstream", pkg("x-1-1.el8.x86_64"))
		}, nil, []string{"x-1-1.el8.x86_64"}},
		{"rich: or", func(w *world) {
			w.install("epel", pkg("app-1-1.noarch", requires("(nowhere or bash >= 4.4.20-6)")))
		}, nil, nil},
		{"rich: with", func(w *world) {
			w.install("epel", pkg("app-1-1.noarch", requires("(bash >= 4.4 with bash < 4.4.20-2)")))
		}, []string{"dep.broken: app-1-1.noarch requires (bash >= 4.4 with bash < 4.4.20-2), which nothing would provide"}, nil},
		{"file of primary that goes", func(w *world) {
			w.install("centos", pkg("tool-1-1.el8.x86_64", files("/usr/bin/tool")))
			w.install("epel", pkg("app-1-1.noarch", requires("/usr/bin/tool")))
			w.carry("appstream", pkg("tool-2-1.el8.x86_64", files("/usr/bin/tool2")))
		}, []string{"dep.broken: app-1-1.noarch requires /usr/bin/tool, which nothing would provide"}, nil},
		{"file of primary that moves to a new package", func(w *world) {
			w.install("centos", pkg("tool-1-1.el8.x86_64", files("/usr/bin/tool")))
			w.install("epel", pkg("app-1-1.noarch", requires("/usr/bin/tool")))
			w.carry("appstream", pkg("tool-2-1.el8.x86_64"), pkg("tool-cli-2-1.el8.x86_64", files("/usr/bin/tool")))
		}, nil, []string{"tool-cli-2-1.el8.x86_64"}},
		{"file outside of primary stays with its package", func(w *world) {
			w.install("epel", pkg("app-1-1.noarch", requires("/usr/share/coreutils/data")))
		}, nil, nil},
		{"file outside of primary that goes with its package", func(w *world) {
			w.install("centos", pkg("libreport-plugin-rhtsupport-1-1.el8.x86_64", files("/usr/share/rht/data")))
			w.install("epel", pkg("app-1-1.noarch", requires("/usr/share/rht/data")))
		}, []string{"dep.broken: app-1-1.noarch requires /usr/share/rht/data, which nothing would provide"}, nil},
		{"conflict between two that come", func(w *world) {
			w.install("centos", pkg("a-1-1.el8.x86_64"), pkg("b-1-1.el8.x86_64"))
			w.carry("appstream", pkg("a-2-1.el8.x86_64", conflicts("b > 1")), pkg("b-2-1.el8.x86_64"))
		}, []string{"dep.conflict: a-2-1.el8.x86_64 conflicts with b-2-1.el8.x86_64"}, nil},
		{"conflict that is there today is left alone", func(w *world) {
			w.install("epel", pkg("a-1-1.noarch", conflicts("b")), pkg("b-1-1.noarch"))
		}, nil, nil},
		{"conflict with itself", func(w *world) {
			w.install("centos", pkg("a-1-1.el8.x86_64"))
			w.carry("appstream", pkg("a-2-1.el8.x86_64", conflicts("mta"), provides("mta")))
		}, nil, nil},
		{"staying package obsoletes one that comes", func(w *world) {
			w.install("epel", pkg("a-1-1.noarch", obsoletes("newlib <= 5")))
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("newlib")), pkg("newlib-2-1.el8.x86_64"))
		}, []string{"dep.conflict: a-1-1.noarch conflicts with newlib-2-1.el8.x86_64"}, []string{"newlib-2-1.el8.x86_64"}},
		{"a provider in a stream that is not active is none", func(w *world) {
			w.modules["appstream"] = rubyModules
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("ruby >= 3")), pkg("ruby-3.1.4-1.module_el8.x86_64"))
		}, []string{"dep.broken: 1 package of AlmaLinux requires what nothing would provide: ruby >= 3"}, nil},
		{"an excluded provider is none", func(w *world) {
			w.inv.DNF.Exclude = []string{"newlib*"}
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("newlib")), pkg("newlib-2-1.el8.x86_64"))
		}, []string{"dep.broken: 1 package of AlmaLinux requires what nothing would provide: newlib"}, nil},
		{"the same version, built otherwise: its dependencies count", func(w *world) {
			w.install("centos", pkg("lib-1-1.el8.x86_64", provides("lib.so.1()(64bit)")), pkg("app-1-1.el8.x86_64", requires("lib.so.1()(64bit)")))
			w.carry("appstream", pkg("lib-2-1.el8.x86_64", provides("lib.so.2()(64bit)")), pkg("app-1-1.el8.x86_64", requires("lib.so.2()(64bit)", "new")), pkg("new-1-1.el8.noarch"))
		}, nil, []string{"new-1-1.el8.noarch"}},
		{"the same version, but hidden: the installed one stays", func(w *world) {
			w.inv.DNF.Exclude = []string{"app"}
			w.install("centos", pkg("lib-1-1.el8.x86_64", provides("lib.so.1()(64bit)")), pkg("app-1-1.el8.x86_64", requires("lib.so.1()(64bit)")))
			w.carry("appstream", pkg("lib-2-1.el8.x86_64", provides("lib.so.2()(64bit)")), pkg("app-1-1.el8.x86_64", requires("lib.so.2()(64bit)")))
		}, []string{"dep.broken: app-1-1.el8.x86_64 requires lib.so.1()(64bit), which nothing would provide"}, nil},
		{"of several providers the first that goes with what stays", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.install("epel", pkg("own-1-1.noarch", conflicts("mta-a")))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("mta")), pkg("mta-a-1-1.el8.x86_64", provides("mta")), pkg("mta-bb-1-1.el8.x86_64", provides("mta"), conflicts("own")),
				pkg("mta-ccc-1-1.el8.x86_64", provides("mta"), requires("mta-ccc-data")), pkg("mta-ccc-data-1-1.el8.noarch", requires("nowhere")), pkg("mta-dddd-1-1.el8.x86_64", provides("mta")))
		}, nil, []string{"mta-dddd-1-1.el8.x86_64"}},
		{"no provider goes with what stays", func(w *world) {
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.install("epel", pkg("own-1-1.noarch", conflicts("mta-a", "mta-bb")))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("mta")), pkg("mta-a-1-1.el8.x86_64", provides("mta")), pkg("mta-bb-1-1.el8.x86_64", provides("mta")))
		}, []string{"dep.conflict: own-1-1.noarch conflicts with mta-a-1-1.el8.x86_64"}, []string{"mta-a-1-1.el8.x86_64"}},
		{"a locked name does not come in another version", func(w *world) {
			w.inv.DNF.Versionlock = []string{"new-0:1-1.el8.*"}
			w.install("centos", pkg("foo-1-1.el8.x86_64"))
			w.carry("appstream", pkg("foo-2-1.el8.x86_64", requires("new")), pkg("new-2-1.el8.x86_64"))
		}, []string{"dep.broken: 1 package of AlmaLinux requires what nothing would provide: new"}, nil},
		{"branding provides what the old one did", func(w *world) {
			w.install("centos", pkg("centos-logos-85-1.el8.x86_64", provides("system-logos = 85"), files("/usr/share/pixmaps/logo.png")))
			w.install("epel", pkg("app-1-1.noarch", requires("system-logos", "/usr/share/pixmaps/logo.png", "system-release >= 8")))
			w.carry("appstream", pkg("almalinux-logos-84-1.el8.x86_64", provides("system-logos = 84")))
		}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w)
			res := w.assess()
			if tt.findings == nil {
				tt.findings = []string{}
			}
			if tt.incoming == nil {
				tt.incoming = []string{}
			}
			if d := cmp.Diff(tt.findings, depFindings(res)); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.incoming, incoming(res)); d != "" {
				t.Errorf("incoming (-want +got):\n%s", d)
			}
		})
	}
}

// TestBrokenNamesBoth: a break names the package that requires, the one that
// provides today, the requirement and the command.
func TestBrokenNamesBoth(t *testing.T) {
	w := newWorld(t)
	w.install("centos", pkg("lib-1-1.el8.x86_64"))
	w.install("epel", pkg("app-1-1.el8.x86_64", requires("lib < 2")))
	w.carry("appstream", pkg("lib-2-1.el8.x86_64"))
	res := w.assess()
	f := finding(t, res, "dep.broken")
	want := assess.Finding{
		ID: "dep.broken", Severity: assess.Blocker,
		Title:  "app-1-1.el8.x86_64 requires lib < 2, which nothing would provide",
		Detail: "lib-1-1.el8.x86_64 provides lib < 2 today, which becomes lib-2-1.el8.x86_64, and that does not.",
		Resources: []assess.Resource{
			{Kind: "package", Name: "app-1-1.el8.x86_64", Detail: "stays (third-party); requires lib < 2"},
			{Kind: "package", Name: "lib-1-1.el8.x86_64", Detail: "provides it today"},
		},
		Remedy: assess.Remedy{Text: "remove it before the move, or wait for a version of its vendor that fits", Command: "dnf remove app"},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	if r := result(t, res, "app-1-1.el8.x86_64"); !strings.Contains(r.Reason, "1 of 1 dependency would break") {
		t.Error(r.Reason)
	}
}
