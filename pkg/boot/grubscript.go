package boot

import (
	"fmt"
	"strings"
)

// grubScript checks the structure of a GRUB script: quotes that end, braces and
// if, for, while, until, function that are closed by what closes them. It is no
// parser: what it finds GRUB refuses too, but not the other way round. The
// rules are those of GRUB's grub-core/script/yylex.l and parser.y: ' quotes all,
// inside " a backslash escapes, # begins a comment where a word could begin, and
// reserved words count where a command could begin.
func grubScript(text string) string {
	type block struct {
		word string
		line int
		body bool // its then or do was there
	}
	var open []block
	line := 1
	command := true // a command could begin here
	top := func() string {
		if len(open) == 0 {
			return ""
		}
		return open[len(open)-1].word
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\n':
			line++
			command = true
			i++
			continue
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == ';':
			command = true
			i++
			continue
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
			continue
		case c == '{':
			open = append(open, block{"{", line, true})
			command = true
			i++
			continue
		case c == '}':
			if top() != "{" {
				return fmt.Sprintf("line %d: a } too many", line)
			}
			open = open[:len(open)-1]
			command = false
			i++
			continue
		}
		start, first := i, line
		plain := true // without quotes and variables, as a reserved word has to be
	word:
		for i < len(text) {
			switch c := text[i]; c {
			case ' ', '\t', '\r', '\n', ';', '{', '}':
				break word
			case '\\':
				plain = false
				if i+1 < len(text) && text[i+1] == '\n' {
					line++
				}
				i = min(i+2, len(text))
			case '\'', '"':
				plain = false
				end := i + 1
				for end < len(text) && text[end] != c {
					if text[end] == '\\' && c == '"' {
						if end+1 < len(text) && text[end+1] == '\n' {
							line++
						}
						end++
					} else if text[end] == '\n' {
						line++
					}
					end++
				}
				if end >= len(text) {
					return fmt.Sprintf("line %d: a quote that does not end", first)
				}
				i = end + 1
			case '$':
				plain = false
				i++
				if i < len(text) && text[i] == '{' {
					n := strings.IndexByte(text[i:], '}')
					if n < 0 || strings.Contains(text[i:i+n], "\n") {
						return fmt.Sprintf("line %d: ${ without }", line)
					}
					i += n + 1
				}
			default:
				i++
			}
		}
		if !command || !plain {
			command = false
			continue
		}
		w := text[start:i]
		command = false
		switch w {
		case "if", "while", "until":
			open = append(open, block{w, first, false})
			command = true
		case "for":
			open = append(open, block{w, first, false})
		case "then", "elif", "else":
			if top() != "if" {
				return fmt.Sprintf("line %d: %s without if", first, w)
			}
			b := &open[len(open)-1]
			if b.body == (w == "then") {
				return fmt.Sprintf("line %d: %s where none belongs", first, w)
			}
			b.body = w != "elif"
			command = true
		case "do":
			if t := top(); t != "for" && t != "while" && t != "until" {
				return fmt.Sprintf("line %d: do without a loop", first)
			}
			open[len(open)-1].body = true
			command = true
		case "fi":
			if top() != "if" {
				return fmt.Sprintf("line %d: fi without if", first)
			}
			if b := open[len(open)-1]; !b.body {
				return fmt.Sprintf("the if of line %d has no then", b.line)
			}
			open = open[:len(open)-1]
		case "done":
			if t := top(); t != "for" && t != "while" && t != "until" {
				return fmt.Sprintf("line %d: done without a loop", first)
			}
			if b := open[len(open)-1]; !b.body {
				return fmt.Sprintf("the %s of line %d has no do", b.word, b.line)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		b := open[len(open)-1]
		return fmt.Sprintf("the %s of line %d is not closed", b.word, b.line)
	}
	return ""
}
