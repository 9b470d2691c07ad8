package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Redactor takes out of text what must not leave the house: secrets, by their
// form and by their value, and names and addresses of private hosts, which
// become host-1, host-2, ...: the same name is the same number everywhere.
type Redactor struct {
	secrets [][]byte
	names   map[string]string // lower case name: replacement
	zoned   map[string]string // likewise, of names that are found by the zone that they end in
	addrs   map[netip.Addr]string
	alone   map[string]string // names that are replaced only where a field holds nothing else
	count   int               // of hosts; a host may have more than one name
	zones   []string          // whatever ends in one of these is private
	find    *regexp.Regexp    // built at the first use
}

// NewRedactor returns one that knows no names yet.
func NewRedactor() *Redactor {
	return &Redactor{
		names: map[string]string{}, zoned: map[string]string{}, addrs: map[netip.Addr]string{}, alone: map[string]string{}, zones: slices.Clone(privateZones),
	}
}

// privateZones are domains that exist only inside of houses: home.arpa
// (RFC 8375), internal (reserved by ICANN for that), and what is in use.
var privateZones = []string{"home.arpa", "internal", "intranet", "intra", "lan", "corp"}

// Secret takes a value that must not appear, as it is or as JSON and URLs write it.
func (r *Redactor) Secret(v string) {
	if v = strings.TrimSpace(v); len(v) < 4 {
		return
	}
	forms := []string{v, url.QueryEscape(v), url.PathEscape(v)}
	for _, html := range []bool{true, false} {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if e.Encode(v) == nil {
			forms = append(forms, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
	}
	for _, f := range forms {
		if !slices.ContainsFunc(r.secrets, func(s []byte) bool { return string(s) == f }) {
			r.secrets = append(r.secrets, []byte(f))
		}
	}
	slices.SortStableFunc(r.secrets, func(a, b []byte) int { return len(b) - len(a) })
}

// publicZones are those whose names tell nothing about the house: the mirrors
// and build hosts of distributions. Documentation's own names too.
var publicZones = []string{"almalinux.org", "centos.org", "rockylinux.org", "redhat.com", "oracle.com", "fedoraproject.org", "elrepo.org", "rpmfusion.org",
	"cloudlinux.com", "docker.com", "github.com", "githubusercontent.com", "kernel.org", "freedesktop.org", "gnu.org", "mozilla.org", "microsoft.com", "google.com", "postgresql.org",
	"mariadb.org", "mysql.com", "nodesource.com", "nginx.org", "zabbix.com", "hashicorp.com", "almamigrate.org", "w3.org"}

// Host takes a name or address of this host that must not appear, alone or
// with its domain. Public ones, and those that say nothing, are left alone.
func (r *Redactor) Host(name string) {
	if name = r.server(name); name == "" {
		return
	}
	short, zone, ok := strings.Cut(name, ".")
	if ok {
		short = r.server(short) // it stands alone in logs
		r.Zone(zone)
	}
	// installers name volume groups after the host, device-mapper doubles the dashes in them and systemd escapes those
	if to, ok := r.names[short]; ok && strings.Contains(short, "-") {
		for _, dash := range []string{"--", `\x2d`, `\x2d\x2d`} {
			r.names[strings.ReplaceAll(short, "-", dash)] = to
		}
		r.find = nil
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
	if ip, err := netip.ParseAddr(name); err == nil {
		if !ip.IsLoopback() && !ip.IsUnspecified() {
			r.addr(ip)
		}
		return ""
	}
	if len(name) < 3 || name == "localhost" || strings.HasPrefix(name, "localhost.") || strings.ContainsAny(name, " /$") || public(name) {
		return ""
	}
	r.number(name)
	return name
}

// number returns what stands for a name or address, and from now on does.
func (r *Redactor) number(name string) string {
	if to, ok := r.names[name]; ok {
		return to
	}
	to, ok := r.zoned[name]
	if !ok {
		to = r.next()
	}
	if r.found(name) {
		r.zoned[name] = to
	} else {
		r.names[name] = to
		r.find = nil
	}
	return to
}

// found tells whether a name is found by its zone alone: logs name thousands of
// hosts, and an expression with all of them is slow.
func (r *Redactor) found(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == "" && !strings.Contains(name, "..") &&
		slices.ContainsFunc(r.zones, func(z string) bool { return strings.Contains(z, ".") && strings.HasSuffix(name, "."+z) })
}

func (r *Redactor) next() string {
	r.count++
	return fmt.Sprintf("host-%d", r.count)
}

// addr is number for an address, whose many ways of writing are one.
func (r *Redactor) addr(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if _, ok := r.addrs[ip]; !ok {
		r.addrs[ip] = r.next()
	}
	return r.addrs[ip]
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

// secretKey is the name of a setting whose value is a secret. "..._file" and "gpgkey" name files, not secrets.
const secretKey = `(?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api_?key|access_?key(?:_id)?|private_?key|credential|activation_?key|auth_?key|user_?name)s?|(?:[a-z0-9_.-]*[_.-])?(?:pass|pwd|pw))` //nolint:gosec // names, no secret

var (
	// a whole block of PEM, or its beginning where the end was cut off
	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\z)`)
	// the rest of one whose beginning was cut off
	pemRest = regexp.MustCompile(`(?s)\A[A-Za-z0-9+/=\s]*-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----`)
	// up to the last "@" of the authority; and where a password has a "/" in it, which no URL may but people write
	userInfo = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://)(?:[^/\s"'<>]+@|[^/\s"'<>@:]+:[^/\s"'<>@]*[^0-9/\s"'<>@][^/\s"'<>@]*/[^\s"'<>]*@)`)
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic|digest|token)([ \t]+)[A-Za-z0-9._~+/=-]{6,}`)
	header   = regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)("?\s*[:=]\s*)[^\r\n]+`)
	// a line of a settings file: everything behind the "=", with spaces, commas and all
	ini = regexp.MustCompile(`(?i)^([ \t]*[#;]?[ \t]*` + secretKey + `[ \t]*[=:][ \t]*)([^\s"'][^\r\n]*)`)
	// key = value, "key": "value" and query parameters, quoted in JSON as well
	setting = regexp.MustCompile(`(?i)\b(` + secretKey + `\\*["']?[ \t]*(?:=>|[=:])[ \t]*)(\\+"(?:[^"\\]|\\+[^"\\])*\\+"|"(?:[^"\\\r\n]|\\.)*"?|'[^'\r\n]*'?|(?:[^\s"'&}\\]|\\[^"\r\n])+)`)
	// --key value
	option = regexp.MustCompile(`(?i)(--` + secretKey + `[ \t]+)("(?:[^"\\\r\n]|\\.)*"?|'[^'\r\n]*'?|[^\s"'-][^\s"']*)`)
	query  = regexp.MustCompile(`((?:https?|ftp)://[^\s"'<>?]+)\?(?:[^\s"'<>\\]|\\[^"])+`)
	// a folder of a URL that is long and random, as private repositories have their token: no name of a package or a
	// checksum of metadata, which have a dot, and no word
	folder = regexp.MustCompile(`/[A-Za-z0-9_=~-]{16,}(?:/|$)`)
	urls   = regexp.MustCompile(`(?i)\b(?:https?|ftp)://[^\s"'<>?\\]+`)
	// secrets that show what they are: of GitHub, GitLab, Slack, AWS, Vault, Google, JSON web tokens (RFC 7519), crypt(5)
	tokens  = regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_.-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|hv[sb]\.[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)|\$(?:1|5|6|7|y|gy|2[abxy])\$(?:[^\s$:"'\\]*\$)*[./A-Za-z0-9]{20,}`)
	address = regexp.MustCompile(`(?i)\b(?:[a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)`)
	// hosts without a URL: the server of a mount, a setting, and what tools say when they do not find one
	mounted = regexp.MustCompile(`(?i)^(?://([^/\s]+)/\S*|(\[[0-9a-f:.]+\]|[a-z0-9._-]+):/\S*)[ \t]+\S+[ \t]+(?:nfs4?|cifs|smb3|ceph|glusterfs|fuse\.[a-z0-9]+)[ \t]`)
	named   = regexp.MustCompile(`(?i)\b(?:host|host_?name|proxy|server|domain|name or service not known|lookup|addr(?:ess)?)"?(?:[ \t]*[=:][ \t]*|[ \t]+)"?([a-z0-9_-]+(?:\.[a-z0-9_-]+)+)`)
	mac     = regexp.MustCompile(`(?i)\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b`)
	mail    = regexp.MustCompile(`(?i)\b[a-z0-9._%+-]+@([a-z0-9-]+(?:\.[a-z0-9-]+)+)\b`)
	ip4     = regexp.MustCompile(`[0-9]{1,3}(?:\.[0-9]{1,3}){3}`)
	ip6     = regexp.MustCompile(`(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}`)
	// what stands for a control character, a colour or, in a URL within a URL, a separator: its letters are no part of a name
	escape = regexp.MustCompile(`(?:\x1b|\\(?:u001b|x1b|033|e))\[[0-9;]*[A-Za-z]|\\(?:[nrtbf]|u[0-9A-Fa-f]{4})|%[0-9A-Fa-f]{2}`)
)

// unitTypes end names like getty@tty1.service, which are no mail addresses.
var unitTypes = []string{"automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer"}

// Learn takes the hosts that a text names, by URL or otherwise, as names that
// must not appear.
func (r *Redactor) Learn(data []byte) {
	r.each(data, func(key string, text []byte) []byte {
		if hostKeys[key] && bytes.IndexByte(text, '.') >= 0 {
			r.server(string(text))
		}
		for line := range bytes.Lines(text) {
			r.learn(line)
		}
		return nil
	})
}

// hostKeys are fields of documents that hold the name of a host.
var hostKeys = map[string]bool{"build_host": true, "host_name": true, "hostname": true}

func (r *Redactor) learn(line []byte) {
	if bytes.Contains(line, []byte("://")) {
		for _, m := range address.FindAllSubmatch(userInfo.ReplaceAll(line, []byte("$1")), -1) {
			r.server(string(m[1]))
		}
	}
	if bytes.Contains(line, []byte(":/")) || bytes.HasPrefix(line, []byte("//")) {
		if m := mounted.FindSubmatch(line); m != nil {
			r.server(string(m[1]) + string(m[2]))
		}
	}
	if !has(bytes.ToLower(line), nameWords) {
		return
	}
	for _, m := range named.FindAllSubmatch(line, -1) {
		if name := string(m[1]); isAddr(name) || isDomain(name) {
			r.server(name)
		}
	}
}

// each gives a text to f and returns what f makes of it: of JSON, which may be
// one document or one on each line, every string as it reads without escapes,
// with the key that it is the value of; of all else whole lines, without a key.
func (r *Redactor) each(data []byte, f func(key string, text []byte) []byte) []byte {
	if isJSON(data) {
		return eachString(data, f)
	}
	out := make([]byte, 0, len(data))
	for line := range bytes.Lines(data) {
		if isJSON(line) {
			out = append(out, eachString(line, f)...)
		} else {
			out = append(out, f("", line)...)
		}
	}
	return out
}

func isJSON(data []byte) bool {
	t := bytes.TrimLeft(data, " \t\r\n")
	return len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(t)
}

// eachString replaces the strings of valid JSON; what is between them stays.
func eachString(data []byte, f func(key string, text []byte) []byte) []byte {
	out := make([]byte, 0, len(data))
	key := ""
	for len(data) > 0 {
		i := bytes.IndexByte(data, '"')
		if i < 0 {
			break
		}
		end := i + 1
		for data[end] != '"' {
			if data[end] == '\\' {
				end++
			}
			end++
		}
		literal := data[i : end+1]
		out, data = append(out, data[:i]...), data[end+1:]
		var text string
		if json.Unmarshal(literal, &text) != nil { // cannot be: the whole is valid
			text = string(literal)
		}
		rest := bytes.TrimLeft(data, " \t\r\n")
		isKey := len(rest) > 0 && rest[0] == ':'
		of := key
		if isKey {
			of, key = "", strings.ToLower(text)
		}
		if to := f(of, []byte(text)); string(to) == text {
			out = append(out, literal...)
		} else {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if e.Encode(string(to)) == nil {
				out = append(out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
			}
		}
	}
	return append(out, data...)
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isDomain tells a name with a domain from a file's name and a version: its
// last part is of letters, and not what files end in.
func isDomain(name string) bool {
	last := strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	if len(last) < 2 || strings.Trim(last, "abcdefghijklmnopqrstuvwxyz") != "" {
		return false
	}
	return !slices.Contains(unitTypes, last) && !slices.Contains([]string{"conf", "json", "jsonl", "log", "repo", "rpm", "service", "txt", "xml", "so", "ko", "py", "gz", "xz"}, last)
}

// nameWords are what a line must have, in lower case, for named.
var nameWords = substrings("host", "proxy", "server", "domain", "name or service", "lookup", "addr")

// tokenWords are what a line must have for tokens.
var tokenWords = substrings("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AKIA", "ASIA", "hvs.", "hvb.", "AIza", "eyJ", "$")

func substrings(list ...string) [][]byte {
	var out [][]byte
	for _, w := range list {
		out = append(out, []byte(w))
	}
	return out
}

func has(line []byte, any [][]byte) bool {
	return slices.ContainsFunc(any, func(w []byte) bool { return bytes.Contains(line, w) })
}

// secretWords are what a line must have, in lower case, to be worth the search
// for secrets by their form: logs are long and the expressions slow.
var secretWords = substrings("pass", "pw", "secret", "token", "key", "credential", "auth", "cookie", "bearer", "basic", "digest", "user")

// Redact returns the text without what must not leave.
func (r *Redactor) Redact(data []byte) []byte {
	r.Learn(data)
	return r.redact(data)
}

var secretField = regexp.MustCompile(`^` + secretKey + `$`)

func (r *Redactor) redact(data []byte) []byte {
	if isJSON(data) {
		return eachString(data, r.value)
	}
	data = r.known(data)
	return r.each(data, func(key string, text []byte) []byte {
		if key == "" {
			return r.line(text, "")
		}
		return r.value(key, text)
	})
}

// value redacts a string of a JSON document.
func (r *Redactor) value(key string, text []byte) []byte {
	switch {
	case len(text) == 0:
		return text
	case key != "" && secretField.MatchString(key):
		return []byte(removed)
	case hostKeys[key] && bytes.IndexByte(text, '.') < 0 && string(text) != "localhost":
		// a builder may be called "mock": that word is to stay everywhere else
		name := strings.ToLower(string(text))
		if to, ok := r.names[name]; ok {
			return []byte(to)
		}
		if r.alone[name] == "" {
			r.alone[name] = r.next()
		}
		return []byte(r.alone[name])
	case isJSON(text):
		return eachString(text, r.value)
	}
	text = r.known(text)
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		out = append(out, r.line(line, key)...)
	}
	return out
}

// known takes out secrets by their value, and private keys.
func (r *Redactor) known(data []byte) []byte {
	for _, s := range r.secrets {
		data = bytes.ReplaceAll(data, s, []byte(removed))
	}
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		data = pemRest.ReplaceAll(data, []byte(removed))
		data = pemBlock.ReplaceAll(data, []byte(removed))
	}
	return data
}

// line redacts a line of text, or of the value of a key.
func (r *Redactor) line(line []byte, key string) []byte {
	if bytes.Contains(line, []byte("://")) {
		line = userInfo.ReplaceAll(line, []byte("${1}"+removed+"@"))
		line = query.ReplaceAll(line, []byte("${1}?"+removed))
		line = urls.ReplaceAllFunc(line, withoutToken)
	}
	lower := bytes.ToLower(line)
	if has(lower, secretWords) {
		line = header.ReplaceAll(line, []byte("${1}${2}"+removed))
		line = bearer.ReplaceAll(line, []byte("${1}${2}"+removed))
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("-")) { // options are on one line with others
			line = ini.ReplaceAll(line, []byte("${1}"+removed))
		}
		for _, re := range []*regexp.Regexp{setting, option} {
			line = re.ReplaceAllFunc(line, func(m []byte) []byte {
				p := re.FindSubmatch(m)
				quote := ""
				if i := bytes.IndexAny(p[2], `"'`); i >= 0 && len(bytes.Trim(p[2][:i], `\`)) == 0 {
					quote = string(p[2][:i+1])
				}
				return []byte(string(p[1]) + quote + removed + quote)
			})
		}
	}
	if !bytes.ContainsAny(line, "\\%\x1b") {
		return r.words(line, key)
	}
	var out []byte
	last := 0
	for _, m := range escape.FindAllIndex(line, -1) {
		out = append(append(out, r.words(line[last:m[0]], key)...), line[m[0]:m[1]]...)
		last = m[1]
	}
	return append(out, r.words(line[last:], key)...)
}

// withoutToken takes long random folders out of a URL.
func withoutToken(u []byte) []byte {
	i := bytes.Index(u, []byte("://")) + 3
	j := bytes.IndexByte(u[i:], '/')
	if j < 0 {
		return u
	}
	head, rest := u[:i+j], bytes.Clone(u[i+j:])
	for at := 0; ; {
		m := folder.FindIndex(rest[at:])
		if m == nil {
			return append(bytes.Clone(head), rest...)
		}
		from, to := at+m[0]+1, at+m[1]
		if rest[to-1] == '/' {
			to--
		}
		at = to
		if random(rest[from:to]) {
			at = from + len(removed)
			rest = slices.Concat(rest[:from], []byte(removed), rest[to:])
		}
	}
}

var (
	run  = regexp.MustCompile(`[A-Za-z0-9]{16,}`)
	hex  = regexp.MustCompile(`^[0-9a-f]{20,}$`)
	uuid = regexp.MustCompile(`(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// random tells a token from words: letters and digits take turns in it.
func random(s []byte) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	for _, p := range run.FindAll(s, -1) {
		turns := 0
		for i := 1; i < len(p); i++ {
			if digit(p[i]) != digit(p[i-1]) {
				turns++
			}
		}
		if turns >= 4 || hex.Match(p) {
			return true
		}
	}
	return uuid.Match(s)
}

// words redacts a text in which no letter belongs to an escape sequence.
func (r *Redactor) words(text []byte, key string) []byte {
	if has(text, tokenWords) {
		text = tokens.ReplaceAll(text, []byte(removed))
	}
	if n := bytes.Count(text, []byte(":")); n >= 2 {
		if n >= 5 {
			text = mac.ReplaceAll(text, []byte(removed))
		}
		text = r.addresses(text, ip6)
	}
	if key != "version" && key != "evr" && bytes.Count(text, []byte(".")) >= 3 {
		text = r.addresses(text, ip4)
	}
	if bytes.IndexByte(text, '@') >= 0 {
		text = mail.ReplaceAllFunc(text, func(m []byte) []byte {
			domain := strings.ToLower(string(m[bytes.IndexByte(m, '@')+1:]))
			if public(domain) || slices.Contains(unitTypes, domain[strings.LastIndexByte(domain, '.')+1:]) {
				return m
			}
			return []byte(removed)
		})
	}
	lower := bytes.ToLower(text)
	for n := range r.names {
		if bytes.Contains(lower, []byte(n)) {
			return r.hosts(text)
		}
	}
	for _, z := range r.zones {
		if bytes.Contains(lower, []byte("."+z)) || strings.Contains(z, ".") && bytes.Contains(lower, []byte(z)) {
			return r.hosts(text)
		}
	}
	return text
}

// addresses replaces IP addresses that could be somebody's. Versions look like
// them: what stands in a package's name is none, and outside of the
// private ranges four numbers of which the first is small are a version.
func (r *Redactor) addresses(text []byte, re *regexp.Regexp) []byte {
	var out []byte
	last := 0
	for _, m := range re.FindAllIndex(text, -1) {
		from, to := m[0], m[1]
		ip, err := netip.ParseAddr(string(text[from:to]))
		if err != nil || !r.somebodys(ip) {
			continue
		}
		if from > 0 && (nameByte(text[from-1]) || strings.IndexByte("_.-", text[from-1]) >= 0) {
			continue
		}
		if rest := text[to:]; len(rest) > 0 && (nameByte(rest[0]) || rest[0] == '_' || ip.Is4() && (rest[0] == '-' || rest[0] == '+' || rest[0] == '~') ||
			rest[0] == '.' && len(rest) > 1 && nameByte(rest[1]) || ip.Is6() && rest[0] == ':') {
			continue
		}
		out = append(append(out, text[last:from]...), r.addr(ip)...)
		last = to
	}
	if last == 0 {
		return text
	}
	return append(out, text[last:]...)
}

// somebodys leaves out addresses that every host has, and what is rather a
// version or a netmask.
func (r *Redactor) somebodys(ip netip.Addr) bool {
	if ip = ip.Unmap(); r.addrs[ip] != "" {
		return true
	}
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	if ip.IsPrivate() || ip.IsLinkLocalUnicast() {
		return true
	}
	b := ip.As16()
	if ip.Is4() {
		return b[12] >= 20 && b[12] < 224 || b[12] == 100 && b[13]&0xc0 == 64
	}
	return b[0]&0xe0 == 0x20 // 2000::/3, all that is given out
}

// Text redacts a string.
func (r *Redactor) Text(s string) string { return string(r.Redact([]byte(s))) }

// hosts replaces the names; longer ones first, so that web01.corp.example does
// not become host-2.corp.example.
func (r *Redactor) hosts(data []byte) []byte {
	if r.find == nil {
		var alt []string
		for _, z := range r.zones {
			more := "*"
			if !strings.Contains(z, ".") {
				more = "+" // "internal" alone is a word
			}
			alt = append(alt, `(?:[a-z0-9_-]+\.)`+more+regexp.QuoteMeta(z))
		}
		for _, n := range slices.SortedFunc(maps.Keys(r.names), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) {
			alt = append(alt, regexp.QuoteMeta(n))
		}
		r.find = regexp.MustCompile(`(?i)` + strings.Join(alt, "|"))
		r.find.Longest()
	}
	var out []byte
	done := 0
	for at := 0; at < len(data); {
		m := r.find.FindIndex(data[at:])
		if m == nil {
			break
		}
		from, to := at+m[0], at+m[1]
		word := strings.ToLower(string(data[from:to]))
		as, name := r.names[word]
		if from > 0 && nameByte(data[from-1]) || to < len(data) && nameByte(data[to]) || !name && !r.ends(data[to:], word) {
			// "xweb01" is not web01, and neither is what is in the rest of that word
			for at = from + 1; at < len(data) && nameByte(data[at-1]) && nameByte(data[at]); at++ {
			}
			continue
		}
		if !name {
			if as, name = r.zoned[word]; !name {
				as = r.next()
				r.zoned[word] = as
			}
		}
		out = append(append(out, data[done:from]...), as...)
		at, done = to, to
	}
	return append(out, data[done:]...)
}

// ends tells whether a name of a zone ends before the rest: jdk.internal.misc
// is none of the zone internal.
func (r *Redactor) ends(rest []byte, word string) bool {
	if len(rest) == 0 || slices.ContainsFunc(r.zones, func(z string) bool { return strings.Contains(z, ".") && strings.HasSuffix(word, z) }) {
		return true
	}
	return rest[0] != '-' && rest[0] != '_' && (rest[0] != '.' || len(rest) == 1 || !nameByte(rest[1]))
}

func nameByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
