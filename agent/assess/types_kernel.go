package assess

// The ids of the findings on kernel modules, hardware and Secure Boot.
const (
	idKmodNoKernel   = "kmod.no-target-kernel"
	idKmodMissing    = "kmod.missing"
	idKmodMerged     = "kmod.merged"
	idKmodMoved      = "kmod.moved"
	idKmodBreaks     = "kmod.breaks"
	idKmodSupplied   = "kmod.supplied"
	idKmodCompatible = "kmod.compatible"
	idKmodNotLinked  = "kmod.not-linked"
	idKmodUnknown    = "kmod.unknown"
	idKmodRebuilt    = "kmod.rebuilt"
	idKmodForced     = "kmod.forced"
	idKmodOtherFile  = "kmod.other-file"
	idKmodDeep       = "kmod.deep-failed"
	idKmodRetpoline  = "kmod.no-retpoline"
	idKmodTainted    = "kmod.kernel-tainted"

	idHwDriver   = "hw.driver-dropped"
	idHwID       = "hw.id-dropped"
	idHwRestored = "hw.restored"

	idSecureBootModule  = "secureboot.untrusted-module"
	idSecureBootUnknown = "secureboot.unknown"
)

func init() { findingTypes = append(findingTypes, kernelFindingTypes...) }

var kernelFindingTypes = []FindingType{
	{
		ID: idKmodNoKernel, Title: "There is no AlmaLinux kernel to judge by", Severities: []Severity{Warning},
		Meaning: "The enabled repositories have no kernel-core for the host's architecture, so that no module can be judged.",
		Why:     "A host that keeps its old kernel gets no more kernel updates, and whether its drivers exist in AlmaLinux's is open.",
		Action:  "Name a whole mirror with --mirror. A private repository needs the kernel packages too.",
	},
	{
		ID: idKmodMissing, Title: "AlmaLinux's kernel lacks modules that the host uses", Severities: []Severity{Warning, Blocker},
		Meaning: "A module that is loaded, or that fstab, crypttab, modules-load.d or a device in use asks for, is neither built into AlmaLinux's newest kernel nor a file of its packages, nor in another package of the repositories. Modules are looked up by name, by the names they were merged into, and by alias, never by path. It is a blocker where the root disk, /boot or a network card needs the module.",
		Why:     "What depends on the module does not work after the reboot: a file system is not mounted, a device has no driver.",
		Action:  "Find out what needs it (modinfo NAME, lsmod). Kernels of other makers (UEK, kernel-ml) have more drivers: look for kmod-NAME in ELRepo or the CentOS Kmods SIG. Of a module that nothing needs, unload it and check again.",
	},
	{
		ID: idKmodMerged, Title: "Helper modules are gone, and nothing misses them", Severities: []Severity{Info},
		Meaning: "A module that only other modules use is not in AlmaLinux's kernel, and all that use it are: their code changed.",
		Why:     "It explains names that are in lsmod here and are not after the reboot.",
		Action:  "Nothing.",
	},
	{
		ID: idKmodMoved, Title: "A module is in a kernel package that does not come by itself", Severities: []Severity{Warning, Blocker},
		Meaning: "AlmaLinux's kernel has the module, in a package such as kernel-modules-extra that the host does not have and that no package that comes requires.",
		Why:     "After the reboot the module is not on the disk. It is a blocker where the root disk, /boot or a network card needs it.",
		Action:  "Install the package named together with the kernel, before the reboot. Its version has to be that of the kernel.",
	},
	{
		ID: idKmodBreaks, Title: "AlmaLinux's kernel would refuse an out-of-tree module", Severities: []Severity{Warning, Blocker},
		Meaning: "The module was built outside of the kernel's tree, and a symbol that it imports is not exported by AlmaLinux's kernel, or has another checksum (CRC), or its build options (vermagic) differ. The reason names the symbols.",
		Why:     "The kernel compares these checksums and refuses the module. It is a blocker where the root disk, /boot or a network card hangs on it and the kernel has no driver of that name itself.",
		Action:  "Get a build for AlmaLinux's kernel from whoever supplies the module. Builds for RHEL of the same minor release fit, as long as they use protected (kABI) symbols only. Where the kernel has its own driver, see whether that will do.",
	},
	{
		ID: idKmodSupplied, Title: "A package of its own has the module", Severities: []Severity{Warning, Blocker},
		Meaning: "AlmaLinux's kernel does not have the module, or would refuse the build that is there; a kmod package has it, and as far as its requirements tell it fits the kernel. It is in a repository of AlmaLinux's, which may be off (Synergy, too), or in ELRepo or the CentOS Kmods SIG. Those two are asked when the host has them enabled, and otherwise only for a module that AlmaLinux does not have; offline and with a mirror of one's own, only from the cache.",
		Why:     "It does not come by itself: after the reboot the module would not be there.",
		Action:  "Install the package named together with the kernel, before the reboot; the command says how the repository is enabled. ELRepo and the SIG are not AlmaLinux's: under Secure Boot their certificates have to be enrolled.",
	},
	{
		ID: idKmodCompatible, Title: "Out-of-tree modules fit AlmaLinux's kernel", Severities: []Severity{Info},
		Meaning: "Every symbol that the module imports is exported by AlmaLinux's kernel, or by another module of the host, with the same checksum.",
		Why:     "That is what the kernel looks at when it loads the module.",
		Action:  "Nothing. After a later kernel update the check can be repeated.",
	},
	{
		ID: idKmodNotLinked, Title: "A module that fits is not carried over", Severities: []Severity{Warning},
		Meaning: "The module's file lies in the folder of the running kernel, and is neither of a kmod package, whose scripts link it to other kernels (weak-modules), nor built by DKMS or akmods.",
		Why:     "The new kernel looks in its own folder only: the module would not be found.",
		Action:  "Link it with weak-modules after the move, or install it as a package.",
	},
	{
		ID: idKmodUnknown, Title: "Nothing tells whether a module works", Severities: []Severity{Warning},
		Meaning: "There is no evidence for or against the module: its file is gone or cannot be read, or the metadata says nothing of what the kernel has or exports. A module without evidence is never called fine.",
		Why:     "It may be the driver of a disk or of a network card.",
		Action:  "almamigrate check --deep fetches and verifies AlmaLinux's kernel packages and reads the answer out of them.",
	},
	{
		ID: idKmodRebuilt, Title: "DKMS or akmods builds modules for each kernel", Severities: []Severity{Info, Warning, Blocker},
		Meaning: "Modules are built from sources when a kernel is installed. It is a warning where something that the build needs is not there: kernel-devel of the very version, a compiler, the sources; or where the source says that it is not for such kernels (BUILD_EXCLUSIVE_KERNEL). It is a blocker where the root disk, /boot or a network card hangs on such a module and the build that is there does not fit.",
		Why:     "If the build fails, the module is not there after the reboot, and only a log says so.",
		Action:  "Install kernel-devel of the same version as the kernel, gcc and make; before the reboot look at dkms status, or at /var/cache/akmods.",
	},
	{
		ID: idKmodForced, Title: "A module was loaded by force", Severities: []Severity{Warning},
		Meaning: "The kernel shows the taint flag F: somebody loaded the module with its version check overridden (modprobe --force, insmod -f).",
		Why:     "It was not built for the running kernel. With another kernel the same command may crash the host.",
		Action:  "Find the script that does it, and replace the module with a proper build.",
	},
	{
		ID: idKmodOtherFile, Title: "A module was loaded from another file", Severities: []Severity{Warning},
		Meaning: "The checksum of its sources (srcversion) that the kernel shows in /sys/module differs from that in the module's file. It is compared for out-of-tree modules, with --deep for all.",
		Why:     "What runs is not what would be loaded at the next boot: the module was updated without a restart, or an older copy is in the initramfs. That the module works now says nothing of the file.",
		Action:  "Restart the host before the move; where the initramfs has the old one, make it anew with dracut --force.",
	},
	{
		ID: idKmodTainted, Title: "The running kernel is tainted", Severities: []Severity{Info, Warning},
		Meaning: "The kernel notes in /proc/sys/kernel/tainted what happened since it started. It is a warning where it had trouble: an oops, a bad page, a lockup, a machine check. Otherwise it is something that no loaded module explains, such as an out-of-tree module that was unloaded since. What the loaded modules bring with them is told with them.",
		Why:     "A kernel or a machine in trouble may fail in the middle of the move. A module that came and went is one that this check could not judge.",
		Action:  "Look into the kernel's log, and restart the host before the move; after a machine check look at the hardware.",
	},
	{
		ID: idKmodRetpoline, Title: "A module lacks the protection against Spectre v2", Severities: []Severity{Info},
		Meaning: "An out-of-tree module was built by a compiler without retpolines, and would go on to be used: modinfo shows no \"retpoline: Y\" for it. Only x86 modules have the mark.",
		Why:     "AlmaLinux's kernel loads it, says so in its log, and calls itself vulnerable to Spectre v2 in /sys/devices/system/cpu/vulnerabilities where it rests on retpolines.",
		Action:  "Ask its supplier for a newer build.",
	},
	{
		ID: idKmodDeep, Title: "The kernel packages could not be read", Severities: []Severity{Warning, Blocker},
		Meaning: "check --deep could not fetch AlmaLinux's kernel packages, or they are not signed by a trusted key, which is a blocker.",
		Why:     "The verdicts then rest on the metadata only. A package with a wrong signature is damaged or forged.",
		Action:  "Check network and mirror. Report a mirror that serves wrong packages.",
	},
	{
		ID: idHwDriver, Title: "AlmaLinux's kernel has no driver for a device", Severities: []Severity{Warning, Blocker},
		Meaning: "A device works with a driver here that AlmaLinux's kernel does not have. It is a blocker for the disk of / or /boot and for network cards.",
		Why:     "After the reboot the device is not there.",
		Action:  "Look for a kmod package of the driver (ELRepo, CentOS Kmods SIG) and install it together with the kernel, or replace the hardware.",
	},
	{
		ID: idHwID, Title: "The driver does not claim the device any more", Severities: []Severity{Warning, Blocker},
		Meaning: "AlmaLinux's kernel has the driver, but none of its modules has an alias that matches the device, while the driver here has one. Red Hat drops ids of old hardware; AlmaLinux brings many of them back.",
		Why:     "The device stays without a driver.",
		Action:  "Look for a kmod package of the driver with the old ids (ELRepo, CentOS Kmods SIG), or replace the hardware.",
	},
	{
		ID: idHwRestored, Title: "AlmaLinux supports a device that RHEL dropped", Severities: []Severity{Info},
		Meaning: "The device's id is on the list of those that AlmaLinux has in its kernel although RHEL's kernel of the same release does not claim it.",
		Why:     "It works after the move, also where documentation about RHEL says that it would not.",
		Action:  "Nothing.",
	},
	{
		ID: idSecureBootModule, Title: "AlmaLinux's kernel would not trust a module's signature", Severities: []Severity{Warning, Blocker},
		Meaning: "The kernel demands signatures (Secure Boot, lockdown, module.sig_enforce), and an out-of-tree module is not signed, or its signer's certificate is neither in the firmware's db nor among the machine owner's keys (MokListRT), or it is revoked (dbx, MokListXRT). What the running kernel shows of its own keys in /proc/keys tells the reason: a key that is there and on neither list is built into this kernel, and not into AlmaLinux's. Modules of AlmaLinux's kernel itself are signed by AlmaLinux.",
		Why:     "The kernel refuses the module. Keys that are built into RHEL's or CentOS's kernel are not in AlmaLinux's.",
		Action:  "Enrol the signer's certificate with mokutil --import and confirm it at the console during the next boot, or get a build that is signed with an enrolled key.",
	},
	{
		ID: idSecureBootUnknown, Title: "Whether a module will be trusted is not known", Severities: []Severity{Warning},
		Meaning: "The state of Secure Boot, the firmware's certificates or a module's signature could not be read, and out-of-tree modules are in use; or a certificate is enrolled and the running kernel shows no key of its id in /proc/keys, so that it has not taken it over.",
		Why:     "With Secure Boot on, modules without a trusted signature are refused.",
		Action:  "Run the check as root; mokutil --sb-state and mokutil --list-enrolled tell what the firmware has.",
	},
}
