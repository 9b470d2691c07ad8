package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// bootDefault makes the new kernel the one that the boot loader starts: GRUB of
// another vendor looks into another folder of the ESP, and finds neither its
// configuration nor, on EL8, the variables that the kernels' entries use
// (kernelopts, with root= in it). The files are put back by save-files.
type bootDefault struct{ *Env }

type bootDefaultUndo struct {
	Env  map[string]string `json:"env"`  // GRUB's environment before
	Kept []kept            `json:"kept"` // the old vendor's files on the ESP
}

func (s bootDefault) Prepare(_ context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	_, b, err := bootOf(c)
	if err != nil {
		return nil, err
	}
	l, err := loaderNow()
	if err != nil {
		return nil, err
	}
	u := bootDefaultUndo{Env: l.Env}
	if u.Kept, _, err = keepOld(c, b, "grub"); err != nil {
		return nil, err
	}
	if b.MkConfig != "" && !s.has("grub2-mkconfig") {
		return nil, fmt.Errorf("cannot make GRUB's menu anew: %w: there is no grub2-mkconfig (package grub2-tools)", ErrHost)
	}
	return json.Marshal(u)
}

func (s bootDefault) Do(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	_, b, err := bootOf(c)
	if err != nil {
		return err
	}
	var u bootDefaultUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return fmt.Errorf("cannot read the journal: %w", err)
	}
	var errs error // of what the result may be right in spite of
	if err := s.config(ctx, c, b, u); err != nil {
		return err
	}
	rel := b.Kernel.Release
	l, err := loaderNow()
	if err != nil {
		return err
	}
	if b.MkConfig == "" && entryOf(l, rel) == nil && s.has("kernel-install") {
		errs = errors.Join(errs, s.program(ctx, c, "kernel-install", "add", rel, "/lib/modules/"+rel+"/vmlinuz"))
	}
	if b.MkConfig != "" {
		if err := s.program(ctx, c, "grub2-mkconfig", "-o", b.MkConfig); err != nil {
			return err
		}
	}
	if err := s.savedIsUsed(ctx, c, b); err != nil {
		return err
	}
	if s.has("grubby") {
		errs = errors.Join(errs, s.program(ctx, c, "grubby", "--set-default=/boot/vmlinuz-"+rel))
	}
	if err := fault.Point("boot.default.tools"); err != nil {
		return err
	}
	// Whatever these did: what GRUB will read is looked at, and set where it is not as it must be.
	if err := s.environment(b, u); err != nil {
		return errors.Join(err, errs)
	}
	if err := defaultProblem(b); err != nil {
		return errors.Join(err, errs)
	}
	return nil
}

// Undo does nothing: save-files puts the files back.
func (s bootDefault) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error {
	return nil
}

func (s bootDefault) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	_, b, err := bootOf(c)
	if err != nil {
		return false, err
	}
	if err := defaultProblem(b); err != nil {
		return false, err
	}
	return true, nil
}

// config sees to it that GRUB of AlmaLinux finds its configuration on the ESP.
func (s bootDefault) config(ctx context.Context, c *txn.Change, b *plan.BootPlan, u bootDefaultUndo) error {
	for _, name := range b.Config {
		if regular(name) {
			continue // the packages' scriptlets made it, or a former one is there
		}
		// The old vendor's works on this host, and is the same for AlmaLinux where it does not list kernels itself: it
		// reads the boot loader's entries, or another file. The variables are taken from its own folder.
		esp := path.Dir(path.Dir(name))
		for _, k := range u.Kept {
			if path.Base(k.Path) != "grub.cfg" || path.Dir(path.Dir(k.Path)) != esp {
				continue
			}
			data, err := k.content(c)
			if err != nil {
				return err
			}
			if !portable(data) {
				continue
			}
			if err := fault.Point("boot.config.before"); err != nil {
				return err
			}
			s.say("writing %s, from %s", name, k.Path)
			if err := putOnESP(name, data, fs.FileMode(k.Mode)); err != nil {
				return err
			}
			break
		}
		if !regular(name) {
			if !s.has("grub2-mkconfig") {
				return fmt.Errorf("cannot make %s: %w: there is no grub2-mkconfig (package grub2-tools)", name, ErrHost)
			}
			if err := os.MkdirAll(path.Dir(name), 0o700); err != nil {
				return fmt.Errorf("cannot make %s: %w", name, err)
			}
			if err := s.program(ctx, c, "grub2-mkconfig", "-o", name); err != nil {
				return err
			}
		}
		if !regular(name) {
			return fmt.Errorf("%w: GRUB finds no %s", ErrBoot, name)
		}
	}
	return nil
}

