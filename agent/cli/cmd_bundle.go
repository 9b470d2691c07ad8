package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/config"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/systemd"
)

func (a *app) bundleCommand() *cobra.Command {
	var list bool
	var output, state string
	c := &cobra.Command{
		Use:   "support-bundle",
		Short: "Pack what a bug report needs, without secrets and host names",
		Long: `support-bundle packs reports, the inventory (without file lists), settings, logs
and the journals of changes into one archive that can be attached to a bug
report. Passwords, tokens and keys are left out; names and addresses of this
host and of private servers become host-1, host-2, and so on.

The content is listed before anything is written; --list only lists. Have a look
into the archive before you send it: no program knows all that you call secret.`,
		Example: "  almamigrate support-bundle --list\n  almamigrate support-bundle --output /tmp/bundle.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.root != "/" {
				return usageError("cannot make a support bundle of an image: it is about this host")
			}
			return a.bundle(cmd.Context(), state, output, list)
		},
	}
	c.Flags().BoolVar(&list, "list", false, "list what would be in it, write nothing")
	c.Flags().StringVarP(&output, "output", "o", "", "write to `FILE` (default almamigrate-support-TIME.tar.gz in this folder)")
	c.Flags().StringVar(&state, "state-dir", stateDir, "take reports and changes from `DIR`")
	// the settings may be what is broken
	c.Annotations = map[string]string{"config": "none"}
	return c
}

func (a *app) bundle(ctx context.Context, state, output string, listOnly bool) error {
	now := time.Now().UTC()
	b := &report.Bundle{Redactor: report.NewRedactor()}
	a.learn(b.Redactor)
	a.collect(ctx, b, state)
	stamp := now.Format("20060102T150405Z")
	if output == "" {
		output = "almamigrate-support-" + stamp + ".tar.gz"
	}
	if !a.json {
		if _, err := fmt.Fprint(a.out, b.List()); err != nil {
			return fmt.Errorf("cannot write the list: %w", err)
		}
	}
	if listOnly && a.json {
		return writeDocument(a.out, newBundleDocument(b, ""))
	} else if listOnly {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := atomicfile.Create(output, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	defer f.Cancel()
	if err := b.Write(f, "almamigrate-support-"+stamp, now); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	if !a.json {
		_, err = fmt.Fprintf(a.out, "\nWritten: %s\n", report.Safe(output))
		return err
	}
	return writeDocument(a.out, newBundleDocument(b, output))
}

// learn tells the redactor who this host is and what its settings hide.
func (a *app) learn(r *report.Redactor) {
	if name, err := os.Hostname(); err == nil {
		r.Host(name)
	}
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil || len(data) > 1<<20 {
			return ""
		}
		return string(data)
	}
	r.Host(read("/etc/hostname"))
	r.Secret(read("/etc/machine-id")) // confidential, by machine-id(5); boot entries are named after it
	for l := range strings.Lines(read("/etc/hosts")) {
		l, _, _ = strings.Cut(l, "#")
		for _, f := range strings.Fields(l) {
			if !strings.HasPrefix(f, "ip6-") && !strings.Contains(f, "localdomain") && !strings.HasPrefix(f, "ff0") && !strings.HasPrefix(f, "fe00") {
				r.Host(f)
			}
		}
	}
	for l := range strings.Lines(read("/etc/resolv.conf")) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "search", "domain":
			for _, z := range f[1:] {
				r.Zone(z)
			}
		case "nameserver":
			r.Host(f[1])
		}
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, ad := range addrs {
			if ip, _, err := net.ParseCIDR(ad.String()); err == nil {
				r.Host(ip.String())
			}
		}
	}
	cfg, err := config.Load("/", a.configFile)
	if err != nil {
		return // the forms of secrets are known all the same
	}
	r.Secret(cfg.Repos.ProxyPassword)
	for _, u := range []string{cfg.Repos.Proxy, cfg.Repos.Mirror} {
		r.Learn([]byte(u))
	}
	for _, e := range cfg.Endpoint {
		r.Learn([]byte(e.URL + " " + e.Proxy))
		if e.TokenFile != "" {
			r.Secret(read(e.TokenFile)) // so that it is recognised elsewhere; the file itself is never packed
		}
	}
}

