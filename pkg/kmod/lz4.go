package kmod

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// lz4Reader decodes LZ4 streams of both frame formats
// (lz4_Frame_format.md, "Legacy frame" included: the kernel's lz4 -l). Checksums
// are skipped: the purpose is to list an initramfs, and damage shows in the
// archive inside.
type lz4Reader struct {
	r      *bufio.Reader
	legacy bool
	opened bool
	done   bool
	blocks
	window []byte // the last 64 KiB decoded, for blocks that depend on each other
	buf    []byte // one compressed block
	max    int    // largest decoded block
	linked bool
	sums   bool // a checksum follows every block
	total  bool // a checksum follows the frame
}

const (
	lz4Legacy  = 0x184c2102
	lz4Frame   = 0x184d2204
	lz4LegacyN = 8 << 20
)

func newLZ4Reader(r io.Reader) *lz4Reader {
	br, ok := r.(*bufio.Reader)
	if !ok {
		br = bufio.NewReader(r)
	}
	return &lz4Reader{r: br}
}

func (l *lz4Reader) Read(p []byte) (int, error) { return l.read(p, l.next) }

// next decodes the next block; io.EOF after the last.
func (l *lz4Reader) next() error {
	if !l.opened {
		if err := l.header(); err != nil {
			return err
		}
		l.opened = true
	}
	if l.done {
		return io.EOF
	}
	if l.legacy {
		// A legacy frame has no end mark: it ends with the file, with zero padding
		// or where another segment starts (an impossible size).
		b, err := l.r.Peek(4)
		if len(b) < 4 {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return io.EOF
		}
		n := binary.LittleEndian.Uint32(b)
		if n == lz4Legacy {
			_, _ = l.r.Discard(4)
			return nil
		}
		if n == 0 || n > lz4LegacyN+lz4LegacyN/255+16 {
			l.done = true
			return io.EOF
		}
		_, _ = l.r.Discard(4)
		return l.decode(int(n), lz4LegacyN, nil)
	}
	n, err := l.uint32()
	if err != nil {
		return err
	}
	if n == 0 {
		l.done = true
		if l.total {
			_, err = l.uint32()
			return err
		}
		return nil
	}
	raw := n&(1<<31) != 0
	n &^= 1 << 31
	if int(n) > l.max {
		return corrupt("lz4 block of %d bytes", n)
	}
	if raw {
		l.block = make([]byte, n)
		if _, err := io.ReadFull(l.r, l.block); err != nil {
			return unexpected(err)
		}
	} else {
		var dict []byte
		if l.linked {
			dict = l.window
		}
		if err := l.decode(int(n), l.max, dict); err != nil {
			return err
		}
	}
	if l.linked {
		const keep = 64 << 10
		l.window = append(l.window, l.block...)
		if len(l.window) > keep {
			l.window = append([]byte(nil), l.window[len(l.window)-keep:]...)
		}
	}
	if l.sums {
		_, err = l.uint32()
	}
	return err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *lz4Reader) uint32() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(l.r, b[:]); err != nil {
		return 0, unexpected(err)
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

func (l *lz4Reader) header() error {
	magic, err := l.uint32()
	if err != nil {
		return err
	}
	switch magic {
	case lz4Legacy:
		l.legacy = true
		return nil
	case lz4Frame:
	default:
		return corrupt("lz4 magic %#x", magic)
	}
	var d [2]byte
	if _, err := io.ReadFull(l.r, d[:]); err != nil {
		return unexpected(err)
	}
	flags, size := d[0], int(d[1]>>4&7)
	if flags>>6 != 1 || size < 4 {
		return corrupt("lz4 frame descriptor %#x", d)
	}
	if flags&1 != 0 {
		return fmt.Errorf("%w: lz4 frame with a dictionary", ErrUnsupported)
	}
	l.linked, l.sums, l.total = flags&0x20 == 0, flags&0x10 != 0, flags&0x04 != 0
	l.max = 1 << (8 + 2*size)
	skip := 1 // header checksum
	if flags&0x08 != 0 {
		skip += 8
	}
	if _, err := io.CopyN(io.Discard, l.r, int64(skip)); err != nil {
		return unexpected(err)
	}
	return nil
}

// decode reads n compressed bytes and decodes them into l.block.
func (l *lz4Reader) decode(n, limit int, dict []byte) error {
	if cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	src := l.buf[:n]
	if _, err := io.ReadFull(l.r, src); err != nil {
		return unexpected(err)
	}
	out, err := lz4Block(append([]byte(nil), dict...), src, len(dict)+limit)
	if err != nil {
		return err
	}
	l.block = out[len(dict):]
	return nil
}

// lz4Block appends the decoded block to dst, which holds what matches may refer
// to (lz4_Block_format.md).
func lz4Block(dst, src []byte, limit int) ([]byte, error) {
	length := func(n int) (int, bool) {
		if n != 15 {
			return n, true
		}
		for {
			if len(src) == 0 || n > limit {
				return 0, false
			}
			b := src[0]
			src = src[1:]
			n += int(b)
			if b != 255 {
				return n, true
			}
		}
	}
	for len(src) > 0 {
		token := src[0]
		src = src[1:]
		n, ok := length(int(token >> 4))
		if !ok || n > len(src) || n > limit-len(dst) {
			return nil, corrupt("lz4 literals")
		}
		dst = append(dst, src[:n]...)
		src = src[n:]
		if len(src) == 0 {
			return dst, nil
		}
		if len(src) < 2 {
			return nil, corrupt("lz4 match without an offset")
		}
		off := int(src[0]) | int(src[1])<<8
		src = src[2:]
		n, ok = length(int(token & 15))
		if n += 4; !ok || off == 0 || off > len(dst) || n > limit-len(dst) {
			return nil, corrupt("lz4 match")
		}
		// Byte by byte: a match may overlap what it produces.
		for at := len(dst) - off; n > 0; n-- {
			dst = append(dst, dst[at])
			at++
		}
	}
	return dst, nil
}
