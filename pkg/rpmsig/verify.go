package rpmsig

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// Status is the outcome of a verification.
type Status string

// The outcomes. Several signatures give the best outcome of them all, in this
// order.
const (
	Good        Status = "good"        // made by a key of the keyring, over this data
	Bad         Status = "bad"         // does not fit the data, or must not count
	UnknownKey  Status = "unknown-key" // the keyring lacks the key
	Unsupported Status = "unsupported" // an algorithm or form this program does not know
	Missing     Status = "missing"     // no signature
)

var rank = map[Status]int{Good: 5, Bad: 4, UnknownKey: 3, Unsupported: 2, Missing: 1}

// Result tells of one signature: the best of those found.
type Result struct {
	Status Status
	// KeyID is the id that the signature names, 16 lower-case hex digits: a
	// subkey's, if a subkey signed. It is known even if the key is not.
	KeyID string
	// Fingerprint is the upper-case hex fingerprint of the primary key that the
	// signature was checked with. For an unknown key it is what the signature
	// names, if it does: a claim, and possibly a subkey's.
	Fingerprint string
	UserID      string
	PubAlgo     string // "RSA", "DSA", "ECDSA", "EdDSA", "Ed25519", "ML-DSA-87+Ed448"...
	HashAlgo    string // "SHA256", "SHA1", "MD5"...
	Created     time.Time
	// Weak: SHA-1 or MD5 over the data, or a key below 2048 bits. Whether that is
	// enough is for the caller to say.
	Weak bool
	// Expired: the key, or the signature, has expired since. Revoked: the key
	// was revoked; the signature is Good only if it is older and the key was
	// not compromised.
	Expired, Revoked bool
	SigVersion       int
	Reason           string // why not Good, or what is to be known if Good
}

// digests gives the hash of the signed data, to which more may be written.
// Salt, of version 6 signatures, comes before the data.
type digests interface {
	hash(h crypto.Hash, salt []byte) (hash.Hash, error)
}

// VerifyHeader verifies the signatures over the header of an installed package,
// which stand in the same header: tags 268 (RSA), 267 (DSA) and 278 (OpenPGP,
// any number). One good signature is enough. They cover what Immutable returns:
// not the install time, nor anything else that installing added.
func VerifyHeader(h *rpmhdr.Header, ring *Keyring) Result {
	return VerifyHeaderWith(h, h, ring)
}

// VerifyHeaderWith is VerifyHeader for a package file, where the signatures
// stand in the signature header sig.
func VerifyHeaderWith(h, sig *rpmhdr.Header, ring *Keyring) Result {
	var list []*signature
	best := Result{Status: Missing}
	add := func(tag rpmhdr.Tag, blob []byte) {
		sigs, err := parseSignatures(blob)
		list = append(list, sigs...)
		if err != nil {
			best = better(best, Result{Status: Bad, Reason: fmt.Sprintf("cannot read the signature in tag %d: %v", tag, err)})
		}
	}
	for _, tag := range []rpmhdr.Tag{rpmhdr.TagRSAHeader, rpmhdr.TagDSAHeader} {
		if sig.Has(tag) {
			add(tag, sig.Bytes(tag))
		}
	}
	for _, text := range sig.Strings(rpmhdr.TagOpenPGP) {
		blob, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			best = better(best, Result{Status: Bad, Reason: fmt.Sprintf("cannot read the signature in tag %d: %v", rpmhdr.TagOpenPGP, err)})
			continue
		}
		add(rpmhdr.TagOpenPGP, blob)
	}
	if best.Status == Missing && len(list) == 0 && (sig.Has(rpmhdr.TagSigPGP) || sig.Has(rpmhdr.TagSigGPG)) {
		return Result{Status: Unsupported, Reason: "the only signature covers the payload too, which is not here"}
	}
	d := &headerDigests{h: h}
	for _, s := range list {
		r := s.judge(ring, d)
		if best = better(best, r); best.Status == Good {
			break
		}
	}
	return best
}

func better(a, b Result) Result {
	if rank[b.Status] > rank[a.Status] {
		return b
	}
	return a
}

// headerDigests hashes the immutable region once per algorithm.
type headerDigests struct {
	h    *rpmhdr.Header
	done []hashState
}

