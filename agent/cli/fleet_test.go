package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFleet(t *testing.T) {
	_, check, _ := run("check", "--demo", "--json")
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "reports"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "reports", "web01.json"), []byte(check), 0o644))
	file := func(n string) string { return filepath.Join(dir, n) }
	code, out, errs := run("fleet", file("reports"), "--names", "file", "--html", file("f.html"), "--csv", file("f.csv"), "--inventory-out", file("w.yml"))
	wantCode(t, code, 0, out, errs)
	wantText(t, out, "1 of 1 host is ready to become AlmaLinux (1 with warnings to read).", "canary 1 host web01", "Next: almamigrate fleet --inventory-out waves.ini REPORT... then: ansible-playbook almamigrate.agent.rollout -i waves.ini -e almamigrate_hosts=almamigrate_canary")
	if !strings.Contains(out, "\nthen: ansible-playbook almamigrate.agent.rollout -i waves.ini -e almamigrate_hosts=almamigrate_canary\n") {
		t.Errorf("the command does not stand on one line:\n%s", out)
	}
	for name, want := range map[string]string{"f.html": "<!DOCTYPE html>", "f.csv": "\r\nweb01,ready,ready-with-warnings,canary,centos,8.5,", "w.yml": "        almamigrate_canary:\n          hosts:\n            \"web01\": {}\n"} {
		data, err := os.ReadFile(file(name))
		must(t, err)
		if !strings.Contains(string(data), want) {
			t.Errorf("%s: %q is missing in:\n%s", name, want, data)
		}
	}
	code, out, errs = run("fleet", "--json", file("reports"))
	wantCode(t, code, 0, out, errs)
	var doc struct {
		Kind    string
		Summary struct{ Hosts, Ready int }
	}
	must(t, json.Unmarshal([]byte(out), &doc))
	if doc.Kind != "almamigrate.fleet" || doc.Summary.Hosts != 1 || doc.Summary.Ready != 1 {
		t.Errorf("got %+v", doc)
	}
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{10, "", []string{"--fail-on", "warning", file("reports")}},
		{10, "", []string{"--stale", "1ns", file("reports")}},
		{1, "", []string{file("f.csv")}},
		{2, "cannot read reports", []string{file("none")}},
		{2, "cannot use --format xml", []string{"--format", "xml", file("reports")}},
		{2, "cannot use --names host", []string{"--names", "host", file("reports")}},
		{2, "cannot use --json with --format csv", []string{"--json", "--format", "csv", file("reports")}},
		{2, "another document to standard output", []string{"--format", "csv", "--html", "-", file("reports")}},
		{2, "wrong number of arguments: the command is almamigrate fleet REPORT...", nil},
	} {
		code, out, errs := run(append([]string{"fleet"}, tt.args...)...)
		if code != tt.code {
			t.Errorf("%v: code %d, want %d\n%s%s", tt.args, code, tt.code, out, errs)
		}
		wantText(t, out+errs, tt.want)
	}
}
