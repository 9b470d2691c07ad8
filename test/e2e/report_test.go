package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// BootedHost is a lab host with a real systemd as PID 1 (test/lab/nspawn).
type BootedHost struct {
	*Host
	nspawn string
}

// Boot starts a host's systemd, or skips where containers cannot be had.
func (h *Host) Boot() *BootedHost {
	h.t.Helper()
	b := &BootedHost{h, filepath.Join(realdata.ProjectRoot(h.t), "test", "lab", "nspawn")}
	if out, err := exec.Command(b.nspawn, "deps").CombinedOutput(); err != nil {
		h.t.Skipf("SKIPPED: systemd-nspawn is absent and cannot be installed: %s", out)
	}
	h.t.Cleanup(func() { _ = exec.Command(b.nspawn, "kill", h.Name).Run() })
	if out, err := exec.Command(b.nspawn, "start", h.Name).CombinedOutput(); err != nil {
		h.t.Fatalf("cannot boot host %s: %v\n%s", h.Name, err, out)
	}
	return b
}

// Do runs a command in the booted host.
func (b *BootedHost) Do(c Cmd) Result {
	b.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(b.nspawn, append([]string{"exec", b.Name}, c.Args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.Stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		b.t.Fatalf("cannot run %q in host %s: %v", c.Args, b.Name, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Must runs a command that has to succeed, and returns its output.
func (b *BootedHost) Must(args ...string) string {
	b.t.Helper()
	r := b.Do(Cmd{Args: args})
	if r.Code != 0 {
		b.t.Fatalf("%q in host %s: exit code %d\n%s%s", args, b.Name, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Write writes a file of the booted host.
func (b *BootedHost) Write(path, content string) {
	b.t.Helper()
	if r := b.Do(Cmd{Args: []string{"sh", "-c", `mkdir -p "$(dirname "$1")" && cat > "$1"`, "sh", path}, Stdin: content}); r.Code != 0 {
		b.t.Fatalf("cannot write %s in host %s: %s", path, b.Name, r.Stderr)
	}
}

// Install installs the package by the host's rpm.
func (b *BootedHost) Install() {
	b.t.Helper()
	buildPackages(b.t)
	b.Must("rpm", "-U", packageDir+"/"+packageFile(packageVersion))
	if out := b.Must("sh", "-c", "command -v almamigrate"); strings.TrimSpace(out) != "/usr/bin/almamigrate" {
		b.t.Fatalf("almamigrate is %s", out)
	}
}

// collector takes reports once for each Idempotency-Key, unless it is down.
type collector struct {
	url string
	mu  sync.Mutex
	up  bool
	got []map[string]any
	key map[string]int
}

func newCollector(t *testing.T) *collector {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{url: "http://" + l.Addr().String() + "/reports", key: map[string]int{}}
	s := &http.Server{Handler: c}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up || r.Header.Get("Authorization") != "Bearer lab-token" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var body io.Reader = r.Body
	if zr, err := gzip.NewReader(r.Body); err == nil {
		body = zr
	}
	doc := map[string]any{}
	if json.NewDecoder(body).Decode(&doc) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if c.key[r.Header.Get("Idempotency-Key")]++; c.key[r.Header.Get("Idempotency-Key")] == 1 {
		c.got = append(c.got, doc)
	}
}

func (c *collector) set(up bool) { c.mu.Lock(); c.up = up; c.mu.Unlock() }

func (c *collector) reports() []map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]map[string]any(nil), c.got...)
}

// findings lists what a check or report found, as "severity id resource".
func findings(t *testing.T, doc []byte) []string {
	t.Helper()
	var d struct {
		Findings []struct {
			ID, Severity string
			Resources    []struct{ Name string }
		}
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatalf("%v\n%.400s", err, doc)
	}
	var out []string
	for _, f := range d.Findings {
		for _, r := range f.Resources {
			out = append(out, f.Severity+" "+f.ID+" "+r.Name)
		}
	}
	if len(out) == 0 {
		t.Fatal("no findings at all")
	}
	return out
}

// The whole of it on a host with a real systemd: the hardened unit runs the
// check and finds what a check by hand finds; journal with catalog, textfile,
// fact, spool and its way out; the timer through D-Bus.
func TestReportUnderSystemd(t *testing.T) {
	b := NewHost(t, "centos", 8).Boot()
	b.Install()
	if r := b.Do(Cmd{Args: []string{"systemd-analyze", "verify", "/usr/lib/systemd/system/almamigrate-report.service", "/usr/lib/systemd/system/almamigrate-report.timer"}}); r.Code != 0 || strings.TrimSpace(r.Stdout+r.Stderr) != "" {
		if strings.Contains(r.Stderr, "Command 'man") && b.Do(Cmd{Args: []string{"man", "-w", "ls"}}).Code != 0 {
			t.Log("SKIPPED: man is not installed: the units' Documentation= was not verified")
		} else {
			t.Errorf("systemd-analyze verify: code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
		}
	}
	c := newCollector(t)
	b.Must("mkdir", "-p", "/etc/ansible/facts.d", "/var/lib/node_exporter/textfile_collector")
	b.Must("chown", "nobody", "/var/lib/node_exporter/textfile_collector") // as node_exporter's packages have it
	b.Write("/etc/almamigrate/fleet.token", "lab-token\n")
	b.Must("chmod", "600", "/etc/almamigrate/fleet.token")
	b.Write("/etc/almamigrate/conf.d/report.conf", "[report]\ntextfile_dir = /var/lib/node_exporter/textfile_collector\nkeep = 3\n\n[endpoint fleet]\nurl = "+c.url+"\ntoken_file = /etc/almamigrate/fleet.token\nretries = 0\n")

	byHand := b.Do(Cmd{Args: []string{"almamigrate", "check", "--json"}})
	want := findings(t, []byte(byHand.Stdout))
	start := func() []byte {
		t.Helper()
		if r := b.Do(Cmd{Args: []string{"systemctl", "start", "almamigrate-report.service"}}); r.Code != 0 {
			t.Fatalf("the unit failed:\n%s", b.Must("journalctl", "--no-pager", "-u", "almamigrate-report.service"))
		}
		return []byte(b.Must("cat", "/var/lib/almamigrate/reports/latest.json"))
	}
	latest := start()
	if got := findings(t, latest); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("in the unit's sandbox the check finds\n%s\nby hand\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := b.Must("systemd-analyze", "security", "--no-pager", "almamigrate-report.service"); true {
		m := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(s)
		if m == nil {
			t.Errorf("no exposure:\n%s", s)
		} else if v, _ := strconv.ParseFloat(m[1], 64); v > 2.0 {
			t.Errorf("exposure %s", m[1])
		}
	}

	// a blocker comes, the endpoint is down
	b.Must("sh", "-ec", "d=/usr/share/doc/libgpg-error; mkdir -p $d; mount -t tmpfs -o ro none $d")
	start()
	latest = start()
	for _, wantText := range []string{`"waiting": 3`, "answers 503"} {
		if !bytes.Contains(latest, []byte(wantText)) {
			t.Errorf("the report does not tell %q", wantText)
		}
	}
	journal := b.Must("journalctl", "-x", "--no-pager", "-t", "almamigrate")
	for _, wantText := range []string{
		"Subject: The host was checked for a move to AlmaLinux", "Defined-By: almamigrate", `is "`,
		"Subject: A blocker stands in the way of a move to AlmaLinux", "The finding fs.read-only keeps this host", "blockers since the last report: 1 new, 0 gone",
		"Subject: Reports wait for an endpoint", "Endpoint fleet has not taken 3 reports", c.url,
	} {
		if !strings.Contains(journal, wantText) {
			t.Errorf("the journal does not have %q:\n%s", wantText, journal)
		}
	}
	if strings.Contains(journal, "lab-token") || strings.Contains(string(latest), "lab-token") {
		t.Error("the token is told")
	}
	if out := b.Must("journalctl", "--no-pager", "-o", "json", "-n", "1", "MESSAGE_ID=7c1b6c2f0f0d4c6c9f4e3f7a1a6d5e01"); !strings.Contains(out, `"ALMAMIGRATE_VERDICT"`) {
		t.Errorf("no structured fields: %s", out)
	}
	prom := b.Must("cat", "/var/lib/node_exporter/textfile_collector/almamigrate.prom")
	if !strings.Contains(prom, `almamigrate_spool_reports{endpoint="fleet"} 3`) || !strings.Contains(prom, "almamigrate_last_run_success 1") {
		t.Errorf("textfile:\n%s", prom)
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(prom)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	} else {
		t.Log("SKIPPED: promtool is absent; the textfile was not checked with it")
	}
	var fact map[string]any
	if err := json.Unmarshal([]byte(b.Must("cat", "/etc/ansible/facts.d/almamigrate.fact")), &fact); err != nil || fact["success"] != true {
		t.Errorf("fact: %v, %v", fact, err)
	}
	if mode := strings.TrimSpace(b.Must("stat", "-c", "%a", "/etc/ansible/facts.d/almamigrate.fact")); mode != "644" {
		t.Errorf("the fact has mode %s", mode)
	}

	// the endpoint is back: everything comes, in order, once
	c.set(true)
	latest = start()
	if !bytes.Contains(latest, []byte(`"sent": 4`)) || !bytes.Contains(latest, []byte(`"waiting": 0`)) {
		t.Errorf("the spool was not emptied:\n%s", b.Must("find", "/var/lib/almamigrate/spool"))
	}
	last := ""
	for _, r := range c.reports() {
		if now := fmt.Sprint(r["finished"]); now < last {
			t.Errorf("a report of %s after one of %s", now, last)
		} else {
			last = now
		}
	}
	if n := len(c.reports()); n != 4 {
		t.Errorf("%d reports arrived, want 4", n)
	}
	for k, n := range c.key {
		if n != 1 {
			t.Errorf("%s came %d times", k, n)
		}
	}
	if n := strings.Count(b.Must("sh", "-c", "ls /var/lib/almamigrate/reports"), "Z"); n != 3 {
		t.Errorf("%d reports are kept, want 3", n)
	}

	// an open token file: refused, told, nothing lost
	b.Must("chmod", "644", "/etc/almamigrate/fleet.token")
	if latest = start(); !bytes.Contains(latest, []byte("others may read it")) || !bytes.Contains(latest, []byte(`"waiting": 1`)) {
		t.Error("an open token file was used")
	}
	b.Must("chmod", "600", "/etc/almamigrate/fleet.token")

	b.timer()
	b.bundle(c)
	b.removed()
}

// timer is turned on and off as a user does.
func (b *BootedHost) timer() {
	t := b.t
	t.Helper()
	if out := b.Must("systemctl", "preset", "almamigrate-report.timer"); strings.Contains(out, "enabled") {
		t.Error("the preset turns the timer on")
	}
	if out := b.Must("almamigrate", "timer", "status"); !strings.HasPrefix(out, "The timer is off. To turn it on: almamigrate timer enable") {
		t.Errorf("status: %s", out)
	}
	if out := b.Must("almamigrate", "timer", "enable"); !strings.HasPrefix(out, "The timer is on.") || !strings.Contains(out, "next") {
		t.Errorf("enable: %s", out)
	}
	b.Must("almamigrate", "timer", "enable") // again is no error
	if out := b.Must("systemctl", "list-timers", "--no-pager"); !strings.Contains(out, "almamigrate-report.service") {
		t.Errorf("list-timers: %s", out)
	}
	// the timer itself starts the unit: in a second instead of tonight
	b.Write("/run/systemd/system/almamigrate-report.timer.d/soon.conf", "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/1\nRandomizedDelaySec=0\nAccuracySec=1us\n")
	before := strings.TrimSpace(b.Must("sh", "-c", "readlink -f /var/lib/almamigrate/reports/latest.json; stat -c %Y.%i /var/lib/almamigrate/reports/latest.json"))
	b.Must("systemctl", "daemon-reload")
	b.Must("systemctl", "restart", "almamigrate-report.timer")
	b.Must("sh", "-c", fmt.Sprintf(`i=0; while [ "$(readlink -f /var/lib/almamigrate/reports/latest.json; stat -c %%Y.%%i /var/lib/almamigrate/reports/latest.json)" = '%s' ]; do i=$((i+1)); [ $i -lt 600 ] || exit 1; sleep 0.1; done`, before))
	b.Must("systemctl", "stop", "almamigrate-report.timer")
	b.Must("rm", "-r", "/run/systemd/system/almamigrate-report.timer.d")
	b.Must("systemctl", "daemon-reload")
	b.Must("sh", "-c", "while systemctl is-active -q almamigrate-report.service || [ $(systemctl show -P ActiveState almamigrate-report.service) = activating ]; do sleep 0.1; done")
	valid(t, "timer-1.0.json", b.Must("almamigrate", "timer", "status", "--json"))
	if out := b.Must("almamigrate", "timer", "status"); !strings.Contains(out, "the last run left a report") {
		t.Errorf("status after a run: %s", out)
	}
	if out := b.Must("almamigrate", "timer", "disable", "--json"); !strings.Contains(out, `"enabled": false`) || !strings.Contains(out, `"installed": true`) {
		t.Errorf("disable: %s", out)
	}
	// a host that got the program as a file: the units come with it and go again
	b.Must("sh", "-ec", "rm /usr/lib/systemd/system/almamigrate-report.*; install -m755 /usr/bin/almamigrate /usr/local/bin/almamigrate; systemctl daemon-reload")
	if out := b.Must("/usr/local/bin/almamigrate", "timer", "enable"); !strings.Contains(out, "file   /etc/systemd/system/almamigrate-report.service") {
		t.Errorf("enable without units: %s", out)
	}
	b.Must("systemctl", "start", "almamigrate-report.service")
	if out := b.Must("systemctl", "show", "-P", "ExecStart", "almamigrate-report.service"); !strings.Contains(out, "path=/usr/local/bin/almamigrate ") {
		t.Errorf("the unit runs %s", out)
	}
	b.Must("/usr/local/bin/almamigrate", "timer", "disable")
	if out := b.Do(Cmd{Args: []string{"ls", "/etc/systemd/system/almamigrate-report.timer", "/etc/systemd/system/almamigrate-report.service"}}); out.Code == 0 {
		t.Errorf("disable left %s", out.Stdout)
	}
	if r := b.Do(Cmd{Args: []string{"setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "almamigrate", "timer", "enable"}}); r.Code != 12 || !strings.Contains(r.Stderr, "root is needed") {
		t.Errorf("as nobody: code %d\n%s", r.Code, r.Stderr)
	}
}

// bundle holds neither the token nor the host's name.
func (b *BootedHost) bundle(c *collector) {
	t := b.t
	t.Helper()
	log := "curl: (5) cannot use proxy http://joe:p@ss@squid.other.example:3128\nnfs07:/export /mnt nfs4 rw,addr=10.77.1.2 0 0\n/dev/mapper/rhel_" + b.Name + "-root\n--password hunter3 x\n"
	b.Must("sh", "-c", "printf %s \"$1\" >> /var/log/dnf.log", "sh", log)
	list := b.Must("almamigrate", "support-bundle", "--list")
	for _, want := range []string{"inventory.json", "config/conf.d/report.conf", "reports/", "journal.txt", "versions.txt", "spool/fleet/state.json"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list has no %s:\n%s", want, list)
		}
	}
	if n := strings.TrimSpace(b.Must("sh", "-c", "cd /tmp && ls almamigrate-support-* 2>/dev/null | wc -l")); n != "0" {
		t.Error("--list wrote something")
	}
	b.Must("sh", "-ec", "cd /tmp && almamigrate support-bundle -o b.tar.gz && mkdir b && tar -xzf b.tar.gz -C b")
	id := strings.TrimSpace(b.Must("cat", "/etc/machine-id"))
	for _, word := range []string{"lab-token", b.Name, "geheim", "p@ss", "squid", "nfs07", "10.77.1.2", "hunter3", id} {
		if r := b.Do(Cmd{Args: []string{"grep", "-rlF", "--", word, "/tmp/b"}}); r.Code == 0 {
			t.Errorf("the bundle has %q in %s", word, r.Stdout)
		}
	}
	for _, name := range strings.Fields(b.Must("find", "/tmp/b", "-name", "*.json")) {
		if !json.Valid([]byte(b.Must("cat", name))) {
			t.Errorf("%s is no JSON any more", name)
		}
	}
	if got := b.Must("sh", "-c", "cat /tmp/b/*/CONTENT.txt"); !strings.Contains(got, "inventory.json") {
		t.Errorf("CONTENT.txt: %s", got)
	}
}

// The page of a whole host, for a look at it: ALMAMIGRATE_SCREENSHOTS=DIR keeps it.
func TestReportPage(t *testing.T) {
	h := NewHost(t, "centos", 8)
	if r := h.Almamigrate("report", "--quiet", "--html", "/tmp/page.html"); r.Code != 0 {
		t.Fatalf("code %d\n%s", r.Code, r.Stderr)
	}
	r := h.Do(Cmd{Args: []string{"sh", "-c", binary + " report --quiet >/dev/null && " + binary + " report --html - --input /var/lib/almamigrate/reports/latest.json"}})
	for _, want := range []string{"<!DOCTYPE html>", "Since the last report", "Nothing changed.", "<svg", "AlmaLinux 8", "baseos"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if dir := os.Getenv("ALMAMIGRATE_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "host.html"), []byte(r.Stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
