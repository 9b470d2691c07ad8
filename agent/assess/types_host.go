package assess

// The ids of findings about the host around the packages.
const (
	idHostNotExamined  = "host.not-examined"
	idHostContainer    = "host.container"
	idHostReboot       = "host.reboot-pending"
	idHostSELinux      = "host.selinux-off"
	idHostFIPS         = "host.fips"
	idHostPackageTool  = "host.package-manager-running"
	idHostClock        = "host.clock"
	idHostCPU          = "host.cpu-level"
	idHostAlternatives = "host.alternatives"

	idBootNoLoader        = "boot.no-loader"
	idBootLoaderForeign   = "boot.other-loader"
	idBootGrubenv         = "boot.grubenv"
	idBootNoEntries       = "boot.no-entries"
	idBootEntryBroken     = "boot.entry-broken"
	idBootDefaultGone     = "boot.default-missing"
	idBootOtherMachine    = "boot.other-machine-id"
	idBootGrubConfig      = "boot.grub-config"
	idBootDefaultOther    = "boot.default-other"
	idBootKernelChoice    = "boot.default-kernel-type"
	idBootKernelForeign   = "boot.kernel-flavour"
	idBootKernelOutside   = "boot.kernel-unowned"
	idBootLivePatch       = "boot.live-patch"
	idBootESPMissing      = "boot.esp-not-mounted"
	idBootESPSeveral      = "boot.esp-several"
	idBootESPStacked      = "boot.esp-on-raid"
	idBootESPUnknown      = "boot.esp-unknown"
	idBootESPFull         = "boot.esp-full"
	idBootVarsReadOnly    = "boot.efivars-read-only"
	idBootNoFirmwareEntry = "boot.no-firmware-entry"
	idBootLoaderUnowned   = "boot.loader-unowned"
	idBootSealed          = "boot.sealed-key"
	idBootEntriesUnread   = "boot.entries-unread"
	idBootEntryMissing    = "boot.entry-missing"
	idBootFull            = "boot.full"

	idSpaceShort  = "space.short"
	idSpaceTight  = "space.tight"
	idSpaceInodes = "space.inodes"

	idFSReadOnly  = "fs.read-only"
	idFSImmutable = "fs.immutable"
	idFSBtrfs     = "fs.btrfs"
	idFSOverlay   = "fs.overlay-root"

	idPanelPresent = "panel.present"
	idPanelVersion = "panel.too-old"

	idMgmtRHSM      = "mgmt.subscription"
	idMgmtSatellite = "mgmt.satellite"
	idMgmtUyuni     = "mgmt.uyuni"
	idMgmtRHN       = "mgmt.spacewalk"
	idMgmtRHUI      = "mgmt.rhui"
	idMgmtAgent     = "mgmt.agent"
)

