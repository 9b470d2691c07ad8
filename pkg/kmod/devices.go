package kmod

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// Device is one device of the kernel's device model (/sys/devices).
type Device struct {
	Bus      string // "pci", "usb", "virtio", "scsi"...; the subsystem
	Name     string // "0000:00:1f.2"
	Path     string // below /sys: "devices/pci0000:00/0000:00:1f.2"
	Modalias string // "" for buses without
	Driver   string // bound driver, "" for none
	// Module is the module the driver belongs to; "" where there is no driver or
	// the driver is part of the image and names none.
	Module string
	// Builtin says that the bound driver is part of the kernel image.
	Builtin bool
	// Override is a driver forced by the administrator (driver_override).
	Override string
}

const maxDevices = 200_000

// Devices lists the devices of all buses, sorted by bus and name. A host
// without /sys/bus has none.
func (h *Host) Devices() ([]Device, error) {
	buses, err := h.names("sys/bus")
	if err != nil {
		return nil, err
	}
	var out []Device
	for _, bus := range buses {
		dir := "sys/bus/" + bus + "/devices"
		names, err := h.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			real, err := h.resolve(dir + "/" + name)
			if err != nil || !h.exists(real) {
				continue // unplugged since the folder was read
			}
			if len(out) == maxDevices {
				return nil, fmt.Errorf("cannot list devices: %w", tooLarge("more than %d", maxDevices))
			}
			d := h.device(real)
			d.Bus, d.Name = bus, name
			out = append(out, d)
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

// device reads one device folder, given as a resolved path below the root.
func (h *Host) device(real string) Device {
	d := Device{
		Bus:      h.linkBase(real + "/subsystem"),
		Name:     path.Base(real),
		Path:     strings.TrimPrefix(real, "sys/"),
		Modalias: h.attr(real + "/modalias"),
		Driver:   h.linkBase(real + "/driver"),
	}
	// The kernel prints "(null)" for a device that has none.
	if o := h.attr(real + "/driver_override"); o != "(null)" {
		d.Override = o
	}
	if d.Driver != "" {
		d.Module = NormalizeName(h.linkBase(real + "/driver/module"))
		d.Builtin = d.Module == "" || !h.exists("sys/module/"+d.Module+"/initstate")
	}
	return d
}

// chain lists the devices that have a driver on the way from a device's folder
// up to /sys/devices, the lowest first, each with the modules of its SCSI host
// templates, which transports without a device of their own (iSCSI) show only
// there.
func (h *Host) chain(real string) (devs []Device, hosts []string) {
	for dir := real; strings.HasPrefix(dir, "sys/devices/"); dir = path.Dir(dir) {
		if h.exists(dir + "/driver") {
			devs = append(devs, h.device(dir))
		}
		base := path.Base(dir)
		if strings.HasPrefix(base, "host") {
			if name := h.attr(dir + "/scsi_host/" + base + "/proc_name"); name != "" && name != "(null)" && name != "<NULL>" {
				hosts = append(hosts, NormalizeName(name))
			}
		}
		if transport := h.attr(dir + "/transport"); transport != "" && strings.HasPrefix(base, "nvme") {
			if transport == "pcie" {
				hosts = append(hosts, "nvme")
			} else {
				hosts = append(hosts, "nvme_"+NormalizeName(transport))
			}
		}
	}
	return devs, hosts
}

// Need is a module that a device in use needs, as far as sysfs tells.
type Need struct {
	// Name is a module's name or an alias to resolve ("fs-xfs").
	Name string
	// Why says what needs it: "driver sd of scsi 0:0:0:0", "md raid1 md0".
	Why string
	// Builtin says that the running kernel has it in its image.
	Builtin bool
}

// NetCard is one network interface.
type NetCard struct {
	Name    string
	Path    string // below /sys
	Virtual bool   // no device behind it: a bridge, a bond, a tunnel, lo
	Kind    string // DEVTYPE of the interface: "bond", "vlan", "bridge", "wlan"; often ""
	Lower   []string
	// Devices are the devices with drivers from the card up to its bus, lowest first.
	Devices []Device
	Needs   []Need
}

// NetCards lists the network interfaces with what they hang on, sorted by name.
func (h *Host) NetCards() ([]NetCard, error) {
	names, err := h.names("sys/class/net")
	if err != nil {
		return nil, err
	}
	kinds := map[string]string{"bond": "bonding", "vlan": "8021q", "bridge": "bridge", "vxlan": "vxlan", "team": "team",
		"geneve": "geneve", "gre": "ip_gre", "wireguard": "wireguard"}
	var out []NetCard
	for _, name := range names {
		real, err := h.resolve("sys/class/net/" + name)
		if err != nil {
			continue
		}
		// bonding_masters is a file among the links.
		if info, err := h.root.Lstat(real); err != nil || !info.IsDir() {
			continue
		}
		c := NetCard{Name: name, Path: strings.TrimPrefix(real, "sys/")}
		c.Virtual = strings.HasPrefix(real, "sys/devices/virtual/")
		for line := range strings.Lines(h.attr(real + "/uevent")) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVTYPE="); ok {
				c.Kind = v
			}
		}
		entries, err := h.names(real)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if lower, ok := strings.CutPrefix(e, "lower_"); ok {
				c.Lower = append(c.Lower, lower)
			}
		}
		if c.Virtual {
			if mod := kinds[c.Kind]; mod != "" {
				c.Needs = append(c.Needs, Need{Name: mod, Why: c.Kind + " interface " + name,
					Builtin: !h.exists("sys/module/" + mod + "/initstate")})
			}
		} else {
			var hosts []string
			c.Devices, hosts = h.chain(real)
			c.Needs = h.needs(c.Devices, hosts)
		}
		out = append(out, c)
	}
	return out, nil
}

// needs turns a chain of devices into module names, each once.
func (h *Host) needs(devs []Device, hosts []string) []Need {
	var out []Need
	have := map[string]bool{}
	for _, d := range devs {
		name := d.Module
		if name == "" {
			// A driver without a module link is in the image; its own name is the best
			// that is known.
			name = NormalizeName(d.Driver)
		}
		if !have[name] {
			have[name] = true
			out = append(out, Need{Name: name, Why: fmt.Sprintf("driver %s of %s %s", d.Driver, d.Bus, d.Name), Builtin: d.Builtin})
		}
	}
	for _, name := range hosts {
		if !have[name] {
			have[name] = true
			out = append(out, Need{Name: name, Why: "host adapter", Builtin: !h.exists("sys/module/" + name + "/initstate")})
		}
	}
	return out
}
