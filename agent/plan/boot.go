package plan

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The names of the boot steps, which are their kinds, too. They come after the
// packages and before the seal.
const (
	StepBootKernel  = "boot-initramfs" // AlmaLinux's kernel has all that it starts with
	StepBootDefault = "boot-default"   // the boot loader starts it by default
	StepBootEntry   = "boot-entry"     // the firmware starts AlmaLinux's boot loader; UEFI only
)

// The kinds of firmware.
const (
	FirmwareUEFI  = "uefi"
	FirmwareBIOS  = "bios"
	FirmwareOther = "other" // IBM Z, POWER: what starts there is found by its place
)

// BootLabel is what AlmaLinux's boot entries are called.
const BootLabel = "AlmaLinux"

// bootVendor is AlmaLinux's folder below EFI on the ESP.
const bootVendor = "almalinux"

// BootPlan is how the host will boot AlmaLinux's kernel, and what stays to fall
// back on. It is made when all packages move; a host without a kernel of its
// own, such as a container, has none.
type BootPlan struct {
	Firmware string       `json:"firmware"`            // uefi, bios, other
	Secure   bool         `json:"secure_boot"`         // the firmware starts nothing unsigned
	Loader   string       `json:"loader"`              // grub2, zipl, ...
	Kernel   *BootKernel  `json:"kernel"`              // that becomes the default; nil: none comes
	FallBack *BootKernel  `json:"fall_back"`           // that stays and can be chosen; nil: none
	Drivers  []BootDriver `json:"drivers"`             // that the initramfs must carry; sorted by name
	Entries  []BootEntry  `json:"entries"`             // to be made, one for each copy of the ESP
	Old      []OldEntry   `json:"old_entries"`         // of the old distribution: they stay, behind ours, until migrate --commit
	Folders  []OldFolder  `json:"old_folders"`         // their files, which stay as long
	Config   []string     `json:"config,omitempty"`    // files that GRUB reads first when AlmaLinux's copy of it starts
	MkConfig string       `json:"mkconfig,omitempty"`  // GRUB's configuration that must be made anew; empty: it reads the entries by itself
	Default  string       `json:"default,omitempty"`   // the entry that is the default now
	EnvFile  string       `json:"env_file,omitempty"`  // GRUB's environment now
	ESPBytes int64        `json:"esp_bytes,omitempty"` // of the files in Folders that are kept on the ESP
	Notes    []string     `json:"notes"`               // what is done differently, and why
}

// BootKernel is a kernel.
type BootKernel struct {
	Release string `json:"release"` // what uname -r says when it runs
	Package string `json:"package"` // NEVRA
}

// BootDriver is a module without which the root file system is not found.
type BootDriver struct {
	Name string   `json:"name"`
	Why  []string `json:"why"`
}

// BootEntry is a boot entry of the firmware.
type BootEntry struct {
	Label     string `json:"label"`
	Loader    string `json:"loader"` // below the ESP, with backslashes
	Mount     string `json:"mount"`  // where the ESP is
	Disk      string `json:"disk"`   // the kernel's name
	Device    string `json:"device"` // major:minor of the partition
	Partition int    `json:"partition"`
	PartUUID  string `json:"part_uuid"`
}

// OldEntry is a boot entry of the distribution that leaves.
type OldEntry struct {
	Number   uint16 `json:"number"`
	Label    string `json:"label"`
	File     string `json:"file"`
	PartUUID string `json:"part_uuid"`
}

// OldFolder is a folder of the old distribution's boot loader.
type OldFolder struct {
	Path  string   `json:"path"`
	Files []string `json:"files"` // programs that belong to a package
}

// efiNames are the names of shim and GRUB by architecture (rpm's names).
var efiNames = map[string]struct{ pkg, shim, grub string }{
	"x86_64":  {"x64", "shimx64.efi", "grubx64.efi"},
	"aarch64": {"aa64", "shimaa64.efi", "grubaa64.efi"},
}

// kernelImages are the packages that hold a kernel, by flavour.
var kernelImages = map[string]string{
	"kernel-core": inventory.FlavourStock, "kernel-64k-core": inventory.Flavour64k, "kernel-rt-core": inventory.FlavourRT,
}

