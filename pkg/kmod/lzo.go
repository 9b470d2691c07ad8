package kmod

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// lzoReader decodes an lzop file, which is what dracut --lzo makes and the
// kernel reads (lib/decompress_unlzo.c): a header, then blocks that depend on
// nothing before them, each a stream of LZO1X. The end is marked, so that not a
// byte more is read.
type lzoReader struct {
	r      io.Reader
	flags  uint32
	opened bool
	blocks
	buf []byte
}

// The flags of the header that change what follows; lzop's conf.h.
const (
	lzoAdlerOut   = 1 << 0 // Adler-32 of each decoded block
	lzoAdlerIn    = 1 << 1 // Adler-32 of each compressed block
	lzoExtra      = 1 << 6 // an extra field behind the header
	lzoCRCOut     = 1 << 8
	lzoCRCIn      = 1 << 9
	lzoMultipart  = 1 << 10
	lzoFilter     = 1 << 11
	lzoCRCHeader  = 1 << 12
	lzoMaxBlock   = 64 << 20 // lzop's own limit; it writes blocks of 256 KiB
	lzoMaxExtra   = 1 << 20
	lzoNewVersion = 0x940 // the version of lzop whose header has three fields more
)

func newLZOReader(r io.Reader) *lzoReader { return &lzoReader{r: r} }

func (l *lzoReader) Read(p []byte) (int, error) { return l.read(p, l.next) }

// take reads n bytes into a memory that goes round.
func (l *lzoReader) take(n int) ([]byte, error) {
	if cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	b := l.buf[:n]
	if _, err := io.ReadFull(l.r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

func (l *lzoReader) uint32() (uint32, error) {
	b, err := l.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

// header reads lzop's header; its checksum is skipped, the blocks have their own.
func (l *lzoReader) header() error {
	b, err := l.take(len(magicLZO) + 4)
	if err != nil {
		return err
	}
	version := binary.BigEndian.Uint16(b[len(magicLZO):])
	rest := 1 // the method
	if version >= lzoNewVersion {
		rest += 3 // the version that is needed, the level
	}
	if b, err = l.take(rest); err != nil {
		return err
	}
	method := b[0]
	if version >= lzoNewVersion {
		method = b[2]
	}
	if method < 1 || method > 3 { // LZO1X-1, LZO1X-1(15), LZO1X-999: one decoder for all
		return corrupt("lzo method %d", method)
	}
	if l.flags, err = l.uint32(); err != nil {
		return err
	}
	if l.flags&lzoMultipart != 0 {
		return corrupt("lzo file of several parts")
	}
	rest = 4 + 4 // mode, time
	if version >= lzoNewVersion {
		rest += 4
	}
	if l.flags&lzoFilter != 0 {
		rest += 4
	}
	if _, err = l.take(rest); err != nil {
		return err
	}
	if b, err = l.take(1); err != nil {
		return err
	}
	if _, err = l.take(int(b[0]) + 4); err != nil { // the file's name, the header's checksum
		return err
	}
	if l.flags&lzoExtra == 0 {
		return nil
	}
	n, err := l.uint32()
	if err != nil {
		return err
	}
	if n > lzoMaxExtra {
		return corrupt("lzo extra field of %d bytes", n)
	}
	_, err = l.take(int(n) + 4)
	return err
}

// next decodes the next block; io.EOF after the last.
func (l *lzoReader) next() error {
	if !l.opened {
		if err := l.header(); err != nil {
			return err
		}
		l.opened = true
	}
	size, err := l.uint32()
	if err != nil {
		return err
	}
	if size == 0 {
		return io.EOF
	}
	packed, err := l.uint32()
	if err != nil {
		return err
	}
	if size > lzoMaxBlock || packed > size {
		return corrupt("lzo block of %d bytes from %d", size, packed)
	}
	var adler, crc uint32
	for _, sum := range []struct {
		flag uint32
		into *uint32
	}{{lzoAdlerOut, &adler}, {lzoCRCOut, &crc}, {lzoAdlerIn, nil}, {lzoCRCIn, nil}} {
		// Of a block that is stored as it is there are no sums of the compressed form.
		if l.flags&sum.flag == 0 || sum.into == nil && packed == size {
			continue
		}
		v, err := l.uint32()
		if err != nil {
			return err
		}
		if sum.into != nil {
			*sum.into = v
		}
	}
	in, err := l.take(int(packed))
	if err != nil {
		return err
	}
	if packed == size {
		l.block = append([]byte(nil), in...)
	} else if l.block, err = lzo1x(in, int(size)); err != nil {
		return err
	}
	if l.flags&lzoAdlerOut != 0 && adler32.Checksum(l.block) != adler || l.flags&lzoCRCOut != 0 && crc32.ChecksumIEEE(l.block) != crc {
		return corrupt("lzo block whose checksum differs")
	}
	return nil
}

// lzo1x decodes one stream of LZO1X into size bytes, by
// Documentation/staging/lzo.rst of the kernel. An instruction either has
// literals follow or copies from what was decoded; what the small ones mean
// depends on how many literals the one before it had.
func lzo1x(in []byte, size int) ([]byte, error) {
	out := make([]byte, 0, min(size, 256<<10))
	at := 0
	short := false // the input ended early
	next := func() int {
		if at >= len(in) {
			short = true
			return 0
		}
		at++
		return int(in[at-1])
	}
	// length adds what follows a length of zero: 255 for every zero byte, then the rest.
	length := func(n, most int) int {
		if n > 0 {
			return n
		}
		n = most
		for !short {
			b := next()
			if n += b; b != 0 {
				return n
			}
			if n += 255; n > size {
				break
			}
		}
		return n
	}
	literals := func(n int) bool {
		if n > len(in)-at || n > size-len(out) {
			return false
		}
		out = append(out, in[at:at+n]...)
		at += n
		return true
	}
	bad := func() ([]byte, error) { return nil, corrupt("lzo data at byte %d of %d", at, len(in)) }
	const long = 4 // four literals or more
	state := 0
	if len(in) > 0 && in[0] > 17 {
		n := next() - 17
		if !literals(n) {
			return bad()
		}
		state = min(n, long)
	}
	for {
		t := next()
		var distance, n, after int
		switch {
		case t >= 64:
			distance, n, after = next()<<3+(t>>2&7)+1, t>>5+1, t&3
		case t >= 32:
			n = 2 + length(t&31, 31)
			d := next()
			d |= next() << 8
			distance, after = d>>2+1, d&3
		case t >= 16:
			n = 2 + length(t&7, 7)
			d := next()
			d |= next() << 8
			distance, after = 16384+(t&8)<<11+d>>2, d&3
			if distance == 16384 {
				if short || len(out) != size || at != len(in) {
					return bad()
				}
				return out, nil
			}
		case state == 0:
			n = 3 + length(t, 15)
			if short || !literals(n) {
				return bad()
			}
			state = long
			continue
		case state == long:
			distance, n, after = next()<<2+(t>>2)+2049, 3, t&3
		default:
			distance, n, after = next()<<2+(t>>2)+1, 2, t&3
		}
		if short || distance > len(out) || n > size-len(out) {
			return bad()
		}
		for from := len(out) - distance; n > 0; n-- { // they may overlap
			out = append(out, out[from])
			from++
		}
		if !literals(after) {
			return bad()
		}
		state = after
	}
}
