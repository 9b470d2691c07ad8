package repodata

import (
	"bytes"
	"encoding/binary"
	"io"
	"unicode/utf8"
)

// check moves v forward over the bytes that are characters that XML allows, and
// stops before a character that is not all there yet.
func (s *xmlScanner) check() error {
	const (
		high     = 0x8080808080808080
		x60      = 0x6060606060606060
		x7f      = 0x7f7f7f7f7f7f7f7f
		newlines = '\n' * 0x0101010101010101
	)
	b := s.buf[:s.w]
	i := s.v
	for i < len(b) {
		// Eight bytes at a time while they are plain; a control character
		// or anything beyond ASCII is looked at alone.
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			// Below 0x80 no sum of a byte carries into the next: the high
			// bit of x+0x60 says x >= 0x20, that of lf+0x7f x != '\n'.
			lf := x ^ newlines
			if x&high != 0 || ^(x+x60)&(lf+x7f)&high != 0 {
				break
			}
			i += 8
		}
		for k := min(len(b), i+8); i < k; {
			c := b[i]
			switch {
			case c >= 0x20 && c < utf8.RuneSelf, c == '\n', c == '\t', c == '\r':
				i++
			case c < 0x20:
				return s.errAt(i, "a character that XML forbids")
			default:
				r, n := utf8.DecodeRune(b[i:])
				if r == utf8.RuneError && n <= 1 {
					if !utf8.FullRune(b[i:]) {
						s.v = i
						return nil
					}
					return s.errAt(i, "invalid UTF-8")
				}
				if !xmlChar(r) {
					return s.errAt(i, "a character that XML forbids")
				}
				i += n
			}
		}
	}
	s.v = i
	return nil
}

// xmlChar is the production Char of XML 1.0, 2.2.
func xmlChar(r rune) bool {
	return r >= 0x20 && r <= 0xd7ff || r == '\n' || r == '\t' || r == '\r' ||
		r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}

// resolveRef writes the character that a reference (without '&' and ';') names
// to b and returns its length, 0 where it names none.
func resolveRef(b, ref []byte) int {
	switch string(ref) {
	case "lt":
		b[0] = '<'
		return 1
	case "gt":
		b[0] = '>'
		return 1
	case "amp":
		b[0] = '&'
		return 1
	case "quot":
		b[0] = '"'
		return 1
	case "apos":
		b[0] = '\''
		return 1
	}
	if len(ref) < 2 || ref[0] != '#' {
		return 0
	}
	ref = ref[1:]
	base := rune(10)
	if ref[0] == 'x' {
		base, ref = 16, ref[1:]
		if len(ref) == 0 {
			return 0
		}
	}
	var r rune
	for _, c := range ref {
		var d rune
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			d = rune(c-'a') + 10
		case base == 16 && c >= 'A' && c <= 'F':
			d = rune(c-'A') + 10
		default:
			return 0
		}
		if r = r*base + d; r > utf8.MaxRune {
			return 0
		}
	}
	if !xmlChar(r) {
		return 0
	}
	return utf8.EncodeRune(b, r)
}

// localName returns the part of a name after its prefix. It is false for what
// is no name, or has more than one colon.
func localName(name []byte) ([]byte, bool) {
	colon := bytes.IndexByte(name, ':')
	if colon >= 0 && bytes.IndexByte(name[colon+1:], ':') >= 0 {
		return nil, false
	}
	for _, c := range name {
		if c >= utf8.RuneSelf {
			if !unicodeName(name) {
				return nil, false
			}
			break
		}
	}
	if colon > 0 && colon < len(name)-1 {
		return name[colon+1:], true
	}
	return name, true
}

// unicodeName is the production Name of XML 1.0 (fifth edition), 2.3.
func unicodeName(name []byte) bool {
	for first := true; len(name) > 0; first = false {
		r, n := utf8.DecodeRune(name)
		if r < utf8.RuneSelf {
			if xmlClass[r]&clsName == 0 || first && xmlClass[r]&clsNameStart == 0 {
				return false
			}
		} else if !nameRune(r) && (first || !(r == 0xb7 || r >= 0x300 && r <= 0x36f || r >= 0x203f && r <= 0x2040)) {
			return false
		}
		name = name[n:]
	}
	return true
}

func nameRune(r rune) bool {
	for _, x := range [...][2]rune{{0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x2ff}, {0x370, 0x37d}, {0x37f, 0x1fff},
		{0x200c, 0x200d}, {0x2070, 0x218f}, {0x2c00, 0x2fef}, {0x3001, 0xd7ff}, {0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff}} {
		if r >= x[0] && r <= x[1] {
			return true
		}
	}
	return false
}

// prolog consumes a byte order mark and the XML declaration.
func (s *xmlScanner) prolog() error {
	for s.v-s.r < 6 {
		if err := s.more(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(s.buf[s.r:s.v], []byte("\ufeff")) {
		s.r += 3
	}
	if s.v-s.r < 6 || string(s.buf[s.r:s.r+5]) != "<?xml" || xmlClass[s.buf[s.r+5]]&clsSpace == 0 {
		return nil
	}
	end, err := s.find("?>", 5, "XML declaration")
	if err != nil {
		return err
	}
	body := s.buf[s.r+5 : end-2]
	for step := 0; ; step++ {
		name, value, rest, ok := pseudoAttr(body)
		if !ok {
			return s.fail("bad XML declaration")
		}
		if name == nil {
			if step == 0 {
				return s.fail("XML declaration without a version")
			}
			break
		}
		switch {
		case step == 0 && string(name) == "version":
			if string(value) != "1.0" {
				return s.fail("not XML 1.0")
			}
		case step == 1 && string(name) == "encoding":
			if !bytes.EqualFold(value, []byte("utf-8")) {
				return s.fail("an encoding other than UTF-8 is declared")
			}
		case (step == 1 || step == 2) && string(name) == "standalone" && (string(value) == "yes" || string(value) == "no"):
			step = 2
		default:
			return s.fail("bad XML declaration")
		}
		body = rest
	}
	s.r = end
	return nil
}

// pseudoAttr reads ` name="value"`; a nil name means that only white space was
// left.
func pseudoAttr(b []byte) (name, value, rest []byte, ok bool) {
	space := func() bool {
		n := len(b)
		b = bytes.TrimLeft(b, " \t\r\n")
		return len(b) < n
	}
	spaced := space()
	if len(b) == 0 {
		return nil, nil, nil, true
	}
	n := 0
	for n < len(b) && b[n] >= 'a' && b[n] <= 'z' {
		n++
	}
	name, b = b[:n], b[n:]
	space()
	if !spaced || n == 0 || len(b) == 0 || b[0] != '=' {
		return nil, nil, nil, false
	}
	b = b[1:]
	space()
	if len(b) == 0 || b[0] != '"' && b[0] != '\'' {
		return nil, nil, nil, false
	}
	k := bytes.IndexByte(b[1:], b[0])
	if k < 0 {
		return nil, nil, nil, false
	}
	return name, b[1 : 1+k], b[2+k:], true
}
