package inventory_test

import "runtime"

// lockThread keeps a goroutine on its thread for good: the thread ends with it.
func lockThread() { runtime.LockOSThread() }
