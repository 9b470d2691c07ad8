package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// Environment is what is around the packages: how the host boots, where there
// is space, what would resist a change, who else manages the host. It holds
// facts only. Of an image only what is written in files is known; the fields
// marked "live" are empty. Of a captured system (Host.Captured) they are those
// of its copied /proc and /sys, without the usage of file systems.
type Environment struct {
	Container    Container          `json:"container"`               // live
	Firmware     *boot.Firmware     `json:"firmware,omitempty"`      // live
	BootManager  *boot.Manager      `json:"boot_manager,omitempty"`  // live; nil without UEFI
	ESPs         []boot.ESP         `json:"esps,omitempty"`          // live
	ESPProblems  []string           `json:"esp_problems,omitempty"`  // live
	LoaderFiles  []LoaderFile       `json:"loader_files,omitempty"`  // programs on the mounted ESPs; live
	Loader       *boot.Loader       `json:"loader,omitempty"`        // nil if it could not be read
	OtherMachine []string           `json:"other_machine,omitempty"` // ids of boot entries made for another machine id
	Kernels      []InstalledKernel  `json:"kernels,omitempty"`       // installed kernels, oldest first
	RunningOwner string             `json:"running_owner,omitempty"` // NEVRA of the package that owns the running kernel's modules; live
	BootFiles    []boot.KernelFiles `json:"boot_files,omitempty"`    // kernels in /boot with their sizes
	KernelChoice KernelChoice       `json:"kernel_choice"`
	LivePatches  []string           `json:"live_patches,omitempty"` // loaded kernel live patches; live
	Mounts       []Mount            `json:"mounts,omitempty"`       // those that a move could meet; live
	Flagged      []FlaggedFile      `json:"flagged,omitempty"`      // files that chattr keeps from changing
	SELinux      SELinux            `json:"selinux"`
	FIPSPolicy   string             `json:"fips_policy,omitempty"` // /etc/crypto-policies/config, e.g. "DEFAULT"
	Management   []Management       `json:"management,omitempty"`
	Panels       []Panel            `json:"panels,omitempty"`
	Crypt        []CryptVolume      `json:"crypt,omitempty"` // /etc/crypttab, and active mappings
	Alternatives []Alternative      `json:"alternatives,omitempty"`
	PackageTools []PackageTool      `json:"package_tools,omitempty"` // rpm, dnf, yum at work; live
	Started      int64              `json:"started,omitempty"`       // when process 1 started, seconds since 1970; live
	RebootFlags  []string           `json:"reboot_flags,omitempty"`  // files that ask for a reboot; live
	CPU          CPU                `json:"cpu"`                     // live
	DatabaseSize int64              `json:"database_size,omitempty"` // bytes of the rpm database's main file
}

// Container says whether the host is one. Kind is empty for a machine.
type Container struct {
	Kind     string `json:"kind,omitempty"`     // docker, podman, lxc, openvz, systemd-nspawn, ...
	Evidence string `json:"evidence,omitempty"` // the file that says so
}

// LoaderFile is an EFI program on a mounted ESP.
type LoaderFile struct {
	Path    string `json:"path"`
	Package string `json:"package,omitempty"` // NEVRA of its owner, empty: no package
}

// InstalledKernel is an installed kernel.
type InstalledKernel struct {
	Release   string `json:"release"` // what uname -r says when it runs
	Package   string `json:"package"` // NEVRA
	Name      string `json:"name"`    // the package's name
	Flavour   string `json:"flavour"` // see the constants
	Installed int64  `json:"install_time"`
}

// KernelChoice is /etc/sysconfig/kernel: which new kernels become the default.
type KernelChoice struct {
	Update  string `json:"update,omitempty"`  // UPDATEDEFAULT: yes, no
	Package string `json:"package,omitempty"` // DEFAULTKERNEL: a package's name
}

