package rpmhdr

import (
	"iter"
	"strings"
)

// FilePaths returns the package's files as the header stores them: the path of
// file i is dirs[dirIndex[i]]+base[i], directories ending in a slash. Headers of
// before rpm 4, which hold whole paths, are brought into the same form. All
// strings share one copy per list. A package without files gives empty lists.
// The error wraps ErrCorrupt: lists that do not belong together.
func (h *Header) FilePaths() (dirs []string, dirIndex []uint32, base []string, err error) {
	if !h.Has(TagBasenames) {
		if old := h.Strings(TagOldFilenames); len(old) > 0 {
			dirs, dirIndex, base = splitPaths(old)
			return dirs, dirIndex, base, nil
		}
		if h.Has(TagDirIndexes) || h.Has(TagOldFilenames) {
			return nil, nil, nil, corrupt("files without base names")
		}
		return nil, nil, nil, nil
	}
	base = h.Strings(TagBasenames)
	dirs = h.Strings(TagDirNames)
	dirIndex = h.Uint32s(TagDirIndexes)
	if len(base) == 0 || len(dirIndex) != len(base) {
		return nil, nil, nil, corrupt("files: %d base names, %d directory indexes", len(base), len(dirIndex))
	}
	for i, d := range dirIndex {
		if int64(d) >= int64(len(dirs)) {
			return nil, nil, nil, corrupt("file %d lies in directory %d of %d", i, d, len(dirs))
		}
	}
	return dirs, dirIndex, base, nil
}

func splitPaths(paths []string) (dirs []string, dirIndex []uint32, base []string) {
	dirIndex, base = make([]uint32, len(paths)), make([]string, len(paths))
	seen := make(map[string]uint32)
	for i, p := range paths {
		cut := strings.LastIndexByte(p, '/') + 1
		n, ok := seen[p[:cut]]
		if !ok {
			n = uint32(len(dirs))
			seen[p[:cut]] = n
			dirs = append(dirs, p[:cut])
		}
		dirIndex[i], base[i] = n, p[cut:]
	}
	return dirs, dirIndex, base
}

// Files yields the path of every file. It yields nothing where FilePaths
// returns an error: call that first where the difference matters.
func (h *Header) Files() iter.Seq[string] {
	return func(yield func(string) bool) {
		dirs, dirIndex, base, err := h.FilePaths()
		if err != nil {
			return
		}
		for i, b := range base {
			if !yield(dirs[dirIndex[i]] + b) {
				return
			}
		}
	}
}
