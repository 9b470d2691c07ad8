package rpmver_test

import (
	"errors"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func dep(t testing.TB, s string) rpmver.Dep {
	t.Helper()
	d, err := rpmver.ParseDep(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDepMatches holds answers of rpm 4.18's transaction check: packages with
// these Provides and Requires were built with rpmbuild and tried with
// "rpm -U --test" in an empty database.
func TestDepMatches(t *testing.T) {
	for _, tt := range []struct {
		prov string
		req  string
		want bool
	}{
		{"foo", "foo", true},
		{"foo", "bar", false},
		{"foo", "Foo", false},

		// A provide without a version meets whatever is asked.
		{"foo", "foo >= 1.0", true},
		{"foo", "foo < 1.0", true},
		{"foo", "foo = 1:1.0-5", true},
		{"foo = 1.0-1", "foo", true},

		{"foo = 1.0-1", "foo >= 1.0", true},
		{"foo = 1.0-1", "foo = 1.0", true},
		{"foo = 1.0-1", "foo > 1.0", false},
		{"foo = 1.0-1", "foo <= 1.0", true},
		{"foo = 1.0-1", "foo < 1.0", false},
		{"foo = 1.0-1", "foo = 1.0-5", false},
		{"foo = 1.0-1", "foo = 0:1.0", true},
		{"foo = 1.0-1", "foo = 1:1.0", false},
		{"foo = 1.0-1", "foo > 1.0-5", false},
		{"foo = 1.0-1", "foo >= 1.0-5", false},
		{"foo = 1.0-1", "foo < 1.0-5", true},

		// A provide without a release that says "=" meets any release.
		{"foo = 1.0", "foo >= 1.0", true},
		{"foo = 1.0", "foo > 1.0", false},
		{"foo = 1.0", "foo < 1.0", false},
		{"foo = 1.0", "foo = 1.0-5", true},
		{"foo = 1.0", "foo > 1.0-5", true},
		{"foo = 1.0", "foo >= 1.0-5", true},
		{"foo = 1.0", "foo < 1.0-5", true},

		{"foo = 1:1.0", "foo = 1.0", false},
		{"foo = 1:1.0", "foo > 1.0", true},
		{"foo = 1:1.0", "foo < 1.0-5", false},
		{"foo = 1:1.0", "foo = 1:1.0", true},
		{"foo = 1:1.0", "foo > 1.0-5", true},

		// Ranges on both sides.
		{"foo >= 2", "foo < 3", true},
		{"foo >= 3", "foo < 3", false},
		{"foo > 3", "foo >= 3", true},
		{"foo <= 3", "foo < 2", true},
		{"foo < 2", "foo > 1", true},
		{"foo < 2", "foo > 2", false},
		{"foo < 2", "foo < 2", true},

		{"foo = 1.0~rc1-1", "foo >= 1.0", false},
		{"foo = 1.0^git1-1", "foo > 1.0", true},
	} {
		prov, req := dep(t, tt.prov), dep(t, tt.req)
		if got := req.Matches(prov); got != tt.want {
			t.Errorf("provide %q, require %q: %v, want %v", tt.prov, tt.req, got, tt.want)
		}
		if got := prov.Matches(req); got != tt.want {
			t.Errorf("provide %q, require %q, sides swapped: %v, want %v", tt.prov, tt.req, got, tt.want)
		}
	}
}

func TestDepMatchesIgnoresOtherFlags(t *testing.T) {
	req := dep(t, "foo = 1.0")
	req.Flags |= rpmver.PreReq | rpmver.FindRequires
	prov := dep(t, "foo = 2.0")
	prov.Flags |= rpmver.PreReq | rpmver.FindProvides
	if req.Matches(prov) {
		t.Error("flag bits that are no comparison made a match")
	}
	// A flag word without a version is an existence test, as in rpm.
	if bare := (rpmver.Dep{Name: "foo", Flags: rpmver.Equal}); !bare.Matches(prov) || bare.String() != "foo" {
		t.Errorf("%q: a dependency without version did not match", bare)
	}
}

func TestDepMatchesEVR(t *testing.T) {
	obsoletes := dep(t, "centos-release < 9")
	for v, want := range map[string]bool{"8.5-3.el8": true, "9.0-1": false, "1:8-1": false} {
		evr, err := rpmver.ParseEVR(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := obsoletes.MatchesEVR(evr); got != want {
			t.Errorf("%s against %s: %v, want %v", obsoletes, v, got, want)
		}
	}
}

func TestParseDep(t *testing.T) {
	for in, want := range map[string]string{
		"foo":              "foo",
		" foo ":            "foo",
		"foo>=1":           "foo>=1", // one word: rpm takes it as a name
		"foo >= 1:2-3":     "foo >= 1:2-3",
		"foo == 0:2":       "foo = 2",
		"libc.so.6()(64)":  "libc.so.6()(64)",
		"foo => 1":         "foo >= 1",
		"foo < 1":          "foo < 1",
		"rpmlib(X) <= 4-1": "rpmlib(X) <= 4-1",
	} {
		if got := dep(t, in).String(); got != want {
			t.Errorf("ParseDep(%q) prints as %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"", "foo >=", "foo ! 1", "foo = a:1", "foo = 1 bar"} {
		if d, err := rpmver.ParseDep(in); !errors.Is(err, rpmver.ErrSyntax) {
			t.Errorf("ParseDep(%q) = %+v, %v; want ErrSyntax", in, d, err)
		}
	}
}

// TestEpochAlone: an Obsoletes of the CentOS Kmods SIG names an epoch and no
// version. It must not cover packages of that epoch and above.
func TestEpochAlone(t *testing.T) {
	d := rpmver.Dep{Name: "kmod-3c59x", Flags: rpmver.Less, EVR: rpmver.EVR{Epoch: 1}}
	for _, tc := range []struct {
		evr  rpmver.EVR
		want bool
	}{
		{rpmver.EVR{Version: "5.14", Release: "1"}, true},
		{rpmver.EVR{Epoch: 1, Version: "5.14", Release: "1"}, false},
		{rpmver.EVR{Epoch: 2, Version: "1", Release: "1"}, false},
	} {
		if got := d.MatchesEVR(tc.evr); got != tc.want {
			t.Errorf("%s covers %s: %v, want %v", d, tc.evr, got, tc.want)
		}
	}
}
