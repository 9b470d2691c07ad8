package rpmsig

import (
	"slices"
	"sync"
)

// Keyring is a set of trusted keys, identified by fingerprint. It may be used
// by several goroutines. The zero Keyring, and a nil one, is empty.
type Keyring struct {
	mu   sync.RWMutex
	keys map[string]*Key // by primary fingerprint
	byID map[string][]signer
}

// signer is one key that may have made a signature.
type signer struct {
	key *Key
	*part
}

// NewKeyring returns a keyring of the given keys.
func NewKeyring(keys ...*Key) *Keyring {
	r := &Keyring{}
	r.Add(keys...)
	return r
}

// Add adds keys. A key that is there already is merged: the newer statement of
// its owner counts for each part, and a revocation known to either stays.
func (r *Keyring) Add(keys ...*Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys, r.byID = map[string]*Key{}, map[string][]signer{}
	}
	for _, k := range keys {
		if old := r.keys[k.Fingerprint]; old != nil {
			k = merge(old, k)
			for id, list := range r.byID {
				r.byID[id] = slices.DeleteFunc(list, func(s signer) bool { return s.key == old })
			}
		}
		r.keys[k.Fingerprint] = k
		for _, p := range k.parts {
			r.byID[p.id] = append(r.byID[p.id], signer{k, p})
		}
	}
}

// merge joins two states of one key.
func merge(a, b *Key) *Key {
	if a.parts[0].bound.After(b.parts[0].bound) {
		a, b = b, a
	}
	k := *b // the newer one
	k.parts = nil
	for _, p := range b.parts {
		k.parts = append(k.parts, mergePart(p, a.parts))
	}
	for _, p := range a.parts {
		if !slices.ContainsFunc(b.parts, func(q *part) bool { return q.fpr == p.fpr }) {
			k.parts = append(k.parts, p)
		}
	}
	k.KeyIDs = nil
	for _, p := range k.parts {
		k.KeyIDs = append(k.KeyIDs, p.id)
	}
	k.Revoked = k.parts[0].revoked
	return &k
}

func mergePart(p *part, others []*part) *part {
	i := slices.IndexFunc(others, func(o *part) bool { return o.fpr == p.fpr })
	if i < 0 {
		return p
	}
	o := others[i]
	if o.bound.After(p.bound) {
		p, o = o, p
	}
	m := *p
	if o.revoked {
		m.revoked = true
		m.revokedHard = m.revokedHard || o.revokedHard
		if m.revokedAt.IsZero() || o.revokedAt.Before(m.revokedAt) {
			m.revokedAt = o.revokedAt
		}
	}
	return &m
}

// ByKeyID returns the keys that sign under an id of 16 lower-case hex digits.
// There can be several, as ids are short enough to be forged.
func (r *Keyring) ByKeyID(id string) []*Key {
	var keys []*Key
	for _, s := range r.signers(id) {
		if !slices.Contains(keys, s.key) {
			keys = append(keys, s.key)
		}
	}
	return keys
}

func (r *Keyring) signers(id string) []signer {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.byID[id])
}

// ByFingerprint returns the key with a primary fingerprint of upper-case hex
// digits, or nil.
func (r *Keyring) ByFingerprint(fpr string) *Key {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys[fpr]
}

// Fingerprints returns the primary fingerprints, sorted.
func (r *Keyring) Fingerprints() []string {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]string, 0, len(r.keys))
	for f := range r.keys {
		list = append(list, f)
	}
	slices.Sort(list)
	return list
}
