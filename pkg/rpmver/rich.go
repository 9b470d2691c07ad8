package rpmver

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Caps on rich dependencies. The longest seen in Fedora and EL repositories is
// a few hundred bytes with a depth of four.
const (
	maxRichLen   = 64 << 10
	maxRichDepth = 32
)

// Op is the operator of a node of a rich dependency.
type Op uint8

// The operators, in the spelling of a spec file. None is a plain dependency.
const (
	None Op = iota
	And
	Or
	If
	Unless
	With
	Without
)

var opNames = [...]string{"", "and", "or", "if", "unless", "with", "without"}

// String returns the operator as in a spec file; "" for None.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Rich is a parsed rich (boolean) dependency: a tree with plain dependencies
// as leaves. The language is that of rpm's "boolean dependencies" manual page.
// It is immutable and safe for concurrent use.
type Rich struct {
	Op   Op
	Dep  Dep     // the leaf, for None
	Args []*Rich // two or more for And, Or, With; two, or three with an "else", for If and Unless; two for Without
}

// ParseRich reads one rich dependency, parentheses included. What rpmbuild
// refuses whatever the tag is refused here too: mixed operators on one level,
// chains of if, unless and without, and operators other than with, without and
// or below a with or without. Length and nesting are capped. Errors wrap
// ErrSyntax and name the byte offset.
func ParseRich(s string) (*Rich, error) {
	if len(s) > maxRichLen {
		return nil, fmt.Errorf("cannot parse rich dependency %.40q...: longer than %d bytes: %w", s, maxRichLen, ErrSyntax)
	}
	p := richParser{s: s}
	r, err := p.group(0, false)
	if err == nil {
		if p.space(); p.i != len(s) {
			err = p.errorf("text after the closing parenthesis")
		}
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

type richParser struct {
	s string
	i int
}

func (p *richParser) errorf(format string, args ...any) error {
	shown := p.s
	if len(shown) > 200 {
		shown = shown[:200] + "..."
	}
	return fmt.Errorf("cannot parse rich dependency %q: %s at byte %d: %w", shown, fmt.Sprintf(format, args...), p.i, ErrSyntax)
}

func richSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' }

func (p *richParser) space() {
	for p.i < len(p.s) && richSpace(p.s[p.i]) {
		p.i++
	}
}

// word reads up to white space, a comma or the parenthesis that closes the
// group: a name may hold balanced parentheses, as "config(foo)" does.
func (p *richParser) word() string {
	start, open := p.i, 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case richSpace(c):
			return p.s[start:p.i]
		case c == '(':
			open++
		case c == ')':
			if open == 0 {
				return p.s[start:p.i]
			}
			open--
		}
	}
	return p.s[start:p.i]
}

// group reads "( ... )". set is true below a with or without.
func (p *richParser) group(depth int, set bool) (*Rich, error) {
	if depth >= maxRichDepth {
		return nil, p.errorf("nested deeper than %d", maxRichDepth)
	}
	if p.space(); p.i >= len(p.s) || p.s[p.i] != '(' {
		return nil, p.errorf("no opening parenthesis")
	}
	p.i++
	node := &Rich{}
	hasElse := false
	for {
		// What an operand may hold depends on the operator after it too, so
		// the first one is judged once that is known.
		arg, err := p.operand(depth, set || node.Op == With || node.Op == Without)
		if err != nil {
			return nil, err
		}
		node.Args = append(node.Args, arg)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ')' {
			p.i++
			if len(node.Args) == 1 {
				return arg, nil // "(foo)" is foo
			}
			return node, nil
		}
		at := p.i
		op, err := p.operator()
		if err != nil {
			return nil, err
		}
		switch {
		case op == None: // "else"
			if node.Op != If && node.Op != Unless || hasElse {
				p.i = at
				return nil, p.errorf("else without if or unless")
			}
			hasElse = true
		case node.Op == None:
			node.Op = op
			if op == With || op == Without {
				if err := p.checkSet(arg); err != nil {
					return nil, err
				}
			} else if set && op != Or {
				p.i = at
				return nil, p.errorf("%s below with or without", op)
			}
		case op != node.Op:
			p.i = at
			return nil, p.errorf("%s after %s without parentheses", op, node.Op)
		case op != And && op != Or && op != With:
			p.i = at
			return nil, p.errorf("more than one %s", op)
		}
	}
}

// checkSet refuses operators that do not name a set of packages.
func (p *richParser) checkSet(r *Rich) error {
	if r.Op == And || r.Op == If || r.Op == Unless {
		return p.errorf("%s below with or without", r.Op)
	}
	for _, a := range r.Args {
		if err := p.checkSet(a); err != nil {
			return err
		}
	}
	return nil
}