// boot makes the plan's boot part. It needs Coming and Leaving.
func (p *Plan) boot(in Input) {
	env := in.Inventory.Environment
	if env == nil || env.Container.Kind != "" || env.Loader == nil && len(env.Kernels) == 0 {
		return
	}
	b := &BootPlan{Firmware: FirmwareOther, Drivers: []BootDriver{}, Entries: []BootEntry{}, Old: []OldEntry{}, Folders: []OldFolder{}, Notes: []string{}}
	p.Boot = b
	switch {
	case env.Firmware != nil && env.Firmware.UEFI:
		b.Firmware, b.Secure = FirmwareUEFI, env.Firmware.SecureBoot == boot.SecureBootOn
	case p.Host.Arch == "x86_64":
		b.Firmware = FirmwareBIOS
	}
	b.loader(env)
	b.kernels(in, p)
	if in.Inventory.Kernel != nil {
		for i := range in.Inventory.Kernel.Modules {
			if m := &in.Inventory.Kernel.Modules[i]; slices.Contains(m.Roles, inventory.RoleRoot) {
				b.Drivers = append(b.Drivers, BootDriver{m.Name, append([]string{}, m.Why...)})
			}
		}
		slices.SortFunc(b.Drivers, func(x, y BootDriver) int { return strings.Compare(x.Name, y.Name) })
	}
	switch b.Firmware {
	case FirmwareUEFI:
		b.firmware(env, p)
	case FirmwareBIOS:
		b.note("GRUB's first stage and its modules in /boot/grub2 stay as they are: they start AlmaLinux's kernels, too, and grub2-install is not run")
	}
	p.RebootRequired = b.Kernel != nil
	if b.Loader == loaderUnknown && len(b.Entries) == 0 && b.Kernel != nil {
		b.note("no boot loader was found that is known: what starts this host must be told by hand to start kernel %s", b.Kernel.Release)
		b.Kernel = nil // nobody here can make it the default
	}
	p.NotRestorable = append(p.NotRestorable, "what the firmware itself notes about its boot entries")
}

func (b *BootPlan) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

func (b *BootPlan) loader(env *inventory.Environment) {
	l := env.Loader
	if l == nil {
		return
	}
	b.Loader, b.Default, b.EnvFile = l.Kind, l.Default, l.EnvFile
	if l.Kind != "grub2" {
		b.note("the boot loader is %s: what it starts by default is set by grubby where that is installed, and otherwise left as it is", l.Kind)
	}
	if l.Kind == "grub2" && (!l.BLS || l.Disabled) {
		b.MkConfig = l.Config
		b.note("GRUB's menu is made by grub2-mkconfig on this host (no boot loader entries); it is made anew as %s", l.Config)
	}
}

// kernels chooses the kernel that becomes the default and the one that stays.
func (b *BootPlan) kernels(in Input, p *Plan) {
	env := in.Inventory.Environment
	running := in.Inventory.Host.Kernel
	flavour := inventory.KernelFlavour("", running)
	var best rpmver.NEVRA
	bestRank := -1
	for _, c := range p.Coming {
		f, ok := kernelImages[c.Name]
		n, err := rpmver.ParseNEVRA(c.NEVRA)
		if !ok || err != nil {
			continue
		}
		rank := 0 // the running kernel's flavour before the ordinary one before others
		if f == flavour {
			rank = 2
		} else if f == inventory.FlavourStock {
			rank = 1
		}
		if rank < bestRank || rank == bestRank && n.EVR.Compare(best.EVR) <= 0 {
			continue
		}
		best, bestRank = n, rank
		b.Kernel = &BootKernel{Release: comingRelease(p, n), Package: c.NEVRA}
	}
	if b.Kernel == nil {
		b.note("no kernel of AlmaLinux comes: the host goes on with the one that it has")
	}
	leaving := map[string]bool{}
	for _, l := range p.Leaving {
		leaving[l.NEVRA] = true
	}
	there := map[string]bool{}
	for _, f := range env.BootFiles {
		there[f.Release] = f.Image > 0
	}
	for _, k := range env.Kernels { // oldest first; the running one wins
		if leaving[k.Package] || !there[k.Release] || b.Kernel != nil && k.Release == b.Kernel.Release || b.FallBack != nil && b.FallBack.Release == running {
			continue
		}
		b.FallBack = &BootKernel{k.Release, k.Package}
	}
	switch {
	case b.Kernel != nil && b.FallBack == nil:
		b.note("no other kernel stays to fall back on")
	case b.Secure && b.FallBack != nil:
		b.note("under Secure Boot AlmaLinux's shim does not start the old kernel: choose the old entry in the firmware's boot menu for it")
	}
}

