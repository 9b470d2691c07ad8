package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/ldso"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// ApplicationFolders are searched wherever software is put that no package
// owns.
var ApplicationFolders = []string{"/opt", "/usr/local", "/srv"}

// What Applications holds at most.
const (
	maxApplications = 20_000
	maxAppImports   = 4_000_000 // of all files together
	maxWhy          = 4
	maxSkipExamples = 3
)

// ApplicationOptions of ReadApplications.
type ApplicationOptions struct {
	Folders  []string        // beside ApplicationFolders
	Stay     map[string]bool // NEVRAs of further packages that stay as they are
	Progress func(looked int, where string)
}

// ReadApplications looks at every ELF file that does not come from the host's
// distribution: in packages of others, in folders where unpackaged software
// lies, started by units of systemd, and mapped by running processes. It reads
// only; the packages of the inventory must be known with their files. What
// cannot be read is in the result. The error is the context's.
func ReadApplications(ctx context.Context, h *host.Host, cat *catalog.Catalog, inv *Inventory, opt ApplicationOptions) (*Applications, error) {
	res := &Applications{Files: []Application{}, Libraries: []UsedLibrary{}, Runtimes: []Runtime{}, Folders: []string{}, Skipped: []Skipped{}}
	r, err := rootfs.Open(h.Root)
	if err != nil {
		res.Skipped = append(res.Skipped, Skipped{"applications", clean(err.Error())})
		return res, nil
	}
	defer r.Close()
	s := &appScan{
		r: r, inv: inv, cat: cat, opt: opt, res: res, live: h.Live(), linker: ldso.New(r), owners: newOwnerIndex(inv.Packages),
		at: map[string]int{}, libs: map[string]int{}, queued: map[string]int{}, skips: map[string]*skipCount{}, runtimes: map[string]*Runtime{},
	}
	s.walk = newWalker(h.Root)
	s.walk.found = s.found
	s.walk.skip = s.skip
	s.walk.link = s.followLink
	if opt.Progress != nil {
		s.walk.tell = func(dir string) { opt.Progress(s.walk.looked, dir) }
	}
	err = s.run(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("cannot look at the applications: %w", ctx.Err())
	}
	if errors.Is(err, errEnough) {
		s.skip("the rest", errors.New(res.CutShort))
	}
	s.finish()
	return res, nil
}

type skipCount struct {
	n     int
	names []string
}

type pendingFile struct {
	path, why string
	env       []string // LD_LIBRARY_PATH
}

type appScan struct {
	r      *rootfs.Root
	inv    *Inventory
	cat    *catalog.Catalog
	opt    ApplicationOptions
	res    *Applications
	live   bool
	linker *ldso.Linker
	owners *ownerIndex
	walk   *walker

	at       map[string]int // index in res.Files by real path
	libs     map[string]int // index in res.Libraries by path
	symbols  []map[UsedSymbol]int
	imports  int
	queue    []pendingFile // files to look at beside those that the walk finds
	queued   map[string]int
	skips    map[string]*skipCount
	runtimes map[string]*Runtime
	foreign  map[int32]bool // packages whose files stay
	env      []string       // LD_LIBRARY_PATH of what is being looked at
}

func (s *appScan) skip(what string, err error) {
	reason := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		reason = pe.Err.Error()
	}
	k := clean(reason)
	c := s.skips[k]
	if c == nil {
		if len(s.skips) > 1000 {
			return
		}
		c = &skipCount{}
		s.skips[k] = c
	}
	if c.n++; len(c.names) < maxSkipExamples {
		c.names = append(c.names, clean(what))
	}
}

