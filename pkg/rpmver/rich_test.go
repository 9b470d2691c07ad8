package rpmver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// TestParseRich: what rpmbuild 4.18 takes in a spec file, in some tag.
func TestParseRich(t *testing.T) {
	for in, want := range map[string]string{
		"(a if b)":                            "(a if b)",
		"(a if b else c)":                     "(a if b else c)",
		"(a unless b else c)":                 "(a unless b else c)",
		"(a and b and c)":                     "(a and b and c)",
		"(a with b with c)":                   "(a with b with c)",
		"(a without b)":                       "(a without b)",
		"(a with (b or c))":                   "(a with (b or c))",
		"((b without c) with a)":              "((b without c) with a)",
		"(a without (b or c))":                "(a without (b or c))",
		"(a)":                                 "(a)",
		"((a))":                               "(a)",
		"( a\tor  b )":                        "(a or b)",
		"(a >= 1.0 if b <= 2:3-4)":            "(a >= 1.0 if b <= 2:3-4)",
		"(a>=1.0 if b)":                       "(a>=1.0 if b)",
		"(config(a) if b(c)(64bit))":          "(config(a) if b(c)(64bit))",
		"(a == 1 or b => 2)":                  "(a = 1 or b >= 2)",
		"(/bin/sh or a)":                      "(/bin/sh or a)",
		"(a and (b or c) and (d if e))":       "(a and (b or c) and (d if e))",
		"(a = 1 with a < 2)":                  "(a = 1 with a < 2)",
		"(if and and)":                        "(if and and)",
		"((x if y) or (x unless y) or (z))":   "((x if y) or (x unless y) or z)",
		"(langpacks-core-de if langpacks-de)": "(langpacks-core-de if langpacks-de)",
	} {
		r, err := rpmver.ParseRich(in)
		if err != nil {
			t.Errorf("ParseRich(%q): %v", in, err)
		} else if r.String() != want {
			t.Errorf("ParseRich(%q) prints as %q, want %q", in, r, want)
		}
	}
	for _, in := range []string{
		"", "a", "()", "(", ")", "(a", "(a or b", "(a or)", "(or)b", "(a or b))", "(a or b) c",
		"(a if b if c)", "(a and b or c)", "(a without b without c)", "(a if b else c else d)",
		"(a else b)", "(a or b else c)", "(a with (b and c))", "((a and b) with c)", "((a if b) without c)",
		"(a with (b if c))", "(a with (b or (c unless d)))", "(a if b else c if d)",
		"(a >=1.0 if b)", "(a >= x:1 or b)", "(a >= )", "(a,b)", "(a >= 1 2)", "(a( )", "(a >= 1() or b)",
		strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100),
		strings.Repeat("(", 100000),
		"(a" + strings.Repeat(" or a", 20000) + ")",
	} {
		if r, err := rpmver.ParseRich(in); !errors.Is(err, rpmver.ErrSyntax) {
			t.Errorf("ParseRich(%.60q) = %v, %v; want ErrSyntax", in, r, err)
		}
	}
}

// world maps provided names to package numbers.
type world map[string][]int

func (w world) providers(d rpmver.Dep) []int { return w[d.Name] }

func TestRichEval(t *testing.T) {
	w := world{"a": {1}, "b": {2}, "ab": {3, 1}, "d": {4, 5, 6}, "e": {6, 5}, "self1": {7}, "self2": {7}}
	for in, want := range map[string]bool{
		"(a)":                         true,
		"(x)":                         false,
		"(a and b)":                   true,
		"(a and x)":                   false,
		"(x and a)":                   false,
		"(a or x)":                    true,
		"(x or a)":                    true,
		"(x or y)":                    false,
		"(a if b)":                    true,
		"(x if b)":                    false,
		"(x if y)":                    true,
		"(x if y else a)":             true,
		"(x if y else z)":             false,
		"(a if b else x)":             true,
		"(a unless x)":                true,
		"(a unless b)":                false,
		"(x unless y)":                false,
		"(x unless b else a)":         true,
		"(a unless b else x)":         false,
		"(a unless x else y)":         true,
		"(a with ab)":                 true,
		"(b with ab)":                 false,
		"(self1 with self2)":          true,
		"(a with b)":                  false,
		"(ab without a)":              true,
		"(a without ab)":              false,
		"(a without x)":               true,
		"(x without a)":               false,
		"(d without e)":               true,
		"(e without d)":               false,
		"(d with (a or e))":           true,
		"(d with (a or b))":           false,
		"(d with e with ab)":          false,
		"((d without e) with e)":      false,
		"(a and (x if (y or b)))":     false,
		"(a and (b if (y or b)))":     true,
		"((x or a) and (b unless y))": true,
	} {
		r, err := rpmver.ParseRich(in)
		if err != nil {
			t.Errorf("ParseRich(%q): %v", in, err)
			continue
		}
		if got := r.Eval(w.providers); got != want {
			t.Errorf("%s is %v, want %v", in, got, want)
		}
	}
	if !slices.Equal(w["ab"], []int{3, 1}) || !slices.Equal(w["e"], []int{6, 5}) {
		t.Error("Eval changed the caller's slices")
	}
}

func TestRichPackagesAndDeps(t *testing.T) {
	w := world{"a": {9, 1, 4}, "b": {4, 9}, "c": {1}}
	for in, want := range map[string][]int{
		"(a)": {1, 4, 9}, "(a with b)": {4, 9}, "(a without b)": {1}, "(b or c)": {1, 4, 9}, "(b with c)": {},
	} {
		r, err := rpmver.ParseRich(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Packages(w.providers); !slices.Equal(got, want) {
			t.Errorf("%s names %v, want %v", in, got, want)
		}
	}
	r, err := rpmver.ParseRich("(a >= 2 if (b or c) else d)")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for d := range r.Deps() {
		got = append(got, d.String())
		if len(got) == 3 {
			break
		}
	}
	if want := []string{"a >= 2", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("the first dependencies are %q, want %q", got, want)
	}
}

func FuzzParseRich(f *testing.F) {
	for _, s := range []string{"(a if b else c)", "(a with (b or c))", "(a >= 1:2-3 and b)", "((a))", "(config(a) unless b)", "(a without b)", "(((", "(a,b or c)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := rpmver.ParseRich(s)
		if err != nil {
			if !errors.Is(err, rpmver.ErrSyntax) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		r.Eval(func(d rpmver.Dep) []int { return []int{len(d.Name) % 3} })
		r.Packages(func(d rpmver.Dep) []int { return []int{len(d.Name) % 3, 7} })
		again, err := rpmver.ParseRich(r.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", s, r, err)
		}
		// "1-" is version 1 without release: a '-' at the end may get lost.
		if strip := strings.NewReplacer("-", "").Replace; strip(again.String()) != strip(r.String()) {
			t.Fatalf("%q prints as %q, then as %q", s, r, again)
		}
	})
}
