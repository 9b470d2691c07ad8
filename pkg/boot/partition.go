package boot

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// sector is what sysfs and udev count in, whatever the disk's blocks are.
const sector = 512

// ReadPartition finds what a boot entry must say of the partition major:minor:
// from sysfs, where that has it, and from udev's database, which knows the
// partition tables of device-mapper devices, too.
func ReadPartition(r *rootfs.Root, number string) (Partition, error) {
	var p Partition
	real, err := r.Resolve("/sys/dev/block/" + number)
	if err != nil || !r.Exists(real) {
		return p, fmt.Errorf("cannot find the partition %s in sysfs", number)
	}
	dir := "/" + real
	udev := map[string]string{}
	if data, err := r.ReadFile("/run/udev/data/b"+number, maxBootFile); err == nil {
		for line := range strings.Lines(string(data)) {
			if k, v, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "E:"), "="); ok {
				udev[k] = v
			}
		}
	}
	value := func(attr, key string) uint64 {
		for _, s := range []string{r.Attr(dir + "/" + attr), udev[key]} {
			if n, err := strconv.ParseUint(s, 10, 63); err == nil && n > 0 {
				return n
			}
		}
		return 0
	}
	num, start, size := value("partition", "ID_PART_ENTRY_NUMBER"), value("start", "ID_PART_ENTRY_OFFSET"), value("size", "ID_PART_ENTRY_SIZE")
	if num == 0 || start == 0 || size == 0 || num > 1<<16 {
		return p, fmt.Errorf("cannot describe the partition %s: %w: number %d, start %d, size %d", path.Base(dir), ErrFormat, num, start, size)
	}
	block := uint64(sector)
	for _, q := range []string{path.Dir(dir) + "/queue", dir + "/queue"} {
		if n, err := strconv.ParseUint(r.Attr(q+"/logical_block_size"), 10, 32); err == nil && n >= sector && n%sector == 0 {
			block = n
			break
		}
	}
	p = Partition{Number: uint32(num), Start: start * sector / block, Blocks: size * sector / block}
	uuid := strings.ToLower(udev["ID_PART_ENTRY_UUID"])
	if sig, _, ok := strings.Cut(uuid, "-"); ok && len(sig) == 8 && len(uuid) == 11 { // xxxxxxxx-01: an MBR's
		n, err := strconv.ParseUint(sig, 16, 32)
		if err != nil {
			return p, fmt.Errorf("cannot describe the partition %s: %w: %q", path.Base(dir), ErrFormat, uuid)
		}
		p.MBR = uint32(n)
		return p, nil
	}
	if _, err := parseGUID(uuid); err != nil {
		return p, fmt.Errorf("cannot describe the partition %s: udev does not tell its GUID (%q)", path.Base(dir), uuid)
	}
	p.GUID = uuid
	return p, nil
}
