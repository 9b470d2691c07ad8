package inventory

import (
	"slices"
	"strings"
)

// Kernel is what the running kernel and its module tree say: which modules are
// loaded or needed, what the devices hang on, and whose modules are trusted.
type Kernel struct {
	Release string `json:"release"`           // of the running kernel, as uname -r prints it
	Tree    string `json:"tree,omitempty"`    // the release whose /lib/modules was read
	Owner   string `json:"owner,omitempty"`   // NEVRA of the package that owns that tree's modules
	Reason  string `json:"reason,omitempty"`  // why no modules are listed: a container, an image, a kernel without modules
	Tainted uint64 `json:"tainted,omitempty"` // /proc/sys/kernel/tainted

	Modules []KernelModule `json:"modules"` // sorted by name
	Devices []KernelDevice `json:"devices"` // sorted by bus, name
	Sources []ModuleSource `json:"sources"` // sorted by kind, name, version: what is rebuilt for each kernel
	Trust   ModuleTrust    `json:"trust"`
}

// KernelModule is a module that is loaded, or that the host will ask for.
type KernelModule struct {
	Name    string   `json:"name"` // as the kernel shows it: with _
	Loaded  bool     `json:"loaded"`
	Builtin bool     `json:"builtin,omitempty"` // part of the running kernel's image
	Roles   []string `json:"roles,omitempty"`   // what fails without it: root, boot, network, mount, requested
	Why     []string `json:"why,omitempty"`     // who needs it, in words; empty for what is only loaded
	File    string   `json:"file,omitempty"`    // path inside the root
	Owner   string   `json:"owner,omitempty"`   // NEVRA of the package that owns the file
	UsedBy  []string `json:"used_by,omitempty"` // loaded modules that use it
	Size    uint64   `json:"size,omitempty"`    // bytes of kernel memory, of one that is loaded
	Taint   string   `json:"taint,omitempty"`   // the kernel's letters: O out-of-tree, E unsigned, F forced, P proprietary ...
	// LoadedVersion is the version of a loaded module that is not the kernel's
	// own; that of the file is Foreign.Version.
	LoadedVersion string `json:"loaded_version,omitempty"`
	// LoadedSource and FileSource are the checksums of their sources (srcversion)
	// that the loaded module and the file carry: where they differ, it was loaded
	// from another file. Of the kernel's own modules they are read with
	// Options.Deep only.
	LoadedSource string `json:"loaded_source,omitempty"`
	FileSource   string `json:"file_source,omitempty"`
	// Foreign is set for modules that are not the distribution's kernel's own.
	Foreign *ForeignModule `json:"foreign,omitempty"`
}

// The roles of a module.
const (
	RoleRoot      = "root"      // the disk and file system of /
	RoleBoot      = "boot"      // of /boot and what is mounted below it
	RoleNetwork   = "network"   // a network card
	RoleMount     = "mount"     // another file system of fstab, or a mapping of crypttab
	RoleRequested = "requested" // modules-load.d or the kernel command line
	RoleInitramfs = "initramfs" // the initramfs carries it (read with Options.Deep only)
)

// What KernelModule.Why says of a module that nothing asks for by itself: the
// name of the module that depends on it follows NeededBy.
const (
	NeededBy    = "needed by "
	InInitramfs = "in the initramfs"
)

// Helper tells whether a module is there for other modules only, and for which:
// those that use it and those that depend on it.
func (m *KernelModule) Helper() (users []string, ok bool) {
	users = slices.Clone(m.UsedBy)
	for _, w := range m.Why {
		by, helps := strings.CutPrefix(w, NeededBy)
		switch {
		case helps:
			users = append(users, by)
		case w != InInitramfs:
			return nil, false
		}
	}
	return users, len(users) > 0
}

// Essential tells whether the host may not come back without the module.
func (m *KernelModule) Essential() bool {
	for _, r := range m.Roles {
		if r == RoleRoot || r == RoleBoot || r == RoleNetwork {
			return true
		}
	}
	return false
}