var hostFindingTypes = []FindingType{
	{
		ID: idHostNotExamined, Title: "Part of the host was out of reach", Severities: []Severity{Info},
		Meaning: "The check was made on an image, on a copy of a host's files (with its /proc and /sys: a sosreport with an rpm database, for example), or on an inventory of an older version. What only a running system shows was not looked at; findings about it are not raised, which does not mean that all is well.",
		Why:     "Free space, mounts, boot entries, locks or a pending reboot can still stand in the way.",
		Action:  "Run the check on the running host, or take the inventory again with this version.",
	},
	{
		ID: idHostContainer, Title: "The host is a container", Severities: []Severity{Info},
		Meaning: "Marks of a container engine were found, in the places where systemd-detect-virt looks.",
		Why:     "A container shares the kernel of its machine and is not started by a boot loader: findings about these are left out.",
		Action:  "Where you can, build the container anew from an AlmaLinux image instead of changing it.",
	},
	{
		ID: idHostReboot, Title: "A reboot is pending", Severities: []Severity{Warning},
		Meaning: "A newer kernel than the running one is installed, or glibc, systemd, D-Bus, firmware or microcode were updated after the system started, or a file asks for a reboot.",
		Why:     "The move ends with a reboot. If the host does not come back, it should be clear that nothing older was the cause.",
		Action:  "Reboot before the move and check again.",
	},
	{
		ID: idHostSELinux, Title: "SELinux is off, but configured to be on", Severities: []Severity{Warning},
		Meaning: "SELinux is disabled now (by the kernel command line, or the configuration was changed since the boot), while /etc/selinux/config would switch it on at the next boot.",
		Why:     "Files that are made while it is off carry no labels. After the reboot services and logins can fail.",
		Action:  "Decide which it shall be: label everything at the next boot (fixfiles -F onboot), or set SELINUX=disabled.",
	},
	{
		ID: idHostFIPS, Title: "FIPS mode is on", Severities: []Severity{Warning},
		Meaning: "The kernel runs in FIPS mode.",
		Why:     "Certificates of validation belong to one vendor's builds. The mode works on AlmaLinux, but whether AlmaLinux's certificates suffice is a question to whoever demands them.",
		Action:  "Ask before the move; check the mode after it.",
	},
	{
		ID: idHostPackageTool, Title: "A package manager is at work", Severities: []Severity{Warning},
		Meaning: "rpm's lock is held, or dnf, yum or rpm run. The check looked without taking a lock.",
		Why:     "The list of packages may change while it is read, and a move cannot begin beside it.",
		Action:  "Let it finish, then check again. Automatic updates can be stopped for the time: systemctl stop dnf-automatic.timer.",
	},
	{
		ID: idHostClock, Title: "The clock is wrong", Severities: []Severity{Warning},
		Meaning: "Packages were built or installed, or the system started, more than a day after what the clock says now; or the mirrors say another time by a quarter of an hour or more.",
		Why:     "TLS certificates and signatures are refused as not yet valid or as expired, and nothing can be downloaded.",
		Action:  "Set the clock and see that it is kept (chrony).",
	},
	{
		ID: idHostCPU, Title: "The processor is too old for AlmaLinux's build", Severities: []Severity{Blocker},
		Meaning: "AlmaLinux 10 for x86_64 is built for x86-64-v3; flags of that level are missing in /proc/cpuinfo.",
		Why:     "Programs would end with an illegal instruction, the first of them at the next boot.",
		Action:  "In a virtual machine choose a newer processor model. On old hardware use AlmaLinux 10's build for x86-64-v2.",
	},
	{
		ID: idHostAlternatives, Title: "Alternatives may be lost", Severities: []Severity{Warning, Info},
		Meaning: "Links of the alternatives system were chosen by hand and point into packages that are replaced; or they point to nothing already.",
		Why:     "Replacing Java's packages is known to drop their alternatives, so that the command java is gone.",
		Action:  "Note them before the move (alternatives --list) and set them again after it.",
	},
	{
		ID: idBootNoLoader, Title: "No boot loader was found", Severities: []Severity{Info},
		Meaning: "A kernel is installed, but neither GRUB 2 nor another known boot loader is configured.",
		Why:     "Such a host gets its kernel from the network or the hypervisor. The new kernel is installed and not started.",
		Action:  "See where the kernel comes from, and change it there.",
	},
	{
		ID: idBootLoaderForeign, Title: "The boot loader is not GRUB 2", Severities: []Severity{Warning},
		Meaning: "The host starts with GRUB Legacy, systemd-boot or extlinux (or zipl on something else than s390x).",
		Why:     "AlmaLinux's packages configure GRUB 2 only; whether another loader finds the new kernel depends on your set-up.",
		Action:  "Bring its configuration up to date before the reboot, or change to GRUB 2 first.",
	},
	{
		ID: idBootGrubenv, Title: "GRUB's environment block is damaged", Severities: []Severity{Warning},
		Meaning: "grubenv is not 1,024 bytes with its first line, or it is a link whose target is gone, as it happens when a vendor's folder on the ESP is removed.",
		Why:     "GRUB cannot load the default entry nor, on EL 8, the kernel's options.",
		Action:  "Make it anew with grub2-editenv, then set the default with grubby.",
	},
	{
		ID: idBootNoEntries, Title: "There is no boot entry", Severities: []Severity{Warning},
		Meaning: "GRUB's configuration takes its menu from /boot/loader/entries, and the folder has no entry.",
		Why:     "The host would not start as it is.",
		Action:  "Let the kernel make its entry: kernel-install add.",
	},
	{
		ID: idBootEntryBroken, Title: "Boot entries point to missing files", Severities: []Severity{Warning},
		Meaning: "The kernel or initramfs that a boot entry names does not exist.",
		Why:     "Chosen as default or as a fallback, it ends at the boot loader's prompt.",
		Action:  "Make missing initramfs files again (dracut), remove entries of kernels that are gone.",
	},
	{
		ID: idBootDefaultGone, Title: "The default boot entry does not exist", Severities: []Severity{Warning},
		Meaning: "grubenv's saved_entry names an entry that is not in /boot/loader/entries.",
		Why:     "Which kernel starts is then left to the order of the entries.",
		Action:  "Set a default with grubby, and see that it is the one that runs.",
	},
	{
		ID: idBootGrubConfig, Title: "GRUB's configuration is not whole", Severities: []Severity{Warning},
		Meaning: "grub.cfg ends in the middle of a section, as on a full disk, or has no entry that could be started.",
		Why:     "The host may stop at GRUB's prompt at the next boot, with any kernel.",
		Action:  "Make it anew: grub2-mkconfig -o FILE, with the same file that the finding names.",
	},
	{
		ID: idBootDefaultOther, Title: "Another kernel than the running one is the default", Severities: []Severity{Warning},
		Meaning: "The default boot entry names neither the running kernel nor the newest one of its kind.",
		Why:     "The next boot starts a kernel that is not the one that works now; whether that was meant, only you know.",
		Action:  "Set the default that you want before the move: grubby --set-default.",
	},
	{
		ID: idBootKernelChoice, Title: "New kernels do not become the default", Severities: []Severity{Warning},
		Meaning: "/etc/sysconfig/kernel says UPDATEDEFAULT=no, or DEFAULTKERNEL names another kernel package than the standard one.",
		Why:     "AlmaLinux's kernel is installed, and the host goes on to start the old one, without updates.",
		Action:  "Set UPDATEDEFAULT=yes and DEFAULTKERNEL=kernel-core (EL 7: kernel) before the move, or set the default by hand after it.",
	},
	{
		ID: idBootOtherMachine, Title: "Boot entries of another machine id", Severities: []Severity{Warning},
		Meaning: "Entries in /boot/loader/entries begin with another machine id than /etc/machine-id has.",
		Why:     "On a cloned host new kernels get entries under the new id, while old ones stay and may remain the default: an old kernel goes on to start.",
		Action:  "Make entries for the installed kernels under the host's own id and remove the others.",
	},
	{
		ID: idBootKernelForeign, Title: "Other kernels than the standard one", Severities: []Severity{Warning, Info},
		Meaning: "A kernel that AlmaLinux does not have runs (a warning) or is installed beside others: Oracle's UEK, CentOS Plus, ELRepo's, a provider's. Likewise for a real-time or 64k kernel, which AlmaLinux has, where no repository that would be on has it.",
		Why:     "After the move the host starts AlmaLinux's own kernel, which may lack a driver or file system that the other one has.",
		Action:  "Start the distribution's standard kernel once before the move and see that disks and network are there.",
	},
	{
		ID: idBootKernelOutside, Title: "The running kernel belongs to no package", Severities: []Severity{Warning},
		Meaning: "No installed package owns the kernel that runs: it was built by hand, comes from outside, or its package was removed.",
		Why:     "The installed kernels, and AlmaLinux's, have not shown that they start this host.",
		Action:  "Reboot into an installed kernel before the move.",
	},
	{
		ID: idBootLivePatch, Title: "The kernel is live-patched", Severities: []Severity{Info},
		Meaning: "Live patches (kpatch, kernelcare) are loaded.",
		Why:     "They are made for the running kernel and end with it.",
		Action:  "Nothing before the move; set live patching up again for AlmaLinux's kernel if you need it.",
	},
	{
		ID: idBootESPMissing, Title: "The EFI system partition is not mounted", Severities: []Severity{Blocker},
		Meaning: "The host was started by UEFI and has shim or grub for it installed, but /boot/efi is not a mounted EFI system partition.",
		Why:     "The new boot programs would be written to the wrong place; at the next boot the firmware starts the old ones, without their configuration.",
		Action:  "Mount it and check again.",
	},
	{
		ID: idBootESPSeveral, Title: "Several EFI system partitions", Severities: []Severity{Info},
		Meaning: "More than one partition is of the type of EFI system partitions.",
		Why:     "Packages write to the one at /boot/efi only; copies for a second disk grow old.",
		Action:  "Bring copies up to date after the move.",
	},
	{
		ID: idBootESPStacked, Title: "The EFI system partition is on RAID, LVM or multipath", Severities: []Severity{Warning},
		Meaning: "The partition at /boot/efi is an md array, a multipath map or another device on top of disks.",
		Why:     "The firmware needs a boot entry for each member partition, and writes of the firmware itself break a mirror.",
		Action:  "Note the members and their entries before the move, and compare after it.",
	},
	{
		ID: idBootESPUnknown, Title: "The device of the ESP is not known", Severities: []Severity{Warning},
		Meaning: "sysfs does not say which disk and partition /boot/efi is.",
		Why:     "A boot entry names disk and partition; it must be made by hand.",
		Action:  "Find the partition (findmnt, lsblk) and make the entry with efibootmgr.",
	},
	{
		ID: idBootESPFull, Title: "The EFI system partition is too small", Severities: []Severity{Blocker, Warning},
		Meaning: "The new shim and grub stand beside the old ones for a while, and there is no room for both.",
		Why:     "Half-written boot programs do not start.",
		Action:  "Remove folders of systems that are no longer there from EFI/, or old firmware updates.",
	},
	{
		ID: idBootVarsReadOnly, Title: "Firmware variables are read-only", Severities: []Severity{Warning},
		Meaning: "efivarfs is mounted read-only.",
		Why:     "No boot entry can be made or changed.",
		Action:  "Remount it writable for the move.",
	},
	{
		ID: idBootNoFirmwareEntry, Title: "No firmware entry for the ESP", Severities: []Severity{Info},
		Meaning: "None of the firmware's boot entries names the mounted EFI system partition: the host starts by the fallback path.",
		Why:     "That works, but another disk with a fallback loader may come first.",
		Action:  "Nothing, or make an entry with efibootmgr.",
	},
	{
		ID: idBootLoaderUnowned, Title: "Boot programs of no package", Severities: []Severity{Warning},
		Meaning: "shim or grub files on the ESP belong to no installed package, or to another vendor's that stays.",
		Why:     "The move does not replace them; if the firmware starts them, they may refuse AlmaLinux's kernel under Secure Boot.",
		Action:  "Find out where they come from and whether they are still needed.",
	},
	{
		ID: idBootEntriesUnread, Title: "GRUB does not read the boot entries", Severities: []Severity{Warning},
		Meaning: "There are entries in /boot/loader/entries, where the kernels' packages of EL8 and later put theirs, but GRUB's configuration has no blscfg, goes on to no other file, and /etc/default/grub does not say that this is meant (GRUB_ENABLE_BLSCFG=false).",
		Why:     "A new kernel is installed, and GRUB does not show it: the host goes on to start the old one.",
		Action:  "Make the configuration anew with grub2-mkconfig, or say GRUB_ENABLE_BLSCFG=false in /etc/default/grub and keep its list up to date yourself.",
	},
	{
		ID: idBootEntryMissing, Title: "The running kernel has no boot entry", Severities: []Severity{Warning},
		Meaning: "GRUB reads /boot/loader/entries, and none of them is of the kernel that runs now.",
		Why:     "The running kernel is the one that is known to work here. Without an entry it cannot be chosen if AlmaLinux's does not start.",
		Action:  "Make its entry with kernel-install before the move.",
	},
	{
		ID: idBootSealed, Title: "Disk keys may be bound to the boot", Severities: []Severity{Warning, Blocker, Info},
		Meaning: "A LUKS volume has a token that unlocks it by the TPM (systemd-cryptenroll, clevis), by a Tang server, or both. The volume's header says which registers of the TPM the key is bound to. 4, 8 and 9 change with every new shim, GRUB or kernel; 7 changes with the vendor's key where Secure Boot is on; 1 with boot entries on many firmwares; 0 and 2 do not. It is for information where a way goes on to work, and a blocker where no keyslot is left for a person. Where the header could not be read (crypttab names the TPM, or clevis is installed) it is a warning.",
		Why:     "New boot programs change the measurements: the volume then asks for its passphrase, and a host without a console waits for ever.",
		Action:  "Have the passphrase and a console at hand; bind the key anew after the reboot with the command that the finding gives.",
	},
	{
		ID: idBootFull, Title: "/boot is too small for the new kernel", Severities: []Severity{Blocker, Warning},
		Meaning: "The kernel that comes needs as much as the largest one that is there: image, initramfs, map and configuration. Old kernels are removed only after the new one is in.",
		Why:     "An initramfs that was cut off does not start.",
		Action:  "Remove kernels that you no longer need.",
	},
	{
		ID: idSpaceShort, Title: "Not enough space", Severities: []Severity{Blocker, Warning},
		Meaning: "A file system has less room than the move needs: the download, saved packages for the way back, growth of packages, the log of the rpm database (128 KiB for each package and twice its header), kernels. If it suffices with what is kept for root, it is a warning.",
		Why:     "rpm does not notice in time that its database's log fills the disk; the transaction dies half way.",
		Action:  "Make room or grow the file system. The finding says what needs how much.",
	},
	{
		ID: idSpaceTight, Title: "Little space would be left", Severities: []Severity{Warning},
		Meaning: "The move fits, but the file system would be nearly full at its peak.",
		Why:     "The needs are estimates, and logs and data grow in the meantime.",
		Action:  "Make some room.",
	},
	{
		ID: idSpaceInodes, Title: "Not enough inodes", Severities: []Severity{Blocker},
		Meaning: "The file system has fewer free inodes than the move makes files.",
		Why:     "No file can be made without one, however much space there is.",
		Action:  "Find out what makes so many files, and remove them.",
	},
	{
		ID: idFSReadOnly, Title: "File systems are read-only", Severities: []Severity{Blocker, Warning},
		Meaning: "A file system is mounted read-only, and packages that change write there or own its mount point. In a container the kernel's own file systems may be so: a warning.",
		Why:     "rpm fails in the middle of a package. A file system that became read-only by itself has a damaged disk below.",
		Action:  "Find out why, then remount it writable for the move.",
	},
	{
		ID: idFSImmutable, Title: "Files are locked by chattr", Severities: []Severity{Blocker, Warning},
		Meaning: "Files or folders carry the attribute immutable or append-only. Looked at are the settings (/etc) and programs (/usr/bin, /usr/sbin) of all packages, all files of the release packages, the rpm database, /boot, repository files, and some that hardening guides lock. Files that only package scripts change are a warning.",
		Why:     "Not even root can replace them; rpm fails in the middle of a package.",
		Action:  "Unlock them for the move: chattr -ia FILE.",
	},
	{
		ID: idFSBtrfs, Title: "The system is on btrfs", Severities: []Severity{Blocker, Warning},
		Meaning: "A file system of the system is btrfs, and the kernels of AlmaLinux 8 and 9 do not have it. With an ELRepo kernel, which stays, it is a warning.",
		Why:     "The host would not find its root file system.",
		Action:  "Move the system to xfs or ext4, or stay with a kernel that has btrfs and see that it stays the default.",
	},
	{
		ID: idFSOverlay, Title: "The root is an overlay", Severities: []Severity{Info},
		Meaning: "The root file system is laid over another one, as in live systems and stateless hosts.",
		Why:     "Changes may not last over a reboot.",
		Action:  "If they do not, change the image instead.",
	},
	{
		ID: idPanelPresent, Title: "A control panel manages the host", Severities: []Severity{Warning},
		Meaning: "cPanel, Plesk, DirectAdmin or another panel of the catalogue is installed.",
		Why:     "Panels bring packages and repositories of their own for one distribution.",
		Action:  "Update the panel before the move, and do after it what the finding says.",
	},
	{
		ID: idPanelVersion, Title: "The control panel is too old", Severities: []Severity{Blocker},
		Meaning: "The panel's version is older than the first that can be moved to AlmaLinux, or cannot be read.",
		Why:     "It stops working on a distribution that it does not know.",
		Action:  "Update it first.",
	},
	{
		ID: idMgmtRHSM, Title: "Registered with Red Hat", Severities: []Severity{Info},
		Meaning: "The host has a consumer certificate of Red Hat's subscription management.",
		Why:     "The registration goes on to count until it is removed; the repositories that subscription-manager writes go with it.",
		Action:  "Unregister once the move has proven good.",
	},
	{
		ID: idMgmtSatellite, Title: "Content from Satellite, Katello or Foreman", Severities: []Severity{Warning},
		Meaning: "The host is registered with a server of your own that gives it its repositories.",
		Why:     "Without AlmaLinux's repositories in its content view the host gets no updates, and it may not reach any others.",
		Action:  "Add AlmaLinux's repositories there, and give their URLs to the check with --repo.",
	},
	{
		ID: idMgmtUyuni, Title: "Managed by Uyuni or SUSE Manager", Severities: []Severity{Warning},
		Meaning: "A Salt minion of Uyuni or SUSE Manager is set up.",
		Why:     "The server assigns the channels and brings the old ones back.",
		Action:  "Assign AlmaLinux's channels on the server.",
	},
	{
		ID: idMgmtRHN, Title: "Registered with Spacewalk or RHN Classic", Severities: []Severity{Warning},
		Meaning: "/etc/sysconfig/rhn/systemid exists.",
		Why:     "The channels hold the source distribution; the service itself is no longer maintained.",
		Action:  "Give the host AlmaLinux's channels there, or take it out.",
	},
	{
		ID: idMgmtRHUI, Title: "RHEL from a cloud provider", Severities: []Severity{Warning},
		Meaning: "A client package of the provider's Red Hat Update Infrastructure is installed.",
		Why:     "Billing goes by the image, not by what runs; the client's repositories would stay.",
		Action:  "Ask the provider how the billing code is removed, and remove the client after the move.",
	},
	{
		ID: idMgmtAgent, Title: "Programs that look at distribution or kernel", Severities: []Severity{Warning},
		Meaning: "Agents of other vendors are installed that are known to behave by os-release or by the running kernel. The catalogue says where that is known from.",
		Why:     "They go on to run but may do less: a sensor that does not know the kernel detects nothing.",
		Action:  "Ask each vendor for AlmaLinux and its kernel before the move.",
	},
}