func (s *appScan) run(ctx context.Context) error {
	s.foreign = map[int32]bool{}
	for i := range s.inv.Packages {
		p := &s.inv.Packages[i]
		if !s.distribution(p) || s.opt.Stay[p.NEVRA().String()] {
			s.foreign[int32(i)] = true
		}
	}
	// What runs comes first: of that it is known with which environment, and a
	// search that is cut short leaves out what matters less.
	s.preloads()
	s.units()
	if s.live {
		s.processes()
	}
	if err := s.drain(ctx); err != nil {
		return err
	}
	for i := range s.inv.Packages {
		if !s.foreign[int32(i)] {
			continue
		}
		for name := range s.inv.Packages[i].Files.All() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := s.file(name, ""); err != nil {
				return err
			}
		}
	}
	if err := s.drain(ctx); err != nil {
		return err
	}
	s.walk.owned = func(name string) bool {
		_, ok := s.owners.of(name)
		return ok
	}
	folders := slices.Clone(ApplicationFolders)
	for _, f := range s.opt.Folders {
		if f = path.Clean("/" + f); !slices.Contains(folders, f) {
			folders = append(folders, f)
		}
	}
	s.res.Folders = slices.Clone(folders)
	for _, f := range append(folders, s.moduleFolders()...) {
		real, err := s.r.Resolve(f)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.skip(f, err)
			}
			continue
		}
		if real == "." {
			real = ""
		}
		if err := s.walk.tree(ctx, "/"+real); err != nil {
			return err
		}
	}
	return s.drain(ctx)
}

// distribution tells whether a package is one that the move deals with: signed
// by a distribution of the RHEL family.
func (s *appScan) distribution(p *Package) bool {
	owner := p.Signature.Owner
	if owner == "" && p.Signature.KeyID != "" {
		if k, ok := s.cat.KeyByID(p.Signature.KeyID); ok {
			owner = k.Owner
		}
	}
	if owner == "" || p.Signature.Status == "missing" {
		return false
	}
	kind, known := s.cat.OwnerKind(owner)
	return s.cat.Owns(string(s.inv.Host.Distro), owner) || known && kind == catalog.KindDistro
}

// file looks at one file by its path, links followed.
func (s *appScan) file(name, why string) error {
	if s.elsewhere(name) {
		return nil
	}
	info, err := s.r.Stat(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.skip(name, err)
		}
		return nil
	}
	// Smaller than an ELF header is no program; folders have a path as well.
	if !info.Mode().IsRegular() || info.Size() < 52 {
		return nil
	}
	f, err := s.r.OpenFile(name)
	if err != nil {
		s.skip(name, err)
		return nil
	}
	defer f.Close()
	s.walk.looked++
	var head [4]byte
	if n, _ := f.ReadAt(head[:], 0); n < len(head) || !elfdyn.Magic(head[:]) {
		return nil
	}
	real := name
	if p, err := s.r.Resolve(name); err == nil {
		real = "/" + p
	}
	if pkg, owned := s.owners.of(real); owned && !s.foreign[pkg] {
		return nil
	}
	return s.take(real, f, info, why)
}

// elsewhere tells, and notes, whether a path is on a file system that is not
// entered. It touches nothing: the server of a mount may be dead, and automount
// would mount.
func (s *appScan) elsewhere(name string) bool {
	for p := path.Dir(name); p != "/" && p != "."; p = path.Dir(p) {
		if reason := notEntered(s.walk.mounts[p]); reason != "" {
			s.skip(p, errors.New(reason))
			return true
		}
	}
	return false
}

// push queues a file to look at, a few times at most: for each reason.
func (s *appScan) push(name, why string, env []string) {
	if s.queued[name] >= maxWhy {
		return
	}
	if len(s.queue) >= maxApplications {
		s.skip(name, fmt.Errorf("more than %d files to look at beside those of the folders", maxApplications))
		return
	}
	s.queued[name]++
	s.queue = append(s.queue, pendingFile{name, why, env})
}

// found is what the walk calls for an ELF file that no package owns.
func (s *appScan) found(name string, f *os.File, info fs.FileInfo) error {
	return s.take(name, f, info, "")
}

