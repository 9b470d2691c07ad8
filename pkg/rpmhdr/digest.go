package rpmhdr

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrDigest says that a header differs from the digest it carries.
var ErrDigest = errors.New("rpm header does not match its digest")

// ErrNoDigest says that a header carries no digest of itself, or has no
// immutable region that one could cover: nothing can be said about it. That is
// so for packages built before rpm 4.
var ErrNoDigest = errors.New("rpm header carries no digest")

// ErrNoRegion says that a header has no immutable region.
var ErrNoRegion = errors.New("rpm header has no immutable region")

// Immutable returns what header digests and signatures cover: the header as it
// was built, in the form with magic. The error is ErrNoRegion.
func (h *Header) Immutable() ([]byte, error) {
	var b bytes.Buffer
	b.Grow(16 + h.ril*entryLen + h.rdl)
	if _, err := h.WriteImmutable(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// WriteImmutable writes what Immutable returns without making a copy of it
// first: for hashing. It returns ErrNoRegion or the error of w.
func (h *Header) WriteImmutable(w io.Writer) (int64, error) {
	if h.regionTag != TagHeaderImmutable {
		return 0, ErrNoRegion
	}
	var intro [16]byte
	copy(intro[:], magic[:])
	binary.BigEndian.PutUint32(intro[8:], uint32(h.ril))
	binary.BigEndian.PutUint32(intro[12:], uint32(h.rdl))
	var total int64
	for _, b := range [][]byte{intro[:], h.entries[:h.ril*entryLen], h.data[:h.rdl]} {
		n, err := w.Write(b)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// VerifyDigests compares the immutable region with the strongest digest that
// the header carries (SHA3-256, SHA-256, SHA-1), which is what the headers of
// the installed-package database have beside them. It returns nil if they
// agree, an error that wraps ErrDigest if they differ, and one that wraps
// ErrNoDigest if there is nothing to compare. Entries added at installation
// (install time, file states) are covered by no digest.
//
// This finds damage, not forgery: only a signature tells who made a header.
func (h *Header) VerifyDigests() error { return h.verify(h, strongest) }

// VerifyDigestsOf is VerifyDigests for a package file, where the digests
// stand in the signature header sig.
func (h *Header) VerifyDigestsOf(sig *Header) error { return h.verify(sig, strongest) }

// CheckDamage is VerifyDigests with the digest that is the fastest to compute,
// SHA-1 where there is one: as good against accidents, and useless against
// anything else. Where a signature is verified, neither is needed.
func (h *Header) CheckDamage() error { return h.verify(h, fastest) }

type digest struct {
	tag  Tag
	name string
	make func() hash.Hash
}

var (
	digestSHA1   = digest{TagSHA1Header, "SHA-1", sha1.New}
	digestSHA256 = digest{TagSHA256Header, "SHA-256", sha256.New}
	digestSHA3   = digest{TagSHA3Header, "SHA3-256", func() hash.Hash { return sha3.New256() }}

	strongest = []digest{digestSHA3, digestSHA256, digestSHA1}
	fastest   = []digest{digestSHA1, digestSHA256, digestSHA3}
)

func (h *Header) verify(sig *Header, order []digest) error {
	for _, d := range order {
		want := sig.String(d.tag)
		if want == "" {
			continue
		}
		sum := d.make()
		if _, err := h.WriteImmutable(sum); err != nil {
			return fmt.Errorf("%w: %w", ErrNoDigest, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			return fmt.Errorf("%w: %s is %s, recorded is %.64q", ErrDigest, d.name, got, want)
		}
		return nil
	}
	return ErrNoDigest
}
