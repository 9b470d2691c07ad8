// Package jsonscan walks through JSON text (RFC 8259) without building values:
// the caller takes the few members it wants and everything else is passed over.
// What is passed over is checked all the same, so that text that is cut off or
// damaged anywhere is an error. It accepts what encoding/json accepts, bytes in
// strings that are not UTF-8 included, and takes a nesting of 200 at most.
package jsonscan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep lists and objects may be nested.
const MaxDepth = 200

// The errors. Those returned wrap one of them and name the byte.
var (
	ErrSyntax    = errors.New("not JSON")
	ErrTruncated = errors.New("the text ends in the middle")
	ErrType      = errors.New("unexpected type")
	ErrDepth     = fmt.Errorf("nested deeper than %d", MaxDepth)
)

// Scanner walks through one text, which must not change meanwhile. It is for
// one goroutine.
type Scanner struct {
	data    []byte
	pos     int
	depth   int
	scratch []byte
}

// New returns a Scanner before the first value of data.
func New(data []byte) *Scanner { return &Scanner{data: data} }

// Reset starts anew with other text; what was allocated is used again.
func (s *Scanner) Reset(data []byte) { s.data, s.pos, s.depth = data, 0, 0 }

// Pos returns how many bytes were read.
func (s *Scanner) Pos() int { return s.pos }

// Peek returns the first byte of the next value: one of { [ " t f n - or a
// digit where the text is right, 0 at the end of the text.
func (s *Scanner) Peek() byte {
	s.space()
	if s.pos >= len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

// End tells whether nothing follows but white space.
func (s *Scanner) End() bool {
	s.space()
	return s.pos == len(s.data)
}

func (s *Scanner) space() {
	d := s.data
	i := s.pos
	for i < len(d) {
		switch d[i] {
		case ' ':
			// indentation comes in runs
			for i+8 <= len(d) && binary.LittleEndian.Uint64(d[i:]) == 0x2020202020202020 {
				i += 8
			}
			for i < len(d) && d[i] == ' ' {
				i++
			}
		case '\n', '\t', '\r':
			i++
		default:
			s.pos = i
			return
		}
	}
	s.pos = i
}

func (s *Scanner) fail(err error) error {
	if s.pos >= len(s.data) && !errors.Is(err, ErrDepth) {
		err = ErrTruncated
	}
	return fmt.Errorf("byte %d: %w", s.pos, err)
}

// expected is the error for a value of another type than was asked for.
func (s *Scanner) expected(what string) error {
	if c := s.Peek(); c != 0 {
		return fmt.Errorf("byte %d: %w: not %s", s.pos, ErrType, what)
	}
	return s.fail(ErrTruncated)
}

// Object reads an object and calls member with every key, before its value;
// the key is valid until the next call of any method. A value that member
// leaves unread is passed over.
func (s *Scanner) Object(member func(key []byte) error) error {
	if s.Peek() != '{' {
		return s.expected("an object")
	}
	if s.depth++; s.depth > MaxDepth {
		return s.fail(ErrDepth)
	}
	s.pos++
	if s.Peek() == '}' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		if s.Peek() != '"' {
			return s.fail(ErrSyntax)
		}
		key, err := s.String()
		if err != nil {
			return err
		}
		if s.Peek() != ':' {
			return s.fail(ErrSyntax)
		}
		s.pos++
		s.space()
		at := s.pos
		if member != nil {
			if err := member(key); err != nil {
				return err
			}
		}
		if s.pos == at {
			if err := s.Skip(); err != nil {
				return err
			}
		}
		switch s.Peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			s.depth--
			return nil
		default:
			return s.fail(ErrSyntax)
		}
	}
}

// Array reads a list and calls element before every element, which is passed
// over if element leaves it unread.
func (s *Scanner) Array(element func() error) error {
	if s.Peek() != '[' {
		return s.expected("a list")
	}
	if s.depth++; s.depth > MaxDepth {
		return s.fail(ErrDepth)
	}
	s.pos++
	if s.Peek() == ']' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		s.space()
		at := s.pos
		if element != nil {
			if err := element(); err != nil {
				return err
			}
		}
		if s.pos == at {
			if err := s.Skip(); err != nil {
				return err
			}
		}
		switch s.Peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			s.depth--
			return nil
		default:
			return s.fail(ErrSyntax)
		}
	}
}

