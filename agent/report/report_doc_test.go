package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// sampleReport is a report with something of everything, and one before it.
func sampleReport() (r, before *report.Report) {
	before = report.NewReport(sample(), nil)
	before.RunID = "11111111-0000-4000-8000-000000000000"
	c := sample()
	c.RunID, c.Started, c.Finished = "22222222-0000-4000-8000-000000000000", c.Started.Add(24*time.Hour), c.Finished.Add(24*time.Hour)
	c.Verdict = assess.Blocked
	c.Summary.Findings = map[assess.Severity]int{assess.Blocker: 1, assess.Warning: 2, assess.Info: 0}
	c.Findings = append([]assess.Finding{{ID: "dep.broken", Severity: assess.Blocker, Title: "1 package would lose its dependencies", Detail: "It needs libfoo.",
		Resources: []assess.Resource{{Kind: "package", Name: "htop-3-1.x86_64", Detail: "requires libfoo"}}, Remedy: assess.Remedy{Text: "remove it", Command: "dnf remove htop"}}}, c.Findings[:2]...)
	c.Packages = append([]assess.PackageResult(nil), c.Packages...)
	c.Packages[0].NEVRA = "bash-4.4-1.1.el8.x86_64"
	c.Packages[3].Verdict, c.Packages[3].Target = assess.Newer, &assess.Target{NEVRA: "glibc-2.28-2.el8.x86_64", Repo: "baseos"}
	c.Packages = append(c.Packages[:5], c.Packages[6:]...) // "one" is gone
	before.Security, c.Security, c.Origins = securityResult(), securityResult(), originsResult()
	c.Security.Open = []assess.AdvisoryResult{}
	r = report.NewReport(c, nil)
	r.Changes = report.Diff(before, r)
	at := time.Date(2026, 2, 27, 3, 0, 0, 0, time.UTC)
	r.Delivery = []report.Delivery{
		{Endpoint: "fleet", URL: "https://fleet.example.com/in", Sent: 1, LastSuccess: &at},
		{Endpoint: "spare", URL: "https://spare.example.com/", Waiting: 3, Bytes: 4096, Oldest: &at, Dropped: 2, Error: "cannot send to https://spare.example.com/: it answers 503 Service Unavailable: not taken"},
	}
	return r, before
}

