package e2e

import "testing"

// stopAndSignal stops the program between two steps, sends it a signal, and
// lets it go on.
const stopAndSignal = `
"$2" migrate -y -q --foreground > /root/out 2>&1 &
pid=$!
for i in $(seq 600); do
  case $(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null) in T) break;; "") break;; esac
  sleep 0.1
done
kill -s "$1" $pid; kill -CONT $pid
wait $pid; rc=$?
cat /root/out; rm /root/out
exit $rc`

// Ctrl-C takes everything back; a signal of a shutdown or a lost terminal stops
// at the next safe point and leaves the choice.
func TestSignals(t *testing.T) {
	lab(t)
	program := faulty(t)
	for _, c := range []struct {
		signal string
		code   int
		state  string
	}{{"INT", 20, "rolled-back"}, {"TERM", 22, "pending"}, {"HUP", 22, "pending"}} {
		t.Run(c.signal, func(t *testing.T) {
			h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
			r := h.Do(Cmd{Args: []string{"bash", "-c", stopAndSignal, "bash", c.signal, program}, Env: map[string]string{"ALMAMIGRATE_FAULT": "txn.done.swap-packages.after:stop"}})
			if r.Code != c.code {
				t.Fatalf("exit code %d, want %d\n%s", r.Code, c.code, r.Stdout)
			}
			if s := h.state(); s != c.state {
				t.Errorf("state %s", s)
			}
			if c.state == "pending" {
				h.code(0, "migrate", "--resume", "-q")
				h.code(0, "verify")
				h.code(0, "rollback", "-y", "-q")
			}
			mustEqual(t, "in the end", h, twin, true)
		})
	}
}
