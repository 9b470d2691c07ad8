package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const runUnit = "almamigrate-run.service"

// supervised is a machine with the program that has fault points.
type supervised struct {
	*Machine
	program string
}

func (s *supervised) Almamigrate(args ...string) Result {
	s.Machine.t.Helper()
	return s.Run(append([]string{s.program}, args...)...)
}

// expect runs the program and compares its exit code and a part of its output.
func (s *supervised) expect(code int, text string, args ...string) Result {
	s.Machine.t.Helper()
	r := s.Almamigrate(args...)
	if r.Code != code || !strings.Contains(r.Stdout+r.Stderr, text) {
		s.Machine.t.Fatalf("almamigrate %q: exit code %d, not %d, or not %q in:\n%s%s", args, r.Code, code, text, r.Stdout, r.Stderr)
	}
	return r
}

// fault arms a fault point for units that are started from now on; the
// machine's next boot knows nothing of it.
func (s *supervised) fault(f string) {
	s.Machine.t.Helper()
	s.Must("systemctl", "set-environment", "ALMAMIGRATE_FAULT="+f)
}

func (s *supervised) noFault() {
	s.Machine.t.Helper()
	s.Must("systemctl", "unset-environment", "ALMAMIGRATE_FAULT")
}

// untilStopped waits until the program in the unit has stopped itself at a
// fault point.
func (s *supervised) untilStopped() {
	s.Machine.t.Helper()
	s.Until("the unit to stop at the fault point", func() bool {
		return s.Run("sh", "-c", `p=$(systemctl show -P MainPID `+runUnit+`); grep -q '^State:.T' /proc/$p/status`).Code == 0
	})
}

func (s *supervised) goOn() {
	s.Machine.t.Helper()
	s.Must("systemctl", "kill", "--kill-who=main", "--signal=CONT", runUnit)
}

// facts are what a way back has to bring back.
func (s *supervised) facts() string {
	s.Machine.t.Helper()
	return s.Must("bash", "-c", `rpm -qa --qf '%{NEVRA} %{SIGMD5}\n' | LC_ALL=C sort
cd /etc; sha256sum os-release yum.repos.d/* dnf/vars/* pki/rpm-gpg/*; ls -l redhat-release system-release os-release`)
}

func (s *supervised) mustBeAlma() {
	s.Machine.t.Helper()
	s.expect(0, "done", "status")
	s.expect(0, "", "verify")
	if got := s.Must("sh", "-c", ". /etc/os-release; echo $ID"); got != "almalinux\n" {
		s.Machine.t.Errorf("os-release: %q", got)
	}
	if got := s.Must("sh", "-c", `rpm -qa --qf '%{NAME}.%{ARCH}\n' | grep -v '^gpg-pubkey\|^kernel' | LC_ALL=C sort | uniq -d`); got != "" {
		s.Machine.t.Errorf("installed twice: %s", got)
	}
}

func (s *supervised) mustBeAsBefore(before string) {
	s.Machine.t.Helper()
	s.expect(0, "rolled-back", "status")
	if d := cmp.Diff(before, s.facts()); d != "" {
		s.Machine.t.Errorf("not as before (-before +after):\n%s", d)
	}
}

