package plan

import (
	"net/url"
	"strings"
)

// Mirror is the tree that AlmaLinux's repositories are read from after the
// migration, where the administrator named one: a host that has no way to
// AlmaLinux's own servers must not lose its repositories.
type Mirror struct {
	URL     string   `json:"url"`               // of the tree that holds 8, 9 and 10; without a slash at its end and without credentials
	Options []string `json:"options,omitempty"` // "key=value" for each repository, e.g. sslcacert
	// CredentialsLeftOut: the mirror was named with a user and a password. Repository files are for everybody to read.
	CredentialsLeftOut bool `json:"credentials_left_out,omitempty"`
}

// NewMirror makes one of the URL that the administrator named. It is nil for
// an empty URL, and for a tree that is no server's: a medium that is mounted
// now need not be there tomorrow.
func NewMirror(raw string, options []string) *Mirror {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil
	}
	m := &Mirror{CredentialsLeftOut: u.User != nil, Options: options}
	u.User, u.Fragment = nil, ""
	m.URL = strings.TrimRight(u.String(), "/")
	return m
}

// equal tells whether the host would get the same settings.
func (m *Mirror) equal(o *Mirror) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.URL == o.URL && strings.Join(m.Options, "\n") == strings.Join(o.Options, "\n")
}

func (m *Mirror) String() string {
	if m == nil {
		return "none"
	}
	return m.URL
}
