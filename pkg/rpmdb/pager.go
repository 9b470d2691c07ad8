package rpmdb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// window reads a file in large pieces where it is read in sequence, and in
// small ones where it is not: one system call for every page of a 70 MB
// database would take longer than everything else. It uses reads, no memory
// mapping: a file that is truncated while mapped kills the process.
type window struct {
	f    io.ReaderAt
	size int64
	buf  []byte
	off  int64 // of buf in the file
	next int   // bytes to read at the next miss
}

const (
	windowMin = 16 << 10
	windowMax = 256 << 10
)

// at returns n bytes at off, valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if i := off - w.off; i >= 0 && i+int64(n) <= int64(len(w.buf)) {
		return w.buf[i : i+int64(n)], nil
	}
	if off < 0 || int64(n) > w.size-off {
		return nil, corrupt("%d bytes at %d lie beyond the end of the file, which has %d", n, off, w.size)
	}
	end := w.off + int64(len(w.buf))
	if len(w.buf) > 0 && off >= end-int64(n) && off <= end+windowMin {
		w.next = min(2*w.next, windowMax)
	} else {
		w.next = windowMin
	}
	want := int(min(int64(max(w.next, n)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, max(want, min(windowMax, int(w.size))))
	}
	w.buf, w.off = w.buf[:want], off
	got, err := w.f.ReadAt(w.buf, off)
	if got < n {
		w.buf = w.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			// It was longer when it was opened.
			return nil, corrupt("the file ends at %d, %d bytes were there before", off+int64(got), w.size)
		}
		return nil, err
	}
	w.buf = w.buf[:got]
	return w.buf[:n], nil
}

// pageSet remembers pages. Each page has one place in a sound file, so that a
// page met twice means damage, and a walk always ends.
type pageSet []uint64

func newPageSet(pages uint32) pageSet { return make(pageSet, pages/64+1) }

// add reports whether n is new. n must be below the number of pages.
func (s pageSet) add(n uint32) bool {
	w, bit := n/64, uint64(1)<<(n%64)
	if s[w]&bit != 0 {
		return false
	}
	s[w] |= bit
	return true
}

// stamp is what tells that a file was written to.
type stamp struct {
	info  fs.FileInfo
	start []byte
}

// settle is longer than a file system's clock is coarse (at most 10 ms on
// Linux): two writes within one tick leave the same time behind.
const settle = 20 * time.Millisecond

// takeStamp records size, time and the first n bytes of a file. Where the
// file was written to just now it waits a moment, so that a further write
// cannot hide in the same tick of the clock.
func takeStamp(f *os.File, n int) (stamp, error) {
	for range 5 {
		info, err := f.Stat()
		if err != nil {
			return stamp{}, err
		}
		if age := time.Since(info.ModTime()); age >= 0 && age < settle {
			time.Sleep(settle - age)
			continue
		}
		return readStamp(f, n, info)
	}
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return readStamp(f, n, info)
}

func readStamp(f *os.File, n int, info fs.FileInfo) (stamp, error) {
	b := make([]byte, n)
	got, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return stamp{}, err
	}
	return stamp{info: info, start: b[:got]}, nil
}

// moved reports whether the file differs from its stamp.
func (s stamp) moved(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := readStamp(f, len(s.start), info)
	if err != nil {
		return false, err
	}
	return info.Size() != s.info.Size() || !info.ModTime().Equal(s.info.ModTime()) || !bytes.Equal(now.start, s.start), nil
}
