// Package hostcmd runs the host's own programs: rpm, dnf, systemctl, grubby. It
// is the only place that does.
//
// There is never a shell in between, the environment is fixed, and every
// program gets a session of its own: a signal meant for us, a lost terminal or
// a password prompt does not reach it. Once started, a program runs to its end
// unless its Cmd says how it may be killed: an rpm transaction must not be.
package hostcmd
