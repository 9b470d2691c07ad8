package step

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// RunningKernel is what uname -r says.
func RunningKernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// RebootRequired tells whether the host still runs what a change replaced.
func RebootRequired(c *txn.Change) bool {
	p, err := Plan(c)
	if err != nil || !p.RebootRequired || p.Boot == nil || p.Boot.Kernel == nil {
		return false
	}
	running := p.Boot.Kernel.Release == RunningKernel()
	switch c.State() {
	case txn.StateDone, txn.StateCommitted:
	case txn.StateRolledBack:
		return running && !regular("/boot/vmlinuz-"+p.Boot.Kernel.Release) // its modules are gone, too
	default:
		return false
	}
	if running {
		return false
	}
	var finished time.Time
	for _, r := range c.Records {
		if r.Status == txn.Finished {
			finished = r.Time
		}
	}
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return true
	}
	return time.Now().Add(-time.Duration(up.Nano())).Before(finished)
}

// oldPackages are the packages that were there before the migration and are no
// part of AlmaLinux's.
func oldPackages(p *plan.Plan) map[string]bool {
	old := map[string]bool{}
	for _, s := range p.Evidence.Packages {
		nevra, _, _ := strings.Cut(s, " ")
		old[nevra] = true
	}
	for _, c := range p.Coming {
		delete(old, c.NEVRA)
	}
	return old
}

// kernelOwners maps kernel releases to the packages that bring them.
func kernelOwners(db *Database) map[string][]string {
	out := map[string][]string{}
	for n, hs := range db.Packages {
		if !strings.HasPrefix(n, "kernel") {
			continue
		}
		for _, h := range hs {
			for f := range h.Files() {
				if rel, ok := strings.CutPrefix(f, "/boot/vmlinuz-"); ok && !slices.Contains(out[rel], n) {
					out[rel] = append(out[rel], n)
				}
			}
			provides, err := h.Deps(rpmhdr.Provides)
			if err != nil {
				continue
			}
			for _, d := range provides {
				rel := strings.TrimSuffix(d.EVR.Version+"-"+d.EVR.Release, "-")
				if d.Name == "kernel-uname-r" && !slices.Contains(out[rel], n) {
					out[rel] = append(out[rel], n)
				}
			}
		}
	}
	return out
}

