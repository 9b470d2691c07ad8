package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// DKMS is one module source that DKMS builds for each kernel (dkms(8)).
type DKMS struct {
	Name, Version string
	// Source is the folder of the sources below the host's root; "" if it is gone.
	Source string
	// Modules are the module names it builds, normalised.
	Modules []string
	// Autoinstall says that it is rebuilt for new kernels.
	Autoinstall bool
	// BuildDepends are other DKMS sources that must be built before.
	BuildDepends []string
	// ExclusiveKernel and ExclusiveArch are regular expressions of the kernels and
	// machines that it can be built for; "" for all.
	ExclusiveKernel, ExclusiveArch string
	// Built lists the kernels that it was built for.
	Built []DKMSBuild
	// Config is the dkms.conf read, "" if there is none; Problem says why it could
	// not be understood.
	Config, Problem string
}

// DKMSBuild is one build of a source.
type DKMSBuild struct {
	Kernel, Arch string
	// Installed says that the modules are in the kernel's tree.
	Installed bool
	// Files are the built modules below the host's root.
	Files []string
}

// DKMS lists the sources under /var/lib/dkms and those in /usr/src that were not
// added to it, sorted by name and version. What a rebuild needs beside them is
// the same for all: kernel-devel of the very kernel, gcc and make.
func (h *Host) DKMS() ([]DKMS, error) {
	const top = "var/lib/dkms"
	var out []DKMS
	known := map[string]bool{}
	names, err := h.names(top)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if info, err := h.stat(top + "/" + name); err != nil || !info.IsDir() {
			continue // dkms_dbversion, mok.key and mok.pub lie there too
		}
		links, err := h.names(top + "/" + name)
		if err != nil {
			return nil, err
		}
		installed := map[string]bool{} // "version\x00kernel\x00arch"
		for _, l := range links {
			if !strings.HasPrefix(l, "kernel-") {
				continue
			}
			// kernel-RELEASE-ARCH -> VERSION/RELEASE/ARCH
			if real, err := h.resolve(top + "/" + name + "/" + l); err == nil {
				parts := strings.Split(real, "/")
				if len(parts) >= 3 {
					installed[strings.Join(parts[len(parts)-3:], "\x00")] = true
				}
			}
		}
		for _, version := range links {
			dir := path.Join(top, name, version)
			if info, err := h.root.Lstat(dir); err != nil || !info.IsDir() {
				continue
			}
			known[name+"-"+version] = true
			d := DKMS{Name: name, Version: version}
			if err := h.dkmsBuilds(&d, dir, installed); err != nil {
				return nil, err
			}
			h.dkmsConf(&d, dir+"/source")
			out = append(out, d)
		}
	}
	sources, err := h.names("usr/src")
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		if known[s] || !h.exists("usr/src/"+s+"/dkms.conf") {
			continue
		}
		d := DKMS{}
		if i := strings.LastIndexByte(s, '-'); i > 0 {
			d.Name, d.Version = s[:i], s[i+1:]
		} else {
			d.Name = s
		}
		h.dkmsConf(&d, "usr/src/"+s)
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Name != out[j].Name {
			return out[i].Name < out[j].Name
		}
		return out[i].Version < out[j].Version
	})
	return out, nil
}

func (h *Host) dkmsBuilds(d *DKMS, dir string, installed map[string]bool) error {
	kernels, err := h.names(dir)
	if err != nil {
		return err
	}
	for _, k := range kernels {
		if k == "source" || k == "build" {
			continue
		}
		if info, err := h.root.Lstat(dir + "/" + k); err != nil || !info.IsDir() {
			continue
		}
		arches, err := h.names(dir + "/" + k)
		if err != nil {
			return err
		}
		for _, arch := range arches {
			files, err := h.names(path.Join(dir, k, arch, "module"))
			if err != nil {
				return err
			}
			b := DKMSBuild{Kernel: k, Arch: arch, Installed: installed[strings.Join([]string{d.Version, k, arch}, "\x00")]}
			for _, f := range files {
				if name, ok := NameOfFile(f); ok {
					b.Files = append(b.Files, path.Join(dir, k, arch, "module", f))
					if !slices.Contains(d.Modules, name) {
						d.Modules = append(d.Modules, name)
					}
				}
			}
			d.Built = append(d.Built, b)
		}
	}
	return nil
}

