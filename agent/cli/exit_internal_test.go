package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// What an exit code means is said in the same words by the help, the README and
// the collection, so that a search for them finds all three.
func TestExitCodesAreWordedOnce(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(realdata.ProjectRoot(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	readme := map[int]string{}
	_, table, _ := strings.Cut(read("README.md"), "## Exit codes")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(table, -1) {
		code, _ := strconv.Atoi(m[1])
		readme[code] = strings.ReplaceAll(m[2], "`", "")
	}
	plugin := read("packaging/ansible/plugins/plugin_utils/agent.py")
	names := regexp.MustCompile(`(?m)^(EXIT_\w+(?:, EXIT_\w+)+) = ([\d, ]+)$`).FindAllStringSubmatch(plugin, -1)
	said := map[int]string{}
	for _, m := range names {
		codes := strings.Split(m[2], ", ")
		for i, name := range strings.Split(m[1], ", ") {
			code, err := strconv.Atoi(codes[i])
			text := regexp.MustCompile(`(?m)^    ` + name + `: "(.*)",$`).FindStringSubmatch(plugin)
			if err != nil || text == nil {
				t.Fatalf("%s: %v %q", name, err, text)
			}
			said[code] = text[1]
		}
	}
	if len(readme) != len(exitCodes) || len(said) != len(exitCodes) {
		t.Errorf("%d codes in the README, %d in the collection, %d in the help", len(readme), len(said), len(exitCodes))
	}
	for _, e := range exitCodes {
		if readme[e.Code] != e.Text {
			t.Errorf("%d: the README says %q, the help %q", e.Code, readme[e.Code], e.Text)
		}
		// The collection may leave out which command it is, and say what to set.
		if s := said[e.Code]; e.Code != ExitFindings && (s == "" || !strings.HasPrefix(e.Text, s) && !strings.HasPrefix(s, e.Text)) {
			t.Errorf("%d: the collection says %q, the help %q", e.Code, s, e.Text)
		}
	}
}
