package kmod

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"strconv"
)

const (
	cpioHeader   = 110  // "newc": magic and thirteen numbers of eight hex digits
	maxCpioName  = 4096 // as the kernel's unpacker (init/initramfs.c)
	cpioTrailer  = "TRAILER!!!"
	cpioTypeMask = 0o170000
	cpioSymlink  = 0o120000
	cpioRegular  = 0o100000
)

// readCpio reads one archive in the newc format
// (Documentation/driver-api/early-userspace/buffer-format.rst) up to its
// trailer, and calls fn for each entry.
func readCpio(r *bufio.Reader, fn func(InitramfsFile) error) error {
	var head [cpioHeader]byte
	pos := int64(0)
	full := func(b []byte) error {
		n, err := io.ReadFull(r, b)
		pos += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return corrupt("archive ends inside of an entry")
		}
		return err
	}
	skip := func(n int64) error {
		for n > 0 {
			k, err := r.Discard(int(min(n, 1<<30)))
			pos += int64(k)
			n -= int64(k)
			if errors.Is(err, io.EOF) {
				return corrupt("archive ends inside of an entry")
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	align := func() error { return skip(-pos & 3) }
	for {
		if err := full(head[:]); err != nil {
			return err
		}
		if m := string(head[:6]); m != "070701" && m != "070702" {
			return corrupt("archive entry starts with %q", m)
		}
		var num [13]uint32
		for i := range num {
			n, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				return corrupt("archive number %q", head[6+8*i:14+8*i])
			}
			num[i] = uint32(n)
		}
		mode, size, nameSize := num[1], int64(num[6]), int64(num[11])
		if nameSize == 0 || nameSize > maxCpioName {
			return corrupt("archive name of %d bytes", nameSize)
		}
		name := make([]byte, nameSize)
		if err := full(name); err != nil {
			return err
		}
		name, ok := bytes.CutSuffix(name, []byte{0})
		if !ok || bytes.IndexByte(name, 0) >= 0 {
			return corrupt("archive name %q is not ended by NUL", clip(string(name)))
		}
		if err := align(); err != nil {
			return err
		}
		if string(name) == cpioTrailer {
			return skip(size)
		}
		f := InitramfsFile{Name: path.Clean("/" + string(name))[1:], Mode: mode, Size: size}
		if mode&cpioTypeMask == cpioSymlink {
			if size > maxCpioName {
				return corrupt("link target of %d bytes", size)
			}
			target := make([]byte, size)
			if err := full(target); err != nil {
				return err
			}
			f.Link = string(bytes.TrimRight(target, "\x00"))
		} else if err := skip(size); err != nil {
			return err
		}
		if err := align(); err != nil {
			return err
		}
		if err := fn(f); err != nil {
			return err
		}
	}
}
