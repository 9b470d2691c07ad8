package rpmsig

import (
	"crypto/sha256"
	"fmt"
)

// Digest identifies what the keyring holds: keyrings of the same digest judge
// every signature alike, at the same time. It covers all that merging keys and
// judging signatures looks at, not only fingerprints: a revocation or a new
// expiry of a known key changes it.
func (r *Keyring) Digest() [sha256.Size]byte {
	h := sha256.New()
	if r == nil {
		return [sha256.Size]byte(h.Sum(nil))
	}
	for _, fpr := range r.Fingerprints() {
		k := r.ByFingerprint(fpr)
		fmt.Fprintf(h, "key %s %d %d %t %d %q\n", k.Fingerprint, k.Created.Unix(), k.Expires.Unix(), k.Revoked, len(k.parts), k.UserID)
		for _, p := range k.parts {
			fmt.Fprintf(h, "part %s %d %d %t %t %d %t %t %d\n", p.fpr, p.created.Unix(), p.expires.Unix(), p.canSign, p.sha1,
				p.bound.Unix(), p.revoked, p.revokedHard, p.revokedAt.Unix())
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
