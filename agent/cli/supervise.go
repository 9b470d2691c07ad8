package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/login1"
	"github.com/coreos/go-systemd/v22/util"
	godbus "github.com/godbus/dbus/v5"
)

// The unit that a migration or rollback runs in. One name for all, so that
// systemd itself refuses a second one.
const (
	unitName = "almamigrate-run.service"
	unitLog  = "/var/log/almamigrate/run.log"
	// outputVariable tells the program in the unit where to write what a
	// person would see.
	outputVariable = "ALMAMIGRATE_OUTPUT"
)

// unitOutput opens the file that startUnit named, nil outside of the unit.
func unitOutput() *os.File {
	name := os.Getenv(outputVariable)
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil // the journal then has it
	}
	return f
}

// underSystemd tells whether systemd is there to supervise a run: not in a
// chroot, most containers, or an installer.
func underSystemd() bool { return util.IsRunningSystemd() }

// startUnit runs the program with args as a transient unit of its own, so that
// a dropped ssh session, or sshd restarted by the very transaction, does not
// end it. Output goes to unitLog, which follow reads.
func startUnit(ctx context.Context, args []string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the program's own file: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(unitLog), 0o700); err != nil {
		return fmt.Errorf("cannot make the log folder: %w", err)
	}
	// Earlier output belongs to earlier runs; the journal keeps them.
	if err := os.WriteFile(unitLog, nil, 0o600); err != nil {
		return fmt.Errorf("cannot write the log: %w", err)
	}
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach systemd: %w", err)
	}
	defer conn.Close()
	// A unit that failed stays known until it is reset.
	_ = conn.ResetFailedUnitContext(ctx, unitName)
	prop := func(name string, v any) dbus.Property {
		return dbus.Property{Name: name, Value: godbus.MakeVariant(v)}
	}
	props := []dbus.Property{
		dbus.PropDescription("almamigrate " + strings.Join(args, " ")),
		dbus.PropExecStart(append([]string{exe}, args...), false),
		dbus.PropType("simple"),
		// The program opens its output itself: a file as output is a property
		// that transient units of EL8's systemd do not take.
		prop("Environment", []string{outputVariable + "=" + unitLog}),
		// At a stop only the program is told, never rpm below it, and nothing
		// is killed: the program ends at the next safe point by itself.
		prop("KillMode", "process"),
		prop("SendSIGKILL", false),
		prop("TimeoutStopUSec", ^uint64(0)),
		prop("OOMScoreAdjust", int32(-900)),
		// Its exit code is asked for after it has ended.
		prop("CollectMode", "inactive"),
	}
	done := make(chan string, 1)
	if _, err := conn.StartTransientUnitContext(ctx, unitName, "fail", props, done); err != nil {
		if strings.Contains(err.Error(), "already loaded") || strings.Contains(err.Error(), "UnitExists") || strings.Contains(err.Error(), "already exists") {
			return &UserError{Msg: "cannot start: another run is under way in " + unitName, Code: ExitLocked, Hint: "almamigrate status --follow"}
		}
		return fmt.Errorf("cannot start the unit %s: %w", unitName, err)
	}
	select {
	case res := <-done:
		if res != "done" {
			return fmt.Errorf("cannot start the unit %s: systemd says %q; see: journalctl -u %s", unitName, res, unitName)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// follow copies the unit's output to w until the unit has ended, and returns
// the program's exit code. Ending the follower does not end the unit.
func follow(ctx context.Context, w io.Writer) (int, error) {
	conn, err := dbus.NewSystemConnectionContext(context.WithoutCancel(ctx))
	if err != nil {
		return 0, fmt.Errorf("cannot reach systemd: %w", err)
	}
	defer conn.Close()
	f, err := os.Open(unitLog)
	if err != nil {
		return 0, fmt.Errorf("cannot follow the run: %w", err)
	}
	defer f.Close()
	for {
		state, code, err := unitState(ctx, conn)
		// What was written before the state was asked is shown before the end.
		if _, cerr := io.Copy(w, f); cerr != nil {
			return 0, fmt.Errorf("cannot follow the run: %w", cerr)
		}
		if err != nil {
			return 0, err
		}
		switch state {
		case "active", "activating", "deactivating", "reloading":
		default:
			return code, nil
		}
		select {
		case <-ctx.Done():
			return 0, &UserError{Msg: "stopped watching; the run goes on in " + unitName, Hint: "almamigrate status --follow", Code: ExitOK}
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// unitState returns the unit's state and, once it has ended, its exit code.
func unitState(ctx context.Context, conn *dbus.Conn) (state string, code int, err error) {
	p, err := conn.GetUnitPropertyContext(ctx, unitName, "ActiveState")
	if err != nil {
		if ctx.Err() != nil {
			return "active", 0, nil // the caller's select ends the loop
		}
		return "", 0, fmt.Errorf("cannot ask systemd for %s: %w", unitName, err)
	}
	state, _ = p.Value.Value().(string)
	if s, err := conn.GetServicePropertyContext(ctx, unitName, "ExecMainStatus"); err == nil {
		if v, ok := s.Value.Value().(int32); ok {
			code = int(v)
		}
	}
	return state, code, nil
}

// unitRunning tells whether the unit is at work.
func unitRunning(ctx context.Context) bool {
	if !underSystemd() {
		return false
	}
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	state, _, err := unitState(ctx, conn)
	return err == nil && (state == "active" || state == "activating" || state == "deactivating")
}

// inhibit keeps the machine from being shut down by others while the host is
// between two states. Without logind it does nothing and says why.
func inhibit(why string) (release func(), err error) {
	conn, err := login1.New()
	if err != nil {
		return func() {}, fmt.Errorf("cannot inhibit a shutdown: %w", err)
	}
	fd, err := conn.Inhibit("shutdown:sleep", "almamigrate", why, "block")
	if err != nil {
		conn.Close()
		return func() {}, fmt.Errorf("cannot inhibit a shutdown: %w", err)
	}
	return func() { _ = errors.Join(fd.Close()); conn.Close() }, nil
}
