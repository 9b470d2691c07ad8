package rpmdb

import (
	"encoding/binary"
	"math"
)

// Table b-trees of SQLite, section 1.6 of the file format.
const (
	btreeInterior = 5
	btreeLeaf     = 13

	// maxDepth is above what any file can need: interior pages have at least
	// two children.
	maxDepth = 32
)

// table calls fn with every row of a table, in the order of row ids. The
// payload lies in memory from s.alloc.
func (s *sqliteFile) table(name string, root uint32, fn func(rowid int64, payload []byte) error) error {
	last := int64(math.MinInt64)
	return s.subtree(name, root, 0, 0, math.MaxInt64, &last, fn)
}

// subtree walks one page. Row ids must lie above *last and not above top.
func (s *sqliteFile) subtree(table string, n, from uint32, depth int, top int64, last *int64, fn func(int64, []byte) error) error {
	if depth > maxDepth {
		return corrupt("page %d: table %s is nested more than %d pages deep", n, table, maxDepth)
	}
	shared, err := s.page(n, from)
	if err != nil {
		return err
	}
	p := append(s.nodes[depth][:0], shared...)
	s.nodes[depth] = p
	base := 0
	if n == 1 {
		base = sqliteHeaderLen
	}
	kind := p[base]
	if kind != btreeLeaf && kind != btreeInterior {
		return corrupt("page %d has type %d, want a page of table %s", n, kind, table)
	}
	cells := int(binary.BigEndian.Uint16(p[base+3:]))
	head := base + 8
	if kind == btreeInterior {
		head += 4
	}
	low := head + 2*cells
	content := int(binary.BigEndian.Uint16(p[base+5:]))
	if content == 0 {
		content = 64 << 10
	}
	if low > content || content > s.usable {
		return corrupt("page %d: %d cells, content at %d, of %d bytes", n, cells, content, s.usable)
	}
	used := 0
	for i := range cells {
		at := int(binary.BigEndian.Uint16(p[head+2*i:]))
		if at < content || at >= s.usable {
			return corrupt("page %d: cell %d lies at %d, content is at %d to %d", n, i, at, content, s.usable)
		}
		if kind == btreeInterior {
			if at+5 > s.usable {
				return corrupt("page %d: cell %d is cut off", n, i)
			}
			child := binary.BigEndian.Uint32(p[at:])
			key, size := varint(p[at+4 : s.usable])
			if size == 0 || key > top {
				return corrupt("page %d: cell %d has key %d, at most %d is possible", n, i, key, top)
			}
			used += 4 + size
			if err := s.subtree(table, child, n, depth+1, key, last, fn); err != nil {
				return err
			}
			if *last > key {
				return corrupt("page %d: cell %d has key %d, rows go on to %d", n, i, key, *last)
			}
			*last = key
			continue
		}
		rowid, payload, size, err := s.cell(n, i, p[at:s.usable])
		if err != nil {
			return err
		}
		used += max(size, 4)
		if rowid <= *last && *last != math.MinInt64 || rowid > top {
			return corrupt("page %d: cell %d has row id %d, which must lie above %d and not above %d", n, i, rowid, *last, top)
		}
		*last = rowid
		if err := fn(rowid, payload); err != nil {
			return err
		}
	}
	if err := s.account(n, p, base, content, used); err != nil {
		return err
	}
	if kind == btreeInterior {
		return s.subtree(table, binary.BigEndian.Uint32(p[base+8:]), n, depth+1, top, last, fn)
	}
	if cells == 0 && depth > 0 {
		return corrupt("page %d of table %s is empty", n, table)
	}
	return nil
}

// account checks that cells, free blocks and fragments fill the content area
// to the byte, as they must: a page that lost a cell does not add up.
func (s *sqliteFile) account(n uint32, p []byte, base, content, used int) error {
	free := int(p[base+7])
	at := int(binary.BigEndian.Uint16(p[base+1:]))
	for at != 0 {
		if at < content || at+4 > s.usable {
			return corrupt("page %d: a free block lies at %d", n, at)
		}
		next, size := int(binary.BigEndian.Uint16(p[at:])), int(binary.BigEndian.Uint16(p[at+2:]))
		if size < 4 || at+size > s.usable || next != 0 && next < at+size {
			return corrupt("page %d: the free block at %d has %d bytes", n, at, size)
		}
		free += size
		at = next
	}
	if used+free != s.usable-content {
		return corrupt("page %d: %d bytes in cells and %d free do not make %d", n, used, free, s.usable-content)
	}
	return nil
}

