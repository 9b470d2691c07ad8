package inventory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// ReadKernel reads the kernel side of a host whose packages are known, as Take
// does. It is nil if the root cannot be read; what else could not be read is in
// the second result.
func ReadKernel(h *host.Host, cat *catalog.Catalog, distro Distro, packages []Package, deep bool) (*Kernel, []Skipped) {
	t := &taker{h: h, cat: cat, opt: Options{Deep: deep}, inv: &Inventory{Host: Host{Distro: distro}, Packages: packages}}
	t.kernel()
	return t.inv.Kernel, t.inv.Skipped
}

// kernel reads the kernel side of the host. Only files of modules that are not
// the distribution's own are opened: a host has some 150 loaded modules, and
// unpacking all of them would take longer than everything else.
func (t *taker) kernel() {
	h, err := kmod.Open(t.h.Root)
	if err != nil {
		t.skip("kernel modules", err)
		return
	}
	defer h.Close()
	r := &kernelReader{t: t, h: h, at: map[string]int{}, keys: &kmod.KernelKeys{}}
	k := &r.k
	k.Modules, k.Devices, k.Sources = []KernelModule{}, []KernelDevice{}, []ModuleSource{}
	k.Trust.Certificates = []Certificate{}
	if k.Release, err = h.Release(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.skip("/proc/sys/kernel/osrelease", err)
	}
	r.trust()
	loaded, err := r.loaded()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k.Reason = "the kernel shows no list of modules: a container, an image, or a kernel without loadable modules"
	case err != nil:
		t.skip("/proc/modules", err)
		k.Reason = clean(err.Error())
	default:
		r.modules(loaded)
	}
	t.inv.Kernel = k
}

// loaded reads /proc/modules alone: that has name, users and taint; what sysfs
// says beside takes six more files a module.
func (r *kernelReader) loaded() ([]kmod.Loaded, error) {
	root, err := rootfs.Open(r.t.h.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := root.ReadFile("proc/modules", maxTreeFile)
	if err != nil {
		return nil, err
	}
	return kmod.ParseProcModules(bytes.NewReader(data))
}

// kernelReader gathers what the kernel says.
type kernelReader struct {
	t       *taker
	h       *kmod.Host
	tree    *kmod.Tree
	conf    *kmod.Modprobe
	k       Kernel
	at      map[string]int    // index of a module in k.Modules
	depends map[string][]byte // lines of modules.dep
	chains  []storageChain
	cards   []kmod.NetCard
	lists   []boot.Trust
	keys    *kmod.KernelKeys // never nil
}

func (r *kernelReader) skip(what string, err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, kmod.ErrNotFound) {
		r.t.skip(what, err)
	}
}

// module returns the entry of a module, made where there is none.
func (r *kernelReader) module(name string) *KernelModule {
	i, ok := r.at[name]
	if !ok {
		i = len(r.k.Modules)
		r.at[name] = i
		r.k.Modules = append(r.k.Modules, KernelModule{Name: name})
	}
	return &r.k.Modules[i]
}

func (r *kernelReader) modules(loaded []kmod.Loaded) {
	var err error
	if r.k.Tainted, err = r.h.Tainted(); err != nil {
		r.skip("/proc/sys/kernel/tainted", err)
	}
	if r.k.Release != "" {
		names := make(map[string]bool, len(loaded))
		for _, l := range loaded {
			names[l.Name] = true
		}
		root, err := rootfs.Open(r.t.h.Root)
		if err == nil {
			r.tree, err = r.readTree(root, r.k.Release, names)
			_ = root.Close()
		}
		if err == nil {
			r.k.Tree = r.k.Release
		} else {
			r.tree = nil
			r.skip("/lib/modules/"+r.k.Release, err)
		}
	}
	if r.conf, err = r.h.Modprobe(); err != nil {
		r.skip("modprobe.d", err)
		r.conf = nil
	}
	for _, l := range loaded {
		m := r.module(l.Name)
		m.Loaded, m.Taint, m.UsedBy = true, l.Taint, l.UsedBy
	}
	r.needed()
	r.devices()
	r.sources()
	r.files()
	for i := range r.k.Modules {
		m := &r.k.Modules[i]
		slices.Sort(m.Roles)
		m.Roles = slices.Compact(m.Roles)
		slices.Sort(m.Why)
		m.Why = slices.Compact(m.Why)
	}
	slices.SortFunc(r.k.Modules, func(a, b KernelModule) int { return cmp.Compare(a.Name, b.Name) })
}

