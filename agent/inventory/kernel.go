package inventory

import (
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
	loaded, err := r.h.Loaded()
	image := ""
	if errors.Is(err, kmod.ErrNoModules) && k.Release == "" {
		image = r.imageTree()
	}
	switch {
	case t.container() != "":
		// It shows the modules of the machine that it runs on.
		k.Reason = ReasonContainer
	case image != "":
		r.modules(image, nil)
	case errors.Is(err, kmod.ErrNoModules):
		k.Reason = "the kernel shows no list of modules: an image, or a kernel without loadable modules"
	case err != nil:
		t.skip("/proc/modules", err)
		k.Reason = clean(err.Error())
	default:
		r.modules(k.Release, loaded)
	}
	t.inv.Kernel = k
}

// ReasonContainer is Kernel.Reason of a container.
const ReasonContainer = "a container: its kernel is that of the machine that it runs on"

// container is the kind of container that the host is, "" for none.
func (t *taker) container() string {
	if env := t.inv.Environment; env != nil {
		return env.Container.Kind
	}
	return ""
}

// imageTree is the release of the kernel that an image would start, as far as
// its module tree is there: that of the default boot entry, otherwise the newest.
func (r *kernelReader) imageTree() string {
	env := r.t.inv.Environment
	if env == nil || env.Loader == nil {
		return ""
	}
	var releases []string
	for _, e := range env.Loader.Entries {
		if e.File == env.Loader.Default || e.Title == env.Loader.Default {
			releases = append(releases, e.Version)
		}
	}
	for i := len(env.Kernels) - 1; i >= 0; i-- {
		releases = append(releases, env.Kernels[i].Release)
	}
	for _, rel := range releases {
		if rel != "" && !strings.Contains(rel, "/") && r.t.h.Exists("/lib/modules/"+rel+"/modules.dep") {
			return rel
		}
	}
	return ""
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
	keys    *kmod.KernelKeys  // never nil
	strays  map[string]string // files of modules that depmod does not know; nil: not searched yet
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

// modules lists what is loaded, and what is needed of the tree of a release.
func (r *kernelReader) modules(release string, loaded []kmod.Loaded) {
	var err error
	if r.k.Tainted, err = r.h.Tainted(); err != nil {
		r.skip("/proc/sys/kernel/tainted", err)
	}
	if release != "" {
		names := make(map[string]bool, len(loaded))
		for _, l := range loaded {
			names[l.Name] = true
		}
		root, err := rootfs.Open(r.t.h.Root)
		if err == nil {
			r.tree, err = r.readTree(root, release, names)
			_ = root.Close()
		}
		if err == nil {
			r.k.Tree = release
		} else {
			r.tree = nil
			r.skip("/lib/modules/"+release, err)
		}
	}
	if r.conf, err = r.h.Modprobe(); err != nil {
		r.skip("modprobe.d", err)
		r.conf = nil
	}
	for _, l := range loaded {
		m := r.module(l.Name)
		m.Loaded, m.Size, m.Taint, m.UsedBy = true, l.Size, l.Taint, l.UsedBy
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
			r.note(d, role, NeededBy+n)
		}
	}
}

func (r *kernelReader) note(name, role, why string) {
	m := r.module(name)
	m.Roles = append(m.Roles, role)
	m.Why = append(m.Why, clean(why))
}

// pointRole is the role of what a mount point hangs on, "" for one that the host
// comes back without.
func pointRole(point string) string {
	switch point {
	case "/", "/usr":
		return RoleRoot
	case "/boot", "/boot/efi":
		return RoleBoot
	}
	return ""
}

// needed finds what the host will ask for, loaded now or not.
func (r *kernelReader) needed() {
	// The root's chain first: it decides whether the host comes back.
	for _, point := range []string{"/", "/usr", "/boot", "/boot/efi"} {
		st, err := r.h.StorageOf(point)
		if err != nil {
			r.skip("what "+point+" is on", err)
			continue
		}
		role := pointRole(point)
		r.chains = append(r.chains, storageChain{role, st})
		for _, n := range st.Needs {
			if !n.Builtin || r.listed(n.Name) {
				r.need(n.Name, role, point+": "+n.Why)
			}
		}
	}
	var err error
	r.cards, err = r.h.NetCards()
	r.skip("network cards", err)
	for i := range r.cards {
		c := &r.cards[i]
		if c.Virtual && !r.onHardware(c.Name) {
			continue
		}
		for _, n := range c.Needs {
			if !n.Builtin || r.listed(n.Name) {
				r.need(n.Name, RoleNetwork, c.Name+": "+n.Why)
			}
		}
	}
	wanted, err := r.h.FstabModules()
	r.skip("fstab and crypttab", err)
	for _, w := range wanted {
		role := RoleMount
		if w.Why == "fstab" {
			role = cmp.Or(pointRole(w.Detail), role)
		}
		r.need(w.Name, role, fmt.Sprintf("%s line %d: %s", w.File, w.Line, w.Detail))
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
	r.asked()
}

// listed tells whether /proc/modules has a module, or the one of a file system
// (fs-xfs). It is asked for trees whose /sys was not copied: there everything
// that a disk needs looks built in.
func (r *kernelReader) listed(name string) bool {
	i, ok := r.at[kmod.NormalizeName(strings.TrimPrefix(name, "fs-"))]
	return ok && r.k.Modules[i].Loaded
}

// onHardware tells whether an interface is a card or is laid over one: without
// bonding a bond of two cards is as gone as they are.
func (r *kernelReader) onHardware(name string) bool {
	seen := map[string]bool{}
	work := []string{name}
	for len(work) > 0 {
		n := work[0]
		work = work[1:]
		at := slices.IndexFunc(r.cards, func(c kmod.NetCard) bool { return c.Name == n })
		if at < 0 || seen[n] {
			continue
		}
		if seen[n] = true; !r.cards[at].Virtual {
			return true
		}
		work = append(work, r.cards[at].Lower...)
	}
	return false
}

// asked adds the modules that modprobe.d has loaded together with one that is
// loaded or needed: by softdep, or by a command in place of loading it. Only
// what the running kernel's tree has counts: the lines of packages name modules
// of other kernels too.
func (r *kernelReader) asked() {
	if r.conf == nil || r.tree == nil {
		return
	}
	add := func(of, file string, names []string) {
		if _, ok := r.at[of]; !ok {
			return
		}
		for _, n := range names {
			if _, ok := r.tree.Path(n); ok && n != of {
				r.need(n, RoleRequested, fmt.Sprintf("loaded with %s by %s", of, file))
			}
		}
	}
	for i := range r.conf.SoftDeps {
		s := &r.conf.SoftDeps[i]
		add(s.Module, s.File, slices.Concat(s.Pre, s.Post))
	}
	for i := range r.conf.Install {
		e := &r.conf.Install[i]
		add(e.Module, e.File, kmod.CommandModules(e.Value))
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
		r.note(m.Name, RoleInitramfs, InInitramfs)
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
	tr.UEFI, tr.MokDisabled, tr.Lockdown, tr.FIPS = fw.UEFI, fw.MokDisable, fw.Lockdown, fw.FIPS
	if names, err := root.Names("/sys"); err == nil && len(names) > 0 {
		tr.SecureBoot = string(fw.SecureBoot) // without /sys that there is no UEFI is not known either
	}
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
