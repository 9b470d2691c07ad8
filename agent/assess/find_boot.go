package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
)

// bootsItself tells whether the host starts its own kernel: not in a
// container, nor on a root that is laid over something else.
func (a *assessor) bootsItself() bool {
	env := a.inv.Environment
	return env != nil && env.Container.Kind == "" && a.overlayRoot() == nil
}

func (a *assessor) overlayRoot() *inventory.Mount {
	m := a.mount("/")
	if m != nil && (m.FSType == "overlay" || m.FSType == "overlayfs" || m.FSType == "aufs") {
		return m
	}
	return nil
}

// mount is the mount at a point, nil if there is none.
func (a *assessor) mount(point string) *inventory.Mount {
	for i := range a.inv.Environment.Mounts {
		if m := &a.inv.Environment.Mounts[i]; m.Point == point {
			return m
		}
	}
	return nil
}

func (a *assessor) installed(names ...string) bool {
	return slices.ContainsFunc(a.inv.Packages, func(p inventory.Package) bool { return slices.Contains(names, p.Name) })
}

func (a *assessor) findBoot() {
	if !a.bootsItself() {
		return
	}
	a.findLoader()
	a.findEntries()
	a.findKernels()
	if a.inv.Host.Running() {
		a.findUEFI()
		a.findSealed()
	}
}

func (a *assessor) findLoader() {
	l := a.inv.Environment.Loader
	if l == nil {
		return
	}
	hasKernel := slices.ContainsFunc(a.inv.Environment.BootFiles, func(k boot.KernelFiles) bool { return k.Image > 0 })
	switch {
	case l.Kind == "grub2":
	case l.Kind == "zipl" && a.inv.Host.Arch == "s390x":
	case l.Kind == "unknown" && (hasKernel || a.installed("kernel-core")) && a.inv.Host.Running():
		a.raise(Finding{
			ID: idBootNoLoader, Severity: Info, Resources: []Resource{{"file", "/boot", ""}},
			Title:  "no configuration of a boot loader was found",
			Detail: "The kernel that runs may come from outside (network boot, the hypervisor). Then the move does not change which kernel starts.",
			Remedy: Remedy{Text: "see how this host gets its kernel", Command: "cat /proc/cmdline; ls /boot"},
		})
	case l.Kind != "unknown":
		a.raise(Finding{
			ID: idBootLoaderForeign, Severity: Warning, Resources: []Resource{{"file", l.Config, l.Kind}},
			Title:  "the host starts with " + l.Kind + ", not with GRUB 2",
			Detail: "AlmaLinux's packages set up GRUB 2 only. The new kernel is installed, but whether this loader finds it is up to your set-up.",
			Remedy: Remedy{Text: "add the new kernel to its configuration before the reboot", Command: "cat " + shellWord(l.Config)},
		})
	}
	if l.ConfigProblem != "" {
		a.raise(Finding{
			ID: idBootGrubConfig, Severity: Warning, Resources: []Resource{{"file", l.Config, l.ConfigProblem}},
			Title:  "GRUB's configuration is not whole: " + l.ConfigProblem,
			Detail: "The host may stop at GRUB's prompt at the next boot. grub2-script-check " + shellWord(l.Config) + " says where it is wrong.",
			Remedy: Remedy{Text: "make it anew", Command: "grub2-mkconfig -o " + shellWord(l.Config)},
		})
	}
	if l.EnvProblem != "" {
		path := cmp.Or(l.EnvFile, "/boot/grub2/grubenv")
		file := shellWord(path)
		remedy := Remedy{Text: "make it anew", Command: "grub2-editenv " + file + " create"}
		if len(l.Env) > 0 {
			// What it holds may be the kernels' options.
			old := shellWord(path + ".old")
			remedy = Remedy{
				Text: "make it anew, with what it holds",
				Command: "cp -p " + file + " " + old + " && grub2-editenv " + file + " create && grub2-editenv " + old +
					" list | while IFS= read -r v; do grub2-editenv " + file + ` set "$v"; done`,
			}
		}
		a.raise(Finding{
			ID: idBootGrubenv, Severity: Warning, Resources: []Resource{{"file", path, l.EnvProblem}},
			Title:  "GRUB's environment block is not in order: " + l.EnvProblem,
			Detail: "GRUB cannot remember a new default kernel in it; after the move another than the wanted one may start.",
			Remedy: remedy,
		})
	}
}

