package report

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// Redactor takes out of text what must not leave the house: secrets, by their
// form and by their value, and names and addresses of private hosts, which
// become host-1, host-2, ...: the same name is the same number everywhere.
type Redactor struct {
	secrets [][]byte
	names   map[string]string // lower case name or address: replacement
	zones   []string          // whatever ends in one of these is private
	find    *regexp.Regexp    // built at the first use
}

// NewRedactor returns one that knows no names yet.
func NewRedactor() *Redactor { return &Redactor{names: map[string]string{}} }

// Secret takes a value that must not appear.
func (r *Redactor) Secret(v string) {
	if v = strings.TrimSpace(v); len(v) >= 4 {
		r.secrets = append(r.secrets, []byte(v))
		slices.SortFunc(r.secrets, func(a, b []byte) int { return len(b) - len(a) })
	}
}

// publicZones are those whose names tell nothing about the house: the mirrors
// and build hosts of distributions. Documentation's own names too.
var publicZones = []string{"almalinux.org", "centos.org", "rockylinux.org", "redhat.com", "oracle.com", "fedoraproject.org", "elrepo.org", "rpmfusion.org",
	"cloudlinux.com", "docker.com", "github.com", "githubusercontent.com", "kernel.org", "freedesktop.org", "gnu.org", "mozilla.org", "microsoft.com", "google.com", "postgresql.org",
	"mariadb.org", "mysql.com", "nodesource.com", "nginx.org", "zabbix.com", "hashicorp.com", "almamigrate.org", "w3.org"}

// Host takes a name or address of this host that must not appear, alone or
// with its domain. Public ones, and those that say nothing, are left alone.
func (r *Redactor) Host(name string) {
	if name = r.server(name); name == "" || net.ParseIP(name) != nil {
		return
	}
	if short, zone, ok := strings.Cut(name, "."); ok {
		r.server(short) // it stands alone in logs
		r.Zone(zone)
	}
}

// server takes the name of any host. Its first word is not taken by itself: of
// proxy.example.com that would be every "proxy" in a text.
func (r *Redactor) server(name string) string {
	name = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if ip := net.ParseIP(name); ip != nil {
		if ip.IsLoopback() || ip.IsUnspecified() {
			return ""
		}
	} else if len(name) < 3 || name == "localhost" || strings.HasPrefix(name, "localhost.") || strings.ContainsAny(name, " /$") || public(name) {
		return ""
	}
	if _, ok := r.names[name]; !ok {
		r.names[name] = fmt.Sprintf("host-%d", len(r.names)+1)
		r.find = nil
	}
	return name
}

// Zone takes a domain all of whose names must not appear.
func (r *Redactor) Zone(zone string) {
	zone = strings.ToLower(strings.Trim(zone, ". \t"))
	if !strings.Contains(zone, ".") || public(zone) || slices.Contains(r.zones, zone) {
		return
	}
	r.zones = append(r.zones, zone)
}

func public(name string) bool {
	return slices.ContainsFunc(publicZones, func(z string) bool { return name == z || strings.HasSuffix(name, "."+z) })
}

const removed = "[redacted]"