// The flavours of kernels.
const (
	FlavourStock  = "stock"
	FlavourUEK    = "uek"       // Oracle's Unbreakable Enterprise Kernel
	FlavourPlus   = "plus"      // CentOS Plus
	FlavourML     = "elrepo-ml" // ELRepo mainline
	FlavourLT     = "elrepo-lt" // ELRepo long-term
	FlavourRT     = "rt"
	Flavour64k    = "64k" // aarch64 with pages of 64 KiB
	FlavourDebug  = "debug"
	FlavourLinode = "linode"
	FlavourCloud  = "cloud" // kernels that providers build: azure, aws, gcp
	FlavourOther  = "other"
)

// KernelFlavour tells a kernel's flavour from the package's name and from the
// release that it calls itself; the name may be empty.
func KernelFlavour(name, release string) string {
	rel := strings.ToLower(release)
	switch {
	case strings.HasPrefix(name, "kernel-uek") || strings.Contains(rel, "uek"):
		return FlavourUEK
	case strings.HasPrefix(name, "kernel-plus") || strings.Contains(rel, "plus"):
		return FlavourPlus
	case strings.HasPrefix(name, "kernel-ml"):
		return FlavourML
	case strings.HasPrefix(name, "kernel-lt"):
		return FlavourLT
	case strings.Contains(rel, "elrepo"):
		// Since 2025 the mainline kernels are 6.x too; the name says which.
		return FlavourML
	case strings.Contains(rel, "linode"):
		return FlavourLinode
	case strings.Contains(rel, "azure") || strings.Contains(rel, "-aws") || strings.Contains(rel, "-gcp") || strings.Contains(rel, "cloud"):
		return FlavourCloud
	case strings.HasPrefix(name, "kernel-rt") || strings.Contains(rel, ".rt") || strings.HasSuffix(rel, "+rt"):
		return FlavourRT
	case strings.HasPrefix(name, "kernel-64k") || strings.HasSuffix(rel, "+64k"):
		return Flavour64k
	case strings.HasPrefix(name, "kernel-debug") || strings.HasSuffix(rel, "+debug"):
		return FlavourDebug
	case name == "kernel" || name == "kernel-core" || name == "" && strings.Contains(rel, ".el"):
		return FlavourStock
	}
	return FlavourOther
}

// Mount is a file system that a move could meet.
type Mount struct {
	Point      string   `json:"point"`
	FSType     string   `json:"fs_type"`
	Source     string   `json:"source,omitempty"`
	ReadOnly   bool     `json:"read_only,omitempty"`
	Holds      []string `json:"holds,omitempty"`       // the folders of Places that are on it
	Known      bool     `json:"known,omitempty"`       // the figures below were read
	Size       uint64   `json:"size,omitempty"`        // bytes
	Free       uint64   `json:"free,omitempty"`        // bytes, those reserved for root included
	Available  uint64   `json:"available,omitempty"`   // bytes for everybody
	Inodes     uint64   `json:"inodes,omitempty"`      // 0: made as needed
	InodesFree uint64   `json:"inodes_free,omitempty"` // of those
}

// Places are the folders whose file systems a move writes to.
var Places = []string{
	"/", "/boot", "/boot/efi", "/efi", "/etc", "/opt", "/srv", "/tmp", "/usr", "/usr/lib/sysimage/rpm", "/usr/local",
	"/var", "/var/cache", "/var/lib", "/var/lib/almamigrate", "/var/lib/rpm", "/var/log", "/var/tmp",
}

// FlaggedFile carries an attribute of chattr(1).
type FlaggedFile struct {
	Path       string `json:"path"`
	Immutable  bool   `json:"immutable,omitempty"`
	AppendOnly bool   `json:"append_only,omitempty"`
	Folder     bool   `json:"folder,omitempty"`
}

// SELinux is what is in force and what is configured.
type SELinux struct {
	Mode       string `json:"mode,omitempty"`       // enforcing, permissive, disabled; live
	Configured string `json:"configured,omitempty"` // the same, of /etc/selinux/config
}

// Management is somebody who manages the host's content.
type Management struct {
	Kind     string `json:"kind"`             // rhsm, satellite, uyuni, rhn
	Server   string `json:"server,omitempty"` // host name
	Evidence string `json:"evidence"`         // the file that says so
}

