// Package config reads the settings of almamigrate: almamigrate.conf and the
// files of conf.d, INI files as dnf.conf is one.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/pkg/ini"
)

// The files that are read, in this order; a later one wins.
const (
	File = "/etc/almamigrate/almamigrate.conf"
	Dir  = "/etc/almamigrate/conf.d" // *.conf, sorted by name
)

// ErrConfig is wrapped by every error about what a file says. The error's text
// names file and line.
var ErrConfig = errors.New("bad configuration")

// FailOn says from which severity on a finished check exits with 10.
type FailOn string

// The values of fail_on.
const (
	FailOnBlocker FailOn = "blocker"
	FailOnWarning FailOn = "warning"
)

// Check says what to do about repomd.xml.asc.
type Check string

// The values of repo_gpgcheck.
const (
	Never     Check = "never"
	IfPresent Check = "if-present"
	Required  Check = "required"
)

// Config holds every setting. Zero values of strings and lists mean that
// nothing was set.
type Config struct {
	Main         Main
	Repos        Repos
	Repo         map[string]Repo // by repository id
	Trust        Trust
	Applications Applications
	Report       Report
	Endpoint     map[string]Endpoint // by name
	Files        []string            // what was read, in order
}

// Main is section [main].
type Main struct {
	CacheDir string // cache_dir
	FailOn   FailOn // fail_on
}

// Repos is section [repos]: how repositories are reached.
type Repos struct {
	Mirror         string        // mirror: URL of a tree that holds 8, 9 and 10
	Offline        bool          // offline
	Proxy          string        // proxy
	ProxyUsername  string        // proxy_username
	ProxyPassword  string        // proxy_password
	MetadataExpire time.Duration // metadata_expire; negative: never
	Timeout        time.Duration // timeout
	Retries        int           // retries
	SSLCACert      string        // sslcacert: file
	SSLVerify      bool          // sslverify
	SSLClientCert  string        // sslclientcert: file
	SSLClientKey   string        // sslclientkey: file
}

// Repo is section [repo ID].
type Repo struct {
	URL string // url
}

// Trust is section [trust].
type Trust struct {
	ExtraKeys    []string // extra_keys: key files
	RepoGPGCheck Check    // repo_gpgcheck
}

// Applications is section [applications].
type Applications struct {
	Folders []string // folders: searched for programs beside /opt, /usr/local and /srv
}

// Default returns the settings that hold where no file says otherwise.
func Default() *Config {
	return &Config{
		Main: Main{CacheDir: "/var/cache/almamigrate", FailOn: FailOnBlocker},
		Repos: Repos{
			MetadataExpire: 6 * time.Hour,
			Timeout:        30 * time.Second,
			Retries:        5,
			SSLVerify:      true,
		},
		Repo:     map[string]Repo{},
		Trust:    Trust{RepoGPGCheck: IfPresent},
		Report:   defaultReport(),
		Endpoint: map[string]Endpoint{},
	}
}

