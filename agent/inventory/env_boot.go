package inventory

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// boot reads firmware, boot manager and loader.
func (x *reader) boot() {
	if x.live {
		f := boot.ReadFirmware(x.r)
		x.env.Firmware = &f
		if f.UEFI {
			m, problems, err := boot.ReadManager(x.r)
			switch {
			case err != nil:
				x.t.skip("the firmware's boot entries", err)
			default:
				x.env.BootManager = &m
				for _, p := range problems {
					x.t.skip("the firmware's boot entries", p)
				}
			}
		}
		names, err := x.r.Names("/sys/kernel/livepatch")
		if err == nil {
			x.env.LivePatches = names
		}
	}
	l, err := boot.ReadLoader(x.r)
	if err != nil {
		x.t.skip("the boot loader's configuration", err)
	} else {
		if errors.Is(x.unreadable("/boot/grub2"), fs.ErrPermission) {
			// It is closed to all but root on EL: nothing of it was seen.
			x.t.skip("/boot/grub2", fs.ErrPermission)
		} else {
			x.env.Loader = &l
		}
		id := strings.TrimSpace(x.r.Attr("/etc/machine-id"))
		for _, e := range l.Entries {
			if len(id) == 32 && e.Machine != "" && e.Machine != id && !strings.Contains(e.File, "-0-rescue") {
				x.env.OtherMachine = append(x.env.OtherMachine, e.File)
			}
		}
	}
	files, err := boot.ReadKernelFiles(x.r)
	if err != nil {
		x.t.skip("/boot", err)
	}
	x.env.BootFiles = files
}

// unreadable returns why a folder cannot be listed, nil if it can or is not there.
func (x *reader) unreadable(dir string) error {
	_, err := x.r.Names(dir)
	return err
}

// kernels lists the installed kernels by the packages that bring them. They
// provide "kernel-uname-r = RELEASE"; where they do not, their files tell.
func (x *reader) kernels() {
	running := x.t.inv.Host.Kernel
	type kernel struct {
		InstalledKernel
		evr rpmver.EVR
	}
	var list []kernel
	for i := range x.t.inv.Packages {
		p := &x.t.inv.Packages[i]
		if !strings.HasPrefix(p.Name, "kernel") {
			continue
		}
		if x.live && running != "" && x.env.RunningOwner == "" && ownsRelease(p, running) {
			x.env.RunningOwner = p.NEVRA().String()
		}
		release := kernelRelease(p)
		if release == "" {
			continue
		}
		list = append(list, kernel{InstalledKernel{
			Release: release, Package: p.NEVRA().String(), Name: p.Name, Flavour: KernelFlavour(p.Name, release), Installed: p.InstallTime,
		}, p.EVR})
	}
	slices.SortStableFunc(list, func(a, b kernel) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.evr.Compare(b.evr), cmp.Compare(a.Release, b.Release))
	})
	for _, k := range list {
		x.env.Kernels = append(x.env.Kernels, k.InstalledKernel)
	}
}

func kernelRelease(p *Package) string {
	for i := range p.Provides {
		if d := &p.Provides[i]; d.Name == "kernel-uname-r" || strings.HasSuffix(d.Name, "-uname-r") && d.Name == p.Name+"-uname-r" && !strings.Contains(d.Name, "modules") {
			if d.EVR.Release == "" {
				return d.EVR.Version
			}
			return d.EVR.Version + "-" + d.EVR.Release
		}
	}
	for i, b := range p.Files.Base {
		switch d := p.Files.Dirs[p.Files.DirIndex[i]]; {
		case d == "/boot/" && strings.HasPrefix(b, "vmlinuz-"):
			return strings.TrimPrefix(b, "vmlinuz-")
		case b == "vmlinuz" && (strings.HasPrefix(d, "/lib/modules/") || strings.HasPrefix(d, "/usr/lib/modules/")):
			_, rel, _ := strings.Cut(strings.TrimSuffix(d, "/"), "lib/modules/")
			return rel
		}
	}
	return ""
}

func ownsRelease(p *Package, release string) bool {
	for _, d := range p.Files.Dirs {
		if strings.HasPrefix(d, "/lib/modules/"+release+"/") || strings.HasPrefix(d, "/usr/lib/modules/"+release+"/") {
			return true
		}
	}
	return kernelRelease(p) == release
}