// Panel is an installed control panel of the catalogue.
type Panel struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Path    string `json:"path"` // what it was recognised by
}

// Alternative is a link of alternatives(8).
type Alternative struct {
	Name   string `json:"name"`
	Target string `json:"target"`
	Manual bool   `json:"manual,omitempty"` // chosen by a person
	Broken bool   `json:"broken,omitempty"` // the target does not exist
}

// PackageTool is a package manager at work.
type PackageTool struct {
	Name     string `json:"name,omitempty"` // of the process
	PID      int    `json:"pid,omitempty"`  // 0: not known
	Evidence string `json:"evidence"`       // the lock or file that says so
}

// CPU is what the processor can do.
type CPU struct {
	Level   int      `json:"level,omitempty"`   // x86-64 level (psABI) 1 to 4; 0: not x86-64 or not known
	Missing []string `json:"missing,omitempty"` // flags of /proc/cpuinfo that the next level needs
}

// reader reads an Environment.
type reader struct {
	t    *taker
	r    *rootfs.Root
	live bool
	// captured: what is read are copies of a running system's files. What they do
	// not hold (usage, locks) is this machine's.
	captured bool
	env      *Environment
}

// environment reads Inventory.Environment. It comes after the packages, and
// what it cannot read is in Skipped.
func (t *taker) environment(live, captured bool) {
	r, err := rootfs.Open(t.h.Root)
	if err != nil {
		t.skip("boot, mounts and settings", err)
		return
	}
	defer r.Close()
	x := &reader{t: t, r: r, live: live || captured, captured: captured, env: &Environment{}}
	x.boot()
	x.kernels()
	x.kernelChoice()
	x.files()
	x.selinux()
	x.managers()
	x.panels()
	x.crypt()
	x.alternatives()
	if x.live {
		x.container()
		x.mounts()
		x.esps()
		x.packageTools()
		x.process1()
		x.cpu()
	}
	if !captured { // copies have attributes of their own
		x.flagged()
	}
	t.inv.Environment = x.env
}

// file reads a file of settings; "" if there is none. What exists and cannot
// be read is noted.
func (x *reader) file(name string) string {
	data, err := x.r.ReadFile(name, maxSetting)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			x.t.skip(name, err)
		}
		return ""
	}
	return clean(string(data))
}

const maxSetting = 1 << 20