// followLink notes links to files elsewhere, and tells of links to folders
// elsewhere: these are followed only when they are asked for.
func (s *appScan) followLink(dir, base string) {
	name := path.Join(dir, base)
	target, err := s.r.Readlink(name)
	if err != nil || !strings.Contains(target, "/") {
		return
	}
	if !path.IsAbs(target) {
		target = path.Join(dir, target)
	}
	if s.elsewhere(path.Join(target, "x")) {
		return
	}
	real, err := s.r.Resolve(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.skip(name, err)
		}
		return
	}
	real = "/" + real
	for _, f := range append(slices.Clone(ApplicationFolders), s.opt.Folders...) {
		if real == f || strings.HasPrefix(real, f+"/") {
			return
		}
	}
	info, err := s.r.Lstat(real)
	switch {
	case err != nil:
	case info.IsDir():
		s.skip(name+" -> "+real, errors.New("a link to a folder elsewhere is not followed: name the folder to have it searched"))
	case info.Mode().IsRegular():
		if _, owned := s.owners.of(real); !owned {
			s.push(real, "", nil)
		}
	}
}

// drain looks at what came up on the way: libraries, units, processes.
func (s *appScan) drain(ctx context.Context) error {
	for len(s.queue) > 0 {
		q := s.queue[0]
		s.queue = s.queue[1:]
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if pkg, owned := s.owners.of(q.path); owned && !s.foreign[pkg] {
			continue
		}
		if i, ok := s.at[q.path]; ok {
			s.because(i, q.why)
			continue
		}
		s.env = q.env
		err := s.file(q.path, q.why)
		s.env = nil
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *appScan) because(i int, why string) {
	if i < 0 || why == "" {
		return
	}
	if a := &s.res.Files[i]; len(a.Why) < maxWhy && !slices.Contains(a.Why, why) {
		a.Why = append(a.Why, why)
	}
}

// take reads an ELF file that stays, and what it is bound to.
func (s *appScan) take(name string, f *os.File, info fs.FileInfo, why string) error {
	if i, ok := s.at[name]; ok {
		s.because(i, why)
		return nil
	}
	if len(s.res.Files) >= maxApplications || s.imports >= maxAppImports {
		s.res.CutShort = fmt.Sprintf("more than %d files or %d imported symbols", maxApplications, maxAppImports)
		return errEnough
	}
	s.at[name] = -1 // seen, not listed
	if strings.HasSuffix(name, ".debug") || strings.HasSuffix(name, ".ko") {
		return nil
	}
	e, err := elfdyn.Read(name, f, info.Size(), elfdyn.Options{Symbols: true})
	if err != nil {
		s.skip(name, errors.New(strings.TrimPrefix(err.Error(), "cannot read "+name+": ")))
		return nil
	}
	if e.Type != elfdyn.Exec && e.Type != elfdyn.Dyn {
		return nil
	}
	if arch := e.Arch(); arch != s.inv.Host.Arch && (arch != "i686" || s.inv.Host.Arch != "x86_64") {
		s.res.Foreign++
		return nil
	}
	if len(e.Needed) == 0 {
		s.res.Static++
		return nil
	}
	s.res.Dynamic++
	a := Application{Path: clean(name), Program: e.Executable(), Class: int(e.Class), Soname: clean(strings.Clone(e.Soname)), ISALevel: e.ISALevel(), Since: info.ModTime().Unix(), Needs: []LibraryNeed{}}
	if pkg, ok := s.owners.of(name); ok {
		p := &s.inv.Packages[pkg]
		a.Package = p.NEVRA().String()
		if p.InstallTime > 0 {
			a.Since = p.InstallTime
		}
	}
	env := ldso.Environment{LibraryPath: s.env}
	switch {
	case e.Interp == "":
	case !s.r.Exists(e.Interp):
		a.NoInterp = clean(e.Interp)
	case s.ownLinker(e.Interp):
		a.OwnLinker, env.Own = clean(strings.Clone(e.Interp)), true
		env.OwnFolders = []string{path.Dir(e.Interp)}
	}
	for _, d := range s.env {
		a.LibraryPath = append(a.LibraryPath, clean(d))
	}
	s.linker.In(env)
	s.bind(&a, ldso.NewObject(name, e))
	s.at[name] = len(s.res.Files)
	s.res.Files = append(s.res.Files, a)
	s.because(s.at[name], why)
	s.native(name, e)
	return nil
}

// bind finds the libraries of a file and who supplies its symbols.
func (s *appScan) bind(a *Application, o *ldso.Object) {
	scope, _ := s.linker.Scope(o)
	versions := map[string][]string{}
	for _, n := range o.File.Needs {
		for _, v := range n.Versions {
			if !v.Weak && !slices.Contains(versions[n.Library], v.Name) {
				versions[n.Library] = append(versions[n.Library], v.Name)
			}
		}
	}
	for _, name := range o.File.Needed {
		n := LibraryNeed{Soname: clean(strings.Clone(name))}
		for _, v := range versions[name] {
			n.Versions = append(n.Versions, clean(strings.Clone(v)))
		}
		slices.Sort(n.Versions)
		if lib := s.linker.Find(name, o); lib != nil {
			n.Path = clean(lib.Real)
			if pkg, ok := s.ownerOf(lib); ok {
				n.Package = s.inv.Packages[pkg].NEVRA().String()
			}
			n.Lacks = lacks(lib.File, n.Versions)
		}
		a.Needs = append(a.Needs, n)
	}
	for _, lib := range scope[1:] {
		if pkg, owned := s.ownerOf(lib); !owned || s.foreign[pkg] {
			if _, seen := s.at[lib.Real]; !seen {
				s.push(lib.Real, "library of "+a.Path, s.env)
			}
		}
	}
	if s.linker.GaveUp() {
		s.skip(a.Path, errors.New("it names too many libraries and folders: not all were looked for"))
	}
	byLib := map[int]map[int]bool{}
	for _, b := range ldso.Bind(scope) {
		if b.By == nil {
			a.Unbound++
			continue
		}
		pkg, owned := s.ownerOf(b.By)
		if !owned {
			continue // lies beside the application and stays
		}
		lib := s.library(b.By, pkg)
		sym := UsedSymbol{Name: b.Symbol.Name, Version: b.Export.Version, Type: b.Export.Type.String()}
		if b.Symbol.Version != "" {
			sym.Version = b.Symbol.Version
		} else {
			sym.AnyVersion = sym.Version != ""
		}
		if b.Symbol.Copied {
			if sym.Copied = b.Symbol.Size; b.Export.Size != sym.Copied {
				sym.Today = b.Export.Size
			}
		}
		i, ok := s.symbols[lib][sym]
		if !ok {
			// Names share the memory of their file's string table, which need not stay for one of them.
			sym.Name, sym.Version = clean(strings.Clone(sym.Name)), clean(strings.Clone(sym.Version))
			i = len(s.res.Libraries[lib].Symbols)
			s.symbols[lib][sym] = i
			s.res.Libraries[lib].Symbols = append(s.res.Libraries[lib].Symbols, sym)
		}
		if byLib[lib] == nil {
			byLib[lib] = map[int]bool{}
		}
		byLib[lib][i] = true
	}
	for lib, set := range byLib {
		imp := SymbolImport{Library: lib, Symbols: make([]int, 0, len(set))}
		for i := range set {
			imp.Symbols = append(imp.Symbols, i)
		}
		s.imports += len(set)
		a.Imports = append(a.Imports, imp)
	}
}

func (s *appScan) ownerOf(o *ldso.Object) (int32, bool) {
	if pkg, ok := s.owners.of(o.Real); ok {
		return pkg, true
	}
	return s.owners.of(o.Path)
}

func (s *appScan) library(o *ldso.Object, pkg int32) int {
	i, ok := s.libs[o.Real]
	if !ok {
		i = len(s.res.Libraries)
		s.libs[o.Real] = i
		soname := o.File.Soname
		if soname == "" {
			soname = path.Base(o.Path)
		}
		s.res.Libraries = append(s.res.Libraries, UsedLibrary{
			Soname: clean(strings.Clone(soname)), Class: int(o.File.Class), Path: clean(o.Real), Package: s.inv.Packages[pkg].NEVRA().String(),
		})
		s.symbols = append(s.symbols, map[UsedSymbol]int{})
	}
	return i
}

// lacks returns the versions that a library does not define. Of one that
// defines none at all ld.so only complains.
func lacks(lib *elfdyn.File, versions []string) []string {
	have := map[string]bool{}
	for _, d := range lib.Defs {
		have[d.Name] = have[d.Name] || !d.Base
	}
	if len(have) == 0 {
		return nil
	}
	var out []string
	for _, v := range versions {
		if !have[v] {
			out = append(out, v)
		}
	}
	return out
}

// finish looks once more for libraries that lie beside, and puts everything in
// order.
func (s *appScan) finish() {
	res := s.res
	slices.SortFunc(res.Files, func(a, b Application) int { return cmp.Compare(a.Path, b.Path) })
	s.beside()
	s.order()
	res.Looked = s.walk.looked
	for reason, c := range s.skips {
		slices.Sort(c.names)
		what := strings.Join(c.names, ", ")
		if more := c.n - len(c.names); more > 0 {
			what += fmt.Sprintf(" and %d more", more)
		}
		res.Skipped = append(res.Skipped, Skipped{what, reason})
	}
	slices.SortFunc(res.Skipped, func(a, b Skipped) int { return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.What, b.What)) })
	s.finishRuntimes()
}