// portable tells whether a grub.cfg says nothing that only one vendor's folder
// or one kernel has: it reads the boot loader's entries (EL8), or is a stub
// that reads /boot/grub2/grub.cfg (EL9 and later).
func portable(data []byte) bool {
	return bytes.Contains(data, []byte("\nblscfg")) || bytes.Contains(data, []byte("configfile"))
}

// stub tells whether a grub.cfg only leads to another one.
func stub(data []byte) bool {
	return bytes.Contains(data, []byte("configfile")) && !bytes.Contains(data, []byte("blscfg")) && !bytes.Contains(data, []byte("menuentry "))
}

// putOnESP writes a file there: FAT knows no owners.
func putOnESP(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	if err := atomicfile.Write(name, data, mode); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// environments are the environment blocks that GRUB may read: the one that
// /boot/grub2/grubenv is or points to, and the one beside AlmaLinux's
// configuration on the ESP, where that is no stub.
func environments(b *plan.BootPlan, l boot.Loader) []string {
	if l.Kind != "grub2" {
		return nil
	}
	file := l.EnvFile
	if file == "" {
		file = "/boot/grub2/grubenv"
	}
	if to, err := os.Readlink(file); err == nil { // a link whose end is not there yet
		file = path.Clean(path.Join(path.Dir(file), to))
		if path.IsAbs(to) {
			file = to
		}
	}
	out := []string{file}
	for _, name := range b.Config {
		if data, err := os.ReadFile(name); err == nil && !stub(data) {
			out = append(out, path.Dir(name)+"/grubenv")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// once are variables that speak of one boot, and are not carried over.
var once = []string{"next_entry", "prev_entry", "boot_success", "boot_indeterminate", "boot_counter", "menu_show_once"}

// environment writes the default, and what the old environment had and the new
// one lacks.
func (s bootDefault) environment(b *plan.BootPlan, u bootDefaultUndo) error {
	l, err := loaderNow()
	if err != nil {
		return err
	}
	id := defaultID(b, l)
	if id == "" {
		return fmt.Errorf("%w: the boot loader has no entry for kernel %s", ErrBoot, b.Kernel.Release)
	}
	for _, file := range environments(b, l) {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read GRUB's environment: %w", err)
		}
		now, perr := boot.ParseGrubEnv(data)
		if perr != nil {
			data, now = nil, nil // not there, or not such a block: GRUB reads nothing of it either
		}
		set := map[string]string{"saved_entry": id}
		for k, v := range u.Env {
			if _, ok := now[k]; !ok && k != "saved_entry" && !slices.Contains(once, k) {
				set[k] = v
			}
		}
		names := slices.Sorted(maps.Keys(set))
		fresh, err := boot.SetGrubEnv(data, names, set)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", file, err)
		}
		if bytes.Equal(fresh, data) {
			continue
		}
		if err := fault.Point("boot.grubenv.before"); err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if st, err := os.Stat(file); err == nil {
			mode = st.Mode().Perm()
		}
		if err := os.MkdirAll(path.Dir(file), 0o700); err != nil {
			return fmt.Errorf("cannot write %s: %w", file, err)
		}
		if err := atomicfile.Write(file, fresh, mode, atomicfile.Keep); err != nil {
			return fmt.Errorf("cannot write %s: %w", file, err)
		}
	}
	return fault.Point("boot.grubenv.after")
}

// entryOf finds the boot loader's entry of a kernel.
func entryOf(l boot.Loader, release string) *boot.BLSEntry {
	var found *boot.BLSEntry
	for i := range l.Entries {
		e := &l.Entries[i]
		if strings.HasSuffix(e.Linux, "/vmlinuz-"+release) || e.Version == release && !strings.Contains(e.File, "-0-rescue") {
			// Entries of another machine id are a clone's: the host's own is written last.
			if found == nil || hostsOwn(e) {
				found = e
			}
		}
	}
	return found
}

func hostsOwn(e *boot.BLSEntry) bool {
	id, err := os.ReadFile("/etc/machine-id")
	return err == nil && e.Machine == strings.TrimSpace(string(id))
}

var menuEntry = regexp.MustCompile(`(?m)^\s*menuentry '([^']*)'(.*)$`)

// defaultID is what saved_entry must be for the new kernel to be started: the
// name of its entry, or its title in a menu that grub2-mkconfig made.
func defaultID(b *plan.BootPlan, l boot.Loader) string {
	if b.MkConfig == "" {
		if e := entryOf(l, b.Kernel.Release); e != nil {
			return e.File
		}
		return ""
	}
	data, err := os.ReadFile(b.MkConfig)
	if err != nil {
		return ""
	}
	for _, m := range menuEntry.FindAllStringSubmatchIndex(string(data), -1) {
		body := string(data[m[0]:])
		if end := strings.Index(body, "\n}"); end >= 0 {
			body = body[:end]
		}
		if strings.Contains(body, "vmlinuz-"+b.Kernel.Release+" ") || strings.Contains(body, "vmlinuz-"+b.Kernel.Release+"\n") {
			return string(data[m[2]:m[3]])
		}
	}
	return ""
}

// savedIsUsed makes GRUB start what saved_entry names, where its configuration
// says to start the first one: that is the newest by version, which AlmaLinux's
// kernel may not be.
func (s bootDefault) savedIsUsed(ctx context.Context, c *txn.Change, b *plan.BootPlan) error {
	l, err := loaderNow()
	if err != nil || l.Kind != "grub2" || l.Config == "" {
		return err
	}
	data, err := os.ReadFile(l.Config)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", l.Config, err)
	}
	if bytes.Contains(data, []byte("saved_entry")) || stub(data) {
		return nil
	}
	if !s.has("grub2-mkconfig") {
		return fmt.Errorf("cannot set the default kernel: %w: %s starts the first kernel of the menu, and there is no grub2-mkconfig to change that", ErrHost, l.Config)
	}
	text, err := os.ReadFile("/etc/default/grub")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read GRUB's settings: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "GRUB_DEFAULT=") {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	out = append(out, "GRUB_DEFAULT=saved", "")
	if err := atomicfile.Write("/etc/default/grub", []byte(strings.Join(out, "\n")), 0o644, atomicfile.Keep); err != nil {
		return fmt.Errorf("cannot write GRUB's settings: %w", err)
	}
	real, err := filepath.EvalSymlinks(l.Config)
	if err != nil {
		return fmt.Errorf("cannot make GRUB's menu anew: %w", err)
	}
	return s.program(ctx, c, "grub2-mkconfig", "-o", real)
}

// defaultProblem says why the boot loader would not start the new kernel.
func defaultProblem(b *plan.BootPlan) error {
	for _, name := range b.Config {
		if !regular(name) {
			return fmt.Errorf("%w: GRUB finds no %s", ErrBoot, name)
		}
	}
	l, err := loaderNow()
	if err != nil {
		return err
	}
	if l.ConfigProblem != "" {
		return fmt.Errorf("%w: %s: %s", ErrBoot, l.Config, l.ConfigProblem)
	}
	id := defaultID(b, l)
	if id == "" {
		return fmt.Errorf("%w: the boot loader has no entry for kernel %s", ErrBoot, b.Kernel.Release)
	}
	if e := entryOf(l, b.Kernel.Release); b.MkConfig == "" && len(e.Missing) > 0 {
		return fmt.Errorf("%w: the entry %s names files that are not there: %s", ErrBoot, e.File, strings.Join(e.Missing, ", "))
	}
	for _, file := range environments(b, l) {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%w: cannot read GRUB's environment: %w", ErrBoot, err)
		}
		env, err := boot.ParseGrubEnv(data)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBoot, file, err)
		}
		if env["saved_entry"] != id {
			return fmt.Errorf("%w: the default in %s is %q, and not %q", ErrBoot, file, env["saved_entry"], id)
		}
	}
	return nil
}
