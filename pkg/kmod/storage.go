package kmod

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// BlockNode is one block device on the way from a file system to the hardware.
type BlockNode struct {
	Name   string // "sda2", "dm-0", "md127"
	Path   string // below /sys
	Kind   string // "disk", "partition", "dm", "md", "loop", "nvme-multipath", "virtual"
	Detail string // dm: its name; md: its level
	// Below are the names of the devices it is made of.
	Below []string
	// Devices are the devices with drivers from the disk up to its bus.
	Devices []Device
	Needs   []Need
}

// Storage is what one mounted file system hangs on.
type Storage struct {
	Mount Mount
	// Nodes are all block devices below the file system, from top to bottom; none
	// for a file system of the network or of memory.
	Nodes []BlockNode
	// Needs are the modules of the file system and all nodes, each once.
	Needs []Need
}

// maxBlockNodes caps one file system's devices: a large multipath array has
// some hundred.
const maxBlockNodes = 4096

// StorageOf follows the file system mounted at point ("/", "/boot") down to the
// host adapters. It gives ErrNotFound where nothing is mounted there.
func (h *Host) StorageOf(point string) (*Storage, error) {
	mounts, err := h.Mounts()
	if err != nil {
		return nil, fmt.Errorf("cannot find the device of %s: %w", point, err)
	}
	var mount *Mount
	for i := range mounts {
		// Later mounts cover earlier ones; "rootfs" is the kernel's initial memory
		// file system.
		if mounts[i].Point == point && mounts[i].FSType != "rootfs" {
			mount = &mounts[i]
		}
	}
	if mount == nil {
		return nil, fmt.Errorf("cannot find the device of %s: %w: nothing is mounted there", point, ErrNotFound)
	}
	s := &Storage{Mount: *mount}
	have := map[string]bool{}
	add := func(n Need) {
		if !have[n.Name] {
			have[n.Name] = true
			s.Needs = append(s.Needs, n)
		}
	}
	add(Need{Name: "fs-" + mount.FSType, Why: "file system of " + point, Builtin: !h.exists("sys/module/" + NormalizeName(mount.FSType) + "/initstate")})
	start := h.blockDevice(mount)
	if start == "" {
		return s, nil
	}
	if s.Nodes, err = h.blockNodes(start); err != nil {
		return nil, fmt.Errorf("cannot find the device of %s: %w", point, err)
	}
	for _, n := range s.Nodes {
		for _, need := range n.Needs {
			add(need)
		}
	}
	return s, nil
}

// blockDevice returns the sysfs folder of a mount's device, "" if there is none.
func (h *Host) blockDevice(m *Mount) string {
	if m.Major > 0 {
		if real, err := h.resolve("sys/dev/block/" + strconv.Itoa(m.Major) + ":" + strconv.Itoa(m.Minor)); err == nil && h.exists(real) {
			return real
		}
	}
	// btrfs shows an anonymous device number, /proc/mounts none: the name is left.
	if !strings.HasPrefix(m.Source, "/dev/") {
		return ""
	}
	name := path.Base(m.Source)
	// A node of the host's /dev, if the tree has one, may be a link (/dev/vg/root).
	if real, err := h.resolve(strings.TrimPrefix(m.Source, "/")); err == nil {
		name = path.Base(real)
	}
	// cciss!c0d0: sysfs writes '!' for '/'.
	for _, n := range []string{name, strings.ReplaceAll(strings.TrimPrefix(m.Source, "/dev/"), "/", "!")} {
		if real, err := h.resolve("sys/class/block/" + n); err == nil && h.exists(real) {
			return real
		}
	}
	all, err := h.names("sys/class/block")
	if err != nil {
		return ""
	}
	for _, n := range all {
		if strings.HasPrefix(n, "dm-") && h.attr("sys/class/block/"+n+"/dm/name") == path.Base(m.Source) {
			if real, err := h.resolve("sys/class/block/" + n); err == nil {
				return real
			}
		}
	}
	return ""
}

