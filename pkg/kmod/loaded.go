package kmod

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// Loaded is one module in the running kernel.
type Loaded struct {
	Name      string   // as the kernel shows it: with '_'
	Size      uint64   // bytes of kernel memory
	Refs      int      // reference count; -1 where modules cannot be unloaded
	UsedBy    []string // modules that use this one
	Permanent bool     // cannot be unloaded
	State     string   // "Live", "Loading" or "Unloading"
	Taint     string   // taint letters, "" for none; see ExplainModuleTaint
}

// Shown is what /sys/module/NAME says of a loaded module; empty where the kernel
// has no such file.
type Shown struct {
	SrcVersion string // checksum of its sources, of modules that have a version or come of kernels that give all one
	Version    string
	CoreSize   uint64 // bytes of kernel memory without the part that is freed after its start
	Taint      string // taint letters
}

// ParseProcModules reads the text of /proc/modules (kernel/module/procfs.c):
// name, size, reference count, users, state, address and taint letters, one
// module a line. The address is ignored: it is hidden or a secret. Errors wrap
// ErrCorrupt.
func ParseProcModules(r io.Reader) ([]Loaded, error) {
	const maxModules = 65536
	var out []Loaded
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for line := 1; sc.Scan(); line++ {
		if strings.TrimSpace(sc.Text()) == "" {
			continue
		}
		m, err := parseProcModule(sc.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if len(out) == maxModules {
			return nil, tooLarge("more than %d modules", maxModules)
		}
		out = append(out, m)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, nil
}

func parseProcModule(line string) (Loaded, error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return Loaded{}, corrupt("%q has fewer than three fields", clip(line))
	}
	m := Loaded{Name: words[0]}
	if len(m.Name) > maxName {
		return Loaded{}, corrupt("module name of %d bytes", len(m.Name))
	}
	var err error
	if m.Size, err = strconv.ParseUint(words[1], 10, 64); err != nil {
		return Loaded{}, corrupt("size %q of module %s", clip(words[1]), m.Name)
	}
	if words[2] == "-" {
		m.Refs = -1
	} else if m.Refs, err = strconv.Atoi(words[2]); err != nil {
		return Loaded{}, corrupt("reference count %q of module %s", clip(words[2]), m.Name)
	}
	// Kernels of EL6 and older stop here or after the users.
	if len(words) > 3 && words[3] != "-" {
		for user := range strings.SplitSeq(words[3], ",") {
			switch user {
			case "", "-":
			case "[permanent]":
				m.Permanent = true
			default:
				m.UsedBy = append(m.UsedBy, user)
			}
		}
	}
	if len(words) > 4 {
		m.State = words[4]
	}
	if len(words) > 6 {
		flags, ok := strings.CutSuffix(strings.TrimPrefix(words[6], "("), ")")
		if !ok {
			return Loaded{}, corrupt("taint field %q of module %s", clip(words[6]), m.Name)
		}
		// '+' and '-' mark a module that is coming or going, not a taint.
		m.Taint = strings.Trim(flags, "+-")
	}
	return m, nil
}

// Loaded lists the modules of the running kernel, from /proc/modules alone: what
// sysfs says beside takes some files a module, see Shown. A host without
// /proc/modules gives ErrNoModules.
func (h *Host) Loaded() ([]Loaded, error) {
	data, err := h.readFile("proc/modules", maxTextFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list loaded modules: %w", ErrNoModules)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list loaded modules: %w", err)
	}
	mods, err := ParseProcModules(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("cannot list loaded modules: /proc/modules: %w", err)
	}
	return mods, nil
}

// Shown reads what /sys/module says of a loaded module.
func (h *Host) Shown(name string) Shown {
	if strings.Contains(name, "/") {
		return Shown{}
	}
	dir := "sys/module/" + name
	s := Shown{SrcVersion: h.attr(dir + "/srcversion"), Version: h.attr(dir + "/version"), Taint: strings.TrimSpace(h.attr(dir + "/taint"))}
	s.CoreSize, _ = strconv.ParseUint(h.attr(dir+"/coresize"), 10, 64)
	return s
}

// BuiltinSeen lists the folders of /sys/module that belong to no loaded module:
// parts of the kernel image that have parameters or a version. It is what a
// running kernel itself says about its built-in modules, and incomplete.
func (h *Host) BuiltinSeen() ([]string, error) {
	all, err := h.names("sys/module")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range all {
		if !h.exists("sys/module/" + name + "/initstate") {
			out = append(out, name)
		}
	}
	return out, nil
}
