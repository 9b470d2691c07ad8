// Package packaging_test holds what is packed against what was built.
package packaging_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const version = "0.9.9"

// built is the source tarball unpacked, and the program built of it as the
// spec does, without network.
type built struct {
	tarball []byte
	dir     string // the project in it
	binary  string
}

var (
	once sync.Once
	it   built
	fail error
)

func command(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(name + " " + strings.Join(args, " ") + ": " + err.Error() + "\n" + string(out))
	}
	return nil
}

func build(t *testing.T) built {
	t.Helper()
	needGit(t)
	once.Do(func() {
		var tmp string
		if tmp, fail = os.MkdirTemp("", "packaging"); fail != nil {
			return
		}
		it.dir, it.binary = filepath.Join(tmp, "almamigrate-"+version), filepath.Join(tmp, "almamigrate-"+version, "bin", "almamigrate")
		if fail = command("", nil, "./source", "--worktree", version, tmp); fail != nil {
			return
		}
		if it.tarball, fail = os.ReadFile(it.dir + ".tar.gz"); fail != nil {
			return
		}
		if fail = command(tmp, nil, "tar", "-xzf", it.dir+".tar.gz"); fail != nil {
			return
		}
		fail = command(it.dir, []string{"GOFLAGS=-mod=vendor", "GOPROXY=off"}, "make", "-s", "build", "VERSION="+version)
	})
	if fail != nil {
		t.Fatal(fail)
	}
	return it
}

func TestMain(m *testing.M) {
	code := m.Run()
	if it.dir != "" {
		_ = os.RemoveAll(filepath.Dir(it.dir))
	}
	os.Exit(code)
}

func needGit(t *testing.T) {
	t.Helper()
	if err := exec.Command("git", "rev-parse", "--verify", "HEAD").Run(); err != nil {
		t.Skip("SKIPPED: not a git checkout: a source tarball is made of one")
	}
}

