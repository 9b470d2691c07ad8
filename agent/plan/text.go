package plan

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

// maxListed is how many packages of a kind are listed unless all are asked for.
const maxListed = 15

// WriteText writes the plan for people: how much changes first, then what
// leaves and what comes. Long lists are cut short unless all is asked for.
func (p *Plan) WriteText(w io.Writer, all bool) error {
	var b bytes.Buffer
	name := p.Host.Name
	if name == "" {
		name = "this host"
	}
	fmt.Fprintf(&b, "Plan: %s, %s -> %s (%s)\n", report.Safe(name), report.Safe(p.Host.Title), p.Target, p.Depth)
	if len(p.Blockers) > 0 {
		fmt.Fprintf(&b, "BLOCKED by %s: what to do about it is at the end.\n", report.Safe(strings.Join(p.Blockers, ", ")))
	}
	if p.Depth == DepthFull {
		p.summary(&b)
	}
	fmt.Fprintln(&b)
	limit := maxListed
	if all || p.Depth != DepthFull {
		limit = 1 << 30
	}
	p.packages(&b, limit)
	if len(p.Staying) > 0 {
		fmt.Fprintf(&b, "\nNot AlmaLinux's, and they stay:\n")
		for _, n := range p.Staying {
			fmt.Fprintf(&b, "  %s: %s\n", report.Safe(n.NEVRA), report.Safe(n.Text))
		}
	}
	p.settings(&b)
	p.touched(&b)
	p.Boot.text(&b)
	for _, m := range p.Streams {
		if m.From != m.To {
			fmt.Fprintf(&b, "  module %s: stream %s is called %s in AlmaLinux\n", report.Safe(m.Module), report.Safe(m.From), report.Safe(m.To))
		} else {
			fmt.Fprintf(&b, "  module %s: stream %s goes on\n", report.Safe(m.Module), report.Safe(m.From))
		}
	}
	fmt.Fprintf(&b, "\nSteps:\n")
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "  %d. %s: %s\n", i+1, s.Name, report.Safe(s.Title))
	}
	reboot := "no reboot"
	if p.RebootRequired {
		reboot = "a reboot at the end"
	}
	fmt.Fprintf(&b, "\nDownload %s, about %d s, %s. Space:\n", size(p.Download()), p.Seconds, reboot)
	for _, s := range p.Space {
		free := "unknown"
		if s.Free >= 0 {
			free = size(s.Free)
		}
		fmt.Fprintf(&b, "  %s: %s needed, %s free (%s)\n", s.Path, size(s.Need), free, s.For)
	}
	fmt.Fprintf(&b, "\nA rollback brings back everything but:\n")
	for _, s := range p.NotRestorable {
		fmt.Fprintf(&b, "  - %s\n", s)
	}
	for _, o := range p.Overrides {
		fmt.Fprintf(&b, "\nOverridden: %s (%s)\n", report.Safe(o.ID), report.Safe(o.Reason))
	}
	if len(p.Blockers) > 0 {
		fmt.Fprintf(&b, "\nBLOCKED by findings of the check:\n")
		for _, id := range p.Blockers {
			fmt.Fprintf(&b, "  %s (almamigrate explain %s)\n", report.Safe(id), report.Safe(id))
			p.stopped(&b, id)
		}
	}
	_, err := w.Write(b.Bytes())
	if err != nil {
		return fmt.Errorf("cannot write the plan: %w", err)
	}
	return nil
}

// stopped tells what a blocker found on this host, and what to do about it.
func (p *Plan) stopped(b *bytes.Buffer, id string) {
	for _, f := range p.stops {
		if f.ID != id {
			continue
		}
		fmt.Fprintf(b, "      %s\n", report.Safe(f.Title))
		if f.Remedy.Text != "" {
			fmt.Fprintf(b, "      > %s\n", report.Safe(f.Remedy.Text))
		}
		if f.Remedy.Command != "" {
			fmt.Fprintf(b, "          %s\n", report.Safe(f.Remedy.Command))
		}
	}
}

// kinds are the kinds of packages in the order in which they are told, as
// headings for what leaves and what comes. What leaves for another version of
// itself is named by what comes.
var kinds = []struct{ kind, leaving, coming string }{
	{KindBranding, "identity and branding", "identity and branding"},
	{string(assess.MoveUpgrade), "", "newer than what is installed"},
	{string(assess.MoveDowngrade), "", "older than what is installed"},
	{string(assess.MoveRebuild), "", "the same version, built by AlmaLinux"},
	{string(assess.MoveObsolete), "for a package of another name", "in place of a package of another name"},
	{string(assess.MoveDrop), "with nothing in their place", ""},
	{string(assess.MoveBeside), "", "beside an installed kernel, which stays"},
	{string(assess.MoveNew), "", "required by others"},
}

// summary says how many packages of each kind there are.
func (p *Plan) summary(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n%s leave, %d come:\n", count(len(p.Leaving), "package"), len(p.Coming))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, k := range kinds {
		l, c := p.Counts.Leaving[k.kind], p.Counts.Coming[k.kind]
		if l+c == 0 {
			continue
		}
		what := k.coming
		if what == "" {
			what = "go " + k.leaving
		}
		fmt.Fprintf(t, "  %s\t%d leave\t%d come\t%s\n", k.kind, l, c, what)
	}
	_ = t.Flush()
	switch p.RollbackDepth {
	case RollbackBranding:
		fmt.Fprintf(b, "A rollback takes the branding back only: %s are saved for it.\n", size(p.RollbackBytes))
	case RollbackNone:
		fmt.Fprintf(b, "There is NO WAY BACK once it is done (--rollback-depth none).\n")
	default:
		fmt.Fprintf(b, "A rollback takes all of it back: about %s are saved for it (--rollback-depth branding or none takes less).\n", size(p.RollbackBytes))
	}
}

