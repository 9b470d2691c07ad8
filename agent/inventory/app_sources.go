package inventory

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// What is read of units and processes.
const (
	maxUnit      = 1 << 20
	maxMaps      = 64 << 20
	maxUnitWords = 16
	maxExamples  = 3
)

// unitDirs are where systemd looks for units (systemd.unit(5)).
var unitDirs = []string{
	"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// unitFiles is what of one unit is read: the file that wins, and its drop-ins.
type unitFiles struct {
	main  string
	drops map[string]string // by base name: the first folder's counts
}

// units queues the files that units start, with the LD_LIBRARY_PATH that they
// set.
func (s *appScan) units() {
	units := map[string]*unitFiles{}
	unit := func(name string) *unitFiles {
		u := units[name]
		if u == nil {
			u = &unitFiles{drops: map[string]string{}}
			units[name] = u
		}
		return u
	}
	for _, dir := range unitDirs {
		names, err := s.r.Names(dir)
		if err != nil {
			s.skip(dir, err)
			continue
		}
		for _, n := range names {
			switch {
			case strings.HasSuffix(n, ".service"):
				if u := unit(n); u.main == "" {
					u.main = path.Join(dir, n)
				}
			case strings.HasSuffix(n, ".service.d"):
				drops, err := s.r.Names(path.Join(dir, n))
				if err != nil {
					s.skip(path.Join(dir, n), err)
					continue
				}
				for _, d := range drops {
					if _, have := unit(strings.TrimSuffix(n, ".d")).drops[d]; !have && strings.HasSuffix(d, ".conf") {
						unit(strings.TrimSuffix(n, ".d")).drops[d] = path.Join(dir, n, d)
					}
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(units)) {
		u := units[name]
		var files []string
		if u.main != "" {
			files = append(files, u.main)
		}
		for _, d := range slices.Sorted(maps.Keys(u.drops)) {
			files = append(files, u.drops[d])
		}
		s.unit(name, files)
	}
}

// libraryPathKey is the variable that ld.so reads.
const libraryPathKey = "LD_LIBRARY_PATH="

// unit queues every absolute path that stands in an Exec line: a service is
// also started by way of env, sh or an interpreter.
func (s *appScan) unit(name string, files []string) {
	var execs [][]string
	var own, envFiles []string
	for _, file := range files {
		data, err := s.r.ReadFile(file, maxUnit)
		if err != nil {
			// A masked unit is a link to /dev/null.
			if !errors.Is(err, fs.ErrNotExist) && s.r.LinkBase(file) != "null" {
				s.skip(file, err)
			}
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			switch value = strings.TrimSpace(value); {
			case !ok:
			case strings.HasPrefix(key, "Exec"):
				words := strings.Fields(value)
				execs = append(execs, words[:min(len(words), maxUnitWords)])
			case key == "Environment" && value == "":
				own = nil
			case key == "Environment":
				for _, w := range quoted(value) {
					if v, ok := strings.CutPrefix(w, libraryPathKey); ok {
						own = searchPath(v)
					}
				}
			case key == "EnvironmentFile" && value == "":
				envFiles = nil
			case key == "EnvironmentFile":
				envFiles = append(envFiles, strings.Trim(strings.TrimPrefix(value, "-"), `"'`))
			}
		}
	}
	for _, f := range envFiles { // these win (systemd.exec(5))
		if !path.IsAbs(f) {
			continue
		}
		data, err := s.r.ReadFile(f, maxUnit)
		if err != nil {
			continue // optional, a pattern, or the program's own trouble
		}
		for line := range strings.Lines(string(data)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), libraryPathKey); ok {
				own = searchPath(strings.Trim(v, `"'`))
			}
		}
	}
	for _, words := range execs {
		env := own
		for _, w := range words {
			if v, ok := strings.CutPrefix(strings.Trim(w, `"'`), libraryPathKey); ok {
				env = searchPath(v) // by way of env
			}
			w = strings.Trim(strings.TrimLeft(w, "@-:+!|"), `"';`)
			if !path.IsAbs(w) || strings.HasPrefix(w, "/dev/") || strings.HasPrefix(w, "/proc/") || strings.HasPrefix(w, "/sys/") {
				continue
			}
			if pkg, owned := s.owners.of(w); !owned || s.foreign[pkg] {
				s.push(path.Clean(w), "unit "+clean(name), env)
			}
		}
	}
}

// quoted splits words as systemd.syntax(7) does, as far as paths need it.
func quoted(s string) []string {
	var out []string
	var b strings.Builder
	quote, inside := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inside {
				out = append(out, b.String())
			}
			b.Reset()
			inside = false
		default:
			b.WriteRune(r)
			inside = true
		}
	}
	if inside {
		out = append(out, b.String())
	}
	return out
}

// maxSearchPath is how many folders of LD_LIBRARY_PATH are searched.
const maxSearchPath = 64

