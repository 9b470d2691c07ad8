package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// diskPoints are the fault points of the way there that are taken for what
// happens to a disk: each by its name, at the first time that it is reached.
func diskPoints(t *testing.T, list []string) []string {
	t.Helper()
	out := slices.DeleteFunc(slices.Clone(list), func(p string) bool { return !strings.HasSuffix(p, ":1") })
	if os.Getenv("ALMAMIGRATE_CRASH") == "all" {
		t.Logf("%d points of %d, each the first time", len(out), len(list))
	}
	return sampleOf(t, out, 1)
}

// diskSize is what check asks for, and more, in MiB; what is not written takes no memory.
const diskSize = 3072

func caseName(point string, more ...string) string {
	return strings.ReplaceAll(point, ":%s", "") + strings.Join(append([]string{""}, more...), "/")
}

// leadOut takes a host, after whatever hit it, to one of the two ends.
func leadOut(t *testing.T, h, twin, finish *Host, way string, counts map[string]int) {
	t.Helper()
	state := h.state()
	counts[state+", then "+way]++
	switch {
	case state == "nothing" || state == "planned":
		mustEqual(t, "hit before the first change", h, twin, true)
		h.code(0, "migrate", "-y", "-q")
		mustEqual(t, "migrated after all", h, finish, false)
	case state == "pending" && way == "resume":
		h.code(0, "migrate", "--resume", "-q")
		mustEqual(t, "resumed", h, finish, false)
	case state == "done" && way == "resume":
		h.code(0, "verify")
		mustEqual(t, "done", h, finish, false)
	case state == "rolled-back":
		mustEqual(t, "rolled back", h, twin, true)
	default:
		h.code(0, "rollback", "-y", "-q")
		mustEqual(t, "hit when "+state+", then rolled back", h, twin, true)
	}
}

// TestDisk lets happen to a host's disk, at the fault points, what happens to
// disks.
func TestDisk(t *testing.T) {
	lab(t)
	program := faulty(t)
	twin, finish := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	there := points(t, finish, program, "migrate", "-y", "-q")
	t.Run("power", func(t *testing.T) { powerCut(t, program, there, twin, finish) })
	t.Run("full", func(t *testing.T) { fullDisk(t, program, there, twin, finish) })
	t.Run("broken", func(t *testing.T) { brokenDisk(t, program, there, twin, finish) })
}

// powerCut cuts the power: everything that was not synced is lost, in
// files, in the rpm database, and of our own.
func powerCut(t *testing.T, program string, there []string, twin, finish *Host) {
	counts := map[string]int{}
	for i, p := range diskPoints(t, there) {
		way := []string{"rollback", "resume"}[i%2]
		t.Run("there/"+caseName(p, way), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			h.OnDisk(diskSize)
			h.PowerCut(p, program, "migrate", "-y", "-q")
			leadOut(t, h, twin, finish, way, counts)
		})
	}
	for _, p := range diskPoints(t, pointsBack(t, program)) {
		t.Run("back/"+caseName(p), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			h.OnDisk(diskSize)
			h.code(0, "migrate", "-y", "-q")
			h.PowerCut(p, program, "rollback", "-y", "-q")
			counts["on the way back: "+h.state()]++
			h.code(0, "rollback", "-y", "-q")
			mustEqual(t, "rolled back at last", h, twin, true)
		})
	}
	t.Logf("states after the power cut: %v", counts)
}

// afterFailure looks at what a failed run left, and leads on.
func afterFailure(t *testing.T, r Result, h, twin, finish *Host, mend func(), counts map[string]int) {
	t.Helper()
	counts[fmt.Sprint("exit code ", r.Code)]++
	switch r.Code {
	case 0:
		mend()
		mustEqual(t, "done in spite of it", h, finish, false)
	case 1, 13, 20:
		mend()
		mustEqual(t, fmt.Sprintf("failed with %d", r.Code), h, twin, true)
	case 21:
		mend()
		if s := h.Almamigrate("status"); s.Code != 21 || !strings.Contains(s.Stdout, "almamigrate rollback") {
			t.Errorf("status: exit code %d\n%s%s", s.Code, s.Stdout, s.Stderr)
		}
		h.code(0, "rollback", "-y", "-q")
		mustEqual(t, "rolled back at the second try", h, twin, true)
	default:
		t.Errorf("exit code %d\n%s", r.Code, r.Stdout)
	}
}

