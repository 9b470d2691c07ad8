package boot

import (
	"bytes"
	"fmt"
	"strings"
)

// SetGrubEnv returns an environment block with the given variables set; nil
// data makes a new one. All else in it stays as it is, the order included, as
// grub2-editenv leaves it (grub's lib/envblk.c). A variable whose value is ""
// is removed. A block that an editor has made shorter or longer gets its size back.
func SetGrubEnv(data []byte, names []string, values map[string]string) ([]byte, error) {
	if data == nil {
		data = []byte(grubEnvMagic + strings.Repeat("#", grubEnvSize-len(grubEnvMagic)))
	}
	if _, err := ParseGrubEnv(data); err != nil {
		return nil, err
	}
	size := max(grubEnvSize, len(bytes.TrimRight(data, "\n")))
	text := strings.TrimPrefix(string(data), grubEnvMagic)
	// What fills the block is one line of #, with or without an end; lines before it may be comments.
	if i := strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n'); strings.Trim(text[i+1:], "#\n") == "" || !strings.HasSuffix(text, "\n") {
		text = text[:i+1]
	}
	var b strings.Builder
	b.WriteString(grubEnvMagic)
	done := map[string]bool{}
	for line := range envLines(text) {
		key, _, ok := strings.Cut(line, "=")
		value, mine := values[key]
		switch {
		case !ok || strings.HasPrefix(line, "#") || !mine:
			b.WriteString(line)
		case !done[key] && value != "":
			done[key] = true
			b.WriteString(key + "=" + escapeEnv(value) + "\n")
		}
	}
	for _, key := range names {
		if key == "" || strings.ContainsAny(key, "=\n\\#") {
			return nil, fmt.Errorf("cannot set %q in the grub environment block: %w", key, ErrFormat)
		}
		if !done[key] && values[key] != "" {
			b.WriteString(key + "=" + escapeEnv(values[key]) + "\n")
		}
	}
	if b.Len() > size {
		return nil, fmt.Errorf("cannot set %s: %w: the grub environment block holds %d bytes, %d are needed", strings.Join(names, ", "), ErrFormat, size, b.Len())
	}
	b.WriteString(strings.Repeat("#", size-b.Len()))
	return []byte(b.String()), nil
}

// envLines yields the lines of a block, with their ends; a newline after a
// backslash belongs to a value.
func envLines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		start := 0
		for i := 0; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '\n':
				if !yield(text[start : i+1]) {
					return
				}
				start = i + 1
			}
		}
		if start < len(text) {
			yield(text[start:])
		}
	}
}

func escapeEnv(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", "\\\n").Replace(s)
}
