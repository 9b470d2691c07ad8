package kmod

import (
	"fmt"
	"strconv"
	"strings"
)

// TaintFlag is one reason for a kernel to call itself or a module tainted.
type TaintFlag struct {
	Bit     int    // bit of /proc/sys/kernel/tainted
	Letter  byte   // as in /proc/modules, /sys/module/*/taint and oops texts; 0 if none
	Module  bool   // can be set for a single module
	Meaning string // one line
	// Vendor is set for the bits that Red Hat's kernels use and others do not.
	Vendor bool
}

// taintFlags follows Documentation/admin-guide/tainted-kernels.rst and
// kernel/panic.c. Bits 27 to 30 are Red Hat's own.
var taintFlags = [...]TaintFlag{
	{Bit: 0, Letter: 'P', Module: true, Meaning: "proprietary module: its licence is not GPL-compatible"},
	{Bit: 1, Letter: 'F', Module: true, Meaning: "module was force loaded: its vermagic or symbol versions did not match"},
	{Bit: 2, Letter: 'S', Meaning: "kernel runs on hardware that is out of specification"},
	{Bit: 3, Letter: 'R', Meaning: "module was force unloaded"},
	{Bit: 4, Letter: 'M', Meaning: "processor reported a machine check exception"},
	{Bit: 5, Letter: 'B', Meaning: "bad page referenced or unexpected page flags"},
	{Bit: 6, Letter: 'U', Meaning: "taint requested by a program in user space"},
	{Bit: 7, Letter: 'D', Meaning: "kernel died: an oops or BUG happened"},
	{Bit: 8, Letter: 'A', Meaning: "an ACPI table was overridden"},
	{Bit: 9, Letter: 'W', Meaning: "kernel issued a warning"},
	{Bit: 10, Letter: 'C', Module: true, Meaning: "staging driver: of unknown quality"},
	{Bit: 11, Letter: 'I', Meaning: "workaround for a firmware bug is active"},
	{Bit: 12, Letter: 'O', Module: true, Meaning: "out-of-tree module: not built as part of the kernel"},
	{Bit: 13, Letter: 'E', Module: true, Meaning: "unsigned module in a kernel that checks module signatures"},
	{Bit: 14, Letter: 'L', Meaning: "soft lockup happened"},
	{Bit: 15, Letter: 'K', Module: true, Meaning: "live patch is applied"},
	{Bit: 16, Letter: 'X', Module: true, Meaning: "auxiliary taint: defined by the distribution"},
	{Bit: 17, Letter: 'T', Module: true, Meaning: "built with randomised structure layout"},
	{Bit: 18, Letter: 'N', Module: true, Meaning: "in-kernel test (KUnit) ran"},
	{Bit: 19, Letter: 'J', Module: true, Meaning: "firmware was changed through fwctl"},
	{Bit: 27, Letter: 'r', Module: true, Vendor: true, Meaning: "support for this hardware or module was removed by the vendor"},
	{Bit: 28, Letter: 'H', Module: true, Vendor: true, Meaning: "hardware is not supported by the vendor"},
	{Bit: 29, Letter: 't', Module: true, Vendor: true, Meaning: "technology preview of the vendor"},
	{Bit: 30, Letter: 'u', Vendor: true, Meaning: "unprivileged BPF is enabled"},
}

// ExplainTaint returns the flags set in a /proc/sys/kernel/tainted value, lowest
// bit first. A bit without a known meaning is returned with Letter 0.
func ExplainTaint(mask uint64) []TaintFlag {
	var out []TaintFlag
	for bit := range 64 {
		if mask&(1<<bit) == 0 {
			continue
		}
		flag := TaintFlag{Bit: bit, Meaning: "not known"}
		for _, f := range taintFlags {
			if f.Bit == bit {
				flag = f
			}
		}
		out = append(out, flag)
	}
	return out
}

// ExplainModuleTaint returns the flags behind the letters of one module, as
// /proc/modules and /sys/module/*/taint show them, in the order given. 'G' (GPL
// module) is no taint and is left out. A letter without a known meaning is
// returned with Bit -1.
func ExplainModuleTaint(letters string) []TaintFlag {
	var out []TaintFlag
next:
	for i := range len(letters) {
		if letters[i] == 'G' {
			continue
		}
		for _, f := range taintFlags {
			if f.Letter == letters[i] {
				out = append(out, f)
				continue next
			}
		}
		out = append(out, TaintFlag{Bit: -1, Letter: letters[i], Module: true, Meaning: "not known"})
	}
	return out
}

// Tainted reads /proc/sys/kernel/tainted of the host.
func (h *Host) Tainted() (uint64, error) {
	const file = "proc/sys/kernel/tainted"
	data, err := h.readFile(file, maxAttr)
	if err != nil {
		return 0, fmt.Errorf("cannot read kernel taint: %w", err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read kernel taint /%s: %w", file, corrupt("%q", clip(string(data))))
	}
	return mask, nil
}

// Release returns the release of the running kernel, as uname -r prints it,
// from /proc/sys/kernel/osrelease.
func (h *Host) Release() (string, error) {
	data, err := h.readFile("proc/sys/kernel/osrelease", maxAttr)
	if err != nil {
		return "", fmt.Errorf("cannot read kernel release: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
