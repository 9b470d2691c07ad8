package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand writes the man pages for packagers; users never need it.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "man DIR",
		Short:       "Write the man pages to a folder",
		Example:     "  almamigrate man dist/man",
		Hidden:      true,
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{"config": "none", "json": "none"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("cannot make the folder for the man pages: %w", err)
			}
			cmd.Root().InitDefaultHelpFlag()
			return manTree(cmd.Root(), args[0])
		},
	}
}

// manTree writes the page of a command and of those below it.
func manTree(c *cobra.Command, dir string) error {
	c.InitDefaultHelpFlag()
	if err := os.WriteFile(filepath.Join(dir, pageName(c)+".8"), manPage(c), 0o644); err != nil {
		return fmt.Errorf("cannot write a man page: %w", err)
	}
	for _, s := range c.Commands() {
		if !s.IsAvailableCommand() || s.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := manTree(s, dir); err != nil {
			return err
		}
	}
	return nil
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage writes a page in the language of man(7), from what --help tells. It
// has no date, so that the same sources give the same page on every day.
func manPage(c *cobra.Command) []byte {
	p := &page{}
	name := pageName(c)
	p.line(".TH %q 8 \"\" \"almamigrate %s\" \"System administration\"", strings.ToUpper(name), roff(Version))
	// names of options and files are not to be cut at a dash
	p.line(".nh")
	p.line(".ad l")
	p.line(".SH NAME")
	p.line("%s \\- %s", roff(name), roff(lowerFirst(c.Short)))
	p.line(".SH SYNOPSIS")
	p.synopsis(c)
	p.line(".SH DESCRIPTION")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p.text(long)
	if c.HasAvailableSubCommands() {
		p.line(".SH COMMANDS")
		for _, s := range c.Commands() {
			if s.IsAvailableCommand() && !s.IsAdditionalHelpTopicCommand() {
				p.line(".TP")
				p.line(".BR %s (8)", roff(pageName(s)))
				p.line("%s", roff(s.Short))
			}
		}
	}
	p.flags("OPTIONS", c.NonInheritedFlags())
	p.flags("OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	if c.Example != "" {
		p.line(".SH EXAMPLES")
		p.literal(strings.Split(strings.Trim(c.Example, "\n"), "\n"))
	}
	p.line(".SH EXIT STATUS")
	for _, e := range exitCodes {
		p.line(".TP")
		p.line(".B %d", e.Code)
		p.line("%s", roff(e.Text))
	}
	p.line(".PP")
	p.line("A code that is not in this list must be treated as a failure.")
	p.seeAlso(c)
	return p.Bytes()
}

// page is a page as it grows.
type page struct{ bytes.Buffer }

// line writes a line of roff, which must be escaped already.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// roff escapes text: what man would act upon, and what it would make
// typographic, so that commands can be copied.
var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func roff(s string) string {
	s = roffEscapes.Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// synopsis shows the command bold and what it stands before in italics.
func (p *page) synopsis(c *cobra.Command) {
	path := c.CommandPath()
	if c.Runnable() {
		rest := strings.TrimPrefix(c.UseLine(), path)
		p.line("\\fB%s\\fR\\fI%s\\fR", roff(path), roff(rest))
	}
	first := !c.Runnable()
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() && !s.IsAdditionalHelpTopicCommand() && c.HasParent() {
			if !first {
				p.line(".br")
			}
			first = false
			p.line("\\fB%s\\fR\\fI%s\\fR", roff(s.CommandPath()), roff(strings.TrimPrefix(s.UseLine(), s.CommandPath())))
		}
	}
	if c.HasAvailableSubCommands() && !c.HasParent() {
		p.line(".br")
		p.line("\\fB%s\\fR \\fICOMMAND\\fR [\\fIflags\\fR]", roff(path))
	}
}

// text writes paragraphs; lines that are indented, as tables and commands are
// in the help, stay as they are.
func (p *page) text(s string) {
	var kept []string
	flush := func() {
		for len(kept) > 0 && kept[len(kept)-1] == "" {
			kept = kept[:len(kept)-1]
		}
		if len(kept) > 0 {
			p.line(".PP")
		}
		p.literal(kept)
		kept = nil
	}
	empty := false
	for l := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		l = strings.TrimRight(l, " \t")
		switch indented := strings.HasPrefix(l, "  ") || strings.HasPrefix(l, "\t"); {
		case indented || l == "" && len(kept) > 0:
			kept = append(kept, l)
		case l == "":
			empty = true
		default:
			if len(kept) > 0 || empty {
				flush()
				p.line(".PP")
			}
			empty = false
			p.line("%s", roff(l))
		}
	}
	flush()
}

// literal writes lines as they are, indented.
func (p *page) literal(lines []string) {
	if len(lines) == 0 {
		return
	}
	indent := 1 << 10
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\t", "  ")
		if l != "" {
			indent = min(indent, len(lines[i])-len(strings.TrimLeft(lines[i], " ")))
		}
	}
	p.line(".RS 4")
	p.line(".nf")
	for _, l := range lines {
		p.line("%s", roff(l[min(indent, len(l)):]))
	}
	p.line(".fi")
	p.line(".RE")
}

// flags lists flags with the words that --help has for them.
func (p *page) flags(title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	p.line(".SH %s", title)
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		arg, usage := pflag.UnquoteUsage(f)
		p.line(".TP")
		head := `\fB\-\-` + roff(f.Name) + `\fR`
		if f.Shorthand != "" {
			head = `\fB\-` + f.Shorthand + `\fR, ` + head
		}
		if arg == "string" {
			arg = "WORD"
		}
		if arg != "" {
			head += ` \fI` + roff(arg) + `\fR`
		}
		p.line("%s", head)
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) && !strings.Contains(usage, "(default ") {
			usage += " (default " + f.DefValue + ")"
		}
		p.line("%s", roff(usage))
	})
}

func (p *page) seeAlso(c *cobra.Command) {
	var names []string
	if c.HasParent() {
		names = append(names, pageName(c.Parent())+" 8")
		for _, s := range c.Parent().Commands() {
			if s != c && c.Parent().HasParent() && s.IsAvailableCommand() {
				names = append(names, pageName(s)+" 8")
			}
		}
	}
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() && !s.IsAdditionalHelpTopicCommand() {
			names = append(names, pageName(s)+" 8")
		}
	}
	names = append(names, "almamigrate.conf 5")
	p.line(".SH SEE ALSO")
	for i, n := range names {
		name, section, _ := strings.Cut(n, " ")
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		p.line(".BR %s (%s)%s", roff(name), section, comma)
	}
}
