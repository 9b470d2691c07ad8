package fleet_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLinkedFolder reads a folder that is given by a symbolic link; links in
// it are passed over.
func TestLinkedFolder(t *testing.T) {
	dir := folder(t, 5)
	link := filepath.Join(t.TempDir(), "reports")
	must(t, os.Symlink(dir, link))
	must(t, os.Symlink("/etc/hostname", filepath.Join(dir, "other.json")))
	f := read(t, nil, options(), link)
	if f.Summary.Hosts != 5 || f.Summary.Ignored != 1 {
		t.Errorf("got %+v", f.Summary)
	}
	if want := filepath.Dir(f.Hosts[0].Source); want != link {
		t.Errorf("the source is %s, not below %s", f.Hosts[0].Source, link)
	}
}