// beside finds libraries that ld.so would not find by itself in the tree of
// the application: programs are often started by a script that sets
// LD_LIBRARY_PATH.
func (s *appScan) beside() {
	files := s.res.Files
	byName := map[string][]int{}
	for i := range files {
		if a := &files[i]; !a.Program {
			byName[path.Base(a.Path)] = append(byName[path.Base(a.Path)], i)
			if a.Soname != "" && a.Soname != path.Base(a.Path) {
				byName[a.Soname] = append(byName[a.Soname], i)
			}
		}
	}
	for i := range files {
		a := &files[i]
		for k := range a.Needs {
			n := &a.Needs[k]
			if n.Path != "" {
				continue
			}
			for _, j := range byName[n.Soname] {
				b := &files[j]
				if b.Class == a.Class && (b.Package != "" && b.Package == a.Package || topFolder(b.Path) == topFolder(a.Path)) {
					n.Path, n.Package, n.Beside = b.Path, b.Package, true
					break
				}
			}
		}
	}
}

// topFolder is the part of a path that one application has to itself:
// /opt/NAME, /usr/local, /srv/NAME.
func topFolder(name string) string {
	parts := strings.SplitN(name, "/", 4)
	if len(parts) < 4 {
		return path.Dir(name)
	}
	return strings.Join(parts[:3], "/")
}