// ForeignModule is what the file of an out-of-tree or third-party module says.
type ForeignModule struct {
	Problem    string `json:"problem,omitempty"` // why the file could not be read; then the rest is empty
	Version    string `json:"version,omitempty"`
	SrcVersion string `json:"src_version,omitempty"`
	Vermagic   string `json:"vermagic,omitempty"`
	InTree     bool   `json:"in_tree,omitempty"`
	Machine    string `json:"machine,omitempty"`
	// NoRetpoline says of an x86 module that its compiler did not protect its
	// indirect branches (Spectre v2): modinfo shows no "retpoline: Y".
	NoRetpoline bool             `json:"no_retpoline,omitempty"`
	Depends     []string         `json:"depends,omitempty"`
	Aliases     []string         `json:"aliases,omitempty"`
	Imports     []string         `json:"imports,omitempty"` // name=0xCRC, or the name alone; a leading ? marks a weak one
	Exports     []string         `json:"exports,omitempty"` // likewise
	Signature   *ModuleSignature `json:"signature,omitempty"`
}

// ModuleSignature is the signature at the end of a module file.
type ModuleSignature struct {
	Signer       string `json:"signer"`
	Organization string `json:"organization,omitempty"`
	Key          string `json:"key,omitempty"` // serial number or key id, hex with colons
	Hash         string `json:"hash,omitempty"`
	// State is good where a certificate of the firmware made the signature, bad
	// where it should have and did not, no-certificate where none of them is the
	// signer's, unsupported where it cannot be verified here, revoked where the
	// firmware or shim refuses the certificate that made it.
	State string `json:"state"`
	// EnrolledIn names the variable that holds the signer's certificate: db,
	// MokListRT.
	EnrolledIn string `json:"enrolled_in,omitempty"`
	// KernelKey is the name of a key of the running kernel that is the signer's:
	// of its id where the signature has one, of its name otherwise. Empty where
	// there is none, or the kernel's keys could not be seen (ModuleTrust.Keyrings).
	KernelKey string `json:"kernel_key,omitempty"`
	// NotLoaded says that the certificate is enrolled and the running kernel, whose
	// keys were seen, has not taken it over.
	NotLoaded bool `json:"not_loaded,omitempty"`
}

// KernelDevice is a device with a driver.
type KernelDevice struct {
	Bus      string `json:"bus"`
	Name     string `json:"name"`
	Modalias string `json:"modalias"`
	Driver   string `json:"driver"`
	Module   string `json:"module,omitempty"` // empty: the driver is part of the image
	// Claimed says that an alias of Module matches the device in the running
	// kernel's tree: then a kernel whose module has no such alias dropped it.
	Claimed bool   `json:"claimed,omitempty"`
	Role    string `json:"role,omitempty"` // root, boot or network
}

// ModuleSource is a module source that the host builds for each kernel.
type ModuleSource struct {
	Kind      string   `json:"kind"` // dkms, akmods
	Name      string   `json:"name"`
	Version   string   `json:"version,omitempty"`
	Modules   []string `json:"modules,omitempty"` // what it builds, as far as known
	Automatic bool     `json:"automatic"`         // built when a kernel is installed
	Kernels   []string `json:"kernels,omitempty"` // those it was built for
	// OnlyKernel is a regular expression of the kernels it can be built for.
	OnlyKernel string `json:"only_kernel,omitempty"`
	Problem    string `json:"problem,omitempty"`
}

// ModuleTrust is what decides whether a module may be loaded.
type ModuleTrust struct {
	UEFI         bool          `json:"uefi"`
	SecureBoot   string        `json:"secure_boot"` // enabled, disabled, not-available, unknown
	MokDisabled  bool          `json:"mok_disabled,omitempty"`
	Lockdown     string        `json:"lockdown,omitempty"` // none, integrity, confidentiality
	SigEnforce   bool          `json:"sig_enforce"`        // the kernel refuses modules without a trusted signature
	FIPS         bool          `json:"fips,omitempty"`
	Certificates []Certificate `json:"certificates"` // sorted by source, subject, serial
	// Keyrings are the running kernel's keyrings and how many keys they hold:
	// .builtin_trusted_keys, .platform (the firmware's), .machine (shim's),
	// .blacklist. Only root sees them.
	Keyrings map[string]int `json:"keyrings,omitempty"`
	Problem  string         `json:"problem,omitempty"`
}

// Enforced tells whether the kernel refuses modules that it cannot verify.
func (t *ModuleTrust) Enforced() bool {
	return t.SigEnforce || t.SecureBoot == "enabled" || t.Lockdown == "integrity" || t.Lockdown == "confidentiality"
}

// Certificate is a certificate that the firmware or shim trusts.
type Certificate struct {
	Source  string `json:"source"` // db, MokListRT
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	Serial  string `json:"serial"`           // hex
	KeyID   string `json:"key_id,omitempty"` // subject key identifier, hex
	Expires string `json:"expires"`          // YYYY-MM-DD; the kernel does not look at it
}
