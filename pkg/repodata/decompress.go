package repodata

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Memory that a decompressor may ask for on the word of a file. createrepo_c
// writes xz dictionaries of at most 64 MiB and zstd windows of at most 8 MiB;
// `zstd --ultra --long` reaches 128 MiB.
const (
	maxXZDict     = 64 << 20
	maxZstdWindow = 128 << 20
)

// format is a compression format, or plain data.
type format string

const (
	plain     format = ""
	formatGz  format = "gzip"
	formatXZ  format = "xz"
	formatZst format = "zstd"
	formatBz2 format = "bzip2"
	formatZck format = "zchunk"
)

var magics = []struct {
	f     format
	magic string
}{
	{formatGz, "\x1f\x8b"},
	{formatXZ, "\xfd7zXZ\x00"},
	{formatZst, "\x28\xb5\x2f\xfd"},
	{formatBz2, "BZh"},
	{formatZck, "\x00ZCK1"},
	{formatZck, "\x00ZHR1"},
}

// formatOf names the compression that a file name promises.
func formatOf(name string) format {
	switch strings.ToLower(path.Ext(name)) {
	case ".gz":
		return formatGz
	case ".xz":
		return formatXZ
	case ".zst":
		return formatZst
	case ".bz2":
		return formatBz2
	case ".zck":
		return formatZck
	}
	return plain
}

// Decompress returns the uncompressed content of r, a file of the given name:
// gzip, xz, zstd or bzip2 as its ending says (.gz, .xz, .zst, .bz2), or plain.
// Content that is of another kind than its name says, an HTML page among them,
// is an error that wraps ErrMalformed; zchunk is ErrUnsupported. A Read that
// would give more than maxOpen bytes in all fails with ErrTooLarge. Close frees
// the decompressor and leaves r alone.
func Decompress(name string, r io.Reader, maxOpen int64) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(512)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	want := formatOf(name)
	if want == formatZck {
		return nil, fmt.Errorf("cannot decompress %s: zchunk is not read, take the record of another format: %w", name, ErrUnsupported)
	}
	found := plain
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			found = m.f
			break
		}
	}
	if isHTML(head) {
		return nil, fmt.Errorf("cannot decompress %s: it is an HTML page: %w", name, ErrMalformed)
	}
	if found != want {
		return nil, fmt.Errorf("cannot decompress %s: it is %s, not %s: %w", name, describe(found, head), describe(want, nil), ErrMalformed)
	}
	maxOpen = max(maxOpen, 0)
	d := &decompressor{name: name, max: maxOpen, left: maxOpen, close: func() {}}
	err = d.guard(func() (err error) {
		switch want {
		case formatGz:
			d.r, err = gzip.NewReader(br)
		case formatXZ:
			if err = checkXZDict(br); err == nil {
				d.r, err = xz.NewReader(br)
			}
		case formatZst:
			var z *zstd.Decoder
			// One goroutine and no read-ahead: the callers have their own.
			z, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
			if err == nil {
				d.r, d.close = z, z.Close
			}
		case formatBz2:
			d.r = bzip2.NewReader(br)
		default:
			d.r = br
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func describe(f format, head []byte) string {
	switch {
	case f != plain:
		return string(f)
	case head == nil:
		return "uncompressed"
	case len(head) == 0:
		return "empty"
	}
	return fmt.Sprintf("uncompressed data (%.16q)", head)
}

// isHTML recognises the error pages that portals and proxies serve in place of
// a file.
func isHTML(head []byte) bool {
	head = bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n"))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html"))
}

// checkXZDict refuses an xz stream whose first block asks for a huge
// dictionary, which the decoder would allocate at once. (xz file format 1.0.4,
// sections 3.1 and 5.3.1.)
func checkXZDict(br *bufio.Reader) error {
	b, err := br.Peek(12 + 4)
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if b[12] == 0 { // an index: no block
		return nil
	}
	size := (int(b[12]) + 1) * 4
	if b, err = br.Peek(12 + size); err != nil {
		return io.ErrUnexpectedEOF
	}
	h := b[12:]
	p := 2
	for _, bit := range [...]byte{0x40, 0x80} { // compressed size, uncompressed size
		if h[1]&bit != 0 && p < len(h) {
			_, n := binary.Uvarint(h[p:])
			if n <= 0 {
				return fmt.Errorf("bad xz block header: %w", ErrMalformed)
			}
			p += n
		}
	}
	// LZMA2: id 0x21, one byte of properties.
	if p+3 > len(h) || h[p] != 0x21 || h[p+1] != 1 {
		return nil // another filter: the decoder refuses it
	}
	bits := h[p+2] & 0x3f
	if bits >= 40 || (2|uint64(bits)&1)<<(bits/2+11) > maxXZDict {
		return fmt.Errorf("xz dictionary of more than %d MiB: %w", maxXZDict>>20, ErrTooLarge)
	}
	return nil
}

type decompressor struct {
	name  string
	r     io.Reader
	max   int64 // bytes that may come out in all
	left  int64 // of them, still to come
	err   error
	close func()
}

// guard runs f; a panic of a decoder that met data it did not expect is an
// error like any other.
func (d *decompressor) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder panicked: %v: %w", p, ErrMalformed)
		}
		if err != nil && err != io.EOF {
			err = fmt.Errorf("cannot decompress %s: %w", d.name, err)
		}
	}()
	return f()
}

func (d *decompressor) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	// One byte more than allowed is asked for, to tell the end from too much.
	if int64(len(p)) > d.left+1 {
		p = p[:d.left+1]
	}
	n := 0
	d.err = d.guard(func() (err error) {
		n, err = d.r.Read(p)
		return err
	})
	if int64(n) > d.left {
		n = int(d.left)
		d.err = fmt.Errorf("cannot decompress %s: more than the %d bytes allowed: %w", d.name, d.max, ErrTooLarge)
	}
	d.left -= int64(n)
	return n, d.err
}

func (d *decompressor) Close() error {
	d.close()
	if d.err == nil {
		d.err = fmt.Errorf("cannot decompress %s: read after close", d.name)
	}
	return nil
}
