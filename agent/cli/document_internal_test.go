package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/agent/verify"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/pkg/txn"
	"github.com/almamigrate/almamigrate/test/schemas"
)

// fits demands that a document is what its schema says, and that the schema
// sees what is wrong with it: each of spoil makes it another document.
func fits(t *testing.T, schema string, doc []byte, spoil ...func(map[string]any)) {
	t.Helper()
	if err := schemas.Validate(t, schema, doc); err != nil {
		t.Errorf("%s: %v\n%s", schema, err, doc)
	}
	spoil = append(spoil, func(m map[string]any) { m["surprise"] = true })
	if schema != "progress-1.0" {
		spoil = append(spoil, func(m map[string]any) { m["kind"] = "almamigrate.other" }, func(m map[string]any) { delete(m, "tool") }, func(m map[string]any) { m["schema_version"] = "2.0" })
	}
	for i, f := range spoil {
		var m map[string]any
		if err := json.Unmarshal(doc, &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if schemas.Validate(t, schema, bad) == nil {
			t.Errorf("%s takes the wrong document %d: %s", schema, i, bad)
		}
	}
}

func encoded(t *testing.T, doc any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeDocument(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// first is the first element of a list in a document.
func first(m map[string]any, list string) map[string]any {
	return m[list].([]any)[0].(map[string]any)
}

// said runs a command as its user does.
func said(t *testing.T, code int, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	if got := Main(args, strings.NewReader(""), &out, &errs); got != code {
		t.Fatalf("%s: exit code %d, want %d\n%s%s", args, got, code, out.String(), errs.String())
	}
	return out.Bytes()
}

func TestFindingsDocument(t *testing.T) {
	all := said(t, ExitOK, "explain", "--json")
	fits(t, "findings-1.0", all,
		func(m map[string]any) { m["findings"] = []any{} },
		func(m map[string]any) { first(m, "findings")["severities"] = []string{"fatal"} },
		func(m map[string]any) { delete(first(m, "findings"), "action") })
	one := said(t, ExitOK, "explain", "--json", "pkg.missing")
	fits(t, "findings-1.0", one, func(m map[string]any) { first(m, "findings")["id"] = "Missing" })
	var d struct{ Findings []assess.FindingType }
	if err := json.Unmarshal(all, &d); err != nil || len(d.Findings) != len(assess.Catalogue()) {
		t.Errorf("%d findings: %v", len(d.Findings), err)
	}
	fits(t, "error-1.0", said(t, ExitUsage, "explain", "--json", "no.such"), func(m map[string]any) { m["code"] = 0 })
}

func TestBundleDocument(t *testing.T) {
	dir := t.TempDir()
	wrong := []func(map[string]any){
		func(m map[string]any) { first(m, "files")["size"] = -1 },
		func(m map[string]any) { m["left_out"] = nil },
	}
	fits(t, "support-bundle-1.0", said(t, ExitOK, "support-bundle", "--json", "--list", "--state-dir", dir), wrong...)
	fits(t, "support-bundle-1.0", said(t, ExitOK, "support-bundle", "--json", "--state-dir", dir, "-o", filepath.Join(dir, "b.tar.gz")), wrong...)
}

func TestTimerDocument(t *testing.T) {
	at := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	for _, s := range []timerState{
		{}, // nothing is installed
		{Installed: true, Enabled: true, Active: true, Unit: "/usr/lib/systemd/system/almamigrate-report.timer", Next: &at},
		{Installed: true, Active: true, Unit: "/etc/systemd/system/almamigrate-report.timer", Last: &at, Running: true, Result: "exit-code", ExitCode: 13},
	} {
		var b bytes.Buffer
		if err := (&app{json: true, out: &b}).timerWrite(s, "", nil); err != nil {
			t.Fatal(err)
		}
		fits(t, "timer-1.0", b.Bytes(), func(m map[string]any) { m["next"] = "tomorrow" }, func(m map[string]any) { m["exit_code"] = 256 }, func(m map[string]any) { delete(m, "enabled") })
	}
}

// savedChange is a change in a folder of its own, of which something is saved.
func savedChange(t *testing.T, records ...txn.Record) *txn.Change {
	t.Helper()
	// The plan's own tests compare larger ones with its schema.
	p := plan.Plan{
		Kind: plan.Kind, SchemaVersion: plan.SchemaVersion, Tool: thisTool(), Created: time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC),
		Host: plan.Host{Name: "h", Distro: "centos", Title: "CentOS Linux 8", Major: 8, Arch: "x86_64"}, Target: "AlmaLinux 8", Major: 8, Depth: plan.DepthBranding,
		Leaving: []plan.Leaving{}, Coming: []plan.Coming{}, Staying: []plan.Note{}, RepoFiles: []plan.RepoFile{}, EnableRepos: []string{}, Keys: []plan.Key{},
		Streams: []plan.Stream{}, Vars: []string{}, RepoOptions: []plan.RepoOption{}, Services: []string{}, ServicesStopped: []string{}, Blockers: []string{},
		Overrides: []plan.Override{}, NotRestorable: []string{}, Space: []plan.Space{}, Steps: []plan.Step{{Name: "keys", Title: "import keys"}},
		Counts: plan.Counts{Leaving: map[string]int{}, Coming: map[string]int{}}, Saved: plan.Saved{Folders: []string{}, Except: []string{}},
		Evidence: plan.Evidence{Inventory: strings.Repeat("0a", 32), Identity: []string{}, Packages: []string{}, Repos: []string{}, Target: []plan.TargetRev{}},
	}
	extra, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	c, err := txn.Create(t.TempDir(), txn.Plan{ID: "20260301t040000z", Created: p.Created, Tool: "1", Title: "CentOS 8 to AlmaLinux 8",
		Steps: []txn.Step{{Kind: "keys", Name: "keys", Title: "import keys"}}, Extra: extra})
	if err != nil {
		t.Fatal(err)
	}
	c.Records = records
	return c
}

func TestChangesDocuments(t *testing.T) {
	at := time.Date(2026, 3, 1, 5, 0, 0, 123, time.UTC)
	rec := func(seq, n int, s txn.Status, data string) txn.Record {
		r := txn.Record{Seq: seq, Step: n, Status: s, Time: at, CRC: "0123abcd"}
		if data != "" {
			r.Data = json.RawMessage(data)
		}
		return r
	}
	planned := savedChange(t)
	done := savedChange(t, rec(1, 0, txn.Prepared, `{"a":[1]}`), rec(2, txn.Whole, txn.Started, ""), rec(3, 0, txn.Doing, ""), rec(4, 0, txn.Done, ""), rec(5, txn.Whole, txn.Finished, ""))
	for name, c := range map[string]*txn.Change{"planned": planned, "done": done} {
		p, err := step.Plan(c)
		if err != nil {
			t.Fatal(err)
		}
		doc := encoded(t, newChangeDocument(c, p))
		wrong := []func(map[string]any){
			func(m map[string]any) { m["state"] = "fine" },
			func(m map[string]any) { m["plan"] = map[string]any{} },
			func(m map[string]any) { m["journal"] = nil },
		}
		if name == "done" {
			wrong = append(wrong, func(m map[string]any) { first(m, "journal")["status"] = "finished" }, // that a step never is
				func(m map[string]any) { first(m, "journal")["crc"] = "none" })
		}
		fits(t, "change-1.0", doc, wrong...)
	}
	rows := []changeRow{newChangeRow(planned), newChangeRow(done)}
	if rows[0].Bytes == 0 || rows[1].State != "done" {
		t.Errorf("%+v", rows)
	}
	wrong := func(list string) func(map[string]any) {
		return func(m map[string]any) { delete(first(m, list), "bytes") }
	}
	fits(t, "changes-1.0", encoded(t, newChangesDocument([]changeRow{})))
	fits(t, "changes-1.0", encoded(t, newChangesDocument(rows)), wrong("changes"))
	fits(t, "pruned-1.0", encoded(t, newPrunedDocument([]changeRow{}, []string{"a"})), func(m map[string]any) { m["kept"] = nil })
	fits(t, "pruned-1.0", encoded(t, newPrunedDocument(rows, []string{})), wrong("removed"))
	for _, c := range []*txn.Change{planned, done} {
		d := statusDocument{header: newHeader("almamigrate.status"), Errors: []string{}, Next: []string{}}
		d.of(c)
		if err := schemas.Validate(t, "status-1.0", encoded(t, d)); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifyDocument(t *testing.T) {
	r := &verify.Report{Change: "20260301t040000z", Checks: []verify.Check{
		{ID: "identity", Level: verify.OK, Text: "it says AlmaLinux", Details: []string{}},
		{ID: "files", Level: verify.Failure, Text: "1 file differs", Details: []string{"/etc/x"}},
		{ID: "security", Level: verify.Info, Text: "1 is open", Details: []string{}},
	}}
	fits(t, "verify-1.0", encoded(t, newVerifyDocument(r)),
		func(m map[string]any) { first(m, "checks")["level"] = "warning" },
		func(m map[string]any) { delete(m, "ok") },
		func(m map[string]any) { m["checks"] = nil })
	nevra := func(s string) rpmver.NEVRA {
		n, err := rpmver.ParseNEVRA(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	old, now := nevra("bash-5-1.el9.x86_64"), nevra("bash-5-3.el9.x86_64")
	advisory := func(id string, fixed rpmver.NEVRA) *repodata.Advisory {
		return &repodata.Advisory{ID: id, Type: repodata.AdvisorySecurity, Severity: "Important", Title: "Important: bash security update", CVEs: []string{"CVE-2026-1"},
			Packages: []repodata.AdvisoryPackage{{Name: "bash", EVR: fixed.EVR, Arch: "x86_64"}}}
	}
	r.Security = assess.Since([]assess.InstalledPackage{{NEVRA: old}}, []assess.InstalledPackage{{NEVRA: now}}, []assess.AdvisorySource{
		{Name: "baseos", Advisories: []*repodata.Advisory{advisory("ALSA-2026:1", nevra("bash-5-2.el9.x86_64")), advisory("ALSA-2026:2", nevra("bash-5-4.el9.x86_64"))}},
		{Name: "appstream", Err: errors.New("it is gone")}})
	if len(r.Security.Closed) != 1 || len(r.Security.Open) != 1 {
		t.Fatalf("%+v", r.Security)
	}
	fits(t, "verify-1.0", encoded(t, newVerifyDocument(r)), func(m map[string]any) { delete(m["security"].(map[string]any), "summary") })
}

func TestOutcomeDocument(t *testing.T) {
	e := &engine{started: time.Now()}
	c := savedChange(t, txn.Record{Seq: 1, Step: txn.Whole, Status: txn.Committed})
	o := e.outcome("almamigrate.commit", c, ExitOK)
	o.Commit = &step.Commitment{Change: c.Plan.ID, Title: "x", Bytes: 1, Boot: step.OldBoot{Entries: []string{}, Files: []string{"/boot/efi/EFI/centos/shimx64.efi"}, Bytes: 2}, Kernels: []string{}, Running: "4.18"}
	fits(t, "outcome-1.0", encoded(t, o), func(m map[string]any) { delete(m["commit"].(map[string]any), "bytes") })
	o = e.outcome("almamigrate.rollback", c, ExitIncomplete)
	o.Since = &since{Packages: []string{}, Updated: []string{}, Kept: []string{}, Clashes: []string{"/etc/x"}, Restored: 2}
	fits(t, "outcome-1.0", encoded(t, o), func(m map[string]any) { delete(m["since"].(map[string]any), "clashes") })
	o = e.outcome("almamigrate.migrate", nil, ExitOK)
	o.Verify = &verify.Report{OK: true, Checks: []verify.Check{}}
	fits(t, "outcome-1.0", encoded(t, o), func(m map[string]any) { m["exit_code"] = "0" })
}

// What a watching program is told is what its schema says, line by line.
func TestProgressLines(t *testing.T) {
	var b, human bytes.Buffer
	c := savedChange(t)
	e := &engine{a: &app{err: &human}, events: &b}
	e.env = e.watched()
	e.env.Progress("reading")
	e.env.Package(step.PackageProgress{Action: "installing", Package: "bash", N: 1, Of: 2})
	watch := e.runner(c).Observe
	watch(txn.Event{Step: txn.Whole, Status: txn.Started})
	watch(txn.Event{Step: 0, Status: txn.Doing, Name: "keys", Title: "import keys"})
	watch(txn.Event{Step: 0, Status: txn.Failed, Name: "keys", Title: "import keys", Err: os.ErrPermission})
	n := 0
	for l := range strings.Lines(b.String()) {
		n++
		fits(t, "progress-1.0", []byte(l), func(m map[string]any) { delete(m, "time") }, func(m map[string]any) { m["event"] = "end" }, func(m map[string]any) {
			delete(m, "package")
			delete(m, "status")
			delete(m, "text")
		})
	}
	if n != 5 || !strings.Contains(human.String(), "installing bash (1 of 2)") {
		t.Errorf("%d lines\n%s", n, human.String())
	}
}
