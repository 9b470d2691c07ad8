package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
)

// The write-ahead log, section 4 of the file format: a head, then frames of a
// 24-byte head and one page each. Numbers are big-endian; the last bit of the
// magic tells the byte order in which checksums are computed.
const (
	walMagic    = 0x377f0682
	walVersion  = 3007000
	walHeadLen  = 32
	walFrameLen = 24

	walPageSize = 8
	walSalts    = 16 // 8 bytes
	walSums     = 24

	frameCommit = 4 // pages of the database after a commit, else 0
	frameSalts  = 8
	frameSums   = 16
)

// walFile is the committed part of a write-ahead log.
type walFile struct {
	f        *os.File
	w        window
	stamp    stamp
	pageSize int
	pages    uint32           // of the database, after the last commit; 0: nothing is committed
	frames   map[uint32]int64 // where the newest version of a page stands
	end      int64            // of the last committed frame
	salts    []byte
}

func (l *walFile) count() int {
	if l == nil {
		return 0
	}
	return len(l.frames)
}

// openWAL reads the log beside a database. It is nil where there is none, or
// where it holds nothing: rpm leaves an empty one behind.
func openWAL(root *os.Root, name string) (*walFile, error) {
	f, err := openRegular(root, name+"-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the write-ahead log: %w", err)
	}
	l, err := readWAL(f)
	if l == nil || err != nil {
		f.Close()
		return nil, err
	}
	if err := l.checkIndex(root, name); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func readWAL(f *os.File) (*walFile, error) {
	st, err := takeStamp(f, walHeadLen)
	if err != nil {
		return nil, err
	}
	head := st.start
	if len(head) < walHeadLen {
		return nil, nil
	}
	magic := binary.BigEndian.Uint32(head)
	size := binary.BigEndian.Uint32(head[walPageSize:])
	if magic&^1 != walMagic || size < 512 || size > 64<<10 || bits.OnesCount32(size) != 1 {
		return nil, nil // SQLite takes that for a log that was never begun
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	a, b := walSum(order, 0, 0, head[:walSums])
	if a != binary.BigEndian.Uint32(head[walSums:]) || b != binary.BigEndian.Uint32(head[walSums+4:]) {
		return nil, nil // the same: the head is written again with every new log
	}
	if v := binary.BigEndian.Uint32(head[4:]); v != walVersion {
		return nil, unsupported("write-ahead log of version %d", v)
	}
	l := &walFile{
		f: f, stamp: st, pageSize: int(size), frames: make(map[uint32]int64), end: walHeadLen,
		w: window{f: f, size: st.info.Size(), next: windowMin}, salts: head[walSalts : walSalts+8],
	}
	return l, l.scan(order, a, b)
}

// scan collects the committed frames. The first frame whose salts or sums are
// wrong ends the log, as it does for SQLite: behind it lie the remains of older
// logs, or a transaction that was not finished. A commit with the salts of this
// log behind a bad sum is neither: something that was committed is lost.
func (l *walFile) scan(order binary.ByteOrder, a, b uint32) error {
	pending := make(map[uint32]int64)
	step := int64(walFrameLen + l.pageSize)
	bad := 0
	n := 0
	for off := int64(walHeadLen); off+step <= l.w.size; off += step {
		n++
		fr, err := l.w.at(off, int(step))
		if err != nil {
			return err
		}
		if !bytes.Equal(fr[frameSalts:frameSalts+8], l.salts) {
			if bad == 0 {
				bad = n
			}
			continue
		}
		commit := binary.BigEndian.Uint32(fr[frameCommit:])
		if bad != 0 {
			if commit != 0 {
				return corrupt("write-ahead log: frame %d is damaged, and frame %d behind it is committed", bad, n)
			}
			continue
		}
		a2, b2 := walSum(order, a, b, fr[:8])
		a2, b2 = walSum(order, a2, b2, fr[walFrameLen:])
		page := binary.BigEndian.Uint32(fr)
		if page == 0 || a2 != binary.BigEndian.Uint32(fr[frameSums:]) || b2 != binary.BigEndian.Uint32(fr[frameSums+4:]) {
			bad = n
			continue
		}
		a, b = a2, b2
		pending[page] = off + walFrameLen
		if commit != 0 {
			for p, o := range pending {
				l.frames[p] = o
			}
			clear(pending)
			l.pages, l.end = commit, off+step
		}
	}
	return nil
}

// walSum is the checksum of section 4.2, over an even number of 32-bit words.
func walSum(order binary.ByteOrder, a, b uint32, data []byte) (uint32, uint32) {
	if order == binary.LittleEndian {
		for ; len(data) >= 8; data = data[8:] {
			a += binary.LittleEndian.Uint32(data) + b
			b += binary.LittleEndian.Uint32(data[4:]) + a
		}
		return a, b
	}
	for ; len(data) >= 8; data = data[8:] {
		a += binary.BigEndian.Uint32(data) + b
		b += binary.BigEndian.Uint32(data[4:]) + a
	}
	return a, b
}

// restarted reports whether the frames in use may have been written over: a
// log that only grew is still good for the state that was read.
func (l *walFile) restarted() (bool, error) {
	info, err := l.f.Stat()
	if err != nil {
		return false, err
	}
	now, err := readStamp(l.f, walHeadLen, info)
	if err != nil {
		return false, err
	}
	return info.Size() < l.end || !bytes.Equal(now.start, l.stamp.start), nil
}

// The index of the log (name-shm), section 2.2 of SQLite's walformat: two equal
// heads of 48 bytes in the byte order of the machine that wrote them.
const (
	shmHeadLen = 48
	shmFrames  = 16
	shmSalts   = 32
	shmSums    = 40
)

// checkIndex compares the log with its index, where one was left behind for
// this very log: the index knows how many frames were committed, and so tells
// a log that lost its last transaction from one that ends there.
func (l *walFile) checkIndex(root *os.Root, name string) error {
	f, err := openRegular(root, name+"-shm")
	if err != nil {
		return nil // it is only a second opinion
	}
	defer f.Close()
	b := make([]byte, 2*shmHeadLen)
	if _, err := f.ReadAt(b, 0); err != nil || !bytes.Equal(b[:shmHeadLen], b[shmHeadLen:]) || !bytes.Equal(b[shmSalts:shmSalts+8], l.salts) {
		return nil
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint32(b) != walVersion {
			continue
		}
		a, c := walSum(order, 0, 0, b[:shmSums])
		if a != order.Uint32(b[shmSums:]) || c != order.Uint32(b[shmSums+4:]) {
			continue
		}
		want := int64(order.Uint32(b[shmFrames:]))
		have := (l.end - walHeadLen) / int64(walFrameLen+l.pageSize)
		// If the log was written to since it was read, the index may be ahead.
		if moved, err := l.stamp.moved(l.f); err == nil && want > have && !moved {
			return corrupt("write-ahead log: %d frames are committed, frame %d is missing or damaged; run \"rpm -qa\" as root on the host", want, have+1)
		}
	}
	return nil
}
