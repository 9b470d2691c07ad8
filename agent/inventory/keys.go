package inventory

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// keyDir is where distributions and repositories put their keys.
const keyDir = "/etc/pki/rpm-gpg"

const (
	armorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

func (t *taker) readKeyFiles() {
	entries, err := t.h.ReadDir(keyDir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.skip(keyDir, err)
		}
		return
	}
	for _, e := range entries {
		name := keyDir + "/" + e.Name()
		data, err := t.h.ReadFile(name)
		if errors.Is(err, host.ErrNotRegular) {
			continue // a folder
		}
		if err != nil {
			t.skip(name, err)
			continue
		}
		t.addKeys(clean(name), data)
	}
}

// KeyFile returns the file of the host that a gpgkey address of a repository
// names, and false for one on a server.
func KeyFile(address string) (string, bool) {
	if name, ok := strings.CutPrefix(address, "file:"); ok {
		return path.Clean("/" + strings.TrimPrefix(name, "//localhost")), true
	}
	return path.Clean(address), strings.HasPrefix(address, "/")
}

// readNamedKeys reads the key files that repositories name and that lie
// elsewhere: a vendor's may be anywhere. It notes those that are not there.
func (t *taker) readNamedKeys() {
	missing := map[string]bool{}
	for _, k := range t.inv.Keys {
		missing[k.Source] = false
	}
	for i := range t.inv.Repos {
		r := &t.inv.Repos[i]
		for _, u := range r.GPGKeys {
			name, local := KeyFile(u)
			if !local {
				continue
			}
			if _, seen := missing[name]; !seen {
				data, err := t.h.ReadFile(name)
				missing[name] = errors.Is(err, fs.ErrNotExist)
				switch {
				case err == nil && path.Dir(name) != keyDir: // else it was read already, and no key could be
					t.addKeys(name, data)
				case err != nil && !missing[name] && r.Enabled:
					t.skip(name, err)
				}
			}
			if missing[name] {
				r.NoKeyFiles = append(r.NoKeyFiles, name)
			}
		}
	}
}

// keyRow takes the key out of a gpg-pubkey row. Row.Header is not kept.
func (t *taker) keyRow(r rpmdb.Row) {
	text := r.Header.String(rpmhdr.TagDescription)
	if text == "" {
		t.skip(fmt.Sprintf("gpg-pubkey, row %d of the rpm database", r.Num), errors.New("holds no key"))
		return
	}
	t.addKeys("rpmdb", []byte(text))
}

// addKeys adds the keys of a file or row to the keyring and the list. A file
// may hold several blocks, not all of them readable.
func (t *taker) addKeys(source string, data []byte) {
	for _, block := range blocks(data) {
		keys, problems := rpmsig.ParseKeys(block)
		for _, p := range problems {
			t.skip("key in "+source, p)
		}
		armored := string(block)
		if !bytes.Contains(block, []byte(armorBegin)) {
			armored = armor(block)
		}
		for _, k := range keys {
			t.ring.Add(k)
			key := Key{Fingerprint: k.Fingerprint, KeyIDs: k.KeyIDs, UserID: clean(k.UserID), Source: source, Armored: clean(armored)}
			if key.KeyIDs == nil {
				key.KeyIDs = []string{}
			}
			if !k.Expires.IsZero() {
				key.Expires = k.Expires.UTC().Format(time.DateOnly)
			}
			if info, ok := t.cat.KeyByFingerprint(k.Fingerprint); ok {
				key.Owner = info.Owner
			}
			t.inv.Keys = append(t.inv.Keys, key)
		}
	}
}

// blocks cuts armored text into its blocks; anything else is one block.
func blocks(data []byte) [][]byte {
	var out [][]byte
	rest := data
	for {
		begin := bytes.Index(rest, []byte(armorBegin))
		if begin < 0 {
			break
		}
		end := bytes.Index(rest[begin:], []byte(armorEnd))
		if end < 0 {
			out = append(out, rest[begin:])
			return out
		}
		end += begin + len(armorEnd)
		out = append(out, append(bytes.Clone(rest[begin:end]), '\n'))
		rest = rest[end:]
	}
	if out == nil {
		return [][]byte{data}
	}
	return out
}

// armor writes a binary key as text (RFC 9580, section 6), without the
// optional checksum.
func armor(data []byte) string {
	var b strings.Builder
	b.WriteString(armorBegin + "\n\n")
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n" + armorEnd + "\n")
	return b.String()
}
