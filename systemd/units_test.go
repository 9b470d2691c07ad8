package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/systemd"
)

// units writes the units to a folder of their own, with a program that exists
// on any machine.
func units(t *testing.T) (service, timer string) {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{systemd.ReportService, systemd.ReportTimer} {
		data, err := systemd.Units.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(data), "ExecStart=/usr/bin/almamigrate ", "ExecStart=/bin/true ", 1)
		if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, systemd.ReportService), filepath.Join(dir, systemd.ReportTimer)
}

// analyze runs systemd-analyze or skips.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: systemd-analyze is absent (apt-get install systemd): the units were not verified")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

func TestVerify(t *testing.T) {
	service, timer := units(t)
	// the man pages are built later; the lab's test verifies with them
	if out, err := analyze(t, "verify", "--man=no", service, timer); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// The exposure is at most 2.0; what is left is explained in the unit.
func TestSecurity(t *testing.T) {
	service, _ := units(t)
	out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold=20", service)
	if strings.Contains(out, "unrecognized option") || strings.Contains(out, "Unknown operation") {
		t.Skip("SKIPPED: this systemd-analyze knows no --offline (systemd before 250)")
	}
	m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no exposure in the output: %v\n%s", err, out)
	}
	value, _ := strconv.ParseFloat(m[1], 64)
	if value > 2.0 || err != nil {
		t.Errorf("exposure %s, want at most 2.0: %v\n%s", m[1], err, out)
	}
	t.Logf("exposure %s", m[1])
}

// settings returns the directives of a unit as name, value.
func settings(t *testing.T, name string) map[string][]string {
	t.Helper()
	data, err := systemd.Units.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for l := range strings.Lines(string(data)) {
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' || l[0] == '[' {
			continue
		}
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			t.Errorf("%s: %q", name, l)
		}
		out[k] = append(out[k], v)
	}
	return out
}

// What systemd 219 of EL 7.9 knows of what the units use, by its
// load-fragment-gperf.gperf.m4, and what it does not know. It logs "Unknown
// lvalue" about the latter and goes on.
var known219 = strings.Fields(`AccuracySec After CapabilityBoundingSet Description DevicePolicy Documentation ExecStart
 IOSchedulingClass Nice NoNewPrivileges NotifyAccess OnCalendar Persistent PrivateDevices PrivateTmp ProtectHome ProtectSystem
 RandomizedDelaySec ReadWriteDirectories RestrictAddressFamilies SecureBits SystemCallArchitectures SystemCallErrorNumber
 SystemCallFilter TimeoutStartSec Type UMask WantedBy Wants`)

var unknown219 = strings.Fields(`CacheDirectory FixedRandomDelay KeyringMode LockPersonality MemoryDenyWriteExecute PrivateMounts
 ProtectClock ProtectControlGroups ProtectHostname ProtectKernelLogs ProtectKernelTunables ProtectProc RestrictNamespaces
 RestrictRealtime RestrictSUIDSGID SocketBindDeny StateDirectory StateDirectoryMode`)

// What must hold for systemd 219, which skips what it does not know: an
// allow-list of system calls by groups would leave nothing, and a prefix in
// ExecStart= or a specifier of later versions would break the line.
func TestOldSystemd(t *testing.T) {
	s := settings(t, systemd.ReportService)
	doc, err := os.ReadFile("../packaging/doc/packager.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, n := range []string{systemd.ReportService, systemd.ReportTimer} {
		for k := range settings(t, n) {
			used[k] = true
			if !slices.Contains(known219, k) && !slices.Contains(unknown219, k) {
				t.Errorf("%s: does systemd 219 know %s=? Nothing that the report needs may depend on one that it does not know", n, k)
			}
		}
	}
	for _, k := range unknown219 {
		if !used[k] {
			t.Errorf("%s= is not used any more", k)
		}
		if !strings.Contains(string(doc), "`"+k+"=`") {
			t.Errorf("packager.md does not name %s=, which EL7 does not know", k)
		}
	}
	// the folders that StateDirectory= and CacheDirectory= would make are made by the package and by tmpfiles.d
	folders, err := os.ReadFile("almamigrate.tmpfiles")
	if err != nil || !regexp.MustCompile(`(?m)^d /var/lib/almamigrate `).Match(folders) || !regexp.MustCompile(`(?m)^d /var/cache/almamigrate `).Match(folders) {
		t.Errorf("nothing makes the folders on EL7: %v", err)
	}
	// the last value wins where it is known; 219 knows the first and refuses the second
	if p := s["ProtectSystem"]; !slices.Equal(p, []string{"full", "strict"}) {
		t.Errorf("ProtectSystem=%v", p)
	}
	if _, ok := s["ReadWritePaths"]; ok {
		t.Error("ReadWritePaths= is of systemd 231; ReadWriteDirectories= is the same for all")
	}
	for _, v := range s["SystemCallFilter"] {
		if !strings.HasPrefix(v, "~") {
			t.Errorf("SystemCallFilter=%s is an allow-list", v)
		}
	}
	if len(s["SystemCallErrorNumber"]) != 1 {
		t.Error("a forbidden system call kills the program: the Go runtime tries to raise its limit of open files")
	}
	if e := s["ExecStart"]; len(e) != 1 || !strings.HasPrefix(e[0], "/usr/bin/almamigrate report") || strings.Contains(e[0], "%") {
		t.Errorf("ExecStart=%v", e)
	}
	if _, ok := s["ProtectKernelModules"]; ok {
		t.Error("ProtectKernelModules= hides /usr/lib/modules, which the check reads")
	}
	tm := settings(t, systemd.ReportTimer)
	for k, want := range map[string]string{"OnCalendar": "daily", "Persistent": "true", "FixedRandomDelay": "true", "RandomizedDelaySec": "6h"} {
		if v := tm[k]; len(v) != 1 || v[0] != want {
			t.Errorf("%s=%v, want %s", k, v, want)
		}
	}
}

func TestPresetAndFolders(t *testing.T) {
	preset, err := os.ReadFile("90-almamigrate.preset")
	if err != nil || !regexp.MustCompile(`(?m)^disable almamigrate-report\.timer$`).Match(preset) {
		t.Errorf("preset: %v\n%s", err, preset)
	}
	folders, err := os.ReadFile("almamigrate.tmpfiles")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`d /var/lib/almamigrate +0700`, `d /var/log/almamigrate +0700`, `d /var/cache/almamigrate +0755`} {
		if !regexp.MustCompile(`(?m)^` + want + ` root root -$`).Match(folders) {
			t.Errorf("no line %q", want)
		}
	}
}
