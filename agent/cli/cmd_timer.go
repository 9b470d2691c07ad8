package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/systemd"
)

// unitDir is for units that the administrator, not a package, installs.
const unitDir = "/etc/systemd/system"

// ownUnit begins the units that timer enable installs; timer disable removes
// no others.
const ownUnit = "# Installed by \"almamigrate timer enable\"; \"almamigrate timer disable\" removes it.\n"

func (a *app) timerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "timer",
		Short: "Report daily by a timer of systemd",
		Long: `timer turns the daily report on and off. It speaks to systemd itself, as
"systemctl enable --now almamigrate-report.timer" does. Where the units are not
installed, since almamigrate was copied as a single file, "enable" puts them into
/etc/systemd/system, and "disable" takes them away again.`,
		Example: "  almamigrate timer enable\n  almamigrate timer status\n  almamigrate timer disable",
		Args:    cobra.NoArgs,
		RunE:    a.group,
	}
	for _, v := range []struct {
		name, short string
		run         func(context.Context, *dbus.Conn) error
	}{
		{"enable", "Report daily from now on", a.timerEnable},
		{"disable", "Stop reporting daily", a.timerDisable},
		{"status", "Tell whether the timer is on, when it ran and how that ended", a.timerStatus},
	} {
		c.AddCommand(&cobra.Command{
			Use: v.name, Short: v.short, Args: cobra.NoArgs, Annotations: map[string]string{"config": "none"},
			RunE: func(cmd *cobra.Command, _ []string) error {
				conn, err := connectSystemd(cmd.Context(), v.name != "status")
				if err != nil {
					return err
				}
				defer conn.Close()
				return v.run(cmd.Context(), conn)
			},
		})
	}
	return c
}

// connectSystemd finds systemd on the system bus or, for root, on its own
// socket, which needs no message bus.
func connectSystemd(ctx context.Context, change bool) (*dbus.Conn, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		// sd_booted(3)
		return nil, &UserError{Msg: "cannot use a timer: systemd does not run this host", Hint: "add to /etc/cron.d/almamigrate: 17 3 * * * root almamigrate report --quiet", Code: ExitNotSupported}
	}
	if change && os.Geteuid() != 0 {
		return nil, &UserError{Msg: "cannot change the timer: root is needed", Hint: "sudo " + typed, Code: ExitNotSupported}
	}
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, &UserError{Msg: "cannot reach systemd", Err: err, Hint: "by hand: systemctl enable --now " + systemd.ReportTimer, Code: ExitError}
	}
	return conn, nil
}

// timerState is what systemd knows of the units.
type timerState struct {
	Installed bool       `json:"installed"`
	Enabled   bool       `json:"enabled"`
	Active    bool       `json:"active"`
	Unit      string     `json:"unit,omitempty"` // the timer's file
	Next      *time.Time `json:"next,omitempty"`
	Last      *time.Time `json:"last,omitempty"`
	Running   bool       `json:"running"`
	Result    string     `json:"result,omitempty"` // of the last run: success, exit-code, timeout, ...
	ExitCode  int        `json:"exit_code"`
}

func readTimer(ctx context.Context, conn *dbus.Conn) (timerState, error) {
	var s timerState
	t, err := conn.GetAllPropertiesContext(ctx, systemd.ReportTimer)
	if err != nil {
		return s, fmt.Errorf("cannot ask systemd for %s: %w", systemd.ReportTimer, err)
	}
	v, err := conn.GetAllPropertiesContext(ctx, systemd.ReportService)
	if err != nil {
		return s, fmt.Errorf("cannot ask systemd for %s: %w", systemd.ReportService, err)
	}
	text := func(m map[string]any, k string) string { s, _ := m[k].(string); return s }
	s.Installed = text(t, "LoadState") == "loaded" && text(v, "LoadState") == "loaded"
	s.Enabled = strings.HasPrefix(text(t, "UnitFileState"), "enabled")
	s.Active = text(t, "ActiveState") == "active"
	s.Unit = text(t, "FragmentPath")
	s.Next, s.Last = usec(t["NextElapseUSecRealtime"]), usec(t["LastTriggerUSec"])
	s.Running = text(v, "ActiveState") == "activating"
	if n := usec(v["ExecMainExitTimestamp"]); n != nil {
		s.Result = text(v, "Result")
		if code, ok := v["ExecMainStatus"].(int32); ok {
			s.ExitCode = int(code)
		}
	}
	return s, nil
}

// usec reads a time of systemd: microseconds since 1970; 0 and the highest
// number mean none.
func usec(v any) *time.Time {
	n, ok := v.(uint64)
	if !ok || n == 0 || n == 1<<64-1 {
		return nil
	}
	t := time.UnixMicro(int64(n)).UTC()
	return &t
}

func (a *app) timerEnable(ctx context.Context, conn *dbus.Conn) error {
	s, err := readTimer(ctx, conn)
	if err != nil {
		return err
	}
	var installed []string
	if !s.Installed {
		if installed, err = installUnits(unitDir); err != nil {
			return err
		}
		if err := conn.ReloadContext(ctx); err != nil {
			return fmt.Errorf("cannot make systemd read the units: %w", err)
		}
	}
	if _, _, err := conn.EnableUnitFilesContext(ctx, []string{systemd.ReportTimer}, false, true); err != nil {
		return fmt.Errorf("cannot enable %s: %w", systemd.ReportTimer, err)
	}
	if err := conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("cannot make systemd read the units: %w", err)
	}
	if err := job(ctx, "start", func(ch chan<- string) error {
		_, err := conn.StartUnitContext(ctx, systemd.ReportTimer, "replace", ch)
		return err
	}); err != nil {
		return err
	}
	if s, err = readTimer(ctx, conn); err != nil {
		return err
	}
	return a.timerWrite(s, "The timer is on.", installed)
}

