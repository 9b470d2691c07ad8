package kmod

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" // old modules are signed over SHA-1
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"
)

// sigMagic ends every signed module (include/linux/module_signature.h).
const sigMagic = "~Module signature appended~\n"

// maxSignature caps the signature's bytes: PKCS#7 with RSA-4096 has about 700,
// with ML-DSA-87 about 5,000.
const maxSignature = 256 << 10

// Signature is what is appended to a signed module.
type Signature struct {
	// Format is "PKCS#7", or "X509" or "PGP" for kernels before 4.3 (EL7).
	Format string
	// Hash is the digest's name in the kernel's spelling: "sha256", "sha512"...
	Hash string
	// Signer is the common name of the signing certificate's issuer, which for
	// the self-signed keys that kernels use is the key's own name; the old
	// formats carry the name itself.
	Signer string
	// Organization is the issuer's O, "" if it has none.
	Organization string
	// Issuer is the issuer's whole distinguished name (RFC 2253), PKCS#7 only.
	Issuer string
	// Serial is the certificate's serial number (DER integer bytes), PKCS#7 only.
	Serial []byte
	// KeyID is the subject key identifier where the signature names its key so.
	KeyID []byte
	// Value is the signature proper.
	Value []byte
	// SignedLen is the number of bytes at the start of the file that the
	// signature covers.
	SignedLen int

	rawIssuer   []byte
	signedAttrs []byte // DER of the attributes as a SET; nil if there are none
	digestAttr  []byte
}

// KeyLabel is the identifier that modinfo prints as sig_key: the serial number,
// or the key id where there is no serial number, as upper-case hex with colons.
// modinfo leaves out the zero byte that DER puts before a serial number whose
// highest bit is set.
func (s *Signature) KeyLabel() string {
	id := s.Serial
	if len(id) > 1 && id[0] == 0 {
		id = id[1:]
	}
	if len(id) == 0 {
		id = s.KeyID
	}
	return colonHex(id)
}

func colonHex(b []byte) string {
	var sb strings.Builder
	for i, c := range b {
		if i > 0 {
			sb.WriteByte(':')
		}
		fmt.Fprintf(&sb, "%02X", c)
	}
	return sb.String()
}

// ParseSignature reads the signature at the end of a module file. A file that
// does not end with the marker has none: the result is nil without an error.
// Errors wrap ErrCorrupt, ErrTooLarge or ErrUnsupported.
func ParseSignature(data []byte) (*Signature, error) {
	body, ok := bytes.CutSuffix(data, []byte(sigMagic))
	if !ok {
		return nil, nil
	}
	// struct module_signature: algo, hash, id_type, signer_len, key_id_len,
	// three bytes of padding, sig_len (big endian).
	const infoSize = 12
	if len(body) < infoSize {
		return nil, corrupt("signature trailer of %d bytes", len(body))
	}
	info := body[len(body)-infoSize:]
	body = body[:len(body)-infoSize]
	signerLen, keyLen := int(info[3]), int(info[4])
	sigLen := uint64(binary.BigEndian.Uint32(info[8:]))
	if sigLen > maxSignature {
		return nil, tooLarge("signature of %d bytes", sigLen)
	}
	total := uint64(signerLen) + uint64(keyLen) + sigLen
	if total > uint64(len(body)) {
		return nil, corrupt("signature of %d bytes in a file of %d", total, len(data))
	}
	start := len(body) - int(total)
	s := &Signature{SignedLen: start}
	signer := body[start : start+signerLen]
	keyID := body[start+signerLen : start+signerLen+keyLen]
	value := body[len(body)-int(sigLen):]
	switch info[2] {
	case 0, 1:
		s.Format = [...]string{"PGP", "X509"}[info[2]]
		s.Signer, s.KeyID = string(signer), keyID
		var names = [...]string{"md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224"}
		if int(info[1]) >= len(names) {
			return nil, corrupt("signature hash %d", info[1])
		}
		s.Hash = names[info[1]]
		// An RSA value is an MPI with its length in bytes before it.
		s.Value = value
		if len(value) >= 2 && int(binary.BigEndian.Uint16(value)) == len(value)-2 {
			s.Value = value[2:]
		}
		return s, nil
	case 2:
		if info[0] != 0 || info[1] != 0 || signerLen != 0 || keyLen != 0 {
			return nil, corrupt("PKCS#7 signature with fields of the old format")
		}
		s.Format = "PKCS#7"
		if err := s.parsePKCS7(value); err != nil {
			return nil, fmt.Errorf("PKCS#7 signature: %w", err)
		}
		return s, nil
	}
	return nil, fmt.Errorf("%w: signature of type %d", ErrUnsupported, info[2])
}

