package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// osRelease reads os-release(5). The first file that exists counts, even if
// it is empty.
func (t *taker) osRelease() map[string]string {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := t.h.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.skip(name, err)
			continue
		}
		return ParseOSRelease(data)
	}
	return nil
}

// ParseOSRelease reads the assignments of os-release(5): shell syntax, values
// bare or in single or double quotes, of which the last one for a name counts.
// Lines that are no assignment are passed over, as other readers do.
func ParseOSRelease(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			continue
		}
		out[name] = clean(unquote(value))
	}
	return out
}

// unquote undoes the shell's quoting of one word.
func unquote(s string) string {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String() // the end of the word; what follows is a comment at best
		case c == quote && quote != 0:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			// Inside double quotes a backslash stands for itself before most characters.
			if quote == '"' && !strings.ContainsRune("$\"\\`", rune(s[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func platformMajor(osr map[string]string) int {
	if n, ok := strings.CutPrefix(osr["PLATFORM_ID"], "platform:el"); ok {
		return leadingInt(n)
	}
	return 0
}

func leadingInt(s string) int {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil || n > 99 {
		return 0
	}
	return n
}

// elIDs are the IDs that mark a relative of RHEL when they stand in ID_LIKE.
var elIDs = []string{"rhel", "centos", "almalinux", "rocky", "ol"}

func looksEL(osr map[string]string) bool {
	if platformMajor(osr) > 0 || slices.Contains(elIDs, osr["ID"]) {
		return true
	}
	for _, id := range strings.Fields(osr["ID_LIKE"]) {
		if slices.Contains(elIDs, id) {
			return true
		}
	}
	return osr["ID"] == "scientific" || osr["ID"] == "virtuozzo" || osr["ID"] == "miraclelinux" || osr["ID"] == "asianux" || osr["ID"] == "eurolinux"
}

// notEL tells a system that says of itself that it is something else.
func notEL(osr map[string]string) (name string, foreign bool) {
	if osr["ID"] == "" || looksEL(osr) {
		return "", false
	}
	return cmp.Or(osr["PRETTY_NAME"], osr["NAME"], osr["ID"]), true
}

// signers counts packages by the owner of the key that signed them.
type signers struct {
	byOwner map[string]int
	known   int // signed by some distribution's own key
	claimed int // of known: told by key id, the key itself not being at hand
	total   int
}

// of counts what a distribution signed itself.
func (s signers) of(d catalog.Distro) int {
	n := 0
	for _, o := range d.Owners {
		n += s.byOwner[o]
	}
	return n
}

func (t *taker) signers() signers {
	s := signers{byOwner: map[string]int{}, total: len(t.inv.Packages)}
	kinds := map[string]catalog.Kind{}
	for i := range t.inv.Packages {
		o := t.inv.Packages[i].Signature.Owner
		if o == "" {
			continue
		}
		k, ok := kinds[o]
		if !ok {
			k, _ = t.cat.OwnerKind(o)
			kinds[o] = k
		}
		if k == catalog.KindDistro {
			s.byOwner[o]++
			s.known++
			if t.inv.Packages[i].Signature.Status != "good" {
				s.claimed++
			}
		}
	}
	return s
}

// releasePackages returns the installed packages that claim to say which
// distribution this is, in the catalogue's order.
func (t *taker) releasePackages() (pkgs []*Package, distros []catalog.Distro) {
	all := t.cat.Distros()
	for _, d := range all {
		for _, name := range d.Release {
			for i := range t.inv.Packages {
				if t.inv.Packages[i].Name == name {
					pkgs, distros = append(pkgs, &t.inv.Packages[i]), append(distros, d)
				}
			}
		}
	}
	return pkgs, distros
}

// systemRelease finds a package by the capability that every release package
// provides.
func (t *taker) systemRelease() *Package {
	for i := range t.inv.Packages {
		p := &t.inv.Packages[i]
		if slices.ContainsFunc(p.Provides, func(d rpmver.Dep) bool { return d.Name == "system-release" }) {
			return p
		}
	}
	return nil
}

// identify fills in Host: what os-release says, what the release package says,
// and who signed what is installed.
func (t *taker) identify(osr map[string]string) {
	hst := &t.inv.Host
	kernel, machine := t.h.Uname()
	*hst = Host{
		Name: t.h.Name(), Root: t.h.Root, Live: t.h.Live(), Captured: t.h.Captured(), Kernel: clean(kernel),
		OSRelease: osr, PrettyName: cmp.Or(osr["PRETTY_NAME"], osr["NAME"]),
	}
	if hst.OSRelease == nil {
		hst.OSRelease = map[string]string{}
	}
	byOS, hasOS := t.cat.DistroByOSRelease(osr["ID"], osr["NAME"]+" "+osr["PRETTY_NAME"])
	pkgs, distros := t.releasePackages()
	pkg, byPkg, hasPkg := pickRelease(pkgs, distros, byOS, hasOS)
	if pkg == nil {
		pkg = t.systemRelease()
	}
	sig := t.signers()
	main, _ := t.mostSigned(sig)

	d, known := byPkg, hasPkg
	if !known {
		d, known = byOS, hasOS
	}
	if !known && len(osr) == 0 {
		d, known = main, main.Name != ""
	}
	hst.Distro = OtherEL
	if known {
		hst.Distro = Distro(d.Name)
	}
	if pkg != nil {
		hst.ReleasePackage = pkg.NEVRA().String()
	}
	hst.Major = t.major(osr, pkg)
	hst.Version = version(hst.Distro, hst.Major, osr, pkg)
	hst.Arch = t.arch(pkg, machine)
	hst.State, hst.StateReason = t.state(d, known, byOS, hasOS, byPkg, hasPkg, distros, sig)
	if sig.claimed > 0 {
		hst.StateReason += fmt.Sprintf(" (%d by key id alone: their keys are not on the host)", sig.claimed)
	}
}

// pickRelease chooses among installed release packages: the one that os-release
// agrees with, else the first in the catalogue's order. CentOS Stream 8 began
// with CentOS Linux's package: there os-release decides.
func pickRelease(pkgs []*Package, distros []catalog.Distro, byOS catalog.Distro, hasOS bool) (*Package, catalog.Distro, bool) {
	for i, d := range distros {
		if hasOS && d.Name == byOS.Name {
			return pkgs[i], d, true
		}
	}
	for i, d := range distros {
		if hasOS && d.Name == string(CentOS) && byOS.Name == string(CentOSStream) && pkgs[i].Name == "centos-release" {
			return pkgs[i], byOS, true
		}
	}
	if len(pkgs) > 0 {
		return pkgs[0], distros[0], true
	}
	return nil, catalog.Distro{}, false
}

// mostSigned returns the distribution that signed the most packages.
func (t *taker) mostSigned(s signers) (catalog.Distro, int) {
	var best catalog.Distro
	most := 0
	for _, d := range t.cat.Distros() {
		// CentOS Linux and Stream share their keys; Linux is asked later and wins a tie.
		if n := s.of(d); n > 0 && n >= most {
			best, most = d, n
		}
	}
	return best, most
}

// stray is how many foreign packages in a hundred make a host half migrated. A
// few remain on every migrated host: same version, not exchanged.
const stray = 10

func (t *taker) state(d catalog.Distro, known bool, byOS catalog.Distro, hasOS bool, byPkg catalog.Distro, hasPkg bool, installed []catalog.Distro, sig signers) (State, string) {
	alma, _ := t.cat.Distro(string(AlmaLinux))
	n := sig.of(alma)
	main, most := t.mostSigned(sig)
	switch {
	case sig.total == 0:
		return StateUnknown, "no package is installed"
	case hasOS && hasPkg && byOS.Name != byPkg.Name:
		return StateHalf, fmt.Sprintf("os-release says %s, the release package says %s", byOS.Title, byPkg.Title)
	case len(installed) > 1 && slices.ContainsFunc(installed, func(o catalog.Distro) bool { return o.Name == alma.Name }) &&
		slices.ContainsFunc(installed, func(o catalog.Distro) bool { return o.Name != alma.Name }):
		return StateHalf, "release packages of AlmaLinux and of another distribution are installed together"
	case known && !hasPkg && !hasOS:
		return StateHalf, fmt.Sprintf("there is neither an os-release nor a release package, as after a migration that stopped half way; most packages are signed by %s", main.Title)
	case known && !hasPkg:
		return StateHalf, fmt.Sprintf("os-release says %s, but no release package is installed, as after a migration that stopped half way", byOS.Title)
	case !known:
		if most > 0 {
			return StateUnknown, fmt.Sprintf("the distribution is not in the catalogue; %s signed by %s", count(most, sig.total), main.Title)
		}
		return StateUnknown, "the distribution is not in the catalogue"
	case d.Name == alma.Name:
		foreign := sig.known - n
		switch {
		case sig.known == 0:
			return StateAlmaLinux, "os-release and release package say AlmaLinux; no package is signed by a distribution's key that is known"
		case foreign*100 > sig.known*stray:
			return StateHalf, fmt.Sprintf("os-release and release package say AlmaLinux, but %s signed by another distribution", count(foreign, sig.total))
		case foreign > 0:
			return StateAlmaLinux, fmt.Sprintf("os-release and release package say AlmaLinux; %s still signed by another distribution", count(foreign, sig.total))
		}
		return StateAlmaLinux, fmt.Sprintf("os-release and release package say AlmaLinux, and %s signed by it", count(n, sig.total))
	}
	own := sig.of(d)
	switch {
	case sig.known == 0:
		return StateSource, fmt.Sprintf("identity says %s; no package is signed by a distribution's key that is known", d.Title)
	case n*100 > sig.known*stray:
		return StateHalf, fmt.Sprintf("identity says %s, but %s signed by AlmaLinux", d.Title, count(n, sig.total))
	case n > 0:
		return StateSource, fmt.Sprintf("identity says %s, and %s signed by it; %d by AlmaLinux", d.Title, count(own, sig.total), n)
	}
	return StateSource, fmt.Sprintf("identity says %s, and %s signed by it", d.Title, count(own, sig.total))
}

func count(n, total int) string {
	if n == 1 {
		return fmt.Sprintf("1 of %d packages is", total)
	}
	return fmt.Sprintf("%d of %d packages are", n, total)
}

// major finds the EL release: os-release's platform, the release package's
// version, os-release's version, the dist tag of most packages.
func (t *taker) major(osr map[string]string, pkg *Package) int {
	if n := platformMajor(osr); n > 0 {
		return n
	}
	if pkg != nil {
		if n := leadingInt(pkg.EVR.Version); n > 0 {
			return n
		}
	}
	if n := leadingInt(osr["VERSION_ID"]); n > 0 && looksEL(osr) {
		return n
	}
	tags := map[int]int{}
	best := 0
	for i := range t.inv.Packages {
		if _, tag, ok := strings.Cut(t.inv.Packages[i].EVR.Release, ".el"); ok {
			if n := leadingInt(tag); n > 0 {
				if tags[n]++; tags[n] > tags[best] {
					best = n
				}
			}
		}
	}
	return best
}

func version(d Distro, major int, osr map[string]string, pkg *Package) string {
	v := osr["VERSION_ID"]
	if d == CentOSStream || pkg == nil { // Stream's release package counts its own builds: 9.0
		return cmp.Or(v, strconv.Itoa(major))
	}
	if strings.Contains(pkg.EVR.Version, ".") {
		return pkg.EVR.Version
	}
	// CentOS 7 has the minor in the release: centos-release-7-9.2009.0.el7.centos.
	if d == CentOS && major <= 7 {
		parts := strings.Split(pkg.EVR.Release, ".")
		if len(parts) > 1 && leadingInt(parts[0]) > 0 && len(parts[1]) == 4 {
			return pkg.EVR.Version + "." + parts[0] + "." + parts[1]
		}
	}
	if strings.Contains(v, ".") {
		return v
	}
	return cmp.Or(pkg.EVR.Version, v)
}

// arch finds the base architecture: that of the release package, of most
// packages, of the running system.
func (t *taker) arch(pkg *Package, machine string) string {
	if pkg != nil && pkg.Arch != "noarch" && pkg.Arch != "" {
		return baseArch(pkg.Arch)
	}
	n := map[string]int{}
	best := ""
	for i := range t.inv.Packages {
		a := t.inv.Packages[i].Arch
		if a == "noarch" || a == "" || a == "src" {
			continue
		}
		a = baseArch(a)
		n[a]++
		if n[a] > n[best] || n[a] == n[best] && a < best {
			best = a
		}
	}
	return cmp.Or(best, baseArch(machine))
}

// baseArch is dnf's $basearch.
func baseArch(arch string) string {
	switch arch {
	case "i386", "i486", "i586", "i686", "athlon", "geode":
		return "i386"
	case "amd64", "ia32e":
		return "x86_64"
	case "armv8l", "arm64":
		return "aarch64"
	case "ppc64p7":
		return "ppc64"
	}
	return arch
}

// Supported tells whether a host is one that can be judged: an Enterprise
// Linux of a known major release. The error wraps ErrNotEL or ErrUnknownMajor.
func (h *Host) Supported() error {
	name := cmp.Or(h.PrettyName, string(h.Distro))
	switch {
	case h.Distro == NotEL:
		return fmt.Errorf("%s: %w", name, ErrNotEL)
	case h.Major == 0:
		return fmt.Errorf("%s: %w", name, ErrUnknownMajor)
	case h.Major < 7 || h.Major > 10:
		return fmt.Errorf("%s is EL %d, supported are 7 to 10: %w", name, h.Major, ErrUnknownMajor)
	}
	return nil
}
