package rpmsig

import (
	"crypto"
	"crypto/dsa"
	"crypto/rsa"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Public-key algorithm ids (RFC 9580, section 9.1; 30 and above are the
// post-quantum draft's).
const (
	algoRSA     = 1
	algoRSASign = 3
	algoDSA     = 17
)

var algoNames = map[byte]string{
	1: "RSA", 2: "RSA", 3: "RSA", 16: "ElGamal", 17: "DSA", 18: "ECDH", 19: "ECDSA", 22: "EdDSA",
	25: "X25519", 26: "X448", 27: "Ed25519", 28: "Ed448",
	30: "ML-DSA-65+Ed25519", 31: "ML-DSA-87+Ed448", 32: "SLH-DSA-SHAKE-128s", 33: "SLH-DSA-SHAKE-128f", 34: "SLH-DSA-SHAKE-256s",
	35: "ML-KEM-768+X25519", 36: "ML-KEM-1024+X448",
}

func algoName(id byte) string {
	if n, ok := algoNames[id]; ok {
		return n
	}
	return fmt.Sprintf("algorithm %d", id)
}

var hashes = map[byte]struct {
	name string
	hash crypto.Hash
}{
	1: {"MD5", crypto.MD5}, 2: {"SHA1", crypto.SHA1}, 3: {"RIPEMD160", 0},
	8: {"SHA256", crypto.SHA256}, 9: {"SHA384", crypto.SHA384}, 10: {"SHA512", crypto.SHA512}, 11: {"SHA224", crypto.SHA224},
	12: {"SHA3-256", crypto.SHA3_256}, 14: {"SHA3-512", crypto.SHA3_512},
}

func hashByID(id byte) crypto.Hash { return hashes[id].hash }

func hashName(id byte) string {
	if h, ok := hashes[id]; ok {
		return h.name
	}
	return fmt.Sprintf("hash %d", id)
}

func weakHash(h crypto.Hash) bool { return h == crypto.SHA1 || h == crypto.MD5 }

// keyBits is the size of an RSA or DSA key, 0 for others.
func keyBits(pub *packet.PublicKey) int {
	switch k := pub.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen()
	case *dsa.PublicKey:
		return k.P.BitLen()
	}
	return 0
}

func weakKey(pub *packet.PublicKey) bool {
	n := keyBits(pub)
	return n > 0 && n < 2048
}

// checkKeySize refuses keys that the standard library refuses as too small, and
// sizes that nobody uses but that would take seconds to compute with.
func checkKeySize(pub *packet.PublicKey) error {
	switch k := pub.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 1024 || n > 16384 {
			return fmt.Errorf("RSA key of %d bits: %w", n, errUnsupported)
		}
		if k.N.Bit(0) == 0 || k.E < 3 || k.E&1 == 0 || k.E > 1<<31-1 {
			return fmt.Errorf("RSA key with impossible numbers: %w", errUnsupported)
		}
	case *dsa.PublicKey:
		if p, q := k.P.BitLen(), k.Q.BitLen(); p < 1024 || p > 4096 || q < 160 || q > 512 || q%8 != 0 {
			return fmt.Errorf("DSA key of %d/%d bits: %w", p, q, errUnsupported)
		}
		if k.P.Bit(0) == 0 || k.G.Cmp(k.P) >= 0 || k.Y.Cmp(k.P) >= 0 || k.G.Sign() == 0 || k.Y.Sign() == 0 {
			return fmt.Errorf("DSA key with impossible numbers: %w", errUnsupported)
		}
	}
	return nil
}