// esps finds the EFI system partitions and who owns the programs on them.
func (x *reader) esps() {
	if f := x.env.Firmware; f == nil || !f.UEFI {
		return
	}
	mounts, err := boot.ReadMounts(x.r)
	if err != nil {
		return // mounts has noted it
	}
	esps, problems := boot.ReadESPs(x.r, mounts)
	x.env.ESPs = esps
	for _, p := range problems {
		if errors.Is(p, fs.ErrPermission) {
			x.t.skip("EFI system partitions", p)
			continue
		}
		if x.captured && !x.r.Exists("/sys/dev/block") {
			continue // the devices were not copied
		}
		x.env.ESPProblems = append(x.env.ESPProblems, clean(p.Error()))
	}
	owners := x.owners("/boot/efi/EFI/")
	for _, e := range esps {
		if e.Mount == "" {
			continue
		}
		for _, v := range e.Vendors {
			dir := e.Mount + "/EFI/" + v
			names, err := x.r.Names(dir)
			if err != nil {
				if errors.Is(err, fs.ErrPermission) {
					x.t.skip(dir, err)
				}
				continue // a file beside the vendors' folders
			}
			for _, n := range names {
				if strings.HasSuffix(strings.ToLower(n), ".efi") {
					x.env.LoaderFiles = append(x.env.LoaderFiles, LoaderFile{Path: clean(dir + "/" + n), Package: owners[strings.ToLower(dir+"/"+n)]})
				}
			}
		}
	}
}

// owners maps the paths below a folder, in lower case as FAT compares them, to
// the packages that own them.
func (x *reader) owners(below string) map[string]string {
	out := map[string]string{}
	for i := range x.t.inv.Packages {
		p := &x.t.inv.Packages[i]
		for j, d := range p.Files.Dirs {
			if !strings.HasPrefix(d, below) {
				continue
			}
			for k, n := range p.Files.DirIndex {
				if int(n) == j {
					out[strings.ToLower(d+p.Files.Base[k])] = p.NEVRA().String()
				}
			}
		}
	}
	return out
}

// networkFS are file systems on which statfs can wait for a server for ever.
var networkFS = []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "afs", "9p", "autofs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2"}

// mounts reads those mounts that a move could meet: the ones that hold Places,
// and read-only ones outside the kernel's and the containers' own folders.
func (x *reader) mounts() {
	all, err := boot.ReadMounts(x.r)
	if err != nil {
		x.t.skip("/proc/self/mountinfo", err)
		return
	}
	if x.t.h.Root == "/" && os.Getenv("INVOCATION_ID") != "" {
		// A unit of systemd (systemd.exec(5)): its sandbox, such as ProtectSystem=strict, mounts the host's file systems
		// read-only for us alone. Only what the file systems say themselves is the host's.
		for i := range all {
			all[i].Options = all[i].Super
		}
	}
	holds := map[string][]string{}
	for _, p := range Places {
		real, err := x.r.Resolve(p)
		if err != nil {
			continue
		}
		if real = "/" + real; real == "/." {
			real = "/"
		}
		if p != "/" && !x.r.Exists(p) {
			continue
		}
		if m := boot.MountOf(all, real); m != nil {
			holds[m.Point] = append(holds[m.Point], p)
		}
	}
	for _, m := range all {
		h := holds[m.Point]
		if h == nil && (!m.ReadOnly() || ofOthers(m.Point)) {
			continue
		}
		y := Mount{Point: clean(m.Point), FSType: m.FSType, Source: clean(m.Source), ReadOnly: m.ReadOnly(), Holds: h}
		if h != nil && !x.captured && !slices.Contains(networkFS, m.FSType) && !strings.HasPrefix(m.FSType, "fuse") {
			if u, err := x.r.Usage(m.Point); err != nil {
				x.t.skip("free space on "+m.Point, err)
			} else {
				y.Known, y.Size, y.Free, y.Available, y.Inodes, y.InodesFree = true, u.Size, u.Free, u.Available, u.Inodes, u.InodesFree
			}
		}
		x.env.Mounts = append(x.env.Mounts, y)
	}
	slices.SortFunc(x.env.Mounts, func(a, b Mount) int { return strings.Compare(a.Point, b.Point) })
}

// ofOthers tells folders whose mounts come and go without the packages: the
// kernel's, those of containers, snaps.
func ofOthers(point string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker", "/var/lib/containers", "/var/lib/kubelet", "/var/lib/snapd", "/snap", "/var/snap", "/var/lib/lxcfs", "/tmp"} {
		if point != dir && boot.Under(point, dir) {
			return true
		}
	}
	return false
}