// operator reads an operator word; None stands for "else".
func (p *richParser) operator() (Op, error) {
	at := p.i
	w := p.word()
	switch w {
	case "":
		return None, p.errorf("no operator or closing parenthesis")
	case "else":
		return None, nil
	}
	if i := slices.Index(opNames[1:], w); i >= 0 {
		return Op(i + 1), nil
	}
	p.i = at
	return None, p.errorf("unknown operator %q", w)
}

func (p *richParser) operand(depth int, set bool) (*Rich, error) {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '(' {
		return p.group(depth+1, set)
	}
	name := p.word()
	if name == "" {
		return nil, p.errorf("no dependency")
	}
	if strings.Count(name, "(") != strings.Count(name, ")") {
		return nil, p.errorf("unbalanced parentheses in %q", name)
	}
	d := Dep{Name: name}
	back := p.i
	p.space()
	sense, ok := ParseSense(p.word())
	if !ok {
		p.i = back
		return &Rich{Dep: d}, nil
	}
	p.space()
	evr, err := ParseEVR(p.word())
	if err == nil && strings.ContainsAny(evr.Version+evr.Release, "()") {
		err = ErrSyntax
	}
	if err != nil {
		return nil, p.errorf("%v", err)
	}
	d.Flags, d.EVR = sense, evr
	return &Rich{Dep: d}, nil
}

// String returns the dependency in the spelling of a spec file, normalised.
func (r *Rich) String() string {
	var b strings.Builder
	r.write(&b)
	if r.Op == None {
		return "(" + b.String() + ")"
	}
	return b.String()
}

func (r *Rich) write(b *strings.Builder) {
	if r.Op == None {
		b.WriteString(r.Dep.String())
		return
	}
	b.WriteByte('(')
	for i, a := range r.Args {
		switch {
		case i == 2 && (r.Op == If || r.Op == Unless):
			b.WriteString(" else ")
		case i > 0:
			b.WriteString(" " + r.Op.String() + " ")
		}
		a.write(b)
	}
	b.WriteByte(')')
}

// Deps yields every plain dependency of the tree, left to right.
func (r *Rich) Deps() iter.Seq[Dep] {
	return func(yield func(Dep) bool) { r.walk(yield) }
}

func (r *Rich) walk(yield func(Dep) bool) bool {
	if r.Op == None {
		return yield(r.Dep)
	}
	for _, a := range r.Args {
		if !a.walk(yield) {
			return false
		}
	}
	return true
}

// Eval reports whether the dependency holds. providers returns numbers, chosen
// by the caller, of the packages that provide d, without repetition and in any
// order; Eval does not change the slice. For a requirement true means met, for
// a conflict true means that the conflict is there.
//
// "A if B else C" is A where B holds and C elsewhere, true without an else;
// "A unless B else C" is C where B holds and A elsewhere, false without an
// else. "A with B" needs one package that provides both, "A without B" one that
// provides A and not B.
func (r *Rich) Eval(providers func(d Dep) []int) bool {
	switch r.Op {
	case None:
		return len(providers(r.Dep)) > 0
	case And:
		for _, a := range r.Args {
			if !a.Eval(providers) {
				return false
			}
		}
		return true
	case Or:
		for _, a := range r.Args {
			if a.Eval(providers) {
				return true
			}
		}
		return false
	case If:
		switch {
		case r.Args[1].Eval(providers):
			return r.Args[0].Eval(providers)
		case len(r.Args) == 3:
			return r.Args[2].Eval(providers)
		}
		return true
	case Unless:
		switch {
		case !r.Args[1].Eval(providers):
			return r.Args[0].Eval(providers)
		case len(r.Args) == 3:
			return r.Args[2].Eval(providers)
		}
		return false
	}
	return len(r.Packages(providers)) > 0
}

// Packages returns the packages, in ascending order, that a plain dependency
// or a tree of with, without and or names: a solver's candidates. For other
// operators it is what their operands name together.
func (r *Rich) Packages(providers func(d Dep) []int) []int {
	if r.Op == None {
		set := slices.Clone(providers(r.Dep))
		slices.Sort(set)
		return set
	}
	var set []int
	for i, a := range r.Args {
		other := a.Packages(providers)
		switch {
		case i == 0:
			set = other
		case r.Op == With:
			set = slices.DeleteFunc(set, func(n int) bool { return !contains(other, n) })
		case r.Op == Without:
			set = slices.DeleteFunc(set, func(n int) bool { return contains(other, n) })
		default:
			set = append(set, other...)
			slices.Sort(set)
			set = slices.Compact(set)
		}
	}
	return set
}

func contains(sorted []int, n int) bool {
	_, ok := slices.BinarySearch(sorted, n)
	return ok
}
