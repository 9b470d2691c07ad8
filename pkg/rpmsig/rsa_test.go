package rpmsig_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

var rsaHashes = []crypto.Hash{
	crypto.MD5, crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512,
}

func digest(h crypto.Hash, text string) []byte {
	d := h.New()
	d.Write([]byte(text))
	return d.Sum(nil)
}

// TestRSAIsThatOfTheStandardLibrary has crypto/rsa sign and judge.
func TestRSAIsThatOfTheStandardLibrary(t *testing.T) {
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	for _, bits := range []int{1024, 2047, 2048, 3072} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range rsaHashes {
			sum := digest(h, fmt.Sprint(bits, h))
			sig, err := rsa.SignPKCS1v15(nil, key, h, sum)
			if err != nil {
				t.Fatal(bits, h, err)
			}
			if err := rpmsig.VerifyRSA(&key.PublicKey, h, sum, sig); err != nil {
				t.Errorf("%d bits, %v: a good signature: %v", bits, h, err)
			}
			for range 20 {
				s, d := bytes.Clone(sig), bytes.Clone(sum)
				if which := rnd.IntN(2); which == 0 {
					s[rnd.IntN(len(s))] ^= 1 << rnd.IntN(8)
				} else {
					d[rnd.IntN(len(d))] ^= 1 << rnd.IntN(8)
				}
				std, our := rsa.VerifyPKCS1v15(&key.PublicKey, h, d, s), rpmsig.VerifyRSA(&key.PublicKey, h, d, s)
				if (std == nil) != (our == nil) || !errors.Is(our, rpmsig.ErrBad) {
					t.Errorf("%d bits, %v: %v, the standard library: %v", bits, h, our, std)
				}
			}
			for _, other := range rsaHashes {
				if other == h {
					continue
				}
				if err := rpmsig.VerifyRSA(&key.PublicKey, other, sum, sig); !errors.Is(err, rpmsig.ErrBad) {
					t.Errorf("a signature over %v taken for one over %v: %v", h, other, err)
				}
			}
		}
	}
}

// smallKey makes a key with the exponent 3, as those that were forged under.
type smallKey struct {
	rsa.PublicKey
	d *big.Int
}

func newSmallKey(t *testing.T, bits int) *smallKey {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	prime := func() (p, minus1 *big.Int) {
		for {
			p, err := rand.Prime(rand.Reader, bits/2)
			if err != nil {
				t.Fatal(err)
			}
			minus1 := new(big.Int).Sub(p, one)
			if new(big.Int).GCD(nil, nil, minus1, three).Cmp(one) == 0 {
				return p, minus1
			}
		}
	}
	p, p1 := prime()
	q, q1 := prime()
	k := &smallKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3}}
	k.d = new(big.Int).ModInverse(three, new(big.Int).Mul(p1, q1))
	return k
}

// raw is the private operation on any block: what a forger cannot do.
func (k *smallKey) raw(em []byte) []byte {
	s := new(big.Int).Exp(new(big.Int).SetBytes(em), k.d, k.N)
	return s.FillBytes(make([]byte, k.Size()))
}

// public is the public operation.
func (k *smallKey) public(sig []byte) []byte {
	m := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(3), k.N)
	return m.FillBytes(make([]byte, k.Size()))
}

// block pads what follows the padding to the key's size.
func (k *smallKey) block(first, second, fill byte, tail []byte) []byte {
	em := bytes.Repeat([]byte{fill}, k.Size())
	em[0], em[1] = first, second
	at := k.Size() - len(tail) - 1
	em[at] = 0
	copy(em[at+1:], tail)
	return em
}

// cubeRoot is the least number whose cube is not below n.
func cubeRoot(n *big.Int) *big.Int {
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/3+2))
	for lo.Cmp(hi) < 0 {
		mid := new(big.Int).Add(lo, hi)
		mid.Rsh(mid, 1)
		if new(big.Int).Exp(mid, big.NewInt(3), nil).Cmp(n) < 0 {
			lo = mid.Add(mid, big.NewInt(1))
		} else {
			hi = mid
		}
	}
	return lo
}

// cubeRootMod2 is the number below 2^n whose cube ends in the last n bits of
// the odd number v.
func cubeRootMod2(v *big.Int, n int) *big.Int {
	s := big.NewInt(1)
	for i := 1; i < n; i++ {
		diff := new(big.Int).Sub(new(big.Int).Exp(s, big.NewInt(3), nil), v)
		if diff.Bit(i) == 1 {
			s.SetBit(s, i, 1)
		}
	}
	return s
}

