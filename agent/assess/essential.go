package assess

import (
	"slices"
	"strings"
)

// essentialRoots are the packages without which a host does not boot, cannot
// be reached or cannot be managed: what dnf protects (dnf.conf(5),
// protected_packages), and what brings the host up and lets people in.
var essentialRoots = []string{
	"basesystem", "bash", "coreutils", "dnf", "filesystem", "glibc", "kernel", "kernel-core", "NetworkManager", "initscripts",
	"openssh-server", "rpm", "setup", "sudo", "systemd", "yum", "grub2-pc", "grub2-efi-x64", "grub2-efi-aa64", "shim-x64", "shim-aa64", "dracut",
}

// essential tells whether a package of this name is needed by what keeps the
// host alive. Nobody is ever told to remove such a package.
func (a *assessor) essential(name string) bool {
	if a.vital == nil {
		a.vital = a.findVital()
	}
	return a.vital[name]
}

// findVital follows the installed packages' requirements from the roots.
func (a *assessor) findVital() map[string]bool {
	provides := map[string][]int{}
	byName := map[string][]int{}
	for i := range a.inv.Packages {
		p := &a.inv.Packages[i]
		byName[p.Name] = append(byName[p.Name], i)
		for _, d := range p.Provides {
			provides[d.Name] = append(provides[d.Name], i)
		}
	}
	byFile := func(path string) (owners []int) {
		for i := range a.inv.Packages {
			if a.inv.Packages[i].Files.Has(path) {
				owners = append(owners, i)
			}
		}
		return owners
	}
	vital := map[string]bool{}
	var todo []int
	take := func(list []int) {
		for _, i := range list {
			if n := a.inv.Packages[i].Name; !vital[n] {
				vital[n] = true
				todo = append(todo, byName[n]...)
			}
		}
	}
	for _, n := range essentialRoots {
		take(byName[n])
	}
	files := map[string]bool{}
	for len(todo) > 0 {
		p := &a.inv.Packages[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, d := range p.Requires {
			owners := provides[d.Name]
			if len(owners) == 0 && strings.HasPrefix(d.Name, "/") && !files[d.Name] {
				files[d.Name] = true
				owners = byFile(d.Name)
			}
			take(owners)
		}
	}
	return vital
}

// removal is the command that removes packages, without those that the host
// lives on; empty when none is left.
func (a *assessor) removal(names ...string) string {
	var safe []string
	for _, n := range names {
		if !a.essential(n) && !slices.Contains(safe, n) {
			safe = append(safe, n)
		}
	}
	const most = 8
	more := ""
	if len(safe) > most {
		safe, more = safe[:most], " ..."
	}
	for i, n := range safe {
		safe[i] = shellWord(n)
	}
	if len(safe) == 0 {
		return ""
	}
	return "dnf remove " + strings.Join(safe, " ") + more
}
