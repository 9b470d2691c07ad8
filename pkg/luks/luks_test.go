package luks_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/luks"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func protected(clevis string) string {
	return b64(`{"alg":"dir","clevis":` + clevis + `,"enc":"A256GCM"}`)
}

const (
	pinTPM  = `{"pin":"tpm2","tpm2":{"hash":"sha256","key":"ecc","pcr_bank":"sha256","pcr_ids":"0,7"}}`
	pinFree = `{"pin":"tpm2","tpm2":{"hash":"sha256","key":"ecc"}}`
	pinTang = `{"pin":"tang","tang":{"adv":{},"url":"http://tang.example.org"}}`
)

func jwe(clevis string) string {
	return protected(clevis) + ".." + b64("iv") + "." + b64("text") + "." + b64("tag")
}

func sss(t int, parts ...string) string {
	return fmt.Sprintf(`{"pin":"sss","sss":{"jwe":["%s"],"p":"xx","t":%d}}`, strings.Join(parts, `","`), t)
}

func clevisToken(slot, clevis string) string {
	return fmt.Sprintf(`{"type":"clevis","keyslots":["%s"],"jwe":{"ciphertext":"x","encrypted_key":"","iv":"x","protected":"%s","tag":"x"}}`, slot, protected(clevis))
}

// tokens are as the programs write them, and what they mean.
var tokens = []struct {
	name, json string
	want       luks.Token
}{
	{"systemd-tpm2", `{"type":"systemd-tpm2","keyslots":["0"],"tpm2-blob":"AA==","tpm2-pcrs":[7,4],"tpm2-pcr-bank":"sha256","tpm2-primary-alg":"ecc","tpm2-policy-hash":"00","tpm2-pin":true}`,
		luks.Token{Type: "systemd-tpm2", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{4, 7}, Bank: "sha256", PIN: true}}}},
	{"a signed policy", `{"type":"systemd-tpm2","keyslots":["0"],"tpm2-blob":"AA==","tpm2-pcrs":[],"tpm2-pcr-bank":"sha256","tpm2-policy-hash":"00","tpm2_pubkey":"AA==","tpm2_pubkey_pcrs":[11]}`,
		luks.Token{Type: "systemd-tpm2", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "tpm2", Bank: "sha256", Signed: []int{11}}}}},
	{"clevis tpm2", clevisToken("0", pinTPM), luks.Token{Type: "clevis", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{0, 7}, Bank: "sha256"}}}},
	{"clevis tpm2, nothing bound", clevisToken("0", pinFree), luks.Token{Type: "clevis", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "tpm2"}}}},
	{"clevis tang", clevisToken("0", pinTang), luks.Token{Type: "clevis", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "tang", URL: "http://tang.example.org"}}}},
	{"clevis sss", clevisToken("0", sss(2, jwe(pinTPM), jwe(pinTang), jwe(sss(1, jwe(pinTang), jwe(pinFree))))),
		luks.Token{Type: "clevis", Keyslots: []int{0}, Unlock: []luks.Unlock{
			{Kind: "tpm2", PCRs: []int{0, 7}, Bank: "sha256", OneOf: 3, Needed: 2}, {Kind: "tang", URL: "http://tang.example.org", OneOf: 3, Needed: 2},
			{Kind: "tang", URL: "http://tang.example.org", OneOf: 2, Needed: 1}, {Kind: "tpm2", OneOf: 2, Needed: 1}}}},
	{"another pin", clevisToken("0", `{"pin":"yubikey"}`), luks.Token{Type: "clevis", Keyslots: []int{0}, Unlock: []luks.Unlock{{Kind: "yubikey"}}}},
	{"recovery", `{"type":"systemd-recovery","keyslots":["0"]}`, luks.Token{Type: "systemd-recovery", Keyslots: []int{0}}},
	{"fido2", `{"type":"systemd-fido2","keyslots":["0"],"fido2-credential":"AA==","fido2-salt":"AA==","fido2-rp":"io.systemd.cryptsetup","fido2-clientPin-required":true,"fido2-up-required":true,"fido2-uv-required":false}`, luks.Token{Type: "systemd-fido2", Keyslots: []int{0}}},
}

// v2 makes a LUKS2 header with both copies.
func v2(json string) []byte {
	const size = 16 << 10
	out := make([]byte, 2*size)
	for i, m := range []string{"LUKS\xba\xbe", "SKUL\xba\xbe"} {
		b := out[i*size : (i+1)*size]
		copy(b, m)
		binary.BigEndian.PutUint16(b[6:], 2)
		binary.BigEndian.PutUint64(b[8:], size)
		copy(b[24:], "data")
		copy(b[72:], "sha256")
		copy(b[168:], "817ee026-68b8-49e8-aa74-9bff6150a01b")
		binary.BigEndian.PutUint64(b[256:], uint64(i*size))
		copy(b[4096:], json)
		sum := sha256.Sum256(b)
		copy(b[448:], sum[:])
	}
	return out
}

