package repack

import (
	"bytes"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
)

// storedXZ writes the .xz format without compressing: one block of LZMA2 chunks of the uncompressed kind. It is for hosts
// without the xz program, as compression in Go is too slow here (below 1 MB/s). Source: xz-file-format.txt 1.2.0 and the
// description of LZMA2 in xz's liblzma/lzma/lzma2_encoder.c.
type storedXZ struct {
	w       io.Writer
	buf     []byte
	started bool
	sum     hash.Hash32
	packed  int64 // bytes of the block without padding and check
	plain   int64
}

const (
	xzChunk   = 64 << 10
	xzCRC32   = 1
	lzma2ID   = 0x21
	lzma2Dict = 8 // 64 KiB
)

func newStoredXZ(w io.Writer) (*storedXZ, error) {
	flags := []byte{0, xzCRC32}
	head := append([]byte("\xfd7zXZ\x00"), flags...)
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(flags))
	block := []byte{2, 0, lzma2ID, 1, lzma2Dict, 0, 0, 0} // (2+1)*4 bytes with its CRC; one filter
	block = binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(block))
	_, err := w.Write(append(head, block...))
	return &storedXZ{w: w, sum: crc32.NewIEEE(), packed: int64(len(block))}, err
}

func (x *storedXZ) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), xzChunk-len(x.buf))
		x.buf, p = append(x.buf, p[:take]...), p[take:]
		if len(x.buf) == xzChunk {
			if err := x.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (x *storedXZ) flush() error {
	if len(x.buf) == 0 {
		return nil
	}
	control := byte(2)
	if !x.started {
		control = 1 // the first chunk resets the dictionary
	}
	x.started = true
	head := []byte{control, byte((len(x.buf) - 1) >> 8), byte(len(x.buf) - 1)}
	if _, err := x.w.Write(head); err != nil {
		return err
	}
	if _, err := x.w.Write(x.buf); err != nil {
		return err
	}
	x.sum.Write(x.buf)
	x.packed += int64(len(head) + len(x.buf))
	x.plain += int64(len(x.buf))
	x.buf = x.buf[:0]
	return nil
}

// Close writes the end of the block, the index and the footer.
func (x *storedXZ) Close() error {
	if err := x.flush(); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteByte(0) // end of LZMA2
	x.packed++
	b.Write(make([]byte, -x.packed&3))
	b.Write(binary.LittleEndian.AppendUint32(nil, x.sum.Sum32()))

	index := []byte{0, 1} // one record
	index = binary.AppendUvarint(index, uint64(x.packed+4))
	index = binary.AppendUvarint(index, uint64(x.plain))
	index = append(index, make([]byte, -len(index)&3)...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	b.Write(index)

	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	foot = append(foot, 0, xzCRC32)
	b.Write(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(foot)))
	b.Write(foot)
	b.WriteString("YZ")
	_, err := x.w.Write(b.Bytes())
	return err
}
