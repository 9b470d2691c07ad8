package kmod

import (
	"path"
	"strings"
)

// maxName is the longest module name that is accepted. The kernel's own limit
// (MODULE_NAME_LEN) is 56 on 64-bit machines.
const maxName = 256

// NormalizeName maps a module name as people and file names write it to the
// form that the kernel shows: every '-' becomes '_'. "snd-hda-intel" and
// "snd_hda_intel" are the same module.
func NormalizeName(name string) string {
	if strings.IndexByte(name, '-') < 0 {
		return name
	}
	return strings.ReplaceAll(name, "-", "_")
}

// NameOfFile returns the normalised module name that a file name stands for,
// and false if the name does not end as a module's does (.ko, .ko.xz, .ko.gz,
// .ko.zst).
func NameOfFile(file string) (string, bool) {
	base := path.Base(file)
	for _, ext := range [...]string{".ko", ".ko.xz", ".ko.gz", ".ko.zst"} {
		if name, ok := strings.CutSuffix(base, ext); ok && name != "" {
			return NormalizeName(name), true
		}
	}
	return "", false
}

// normalizeAlias does for an alias what NormalizeName does for a name: '-'
// becomes '_', except inside brackets, where it is a range. This is what
// depmod writes and what modprobe looks up.
func normalizeAlias(alias string) string {
	if strings.IndexByte(alias, '-') < 0 {
		return alias
	}
	b := []byte(alias)
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '-':
			b[i] = '_'
		case '[':
			end := strings.IndexByte(alias[i:], ']')
			if end < 0 {
				return string(b)
			}
			i += end
		}
	}
	return string(b)
}
