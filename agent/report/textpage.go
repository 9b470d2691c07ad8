package report

import (
	"fmt"
	"io"
)

// TextPage is text for people that other rooms write: wrapped, coloured where
// that is wanted, and safe for a terminal.
type TextPage struct{ p *page }

// NewTextPage returns an empty page.
func NewTextPage(opt TextOptions) *TextPage { return &TextPage{newPage(opt)} }

// Line writes one line as it is, control characters aside.
func (t *TextPage) Line(format string, args ...any) { t.p.line(Safe(fmt.Sprintf(format, args...))) }

// Heading writes an empty line and a heading.
func (t *TextPage) Heading(format string, args ...any) {
	t.p.line("")
	t.p.line(t.p.color(bold, Safe(fmt.Sprintf(format, args...))))
}

// Strong writes a line that is seen first.
func (t *TextPage) Strong(format string, args ...any) {
	t.p.line(t.p.color(bold, Safe(fmt.Sprintf(format, args...))))
}

// Wrap writes text in lines of the page's width, after lead and indented by as
// many columns.
func (t *TextPage) Wrap(lead, format string, args ...any) {
	lead = Safe(lead)
	t.p.wrap(lead, len([]rune(lead)), fmt.Sprintf(format, args...))
}

// WriteTo writes the page.
func (t *TextPage) WriteTo(w io.Writer) (int64, error) { return t.p.WriteTo(w) }
