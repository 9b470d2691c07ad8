package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReportDemo(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	code, out, errs := run("report", "--demo", "--html", page)
	wantCode(t, code, 0, out, errs)
	wantText(t, out, "AlmaLinux 8: ", "packages judged", "page "+page)
	data, err := os.ReadFile(page)
	must(t, err)
	wantText(t, string(data), "<!DOCTYPE html>", "Verdict:", "What changes", "Kernel and modules", "Boot and disk")

	code, out, errs = run("report", "--demo", "--json")
	wantCode(t, code, 0, out, errs)
	var doc struct{ Kind, Verdict string }
	must(t, json.Unmarshal([]byte(out), &doc))
	if doc.Kind != "almamigrate.report" || doc.Verdict == "" {
		t.Errorf("got %+v", doc)
	}

	// the document of check makes a page as well, from standard output to standard output
	_, check, _ := run("check", "--demo", "--json")
	file := filepath.Join(t.TempDir(), "check.json")
	must(t, os.WriteFile(file, []byte(check), 0o644))
	code, out, errs = run("report", "--html", "-", "--input", file)
	wantCode(t, code, 0, out, errs)
	if !strings.HasPrefix(out, "<!DOCTYPE html>") || !strings.HasSuffix(out, "</html>\n") {
		t.Errorf("standard output is not the page alone: %.80q", out)
	}
}

func TestReportUsage(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.json")
	must(t, os.WriteFile(junk, []byte(`{"kind":"something"}`), 0o644))
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"report", "--root", "/srv/image"}, 2, "cannot report on an image"},
		{[]string{"report", "--input", junk}, 2, "not a check or report"},
		{[]string{"report", "--input", "/no/such"}, 2, "cannot read the report"},
		{[]string{"report", "extra"}, 2, "almamigrate report takes no arguments but flags"},
		{[]string{"timer", "enable", "extra"}, 2, "almamigrate timer enable takes no arguments but flags"},
		{[]string{"support-bundle", "--root", "/srv/image"}, 2, "cannot make a support bundle of an image"},
	} {
		code, out, errs := run(tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: code %d, want %d with %q\n%s%s", tt.args, code, tt.code, tt.want, out, errs)
		}
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		code, out, errs := run("timer", "status")
		wantCode(t, code, 12, out, errs)
		wantText(t, errs, "systemd does not run this host", "/etc/cron.d/almamigrate")
	}
}

// A host that cannot be checked gets a report that says so, in the state
// folder, and the code of the failure.
func TestReportFailure(t *testing.T) {
	if _, err := os.Stat("/etc/redhat-release"); err == nil {
		t.Skip("SKIPPED: this machine is of the RHEL family itself: its check would succeed")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "c.conf")
	must(t, os.WriteFile(conf, []byte("[report]\njournal = no\nansible_fact = no\ntextfile_dir = "+dir+"\n[endpoint down]\nurl = http://127.0.0.1:1/\nretries = 0\n"), 0o644))
	code, out, errs := run("report", "--config", conf, "--state-dir", filepath.Join(dir, "state"), "--cache-dir", filepath.Join(dir, "cache"), "--offline")
	wantCode(t, code, 12, out, errs)
	wantText(t, out, "no verdict: ", "waiting down: 1 report in the spool")
	data, err := os.ReadFile(filepath.Join(dir, "state", "reports", "latest.json"))
	must(t, err)
	wantText(t, string(data), `"kind": "almamigrate.report"`, `"failure": {`, `"code": 12`, `"waiting": 1`)
	prom, err := os.ReadFile(filepath.Join(dir, "almamigrate.prom"))
	must(t, err)
	wantText(t, string(prom), "almamigrate_last_run_success 0", `almamigrate_spool_reports{endpoint="down"} 1`)
}

func TestSupportBundle(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "c.conf")
	must(t, os.WriteFile(conf, []byte("[repos]\nproxy = http://proxy.corp.example:3128\nproxy_password = geheim99\n"), 0o600))
	code, out, errs := run("support-bundle", "--config", conf, "--state-dir", dir, "--list")
	wantCode(t, code, 0, out, errs)
	wantText(t, out, "config/c.conf", "versions.txt", "Redacted:")
	target := filepath.Join(dir, "b.tar.gz")
	code, out, errs = run("support-bundle", "--config", conf, "--state-dir", dir, "-o", target)
	wantCode(t, code, 0, out, errs)
	info, err := os.Stat(target)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

// What check tells with --security and --origins a report tells only when it
// is asked, on the command line or in the configuration, and a file of advisories
// that the configuration names and nobody can read does not stop it.
func TestReportSecurity(t *testing.T) {
	dir := t.TempDir()
	osv := filepath.Join(dir, "osv.json")
	must(t, os.WriteFile(osv, []byte(`{"id":"ALSA-2099:1","modified":"2099-01-02T00:00:00Z","published":"2099-01-02T00:00:00Z","summary":"Critical: bash security update","related":["CVE-2099-1"],
		"affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"99-1"}]}]}]}`), 0o644))
	conf := func(text string) string {
		f := filepath.Join(t.TempDir(), "c.conf")
		must(t, os.WriteFile(f, []byte("[report]\n"+text), 0o644))
		return f
	}
	type document struct {
		Security *struct {
			Sources []struct{ Name, Error string }
			Open    []struct{ ID string }
		}
		Origins *struct{}
	}
	report := func(args ...string) (d document) {
		code, out, errs := run(append([]string{"report", "--demo", "--json"}, args...)...)
		wantCode(t, code, 0, out, errs)
		must(t, json.Unmarshal([]byte(out), &d))
		return d
	}
	if d := report("--config", conf("")); d.Security != nil || d.Origins != nil {
		t.Error("a report tells what nobody asked for")
	}
	for name, args := range map[string][]string{
		"flags": {"--advisories", osv, "--origins"}, "configuration": {"--config", conf("advisories = " + osv + "\norigins = yes\n")},
	} {
		if d := report(args...); d.Security == nil || len(d.Security.Open) != 1 || d.Security.Open[0].ID != "ALSA-2099:1" || d.Origins == nil {
			t.Errorf("%s: got %+v", name, d.Security)
		}
	}
	if d := report("--config", conf("security = yes\n")); d.Security == nil {
		t.Error("security = yes: nothing is told")
	}
	d := report("--config", conf("advisories = "+filepath.Join(dir, "none.json")+"\n"))
	if d.Security == nil || !strings.Contains(fmt.Sprint(d.Security.Sources), "none.json") || !strings.Contains(fmt.Sprint(d.Security.Sources), "no such file") {
		t.Errorf("a file that is not there: %+v", d.Security)
	}
	code, out, errs := run("report", "--demo", "--advisories", filepath.Join(dir, "none.json"))
	wantCode(t, code, 2, out, errs)
	code, out, errs = run("report", "--demo", "--advisories", osv)
	wantCode(t, code, 0, out, errs)
	wantText(t, out, "AlmaLinux's packages close no security advisory; 1 stays open (1 critical)")
}