// A session that ends, a second run, watching, stopping: the unit is above all
// of them.
func TestSystemdSupervised(t *testing.T) {
	s := &supervised{NewMachine(t, "centos", 8), ""}
	s.program = faulty(t)
	before := s.facts()

	t.Run("the unit's name is taken", func(t *testing.T) {
		s.Must("systemd-run", "--quiet", "--unit="+runUnit, "sleep", "infinity")
		s.expect(11, "another run is at work", "migrate", "-y")
		if got := s.Must("sh", "-c", "ls /var/log/almamigrate 2>/dev/null | wc -l"); got != "0\n" {
			t.Errorf("folders of runs that never began: %s", got)
		}
		s.Must("systemctl", "stop", runUnit)
		s.expect(0, "nothing", "status")
	})

	t.Run("killed session", func(t *testing.T) {
		s.fault("txn.doing.swap-packages.after:stop")
		s.Must("systemd-run", "--quiet", "--collect", "--unit=session.service", "sh", "-c", s.program+" migrate -y; echo never")
		s.untilStopped()
		s.Must("systemctl", "kill", "--signal=KILL", "session.service")
		s.Until("the session to be gone", func() bool { return s.Run("systemctl", "is-active", "session.service").Code != 0 })

		s.expect(0, "running", "status")
		s.expect(0, "almamigrate status --follow", "status")
		s.expect(11, "another almamigrate is at work", "migrate", "-y")
		s.expect(11, "another almamigrate is at work", "rollback", "-y")
		if s.Run("systemctl", "is-active", "systemd-logind").Code == 0 {
			list := s.Must("systemd-inhibit", "--list", "--no-legend", "--no-pager")
			if !strings.Contains(list, "almamigrate") || !strings.Contains(list, "shutdown:sleep") || !strings.Contains(list, "block") {
				t.Errorf("no inhibitor: %s", list)
			}
		} else {
			t.Error("logind does not run: the inhibitor was not seen")
		}
		for _, p := range [][2]string{{"KillMode", "process"}, {"SendSIGKILL", "no"}, {"TimeoutStopUSec", "infinity"}, {"OOMScoreAdjust", "-900"}} {
			if got := strings.TrimSpace(s.Must("systemctl", "show", "-P", p[0], runUnit)); got != p[1] {
				t.Errorf("%s=%s, not %s", p[0], got, p[1])
			}
		}
		// Ctrl-C while watching
		r := s.Run("timeout", "--preserve-status", "--signal=INT", "1", s.program, "status", "--follow")
		if r.Code != 11 || !strings.Contains(r.Stderr, "no longer watching") || !strings.Contains(r.Stderr, "status --follow") {
			t.Errorf("Ctrl-C while watching: %+v", r)
		}
		s.expect(0, "running", "status")

		watch := s.Start(s.program, "status", "--follow")
		s.Until("the watcher to see the step", func() bool { return strings.Contains(watch.out.String(), "swap-packages") })
		watchJSON := s.Start("sh", "-c", s.program+" status --follow --json 2>/dev/null")
		// systemd comes and goes when it is updated
		s.Must("systemctl", "daemon-reexec")
		s.goOn()
		if out, code := watchJSON.Wait(); code != 0 || !strings.Contains(out, `"state": "done"`) || !json.Valid([]byte(out)) {
			t.Errorf("watched for a machine: exit code %d\n%s", code, out)
		}
		if out, code := watch.Wait(); code != 0 || !strings.Contains(out, "Done: CentOS Linux 8 to AlmaLinux 8") {
			t.Errorf("watched: exit code %d\n%s", code, out)
		}
		s.mustBeAlma()
		if list := s.Must("systemd-inhibit", "--list", "--no-legend", "--no-pager"); strings.Contains(list, "almamigrate") {
			t.Errorf("the inhibitor stayed: %s", list)
		}
		s.noFault()
		s.expect(0, "Rolled back", "rollback", "-y")
		s.mustBeAsBefore(before)
	})

	t.Run("stopped by systemctl", func(t *testing.T) {
		s.fault("txn.doing.swap-packages.after:stop")
		run := s.Start(s.program, "migrate", "-y")
		s.untilStopped()
		s.Must("systemctl", "stop", "--no-block", runUnit)
		s.Until("the unit to be told", func() bool {
			return strings.TrimSpace(s.Must("systemctl", "show", "-P", "ActiveState", runUnit)) == "deactivating"
		})
		s.goOn()
		if out, code := run.Wait(); code != 22 || !strings.Contains(out, "safe point") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		s.noFault()
		s.expect(22, "migrate --resume", "status")
		s.expect(0, "Done:", "migrate", "--resume")
		s.mustBeAlma()
		s.expect(0, "Rolled back", "rollback", "-y")
		s.mustBeAsBefore(before)
	})

	t.Run("killed unit", func(t *testing.T) {
		s.fault("txn.did.swap-packages:kill")
		s.expect(22, "the run was cut short", "migrate", "-y")
		s.noFault()
		s.expect(22, "pending", "status")
		s.expect(22, "interrupted", "migrate", "-y")
		s.expect(0, "Rolled back", "rollback", "-y")
		s.mustBeAsBefore(before)
	})

	t.Run("failure", func(t *testing.T) {
		s.fault("txn.did.disable-old-repos:error")
		s.expect(20, "Everything was taken back", "migrate", "-y")
		s.noFault()
		s.mustBeAsBefore(before)
	})

	t.Run("for machines", func(t *testing.T) {
		s.Run("systemd-run", "--quiet", "--wait", "--unit=broken-before.service", "false")
		r := s.Run("sh", "-c", s.program+" migrate -y --json --progress-fd 3 3>/root/events")
		var doc struct {
			Kind  string
			State string
		}
		if err := json.Unmarshal([]byte(r.Stdout), &doc); err != nil || r.Code != 0 || doc.Kind != "almamigrate.migrate" || doc.State != "done" {
			t.Errorf("exit code %d, %+v, %v\n%s%s", r.Code, doc, err, r.Stdout, r.Stderr)
		}
		n := 0
		for l := range strings.Lines(s.Must("cat", "/root/events")) {
			if !json.Valid([]byte(l)) {
				t.Errorf("not JSON: %q", l)
			}
			n++
		}
		if n < 10 {
			t.Errorf("%d lines of progress", n)
		}
		// Units that failed before are none of the migration's; one that failed since is told.
		s.expect(0, "no unit has failed since (1 had before)", "verify")
		s.Run("systemd-run", "--quiet", "--wait", "--unit=broken-since.service", "false")
		if r := s.Run(s.program, "verify"); r.Code != 10 || !strings.Contains(r.Stdout, "broken-since.service: systemctl status broken-since.service") || strings.Contains(r.Stdout, "broken-before") {
			t.Errorf("a unit that failed since: exit code %d\n%s", r.Code, r.Stdout)
		}
		s.Must("systemctl", "reset-failed")
		s.expect(0, "Rolled back", "rollback", "-y")
		s.mustBeAsBefore(before)
	})

	t.Run("nothing secret is to be seen", func(t *testing.T) {
		s.fault("txn.started.before:stop")
		mirror := strings.TrimSpace(s.Must("sh", "-c", `sed -n 's/^mirror *= *http:..//p' /etc/almamigrate/almamigrate.conf`))
		run := s.Start("env", "no_proxy=*,pr0xy-s3cret", s.program, "migrate", "-y", "--mirror", "http://user:s3cret@"+mirror)
		s.untilStopped()
		shown := s.Must("sh", "-c", "systemctl show "+runUnit+"; systemctl cat "+runUnit+"; cat /proc/$(systemctl show -P MainPID "+runUnit+")/cmdline")
		if strings.Contains(shown, "s3cret") {
			t.Errorf("the password is to be seen:\n%s", shown)
		}
		if got := s.Must("sh", "-c", "cd /var/log/almamigrate; stat -c %a . run-*; ls run-*/start.json 2>/dev/null || true"); strings.Trim(got, "70\n") != "" {
			t.Errorf("modes of the run folders, or what to start is still there: %s", got)
		}
		s.goOn()
		if out, code := run.Wait(); code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
		s.noFault()
		s.expect(0, "Rolled back", "rollback", "-y")
		s.mustBeAsBefore(before)
	})
}