// dkmsConf reads dkms.conf in a source folder into d.
func (h *Host) dkmsConf(d *DKMS, dir string) {
	real, err := h.resolve(dir)
	if err != nil || !h.exists(real) {
		return
	}
	d.Source = real
	data, err := h.readFile(real+"/dkms.conf", 1<<20)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.Problem = err.Error()
		}
		return
	}
	d.Config = real + "/dkms.conf"
	vars, err := parseShellVars(string(data), map[string]string{"PACKAGE_NAME": d.Name, "PACKAGE_VERSION": d.Version})
	if err != nil {
		d.Problem = err.Error()
	}
	if v := vars["PACKAGE_NAME"]; v != "" && !strings.Contains(v, "$") {
		d.Name = v
	}
	if v := vars["PACKAGE_VERSION"]; v != "" && !strings.Contains(v, "$") && d.Version == "" {
		d.Version = v
	}
	d.Autoinstall = strings.HasPrefix(strings.ToLower(vars["AUTOINSTALL"]), "y")
	d.ExclusiveKernel, d.ExclusiveArch = vars["BUILD_EXCLUSIVE_KERNEL"], vars["BUILD_EXCLUSIVE_ARCH"]
	keys := make([]string, 0, len(vars))
	for k := range vars {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	computed := false
	for _, k := range keys {
		v := vars[k]
		switch name, _, _ := strings.Cut(k, "["); {
		case v == "":
		case name == "BUILT_MODULE_NAME" && strings.ContainsAny(v, "$`"):
			computed = true
		case name == "BUILT_MODULE_NAME":
			if n := NormalizeName(v); !slices.Contains(d.Modules, n) {
				d.Modules = append(d.Modules, n)
			}
		case name == "BUILD_DEPENDS":
			d.BuildDepends = append(d.BuildDepends, strings.Fields(v)...)
		}
	}
	switch {
	case len(d.Modules) > 0 || d.Name == "" || d.Problem != "":
	case computed:
		d.Problem = "its dkms.conf computes the names of its modules"
	default:
		// Without BUILT_MODULE_NAME the only module has the package's name.
		d.Modules = []string{NormalizeName(d.Name)}
	}
	sort.Strings(d.Modules)
}

// parseShellVars reads the assignments of a dkms.conf, which is a shell script:
// NAME=value, NAME[0]="value" and NAME=(value value), quotes removed, $NAME and
// ${NAME} replaced where the value is known. Other commands are passed over,
// nothing is run: a value that depends on them keeps its '$'. An element whose
// index is computed (NAME[$i]) is kept under a name of its own.
//
// Of a name that is set twice, as by the branches of a condition, the first value
// counts, which is the usual case. But what a condition says about the kernels
// that the sources are for (BUILD_EXCLUSIVE_KERNEL) is left out: it is how a
// dkms.conf refuses one that lacks an option, by a value that no kernel matches.
func parseShellVars(text string, known map[string]string) (map[string]string, error) {
	vars := map[string]string{}
	for k, v := range known {
		vars[k] = v
	}
	lines := confLines(text, true)
	depth, total := 0, 0
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		depth = max(depth+shellBlock(l.text), 0)
		name, value, ok := strings.Cut(strings.TrimPrefix(l.text, "export "), "=")
		if !ok || !isShellName(name) {
			continue
		}
		words, err := shellValue(value, vars)
		for joined := 0; errors.Is(err, errOpenQuote) && i+1 < len(lines) && joined < maxShellLines; joined++ {
			i++
			value += "\n" + lines[i].text
			words, err = shellValue(value, vars)
		}
		if err != nil {
			return vars, fmt.Errorf("line %d: %w", l.number, err)
		}
		if depth > 0 && strings.HasPrefix(name, "BUILD_EXCLUSIVE_") {
			continue
		}
		base, index, isElement := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		for k, w := range words {
			switch {
			case len(words) > 1:
				name = fmt.Sprintf("%s[%d]", base, k)
			case isElement && strings.Trim(index, "0123456789") != "":
				name = fmt.Sprintf("%s[%s:%d]", base, index, l.number)
			}
			if total += len(w); total > maxShellVars {
				return vars, tooLarge("all values together")
			}
			if old := vars[name]; old == "" || known[name] != "" {
				vars[name] = w
			}
		}
	}
	return vars, nil
}

// shellBlock tells how many blocks (if, case, loops, functions) a line opens, or
// closes if it is negative.
func shellBlock(line string) int {
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ';' })
	if len(words) == 0 {
		return 0
	}
	n := 0
	switch words[0] {
	case "if", "case", "for", "while", "until", "select":
		n++
	case "fi", "esac", "done", "}":
		return -1
	}
	switch words[len(words)-1] {
	case "fi", "esac", "done", "}":
		n--
	case "{":
		n++
	}
	return n
}

const (
	maxShellLines = 200     // how far a value may go over the lines of a dkms.conf
	maxShellVars  = 1 << 20 // bytes of all values: with variables in them a few lines can make gigabytes
)

var errOpenQuote = errors.New("a quote or parenthesis is not closed")

