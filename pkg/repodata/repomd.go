package repodata

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	maxRepomd  = 4 << 20
	maxRecords = 1024
)

// Checksum is a digest as metadata gives it.
type Checksum struct {
	Type  string // "sha256", "sha512", "sha1" or its old name "sha", "md5"
	Value string // lower-case hex
}

// String returns "type:value", "" for none.
func (c Checksum) String() string {
	if c.Value == "" {
		return ""
	}
	return c.Type + ":" + c.Value
}

// Record is one <data> of repomd.xml: a metadata file.
type Record struct {
	Type         string   // "primary", "filelists", "modules", "primary_db", "group" ...
	Checksum     Checksum // of the file
	OpenChecksum Checksum // of its uncompressed content; none for uncompressed files
	Location     string   // path below the repository
	LocationBase string   // xml:base, mostly empty
	Size         int64    // bytes; 0 where it is not given
	OpenSize     int64    // bytes uncompressed; 0 where it is not given
	Timestamp    int64    // seconds since 1970
}

// DistroTag is a <distro> of repomd.xml.
type DistroTag struct{ CPEID, Text string }

// Repomd is the index of a repository's metadata.
type Repomd struct {
	Revision string
	Records  []Record
	Distro   []DistroTag
	Content  []string // <content> tags
	Repo     []string // <repo> tags
}

type repomdXML struct {
	XMLName  xml.Name
	Revision string `xml:"revision"`
	Tags     struct {
		Distro []struct {
			CPEID string `xml:"cpeid,attr"`
			Text  string `xml:",chardata"`
		} `xml:"distro"`
		Content []string `xml:"content"`
		Repo    []string `xml:"repo"`
	} `xml:"tags"`
	Data []struct {
		Type     string      `xml:"type,attr"`
		Checksum checksumXML `xml:"checksum"`
		Open     checksumXML `xml:"open-checksum"`
		Location struct {
			Href string `xml:"href,attr"`
			Base string `xml:"base,attr"`
		} `xml:"location"`
		Size      string `xml:"size"`
		OpenSize  string `xml:"open-size"`
		Timestamp string `xml:"timestamp"`
	} `xml:"data"`
}

type checksumXML struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

// ParseRepomd reads repomd.xml. Records of unknown types are kept, in their
// order. A record without type or location, or with a checksum or size that is
// none, is an error: errors wrap ErrMalformed or ErrTooLarge.
func ParseRepomd(data []byte) (*Repomd, error) {
	bad := func(format string, args ...any) (*Repomd, error) {
		return nil, fmt.Errorf("cannot parse repomd.xml: "+format+": %w", append(args, ErrMalformed)...)
	}
	if len(data) > maxRepomd {
		return nil, fmt.Errorf("cannot parse repomd.xml: %d bytes: %w", len(data), ErrTooLarge)
	}
	if isHTML(data) {
		return bad("it is an HTML page")
	}
	// The scanner checks what encoding/xml lets pass: one root, nothing after
	// it, no attribute twice.
	if err := wellFormed("repomd.xml", data); err != nil {
		return nil, err
	}
	var doc repomdXML
	if err := xml.Unmarshal(data, &doc); err != nil {
		return bad("%v", err)
	}
	if doc.XMLName.Local != "repomd" {
		return bad("the root element is <%.40s>, not <repomd>", doc.XMLName.Local)
	}
	if len(doc.Data) > maxRecords {
		return nil, fmt.Errorf("cannot parse repomd.xml: %d records: %w", len(doc.Data), ErrTooLarge)
	}
	md := &Repomd{Revision: strings.TrimSpace(doc.Revision), Content: doc.Tags.Content, Repo: doc.Tags.Repo}
	for _, d := range doc.Tags.Distro {
		md.Distro = append(md.Distro, DistroTag{d.CPEID, strings.TrimSpace(d.Text)})
	}
	for _, d := range doc.Data {
		r := Record{Type: d.Type, Location: d.Location.Href, LocationBase: d.Location.Base}
		if r.Type == "" || r.Location == "" {
			return bad("a record of type %.40q without a type or a location", r.Type)
		}
		var ok bool
		if r.Checksum, ok = d.Checksum.value(); !ok {
			return bad("record %.40q: bad checksum", r.Type)
		}
		if r.OpenChecksum, ok = d.Open.value(); !ok {
			return bad("record %.40q: bad open-checksum", r.Type)
		}
		for _, n := range []struct {
			text string
			dst  *int64
		}{{d.Size, &r.Size}, {d.OpenSize, &r.OpenSize}, {d.Timestamp, &r.Timestamp}} {
			t := strings.TrimSpace(n.text)
			if t == "" {
				continue
			}
			// Old createrepo wrote times with a fraction.
			if whole, frac, ok := strings.Cut(t, "."); ok && n.dst == &r.Timestamp && strings.Trim(frac, "0123456789") == "" {
				t = whole
			}
			v, err := strconv.ParseInt(t, 10, 64)
			if err != nil || v < 0 {
				return bad("record %.40q: bad number %.40q", r.Type, t)
			}
			*n.dst = v
		}
		md.Records = append(md.Records, r)
	}
	return md, nil
}

func (c checksumXML) value() (Checksum, bool) {
	v := strings.ToLower(strings.TrimSpace(c.Value))
	t := strings.ToLower(c.Type)
	if v == "" && t == "" {
		return Checksum{}, true
	}
	b, err := hex.DecodeString(v)
	return Checksum{t, v}, err == nil && t != "" && len(b) >= 16 && len(b) <= 64
}

func wellFormed(what string, data []byte) error {
	s := newXMLScannerSize(what, bytes.NewReader(data), min(len(data)+1, xmlWindow))
	for {
		t, err := s.next()
		if err == io.EOF {
			return s.fail("unexpected end of document")
		}
		if err != nil || t == tokEOF {
			return err
		}
	}
}

// preference orders the formats by what they cost to read.
var preference = map[format]int{formatZst: 5, formatGz: 4, plain: 3, formatXZ: 2, formatBz2: 1}

// Record returns the record of one type ("primary", "filelists", "modules")
// that is cheapest to read: zstd, gzip, none, xz, bzip2, in this order. zchunk
// and SQLite copies ("primary_zck", "primary_db") are types of their own and
// never returned for it; false if there is none, or only zchunk.
func (md *Repomd) Record(typ string) (Record, bool) {
	var best Record
	rank := 0
	for _, r := range md.Records {
		if r.Type == typ && preference[formatOf(r.Location)] > rank {
			best, rank = r, preference[formatOf(r.Location)]
		}
	}
	return best, rank > 0
}

// Primary returns the record of primary.xml, as Record does.
func (md *Repomd) Primary() (Record, bool) { return md.Record("primary") }
