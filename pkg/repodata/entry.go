package repodata

import (
	"fmt"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func (pp *primaryParser) entry(k DepKind) error {
	if err := pp.count(); err != nil {
		return err
	}
	d := &pp.d
	*d = rawDep{}
	for i := range pp.s.attrs {
		a := &pp.s.attrs[i]
		switch string(a.local) {
		case "name":
			d.name = a.value
		case "flags":
			f, ok := senseOf(a.value)
			if !ok {
				return pp.s.fail(fmt.Sprintf("unknown flags %.40q in %s", a.value, k))
			}
			d.flags |= f
		case "epoch":
			var err error
			if d.epoch, err = pp.epoch(a.value); err != nil {
				return err
			}
		case "ver":
			d.ver = a.value
		case "rel":
			d.rel = a.value
		case "pre":
			if string(a.value) == "1" {
				d.flags |= rpmver.PreReq
			}
		}
	}
	if len(d.name) == 0 {
		return pp.s.fail("an entry of " + k.String() + " without a name")
	}
	return pp.sink.dep(k, d)
}

func senseOf(b []byte) (rpmver.Sense, bool) {
	switch string(b) {
	case "EQ":
		return rpmver.Equal, true
	case "GE":
		return rpmver.Greater | rpmver.Equal, true
	case "LE":
		return rpmver.Less | rpmver.Equal, true
	case "GT":
		return rpmver.Greater, true
	case "LT":
		return rpmver.Less, true
	}
	return 0, len(b) == 0
}

// plainEntry reads an <entry .../> into d if it is the next thing, is whole in
// the window, and is written with nothing that takes a second look: one blank
// between attributes, double quotes, no references, no attribute that is
// unknown or given twice. Otherwise it returns false and has changed nothing
// but d. It is there for speed alone: two thirds of primary.xml are such
// entries.
func (s *xmlScanner) plainEntry(d *rawDep) bool {
	if s.inCDATA {
		return false
	}
	b := s.buf[s.r:s.v]
	i := 0
	for i < len(b) && xmlClass[b[i]]&clsSpace != 0 {
		i++
	}
	if i == len(b) || b[i] != '<' {
		return false
	}
	i++
	switch {
	case len(b)-i >= 9 && string(b[i:i+9]) == "rpm:entry":
		i += 9
	case len(b)-i >= 5 && string(b[i:i+5]) == "entry":
		i += 5
	default:
		return false
	}
	*d = rawDep{}
	start := i
	const name, flags, epoch, ver, rel, pre = 1, 2, 4, 8, 16, 32
	seen := 0
	for {
		if len(b)-i < 8 {
			return false
		}
		if b[i] == '/' {
			if b[i+1] != '>' || len(d.name) == 0 {
				return false
			}
			d.raw = b[start:i]
			s.r += i + 2
			return true
		}
		if b[i] != ' ' {
			return false
		}
		bit := 0
		switch b[i+1] {
		case 'n':
			if string(b[i+1:i+7]) == `name="` {
				bit, i = name, i+7
			}
		case 'f':
			if string(b[i+1:i+8]) == `flags="` {
				bit, i = flags, i+8
			}
		case 'e':
			if string(b[i+1:i+8]) == `epoch="` {
				bit, i = epoch, i+8
			}
		case 'v':
			if string(b[i+1:i+6]) == `ver="` {
				bit, i = ver, i+6
			}
		case 'r':
			if string(b[i+1:i+6]) == `rel="` {
				bit, i = rel, i+6
			}
		case 'p':
			if string(b[i+1:i+6]) == `pre="` {
				bit, i = pre, i+6
			}
		}
		if bit == 0 || seen&bit != 0 {
			return false
		}
		seen |= bit
		from := i
		for i < len(b) && xmlClass[b[i]]&clsValueStop == 0 {
			i++
		}
		if i == len(b) || b[i] != '"' || i-from > xmlMaxValue {
			return false
		}
		v := b[from:i]
		i++
		switch bit {
		case name:
			d.name = v
		case flags:
			f, ok := senseOf(v)
			if !ok {
				return false
			}
			d.flags |= f
		case epoch:
			if len(v) > 9 {
				return false
			}
			for _, c := range v {
				if c < '0' || c > '9' {
					return false
				}
				d.epoch = d.epoch*10 + uint32(c-'0')
			}
		case ver:
			d.ver = v
		case rel:
			d.rel = v
		case pre:
			if len(v) == 1 && v[0] == '1' {
				d.flags |= rpmver.PreReq
			}
		}
	}
}
