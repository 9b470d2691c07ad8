package kmod

import (
	"slices"
	"strings"
)

// Vermagic is the string a kernel compares before it loads a module
// (include/linux/vermagic.h): the release, then words for the build options
// that change the layout of kernel structures.
type Vermagic struct {
	Release string   // what uname -r prints on the kernel the module was built for
	Flags   []string // the remaining words: SMP, preempt, mod_unload, modversions, aarch64, ...
}

// ParseVermagic splits a vermagic string.
func ParseVermagic(s string) Vermagic {
	words := strings.Fields(s)
	if len(words) == 0 {
		return Vermagic{}
	}
	return Vermagic{Release: words[0], Flags: words[1:]}
}

// String returns the words joined by single spaces.
func (v Vermagic) String() string {
	return strings.Join(append([]string{v.Release}, v.Flags...), " ")
}

// Has reports whether one of the words after the release is flag.
func (v Vermagic) Has(flag string) bool { return slices.Contains(v.Flags, flag) }

// SMP reports whether the module was built for a multi-processor kernel.
func (v Vermagic) SMP() bool { return v.Has("SMP") }

// Preempt returns the preemption model: "preempt", "preempt_rt" or "".
func (v Vermagic) Preempt() string {
	for _, f := range v.Flags {
		if f == "preempt" || f == "preempt_rt" {
			return f
		}
	}
	return ""
}

// Modversions reports whether symbol CRCs are part of the module's contract.
func (v Vermagic) Modversions() bool { return v.Has("modversions") }

// Compatible applies the kernel's rule (kernel/module/version.c, same_magic): a
// module that carries symbol CRCs is accepted by a kernel of another release as
// long as all words after the release are equal; without CRCs the whole string
// has to be equal.
func (v Vermagic) Compatible(kernel Vermagic, moduleHasCRCs bool) bool {
	if !moduleHasCRCs && v.Release != kernel.Release {
		return false
	}
	return slices.Equal(v.Flags, kernel.Flags)
}
