package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/fleet"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

type fleetFlags struct {
	html, csv, inventory string
	format, names        string
	failOn               string
	stale                time.Duration
	waves, canaries      int
	verbose              bool
}

func (a *app) fleetCommand() *cobra.Command {
	var f fleetFlags
	c := &cobra.Command{
		Use:   "fleet REPORT...",
		Short: "Put the reports of many hosts together: who is ready, what blocks most, in which waves",
		Long: `fleet reads the documents of "report" and "check --json" from files, folders
(with all below them), archives (tar; gzip, zstd or xz), or - for standard input,
one document after another, and puts them together: how many hosts are ready,
the findings that block most hosts, packages and kernel modules by how many
hosts have them, and waves of a rollout, hosts that are alike together, with
canaries of each kind first.

Of two reports of a host the newer one counts. What cannot be read is named and
does not stop it. Nothing is fetched, and no host is contacted.

It ends with 0 where every host is ready or AlmaLinux already, with 10 where one
is blocked, has no verdict, or has a report older than --stale, and with 1 where
no report could be read.`,
		Example: `  almamigrate fleet /srv/almamigrate/
  almamigrate fleet --html fleet.html --csv fleet.csv reports.tar.gz
  almamigrate fleet --inventory-out waves.ini --waves 4 reports/
  cat reports/*.json | almamigrate fleet --json - | jq .summary`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.fleet(cmd.Context(), f, args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.html, "html", "", "write a self-contained page to `FILE` as well (- is standard output)")
	fl.StringVar(&f.csv, "csv", "", "write a line for each host to `FILE` as well (- is standard output)")
	fl.StringVar(&f.inventory, "inventory-out", "", "write the waves as an inventory for Ansible to `FILE` as well; .yml and .yaml are YAML, others INI")
	fl.StringVar(&f.format, "format", "text", "what standard output gets: text, json, csv, html, ansible (INI) or ansible-yaml")
	fl.StringVar(&f.names, "names", "report", "call hosts as their reports do (report), or as their files are called (file: HOST.json, HOST/latest.json)")
	fl.StringVar(&f.failOn, "fail-on", "blocker", "end with 10 where a host is not ready (blocker), or has warnings as well (warning)")
	fl.DurationVar(&f.stale, "stale", 7*24*time.Hour, "do not go by reports older than `DURATION`, e.g. 36h (0: any age)")
	fl.IntVar(&f.waves, "waves", 0, "make `N` waves after the canaries (default by the number of hosts)")
	fl.IntVar(&f.canaries, "canaries", 0, "make at most `N` canaries (default 2 in 100 hosts, 10 at least)")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "whole tables")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json", "csv", "html", "ansible", "ansible-yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("names", cobra.FixedCompletions([]string{"report", "file"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"blocker", "warning"}, cobra.ShellCompDirectiveNoFileComp))
	c.Annotations = map[string]string{"config": "none"} // it is about other hosts
	return c
}

func (a *app) fleet(ctx context.Context, f fleetFlags, args []string) error {
	if a.json {
		if f.format != "text" && f.format != "json" {
			return usageError("cannot use --json with --format %s", f.format)
		}
		f.format = "json"
	}
	outputs, err := f.outputs()
	if err != nil {
		return err
	}
	a.reading.Store(true)
	picture, err := fleet.Read(ctx, args, a.in, fleet.Options{
		Tool: thisTool(), Now: time.Now(), Stale: f.stale,
		FileNames: f.names == "file", Waves: f.waves, Canaries: f.canaries,
	})
	a.reading.Store(false)
	if err != nil {
		return err
	}
	for _, o := range outputs {
		if err := a.writeFleet(picture, f, o.format, o.name); err != nil {
			return err
		}
	}
	if f.format == "text" && !a.quiet {
		err = picture.WriteText(a.out, report.TextOptions{Color: a.colored(), Width: a.width(), Verbose: f.verbose})
		if err != nil {
			return fmt.Errorf("cannot write the result: %w", err)
		}
	}
	if picture.Summary.Hosts == 0 {
		if f.format != "text" {
			_, _ = fmt.Fprintf(a.err, "almamigrate: %s\n", picture.Headline())
		}
		return &finished{ExitError}
	}
	if code := picture.ExitCode(f.failOn); code != 0 {
		return &finished{code}
	}
	return nil
}

type fleetOutput struct{ format, name string }

// outputs are the files to write, standard output last.
func (f *fleetFlags) outputs() ([]fleetOutput, error) {
	var out []fleetOutput
	for _, o := range []fleetOutput{{"html", f.html}, {"csv", f.csv}, {"ansible", f.inventory}} {
		switch {
		case o.name == "":
		case o.name == "-" && f.format != "text":
			return nil, usageError("cannot write --format %s and another document to standard output", f.format)
		case o.name == "-":
			f.format = o.format
		default:
			if ext := strings.ToLower(filepath.Ext(o.name)); o.format == "ansible" && (ext == ".yml" || ext == ".yaml") {
				o.format = "ansible-yaml"
			}
			out = append(out, o)
		}
	}
	switch f.format {
	case "text":
	case "json", "csv", "html", "ansible", "ansible-yaml":
		out = append(out, fleetOutput{f.format, "-"})
	default:
		return nil, usageError("cannot use --format %s: it is text, json, csv, html, ansible or ansible-yaml", f.format)
	}
	switch {
	case f.names != "report" && f.names != "file":
		return nil, usageError("cannot use --names %s: it is report or file", f.names)
	case f.failOn != "blocker" && f.failOn != "warning":
		return nil, usageError("cannot use --fail-on %s: it is blocker or warning", f.failOn)
	case f.stale < 0 || f.waves < 0 || f.canaries < 0:
		return nil, usageError("cannot use a negative --stale, --waves or --canaries")
	}
	return out, nil
}

// writeFleet writes one form of the picture to a file, or to standard output.
func (a *app) writeFleet(p *fleet.Fleet, f fleetFlags, format, name string) error {
	var b bytes.Buffer
	var w io.Writer = &b
	if name == "-" {
		w = a.out
	}
	var err error
	switch format {
	case "json":
		err = p.WriteJSON(w)
	case "csv":
		err = p.WriteCSV(w)
	case "html":
		err = p.WriteHTML(w)
	default:
		var left []string
		left, err = p.WriteInventory(w, format == "ansible-yaml")
		if len(left) > 0 {
			_, _ = fmt.Fprintf(a.err, "almamigrate: %s not in the inventory, as these are not host names: %s\n", count(len(left), "host"), report.Safe(fmt.Sprintf("%.200q", left)))
		}
	}
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if name == "-" {
		return nil
	}
	if info, serr := os.Stat(name); serr == nil && !info.Mode().IsRegular() {
		err = os.WriteFile(name, b.Bytes(), 0o644) // a device or pipe that is there
	} else {
		err = atomicfile.Write(name, b.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write the result to %s: %w", name, err)
	}
	return nil
}
