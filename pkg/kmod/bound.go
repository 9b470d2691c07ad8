package kmod

import (
	"fmt"
	"sort"
	"strings"
)

// BoundDevices lists the devices whose driver is a loaded module, and on the PCI
// bus those with any driver, sorted by bus and name. It goes by the drivers:
// most devices of a host have none, or one that is part of the image, and
// looking at each of them takes a hundred times longer.
func (h *Host) BoundDevices() ([]Device, error) {
	buses, err := h.names("sys/bus")
	if err != nil {
		return nil, err
	}
	var out []Device
	for _, bus := range buses {
		dir := "sys/bus/" + bus + "/drivers"
		drivers, err := h.names(dir)
		if err != nil {
			return nil, err
		}
		for _, driver := range drivers {
			module := NormalizeName(h.linkBase(dir + "/" + driver + "/module"))
			if module != "" && !h.exists("sys/module/"+module+"/initstate") {
				module = "" // a built-in one that has parameters
			}
			if module == "" && bus != "pci" {
				continue
			}
			names, err := h.names(dir + "/" + driver)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				// Devices are links into /sys/devices; the rest are attributes and "module".
				if name == "module" || h.linkBase(dir+"/"+driver+"/"+name) == "" {
					continue
				}
				real, err := h.resolve(dir + "/" + driver + "/" + name)
				if err != nil || !strings.HasPrefix(real, "sys/devices/") {
					continue // unplugged since the folder was read
				}
				if len(out) == maxDevices {
					return nil, fmt.Errorf("cannot list devices: %w", tooLarge("more than %d", maxDevices))
				}
				out = append(out, Device{
					Bus: bus, Name: name, Path: strings.TrimPrefix(real, "sys/"), Modalias: h.attr(real + "/modalias"),
					Driver: driver, Module: module, Builtin: module == "",
				})
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Bus != out[j].Bus {
			return out[i].Bus < out[j].Bus
		}
		return out[i].Name < out[j].Name
	})
	return out, nil
}
