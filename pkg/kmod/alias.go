package kmod

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"
)

// Alias is one line of modules.alias or one alias of a module: a glob and the
// module that claims what it matches.
type Alias struct{ Pattern, Module string }

// maxPattern caps a pattern and a name to match: the longest modalias known (an
// input device's) has about 1,500 bytes.
const maxPattern = 8192

// AliasTable finds the modules whose aliases match a name. It is safe for
// concurrent use once filled.
type AliasTable struct {
	// A pattern is filed under its text before the first wildcard, so that a name
	// meets only the patterns whose literal start it shares.
	byPrefix map[string][]Alias
	lengths  []int // the lengths that occur in byPrefix, ascending
	n        int
}

// NewAliasTable files aliases; both '-' and '_' of names mean the same.
func NewAliasTable(aliases []Alias) *AliasTable {
	t := &AliasTable{byPrefix: make(map[string][]Alias, len(aliases))}
	have := map[int]bool{}
	for _, a := range aliases {
		a.Pattern, a.Module = normalizeAlias(a.Pattern), NormalizeName(a.Module)
		prefix := a.Pattern
		if i := strings.IndexAny(prefix, `*?[\`); i >= 0 {
			prefix = prefix[:i]
		}
		t.byPrefix[prefix] = append(t.byPrefix[prefix], a)
		have[len(prefix)] = true
		t.n++
	}
	for l := range have {
		t.lengths = append(t.lengths, l)
	}
	sort.Ints(t.lengths)
	return t
}

// Len is the number of aliases.
func (t *AliasTable) Len() int { return t.n }

// Match returns the normalised names of the modules that claim name (a device's
// modalias, "fs-xfs", "net-pf-10"...), sorted, each once.
func (t *AliasTable) Match(name string) []string {
	var out []string
	t.each(name, func(a Alias) { out = append(out, a.Module) })
	sort.Strings(out)
	return compact(out)
}

// MatchAliases returns the aliases that match name, sorted by module, then
// pattern.
func (t *AliasTable) MatchAliases(name string) []Alias {
	var out []Alias
	t.each(name, func(a Alias) { out = append(out, a) })
	sort.Slice(out, func(i, j int) bool {
		if out[i].Module != out[j].Module {
			return out[i].Module < out[j].Module
		}
		return out[i].Pattern < out[j].Pattern
	})
	return out
}

func (t *AliasTable) each(name string, fn func(Alias)) {
	if t == nil || len(name) > maxPattern {
		return
	}
	name = normalizeAlias(name)
	for _, l := range t.lengths {
		if l > len(name) {
			return
		}
		for _, a := range t.byPrefix[name[:l]] {
			if glob(a.Pattern[l:], name[l:]) {
				fn(a)
			}
		}
	}
}

func compact(sorted []string) []string {
	out := sorted[:0]
	for i, s := range sorted {
		if i == 0 || s != sorted[i-1] {
			out = append(out, s)
		}
	}
	return out
}

// MatchAlias reports whether a modalias glob matches a name, as modprobe does
// it: '-' and '_' are equal outside of brackets, then fnmatch(3) without flags.
func MatchAlias(pattern, name string) bool {
	if len(pattern) > maxPattern || len(name) > maxPattern {
		return false
	}
	return glob(normalizeAlias(pattern), normalizeAlias(name))
}

// glob is fnmatch(3) with flags 0: '*' and '?' match '/' and leading dots too,
// [!a-z] and [^a-z] are negations, '\' quotes, a '[' without ']' is itself. Only
// the last '*' is ever tried again, so the time is at most len(p) * len(s).
func glob(p, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) {
			if p[i] == '*' {
				star, mark = i, j
				i++
				continue
			}
			if n, ok := matchOne(p[i:], s[j]); ok {
				i += n
				j++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// matchOne matches one byte against the pattern element at the start of p and
// returns the element's length.
func matchOne(p string, c byte) (n int, ok bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '\\':
		if len(p) > 1 {
			return 2, p[1] == c
		}
		return 1, false
	case '[':
		if n, ok, closed := matchBracket(p, c); closed {
			return n, ok
		}
	}
	return 1, p[0] == c
}

// bracketClasses are the named classes of POSIX, C locale.
var bracketClasses = map[string]func(byte) bool{
	"alpha":  func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' },
	"digit":  func(c byte) bool { return c >= '0' && c <= '9' },
	"xdigit": func(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' },
	"alnum":  func(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' },
	"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
	"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
	"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !bracketAlnum(c) },
	"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
	"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
}

func bracketAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func matchBracket(p string, c byte) (n int, ok, closed bool) {
	i := 1
	negate := false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		negate = true
		i++
	}
	found := false
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1, found != negate, true
		}
		if strings.HasPrefix(p[i:], "[:") {
			if end := strings.Index(p[i+2:], ":]"); end >= 0 {
				if in := bracketClasses[p[i+2:i+2+end]]; in != nil {
					found = found || in(c)
					i += end + 4
					continue
				}
			}
		}
		lo, w := bracketChar(p[i:])
		i += w
		hi := lo
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			hi, w = bracketChar(p[i+1:])
			i += 1 + w
		}
		found = found || lo <= c && c <= hi
	}
	return 0, false, false
}

func bracketChar(p string) (c byte, width int) {
	if p[0] == '\\' && len(p) > 1 {
		return p[1], 2
	}
	return p[0], 1
}

// ParseAliases reads modules.alias or modules.symbols: lines "alias PATTERN
// MODULE", '#' starts a comment (depmod(8)). Errors wrap ErrCorrupt or
// ErrTooLarge.
func ParseAliases(r io.Reader) ([]Alias, error) {
	const maxAliases = 1_000_000
	var out []Alias
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 2*maxPattern)
	for line := 1; sc.Scan(); line++ {
		words := strings.Fields(sc.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) < 3 || words[0] != "alias" {
			return nil, fmt.Errorf("line %d: %w", line, corrupt("%q is no alias", clip(sc.Text())))
		}
		// An alias may hold spaces (drivers of ACPI and DMI devices): the last word
		// is the module.
		pattern := strings.Join(words[1:len(words)-1], " ")
		if len(pattern) > maxPattern {
			return nil, fmt.Errorf("line %d: %w", line, tooLarge("alias of %d bytes", len(pattern)))
		}
		if len(out) == maxAliases {
			return nil, tooLarge("more than %d aliases", maxAliases)
		}
		out = append(out, Alias{pattern, NormalizeName(words[len(words)-1])})
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, nil
}
