package repodata

import (
	"bytes"
	"io"
)

// Limits of the scanner. Real metadata stays far below: the longest attribute
// seen is a rich dependency of 1 kB, the deepest element is at level 5.
const (
	xmlWindow   = 256 << 10 // bytes looked at together
	xmlMaxToken = 1 << 20   // one tag, comment or processing instruction
	xmlMaxValue = 64 << 10  // one attribute value, or one text that is kept
	xmlMaxDepth = 64
	xmlMaxAttrs = 64
	xmlMaxRef   = 32 // a reference from '&' to ';'
)

type xmlToken uint8

const (
	tokEOF xmlToken = iota
	tokStart
	tokEnd
)

// xmlAttr is an attribute of the start tag just read. Both slices are valid
// until the scanner is asked for more.
type xmlAttr struct {
	name  []byte // as written, with its prefix
	local []byte
	value []byte // references resolved, white space normalised
}

// xmlScanner is a non-validating XML 1.0 reader for documents in UTF-8. It
// reports start and end tags, and text where it is asked for; it checks that
// the document is well-formed, save for what is inside a DOCTYPE, which it
// passes over: no entity but the five predefined ones exists for it.
//
// It is stricter than encoding/xml: one root element, no text outside it, no
// attribute twice, white space between attributes, declarations only where they
// belong, characters checked everywhere, and references that name no character
// refused.
type xmlScanner struct {
	what string // for errors
	src  io.Reader

	// buf[r:v] is checked UTF-8 not yet consumed, buf[v:w] is read and
	// unchecked, buf[0] is byte base of the document.
	buf     []byte
	r, v, w int
	base    int64
	srcErr  error // what src ended with

	names []byte // raw names of the open elements, one after the other
	marks []int  // where each begins

	attrs   []xmlAttr
	local   []byte // local name of the start tag just read
	empty   bool   // that tag was <x/>: no end token follows
	scratch []byte // attribute values that had to be rewritten

	text     []byte // collected if wantText
	wantText bool
	lastCR   bool // the text so far ended with a carriage return

	inCDATA   bool
	sawRoot   bool
	sawDocDef bool
	started   bool
}

func newXMLScanner(what string, r io.Reader) *xmlScanner {
	return newXMLScannerSize(what, r, xmlWindow)
}

// newXMLScannerSize is for a document known to be of fewer bytes than size, or
// for size xmlWindow.
func newXMLScannerSize(what string, r io.Reader, size int) *xmlScanner {
	return &xmlScanner{what: what, src: r, buf: make([]byte, size)}
}

// errAt reports malformed XML at buf[at].
func (s *xmlScanner) errAt(at int, msg string) error {
	return &ParseError{What: s.what, Offset: s.base + int64(at), Msg: msg}
}

func (s *xmlScanner) limitAt(at int, msg string) error {
	return &ParseError{What: s.what, Offset: s.base + int64(at), Msg: msg, Limit: true}
}

// fail reports a problem at the current position.
func (s *xmlScanner) fail(msg string) error { return s.errAt(s.r, msg) }

