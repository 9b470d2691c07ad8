package jsonscan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/jsonscan"
)

// value builds what encoding/json would, to compare with.
func value(s *jsonscan.Scanner) (any, error) {
	switch s.Peek() {
	case '{':
		out := map[string]any{}
		return out, s.Object(func(key []byte) error {
			k := string([]rune(string(key))) // as encoding/json: U+FFFD for what is not UTF-8
			v, err := value(s)
			out[k] = v
			return err
		})
	case '[':
		out := []any{}
		err := s.Array(func() error {
			v, err := value(s)
			out = append(out, v)
			return err
		})
		return out, err
	case '"':
		b, err := s.String()
		return string([]rune(string(b))), err
	case 't', 'f':
		return s.Bool()
	}
	if err := s.Skip(); err != nil {
		return nil, err
	}
	return nil, nil
}

// numbersAway makes encoding/json's values comparable: of numbers the scanner
// only says that they are there.
func numbersAway(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = numbersAway(x[k])
		}
	case []any:
		for i := range x {
			x[i] = numbersAway(x[i])
		}
	case json.Number:
		return nil
	}
	return v
}

func compare(t *testing.T, text []byte) {
	t.Helper()
	s := jsonscan.New(text)
	got, err := value(s)
	if err == nil && !s.End() {
		err = errors.New("more text")
	}
	skip := jsonscan.New(text)
	skipErr := skip.Skip()
	if skipErr == nil && !skip.End() {
		skipErr = errors.New("more text")
	}
	if (err == nil) != (skipErr == nil) {
		t.Fatalf("%q: read: %v, passed over: %v", text, err, skipErr)
	}
	if errors.Is(err, jsonscan.ErrDepth) {
		return
	}
	if valid := json.Valid(text); valid != (err == nil) {
		t.Fatalf("%q: encoding/json says %v, the scanner %v", text, valid, err)
	}
	if err != nil {
		return
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if want = numbersAway(want); !reflect.DeepEqual(want, got) { // cmp.Diff takes for ever on what is nested deeply
		t.Fatalf("%q: got %v, want %v", text, got, want)
	}
}

var texts = []string{
	`{}`, `[]`, `null`, `true`, `""`, `0`, `-0.5e+10`, ` { "a" : [ 1 , 2 , {"b":"c"} ] , "d" : null } `, `{"a":1,"a":2}`,
	`"\u00e4\ud83d\ude00\ud83d\u0041\\\"\/\b\f\n\r\t"`, "\"\xff\xc3\"", "\"a\tb\"", `"\x"`, `"\u12"`, `01`, `1.`, `-`, `1e`, `tru`, `[1,]`, `{"a"}`, `{"a":}`, `{,}`, `[}`, `{"a":1`, `"abc`, `"abc\`,
	`1 2`, ``, ` `, "\ufeff{}", "{\"a long key that takes more than eight bytes\":\"and a long value without anything special in it\"}",
	strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 100000), strings.Repeat(`{"a":`, 100000),
}

func TestAsEncodingJSON(t *testing.T) {
	for _, x := range texts {
		compare(t, []byte(x))
	}
	// every place to be cut off at
	whole := `{"a":[1,-2.5e3,"x\u0041\n"],"b":{"c":true,"d":null,"e":false}}`
	for i := range len(whole) {
		compare(t, []byte(whole[:i]))
		if err := jsonscan.New([]byte(whole[:i])).Skip(); !errors.Is(err, jsonscan.ErrTruncated) {
			t.Errorf("%q: %v", whole[:i], err)
		}
	}
	// each special byte at each place of a word
	for c := range 256 {
		for i := range 17 {
			b := []byte(strings.Repeat("x", 17))
			b[i] = byte(c)
			compare(t, []byte(`"`+string(b)+`"`))
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, x := range texts {
		if len(x) < 1000 {
			f.Add([]byte(x))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) { compare(t, text) })
}

func TestTypes(t *testing.T) {
	s := jsonscan.New([]byte(`{"n": 7, "s": "x", "z": null, "l": [1, 2], "big": 1.5}`))
	var n int64
	var seen []string
	err := s.Object(func(key []byte) (err error) {
		k := string(key)
		seen = append(seen, k)
		switch k {
		case "n":
			n, err = s.Int()
		case "z":
			if !s.Null() {
				t.Error("not null")
			}
		case "s":
			if _, e := s.Int(); !errors.Is(e, jsonscan.ErrType) {
				t.Errorf("a string as a number: %v", e)
			}
		case "big":
			if _, e := s.Int(); !errors.Is(e, jsonscan.ErrType) {
				t.Errorf("a fraction as a whole number: %v", e)
			}
		case "l":
			if e := s.Object(nil); !errors.Is(e, jsonscan.ErrType) {
				t.Errorf("a list as an object: %v", e)
			}
		}
		return err
	})
	if err != nil || n != 7 || fmt.Sprint(seen) != "[n s z l big]" {
		t.Errorf("%v, %d, %v", err, n, seen)
	}
	if err := jsonscan.New([]byte(strings.Repeat("[", 1000))).Skip(); !errors.Is(err, jsonscan.ErrDepth) {
		t.Errorf("depth: %v", err)
	}
}

func BenchmarkSkip(b *testing.B) {
	one := `    {
      "name": "bash",
      "nevra": "bash-4.4.20-1.el8_4.x86_64",
      "arch": "x86_64",
      "verdict": "newer",
      "reason": "baseos has 4.4.20-5.el8",
      "target": {
        "nevra": "bash-4.4.20-5.el8.x86_64",
        "repo": "baseos",
        "repo_enabled": true,
        "default_enabled": true,
        "size": 1612345,
        "installed_size": 6812345
      },
      "install_time": 1600000000
    },
`
	text := []byte("[" + strings.Repeat(one, 1000) + "0]")
	b.SetBytes(int64(len(text)))
	s := jsonscan.New(nil)
	for b.Loop() {
		s.Reset(text)
		if err := s.Skip(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestHalfNull does not take the beginning of a null for a null.
func TestHalfNull(t *testing.T) {
	s := jsonscan.New([]byte(`n"text"`))
	if s.Null() {
		t.Error("a null was read")
	}
	if b, err := s.String(); err == nil {
		t.Errorf("read %q", b)
	}
}
