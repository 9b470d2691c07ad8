package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/cli"
)

// TestMistyped: what is typed wrongly ends with 2 and with what was meant, which
// can be typed as it stands.
func TestMistyped(t *testing.T) {
	for _, tc := range []struct{ typed, hint string }{
		{"chek", "almamigrate check"},
		{"rolback -y", "almamigrate rollback"},
		{"UNDO", "almamigrate rollback"},
		{"analyze", "almamigrate check"},
		{"versoin", "almamigrate --version"}, //nolint:misspell // typed wrongly on purpose,
		{"version", "almamigrate --version"},
		{"commit", "almamigrate migrate --commit"},
		{"resume", "almamigrate migrate --resume"},
		{"qqqqqq", "almamigrate --help"},
		{"changes delete x", "almamigrate changes prune"},
		{"timer on", "almamigrate timer enable"},
		{"completion tcsh", "almamigrate completion zsh"},
		{"help chek", "almamigrate check"},
		{"help qqqqqq", "almamigrate --help"},
		{"check --mirro http://x", "almamigrate check --mirror"},
		{"migrate --dryrun", "almamigrate migrate --dry-run"},
		{"check --qqqqqq", "almamigrate check --help"},
		{"--full migrate", "almamigrate migrate --full"},
		{"changes --force prune", "almamigrate changes prune --force"},
		{"check extra", "almamigrate check --help"},
		{"changes show", "almamigrate changes show --help"},
		{"plan --override pkg.missing", "almamigrate plan --help"},
	} {
		args := strings.Fields(tc.typed)
		code, out, errs := run(args...)
		wantCode(t, code, cli.ExitUsage, out, errs)
		_, hint, _ := strings.Cut(errs, "next: ")
		if hint = strings.TrimSpace(hint); hint != tc.hint && !strings.Contains(" | "+hint+" | ", " | "+tc.hint+" | ") {
			t.Errorf("%s: the hint is %q, not %q", tc.typed, hint, tc.hint)
		}
		if out != "" {
			t.Errorf("%s: standard output is not empty: %q", tc.typed, out)
		}
	}
}

// TestOneDocument: with --json there is one document or nothing, also where a
// command has none to write.
func TestOneDocument(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		typed string
		code  int
		kind  string
	}{
		{"", cli.ExitUsage, "error"},
		{"changes", cli.ExitUsage, "error"},
		{"timer", cli.ExitUsage, "error"},
		{"completion", cli.ExitUsage, "error"},
		{"completion bash", cli.ExitUsage, "error"},
		{"man " + dir, cli.ExitUsage, "error"},
		{"support-bundle --list --state-dir " + dir, cli.ExitOK, "support-bundle"},
		{"support-bundle --state-dir " + dir + " -o " + dir + "/b.tar.gz", cli.ExitOK, "support-bundle"},
		{"support-bundle --state-dir " + dir + " -o " + dir + "/no/b.tar.gz", cli.ExitUsage, "error"},
	} {
		code, out, errs := run(append(strings.Fields(tc.typed), "--json")...)
		wantCode(t, code, tc.code, out, errs)
		var doc struct {
			Kind  string           `json:"kind"`
			File  string           `json:"file"`
			Files []map[string]any `json:"files"`
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Kind != "almamigrate."+tc.kind {
			t.Errorf("%s --json: %v, kind %q\n%s", tc.typed, err, doc.Kind, out)
		}
		if tc.kind == "support-bundle" && len(doc.Files) == 0 {
			t.Errorf("%s --json: no files\n%s", tc.typed, out)
		}
		if doc.File != "" {
			if _, err := os.Stat(doc.File); err != nil || filepath.Dir(doc.File) != dir {
				t.Error(doc.File, err)
			}
		}
	}
}
