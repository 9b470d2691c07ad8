package boot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// KernelFiles are the files of one kernel in /boot.
type KernelFiles struct {
	Release   string `json:"release"`          // what uname -r says when it runs
	Image     int64  `json:"image"`            // bytes of vmlinuz, 0: not there
	Initramfs int64  `json:"initramfs"`        // bytes, 0: not there
	Other     int64  `json:"other"`            // bytes of System.map, config, symvers and their like
	Rescue    bool   `json:"rescue,omitempty"` // the rescue kernel, a copy of another
	Kdump     int64  `json:"kdump,omitempty"`  // bytes of the crash kernel's initramfs
}

// Bytes is what the kernel takes up in /boot.
func (k KernelFiles) Bytes() int64 { return k.Image + k.Initramfs + k.Other + k.Kdump }

// ReadKernelFiles lists the kernels in /boot with the sizes of their files, in
// the order of their names. A host without the folder has none.
func ReadKernelFiles(r *rootfs.Root) ([]KernelFiles, error) {
	entries, err := r.ReadDir("/boot")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list /boot: %w", err)
	}
	at := map[string]*KernelFiles{}
	for _, e := range entries {
		name := e.Name()
		kind, release := splitKernelFile(name)
		if release == "" {
			continue
		}
		info, err := r.Stat("/boot/" + name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		k := at[release]
		if k == nil {
			k = &KernelFiles{Release: release, Rescue: strings.HasPrefix(release, "0-rescue-")}
			at[release] = k
		}
		switch kind {
		case "vmlinuz":
			k.Image = info.Size()
		case "initramfs":
			k.Initramfs = info.Size()
		case "kdump":
			k.Kdump = info.Size()
		default:
			k.Other += info.Size()
		}
	}
	out := make([]KernelFiles, 0, len(at))
	for _, k := range at {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b KernelFiles) int { return cmp.Compare(a.Release, b.Release) })
	return out, nil
}

// splitKernelFile takes a name in /boot apart: the kind of file and the release
// of the kernel it belongs to.
func splitKernelFile(name string) (kind, release string) {
	for _, p := range []struct{ kind, prefix string }{
		{"vmlinuz", "vmlinuz-"}, {"initramfs", "initramfs-"}, {"map", "System.map-"}, {"config", "config-"}, {"symvers", "symvers-"},
	} {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if !ok {
			continue
		}
		kind = p.kind
		switch kind {
		case "initramfs":
			if rest, ok = strings.CutSuffix(rest, ".img"); !ok {
				return "", ""
			}
			if crash, ok := strings.CutSuffix(rest, "kdump"); ok {
				kind, rest = "kdump", crash
			}
		case "symvers":
			rest = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(rest, ".gz"), ".xz"), ".zst")
		}
		return kind, rest
	}
	return "", ""
}

// MountOf returns the mount that a path is on, nil if there is none.
func MountOf(mounts []Mount, path string) *Mount {
	var best *Mount
	for i := range mounts {
		m := &mounts[i]
		if Under(path, m.Point) && (best == nil || len(m.Point) > len(best.Point)) {
			best = m
		}
	}
	return best
}

// Under tells whether a path is dir or below it.
func Under(path, dir string) bool {
	if dir == "/" {
		return strings.HasPrefix(path, "/")
	}
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// missingFiles returns the kernel and initramfs of an entry that do not exist.
// Entries name them as GRUB sees them: from the root of the file system that
// holds /boot.
func missingFiles(r *rootfs.Root, e BLSEntry) []string {
	var out []string
	for _, name := range append([]string{e.Linux}, strings.Fields(e.Initrd)...) {
		if name == "" || strings.Contains(name, "$") { // $tuned_initrd is a variable of grubenv
			continue
		}
		if name[0] == '(' { // (hd0,gpt2)/vmlinuz: another device
			continue
		}
		if !r.Exists("/boot"+name) && !r.Exists(name) {
			out = append(out, name)
		}
	}
	return out
}
