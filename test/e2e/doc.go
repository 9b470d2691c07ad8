// Package e2e runs the real binary on the lab's EL look-alike hosts
// (test/lab): real rpm databases, real dnf, repositories over HTTP on loopback.
//
// Its tests need root and the lab's tools, and build package worlds on their
// first run (minutes); so they run only with ALMAMIGRATE_LAB=1, as `make test`
// sets it, and say so otherwise.
package e2e
