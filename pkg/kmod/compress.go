package kmod

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Compression magics. A name's extension is not looked at: weak-updates links
// and hand-made packages get it wrong.
var (
	magicGzip  = []byte{0x1f, 0x8b}
	magicXZ    = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicZstd  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicBzip2 = []byte("BZh")
	magicLZ4   = []byte{0x04, 0x22, 0x4d, 0x18}
	magicLZ4L  = []byte{0x02, 0x21, 0x4c, 0x18} // legacy frame, what the kernel reads
	magicLZMA  = []byte{0x5d, 0, 0}             // lzma_alone with its usual properties
	magicLZO   = []byte{0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n'}
)

// maxWindow caps what a stream may ask for as its dictionary: xz -9 takes 64 MiB,
// zstd -22 --ultra --long takes 128 MiB.
const maxWindow = 128 << 20

// compressionOf names the compression that data starts with, "" if it is none
// that is known.
func compressionOf(data []byte) string {
	switch {
	case bytes.HasPrefix(data, magicGzip):
		return "gzip"
	case bytes.HasPrefix(data, magicXZ):
		return "xz"
	case bytes.HasPrefix(data, magicZstd):
		return "zstd"
	case bytes.HasPrefix(data, magicBzip2):
		return "bzip2"
	case bytes.HasPrefix(data, magicLZ4), bytes.HasPrefix(data, magicLZ4L):
		return "lz4"
	case bytes.HasPrefix(data, magicLZO):
		return "lzo"
	case bytes.HasPrefix(data, magicLZMA):
		return "lzma"
	}
	return ""
}

// decompressor opens one compressed stream of the kind that compressionOf named.
func decompressor(kind string, r io.Reader) (io.Reader, error) {
	switch kind {
	case "gzip":
		return gzip.NewReader(r)
	case "xz":
		// DictCap is a minimum that is always allocated; a stream's own, larger
		// wish is limited by checkXZ.
		br := bufio.NewReader(r)
		if err := checkXZ(br); err != nil {
			return nil, err
		}
		return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(br)
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case "bzip2":
		return bzip2.NewReader(r), nil
	case "lz4":
		return newLZ4Reader(r), nil
	case "lzo":
		return newLZOReader(r), nil
	case "lzma":
		return lzma.ReaderConfig{DictCap: maxWindow}.NewReader(r)
	}
	return nil, fmt.Errorf("%w: compression %s", ErrUnsupported, kind)
}

// checkXZ refuses an xz stream whose first block asks for a dictionary above
// maxWindow (xz file format 1.2.1, section 3.1; 5.3.1 for the size byte). The
// decoder would allocate it. Later blocks are not seen before they are reached;
// what they ask for is memory that is reserved, not used, until that much data
// has been decoded, which the size cap prevents.
func checkXZ(br *bufio.Reader) error {
	b, err := br.Peek(14)
	if err != nil {
		return corrupt("xz stream of %d bytes", len(b))
	}
	if b[12] == 0 {
		return nil // no block, the index follows
	}
	size := (int(b[12]) + 1) * 4
	if b, err = br.Peek(12 + size); err != nil {
		return corrupt("xz block header of %d bytes", size)
	}
	flags, rest := b[13], b[14:]
	if flags&0x40 != 0 {
		rest = skipVarint(rest)
	}
	if flags&0x80 != 0 {
		rest = skipVarint(rest)
	}
	for range int(flags&3) + 1 {
		if len(rest) < 2 || rest[0] >= 0x80 || int(rest[1]) > len(rest)-2 {
			return corrupt("xz filter flags")
		}
		const filterLZMA2 = 0x21
		if rest[0] == filterLZMA2 && rest[1] == 1 {
			n, err := lzma.DecodeDictCap(rest[2])
			if err != nil {
				return corrupt("xz dictionary: %v", err)
			}
			if n > maxWindow {
				return tooLarge("xz dictionary of %d bytes", n)
			}
		}
		rest = rest[2+int(rest[1]):]
	}
	return nil
}

func skipVarint(b []byte) []byte {
	for i, c := range b {
		if c < 0x80 {
			return b[i+1:]
		}
	}
	return nil
}

// decompress returns data as it is, or what it holds when it is compressed; at
// most limit bytes.
func decompress(data []byte, limit int64) ([]byte, error) {
	kind := compressionOf(data)
	if kind == "" {
		return data, nil
	}
	r, err := decompressor(kind, bytes.NewReader(data))
	if err != nil {
		return nil, wrapCompression(kind, err)
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	out, err := readCapped(r, limit)
	if err != nil {
		return nil, wrapCompression(kind, err)
	}
	return out, nil
}

// wrapCompression makes a decoder's error one of ours: whatever a decoder
// reports about the bytes is damage.
func wrapCompression(kind string, err error) error {
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge), errors.Is(err, ErrUnsupported):
		return fmt.Errorf("cannot decompress %s: %w", kind, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("cannot decompress %s: %w: %w", kind, ErrTooLarge, err)
	}
	return fmt.Errorf("cannot decompress %s: %w: %w", kind, ErrCorrupt, err)
}

// DecompressModule returns the content of a module file that may be compressed
// (.ko, .ko.gz, .ko.xz, .ko.zst: CONFIG_MODULE_COMPRESS); the content decides,
// not the name. Errors wrap ErrCorrupt, ErrTooLarge or ErrUnsupported.
func DecompressModule(data []byte) ([]byte, error) {
	return decompress(data, maxModuleSize)
}

// ReadModule reads and parses a module file of the host.
func (h *Host) ReadModule(file string) (*Module, error) {
	raw, err := h.ModuleBytes(file)
	if err != nil {
		return nil, err
	}
	m, err := ParseModule(raw)
	if err != nil {
		return nil, fmt.Errorf("cannot parse module %s: %w", file, err)
	}
	return m, nil
}

// ModuleBytes returns a module file of the host, decompressed, with its
// signature: what [ParseModule] and [Signature.VerifyWith] take.
func (h *Host) ModuleBytes(file string) ([]byte, error) {
	raw, err := h.readFile(file, maxModuleSize)
	if err != nil {
		return nil, fmt.Errorf("cannot read module %s: %w", file, err)
	}
	if raw, err = DecompressModule(raw); err != nil {
		return nil, fmt.Errorf("cannot read module %s: %w", file, err)
	}
	return raw, nil
}

// blocks hands out what a format decodes block by block.
type blocks struct {
	block []byte // decoded, not yet read
	err   error  // what ended it; io.EOF after the last block
}

// read is io.Reader's Read; next decodes the next block into b.block.
func (b *blocks) read(p []byte, next func() error) (int, error) {
	for len(b.block) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.err = next(); b.err != nil {
			return 0, b.err
		}
	}
	n := copy(p, b.block)
	b.block = b.block[n:]
	return n, nil
}