func (a *assessor) findEntries() {
	env := a.inv.Environment
	l := env.Loader
	if l == nil || l.Kind != "grub2" || a.inv.Host.Major < 8 {
		return
	}
	if l.BLS && !l.Disabled && len(l.Entries) == 0 {
		a.raise(Finding{
			ID: idBootNoEntries, Severity: Warning, Resources: []Resource{{"file", "/boot/loader/entries", ""}},
			Title:  "GRUB has no boot entry to show",
			Detail: "Its configuration reads /boot/loader/entries, and there is none: the host could not be started again as it is.",
			Remedy: Remedy{Text: "let the installed kernel make its entry", Command: "kernel-install add $(uname -r) /lib/modules/$(uname -r)/vmlinuz"},
		})
		return
	}
	if !l.BLS && !l.Chained && !l.Disabled && len(l.Entries) > 0 {
		a.raise(Finding{
			ID: idBootEntriesUnread, Severity: Warning, Resources: []Resource{{"file", l.Config, "no blscfg"}},
			Title:  "GRUB's configuration does not read the boot entries",
			Detail: fmt.Sprintf("The kernels' packages make entries in /boot/loader/entries, where there %s, and %s has a fixed list of its own: AlmaLinux's kernel would not be in the menu, and the old one would start.", verb(len(l.Entries), "is one", fmt.Sprintf("are %d", len(l.Entries))), l.Config),
			Remedy: Remedy{Text: "make the configuration anew, so that it reads them", Command: "grub2-mkconfig -o " + shellWord(l.Config)},
		})
	}
	a.findKernelEntry()
	var broken []Resource
	ids := map[string]bool{}
	for _, e := range l.Entries {
		ids[e.File] = true
		if len(e.Missing) > 0 {
			broken = append(broken, Resource{"file", "/boot/loader/entries/" + e.File + ".conf", "does not exist: " + strings.Join(e.Missing, ", ")})
		}
	}
	if len(broken) > 0 {
		a.raise(Finding{
			ID: idBootEntryBroken, Severity: Warning, Resources: broken,
			Title:  fmt.Sprintf("%s %s to a kernel or initramfs that does not exist", plural(len(broken), "boot entry"), verb(len(broken), "points", "point")),
			Detail: "If one of them is the default, the host does not start.",
			Remedy: Remedy{Text: "remove entries of kernels that are gone, make a missing initramfs again", Command: "dracut --regenerate-all --force"},
		})
	}
	if d := l.Default; l.BLS && d != "" && !ids[d] && strings.Trim(d, "0123456789") != "" &&
		!slices.ContainsFunc(l.Entries, func(e boot.BLSEntry) bool { return e.Title == d }) {
		a.raise(Finding{
			ID: idBootDefaultGone, Severity: Warning, Resources: []Resource{{"file", l.EnvFile, "saved_entry=" + d}},
			Title:  "the default boot entry does not exist",
			Detail: "GRUB then starts the first one that it finds, which may be another kernel than you expect.",
			Remedy: Remedy{Text: "choose a default", Command: "grubby --set-default-index=0"},
		})
	}
	a.findDefault()
	if n := len(env.OtherMachine); n > 0 {
		var res []Resource
		for _, f := range env.OtherMachine {
			res = append(res, Resource{"file", "/boot/loader/entries/" + f + ".conf", ""})
		}
		a.raise(Finding{
			ID: idBootOtherMachine, Severity: Warning, Resources: res,
			Title:  fmt.Sprintf("%s %s made for another machine id", plural(n, "boot entry"), verb(n, "was", "were")),
			Detail: "The host was cloned or its /etc/machine-id changed. A new kernel gets an entry of its own; those stay, never updated, and may stay the default.",
			Remedy: Remedy{Text: "make the entries anew, then remove the old ones", Command: "ls /boot/loader/entries; cat /etc/machine-id"},
		})
	}
}

