//go:build faultinject

package txn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// fileStep is a step on a real folder: it appends to one file in two halves,
// so that a crash can fall between them, and creates another.
type fileStep struct{ base string }

type fileParams struct{ File, Text string }
type fileUndo struct {
	Existed bool
	Old     string
}

func (h fileStep) Prepare(_ context.Context, _ *txn.Change, params json.RawMessage) (json.RawMessage, error) {
	var p fileParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	old, err := os.ReadFile(filepath.Join(h.base, p.File))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return json.Marshal(fileUndo{Existed: err == nil, Old: string(old)})
}

func (h fileStep) Do(_ context.Context, _ *txn.Change, params, _ json.RawMessage) error {
	var p fileParams
	_ = json.Unmarshal(params, &p)
	name := filepath.Join(h.base, p.File)
	half := len(p.Text) / 2
	if err := os.WriteFile(name, []byte(p.Text[:half]), 0o600); err != nil {
		return err
	}
	_ = fault.Point("half." + p.File)
	return os.WriteFile(name, []byte(p.Text), 0o600)
}

func (h fileStep) Undo(_ context.Context, _ *txn.Change, params, undo json.RawMessage) error {
	var p fileParams
	var u fileUndo
	_ = json.Unmarshal(params, &p)
	_ = json.Unmarshal(undo, &u)
	name := filepath.Join(h.base, p.File)
	if !u.Existed {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return os.WriteFile(name, []byte(u.Old), 0o600)
}

func (h fileStep) Verify(_ context.Context, _ *txn.Change, params, _ json.RawMessage) (bool, error) {
	var p fileParams
	_ = json.Unmarshal(params, &p)
	b, err := os.ReadFile(filepath.Join(h.base, p.File))
	return err == nil && string(b) == p.Text, nil
}

// TestChild is the program that the matrix kills.
func TestChild(t *testing.T) {
	mode, base := os.Getenv("TXN_MODE"), os.Getenv("TXN_BASE")
	if mode == "" {
		return
	}
	changes := filepath.Join(base, "changes")
	reg := txn.Registry{"file": fileStep{filepath.Join(base, "host")}}
	ctx := context.Background()
	var c *txn.Change
	var err error
	if mode == "start" {
		plan := txn.Plan{ID: "c1", Created: fixed, Tool: "test", Title: "test"}
		for i, f := range []string{"a", "b", "a", "new"} {
			params, _ := json.Marshal(fileParams{f, strings.Repeat(fmt.Sprint("text", i), 3)})
			plan.Steps = append(plan.Steps, txn.Step{Kind: "file", Name: fmt.Sprint("s", i), Params: params})
		}
		c, err = txn.Create(changes, plan)
	} else {
		c, err = txn.Open(filepath.Join(changes, "c1"))
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &txn.Runner{Change: c, Registry: reg}
	switch mode {
	case "start":
		if err = r.Prepare(ctx); err == nil {
			err = r.Run(ctx)
		}
		if errors.Is(err, txn.ErrFailed) {
			err = errors.Join(r.Rollback(ctx), errors.New("rolled back"))
		}
	case "resume":
		err = r.Run(ctx)
	case "rollback":
		err = r.Rollback(ctx)
	}
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(3)
	}
}

func child(t *testing.T, base, mode string, env ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), append(env, "TXN_MODE="+mode, "TXN_BASE="+base)...)
	out, err := cmd.CombinedOutput()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func newHost(t *testing.T) string {
	base := t.TempDir()
	host := filepath.Join(base, "host")
	if err := os.Mkdir(host, 0o700); err != nil {
		t.Fatal(err)
	}
	for f, s := range map[string]string{"a": "old a", "b": "old b", "untouched": "x"} {
		if err := os.WriteFile(filepath.Join(host, f), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func tree(t *testing.T, base string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(filepath.Join(base, "host"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(base, "host", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s=%s\n", e.Name(), data)
	}
	return b.String()
}

func points(t *testing.T, mode string, prepare ...string) []string {
	base := newHost(t)
	for _, m := range prepare {
		child(t, base, m)
	}
	log := filepath.Join(base, "points")
	child(t, base, mode, "ALMAMIGRATE_FAULT_LOG="+log)
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	var out []string
	for _, l := range strings.Fields(string(data)) {
		count[l]++
		out = append(out, fmt.Sprintf("%s:%%s:%d", l, count[l]))
	}
	return out
}

// TestCrashMatrix kills a change at every fault point of the way there and of
// the way back, and demands that both ways out work from there.
func TestCrashMatrix(t *testing.T) {
	base := newHost(t)
	start := tree(t, base)
	if out, code := child(t, base, "start"); code != 0 {
		t.Fatalf("undisturbed run: %d\n%s", code, out)
	}
	finish := tree(t, base)

	there := points(t, "start")
	if len(there) < 30 {
		t.Fatalf("only %d fault points on the way there", len(there))
	}
	for _, p := range there {
		for _, way := range []string{"rollback", "resume"} {
			base := newHost(t)
			if out, code := child(t, base, "start", "ALMAMIGRATE_FAULT="+fmt.Sprintf(p, "kill")); code != -1 {
				t.Fatalf("%s: not killed: %d\n%s", p, code, out)
			}
			state := txn.StatePlanned
			if c, err := txn.Open(filepath.Join(base, "changes", "c1")); err == nil {
				state = c.State()
			}
			out, _ := child(t, base, way)
			want := start
			switch {
			case state == txn.StatePlanned:
				// Nothing had been done. Resuming is refused, or, when every
				// step was prepared, it does the whole work.
				if way == "resume" && strings.Contains(tree(t, base), "new=") {
					want = finish
				}
			case state == txn.StateDone && way == "resume": // refused: nothing left to do
				want = finish
			case way == "resume":
				want = finish
			}
			if got := tree(t, base); got != want {
				t.Errorf("killed at %s (%s), then %s:\ngot\n%swant\n%s%s", p, state, way, got, want, out)
			}
		}
	}
	back := points(t, "rollback", "start")
	if len(back) < 15 {
		t.Fatalf("only %d fault points on the way back", len(back))
	}
	for _, p := range back {
		base := newHost(t)
		child(t, base, "start")
		if out, code := child(t, base, "rollback", "ALMAMIGRATE_FAULT="+fmt.Sprintf(p, "kill")); code != -1 {
			t.Fatalf("%s: not killed: %d\n%s", p, code, out)
		}
		out, _ := child(t, base, "rollback")
		if got := tree(t, base); got != start {
			t.Errorf("rollback killed at %s, then rollback:\ngot\n%swant\n%s%s", p, got, start, out)
		}
	}
	t.Logf("killed at %d points on the way there (x2 ways out) and %d on the way back", len(there), len(back))
}

// TestErrorMatrix lets every point of the way there fail with an error, a full
// disk and an I/O error: the change must end rolled back, or before its start.
func TestErrorMatrix(t *testing.T) {
	base := newHost(t)
	start := tree(t, base)
	if out, code := child(t, base, "start"); code != 0 {
		t.Fatalf("undisturbed run: %d\n%s", code, out)
	}
	finish := tree(t, base)
	for _, p := range points(t, "start") {
		for _, action := range []string{"error", "enospc", "eio"} {
			base := newHost(t)
			out, code := child(t, base, "start", "ALMAMIGRATE_FAULT="+fmt.Sprintf(p, action))
			got := tree(t, base)
			if code == 0 { // the journal's reserve took it
				if got != finish {
					t.Errorf("%s at %s: exit 0 but\n%s", action, p, got)
				}
				continue
			}
			if c, err := txn.Open(filepath.Join(base, "changes", "c1")); err == nil && !c.State().Settled() {
				out2, _ := child(t, base, "rollback")
				got, out = tree(t, base), out+out2
			} else if err == nil && c.State() == txn.StateDone {
				continue // the very last record was written, then the fault
			}
			if got != start && got != finish {
				t.Errorf("%s at %s:\ngot\n%swant\n%s%s", action, p, got, start, out)
			}
		}
	}
}
