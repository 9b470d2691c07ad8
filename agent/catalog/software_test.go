package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
)

func TestPanels(t *testing.T) {
	seen := map[string]catalog.Panel{}
	for _, p := range load(t).Panels() {
		seen[p.Name] = p
		if p.Source == "" || p.Checked == "" {
			t.Errorf("%s: no source or date", p.Name)
		}
	}
	if p := seen["plesk"]; p.Minimum != "18.0.35" || p.Version != "/usr/local/psa/version" {
		t.Errorf("plesk: %+v", p)
	}
	for _, n := range []string{"cpanel", "directadmin"} {
		if seen[n].Marker == "" {
			t.Errorf("%s is not known", n)
		}
	}
}

func TestAgents(t *testing.T) {
	c := load(t)
	for _, n := range []string{"falcon-sensor", "ds_agent", "kpatch-patch-4_18_0-348", "uptrack-offline", "ksplice", "kernelcare"} {
		a, ok := c.Agent(n)
		if !ok || a.Title == "" || a.Effect == "" || a.Advice == "" || a.Source == "" || a.Checked == "" {
			t.Errorf("%s: %+v, %v", n, a, ok)
		}
	}
	if a, ok := c.Agent("kpatch"); ok {
		t.Errorf("kpatch: %+v", a)
	}
}

// A host adds its own panels and agents; mistakes are named by file and line.
func TestSoftwareOfTheHost(t *testing.T) {
	with := func(text string) (*catalog.Catalog, error) {
		root := t.TempDir()
		dir := filepath.Join(root, catalog.Dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return catalog.Load(root)
	}
	c, err := with("[panel own]\ntitle = Own\nmarker = /opt/own\nadvice = ask us\n[agent acme-*]\ntitle = Acme\neffect = stops\nadvice = call\n[panel plesk]\ntitle = Plesk\nmarker = /opt/psa\nadvice = x\n")
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := c.Agent("acme-agent"); !ok || a.Title != "Acme" {
		t.Errorf("%+v, %v", a, ok)
	}
	markers := map[string]string{}
	for _, p := range c.Panels() {
		markers[p.Name] = p.Marker
	}
	if markers["own"] != "/opt/own" || markers["plesk"] != "/opt/psa" {
		t.Errorf("%v", markers)
	}
	for text, want := range map[string]string{
		"[panel own]\ntitle = Own\n":                                          "own.conf:1",
		"[panel own]\ntitle = Own\nmarker = opt\nadvice = x\n":                "own.conf:1",
		"[panel own]\ntitle = Own\nmarker = /opt\nadvice = x\nminimum = 1\n":  "own.conf:1",
		"[panel own]\ncolour = red\n":                                         "own.conf:2",
		"[agent x]\ntitle = X\neffect = e\n":                                  "own.conf:1",
		"[agent x[]\ntitle = X\neffect = e\nadvice = a\n":                     "own.conf:1",
		"[agent x]\ntitle = X\neffect = e\nadvice = a\nchecked = yesterday\n": "own.conf:5",
	} {
		if _, err := with(text); !errors.Is(err, catalog.ErrData) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
