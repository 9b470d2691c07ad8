package cli_test

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/cli"
)

// TestTuneMemoryGivesWay: with a live heap that is too large for the goal, the
// runtime's own settings return; else the collector would never rest.
func TestTuneMemoryGivesWay(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()

	cli.TuneMemory()
	runtime.GC()
	if got := debug.SetMemoryLimit(-1); got == math.MaxInt64 {
		t.Fatal("no limit is set")
	}
	live := make([]byte, 80<<20)
	for range 1000 {
		runtime.GC()
		if debug.SetMemoryLimit(-1) == math.MaxInt64 {
			break
		}
		time.Sleep(time.Millisecond) // cleanups have a goroutine of their own
	}
	runtime.KeepAlive(live)
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit is still %d bytes", got)
	}
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC is still %d", got)
	}
}