// lines are a file's lines without comments and white space.
func (x *reader) lines(name string) []string {
	var out []string
	for line := range strings.Lines(x.file(name)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// files are sizes and settings that stand in single files.
func (x *reader) files() {
	if p := x.t.inv.Database.Path; p != "" {
		if info, err := x.r.Stat(p); err == nil {
			x.env.DatabaseSize = info.Size()
		}
	}
	if l := x.lines("/etc/crypto-policies/config"); len(l) > 0 {
		x.env.FIPSPolicy = l[0]
	}
}

// kernelChoice reads what new-kernel-pkg and the kernel's scripts ask before
// they make a new kernel the default.
func (x *reader) kernelChoice() {
	for _, l := range x.lines("/etc/sysconfig/kernel") {
		k, v, _ := strings.Cut(l, "=")
		switch v = strings.Trim(strings.TrimSpace(v), `"'`); strings.TrimSpace(k) {
		case "UPDATEDEFAULT":
			x.env.KernelChoice.Update = strings.ToLower(v)
		case "DEFAULTKERNEL":
			x.env.KernelChoice.Package = v
		}
	}
}

func (x *reader) selinux() {
	for _, l := range x.lines("/etc/selinux/config") {
		if v, ok := strings.CutPrefix(l, "SELINUX="); ok {
			x.env.SELinux.Configured = strings.ToLower(strings.TrimSpace(v))
		}
	}
	if !x.live {
		return
	}
	switch x.r.Attr("/sys/fs/selinux/enforce") {
	case "1":
		x.env.SELinux.Mode = "enforcing"
	case "0":
		x.env.SELinux.Mode = "permissive"
	default:
		if !x.captured || x.r.Exists("/sys/fs") {
			x.env.SELinux.Mode = "disabled"
		}
	}
}

func (x *reader) managers() {
	add := func(kind, server, evidence string) {
		x.env.Management = append(x.env.Management, Management{kind, server, evidence})
	}
	if cert := "/etc/pki/consumer/cert.pem"; x.exists(cert) {
		server := ""
		section := ""
		for _, l := range x.lines("/etc/rhsm/rhsm.conf") {
			if strings.HasPrefix(l, "[") {
				section = l
			}
			if k, v, ok := strings.Cut(l, "="); ok && section == "[server]" && strings.TrimSpace(k) == "hostname" {
				server = strings.TrimSpace(v)
			}
		}
		katello := "/etc/rhsm/ca/katello-server-ca.pem"
		switch {
		case x.exists(katello):
			add("satellite", server, katello)
		case server != "" && !strings.HasSuffix(server, ".redhat.com") && !strings.HasPrefix(server, "subscription.rhsm."):
			add("satellite", server, "/etc/rhsm/rhsm.conf")
		default:
			add("rhsm", server, cert)
		}
	}
	for _, f := range []string{"/etc/salt/minion.d/susemanager.conf", "/etc/venv-salt-minion/minion.d/susemanager.conf"} {
		if !x.exists(f) {
			continue
		}
		server := ""
		for _, l := range x.lines(f) {
			if v, ok := strings.CutPrefix(l, "master:"); ok {
				server = strings.Trim(strings.TrimSpace(v), `"'`)
			}
		}
		add("uyuni", server, f)
	}
	if f := "/etc/sysconfig/rhn/systemid"; x.exists(f) {
		add("rhn", "", f)
	}
}

// exists notes a path whose folder may not be entered.
func (x *reader) exists(name string) bool {
	_, err := x.r.Stat(name)
	if errors.Is(err, fs.ErrPermission) {
		x.t.skip(name, err)
	}
	return err == nil
}

func (x *reader) panels() {
	for _, p := range x.t.cat.Panels() {
		if !x.exists(p.Marker) {
			continue
		}
		version := ""
		if p.Version != "" {
			version, _, _ = strings.Cut(strings.TrimSpace(x.file(p.Version)), " ")
			version, _, _ = strings.Cut(version, "\n")
		}
		x.env.Panels = append(x.env.Panels, Panel{Name: p.Name, Version: version, Path: p.Marker})
	}
}

// alternatives reads what alternatives(8) administers: for every file in
// /var/lib/alternatives, whose first line is "auto" or "manual", the link of
// that name. What follows it (pages of manuals and the like) is left out.
func (x *reader) alternatives() {
	const dir, admin = "/etc/alternatives/", "/var/lib/alternatives"
	names, err := x.r.Names(admin)
	if err != nil {
		x.t.skip(admin, err)
		return
	}
	for _, n := range names {
		target, err := x.r.Readlink(dir + n)
		if err != nil || strings.Contains(target, "/man/") {
			continue
		}
		a := Alternative{Name: clean(n), Target: clean(target), Broken: !x.r.Exists(dir + n)}
		if data, err := x.r.ReadFile(admin+"/"+n, maxSetting); err == nil {
			a.Manual = strings.HasPrefix(string(data), "manual")
		}
		x.env.Alternatives = append(x.env.Alternatives, a)
	}
}

// fixedFlagged are files and folders that packages change and that people
// like to make immutable.
var fixedFlagged = []string{
	"/boot", "/boot/grub2", "/boot/grub2/grubenv", "/boot/grub2/grub.cfg", "/boot/loader", "/boot/loader/entries", "/boot/efi/EFI",
	"/etc", "/etc/centos-release", "/etc/default/grub", "/etc/dnf/vars", "/etc/group", "/etc/gshadow", "/etc/issue", "/etc/issue.net", "/etc/os-release",
	"/etc/passwd", "/etc/pki/rpm-gpg", "/etc/redhat-release", "/etc/rpm", "/etc/shadow", "/etc/sudoers", "/etc/system-release", "/etc/yum.repos.d",
	"/usr", "/usr/bin", "/usr/bin/bash", "/usr/bin/rpm", "/usr/bin/sudo", "/usr/bin/su", "/usr/lib", "/usr/lib/os-release", "/usr/lib/modules",
	"/usr/lib/rpm/macros.d", "/usr/lib/sysimage/rpm", "/usr/lib64", "/usr/sbin", "/usr/sbin/sshd", "/usr/share",
	"/var/cache/dnf", "/var/lib/dnf", "/var/lib/rpm",
}

// maxFlagged is how many files in lockedFolders are asked for their attributes.
// Each costs some microseconds; a host has some five thousand of them.
const maxFlagged = 20_000

// lockedFolders are where people lock files that packages own: settings and
// programs. All that packages own would be some hundred thousand.
var lockedFolders = []string{"/etc/", "/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"}

// flagged looks for attributes of chattr on what a move changes first: the
// files of the identity packages, the repository files, /boot; and on the
// settings and programs of all packages, which a full migration changes.
func (x *reader) flagged() {
	var list, settings []string
	list = append(list, fixedFlagged...)
	for _, dir := range []string{"/boot", "/boot/loader/entries", "/etc/yum.repos.d"} {
		names, err := x.r.Names(dir)
		if err != nil {
			x.t.skip(dir, err)
			continue
		}
		for _, n := range names {
			list = append(list, dir+"/"+n)
		}
	}
	h := &x.t.inv.Host
	identity := x.t.cat.Identity(string(h.Distro), h.Major)
	for i := range x.t.inv.Packages {
		p := &x.t.inv.Packages[i]
		if !slices.Contains(identity, p.Name) {
			var in []bool // by folder
			for d, dir := range p.Files.Dirs {
				if slices.ContainsFunc(lockedFolders, func(l string) bool { return strings.HasPrefix(dir, l) }) {
					if in == nil {
						in = make([]bool, len(p.Files.Dirs))
					}
					in[d] = true
					settings = append(settings, strings.TrimSuffix(dir, "/"))
				}
			}
			for j := range p.Files.Base {
				if in != nil && in[p.Files.DirIndex[j]] {
					settings = append(settings, p.Files.Path(j))
				}
			}
			continue
		}
		for j := range p.Files.Len() {
			// Logos and pictures would fill the list.
			if f := p.Files.Path(j); strings.HasPrefix(f, "/etc/") || strings.HasPrefix(f, "/usr/lib/") {
				list = append(list, f)
			}
		}
	}
	if p := x.t.inv.Database.Path; p != "" {
		list = append(list, p)
	}
	slices.Sort(settings)
	settings = slices.Compact(settings)
	if n := len(settings) - maxFlagged; n > 0 {
		x.t.skip("file attributes (chattr) of "+settings[maxFlagged]+more(n), fmt.Errorf("more than %d files", maxFlagged))
		settings = settings[:maxFlagged]
	}
	list = append(list, settings...)
	slices.Sort(list)
	list = slices.Compact(list)
	var denied []string
	var of func(base string) (rootfs.Flags, error)
	var ferr error
	folder := ""
	for _, name := range list {
		if dir := path.Dir(name); dir != folder { // of one folder are many
			folder = dir
			of, ferr = x.r.FlagsIn(dir)
		}
		f, err := rootfs.Flags{}, ferr
		if err == nil {
			f, err = of(path.Base(name))
		}
		if errors.Is(err, fs.ErrPermission) {
			denied = append(denied, name)
			continue
		}
		if err != nil || f == (rootfs.Flags{}) {
			continue
		}
		g := FlaggedFile{Path: clean(name), Immutable: f.Immutable, AppendOnly: f.AppendOnly}
		if info, err := x.r.Lstat(name); err == nil {
			g.Folder = info.IsDir()
		}
		x.env.Flagged = append(x.env.Flagged, g)
	}
	if len(denied) > 0 {
		x.t.skip("file attributes (chattr) of "+denied[0]+more(len(denied)), fs.ErrPermission)
	}
}

func more(n int) string {
	if n <= 1 {
		return ""
	}
	return " and others"
}