// shellValue reads what is assigned: one word, or the words of a list.
func shellValue(s string, vars map[string]string) ([]string, error) {
	rest, list := strings.CutPrefix(s, "(")
	if !list {
		w, _, err := shellWord(s, vars, false)
		return []string{w}, err
	}
	var words []string
	total := 0
	for {
		rest = strings.TrimLeft(rest, " \t\n")
		if rest == "" {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, errOpenQuote)
		}
		if rest[0] == ')' {
			return words, nil
		}
		if rest[0] == '#' {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		w, n, err := shellWord(rest, vars, true)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, corrupt("%q in a list", clip(rest))
		}
		if total += len(w); total > maxShellVars {
			return nil, tooLarge("list")
		}
		words = append(words, w)
		rest = rest[n:]
	}
}

func isShellName(s string) bool {
	name, index, ok := strings.Cut(s, "[")
	if ok && !strings.HasSuffix(index, "]") || name == "" {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && !bracketAlnum(c) {
			return false
		}
	}
	return true
}

// shellWord reads the word at the start of s, which in a list ends before a
// parenthesis as well, and returns the number of bytes that it takes.
func shellWord(s string, vars map[string]string, list bool) (string, int, error) {
	var b strings.Builder
	quote := byte(0)
	i := 0
	for ; i < len(s); i++ {
		c := s[i]
		if quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == ';' || list && c == ')') {
			break
		}
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			// Inside of double quotes only these lose their backslash.
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", rune(s[i])) {
				b.WriteByte(c)
			}
			b.WriteByte(s[i])
		case c == '$' && quote != '\'':
			name, n := shellVar(s[i:])
			if v, ok := vars[name]; ok && name != "" {
				b.WriteString(v)
			} else {
				b.WriteString(s[i : i+n])
			}
			i += n - 1
		default:
			b.WriteByte(c)
		}
		if b.Len() > 64<<10 {
			return "", 0, tooLarge("value")
		}
	}
	if quote != 0 {
		return "", 0, fmt.Errorf("%w: %w (%c)", ErrCorrupt, errOpenQuote, quote)
	}
	return b.String(), i, nil
}

// shellVar returns the name of a plain expansion at the start of s and its length.
func shellVar(s string) (name string, n int) {
	if strings.HasPrefix(s, "${") {
		if end := strings.IndexByte(s, '}'); end > 0 && isShellName(s[2:end]) {
			return s[2:end], end + 1
		}
		return "", 2
	}
	n = 1
	for n < len(s) && (s[n] == '_' || bracketAlnum(s[n])) {
		n++
	}
	return s[1:n], n
}

// Akmod is one source package that akmods builds for each kernel.
type Akmod struct {
	Name string // "nvidia" of akmod-nvidia
	// Source is the source package below the host's root; "" if only builds remain.
	Source string
	// Packages are the file names of the built packages in /var/cache/akmods,
	// which carry the kernel's release: kmod-nvidia-5.14.0-427.el9.x86_64-550-1.el9.x86_64.rpm.
	Packages []string
	// Failed are the logs of failed builds.
	Failed []string
}

// Akmods lists what akmods knows: /usr/src/akmods/NAME-kmod.latest or
// NAME-kmod-VERSION.src.rpm, and builds in /var/cache/akmods/NAME.
func (h *Host) Akmods() ([]Akmod, error) {
	found := map[string]*Akmod{}
	get := func(name string) *Akmod {
		if found[name] == nil {
			found[name] = &Akmod{Name: name}
		}
		return found[name]
	}
	const src, cache = "usr/src/akmods", "var/cache/akmods"
	names, err := h.names(src)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if name, _, ok := strings.Cut(n, "-kmod"); ok && (strings.HasSuffix(n, ".src.rpm") || strings.HasSuffix(n, ".latest")) {
			a := get(name)
			if real, err := h.resolve(src + "/" + n); err == nil && h.exists(real) && (a.Source == "" || strings.HasSuffix(n, ".latest")) {
				a.Source = real
			}
		}
	}
	if names, err = h.names(cache); err != nil {
		return nil, err
	}
	for _, n := range names {
		if info, err := h.stat(cache + "/" + n); err != nil || !info.IsDir() {
			continue
		}
		files, err := h.names(cache + "/" + n)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			switch {
			case strings.HasSuffix(f, ".rpm"):
				a := get(n)
				a.Packages = append(a.Packages, f)
			case strings.HasSuffix(f, ".failed.log"):
				a := get(n)
				a.Failed = append(a.Failed, f)
			}
		}
	}
	out := make([]Akmod, 0, len(found))
	for _, a := range found {
		out = append(out, *a)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}
