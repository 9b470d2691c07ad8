package fleet

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/report"
)

// csvHeader names the columns; more may be added at the end.
var csvHeader = []string{
	"host", "status", "verdict", "wave", "distro", "version", "arch", "state", "kernel", "target", "packages",
	"blockers", "warnings", "finished", "stale", "failure", "source",
	"advisories_closed", "critical_closed", "important_closed", "advisories_open", "critical_important_open", "reopened_cves",
}

// WriteCSV writes one line for each host (RFC 4180, with a header). No cell
// begins with what a spreadsheet takes for a formula: such a one gets an
// apostrophe in front.
func (f *Fleet) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.Write(csvHeader); err != nil {
		return fmt.Errorf("cannot write the table: %w", err)
	}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		cells := []string{
			h.Name, string(h.Status), string(h.Verdict), h.Wave, h.Distro, h.Version, h.Arch, h.State, h.Kernel, h.Target, strconv.Itoa(h.Packages),
			strings.Join(h.Blockers, " "), strings.Join(h.Warnings, " "), h.Finished.Format(time.RFC3339), strconv.FormatBool(h.Stale), h.Failure, h.Source,
		}
		cells = append(cells, h.Security.cells()...)
		for i, s := range cells {
			cells[i] = cell(s)
		}
		if err := c.Write(cells); err != nil {
			return fmt.Errorf("cannot write the table: %w", err)
		}
	}
	c.Flush()
	return c.Error()
}

func cell(s string) string {
	s = report.Safe(s)
	// the wide forms of =, +, - and @ begin a formula where they can be typed
	if t := []rune(strings.TrimLeft(s, " \u00a0\u3000")); len(t) > 0 && strings.ContainsRune("=+-@|%\uff1d\uff0b\uff0d\uff20", t[0]) {
		return "'" + s
	}
	return s
}

// ansibleName is a host name that means nothing but itself in an inventory: no
// range, pattern, variable or group.
var ansibleName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// AnsibleGroup is what the names of the groups in an inventory begin with.
const AnsibleGroup = "almamigrate_"

// WriteInventory writes the waves as an inventory of Ansible's, in its INI
// form or, with yaml, in YAML: a group for each wave, almamigrate_rollout over
// these, and one for the hosts of each status that are in no wave. It returns
// the hosts that were left out, for their names.
func (f *Fleet) WriteInventory(w io.Writer, yaml bool) (left []string, err error) {
	type group struct {
		name  string
		hosts []string
	}
	var waves, rest []group
	keep := func(name string, hosts []string) group {
		g := group{name: AnsibleGroup + name}
		for _, h := range hosts {
			low := strings.ToLower(h)
			if !ansibleName.MatchString(h) || low == "all" || low == "ungrouped" || strings.HasPrefix(low, AnsibleGroup) {
				left = append(left, h)
				continue
			}
			g.hosts = append(g.hosts, h)
		}
		return g
	}
	for _, wv := range f.Waves {
		waves = append(waves, keep(wv.Name, wv.Hosts))
	}
	for _, s := range []Status{Blocked, NoVerdict, Stale, AlmaLinux} {
		var hosts []string
		for i := range f.Hosts {
			if f.Hosts[i].Status == s {
				hosts = append(hosts, f.Hosts[i].Name)
			}
		}
		name := strings.ReplaceAll(string(s), "-", "_")
		if s == AlmaLinux {
			name = "done"
		}
		rest = append(rest, keep(name, hosts))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Waves of a rollout, by almamigrate fleet on %s.\n# %s\n", f.Generated.Format(time.RFC3339), report.Safe(f.Headline()))
	if len(left) > 0 {
		fmt.Fprintf(&b, "# Left out, with names that are no host names: %s.\n", count(len(left), "host"))
	}
	if yaml {
		put := func(indent string, g group) {
			fmt.Fprintf(&b, "%s%s:\n", indent, g.name)
			if len(g.hosts) > 0 {
				fmt.Fprintf(&b, "%s  hosts:\n", indent)
			}
			for _, h := range g.hosts {
				fmt.Fprintf(&b, "%s    %q: {}\n", indent, h) // quoted: 1234 and no are names here
			}
		}
		fmt.Fprintf(&b, "all:\n  children:\n    %srollout:\n      children:\n", AnsibleGroup)
		for _, g := range waves {
			put("        ", g)
		}
		if len(waves) == 0 {
			b.Truncate(b.Len() - len("      children:\n"))
		}
		for _, g := range rest {
			put("    ", g)
		}
	} else {
		for _, g := range append(waves, rest...) {
			fmt.Fprintf(&b, "\n[%s]\n", g.name)
			for _, h := range g.hosts {
				b.WriteString(h + "\n")
			}
		}
		fmt.Fprintf(&b, "\n[%srollout:children]\n", AnsibleGroup)
		for _, g := range waves {
			b.WriteString(g.name + "\n")
		}
	}
	_, err = w.Write(b.Bytes())
	return left, err
}
