package reposync

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// Check says what is asked of repomd.xml.asc.
type Check string

const (
	// CheckNever does not look at it.
	CheckNever Check = "never"
	// CheckIfPresent verifies it where the repository has one and there are keys. It is the meaning of "" too.
	CheckIfPresent Check = "if-present"
	// CheckRequired refuses a repository without a good one.
	CheckRequired Check = "required"
)

// NoProxy as Repo.Proxy or Options.Proxy connects directly, whatever the environment says; dnf.conf writes it _none_.
const NoProxy = "_none_"

// Repo is a repository to sync. The settings are those of a section in a .repo file, see dnf.conf(5).
type Repo struct {
	ID   string // names the cache folder; must not be empty
	Name string

	// Mirrors come from Metalink, then Mirrorlist, then BaseURLs. A URL may be http, https, file or an absolute path.
	BaseURLs   []string
	Mirrorlist string
	Metalink   string
	// Vars replaces $name and ${name} in the URLs and in the lines of a mirrorlist: AlmaLinux's contain $basearch.
	Vars map[string]string

	Keyring      *rpmsig.Keyring // keys that may sign repomd.xml; nil or empty: none
	RepoGPGCheck Check

	SSLCACert     string // PEM file that replaces the system's certificate authorities
	SSLClientCert string // PEM file
	SSLClientKey  string // PEM file; empty: the key is in SSLClientCert
	SSLNoVerify   bool   // sslverify=false: any certificate will do

	Proxy         string // URL, NoProxy, or empty for the one in Options
	ProxyUsername string
	ProxyPassword string
	Username      string // HTTP basic authentication
	Password      string

	MaxAge time.Duration // metadata_expire; 0: the one in Options; negative: the cached copy never expires
	Cost   int           // for the caller; not used here
}

// Options are the settings that all repositories share. The zero value of each but CacheDir is usable.
type Options struct {
	CacheDir string // made if absent, mode 0755
	Offline  bool   // use the cache only; file:// repositories are read all the same

	// MaxAge is how long a cached copy is used without asking the mirror; 0: it is always asked, negative: never.
	MaxAge   time.Duration
	Timeout  time.Duration // for connecting, for the answer's head, and without progress in a body; 30 s
	Deadline time.Duration // for one repository or one package, all mirrors and pauses together; 15 min
	MinRate  int64         // bytes per second under which a body counts as stalled after Timeout; 1000, negative: none

	Retries       int           // further attempts on one mirror; 3, negative: none
	RetryWaitMin  time.Duration // the pause before attempt n is n times a random time between these two; 1 s
	RetryWaitMax  time.Duration // 3 s
	RetryAfterMax time.Duration // longest Retry-After that is waited for; 60 s
	MaxMirrors    int           // mirrors tried for one file; 5
	ConnsPerHost  int           // simultaneous requests to one host; 3

	UserAgent string // "almamigrate"

	// Defaults for repositories that set none of their own.
	Proxy         string // empty: http_proxy, https_proxy and no_proxy of the environment
	ProxyUsername string
	ProxyPassword string
	SSLCACert     string
	SSLClientCert string
	SSLClientKey  string

	Progress func(Event)      // called by one goroutine at a time; must not call back into the Syncer
	Now      func() time.Time // the clock for ages; time.Now
}

// EventKind tells what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventWait     EventKind = "wait"     // another process works on the same repository; Detail says which
	EventDownload EventKind = "download" // File: Done of Total bytes (0: unknown)
	EventRetry    EventKind = "retry"    // Err, and the pause Wait
	EventMirror   EventKind = "mirror"   // URL is given up for Err
	EventIndex    EventKind = "index"    // the index is being built
	EventDone     EventKind = "done"     // the repository is ready, or failed with Err
)

