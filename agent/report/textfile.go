package report

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// TextfileName is the file in node_exporter's textfile folder.
const TextfileName = "almamigrate.prom"

// metrics writes the text format of Prometheus, version 0.0.4: one HELP and
// TYPE for each name, no timestamps, which node_exporter refuses.
type metrics struct{ bytes.Buffer }

func (m *metrics) head(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// value writes one sample; labels are name, value, name, value.
func (m *metrics) value(name string, v float64, labels ...string) {
	m.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		m.WriteByte(",{"[b2i(i == 0)])
		fmt.Fprintf(m, `%s="%s"`, labels[i], labelEscaper.Replace(Safe(labels[i+1])))
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	m.WriteByte(' ')
	m.WriteString(strconv.FormatFloat(v, 'f', -1, 64))
	m.WriteByte('\n')
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Metrics returns the textfile of a run. The values of the check are those of
// check, which is the run's own or, when that failed, of the last good one; nil
// leaves them out.
func Metrics(run, check *Report) []byte {
	var m metrics
	m.head("almamigrate_build_info", "gauge", "Version of almamigrate that made the report.")
	m.value("almamigrate_build_info", 1, "version", run.Tool.Version)
	m.head("almamigrate_last_run_success", "gauge", "Whether the last run came to a verdict (1) or failed (0).")
	m.value("almamigrate_last_run_success", float64(b2i(run.Failure == nil && run.Verdict != assess.Unknown)))
	m.head("almamigrate_last_run_timestamp_seconds", "gauge", "When the last run ended, in seconds since 1970.")
	m.value("almamigrate_last_run_timestamp_seconds", float64(run.Finished.Unix()))
	if check != nil {
		m.check(check)
	}
	if len(run.Delivery) > 0 {
		m.delivery(run.Delivery)
	}
	return m.Bytes()
}

func (m *metrics) check(c *Report) {
	m.head("almamigrate_check_timestamp_seconds", "gauge", "When the last check with a result ended, in seconds since 1970.")
	m.value("almamigrate_check_timestamp_seconds", float64(c.Finished.Unix()))
	m.head("almamigrate_check_duration_seconds", "gauge", "How long the check took.")
	m.value("almamigrate_check_duration_seconds", c.Duration().Seconds())
	m.head("almamigrate_check_verdict", "gauge", "The verdict on the host: 1 for the one that holds, 0 for the others.")
	for _, v := range []assess.Verdict{assess.Ready, assess.ReadyWithWarnings, assess.Blocked, assess.Unknown} {
		m.value("almamigrate_check_verdict", float64(b2i(c.Verdict == v)), "verdict", string(v))
	}
	m.head("almamigrate_check_findings", "gauge", "Findings of the check by severity.")
	for _, s := range []assess.Severity{assess.Blocker, assess.Warning, assess.Info} {
		m.value("almamigrate_check_findings", float64(c.Summary.Findings[s]), "severity", string(s))
	}
	m.head("almamigrate_packages", "gauge", "Installed packages by what AlmaLinux has for them.")
	for _, v := range []assess.PackageVerdict{assess.Same, assess.Newer, assess.Older, assess.Replaced, assess.Missing, assess.ThirdParty, assess.Local} {
		m.value("almamigrate_packages", float64(c.Summary.Packages[v]), "state", string(v))
	}
	if s := c.Security; s != nil && s.Summary.Advisories > 0 {
		m.security(s)
	}
}

func (m *metrics) security(s *assess.SecurityResult) {
	m.head("almamigrate_advisories", "gauge", "Security advisories of AlmaLinux that apply to this host: closed, those that its packages would close; open, those that would stay.")
	for _, l := range []struct {
		state string
		n     assess.SecurityCount
	}{{"closed", s.Summary.Closed}, {"open", s.Summary.Open}} {
		for _, v := range assess.AdvisorySeverities {
			m.value("almamigrate_advisories", float64(l.n.BySeverity[v]), "state", l.state, "severity", v)
		}
	}
	m.head("almamigrate_reopened_cves", "gauge", "CVEs that would open again, since AlmaLinux has an older version.")
	m.value("almamigrate_reopened_cves", float64(s.Summary.Reopened))
}

func (m *metrics) delivery(list []Delivery) {
	for _, f := range []struct {
		name, kind, help string
		value            func(Delivery) float64
	}{
		{"almamigrate_spool_reports", "gauge", "Reports that wait for an endpoint.", func(d Delivery) float64 { return float64(d.Waiting) }},
		{"almamigrate_spool_bytes", "gauge", "Size of the reports that wait for an endpoint.", func(d Delivery) float64 { return float64(d.Bytes) }},
		{"almamigrate_spool_dropped_total", "counter", "Reports given up for age or size.", func(d Delivery) float64 { return float64(d.Dropped) }},
		{"almamigrate_delivery_success_timestamp_seconds", "gauge", "When an endpoint last took a report, in seconds since 1970; 0 for never.", func(d Delivery) float64 {
			if d.LastSuccess == nil {
				return 0
			}
			return float64(d.LastSuccess.Unix())
		}},
	} {
		m.head(f.name, f.kind, f.help)
		for _, d := range list {
			m.value(f.name, f.value(d), "endpoint", d.Endpoint)
		}
	}
}

// WriteTextfile puts the metrics into node_exporter's folder, which must exist.
func WriteTextfile(dir string, data []byte) error {
	if err := atomicfile.Write(filepath.Join(dir, TextfileName), data, 0o644); err != nil {
		return fmt.Errorf("cannot write the textfile for node_exporter: %w", err)
	}
	return nil
}
