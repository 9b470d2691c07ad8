package rpmsig_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// gpg is a home of GnuPG's own making, with its agent stopped at the end.
type gpg struct {
	t    testing.TB
	home string
}

func newGPG(t testing.TB) *gpg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skipf("SKIPPED: gpg is absent, no keys and signatures of its making were tried: %v", err)
	}
	// The agent's socket lies in it: a path of t.TempDir can be too long.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	g := &gpg{t, home}
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "all")
		stop.Env = g.env()
		stop.Run()
		os.RemoveAll(home)
	})
	return g
}

func (g *gpg) env() []string { return append(os.Environ(), "GNUPGHOME="+g.home, "LC_ALL=C") }

func (g *gpg) run(args ...string) []byte {
	g.t.Helper()
	return g.runInput("", args...)
}

func (g *gpg) runInput(input string, args ...string) []byte {
	g.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Env = g.env()
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

func (g *gpg) key(uid, algo, usage, expire string, more ...string) {
	g.t.Helper()
	g.run(append(more, "--quick-gen-key", uid, algo, usage, expire)...)
}

func (g *gpg) export(uid string, more ...string) []*rpmsig.Key {
	g.t.Helper()
	keys, problems := rpmsig.ParseKeys(g.run(append(more, "--export", uid)...))
	if len(problems) != 0 {
		g.t.Errorf("key of %s: %v", uid, problems)
	}
	if len(keys) != 1 {
		g.t.Fatalf("%d keys of %s", len(keys), uid)
	}
	return keys
}

// fingerprint is gpg's word for the primary key's fingerprint.
func (g *gpg) fingerprint(uid string) string {
	for _, line := range strings.Split(string(g.run("--with-colons", "--list-keys", uid)), "\n") {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	g.t.Fatalf("gpg knows no fingerprint of %s", uid)
	return ""
}

const signedText = "<repomd>of one line</repomd>\n"

func (g *gpg) sign(uid string, more ...string) []byte {
	g.t.Helper()
	return g.runInput(signedText, append(more, "--local-user", uid, "--detach-sign")...)
}

func verify(t testing.TB, text string, sig []byte, keys ...*rpmsig.Key) rpmsig.Result {
	t.Helper()
	r, err := rpmsig.VerifyDetached(strings.NewReader(text), sig, rpmsig.NewKeyring(keys...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGnuPGKeys(t *testing.T) {
	g := newGPG(t)
	for _, tt := range []struct{ algo, pub string }{
		{"rsa2048", "RSA"}, {"ed25519", "EdDSA"}, {"nistp256", "ECDSA"}, {"nistp384", "ECDSA"}, {"dsa2048", "DSA"},
	} {
		t.Run(tt.algo, func(t *testing.T) {
			uid := tt.algo + "@example.org"
			g.key(uid, tt.algo, "sign", "never")
			key := g.export(uid)[0]
			if key.Fingerprint != g.fingerprint(uid) || key.UserID != uid || key.Algo != tt.pub || !key.Expires.IsZero() {
				t.Errorf("%+v", key)
			}
			for _, sig := range [][]byte{g.sign(uid), g.sign(uid, "--armor"), g.sign(uid, "--digest-algo", "SHA512")} {
				r := verify(t, signedText, sig, key)
				if r.Status != rpmsig.Good || r.Fingerprint != key.Fingerprint || r.PubAlgo != tt.pub || r.SigVersion != 4 || r.Weak || r.Reason != "" {
					t.Errorf("%+v", r)
				}
				if r := verify(t, signedText+"x", sig, key); r.Status != rpmsig.Bad {
					t.Errorf("over other text: %+v", r)
				}
				if r := verify(t, signedText, sig); r.Status != rpmsig.UnknownKey || r.KeyID != key.KeyIDs[0] || r.Fingerprint != key.Fingerprint {
					t.Errorf("without key: %+v", r)
				}
			}
		})
	}
}

func TestSeveralSignatures(t *testing.T) {
	g := newGPG(t)
	g.key("a@example.org", "ed25519", "sign", "never")
	g.key("b@example.org", "ed25519", "sign", "never")
	a, b := g.export("a@example.org"), g.export("b@example.org")
	both := g.sign("a@example.org", "--local-user", "b@example.org")
	armored := append(g.sign("a@example.org", "--armor"), g.sign("b@example.org", "--armor")...)
	for _, sig := range [][]byte{both, armored} {
		for _, k := range [][]*rpmsig.Key{a, b, append(a, b...)} {
			if r := verify(t, signedText, sig, k...); r.Status != rpmsig.Good {
				t.Errorf("one of two signatures should do: %+v", r)
			}
		}
		if r := verify(t, signedText, sig); r.Status != rpmsig.UnknownKey {
			t.Errorf("two unknown keys: %+v", r)
		}
	}
	// A damaged signature beside a good one.
	first := g.sign("a@example.org")
	first[len(first)-3] ^= 1
	if r := verify(t, signedText, append(first, g.sign("b@example.org")...), b...); r.Status != rpmsig.Good {
		t.Errorf("a damaged signature spoils a good one: %+v", r)
	}
}

func TestKeyStates(t *testing.T) {
	g := newGPG(t)
	past := time.Now().Add(-72 * time.Hour).UTC()
	at := func(d time.Duration) []string {
		return []string{"--faked-system-time", past.Add(d).Format("20060102T150405")}
	}

	t.Run("expired since", func(t *testing.T) {
		g.key("exp@example.org", "ed25519", "sign", "1d", at(0)...)
		key := g.export("exp@example.org")
		sig := g.sign("exp@example.org", at(time.Hour)...)
		if r := verify(t, signedText, sig, key...); r.Status != rpmsig.Good || !r.Expired || r.Reason == "" {
			t.Errorf("signed before the key expired: %+v", r)
		}
		if !key[0].ExpiredAt(time.Now()) || key[0].ExpiredAt(past.Add(time.Hour)) {
			t.Errorf("the key expires at %v", key[0].Expires)
		}
	})
	t.Run("signed after expiry", func(t *testing.T) {
		g.key("exp2@example.org", "ed25519", "sign", "never", at(0)...)
		fpr := g.fingerprint("exp2@example.org")
		late := g.sign("exp2@example.org", at(48*time.Hour)...)
		g.run(append(at(time.Hour), "--quick-set-expire", fpr, "1d")...)
		if r := verify(t, signedText, late, g.export("exp2@example.org")...); r.Status != rpmsig.Bad || !strings.Contains(r.Reason, "expired") {
			t.Errorf("signed after the key expired: %+v", r)
		}
	})
	t.Run("signing subkey", func(t *testing.T) {
		g.key("sub@example.org", "ed25519", "cert", "never")
		fpr := g.fingerprint("sub@example.org")
		g.run("--quick-add-key", fpr, "ed25519", "sign", "never")
		g.run("--quick-add-key", fpr, "cv25519", "encr", "never")
		key := g.export("sub@example.org")
		if len(key[0].KeyIDs) != 2 {
			t.Fatalf("key ids: %v", key[0].KeyIDs)
		}
		r := verify(t, signedText, g.sign("sub@example.org"), key...)
		if r.Status != rpmsig.Good || r.KeyID != key[0].KeyIDs[1] || r.Fingerprint != fpr {
			t.Errorf("%+v", r)
		}
	})
	for _, tt := range []struct {
		reason string // as gpg numbers them
		want   rpmsig.Status
	}{{"0", rpmsig.Bad}, {"1", rpmsig.Bad}, {"2", rpmsig.Good}, {"3", rpmsig.Good}} {
		t.Run("revoked for reason "+tt.reason, func(t *testing.T) {
			uid := "rev" + tt.reason + "@example.org"
			g.key(uid, "ed25519", "sign", "never", at(0)...)
			sig := g.sign(uid, at(time.Hour)...)
			if r := verify(t, signedText, sig, g.export(uid)...); r.Status != rpmsig.Good || r.Revoked {
				t.Errorf("before: %+v", r)
			}
			cert := g.revocation(uid, tt.reason)
			g.runInput(cert, "--import")
			key := g.export(uid)
			if !key[0].Revoked {
				t.Error("the key is not seen as revoked")
			}
			if r := verify(t, signedText, sig, key...); r.Status != tt.want || !r.Revoked {
				t.Errorf("after: %+v", r)
			}
			late := g.sign2(uid)
			if late == nil {
				return
			}
			if r := verify(t, signedText, late, key...); r.Status != rpmsig.Bad {
				t.Errorf("signed after the revocation: %+v", r)
			}
		})
	}
}

// revocation makes a revocation certificate; gpg asks for the reason.
func (g *gpg) revocation(uid, reason string) string {
	g.t.Helper()
	cmd := exec.Command("gpg", "--no-tty", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--command-fd", "0", "--status-fd", "2", "--gen-revoke", uid)
	cmd.Env = g.env()
	cmd.Stdin = strings.NewReader("y\n" + reason + "\n\ny\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg --gen-revoke: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// sign2 tries to sign with a revoked key, which gpg refuses nowadays.
func (g *gpg) sign2(uid string) []byte {
	cmd := exec.Command("gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", "--local-user", uid, "--detach-sign")
	cmd.Env = g.env()
	cmd.Stdin = strings.NewReader(signedText)
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	return out
}

// TestDamagedKeyFile: what is readable of a key file counts.
func TestDamagedKeyFile(t *testing.T) {
	g := newGPG(t)
	g.key("a@example.org", "ed25519", "sign", "never")
	g.key("b@example.org", "rsa2048", "sign", "never")
	a, b := string(g.run("--armor", "--export", "a@example.org")), string(g.run("--armor", "--export", "b@example.org"))
	bin := string(g.run("--export", "a@example.org", "b@example.org"))
	cut := a[:len(a)/2]
	for name, tt := range map[string]struct {
		data           string
		keys, problems int
	}{
		"two blocks":                {a + "some text\n\n" + b, 2, 0},
		"CR LF":                     {strings.ReplaceAll(a+b, "\n", "\r\n"), 2, 0},
		"binary":                    {bin, 2, 0},
		"binary cut off":            {bin[:len(bin)-5], 1, 2},
		"first block without end":   {cut + "\n" + b, 1, 1},
		"last block without end":    {b + cut, 1, 1},
		"no base64":                 {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!!\n-----END PGP PUBLIC KEY BLOCK-----\n" + a, 1, 1},
		"a signature is no key":     {string(g.sign("a@example.org", "--armor")) + a, 1, 1},
		"empty":                     {"", 0, 1},
		"text":                      {"not a key\n", 0, 1},
		"html":                      {"<!DOCTYPE html><html><body>404</body></html>", 0, 1},
		"damaged within (bit flip)": {bin[:40] + string([]byte{bin[40] ^ 1}) + bin[41:], 1, 1},
	} {
		keys, problems := rpmsig.ParseKeys([]byte(tt.data))
		if len(keys) != tt.keys || len(problems) != tt.problems {
			t.Errorf("%s: %d keys and problems %v; want %d and %d", name, len(keys), problems, tt.keys, tt.problems)
		}
		for _, p := range problems {
			if !errors.Is(p, rpmsig.ErrMalformed) && !errors.Is(p, rpmsig.ErrKey) {
				t.Errorf("%s: %v wraps no sentinel", name, p)
			}
		}
	}
}

// TestSmallKey: the standard library computes with no RSA key below 1024 bits.
func TestSmallKey(t *testing.T) {
	_, pub := v3Key(t, 768, time.Unix(1e9, 0))
	keys, problems := rpmsig.ParseKeys(pub)
	if len(keys) != 0 || len(problems) != 1 || !strings.Contains(fmt.Sprint(problems), "768 bits") {
		t.Errorf("%+v, %v", keys, problems)
	}
}

func TestMalformedSignature(t *testing.T) {
	for name, sig := range map[string]string{
		"empty": "", "text": "hello", "html": "<html>", "empty block": "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
		"huge packet": "\xc2\xff\xff\xff\xff\xff", "user id": "\xcd\x01a", "version 9": "\xc2\x01\x09", "version 3 cut": "\xc2\x03\x03\x05\x00",
	} {
		r, err := rpmsig.VerifyDetached(strings.NewReader(""), []byte(sig), nil)
		if err == nil && r.Status == rpmsig.Good || err != nil && !errors.Is(err, rpmsig.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	broken := errors.New("broken disk")
	g := newGPG(t)
	g.key("a@example.org", "ed25519", "sign", "never")
	if _, err := rpmsig.VerifyDetached(failing{broken}, g.sign("a@example.org"), nil); !errors.Is(err, broken) {
		t.Errorf("a reader's error came back as %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