// searchPath splits LD_LIBRARY_PATH. Relative folders mean the one that a
// program is started in.
func searchPath(v string) []string {
	var out []string
	for _, d := range strings.FieldsFunc(v, func(r rune) bool { return r == ':' || r == ';' }) {
		if (path.IsAbs(d) || strings.HasPrefix(d, "$")) && len(out) < maxSearchPath {
			out = append(out, d)
		}
	}
	return out
}

// processes queues the programs that run and the libraries that they have
// mapped, where both are files of this root: those of containers are not.
func (s *appScan) processes() {
	names, err := s.r.Names("/proc")
	if err != nil {
		s.skip("/proc", err)
		return
	}
	self := strconv.Itoa(os.Getpid())
	elsewhere, gone := 0, 0
	for _, pid := range names {
		if n, err := strconv.Atoi(pid); err != nil || n <= 0 || pid == self {
			continue
		}
		exe, err := os.Readlink("/proc/" + pid + "/exe")
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.skip("/proc/"+pid+"/exe", err)
			}
			continue // a thread of the kernel, or it has ended
		}
		if strings.HasSuffix(exe, " (deleted)") {
			gone++
			continue
		}
		if s.elsewhere(exe) {
			continue // its server may be dead: not even asked whether it is the same file
		}
		if !sameFile("/proc/"+pid+"/exe", exe) {
			elsewhere++
			continue
		}
		if root, err := os.Readlink("/proc/" + pid + "/root"); err == nil && root != "/" {
			elsewhere++
			continue
		}
		why := "process " + clean(s.r.Attr("/proc/"+pid+"/comm"))
		env := processLibraryPath(pid)
		s.process(exe, why, 0, env)
		s.maps(pid, exe, why, env)
	}
	if elsewhere > 0 {
		s.skip(strconv.Itoa(elsewhere)+" processes", errors.New("they run in containers or chroots, whose files are not the host's"))
	}
	if gone > 0 {
		s.skip(strconv.Itoa(gone)+" processes", errors.New("their program was deleted or replaced since they started"))
	}
}

// maxEnviron is what of a process's environment is read.
const maxEnviron = 1 << 20

