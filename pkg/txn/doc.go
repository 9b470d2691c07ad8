// Package txn runs a linear list of steps that can be undone, across kill -9,
// full disks, power cuts and reboots.
//
// A change lives in a folder of its own:
//
//	plan.json       the steps, written once, never changed
//	journal.jsonl   one record a line, appended and fsynced
//	files/ rpms/    what the steps saved to be able to go back
//	reserve         free space for the journal on a full disk
//
// A record is {seq, step, status, time, data, crc}. The order is what makes a
// change safe: every step is prepared first, which reads the host and saves
// what undoing will need; "doing" is on the disk before a step acts and "done"
// after it has. So whatever the moment of a crash, the journal says which steps
// may have acted, and each of them is asked to undo itself or to act again:
// Undo must accept that its step never happened, half happened or happened, Do
// that it half happened or happened.
package txn