// Skip passes over the next value.
func (s *Scanner) Skip() error {
	switch c := s.Peek(); {
	case c == '"':
		_, _, err := s.raw()
		return err
	case c == '{':
		return s.Object(nil)
	case c == '[':
		return s.Array(nil)
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		_, err := s.number()
		return err
	}
	return s.fail(ErrSyntax)
}

// Null passes over a null and tells whether there was one.
func (s *Scanner) Null() bool {
	if s.Peek() != 'n' {
		return false
	}
	at := s.pos
	if s.literal("null") != nil {
		s.pos = at // what reads next says what is wrong
		return false
	}
	return true
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	switch s.Peek() {
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	}
	return false, s.expected("true or false")
}

// Int reads a whole number.
func (s *Scanner) Int() (int64, error) {
	if c := s.Peek(); c != '-' && (c < '0' || c > '9') {
		return 0, s.expected("a number")
	}
	at := s.pos
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("byte %d: %w: not a whole number", at, ErrType)
	}
	return n, nil
}

func (s *Scanner) literal(want string) error {
	for i := range len(want) {
		if s.pos >= len(s.data) || s.data[s.pos] != want[i] {
			return s.fail(ErrSyntax)
		}
		s.pos++
	}
	return nil
}

func (s *Scanner) number() ([]byte, error) {
	d, start := s.data, s.pos
	digits := func() bool {
		at := s.pos
		for s.pos < len(d) && d[s.pos] >= '0' && d[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > at
	}
	if d[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(d) && d[s.pos] == '0' {
		s.pos++
	} else if !digits() {
		return nil, s.fail(ErrSyntax)
	}
	if s.pos < len(d) && d[s.pos] == '.' {
		if s.pos++; !digits() {
			return nil, s.fail(ErrSyntax)
		}
	}
	if s.pos < len(d) && (d[s.pos] == 'e' || d[s.pos] == 'E') {
		s.pos++
		if s.pos < len(d) && (d[s.pos] == '+' || d[s.pos] == '-') {
			s.pos++
		}
		if !digits() {
			return nil, s.fail(ErrSyntax)
		}
	}
	return d[start:s.pos], nil
}

// String reads a string. The result is valid until the next call of any
// method. Bytes that are not UTF-8 come as they are, halves of surrogate pairs
// as U+FFFD.
func (s *Scanner) String() ([]byte, error) {
	if s.Peek() != '"' {
		return nil, s.expected("a string")
	}
	text, escaped, err := s.raw()
	if err != nil || !escaped {
		return text, err
	}
	s.scratch = unescape(s.scratch[:0], text)
	return s.scratch, nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks the bytes of a word that are a quote, a backslash or below a
// space; marks above the first may be wrong.
func special(w uint64) uint64 {
	q, b := w^(ones*'"'), w^(ones*'\\')
	return ((q-ones)&^q | (b-ones)&^b | (w-ones*' ')&^w) & highs
}

// raw reads a string and returns what is between the quotes. Escapes are
// checked.
func (s *Scanner) raw() (text []byte, escaped bool, err error) {
	d := s.data
	i := s.pos + 1
	start := i
	for {
		for i+8 <= len(d) {
			if m := special(binary.LittleEndian.Uint64(d[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(d) {
			s.pos = len(d)
			return nil, false, s.fail(ErrTruncated)
		}
		switch c := d[i]; {
		case c == '"':
			s.pos = i + 1
			return d[start:i], escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(d[i:])
			if n == 0 {
				s.pos = i
				if len(d)-i < 6 {
					s.pos = len(d) // perhaps only cut off
				}
				return nil, false, s.fail(ErrSyntax)
			}
			i += n
		case c < ' ':
			s.pos = i
			return nil, false, s.fail(ErrSyntax)
		default:
			i++
		}
	}
}

// escapeLen returns the length of the escape that d begins with, 0 if it is
// none.
func escapeLen(d []byte) int {
	if len(d) < 2 {
		return 0
	}
	switch d[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(d) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 returns the value of the \uXXXX that d begins with, or -1.
func hex4(d []byte) rune {
	if len(d) < 6 || d[0] != '\\' || d[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range d[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends text, whose escapes were checked, to out.
func unescape(out, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			out = append(out, text[i])
			i++
			continue
		}
		if text[i+1] != 'u' {
			out = append(out, escapes[text[i+1]])
			i += 2
			continue
		}
		r := hex4(text[i:])
		i += 6
		if utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(r, hex4(text[i:])); pair != utf8.RuneError {
				r = pair
				i += 6
			} else {
				r = utf8.RuneError
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