var sha256Info = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// TestRSAForgeries tries what verifiers fell for that parse the block instead
// of comparing it: Bleichenbacher's forgery under the exponent 3 (2006) and
// its relatives, and blocks that only the key's owner could make but must not.
func TestRSAForgeries(t *testing.T) {
	key := newSmallKey(t, 3072)
	sum := digest(crypto.SHA256, "forged")
	sum[31] |= 1
	info := slices.Concat(sha256Info, sum)
	refuse := func(name string, sig []byte) {
		t.Helper()
		if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum, sig); !errors.Is(err, rpmsig.ErrBad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := key.raw(key.block(0, 1, 0xff, info))
	if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum, good); err != nil {
		t.Fatalf("the good one: %v", err)
	}

	// Least padding, digest, and behind it what makes it a cube.
	head := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, info)
	em := append(bytes.Clone(head), make([]byte, key.Size()-len(head))...)
	forged := cubeRoot(new(big.Int).SetBytes(em)).Bytes()
	if got := key.public(forged); !bytes.HasPrefix(got, head) {
		t.Fatalf("the forgery is none: %x", got)
	}
	refuse("garbage behind the digest", forged)
	refuse("garbage behind the digest, with leading zeros", new(big.Int).SetBytes(forged).FillBytes(make([]byte, key.Size())))

	// The digest stands at the end, the garbage in the algorithm's parameters.
	n := key.Size() - 11 - 4 // of DigestInfo, in a long length
	alg := []byte{0x30, 0x82, byte(n >> 8), byte(n), 0x30, 0x82, byte((n - 38) >> 8), byte(n - 38), 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
		0x04, 0x82, byte((n - 38 - 15) >> 8), byte(n - 38 - 15)}
	head = slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 8), []byte{0}, alg)
	tail := append([]byte{0x04, 0x20}, sum...)
	low := cubeRootMod2(new(big.Int).SetBytes(tail), 8*len(tail))
	em = append(bytes.Clone(head), bytes.Repeat([]byte{0x7f}, key.Size()-len(head))...)
	s := cubeRoot(new(big.Int).SetBytes(em))
	s.Rsh(s, uint(8*len(tail))).Lsh(s, uint(8*len(tail))).Or(s, low)
	if got := key.public(s.Bytes()); !bytes.HasPrefix(got, head) || !bytes.HasSuffix(got, tail) {
		t.Fatalf("the forgery is none: %x", got)
	}
	refuse("garbage in the parameters", s.Bytes())

	// Blocks made with the private key.
	withoutNull := slices.Concat([]byte{0x30, 0x2f, 0x30, 0x0b}, sha256Info[4:15], sha256Info[17:], sum)
	refuse("parameters left out", key.raw(key.block(0, 1, 0xff, withoutNull)))
	refuse("no DigestInfo", key.raw(key.block(0, 1, 0xff, sum)))
	refuse("block type 0", key.raw(key.block(0, 0, 0, info)))
	refuse("block type 2", key.raw(key.block(0, 2, 0xaa, info)))
	refuse("padding of another byte", key.raw(key.block(0, 1, 0xfe, info)))
	refuse("one byte too many", key.raw(key.block(0, 1, 0xff, append(bytes.Clone(info), 0))))
	hole := key.block(0, 1, 0xff, info)
	hole[20] = 0
	refuse("a hole in the padding", key.raw(hole))
	refuse("an upper length octet", key.raw(key.block(0, 1, 0xff, slices.Concat([]byte{0x30, 0x81, 0x31}, info[2:]))))

	// Numbers and lengths.
	k := key.Size()
	refuse("nothing", nil)
	for _, v := range []*big.Int{new(big.Int), big.NewInt(1), new(big.Int).Sub(key.N, big.NewInt(1)), key.N, new(big.Int).Add(key.N, big.NewInt(1))} {
		refuse("the number "+v.Text(16)[:1]+"...", v.FillBytes(make([]byte, k)))
	}
	refuse("one octet longer", append([]byte{0}, good...))
	refuse("one octet shorter", good[1:])
	refuse("one octet appended", append(bytes.Clone(good), 0))
	// A signature and the modulus added give the same block: only one of the
	// two numbers may count. Some fit into the modulus's octets.
	for i := 0; ; i++ {
		sum := digest(crypto.SHA256, fmt.Sprint("s+N", i))
		sig := new(big.Int).SetBytes(key.raw(key.block(0, 1, 0xff, slices.Concat(sha256Info, sum))))
		more := new(big.Int).Add(sig, key.N)
		if more.BitLen() > 8*k {
			continue
		}
		if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum, sig.Bytes()); err != nil {
			t.Errorf("below the modulus: %v", err)
		}
		if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum, more.Bytes()); !errors.Is(err, rpmsig.ErrBad) {
			t.Errorf("above the modulus: %v", err)
		}
		break
	}
	if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum[:31], good); !errors.Is(err, rpmsig.ErrBad) {
		t.Errorf("a digest cut short: %v", err)
	}
	if err := rpmsig.VerifyRSA(&key.PublicKey, crypto.RIPEMD160, sum[:20], good); !errors.Is(err, rpmsig.ErrBad) {
		t.Errorf("a hash that is not in the list: %v", err)
	}
	small := newSmallKey(t, 512)
	if err := rpmsig.VerifyRSA(&small.PublicKey, crypto.SHA512, digest(crypto.SHA512, ""), make([]byte, 64)); !errors.Is(err, rpmsig.ErrBad) {
		t.Errorf("no room for the digest: %v", err)
	}
}

// BenchmarkRSA compares with the standard library, for the key size of most
// distributions.
func BenchmarkRSA(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		b.Fatal(err)
	}
	sum := digest(crypto.SHA256, "x")
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			if rpmsig.VerifyRSA(&key.PublicKey, crypto.SHA256, sum, sig) != nil {
				b.Fatal()
			}
		}
	})
	b.Run("crypto-rsa", func(b *testing.B) {
		for b.Loop() {
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum, sig) != nil {
				b.Fatal()
			}
		}
	})
}
