package rpmsig_test

import (
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// TestKeyringDigest: the same keys in any order give one digest, other keys
// another.
func TestKeyringDigest(t *testing.T) {
	parse := func(created time.Time) *rpmsig.Key {
		_, pub := v3Key(t, 1024, created)
		keys, problems := rpmsig.ParseKeys(pub)
		if len(keys) != 1 {
			t.Fatal(problems)
		}
		return keys[0]
	}
	a, b := parse(time.Unix(1_400_000_000, 0)), parse(time.Unix(1_400_000_000, 0))
	ab, ba := rpmsig.NewKeyring(a, b).Digest(), rpmsig.NewKeyring(b, a, b).Digest()
	if ab != ba {
		t.Error("the order of keys changes the digest")
	}
	seen := map[[32]byte]bool{}
	for _, r := range []*rpmsig.Keyring{nil, rpmsig.NewKeyring(a), rpmsig.NewKeyring(b), rpmsig.NewKeyring(a, b)} {
		d := r.Digest()
		if seen[d] {
			t.Errorf("digest %x of %v is there twice", d, r.Fingerprints())
		}
		seen[d] = true
	}
	if rpmsig.NewKeyring().Digest() != (*rpmsig.Keyring)(nil).Digest() {
		t.Error("empty keyrings differ")
	}
	expiring := *a
	expiring.Expires = time.Unix(1_500_000_000, 0)
	if rpmsig.NewKeyring(&expiring).Digest() == rpmsig.NewKeyring(a).Digest() {
		t.Error("an expiry does not change the digest")
	}
}