// BootProblems says, from the host alone, what keeps it from booting
// AlmaLinux's kernel by default; a later kernel of AlmaLinux is as good as the
// plan's. def is the release that is the default.
func BootProblems(c *txn.Change) (problems []string, def string, err error) {
	p, err := Plan(c)
	if err != nil || p.Boot == nil {
		return nil, "", err
	}
	b := *p.Boot
	if b.Kernel != nil {
		k := *b.Kernel
		b.Kernel = &k
		l, err := loaderNow()
		if err != nil {
			return nil, "", err
		}
		for _, e := range l.Entries {
			if _, rel, ok := strings.Cut(e.Linux, "/vmlinuz-"); ok && e.File == l.Default {
				def = rel
			}
		}
		if def == "" {
			def = k.Release
		}
		db, err := ReadDatabase()
		if err != nil {
			return nil, "", err
		}
		old := oldPackages(p)
		owners := kernelOwners(db)[def]
		if len(owners) > 0 && !slices.ContainsFunc(owners, func(n string) bool { return old[n] }) {
			b.Kernel.Release = def
		}
		if err := kernelProblem(&b); err != nil {
			problems = append(problems, err.Error())
		}
		if err := defaultProblem(&b); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if undo := undoOf(c, plan.StepBootEntry); undo != nil {
		u, v, err := bootEntry{}.undo(undo)
		if err != nil {
			return nil, "", err
		}
		now, err := v.Snapshot()
		if err != nil {
			return nil, "", err
		}
		if err := entryProblem(&b, now, u.Options); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems, def, nil
}

// Commitment is what a commit gives up and removes.
type Commitment struct {
	Change  string   `json:"change"`
	Title   string   `json:"title"`
	Bytes   int64    `json:"bytes"`   // see SavedBytes
	Boot    OldBoot  `json:"boot"`    // of the old boot loader
	Kernels []string `json:"kernels"` // packages of the old distribution's kernels
	Running string   `json:"running_kernel"`
	// Unproven says why the host has not yet shown that it boots AlmaLinux's
	// kernel; empty where it has.
	Unproven string `json:"unproven,omitempty"`
}

// Commitment tells what a commit would do.
func (e *Env) Commitment(c *txn.Change, kernels bool) (*Commitment, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	m := &Commitment{Change: c.Plan.ID, Title: c.Plan.Title, Kernels: []string{}, Running: RunningKernel()}
	m.Bytes = SavedBytes(c)
	if m.Boot, err = FindOldBoot(c); err != nil {
		return nil, err
	}
	if p.Boot == nil || p.Boot.Kernel == nil {
		return m, nil
	}
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	old := oldPackages(p)
	owners := kernelOwners(db)
	switch run := owners[m.Running]; {
	case m.Running == p.Boot.Kernel.Release:
	case len(run) == 0:
		m.Unproven = fmt.Sprintf("the running kernel %s belongs to no package", m.Running)
	case slices.ContainsFunc(run, func(n string) bool { return old[n] }):
		m.Unproven = fmt.Sprintf("the host still runs %s of before the migration", run[0])
	}
	if m.Unproven == "" {
		problems, _, err := BootProblems(c)
		if err != nil {
			return nil, err
		}
		m.Unproven = strings.Join(problems, "; ")
	}
	if m.Unproven == "" {
		if m.Unproven, err = bootedByOld(root, m.Boot.Entries); err != nil {
			return nil, err
		}
	}
	if kernels {
		m.Kernels = oldKernels(db, old, m.Running)
	}
	return m, nil
}

// bootedByOld tells whether the firmware has started the host by one of the
// entries that a commit removes: the old boot loader starts AlmaLinux's kernel as
// well, so that the kernel alone proves nothing of AlmaLinux's entry.
func bootedByOld(root string, entries []string) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	v, err := boot.OpenVariables(root)
	if err != nil {
		return "", err
	}
	raw, err := v.Raw("BootCurrent")
	if err != nil || len(raw) != 6 {
		return "", err // not every firmware tells
	}
	name := boot.EntryName(binary.LittleEndian.Uint16(raw[4:]))
	for _, e := range entries {
		if strings.HasPrefix(e, name+" ") {
			return "the firmware started this host by the old boot entry " + e, nil
		}
	}
	return "", nil
}

// oldKernels are all packages of the kernels that were there before, but for
// the one that runs.
func oldKernels(db *Database, old map[string]bool, running string) []string {
	var out []string
	for n, hs := range db.Packages {
		if !old[n] || !strings.HasPrefix(n, "kernel") {
			continue
		}
		provides, err := hs[0].Deps(rpmhdr.Provides)
		if err != nil {
			continue
		}
		beside := false
		for _, d := range provides {
			beside = beside || d.Name == "installonlypkg(kernel)" || d.Name == "installonlypkg(kernel-module)"
		}
		v := hs[0].NEVRA()
		if beside && !strings.HasPrefix(running, v.EVR.Version+"-"+v.EVR.Release+".") {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// Commit removes the old way to boot, and the old kernels where that was asked
// for. The journal says before that the change is committed, since half of it is
// no way back any more; an interrupted commit can be given again.
func (e *Env) Commit(ctx context.Context, c *txn.Change, m *Commitment) error {
	if _, err := RemoveOldBoot(c); err != nil {
		return err
	}
	if err := fault.Point("commit.boot.after"); err != nil {
		return err
	}
	if len(m.Kernels) == 0 {
		return nil
	}
	e.say("removing the old kernels")
	_, rerr := hostcmd.Run(context.WithoutCancel(ctx), hostcmd.Cmd{Path: "rpm", Args: append([]string{"-e"}, m.Kernels...), OutputFile: filepath.Join(c.Dir, "commit.log")})
	db, err := ReadDatabase()
	if err != nil {
		return err
	}
	if left := slices.DeleteFunc(slices.Clone(m.Kernels), func(n string) bool { return !db.Has(n) }); len(left) > 0 {
		return errors.Join(fmt.Errorf("cannot remove %s: rpm left them (see %s)", strings.Join(left, ", "), filepath.Join(c.Dir, "commit.log")), rerr)
	}
	return nil
}

// FirmwareEntries names the firmware's boot entries in their order, for people;
// nil where there is no UEFI.
func FirmwareEntries() []string {
	v, err := boot.OpenVariables(root)
	if err != nil {
		return nil
	}
	b, err := v.Snapshot()
	if err != nil {
		return nil
	}
	var out []string
	for _, n := range b.Numbers() {
		raw := b.Entries[boot.EntryName(n)]
		if raw == nil {
			continue
		}
		if e, err := boot.ParseLoadOption(raw[4:]); err == nil {
			out = append(out, fmt.Sprintf("%s %q %s", boot.EntryName(n), e.Description, e.File))
		}
	}
	return out
}