// findKernelEntry looks whether the kernel that runs could be started again: it
// is the way back if the new one does not start.
func (a *assessor) findKernelEntry() {
	l, run := a.inv.Environment.Loader, a.runningKernel()
	if !l.BLS || run == nil || !a.inv.Host.Running() {
		return
	}
	for _, e := range l.Entries {
		if e.Version == run.Release || strings.HasSuffix(e.Linux, "-"+run.Release) {
			return
		}
	}
	a.raise(Finding{
		ID: idBootEntryMissing, Severity: Warning, Resources: []Resource{{"package", run.Package, run.Release}},
		Title:  "the running kernel has no boot entry",
		Detail: "None of the entries in /boot/loader/entries is of " + run.Release + ": it could not be chosen, should AlmaLinux's kernel not start.",
		Remedy: Remedy{Text: "make its entry", Command: "kernel-install add " + shellWord(run.Release) + " /lib/modules/" + shellWord(run.Release) + "/vmlinuz"},
	})
}

// findDefault looks at which kernel the next boot starts.
func (a *assessor) findDefault() {
	env := a.inv.Environment
	base := a.comingKernel()
	if c := env.KernelChoice; c.Update == "no" || c.Package != "" && c.Package != "kernel" && c.Package != "kernel-core" && c.Package != base && c.Package != base+"-core" {
		what := "DEFAULTKERNEL=" + c.Package
		if c.Update == "no" {
			what = "UPDATEDEFAULT=no"
		}
		a.raise(Finding{
			ID: idBootKernelChoice, Severity: Warning, Resources: []Resource{{"file", "/etc/sysconfig/kernel", what}},
			Title:  "AlmaLinux's kernel would not become the default: " + what,
			Detail: "It is installed, and the host goes on to start the old one, for which there are no more updates.",
			Remedy: Remedy{Text: "let new standard kernels become the default", Command: "sed -i 's/^UPDATEDEFAULT=.*/UPDATEDEFAULT=yes/; s/^DEFAULTKERNEL=.*/DEFAULTKERNEL=" + base + "-core/' /etc/sysconfig/kernel"},
		})
	}
	run := a.runningKernel()
	if run == nil {
		return
	}
	newest := run.Release
	for _, k := range env.Kernels { // oldest first
		if k.Name == run.Name {
			newest = k.Release
		}
	}
	for _, e := range env.Loader.Entries {
		if (e.File == env.Loader.Default || e.Title == env.Loader.Default) && e.Version != "" && e.Version != run.Release && e.Version != newest {
			a.raise(Finding{
				ID: idBootDefaultOther, Severity: Warning, Resources: []Resource{{"file", "/boot/loader/entries/" + e.File + ".conf", e.Version}},
				Title:  "the next boot would start " + e.Version + ", not the kernel that runs",
				Detail: "The default entry names neither the running kernel " + run.Release + " nor the newest one of its kind.",
				Remedy: Remedy{Text: "set the default that you want", Command: "grubby --set-default=/boot/vmlinuz-" + shellWord(run.Release)},
			})
			return
		}
	}
}

// comingKernel is the name of AlmaLinux's kernel that comes: kernel, and for a
// host with such a one kernel-rt or kernel-64k.
func (a *assessor) comingKernel() string {
	if a.kernel != nil && a.kernel.t != nil {
		return a.kernel.t.base
	}
	return "kernel"
}