// blockNodes lists a block device and everything below it, breadth first.
func (h *Host) blockNodes(start string) ([]BlockNode, error) {
	var out []BlockNode
	queue := []string{start}
	seen := map[string]bool{start: true}
	push := func(real string) {
		if !seen[real] {
			seen[real] = true
			queue = append(queue, real)
		}
	}
	for len(queue) > 0 {
		real := queue[0]
		queue = queue[1:]
		if len(out) == maxBlockNodes {
			return nil, tooLarge("more than %d block devices", maxBlockNodes)
		}
		n := BlockNode{Name: path.Base(real), Path: strings.TrimPrefix(real, "sys/"), Kind: "disk"}
		slaves, err := h.names(real + "/slaves")
		if err != nil {
			return nil, err
		}
		switch {
		case h.exists(real + "/partition"):
			n.Kind = "partition"
			slaves = nil
			n.Below = []string{path.Base(path.Dir(real))}
			push(path.Dir(real))
		case h.exists(real + "/dm"):
			n.Kind, n.Detail = "dm", h.attr(real+"/dm/name")
			n.Needs = h.dmNeeds(h.attr(real+"/dm/uuid"), n.Detail)
		case h.exists(real + "/md"):
			n.Kind, n.Detail = "md", h.attr(real+"/md/level")
			n.Needs = h.mdNeeds(n.Detail, n.Name)
		case strings.HasPrefix(real, "sys/devices/virtual/nvme-subsystem/"):
			n.Kind = "nvme-multipath"
			n.Below, n.Devices, n.Needs, err = h.nvmePaths(path.Dir(real))
			if err != nil {
				return nil, err
			}
		case h.exists(real + "/loop"):
			n.Kind = "loop"
			n.Needs = []Need{{Name: "loop", Why: "loop device " + n.Name, Builtin: !h.exists("sys/module/loop/initstate")}}
		case strings.HasPrefix(real, "sys/devices/virtual/"):
			n.Kind = "virtual"
		default:
			var hosts []string
			n.Devices, hosts = h.chain(real)
			n.Needs = h.needs(n.Devices, hosts)
		}
		for _, s := range slaves {
			n.Below = append(n.Below, s)
			if r, err := h.resolve(real + "/slaves/" + s); err == nil && h.exists(r) {
				push(r)
			}
		}
		out = append(out, n)
	}
	return out, nil
}

// nvmePaths lists the controllers behind a multipath NVMe disk, whose own folder
// hangs on no hardware.
func (h *Host) nvmePaths(subsystem string) (names []string, devs []Device, needs []Need, err error) {
	entries, err := h.names(subsystem)
	if err != nil {
		return nil, nil, nil, err
	}
	var hosts []string
	for _, e := range entries {
		// nvme0 is a controller, nvme0n1 the disk.
		digits, ok := strings.CutPrefix(e, "nvme")
		if _, err := strconv.Atoi(digits); !ok || err != nil {
			continue
		}
		real, err := h.resolve(subsystem + "/" + e)
		if err != nil {
			continue
		}
		names = append(names, e)
		d, t := h.chain(real)
		devs, hosts = append(devs, d...), append(hosts, t...)
	}
	return names, devs, h.needs(devs, hosts), nil
}

// dmNeeds names the device-mapper targets that a mapping's uuid and name give
// away (the table itself is not in sysfs).
func (h *Host) dmNeeds(uuid, name string) []Need {
	mods := []string{"dm_mod"}
	prefix, _, _ := strings.Cut(uuid, "-")
	switch {
	case prefix == "CRYPT":
		mods = append(mods, "dm_crypt")
		if strings.HasPrefix(uuid, "CRYPT-VERITY") {
			mods = []string{"dm_mod", "dm_verity"}
		} else if strings.HasPrefix(uuid, "CRYPT-INTEGRITY") {
			mods = []string{"dm_mod", "dm_integrity"}
		}
	case prefix == "mpath":
		mods = append(mods, "dm_multipath")
	case prefix == "DMRAID":
		mods = append(mods, "dm_mirror", "dm_raid")
	case prefix == "VDO":
		mods = append(mods, "dm_vdo")
	case prefix == "stratis":
		mods = append(mods, "dm_thin_pool", "dm_cache")
	case prefix == "LVM":
		// LVM marks hidden parts in the name and in the uuid's suffix.
		suffix := uuid[strings.LastIndexByte(uuid, '-')+1:]
		for _, mark := range []struct{ text, mod string }{
			{"_rimage_", "dm_raid"}, {"_rmeta_", "dm_raid"}, {"_mimage_", "dm_mirror"}, {"_tdata", "dm_thin_pool"},
			{"_tmeta", "dm_thin_pool"}, {"_cdata", "dm_cache"}, {"_cmeta", "dm_cache"}, {"_corig", "dm_cache"},
			{"_wcorig", "dm_writecache"}, {"_vdata", "dm_vdo"}, {"_imeta", "dm_integrity"},
		} {
			if strings.Contains(name, mark.text) && !slices.Contains(mods, mark.mod) {
				mods = append(mods, mark.mod)
			}
		}
		switch suffix {
		case "tpool", "pool":
			mods = append(mods, "dm_thin_pool")
		case "cow", "real":
			mods = append(mods, "dm_snapshot")
		case "vpool":
			mods = append(mods, "dm_vdo")
		}
	}
	var out []Need
	for _, m := range mods {
		out = append(out, Need{Name: m, Why: "device mapper " + name, Builtin: !h.exists("sys/module/" + m + "/initstate")})
	}
	return out
}

// mdNeeds names the personality behind an md level.
func (h *Host) mdNeeds(level, name string) []Need {
	mods := []string{"md_mod"}
	switch level {
	case "raid4", "raid5", "raid6":
		mods = append(mods, "raid456")
	case "raid0", "raid1", "raid10", "linear", "multipath":
		mods = append(mods, level)
	}
	var out []Need
	for _, m := range mods {
		out = append(out, Need{Name: m, Why: "md " + level + " " + name, Builtin: !h.exists("sys/module/" + m + "/initstate")})
	}
	return out
}
