package assess_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func installedPackages(t *testing.T, pairs ...string) (out []assess.InstalledPackage) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		n, err := rpmver.ParseNEVRA(pairs[i])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, assess.InstalledPackage{NEVRA: n, Module: pairs[i+1]})
	}
	return out
}

func TestSince(t *testing.T) {
	before := installedPackages(t, "bash-1-1.x86_64", "", "foo-1-1.x86_64", "", "gone-1-1.noarch", "", "ruby-2.5-1.module_el8.x86_64", "", "perl-5-1.module_el8.x86_64", "",
		"lost-5-1.module_el8.x86_64", "", "kernel-core-1-1.x86_64", "", "kernel-core-1-3.x86_64", "", "fresh-9-1.x86_64", "")
	now := installedPackages(t, "bash-1-3.x86_64", "", "foo-1-1.x86_64", "", "ruby-2.5-3.module_el8.x86_64", "ruby:2.5", "perl-5-1.module_el8.x86_64", "perl:5.26",
		"kernel-core-1-1.x86_64", "", "kernel-core-1-3.x86_64", "", "kernel-core-1-5.x86_64", "", "fresh-9-1.x86_64", "")
	res := assess.Since(before, now, []assess.AdvisorySource{{Name: "baseos", Advisories: []*repodata.Advisory{
		advisory("A-bash", "Low", "bash-1-2.x86_64", "CVE-1"), advisory("A-bash-more", "Critical", "bash-1-4.x86_64", "CVE-2"),
		advisory("A-foo", "Important", "foo-2-1.any", "CVE-3"), advisory("A-gone", "Moderate", "gone-2-1.noarch", "CVE-4"),
		advisory("A-arch", "Low", "bash-9-9.aarch64"), advisory("A-fresh", "Low", "fresh-9-1.x86_64"), advisory("A-absent", "Low", "zsh-9-9.x86_64"),
		modular(advisory("A-ruby", "Low", "ruby-2.5-2.module_el8.x86_64"), "ruby", "2.5"), modular(advisory("A-ruby-other", "Low", "ruby-3-2.module_el8.x86_64"), "ruby", "3.1"),
		modular(advisory("A-perl", "Low", "perl-5-2.module_el8.x86_64"), "perl", "5.26"), modular(advisory("A-lost", "Low", "lost-9-2.module_el8.x86_64"), "lost", "1"),
		modular(advisory("A-unsaid", "Low", "ruby-9-2.module_el8.x86_64"), "", "?"), advisory("A-plain", "Low", "ruby-9-2.x86_64"),
		modular(advisory("A-modular", "Low", "bash-9-2.module_el8.x86_64"), "bash", "1"),
		advisory("A-kernel", "Important", "kernel-core-1-4.x86_64"), advisory("A-kernel-old", "Important", "kernel-core-1-2.x86_64"),
	}}, {Name: "appstream", Err: assess.ErrNoAdvisories}})
	if got, want := idsOf(res.Closed), "A-kernel A-gone A-bash A-ruby"; got != want {
		t.Errorf("closed: %s, want %s", got, want)
	}
	if got, want := idsOf(res.Open), "A-bash-more A-foo A-perl"; got != want {
		t.Errorf("open: %s, want %s", got, want)
	}
	if d := cmp.Diff([]string{"A-lost", "A-unsaid"}, res.Unclear); d != "" {
		t.Error(d)
	}
	if s := res.Summary; s.Closed.Security != 4 || s.Open.Security != 3 || !s.Reboot || s.Closed.BySeverity["low"] != 2 || len(res.Sources) != 2 {
		t.Errorf("%+v", s)
	}
	if p := res.Open[0].Packages[0]; p.NEVRA != "bash-1-1.x86_64" || p.After != "bash-1-3.x86_64" || p.Fixed != "1-4" {
		t.Errorf("%+v", p)
	}
}