// Event is a step of a sync, for progress display and debug output. URLs are redacted.
type Event struct {
	Kind   EventKind
	Repo   string
	URL    string
	File   string
	Done   int64 // bytes
	Total  int64 // bytes
	Wait   time.Duration
	Detail string
	Err    error
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Timeout, 30*time.Second)
	def(&o.Deadline, 15*time.Minute)
	def(&o.RetryWaitMin, time.Second)
	def(&o.RetryWaitMax, 3*time.Second)
	def(&o.RetryAfterMax, time.Minute)
	num := func(n *int, v int) {
		switch {
		case *n == 0:
			*n = v
		case *n < 0:
			*n = 0
		}
	}
	num(&o.Retries, 3)
	num(&o.MaxMirrors, 5)
	num(&o.ConnsPerHost, 3)
	o.MaxMirrors = max(o.MaxMirrors, 1)
	o.ConnsPerHost = max(o.ConnsPerHost, 1)
	if o.MinRate == 0 {
		o.MinRate = 1000
	}
	if o.UserAgent == "" {
		o.UserAgent = "almamigrate"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// resolved fills what the repository leaves to the options and to the variables, and checks it.
func (o Options) resolved(r Repo) (Repo, error) {
	fail := func(format string, args ...any) (Repo, error) {
		return r, fmt.Errorf("cannot use repository %q: "+format+": %w", append(append([]any{r.ID}, args...), ErrConfig)...)
	}
	if r.ID == "" {
		return fail("it has no id")
	}
	switch r.RepoGPGCheck {
	case "":
		r.RepoGPGCheck = CheckIfPresent
	case CheckNever, CheckIfPresent, CheckRequired:
	default:
		return fail("unknown repo_gpgcheck %q", r.RepoGPGCheck)
	}
	if r.RepoGPGCheck == CheckRequired && !hasKeys(r.Keyring) {
		return r, fmt.Errorf("cannot use repository %q: a signed repomd.xml is required, but there is no key to verify it: %w", r.ID, ErrSignature)
	}
	if r.MaxAge == 0 {
		r.MaxAge = o.MaxAge
	}
	if r.Proxy == "" {
		r.Proxy = o.Proxy
		if r.ProxyUsername == "" {
			r.ProxyUsername, r.ProxyPassword = o.ProxyUsername, o.ProxyPassword
		}
	}
	if r.SSLCACert == "" {
		r.SSLCACert = o.SSLCACert
	}
	if r.SSLClientCert == "" {
		r.SSLClientCert, r.SSLClientKey = o.SSLClientCert, o.SSLClientKey
	}
	r.Mirrorlist = substitute(r.Mirrorlist, r.Vars)
	r.Metalink = substitute(r.Metalink, r.Vars)
	bases := make([]string, 0, len(r.BaseURLs))
	for _, b := range r.BaseURLs {
		b = substitute(strings.TrimSpace(b), r.Vars)
		if b == "" {
			continue
		}
		u, err := parseURL(b)
		if err != nil {
			return fail("%v", err)
		}
		bases = append(bases, u.String())
	}
	r.BaseURLs = bases
	for _, l := range []*string{&r.Mirrorlist, &r.Metalink} {
		if *l == "" {
			continue
		}
		u, err := parseURL(*l)
		if err != nil {
			return fail("%v", err)
		}
		*l = u.String()
	}
	if len(bases) == 0 && r.Mirrorlist == "" && r.Metalink == "" {
		return fail("it has neither baseurl nor mirrorlist nor metalink")
	}
	return r, nil
}

func hasKeys(k *rpmsig.Keyring) bool { return k != nil && len(k.Fingerprints()) > 0 }

// parseURL takes what dnf takes for a baseurl; messages never repeat credentials.
func parseURL(raw string) (*url.URL, error) {
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		return &url.URL{Scheme: "file", Path: path.Clean(raw)}, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		if ue, ok := err.(*url.Error); ok {
			err = ue.Err // the outer one repeats the URL
		}
		return nil, fmt.Errorf("bad URL %s: %w", Redact(raw), err)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return nil, fmt.Errorf("bad URL %s: no host", redactURL(u))
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("bad URL %s: a file URL of another host", redactURL(u))
		}
		u.Host = ""
		if !strings.HasPrefix(u.Path, "/") {
			return nil, fmt.Errorf("bad URL %s: not an absolute path", redactURL(u))
		}
	default:
		return nil, fmt.Errorf("bad URL %s: only http, https and file are known", redactURL(u))
	}
	return u, nil
}

var varRe = regexp.MustCompile(`\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))`)

// substitute replaces dnf variables; unknown ones stay as they are, as in dnf.
func substitute(s string, vars map[string]string) string {
	if len(vars) == 0 || !strings.Contains(s, "$") {
		return s
	}
	return varRe.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := vars[strings.Trim(m, "${}")]; ok {
			return v
		}
		return m
	})
}

// join appends a path from metadata to a base URL. Nothing in it may lead out of the repository: no scheme, no "..", no
// query. As for curl, escapes that stand in it are meant as such over HTTP, and are plain characters in a file name.
func join(base *url.URL, location string) (*url.URL, error) {
	u := *base
	plain := location
	if base.Scheme != "file" {
		if p, err := url.PathUnescape(location); err == nil {
			plain = p
		}
	}
	bad := plain == "" || strings.HasPrefix(plain, "/") || strings.ContainsAny(plain, "\x00\\") || len(plain) > 4096
	for _, part := range strings.Split(plain, "/") {
		bad = bad || part == ".."
	}
	if bad {
		return nil, fmt.Errorf("location %.80q leads out of the repository: %w", location, ErrMetadata)
	}
	u.Path = strings.TrimSuffix(base.Path, "/") + "/" + plain
	// Used by String and by requests only where it is a valid escaping of Path.
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + "/" + location
	return &u, nil
}

var idRe = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// cacheName is the name of the repository's folder in the cache: readable, and different for different URLs.
func cacheName(r Repo) string {
	h := sha256.New()
	for _, s := range append([]string{r.Metalink, r.Mirrorlist}, r.BaseURLs...) {
		fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	id := strings.Trim(idRe.ReplaceAllString(r.ID, "_"), ".")
	if len(id) > 64 {
		id = id[:64]
	}
	return id + "-" + hex.EncodeToString(h.Sum(nil))[:16]
}