// fullDisk fills the host's disk, or that of /var/lib/almamigrate, to the
// last block while a migration stands at a point.
func fullDisk(t *testing.T, program string, there []string, twin, finish *Host) {
	counts := map[string]int{}
	for _, p := range diskPoints(t, there) {
		for _, which := range []string{"root", "state"} {
			t.Run(caseName(p, which), func(t *testing.T) {
				h := NewHost(t, "centos", 8)
				var d *Disk
				if which == "root" {
					d = h.OnDisk(diskSize)
				} else {
					d = h.MountAt("/var/lib/almamigrate", diskSize)
				}
				s, r := h.stopAt(p, program, "migrate", "-y", "-q")
				if s == nil {
					t.Fatalf("the point was not reached: %+v", r)
				}
				d.Fill()
				if r = s.GoOn(); r.Code == 21 {
					t.Errorf("the room that is held for the way back did not do\n%s", r.Stdout)
				}
				afterFailure(t, r, h, twin, finish, d.Free, counts)
			})
		}
	}
	for _, p := range diskPoints(t, pointsBack(t, program)) {
		t.Run("back/"+caseName(p), func(t *testing.T) {
			h, d, s := stoppedOnTheWayBack(t, p, program)
			d.Fill()
			r := s.GoOn()
			if r.Code != 0 {
				t.Errorf("the room that is held for the way back did not do: exit code %d\n%s", r.Code, r.Stdout)
			}
			backAgain(t, r, h, twin, d.Free, counts)
		})
	}
	t.Logf("%v", counts)
}

// stoppedOnTheWayBack is a migrated host on a disk of its own, whose rollback
// stopped at a point.
func stoppedOnTheWayBack(t *testing.T, point, program string) (*Host, *Disk, *Stopped) {
	t.Helper()
	h := NewHost(t, "centos", 8)
	d := h.OnDisk(diskSize)
	h.code(0, "migrate", "-y", "-q")
	s, r := h.stopAt(point, program, "rollback", "-y", "-q")
	if s == nil {
		t.Fatalf("the point was not reached: %+v", r)
	}
	return h, d, s
}

// pointsBack lists the fault points of a rollback.
func pointsBack(t *testing.T, program string) []string {
	t.Helper()
	h := NewHost(t, "centos", 8)
	h.code(0, "migrate", "-y", "-q")
	return points(t, h, program, "rollback", "-y", "-q")
}

// backAgain looks at what a rollback says that was hit by something, and runs
// it again where it says that it has to be.
func backAgain(t *testing.T, r Result, h, twin *Host, mend func(), counts map[string]int) {
	t.Helper()
	counts[fmt.Sprint("on the way back: exit code ", r.Code)]++
	mend()
	state := h.state()
	switch {
	case r.Code == 0 && state == "rolled-back":
	case r.Code != 0 && (state == "rolling" || state == "incomplete" || state == "done"):
		h.code(0, "rollback", "-y", "-q")
	case r.Code != 0 && state == "rolled-back": // it could not write that down before it ended
	default:
		t.Errorf("exit code %d, and the state is %s\n%s", r.Code, state, r.Stdout)
	}
	mustEqual(t, "rolled back at last", h, twin, true)
}

// brokenDisk lets every read and write fail from a point on, as those of a
// disk that dies, or goes away and comes back.
func brokenDisk(t *testing.T, program string, there []string, twin, finish *Host) {
	counts := map[string]int{}
	for i, p := range diskPoints(t, there) {
		way := []string{"resume", "rollback"}[i%2]
		t.Run(caseName(p, way), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			d := h.OnDisk(diskSize)
			s, r := h.stopAt(p, program, "migrate", "-y", "-q")
			if s == nil {
				t.Fatalf("the point was not reached: %+v", r)
			}
			d.Break()
			r = s.GoOn()
			if counts[fmt.Sprint("exit code ", r.Code)]++; r.Code == 0 {
				t.Errorf("it says that all went well\n%s", r.Stdout)
			}
			d.Unmount()
			if err := d.Mount(); err != nil {
				t.Fatal(err)
			}
			leadOut(t, h, twin, finish, way, counts)
		})
	}
	for _, p := range diskPoints(t, pointsBack(t, program)) {
		t.Run("back/"+caseName(p), func(t *testing.T) {
			h, d, s := stoppedOnTheWayBack(t, p, program)
			d.Break()
			r := s.GoOn()
			if r.Code == 0 {
				t.Errorf("it says that all went well\n%s", r.Stdout)
			}
			d.Unmount()
			if err := d.Mount(); err != nil {
				t.Fatal(err)
			}
			backAgain(t, r, h, twin, func() {}, counts)
		})
	}
	t.Logf("%v", counts)
}