// cell reads one cell of a leaf: sizes, row id, payload, the latter collected
// from overflow pages where it is long. size is what it takes on the page.
func (s *sqliteFile) cell(n uint32, i int, c []byte) (rowid int64, payload []byte, size int, err error) {
	total, a := varint(c)
	rowid, b := varint(c[a:])
	if a == 0 || b == 0 {
		return 0, nil, 0, corrupt("page %d: cell %d is cut off", n, i)
	}
	if total < 0 || total > int64(s.pages)*int64(s.pageSize) {
		return 0, nil, 0, corrupt("page %d: cell %d claims %d bytes, more than the file has", n, i, total)
	}
	local := int(total)
	if most := s.usable - 35; local > most {
		least := (s.usable-12)*32/255 - 23
		if local = least + (int(total)-least)%(s.usable-4); local > most {
			local = least
		}
	}
	size = a + b + local
	spilled := int64(local) < total
	if spilled {
		size += 4
	}
	if size > len(c) {
		return 0, nil, 0, corrupt("page %d: cell %d has %d bytes, the page ends after %d", n, i, size, len(c))
	}
	payload = append(s.alloc(int(total)), c[a+b:a+b+local]...)
	if !spilled {
		return rowid, payload, size, nil
	}
	from, next := n, binary.BigEndian.Uint32(c[size-4:])
	for int64(len(payload)) < total {
		p, err := s.page(next, from)
		if err != nil {
			return 0, nil, 0, err
		}
		part := min(s.usable-4, int(total)-len(payload))
		payload = append(payload, p[4:4+part]...)
		from, next = next, binary.BigEndian.Uint32(p)
	}
	if next != 0 {
		return 0, nil, 0, corrupt("page %d: an overflow chain goes on to page %d after its last byte", from, next)
	}
	return rowid, payload, size, nil
}

// varint decodes SQLite's big-endian 7-bit integers of up to nine bytes. The
// length is 0 where b ends too soon.
func varint(b []byte) (int64, int) {
	var v uint64
	for i := range min(len(b), 9) {
		if i == 8 {
			return int64(v<<8 | uint64(b[8])), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return int64(v), i + 1
		}
	}
	return 0, 0
}

// column is one value of a record, section 2.1 of the file format.
type column struct {
	serial int64
	body   []byte
}

func (c column) isBlob() bool { return c.serial >= 12 && c.serial%2 == 0 }

func (c column) integer() (int64, bool) {
	switch {
	case c.serial == 8 || c.serial == 9:
		return c.serial - 8, true
	case c.serial < 1 || c.serial > 6:
		return 0, false
	}
	v := int64(int8(c.body[0]))
	for _, b := range c.body[1:] {
		v = v<<8 | int64(b)
	}
	return v, true
}

// record decodes a record that must have at least want columns, and whose
// columns must make up the whole payload.
func record(payload []byte, want int) ([]column, error) {
	headLen, n := varint(payload)
	if n == 0 || headLen < int64(n) || headLen > int64(len(payload)) {
		return nil, corrupt("a record of %d bytes has a head of %d", len(payload), headLen)
	}
	head, body := payload[n:headLen], payload[headLen:]
	cols := make([]column, 0, 8)
	for len(head) > 0 {
		serial, n := varint(head)
		if n == 0 {
			return nil, corrupt("a record's head is cut off")
		}
		head = head[n:]
		size, ok := serialSize(serial)
		if !ok || size > int64(len(body)) {
			return nil, corrupt("a record's column %d has type %d, %d bytes are left", len(cols), serial, len(body))
		}
		cols = append(cols, column{serial, body[:size:size]})
		body = body[size:]
	}
	if len(body) != 0 || len(cols) < want {
		return nil, corrupt("a record has %d columns, want %d, and %d bytes too many", len(cols), want, len(body))
	}
	return cols, nil
}

func serialSize(t int64) (int64, bool) {
	switch {
	case t < 0 || t == 10 || t == 11:
		return 0, false
	case t >= 12:
		return (t - 12) / 2, true
	}
	return [...]int64{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}[t], true
}

// blobColumn returns the header from a row of table Packages (hnum, blob).
// hnum is the row id, and its column therefore NULL.
func blobColumn(payload []byte) ([]byte, error) {
	cols, err := record(payload, 2)
	if err != nil {
		return nil, err
	}
	if cols[0].serial != 0 || !cols[1].isBlob() {
		return nil, corrupt("table Packages has columns of types %d and %d, want NULL and a blob", cols[0].serial, cols[1].serial)
	}
	return cols[1].body, nil
}

// numberColumn returns the record number from a row of table Name (key, hnum,
// idx).
func numberColumn(payload []byte) (uint32, error) {
	cols, err := record(payload, 2)
	if err != nil {
		return 0, err
	}
	num, ok := cols[1].integer()
	if !ok || num <= 0 || num > 1<<32-1 {
		return 0, corrupt("no record number")
	}
	return uint32(num), nil
}
