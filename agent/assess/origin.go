package assess

import (
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

const (
	ownerAlmaLinux = "almalinux"
	ownerUnknown   = "unknown"
	ownerUnsigned  = "unsigned"
)

type originKind int

const (
	originForeign   originKind = iota // signed by another vendor
	originDistro                      // signed by a distribution of the RHEL family
	originAlmaLinux                   // signed by AlmaLinux
	originUnsigned                    // not signed
)

// origin says who built an installed package, by its signature. The Vendor
// string is reported and never believed: anybody may write any name there.
func (a *assessor) origin(p *inventory.Package) Origin {
	s := &p.Signature
	o := Origin{Signature: s.Status, KeyID: s.KeyID, Vendor: p.Vendor, Owner: s.Owner}
	if o.Owner == "" && s.KeyID != "" {
		if k, ok := a.cat.KeyByID(s.KeyID); ok {
			o.Owner = k.Owner
		}
	}
	switch {
	case s.Status == "missing" || s.Status == "" && s.KeyID == "":
		o.Owner = ownerUnsigned
	case o.Owner == "":
		o.Owner = ownerUnknown
	}
	switch a.kind(o) {
	case originForeign:
		o.Repo = a.repoOfKey(p, o)
	case originUnsigned:
		o.Repo = a.repoOfUnsigned()
	}
	return o
}

// kind tells the source distribution's signers from the others.
func (a *assessor) kind(o Origin) originKind { return a.ownerKind(o.Owner) }

func (a *assessor) ownerKind(owner string) originKind {
	k, ok := a.owners[owner]
	if ok {
		return k
	}
	switch of, known := a.cat.OwnerKind(owner); {
	case owner == ownerUnsigned:
		k = originUnsigned
	case owner == ownerUnknown || owner == "":
		k = originForeign
	case owner == ownerAlmaLinux:
		k = originAlmaLinux
	case a.cat.Owns(string(a.distro), owner), known && of == catalog.KindDistro:
		k = originDistro
	default:
		k = originForeign
	}
	a.owners[owner] = k
	return k
}

// signer names the origin in words.
func (a *assessor) signer(o Origin) string {
	switch {
	case o.Owner == ownerUnsigned:
		return "unsigned"
	case o.Owner == ownerUnknown:
		return "signed with the unknown key " + o.KeyID
	}
	return "signed by " + o.Owner
}

// repoOfKey returns the configured repository that a package most likely came
// from: one that names the key it is signed with, enabled ones first.
func (a *assessor) repoOfKey(p *inventory.Package, o Origin) string {
	ck := o.KeyID + " " + o.Owner
	if id, ok := a.keyRepo[ck]; ok {
		return id
	}
	best, score := "", 0
	for i := range a.inv.Repos {
		r := &a.inv.Repos[i]
		s := 0
		if a.repoHasKey(r, p.Signature.Fingerprint, o.KeyID) {
			s += 16
		}
		if o.Owner != ownerUnknown && (r.ID == o.Owner || strings.Contains(r.ID, o.Owner) || strings.HasPrefix(r.OwnedBy, o.Owner)) {
			s += 2
		}
		if s == 0 {
			continue
		}
		if r.Enabled {
			s += 8
		}
		if !auxiliaryRepo(r.ID) {
			s += 4
		}
		if s > score {
			best, score = r.ID, s
		}
	}
	a.keyRepo[ck] = best
	return best
}

// auxiliaryRepo tells sources, debug information and testing by the id.
func auxiliaryRepo(id string) bool {
	for _, w := range []string{"debug", "source", "src", "testing", "test", "devel"} {
		if strings.Contains(id, w) {
			return true
		}
	}
	return false
}

// repoHasKey tells whether one of the repository's gpgkey files on the host
// holds the key.
func (a *assessor) repoHasKey(r *inventory.Repo, fingerprint, keyID string) bool {
	for _, url := range r.GPGKeys {
		file, _ := inventory.KeyFile(url)
		for i := range a.inv.Keys {
			k := &a.inv.Keys[i]
			if path.Clean("/"+k.Source) == file && (fingerprint != "" && k.Fingerprint == fingerprint || slices.Contains(k.KeyIDs, keyID)) {
				return true
			}
		}
	}
	return false
}

// repoOfUnsigned returns the one enabled repository that an unsigned package
// can have come from: not checked for signatures, and not one of the
// distribution's. Where there are several, none is named.
func (a *assessor) repoOfUnsigned() string {
	if a.unsignedRepo != nil {
		return *a.unsignedRepo
	}
	id := ""
	n := 0
	for i := range a.inv.Repos {
		r := &a.inv.Repos[i]
		if !r.Enabled || r.GPGCheck {
			continue
		}
		if _, ok := a.cat.MapRepo(string(a.distro), a.inv.Host.Major, r.ID); ok {
			continue
		}
		id = r.ID
		n++
	}
	if n != 1 {
		id = ""
	}
	a.unsignedRepo = &id
	return id
}