var (
	// a whole block of PEM, or its beginning where the end was cut off
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\z)`)
	userInfo = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://)[^/\s"'<>@]+@`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic|digest|token)([ \t]+)[A-Za-z0-9._~+/=-]{6,}`)
	header   = regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)("?\s*[:=]\s*)[^\r\n]+`)
	// key = value, "key": "value", --key value and query parameters. "..._file" and "gpgkey" name files, not secrets.
	setting = regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api_?key|apikey|access_?key|private_?key|credential|activation_?key|auth_?key)s?)("?[ \t]*[=:][ \t]*)("[^"\r\n]*"|'[^'\r\n]*'|[^\s,;&}"']+)`)
	query   = regexp.MustCompile(`((?:https?|ftp)://[^\s"'<>?]+)\?[^\s"'<>]+`)
	address = regexp.MustCompile(`(?i)\b(?:[a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)`)
	mac     = regexp.MustCompile(`(?i)\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b`)
	mail    = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+@([a-z0-9-]+(?:\.[a-z0-9-]+)+)\b`)
)

// Learn takes the hosts of every URL in a text as names that must not appear.
func (r *Redactor) Learn(data []byte) {
	for line := range bytes.Lines(data) {
		if !bytes.Contains(line, []byte("://")) {
			continue
		}
		for _, m := range address.FindAllSubmatch(userInfo.ReplaceAll(line, []byte("$1")), -1) {
			r.server(string(m[1]))
		}
	}
}

// secretWords are what a line must have, in lower case, to be worth the search
// for secrets by their form: logs are long and the expressions slow.
var secretWords = [][]byte{[]byte("pass"), []byte("secret"), []byte("token"), []byte("key"), []byte("credential"), []byte("auth"), []byte("cookie"), []byte("bearer"), []byte("basic"), []byte("digest")}

// Redact returns the text without what must not leave.
func (r *Redactor) Redact(data []byte) []byte {
	r.Learn(data)
	for _, s := range r.secrets {
		data = bytes.ReplaceAll(data, s, []byte(removed))
	}
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		data = pemBlock.ReplaceAll(data, []byte(removed))
	}
	out := make([]byte, 0, len(data))
	for line := range bytes.Lines(data) {
		out = append(out, r.line(line)...)
	}
	return out
}

func (r *Redactor) line(line []byte) []byte {
	if bytes.Contains(line, []byte("://")) {
		line = userInfo.ReplaceAll(line, []byte("${1}"+removed+"@"))
		line = query.ReplaceAll(line, []byte("${1}?"+removed))
	}
	lower := bytes.ToLower(line)
	if slices.ContainsFunc(secretWords, func(w []byte) bool { return bytes.Contains(lower, w) }) {
		line = header.ReplaceAll(line, []byte("${1}${2}"+removed))
		line = bearer.ReplaceAll(line, []byte("${1}${2}"+removed))
		line = setting.ReplaceAllFunc(line, func(m []byte) []byte {
			p := setting.FindSubmatch(m)
			quote := ""
			if p[3][0] == '"' || p[3][0] == '\'' {
				quote = string(p[3][0])
			}
			return []byte(string(p[1]) + string(p[2]) + quote + removed + quote)
		})
	}
	if bytes.Count(line, []byte(":")) >= 5 {
		line = mac.ReplaceAll(line, []byte(removed))
	}
	if bytes.IndexByte(line, '@') >= 0 {
		line = mail.ReplaceAllFunc(line, func(m []byte) []byte {
			if public(strings.ToLower(string(m[bytes.IndexByte(m, '@')+1:]))) {
				return m
			}
			return []byte(removed)
		})
	}
	for n := range r.names {
		if bytes.Contains(lower, []byte(n)) {
			return r.hosts(line)
		}
	}
	for _, z := range r.zones {
		if bytes.Contains(lower, []byte(z)) {
			return r.hosts(line)
		}
	}
	return line
}

// Text redacts a string.
func (r *Redactor) Text(s string) string { return string(r.Redact([]byte(s))) }

// hosts replaces the names; longer ones first, so that web01.corp.example does
// not become host-2.corp.example.
func (r *Redactor) hosts(data []byte) []byte {
	if len(r.names)+len(r.zones) == 0 {
		return data
	}
	if r.find == nil {
		var alt []string
		names := make([]string, 0, len(r.names))
		for n := range r.names {
			names = append(names, n)
		}
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
		for _, z := range r.zones {
			alt = append(alt, `(?:[a-z0-9_-]+\.)*`+regexp.QuoteMeta(z))
		}
		for _, n := range names {
			alt = append(alt, regexp.QuoteMeta(n))
		}
		r.find = regexp.MustCompile(`(?i)` + strings.Join(alt, "|"))
	}
	var out []byte
	for len(data) > 0 {
		m := r.find.FindIndex(data)
		if m == nil {
			break
		}
		word := strings.ToLower(string(data[m[0]:m[1]]))
		whole := (m[0] == 0 || !nameByte(data[m[0]-1])) && (m[1] == len(data) || !nameByte(data[m[1]]))
		if !whole {
			out = append(out, data[:m[0]+1]...)
			data = data[m[0]+1:]
			// the byte before the rest still counts: "xweb01" is not web01
			if len(out) > 0 && nameByte(out[len(out)-1]) {
				i := 0
				for i < len(data) && nameByte(data[i]) {
					i++
				}
				out, data = append(out, data[:i]...), data[i:]
			}
			continue
		}
		to, ok := r.names[word]
		if !ok { // a name of a zone, met for the first time
			to = fmt.Sprintf("host-%d", len(r.names)+1)
			r.names[word] = to
		}
		out = append(append(out, data[:m[0]]...), to...)
		data = data[m[1]:]
	}
	return append(out, data...)
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
