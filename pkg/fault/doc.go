// Package fault names the places where a crash or an error hurts most, so that
// tests can cause one there. Without the build tag faultinject every point is
// an empty function.
//
// With the tag, ALMAMIGRATE_FAULT=NAME:ACTION[:N] acts when the point NAME is
// reached for the Nth time (default: the first):
//
//	kill    the process kills itself with SIGKILL
//	error   the point returns an error
//	enospc  the point returns ENOSPC
//	eio     the point returns EIO
//	stop    the process stops itself (SIGSTOP), for tests that act from outside
//
// A NAME that ends with "*" matches every point with that beginning.
// ALMAMIGRATE_FAULT_LOG=FILE appends the name of every point reached.
package fault