const inRPM = "inside rpm's transaction"

// stopRPM makes the process of rpm's transaction stop itself when it begins to
// install its third package. The next boot knows nothing of it.
func (s *supervised) stopRPM() {
	s.Machine.t.Helper()
	s.Must("bash", "-c", `touch /run/lab-stop; cd /usr/lib/python3/dist-packages; echo "import lab_stop" > lab_stop.pth; cat > lab_stop.py <<'P'
import os, signal, sys
class Out:
    def __init__(self, to): self.to, self.n = to, 0
    def __getattr__(self, name): return getattr(self.to, name)
    def write(self, s):
        r = self.to.write(s)
        self.n += '"event": "install"' in s and "test.json" not in " ".join(sys.argv)
        if self.n == 3:
            open("/run/lab-stopped", "w").close()
            os.kill(os.getpid(), signal.SIGSTOP)
        return r
if os.path.exists("/run/lab-stop"): sys.stdout = Out(sys.stdout)
P`)
}

// The machine dies in the middle; after its next boot both ways lead out.
func TestSystemdPowerCut(t *testing.T) {
	s := &supervised{NewMachine(t, "rocky", 9), ""}
	s.program = faulty(t)
	before := s.facts()
	points := []string{
		inRPM,                                // some packages of both sides are installed
		"txn.doing.swap-packages.after:stop", // before rpm's transaction
		"txn.did.swap-packages:stop",
	}
	if os.Getenv("ALMAMIGRATE_LAB_SYSTEMD") != "1" {
		points = points[:1] // each costs two boots a way
	}
	for _, point := range points {
		for _, way := range []string{"resume", "rollback"} {
			t.Run(point+", "+way, func(t *testing.T) {
				if point == inRPM {
					s.stopRPM()
				} else {
					s.fault(point)
				}
				run := s.Start(s.program, "migrate", "-y")
				if point == inRPM {
					s.Until("rpm to stop", func() bool { return s.Run("test", "-e", "/run/lab-stopped").Code == 0 })
				} else {
					s.untilStopped()
				}
				s.PowerCut()
				_, _ = run.Wait()
				if point == inRPM {
					s.Must("sh", "-c", `rpm -qa | grep -q ^almalinux- && rpm -qa | grep -q ^rocky-`) // side by side
				}
				t.Logf("after the cut: %s", strings.Fields(s.Must("sh", "-c", "rpm -qa 'almalinux*' 'rocky*' --qf '%{NAME}\n' | LC_ALL=C sort")))
				s.expect(22, "pending", "status")
				s.expect(22, "interrupted", "migrate", "-y")
				if way == "resume" {
					s.expect(0, "Done:", "migrate", "--resume")
					s.mustBeAlma()
				}
				s.expect(0, "Rolled back", "rollback", "-y")
				s.mustBeAsBefore(before)
			})
		}
	}
}

