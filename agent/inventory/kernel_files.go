package inventory

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// files finds the file and the owner of every module, and reads the files of
// those that are not the distribution's kernel's own.
func (r *kernelReader) files() {
	for i := range r.k.Modules {
		m := &r.k.Modules[i]
		if r.tree == nil {
			continue
		}
		if _, m.Builtin = r.tree.Builtin[m.Name]; m.Builtin && !m.Loaded {
			continue
		}
		if p, ok := r.tree.Path(m.Name); ok {
			m.Builtin = false
			m.File = "/" + p
		} else if m.Loaded && strings.ContainsAny(m.Taint, "OEFP") {
			if p = r.stray(m.Name); p == "" {
				continue
			}
			m.File = "/" + p
		} else {
			continue
		}
		if real, err := r.t.h.Resolve(m.File); err == nil {
			m.File = "/" + real
		}
	}
	owners := r.owners()
	for i := range r.k.Modules {
		m := &r.k.Modules[i]
		p := owners[modulePath(m.File)]
		if p != nil {
			m.Owner = p.NEVRA().String()
		}
		if r.own(m, p) {
			if r.t.opt.Deep && m.Loaded && m.File != "" {
				r.compareSource(m)
			}
			continue
		}
		m.Foreign = r.foreign(m)
		if m.Loaded {
			s := r.h.Shown(m.Name)
			m.LoadedVersion, m.LoadedSource, m.FileSource = clean(s.Version), clean(s.SrcVersion), m.Foreign.SrcVersion
			m.Size, m.Taint = cmp.Or(s.CoreSize, m.Size), cmp.Or(m.Taint, clean(s.Taint))
		}
	}
}

// stray finds the file of a loaded module that depmod does not know: it was
// put there since, or loaded by its path (insmod). The running kernel's tree is
// searched first, then what packages own elsewhere.
func (r *kernelReader) stray(name string) string {
	if r.strays == nil {
		r.strays = map[string]string{}
		files, err := r.h.WalkTree(r.tree.Release)
		if err != nil {
			r.skip("/"+r.tree.Dir, err)
		}
		rank := func(f *kmod.ModuleFile) int { // depmod's usual order
			return slices.Index([]string{"kernel", "weak-updates", "extra", "updates"}, f.Area)
		}
		best := map[string]int{}
		for i := range files {
			f := &files[i]
			if _, known := r.tree.Files[f.Name]; known || f.Broken {
				continue
			}
			if n, ok := best[f.Name]; !ok || rank(f) > n {
				best[f.Name], r.strays[f.Name] = rank(f), r.tree.Dir+"/"+f.Path
			}
		}
		for i := range r.t.inv.Packages {
			p := &r.t.inv.Packages[i]
			for j, base := range p.Files.Base {
				if !strings.Contains(base, ".ko") {
					continue
				}
				n, ok := kmod.NameOfFile(base)
				if dir := p.Files.Dirs[p.Files.DirIndex[j]]; ok && r.strays[n] == "" && !strings.Contains(dir, "/lib/modules/") {
					r.strays[n] = strings.TrimPrefix(p.Files.Path(j), "/")
				}
			}
		}
	}
	return r.strays[name]
}

// compareSource reads the file of one of the kernel's own modules for nothing
// but its srcversion. A file that cannot be read is told elsewhere, if it matters.
func (r *kernelReader) compareSource(m *KernelModule) {
	loaded := clean(r.h.Shown(m.Name).SrcVersion)
	if loaded == "" {
		return
	}
	data, err := r.h.ModuleBytes(m.File)
	if err != nil {
		return
	}
	if mod, err := kmod.ParseModule(data); err == nil {
		m.LoadedSource, m.FileSource = loaded, clean(mod.Info.Get("srcversion"))
	}
}

// modulePath gives one spelling to what merged-/usr hosts have two of.
func modulePath(file string) string {
	if rest, ok := strings.CutPrefix(file, "/usr/lib/modules/"); ok {
		return "/lib/modules/" + rest
	}
	return file
}

// owners maps the files of modules to the packages that own them.
func (r *kernelReader) owners() map[string]*Package {
	want := map[string]*Package{}
	for i := range r.k.Modules {
		if f := r.k.Modules[i].File; f != "" {
			want[modulePath(f)] = nil
		}
	}
	if len(want) == 0 {
		return want
	}
	treeOf := map[string]int{}
	for i := range r.t.inv.Packages {
		p := &r.t.inv.Packages[i]
		hit := make([]bool, len(p.Files.Dirs))
		some := false
		for d, dir := range p.Files.Dirs {
			hit[d] = strings.Contains(dir, "/lib/modules/") || r.outside(dir)
			some = some || hit[d]
		}
		if !some {
			continue
		}
		for f := range p.Files.Base {
			if !hit[p.Files.DirIndex[f]] {
				continue
			}
			file := modulePath(p.Files.Path(f))
			if _, ok := want[file]; ok {
				want[file] = p
				if strings.HasPrefix(file, "/lib/modules/"+r.k.Tree+"/kernel/") {
					treeOf[p.NEVRA().String()]++
				}
			}
		}
	}
	best := 0
	for _, n := range sortedNames(treeOf) {
		if treeOf[n] > best {
			best, r.k.Owner = treeOf[n], n
		}
	}
	return want
}

// outside tells whether a module's file lies in a folder beyond /lib/modules,
// where some vendors keep theirs.
func (r *kernelReader) outside(dir string) bool {
	for i := range r.k.Modules {
		if f := r.k.Modules[i].File; f != "" && !strings.Contains(f, "/lib/modules/") && path.Dir(f)+"/" == dir {
			return true
		}
	}
	return false
}

