package rpmsig

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is an OpenPGP certificate: a primary key and those of its subkeys that
// may sign and that the primary key vouches for. It is immutable.
type Key struct {
	// Fingerprint is the primary key's, upper-case hex: 40 digits, 64 for a
	// version 6 key. It is the key's identity; key ids can be made to collide.
	Fingerprint string
	// KeyIDs are the ids, 16 lower-case hex digits each, of the primary key and
	// behind it of the subkeys able to sign. The primary's is there even if it
	// may only certify, because rpm names gpg-pubkey packages after it.
	KeyIDs []string
	// UserID is the primary user id, "" if the key has none.
	UserID string
	// Created is when the primary key was made, Expires when it ceases or
	// ceased to be valid; zero: never. Subkeys have times of their own.
	Created, Expires time.Time
	// Revoked says that the primary key was revoked by itself.
	Revoked bool
	// Version is 4 or 6; Algo and Bits are the primary key's, in the names of
	// Result.PubAlgo. Bits is 0 where the algorithm says it all.
	Version int
	Algo    string
	Bits    int
	// SHA1SelfSig says that the primary key's newest self-signature was made
	// with SHA-1, as on most keys from before 2020: its user id and expiry could
	// have been forged with much effort, the key itself and what it signed not.
	// It does not matter where the fingerprint is known from elsewhere.
	SHA1SelfSig bool

	parts []*part // the primary key, and all bound subkeys able to sign
}

// part is a primary key or subkey.
type part struct {
	pub     *packet.PublicKey
	id      string
	fpr     string
	created time.Time
	expires time.Time // zero: never
	canSign bool
	sha1    bool // bound by a SHA-1 signature

	bound       time.Time // when the newest self-signature was made
	revoked     bool
	revokedHard bool      // compromised, or no reason given: nothing it signed counts
	revokedAt   time.Time // the earliest soft revocation
}

// RPMVersion returns version and release of the gpg-pubkey package that rpm
// makes of a version 4 key at import: the low half of the primary's key id and
// the creation time, in hex.
func (k *Key) RPMVersion() (version, release string) {
	id := k.KeyIDs[0]
	return id[len(id)-8:], fmt.Sprintf("%08x", uint32(k.Created.Unix()))
}

// ExpiredAt reports whether the primary key is past its expiry at t.
func (k *Key) ExpiredAt(t time.Time) bool { return expired(k.Expires, t) }

func expired(expires, t time.Time) bool { return !expires.IsZero() && !t.Before(expires) }

// ParseKeys reads public keys from the content of a key file: text with any
// number of armor blocks, or binary packets. What cannot be used (damaged
// blocks, unknown algorithms, keys without a valid self-signature, subkeys that
// are not bound) is left out and described in problems, each wrapping
// ErrMalformed or ErrKey; the other keys are returned all the same. One key
// that occurs twice is returned twice.
//
// The armored text of a key in the installed-package database is the
// description (tag 1005) of its gpg-pubkey header.
func ParseKeys(data []byte) (keys []*Key, problems []error) {
	if len(data) > maxInput {
		return nil, []error{fmt.Errorf("cannot read keys: %d bytes, more than %d: %w", len(data), maxInput, ErrMalformed)}
	}
	read := func(block []byte, err error) {
		if err == nil {
			var ps []rawPacket
			ps, err = splitPackets(block)
			k, p := parseCertificates(ps)
			keys, problems = append(keys, k...), append(problems, p...)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot read keys: %w", err))
		}
	}
	if isArmored(data) {
		armorBlocks(data, read)
	} else {
		read(data, nil)
	}
	if len(keys) == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("cannot read keys: no key found: %w", ErrMalformed))
	}
	return keys, problems
}

// ErrKey is wrapped by the problems of keys that are well-formed but cannot be
// used.
var ErrKey = errors.New("unusable key")

