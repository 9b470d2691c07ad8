package step

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

type configFile struct {
	path, digest string
	algo         uint32
}

// configFiles lists a package's regular configuration files.
func configFiles(h *rpmhdr.Header) (out []configFile) {
	digests, modes, flags := h.Strings(rpmhdr.TagFileDigests), h.Uint16s(rpmhdr.TagFileModes), h.Uint32s(rpmhdr.TagFileFlags)
	i := -1
	for f := range h.Files() {
		i++
		if i < len(flags) && i < len(modes) && i < len(digests) && flags[i]&rpmConfig != 0 && modes[i]&unix.S_IFMT == unix.S_IFREG {
			out = append(out, configFile{f, digests[i], digestAlgo(h)})
		}
	}
	return out
}

// digestAlgo is what the digests of a package's files are made with.
func digestAlgo(h *rpmhdr.Header) uint32 {
	if a := h.Uint32s(rpmhdr.TagFileDigestAlgo); len(a) > 0 {
		return a[0]
	}
	return 1 // MD5, where the header does not say
}

// CheckFiles compares an installed package with its files, as rpm -V does, but
// for times and configuration files, and returns a line for each that is not
// as the package has it.
func CheckFiles(h *rpmhdr.Header) []string {
	digests, links := h.Strings(rpmhdr.TagFileDigests), h.Strings(rpmhdr.TagFileLinktos)
	modes, flags := h.Uint16s(rpmhdr.TagFileModes), h.Uint32s(rpmhdr.TagFileFlags)
	states := h.Uint16s(rpmhdr.TagFileStates)
	algo := digestAlgo(h)
	var bad []string
	i := -1
	for f := range h.Files() {
		i++
		if i >= len(modes) || i < len(flags) && flags[i]&(rpmGhost|rpmConfig) != 0 || i < len(states) && states[i] != 0 {
			continue // state 0: installed; others are replaced, left out by language or documentation settings
		}
		var st unix.Stat_t
		if err := unix.Lstat(f, &st); err != nil {
			bad = append(bad, fmt.Sprintf("%s is missing", f))
			continue
		}
		want := uint32(modes[i])
		if want&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_IFMT == unix.S_IFLNK && unix.Stat(f, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue // rpm leaves a link to a folder alone
		}
		if st.Mode != want && want&unix.S_IFMT != unix.S_IFLNK {
			bad = append(bad, fmt.Sprintf("%s has mode %o and not %o", f, st.Mode, want))
			continue
		}
		switch want & unix.S_IFMT {
		case unix.S_IFLNK:
			if to, err := os.Readlink(f); err != nil || i < len(links) && to != links[i] {
				bad = append(bad, fmt.Sprintf("%s does not point to %s", f, links[i]))
			}
		case unix.S_IFREG:
			if i < len(digests) && digests[i] != "" {
				if sum, err := digestFile(f, algo); err == nil && sum != digests[i] {
					bad = append(bad, fmt.Sprintf("%s has other content", f))
				}
			}
		}
	}
	return bad
}

// digestFile hashes a file with the algorithm of a number in RFC 4880, 9.4.
func digestFile(name string, algo uint32) (string, error) {
	var h hash.Hash
	switch algo {
	case 1:
		h = md5.New()
	case 2:
		h = sha1.New()
	case 8:
		h = sha256.New()
	case 10:
		h = sha512.New()
	default:
		return "", fmt.Errorf("cannot check %s: digest algorithm %d", name, algo)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