func (p *Plan) packages(b *bytes.Buffer, limit int) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	cut := func(n, shown int) {
		if n > shown {
			fmt.Fprintf(t, "  ... and %d more (--verbose, --json and -o FILE have all)\n", n-shown)
		}
	}
	if p.Depth != DepthFull {
		fmt.Fprintf(t, "LEAVING (%d)\tSIZE\tSIGNED BY\tWHY\n", len(p.Leaving))
		p.listLeaving(t, p.Leaving)
		fmt.Fprintf(t, "COMING (%d)\tSIZE\tFROM\tWHY\n", len(p.Coming))
		p.listComing(t, p.Coming)
		_ = t.Flush()
		return
	}
	for _, k := range kinds {
		part := p.only(func(kind string) bool { return kind == k.kind })
		if n := len(part.Leaving); n > 0 && (k.leaving != "" || len(part.Coming) == 0) {
			fmt.Fprintf(t, "LEAVING %s (%d)\tSIZE\tSIGNED BY\tWHY\n", k.leaving, n)
			p.listLeaving(t, part.Leaving[:min(n, limit)])
			cut(n, limit)
		}
		if n := len(part.Coming); n > 0 && k.coming != "" {
			fmt.Fprintf(t, "COMING %s (%d)\tSIZE\tFROM\tWHY\n", k.coming, n)
			p.listComing(t, part.Coming[:min(n, limit)])
			cut(n, limit)
		}
		_ = t.Flush()
	}
}

func (p *Plan) listLeaving(t io.Writer, list []Leaving) {
	for _, l := range list {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", report.Safe(l.NEVRA), size(int64(min(l.Size, 1<<62))), report.Safe(l.Signer), report.Safe(l.Why))
	}
}

func (p *Plan) listComing(t io.Writer, list []Coming) {
	for _, c := range list {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", report.Safe(c.NEVRA), size(c.Size), report.Safe(c.Repo), report.Safe(c.Why))
	}
}

func (p *Plan) settings(b *bytes.Buffer) {
	fmt.Fprintf(b, "\nRepositories:\n")
	for _, r := range p.RepoFiles {
		fmt.Fprintf(b, "  %s is kept as %s\n", report.Safe(r.File), report.Safe(r.Kept))
	}
	for _, id := range p.EnableRepos {
		fmt.Fprintf(b, "  AlmaLinux's %s is enabled, as its counterpart is now\n", report.Safe(id))
	}
	for _, o := range p.RepoOptions {
		fmt.Fprintf(b, "  AlmaLinux's %s gets %s=%s, as %s has it\n", report.Safe(o.Repo), report.Safe(o.Key), report.Safe(o.Value), report.Safe(o.From))
	}
	if p.Mirror != nil {
		fmt.Fprintf(b, "  AlmaLinux's repositories are read from %s\n", report.Safe(p.Mirror.URL))
		if p.Mirror.CredentialsLeftOut {
			fmt.Fprintf(b, "  its user and password are not written: put username= and password= into the almalinux*.repo files\n")
		}
	}
	for _, k := range p.Keys {
		fmt.Fprintf(b, "  key %s (%s) is imported\n", k.Fingerprint, report.Safe(k.UserID))
	}
	for _, v := range p.Vars {
		fmt.Fprintf(b, "  %s is kept: other repositories use it\n", report.Safe(v))
	}
	if p.RHSM {
		fmt.Fprintf(b, "  the subscription plugin is switched off; the registration stays (subscription-manager unregister ends it)\n")
	}
}

// touched tells which services notice, and what is put aside.
func (p *Plan) touched(b *bytes.Buffer) {
	restarted := slices.DeleteFunc(slices.Clone(p.Services), func(u string) bool { return slices.Contains(p.ServicesStopped, u) })
	fmt.Fprintf(b, "\nServices:\n")
	if len(p.Services) == 0 {
		fmt.Fprintf(b, "  no scriptlet of the packages that leave restarts or stops one\n")
	}
	if len(restarted) > 0 {
		fmt.Fprintf(b, "  restarted by their packages, if they run: %s\n", report.Safe(strings.Join(restarted, ", ")))
	}
	if len(p.ServicesStopped) > 0 {
		fmt.Fprintf(b, "  stopped, as their packages leave: %s\n", report.Safe(strings.Join(p.ServicesStopped, ", ")))
	}
	if p.Saved.Packages == 0 {
		return // a plan of before, or nothing leaves
	}
	fmt.Fprintf(b, "\nSaved first, below /var/lib/almamigrate:\n  %s, their %s, and every file that a coming package replaces\n", count(p.Saved.Packages, "package"), count(p.Saved.Files, "file"))
	if len(p.Saved.Folders) > 0 {
		fmt.Fprintf(b, "  all of %s\n", report.Safe(strings.Join(p.Saved.Folders, ", ")))
	}
	if len(p.Saved.Except) > 0 {
		fmt.Fprintf(b, "  not %s: accounts stay as they are\n", report.Safe(strings.Join(p.Saved.Except, ", ")))
	}
}

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 10<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