// The structures of RFC 2315 (PKCS#7) and RFC 5652 (CMS) that a detached
// signature has.
type p7ContentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
}

type p7SignedData struct {
	Version      int
	Digests      asn1.RawValue
	ContentInfo  asn1.RawValue
	Certificates asn1.RawValue   `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue   `asn1:"optional,tag:1"`
	Signers      []asn1.RawValue `asn1:"set"`
}

type p7Signer struct {
	Version   int
	ID        asn1.RawValue
	Digest    pkix.AlgorithmIdentifier
	Attrs     asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm pkix.AlgorithmIdentifier
	Value     []byte
	Unsigned  asn1.RawValue `asn1:"optional,tag:1"`
}

type p7IssuerSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type p7Attribute struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue
}

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	hashOIDs         = []struct {
		oid  asn1.ObjectIdentifier
		name string
		hash crypto.Hash
	}{
		{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, "sha1", crypto.SHA1},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}, "sha224", crypto.SHA224},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, "sha256", crypto.SHA256},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, "sha384", crypto.SHA384},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, "sha512", crypto.SHA512},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}, "sha3-256", 0},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}, "sha3-384", 0},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}, "sha3-512", 0},
	}
)

func hashName(oid asn1.ObjectIdentifier) string {
	for _, h := range hashOIDs {
		if h.oid.Equal(oid) {
			return h.name
		}
	}
	return oid.String()
}

// unmarshal is asn1.Unmarshal without trailing bytes.
func unmarshal(der []byte, into any, what string) error {
	rest, err := asn1.Unmarshal(der, into)
	if err != nil {
		return corrupt("%s: %v", what, err)
	}
	if len(rest) != 0 {
		return corrupt("%s: %d bytes after it", what, len(rest))
	}
	return nil
}

func (s *Signature) parsePKCS7(der []byte) error {
	var ci p7ContentInfo
	if err := unmarshal(der, &ci, "content info"); err != nil {
		return err
	}
	if !ci.Type.Equal(oidSignedData) {
		return corrupt("content is no signed data but %v", ci.Type)
	}
	var sd p7SignedData
	if err := unmarshal(ci.Content.Bytes, &sd, "signed data"); err != nil {
		return err
	}
	if len(sd.Signers) == 0 {
		return corrupt("no signer")
	}
	// The kernel accepts several signers when each verifies; sign-file writes one.
	if len(sd.Signers) > 1 {
		return fmt.Errorf("%w: %d signers", ErrUnsupported, len(sd.Signers))
	}
	var si p7Signer
	if err := unmarshal(sd.Signers[0].FullBytes, &si, "signer"); err != nil {
		return err
	}
	s.Hash = hashName(si.Digest.Algorithm)
	s.Value = si.Value
	switch {
	case si.ID.Class == asn1.ClassUniversal && si.ID.Tag == asn1.TagSequence:
		var is p7IssuerSerial
		if err := unmarshal(si.ID.FullBytes, &is, "issuer and serial"); err != nil {
			return err
		}
		var rdn pkix.RDNSequence
		if err := unmarshal(is.Issuer.FullBytes, &rdn, "issuer"); err != nil {
			return err
		}
		var name pkix.Name
		name.FillFromRDNSequence(&rdn)
		s.rawIssuer = is.Issuer.FullBytes
		s.Signer, s.Issuer = name.CommonName, rdn.String()
		if len(name.Organization) > 0 {
			s.Organization = name.Organization[0]
		}
		s.Serial = integerBytes(is.Serial)
	case si.ID.Class == asn1.ClassContextSpecific && si.ID.Tag == 0:
		s.KeyID = si.ID.Bytes
	default:
		return corrupt("signer id of class %d, tag %d", si.ID.Class, si.ID.Tag)
	}
	if len(si.Attrs.FullBytes) > 0 {
		return s.parseAttrs(si.Attrs)
	}
	return nil
}

// integerBytes returns the bytes of a DER integer: modinfo shows the sign byte.
func integerBytes(n *big.Int) []byte {
	b := n.Bytes()
	if n.Sign() > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	if len(b) == 0 {
		return []byte{0}
	}
	return b
}

// parseAttrs keeps what a signature over attributes covers: the attributes,
// encoded as a SET instead of [0] (RFC 5652, 5.4), and the digest in them.
func (s *Signature) parseAttrs(attrs asn1.RawValue) error {
	rest := attrs.Bytes
	for len(rest) > 0 {
		var a p7Attribute
		var err error
		if rest, err = asn1.Unmarshal(rest, &a); err != nil {
			return corrupt("signed attribute: %v", err)
		}
		if a.Type.Equal(oidMessageDigest) {
			if err := unmarshal(a.Values.Bytes, &s.digestAttr, "digest attribute"); err != nil {
				return err
			}
		}
	}
	s.signedAttrs = bytes.Clone(attrs.FullBytes)
	s.signedAttrs[0] = 0x31
	if s.digestAttr == nil {
		return corrupt("signed attributes without a digest")
	}
	return nil
}

// MadeBy reports whether a certificate is the one that the signature names.
func (s *Signature) MadeBy(cert *x509.Certificate) bool {
	if s.rawIssuer != nil {
		return bytes.Equal(cert.RawIssuer, s.rawIssuer) && cert.SerialNumber != nil &&
			bytes.Equal(integerBytes(cert.SerialNumber), s.Serial)
	}
	return len(s.KeyID) > 0 && bytes.Equal(cert.SubjectKeyId, s.KeyID)
}

// VerifyWith checks the signature over a module file (the bytes that
// ParseSignature was given) with the certificates that may have made it, and
// returns the one that did. It says nothing about trust in that certificate,
// and looks at no dates: the kernel does not either. Errors wrap
// ErrNoCertificate, ErrBadSignature or ErrUnsupported.
func (s *Signature) VerifyWith(data []byte, certs []*x509.Certificate) (*x509.Certificate, error) {
	if s.SignedLen > len(data) {
		return nil, corrupt("signature covers %d of %d bytes", s.SignedLen, len(data))
	}
	var hash crypto.Hash
	for _, h := range hashOIDs {
		if h.name == s.Hash {
			hash = h.hash
		}
	}
	if hash == 0 || !hash.Available() {
		return nil, fmt.Errorf("cannot verify module signature: %w: digest %s", ErrUnsupported, s.Hash)
	}
	digest := func(b []byte) []byte {
		h := hash.New()
		h.Write(b)
		return h.Sum(nil)
	}
	var err error
	for _, cert := range certs {
		if !s.MadeBy(cert) {
			continue
		}
		sum := digest(data[:s.SignedLen])
		if s.signedAttrs != nil {
			if !bytes.Equal(sum, s.digestAttr) {
				return nil, fmt.Errorf("cannot verify module signature: %w: digest differs", ErrBadSignature)
			}
			sum = digest(s.signedAttrs)
		}
		if err = verifyValue(cert.PublicKey, hash, sum, s.Value); err == nil {
			return cert, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot verify module signature: %w", err)
	}
	return nil, fmt.Errorf("cannot verify module signature: %w %s (%s)", ErrNoCertificate, s.Signer, s.KeyLabel())
}

func verifyValue(key any, hash crypto.Hash, sum, value []byte) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(key, hash, sum, value); err != nil {
			return fmt.Errorf("%w: %w", ErrBadSignature, err)
		}
		return nil
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(key, sum, value) {
			return ErrBadSignature
		}
		return nil
	}
	return fmt.Errorf("%w: key of type %T", ErrUnsupported, key)
}
