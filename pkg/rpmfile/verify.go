package rpmfile

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// payloadHash gives the digests that a header may carry of its payload, by
// OpenPGP's number (tag 5093). rpm writes 8.
func payloadHash(id uint32) hash.Hash {
	switch id {
	case 8:
		return sha256.New()
	case 9:
		return sha512.New384()
	case 10:
		return sha512.New()
	case 12:
		return sha3.New256()
	case 14:
		return sha3.New512()
	}
	return nil
}

// Verify checks every byte of the file behind the lead against digests and
// sizes recorded in it, and the signature against the keyring.
//
// An error says that the file is damaged (ErrDigest, ErrCorrupt), that it
// carries nothing to check it by (rpmhdr.ErrNoDigest), or that it cannot be
// read; the Result then is not Good. Without an error the Result tells of the
// signature, and its Status may be anything: a file without signature is not an
// error but rpmsig.Missing, and must not be taken for a good one.
//
// A signature covers the header, and the header covers the payload by a digest
// (packages of EL8 and later). Where it has no such digest, the signature over
// header and payload must be good as well; if there is none, only an unsigned
// MD5 protects the payload, and the Result is Weak and says so.
func (f *File) Verify(ring *rpmsig.Keyring) (rpmsig.Result, error) {
	covered, err := f.verifyDigests()
	if err != nil {
		return rpmsig.Result{Status: rpmsig.Bad, Reason: err.Error()}, err
	}
	res := rpmsig.VerifyHeaderWith(f.hdr, f.sig, ring)
	if covered && res.Status != rpmsig.Missing {
		return res, nil
	}
	whole, err := f.verifyWhole(ring)
	if err != nil {
		return rpmsig.Result{Status: rpmsig.Bad, Reason: err.Error()}, err
	}
	switch {
	case res.Status == rpmsig.Missing: // from before header signatures
		return whole, nil
	case whole.Status == rpmsig.Missing:
		if res.Status == rpmsig.Good {
			res.Weak = true
			res.Reason = "the payload is protected by an MD5 digest only"
		}
	case res.Status == rpmsig.Good && whole.Status != rpmsig.Good:
		whole.Reason = "signature over header and payload: " + whole.Reason
		return whole, nil
	}
	return res, nil
}

// verifyWhole verifies the signatures over header and payload (tags 1002 and
// 1005 of the signature header).
func (f *File) verifyWhole(ring *rpmsig.Keyring) (rpmsig.Result, error) {
	best := rpmsig.Result{Status: rpmsig.Missing}
	for _, tag := range []rpmhdr.Tag{sigTagPGP, sigTagGPG} {
		blob := f.sig.Bytes(tag)
		if len(blob) == 0 {
			continue
		}
		r, err := rpmsig.VerifyDetached(f.behindSignature(), blob, ring)
		if errors.Is(err, rpmsig.ErrMalformed) {
			r, err = rpmsig.Result{Status: rpmsig.Bad, Reason: err.Error()}, nil
		}
		if err != nil {
			return r, err
		}
		if r.Status == rpmsig.Good {
			return r, nil
		}
		if best.Status == rpmsig.Missing {
			best = r
		}
	}
	return best, nil
}

// behindSignature is what sizes, MD5 and old signatures cover.
func (f *File) behindSignature() io.Reader {
	return io.NewSectionReader(f.r, f.headerAt, f.size-f.headerAt)
}

// verifyDigests checks header and payload in one pass over the file. covered
// says that the header vouches for the payload.
func (f *File) verifyDigests() (covered bool, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("cannot verify %s: %w: %s", f.hdr.NEVRA(), ErrDigest, fmt.Sprintf(format, args...))
	}
	headerErr := f.hdr.VerifyDigestsOf(f.sig)
	if headerErr != nil && !errors.Is(headerErr, rpmhdr.ErrNoDigest) {
		return false, fmt.Errorf("cannot verify %s: %w: %w", f.hdr.NEVRA(), ErrDigest, headerErr)
	}
	want, ok := f.sig.Uint64(sigTagLongSize)
	if !ok {
		want, ok = f.sig.Uint64(sigTagSize)
	}
	if got := uint64(f.size - f.headerAt); ok && got != want {
		return false, bad("%d bytes of header and payload, recorded are %d", got, want)
	}

	var payload hash.Hash
	wantPayload := f.hdr.Strings(rpmhdr.TagPayloadDigest)
	if len(wantPayload) > 0 {
		algo := f.hdr.Uint32s(rpmhdr.TagPayloadDigestAlgo)
		if len(algo) == 0 {
			algo = []uint32{8} // rpm 6 stopped to say so
		}
		if payloadHash(algo[0]) == nil {
			return false, fmt.Errorf("cannot verify %s: payload digest algorithm %v: %w", f.hdr.NEVRA(), algo, ErrUnsupported)
		}
		payload = payloadHash(algo[0])
	}
	wantMD5 := f.sig.Bytes(sigTagMD5)
	if len(wantMD5) == 0 && (payload == nil || headerErr != nil) {
		return false, fmt.Errorf("cannot verify %s: %w", f.hdr.NEVRA(), rpmhdr.ErrNoDigest)
	}
	var ws []io.Writer
	sum := md5.New()
	if len(wantMD5) > 0 {
		ws = append(ws, sum)
		if _, err := io.Copy(sum, io.NewSectionReader(f.r, f.headerAt, f.payloadAt-f.headerAt)); err != nil {
			return false, fmt.Errorf("cannot read %s: %w", f.hdr.NEVRA(), err)
		}
	}
	if payload != nil {
		ws = append(ws, payload)
	}
	if n, err := io.Copy(io.MultiWriter(ws...), f.RawPayload()); err != nil {
		return false, fmt.Errorf("cannot read %s: %w", f.hdr.NEVRA(), err)
	} else if n != f.PayloadSize() {
		return false, bad("the payload ends after %d of %d bytes", n, f.PayloadSize())
	}
	if payload != nil {
		if got := hex.EncodeToString(payload.Sum(nil)); got != wantPayload[0] {
			return false, bad("the payload's digest is %s, recorded is %.128q", got, wantPayload[0])
		}
	}
	if len(wantMD5) > 0 && !bytes.Equal(sum.Sum(nil), wantMD5) {
		return false, bad("the MD5 of header and payload is %x, recorded is %.32x", sum.Sum(nil), wantMD5)
	}
	return payload != nil, nil
}