type hashState struct {
	algo crypto.Hash
	salt string
	sum  hash.Hash
}

func (d *headerDigests) hash(algo crypto.Hash, salt []byte) (hash.Hash, error) {
	for _, s := range d.done {
		if s.algo == algo && s.salt == string(salt) {
			return cloneHash(s.sum)
		}
	}
	h, err := newHash(algo)
	if err != nil {
		return nil, err
	}
	h.Write(salt)
	if _, err := d.h.WriteImmutable(h); err != nil {
		return nil, err
	}
	d.done = append(d.done, hashState{algo, string(salt), h})
	return cloneHash(h)
}

func newHash(algo crypto.Hash) (hash.Hash, error) {
	if algo == 0 || !algo.Available() {
		return nil, fmt.Errorf("hash algorithm: %w", errUnsupported)
	}
	return algo.New(), nil
}

// cloneHash copies a running hash. All hashes of the standard library can.
func cloneHash(h hash.Hash) (hash.Hash, error) {
	c, ok := h.(hash.Cloner)
	if !ok {
		return nil, fmt.Errorf("internal error: %T cannot be cloned", h)
	}
	return c.Clone()
}

// parseSignatures reads the signature packets of binary data.
func parseSignatures(blob []byte) ([]*signature, error) {
	if len(blob) > maxInput {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(blob), maxInput, ErrMalformed)
	}
	ps, err := splitPackets(blob)
	var list []*signature
	for _, p := range ps {
		s, e := parseSignature(p)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		if list = append(list, s); len(list) > maxSignatures {
			return list[:maxSignatures], fmt.Errorf("more than %d signatures: %w", maxSignatures, ErrMalformed)
		}
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no signature: %w", ErrMalformed)
	}
	return list, err
}

// maxSignatures bounds the work on one object. Packages have one to four.
const maxSignatures = 64

// judge finds the key, checks the signature and applies the rules on time,
// revocation and purpose.
func (s *signature) judge(ring *Keyring, d digests) Result {
	r := Result{
		Status:      Unsupported,
		KeyID:       s.keyID,
		Fingerprint: s.fpr,
		PubAlgo:     algoName(s.algo),
		HashAlgo:    hashName(s.hashID),
		Created:     s.created,
		Weak:        weakHash(s.hash) || s.hashID == 3,
		SigVersion:  s.version,
	}
	signers := ring.signers(s.keyID)
	if s.fpr != "" {
		// Named in full: another key with the same id is another key.
		n := 0
		for _, k := range signers {
			if k.fpr == s.fpr {
				signers[n] = k
				n++
			}
		}
		signers = signers[:n]
	}
	switch {
	case s.unsupported != "":
		r.Reason = "not supported: " + s.unsupported
		return r
	case s.hash == 0:
		r.Reason = "not supported: " + r.HashAlgo
		return r
	case s.sigType == 1:
		r.Reason = "not supported: a signature over text with normalised line ends"
		return r
	case s.sigType != 0:
		// A certification or a binding is a statement on keys. Were it taken for
		// one on data, a header could be made that a key's owner never saw.
		r.Status, r.Reason = Bad, fmt.Sprintf("a signature of type 0x%02x, not one over data", s.sigType)
		return r
	case len(signers) == 0:
		r.Status = UnknownKey
		r.Reason = "no key " + s.keyID + " in the keyring"
		if s.keyID == "" {
			r.Reason = "the signature names no key"
		}
		return r
	}
	best := Result{Status: Missing}
	for _, k := range signers {
		if best = better(best, s.judgeBy(k, r, d)); best.Status == Good {
			break
		}
	}
	return best
}

