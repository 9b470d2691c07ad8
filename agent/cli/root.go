// Package cli holds the commands: flags, exit codes, and the order in which
// the rooms of the house are walked through. One file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/config"
	"github.com/almamigrate/almamigrate/agent/report"
)

// Version is stamped at build time.
var Version = "0.0.0-dev"

// app is one run of the program: its streams and the flags of every command.
type app struct {
	in       io.Reader
	out, err io.Writer
	args     []string // as they were typed

	root       string
	configFile string
	json       bool
	color      string
	quiet      bool
	debug      bool

	cfg  *config.Config
	log  *slog.Logger
	unit *unitRun // nil outside of the unit of a supervised run

	reading atomic.Bool // input, and doing nothing else
}

// Main runs the program and returns its exit code.
func Main(args []string, in io.Reader, out, errw io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	unit, err := enterUnit(runsDir)
	if err != nil {
		_, _ = fmt.Fprintf(errw, "almamigrate: %v\n", err)
		return ExitError
	}
	if unit != nil {
		defer func() { unit.end(code) }()
		out, errw = unit.out, unit.err
		args = append(slices.Clone(args), unit.args...)
	}
	a := &app{in: in, out: out, err: errw, args: args, unit: unit}
	// A mistaken flag ends parsing before --json was seen; its reader still
	// wants one document.
	a.json = slices.Contains(args, "--json")
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	cmd, err := a.execute(ctx, root)
	var done *finished
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &done):
		return done.code
	}
	if ue := (*UserError)(nil); ctx.Err() != nil && !errors.Is(err, context.Canceled) && !(errors.As(err, &ue) && ue.Code == ExitInterrupted) {
		err = fmt.Errorf("%w (%w)", err, context.Canceled)
	}
	return a.fail(cmd, err)
}

// inputGrace is how long an interrupted command may go on reading its input.
const inputGrace = time.Second

// execute runs the command. Where that is interrupted while it only reads
// input, which may be a terminal or a pipe that nobody writes to, it is left
// behind: no read(2) and no open(2) ends because of a signal that is caught.
func (a *app) execute(ctx context.Context, root *cobra.Command) (*cobra.Command, error) {
	type result struct {
		cmd *cobra.Command
		err error
	}
	ended := make(chan result, 1) // where nobody waits any more it ends all the same
	go func() {
		cmd, err := root.ExecuteContextC(ctx)
		ended <- result{cmd, err}
	}()
	select {
	case r := <-ended:
		return r.cmd, r.err
	case <-ctx.Done():
	}
	tick := time.NewTicker(inputGrace)
	defer tick.Stop()
	for {
		select {
		case r := <-ended:
			return r.cmd, r.err
		case <-tick.C:
			if a.reading.Load() {
				return root, &UserError{Msg: "interrupted: the input did not come to its end", Hint: "nothing was changed; run the same command again", Code: ExitInterrupted}
			}
		}
	}
}

// finished ends a command that did its work and has a code to say.
type finished struct{ code int }

func (f *finished) Error() string { return fmt.Sprintf("exit code %d", f.code) }

// fail tells the user what went wrong, on standard error, or with --json as
// one object on standard output, where its reader looks.
func (a *app) fail(cmd *cobra.Command, err error) int {
	if isFlagError(err) {
		err = a.mistyped(cmd, err)
	}
	ue := explainError(err)
	if ue.help && cmd != nil {
		ue.Hint = cmd.CommandPath() + " --help"
	}
	ue.Hint = a.fillIn(ue.Hint)
	if a.json {
		name := "almamigrate"
		if cmd != nil {
			name = cmd.CommandPath()
		}
		if werr := report.WriteError(a.out, report.Error{
			Tool: thisTool(), Command: name,
			Code: ue.Code, Message: ue.Error(), Hint: ue.Hint,
		}); werr == nil {
			return ue.Code
		}
	}
	_, _ = fmt.Fprintf(a.err, "almamigrate: %s\n", report.Safe(ue.Error()))
	if ue.Hint != "" {
		_, _ = fmt.Fprintf(a.err, "  next: %s\n", report.Safe(ue.Hint))
	}
	return ue.Code
}