func TestDiff(t *testing.T) {
	r, before := sampleReport()
	c := r.Changes
	want := &report.Changes{
		Since: c.Since, RunID: before.RunID, Verdict: assess.ReadyWithWarnings,
		New:      []report.FindingChange{{ID: "dep.broken", Severity: assess.Blocker, Title: "1 package would lose its dependencies", Resource: "htop-3-1.x86_64"}},
		Gone:     []report.FindingChange{{ID: "pkg.third-party", Severity: assess.Info, Title: "1 third-party package stays as it is", Resource: "htop-3-1.x86_64"}},
		Packages: []report.PackageChange{{Name: "bash", Arch: "x86_64", From: []string{"bash-4.4-1.el8.x86_64"}, To: []string{"bash-4.4-1.1.el8.x86_64"}}, {Name: "one", Arch: "x86_64", From: []string{"one-1-1.x86_64"}, To: []string{}}},
		Verdicts: []report.VerdictChange{{NEVRA: "glibc-2.28-1.el8.x86_64", From: assess.Same, To: assess.Newer, Target: "glibc-2.28-2.el8.x86_64"}},
		Counts:   map[string][]int{"findings.blocker": {0, 1}, "findings.info": {1, 0}},
		Security: &report.SecurityChanges{
			New: []report.AdvisoryChange{}, Gone: []report.AdvisoryChange{{ID: "ALSA-2026:0003", Type: "security", Severity: "moderate"}},
			NewSeverity: map[string]int{}, GoneSeverity: map[string]int{"moderate": 1}, Reopened: []string{}, NotReopened: []string{},
		},
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
	if came, went := c.Blockers(); came != 1 || went != 0 {
		t.Errorf("blockers: %d came, %d went", came, went)
	}
	if same := report.Diff(before, before); !same.Empty() || len(same.Counts) > 0 {
		t.Errorf("a report differs from itself: %+v", same)
	}
	// an update of a package that a finding names is not another finding
	upd := *before
	upd.Findings = append([]assess.Finding(nil), before.Findings...)
	upd.Findings[1].Resources = []assess.Resource{{Kind: "package", Name: "sssd-2.9-6.el8.x86_64"}}
	if d := report.Diff(before, &upd); len(d.New)+len(d.Gone) > 0 {
		t.Errorf("got %+v, %+v", d.New, d.Gone)
	}
}

// validateReport checks a document against the report's schema, which refers
// to that of check.
func validateReport(t *testing.T, doc []byte) error {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, n := range []string{"check-1.0", "report-1.0"} {
		f, err := os.Open(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", n+".json"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(f)
		f.Close()
		if err == nil {
			err = c.AddResource("urn:almamigrate:schema:"+n, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("urn:almamigrate:schema:report-1.0")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestReportDocument(t *testing.T) {
	r, _ := sampleReport()
	doc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", doc)
	if err := validateReport(t, doc); err != nil {
		t.Error(err)
	}
	back, err := report.ReadReport(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := back.Encode()
	if d := cmp.Diff(string(doc), string(again)); d != "" {
		t.Error(d)
	}
	failed := report.NewReport(nil, &report.Failure{Code: 13, Message: "cannot fetch", Hint: "check the network"})
	failed.Tool = inventory.Tool{Name: "almamigrate", Version: "1"}
	failed.RunID, failed.Started, failed.Finished = r.RunID, r.Started, r.Finished
	if doc, err = failed.Encode(); err != nil {
		t.Fatal(err)
	}
	if err := validateReport(t, doc); err != nil {
		t.Errorf("a failed run: %v", err)
	}
	for _, bad := range []string{"", "{", "[]", `{"kind":"almamigrate.inventory","schema_version":"1.0"}`, `{"kind":"almamigrate.report","schema_version":"2.0"}`, `{"kind":"almamigrate.report","packages":7}`} {
		if _, err := report.ReadReport(strings.NewReader(bad)); !errors.Is(err, report.ErrDocument) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadReport(f *testing.F) {
	r, _ := sampleReport()
	doc, _ := r.Encode()
	f.Add(doc)
	f.Add([]byte(`{"kind":"almamigrate.check","schema_version":"1.0","findings":[{}],"summary":null,"changes":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := report.ReadReport(bytes.NewReader(data))
		if err != nil {
			return
		}
		// whatever was read can be shown
		var b bytes.Buffer
		if err := r.WriteHTML(&b, nil); err != nil {
			t.Error(err)
		}
		r.Entries()
		report.Metrics(r, r)
		report.NewFact(r, "/x")
		report.Diff(r, r)
	})
}

func TestStore(t *testing.T) {
	s := report.Store{Dir: filepath.Join(t.TempDir(), "reports")}
	if _, err := s.Latest(); !errors.Is(err, report.ErrNoReport) {
		t.Errorf("got %v", err)
	}
	if _, err := s.LastCheck(); !errors.Is(err, report.ErrNoReport) {
		t.Errorf("got %v", err)
	}
	r, _ := sampleReport()
	var paths []string
	for i := range 12 {
		r.RunID = string(rune('a' + i))
		p, err := s.Add(r)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Base(p))
	}
	names, err := s.Names()
	if d := cmp.Diff(paths, names); err != nil || d != "" {
		t.Errorf("order: %v %s", err, d)
	}
	failed := report.NewReport(nil, &report.Failure{Code: 1})
	failed.Finished = r.Finished.Add(time.Hour)
	if _, err := s.Add(failed); err != nil {
		t.Fatal(err)
	}
	for n, text := range map[string]string{"99990101T000000Z.json": "{", "note.json": "mine"} {
		if err := os.WriteFile(filepath.Join(s.Dir, n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := s.Latest(); err != nil || l.Failure == nil {
		t.Errorf("latest: %v", err)
	}
	if l, err := s.LastCheck(); err != nil || l.RunID != "l" {
		t.Errorf("last check: %v", err)
	}
	if tl, err := s.Timeline(3); err != nil || len(tl) != 2 || !tl[1].Failed || tl[0].Blockers != 1 {
		t.Errorf("timeline: %v, %v", tl, err)
	}
	if err := s.Prune(4); err != nil {
		t.Fatal(err)
	}
	if names, _ = s.Names(); len(names) != 4 {
		t.Errorf("%d reports are left", len(names))
	}
	for _, n := range []string{"note.json", report.Latest} {
		if _, err := os.Stat(filepath.Join(s.Dir, n)); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(filepath.Join(s.Dir, report.Latest)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v", err)
	}
}

// The line of a run counts one as one, and without a verdict nothing was judged.
func TestHeadline(t *testing.T) {
	r := report.NewReport(sample(), nil)
	r.Summary.Target, r.Verdict = "AlmaLinux 8", assess.Blocked
	r.Summary.Findings = map[assess.Severity]int{assess.Blocker: 1, assess.Warning: 2}
	r.Summary.Total = 1
	if got := r.Headline(); got != "AlmaLinux 8: blocked, 1 blocker, 2 warnings, 1 package judged" {
		t.Error(got)
	}
	if e := r.Entries(); !strings.HasPrefix(e[0].Message, r.Headline()) {
		t.Errorf("the journal says %q", e[0].Message)
	}
	r.Verdict, r.Summary.Total = assess.Unknown, 250
	if got := r.Headline(); got != "AlmaLinux 8: unknown, 1 blocker, 2 warnings, 250 packages, not judged" {
		t.Error(got)
	}
}

// journalField is what systemd.journal-fields(7) allows for names of fields.
var journalField = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

func TestJournalEntries(t *testing.T) {
	r, _ := sampleReport()
	r.Findings[0].Title = "evil \x1b[31m\nMESSAGE=forged"
	e := r.Entries()
	if len(e) != 3 {
		t.Fatalf("%d entries: %+v", len(e), e)
	}
	ids := []string{report.MessageReport, report.MessageBlocker, report.MessageWaiting}
	for i, x := range e {
		if x.Fields["MESSAGE_ID"] != ids[i] || x.Fields["ALMAMIGRATE_RUN_ID"] != r.RunID {
			t.Errorf("entry %d: %+v", i, x)
		}
		for k, v := range x.Fields {
			if !journalField.MatchString(k) || v == "" || strings.ContainsAny(v, "\n\x1b") {
				t.Errorf("field %s=%q", k, v)
			}
		}
		if strings.ContainsAny(x.Message, "\n\x1b") {
			t.Errorf("message %q", x.Message)
		}
	}
	failed := report.NewReport(nil, &report.Failure{Code: 13, Message: "no network"})
	if e := failed.Entries(); len(e) != 1 || e[0].Fields["MESSAGE_ID"] != report.MessageFailed || e[0].Priority != 3 {
		t.Errorf("a failed run: %+v", e)
	}
}

// The catalog explains every MESSAGE_ID, and only with fields that entries have.
func TestCatalog(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(realdata.ProjectRoot(t), "systemd", "almamigrate.catalog"))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := sampleReport()
	failed := report.NewReport(nil, &report.Failure{Code: 13, Message: "no network"})
	have := map[string]map[string]string{}
	for _, e := range append(r.Entries(), failed.Entries()...) {
		have[e.Fields["MESSAGE_ID"]] = e.Fields
	}
	seen := 0
	for _, part := range strings.Split(string(data), "\n-- ")[1:] {
		id, text, _ := strings.Cut(part, "\n")
		seen++
		if have[id] == nil {
			t.Errorf("the catalog explains %s, which nobody sends", id)
			continue
		}
		for _, m := range regexp.MustCompile(`@([A-Z_]+)@`).FindAllStringSubmatch(text, -1) {
			if have[id][m[1]] == "" {
				t.Errorf("%s: the text uses %s, which the entry does not have", id, m[1])
			}
		}
		if !strings.Contains(text, "\nDefined-By: almamigrate\n") || !strings.HasPrefix(text, "Subject: ") {
			t.Errorf("%s: no Subject or Defined-By", id)
		}
	}
	if seen != len(have) {
		t.Errorf("%d texts for %d ids", seen, len(have))
	}
}

func TestMetrics(t *testing.T) {
	r, before := sampleReport()
	r.Delivery[0].Endpoint = "a\"b\\c\nd" // the configuration forbids it; the format must hold all the same
	failed := report.NewReport(nil, &report.Failure{Code: 13})
	failed.Tool.Version, failed.Finished = "1.0", r.Finished
	for name, data := range map[string][]byte{
		"metrics.prom": report.Metrics(r, r), "metrics-failed.prom": report.Metrics(failed, before), "metrics-first.prom": report.Metrics(failed, nil),
	} {
		golden(t, name, data)
		strictProm(t, data)
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			t.Log("SKIPPED: promtool is absent (apt-get install prometheus); the own check of the format ran")
			continue
		}
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(data)
		if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
			t.Errorf("promtool about %s: %v\n%s", name, err, out)
		}
	}
}

var (
	promHead   = regexp.MustCompile(`^# (HELP|TYPE) (almamigrate_[a-z0-9_]+) (.+)$`)
	promSample = regexp.MustCompile(`^(almamigrate_[a-z0-9_]+)(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+]+)$`)
)

// strictProm checks the text format line by line: HELP and TYPE once, before
// the samples of their name and with no other name in between, no timestamp,
// no sample twice.
func strictProm(t *testing.T, data []byte) {
	t.Helper()
	current, kinds, seen := "", map[string]string{}, map[string]bool{}
	for l := range strings.Lines(string(data)) {
		l = strings.TrimSuffix(l, "\n")
		if m := promHead.FindStringSubmatch(l); m != nil {
			if m[1] == "HELP" {
				if _, again := kinds[m[2]]; again {
					t.Errorf("HELP again: %s", l)
				}
				current = m[2]
			} else if m[2] != current || kinds[m[2]] != "" || m[3] != "gauge" && m[3] != "counter" {
				t.Errorf("TYPE: %s", l)
			} else {
				kinds[m[2]] = m[3]
			}
			continue
		}
		m := promSample.FindStringSubmatch(l)
		switch {
		case m == nil:
			t.Errorf("not a sample: %q", l)
		case m[1] != current || kinds[m[1]] == "":
			t.Errorf("out of place: %q", l)
		case seen[m[1]+m[2]]:
			t.Errorf("twice: %q", l)
		case (kinds[m[1]] == "counter") != strings.HasSuffix(m[1], "_total"):
			t.Errorf("counters, and only they, end in _total: %q", l)
		default:
			seen[m[1]+m[2]] = true
		}
	}
	if !bytes.HasSuffix(data, []byte("\n")) || len(seen) == 0 {
		t.Error("no samples, or no newline at the end")
	}
}

func TestTextfileAndFact(t *testing.T) {
	r, _ := sampleReport()
	dir := t.TempDir()
	if err := report.WriteTextfile(dir, report.Metrics(r, r)); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteTextfile(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a folder that is not there")
	}
	if err := report.WriteFact(filepath.Join(dir, "none"), report.Fact{}); err != nil {
		t.Errorf("a host without Ansible's folder: %v", err)
	}
	if err := report.WriteFact(dir, report.NewFact(r, "/var/lib/almamigrate/reports/latest.json")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{report.TextfileName, report.FactName} {
		info, err := os.Stat(filepath.Join(dir, n))
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", n, info, err) // a fact that may be executed would be
		}
	}
	data, _ := os.ReadFile(filepath.Join(dir, report.FactName))
	golden(t, "fact.json", data)
	var f report.Fact
	if err := json.Unmarshal(data, &f); err != nil || f.Ready || f.NewBlockers != 1 || f.Waiting["spare"] != 3 {
		t.Errorf("got %+v, %v", f, err)
	}
}
