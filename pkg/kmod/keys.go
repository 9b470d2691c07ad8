package kmod

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
)

// KernelKeys is what /proc/keys shows of the kernel's own keys. It shows a
// process only what that may see: to root the system's keyrings and the keys in
// them, to others neither. Which key is in which keyring it does not tell.
type KernelKeys struct {
	Keyrings map[string]int // .builtin_trusted_keys, .platform, ...: how many keys; only those whose name begins with a dot
	Keys     []KernelKey    // asymmetric keys
}

// KernelKey is a public key that the kernel has: built in, of the firmware, or
// added since.
type KernelKey struct {
	Name string // organization and common name of its certificate's subject
	ID   string // subject key identifier or serial number, lower case hex
}

// Seen tells whether the kernel's keyrings were shown at all: what is not in
// Keys is then not among its keys.
func (k *KernelKeys) Seen() bool {
	_, ok := k.Keyrings[".builtin_trusted_keys"]
	return ok
}

// ByID finds a key by its identifier, in bytes.
func (k *KernelKeys) ByID(id []byte) (KernelKey, bool) {
	want := hex.EncodeToString(id)
	for _, x := range k.Keys {
		if want != "" && x.ID == want {
			return x, true
		}
	}
	return KernelKey{}, false
}

// ByName finds a key by the common name of its subject. The kernel puts the
// organization before it, where it is not part of it already.
func (k *KernelKeys) ByName(name string) (KernelKey, bool) {
	for _, x := range k.Keys {
		if name != "" && (x.Name == name || strings.HasSuffix(x.Name, ": "+name)) {
			return x, true
		}
	}
	return KernelKey{}, false
}

// ParseKernelKeys reads the text of /proc/keys (security/keys/proc.c): id,
// flags, usage, timeout, permissions, user, group, the first nine letters of
// the type, and what the type says of the key. Lines that are not understood
// are other types' and left out. Errors wrap ErrCorrupt or ErrTooLarge.
func ParseKernelKeys(r io.Reader) (*KernelKeys, error) {
	const maxKeys = 100_000
	k := &KernelKeys{Keyrings: map[string]int{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<10)
	for n := 0; sc.Scan(); n++ {
		if n == maxKeys {
			return nil, tooLarge("more than %d keys", maxKeys)
		}
		rest := sc.Text()
		var words [8]string
		for i := range words {
			rest = strings.TrimLeft(rest, " ")
			words[i], rest, _ = strings.Cut(rest, " ")
		}
		rest = strings.TrimLeft(rest, " ")
		i := strings.LastIndex(rest, ": ")
		if i < 0 {
			continue
		}
		desc, text := rest[:i], rest[i+2:]
		switch words[7] {
		case "keyring":
			if !strings.HasPrefix(desc, ".") {
				continue
			}
			count := 0
			if text != "empty" {
				var err error
				if count, err = strconv.Atoi(text); err != nil || count < 0 {
					return nil, corrupt("keyring %s with %q keys", clip(desc), clip(text))
				}
			}
			k.Keyrings[desc] += count
		case "asymmetri":
			x := KernelKey{Name: desc}
			if j := strings.LastIndex(desc, ": "); j >= 0 {
				if id := desc[j+2:]; id != "" && strings.Trim(id, "0123456789abcdef") == "" {
					x.Name, x.ID = desc[:j], id
				}
			}
			k.Keys = append(k.Keys, x)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, corrupt("%v", err)
	}
	return k, nil
}

// KernelKeys reads /proc/keys. Errors wrap fs.ErrNotExist where the kernel has
// no such file.
func (h *Host) KernelKeys() (*KernelKeys, error) {
	data, err := h.readFile("proc/keys", 16<<20)
	if err != nil {
		return nil, err
	}
	return ParseKernelKeys(bytes.NewReader(data))
}
