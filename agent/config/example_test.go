package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The settings file that packages install says what holds anyway, names every
// key there is, and all that it offers can be taken.
func TestInstalledFile(t *testing.T) {
	data, err := os.ReadFile("../../packaging/almamigrate.conf")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	if err := c.Parse("almamigrate.conf", data); err != nil {
		t.Fatal(err)
	}
	c.Files = nil
	if d := cmp.Diff(Default(), c); d != "" {
		t.Errorf("as installed it changes settings:\n%s", d)
	}

	text := regexp.MustCompile(`(?m)^#(\[|[a-z_0-9]+ =)`).ReplaceAllString(string(data), "$1")
	if err := Default().Parse("almamigrate.conf", []byte(text)); err != nil {
		t.Errorf("with everything in it turned on: %v", err)
	}
	man, err := os.ReadFile("../../packaging/man/almamigrate.conf.5")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(man), `\-`, "-")
	for section, keys := range sections {
		for k := range keys {
			if !regexp.MustCompile(`(?m)^#?` + k + ` =`).MatchString(inSection(string(data), section)) {
				t.Errorf("almamigrate.conf has no %s in [%s]", k, section)
			}
			if !regexp.MustCompile(`\b` + k + `\b`).MatchString(page) {
				t.Errorf("almamigrate.conf(5) has no %s of [%s]", k, section)
			}
		}
	}
}

// inSection returns the lines of a section, commented out or not.
func inSection(text, name string) string {
	var out strings.Builder
	in := false
	for l := range strings.Lines(text) {
		if m := regexp.MustCompile(`^#?\[([a-z]+)`).FindStringSubmatch(l); m != nil {
			in = m[1] == name
		}
		if in {
			out.WriteString(l)
		}
	}
	return out.String()
}