// v1 makes a LUKS1 header with one keyslot, and clevis's binding beside it.
func v1(binding string) []byte {
	const hole = 2068480
	b := make([]byte, hole+4096+len(binding))
	copy(b, "LUKS\xba\xbe\x00\x01aes")
	binary.BigEndian.PutUint32(b[104:], 4096) // payload, in sectors
	binary.BigEndian.PutUint32(b[108:], 64)
	copy(b[168:], "817ee026-68b8-49e8-aa74-9bff6150a01b")
	for i := range 8 {
		s := b[208+48*i:]
		binary.BigEndian.PutUint32(s, map[bool]uint32{true: 0x00ac71f3, false: 0x0000dead}[i < 2])
		binary.BigEndian.PutUint32(s[40:], uint32(8+504*i))
		binary.BigEndian.PutUint32(s[44:], 4000)
	}
	if binding != "" {
		m := b[hole:]
		copy(m, "LUKSMETA\x00\x00\x00\x01")
		s := m[16+32:]
		copy(s, "\xcb\x6e\x89\x04\x81\xff\x40\xda\xa8\x4a\x07\xab\x9a\xb5\x71\x5e")
		binary.BigEndian.PutUint32(s[16:], 4096)
		binary.BigEndian.PutUint32(s[20:], uint32(len(binding)))
		copy(m[4096:], binding)
	}
	return b
}

func read(t *testing.T, b []byte) *luks.Header {
	t.Helper()
	h, err := luks.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTokens(t *testing.T) {
	for _, tc := range tokens {
		t.Run(tc.name, func(t *testing.T) {
			h := read(t, v2(`{"keyslots":{"0":{},"1":{}},"tokens":{"0":`+tc.json+`}}`))
			want := &luks.Header{Version: 2, Label: "data", UUID: "817ee026-68b8-49e8-aa74-9bff6150a01b", Keyslots: []int{0, 1}, Tokens: []luks.Token{tc.want}}
			if d := cmp.Diff(want, h); d != "" {
				t.Error(d)
			}
		})
	}
	h := read(t, v2(`{"keyslots":{"0":{},"1":{},"7":{}},"tokens":{"1":{"type":"systemd-recovery","keyslots":["7"]},"0":{"type":"clevis","keyslots":["1"],"jwe":{"protected":"!"}}}}`))
	if d := cmp.Diff([]int{0, 7}, h.Keyless()); d != "" {
		t.Error(d)
	}
	if h.Tokens[0].Problem == "" || h.Tokens[0].Unlock != nil || h.Tokens[0].Keyslots[0] != 1 {
		t.Errorf("a binding that cannot be read: %+v", h.Tokens[0])
	}
}

func TestVersion1(t *testing.T) {
	h := read(t, v1(jwe(pinTPM)))
	want := &luks.Header{
		Version: 1, UUID: "817ee026-68b8-49e8-aa74-9bff6150a01b", Keyslots: []int{0, 1},
		Tokens: []luks.Token{{Type: "clevis", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{0, 7}, Bank: "sha256"}}}},
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Error(d)
	}
	if h := read(t, v1("")); len(h.Tokens) > 0 || len(h.Keyslots) != 2 {
		t.Errorf("%+v", h)
	}
	if h := read(t, v1("")[:592]); len(h.Keyslots) != 2 {
		t.Errorf("a header alone: %+v", h)
	}
}

