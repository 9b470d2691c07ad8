package reposync

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

const (
	maxMirrorlist = 1 << 20
	maxMetalink   = 4 << 20
	maxListed     = 2000 // mirrors kept of a list; Fedora's have a few hundred
)

// parseMirrorlist reads a mirrorlist: a URL per line, '#' begins a comment line. What is no URL, or of a protocol that is
// not spoken here (rsync, ftp), is passed over; a list without one usable URL is an error.
func parseMirrorlist(data []byte, vars map[string]string) ([]*url.URL, error) {
	if isHTML(data) {
		return nil, errHTML
	}
	var list []*url.URL
	first := ""
	for line := range strings.SplitSeq(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if first == "" {
			first = line
		}
		if u, ok := listedURL(substitute(line, vars)); ok && len(list) < maxListed {
			list = append(list, u)
		}
	}
	if len(list) == 0 {
		if first == "" {
			return nil, fmt.Errorf("the mirrorlist is empty: %w", ErrMetadata)
		}
		return nil, fmt.Errorf("the mirrorlist has no usable URL, it begins with %.100q: %w", Redact(first), ErrMetadata)
	}
	return list, nil
}

// listedURL takes a URL that a server handed out. A remote list must not make us read local files.
func listedURL(raw string) (*url.URL, bool) {
	if strings.HasPrefix(raw, "/") || len(raw) > 4096 {
		return nil, false
	}
	u, err := parseURL(raw)
	if err != nil || u.Scheme == "file" {
		return nil, false
	}
	return u, true
}

// metalink is what a metalink says of repomd.xml. The format is version 3.0 (http://www.metalinker.org/) with
// MirrorManager's additions (mm0:timestamp, mm0:alternates).
type metalink struct {
	mirrors    []*url.URL
	current    metalinkFile
	alternates []metalinkFile // older versions that mirrors may still have
}

type metalinkFile struct {
	sums      []repodata.Checksum // of supported types only
	size      int64               // 0: not given
	timestamp int64               // seconds since 1970; 0: not given
}

type metalinkXML struct {
	XMLName xml.Name `xml:"metalink"`
	Files   []struct {
		Name string `xml:"name,attr"`
		metalinkFileXML
		Alternates []metalinkFileXML `xml:"alternates>alternate"`
		URLs       []struct {
			Preference string `xml:"preference,attr"`
			Value      string `xml:",chardata"`
		} `xml:"resources>url"`
	} `xml:"files>file"`
}

type metalinkFileXML struct {
	Timestamp string `xml:"timestamp"`
	Size      string `xml:"size"`
	Hashes    []struct {
		Type  string `xml:"type,attr"`
		Value string `xml:",chardata"`
	} `xml:"verification>hash"`
}

func parseMetalink(data []byte, vars map[string]string) (*metalink, error) {
	if isHTML(data) {
		return nil, errHTML
	}
	var doc metalinkXML
	if err := xml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("cannot parse the metalink: %w: %w", err, ErrMetadata)
	}
	for _, f := range doc.Files {
		if f.Name != "repomd.xml" {
			continue
		}
		var ml metalink
		var err error
		if ml.current, err = f.metalinkFileXML.file(); err != nil {
			return nil, err
		}
		for _, a := range f.Alternates {
			alt, err := a.file()
			if err != nil {
				return nil, err
			}
			ml.alternates = append(ml.alternates, alt)
		}
		type ranked struct {
			u    *url.URL
			pref int
		}
		var list []ranked
		for _, m := range f.URLs {
			u, ok := listedURL(substitute(strings.TrimSpace(m.Value), vars))
			if !ok || !strings.HasSuffix(u.Path, "/repodata/repomd.xml") || len(list) >= maxListed {
				continue
			}
			u.Path = strings.TrimSuffix(u.Path, "repodata/repomd.xml")
			u.RawPath = ""
			pref, _ := strconv.Atoi(m.Preference)
			list = append(list, ranked{u, pref})
		}
		slices.SortStableFunc(list, func(a, b ranked) int { return b.pref - a.pref })
		for _, r := range list {
			ml.mirrors = append(ml.mirrors, r.u)
		}
		if len(ml.mirrors) == 0 {
			return nil, fmt.Errorf("the metalink names no usable mirror: %w", ErrMetadata)
		}
		return &ml, nil
	}
	return nil, fmt.Errorf("the metalink says nothing of repomd.xml: %w", ErrMetadata)
}

func (x metalinkFileXML) file() (metalinkFile, error) {
	var f metalinkFile
	for _, n := range []struct {
		text string
		dst  *int64
	}{{x.Size, &f.size}, {x.Timestamp, &f.timestamp}} {
		t := strings.TrimSpace(n.text)
		if t == "" {
			continue
		}
		v, err := strconv.ParseInt(t, 10, 64)
		if err != nil || v < 0 {
			return f, fmt.Errorf("the metalink has a bad number %.40q: %w", t, ErrMetadata)
		}
		*n.dst = v
	}
	for _, h := range x.Hashes {
		sum := repodata.Checksum{Type: strings.ToLower(strings.TrimSpace(h.Type)), Value: strings.ToLower(strings.TrimSpace(h.Value))}
		hh, err := newHash(sum.Type)
		if err != nil {
			continue // md5 stands beside better ones
		}
		if b, err := hex.DecodeString(sum.Value); err != nil || len(b) != hh.Size() {
			return f, fmt.Errorf("the metalink has a bad %s %.140q: %w", sum.Type, sum.Value, ErrMetadata)
		}
		f.sums = append(f.sums, sum)
	}
	return f, nil
}