// more adds checked bytes after v. io.EOF means that there are none; any other
// error is final.
func (s *xmlScanner) more() error {
	for {
		if s.srcErr != nil {
			if s.srcErr != io.EOF {
				return s.srcErr
			}
			if s.v < s.w {
				return s.errAt(s.v, "invalid UTF-8")
			}
			return io.EOF
		}
		if s.r > 0 && s.r >= len(s.buf)/2 || s.r > 0 && s.w == len(s.buf) {
			n := copy(s.buf, s.buf[s.r:s.w])
			s.base += int64(s.r)
			s.v -= s.r
			s.w = n
			s.r = 0
		}
		if s.w == len(s.buf) {
			if len(s.buf) >= xmlMaxToken {
				return s.limitAt(s.r, "a single token is too long")
			}
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		// Fill the window: callers look at an unfinished token again from
		// its start, so small reads would make long tokens quadratic.
		for empty := 0; s.w < len(s.buf) && s.srcErr == nil; {
			n, err := s.src.Read(s.buf[s.w:])
			s.w += n
			s.srcErr = err
			if n > 0 {
				empty = 0
			} else if empty++; empty > 100 && err == nil {
				s.srcErr = io.ErrNoProgress
			}
		}
		old := s.v
		if err := s.check(); err != nil {
			return err
		}
		if s.v > old {
			return nil
		}
	}
}

// need makes n unconsumed bytes available, or reports that the document ends
// before.
func (s *xmlScanner) need(n int) error {
	for s.v-s.r < n {
		if err := s.more(); err == io.EOF {
			return s.errAt(s.v, "unexpected end of document")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// next returns the next start or end tag, or tokEOF after the root element.
func (s *xmlScanner) next() (xmlToken, error) {
	if !s.started {
		s.started = true
		if err := s.prolog(); err != nil {
			return 0, err
		}
	}
	for {
		if s.inCDATA {
			if err := s.cdata(); err != nil {
				return 0, err
			}
		}
		if s.r == s.v {
			err := s.more()
			if err == io.EOF {
				if len(s.marks) > 0 {
					return 0, s.fail("unexpected end of document inside <" + s.openName() + ">")
				}
				if !s.sawRoot {
					return 0, s.fail("no element")
				}
				return tokEOF, nil
			}
			if err != nil {
				return 0, err
			}
		}
		if s.buf[s.r] != '<' {
			if err := s.textRun(); err != nil {
				return 0, err
			}
			continue
		}
		if err := s.need(2); err != nil {
			return 0, err
		}
		switch s.buf[s.r+1] {
		case '/':
			return tokEnd, s.endTag()
		case '?':
			if err := s.procInst(); err != nil {
				return 0, err
			}
		case '!':
			if err := s.declaration(); err != nil {
				return 0, err
			}
		default:
			return tokStart, s.startTag()
		}
	}
}

// skip passes over the rest of the element whose start tag was just read.
func (s *xmlScanner) skip() error {
	if s.empty {
		return nil
	}
	for depth := 1; depth > 0; {
		t, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case t == tokEnd:
			depth--
		case !s.empty:
			depth++
		}
	}
	return nil
}

// content returns the text of the element whose start tag was just read, and
// consumes the element. It must hold no element. The slice is valid until the
// next call of content.
func (s *xmlScanner) content() ([]byte, error) {
	s.text = s.text[:0]
	if s.empty {
		return s.text, nil
	}
	s.wantText, s.lastCR = true, false
	t, err := s.next()
	s.wantText = false
	if err != nil {
		return nil, err
	}
	if t != tokEnd {
		return nil, s.fail("an element where only text belongs")
	}
	return s.text, nil
}

func (s *xmlScanner) openName() string {
	return string(s.names[s.marks[len(s.marks)-1]:])
}

// keep adds text to what content returns.
func (s *xmlScanner) keep(b []byte, raw bool) error {
	if !s.wantText {
		return nil
	}
	if len(s.text)+len(b) > xmlMaxValue {
		return s.limitAt(s.r, "text too long")
	}
	if raw { // a resolved reference: not subject to line end normalisation
		s.text = append(s.text, b...)
		s.lastCR = false
		return nil
	}
	if !s.lastCR && bytes.IndexByte(b, '\r') < 0 {
		s.text = append(s.text, b...)
		return nil
	}
	for _, c := range b {
		switch {
		case c == '\r':
			s.text = append(s.text, '\n')
		case c == '\n' && s.lastCR:
		default:
			s.text = append(s.text, c)
		}
		s.lastCR = c == '\r'
	}
	return nil
}

// textRun consumes character data up to the next markup, or to what is
// available of it.
func (s *xmlScanner) textRun() error {
	// Indentation is most of the text there is.
	i := s.r
	for i < s.v && (s.buf[i] == ' ' || s.buf[i] == '\n' || s.buf[i] == '\t' || s.buf[i] == '\r') {
		i++
	}
	if i < s.v && s.buf[i] == '<' || i == s.v {
		if err := s.keep(s.buf[s.r:i], false); err != nil {
			return err
		}
		s.r = i
		return nil
	}
	if len(s.marks) == 0 {
		return s.errAt(i, "text outside the root element")
	}
	run := s.buf[s.r:s.v]
	end := bytes.IndexByte(run, '<')
	final := end >= 0
	if final {
		run = run[:end]
	}
	// Up to the first byte that needs a look: a reference, or "]]>".
	n := len(run)
	if k := bytes.IndexByte(run, '&'); k >= 0 {
		n = k
	}
	if k := bytes.IndexByte(run[:n], ']'); k >= 0 {
		if bytes.Contains(run[k:n], []byte("]]>")) {
			return s.errAt(s.r+k, "]]> outside a CDATA section")
		}
		// It may also be cut in two by the end of the window.
		if !final && n == len(run) {
			for n > k && len(run)-n < 2 && run[n-1] == ']' {
				n--
			}
			if n < len(run) {
				return s.cutRun(run, n)
			}
		}
	}
	if err := s.keep(run[:n], false); err != nil {
		return err
	}
	s.r += n
	if n < len(run) {
		return s.textRef()
	}
	return nil
}

// cutRun consumes run[:n] and reads on, so that run[n:], which begins something
// undecided, is seen with what follows it.
func (s *xmlScanner) cutRun(run []byte, n int) error {
	if err := s.keep(run[:n], false); err != nil {
		return err
	}
	s.r += n
	if err := s.more(); err == io.EOF {
		return s.errAt(s.v, "unexpected end of document inside <"+s.openName()+">")
	} else if err != nil {
		return err
	}
	return nil
}

// textRef consumes the reference at s.r.
func (s *xmlScanner) textRef() error {
	for {
		ref := s.buf[s.r:min(s.v, s.r+xmlMaxRef)]
		semi := bytes.IndexByte(ref, ';')
		if semi < 0 {
			if len(ref) == xmlMaxRef || bytes.IndexByte(ref, '<') >= 0 {
				return s.fail("unfinished reference")
			}
			if err := s.need(len(ref) + 1); err != nil {
				return err
			}
			continue
		}
		var b [4]byte
		n := resolveRef(b[:], ref[1:semi])
		if n == 0 {
			return s.fail("unknown entity or bad character reference")
		}
		if err := s.keep(b[:n], true); err != nil {
			return err
		}
		s.r += semi + 1
		return nil
	}
}

// cdata consumes a CDATA section, whose opening was consumed.
func (s *xmlScanner) cdata() error {
	for {
		run := s.buf[s.r:s.v]
		end := bytes.Index(run, []byte("]]>"))
		n := end
		if end < 0 {
			n = max(0, len(run)-2)
		}
		if err := s.keep(run[:n], false); err != nil {
			return err
		}
		s.r += n
		if end >= 0 {
			s.r += 3
			s.inCDATA = false
			return nil
		}
		if err := s.more(); err == io.EOF {
			return s.errAt(s.v, "unfinished CDATA section")
		} else if err != nil {
			return err
		}
	}
}

// find returns the index after the first occurrence of mark at or after
// s.r+from, reading on as needed.
func (s *xmlScanner) find(mark string, from int, what string) (int, error) {
	for {
		if s.v-s.r > from {
			if i := bytes.Index(s.buf[s.r+from:s.v], []byte(mark)); i >= 0 {
				return s.r + from + i + len(mark), nil
			}
			from = max(from, s.v-s.r-len(mark)+1)
		}
		if err := s.more(); err == io.EOF {
			return 0, s.fail("unfinished " + what)
		} else if err != nil {
			return 0, err
		}
	}
}
