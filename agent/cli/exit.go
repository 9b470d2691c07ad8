package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/config"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// The exit codes. They are documented in the README and the man page and are
// never renumbered. Whoever calls the program must treat a code that is not
// known as a failure.
const (
	ExitOK           = 0   // done, or the host is ready
	ExitError        = 1   // error, host unchanged
	ExitUsage        = 2   // usage or configuration
	ExitFindings     = 10  // finished, blockers found (with --fail-on warning: warnings too)
	ExitLocked       = 11  // another almamigrate, rpm or dnf holds the lock
	ExitNotSupported = 12  // host not supported, nothing to migrate, or root needed
	ExitRepos        = 13  // repositories unreachable, or a signature or digest is wrong: no verdict
	ExitRolledBack   = 20  // migration failed, everything rolled back
	ExitIncomplete   = 21  // rollback incomplete, a human is needed
	ExitPending      = 22  // an interrupted migration is pending
	ExitReboot       = 100 // done, reboot required
	ExitInterrupted  = 130 // interrupted before any change
)

// exitCodes is the table that help and documentation print.
var exitCodes = []struct {
	Code int
	Text string
}{
	{ExitOK, "done, or the host is ready (warnings included)"},
	{ExitError, "error; the host is unchanged"},
	{ExitUsage, "wrong usage or configuration"},
	{ExitFindings, "check, plan or migrate found blockers (check --fail-on warning: or warnings), verify found differences; fleet: not all hosts are ready"},
	{ExitLocked, "another almamigrate, rpm or dnf holds the lock"},
	{ExitNotSupported, "host not supported, or AlmaLinux already: nothing to migrate; or root needed"},
	{ExitRepos, "repositories unreachable, or a signature or digest is wrong: no verdict"},
	{ExitRolledBack, "the migration failed, and everything was rolled back"},
	{ExitIncomplete, "the rollback is incomplete: a human is needed"},
	{ExitPending, "an interrupted migration is pending: migrate --resume, or rollback"},
	{ExitReboot, "done, reboot required (status --reboot-required)"},
	{ExitInterrupted, "interrupted before any change"},
}

// UserError is an error that is meant for the user: what is wrong, the next
// command to type, and the exit code.
type UserError struct {
	Msg  string
	Hint string
	Code int
	Err  error
	help bool // the hint is the help of the command at hand
}

func (e *UserError) Error() string {
	if e.Err != nil {
		if e.Msg == "" {
			return e.Err.Error()
		}
		return e.Msg + ": " + e.Err.Error()
	}
	return e.Msg
}

// Unwrap returns the cause.
func (e *UserError) Unwrap() error { return e.Err }

// usageError marks what cobra and our own flag checks report.
func usageError(format string, args ...any) error {
	return &UserError{Msg: fmt.Sprintf(format, args...), Hint: "almamigrate --help", Code: ExitUsage, help: true}
}

// explainError maps any error to what the user is told: the one place where
// errors become exit codes and hints.
func explainError(err error) *UserError {
	var ue *UserError
	if errors.As(err, &ue) {
		if ue.Code == 0 {
			ue.Code = ExitError
		}
		return ue
	}
	e := &UserError{Err: err, Code: ExitError}
	if code, hint := planError(err); code != 0 {
		e.Code, e.Hint = code, hint
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = ExitInterrupted
		e.Hint = "nothing was changed; run the same command again"
	case errors.Is(err, catalog.ErrData):
		e.Code = ExitUsage
		e.Hint = "correct or remove the file in " + catalog.Dir
	case errors.Is(err, reposync.ErrCache):
		e.Hint = "make room there, or name another folder with --cache-dir DIR"
	case errors.Is(err, reposync.ErrConfig):
		e.Code = ExitUsage
		e.Hint = "the settings are described in almamigrate.conf(5)"
	case errors.Is(err, config.ErrConfig):
		e.Code = ExitUsage
		e.Hint = "correct the line; the settings are described in almamigrate.conf(5)"
	case errors.Is(err, inventory.ErrUnknownMajor):
		e.Code = ExitNotSupported
		e.Hint = "EL7 to EL10 are supported; is there a newer almamigrate?"
	case errors.Is(err, inventory.ErrNotEL):
		e.Code = ExitNotSupported
		e.Hint = "run it on a RHEL, CentOS, Rocky or Oracle Linux host, give --root DIR for an image, or try: almamigrate check --demo"
	case errors.Is(err, rpmdb.ErrUnsupported):
		e.Code = ExitNotSupported
		e.Hint = "on the host: rpm -qa; only Berkeley DB (EL7, EL8) and SQLite (EL9, EL10) databases are read"
	case errors.Is(err, rpmdb.ErrNotFound):
		e.Code = ExitNotSupported
		e.Hint = "run it on a RHEL, CentOS, Rocky or Oracle Linux host, give --root DIR for an image, or try: almamigrate check --demo"
	case errors.Is(err, rpmdb.ErrCorrupt):
		e.Hint = "check it with: rpmdb --verifydb; repair it with: rpmdb --rebuilddb (after a copy of the folder), then check again"
	case errors.Is(err, rpmdb.ErrChanged):
		e.Code = ExitLocked
		e.Hint = "wait until dnf or rpm has finished, then run the same command again"
	case errors.Is(err, reposync.ErrSignature), errors.Is(err, reposync.ErrDigest):
		e.Code = ExitRepos
		e.Hint = "the mirror is damaged, in the middle of an update, or not who it says it is; try another with --mirror URL"
	case errors.Is(err, reposync.ErrUnreachable), errors.Is(err, reposync.ErrNotFound),
		errors.Is(err, reposync.ErrTLS), errors.Is(err, reposync.ErrMetadata),
		errors.Is(err, reposync.ErrOffline), errors.Is(err, reposync.ErrTooLarge):
		e.Code = ExitRepos
		e.Hint = "check the network, the proxy and the URL, or name another mirror with --mirror URL"
	case errors.Is(err, fs.ErrNotExist):
		e.Code = ExitUsage
		e.Hint = "check the name of the file or folder"
	case errors.Is(err, fs.ErrPermission):
		e.Code = ExitNotSupported
		e.Hint = "sudo " + typed
	}
	return e
}
