package fleet_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/fleet"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/pagecheck"
)

func result(id, kind, severity string) assess.AdvisoryResult {
	return assess.AdvisoryResult{ID: id, Type: kind, Severity: severity, CVEs: []string{}, Packages: []assess.AdvisoryPackage{}}
}

// advised are the reports of four hosts: two alike, one with more, one that does
// not tell of advisories, and one that could not read any.
func advised(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	for i, name := range []string{"web1", "web2", "db1", "old1", "cut1"} {
		r := report.NewReport(&template(t).Check, nil)
		r.Host.Name, r.RunID, r.Finished = name, fmt.Sprint("run", i), now
		s := &assess.SecurityResult{
			Sources: []assess.AdvisoryOrigin{}, Unclear: []string{}, Summary: assess.SecuritySummary{Advisories: 100},
			Closed:   []assess.AdvisoryResult{result("ALSA-1", "security", "Critical"), result("ALSA-2", "security", "Important"), result("ALBA-1", "bugfix", "")},
			Open:     []assess.AdvisoryResult{result("ALSA-3", "security", "Low")},
			Reopened: []assess.Reopened{{NEVRA: "a-1-1.x86_64", CVEs: []string{"CVE-1"}}},
		}
		switch name {
		case "db1":
			s.Closed = append(s.Closed, result("ALSA-4", "security", "Important"), result("ALSA-5", "security", "<odd>"))
			s.Open = []assess.AdvisoryResult{}
			s.Reopened = []assess.Reopened{{NEVRA: "b-1-1.x86_64", CVEs: []string{"CVE-1", "CVE-2"}}, {NEVRA: "c-1-1.x86_64", CVEs: []string{"CVE-1"}}}
		case "old1":
			s = nil
		case "cut1":
			s.Summary.Advisories = 0
		}
		r.Security = s
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestSecurity(t *testing.T) {
	f := read(t, strings.NewReader(advised(t)), options(), "-")
	want := &fleet.Security{
		Hosts: 3, Affected: 3,
		Closed:   []fleet.SeverityRow{{"critical", 1, 3}, {"important", 2, 3}, {"moderate", 0, 0}, {"low", 0, 0}, {"none", 1, 1}},
		Open:     []fleet.SeverityRow{{"critical", 0, 0}, {"important", 0, 0}, {"moderate", 0, 0}, {"low", 1, 2}, {"none", 0, 0}},
		Reopened: []fleet.ReopenedCVE{{"CVE-1", []string{"db1", "web1", "web2"}}, {"CVE-2", []string{"db1"}}},
	}
	if d := cmp.Diff(want, f.Security); d != "" {
		t.Error(d)
	}
	hosts := map[string]*fleet.HostSecurity{}
	for _, h := range f.Hosts {
		hosts[h.Name] = h.Security
	}
	if d := cmp.Diff(map[string]*fleet.HostSecurity{
		"old1": nil, "cut1": nil,
		"web1": {Closed: fleet.SeverityCount{Critical: 1, Important: 1}, Open: fleet.SeverityCount{Low: 1}, Reopened: 1},
		"web2": {Closed: fleet.SeverityCount{Critical: 1, Important: 1}, Open: fleet.SeverityCount{Low: 1}, Reopened: 1},
		"db1":  {Closed: fleet.SeverityCount{Critical: 1, Important: 2, None: 1}, Reopened: 2},
	}, hosts); d != "" {
		t.Error(d)
	}
	for _, fc := range f.Facets {
		if fc.ID == "advisories-closed" && (fc.Total != 4 || fc.Items[0].Name != "ALSA-1" || fc.Items[0].Class != "critical" || fc.Items[0].Hosts != 3) {
			t.Errorf("%+v", fc)
		}
	}
	validate(t, document(t, f))

	var text, table, page bytes.Buffer
	must(t, f.WriteText(&text, report.TextOptions{Width: 100}))
	for _, want := range []string{
		"Security (3 of 5 hosts report it)", "The move closes 4 security advisories on one host or more (1 critical, 2 important, 1 without a severity).", "1 stays open somewhere (1 low)",
		"would open again on 3 hosts", "CVE-1: db1, web1, web2", "ALSA-1 critical",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), want) {
			t.Errorf("the text has no %q:\n%s", want, text.String())
		}
	}
	must(t, f.WriteCSV(&table))
	rows, err := csv.NewReader(&table).ReadAll()
	must(t, err)
	first := slices.Index(rows[0], "advisories_closed")
	cells := map[string]string{}
	for _, r := range rows[1:] {
		cells[r[0]] = strings.Join(r[first:], " ")
	}
	if d := cmp.Diff(map[string]string{"web1": "2 1 1 1 0 1", "web2": "2 1 1 1 0 1", "db1": "4 1 2 0 0 2", "old1": "     ", "cut1": "     "}, cells); d != "" {
		t.Error(d)
	}
	must(t, f.WriteHTML(&page))
	pagecheck.Accessible(t, "security", page.String())
	for _, want := range []string{`id="security"`, `href="#security"`, "CVE-2</span>: 1 host: ", "3 of 5 hosts report it", "ALSA-1"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}

	// Nobody tells of advisories: nothing is said of them.
	f = read(t, nil, options(), folder(t, 5))
	var plain bytes.Buffer
	must(t, f.WriteHTML(&plain))
	if f.Security != nil || strings.Contains(document(t, f), "reopened_cves") || strings.Contains(plain.String(), "#security") {
		t.Error("something is said of security that no report says")
	}
}

// manyAdvised streams reports of n hosts with 600 advisories each, alike but for
// one.
type manyAdvised struct {
	head, tail []byte
	n, i       int
	rest       []byte
}

func newManyAdvised(t testing.TB, n int) *manyAdvised {
	r := report.NewReport(&template(t).Check, nil)
	r.Host.Name, r.RunID, r.Finished, r.Packages = "HOST-NAME", "RUN-ID", now, []assess.PackageResult{}
	r.Security = &assess.SecurityResult{Sources: []assess.AdvisoryOrigin{}, Unclear: []string{}, Open: []assess.AdvisoryResult{}, Reopened: []assess.Reopened{}, Summary: assess.SecuritySummary{Advisories: 3000}}
	for i := range 600 {
		r.Security.Closed = append(r.Security.Closed, result(fmt.Sprintf("ALSA-2026:%04d", i), "security", "Moderate"))
	}
	doc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	head, tail, _ := bytes.Cut(doc, []byte("HOST-NAME"))
	return &manyAdvised{head: head, tail: tail, n: n}
}

func (m *manyAdvised) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.i == m.n {
			return 0, io.EOF
		}
		m.i++
		m.rest = bytes.Replace(slices.Concat(m.head, fmt.Appendf(nil, "h%06d", m.i), m.tail), []byte("RUN-ID"), fmt.Appendf(nil, "run%d", m.i), 1)
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// Hosts that have the same advisories cost no list each.
func TestSecurityMemory(t *testing.T) {
	const n = 1000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := read(t, newManyAdvised(t, n), options(), "-")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if f.Security == nil || f.Security.Hosts != n || f.Security.Closed[2].Advisories != 600 {
		t.Fatalf("got %+v", f.Security)
	}
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	if each > 2000 { // a list of its own has 2,400 bytes
		t.Errorf("%d bytes for each host", each)
	}
	t.Logf("%d bytes for each host", each)
	runtime.KeepAlive(f)
}