// The tarball is the same wherever and whenever it is made.
func TestSourceTwice(t *testing.T) {
	needGit(t)
	make := func(env ...string) []byte {
		dir := t.TempDir()
		if err := command("", env, "bash", "-c", "umask $MASK; exec ./source "+version+" "+dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "almamigrate-"+version+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	one := make("MASK=022", "TZ=UTC", "LC_ALL=C")
	other := make("MASK=077", "TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8", "TAR_OPTIONS=--owner=nobody", "GZIP=-1")
	if !bytes.Equal(one, other) {
		t.Errorf("%d and %d bytes, not the same", len(one), len(other))
	}
}

// What is in the tarball tells nothing of this machine.
func TestSourceContent(t *testing.T) {
	b := build(t)
	zr, err := gzip.NewReader(bytes.NewReader(b.tarball))
	if err != nil {
		t.Fatal(err)
	}
	if zr.Name != "" || !zr.ModTime.IsZero() {
		t.Errorf("gzip: name %q, time %v", zr.Name, zr.ModTime)
	}
	var names []string
	var at time.Time
	r := tar.NewReader(zr)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if at.IsZero() {
			at = h.ModTime
		}
		if !h.ModTime.Equal(at) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s: %v %d:%d %q %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		if h.Mode&0o022 != 0 || h.Mode&0o444 != 0o444 {
			t.Errorf("%s: mode %o", h.Name, h.Mode)
		}
		names = append(names, h.Name)
	}
	for _, want := range []string{"/packaging/almamigrate.spec", "/vendor/modules.txt", "/LICENSE", "/systemd/almamigrate-report.service"} {
		if !slices.Contains(names, "almamigrate-"+version+want) {
			t.Errorf("no %s in it", want)
		}
	}
	for _, n := range names {
		for _, not := range []string{"/.git/", "/bin/", "/dist/", "/.lab/"} {
			if strings.HasPrefix(n, "almamigrate-"+version+not) {
				t.Errorf("%s is in it", n)
			}
		}
	}
	spec, err := os.ReadFile(filepath.Join(b.dir, "packaging", "almamigrate.spec"))
	if err != nil || !regexp.MustCompile(`(?m)^Version: +`+regexp.QuoteMeta(version)+`$`).Match(spec) {
		t.Errorf("the version is not in the spec: %v", err)
	}
}

// The spec says what is linked in, and the version that is in VERSION.
func TestSpec(t *testing.T) {
	b := build(t)
	spec, err := os.ReadFile("almamigrate.spec")
	if err != nil {
		t.Fatal(err)
	}
	v, err := os.ReadFile("VERSION")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Version: +` + regexp.QuoteMeta(strings.TrimSpace(string(v))) + `$`).Match(spec) {
		t.Errorf("VERSION is %s, the spec has another", v)
	}
	out, err := exec.Command("go", "run", "./sbom", "-vendor", filepath.Join(b.dir, "vendor"), "-spec", b.binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for l := range strings.Lines(string(spec)) {
		if regexp.MustCompile(`^License: |^Provides: +bundled`).MatchString(l) {
			have = append(have, strings.TrimSuffix(l, "\n"))
		}
	}
	// the last License is the collection's, which has nothing linked in
	if len(have) > 0 && strings.HasPrefix(have[len(have)-1], "License:") {
		have = have[:len(have)-1]
	}
	if d := cmp.Diff(strings.Split(strings.TrimSpace(string(out)), "\n"), have); d != "" {
		t.Errorf("put these lines into almamigrate.spec (-), instead of (+):\n%s", d)
	}
}

// One page for every command, which mandoc has nothing to say against, and
// completions that a shell takes and that know the commands.
func TestManPagesAndCompletions(t *testing.T) {
	b := build(t)
	dir := t.TempDir()
	if err := command("", nil, b.binary, "man", dir); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.8"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(b.binary, "__complete", "").Output()
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for l := range strings.Lines(string(out)) {
		name, _, ok := strings.Cut(l, "\t")
		if !ok || name == "help" {
			continue
		}
		commands++
		if !slices.Contains(pages, filepath.Join(dir, "almamigrate-"+name+".8")) {
			t.Errorf("no page for %s", name)
		}
	}
	if commands < 10 {
		t.Errorf("completion knows %d commands:\n%s", commands, out)
	}
	if mandoc, err := exec.LookPath("mandoc"); err != nil {
		t.Log("SKIPPED: mandoc is absent (apt-get install mandoc): nobody read the man pages")
	} else {
		args := append([]string{"-T", "lint", "-W", "warning", "man/almamigrate.conf.5"}, pages...)
		out, _ := exec.Command(mandoc, args...).CombinedOutput() // it fails for the date that no page has
		for l := range strings.Lines(string(out)) {
			if !strings.Contains(l, `WARNING: missing date, using ""`) {
				t.Errorf("mandoc: %s", l)
			}
		}
		text, err := exec.Command(mandoc, "-T", "utf8", filepath.Join(dir, "almamigrate-report.8")).Output()
		if err != nil {
			t.Fatal(err)
		}
		plain := regexp.MustCompile(".\b").ReplaceAllString(string(text), "") // bold is a letter over itself
		for _, want := range []string{"ALMAMIGRATE-REPORT(8)", "--html FILE\n", "--state-dir DIR\n", "(default /var/lib/almamigrate)", "130", "almamigrate.conf(5)", "    almamigrate report --html /root/host.html\n"} {
			if !strings.Contains(plain, want) {
				t.Errorf("almamigrate-report(8) has no %q:\n%s", want, plain)
			}
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := exec.Command(b.binary, "completion", shell).Output()
		if err != nil || len(script) < 1000 {
			t.Errorf("completion %s: %v, %d bytes", shell, err, len(script))
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("SKIPPED: %s is absent: it did not see its completion", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = bytes.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
}

// logrotate takes the file.
func TestLogrotate(t *testing.T) {
	path, err := exec.LookPath("logrotate")
	if err != nil {
		t.Skip("SKIPPED: logrotate is absent (apt-get install logrotate)")
	}
	// it looks at files of root's only
	dir := t.TempDir()
	data, err := os.ReadFile("almamigrate.logrotate")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "almamigrate")
	if err := os.WriteFile(conf, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-d", "-s", filepath.Join(dir, "state"), conf).CombinedOutput(); err != nil || bytes.Contains(out, []byte("error")) {
		t.Errorf("logrotate: %v\n%s", err, out)
	}
}
