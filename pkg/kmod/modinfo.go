package kmod

import (
	"bytes"
	"slices"
	"strings"
)

// Field is one "key=value" entry of a module's .modinfo section.
type Field struct{ Key, Value string }

// Info is what a module says about itself: the entries of its .modinfo section
// (include/linux/module.h, MODULE_INFO), in their order. A key may repeat.
type Info struct{ Fields []Field }

// maxInfoFields caps the number of entries; the largest module of a
// distribution kernel has about 2,000 (aliases).
const maxInfoFields = 200_000

// ParseInfo splits the bytes of a .modinfo section. An entry without '=' has an
// empty value. Errors wrap ErrTooLarge.
func ParseInfo(section []byte) (Info, error) {
	var info Info
	for entry := range bytes.SplitSeq(section, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		if len(info.Fields) == maxInfoFields {
			return Info{}, tooLarge("more than %d .modinfo entries", maxInfoFields)
		}
		key, value, _ := strings.Cut(string(entry), "=")
		info.Fields = append(info.Fields, Field{key, value})
	}
	return info, nil
}

// ParseBuiltinInfo reads modules.builtin.modinfo: NUL-separated
// "module.key=value" entries of the modules that are part of the kernel image
// (scripts/link-vmlinux.sh, kernel 5.2 and later). The result is keyed by
// normalised name.
func ParseBuiltinInfo(data []byte) (map[string]Info, error) {
	out := map[string]Info{}
	n := 0
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if len(entry) == 0 {
			continue
		}
		if n++; n > maxInfoFields {
			return nil, tooLarge("more than %d built-in modinfo entries", maxInfoFields)
		}
		key, value, ok := strings.Cut(string(entry), "=")
		mod, field, dot := strings.Cut(key, ".")
		if !ok || !dot || mod == "" {
			return nil, corrupt("built-in modinfo entry %q is not module.key=value", clip(string(entry)))
		}
		mod = NormalizeName(mod)
		info := out[mod]
		info.Fields = append(info.Fields, Field{field, value})
		out[mod] = info
	}
	return out, nil
}

// Get returns the first value of a key, "" if there is none.
func (i Info) Get(key string) string {
	for _, f := range i.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// Has reports whether a key is there, with whatever value.
func (i Info) Has(key string) bool {
	return slices.ContainsFunc(i.Fields, func(f Field) bool { return f.Key == key })
}

// All returns every value of a key in order.
func (i Info) All(key string) []string {
	var out []string
	for _, f := range i.Fields {
		if f.Key == key {
			out = append(out, f.Value)
		}
	}
	return out
}

// Name is the module's name as the kernel will show it; modules built before
// kernel 4.13 do not carry it.
func (i Info) Name() string { return NormalizeName(i.Get("name")) }

// Aliases are the device and other aliases, as written in the module.
func (i Info) Aliases() []string { return i.All("alias") }

// Depends are the normalised names of the modules whose symbols are imported.
func (i Info) Depends() []string {
	var out []string
	for d := range strings.SplitSeq(i.Get("depends"), ",") {
		if d = strings.TrimSpace(d); d != "" {
			out = append(out, NormalizeName(d))
		}
	}
	return out
}

// InTree reports whether the module was built as part of its kernel's tree.
func (i Info) InTree() bool { return i.Get("intree") == "Y" }

// Retpoline reports whether the module was built with the Spectre v2 mitigation.
func (i Info) Retpoline() bool { return i.Get("retpoline") == "Y" }

// Firmware lists the firmware files the module may ask for.
func (i Info) Firmware() []string { return i.All("firmware") }

// Namespaces lists the symbol namespaces the module imports.
func (i Info) Namespaces() []string { return i.All("import_ns") }

// Vermagic parses the vermagic entry; the zero value if there is none.
func (i Info) Vermagic() Vermagic { return ParseVermagic(i.Get("vermagic")) }

// Parameter is one module parameter as documented in .modinfo.
type Parameter struct{ Name, Type, Description string }

// Parameters joins the "parm" and "parmtype" entries, in order of appearance.
func (i Info) Parameters() []Parameter {
	var out []Parameter
	at := map[string]int{}
	get := func(name string) *Parameter {
		k, ok := at[name]
		if !ok {
			k = len(out)
			at[name] = k
			out = append(out, Parameter{Name: name})
		}
		return &out[k]
	}
	for _, f := range i.Fields {
		switch f.Key {
		case "parm":
			name, text, _ := strings.Cut(f.Value, ":")
			get(name).Description = text
		case "parmtype":
			name, text, _ := strings.Cut(f.Value, ":")
			get(name).Type = text
		}
	}
	return out
}

// SoftDep says which modules should be loaded before and after another one.
type SoftDep struct {
	Module    string
	Pre, Post []string
}

// SoftDeps returns the module's own soft dependencies. The Module field is the
// module's name, which older modules lack.
func (i Info) SoftDeps() []SoftDep {
	var out []SoftDep
	for _, v := range i.All("softdep") {
		out = append(out, parseSoftDep(i.Name(), strings.Fields(v)))
	}
	return out
}

// parseSoftDep reads "pre: a b post: c" (modprobe.d(5)).
func parseSoftDep(module string, words []string) SoftDep {
	d := SoftDep{Module: NormalizeName(module)}
	dest := (*[]string)(nil)
	for _, w := range words {
		switch w {
		case "pre:":
			dest = &d.Pre
		case "post:":
			dest = &d.Post
		default:
			if dest != nil {
				*dest = append(*dest, NormalizeName(w))
			}
		}
	}
	return d
}

// WeakDeps lists the modules that the module may load by itself at run time
// (kernel 6.11 and later); an initramfs generator has to include them.
func (i Info) WeakDeps() []string {
	var out []string
	for _, v := range i.All("weakdep") {
		for _, w := range strings.Fields(v) {
			out = append(out, NormalizeName(w))
		}
	}
	return out
}

// clip shortens text from a hostile file for an error message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
