package step

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/capture"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// Of what an update brought, that goes which nobody has made their own.
func TestLeftOfUpdates(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	files := map[string]updatedFile{}
	note := func(name string, f updatedFile) { f.Path = in(name); files[f.Path] = f }
	sum := sha256Hex([]byte("x"))
	for name, f := range map[string]updatedFile{
		"d": {Mode: unix.S_IFDIR}, "d/plain": {Mode: unix.S_IFREG, Digest: sum, Algo: digestSHA256}, "edited": {Mode: unix.S_IFREG, Digest: "other", Algo: digestSHA256},
		"conf": {Mode: unix.S_IFREG, Digest: sum, Algo: digestSHA256, Config: true}, "edited.conf": {Mode: unix.S_IFREG, Digest: "other", Algo: digestSHA256, Config: true},
		"link": {Mode: unix.S_IFLNK, Target: "plain"}, "other-link": {Mode: unix.S_IFLNK, Target: "elsewhere"}, "gone": {Mode: unix.S_IFREG}, "now-a-folder": {Mode: unix.S_IFREG},
		"saved": {Mode: unix.S_IFREG, Digest: sum, Algo: digestSHA256},
	} {
		note(name, f)
		switch {
		case strings.Contains(name, "link"):
			err = os.Symlink("plain", in(name))
		case name == "d" || name == "now-a-folder":
			err = os.MkdirAll(in(name), 0o755)
		case name != "gone":
			if err = os.MkdirAll(filepath.Dir(in(name)), 0o755); err == nil {
				err = os.WriteFile(in(name), []byte("x"), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set, err := capture.Save(in("set"), "/", []string{in("saved")}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range leftUpdated(files, []*capture.Saved{set}, &Database{}) {
		rel, _ := filepath.Rel(dir, f.Path)
		got = append(got, rel)
	}
	if d := cmp.Diff([]string{"link", "edited", "d/plain", "d", "conf"}, got); d != "" {
		t.Error(d)
	}
}

// What was noted is root's to delete: nothing but clean absolute paths is.
func TestNotedUpdates(t *testing.T) {
	c := &txn.Change{Dir: t.TempDir()}
	if got, err := notedUpdated(c); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "{}", `[{"path":"a"}]`, `[{"path":"/a/../b"}]`, `[{"path":"/"}]`} {
		if err := os.WriteFile(updatedName(c), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := notedUpdated(c); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}