// need notes who asks for a name or an alias, and gives the same role to what
// must be loaded before it.
func (r *kernelReader) need(name, role, why string) {
	names := []string{kmod.NormalizeName(name)}
	isAlias := strings.ContainsAny(name, ":*") || strings.HasPrefix(name, "fs-")
	if r.tree != nil {
		var found []string
		if r.conf != nil {
			found = r.conf.Resolve(r.tree, name)
		} else {
			found = r.tree.Resolve(name)
		}
		if len(found) > 0 {
			names, isAlias = found, false
		}
	}
	if isAlias {
		// Without a tree, or an alias that it does not have: a file system's module
		// mostly has its name; what the kernel always has is no module.
		short, ok := strings.CutPrefix(name, "fs-")
		if !ok || r.tree != nil {
			return
		}
		names = []string{kmod.NormalizeName(short)}
	}
	for _, n := range names {
		r.note(n, role, why)
		if r.tree == nil {
			continue
		}
		for _, d := range r.dependsOn(n) {
			r.note(d, role, "needed by "+n)
		}
	}
}

func (r *kernelReader) note(name, role, why string) {
	m := r.module(name)
	m.Roles = append(m.Roles, role)
	m.Why = append(m.Why, clean(why))
}

// needed finds what the host will ask for, loaded now or not.
func (r *kernelReader) needed() {
	// The root's chain first: it decides whether the host comes back.
	for _, p := range []struct{ point, role string }{{"/", RoleRoot}, {"/usr", RoleRoot}, {"/boot", RoleBoot}, {"/boot/efi", RoleBoot}} {
		st, err := r.h.StorageOf(p.point)
		if err != nil {
			r.skip("what "+p.point+" is on", err)
			continue
		}
		r.chains = append(r.chains, storageChain{p.role, st})
		for _, n := range st.Needs {
			if !n.Builtin {
				r.need(n.Name, p.role, p.point+": "+n.Why)
			}
		}
	}
	var err error
	r.cards, err = r.h.NetCards()
	r.skip("network cards", err)
	for _, c := range r.cards {
		if c.Virtual {
			continue
		}
		for _, n := range c.Needs {
			if !n.Builtin {
				r.need(n.Name, RoleNetwork, c.Name+": "+n.Why)
			}
		}
	}
	wanted, err := r.h.FstabModules()
	r.skip("fstab and crypttab", err)
	for _, w := range wanted {
		r.need(w.Name, RoleMount, fmt.Sprintf("%s line %d: %s", w.File, w.Line, w.Detail))
	}
	wanted, err = r.h.ModulesLoad()
	r.skip("modules-load.d", err)
	for _, w := range wanted {
		if w.Why == "sysconfig" {
			continue // a script: what it loads is not known, and is loaded if it ran
		}
		from := w.File
		if from == "" {
			from = "the kernel command line"
		}
		r.need(w.Name, RoleRequested, "requested by "+from)
	}
	if r.t.opt.Deep {
		r.initramfs()
	}
}

// initramfs lists the modules of the running kernel's initramfs.
func (r *kernelReader) initramfs() {
	file, err := r.h.InitramfsPath(r.k.Release)
	if err != nil {
		r.skip("the initramfs", err)
		return
	}
	fs, err := r.h.Initramfs(file)
	if err != nil {
		r.t.skip(file, err)
		return
	}
	for _, m := range fs.Modules() {
		r.note(m.Name, RoleInitramfs, "in the initramfs")
	}
}

func (r *kernelReader) devices() {
	list, err := r.h.BoundDevices()
	r.skip("devices", err)
	roles := r.deviceRoles()
	for _, d := range list {
		if d.Driver == "" || d.Modalias == "" || (d.Module == "" && d.Bus != "pci") {
			continue
		}
		x := KernelDevice{Bus: d.Bus, Name: clean(d.Name), Modalias: clean(d.Modalias), Driver: clean(d.Driver), Module: d.Module, Role: roles[d.Path]}
		if r.tree != nil && d.Module != "" {
			x.Claimed = slices.Contains(r.tree.Aliases.Match(d.Modalias), d.Module)
		}
		r.k.Devices = append(r.k.Devices, x)
	}
}

