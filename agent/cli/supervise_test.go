package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What the starter leaves, the unit takes up; what the unit writes, all
// followers read, whenever they come.
func TestRunFolder(t *testing.T) {
	dir := t.TempDir()
	r, err := newRunFolder(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("https_proxy", "http://user:s3cret@proxy")
	t.Setenv("LD_PRELOAD", "/tmp/evil.so")
	if err := r.writeStart([]string{"--mirror=http://user:s3cret@mirror"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, runStart: 0o600, runErr: 0o600, runOut: 0o600, runEvents: 0o600} {
		if fi, err := os.Stat(r.file(name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, fi.Mode(), err)
		}
	}
	data, err := os.ReadFile(r.file(runStart))
	if err != nil || strings.Contains(string(data), "LD_PRELOAD") {
		t.Errorf("start: %s, %v", data, err)
	}

	os.Unsetenv("https_proxy")
	t.Setenv(runVariable, string(r))
	u, err := enterUnit(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"--mirror=http://user:s3cret@mirror"}, u.args); d != "" {
		t.Error(d)
	}
	if got := os.Getenv("https_proxy"); got != "http://user:s3cret@proxy" {
		t.Errorf("https_proxy: %q", got)
	}
	if got, ok := os.LookupEnv(runVariable); ok {
		t.Errorf("the children would see %s", got)
	}
	if _, err := os.Stat(r.file(runStart)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", runStart, err)
	}

	var out, errs, late bytes.Buffer
	early, err := r.tail(&out, &errs, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer early.close()
	for _, s := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(u.err, s); err != nil {
			t.Fatal(err)
		}
		if err := early.copy(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(u.out, "result\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.exitCode(); err == nil {
		t.Error("an exit code before the end")
	}
	u.end(22)
	if err := early.copy(); err != nil {
		t.Fatal(err)
	}
	if errs.String() != "one\ntwo\n" || out.String() != "result\n" {
		t.Errorf("followed: %q, %q", errs.String(), out.String())
	}
	if code, err := r.exitCode(); err != nil || code != 22 {
		t.Errorf("exit code %d, %v", code, err)
	}
	all, err := r.tail(&late, &late, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer all.close()
	if err := all.copy(); err != nil || late.String() != "one\ntwo\nresult\n" {
		t.Errorf("followed late: %q, %v", late.String(), err)
	}
}

// A folder elsewhere is not taken up.
func TestEnterUnitRefuses(t *testing.T) {
	for _, name := range []string{"/tmp/run-1", "DIR/../run-1", "DIR", "DIR/run-1/.."} {
		dir := t.TempDir()
		t.Setenv(runVariable, strings.ReplaceAll(name, "DIR", dir))
		if u, err := enterUnit(dir); err == nil {
			t.Errorf("%s: %+v", name, u)
		}
	}
	os.Unsetenv(runVariable)
	if u, err := enterUnit("/nowhere"); u != nil || err != nil {
		t.Errorf("outside of the unit: %+v, %v", u, err)
	}
}

func TestRunFoldersAreFew(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range runsKept + 5 {
		if _, err := newRunFolder(dir, now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := filepath.Glob(dir + "/run-*")
	if err != nil || len(list) != runsKept {
		t.Fatalf("%d folders, %v", len(list), err)
	}
	if first := filepath.Base(list[0]); !strings.HasPrefix(first, "run-20260101T000005") {
		t.Errorf("the oldest one kept is %s", first)
	}
}

// Nothing that the user can write freely gets onto the unit's command line.
func TestUnitFlags(t *testing.T) {
	f := repoFlags{mirror: "http://u:p@m", repos: []string{"a=http://x/$releasever"}, offline: true, cacheDir: "/c", override: []string{"X"}, reason: "because"}
	fixed, free := f.unitFlags()
	if d := cmp.Diff([]string{"--offline"}, fixed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"--mirror=http://u:p@m", "--repo=a=http://x/$releasever", "--cache-dir=/c"}, free); d != "" {
		t.Error(d)
	}
}

func TestAsk(t *testing.T) {
	for in, want := range map[string]int{"y\n": 0, "YES\n": 0, " yes": 0, "n\n": ExitError, "": ExitError, "yeah\n": ExitError, "\ny\n": ExitError} {
		a := &app{in: strings.NewReader(in), err: io.Discard}
		err := a.ask(t.Context(), "almamigrate migrate -y")
		code := 0
		if err != nil {
			code = explainError(err).Code
		}
		if code != want {
			t.Errorf("%q: %v", in, err)
		}
	}
	// Ctrl-C while it waits
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{in: r, err: io.Discard}
	if err := a.ask(ctx, "almamigrate migrate -y"); err == nil || explainError(err).Code != ExitInterrupted {
		t.Errorf("Ctrl-C: %v", err)
	}
}