func (s *signature) judgeBy(k signer, r Result, d digests) Result {
	p := k.part
	r.Fingerprint, r.UserID = k.key.Fingerprint, k.key.UserID
	r.Weak = r.Weak || weakKey(p.pub)
	now := time.Now()
	r.Expired = expired(p.expires, now) || expired(k.key.Expires, now) || s.expiredAt(now)
	primary := k.key.parts[0]
	r.Revoked = p.revoked || primary.revoked

	if err := s.verify(p.pub, d); err != nil {
		switch {
		case errors.Is(err, errUnsupported):
			r.Status, r.Reason = Unsupported, err.Error()
		case errors.Is(err, rpmhdr.ErrNoRegion):
			r.Status, r.Reason = Bad, err.Error()
		default:
			r.Status, r.Reason = Bad, "the signature does not fit the data"
		}
		return r
	}
	r.Status = Bad
	for _, q := range []*part{p, primary} {
		what := "key " + q.id
		switch {
		case s.created.Before(q.created):
			r.Reason = "made before " + what + " was"
			return r
		case expired(q.expires, s.created):
			r.Reason = "made after " + what + " expired"
			return r
		case q.revoked && (q.revokedHard || !s.created.Before(q.revokedAt)):
			r.Reason = what + " is revoked"
			return r
		}
	}
	if !p.canSign {
		r.Reason = "key " + p.id + " is not meant for signing"
		return r
	}
	r.Status = Good
	var notes []string
	if r.Expired {
		notes = append(notes, "expired since")
	}
	if r.Revoked {
		notes = append(notes, "key revoked later")
	}
	r.Reason = strings.Join(notes, ", ")
	return r
}

func (s *signature) expiredAt(t time.Time) bool {
	return s.pkt != nil && s.pkt.SigLifetimeSecs != nil && *s.pkt.SigLifetimeSecs != 0 &&
		expired(s.created.Add(time.Duration(*s.pkt.SigLifetimeSecs)*time.Second), t)
}

// VerifyDetached verifies a detached signature, armored or binary, over all of
// r: repomd.xml.asc over repomd.xml. The signature data may hold several
// signatures; one good one is enough. An error is a failure to read r, or, if
// it wraps ErrMalformed, signature data without any readable signature.
func VerifyDetached(r io.Reader, sig []byte, ring *Keyring) (Result, error) {
	var list []*signature
	var problem error
	read := func(blob []byte, err error) {
		if err == nil {
			var sigs []*signature
			sigs, err = parseSignatures(blob)
			list = append(list, sigs...)
		}
		problem = errors.Join(problem, err)
	}
	if len(sig) > maxInput {
		read(nil, fmt.Errorf("%d bytes, more than %d: %w", len(sig), maxInput, ErrMalformed))
	} else if isArmored(sig) {
		armorBlocks(sig, read)
	} else {
		read(sig, nil)
	}
	if len(list) == 0 {
		return Result{Status: Missing}, fmt.Errorf("cannot read signature: %w", problem)
	}
	if len(list) > maxSignatures {
		list = list[:maxSignatures]
	}
	d, err := newStreamDigests(r, list)
	if err != nil {
		return Result{Status: Missing}, fmt.Errorf("cannot read signed data: %w", err)
	}
	best := Result{Status: Missing}
	for _, s := range list {
		if best = better(best, s.judge(ring, d)); best.Status == Good {
			break
		}
	}
	return best, nil
}

// streamDigests are all the hashes that a list of signatures needs, taken in
// one pass over the data.
type streamDigests struct{ done []hashState }

func newStreamDigests(r io.Reader, list []*signature) (*streamDigests, error) {
	d := &streamDigests{}
	var writers []io.Writer
	for _, s := range list {
		var salt []byte
		if s.pkt != nil {
			salt = s.pkt.Salt()
		}
		h, err := newHash(s.hash)
		if err != nil || d.find(s.hash, salt) != nil {
			continue
		}
		h.Write(salt)
		d.done = append(d.done, hashState{s.hash, string(salt), h})
		writers = append(writers, h)
	}
	_, err := io.Copy(io.MultiWriter(writers...), r)
	return d, err
}

func (d *streamDigests) find(algo crypto.Hash, salt []byte) hash.Hash {
	for _, s := range d.done {
		if s.algo == algo && s.salt == string(salt) {
			return s.sum
		}
	}
	return nil
}

func (d *streamDigests) hash(algo crypto.Hash, salt []byte) (hash.Hash, error) {
	h := d.find(algo, salt)
	if h == nil {
		return nil, fmt.Errorf("hash algorithm: %w", errUnsupported)
	}
	return cloneHash(h)
}