// findOtherKind tells of a host whose kind of kernel AlmaLinux has, but in no
// repository that would be on.
func (a *assessor) findOtherKind() {
	want := kernelBase(a.inv)
	if a.kernel == nil || a.kernel.t == nil || a.kernel.t.base == want {
		return
	}
	f := Finding{
		ID: idBootKernelForeign, Severity: Warning, Resources: []Resource{{"host", a.inv.Host.Name, a.inv.Kernel.Release}},
		Title:  fmt.Sprintf("the host runs %s, and none of the repositories that would be on has it", want),
		Detail: fmt.Sprintf("AlmaLinux's standard kernel %s would come and start in its place: what the other kind was chosen for is lost.", a.kernel.t.release),
		Remedy: Remedy{Text: "name a repository that has " + want + ", or see that all works with the standard kernel", Command: "almamigrate check --mirror https://repo.almalinux.org/almalinux"},
	}
	for _, c := range a.uni.named(want + "-core") {
		if c.id.Arch == a.inv.Host.Arch && !c.repo.Enabled {
			f.Resources = append(f.Resources, Resource{"package", c.id.String(), c.repo.ID + ", which would be off"})
			f.Remedy = Remedy{Text: "enable the repository together with the move, and install " + want + " before the reboot", Command: "dnf config-manager --set-enabled " + shellWord(c.repo.ID)}
			break
		}
	}
	a.raise(f)
}

// runningKernel returns the entry of the kernel that runs.
func (a *assessor) runningKernel() *inventory.InstalledKernel {
	for i := range a.inv.Environment.Kernels {
		if k := &a.inv.Environment.Kernels[i]; k.Release == a.inv.Host.Kernel {
			return k
		}
	}
	return nil
}

func (a *assessor) findKernels() {
	env := a.inv.Environment
	a.findOtherKind()
	var foreign []Resource
	for _, k := range env.Kernels {
		switch k.Flavour {
		case inventory.FlavourStock, inventory.FlavourRT, inventory.Flavour64k, inventory.FlavourDebug:
		default:
			foreign = append(foreign, Resource{"package", k.Package, k.Flavour})
		}
	}
	rel := a.inv.Host.Kernel
	run := a.runningKernel()
	flavour := ""
	if rel != "" {
		flavour = inventory.KernelFlavour("", rel)
		if run != nil {
			flavour = run.Flavour
		}
	}
	isForeign := false
	switch flavour {
	case "", inventory.FlavourStock, inventory.FlavourRT, inventory.Flavour64k, inventory.FlavourDebug:
	default:
		isForeign = run != nil || flavour != inventory.FlavourOther
	}
	if isForeign || len(foreign) > 0 {
		f := Finding{
			ID: idBootKernelForeign, Severity: Info, Resources: foreign,
			Title:  "kernels are installed that are not the distribution's standard one",
			Detail: "AlmaLinux's kernel comes beside them. Which one starts is decided by the default boot entry.",
			Remedy: Remedy{Text: "after the move, see what is the default", Command: "grubby --default-kernel"},
		}
		if isForeign {
			f.Severity = Warning
			f.Title = fmt.Sprintf("the host runs a kernel that AlmaLinux does not have (%s): %s", flavour, rel)
			f.Detail = "After the move it starts AlmaLinux's own, which is older or built differently: what needs the running one (drivers, file systems, features) must be checked."
			f.Remedy = Remedy{Text: "start the distribution's standard kernel once before the move, and see that all works", Command: "dnf install kernel; grubby --info=ALL"}
			if len(f.Resources) == 0 {
				f.Resources = []Resource{{"host", a.inv.Host.Name, rel}}
			}
		}
		a.raise(f)
	}
	if rel != "" && run == nil && env.RunningOwner == "" && len(env.Kernels) > 0 && !isForeign {
		a.raise(Finding{
			ID: idBootKernelOutside, Severity: Warning, Resources: []Resource{{"host", a.inv.Host.Name, rel}},
			Title:  "no installed package owns the running kernel " + rel,
			Detail: "It was built by hand, comes from outside, or its package was removed while it runs. The check compares AlmaLinux with the installed kernels, and those have not proven that they start this host.",
			Remedy: Remedy{Text: "reboot into an installed kernel before the move", Command: "rpm -q kernel-core; uname -r"},
		})
	}
	if n := len(env.LivePatches); n > 0 {
		var res []Resource
		for _, m := range env.LivePatches {
			res = append(res, Resource{"module", m, ""})
		}
		a.raise(Finding{
			ID: idBootLivePatch, Severity: Info, Resources: res,
			Title:  fmt.Sprintf("%s of the kernel %s loaded", plural(n, "live patch"), verb(n, "is", "are")),
			Detail: "It belongs to the running kernel and ends with it. AlmaLinux's kernel brings its fixes itself.",
			Remedy: Remedy{Text: "plan the reboot soon after the move"},
		})
	}
}

