package kmod

import (
	"path"
	"sort"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// PackageKernel is what the dependencies of a kernel or kmod package say, as
// the generators of redhat-rpm-config and kernel-rpm-macros write them.
type PackageKernel struct {
	// Symbols are kernel(NAME) = CRC and ksym(NAME) = CRC.
	Symbols []Symbol
	// Modules are kmod(NAME.ko), normalised and sorted.
	Modules []string
	// ModuleRanges are the same entries as they stand, where they carry a version
	// (kmod(hpsa.ko) >= 3.4).
	ModuleRanges []rpmver.Dep
	// ModAliases are the device aliases of the package's modules.
	ModAliases []ModAlias
	// Unames are the kernel releases named as kernel-uname-r and its relatives,
	// by dependency name: {"kernel-core-uname-r": ["5.14.0-362.8.1.el9_3.x86_64"]}.
	Unames map[string][]string
	// InstallOnly are the names in installonlypkg(...): "kernel",
	// "kernel-module", "vm".
	InstallOnly []string
}

// ModAlias is a modalias(PATTERN) dependency. The pattern stands for several
// aliases of a module: single characters are merged into brackets.
type ModAlias struct {
	Pattern string
	// Version is the module's own version, '-' replaced by '_'; often empty.
	Version string
}

// ParsePackageDeps picks the kernel's entries out of a package's Provides (what
// a kernel or kmod offers), Requires (what a kmod needs) or Supplements. Other
// entries are passed over. Errors wrap ErrCorrupt: an entry that has the form of
// a symbol but no readable CRC would otherwise be an import never checked.
func ParsePackageDeps(deps []rpmver.Dep) (PackageKernel, error) {
	p := PackageKernel{Unames: map[string][]string{}}
	for _, d := range deps {
		kind, arg, ok := cutParens(d.Name)
		if !ok {
			if strings.HasSuffix(d.Name, "uname-r") && d.EVR.Version != "" {
				p.Unames[d.Name] = append(p.Unames[d.Name], bareEVR(d.EVR))
			}
			continue
		}
		switch kind {
		case "kernel", "ksym":
			s := Symbol{Name: arg}
			// kernel(foo) without a version exists in kernels without CRCs.
			if v := d.EVR.Version; v != "" {
				crc, err := parseCRC(v)
				if err != nil {
					// Some packages use kernel(x) for something else than a symbol.
					if !strings.HasPrefix(v, "0x") {
						continue
					}
					return PackageKernel{}, err
				}
				s.CRC, s.HasCRC = crc, true
			}
			p.Symbols = append(p.Symbols, s)
		case "kmod":
			name, ok := NameOfFile(path.Base(arg))
			if !ok {
				name = NormalizeName(arg)
			}
			p.Modules = append(p.Modules, name)
			if d.EVR.Version != "" {
				p.ModuleRanges = append(p.ModuleRanges, d)
			}
		case "modalias":
			p.ModAliases = append(p.ModAliases, ModAlias{Pattern: arg, Version: bareEVR(d.EVR)})
		case "installonlypkg":
			p.InstallOnly = append(p.InstallOnly, arg)
		}
	}
	sort.Strings(p.Modules)
	return p, nil
}

// cutParens splits "kind(argument)"; the argument may hold parentheses, a
// trailing "(64bit)" marker of a library does not count as one.
func cutParens(name string) (kind, arg string, ok bool) {
	kind, arg, ok = strings.Cut(name, "(")
	if !ok || kind == "" || !strings.HasSuffix(arg, ")") {
		return "", "", false
	}
	return kind, arg[:len(arg)-1], true
}

// bareEVR joins version and release without the epoch, as uname -r prints it.
func bareEVR(e rpmver.EVR) string {
	if e.Release == "" {
		return e.Version
	}
	return e.Version + "-" + e.Release
}
