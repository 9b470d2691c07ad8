package kmod

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// zstdFrames passes on the bytes of consecutive zstd frames and ends exactly
// where they end, so that what follows them in an initramfs is left in the
// source (RFC 8878, section 3.1: the lengths of blocks stand before them).
type zstdFrames struct {
	r     *bufio.Reader
	left  int // bytes to pass on before the next header is looked at
	state int
	sum   bool
}

const (
	zstdAtFrame = iota
	zstdAtBlock
	zstdAtSum
)

func (z *zstdFrames) Read(p []byte) (int, error) {
	for z.left == 0 {
		if err := z.step(); err != nil {
			return 0, err
		}
	}
	n, err := z.r.Read(p[:min(len(p), z.left)])
	z.left -= n
	if errors.Is(err, io.EOF) && z.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// step looks at what comes next and sets left to its length.
func (z *zstdFrames) step() error {
	peek := func(n int) ([]byte, error) {
		b, err := z.r.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		return b, nil
	}
	switch z.state {
	case zstdAtBlock:
		b, err := peek(3)
		if err != nil {
			return err
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		z.left = 3 + int(head>>3)
		if head>>1&3 == 1 {
			z.left = 4 // one byte, repeated
		}
		if head&1 != 0 {
			z.state = zstdAtSum
		}
	case zstdAtSum:
		z.state = zstdAtFrame
		if z.sum {
			z.left = 4
		}
	default:
		b, err := z.r.Peek(4)
		if len(b) < 4 {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return io.EOF
		}
		magic := binary.LittleEndian.Uint32(b)
		switch {
		case magic&^0xf == 0x184d2a50:
			if b, err = peek(8); err != nil {
				return err
			}
			n := binary.LittleEndian.Uint32(b[4:])
			if n > 1<<30 {
				return tooLarge("skippable frame of %d bytes", n)
			}
			z.left = 8 + int(n)
		case magic == 0xfd2fb528:
			if b, err = peek(5); err != nil {
				return err
			}
			d := b[4]
			single := d&0x20 != 0
			z.left = 5 + [4]int{0, 1, 2, 4}[d&3] + [4]int{0, 2, 4, 8}[d>>6]
			if single && d>>6 == 0 || !single {
				z.left++ // a content size of one byte, or the window descriptor
			}
			z.sum = d&4 != 0
			z.state = zstdAtBlock
		default:
			return io.EOF
		}
	}
	return nil
}
