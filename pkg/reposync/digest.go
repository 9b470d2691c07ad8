package reposync

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// newHash returns the hash of a checksum type as repomd.xml and metalinks write it. MD5 is left out: yum of EL6 was the
// last to need it.
func newHash(typ string) (hash.Hash, error) {
	switch strings.ToLower(typ) {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	case "sha384":
		return sha512.New384(), nil
	case "sha224":
		return sha256.New224(), nil
	case "sha1", "sha":
		return sha1.New(), nil
	}
	return nil, fmt.Errorf("checksum type %.20q is not supported: %w", typ, ErrDigest)
}

// checkSum compares a finished hash with what was announced.
func checkSum(h hash.Hash, want repodata.Checksum) error {
	sum, err := hex.DecodeString(strings.ToLower(want.Value))
	if err != nil || len(sum) != h.Size() {
		return fmt.Errorf("%.20s checksum %.140q is none: %w", want.Type, want.Value, ErrMetadata)
	}
	if got := h.Sum(nil); !bytes.Equal(got, sum) {
		return fmt.Errorf("%s is %x, not %x as announced: %w", want.Type, got, sum, ErrDigest)
	}
	return nil
}

// isHTML recognises the page that a captive portal, a proxy or a parked domain serves with status 200.
func isHTML(head []byte) bool {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(head) > 512 {
		head = head[:512]
	}
	head = bytes.ToLower(head)
	if bytes.HasPrefix(head, []byte("<?xml")) { // XHTML
		_, rest, found := bytes.Cut(head, []byte("?>"))
		if !found {
			return false
		}
		head = bytes.TrimLeft(rest, " \t\r\n")
	}
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<body"} {
		if bytes.HasPrefix(head, []byte(tag)) {
			return true
		}
	}
	return false
}

// errHTML is what such a page is reported as.
var errHTML = fmt.Errorf("the answer looks like an HTML page (captive portal or proxy?): %w", ErrMetadata)