// Load reads the settings of the system below root. With an explicit file
// only that one is read, from the running system's file tree, and must exist;
// without, files that do not exist are no error. What a file says wrongly is
// an error that wraps ErrConfig.
func Load(root, explicit string) (*Config, error) {
	c := Default()
	if explicit != "" {
		h, err := host.New("/")
		if err != nil {
			return nil, err
		}
		defer h.Close()
		name := explicit
		if !path.IsAbs(name) {
			wd, err := host.New(".")
			if err != nil {
				return nil, err
			}
			name = wd.Path(name)
			wd.Close()
		}
		if err := c.read(h, name); err != nil {
			return nil, err
		}
		return c, c.whole()
	}
	h, err := host.New(root)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if err := c.read(h, File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := h.ReadDir(Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read configuration: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".conf") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := c.read(h, path.Join(Dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return c, c.whole()
}

func (c *Config) read(h *host.Host, name string) error {
	data, err := h.ReadFile(name)
	if err != nil {
		return fmt.Errorf("cannot read configuration: %w", err)
	}
	return c.Parse(name, data)
}

// Parse adds the settings of one file's content.
func (c *Config) Parse(name string, data []byte) error {
	f, err := ini.Parse(name, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrConfig)
	}
	for _, d := range f.Duplicates {
		return fmt.Errorf("%s:%d: given twice, first in line %d: %w", name, d.Line, d.Previous, ErrConfig)
	}
	for _, s := range f.Sections {
		section, id, _ := strings.Cut(s.Name, " ")
		id = strings.TrimSpace(id)
		set := sections[section]
		if set == nil || (section == "repo" || section == "endpoint") != (id != "") {
			return fmt.Errorf("%s:%d: unknown section [%s]%s: %w", name, s.Line, s.Name, hint(s.Name, []string{"main", "repos", "repo ID", "trust", "applications", "report", "endpoint NAME"}), ErrConfig)
		}
		if section == "endpoint" && !endpointName(id) {
			return fmt.Errorf("%s:%d: %q is not a name of letters, digits, \".\", \"_\" and \"-\": %w", name, s.Line, id, ErrConfig)
		}
		if section == "repo" {
			if strings.ContainsAny(id, "/ \t") || strings.Contains(id, "..") {
				return fmt.Errorf("%s:%d: %q is not a repository id: %w", name, s.Line, id, ErrConfig)
			}
			if _, ok := s.Get("url"); !ok {
				return fmt.Errorf("%s:%d: section [%s] needs url: %w", name, s.Line, s.Name, ErrConfig)
			}
		}
		for _, k := range s.Keys {
			fn := set[k.Name]
			if fn == nil {
				names := make([]string, 0, len(set))
				for n := range set {
					names = append(names, n)
				}
				slices.Sort(names)
				return fmt.Errorf("%s:%d: unknown key %q in section [%s]%s: %w", name, k.Line, k.Name, s.Name, hint(k.Name, names), ErrConfig)
			}
			if err := fn(c, id, k.Value); err != nil {
				return fmt.Errorf("%s:%d: %s: %w: %w", name, k.Line, k.Name, err, ErrConfig)
			}
		}
	}
	c.Files = append(c.Files, name)
	return nil
}

type setter func(c *Config, id, value string) error

// sections holds every key that there is.
var sections = map[string]map[string]setter{
	"main": {
		"cache_dir": absolute(func(c *Config) *string { return &c.Main.CacheDir }),
		"fail_on": func(c *Config, _, v string) error {
			return oneOf(&c.Main.FailOn, v, FailOnBlocker, FailOnWarning)
		},
	},
	"repos": {
		"mirror":         func(c *Config, _, v string) error { return setURL(&c.Repos.Mirror, v, "http", "https", "file") },
		"offline":        func(c *Config, _, v string) error { return setBool(&c.Repos.Offline, v) },
		"proxy":          setProxy,
		"proxy_username": func(c *Config, _, v string) error { c.Repos.ProxyUsername = v; return nil },
		"proxy_password": func(c *Config, _, v string) error { c.Repos.ProxyPassword = v; return nil },
		"metadata_expire": func(c *Config, _, v string) error {
			if v == "never" || v == "-1" {
				c.Repos.MetadataExpire = -1
				return nil
			}
			return setDuration(&c.Repos.MetadataExpire, v)
		},
		"timeout": func(c *Config, _, v string) error {
			if err := setDuration(&c.Repos.Timeout, v); err != nil {
				return err
			}
			if c.Repos.Timeout == 0 {
				return errors.New("must be more than 0")
			}
			return nil
		},
		"retries": func(c *Config, _, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 100 {
				return fmt.Errorf("%q is not a number from 0 to 100", v)
			}
			c.Repos.Retries = n
			return nil
		},
		"sslcacert":     absolute(func(c *Config) *string { return &c.Repos.SSLCACert }),
		"sslverify":     func(c *Config, _, v string) error { return setBool(&c.Repos.SSLVerify, v) },
		"sslclientcert": absolute(func(c *Config) *string { return &c.Repos.SSLClientCert }),
		"sslclientkey":  absolute(func(c *Config) *string { return &c.Repos.SSLClientKey }),
	},
	"repo": {
		"url": func(c *Config, id, v string) error {
			var r Repo
			if err := setURL(&r.URL, v, "http", "https", "file"); err != nil {
				return err
			}
			c.Repo[id] = r
			return nil
		},
	},
	"applications": {
		"folders": func(c *Config, _, v string) error { return setPaths(&c.Applications.Folders, v) },
	},
	"report":   reportKeys,
	"endpoint": endpointKeys,
	"trust": {
		"extra_keys": func(c *Config, _, v string) error {
			return setPaths(&c.Trust.ExtraKeys, v)
		},
		"repo_gpgcheck": func(c *Config, _, v string) error {
			return oneOf(&c.Trust.RepoGPGCheck, v, Never, IfPresent, Required)
		},
	},
}

// setPaths takes a list of absolute paths, or file URLs, apart.
func setPaths(dst *[]string, v string) error {
	*dst = nil
	for _, f := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		f = strings.TrimPrefix(f, "file://")
		if !path.IsAbs(f) {
			return fmt.Errorf("%q is not an absolute path", f)
		}
		*dst = append(*dst, f)
	}
	return nil
}

func absolute(field func(*Config) *string) setter {
	return func(c *Config, _, v string) error {
		if !path.IsAbs(v) {
			return fmt.Errorf("%q is not an absolute path", v)
		}
		*field(c) = path.Clean(v)
		return nil
	}
}

func setProxy(c *Config, _, v string) error {
	if v == "" || v == "_none_" { // dnf.conf(5): an explicit "no proxy"
		c.Repos.Proxy = ""
		return nil
	}
	return setURL(&c.Repos.Proxy, v, "http", "https", "socks5", "socks5h")
}

func setURL(dst *string, v string, schemes ...string) error {
	u, err := url.Parse(v)
	// The value is left out of the message: it may hold a password.
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Scheme != "file" && u.Host == "" {
		return fmt.Errorf("not a URL that begins with %s", strings.Join(schemes, "://, ")+"://")
	}
	*dst = v
	return nil
}

func setBool(dst *bool, v string) error {
	switch strings.ToLower(v) {
	case "1", "yes", "true", "on":
		*dst = true
	case "0", "no", "false", "off":
		*dst = false
	default:
		return fmt.Errorf("%q is neither yes nor no", v)
	}
	return nil
}

func oneOf[T ~string](dst *T, v string, allowed ...T) error {
	if !slices.Contains(allowed, T(v)) {
		words := make([]string, len(allowed))
		for i, a := range allowed {
			words[i] = string(a)
		}
		return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
	}
	*dst = T(v)
	return nil
}

// setDuration reads dnf's form: a number of seconds, or with s, m, h or d.
func setDuration(dst *time.Duration, v string) error {
	unit, digits := time.Second, v
	if v != "" {
		if u, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[v[len(v)-1]|0x20]; ok {
			unit, digits = u, v[:len(v)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > uint64(10*365*24*time.Hour/unit) {
		return fmt.Errorf("%q is not a time like 90, 30s, 15m, 6h or 2d", v)
	}
	*dst = time.Duration(n) * unit
	return nil
}

// hint offers the closest known name.
func hint(got string, known []string) string {
	best, at := "", 1<<30
	for _, k := range known {
		if d := distance(strings.ToLower(got), k); d < at {
			best, at = k, d
		}
	}
	if best == "" || at > (len(best)+1)/2 {
		return ", known are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the number of single letter edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost++
			}
			prev, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
