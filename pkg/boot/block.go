package boot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// Mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type Mount struct {
	Point   string `json:"point"`
	FSType  string `json:"fs_type"`
	Source  string `json:"source"`
	Device  string `json:"device"` // major:minor
	Options string `json:"options"`
	Super   string `json:"super_options"`
	Root    string `json:"root"` // the part of the file system that is mounted
}

// ReadOnly tells whether the mount or its file system is read-only.
func (m Mount) ReadOnly() bool {
	return hasOption(m.Options, "ro") || hasOption(m.Super, "ro")
}

func hasOption(list, want string) bool {
	for _, o := range strings.Split(list, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// ReadMounts reads the mounts of the process; of several on one folder the
// last one, which is what is seen, stays.
func ReadMounts(r *rootfs.Root) ([]Mount, error) {
	data, err := r.ReadFile("/proc/self/mountinfo", maxBootFile)
	// Copied trees often have the folder of a process instead of the link.
	for _, other := range []string{"/proc/1/mountinfo", "/proc/mountinfo"} {
		if errors.Is(err, fs.ErrNotExist) {
			if d, e := r.ReadFile(other, maxBootFile); e == nil {
				data, err = d, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	return ParseMountinfo(data)
}

// ParseMountinfo parses mountinfo: the fields before " - " vary in number.
func ParseMountinfo(data []byte) ([]Mount, error) {
	var out []Mount
	at := map[string]int{}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxBootFile)
	for n := 1; sc.Scan(); n++ {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 6 || len(g) < 2 {
			return nil, fmt.Errorf("cannot read the mounts: %w: line %d of mountinfo", ErrFormat, n)
		}
		m := Mount{Device: f[2], Root: unescape(f[3]), Point: unescape(f[4]), Options: f[5], FSType: g[0], Source: unescape(g[1])}
		if len(g) > 2 {
			m.Super = g[2]
		}
		if i, seen := at[m.Point]; seen {
			out[i] = m
			continue
		}
		at[m.Point] = len(out)
		out = append(out, m)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	return out, nil
}

// unescape undoes the octal escapes of mountinfo (space, tab, newline, \).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Device is one block device as sysfs shows it.
type Device struct {
	Number    string   `json:"number"`              // major:minor
	Name      string   `json:"name"`                // the kernel's: sda1, nvme0n1p12, dm-0, md127
	Kind      string   `json:"kind"`                // disk, partition, md, lvm, crypt, multipath, dm, loop, other
	Partition int      `json:"partition,omitempty"` // from the attribute, never from the name
	Disk      string   `json:"disk,omitempty"`      // a partition's disk
	Level     string   `json:"level,omitempty"`     // of md: raid1 ...
	PartUUID  string   `json:"part_uuid,omitempty"` // from udev's database, lower case
	PartType  string   `json:"part_type,omitempty"` // likewise
	Below     []Device `json:"below,omitempty"`     // what it is built on, e.g. an array's members
}

// maxDepth bounds a chain of md on dm on partitions; sysfs of a real host has
// at most five levels, a made-up one may have a loop.
const maxDepth = 12

// ReadDevice describes the device major:minor and all that it is built on.
func ReadDevice(r *rootfs.Root, number string) (Device, error) {
	return readDevice(r, "/sys/dev/block/"+number, 0)
}

func readDevice(r *rootfs.Root, dir string, depth int) (Device, error) {
	real, err := r.Resolve(dir)
	if err != nil || !r.Exists(real) {
		return Device{}, fmt.Errorf("cannot find the block device %s in sysfs", path.Base(dir))
	}
	if depth > maxDepth {
		return Device{}, fmt.Errorf("cannot follow the block device %s: %w: more than %d levels", path.Base(real), ErrFormat, maxDepth)
	}
	real = "/" + real
	d := Device{Name: path.Base(real), Number: r.Attr(real + "/dev"), Kind: "disk"}
	uuid := r.Attr(real + "/dm/uuid")
	switch {
	case r.Exists(real + "/partition"):
		d.Kind = "partition"
		d.Partition, _ = strconv.Atoi(r.Attr(real + "/partition"))
		d.Disk = path.Base(path.Dir(real))
		d.PartUUID, d.PartType = udevPartition(r, d.Number)
	case r.Exists(real + "/md"):
		d.Kind, d.Level = "md", r.Attr(real+"/md/level")
	case strings.HasPrefix(uuid, "LVM-"):
		d.Kind = "lvm"
	case strings.HasPrefix(uuid, "CRYPT-"):
		d.Kind = "crypt"
	case strings.HasPrefix(uuid, "mpath-"):
		d.Kind = "multipath"
	case strings.HasPrefix(uuid, "part") && strings.Contains(uuid, "-mpath-"):
		// kpartx and multipathd name partitions of a map so: part1-mpath-...
		d.Kind = "partition"
		num, _, _ := strings.Cut(strings.TrimPrefix(uuid, "part"), "-")
		d.Partition, _ = strconv.Atoi(num)
		d.PartUUID, d.PartType = udevPartition(r, d.Number)
	case r.Exists(real + "/dm"):
		d.Kind = "dm"
	case r.Exists(real + "/loop"):
		d.Kind = "loop"
	}
	slaves, err := r.Names(real + "/slaves")
	if err != nil {
		return d, err
	}
	for _, s := range slaves {
		b, err := readDevice(r, real+"/slaves/"+s, depth+1)
		if err != nil {
			return d, err
		}
		d.Below = append(d.Below, b)
	}
	if d.Kind == "partition" && d.Disk != "" {
		// A partition of an array or a map has its members below the disk.
		if b, err := readDevice(r, path.Dir(real), depth+1); err == nil && (b.Kind == "md" || len(b.Below) > 0) {
			d.Below = append(d.Below, b)
		}
	}
	return d, nil
}

// udevPartition looks a partition's GUIDs up in udev's database
// (/run/udev/data/bMAJ:MIN, lines "E:ID_PART_ENTRY_UUID=...").
func udevPartition(r *rootfs.Root, number string) (uuid, kind string) {
	data, err := r.ReadFile("/run/udev/data/b"+number, maxBootFile)
	if err != nil {
		return "", ""
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "E:ID_PART_ENTRY_UUID="); ok {
			uuid = strings.ToLower(v)
		}
		if v, ok := strings.CutPrefix(line, "E:ID_PART_ENTRY_TYPE="); ok {
			kind = strings.ToLower(v)
		}
	}
	return uuid, kind
}

// Walk calls fn for the device and everything below it.
func (d Device) Walk(fn func(Device)) {
	fn(d)
	for _, b := range d.Below {
		b.Walk(fn)
	}
}

// ESPType is the GPT partition type of an EFI system partition.
const ESPType = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"

// ESP is one EFI system partition.
type ESP struct {
	Mount   string   `json:"mount,omitempty"` // empty: not mounted
	Device  Device   `json:"device"`
	Vendors []string `json:"vendors,omitempty"` // the folders below EFI/, as written
}

// ReadESPs finds the EFI system partitions: what is mounted where EL mounts
// them, and every other partition whose type says so.
func ReadESPs(r *rootfs.Root, mounts []Mount) ([]ESP, []error) {
	var out []ESP
	var problems []error
	seen := map[string]bool{}
	for _, m := range mounts {
		if m.FSType != "vfat" && m.FSType != "msdos" && m.FSType != "fat" {
			continue
		}
		d, err := ReadDevice(r, m.Device)
		if err != nil {
			if m.Point == "/boot/efi" || m.Point == "/efi" {
				problems = append(problems, fmt.Errorf("cannot find the device of the ESP at %s: %w", m.Point, err))
				out = append(out, ESP{Mount: m.Point, Device: Device{Number: m.Device, Kind: "other"}, Vendors: vendors(r, m.Point)})
			}
			continue
		}
		if m.Point != "/boot/efi" && m.Point != "/efi" && d.PartType != ESPType && !r.Exists(m.Point+"/EFI") {
			continue
		}
		d.Walk(func(b Device) { seen[b.Number] = true })
		out = append(out, ESP{Mount: m.Point, Device: d, Vendors: vendors(r, m.Point)})
	}
	names, err := r.Names("/sys/dev/block")
	if err != nil {
		problems = append(problems, err)
	}
	for _, n := range names {
		if seen[n] {
			continue
		}
		if _, kind := udevPartition(r, n); kind != ESPType {
			continue
		}
		d, err := ReadDevice(r, n)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, ESP{Device: d})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Mount > out[j].Mount })
	return out, problems
}

func vendors(r *rootfs.Root, point string) []string {
	names, err := r.Names(point + "/EFI")
	if err != nil {
		return nil
	}
	return names
}
