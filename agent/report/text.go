package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// TextOptions say how text is laid out.
type TextOptions struct {
	Color   bool
	Width   int  // columns, 0 for 80
	Verbose bool // every package and every resource
	Demo    bool // the host is the built-in example
	Only    []assess.PackageVerdict
	Command string // the check as it was typed, for the next command; "" for the plain one
	Here    bool   // the host is this one: what comes after the check can be typed
}

// page gathers text; every piece from outside goes through Safe.
type page struct {
	bytes.Buffer
	opt   TextOptions
	width int
}

func newPage(opt TextOptions) *page {
	p := &page{opt: opt, width: opt.Width}
	if p.width < 40 {
		p.width = 80
	}
	return p
}

const (
	bold   = "1"
	red    = "1;31"
	yellow = "1;33"
	green  = "1;32"
	dim    = "2"
)

func (p *page) color(code, s string) string {
	if !p.opt.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *page) line(s string) { p.WriteString(strings.TrimRight(s, " ") + "\n") }

// wrap writes text in lines of the page's width, the first one after lead, the
// others indented by as many columns. lead may be coloured; its visible width
// is given.
func (p *page) wrap(lead string, leadWidth int, text string) {
	if p.width-leadWidth < 20 && leadWidth > 6 {
		// On a narrow terminal there is no room beside the lead.
		p.line(lead)
		lead, leadWidth = strings.Repeat(" ", 6), 6
	}
	room := max(p.width-leadWidth, 20)
	indent := strings.Repeat(" ", leadWidth)
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(Safe(text)) {
		w := utf8.RuneCountInString(word)
		if n > 0 && n+1+w > room {
			p.line(lead + b.String())
			b.Reset()
			lead, n = indent, 0
		}
		if n > 0 {
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += w
	}
	p.line(lead + b.String())
}

var verdictOrder = []assess.PackageVerdict{
	assess.Newer, assess.Same, assess.Older, assess.Replaced, assess.Missing, assess.ThirdParty, assess.Local,
}

// WriteText writes the check for people: the verdict first, then counts,
// findings with what to do about them, and the next command.
func (c *Check) WriteText(w io.Writer, opt TextOptions) error {
	p := newPage(opt)
	if opt.Demo {
		p.line(p.color(dim, "Demo: this is a small host made up for show, not yours."))
	}
	c.headline(p)
	c.counts(p)
	c.space(p)
	if len(opt.Only) == 0 {
		c.findings(p, assess.Blocker, "Blockers", red)
		c.findings(p, assess.Warning, "Warnings", yellow)
		c.findings(p, assess.Info, "For information", bold)
		c.security(p)
		c.origins(p)
	}
	if opt.Verbose || len(opt.Only) > 0 {
		c.packages(p)
	}
	if opt.Verbose && len(opt.Only) == 0 {
		c.modules(p)
		c.applications(p)
		c.repos(p)
	}
	c.next(p)
	_, err := w.Write(p.Bytes())
	return err
}

func (c *Check) headline(p *page) {
	label, code := "READY", green
	host := c.Host.Name
	if host == "" {
		host = "this host"
		if opt := p.opt; opt.Demo {
			host = "the demo host"
		} else if c.Host.Root != "" && c.Host.Root != "/" {
			host = c.Host.Root
		}
	}
	what := title(&c.Host)
	host = fmt.Sprintf("%s (%s, %s)", host, what, c.Host.Arch)
	say := "can become " + c.Summary.Target
	switch c.Verdict {
	case assess.ReadyWithWarnings:
		label, code = "READY WITH WARNINGS", yellow
	case assess.Blocked:
		label, code = "BLOCKED", red
		n := c.Summary.Findings[assess.Blocker]
		say = fmt.Sprintf("cannot become %s: %d %s in the way", c.Summary.Target, n, plural(n, "thing is", "things are"))
		if f := c.first(assess.Blocker); n == 1 && f != nil {
			say = fmt.Sprintf("cannot become %s: %s", c.Summary.Target, f.Title)
		}
	case assess.Unknown:
		label, code = "NO VERDICT", red
		say = "cannot be judged"
		if f := c.find("repo.unreachable"); f != nil {
			say += ": " + f.Title
		}
	}
	if c.find("host.half-migrated") != nil && (c.Verdict == assess.Ready || c.Verdict == assess.ReadyWithWarnings) {
		say = "is half-migrated, and can become " + c.Summary.Target + " in full"
	}
	if c.find("host.already-almalinux") != nil {
		switch c.Verdict {
		case assess.Ready, assess.ReadyWithWarnings:
			say = "is AlmaLinux already"
		case assess.Blocked:
			n := c.Summary.Findings[assess.Blocker]
			say = fmt.Sprintf("is AlmaLinux already, but its packages and the repositories do not fit: %d %s in the way", n, plural(n, "thing is", "things are"))
		}
	}
	p.wrap(p.color(code, label)+"  ", len(label)+2, host+" "+say)
}

// title is the distribution's name with its minor version: "CentOS Linux 8"
// and "8.5" give "CentOS Linux 8.5".
func title(h *inventory.Host) string {
	name := cmp.Or(h.PrettyName, string(h.Distro))
	if h.Version == "" || strings.Contains(name, h.Version) {
		return name
	}
	words := strings.Fields(name)
	major, _, _ := strings.Cut(h.Version, ".")
	if i := slices.Index(words, major); i >= 0 {
		words[i] = h.Version
		return strings.Join(words, " ")
	}
	return name + " " + h.Version
}

func (c *Check) first(s assess.Severity) *assess.Finding {
	for i := range c.Findings {
		if c.Findings[i].Severity == s {
			return &c.Findings[i]
		}
	}
	return nil
}

func (c *Check) find(id string) *assess.Finding {
	for i := range c.Findings {
		if c.Findings[i].ID == id {
			return &c.Findings[i]
		}
	}
	return nil
}

func (c *Check) counts(p *page) {
	p.line("")
	if c.Verdict == assess.Unknown {
		// Counts from half of the repositories would read like a result.
		p.line(fmt.Sprintf("  %d %s, not judged", c.Summary.Total, plural(c.Summary.Total, "package", "packages")))
		return
	}
	lead := fmt.Sprintf("  %d %s: ", c.Summary.Total, plural(c.Summary.Total, "package", "packages"))
	var parts []string
	for _, v := range verdictOrder {
		if n := c.Summary.Packages[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if n := len(c.Incoming); n > 0 {
		parts = append(parts, fmt.Sprintf("and %d new to come along", n))
	}
	p.wrap(lead, len(lead), strings.Join(parts, ", "))
	var repos []string
	for _, r := range c.Repos {
		if r.Enabled && r.Error == "" {
			repos = append(repos, fmt.Sprintf("%s (%d)", r.ID, r.Packages))
		}
	}
	if len(repos) > 0 {
		p.wrap("  Compared with: ", 17, strings.Join(repos, ", "))
	}
	c.kernel(p)
	c.abi(p)
}

// findings writes one block of findings: all of it for what is serious, one
// line each for information.
func (c *Check) findings(p *page, s assess.Severity, title, code string) {
	n := c.Summary.Findings[s]
	if n == 0 {
		return
	}
	p.line("")
	p.line(p.color(code, fmt.Sprintf("%s (%d)", title, n)))
	width := 0
	for _, f := range c.Findings {
		if f.Severity == s {
			width = max(width, len(f.ID))
		}
	}
	for _, f := range c.Findings {
		if f.Severity != s {
			continue
		}
		if s == assess.Info && !p.opt.Verbose {
			p.wrap("  "+p.color(bold, f.ID)+strings.Repeat(" ", width-len(f.ID)+2), width+4, f.Title)
			continue
		}
		p.wrap("  "+p.color(bold, f.ID)+"  ", len(f.ID)+4, f.Title)
		if f.Detail != "" {
			p.wrap("      ", 6, f.Detail)
		}
		c.resources(p, f)
		c.remedy(p, f.Remedy)
	}
}

// resources names what a finding is about: a few names, or with --verbose each
// on a line with what is said of it.
func (c *Check) resources(p *page, f assess.Finding) {
	if p.opt.Verbose {
		for _, r := range f.Resources {
			text := r.Name
			if r.Detail != "" {
				text += ": " + r.Detail
			}
			p.wrap("        - ", 10, text)
		}
		return
	}
	// What the title or the detail names already is not said again.
	var names []string
	for _, r := range f.Resources {
		if !slices.Contains(names, r.Name) && r.Kind != "host" && !strings.Contains(f.Title, r.Name) && !strings.Contains(f.Detail, r.Name) {
			names = append(names, r.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	const few = 4
	text := strings.Join(names, ", ")
	if len(names) > few+1 {
		text = strings.Join(names[:few], ", ") + fmt.Sprintf(" and %d more (--verbose)", len(names)-few)
	}
	p.wrap("      ", 6, text)
}

func (c *Check) remedy(p *page, r assess.Remedy) {
	switch {
	case r.Text == "" && r.Command == "":
	case r.Command == "":
		p.wrap("      > ", 8, r.Text)
	default:
		if r.Text != "" {
			p.wrap("      > ", 8, r.Text+":")
		}
		// A command is not wrapped: it is there to be copied.
		cmd := r.Command
		if p.opt.Demo {
			cmd = strings.Replace(cmd, "almamigrate check", "almamigrate check --demo", 1)
		}
		p.line("          " + p.color(bold, Safe(cmd)))
	}
}

// packages lists the packages, grouped by verdict.
func (c *Check) packages(p *page) {
	for _, v := range verdictOrder {
		if len(p.opt.Only) > 0 && !slices.Contains(p.opt.Only, v) {
			continue
		}
		var list []assess.PackageResult
		width := 0
		for _, r := range c.Packages {
			if r.Verdict == v {
				list = append(list, r)
				width = max(width, utf8.RuneCountInString(Safe(r.NEVRA)))
			}
		}
		if len(list) == 0 {
			if len(p.opt.Only) > 0 {
				p.line("")
				p.line(p.color(bold, fmt.Sprintf("%s (0)", v)))
			}
			continue
		}
		p.line("")
		p.line(p.color(bold, fmt.Sprintf("%s (%d)", v, len(list))))
		width = min(width, p.width/2)
		for _, r := range list {
			c.pkg(p, r, width)
		}
	}
	if len(c.Incoming) > 0 && len(p.opt.Only) == 0 {
		p.line("")
		p.line(p.color(bold, fmt.Sprintf("new (%d)", len(c.Incoming))))
		for _, in := range c.Incoming {
			p.wrap("  ", 4, fmt.Sprintf("%s [%s] for %s: %s", in.NEVRA, in.Repo, in.RequiredBy, in.Requirement))
		}
	}
}

func (c *Check) pkg(p *page, r assess.PackageResult, width int) {
	name := Safe(r.NEVRA)
	lead := "  " + name
	if r.Target != nil && r.Verdict != assess.Same {
		lead += strings.Repeat(" ", max(width-utf8.RuneCountInString(name), 0)) + " -> " + Safe(shortTarget(r)) + " [" + Safe(r.Target.Repo) + "]"
		if !r.Target.RepoEnabled {
			lead += " (off)"
		}
	}
	p.line(lead)
	if r.Verdict != assess.Same && r.Verdict != assess.Newer || r.Risk != "" {
		p.wrap("      ", 6, r.Reason)
		if r.Risk != "" {
			p.wrap("      risk: ", 12, r.Risk)
		}
	}
}

// shortTarget leaves the name of the target out where it is the same.
func shortTarget(r assess.PackageResult) string {
	t := r.Target.NEVRA
	if r.Verdict != assess.Replaced {
		t = strings.TrimPrefix(t, r.Name+"-")
		t = strings.TrimSuffix(t, "."+r.Arch)
	}
	return t
}

func (c *Check) repos(p *page) {
	p.line("")
	p.line(p.color(bold, fmt.Sprintf("AlmaLinux repositories (%d)", len(c.Repos))))
	for _, r := range c.Repos {
		state := "on"
		if !r.Enabled {
			state = "off"
		}
		text := fmt.Sprintf("%s: %s, %s, signed: %s, %s", r.ID, state, counted(r.Packages, "package"), cmp.Or(r.Signed, "none"), r.URL)
		if len(r.MappedFrom) > 0 {
			text += ", in place of " + strings.Join(r.MappedFrom, ", ")
		}
		if r.Stale {
			text += ", old"
		}
		if r.Error != "" {
			text += ": " + r.Error
		}
		p.wrap("  ", 4, text)
	}
}

// next names the command that helps on.
func (c *Check) next(p *page) {
	check := "almamigrate check"
	if p.opt.Demo {
		check += " --demo"
	}
	again := cmp.Or(p.opt.Command, check)
	var list []string
	if p.opt.Here && len(p.opt.Only) == 0 && c.Verdict == assess.Ready && c.Host.State == inventory.StateSource && c.Host.Major > 7 {
		list = append(list, "almamigrate plan")
	}
	switch {
	case len(p.opt.Only) > 0:
		list = append(list, check)
	case c.Verdict == assess.Unknown:
		list = append(list, "almamigrate check --mirror URL", "almamigrate explain repo.unreachable")
	case c.Verdict == assess.Blocked && c.first(assess.Blocker) != nil:
		list = append(list, "almamigrate explain "+c.first(assess.Blocker).ID)
	case c.first(assess.Warning) != nil:
		list = append(list, "almamigrate explain "+c.first(assess.Warning).ID)
	}
	if len(p.opt.Only) == 0 && c.Verdict != assess.Unknown {
		switch {
		case p.opt.Verbose:
			list = append(list, again+" --json")
		case c.Summary.Packages[assess.Older] > 0:
			list = append(list, again+" --verbose --only older")
		default:
			list = append(list, again+" --verbose")
		}
		if p.opt.Here && c.Verdict == assess.ReadyWithWarnings && c.Host.State != inventory.StateAlmaLinux && c.Host.Major > 7 {
			next := "almamigrate plan"
			if c.Host.State == inventory.StateHalf {
				next += " --full"
			}
			list = append(list, next)
		}
	}
	p.line("")
	for i, cmd := range list {
		lead := "Next: "
		if i > 0 {
			lead = "  or: "
		}
		p.line(lead + cmd)
	}
}

// counted is a number of things whose name takes an s.
func counted(n int, what string) string { return fmt.Sprintf("%d %s", n, plural(n, what, what+"s")) }

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// WriteInventory writes an inventory for people.
func WriteInventory(w io.Writer, inv *inventory.Inventory, opt TextOptions) error {
	p := newPage(opt)
	h := &inv.Host
	name := cmp.Or(h.Name, h.Root)
	p.wrap(p.color(bold, Safe(name))+"  ", utf8.RuneCountInString(Safe(name))+2,
		fmt.Sprintf("%s, EL %d, %s", title(h), h.Major, h.Arch))
	if h.State != inventory.StateSource && h.StateReason != "" {
		p.wrap("  "+string(h.State)+": ", len(h.State)+4, h.StateReason)
	}
	p.line("")
	p.wrap("  ", 2, fmt.Sprintf("%d %s in %s (%s), %d %s, %d %s",
		len(inv.Packages), plural(len(inv.Packages), "package", "packages"), inv.Database.Path, inv.Database.Backend,
		len(inv.Keys), plural(len(inv.Keys), "key", "keys"), len(inv.Repos), plural(len(inv.Repos), "repository", "repositories")))
	type count struct {
		name string
		n    int
	}
	signers := map[string]int{}
	for i := range inv.Packages {
		s := &inv.Packages[i].Signature
		who := s.Owner
		if who == "" {
			who = cmp.Or(s.KeyID, "no key")
		}
		signers[s.Status+" "+who]++
	}
	var order []count
	for k, n := range signers {
		order = append(order, count{k, n})
	}
	slices.SortFunc(order, func(x, y count) int { return cmp.Or(cmp.Compare(y.n, x.n), cmp.Compare(x.name, y.name)) })
	p.line("")
	p.line(p.color(bold, "Signatures"))
	for _, s := range order {
		p.line(fmt.Sprintf("  %6d  %s", s.n, Safe(s.name)))
	}
	p.line("")
	p.line(p.color(bold, fmt.Sprintf("Packages (%d)", len(inv.Packages))))
	for i := range inv.Packages {
		pkg := &inv.Packages[i]
		s := &pkg.Signature
		text := Safe(pkg.NEVRA().String())
		note := s.Status
		if s.Owner != "" {
			note += " " + s.Owner
		} else if s.KeyID != "" {
			note += " " + s.KeyID
		}
		if pkg.ModuleLabel != "" {
			note += ", module " + pkg.ModuleLabel
		}
		p.line("  " + text + "  " + p.color(dim, Safe(note)))
	}
	if len(inv.Skipped) > 0 {
		p.line("")
		p.line(p.color(yellow, fmt.Sprintf("Not read (%d)", len(inv.Skipped))))
		for _, s := range inv.Skipped {
			p.wrap("  ", 4, s.What+": "+s.Reason)
		}
	}
	p.line("")
	p.line("Next: almamigrate check")
	_, err := w.Write(p.Bytes())
	return err
}

// WriteFindingTypes writes the list of all findings.
func WriteFindingTypes(w io.Writer, types []assess.FindingType, opt TextOptions) error {
	p := newPage(opt)
	width := 0
	for _, t := range types {
		width = max(width, len(t.ID))
	}
	for _, t := range types {
		p.wrap(p.color(bold, t.ID)+strings.Repeat(" ", width-len(t.ID)+2), width+2, fmt.Sprintf("%s: %s", severities(t), t.Title))
	}
	p.line("")
	p.line("Next: almamigrate explain ID")
	_, err := w.Write(p.Bytes())
	return err
}

func severities(t assess.FindingType) string {
	var s []string
	for _, x := range t.Severities {
		s = append(s, string(x))
	}
	return strings.Join(s, " or ")
}

// WriteFindingType writes what one finding means, why it matters and what to do.
func WriteFindingType(w io.Writer, t assess.FindingType, opt TextOptions) error {
	p := newPage(opt)
	p.wrap(p.color(bold, t.ID)+"  ", len(t.ID)+2, t.Title)
	p.line("")
	for _, part := range []struct{ head, text string }{
		{"Severity", severities(t)}, {"What it says", t.Meaning}, {"Why it matters", t.Why}, {"What to do", t.Action},
	} {
		p.wrap("  "+part.head+strings.Repeat(" ", 16-len(part.head)), 18, part.text)
	}
	_, err := w.Write(p.Bytes())
	return err
}