// matches tells whether data is that file; all digests must agree.
func (f metalinkFile) matches(data []byte) bool {
	if len(f.sums) == 0 || f.size > 0 && f.size != int64(len(data)) {
		return false
	}
	for _, s := range f.sums {
		h, err := newHash(s.Type)
		if err != nil || !sumIs(h, data, s) {
			return false
		}
	}
	return true
}

func sumIs(h hash.Hash, data []byte, want repodata.Checksum) bool {
	h.Write(data)
	return checkSum(h, want) == nil
}

// check judges a repomd.xml: nil for the current one, errStale for an older one that the metalink knows, ErrDigest for
// any other.
func (ml *metalink) check(data []byte) error {
	if ml == nil || len(ml.current.sums) == 0 || ml.current.matches(data) {
		return nil
	}
	for _, a := range ml.alternates {
		if a.matches(data) {
			return fmt.Errorf("repomd.xml is an older one than the metalink promises: %w", errStale)
		}
	}
	return fmt.Errorf("repomd.xml is not the one that the metalink describes: %w", ErrDigest)
}

// mirrorset is where a repository can be had from, best first.
type mirrorset struct {
	urls     []*url.URL
	link     *metalink // nil: none
	warnings []string
}

// mirrors asks for the metalink and the mirrorlist. Where they cannot be had, baseurl and what the cache remembers serve;
// where there is none of these either, that is the error.
func (ss *session) mirrors(ctx context.Context, c *cached) (*mirrorset, error) {
	set := &mirrorset{}
	var errs []error
	fail := func(what, raw string, err error) {
		errs = append(errs, fmt.Errorf("%s %s: %w", what, Redact(raw), err))
	}
	var listed []*url.URL
	var source string
	if raw := ss.repo.Metalink; raw != "" {
		data, err := ss.list(ctx, raw, maxMetalink)
		if err == nil {
			set.link, err = parseMetalink(data, ss.repo.Vars)
		}
		if err != nil {
			fail("metalink", raw, err)
		} else {
			listed, source = set.link.mirrors, raw
		}
	}
	if raw := ss.repo.Mirrorlist; raw != "" && len(listed) == 0 && ctx.Err() == nil {
		data, err := ss.list(ctx, raw, maxMirrorlist)
		if err == nil {
			listed, err = parseMirrorlist(data, ss.repo.Vars)
		}
		if err != nil {
			fail("mirrorlist", raw, err)
		} else {
			source = raw
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if strings.HasPrefix(source, "https:") && (set.link == nil || len(set.link.current.sums) == 0) {
		// Over plain http nothing would protect an unsigned repomd.xml, so the list's promise of TLS is kept where it
		// can be.
		secure := slices.DeleteFunc(slices.Clone(listed), func(u *url.URL) bool { return u.Scheme != "https" })
		if len(secure) > 0 {
			listed = secure
		}
	}
	if len(listed) == 0 && len(errs) > 0 && c != nil {
		listed = c.mirrorURLs()
	}
	set.urls = ss.s.ordered(dedupe(append(listed, ss.bases()...)), c)
	if len(set.urls) == 0 {
		return nil, errors.Join(errs...)
	}
	for _, err := range errs {
		set.warnings = append(set.warnings, fmt.Sprintf("cannot read the %v", err))
	}
	return set, nil
}

func (ss *session) list(ctx context.Context, raw string, limit int64) ([]byte, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if ss.s.opt.Offline && u.Scheme != "file" {
		return nil, ErrOffline
	}
	got, err := ss.getSmall(ctx, request{url: u, effort: ss.s.opt.effort(0, 1)}, limit)
	if err != nil {
		return nil, err
	}
	return bytes.TrimPrefix(got.data, []byte("\xef\xbb\xbf")), nil
}

// bases are the baseurl settings, parsed; resolved has checked them.
func (ss *session) bases() []*url.URL {
	var list []*url.URL
	for _, b := range ss.repo.BaseURLs {
		if u, err := parseURL(b); err == nil && (u.Scheme == "file" || !ss.s.opt.Offline) {
			list = append(list, u)
		}
	}
	return list
}

func dedupe(list []*url.URL) []*url.URL {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(u *url.URL) bool {
		key := strings.TrimSuffix(u.String(), "/")
		dup := seen[key]
		seen[key] = true
		return dup
	})
}

// ordered puts the mirror that served last time first, for its answer can be "not modified", and those that failed in
// this process last; else the order of the list counts, which knows the distance.
func (s *Syncer) ordered(list []*url.URL, c *cached) []*url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	rank := func(u *url.URL) int {
		if n := s.failures[mirrorKey(u)]; n > 0 {
			return n
		}
		if c != nil && c.meta.BaseURL == redactURL(u) {
			return -1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b *url.URL) int { return rank(a) - rank(b) })
	return list
}

// mirrorKey is what failures are remembered by: the host, for a mirror that is down is so for all repositories.
func mirrorKey(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (s *Syncer) remember(u *url.URL, err error) {
	if u.Scheme == "file" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.failures, mirrorKey(u))
		return
	}
	s.failures[mirrorKey(u)]++
}