func TestDamaged(t *testing.T) {
	good := v2(`{"keyslots":{"0":{}},"tokens":{}}`)
	change := func(b []byte, at int, x byte) []byte {
		b = bytes.Clone(b)
		b[at] ^= x
		return b
	}
	// One copy is enough.
	for name, b := range map[string][]byte{
		"checksum of the first": change(good, 5000, 1), "magic of the first": change(good, 0, 1), "second": change(good, 16<<10+5000, 1),
	} {
		if h := read(t, b); len(h.Keyslots) != 1 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	for name, b := range map[string][]byte{
		"both": change(change(good, 5000, 1), 16<<10+5000, 1), "cut": good[:9000], "version": change(good, 7, 4), "size": change(good[:16<<10], 8, 1),
		"no JSON": v2("{"), "a keyslot's name": v2(`{"keyslots":{"x":{}}}`), "a token's name": v2(`{"tokens":{"-1":{}}}`), "a token's keyslot": v2(`{"tokens":{"0":{"keyslots":["x"]}}}`),
		"a register": v2(`{"tokens":{"0":{"type":"systemd-tpm2","tpm2-pcrs":[99]}}}`), "LUKS1 keyslot": change(v1(""), 208, 1), "LUKS1, short": v1("")[:500],
	} {
		if h, err := luks.Read(bytes.NewReader(b)); !errors.Is(err, luks.ErrCorrupt) {
			t.Errorf("%s: %v %+v", name, err, h)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "short": []byte("LUKS"), "something else": make([]byte, 1<<20)} {
		if _, err := luks.Read(bytes.NewReader(b)); !errors.Is(err, luks.ErrNotLUKS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := pinTang
	for range 8 {
		deep = sss(1, jwe(deep))
	}
	if h := read(t, v2(`{"keyslots":{"0":{}},"tokens":{"0":`+clevisToken("0", deep)+`}}`)); !strings.Contains(h.Tokens[0].Problem, "deep") {
		t.Errorf("%+v", h.Tokens[0])
	}
}

// run calls a real program on a volume in a file; the test is skipped without it.
func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed (Debian: cryptsetup-bin, luksmeta)", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func volume(t *testing.T, version string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 20<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "secret", "cryptsetup", "-q", "luksFormat", "--type", version, "--uuid", "817ee026-68b8-49e8-aa74-9bff6150a01b", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", file, "-")
	return file
}

func readFile(t *testing.T, file string) *luks.Header {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := luks.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestRealVersion2 reads headers that cryptsetup made, with every token that it
// accepts.
func TestRealVersion2(t *testing.T) {
	file := volume(t, "luks2")
	want := &luks.Header{Version: 2, UUID: "817ee026-68b8-49e8-aa74-9bff6150a01b", Keyslots: []int{0}}
	if d := cmp.Diff(want, readFile(t, file)); d != "" {
		t.Error(d)
	}
	for _, tc := range tokens {
		run(t, tc.json, "cryptsetup", "token", "import", "--json-file", "-", file)
		want.Tokens = append(want.Tokens, tc.want)
	}
	if d := cmp.Diff(want, readFile(t, file)); d != "" {
		t.Error(d)
	}
	// cryptsetup repairs a header from its copy, and so does this.
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("garbage"), 4200); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if d := cmp.Diff(want, readFile(t, file)); d != "" {
		t.Error(d)
	}
}

// TestRealVersion1 reads what luksmeta, of which clevis makes use, puts beside
// a LUKS1 header.
func TestRealVersion1(t *testing.T) {
	file := volume(t, "luks1")
	want := &luks.Header{Version: 1, UUID: "817ee026-68b8-49e8-aa74-9bff6150a01b", Keyslots: []int{0}}
	if d := cmp.Diff(want, readFile(t, file)); d != "" {
		t.Error(d)
	}
	run(t, "", "luksmeta", "init", "-f", "-d", file)
	run(t, jwe(pinTPM), "luksmeta", "save", "-d", file, "-s", "1", "-u", "cb6e8904-81ff-40da-a84a-07ab9ab5715e")
	run(t, "somebody else's", "luksmeta", "save", "-d", file, "-s", "2", "-u", "23149359-1b61-4803-b818-774ab730fbec")
	want.Tokens = []luks.Token{{Type: "clevis", Keyslots: []int{1}, Unlock: []luks.Unlock{{Kind: "tpm2", PCRs: []int{0, 7}, Bank: "sha256"}}}}
	if d := cmp.Diff(want, readFile(t, file)); d != "" {
		t.Error(d)
	}
}

// FuzzRead mends the checksum, so that what is behind it is reached.
func FuzzRead(f *testing.F) {
	for _, tc := range tokens {
		f.Add(v2(`{"keyslots":{"0":{}},"tokens":{"0":` + tc.json + `}}`))
	}
	f.Add(v1(jwe(pinTPM))[:4096])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 16<<10 && string(b[:6]) == "LUKS\xba\xbe" {
			b = bytes.Clone(b)
			clear(b[448:512])
			sum := sha256.Sum256(b[:16<<10])
			copy(b[448:], sum[:])
		}
		h, err := luks.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if h.Version != 1 && h.Version != 2 || len(h.Keyless()) > len(h.Keyslots) {
			t.Errorf("%+v", h)
		}
	})
}

func FuzzClevis(f *testing.F) {
	for _, s := range []string{pinTPM, pinFree, pinTang, sss(1, jwe(pinTPM), jwe(pinTang))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, clevis string) {
		h, err := luks.Read(bytes.NewReader(v1(jwe(clevis))))
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Tokens) != 1 || (h.Tokens[0].Problem == "") == (len(h.Tokens[0].Unlock) == 0) && !strings.Contains(clevis, "sss") {
			t.Errorf("%+v", h.Tokens)
		}
	})
}
