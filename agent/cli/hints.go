package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
)

// typed stands in hints for the command line as it was typed, so that a hint
// says what is to be typed next and not a shorter command that does less.
const typed = "almamigrate ..."

// urlPassword is the password in a URL that was typed.
var urlPassword = regexp.MustCompile(`(://[^/@:\s]+:)[^/\s]+@`)

// again is the command line as it was typed, and more behind it. Hints land in
// logs and tickets: of a password only its place is told.
func (a *app) again(more ...string) string {
	words := []string{"almamigrate"}
	for _, s := range append(slices.Clone(a.args), more...) {
		words = append(words, hostcmd.Quote(urlPassword.ReplaceAllString(s, "${1}PASSWORD@")))
	}
	return strings.Join(words, " ")
}

// without is the command line as it was typed but for a flag.
func (a *app) without(flag string) string {
	args := slices.DeleteFunc(slices.Clone(a.args), func(s string) bool { return s == flag || strings.HasPrefix(s, flag+"=") })
	return (&app{args: args}).again()
}

// fillIn puts the typed command line into a hint. Behind sudo the program is
// named by its path where EL's secure_path does not lead to it.
func (a *app) fillIn(hint string) string {
	sudo := "sudo " + typed
	if i := strings.Index(hint, sudo); i >= 0 {
		s := strings.TrimPrefix(a.again(), "almamigrate")
		return hint[:i] + "sudo " + sudoProgram(os.Executable()) + s + hint[i+len(sudo):]
	}
	return strings.Replace(hint, typed, a.again(), 1)
}

func sudoProgram(exe string, err error) string {
	if err != nil || slices.Contains([]string{"/sbin", "/bin", "/usr/sbin", "/usr/bin"}, filepath.Dir(exe)) {
		return "almamigrate"
	}
	return hostcmd.Quote(exe)
}

// lookAlikes are what other tools call our commands.
var lookAlikes = map[string][]string{
	"check":          {"analyze", "analyse", "assess", "preupgrade", "precheck", "scan", "verdict"},
	"migrate":        {"convert", "upgrade", "deploy", "apply", "run"},
	"rollback":       {"undo", "revert", "restore"},
	"status":         {"state", "progress"},
	"changes":        {"history", "list"},
	"prune":          {"remove", "delete", "rm", "clean"},
	"enable":         {"on", "start"},
	"disable":        {"off", "stop"},
	"support-bundle": {"sosreport", "bundle", "collect-logs"},
}

// mistyped says in our words what cobra complains about, and what was meant.
func (a *app) mistyped(cmd *cobra.Command, err error) *UserError {
	e := &UserError{Msg: err.Error(), Hint: "almamigrate --help", Code: ExitUsage}
	if cmd == nil {
		return e
	}
	e.Hint = cmd.CommandPath() + " --help"
	var missing *pflag.NotExistError
	switch s := err.Error(); {
	case strings.HasPrefix(s, "unknown command "):
		word, perr := strconv.QuotedPrefix(strings.TrimPrefix(s, "unknown command "))
		if word, uerr := strconv.Unquote(word); perr == nil && uerr == nil {
			if !cmd.HasAvailableSubCommands() {
				e.Msg = fmt.Sprintf("cannot use %q: %s takes no arguments but flags", word, cmd.CommandPath())
				break
			}
			e.Hint = suggestCommand(cmd, word, e.Hint)
		}
	case errors.As(err, &missing):
		// A flag of a command that is misspelt is unknown as well.
		if cmd.HasAvailableSubCommands() && len(a.args) > 0 && !strings.HasPrefix(a.args[0], "-") && cmd.CommandPath() == "almamigrate" {
			e.Msg = fmt.Sprintf("unknown command %q for %q", a.args[0], cmd.CommandPath())
			e.Hint = suggestCommand(cmd, a.args[0], e.Hint)
			break
		}
		e.Hint = a.suggestFlag(cmd, missing.GetSpecifiedName(), e.Hint)
	case strings.Contains(s, " arg(s)"):
		e.Msg = fmt.Sprintf("wrong number of arguments: the command is %s %s", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "))
	}
	return e
}

func suggestCommand(cmd *cobra.Command, word, otherwise string) string {
	if s := map[string]string{"version": "--version", "commit": "migrate --commit", "resume": "migrate --resume"}[word]; s != "" && !cmd.HasParent() {
		return "almamigrate " + s
	}
	cmd.SuggestionsMinimumDistance = 2
	var list []string
	for _, s := range cmd.SuggestionsFor(word) {
		list = append(list, cmd.CommandPath()+" "+s)
	}
	for _, c := range cmd.Commands() {
		if s := cmd.CommandPath() + " " + c.Name(); slices.Contains(lookAlikes[c.Name()], strings.ToLower(word)) && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if len(list) == 0 && !cmd.HasParent() && distance(word, "version") <= 2 {
		return "almamigrate --version"
	}
	if len(list) == 0 {
		return otherwise
	}
	return strings.Join(list, " | ")
}

// suggestFlag names the flag that was meant: one that is spelt nearly so, or
// the command whose flag it is, where it stood before the command.
func (a *app) suggestFlag(cmd *cobra.Command, name, otherwise string) string {
	if name == "" || cmd.Flags().Lookup(name) != nil {
		return otherwise
	}
	best, at := "", 3
	consider := func(f *pflag.Flag) {
		d := distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) || strings.ReplaceAll(f.Name, "-", "") == strings.ReplaceAll(name, "-", "") {
			d = 1
		}
		if !f.Hidden && d < at && d < len(name) {
			best, at = f.Name, d
		}
	}
	cmd.Flags().VisitAll(consider)
	cmd.InheritedFlags().VisitAll(consider)
	if best != "" {
		return cmd.CommandPath() + " --" + best
	}
	for i, s := range a.args {
		for _, c := range cmd.Commands() {
			if c.Name() == s && c.Flags().Lookup(name) != nil {
				args := slices.Delete(slices.Clone(a.args), i, i+1)
				// Behind the command that it belongs to, or first of all.
				args = slices.Insert(args, slices.Index(args, cmd.Name())+1, s)
				return (&app{args: args}).again()
			}
		}
	}
	return otherwise
}

// distance is Levenshtein's: letters to change, put in or leave out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
