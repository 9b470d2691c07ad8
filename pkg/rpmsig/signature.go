package rpmsig

import (
	"crypto"
	"crypto/dsa"
	_ "crypto/md5" // for signatures of EL5 packages
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// signature is one signature packet, of any version.
type signature struct {
	version int
	sigType byte
	algo    byte
	hashID  byte
	hash    crypto.Hash // 0: not supported
	created time.Time
	keyID   string // 16 lower-case hex digits, "" if the signature names none
	fpr     string // the issuer's fingerprint, upper-case hex, if named

	v3  *v3Signature
	pkt *packet.Signature
	// unsupported says why the signature cannot be judged.
	unsupported string
}

// v3Signature is what only version 3 has (RFC 4880, section 5.2.2).
type v3Signature struct {
	hashed [5]byte // type and time, hashed behind the data
	check  [2]byte // left 16 bits of the digest
	mpis   []*big.Int
}

// parseSignature reads one signature packet.
func parseSignature(p rawPacket) (*signature, error) {
	if p.tag != tagSignature {
		return nil, fmt.Errorf("packet of tag %d, not a signature: %w", p.tag, ErrMalformed)
	}
	if len(p.body) == 0 {
		return nil, fmt.Errorf("empty signature: %w", ErrMalformed)
	}
	switch p.body[0] {
	case 2, 3:
		return parseV3(p.body)
	}
	pkt, err := readPacket(p)
	if err != nil {
		var u pgperrors.UnsupportedError
		if errors.As(err, &u) {
			return unsupportedSignature(p.body, string(u)), nil
		}
		return nil, fmt.Errorf("signature: %w: %w", ErrMalformed, err)
	}
	sp, ok := pkt.(*packet.Signature)
	if !ok {
		return nil, fmt.Errorf("not a signature: %w", ErrMalformed)
	}
	s := &signature{
		version: sp.Version,
		sigType: byte(sp.SigType),
		algo:    byte(sp.PubKeyAlgo),
		hash:    sp.Hash,
		created: sp.CreationTime,
		pkt:     sp,
	}
	s.hashID = p.body[3]
	if sp.IssuerKeyId != nil {
		s.keyID = fmt.Sprintf("%016x", *sp.IssuerKeyId)
	}
	if sp.IssuerFingerprint != nil {
		s.fpr = strings.ToUpper(hex.EncodeToString(sp.IssuerFingerprint))
	}
	if sp.CreationTime.IsZero() {
		return nil, fmt.Errorf("signature without creation time: %w", ErrMalformed)
	}
	return s, nil
}

func parseV3(b []byte) (*signature, error) {
	// version, length 5, type, time (4), key id (8), algorithm, hash, check (2)
	const fixed = 19
	if len(b) < fixed || b[1] != 5 {
		return nil, fmt.Errorf("version 3 signature cut off: %w", ErrMalformed)
	}
	s := &signature{
		version: int(b[0]),
		sigType: b[2],
		created: time.Unix(int64(binary.BigEndian.Uint32(b[3:])), 0),
		keyID:   hex.EncodeToString(b[7:15]),
		algo:    b[15],
		hashID:  b[16],
		hash:    hashByID(b[16]),
		v3:      &v3Signature{hashed: [5]byte(b[2:7]), check: [2]byte(b[17:19])},
	}
	want := 0
	switch s.algo {
	case algoRSA, algoRSASign:
		want = 1
	case algoDSA:
		want = 2
	default:
		s.unsupported = fmt.Sprintf("algorithm %s in a version 3 signature", algoName(s.algo))
		return s, nil
	}
	for b = b[fixed:]; len(s.v3.mpis) < want; {
		if len(b) < 2 {
			return nil, fmt.Errorf("version 3 signature cut off: %w", ErrMalformed)
		}
		n := (int(binary.BigEndian.Uint16(b)) + 7) / 8
		if len(b)-2 < n {
			return nil, fmt.Errorf("version 3 signature cut off: %w", ErrMalformed)
		}
		s.v3.mpis = append(s.v3.mpis, new(big.Int).SetBytes(b[2:2+n]))
		b = b[2+n:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes behind a version 3 signature: %w", len(b), ErrMalformed)
	}
	return s, nil
}

// unsupportedSignature saves what can be told of a signature that go-crypto
// does not support: who made it matters to the report.
func unsupportedSignature(b []byte, why string) *signature {
	s := &signature{version: int(b[0]), unsupported: why}
	if len(b) < 8 {
		return s
	}
	s.sigType, s.algo, s.hashID = b[1], b[2], b[3]
	width := 2
	switch s.version {
	case 4:
	case 6:
		width = 4
	default:
		return s
	}
	rest := b[4:]
	for range 2 { // hashed, then unhashed subpackets
		if len(rest) < width {
			return s
		}
		n := int(binary.BigEndian.Uint16(rest))
		if width == 4 {
			n = int(binary.BigEndian.Uint32(rest) & 0x7fffffff)
		}
		if rest = rest[width:]; n > len(rest) {
			return s
		}
		s.issuer(rest[:n])
		rest = rest[n:]
	}
	return s
}

// issuer looks for creation time (2), issuer (16) and issuer fingerprint (33)
// in a subpacket area (RFC 9580, section 5.2.3.7).
func (s *signature) issuer(b []byte) {
	for len(b) > 0 {
		var n, head int
		switch {
		case b[0] < 192:
			n, head = int(b[0]), 1
		case b[0] < 255 && len(b) >= 2:
			n, head = int(b[0]-192)<<8+int(b[1])+192, 2
		case b[0] == 255 && len(b) >= 5:
			n, head = int(binary.BigEndian.Uint32(b[1:])&0x7fffffff), 5
		default:
			return
		}
		if n < 1 || n > len(b)-head {
			return
		}
		body := b[head+1 : head+n]
		switch b[head] & 0x7f {
		case 2:
			if len(body) == 4 && s.created.IsZero() {
				s.created = time.Unix(int64(binary.BigEndian.Uint32(body)), 0)
			}
		case 16:
			if len(body) == 8 && s.keyID == "" {
				s.keyID = hex.EncodeToString(body)
			}
		case 33:
			if len(body) == 21 && body[0] == 4 {
				s.keyID, s.fpr = hex.EncodeToString(body[13:]), strings.ToUpper(hex.EncodeToString(body[1:]))
			} else if len(body) == 33 && body[0] == 6 {
				s.keyID, s.fpr = hex.EncodeToString(body[1:9]), strings.ToUpper(hex.EncodeToString(body[1:]))
			}
		}
		b = b[head+n:]
	}
}

// errBad says that a signature does not fit data and key, errUnsupported that
// the key or algorithm cannot be used here.
var (
	errBad         = errors.New("the signature does not fit")
	errUnsupported = errors.New("not supported")
)

// verify checks the arithmetic: does pub's key fit the signature over the data
// of which d gives the hash?
func (s *signature) verify(pub *packet.PublicKey, d digests) error {
	if err := checkKeySize(pub); err != nil {
		return err
	}
	if s.v3 != nil {
		return s.verifyV3(pub, d)
	}
	h, err := d.hash(s.hash, s.pkt.Salt())
	if err != nil {
		return err
	}
	return guard(func() error {
		if key, ok := pub.PublicKey.(*rsa.PublicKey); ok && s.version != 5 {
			return s.verifyRSA(pub, key, h)
		}
		if pub.VerifySignature(h, s.pkt) != nil {
			return errBad
		}
		return nil
	})
}

// verifyRSA does for RSA what go-crypto does for all algorithms: behind the
// data the hash takes the signature's own fields (RFC 9580, section 5.2.4).
func (s *signature) verifyRSA(pub *packet.PublicKey, key *rsa.PublicKey, h hash.Hash) error {
	if !pub.CanSign() || pub.PubKeyAlgo != s.pkt.PubKeyAlgo || s.pkt.RSASignature == nil {
		return errBad
	}
	h.Write(s.pkt.HashSuffix)
	sum := h.Sum(nil)
	if s.version >= 6 && [2]byte(sum) != s.pkt.HashTag {
		return errBad
	}
	return verifyRSA(key, s.hash, sum, s.pkt.RSASignature.Bytes())
}

func (s *signature) verifyV3(pub *packet.PublicKey, d digests) error {
	h, err := d.hash(s.hash, nil)
	if err != nil {
		return err
	}
	h.Write(s.v3.hashed[:])
	sum := h.Sum(nil)
	if [2]byte(sum) != s.v3.check {
		return errBad
	}
	switch key := pub.PublicKey.(type) {
	case *rsa.PublicKey:
		if len(s.v3.mpis) != 1 {
			return errBad
		}
		return verifyRSA(key, s.hash, sum, s.v3.mpis[0].Bytes())
	case *dsa.PublicKey:
		if len(s.v3.mpis) != 2 {
			return errBad
		}
		if n := (key.Q.BitLen() + 7) / 8; len(sum) > n {
			sum = sum[:n]
		}
		return guard(func() error {
			if !dsa.Verify(key, sum, s.v3.mpis[0], s.v3.mpis[1]) {
				return errBad
			}
			return nil
		})
	}
	return errBad
}

// guard runs code of the OpenPGP module on what anybody may have written, and
// takes a panic there for "does not fit".
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBad, r)
		}
	}()
	return f()
}