func (a *app) timerDisable(ctx context.Context, conn *dbus.Conn) error {
	s, err := readTimer(ctx, conn)
	if err != nil {
		return err
	}
	var removed []string
	if s.Installed {
		if err := job(ctx, "stop", func(ch chan<- string) error {
			_, err := conn.StopUnitContext(ctx, systemd.ReportTimer, "replace", ch)
			return err
		}); err != nil {
			return err
		}
		if _, err := conn.DisableUnitFilesContext(ctx, []string{systemd.ReportTimer}, false); err != nil {
			return fmt.Errorf("cannot disable %s: %w", systemd.ReportTimer, err)
		}
		if removed, err = removeUnits(unitDir); err != nil {
			return err
		}
		if err := conn.ReloadContext(ctx); err != nil {
			return fmt.Errorf("cannot make systemd read the units: %w", err)
		}
		if s, err = readTimer(ctx, conn); err != nil {
			return err
		}
	}
	return a.timerWrite(s, "The timer is off.", removed)
}

func (a *app) timerStatus(ctx context.Context, conn *dbus.Conn) error {
	s, err := readTimer(ctx, conn)
	if err != nil {
		return err
	}
	head := "The timer is off. To turn it on: almamigrate timer enable"
	switch {
	case s.Enabled && s.Active:
		head = "The timer is on."
	case s.Active:
		head = "The timer is on until the next boot."
	case s.Enabled:
		head = "The timer is off until the next boot."
	}
	return a.timerWrite(s, head, nil)
}

// job waits for the end of a job of systemd.
func job(ctx context.Context, what string, begin func(chan<- string) error) error {
	ch := make(chan string, 1)
	if err := begin(ch); err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, systemd.ReportTimer, err)
	}
	select {
	case result := <-ch:
		if result != "done" {
			return &UserError{Msg: fmt.Sprintf("cannot %s %s: the job ended with %q", what, systemd.ReportTimer, result), Hint: "systemctl status " + systemd.ReportTimer, Code: ExitError}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *app) timerWrite(s timerState, head string, files []string) error {
	if a.json {
		return writeDocument(a.out, newTimerDocument(s))
	}
	var b strings.Builder
	b.WriteString(head + "\n")
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-6s %s\n", label, report.Safe(fmt.Sprintf(format, args...)))
	}
	local := func(t *time.Time) string { return t.Local().Format("Mon 2006-01-02 15:04:05 MST") }
	for _, f := range files {
		line("file", "%s", f)
	}
	if !s.Installed && len(files) == 0 {
		line("units", "not installed")
	}
	if s.Next != nil {
		line("next", "%s", local(s.Next))
	}
	if s.Last != nil {
		line("last", "%s", local(s.Last))
	}
	switch {
	case s.Running:
		line("now", "a report is running")
	case s.Result == "success":
		line("result", "the last run left a report with a verdict")
	case s.Result != "":
		line("result", "the last run failed: %s, exit code %d; journalctl -x -u %s", s.Result, s.ExitCode, systemd.ReportService)
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// installUnits writes the built-in units, with this program in ExecStart=.
// What somebody else put there stays.
func installUnits(dir string) ([]string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find this program's own path: %w", err)
	}
	if strings.ContainsFunc(self, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\%$;`, r) }) {
		return nil, &UserError{Msg: fmt.Sprintf("cannot name %q in a unit", self), Hint: "install it as /usr/local/bin/almamigrate", Code: ExitError}
	}
	for _, p := range []string{"/tmp/", "/var/tmp/", "/home/", "/root/", "/run/user/", "/dev/"} {
		if strings.HasPrefix(self, p) {
			return nil, &UserError{Msg: fmt.Sprintf("cannot run %s from a timer: its unit does not see %s", self, strings.TrimSuffix(p, "/")),
				Hint: fmt.Sprintf("install -m755 %s /usr/local/bin/almamigrate; almamigrate timer enable", self), Code: ExitError}
		}
	}
	var out []string
	for _, name := range []string{systemd.ReportService, systemd.ReportTimer} {
		data, err := systemd.Units.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("internal error: %w", err)
		}
		path := filepath.Join(dir, name)
		if have, err := os.ReadFile(path); err == nil && !bytes.HasPrefix(have, []byte(ownUnit)) {
			continue
		}
		data = bytes.Replace(data, []byte("ExecStart=/usr/bin/almamigrate "), []byte("ExecStart="+self+" "), 1)
		if err := atomicfile.Write(path, append([]byte(ownUnit), data...), 0o644); err != nil {
			return nil, fmt.Errorf("cannot install a unit: %w", err)
		}
		out = append(out, path)
	}
	return out, nil
}

// removeUnits removes the units that installUnits wrote.
func removeUnits(dir string) ([]string, error) {
	var out []string
	for _, name := range []string{systemd.ReportTimer, systemd.ReportService} {
		path := filepath.Join(dir, name)
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.HasPrefix(have, []byte(ownUnit)) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("cannot read a unit: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return out, fmt.Errorf("cannot remove a unit: %w", err)
		}
		out = append(out, path)
	}
	return out, nil
}