// storageChain is what a mount point hangs on, and the role that it gives.
type storageChain struct {
	role    string
	storage *kmod.Storage
}

// deviceRoles maps the folders of devices that root, /boot or a network card
// hang on.
func (r *kernelReader) deviceRoles() map[string]string {
	roles := map[string]string{}
	for _, c := range r.cards {
		for _, d := range c.Devices {
			roles[d.Path] = RoleNetwork
		}
	}
	// Root last: its role is the one that counts.
	for i := len(r.chains) - 1; i >= 0; i-- {
		for _, n := range r.chains[i].storage.Nodes {
			for _, d := range n.Devices {
				roles[d.Path] = r.chains[i].role
			}
		}
	}
	return roles
}

func (r *kernelReader) sources() {
	trees, err := r.h.DKMS()
	r.skip("DKMS", err)
	for _, d := range trees {
		s := ModuleSource{Kind: "dkms", Name: clean(d.Name), Version: clean(d.Version), Modules: d.Modules, Automatic: d.Autoinstall, OnlyKernel: clean(d.ExclusiveKernel), Problem: clean(d.Problem)}
		if d.Source == "" {
			s.Problem = cmp.Or(s.Problem, "its sources are gone")
		}
		for _, b := range d.Built {
			s.Kernels = append(s.Kernels, clean(b.Kernel))
		}
		r.k.Sources = append(r.k.Sources, s)
	}
	akmods, err := r.h.Akmods()
	r.skip("akmods", err)
	for _, a := range akmods {
		s := ModuleSource{Kind: "akmods", Name: clean(a.Name), Modules: []string{kmod.NormalizeName(clean(a.Name))}, Automatic: true}
		if a.Source == "" {
			s.Problem = "its source package is gone"
		}
		r.k.Sources = append(r.k.Sources, s)
	}
	for i := range r.k.Sources {
		slices.Sort(r.k.Sources[i].Kernels)
		r.k.Sources[i].Kernels = slices.Compact(r.k.Sources[i].Kernels)
	}
	slices.SortStableFunc(r.k.Sources, func(a, b ModuleSource) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
}

// trust reads what decides whether a module may be loaded.
func (r *kernelReader) trust() {
	tr := &r.k.Trust
	tr.SecureBoot = string(boot.SecureBootUnknown)
	root, err := rootfs.Open(r.t.h.Root)
	if err != nil {
		tr.Problem = clean(err.Error())
		return
	}
	defer root.Close()
	fw := boot.ReadFirmware(root)
	tr.UEFI, tr.SecureBoot, tr.MokDisabled, tr.Lockdown, tr.FIPS = fw.UEFI, string(fw.SecureBoot), fw.MokDisable, fw.Lockdown, fw.FIPS
	c, err := r.h.Cmdline()
	r.skip("/proc/cmdline", err)
	tr.SigEnforce = c.SigEnforce || root.Attr("/sys/module/module/parameters/sig_enforce") == "Y"
	tr.FIPS = tr.FIPS || c.FIPS
	if tr.Lockdown == "" {
		tr.Lockdown = c.Lockdown
	}
	keys, err := r.h.KernelKeys()
	if err != nil {
		r.skip("/proc/keys", err)
	} else if keys.Seen() {
		r.keys, tr.Keyrings = keys, keys.Keyrings
	}
	lists, err := boot.ReadTrust(root)
	if err != nil {
		tr.Problem = clean(err.Error())
	}
	for _, l := range lists {
		for _, cert := range l.Certificates {
			tr.Certificates = append(tr.Certificates, Certificate{
				Source: l.Source, Subject: clean(cert.Subject.String()), Issuer: clean(cert.Issuer.String()),
				Serial: fmt.Sprintf("%x", cert.SerialNumber), KeyID: fmt.Sprintf("%x", cert.SubjectKeyId), Expires: cert.NotAfter.UTC().Format("2006-01-02"),
			})
		}
	}
	slices.SortStableFunc(tr.Certificates, func(a, b Certificate) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Serial, b.Serial))
	})
	r.lists = lists
}

// area is the first folder of a path relative to a module tree.
func area(file string) string {
	if path.IsAbs(file) {
		return "outside"
	}
	a, _, _ := strings.Cut(file, "/")
	return a
}
