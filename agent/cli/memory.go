package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A check allocates some 60 MB and is over: with the runtime's own settings a
// quarter of its time would be collecting garbage that is gone a moment later.
// So the collector waits until the heap nears heapGoal. A host whose inventory
// alone is larger must not have it run all the time: then the runtime's
// settings come back.
const (
	heapGoal    = 60 << 20 // bytes, of all that the runtime has from the system
	heapTooFull = 36 << 20 // live bytes
)

// TuneMemory sets the collector up for a short run. What the environment says
// (GOGC, GOMEMLIMIT) stays.
func TuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(heapGoal)
	watchHeap()
}

// watchHeap looks at the live heap after every collection.
func watchHeap() {
	// Larger than what the runtime packs together with other small objects:
	// the collection that follows must find it.
	type canary struct{ _ [4]*byte }
	runtime.AddCleanup(&canary{}, func(struct{}) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 && live[0].Value.Uint64() < heapTooFull {
			watchHeap()
			return
		}
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	}, struct{}{})
}
