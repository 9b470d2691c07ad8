package repodata

import (
	"bytes"
	"io"
)

// Classes of ASCII bytes.
const (
	clsName      = 1 << iota // may stand in a name
	clsNameStart             // may begin one
	clsSpace
	clsValueStop // ends the plain part of an attribute value
	clsOdd       // in a name: takes a second look
)

var xmlClass = func() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			t[c] = clsName | clsNameStart
		case c == ':', c >= 0x80:
			t[c] = clsName | clsNameStart | clsOdd
		case c >= '0' && c <= '9', c == '-', c == '.':
			t[c] = clsName
		case c == ' ':
			t[c] = clsSpace
		case c == '\t', c == '\n', c == '\r':
			t[c] = clsSpace | clsValueStop
		case c == '"', c == '\'', c == '<', c == '&':
			t[c] = clsValueStop
		}
	}
	return t
}()

// startTag consumes the start tag at s.r. A tag that is not all in the window
// is looked at again, from its start, when more of it is there.
func (s *xmlScanner) startTag() error {
	for {
		n, err := s.tryStartTag()
		if err != nil {
			return err
		}
		if n > 0 {
			s.r += n
			return nil
		}
		if err := s.more(); err == io.EOF {
			return s.fail("unfinished tag")
		} else if err != nil {
			return err
		}
	}
}

// tryStartTag returns the length of the tag at s.r, 0 if it is not all there.
func (s *xmlScanner) tryStartTag() (int, error) {
	b := s.buf[s.r:s.v]
	i := 1
	if xmlClass[b[1]]&clsNameStart == 0 {
		return 0, s.fail("'<' that begins no tag")
	}
	var cls uint8
	for i < len(b) {
		c := xmlClass[b[i]]
		if c&clsName == 0 {
			break
		}
		cls |= c
		i++
	}
	if i == len(b) {
		return 0, nil
	}
	name := b[1:i]
	local := name
	if cls&clsOdd != 0 {
		var ok bool
		if local, ok = localName(name); !ok {
			return 0, s.fail("bad element name")
		}
	}
	s.attrs = s.attrs[:0]
	s.scratch = s.scratch[:0]
	s.empty = false
	for {
		space := i
		for i < len(b) && xmlClass[b[i]]&clsSpace != 0 {
			i++
		}
		if i == len(b) {
			return 0, nil
		}
		c := b[i]
		if c == '>' {
			i++
			break
		}
		if c == '/' {
			if i+1 == len(b) {
				return 0, nil
			}
			if b[i+1] != '>' {
				return 0, s.errAt(s.r+i, "'/' inside a tag")
			}
			i += 2
			s.empty = true
			break
		}
		if i == space {
			return 0, s.errAt(s.r+i, "no white space before an attribute")
		}
		from := i
		if xmlClass[c]&clsNameStart == 0 {
			return 0, s.errAt(s.r+i, "unexpected character in a tag")
		}
		cls = 0
		for i < len(b) {
			c := xmlClass[b[i]]
			if c&clsName == 0 {
				break
			}
			cls |= c
			i++
		}
		aname := b[from:i]
		for i < len(b) && xmlClass[b[i]]&clsSpace != 0 {
			i++
		}
		if i == len(b) {
			return 0, nil
		}
		if b[i] != '=' {
			return 0, s.errAt(s.r+i, "attribute without a value")
		}
		i++
		for i < len(b) && xmlClass[b[i]]&clsSpace != 0 {
			i++
		}
		if i == len(b) {
			return 0, nil
		}
		quote := b[i]
		if quote != '"' && quote != '\'' {
			return 0, s.errAt(s.r+i, "attribute value without quotes")
		}
		i++
		from = i
		for i < len(b) && xmlClass[b[i]]&clsValueStop == 0 {
			i++
		}
		if i == len(b) {
			return 0, nil
		}
		value := b[from:i]
		if b[i] != quote {
			var err error
			if value, i, err = s.oddValue(b, from, i, quote); err != nil || i == 0 {
				return 0, err
			}
		}
		if i-from > xmlMaxValue {
			return 0, s.limitAt(s.r+from, "attribute value too long")
		}
		i++
		alocal := aname
		if cls&clsOdd != 0 {
			var ok bool
			if alocal, ok = localName(aname); !ok {
				return 0, s.errAt(s.r+from, "bad attribute name")
			}
			if bytes.HasPrefix(aname, []byte("xmlns:")) {
				alocal = aname // declares a prefix
			}
		}
		for k := range s.attrs {
			if bytes.Equal(s.attrs[k].name, aname) {
				return 0, s.errAt(s.r+from, "attribute given twice")
			}
		}
		if len(s.attrs) == xmlMaxAttrs {
			return 0, s.limitAt(s.r+from, "too many attributes")
		}
		s.attrs = append(s.attrs, xmlAttr{aname, alocal, value})
	}
	if len(s.marks) == 0 && s.sawRoot {
		return 0, s.fail("a second root element")
	}
	s.sawRoot = true
	s.local = local
	if !s.empty {
		if len(s.marks) == xmlMaxDepth {
			return 0, s.limitAt(s.r, "elements too deep")
		}
		s.marks = append(s.marks, len(s.names))
		s.names = append(s.names, name...)
	}
	return i, nil
}

