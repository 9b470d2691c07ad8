//go:build faultinject

package capture_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/capture"
)

// TestChild is the program that the matrix kills.
func TestChild(t *testing.T) {
	set, root := os.Getenv("CAPTURE_SET"), os.Getenv("CAPTURE_ROOT")
	switch os.Getenv("CAPTURE_MODE") {
	case "save":
		_, err := capture.Save(set, root, []string{"/etc"}, capture.Options{})
		must(t, err)
	case "restore":
		s, err := capture.Open(set)
		must(t, err)
		_, err = s.Restore(root)
		must(t, err)
	}
}

// child runs TestChild and reports whether it reached its end.
func child(t *testing.T, mode, set, root, fault, log string) (killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), "CAPTURE_MODE="+mode, "CAPTURE_SET="+set, "CAPTURE_ROOT="+root, "ALMAMIGRATE_FAULT="+fault, "ALMAMIGRATE_FAULT_LOG="+log)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if err != nil && !strings.Contains(string(out), "injected") && !strings.Contains(string(out), "no space left") {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// Kill, error and full disk at every point reached: a set is complete or not there, and a restore that is run again ends
// where an undisturbed one does.
func TestCrashMatrix(t *testing.T) {
	cases := 0
	points := func(mode, set, root string) []string {
		log := filepath.Join(t.TempDir(), "points")
		child(t, mode, set, root, "", log)
		data, err := os.ReadFile(log)
		must(t, err)
		seen := map[string]int{}
		var out []string
		for _, p := range strings.Fields(string(data)) {
			seen[p]++
			out = append(out, fmt.Sprintf("%s:%%s:%d", p, seen[p]))
		}
		return out
	}

	root := host(t)
	savePoints := points("save", t.TempDir()+"/set", root)
	for _, p := range savePoints {
		for _, action := range []string{"kill", "error", "enospc"} {
			set := t.TempDir() + "/set"
			killed := child(t, "save", set, root, fmt.Sprintf(p, action), "")
			if killed != (action == "kill") {
				t.Errorf("%s %s: killed %v", p, action, killed)
			}
			if _, err := os.Lstat(set); err == nil {
				t.Errorf("%s %s: an incomplete set", p, action)
			}
			child(t, "save", set, root, "", "")
			s, err := capture.Open(set)
			must(t, err)
			must(t, s.Verify())
			cases++
		}
	}

	prepared := func() (root, set string, before map[string]string) {
		root, set = host(t), t.TempDir()+"/set"
		before = picture(t, root)
		child(t, "save", set, root, "", "")
		ruin(t, root)
		must(t, os.RemoveAll(root+"/usr"))
		must(t, os.RemoveAll(root+"/opt"))
		return root, set, before
	}
	for _, recorded := range []bool{false, true} {
		r, s, _ := prepared()
		for _, p := range points("restore", s, r) {
			for _, action := range []string{"kill", "error", "enospc"} {
				root, set, before := prepared()
				if recorded {
					s, err := capture.Open(set)
					must(t, err)
					must(t, s.RecordAfter(root))
				}
				child(t, "restore", set, root, fmt.Sprintf(p, action), "")
				child(t, "restore", set, root, "", "")
				if diff := cmp.Diff(before, picture(t, root)); diff != "" {
					t.Errorf("%s %s, recorded %v:\n%s", p, action, recorded, diff)
				}
				cases++
			}
		}
	}
	t.Logf("%d cases", cases)
	if len(savePoints) == 0 || cases < 50 {
		t.Errorf("only %d cases: were the points reached?", cases)
	}
}
