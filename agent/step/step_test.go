package step

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

func TestEditOption(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"changed", "# x\n[a]\nenabled=1\n[crb]\nname=y\nenabled = 0\ngpgcheck=1\n", "# x\n[a]\nenabled=1\n[crb]\nname=y\nenabled=1\ngpgcheck=1\n"},
		{"added", "[a]\nenabled=0\n[crb]\nname=y\n", "[a]\nenabled=0\n[crb]\nenabled=1\nname=y\n"},
		{"comments stay", "[crb]\n#enabled=0\nenabled=0\n", "[crb]\n#enabled=0\nenabled=1\n"},
		{"a continuation line is no key", "[crb]\nbaseurl=x\n enabled=0\nenabled=0", "[crb]\nbaseurl=x\n enabled=0\nenabled=1\n"},
		{"no such section", "[a]\nenabled=0\n", "[a]\nenabled=0\n"},
		{"section at the end", "[crb]", "[crb]\nenabled=1\n"},
		{"a longer name is another section", "[crb-debug]\nenabled=0\n[crb]\nenabled=0\n", "[crb-debug]\nenabled=0\n[crb]\nenabled=1\n"},
	} {
		if got := editOption(c.in, "crb", "enabled", "1"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBlocks(t *testing.T) {
	one := "-----BEGIN PGP PUBLIC KEY BLOCK-----\na\n-----END PGP PUBLIC KEY BLOCK-----"
	two := strings.ReplaceAll(one, "\na\n", "\nb\n")
	got := blocks([]byte("text\n" + one + "\r\nmore\n" + two + "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\ncut"))
	if len(got) != 2 || string(got[0]) != one+"\n" || string(got[1]) != two+"\n" {
		t.Errorf("%q", got)
	}
}

// The plan's steps and the handlers are the same set.
func TestEveryStepHasAHandler(t *testing.T) {
	reg := (&Env{}).Registry()
	for _, k := range []string{plan.StepSaveFiles, plan.StepImportKeys, plan.StepSwapPackages, plan.StepDisableRepos, plan.StepEnableRepos, plan.StepCarry, plan.StepRHSM, plan.StepSeal,
		plan.StepMapStreams, plan.StepSyncPackages, plan.StepBootKernel, plan.StepBootDefault, plan.StepBootEntry} {
		if reg[k] == nil {
			t.Errorf("no handler for %s", k)
		}
	}
	if len(reg) != 13 {
		t.Errorf("%d handlers", len(reg))
	}
}

// A file that was changed after it was verified is not used.
func TestTamperedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.rpm")
	if err := os.WriteFile(name, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := fileSHA256(name)
	if err != nil {
		t.Fatal(err)
	}
	list := []Saved{{NEVRA: "a-1-1.noarch", File: "a.rpm", SHA256: sum}}
	if err := checkSaved(dir, list); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("goof"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkSaved(dir, list); err == nil || !strings.Contains(err.Error(), ErrTampered.Error()) {
		t.Fatal(err)
	}
}

// What a killed rpm leaves is removed; what merely looks like it is not.
func TestHalfWrittenFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(names ...string) {
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("os-release")
	set, err := capture.Save(filepath.Join(t.TempDir(), "set"), "/", []string{filepath.Join(dir, "os-release")}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write("os-release;6720a1f3", "os-release;notahexx", "os-release;12", "other;6720a1f3")
	if err := removeHalfWritten([]*capture.Saved{set}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := "os-release os-release;12 os-release;notahexx other;6720a1f3"; strings.Join(got, " ") != want {
		t.Errorf("left: %v", got)
	}
}

// The script does nothing when the one that started it is not there any more.
func TestOrphanedScriptDoesNothing(t *testing.T) {
	py := ""
	for _, p := range pythons {
		if exec.Command(p, "-c", "import rpm").Run() == nil {
			py = p
			break
		}
	}
	if py == "" {
		t.Skip("SKIPPED: no Python with rpm's module here (package python3-rpm)")
	}
	dir := t.TempDir()
	script, spec := filepath.Join(dir, "swap.py"), filepath.Join(dir, "t.json")
	if err := os.WriteFile(script, swapScript, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(parent int) string {
		data, err := json.Marshal(transaction{Lock: filepath.Join(dir, "lock"), Parent: parent, Test: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(spec, data, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(py, "-I", "-B", script, spec)
		cmd.Env = append(os.Environ(), "HOME="+dir) // Debian's rpm has its database below it
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		return out.String()
	}
	if out := run(1); !strings.Contains(out, `"orphaned"`) || strings.Contains(out, `"begin"`) {
		t.Errorf("orphan: %s", out)
	}
	if out := run(os.Getpid()); !strings.Contains(out, `"begin"`) {
		t.Errorf("with its parent: %s", out)
	}
}

func TestPlanOfAChange(t *testing.T) {
	c := &txn.Change{Plan: txn.Plan{ID: "x", Extra: json.RawMessage(`{"kind":"something"}`)}}
	if _, err := Plan(c); err == nil {
		t.Fatal("took something else for a plan")
	}
}

// Packages that were not saved, since so it was asked for, keep no resumed
// transaction from being prepared.
func TestContentsOfWhatWasNotSaved(t *testing.T) {
	got, err := contents(t.TempDir(), []Saved{{NEVRA: "a-1-1.noarch"}})
	if err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

// A rollback is refused where no kernel would be left, and only there.
func TestKernelStays(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "vmlinuz-5.14.0-1.el9.x86_64")
	rescue := filepath.Join(dir, "vmlinuz-0-rescue-0123")
	for _, f := range []string{other, rescue} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const coming = "kernel-core-5.14.0-2.el9.x86_64"
	p := func(leaving ...string) *plan.Plan {
		p := &plan.Plan{
			Coming: []plan.Coming{{Name: "kernel-core", NEVRA: coming}},
			Boot:   &plan.BootPlan{Kernel: &plan.BootKernel{Release: "5.14.0-2.el9.x86_64", Package: coming}},
		}
		for _, n := range leaving {
			p.Leaving = append(p.Leaving, plan.Leaving{Name: n})
		}
		return p
	}
	came := map[string][]string{"5.14.0-2.el9.x86_64": {coming}}
	for _, c := range []struct {
		name   string
		plan   *plan.Plan
		images []string
		owners map[string][]string
		stays  bool
	}{
		{"the old one is there", p(), []string{"/boot/vmlinuz-5.14.0-2.el9.x86_64", other}, came, true},
		{"only ours and the rescue image", p(), []string{"/boot/vmlinuz-5.14.0-2.el9.x86_64", rescue}, came, false},
		{"an image that is gone", p(), []string{other + "0"}, came, false},
		{"an image elsewhere", p(), nil, map[string][]string{"5.14.0-1.el9.x86_64": {"kernel-core-5.14.0-1.el9.x86_64"}}, true},
		{"it comes back", p("kernel-core"), nil, came, true},
		{"a tool is no kernel", p("kernel-tools"), nil, came, false},
	} {
		err := kernelStays(c.plan, c.images, c.owners)
		if (err == nil) != c.stays || err != nil && !errors.Is(err, ErrNoKernel) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A folder that must give way goes only with what was saved of it.
func TestClearFolder(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "real", "d")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"sub/old", "mine"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	saved := map[string]bool{filepath.Join(dir, "sub/old"): true}
	through := filepath.Join(top, "link", "d")
	if err := clearFolder(through, saved); err == nil || !strings.Contains(err.Error(), "mine was put there since") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub/old")); err != nil {
		t.Error(err)
	}
	saved[filepath.Join(dir, "mine")] = true
	for range 2 { // the second time it is gone
		if err := clearFolder(through, saved); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestBootedByOld(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "sys/firmware/efi/efivars")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := []string{`Boot0003 "CentOS"`}
	for _, c := range []struct{ current, want string }{
		{"", ""}, {"\x06\x00\x00\x00\x02\x00", ""}, {"\x06\x00\x00\x00\x03\x00", `Boot0003 "CentOS"`},
	} {
		if err := os.WriteFile(filepath.Join(dir, "BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c"), []byte(c.current), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := bootedByOld(root, old); err != nil || !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%q: %q %v", c.current, got, err)
		}
	}
}

// Packages are named as rpm names them, not as our files are.
func TestPackageOf(t *testing.T) {
	for file, want := range map[string]string{
		"/x/almalinux-release-0_8.10-1.el8.x86_64.rpm": "almalinux-release-8.10-1.el8.x86_64", "a-b-12_1.0~rc1-1.noarch.rpm": "a-b-12:1.0~rc1-1.noarch",
		"almalinux-logos-84.5-1.el8.noarch": "almalinux-logos-84.5-1.el8.noarch", "plain": "plain",
	} {
		if got := packageOf(file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}
