package rpmver_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func TestParseEVR(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want rpmver.EVR
	}{
		{"2.0", rpmver.EVR{Version: "2.0"}},
		{"1:2.0-3", rpmver.EVR{Epoch: 1, Version: "2.0", Release: "3"}},
		{"0:2.0-3.el9", rpmver.EVR{Version: "2.0", Release: "3.el9"}},
		{":2.0", rpmver.EVR{Version: "2.0"}},
		{"007:1", rpmver.EVR{Epoch: 7, Version: "1"}},
		{"4294967295:1", rpmver.EVR{Epoch: 4294967295, Version: "1"}},
		{"1.0-1-2", rpmver.EVR{Version: "1.0-1", Release: "2"}},
		{"1.0-", rpmver.EVR{Version: "1.0"}},
		{"1.0~rc1^git2-0.1", rpmver.EVR{Version: "1.0~rc1^git2", Release: "0.1"}},
		{"0xdeadbeef", rpmver.EVR{Version: "0xdeadbeef"}},
	} {
		got, err := rpmver.ParseEVR(tt.in)
		if err != nil {
			t.Errorf("ParseEVR(%q): %v", tt.in, err)
		} else if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("ParseEVR(%q) (-want +got):\n%s", tt.in, d)
		}
	}
	for _, in := range []string{"", "a:1-1", "-1:1", "+1:1", "1_0:1", "4294967296:1", "1:", "1:-2", "-2", "1 :2"} {
		if got, err := rpmver.ParseEVR(in); !errors.Is(err, rpmver.ErrSyntax) {
			t.Errorf("ParseEVR(%q) = %+v, %v; want ErrSyntax", in, got, err)
		}
	}
}

