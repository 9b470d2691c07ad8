// Package rpmfile reads a package file: the lead, the signature header, the
// header and the payload, and verifies all of it. It writes nothing anywhere.
//
// Format: Linux Standard Base Core, "Package File Format", and what rpm's own
// docs/manual/format.md adds: a lead of 96 bytes, the signature header padded
// to a multiple of 8, the header, and a compressed cpio archive to the end of
// the file.
package rpmfile

import (
	"errors"
	"fmt"
	"io"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// ErrCorrupt is wrapped by errors about bytes that are no valid package file,
// beside rpmhdr.ErrCorrupt where a header is at fault.
var ErrCorrupt = errors.New("corrupt rpm file")

// ErrDigest is wrapped by errors of Verify about content that does not match
// the digests or sizes recorded in the file itself: damage, not forgery.
var ErrDigest = errors.New("rpm file does not match its digests")

// ErrUnsupported is wrapped by errors about compressors, payload formats and
// digest algorithms this package does not know.
var ErrUnsupported = errors.New("not supported")

// ErrTooLarge is wrapped when a payload unpacks to more than is allowed.
var ErrTooLarge = errors.New("payload too large")

const leadSize = 96

// The tags of the signature header as they stand in a file. Those below 256
// more are renumbered on their way into the installed-package database, which
// is the form that package rpmhdr names.
const (
	sigTagSize        rpmhdr.Tag = 1000 // bytes of header and payload
	sigTagPGP         rpmhdr.Tag = 1002 // signature over header and payload
	sigTagMD5         rpmhdr.Tag = 1004 // over header and payload, 16 bytes
	sigTagGPG         rpmhdr.Tag = 1005 // DSA signature over header and payload
	sigTagPayloadSize rpmhdr.Tag = 1007 // bytes of the unpacked payload
	sigTagLongSize    rpmhdr.Tag = rpmhdr.TagLongSigSize
)

// File is an open package file. It is safe for concurrent use as far as the
// reader beneath is.
type File struct {
	r         io.ReaderAt
	size      int64
	sig, hdr  *rpmhdr.Header
	headerAt  int64
	payloadAt int64
	source    bool
}

// Open reads lead, signature header and header of a package file of size bytes;
// the payload stays unread. r must stay readable as long as the File is used.
// Errors wrap ErrCorrupt, or are those of r. Nothing is verified: see Verify.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var lead [leadSize]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), lead[:]); err != nil {
		return nil, readError("lead", err)
	}
	if [4]byte(lead[:4]) != [4]byte{0xed, 0xab, 0xee, 0xdb} {
		return nil, fmt.Errorf("cannot read rpm lead: not an rpm file: %w", ErrCorrupt)
	}
	if major := lead[4]; major != 3 && major != 4 {
		return nil, fmt.Errorf("cannot read rpm lead: format version %d: %w", major, ErrCorrupt)
	}
	if sigType := int(lead[78])<<8 | int(lead[79]); sigType != 5 {
		return nil, fmt.Errorf("cannot read rpm lead: signature type %d, want 5: %w", sigType, ErrCorrupt)
	}
	f := &File{r: r, size: size, source: lead[7] == 1}
	var n int64
	var err error
	if f.sig, n, err = rpmhdr.ParseMagic(io.NewSectionReader(r, leadSize, size-leadSize)); err != nil {
		return nil, readError("signature header", err)
	}
	f.headerAt = leadSize + (n+7)&^7
	if f.hdr, n, err = rpmhdr.ParseMagic(io.NewSectionReader(r, f.headerAt, max(size-f.headerAt, 0))); err != nil {
		return nil, readError("header", err)
	}
	f.payloadAt = f.headerAt + n
	return f, nil
}

// readError marks a short file as a corrupt one, and leaves other errors of
// the reader alone.
func readError(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, rpmhdr.ErrCorrupt) {
		return fmt.Errorf("cannot read rpm %s: %w: %w", what, ErrCorrupt, err)
	}
	return fmt.Errorf("cannot read rpm %s: %w", what, err)
}

// Header returns the package's header.
func (f *File) Header() *rpmhdr.Header { return f.hdr }

// Signature returns the signature header, which holds digests and signatures
// and is itself covered by none. Its tags are numbered as in the file: 1000
// to 1007 are sizes and checksums there.
func (f *File) Signature() *rpmhdr.Header { return f.sig }

// Source reports whether the lead says that this is a source package.
func (f *File) Source() bool { return f.source }

// PayloadSize returns the size in bytes of the compressed payload.
func (f *File) PayloadSize() int64 { return f.size - f.payloadAt }

// RawPayload returns the compressed payload.
func (f *File) RawPayload() *io.SectionReader {
	return io.NewSectionReader(f.r, f.payloadAt, f.size-f.payloadAt)
}
