package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// crashSample is how many points of each way a normal run of the tests takes;
// ALMAMIGRATE_CRASH=all takes every one, ALMAMIGRATE_CRASH=N that many of each,
// ALMAMIGRATE_SEED another choice.
const crashSample = 2

// points lists the fault points that a command reaches, each as NAME:%s:N for
// the Nth time that it is reached.
func points(t *testing.T, h *Host, args ...string) []string {
	t.Helper()
	if r := h.Do(Cmd{Args: args, Env: map[string]string{"ALMAMIGRATE_FAULT_LOG": "/root/points"}}); r.Code != 0 {
		t.Fatalf("%q undisturbed: exit code %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	count := map[string]int{}
	var out []string
	for _, p := range strings.Fields(h.Must("cat", "/root/points")) {
		count[p]++
		out = append(out, fmt.Sprintf("%s:%%s:%d", p, count[p]))
	}
	h.Must("rm", "/root/points")
	return out
}

func sample(t *testing.T, list []string) []string { t.Helper(); return sampleOf(t, list, crashSample) }

func sampleOf(t *testing.T, list []string, n int) []string {
	t.Helper()
	if os.Getenv("ALMAMIGRATE_CRASH") == "all" {
		return list
	}
	if k, err := strconv.Atoi(os.Getenv("ALMAMIGRATE_CRASH")); err == nil && k > 0 {
		n = k
	}
	seed, err := strconv.ParseUint(os.Getenv("ALMAMIGRATE_SEED"), 10, 64)
	if err != nil {
		seed = 8
	}
	t.Logf("%d of %d points, ALMAMIGRATE_SEED=%d (ALMAMIGRATE_CRASH=all takes all)", min(n, len(list)), len(list), seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var out []string
	for _, i := range r.Perm(len(list))[:min(n, len(list))] {
		out = append(out, list[i])
	}
	return out
}

// kill runs a command that kills itself at a point. The shell is the host's
// first process: with it everything else dies, a transaction of rpm in the
// middle of its work included, as at a power cut.
func (h *Host) kill(point, program string, args ...string) {
	h.t.Helper()
	r := h.Do(Cmd{
		Args: append([]string{"bash", "-c", `"$@"; exit $?`, "bash", program}, args...),
		Env:  map[string]string{"ALMAMIGRATE_FAULT": fmt.Sprintf(point, "kill")},
	})
	if r.Code != 137 {
		h.t.Fatalf("not killed at %s: exit code %d\n%s%s", point, r.Code, r.Stdout, r.Stderr)
	}
}

// TestCrash kills a migration, and a rollback, at its fault points, among them
// before, in the middle of and after rpm's transaction, and demands that both
// ways lead out: back to the very host that it was, or on to the host that an
// undisturbed migration makes.
func TestCrash(t *testing.T) {
	lab(t)
	program := faulty(t)
	twin, finish := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	there := points(t, finish, program, "migrate", "-y", "-q")
	if len(there) < 50 {
		t.Fatalf("only %d fault points on the way there", len(there))
	}
	back := func() []string {
		h := NewHost(t, "centos", 8)
		h.code(0, "migrate", "-y", "-q")
		return points(t, h, program, "rollback", "-y", "-q")
	}()
	if len(back) < 20 {
		t.Fatalf("only %d fault points on the way back", len(back))
	}
	counts := map[string]int{}
	for _, p := range sample(t, there) {
		for _, way := range []string{"rollback", "resume"} {
			t.Run("there/"+strings.ReplaceAll(p, ":%s", "")+"/"+way, func(t *testing.T) {
				h := NewHost(t, "centos", 8)
				h.kill(p, program, "migrate", "-y", "-q")
				state := h.state()
				counts[state+", then "+way]++
				switch {
				case state == "nothing" || state == "planned":
					// Nothing had been done, and both ways say so. A new migration works.
					mustEqual(t, "killed before the first change", h, twin, true)
					if way == "rollback" {
						h.code(2, "rollback", "-y", "-q")
						mustEqual(t, "rollback of nothing", h, twin, true)
						return
					}
					h.code(2, "migrate", "--resume", "-q")
					h.code(0, "migrate", "-y", "-q")
					mustEqual(t, "migrated after all", h, finish, false)
				case way == "rollback":
					h.code(0, "rollback", "-y", "-q")
					mustEqual(t, "killed ("+state+"), then rolled back", h, twin, true)
				case state == "pending":
					if r := h.Almamigrate("status"); r.Code != 22 {
						t.Errorf("status: exit code %d", r.Code)
					}
					h.code(22, "migrate", "-y", "-q")
					h.code(0, "migrate", "--resume", "-q")
					mustEqual(t, "killed, then resumed", h, finish, false)
				default: // done
					mustEqual(t, "killed when all was "+state, h, finish, false)
				}
			})
		}
	}
	for _, p := range sample(t, back) {
		t.Run("back/"+strings.ReplaceAll(p, ":%s", ""), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			h.code(0, "migrate", "-y", "-q")
			h.kill(p, program, "rollback", "-y", "-q")
			counts["rollback killed: "+h.state()]++
			h.code(0, "rollback", "-y", "-q")
			mustEqual(t, "rollback killed, then again", h, twin, true)
		})
	}
	// Killed, and the way out of that killed as well.
	acting := slices.DeleteFunc(slices.Clone(there), func(p string) bool {
		return !strings.HasPrefix(p, "rpm.swap.") && !strings.HasPrefix(p, "txn.do") && !strings.HasPrefix(p, "txn.did.")
	})
	seconds := map[string][]string{"rollback": sampleOf(t, back, 12), "resume": sampleOf(t, acting, 12)}
	for i, p := range sampleOf(t, acting, 1) {
		way := []string{"rollback", "resume"}[i%2]
		second := seconds[way][i%len(seconds[way])]
		t.Run(fmt.Sprintf("twice/%s/%s %s", strings.ReplaceAll(p, ":%s", ""), way, strings.ReplaceAll(second, ":%s", "")), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			h.kill(p, program, "migrate", "-y", "-q")
			args := map[string][]string{"rollback": {"rollback", "-y", "-q"}, "resume": {"migrate", "--resume", "-q"}}[way]
			// The second point need not be on the way: then that way comes to its end.
			r := h.Do(Cmd{Args: append([]string{"bash", "-c", `"$@"; exit $?`, "bash", program}, args...), Env: map[string]string{"ALMAMIGRATE_FAULT": fmt.Sprintf(second, "kill")}})
			counts[fmt.Sprintf("%s killed, too: exit code %d, %s", way, r.Code, h.state())]++
			if r.Code != 0 && r.Code != 137 {
				t.Errorf("%q: exit code %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
			}
			if h.state() != "nothing" {
				h.code(0, "rollback", "-y", "-q")
			}
			mustEqual(t, "killed twice, then rolled back", h, twin, true)
		})
	}
	t.Logf("fault points: %d on the way there, %d on the way back; states after the kill: %v", len(there), len(back), counts)
}

// TestFailures lets a fault point fail as a full disk or a broken one does: the
// host ends as it was (1, 20) or, where the journal's reserve carried it, done.
func TestFailures(t *testing.T) {
	lab(t)
	program := faulty(t)
	twin, finish := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	there := points(t, finish, program, "migrate", "-y", "-q")
	codes := map[int]int{}
	for i, p := range sample(t, there) {
		action := []string{"enospc", "eio", "error"}[i%3]
		t.Run(strings.ReplaceAll(p, "%s", action), func(t *testing.T) {
			h := NewHost(t, "centos", 8)
			r := h.Do(Cmd{Args: []string{program, "migrate", "-y", "-q"}, Env: map[string]string{"ALMAMIGRATE_FAULT": fmt.Sprintf(p, action)}})
			codes[r.Code]++
			switch r.Code {
			case 0:
				mustEqual(t, "done in spite of it", h, finish, false)
			case 1, 13, 20:
				mustEqual(t, fmt.Sprintf("failed with %d", r.Code), h, twin, true)
			default:
				t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
		})
	}
	t.Logf("exit codes: %v", codes)
}
