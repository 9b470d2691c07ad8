package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/verify"
)

// TestFillIn: a hint repeats what was typed, so that it does what was meant.
func TestFillIn(t *testing.T) {
	a := &app{args: []string{"migrate", "--full", "--mirror", "http://m/alma linux", "--reason", "it's"}}
	again := `almamigrate migrate --full --mirror 'http://m/alma linux' --reason 'it'\''s'`
	if got := a.again("-y"); got != again+" -y" {
		t.Error(got)
	}
	if got := a.fillIn("add it: " + typed); got != "add it: "+again {
		t.Error(got)
	}
	secret := &app{args: []string{"check", "--mirror", "https://me:s3c@ret@m/alma"}}
	if got := secret.again(); got != "almamigrate check --mirror https://me:PASSWORD@m/alma" {
		t.Error(got)
	}
	if got := a.fillIn("almamigrate status"); got != "almamigrate status" {
		t.Error(got)
	}
	for exe, want := range map[string]string{"/usr/bin/almamigrate": "almamigrate", "/usr/local/bin/almamigrate": "/usr/local/bin/almamigrate", "/home/a b/am": "'/home/a b/am'"} {
		if got := sudoProgram(exe, nil); got != want {
			t.Errorf("%s: %s", exe, got)
		}
	}
	if got := sudoProgram("", errors.New("gone")); got != "almamigrate" {
		t.Error(got)
	}
}

// TestNextCommands: what comes after a command has its flags.
func TestNextCommands(t *testing.T) {
	for _, tc := range []struct {
		typed, output string
		blockers      []string
		want          string
	}{
		{"plan", "", nil, "almamigrate migrate"},
		{"plan -v --full --mirror http://m", "", nil, "almamigrate migrate --full --mirror http://m"},
		{"--config plan plan --full -o /root/p", "/root/p", nil, "almamigrate --config migrate plan --full --plan /root/p"},
		{"plan --output=/root/p --full", "/root/p", nil, "almamigrate migrate --full --plan /root/p"},
		{"plan -o/root/p", "/root/p", nil, "almamigrate migrate --plan /root/p"},
		{"plan --full", "", []string{"a.b", "c.d"}, "almamigrate explain a.b | almamigrate plan --full --override a.b --reason TEXT"},
	} {
		a := &app{args: strings.Fields(tc.typed)}
		if got := strings.Join(a.afterPlan(&plan.Plan{Blockers: tc.blockers}, tc.output), " | "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.typed, got, tc.want)
		}
	}
	a := &app{args: []string{"migrate", "--full", "--dry-run"}}
	if got := a.without("--dry-run"); got != "almamigrate migrate --full" {
		t.Error(got)
	}
}

// TestVerifiedText: the verdict is the first line, and the next command the last.
func TestVerifiedText(t *testing.T) {
	r := &verify.Report{OK: true, Checks: []verify.Check{{ID: "identity", Level: verify.OK, Text: "fine"}, {ID: "files", Level: verify.Failure, Text: "not fine"}}}
	var b strings.Builder
	if err := writeVerified(&b, "Old 8 to New 8", r); err != nil || !strings.HasPrefix(b.String(), "AS PLANNED  Old 8 to New 8\n\nok     identity: fine\n") || !strings.HasSuffix(b.String(), "\nNext: almamigrate status\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	r.OK = false
	if err := writeVerified(&b, "Old 8 to New 8", r); err != nil || !strings.HasPrefix(b.String(), "DIFFERS  Old 8 to New 8: 1 of 2 things differs") || !strings.Contains(b.String(), "almamigrate rollback") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestExamples: every command has examples in its help, of itself.
func TestExamples(t *testing.T) {
	var walk func(c *cobra.Command)
	n := 0
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			n++
			if !strings.Contains(s.Example, s.CommandPath()) {
				t.Errorf("%s: no example of it: %q", s.CommandPath(), s.Example)
			}
			if strings.Contains(s.Use, " CHANGE") && !strings.Contains(s.Example, s.CommandPath()+" 2") {
				t.Errorf("%s: the example lacks its argument: %q", s.CommandPath(), s.Example)
			}
			walk(s)
		}
	}
	walk((&app{}).rootCommand())
	if n < 20 {
		t.Errorf("only %d commands", n)
	}
}

// One is one, not "1 files".
func TestRollbackCounts(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{keptText(1, "/d"), "Your version of 1 file is kept: /d/files/*/clash-*."},
		{keptText(2, "/d"), "Your versions of 2 files are kept: /d/files/*/clash-*."},
		{backText(1, 1, 1), "  1 package comes back, 1 of AlmaLinux's goes, 1 file is put back\n"},
		{backText(2, 3, 0), "  2 packages come back, 3 of AlmaLinux's go, 0 files are put back\n"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}
