package txn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/txn"
)

var fixed = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// script is a handler whose behaviour a test writes down; it records calls.
type script struct {
	calls    []string
	failDo   map[string]error
	failUndo map[string]error
	lie      map[string]bool // Verify says no
	stop     func()
}

func name(params json.RawMessage) string {
	var s string
	_ = json.Unmarshal(params, &s)
	return s
}

func (s *script) Prepare(_ context.Context, _ *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage(`{"of":"` + name(p) + `"}`), nil
}

func (s *script) Do(_ context.Context, _ *txn.Change, p, u json.RawMessage) error {
	s.calls = append(s.calls, "do "+name(p))
	if !bytes.Contains(u, []byte(name(p))) {
		return errors.New("undo data of another step")
	}
	if s.stop != nil {
		s.stop()
	}
	return s.failDo[name(p)]
}

func (s *script) Undo(_ context.Context, _ *txn.Change, p, _ json.RawMessage) error {
	s.calls = append(s.calls, "undo "+name(p))
	return s.failUndo[name(p)]
}

func (s *script) Verify(_ context.Context, _ *txn.Change, p, _ json.RawMessage) (bool, error) {
	return !s.lie[name(p)], nil
}

func newChange(t *testing.T, h txn.Handler) *txn.Runner {
	t.Helper()
	plan := txn.Plan{ID: "c1", Created: fixed}
	for _, n := range []string{"a", "b", "c"} {
		p, _ := json.Marshal(n)
		plan.Steps = append(plan.Steps, txn.Step{Kind: "k", Name: n, Params: p})
	}
	c, err := txn.Create(t.TempDir(), plan)
	if err != nil {
		t.Fatal(err)
	}
	r := &txn.Runner{Change: c, Registry: txn.Registry{"k": h}}
	if err := r.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.State() != txn.StatePlanned {
		t.Fatalf("prepared: %s", c.State())
	}
	return r
}

func expect(t *testing.T, s *script, want string) {
	t.Helper()
	if got := strings.Join(s.calls, ", "); got != want {
		t.Fatalf("calls: %s\nwant:  %s", got, want)
	}
}

func TestAllDoneThenBack(t *testing.T) {
	s := &script{}
	r := newChange(t, s)
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.Change.State() != txn.StateDone {
		t.Fatal(r.Change.State())
	}
	if err := r.Run(context.Background()); !errors.Is(err, txn.ErrState) {
		t.Fatalf("second run: %v", err)
	}
	if err := r.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "do a, do b, do c, undo c, undo b, undo a")
	if err := r.Rollback(context.Background()); !errors.Is(err, txn.ErrState) {
		t.Fatalf("rollback of a rollback: %v", err)
	}
	expect(t, s, "do a, do b, do c, undo c, undo b, undo a")
}

func TestFailingStepIsUndoneToo(t *testing.T) {
	s := &script{failDo: map[string]error{"b": errors.New("boom")}}
	r := newChange(t, s)
	err := r.Run(context.Background())
	if !errors.Is(err, txn.ErrFailed) || !strings.Contains(err.Error(), "boom") {
		t.Fatal(err)
	}
	if err := r.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "do a, do b, undo b, undo a")
	if e := r.Change.Errors(); len(e) != 1 || !strings.Contains(e[0], "boom") {
		t.Errorf("why it failed is not told any more: %q", e)
	}
}

func TestSuccessThatTheHostDoesNotShow(t *testing.T) {
	s := &script{lie: map[string]bool{"a": true}}
	r := newChange(t, s)
	if err := r.Run(context.Background()); !errors.Is(err, txn.ErrUnverified) {
		t.Fatal(err)
	}
}

func TestFailedUndoDoesNotStopTheOthers(t *testing.T) {
	s := &script{failUndo: map[string]error{"b": errors.New("stuck")}}
	r := newChange(t, s)
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.Rollback(context.Background()); !errors.Is(err, txn.ErrIncomplete) {
		t.Fatal(err)
	}
	expect(t, s, "do a, do b, do c, undo c, undo b, undo a")
	if e := r.Change.Errors(); len(e) != 1 || !strings.Contains(e[0], "stuck") {
		t.Fatal(e)
	}
	// Once the cause is gone, only what is left is done.
	s.failUndo, s.calls = nil, nil
	if err := r.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "undo b")
	if e := r.Change.Errors(); len(e) != 0 {
		t.Errorf("still told, though overcome: %q", e)
	}
	if r.Change.State() != txn.StateRolledBack {
		t.Fatal(r.Change.State())
	}
}

func TestStopAtASafePoint(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &script{stop: cancel}
	r := newChange(t, s)
	if err := r.Run(ctx); !errors.Is(err, txn.ErrStopped) {
		t.Fatal(err)
	}
	expect(t, s, "do a")
	if r.Change.State() != txn.StatePending {
		t.Fatal(r.Change.State())
	}
	s.stop = nil
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect(t, s, "do a, do b, do c")
}

func TestCommitEndsTheWayBack(t *testing.T) {
	s := &script{}
	r := newChange(t, s)
	if err := r.Commit(); !errors.Is(err, txn.ErrState) {
		t.Fatalf("commit before the run: %v", err)
	}
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := r.Rollback(context.Background()); !errors.Is(err, txn.ErrState) {
		t.Fatal(err)
	}
}

// TestDamagedJournal: any single changed byte, and any cut, is noticed, or it
// is the torn last line that a crash leaves.
func TestDamagedJournal(t *testing.T) {
	s := &script{}
	r := newChange(t, s)
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(r.Change.Dir, "journal.jsonl")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Count(good, []byte("\n"))
	last := bytes.LastIndexByte(good[:len(good)-1], '\n') + 1
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x04
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := txn.Open(r.Change.Dir)
		switch {
		case err != nil && !errors.Is(err, txn.ErrJournal):
			t.Fatalf("byte %d: %v", i, err)
		case err == nil && i < last-1:
			t.Fatalf("byte %d of %d: not noticed", i, len(good))
		case err == nil && len(c.Records) != lines-1 && i >= last:
			t.Fatalf("byte %d: %d records", i, len(c.Records))
		}
	}
	for cut := range good {
		if err := os.WriteFile(name, good[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := txn.Open(r.Change.Dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if want := bytes.Count(good[:cut], []byte("\n")); len(c.Records) != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, len(c.Records), want)
		}
	}
}

func TestListSkipsWhatNeverBegan(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(filepath.Join(base, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Create(base, txn.Plan{ID: "one", Created: fixed}); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Create(base, txn.Plan{ID: "../x"}); err == nil {
		t.Fatal("a path was taken as id")
	}
	got, err := txn.List(base)
	if err != nil || len(got) != 1 || got[0].Plan.ID != "one" {
		t.Fatal(got, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"seq\":1,\"step\":-1,\"status\":\"started\",\"time\":\"2026-11-01T12:00:00Z\",\"crc\":\"00000000\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "plan.json"), []byte(`{"id":"x","steps":[]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "journal.jsonl"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := txn.Open(dir); err == nil {
			_ = c.State()
			_ = c.Errors()
		}
	})
}