func (a *assessor) findUEFI() {
	env := a.inv.Environment
	f := env.Firmware
	if f == nil || !f.UEFI {
		return
	}
	var mounted, bare []boot.ESP
	for _, e := range env.ESPs {
		if e.Mount != "" {
			mounted = append(mounted, e)
		} else {
			bare = append(bare, e)
		}
	}
	auto := a.mount("/boot/efi")
	loader := slices.ContainsFunc(a.inv.Packages, func(p inventory.Package) bool { return isLoader(p.Name) })
	switch {
	case len(mounted) == 0 && auto != nil && auto.FSType == "autofs":
		// systemd mounts it on first use.
	case len(mounted) == 0 && loader:
		var res []Resource
		for _, e := range bare {
			res = append(res, Resource{"device", "/dev/" + e.Device.Name, "EFI system partition, not mounted"})
		}
		if res == nil {
			res = []Resource{{"mount", "/boot/efi", "not mounted"}}
		}
		a.raise(Finding{
			ID: idBootESPMissing, Severity: Blocker, Resources: res,
			Title:  "the EFI system partition is not mounted",
			Detail: "shim and grub would be written into the folder below, not onto the partition: the firmware goes on starting the old ones, whose configuration is gone.",
			Remedy: Remedy{Text: "mount it, and see that fstab does", Command: "mount /boot/efi; findmnt /boot/efi"},
		})
	}
	if len(mounted)+len(bare) > 1 {
		var res []Resource
		for _, e := range env.ESPs {
			res = append(res, Resource{"device", "/dev/" + e.Device.Name, e.Mount})
		}
		a.raise(Finding{
			ID: idBootESPSeveral, Severity: Info, Resources: res,
			Title:  fmt.Sprintf("there are %d EFI system partitions", len(env.ESPs)),
			Detail: "The packages write to the one at /boot/efi only. A copy on another disk stays as it is.",
			Remedy: Remedy{Text: "after the move, bring your copies up to date", Command: "lsblk -o NAME,PARTTYPENAME,MOUNTPOINTS"},
		})
	}
	for _, e := range mounted {
		var kinds []string
		e.Device.Walk(func(d boot.Device) {
			if d.Kind == "md" || d.Kind == "multipath" || d.Kind == "lvm" || d.Kind == "crypt" {
				kinds = append(kinds, d.Kind)
			}
		})
		if len(kinds) > 0 {
			a.raise(Finding{
				ID: idBootESPStacked, Severity: Warning, Resources: append([]Resource{{"device", "/dev/" + e.Device.Name, strings.Join(kinds, " on ")}}, a.memberEntries(e.Device)...),
				Title:  fmt.Sprintf("the EFI system partition at %s is on %s", e.Mount, strings.Join(kinds, " on ")),
				Detail: "The firmware knows partitions, not arrays or maps. Each member partition needs a boot entry of its own for AlmaLinux's shim.",
				Remedy: Remedy{Text: "note the member partitions and their boot entries before the move", Command: "lsblk -s /dev/" + e.Device.Name + "; efibootmgr -v"},
			})
		}
	}
	if len(env.ESPProblems) > 0 {
		a.raise(Finding{
			ID: idBootESPUnknown, Severity: Warning, Resources: []Resource{{"mount", "/boot/efi", strings.Join(env.ESPProblems, "; ")}},
			Title:  "the partition behind /boot/efi cannot be told",
			Detail: strings.Join(env.ESPProblems, "; ") + ". A boot entry for AlmaLinux's shim needs disk and partition.",
			Remedy: Remedy{Text: "find them, and make the entry by hand after the move", Command: "findmnt /boot/efi; lsblk"},
		})
	}
	a.findFirmwareEntries(mounted)
	var loose, third []Resource
	for _, lf := range env.LoaderFiles {
		base := strings.ToLower(lf.Path[strings.LastIndexByte(lf.Path, '/')+1:])
		if !strings.HasPrefix(base, "shim") && !strings.HasPrefix(base, "grub") {
			continue
		}
		if lf.Package == "" {
			// \EFI\BOOT\grubx64.efi and copies on a second ESP are made by hand often.
			if strings.HasPrefix(lf.Path, "/boot/efi/") {
				loose = append(loose, Resource{"file", lf.Path, "of no package"})
			}
			continue
		}
		if j := a.judgedAs(lf.Package); j != nil && a.kind(j.res.Origin) == originForeign && !j.moves() {
			third = append(third, Resource{"file", lf.Path, lf.Package})
		}
	}
	if len(loose)+len(third) > 0 {
		a.raise(Finding{
			ID: idBootLoaderUnowned, Severity: Warning, Resources: append(loose, third...),
			Title:  "boot programs on the ESP are not the distribution's packages'",
			Detail: "The move replaces shim and grub by package. What was put there by hand or by another vendor stays, and the firmware may go on starting it.",
			Remedy: Remedy{Text: "find out who put them there, and which of them the firmware starts", Command: "efibootmgr -v; rpm -qf /boot/efi/EFI/*/*.efi"},
		})
	}
}

