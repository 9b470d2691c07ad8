package rpmfile

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

const (
	// defaultMaxPayload is far above any package: texlive's and the kernel's
	// debuginfo unpack to some 6 GiB.
	defaultMaxPayload = 64 << 30
	// maxDict bounds the memory of a decoder. xz -9 uses 64 MiB, zstd -19 8 MiB,
	// and rpm itself allows zstd windows of 128 MiB.
	maxDict = 256 << 20
)

// Payload iterates over the files of the payload, in the order of the archive.
// The Entry, which is also the reader of the file's content, is valid until the
// next step. An error ends the iteration; the archive is read to its end, so
// that damage behind the last file is an error as well.
//
// maxSize caps the bytes of the whole unpacked payload: what the header
// declares, and not more than maxSize if that is above zero (64 GiB
// otherwise). Going beyond is an error that wraps ErrTooLarge; others wrap
// ErrCorrupt or ErrUnsupported. Names are passed on as they are, "../" and all:
// it is the caller who writes files, and who must keep them below its root.
//
// The payload is not verified by this: call Verify before.
func (f *File) Payload(maxSize int64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if err := f.payload(maxSize, yield); err != nil && !errors.Is(err, errStop) {
			yield(nil, fmt.Errorf("cannot read payload of %s: %w", f.hdr.NEVRA(), err))
		}
	}
}

// errStop is how the iteration learns that the caller has seen enough.
var errStop = errors.New("stopped by the caller")

func (f *File) payload(maxSize int64, yield func(*Entry, error) bool) error {
	if format := f.hdr.String(rpmhdr.TagPayloadFormat); format != "" && format != "cpio" {
		return fmt.Errorf("payload format %.20q: %w", format, ErrUnsupported)
	}
	z, err := decompressor(f.hdr.String(rpmhdr.TagPayloadCompressor), f.RawPayload())
	if err != nil {
		return err
	}
	defer z.Close()
	files := newFileList(f.hdr)
	limited := &capped{r: z, left: f.declared(files, maxSize)}
	c := &cpioReader{r: bufio.NewReaderSize(limited, 64<<10), files: files}
	for {
		e, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return payloadError(err)
		}
		if !yield(e, nil) {
			return errStop
		}
	}
	// Checksums of the compressor come last.
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		return payloadError(err)
	}
	return nil
}

// declared is the largest unpacked size that the header allows: the archive
// size it gives, else the sum of its files with room for names.
func (f *File) declared(files *fileList, maxSize int64) int64 {
	if maxSize <= 0 {
		maxSize = defaultMaxPayload
	}
	n, ok := f.sig.Uint64(rpmhdr.TagLongArchiveSize)
	if !ok {
		n, ok = f.sig.Uint64(sigTagPayloadSize)
	}
	if !ok {
		n, ok = f.hdr.Uint64(rpmhdr.TagArchiveSize)
	}
	if !ok {
		n = 4096
		for _, size := range files.size {
			// Room for a name and its numbers, which the header counts elsewhere.
			if n += min(size, uint64(maxSize)) + 4096 + 256; n > uint64(maxSize) {
				break
			}
		}
	}
	// The recorded size stops at the trailer; archives are padded behind it.
	const padding = 64 << 10
	if n > uint64(maxSize) {
		return maxSize
	}
	return min(int64(n)+padding, maxSize)
}

// payloadError tells what the decoders' many errors come to.
func payloadError(err error) error {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// capped fails instead of ending when its cap is reached.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		// Only more data is too much; the end is not.
		var one [1]byte
		if n, err := io.ReadFull(c.r, one[:]); n == 0 {
			return 0, err
		}
		return 0, ErrTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

// The compressors, by the first bytes of their data. lzma has no magic; its
// header begins with the usual properties and a small dictionary size.
var magics = []struct {
	magic string
	name  string
}{
	{"\x1f\x8b", "gzip"},
	{"BZh", "bzip2"},
	{"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"0707", "none"},
	{"\x5d\x00\x00", "lzma"},
}

// decompressor opens the payload. The data itself says what it is; the header's
// tag 1125 is absent for uncompressed and for old gzip payloads, and only
// breaks the tie where the data says nothing.
func decompressor(name string, r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			name = m.name
			break
		}
	}
	switch name {
	case "gzip":
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, payloadError(err)
		}
		return z, nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(b)), nil
	case "xz":
		z, err := xz.NewReader(b)
		if err != nil {
			return nil, payloadError(err)
		}
		return io.NopCloser(z), nil
	case "lzma":
		z, err := lzma.ReaderConfig{DictCap: maxDict}.NewReader(b)
		if err != nil {
			return nil, payloadError(err)
		}
		return io.NopCloser(z), nil
	case "zstd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, payloadError(err)
		}
		return z.IOReadCloser(), nil
	case "none":
		return io.NopCloser(b), nil
	}
	return nil, fmt.Errorf("payload compressor %.20q: %w", name, ErrUnsupported)
}
