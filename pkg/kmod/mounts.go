package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Mount is one line of /proc/self/mountinfo, or of /proc/mounts.
type Mount struct {
	Major, Minor int    // of the file system's device; -1 where unknown (/proc/mounts)
	Root         string // the part of the file system that is mounted here
	Point        string
	Options      []string
	FSType       string
	Source       string
}

// ParseMountinfo reads the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
// Errors wrap ErrCorrupt.
func ParseMountinfo(data []byte) ([]Mount, error) {
	var out []Mount
	n := 0
	for line := range bytes.Lines(data) {
		n++
		words := strings.Fields(string(line))
		if len(words) == 0 {
			continue
		}
		dash := -1
		for i := 6; i < len(words); i++ {
			if words[i] == "-" {
				dash = i
				break
			}
		}
		if dash < 0 || len(words) < dash+2 {
			return nil, fmt.Errorf("line %d: %w", n, corrupt("%q", clip(string(line))))
		}
		major, minor, ok := majorMinor(words[2])
		if !ok {
			return nil, fmt.Errorf("line %d: %w", n, corrupt("device number %q", clip(words[2])))
		}
		m := Mount{Major: major, Minor: minor, Root: unescapeMount(words[3]), Point: unescapeMount(words[4]),
			Options: strings.Split(words[5], ","), FSType: words[dash+1]}
		if len(words) > dash+2 {
			m.Source = unescapeMount(words[dash+2])
		}
		out = append(out, m)
	}
	return out, nil
}

// ParseMounts reads the text of /proc/mounts or /etc/fstab (fstab(5)). Errors
// wrap ErrCorrupt.
func ParseMounts(data []byte) ([]Mount, error) {
	var out []Mount
	n := 0
	for line := range bytes.Lines(data) {
		n++
		words := strings.Fields(string(line))
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) < 3 {
			return nil, fmt.Errorf("line %d: %w", n, corrupt("%q", clip(string(line))))
		}
		m := Mount{Major: -1, Minor: -1, Source: unescapeMount(words[0]), Point: unescapeMount(words[1]), FSType: words[2]}
		if len(words) > 3 {
			m.Options = strings.Split(words[3], ",")
		}
		out = append(out, m)
	}
	return out, nil
}

func majorMinor(s string) (major, minor int, ok bool) {
	a, b, ok := strings.Cut(strings.TrimSpace(s), ":")
	if !ok {
		return 0, 0, false
	}
	ma, err1 := strconv.ParseUint(a, 10, 31)
	mi, err2 := strconv.ParseUint(b, 10, 31)
	return int(ma), int(mi), err1 == nil && err2 == nil
}

// unescapeMount undoes \040 and its like.
func unescapeMount(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Mounts reads /proc/self/mountinfo, or /proc/mounts where a fixture has only
// that. Neither present gives an error that wraps fs.ErrNotExist.
func (h *Host) Mounts() ([]Mount, error) {
	// Copied trees often have the folder of the process instead of the link.
	for _, file := range []string{"proc/self/mountinfo", "proc/1/mountinfo", "proc/mountinfo"} {
		data, err := h.readFile(file, maxTextFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read mounts: %w", err)
		}
		mounts, err := ParseMountinfo(data)
		if err != nil {
			return nil, fmt.Errorf("cannot read mounts: /%s: %w", file, err)
		}
		return mounts, nil
	}
	data, err := h.readFile("proc/mounts", maxTextFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read mounts: %w", err)
	}
	mounts, err := ParseMounts(data)
	if err != nil {
		return nil, fmt.Errorf("cannot read mounts: /proc/mounts: %w", err)
	}
	return mounts, nil
}

// noModuleFS are types of fstab that no module of that name stands behind:
// parts of every kernel, placeholders and programs.
var noModuleFS = map[string]bool{"auto": true, "none": true, "ignore": true, "swap": true, "proc": true, "sysfs": true,
	"tmpfs": true, "devtmpfs": true, "devpts": true, "cgroup": true, "cgroup2": true, "securityfs": true, "debugfs": true,
	"tracefs": true, "hugetlbfs": true, "mqueue": true, "bind": true, "": true}

// FstabModules lists what the file systems in /etc/fstab and the mappings in
// /etc/crypttab need: names to resolve, such as "fs-xfs", which is what mount(2)
// makes the kernel ask for, or "dm-crypt".
func (h *Host) FstabModules() ([]Wanted, error) {
	var out []Wanted
	for _, table := range []string{"etc/fstab", "etc/crypttab"} {
		data, err := h.readFile(table, maxTextFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read /%s: %w", table, err)
		}
		for _, l := range confLines(string(data), false) {
			words := strings.Fields(l.text)
			if table == "etc/crypttab" {
				out = append(out, Wanted{Name: "dm_crypt", Why: "crypttab", File: "/" + table, Line: l.number, Detail: words[0]})
				continue
			}
			if len(words) < 3 {
				continue
			}
			// "xfs,ext4" tries one after the other; "fuse.sshfs" is fuse.
			for typ := range strings.SplitSeq(words[2], ",") {
				typ, _, _ = strings.Cut(typ, ".")
				if noModuleFS[typ] {
					continue
				}
				if typ == "nfs4" {
					typ = "nfs"
				}
				out = append(out, Wanted{Name: "fs-" + typ, Why: "fstab", File: "/" + table, Line: l.number,
					Detail: unescapeMount(words[1])})
			}
		}
	}
	return out, nil
}