// memberEntries tells for each partition that a stacked ESP is made of which
// boot entry of the firmware names it.
func (a *assessor) memberEntries(esp boot.Device) []Resource {
	m := a.inv.Environment.BootManager
	if m == nil {
		return nil
	}
	var out []Resource
	esp.Walk(func(d boot.Device) {
		if d.Kind != "partition" || d.PartUUID == "" {
			return
		}
		var names []string
		for _, e := range m.Entries {
			if e.PartUUID == d.PartUUID {
				names = append(names, fmt.Sprintf("%04X %s", e.Number, e.Description))
			}
		}
		text := "no boot entry of the firmware names it"
		if len(names) > 0 {
			text = "boot entry " + strings.Join(names, ", ")
		}
		out = append(out, Resource{"device", "/dev/" + d.Name, text})
	})
	return out
}

func (a *assessor) judgedAs(nevra string) *judged {
	for i := range a.judged {
		if a.judged[i].res.NEVRA == nevra {
			return &a.judged[i]
		}
	}
	return nil
}

// findFirmwareEntries looks at what the firmware would start.
func (a *assessor) findFirmwareEntries(mounted []boot.ESP) {
	env := a.inv.Environment
	m := env.BootManager
	if m == nil {
		return
	}
	if vars := a.mount("/sys/firmware/efi/efivars"); vars != nil && vars.ReadOnly {
		a.raise(Finding{
			ID: idBootVarsReadOnly, Severity: Warning, Resources: []Resource{{"mount", vars.Point, "read-only"}},
			Title:  "the firmware's variables are read-only",
			Detail: "No boot entry can be made or changed: AlmaLinux's shim would be there, and the firmware would not start it.",
			Remedy: Remedy{Text: "make them writable for the move", Command: "mount -o remount,rw " + vars.Point},
		})
	}
	if len(mounted) == 0 || len(m.Entries) == 0 {
		return
	}
	uuids := map[string]bool{}
	for _, e := range mounted {
		e.Device.Walk(func(d boot.Device) {
			if d.PartUUID != "" {
				uuids[d.PartUUID] = true
			}
		})
	}
	if len(uuids) == 0 {
		return
	}
	for _, e := range m.Entries {
		if e.PartUUID != "" && uuids[e.PartUUID] {
			return
		}
	}
	a.raise(Finding{
		ID: idBootNoFirmwareEntry, Severity: Info, Resources: []Resource{{"mount", mounted[0].Mount, ""}},
		Title:  "no boot entry of the firmware names the EFI system partition",
		Detail: `The firmware starts what is in \EFI\BOOT by its own rule. AlmaLinux's shim puts itself there too, so that goes on to work; an entry of its own is safer.`,
		Remedy: Remedy{Text: "see what the firmware would start", Command: "efibootmgr -v"},
	})
}