// comingRelease is what uname -r will say of a kernel package.
func comingRelease(p *Plan, n rpmver.NEVRA) string {
	if q, ok := p.picks[n.String()]; ok && q.Package != nil {
		for _, d := range q.Package.Provides {
			if d.Name == "kernel-uname-r" && d.EVR.Version != "" {
				return strings.TrimSuffix(d.EVR.Version+"-"+d.EVR.Release, "-")
			}
		}
	}
	return n.EVR.Version + "-" + n.EVR.Release + "." + n.Arch
}

// firmware plans the entries of UEFI's boot manager.
func (b *BootPlan) firmware(env *inventory.Environment, p *Plan) {
	names, ok := efiNames[p.Host.Arch]
	if !ok {
		b.note("no boot entry is made: it is not known how AlmaLinux's boot loader is called on %s", p.Host.Arch)
		return
	}
	file := ""
	for _, c := range p.Coming {
		switch {
		case c.Name == "shim-"+names.pkg:
			file = names.shim
		case c.Name == "grub2-efi-"+names.pkg && file == "":
			file = names.grub
		}
	}
	if file == "" {
		b.note("neither shim nor GRUB of AlmaLinux comes: the firmware's boot entries stay as they are")
		return
	}
	loader := `\EFI\` + bootVendor + `\` + file
	uuids := map[string]bool{}
	for _, e := range env.ESPs {
		if e.Mount == "" {
			continue
		}
		b.Config = append(b.Config, e.Mount+"/EFI/"+bootVendor+"/grub.cfg")
		for _, d := range partitions(e.Device) {
			uuids[d.PartUUID] = true
			b.Entries = append(b.Entries, BootEntry{
				Label: BootLabel, Loader: loader, Mount: e.Mount, Disk: d.Disk, Device: d.Number, Partition: d.Partition, PartUUID: d.PartUUID,
			})
		}
		b.oldFolders(env, e.Mount)
	}
	if len(b.Entries) == 0 {
		b.note(`no EFI system partition could be identified: no boot entry is made, and the firmware starts \EFI\BOOT, where AlmaLinux's shim is, too`)
	}
	if env.BootManager == nil {
		return
	}
	for _, e := range env.BootManager.Entries {
		if e.PartUUID == "" || !uuids[e.PartUUID] {
			continue
		}
		for _, f := range b.Folders {
			if strings.EqualFold(path.Base(f.Path), efiFolder(e.File)) {
				b.Old = append(b.Old, OldEntry{e.Number, e.Description, e.File, e.PartUUID})
			}
		}
	}
}

