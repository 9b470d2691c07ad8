package repodata_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The oracle: the same reading of primary.xml, over encoding/xml.

type node struct {
	local string
	attrs []xml.Attr
	kids  []*node
	text  string
}

func (n *node) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Local == name && a.Name.Space != "xmlns" {
			return a.Value
		}
	}
	return ""
}

func (n *node) child(name string) *node {
	for _, k := range n.kids {
		if k.local == name {
			return k
		}
	}
	return &node{}
}

func oracleTree(r io.Reader) (*node, error) {
	d := xml.NewDecoder(r)
	top := &node{}
	stack := []*node{top}
	for {
		t, err := d.Token()
		if err == io.EOF {
			if len(top.kids) == 0 {
				return nil, errors.New("no element")
			}
			return top.kids[0], nil
		}
		if err != nil {
			return nil, err
		}
		cur := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			n := &node{local: t.Name.Local, attrs: t.Copy().Attr}
			cur.kids = append(cur.kids, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			cur.text += string(t)
		}
	}
}

func oracleNumber(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func oracleEVR(n *node) rpmver.EVR {
	return rpmver.EVR{Epoch: uint32(oracleNumber(n.attr("epoch"))), Version: n.attr("ver"), Release: n.attr("rel")}
}

func oraclePrimary(r io.Reader) ([]*repodata.Package, error) {
	root, err := oracleTree(r)
	if err != nil {
		return nil, err
	}
	flags := map[string]rpmver.Sense{"EQ": rpmver.Equal, "LT": rpmver.Less, "GT": rpmver.Greater,
		"LE": rpmver.Less | rpmver.Equal, "GE": rpmver.Greater | rpmver.Equal}
	var out []*repodata.Package
	for _, n := range root.kids {
		if n.local != "package" || n.attr("type") != "" && n.attr("type") != "rpm" {
			continue
		}
		f := n.child("format")
		p := &repodata.Package{
			NEVRA: rpmver.NEVRA{Name: n.child("name").text, EVR: oracleEVR(n.child("version")), Arch: n.child("arch").text},
			Pkgid: n.child("checksum").text, ChecksumType: n.child("checksum").attr("type"),
			Location: n.child("location").attr("href"), LocationBase: n.child("location").attr("base"),
			SizePackage: oracleNumber(n.child("size").attr("package")), SizeInstalled: oracleNumber(n.child("size").attr("installed")),
			SizeArchive: oracleNumber(n.child("size").attr("archive")), BuildTime: oracleNumber(n.child("time").attr("build")),
			SourceRPM: f.child("sourcerpm").text, Vendor: f.child("vendor").text, BuildHost: f.child("buildhost").text,
		}
		for i, dst := range []*[]rpmver.Dep{&p.Requires, &p.Provides, &p.Conflicts, &p.Obsoletes, &p.Recommends, &p.Suggests, &p.Supplements, &p.Enhances} {
			for _, e := range f.child(repodata.DepKind(i).String()).kids {
				if e.local != "entry" {
					continue
				}
				d := rpmver.Dep{Name: e.attr("name"), Flags: flags[e.attr("flags")], EVR: oracleEVR(e)}
				if e.attr("pre") == "1" {
					d.Flags |= rpmver.PreReq
				}
				*dst = append(*dst, d)
			}
		}
		for _, k := range f.kids {
			if k.local == "file" {
				p.Files = append(p.Files, k.text)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// blanks maps what XML makes a blank in an attribute, and encoding/xml does not.
var blanks = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

func normalize(pkgs []*repodata.Package) {
	for _, p := range pkgs {
		for _, s := range []*string{&p.NEVRA.EVR.Version, &p.NEVRA.EVR.Release, &p.ChecksumType, &p.Location, &p.LocationBase} {
			*s = blanks.Replace(*s)
		}
		for k := repodata.Requires; k <= repodata.Enhances; k++ {
			for i, d := range p.Deps(k) {
				d.Name, d.EVR.Version, d.EVR.Release = blanks.Replace(d.Name), blanks.Replace(d.EVR.Version), blanks.Replace(d.EVR.Release)
				p.Deps(k)[i] = d
			}
		}
	}
}

// stricter holds what ParsePrimary refuses and encoding/xml lets pass, or what
// is well-formed XML and makes no sense.
var stricter = []string{
	"a second root element", "text outside the root element", "CDATA section outside the root element", "attribute given twice",
	"no white space before an attribute", "XML declaration", "not XML 1.0", "unknown declaration", "DOCTYPE where none belongs",
	"a character that XML forbids", "invalid UTF-8", "unknown entity or bad character reference", "unfinished reference",
	"processing instruction without a name", "bad name of a processing instruction",
	"given twice in package", " has no ", "bad epoch", "bad number", "unknown flags", "unknown file type", "without a name",
	"packages where", "an element where only text belongs", "the root element is",
}

func parseAll(r io.Reader) ([]*repodata.Package, error) {
	var got []*repodata.Package
	_, err := repodata.ParsePrimary(r, func(p *repodata.Package) error {
		got = append(got, p)
		return nil
	})
	return got, err
}

// differ parses a document with both parsers and says in what they disagree.
func differ(doc string) string {
	got, err := parseAll(strings.NewReader(doc))
	want, werr := oraclePrimary(strings.NewReader(doc))
	switch {
	case err == nil && werr == nil:
		normalize(got)
		normalize(want)
		if !reflect.DeepEqual(got, want) {
			return "(-encoding/xml +ParsePrimary)\n" + cmp.Diff(want, got)
		}
	case err == nil:
		// Names are of the fifth edition of XML 1.0 here, of the second there.
		if strings.IndexFunc(doc, func(r rune) bool { return r >= 0x80 }) >= 0 && strings.Contains(werr.Error(), "invalid XML name") {
			return ""
		}
		return fmt.Sprintf("encoding/xml alone refuses it: %v", werr)
	case werr == nil:
		if errors.Is(err, repodata.ErrTooLarge) {
			return ""
		}
		for _, s := range stricter {
			if strings.Contains(err.Error(), s) {
				return ""
			}
		}
		return fmt.Sprintf("ParsePrimary alone refuses it: %v", err)
	}
	return ""
}

const onePackage = `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
<package type="rpm">
  <name>foo</name><arch>x86_64</arch><version epoch="1" ver="2.0" rel="3.el9"/>
  <checksum type="sha256" pkgid="YES">aa11</checksum>
  <summary>A &lt;b&gt; &#233; ]] x</summary><description/><time file="1" build="1700000000"/>
  <size package="10" installed="20" archive="-30"/>
  <location xml:base="http://e.org/" href="Packages/f/foo-2.0-3.el9.x86_64.rpm"/>
  <format>
    <rpm:license>MIT</rpm:license><rpm:vendor>V</rpm:vendor><rpm:buildhost>h</rpm:buildhost><rpm:sourcerpm>foo-2.0-3.el9.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="1" end="2"/>
    <rpm:provides>
      <rpm:entry name="foo" flags="EQ" epoch="1" ver="2.0" rel="3.el9"/>
      <rpm:entry name="bar"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="(a if b)"/>
      <rpm:entry name="rpmlib(X)" flags="LE" epoch="0" ver="3.0.4" rel="1" pre="1"/>
    </rpm:requires>
    <rpm:obsoletes><rpm:entry name="old" flags="LT" epoch="0" ver="2.0"/></rpm:obsoletes>
    <rpm:conflicts><rpm:entry name="c" flags="GT" epoch="0" ver="1"/></rpm:conflicts>
    <rpm:recommends><rpm:entry name="r" flags="GE" epoch="0" ver="1"/></rpm:recommends>
    <rpm:suggests><rpm:entry name="s"/></rpm:suggests><rpm:supplements><rpm:entry name="u"/></rpm:supplements><rpm:enhances><rpm:entry name="e"/></rpm:enhances>
    <file>/etc/foo &amp; bar</file><file type="dir">/etc/d</file><file type="ghost">/etc/g</file>
  </format>
</package>
</metadata>
`

// Everything that XML allows means the same to both parsers.
var legal = map[string]string{
	"as createrepo_c writes": onePackage,
	"byte order mark":        "\ufeff" + onePackage,
	"no declaration":         onePackage[strings.Index(onePackage, "<meta"):],
	"single quotes":          strings.ReplaceAll(onePackage, `"`, `'`),
	"standalone":             strings.Replace(onePackage, `"UTF-8"?>`, `"utf-8" standalone='no' ?>`, 1),
	"other prefix":           strings.NewReplacer("<rpm:", "<r-2.x:", "</rpm:", "</r-2.x:").Replace(onePackage),
	"no prefix":              strings.NewReplacer("<rpm:", "<", "</rpm:", "</").Replace(onePackage),
	"attribute order":        strings.Replace(onePackage, `name="foo" flags="EQ" epoch="1"`, `epoch="1" flags="EQ" name="foo"`, 1),
	"white space":            strings.NewReplacer(`" `, "\"\n\t ", `"/>`, "\" \r\n/>", `="`, " = \"", "</name>", "</name\n>").Replace(onePackage),
	"line ends":              strings.ReplaceAll(onePackage, "\n", "\r\n"),
	"comments":               strings.NewReplacer("<rpm:entry", "<!-- <rpm:entry> - & ]]> --><rpm:entry", ">foo<", ">f<!---->oo<").Replace(onePackage),
	"instructions":           strings.NewReplacer("<rpm:entry", "<?php <x ?><rpm:entry", ">foo<", ">f<?x?>oo<").Replace(onePackage),
	"cdata":                  strings.NewReplacer(">foo<", "><![CDATA[f]]><![CDATA[oo]]]><![CDATA[]]><", "<rpm:entry", "<![CDATA[<&]] ]>]]><rpm:entry").Replace(onePackage),
	"references":             strings.NewReplacer(`"foo"`, `"&#x66;&#111;&#x6F;&quot;&apos;&amp;&lt;&gt;"`, ">foo<", ">&#102;oo&#x10FFFF;<").Replace(onePackage),
	"reference in old":       strings.Replace(onePackage, `name="old"`, `name="&#111;ld"`, 1),
	"quotes in quotes":       strings.NewReplacer(`name="bar"`, `name='b"ar'`, `name="s"`, `name="s's"`).Replace(onePackage),
	"greater than":           strings.NewReplacer(`name="bar"`, `name="b>ar"`, ">foo<", ">f]>oo<").Replace(onePackage),
	"unknown elements":       strings.NewReplacer("<format>", "<new><name>x</name><a:b c='d'/></new><format>", "<package ", "<extra>t</extra><package ").Replace(onePackage),
	"unknown attributes":     strings.NewReplacer("<rpm:entry ", "<rpm:entry xmlns:name='n' x='1' ").Replace(onePackage),
	"doctype":                strings.Replace(onePackage, "<metadata", "<!DOCTYPE metadata [<!ENTITY x \"]>&lt;\"> <!-- ' > --> <!ELEMENT a ANY>]>\n<metadata", 1),
	"after the root":         onePackage + "<!-- end --><?pi end?>\n",
	"entry with an end tag":  strings.NewReplacer(`<rpm:entry name="bar"/>`, `<rpm:entry name="bar">text<x/></rpm:entry>`).Replace(onePackage),
	"empty lists":            strings.Replace(onePackage, `<rpm:suggests><rpm:entry name="s"/></rpm:suggests>`, `<rpm:suggests/>`, 1),
	"beyond ASCII":           strings.NewReplacer("foo", "föö€😀", "<rpm:license>", "<été ñ='ü'/><rpm:license>").Replace(onePackage),
	"another type":           strings.NewReplacer(`type="rpm"`, `type="pattern"`).Replace(onePackage),
	"no count":               strings.Replace(onePackage, ` packages="1"`, "", 1),
	"hostile name":           strings.Replace(onePackage, ">foo<", ">../../etc/passwd\u009b31m<", 1),
	"none":                   `<metadata packages="0"/>`,
}

func TestLegalXML(t *testing.T) {
	for name, doc := range legal {
		t.Run(name, func(t *testing.T) {
			if d := differ(doc); d != "" {
				t.Error(d)
			}
			got, err := parseAll(strings.NewReader(doc))
			if err != nil {
				t.Fatal(err)
			}
			// However the document comes in, it is the same.
			for _, r := range []io.Reader{iotest.OneByteReader(strings.NewReader(doc)), iotest.DataErrReader(iotest.HalfReader(strings.NewReader(doc)))} {
				again, err := parseAll(r)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(got, again); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestPrimaryValues(t *testing.T) {
	got, err := parseAll(strings.NewReader(onePackage))
	if err != nil {
		t.Fatal(err)
	}
	eq := func(n string, f rpmver.Sense, e uint32, v, r string) rpmver.Dep {
		return rpmver.Dep{Name: n, Flags: f, EVR: rpmver.EVR{Epoch: e, Version: v, Release: r}}
	}
	want := []*repodata.Package{{
		NEVRA: rpmver.NEVRA{Name: "foo", EVR: rpmver.EVR{Epoch: 1, Version: "2.0", Release: "3.el9"}, Arch: "x86_64"},
		Pkgid: "aa11", ChecksumType: "sha256", Location: "Packages/f/foo-2.0-3.el9.x86_64.rpm", LocationBase: "http://e.org/",
		SizePackage: 10, SizeInstalled: 20, SizeArchive: -30, BuildTime: 1700000000,
		SourceRPM: "foo-2.0-3.el9.src.rpm", Vendor: "V", BuildHost: "h",
		Provides:    []rpmver.Dep{eq("foo", rpmver.Equal, 1, "2.0", "3.el9"), eq("bar", 0, 0, "", "")},
		Requires:    []rpmver.Dep{eq("(a if b)", 0, 0, "", ""), eq("rpmlib(X)", rpmver.Less|rpmver.Equal|rpmver.PreReq, 0, "3.0.4", "1")},
		Obsoletes:   []rpmver.Dep{eq("old", rpmver.Less, 0, "2.0", "")},
		Conflicts:   []rpmver.Dep{eq("c", rpmver.Greater, 0, "1", "")},
		Recommends:  []rpmver.Dep{eq("r", rpmver.Greater|rpmver.Equal, 0, "1", "")},
		Suggests:    []rpmver.Dep{eq("s", 0, 0, "", "")},
		Supplements: []rpmver.Dep{eq("u", 0, 0, "", "")},
		Enhances:    []rpmver.Dep{eq("e", 0, 0, "", "")},
		Files:       []string{"/etc/foo & bar", "/etc/d", "/etc/g"},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMalformedXML(t *testing.T) {
	big := strings.Repeat("x", 10<<20)
	with := func(old, new string) string {
		if !strings.Contains(onePackage, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(onePackage, old, new, 1)
	}
	for _, c := range []struct {
		doc, msg string
		is       error
	}{
		{"", "no element", repodata.ErrMalformed},
		{"  \n", "no element", repodata.ErrMalformed},
		{"<metadata packages='1'/>", "0 packages where 1 are declared", repodata.ErrMalformed},
		{with(`packages="1"`, `packages="2"`), "1 packages where 2 are declared", repodata.ErrMalformed},
		{with(`packages="1"`, `packages="-1"`), "bad number of packages", repodata.ErrMalformed},
		{with(`packages="1"`, `packages="99999999"`), "too many packages", repodata.ErrTooLarge},
		{"<html><body>404</body></html>", "the root element is <html>", repodata.ErrMalformed},
		{onePackage[:len(onePackage)-20], "unfinished end tag", repodata.ErrMalformed},
		{onePackage[:200], "unfinished tag", repodata.ErrMalformed},
		{onePackage[:strings.Index(onePackage, "oo</name>")], "unexpected end of document inside <name>", repodata.ErrMalformed},
		{onePackage + onePackage[39:], "a second root element", repodata.ErrMalformed},
		{onePackage + "x", "text outside the root element", repodata.ErrMalformed},
		{with("</name>", "</nam>"), "end tag does not match <name>", repodata.ErrMalformed},
		{with("UTF-8", "ISO-8859-1"), "an encoding other than UTF-8", repodata.ErrMalformed},
		{with(`"1.0"`, `"1.1"`), "not XML 1.0", repodata.ErrMalformed},
		{with(">foo<", ">f\x00o<"), "a character that XML forbids", repodata.ErrMalformed},
		{with(">foo<", ">f\x1b[31mo<"), "a character that XML forbids", repodata.ErrMalformed},
		{with("\n  <name>", "\n\x0b<name>"), "a character that XML forbids", repodata.ErrMalformed},
		{with(">foo<", ">f&#27;o<"), "bad character reference", repodata.ErrMalformed},
		{with(">foo<", ">f&#xD800;o<"), "bad character reference", repodata.ErrMalformed},
		{with(">foo<", ">f&x;o<"), "unknown entity", repodata.ErrMalformed},
		{with(">foo<", ">f& o<"), "unfinished reference", repodata.ErrMalformed},
		{with(">foo<", ">f\xffo<"), "invalid UTF-8", repodata.ErrMalformed},
		{with(">foo<", ">f\ufffeo<"), "a character that XML forbids", repodata.ErrMalformed},
		{with(">foo<", ">f]]>o<"), "]]> outside", repodata.ErrMalformed},
		{with(">foo<", "><b>foo</b><"), "an element where only text belongs", repodata.ErrMalformed},
		{with(">foo<", "><<"), "begins no tag", repodata.ErrMalformed},
		{with(">foo<", "><!-- a -- b -->foo<"), `"--" inside a comment`, repodata.ErrMalformed},
		{with(`"bar"`, `"b<r"`), "'<' in an attribute value", repodata.ErrMalformed},
		{with(`name="bar"`, `name="bar" name="baz"`), "attribute given twice", repodata.ErrMalformed},
		{with(`name="bar"`, `name=bar`), "without quotes", repodata.ErrMalformed},
		{with(`name="bar"`, `name`), "attribute without a value", repodata.ErrMalformed},
		{with(`flags="EQ" epoch`, `flags="EQ"epoch`), "no white space", repodata.ErrMalformed},
		{with(`flags="EQ"`, `flags="NE"`), "unknown flags", repodata.ErrMalformed},
		{with(`name="bar"`, `flags="EQ"`), "an entry of provides without a name", repodata.ErrMalformed},
		{with(`epoch="1"`, `epoch="x"`), "bad epoch", repodata.ErrMalformed},
		{with(`epoch="1"`, `epoch="4294967296"`), "bad epoch", repodata.ErrMalformed},
		{with(`installed="20"`, `installed="2k"`), "bad number", repodata.ErrMalformed},
		{with("<arch>x86_64</arch>", ""), `package "foo" has no arch`, repodata.ErrMalformed},
		{with("<arch>", "<arch>x</arch><arch>"), "<arch> given twice", repodata.ErrMalformed},
		{with("<rpm:suggests>", "<rpm:provides/><rpm:suggests>"), "given twice", repodata.ErrMalformed},
		{with(">aa11<", "><"), "has no checksum", repodata.ErrMalformed},
		{with("<rpm:vendor>", "<a:b:c/><rpm:vendor>"), "bad element name", repodata.ErrMalformed},
		{with("<metadata", "<!DOCTYPE a [<!ENTITY e 'x'>]><metadata") + "<!DOCTYPE b>", "DOCTYPE where none belongs", repodata.ErrMalformed},
		{strings.Replace(with("<metadata", "<!DOCTYPE a [<!ENTITY e 'x'>]><metadata"), ">foo<", ">&e;<", 1), "unknown entity", repodata.ErrMalformed},
		{with("type=\"dir\"", "type=\"door\""), "unknown file type", repodata.ErrMalformed},
		{with(">foo<", ">"+big+"<"), "text too long", repodata.ErrTooLarge},
		{with(`"bar"`, `"`+big+`"`), "too long", repodata.ErrTooLarge},
		{with(`"bar"`, `"`+big[:100<<10]+`"`), "attribute value too long", repodata.ErrTooLarge},
		{with("<rpm:vendor>", "<!--"+big+"--><rpm:vendor>"), "too long", repodata.ErrTooLarge},
		{with("<rpm:vendor>", "<a "+big+"/><rpm:vendor>"), "too long", repodata.ErrTooLarge},
		{with("<rpm:vendor>", strings.Repeat("<a>", 100)), "elements too deep", repodata.ErrTooLarge},
	} {
		_, err := parseAll(strings.NewReader(c.doc))
		if err == nil || !strings.Contains(err.Error(), c.msg) || !errors.Is(err, c.is) {
			t.Errorf("%.300q: error %v, want %q", c.doc, err, c.msg)
		}
		var pe *repodata.ParseError
		if !errors.As(err, &pe) || pe.Offset < 0 || pe.Offset > int64(len(c.doc)) {
			t.Errorf("%s: no offset in %#v", c.msg, err)
		}
	}
	// A long description is no reason to refuse a repository.
	if _, err := parseAll(strings.NewReader(with("A &lt;b&gt;", big))); err != nil {
		t.Error(err)
	}
	var pe *repodata.ParseError
	_, err := parseAll(strings.NewReader(with(">foo<", ">&x;<")))
	if want := int64(strings.Index(onePackage, ">foo<") + 1); !errors.As(err, &pe) || pe.Offset != want {
		t.Errorf("%v, want offset %d", err, want)
	}
}

// Tokens that lie across the end of the scanner's window.
func TestWindowEdges(t *testing.T) {
	for _, doc := range legal {
		root := strings.Index(doc, "<metadata") // padding goes inside it
		if root < 0 || strings.Contains(doc, "packages=\"0\"") {
			continue
		}
		at := root + strings.IndexByte(doc[root:], '>') + 1
		want, err := parseAll(strings.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		const window = 256 << 10
		for k := at; k < len(doc); k += 29 {
			padded := doc[:at] + strings.Repeat(" ", window-k) + doc[at:]
			got, err := parseAll(strings.NewReader(padded))
			if err != nil {
				t.Fatalf("%d: %v", k, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%d: %s", k, cmp.Diff(want, got))
			}
		}
	}
}

func TestReaderError(t *testing.T) {
	boom := errors.New("boom")
	r := io.MultiReader(strings.NewReader(onePackage[:500]), iotest.ErrReader(boom))
	if _, err := parseAll(r); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
	if _, err := repodata.ParsePrimary(strings.NewReader(onePackage), func(*repodata.Package) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
}

func FuzzPrimary(f *testing.F) {
	for _, doc := range legal {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if d := differ(doc); d != "" {
			t.Error(d)
		}
	})
}
