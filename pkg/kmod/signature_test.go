package kmod_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

// trailer is what scripts/sign-file appends after the signature.
func trailer(idType byte, sigLen int) []byte {
	info := make([]byte, 12)
	info[2] = idType
	binary.BigEndian.PutUint32(info[8:], uint32(sigLen))
	return append(info, "~Module signature appended~\n"...)
}

type signer struct{ key, cert string }

func newSigner(t testing.TB, dir, name string, newkey ...string) (signer, *x509.Certificate) {
	t.Helper()
	s := signer{filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pem")}
	args := append([]string{"req", "-new", "-x509", "-nodes", "-days", "10", "-sha256", "-subj", "/O=Test Org/CN=" + name,
		"-keyout", s.key, "-out", s.cert}, newkey...)
	run(t, tool(t, "openssl"), args...)
	block, _ := pem.Decode(read(t, s.cert))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return s, cert
}

func (s signer) sign(t testing.TB, dir string, data []byte, flags ...string) []byte {
	t.Helper()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"cms", "-sign", "-binary", "-nocerts", "-outform", "DER", "-in", in, "-out", out,
		"-signer", s.cert, "-inkey", s.key}, flags...)
	run(t, tool(t, "openssl"), args...)
	return read(t, out)
}

func TestSignatures(t *testing.T) {
	dir := t.TempDir()
	rsa, rsaCert := newSigner(t, dir, "Test kernel signing key", "-newkey", "rsa:2048")
	ec, ecCert := newSigner(t, dir, "ec", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384")
	_, otherCert := newSigner(t, dir, "other", "-newkey", "rsa:2048")
	body := bytes.Repeat([]byte("module "), 999)
	for _, c := range []struct {
		name  string
		s     signer
		cert  *x509.Certificate
		flags []string
		hash  string
	}{
		{"as sign-file", rsa, rsaCert, []string{"-noattr", "-md", "sha256"}, "sha256"},
		{"sha512", rsa, rsaCert, []string{"-noattr", "-md", "sha512"}, "sha512"},
		{"sha1", rsa, rsaCert, []string{"-noattr", "-md", "sha1"}, "sha1"},
		{"key id", rsa, rsaCert, []string{"-noattr", "-md", "sha256", "-keyid"}, "sha256"},
		{"attributes", rsa, rsaCert, []string{"-md", "sha384"}, "sha384"},
		{"ecdsa", ec, ecCert, []string{"-noattr", "-md", "sha384"}, "sha384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sig := c.s.sign(t, dir, body, c.flags...)
			file := append(append(append([]byte{}, body...), sig...), trailer(2, len(sig))...)
			got, err := kmod.ParseSignature(file)
			if err != nil {
				t.Fatal(err)
			}
			if got.Format != "PKCS#7" || got.Hash != c.hash || got.SignedLen != len(body) {
				t.Errorf("%s %s over %d bytes", got.Format, got.Hash, got.SignedLen)
			}
			if c.name == "key id" {
				if !bytes.Equal(got.KeyID, c.cert.SubjectKeyId) {
					t.Errorf("key id %x", got.KeyID)
				}
			} else if got.Signer != c.cert.Subject.CommonName || got.Organization != "Test Org" {
				t.Errorf("signer %q of %q", got.Signer, got.Organization)
			}
			by, err := got.VerifyWith(file, []*x509.Certificate{otherCert, c.cert})
			if err != nil || by != c.cert {
				t.Errorf("verify: %v", err)
			}
			if _, err := got.VerifyWith(file, []*x509.Certificate{otherCert}); !errors.Is(err, kmod.ErrNoCertificate) {
				t.Errorf("other certificate: %v", err)
			}
			bad := bytes.Clone(file)
			bad[77] ^= 1
			if _, err := got.VerifyWith(bad, []*x509.Certificate{c.cert}); !errors.Is(err, kmod.ErrBadSignature) {
				t.Errorf("changed module: %v", err)
			}
		})
	}
}

func TestOldSignature(t *testing.T) {
	// Kernels before 4.3: name, key id, then an MPI; modinfo's oracle in the same form.
	name, id, mpi := "CentOS Linux kernel signing key", []byte{0xab, 1, 2}, []byte{0, 3, 9, 8, 7}
	file := append([]byte("body"), name...)
	file = append(append(file, id...), mpi...)
	info := trailer(1, len(mpi))
	info[0], info[1], info[3], info[4] = 1, 4, byte(len(name)), byte(len(id))
	s, err := kmod.ParseSignature(append(file, info...))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{s.Format, s.Hash, s.Signer, s.KeyLabel(), s.Value, s.SignedLen}
	if diff := cmp.Diff([]any{"X509", "sha256", name, "AB:01:02", []byte{9, 8, 7}, 4}, got); diff != "" {
		t.Error(diff)
	}
}

// modinfo(8) prints the serial number as a number, not as DER has it, and a key
// id as it stands.
func TestKeyLabel(t *testing.T) {
	for want, s := range map[string]kmod.Signature{
		"A9:CB:26": {Serial: []byte{0, 0xa9, 0xcb, 0x26}},
		"79:40:00": {Serial: []byte{0x79, 0x40, 0}},
		"00":       {Serial: []byte{0}},
		"00:A9":    {KeyID: []byte{0, 0xa9}},
	} {
		if got := s.KeyLabel(); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

func TestSignatureDamage(t *testing.T) {
	magic := "~Module signature appended~\n"
	for _, c := range []struct {
		name string
		data string
		want error
	}{
		{"no room for the structure", magic, kmod.ErrCorrupt},
		{"longer than the file", "x" + string(trailer(2, 1000)), kmod.ErrCorrupt},
		{"huge", strings.Repeat("x", 300<<10) + string(trailer(2, 300<<10)), kmod.ErrTooLarge},
		{"no DER", "xxxxxxxx" + string(trailer(2, 4)), kmod.ErrCorrupt},
		{"empty", string(trailer(2, 0)), kmod.ErrCorrupt},
		{"type", "xxxxxxxx" + string(trailer(7, 4)), kmod.ErrUnsupported},
	} {
		if _, err := kmod.ParseSignature([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if s, err := kmod.ParseSignature([]byte("unsigned")); s != nil || err != nil {
		t.Errorf("unsigned: %v, %v", s, err)
	}
}