// own tells whether a module comes with the kernel that runs: then the target
// kernel's own module takes its place, and its file need not be read.
func (r *kernelReader) own(m *KernelModule, owner *Package) bool {
	if strings.ContainsAny(m.Taint, "OEFP") {
		return false
	}
	if m.File == "" {
		return true // gone, or built in: only the name can be judged
	}
	if owner == nil {
		// Where nothing of the tree is owned, the kernel came without rpm.
		return r.k.Owner == "" && r.area(m) == "kernel"
	}
	if !strings.HasPrefix(owner.Name, "kernel") {
		return false
	}
	return r.area(m) == "kernel" || r.t.cat.Owns(string(r.t.inv.Host.Distro), owner.Signature.Owner)
}

func (r *kernelReader) area(m *KernelModule) string {
	rest, ok := strings.CutPrefix(modulePath(m.File), "/lib/modules/")
	if !ok {
		return "outside"
	}
	_, rest, _ = strings.Cut(rest, "/")
	return area(rest)
}

// foreign reads a module's file.
func (r *kernelReader) foreign(m *KernelModule) *ForeignModule {
	if m.File == "" {
		return &ForeignModule{Problem: "no file of this module is in the tree of the running kernel"}
	}
	data, err := r.h.ModuleBytes(m.File)
	if err != nil {
		return &ForeignModule{Problem: clean(err.Error())}
	}
	mod, err := kmod.ParseModule(data)
	if err != nil {
		return &ForeignModule{Problem: clean(fmt.Sprintf("cannot read %s: %v", m.File, err))}
	}
	f := DescribeModule(mod)
	if sig := mod.Signature; sig != nil {
		f.Signature = r.signature(sig, data)
	}
	return f
}

// signature tells who signed a module, and whether the firmware's lists or the
// running kernel have the key.
func (r *kernelReader) signature(sig *kmod.Signature, data []byte) *ModuleSignature {
	s := &ModuleSignature{
		Signer: clean(sig.Signer), Organization: clean(sig.Organization), Key: sig.KeyLabel(), Hash: clean(sig.Hash), State: "no-certificate",
	}
	for _, l := range r.lists {
		var made []*x509.Certificate
		for _, c := range l.Certificates {
			if sig.MadeBy(c) {
				made = append(made, c)
			}
		}
		if len(made) == 0 {
			continue
		}
		by, err := sig.VerifyWith(data, made)
		switch {
		case err == nil:
			s.State, s.EnrolledIn = "good", l.Source
		case errors.Is(err, kmod.ErrBadSignature):
			s.State = "bad"
		default:
			s.State = "unsupported"
		}
		if err != nil {
			continue
		}
		if in := r.revoked(by); in != "" {
			s.State, s.EnrolledIn = "revoked", in
			return s
		}
		_, loaded := r.keys.ByID(by.SubjectKeyId)
		s.NotLoaded = r.keys.Seen() && len(by.SubjectKeyId) > 0 && !loaded
		return s
	}
	key, ok := r.keys.ByID(sig.KeyID)
	if !ok && len(sig.KeyID) == 0 {
		key, ok = r.keys.ByName(sig.Signer)
	}
	if ok {
		s.KernelKey = clean(key.Name)
	}
	return s
}

// revoked names the list that refuses a certificate, "" where none does.
func (r *kernelReader) revoked(c *x509.Certificate) string {
	root, err := rootfs.Open(r.t.h.Root)
	if err != nil {
		return ""
	}
	defer root.Close()
	lists, err := boot.ReadRevoked(root)
	r.skip("the firmware's list of revoked keys", err)
	for i := range lists {
		if lists[i].Holds(c) {
			return lists[i].Source
		}
	}
	return ""
}

// DescribeModule brings a module file's facts, its signature aside, into the
// form that an inventory has them in.
func DescribeModule(mod *kmod.Module) *ForeignModule {
	f := &ForeignModule{
		Version: clean(mod.Info.Get("version")), SrcVersion: clean(mod.Info.Get("srcversion")), Vermagic: clean(mod.Info.Vermagic().String()),
		InTree: mod.Info.InTree(), Machine: mod.Machine, Depends: mod.Info.Depends(),
	}
	f.NoRetpoline = (mod.Machine == "x86_64" || mod.Machine == "i686") && !mod.Info.Retpoline()
	for _, a := range mod.Info.Aliases() {
		f.Aliases = append(f.Aliases, clean(a))
	}
	for _, s := range mod.Imports() {
		f.Imports = append(f.Imports, symbolText(s))
	}
	for _, s := range mod.Exports {
		f.Exports = append(f.Exports, symbolText(s))
	}
	return f
}

// symbolText writes a symbol as ParseSymbol reads it.
func symbolText(s kmod.Symbol) string {
	t := clean(s.Name)
	if s.Weak {
		t = "?" + t
	}
	if s.HasCRC {
		t += fmt.Sprintf("=0x%08x", s.CRC)
	}
	return t
}

// ParseSymbol reads an entry of ForeignModule.Imports or Exports.
func ParseSymbol(text string) kmod.Symbol {
	var s kmod.Symbol
	text, s.Weak = strings.CutPrefix(text, "?")
	name, crc, ok := strings.Cut(text, "=")
	s.Name = name
	if ok {
		if _, err := fmt.Sscanf(crc, "0x%08x", &s.CRC); err == nil {
			s.HasCRC = true
		}
	}
	return s
}

func sortedNames(m map[string]int) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