// processLibraryPath is the LD_LIBRARY_PATH that a process was started with, as
// far as it may be read.
func processLibraryPath(pid string) []string {
	f, err := os.Open("/proc/" + pid + "/environ")
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return nil
	}
	for v := range bytes.SplitSeq(data, []byte{0}) {
		if v, ok := bytes.CutPrefix(v, []byte(libraryPathKey)); ok {
			return searchPath(string(v))
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// process queues a file; ino is its inode where the kernel told it.
func (s *appScan) process(name, why string, ino uint64, env []string) {
	if pkg, owned := s.owners.of(name); owned && !s.foreign[pkg] {
		return
	}
	if i, seen := s.at[name]; seen {
		s.because(i, why)
		return
	}
	if s.elsewhere(name) {
		return
	}
	if ino != 0 {
		info, err := os.Stat(name)
		if err != nil {
			return
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Ino != ino {
			return
		}
	}
	s.push(name, why, env)
}

// maps reads what is mapped to be executed (proc_pid_maps(5)).
func (s *appScan) maps(pid, exe, why string, env []string) {
	f, err := os.Open("/proc/" + pid + "/maps")
	if err != nil {
		return
	}
	defer f.Close()
	done := map[string]bool{exe: true}
	sc := bufio.NewScanner(&limited{f, maxMaps})
	sc.Buffer(nil, 64<<10)
	for sc.Scan() {
		b := sc.Bytes()
		i := bytes.IndexByte(b, '/')
		if i < 0 {
			continue
		}
		f := strings.Fields(string(b[:i]))
		if len(f) != 5 || len(f[1]) < 3 || f[1][2] != 'x' {
			continue
		}
		name := string(b[i:])
		if done[name] || strings.HasSuffix(name, " (deleted)") {
			continue
		}
		done[name] = true
		if ino, err := strconv.ParseUint(f[4], 10, 64); err == nil {
			s.process(name, why, ino, env)
		}
	}
}

// limited ends after n bytes.
type limited struct {
	f *os.File
	n int
}

func (l *limited) Read(b []byte) (int, error) {
	if l.n <= 0 {
		return 0, errors.New("too much")
	}
	n, err := l.f.Read(b[:min(len(b), l.n)])
	l.n -= n
	return n, err
}

// Where native modules of interpreters lie. The folders are those that the
// interpreters' own build tools use.
var (
	pythonDir   = regexp.MustCompile(`/python(3\.\d+|2\.\d+)/(?:site|dist)-packages/`)
	pythonLocal = regexp.MustCompile(`\.cpython-(\d)(\d+)[a-z]*-`)
	rubyDir     = regexp.MustCompile(`/(?:extensions|site_ruby|vendor_ruby)/(?:[^/]+/)?(\d+\.\d+)\.\d+`)
	perlDir     = regexp.MustCompile(`/perl5?/(?:.*/)?(?:(5\.\d+)(?:\.\d+)?/)?(?:.*/)?auto/`)
	phpDir      = regexp.MustCompile(`/(?:no-debug-)?(?:non-zts|zts)-(\d{8})/|/php/(?:\d+(?:\.\d+)?/)?(?:modules|extensions)/`)
	nodeExport  = regexp.MustCompile(`^node_register_module_v(\d+)$`)
)

// native notes a native module of an interpreter.
func (s *appScan) native(name string, e *elfdyn.File) {
	if e.Executable() && !strings.HasSuffix(name, ".so") && !strings.HasSuffix(name, ".node") {
		return
	}
	kind, version, dep := "", "", ""
	switch {
	case strings.HasSuffix(name, ".node"):
		kind = "node"
		for i := range e.Exports {
			if m := nodeExport.FindStringSubmatch(e.Exports[i].Name); m != nil {
				version = m[1]
				dep = "nodejs(abi) = " + version
			}
		}
		if version == "" && s.importsPrefix(e, "napi_") {
			return // Node-API is the same in all releases
		}
	case !strings.HasSuffix(name, ".so"):
		return
	default:
		if m := pythonLocal.FindStringSubmatch(path.Base(name)); m != nil {
			kind, version = "python", m[1]+"."+m[2]
		} else if m := pythonDir.FindStringSubmatch(name); m != nil && (strings.HasPrefix(m[1], "2.") || !strings.Contains(path.Base(name), ".abi3.")) && s.importsPrefix(e, "Py") {
			kind, version = "python", m[1]
		}
		if kind == "python" {
			if m := pythonDir.FindStringSubmatch(name); m == nil {
				return // not where an interpreter of the host would look: a bundle with its own
			}
			dep = "python(abi) = " + version
			break
		}
		if m := rubyDir.FindStringSubmatch(name); m != nil && s.importsPrefix(e, "rb_") {
			kind, version = "ruby", m[1]
			break
		}
		if m := perlDir.FindStringSubmatch(name); m != nil && s.importsPrefix(e, "Perl_") {
			kind, version = "perl", m[1]
			break
		}
		if m := phpDir.FindStringSubmatch(name); m != nil && s.importsPrefix(e, "zend_") {
			kind, version = "php", m[1]
			if version != "" {
				dep = "php(zend-abi) = " + version + "-" + strconv.Itoa(int(e.Class))
			}
		}
	}
	if kind == "" {
		return
	}
	r := s.runtimes[kind+" "+version]
	if r == nil {
		r = &Runtime{Kind: kind, Version: version, Dep: dep}
		s.runtimes[kind+" "+version] = r
	}
	if r.Modules++; len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, clean(name))
	}
}

func (s *appScan) importsPrefix(e *elfdyn.File, prefix string) bool {
	return slices.ContainsFunc(e.Imports, func(x elfdyn.Symbol) bool { return strings.HasPrefix(strings.TrimPrefix(x.Name, "_"), prefix) })
}

// interpreters are packages that stand for an interpreter whose modules do not
// tell what they were made for.
var interpreters = map[string][]string{
	"perl": {"perl-libs", "perl-interpreter", "perl"}, "php": {"php-common", "php"}, "ruby": {"ruby-libs", "ruby"}, "node": {"nodejs"},
}

// finishRuntimes finds the installed package that each interpreter is.
func (s *appScan) finishRuntimes() {
	for _, r := range s.runtimes {
		var pkg *Package
		if r.Dep != "" {
			if want, err := rpmver.ParseDep(r.Dep); err == nil {
				pkg = s.provider(want)
			}
		} else {
			for _, name := range interpreters[r.Kind] {
				if i := slices.IndexFunc(s.inv.Packages, func(p Package) bool { return p.Name == name }); i >= 0 {
					pkg = &s.inv.Packages[i]
					break
				}
			}
		}
		if pkg != nil {
			r.Package = pkg.NEVRA().String()
			if f := strings.SplitN(pkg.ModuleLabel, ":", 3); len(f) > 2 {
				r.Stream = f[0] + ":" + f[1]
			}
		}
		slices.Sort(r.Examples)
		s.res.Runtimes = append(s.res.Runtimes, *r)
	}
	if env := s.inv.Environment; env != nil {
		for _, a := range env.Alternatives {
			if a.Name != "java" && a.Name != "javac" {
				continue
			}
			r := Runtime{Kind: "java", Version: clean(a.Target)}
			if real, err := s.r.Resolve(a.Target); err == nil {
				if p, ok := s.owners.of("/" + real); ok {
					r.Package = s.inv.Packages[p].NEVRA().String()
				}
			}
			s.res.Runtimes = append(s.res.Runtimes, r)
		}
	}
	slices.SortFunc(s.res.Runtimes, func(a, b Runtime) int {
		return strings.Compare(a.Kind+"\x00"+a.Version, b.Kind+"\x00"+b.Version)
	})
}

func (s *appScan) provider(want rpmver.Dep) *Package {
	for i := range s.inv.Packages {
		for _, d := range s.inv.Packages[i].Provides {
			if d.Name == want.Name && want.Matches(d) {
				return &s.inv.Packages[i]
			}
		}
	}
	return nil
}