// parseCertificates cuts a packet list at each primary key.
func parseCertificates(ps []rawPacket) (keys []*Key, problems []error) {
	isPrimary := func(p rawPacket) bool { return p.tag == tagPublicKey || p.tag == tagSecretKey }
	start := slices.IndexFunc(ps, isPrimary)
	if start < 0 {
		if len(ps) > 0 {
			problems = append(problems, fmt.Errorf("cannot read keys: no primary key among %d packets: %w", len(ps), ErrMalformed))
		}
		return nil, problems
	}
	for ps = ps[start:]; len(ps) > 0; {
		n := 1
		for n < len(ps) && !isPrimary(ps[n]) {
			n++
		}
		k, p := parseCertificate(ps[:n])
		if k != nil {
			keys = append(keys, k)
		}
		problems = append(problems, p...)
		ps = ps[n:]
	}
	return keys, problems
}

func readPublicKey(p rawPacket) (*packet.PublicKey, error) {
	pkt, err := readPacket(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	switch k := pkt.(type) {
	case *packet.PublicKey:
		return k, nil
	case *packet.PrivateKey:
		return nil, fmt.Errorf("%w: a private key, not a public one", ErrKey)
	}
	return nil, fmt.Errorf("%w: not a public key", ErrKey)
}

func newPart(pub *packet.PublicKey) *part {
	return &part{
		pub:     pub,
		id:      fmt.Sprintf("%016x", pub.KeyId),
		fpr:     strings.ToUpper(hex.EncodeToString(pub.Fingerprint)),
		created: pub.CreationTime,
	}
}

// certificate collects what parseCertificate learns of one key.
type certificate struct {
	primary  *part
	subs     []*part
	vouched  bool // a valid self-signature has been seen
	userID   string
	isMain   bool // userID is marked as the primary one
	problems []error
}

func (c *certificate) problem(p *part, format string, args ...any) {
	what := "key " + c.primary.fpr
	if p != c.primary {
		what += " subkey " + p.fpr
	}
	c.problems = append(c.problems, fmt.Errorf("cannot use "+what+": "+format+": %w", append(args, ErrKey)...))
}

func parseCertificate(ps []rawPacket) (*Key, []error) {
	pub, err := readPublicKey(ps[0])
	if err != nil {
		return nil, []error{fmt.Errorf("cannot read primary key: %w", err)}
	}
	c := &certificate{primary: newPart(pub)}
	if err := checkKeySize(pub); err != nil {
		c.problem(c.primary, "%v", err)
		return nil, c.problems
	}
	c.primary.canSign = pub.CanSign()
	// Signatures belong to the packet they follow: the primary key itself, a
	// user id, or a subkey.
	at, uid, skip := c.primary, "", false
	var inUID bool
	for _, p := range ps[1:] {
		switch p.tag {
		case tagUserID:
			uid, inUID, skip = string(p.body), true, false
		case tagUserAttr:
			skip = true
		case tagPublicSubkey, tagSecretSubkey:
			inUID, skip = false, false
			sub, err := readPublicKey(p)
			if err == nil {
				err = checkKeySize(sub)
			}
			if err != nil {
				c.problems = append(c.problems, fmt.Errorf("cannot read a subkey of key %s: %w", c.primary.fpr, err))
				skip = true
				continue
			}
			at = newPart(sub)
			c.subs = append(c.subs, at)
		case tagSignature:
			if skip {
				continue
			}
			switch {
			case inUID:
				c.userIDSignature(uid, p)
			case at == c.primary:
				c.primarySignature(p)
			default:
				c.subkeySignature(at, p)
			}
		}
	}
	return c.key()
}

// selfSignature reads a signature that the primary key seems to have made;
// nil: it is another's, or of a form that cannot be judged.
func (c *certificate) selfSignature(p rawPacket) *packet.Signature {
	pkt, err := readPacket(p)
	if err != nil {
		return nil
	}
	sig, ok := pkt.(*packet.Signature)
	if !ok || sig.IssuerKeyId == nil || *sig.IssuerKeyId != c.primary.pub.KeyId {
		return nil
	}
	if sig.IssuerFingerprint != nil && !sig.CheckKeyIdOrFingerprint(c.primary.pub) {
		return nil
	}
	return sig
}

// certify takes over what a valid self-signature says of the primary key.
func (c *certificate) certify(sig *packet.Signature) {
	p := c.primary
	if c.vouched && sig.CreationTime.Before(p.bound) {
		return
	}
	c.vouched = true
	p.bound = sig.CreationTime
	p.expires = lifetime(p.created, sig.KeyLifetimeSecs)
	p.sha1 = weakHash(sig.Hash)
	p.canSign = p.pub.CanSign() && (!sig.FlagsValid || sig.FlagSign)
}

func lifetime(created time.Time, secs *uint32) time.Time {
	if secs == nil || *secs == 0 {
		return time.Time{}
	}
	return created.Add(time.Duration(*secs) * time.Second)
}

func (c *certificate) primarySignature(p rawPacket) {
	sig := c.selfSignature(p)
	if sig == nil {
		return
	}
	pub := c.primary.pub
	switch sig.SigType {
	case packet.SigTypeDirectSignature:
		if guard(func() error { return pub.VerifyDirectKeySignature(sig) }) == nil {
			c.certify(sig)
		}
	case packet.SigTypeKeyRevocation:
		if guard(func() error { return pub.VerifyRevocationSignature(sig) }) == nil {
			c.primary.revoke(sig)
		}
	}
}

func (c *certificate) userIDSignature(uid string, p rawPacket) {
	sig := c.selfSignature(p)
	if sig == nil {
		return
	}
	switch sig.SigType {
	case packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert:
	default:
		return
	}
	pub := c.primary.pub
	if guard(func() error { return pub.VerifyUserIdSignature(uid, pub, sig) }) != nil {
		return
	}
	c.certify(sig)
	if main := sig.IsPrimaryId != nil && *sig.IsPrimaryId; c.userID == "" || main && !c.isMain {
		c.userID, c.isMain = uid, main
	}
}

func (c *certificate) subkeySignature(sub *part, p rawPacket) {
	sig := c.selfSignature(p)
	if sig == nil {
		return
	}
	pub := c.primary.pub
	switch sig.SigType {
	case packet.SigTypeSubkeyBinding:
		// For a subkey that signs, go-crypto wants the subkey's own signature
		// over the primary key inside too: without it, anybody could adopt
		// another's signing key.
		if err := guard(func() error { return pub.VerifyKeySignature(sub.pub, sig) }); err != nil {
			c.problem(sub, "its binding is not valid: %v", err)
			return
		}
		if sig.CreationTime.Before(sub.bound) {
			return
		}
		sub.bound = sig.CreationTime
		sub.expires = lifetime(sub.created, sig.KeyLifetimeSecs)
		sub.canSign = sig.FlagsValid && sig.FlagSign && sub.pub.CanSign()
		sub.sha1 = weakHash(sig.Hash)
	case packet.SigTypeSubkeyRevocation:
		if guard(func() error { return pub.VerifySubkeyRevocationSignature(sig, sub.pub) }) == nil {
			sub.revoke(sig)
		}
	}
}

// revoke notes a revocation. RFC 9580, section 5.2.3.31: "superseded" and "no
// longer used" leave earlier signatures valid, other reasons and a missing one
// do not.
func (p *part) revoke(sig *packet.Signature) {
	p.revoked = true
	if r := sig.RevocationReason; r == nil || *r != packet.KeySuperseded && *r != packet.KeyRetired {
		p.revokedHard = true
	}
	if p.revokedAt.IsZero() || sig.CreationTime.Before(p.revokedAt) {
		p.revokedAt = sig.CreationTime
	}
}

func (c *certificate) key() (*Key, []error) {
	if !c.vouched {
		c.problem(c.primary, "it has no valid self-signature")
		return nil, c.problems
	}
	p := c.primary
	k := &Key{
		Fingerprint: p.fpr,
		KeyIDs:      []string{p.id},
		UserID:      c.userID,
		Created:     p.created,
		Expires:     p.expires,
		Revoked:     p.revoked,
		Version:     p.pub.Version,
		Algo:        algoName(byte(p.pub.PubKeyAlgo)),
		Bits:        keyBits(p.pub),
		SHA1SelfSig: p.sha1,
		parts:       []*part{p},
	}
	for _, s := range c.subs {
		switch {
		case s.bound.IsZero():
			if s.pub.CanSign() {
				c.problem(s, "the primary key does not vouch for it")
			}
		case s.canSign:
			k.KeyIDs = append(k.KeyIDs, s.id)
			k.parts = append(k.parts, s)
		}
	}
	return k, c.problems
}
