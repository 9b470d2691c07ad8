package txn

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRemoveAndSweep(t *testing.T) {
	base := t.TempDir()
	var list []*Change
	for _, id := range []string{"a", "b"} {
		c, err := Create(base, Plan{ID: id, Steps: []Step{{Kind: "k", Name: "n"}}})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	// What a run that was killed while it removed, or made, a change leaves.
	for _, d := range []string{".removed-a/files", ".removed-z/rpms", "never/files", "lost+found!", ".other"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A plan that is lost is damage, and not what a run that was killed leaves.
	if err := os.MkdirAll(filepath.Join(base, "lost"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "lost", journalName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := List(base); !errors.Is(err, ErrJournal) {
		t.Errorf("a lost plan: %v", err)
	}
	if err := Remove(list[0]); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(base); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != 4 || got[0] != ".other" || got[1] != "b" || got[2] != "lost" || got[3] != "lost+found!" {
		t.Errorf("left: %v", got)
	}
	if err := os.RemoveAll(filepath.Join(base, "lost")); err != nil {
		t.Fatal(err)
	}
	if left, err := List(base); err != nil || len(left) != 1 || left[0].Plan.ID != "b" {
		t.Errorf("changes: %v %v", left, err)
	}
	if err := Remove(list[0]); err == nil {
		t.Error("removed twice")
	}
	if err := Sweep(filepath.Join(base, "nowhere")); err != nil {
		t.Error(err)
	}
}
