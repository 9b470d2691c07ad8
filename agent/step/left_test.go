package step

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/capture"
)

// What the firmware holds that it did not, and lost, is named in commands.
func TestEntryCommands(t *testing.T) {
	order := func(list ...uint16) []byte {
		b := []byte{7, 0, 0, 0}
		for _, n := range list {
			b = binary.LittleEndian.AppendUint16(b, n)
		}
		return b
	}
	raw := func(s string) []byte { return append([]byte{7, 0, 0, 0}, s...) }
	u := bootEntryUndo{
		Before:  boot.Boot{Order: order(1, 2, 3), Entries: map[string][]byte{"Boot0001": raw("centos"), "Boot0002": raw("pxe"), "Boot0003": raw("shell")}},
		Options: [][]byte{[]byte("alma")},
	}
	now := boot.Boot{Order: order(10, 1, 2, 11), Entries: map[string][]byte{"Boot000A": raw("alma"), "Boot000B": raw("usb"), "Boot0001": raw("centos"), "Boot0002": raw("pxe")}}
	want := []string{`# the boot entry Boot0003 is gone: "almamigrate rollback" writes it again`, "efibootmgr -q -o 0001,0002,000B", "efibootmgr -q -b 000A -B"}
	if d := cmp.Diff(want, entryCommands(u, now)); d != "" {
		t.Error(d)
	}
	if got := entryCommands(u, u.Before); len(got) != 0 {
		t.Errorf("nothing is left to do: %q", got)
	}
}

// A folder of somebody's stands where a file was, the file is locked, its
// folder is: each gets out of the way before the file is put back.
func TestMakeWay(t *testing.T) {
	open := func(string) bool { return false }
	d := capture.Difference{Path: "/etc/a b", Saved: capture.Entry{Kind: capture.File}, Current: capture.Entry{Kind: capture.Dir}}
	if diff := cmp.Diff([]string{`mv -T '/etc/a b' '/etc/a b.in-the-way'`}, makeWay(d, open)); diff != "" {
		t.Error(diff)
	}
	d.Current = capture.Entry{Kind: capture.File, Flags: 0x10}
	if diff := cmp.Diff([]string{"chattr -ia /etc", "chattr -ia '/etc/a b'"}, makeWay(d, func(string) bool { return true })); diff != "" {
		t.Error(diff)
	}
	d.Current.Flags = 0
	if got := makeWay(d, open); len(got) != 0 {
		t.Errorf("%q", got)
	}
	cmds := []string{"install -m 0644 a b", "rm -f x", "mv -T a a.in-the-way", "chattr -ia b"}
	slices.SortStableFunc(cmds, func(a, b string) int { return rank(a) - rank(b) })
	if got := strings.Join(cmds, "; "); got != "chattr -ia b; mv -T a a.in-the-way; rm -f x; install -m 0644 a b" {
		t.Error(got)
	}
}

// A folder of settings that is a link is saved with what is behind it.
func TestFoldersThatAreLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc", "srv/repos.d", "etc/inside"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"etc/yum.repos.d": "../srv/repos.d", "etc/same": "inside", "etc/dangling": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	real := newResolver()
	for in, want := range map[string]string{
		"/etc/yum.repos.d/a.repo": "/srv/repos.d/a.repo", "/etc/yum.repos.d": "/etc/yum.repos.d", "/etc/yum.repos.d/no/such/b": "/srv/repos.d/no/such/b", "/etc/same/x": "/etc/inside/x",
	} {
		if got := real(dir + in); got != dir+want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	in := []string{dir + "/etc/yum.repos.d", dir + "/etc/inside", dir + "/etc/same", dir + "/etc/dangling"}
	var added []string
	for _, p := range withTargets(in, real)[len(in):] {
		if strings.HasPrefix(p, dir) { // the other ones are of this machine
			added = append(added, p)
		}
	}
	if d := cmp.Diff([]string{dir + "/srv/repos.d"}, added); d != "" {
		t.Error(d)
	}
}