// order sorts libraries and symbols and renumbers what points to them.
func (s *appScan) order() {
	res := s.res
	libs := make([]int, len(res.Libraries))
	to := make([]int, len(res.Libraries))
	syms := make([][]int, len(res.Libraries))
	for i := range libs {
		libs[i] = i
	}
	slices.SortFunc(libs, func(x, y int) int {
		a, b := &res.Libraries[x], &res.Libraries[y]
		return cmp.Or(cmp.Compare(a.Soname, b.Soname), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Path, b.Path))
	})
	sorted := make([]UsedLibrary, len(libs))
	for n, i := range libs {
		to[i] = n
		l := res.Libraries[i]
		order := make([]int, len(l.Symbols))
		for k := range order {
			order[k] = k
		}
		slices.SortFunc(order, func(x, y int) int {
			a, b := &l.Symbols[x], &l.Symbols[y]
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Copied, b.Copied), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Today, b.Today), strings.Compare(fmt.Sprint(a.AnyVersion), fmt.Sprint(b.AnyVersion)))
		})
		list := make([]UsedSymbol, len(order))
		syms[i] = make([]int, len(order))
		for k, x := range order {
			list[k] = l.Symbols[x]
			syms[i][x] = k
		}
		l.Symbols = list
		sorted[n] = l
	}
	res.Libraries = sorted
	for i := range res.Files {
		a := &res.Files[i]
		for k := range a.Imports {
			imp := &a.Imports[k]
			for n, x := range imp.Symbols {
				imp.Symbols[n] = syms[imp.Library][x]
			}
			slices.Sort(imp.Symbols)
			imp.Library = to[imp.Library]
		}
		slices.SortFunc(a.Imports, func(x, y SymbolImport) int { return cmp.Compare(x.Library, y.Library) })
		slices.Sort(a.Why)
	}
}