func TestEVRString(t *testing.T) {
	for in, want := range map[string]string{"0:1-2": "1-2", "3:1-2": "3:1-2", "3:1": "3:1", "1": "1"} {
		e, err := rpmver.ParseEVR(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.String(); got != want {
			t.Errorf("%q prints as %q, want %q", in, got, want)
		}
	}
}

// segments orders pairs by hand, from the rules of the manual page
// rpm-version(7): numbers by value, letters by code, a number above letters,
// '~' before everything, '^' after the end and before anything else.
var segments = []struct {
	a, b string
	want int
}{
	{"1", "1", 0},
	{"1", "2", -1},
	{"9", "10", -1},
	{"3.0", "3.0.0", -1},
	{"3.0.1", "3.0.01", 0},
	{"3.001", "3.1", 0},
	{"0005", "5", 0},
	{"0", "00", 0},
	{"12345678901234567890123", "12345678901234567890124", -1},
	{"4a", "4b", -1},
	{"4a", "4", 1},
	{"4a", "4.1", -1},
	{"rel", "1", -1},
	{"B", "a", -1},
	{"p9", "p10", -1},
	{"x1y", "x1", 1},
	{"7.el8", "7.el8_9", -1},
	{"7.el8_9.alma.1", "7.el8_9", 1},
	{"8.5", "8_5", 0},
	{"8.5", "8..5", 0},
	{"8+5", "8.5.", 0},
	{"2.0", "2é0", 0},
	{"é", "ü", 0},
	{"1.0~rc1", "1.0", -1},
	{"1.0~rc1", "1.0~rc2", -1},
	{"1.0~rc1~a", "1.0~rc1", -1},
	{"1.0~", "1.0", -1},
	{"~", "", -1},
	{"1.0^", "1.0", 1},
	{"1.0^a", "1.0", 1},
	{"1.0^a", "1.0.1", -1},
	{"1.0^a", "1.0^b", -1},
	{"1.0^1~a", "1.0^1", -1},
	{"1.0~rc1^2", "1.0~rc1", 1},
	{"1.0~rc1^2", "1.0", -1},
	{"1.0^2~rc", "1.0", 1},
	{"", "0", -1},
	{"", ".", 0},
	{"a:1", "a:2", -1},
	{"5:1", "6:1", -1},
	{"1-2", "1.2", 0},
	{"1-2", "1-3", -1},
}

func TestCompareSegment(t *testing.T) {
	for _, tt := range segments {
		if got := rpmver.CompareSegment(tt.a, tt.b); got != tt.want {
			t.Errorf("CompareSegment(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := rpmver.CompareSegment(tt.b, tt.a); got != -tt.want {
			t.Errorf("CompareSegment(%q, %q) = %d, want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"1:1.0-1", "2.0-1", 1},
		{"0:1.0-1", "1.0-1", 0},
		{"1.0-1", "1.0-2", -1},
		{"1.0-10.el8", "1.0-9.el8", 1},
		{"1.0", "1.0-1", -1},
		{"1.0-1-2", "1.0-1-3", -1},
		{"2:1-1", "10:1-1", -1},
		{"4294967295:1-1", "1:1-1", 1},
	} {
		a, err := rpmver.ParseEVR(tt.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := rpmver.ParseEVR(tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Compare(b); got != tt.want {
			t.Errorf("%s against %s = %d, want %d", a, b, got, tt.want)
		}
		if got := b.Compare(a); got != -tt.want {
			t.Errorf("%s against %s = %d, want %d", b, a, got, -tt.want)
		}
	}
}

// TestCompareSegmentAgainstRpm asks the rpm of this machine about the table
// above and about many pairs made of the pieces that matter.
func TestCompareSegmentAgainstRpm(t *testing.T) {
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		t.Skipf("SKIPPED: rpm is absent, the order was not compared with rpm's own: %v", err)
	}
	type pair struct{ a, b string }
	var pairs []pair
	for _, s := range segments {
		// rpm's own vercmp splits at ':' and '-' too: segments only here.
		if !strings.ContainsAny(s.a+s.b, ":-") && s.a != "" && s.b != "" {
			pairs = append(pairs, pair{s.a, s.b})
		}
	}
	pieces := []string{"0", "1", "2", "10", "01", "007", "99", "a", "b", "A", "rc", "el8", ".", "..", "_", "+", "~", "~~", "^", "^^", "é", "p"}
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		var b strings.Builder
		b.WriteByte("019a"[rng.IntN(4)])
		for range rng.IntN(6) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 20000 {
		a := word()
		b := word()
		if rng.IntN(2) == 0 { // near neighbours find more
			b = a + pieces[rng.IntN(len(pieces))]
		}
		pairs = append(pairs, pair{a, b})
	}
	const batch = 2000
	for len(pairs) > 0 {
		n := min(batch, len(pairs))
		var script strings.Builder
		script.WriteString("%{lua:")
		for _, p := range pairs[:n] {
			fmt.Fprintf(&script, "print(rpm.vercmp('%s','%s')..' ')", p.a, p.b)
		}
		script.WriteString("}")
		out, err := exec.Command(rpm, "--eval", script.String()).Output()
		if err != nil {
			t.Fatalf("cannot ask rpm: %v", err)
		}
		answers := strings.Fields(string(out))
		if len(answers) != n {
			t.Fatalf("rpm gave %d answers to %d questions", len(answers), n)
		}
		for i, p := range pairs[:n] {
			if got := fmt.Sprint(rpmver.CompareSegment(p.a, p.b)); got != answers[i] {
				t.Errorf("CompareSegment(%q, %q) = %s, rpm says %s", p.a, p.b, got, answers[i])
			}
		}
		pairs = pairs[n:]
	}
}

func TestParseNEVRA(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"bash-5.1.8-9.el9.x86_64", "bash-5.1.8-9.el9.x86_64"},
		{"vim-common-2:8.0.1763-19.el8_6.4.x86_64", "vim-common-2:8.0.1763-19.el8_6.4.x86_64"},
		{"2:vim-common-8.0.1763-19.el8_6.4.x86_64", "vim-common-2:8.0.1763-19.el8_6.4.x86_64"},
		{"glibc-0:2.28-1.i686", "glibc-2.28-1.i686"},
		{"python3.11-3.11-1.noarch", "python3.11-3.11-1.noarch"},
		{"a-b-c-d-1-2.src", "a-b-c-d-1-2.src"},
	} {
		n, err := rpmver.ParseNEVRA(tt.in)
		if err != nil {
			t.Errorf("ParseNEVRA(%q): %v", tt.in, err)
		} else if n.String() != tt.out {
			t.Errorf("ParseNEVRA(%q) prints as %q, want %q", tt.in, n, tt.out)
		}
	}
	want := rpmver.NEVRA{Name: "perl-Foo", EVR: rpmver.EVR{Epoch: 4, Version: "1.5", Release: "2.el8"}, Arch: "noarch"}
	if got, err := rpmver.ParseNEVRA("perl-Foo-4:1.5-2.el8.noarch"); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, in := range []string{"", "bash", "bash-5.1-1", "bash-x:5.1-1.noarch", "-1-1.noarch", "bash--1.noarch", "bash-1-.noarch", "bash-1-1.", "bash-:1-1.noarch"} {
		if got, err := rpmver.ParseNEVRA(in); !errors.Is(err, rpmver.ErrSyntax) {
			t.Errorf("ParseNEVRA(%q) = %+v, %v; want ErrSyntax", in, got, err)
		}
	}
	key := rpmver.NEVRA{Name: "gpg-pubkey", EVR: rpmver.EVR{Version: "3abb34f8", Release: "5ffd890e"}}
	if key.String() != "gpg-pubkey-3abb34f8-5ffd890e" {
		t.Errorf("a row without architecture prints as %q", key)
	}
}

func FuzzParseEVR(f *testing.F) {
	for _, s := range []string{"1:2.0-3", "2.0", "a:1", "1.0-1-2", ":-:", "0:0:0-0", "é~^"} {
		f.Add(s, "1.0-1")
	}
	f.Fuzz(func(t *testing.T, s, u string) {
		a, err := rpmver.ParseEVR(s)
		if err != nil {
			if !errors.Is(err, rpmver.ErrSyntax) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		// A colon in the version makes the printed form ambiguous, as in rpm.
		if again, err := rpmver.ParseEVR(a.String()); err == nil && again != a && !strings.Contains(a.Version, ":") && !(a.Release == "" && strings.Contains(a.Version, "-")) {
			t.Fatalf("%q reads as %+v, prints as %q, reads again as %+v", s, a, a.String(), again)
		}
		if b, err := rpmver.ParseEVR(u); err == nil {
			if a.Compare(b) != -b.Compare(a) || a.Compare(a) != 0 {
				t.Fatalf("%q against %q: the order is not antisymmetric", s, u)
			}
		}
		if n, err := rpmver.ParseNEVRA(s); err == nil && (n.Name == "" || n.Arch == "") {
			t.Fatalf("%q reads as %+v", s, n)
		}
	})
}

func BenchmarkCompareEqual(b *testing.B) {
	x, y := rpmver.EVR{1, "4.18.0-348", "2.el8"}, rpmver.EVR{1, "4.18.0-348", "2.el8"}
	for b.Loop() {
		x.Compare(y)
	}
}

func BenchmarkCompareRelease(b *testing.B) {
	x, y := rpmver.EVR{1, "4.18.0", "348.el8"}, rpmver.EVR{1, "4.18.0", "348.2.1.el8_5"}
	for b.Loop() {
		x.Compare(y)
	}
}
