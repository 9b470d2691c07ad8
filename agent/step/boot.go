package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// ErrBoot means that the host would not boot as planned.
var ErrBoot = errors.New("the host would not boot AlmaLinux's kernel")

// bootOf returns the boot part of a change's plan.
func bootOf(c *txn.Change) (*plan.Plan, *plan.BootPlan, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, nil, err
	}
	if p.Boot == nil {
		return nil, nil, fmt.Errorf("internal error: the plan of change %s says nothing about booting", c.Plan.ID)
	}
	return p, p.Boot, nil
}

// program runs one of the host's programs that changes it, with its output in
// the change's folder. Its exit code is only one of the signs of what it did.
func (e *Env) program(ctx context.Context, c *txn.Change, name string, args ...string) error {
	if err := fault.Point("boot." + name + ".before"); err != nil {
		return err
	}
	e.say("%s %s", name, strings.Join(args, " "))
	_, err := hostcmd.Run(context.WithoutCancel(ctx), hostcmd.Cmd{Path: name, Args: args, OutputFile: filepath.Join(c.Dir, "boot.log")})
	return errors.Join(err, fault.Point("boot."+name+".after"))
}

func (e *Env) has(program string) bool {
	_, err := hostcmd.Look(root, program)
	return err == nil
}

// bootInitramfs sees to it that the new kernel is in /boot with an initramfs
// that carries what finds the root file system. The files are put back by
// save-files.
type bootInitramfs struct {
	*Env
	nothing
}

func (s bootInitramfs) Do(ctx context.Context, c *txn.Change, _, _ json.RawMessage) error {
	_, b, err := bootOf(c)
	if err != nil {
		return err
	}
	rel := b.Kernel.Release
	if !regular("/boot/vmlinuz-"+rel) && s.has("kernel-install") {
		// The scriptlet of the kernel's package does this; its failure is none of rpm's.
		err = errors.Join(err, s.program(ctx, c, "kernel-install", "add", rel, "/lib/modules/"+rel+"/vmlinuz"))
	}
	lacks, perr := InitramfsLacks(rel, b.Drivers)
	if (perr != nil || len(lacks) > 0) && s.has("dracut") {
		args := []string{"--force"}
		if len(lacks) > 0 {
			args = append(args, "--add-drivers", strings.Join(lacks, " "))
		}
		err = errors.Join(err, s.program(ctx, c, "dracut", append(args, "/boot/initramfs-"+rel+".img", rel)...))
	}
	if problem := kernelProblem(b); problem != nil {
		return errors.Join(problem, err)
	}
	return nil
}

func (s bootInitramfs) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	_, b, err := bootOf(c)
	if err != nil {
		return false, err
	}
	if err := kernelProblem(b); err != nil {
		return false, err
	}
	return true, nil
}

// kernelProblem says why the new kernel could not start.
func kernelProblem(b *plan.BootPlan) error {
	rel := b.Kernel.Release
	if !regular("/boot/vmlinuz-" + rel) {
		return fmt.Errorf("%w: there is no /boot/vmlinuz-%s", ErrBoot, rel)
	}
	lacks, err := InitramfsLacks(rel, b.Drivers)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBoot, err)
	}
	if len(lacks) > 0 {
		return fmt.Errorf("%w: the initramfs of kernel %s lacks what the root file system needs: %s", ErrBoot, rel, strings.Join(lacks, ", "))
	}
	return nil
}

func regular(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular() && st.Size() > 0
}

// InitramfsLacks names the drivers that a kernel has as modules and that are
// not in its initramfs. What the kernel does not have as a module is built in,
// or was judged by the check.
func InitramfsLacks(release string, drivers []plan.BootDriver) ([]string, error) {
	h, err := kmod.Open(root)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	file, err := h.InitramfsPath(release)
	if err != nil {
		return nil, err
	}
	img, err := h.Initramfs(file)
	if err != nil {
		return nil, err
	}
	if len(drivers) == 0 || img.Squashed() {
		return nil, nil
	}
	carried := map[string]bool{}
	for _, m := range img.Modules() {
		if m.Release == "" || m.Release == release {
			carried[m.Name] = true
		}
	}
	list, err := h.WalkTree(release)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, m := range list {
		has[m.Name] = true
	}
	var out []string
	for _, d := range drivers {
		if has[d.Name] && !carried[d.Name] {
			out = append(out, d.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// loaderNow reads the boot loader's configuration.
func loaderNow() (boot.Loader, error) {
	r, err := rootfs.Open(root)
	if err != nil {
		return boot.Loader{}, fmt.Errorf("cannot read the boot loader's configuration: %w", err)
	}
	defer r.Close()
	return boot.ReadLoader(r)
}

// kept is a file of the old distribution's boot loader, copied before it could
// go with its package.
type kept struct {
	Path   string `json:"path"`
	Mode   uint32 `json:"mode"`
	MTime  int64  `json:"mtime"` // nanoseconds since 1970
	Store  string `json:"store"` // below the change's folder
	SHA256 string `json:"sha256"`
}

// maxKept is far above what shim and GRUB of one distribution take.
const maxKept = 64 << 20

// keepOld copies the files of the old folders on the ESP.
func keepOld(c *txn.Change, b *plan.BootPlan, into string) ([]kept, int64, error) {
	dir := filepath.Join(c.Dir, "files", into)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, 0, fmt.Errorf("cannot save the old boot loader: %w", err)
	}
	list := []kept{}
	var total int64
	for _, f := range b.Folders {
		r, err := os.OpenRoot(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("cannot save the old boot loader: %w", err)
		}
		err = fs.WalkDir(r.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			if total += info.Size(); total > maxKept {
				return fmt.Errorf("%s holds more than %d MiB", f.Path, maxKept>>20)
			}
			data, err := r.ReadFile(name)
			if err != nil {
				return err
			}
			k := kept{Path: filepath.Join(f.Path, name), Mode: uint32(info.Mode().Perm()), MTime: info.ModTime().UnixNano(), Store: filepath.Join("files", into, fmt.Sprint(len(list))), SHA256: sha256Hex(data)}
			list = append(list, k)
			return atomicfile.Write(filepath.Join(c.Dir, k.Store), data, 0o600)
		})
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, 0, fmt.Errorf("cannot save the old boot loader: %w", err)
		}
	}
	return list, total, nil
}

// content reads a kept file back.
func (k kept) content(c *txn.Change) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(c.Dir, k.Store))
	if err != nil {
		return nil, fmt.Errorf("cannot read what was saved of %s: %w", k.Path, err)
	}
	if sha256Hex(data) != k.SHA256 {
		return nil, fmt.Errorf("cannot use what was saved of %s: %w", k.Path, ErrTampered)
	}
	return data, nil
}