// isFlagError tells cobra's own complaints about flags and arguments from the
// errors of our commands: cobra has no type for them.
func isFlagError(err error) bool {
	var ue *UserError
	if errors.As(err, &ue) {
		return false
	}
	var fe *flagError
	if errors.As(err, &fe) {
		return true
	}
	s := err.Error()
	for _, p := range []string{"unknown command ", "unknown flag", "unknown shorthand", "accepts ", "requires at least", "if any flags in the group"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

type flagError struct{ error }

// Unwrap returns what the parser of flags said.
func (e *flagError) Unwrap() error { return e.error }

func (a *app) rootCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "almamigrate",
		Short: "Check and move RHEL-family hosts to AlmaLinux",
		Long: `almamigrate tells whether this host can become AlmaLinux, and what exactly
would change: every installed package is judged against the AlmaLinux
repositories. "check" and "inventory" change nothing on the host.

Start with:  almamigrate check`,
		Version:           Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.setUp(cmd) },
		RunE:              a.group,
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &flagError{err} })
	c.SetVersionTemplate("almamigrate {{.Version}}\n")
	f := c.PersistentFlags()
	f.StringVar(&a.root, "root", "/", "read the host from `DIR` (an image, a chroot, or a copy with the host's /proc and /sys)")
	f.StringVar(&a.configFile, "config", "", "read settings from `FILE` instead of /etc/almamigrate/almamigrate.conf")
	f.BoolVar(&a.json, "json", a.json, "write one JSON document to standard output")
	f.StringVar(&a.color, "color", "auto", "colour the text: auto, always or never (NO_COLOR is honoured)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	f.BoolVar(&a.debug, "debug", false, "log what is read and fetched to standard error or the journal")
	_ = c.MarkPersistentFlagDirname("root")
	_ = c.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(a.checkCommand(), a.inventoryCommand(), a.explainCommand(), a.reportCommand(), a.timerCommand(), a.bundleCommand(), a.manCommand(),
		a.planCommand(), a.migrateCommand(), a.rollbackCommand(), a.statusCommand(), a.verifyCommand(), a.changesCommand(), a.fleetCommand())
	a.cobraCommands(c)
	exemplify(c)
	var codes strings.Builder
	for _, e := range exitCodes {
		fmt.Fprintf(&codes, "  %3d  %s\n", e.Code, e.Text)
	}
	c.SetUsageTemplate(c.UsageTemplate() + "\nExit codes:\n" + codes.String())
	return c
}

// group shows the help of a command that only holds others. Who reads JSON gets
// an error instead: help is no document.
func (a *app) group(cmd *cobra.Command, _ []string) error {
	if a.json {
		return usageError("cannot run %q without one of its commands", cmd.CommandPath())
	}
	return cmd.Help()
}

// cobraCommands mends cobra's own commands: they take a mistyped name for a
// call for help, and end with 0.
func (a *app) cobraCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Annotations = map[string]string{"config": "none"}
			c.Example = "  almamigrate help check"
			c.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					return &UserError{Msg: fmt.Sprintf("cannot help with %q: there is no such command", strings.Join(args, " ")),
						Hint: suggestCommand(found, rest[0], "almamigrate --help"), Code: ExitUsage}
				}
				return err
			}
		case "completion":
			c.RunE = a.group
			c.Short = "Write the completion script for a shell"
			c.Long = "completion writes a script to standard output by which the shell completes\ncommands, flags and the ids of findings at the Tab key. The package brings it."
			c.Example = "  almamigrate completion bash > /etc/bash_completion.d/almamigrate\n  source <(almamigrate completion bash)"
			for _, shell := range c.Commands() {
				shell.Annotations = map[string]string{"config": "none", "json": "none"}
				if shell.Name() == "powershell" {
					c.RemoveCommand(shell)
				}
			}
		}
	}
}

// exemplify gives commands that are typed as they stand just that as example.
func exemplify(c *cobra.Command) {
	for _, s := range c.Commands() {
		if s.Example == "" && !s.HasSubCommands() {
			s.Example = "  " + s.CommandPath()
		}
		exemplify(s)
	}
}

// setUp does what every command needs before it starts.
func (a *app) setUp(cmd *cobra.Command) error {
	switch a.color {
	case "auto", "always", "never":
	default:
		return usageError("cannot use --color %s: it is auto, always or never", a.color)
	}
	if a.json && cmd.Annotations["json"] == "none" {
		return usageError("cannot use --json: %s does not write a document", cmd.CommandPath())
	}
	level := slog.LevelWarn
	if a.debug {
		level = slog.LevelDebug
	}
	a.log = newLogger(a.err, level)
	if cmd.Annotations["config"] == "none" || cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	cfg, err := config.Load("/", a.configFile)
	if err != nil && cmd.Annotations["config"] == "optional" && a.configFile == "" {
		// Where a migration stands, and the way back, must not hang on a typo in a file that they do not need.
		a.note("almamigrate: the settings are left out, and not needed here: %s", report.Safe(err.Error()))
		cfg, err = config.Default(), nil
	}
	if err != nil {
		return err
	}
	a.cfg = cfg
	return nil
}

// isTerminal tells whether w is a terminal that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colored tells whether text for standard output is coloured.
func (a *app) colored() bool {
	switch a.color {
	case "always":
		return true
	case "never":
		return false
	}
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(a.out)
}

// width returns the columns to write in.
func (a *app) width() int {
	if f, ok := a.out.(*os.File); ok {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col >= 40 {
			return min(int(ws.Col), 120)
		}
	}
	return 100
}