// efiFolder is the vendor's folder in a loader's path: centos of
// \EFI\centos\shimx64.efi.
func efiFolder(file string) string {
	parts := strings.Split(strings.Trim(file, `\`), `\`)
	if len(parts) < 3 || !strings.EqualFold(parts[0], "EFI") {
		return ""
	}
	return parts[1]
}

// partitions are what an entry can name for a device: the partition itself, or
// those that a mirror of partitions is made of.
func partitions(d boot.Device) []boot.Device {
	if d.Kind == "partition" {
		if d.PartUUID == "" || d.Partition <= 0 {
			return nil
		}
		return []boot.Device{d}
	}
	if d.Kind == "md" && d.Level != "raid1" {
		return nil // the firmware could not read it
	}
	var out []boot.Device
	for _, b := range d.Below {
		out = append(out, partitions(b)...)
	}
	return out
}

// oldFolders finds the folders whose programs belong to the packages that are
// replaced.
func (b *BootPlan) oldFolders(env *inventory.Environment, mount string) {
	files := map[string][]string{}
	for _, f := range env.LoaderFiles {
		dir := path.Dir(f.Path)
		if path.Dir(dir) != mount+"/EFI" || f.Package == "" {
			continue
		}
		if v := strings.ToLower(path.Base(dir)); v == bootVendor || v == "boot" {
			continue
		}
		files[dir] = append(files[dir], f.Path)
	}
	for dir, list := range files {
		slices.Sort(list)
		b.Folders = append(b.Folders, OldFolder{dir, list})
	}
	slices.SortFunc(b.Folders, func(x, y OldFolder) int { return strings.Compare(x.Path, y.Path) })
}

// BootPaths are the files that booting the new kernel brings and that belong to
// no package, and the folders that hold the boot loader's settings: what must
// be saved beside the packages' files.
func (p *Plan) BootPaths() (files, folders []string) {
	b := p.Boot
	if b == nil {
		return nil, nil
	}
	for _, c := range p.Coming {
		n, err := rpmver.ParseNEVRA(c.NEVRA)
		if _, ok := kernelImages[c.Name]; !ok || err != nil {
			continue
		}
		rel := comingRelease(p, n)
		if b.Kernel != nil && b.Kernel.Package == c.NEVRA {
			rel = b.Kernel.Release // known also where the plan was read from a file
		}
		for _, f := range []string{"vmlinuz-%s", ".vmlinuz-%s.hmac", "initramfs-%s.img", "initramfs-%skdump.img", "System.map-%s", "config-%s", "symvers-%s.gz", "symvers-%s.xz"} {
			files = append(files, "/boot/"+fmt.Sprintf(f, rel))
		}
	}
	folders = []string{"/boot/loader", "/boot/grub2"}
	for _, c := range b.Config {
		folders = append(folders, path.Dir(c), path.Join(path.Dir(path.Dir(c)), "BOOT"))
	}
	for _, f := range b.Folders {
		folders = append(folders, f.Path)
	}
	for _, f := range []string{b.MkConfig, b.EnvFile} {
		if f != "" && !slices.ContainsFunc(folders, func(d string) bool { return boot.Under(f, d) }) {
			files = append(files, f)
		}
	}
	return files, folders
}

// loaderUnknown is a host that nothing known boots: an image, or one that its
// hypervisor starts with a kernel of its own.
const loaderUnknown = "unknown"

// steps are the boot steps, in order.
func (b *BootPlan) steps() []Step {
	if b == nil {
		return nil
	}
	var out []Step
	if b.Kernel != nil {
		out = append(out,
			Step{StepBootKernel, fmt.Sprintf("look whether kernel %s has all that it needs to find the root file system", b.Kernel.Release)},
			Step{StepBootDefault, fmt.Sprintf("make kernel %s the default", b.Kernel.Release)})
	}
	if len(b.Entries) > 0 {
		out = append(out, Step{StepBootEntry, fmt.Sprintf("put the boot entry %q first in the firmware's order", BootLabel)})
	}
	return out
}

// space is what the boot part needs beside the packages.
func (b *BootPlan) space(in Input) []Space {
	if b == nil || b.Kernel == nil {
		return nil
	}
	free := func(path string) int64 {
		if in.Free == nil {
			return -1
		}
		return in.Free(path)
	}
	var need int64 = 16 << 20                              // a kernel and its map
	for _, f := range in.Inventory.Environment.BootFiles { // not nil: there is a plan
		if !f.Rescue {
			need = max(need, f.Bytes())
		}
	}
	return []Space{{"/boot", need + need/8, free("/boot"), "AlmaLinux's kernel and its initramfs"}}
}

// text writes the boot part for people.
func (b *BootPlan) text(w *bytes.Buffer) {
	if b == nil {
		return
	}
	fmt.Fprintf(w, "\nBooting (%s):\n", b.Firmware)
	if b.Kernel != nil {
		fmt.Fprintf(w, "  default: kernel %s of AlmaLinux\n", report.Safe(b.Kernel.Release))
	}
	if b.FallBack != nil {
		fmt.Fprintf(w, "  to fall back on: kernel %s\n", report.Safe(b.FallBack.Release))
	}
	for _, e := range b.Entries {
		fmt.Fprintf(w, "  boot entry %q: %s on partition %d of %s (%s), first in the order\n", e.Label, report.Safe(e.Loader), e.Partition, report.Safe(e.Disk), report.Safe(e.Mount))
	}
	for _, e := range b.Old {
		fmt.Fprintf(w, "  boot entry Boot%04X %q stays behind it, until: almamigrate migrate --commit\n", e.Number, report.Safe(e.Label))
	}
	if len(b.Drivers) > 0 {
		var names []string
		for _, d := range b.Drivers {
			names = append(names, d.Name)
		}
		fmt.Fprintf(w, "  the initramfs must carry: %s\n", report.Safe(strings.Join(names, ", ")))
	}
	for _, n := range b.Notes {
		fmt.Fprintf(w, "  note: %s\n", report.Safe(n))
	}
}
