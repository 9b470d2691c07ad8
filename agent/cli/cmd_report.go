package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// timelinePoints is how many earlier reports a page shows.
const timelinePoints = 90

type reportFlags struct {
	checkFlags
	html   string
	input  string
	state  string
	noSend bool
}

func (a *app) reportCommand() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report",
		Short: "Check this host and leave a report, for timers and fleets",
		Long: `report runs a check and leaves its result where others look for it:

  /var/lib/almamigrate/reports/     TIME.json and latest.json, with what changed
                                    since the report before
  the journal                       one entry for the run, one for each blocker;
                                    journalctl -x explains them
  node_exporter's textfile folder   almamigrate.prom, with textfile_dir= set
  /etc/ansible/facts.d/             almamigrate.fact, where that folder exists
  HTTP endpoints                    each [endpoint NAME] of almamigrate.conf(5)

An endpoint that is down loses nothing: reports wait in a spool, bounded in
size and age, and later runs send them in order. The host itself is not changed.

With --security and --origins the report also has what "check" tells with them;
security= and origins= in almamigrate.conf(5) turn them on for the timer.

The exit code tells whether there is a report with a verdict, not which: use
"check" to act on the verdict. It is 1 where some of the above could not be
written, and 13 or 12 where the check came to no verdict; a report is left all
the same.`,
		Example: `  almamigrate report
  almamigrate report --html /root/host.html
  almamigrate report --security --origins
  almamigrate report --html page.html --input latest.json   # no check, just the page
  journalctl -x -t almamigrate`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.input != "":
				return a.renderReport(f)
			case a.root != "/":
				return &UserError{Msg: "cannot report on an image: reports are about the running host", Hint: "almamigrate check --json --root " + a.root, Code: ExitUsage}
			}
			return a.report(cmd.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.html, "html", "", "write a self-contained page to `FILE` as well (- is standard output)")
	fl.StringVar(&f.input, "input", "", "run no check: show the report or check in `FILE` (JSON; - is standard input)")
	fl.BoolVar(&f.noSend, "no-send", false, "do not contact endpoints; the report waits for the next run")
	fl.StringVar(&f.state, "state-dir", stateDir, "keep reports and spool in `DIR`")
	fl.StringVar(&f.mirror, "mirror", "", "use the AlmaLinux tree at `URL`, as check does")
	fl.StringArrayVar(&f.repos, "repo", nil, "use `ID=URL` for a single repository, as check does")
	fl.BoolVar(&f.offline, "offline", false, "use only what is in the metadata cache; endpoints are still contacted")
	fl.StringVar(&f.cacheDir, "cache-dir", "", "keep metadata in `DIR` (default /var/cache/almamigrate)")
	securityFlags(fl, &f.checkFlags)
	fl.BoolVar(&f.demo, "demo", false, "show a report on a small built-in EL host; nothing is kept or sent")
	_ = c.MarkFlagDirname("state-dir")
	c.MarkFlagsMutuallyExclusive("demo", "input")
	c.MarkFlagsMutuallyExclusive("demo", "mirror")
	return c
}

// renderReport shows a document that is there already.
func (a *app) renderReport(f reportFlags) error {
	var r *report.Report
	var err error
	store := report.Store{}
	a.reading.Store(true)
	if f.input == "-" {
		r, err = report.ReadReport(a.in)
	} else {
		r, err = report.ReadReportFile(f.input)
		store.Dir = filepath.Dir(f.input) // reports lie beside each other
	}
	a.reading.Store(false)
	if err != nil {
		return &UserError{Err: err, Code: ExitUsage, Hint: "write one with: almamigrate report, or: almamigrate check --json > FILE"}
	}
	return a.showReport(r, "", store, f.html)
}

// showReport writes the page, if one is wanted, and a summary.
func (a *app) showReport(r *report.Report, path string, store report.Store, html string) error {
	if html != "" {
		var points []report.Point
		if store.Dir != "" {
			points, _ = store.Timeline(timelinePoints) // a page without a timeline is still a page
		}
		if err := a.writePage(r, points, html); err != nil {
			return err
		}
	}
	if html == "-" {
		return nil
	}
	var err error
	if a.json {
		err = r.WriteJSON(a.out)
	} else if !a.quiet {
		err = writeSummary(a.out, r, path, html)
	}
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	return nil
}

func (a *app) writePage(r *report.Report, points []report.Point, name string) error {
	var b bytes.Buffer
	if err := r.WriteHTML(&b, points); err != nil {
		return err
	}
	if name == "-" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(name, b.Bytes(), 0o644) // /dev/stdout and the like are not replaced
	}
	if err := atomicfile.Write(name, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return nil
}

// writeSummary tells a person what a run did.
func writeSummary(w io.Writer, r *report.Report, path, html string) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s %s\n", label, report.Safe(fmt.Sprintf(format, args...)))
	}
	if r.Failure != nil {
		fmt.Fprintf(&b, "no verdict: %s\n", report.Safe(r.Failure.Message))
		if r.Failure.Hint != "" {
			line("next", "%s", r.Failure.Hint)
		}
	} else {
		fmt.Fprintf(&b, "%s\n", report.Safe(r.Headline()))
		for _, f := range r.Blockers() {
			line("blocker", "%s: %s", f.ID, f.Title)
		}
	}
	if s := r.Security; s != nil && s.Summary.Advisories > 0 {
		line("security", "%s", s.Sentence())
	}
	if c := r.Changes; c != nil {
		came, went := c.Blockers()
		line("since", "%s: %s new, %d gone; %s changed", c.Since.Format("2006-01-02 15:04 MST"), count(came, "blocker"), went, count(len(c.Packages), "package"))
		if s := c.Security; s != nil && len(s.New)+len(s.Gone) > 0 {
			line("", "advisories that apply to this host: %d new, %d gone", len(s.New), len(s.Gone))
		}
	}
	if path != "" {
		line("report", "%s", path)
	}
	if html != "" {
		line("page", "%s", html)
	}
	for _, d := range r.Delivery {
		switch {
		case d.Error != "":
			line("waiting", "%s: %s in the spool: %s", d.Endpoint, count(d.Waiting, "report"), d.Error)
		case d.Sent > 0:
			line("sent", "%s: %s", d.Endpoint, count(d.Sent, "report"))
		}
		if d.Dropped > 0 {
			line("dropped", "%s: %s given up so far, for age or size", d.Endpoint, count(d.Dropped, "report"))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