// collect gathers everything; what cannot be had is told in the bundle.
func (a *app) collect(ctx context.Context, b *report.Bundle, state string) {
	var v strings.Builder
	fmt.Fprintf(&v, "almamigrate %s\n%s %s/%s\neuid %d\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, os.Geteuid())
	for _, n := range []string{"/proc/version", "/proc/cmdline", "/proc/meminfo", "/proc/mounts"} {
		if data, err := os.ReadFile(n); err == nil {
			fmt.Fprintf(&v, "\n== %s\n%s", n, data)
		}
	}
	b.Add("versions.txt", "this program and kernel", []byte(v.String()))
	if data, err := os.ReadFile("/etc/os-release"); err == nil { // a link, as a rule
		b.Add("os-release", "/etc/os-release", data)
	}
	if data, err := a.leanInventory(ctx); err != nil {
		b.Left = append(b.Left, fmt.Sprintf("the inventory: %v", err))
	} else {
		b.Add("inventory.json", "inventory, without files of packages", data)
	}
	conf := func(n string) bool { return strings.HasSuffix(n, ".conf") }
	if a.configFile != "" {
		b.AddFile("config/"+filepath.Base(a.configFile), a.configFile)
	} else {
		b.AddFile("config/almamigrate.conf", config.File)
		b.AddDir("config/conf.d", config.Dir, 0, 50, conf)
	}
	b.AddDir("config/catalog.d", catalog.Dir, 0, 50, conf)
	store := report.Store{Dir: filepath.Join(state, "reports")}
	if names, err := store.Names(); err != nil {
		b.Left = append(b.Left, err.Error())
	} else {
		for _, n := range names[max(0, len(names)-2):] {
			b.AddFile("reports/"+n, filepath.Join(store.Dir, n))
		}
	}
	b.AddDir("spool", filepath.Join(state, "spool"), 1, 50, func(n string) bool { return n == "state.json" })
	b.AddDir("changes", filepath.Join(state, "changes"), 1, 60, func(n string) bool {
		return n == "plan.json" || n == "journal.jsonl" || strings.HasSuffix(n, ".txt") || strings.HasSuffix(n, ".log")
	})
	b.AddDir("log", runsDir, 2, 60, func(n string) bool { return !strings.HasSuffix(n, ".gz") && !strings.HasSuffix(n, ".xz") })
	for _, n := range []string{"/var/log/dnf.log", "/var/log/dnf.rpm.log", "/var/log/yum.log"} {
		b.AddFile("log"+strings.TrimPrefix(n, "/var/log"), n)
	}
	a.collectOutput(ctx, b, "journal.txt", "journalctl", "--no-pager", "-o", "short-iso", "-n", "2000",
		"SYSLOG_IDENTIFIER=almamigrate", "+", "_SYSTEMD_UNIT="+systemd.ReportService, "+", "UNIT="+systemd.ReportService)
	a.collectOutput(ctx, b, "units.txt", "systemctl", "--no-pager", "cat", systemd.ReportService, systemd.ReportTimer)
	slices.Sort(b.Left)
}

func (a *app) leanInventory(ctx context.Context) ([]byte, error) {
	cat, keys, err := a.facts("/", nil)
	if err != nil {
		return nil, err
	}
	inv, err := a.takeInventory(ctx, cat, inventory.Options{NoFiles: true, ExtraKeys: keys})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = inv.WriteJSON(&out)
	return out.Bytes(), err
}

func (a *app) collectOutput(ctx context.Context, b *report.Bundle, name, program string, args ...string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := hostcmd.Output(ctx, hostcmd.Cmd{Path: program, Args: args})
	switch {
	case errors.Is(err, hostcmd.ErrNotFound), errors.Is(err, fs.ErrNotExist):
	case len(out) > 0:
		b.Add(name, program, out)
	case err != nil:
		b.Left = append(b.Left, fmt.Sprintf("%s: %v", program, err))
	}
}