// A shutdown in the middle waits for the next safe point.
func TestSystemdReboot(t *testing.T) {
	s := &supervised{NewMachine(t, "centos", 8), ""}
	s.program = faulty(t)
	before := s.facts()
	s.fault("txn.doing.swap-packages.after:stop")
	run := s.Start(s.program, "migrate", "-y")
	s.untilStopped()
	s.Must("systemctl", "--no-block", "-i", "poweroff")
	s.Until("the unit to be told", func() bool {
		return strings.TrimSpace(s.Run("systemctl", "show", "-P", "ActiveState", runUnit).Stdout) == "deactivating"
	})
	s.goOn()
	if out, err := s.nspawn("stop"); err != nil {
		t.Fatalf("cannot stop: %v\n%s", err, out)
	}
	_, _ = run.Wait()
	if out, err := s.nspawn("start"); err != nil {
		t.Fatalf("cannot start: %v\n%s", err, out)
	}
	s.expect(22, "pending", "status")
	if got := s.Must("sh", "-c", "cat /var/log/almamigrate/run-*/exit"); got != "22\n" {
		t.Errorf("the unit ended with %q", got)
	}
	s.expect(0, "Done:", "migrate", "--resume")
	s.mustBeAlma()
	s.expect(0, "Rolled back", "rollback", "-y")
	s.mustBeAsBefore(before)
}

// Without systemd the same command works in its own process, and says so.
func TestSystemdAbsent(t *testing.T) {
	h := NewHost(t, "centos", 8)
	r := h.Almamigrate("migrate", "-y")
	if r.Code != 0 || !strings.Contains(r.Stderr, "There is no systemd here") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r = h.Almamigrate("rollback", "-y"); r.Code != 0 || !strings.Contains(r.Stderr, "There is no systemd here") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