// oddValue reads an attribute value from b[from] whose plain part ends at i:
// it holds references, white space other than blanks (which XML 1.0, 3.3.3
// turns into blanks), or the other kind of quote. The index returned is that of
// the closing quote, 0 where it is not there yet.
func (s *xmlScanner) oddValue(b []byte, from, i int, quote byte) ([]byte, int, error) {
	start := len(s.scratch)
	out := append(s.scratch, b[from:i]...)
	for i < len(b) {
		c := b[i]
		switch {
		case c == quote:
			s.scratch = out
			return out[start:], i, nil
		case c == '<':
			return nil, 0, s.errAt(s.r+i, "'<' in an attribute value")
		case c == '&':
			ref := b[i:min(len(b), i+xmlMaxRef)]
			semi := bytes.IndexByte(ref, ';')
			if semi < 0 {
				if len(ref) == xmlMaxRef {
					return nil, 0, s.errAt(s.r+i, "unfinished reference")
				}
				return nil, 0, nil
			}
			var r [4]byte
			n := resolveRef(r[:], ref[1:semi])
			if n == 0 {
				return nil, 0, s.errAt(s.r+i, "unknown entity or bad character reference")
			}
			out = append(out, r[:n]...)
			i += semi
		case c == '\r':
			if i+1 == len(b) {
				return nil, 0, nil
			}
			if b[i+1] != '\n' {
				out = append(out, ' ')
			}
		case c == '\n' || c == '\t':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
		i++
	}
	return nil, 0, nil
}

// endTag consumes the end tag at s.r.
func (s *xmlScanner) endTag() error {
	if n := len(s.marks); n > 0 {
		mark := s.marks[n-1]
		name := s.names[mark:]
		if b := s.buf[s.r+2 : s.v]; len(b) > len(name) && b[len(name)] == '>' && string(b[:len(name)]) == string(name) {
			s.marks = s.marks[:n-1]
			s.names = s.names[:mark]
			s.r += 2 + len(name) + 1
			return nil
		}
	}
	end, err := s.find(">", 2, "end tag")
	if err != nil {
		return err
	}
	name := s.buf[s.r+2 : end-1]
	for len(name) > 0 && xmlClass[name[len(name)-1]]&clsSpace != 0 {
		name = name[:len(name)-1]
	}
	if len(s.marks) == 0 {
		return s.fail("an end tag with nothing open")
	}
	mark := s.marks[len(s.marks)-1]
	if !bytes.Equal(name, s.names[mark:]) {
		return s.fail("end tag does not match <" + s.openName() + ">")
	}
	s.marks = s.marks[:len(s.marks)-1]
	s.names = s.names[:mark]
	s.r = end
	return nil
}

// procInst consumes the processing instruction at s.r.
func (s *xmlScanner) procInst() error {
	end, err := s.find("?>", 2, "processing instruction")
	if err != nil {
		return err
	}
	body := s.buf[s.r+2 : end-2]
	n := 0
	for n < len(body) && xmlClass[body[n]]&clsName != 0 {
		n++
	}
	if n == 0 || xmlClass[body[0]]&clsNameStart == 0 || n < len(body) && xmlClass[body[n]]&clsSpace == 0 {
		return s.fail("processing instruction without a name")
	}
	if _, ok := localName(body[:n]); !ok {
		return s.fail("bad name of a processing instruction")
	}
	if bytes.EqualFold(body[:n], []byte("xml")) {
		return s.fail("XML declaration that is not at the start")
	}
	s.r = end
	return nil
}

// declaration consumes what begins with "<!": a comment, the opening of a CDATA
// section, a DOCTYPE.
func (s *xmlScanner) declaration() error {
	if err := s.need(3); err != nil {
		return err
	}
	switch s.buf[s.r+2] {
	case '-':
		if err := s.need(4); err != nil {
			return err
		}
		if s.buf[s.r+3] != '-' {
			return s.fail("bad comment")
		}
		end, err := s.find("--", 4, "comment")
		if err != nil {
			return err
		}
		if err := s.need(end - s.r + 1); err != nil {
			return err
		}
		// need may have moved the window: count from s.r.
		if end, err = s.find("--", 4, "comment"); err != nil {
			return err
		}
		if s.buf[end] != '>' {
			return s.errAt(end, `"--" inside a comment`)
		}
		s.r = end + 1
		return nil
	case '[':
		const open = "<![CDATA["
		if err := s.need(len(open)); err != nil {
			return err
		}
		if string(s.buf[s.r:s.r+len(open)]) != open {
			return s.fail("bad CDATA section")
		}
		if len(s.marks) == 0 {
			return s.fail("CDATA section outside the root element")
		}
		s.r += len(open)
		s.inCDATA = true
		return nil
	}
	return s.doctype()
}

// doctype passes over a document type declaration. What it declares is not
// looked at: no entity of it is ever expanded.
func (s *xmlScanner) doctype() error {
	const open = "<!DOCTYPE"
	if err := s.need(len(open) + 1); err != nil {
		return err
	}
	if string(s.buf[s.r:s.r+len(open)]) != open || xmlClass[s.buf[s.r+len(open)]]&clsSpace == 0 {
		return s.fail("unknown declaration")
	}
	if s.sawRoot || s.sawDocDef {
		return s.fail("DOCTYPE where none belongs")
	}
	s.sawDocDef = true
	for {
		n, err := s.tryDoctype(s.buf[s.r:s.v])
		if err != nil {
			return err
		}
		if n > 0 {
			s.r += n
			return nil
		}
		if err := s.more(); err == io.EOF {
			return s.fail("unfinished DOCTYPE")
		} else if err != nil {
			return err
		}
	}
}

func (s *xmlScanner) tryDoctype(b []byte) (int, error) {
	depth := 0
	for i := 2; i < len(b); i++ {
		switch b[i] {
		case '"', '\'':
			k := bytes.IndexByte(b[i+1:], b[i])
			if k < 0 {
				return 0, nil
			}
			i += k + 1
		case '<':
			if len(b)-i < 4 {
				return 0, nil
			}
			if string(b[i:i+4]) == "<!--" {
				k := bytes.Index(b[i+4:], []byte("-->"))
				if k < 0 {
					return 0, nil
				}
				i += 4 + k + 2
				continue
			}
			depth++
		case '>':
			if depth == 0 {
				return i + 1, nil
			}
			depth--
		}
	}
	return 0, nil
}
