// Package repodata reads the metadata of rpm repositories (repomd.xml,
// primary.xml, filelists.xml, modules.yaml) and keeps what it read in a compact
// index file, so that the XML is parsed once.
//
// The XML formats have no specification; createrepo_c writes them and libsolv
// and librepo read them: the element names here are theirs
// (http://linux.duke.edu/metadata/common, .../rpm, .../filelists, .../repo).
// Module metadata is described by libmodulemd's yaml_specs.
//
// Everything read is taken as hostile. Names are kept as they are given (they
// may hold anything but the characters that XML forbids), so whoever prints one
// must escape it, and whoever makes a path of one must check it.
package repodata

import (
	"errors"
	"fmt"
)

var (
	// ErrMalformed is wrapped by every error that says that metadata is not
	// what its format asks for.
	ErrMalformed = errors.New("malformed metadata")
	// ErrTooLarge is wrapped where a size, count or depth limit is passed.
	ErrTooLarge = errors.New("metadata too large")
	// ErrUnsupported is wrapped where a format is known and not read (zchunk).
	ErrUnsupported = errors.New("unsupported format")
	// ErrIndex is wrapped where an index file is damaged, of another version,
	// or not an index at all: it must be built anew.
	ErrIndex = errors.New("unusable metadata index")
)

// ParseError says where metadata is wrong. It wraps ErrMalformed, or
// ErrTooLarge where a limit was passed.
type ParseError struct {
	What   string // "primary metadata", "filelists"
	Offset int64  // bytes into the uncompressed document
	Msg    string
	Limit  bool // a limit was passed
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("cannot parse %s: byte %d: %s", e.What, e.Offset, e.Msg)
}

// Unwrap makes errors.Is see ErrMalformed or ErrTooLarge.
func (e *ParseError) Unwrap() error {
	if e.Limit {
		return ErrTooLarge
	}
	return ErrMalformed
}
