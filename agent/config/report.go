package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is section [report]: what a run of report leaves behind, and where.
type Report struct {
	Keep        int           // keep: reports on disk, the latest included
	Journal     bool          // journal: write to journald where there is one
	TextfileDir string        // textfile_dir: node_exporter's folder; empty: no textfile
	AnsibleFact bool          // ansible_fact: write FactDir's file where that folder exists
	SpoolSize   int64         // spool_size: bytes that may wait for one endpoint
	SpoolAge    time.Duration // spool_age: how long a report waits
	SendTime    time.Duration // send_time: how long one run tries, for each endpoint
	Security    bool          // security: tell what AlmaLinux's advisories say of the host, as check --security does
	Advisories  []string      // advisories: files of advisories beside the repositories'; they imply Security
	Origins     bool          // origins: tell of other vendors' packages and repositories, as check --origins does
}

// Endpoint is section [endpoint NAME]: a server that reports are POSTed to.
type Endpoint struct {
	URL        string        // url: https, or http without token to anywhere and with one to this machine
	TokenFile  string        // token_file: holds a bearer token
	CACert     string        // ca_cert: file; empty: the system's
	ClientCert string        // client_cert: file
	ClientKey  string        // client_key: file
	Proxy      string        // proxy: URL; empty: the environment's
	Gzip       bool          // gzip: compress the body
	Timeout    time.Duration // timeout: of one attempt
	Retries    int           // retries: further attempts at one report within a run
}

func defaultReport() Report {
	return Report{Keep: 30, Journal: true, AnsibleFact: true, SpoolSize: 64 << 20, SpoolAge: 14 * 24 * time.Hour, SendTime: 5 * time.Minute}
}

func defaultEndpoint() Endpoint {
	return Endpoint{Gzip: true, Timeout: 30 * time.Second, Retries: 3}
}

var reportKeys = map[string]setter{
	"keep":    func(c *Config, _, v string) error { return setCount(&c.Report.Keep, v, 1, 10000) },
	"journal": func(c *Config, _, v string) error { return setBool(&c.Report.Journal, v) },
	"textfile_dir": func(c *Config, _, v string) error {
		if v == "" {
			c.Report.TextfileDir = ""
			return nil
		}
		return absolute(func(c *Config) *string { return &c.Report.TextfileDir })(c, "", v)
	},
	"ansible_fact": func(c *Config, _, v string) error { return setBool(&c.Report.AnsibleFact, v) },
	"spool_size":   func(c *Config, _, v string) error { return setSize(&c.Report.SpoolSize, v) },
	"spool_age":    func(c *Config, _, v string) error { return setPositive(&c.Report.SpoolAge, v) },
	"send_time":    func(c *Config, _, v string) error { return setPositive(&c.Report.SendTime, v) },
	"security":     func(c *Config, _, v string) error { return setBool(&c.Report.Security, v) },
	"advisories":   func(c *Config, _, v string) error { return setPaths(&c.Report.Advisories, v) },
	"origins":      func(c *Config, _, v string) error { return setBool(&c.Report.Origins, v) },
}

var endpointKeys = map[string]setter{
	"url": inEndpoint(func(e *Endpoint, v string) error {
		if err := setURL(&e.URL, v, "http", "https"); err != nil {
			return err
		}
		if u, err := url.Parse(v); err != nil || u.User != nil {
			// the configuration is readable by all, error messages are copied into tickets
			return errors.New("must not hold a user or password; name a token_file or a client_key")
		}
		return nil
	}),
	"token_file":  inEndpoint(func(e *Endpoint, v string) error { return setFile(&e.TokenFile, v) }),
	"ca_cert":     inEndpoint(func(e *Endpoint, v string) error { return setFile(&e.CACert, v) }),
	"client_cert": inEndpoint(func(e *Endpoint, v string) error { return setFile(&e.ClientCert, v) }),
	"client_key":  inEndpoint(func(e *Endpoint, v string) error { return setFile(&e.ClientKey, v) }),
	"proxy":       inEndpoint(func(e *Endpoint, v string) error { return setURL(&e.Proxy, v, "http", "https", "socks5") }),
	"gzip":        inEndpoint(func(e *Endpoint, v string) error { return setBool(&e.Gzip, v) }),
	"timeout":     inEndpoint(func(e *Endpoint, v string) error { return setPositive(&e.Timeout, v) }),
	"retries":     inEndpoint(func(e *Endpoint, v string) error { return setCount(&e.Retries, v, 0, 100) }),
}

func inEndpoint(set func(*Endpoint, string) error) setter {
	return func(c *Config, id, v string) error {
		e, ok := c.Endpoint[id]
		if !ok {
			e = defaultEndpoint()
		}
		if err := set(&e, v); err != nil {
			return err
		}
		c.Endpoint[id] = e
		return nil
	}
}

// whole checks what only all files together can tell.
func (c *Config) whole() error {
	names := slices.Sorted(maps.Keys(c.Endpoint))
	for _, n := range names {
		e := c.Endpoint[n]
		switch {
		case e.URL == "":
			return fmt.Errorf("[endpoint %s] needs url: %w", n, ErrConfig)
		case (e.ClientCert == "") != (e.ClientKey == ""):
			return fmt.Errorf("[endpoint %s]: client_cert and client_key go together: %w", n, ErrConfig)
		case e.TokenFile != "" && !private(e.URL):
			return fmt.Errorf("[endpoint %s]: a token would travel in clear text; use https:// in url: %w", n, ErrConfig)
		}
	}
	return nil
}

// private tells whether nobody else reads what is sent to a URL.
func private(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// endpointName tells whether id can name an endpoint: it becomes a folder of
// the spool and the label of a metric.
func endpointName(id string) bool {
	if id == "" || len(id) > 64 || id[0] == '.' {
		return false
	}
	for _, r := range id {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			return false
		}
	}
	return true
}

func setFile(dst *string, v string) error {
	if !path.IsAbs(v) {
		return fmt.Errorf("%q is not an absolute path", v)
	}
	*dst = path.Clean(v)
	return nil
}

func setPositive(dst *time.Duration, v string) error {
	var d time.Duration
	if err := setDuration(&d, v); err != nil {
		return err
	}
	if d == 0 {
		return errors.New("must be more than 0")
	}
	*dst = d
	return nil
}

func setCount(dst *int, v string, least, most int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return fmt.Errorf("%q is not a number from %d to %d", v, least, most)
	}
	*dst = n
	return nil
}

// setSize reads a number of bytes, or of KiB, MiB or GiB with k, M or G.
func setSize(dst *int64, v string) error {
	shift, digits := 0, v
	if v != "" {
		if s, ok := map[byte]int{'k': 10, 'm': 20, 'g': 30}[v[len(v)-1]|0x20]; ok {
			shift, digits = s, v[:len(v)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a size like 500k, 64M or 1G", v)
	}
	*dst = int64(n) << shift
	return nil
}
