package plan

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/almamigrate/almamigrate/agent/report"
)

// WriteText writes the plan for people: what leaves and what comes first.
func (p *Plan) WriteText(w io.Writer) error {
	var b bytes.Buffer
	name := p.Host.Name
	if name == "" {
		name = "this host"
	}
	fmt.Fprintf(&b, "Plan: %s, %s -> %s (%s)\n\n", report.Safe(name), report.Safe(p.Host.Title), p.Target, p.Depth)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "LEAVING (%d)\tSIZE\tSIGNED BY\tWHY\n", len(p.Leaving))
	for _, l := range p.Leaving {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", report.Safe(l.NEVRA), size(int64(min(l.Size, 1<<62))), report.Safe(l.Signer), report.Safe(l.Why))
	}
	fmt.Fprintf(t, "COMING (%d)\tSIZE\tFROM\tWHY\n", len(p.Coming))
	for _, c := range p.Coming {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", report.Safe(c.NEVRA), size(c.Size), report.Safe(c.Repo), report.Safe(c.Why))
	}
	_ = t.Flush()
	if len(p.Staying) > 0 {
		fmt.Fprintf(&b, "\nNot AlmaLinux's, and they stay:\n")
		for _, n := range p.Staying {
			fmt.Fprintf(&b, "  %s: %s\n", report.Safe(n.NEVRA), report.Safe(n.Text))
		}
	}
	p.settings(&b)
	p.Boot.text(&b)
	fmt.Fprintf(&b, "\nSteps:\n")
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "  %d. %s: %s\n", i+1, s.Name, report.Safe(s.Title))
	}
	fmt.Fprintf(&b, "\nDownload %s, about %d s, no reboot. Space:\n", size(p.Download()), p.Seconds)
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
		}
	}
	_, err := w.Write(b.Bytes())
	if err != nil {
		return fmt.Errorf("cannot write the plan: %w", err)
	}
	return nil
}

func (p *Plan) settings(b *bytes.Buffer) {
	fmt.Fprintf(b, "\nRepositories:\n")
	for _, r := range p.RepoFiles {
		fmt.Fprintf(b, "  %s is kept as %s\n", report.Safe(r.File), report.Safe(r.Kept))
	}
	for _, id := range p.EnableRepos {
		fmt.Fprintf(b, "  AlmaLinux's %s is enabled, as its counterpart is now\n", report.Safe(id))
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
