package rpmsig_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// entity makes a key with go-crypto and returns it with its public packets.
func entity(t testing.TB, config *packet.Config) (*openpgp.Entity, []byte) {
	t.Helper()
	e, err := openpgp.NewEntity("Test", "", "test@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return e, b.Bytes()
}

func detach(t testing.TB, e *openpgp.Entity, config *packet.Config) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.DetachSign(&b, e, strings.NewReader(signedText), config); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var v6 = []struct {
	name   string
	config *packet.Config
}{
	{"Ed25519", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519}},
	{"Ed448", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd448}},
	{"RSA", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}},
	{"ML-DSA-65+Ed25519", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoMldsa65Ed25519}},
	{"ML-DSA-87+Ed448", &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoMldsa87Ed448}},
}

func TestVersion6(t *testing.T) {
	for _, tt := range v6 {
		t.Run(tt.name, func(t *testing.T) {
			e, pub := entity(t, tt.config)
			keys, problems := rpmsig.ParseKeys(pub)
			if len(keys) != 1 || keys[0].Version != 6 || len(keys[0].Fingerprint) != 64 || keys[0].Algo != tt.name {
				t.Fatalf("%+v, %v", keys, problems)
			}
			sig := detach(t, e, tt.config)
			r := verify(t, signedText, sig, keys...)
			if r.Status != rpmsig.Good || r.SigVersion != 6 || r.PubAlgo != tt.name {
				t.Errorf("%+v", r)
			}
			if r := verify(t, signedText+"x", sig, keys...); r.Status != rpmsig.Bad {
				t.Errorf("over other text: %+v", r)
			}
			if r := verify(t, signedText, sig); r.Status != rpmsig.UnknownKey || r.KeyID != keys[0].KeyIDs[0] {
				t.Errorf("without key: %+v", r)
			}
		})
	}
}

// TestUnknownAlgorithm: of a signature by an algorithm of the future, the key
// id is told all the same.
func TestUnknownAlgorithm(t *testing.T) {
	_, pub := entity(t, v6[0].config)
	keys, _ := rpmsig.ParseKeys(pub)
	sig := []byte{4, 0, 99, 8, 0, 6, 5, 2, 0x60, 0, 0, 0, 0, 10, 9, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0xaa, 0xbb, 0, 1, 1}
	r := verify(t, signedText, oldPacket(2, sig), keys...)
	if r.Status != rpmsig.Unsupported || r.KeyID != "0102030405060708" || r.PubAlgo != "algorithm 99" || r.Created.Unix() != 0x60000000 {
		t.Errorf("%+v", r)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, tt := range v6[:2] {
		_, pub := entity(f, tt.config)
		f.Add(pub)
		var b bytes.Buffer
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		if err != nil {
			f.Fatal(err)
		}
		w.Write(pub)
		w.Close()
		f.Add(b.Bytes())
	}
	_, pub := entity(f, &packet.Config{})
	f.Add(pub)
	_, pub = v3Key(f, 1024, time.Unix(1e9, 0))
	f.Add(pub)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, problems := rpmsig.ParseKeys(data)
		if len(keys) == 0 && len(problems) == 0 {
			t.Error("neither keys nor problems")
		}
		ring := rpmsig.NewKeyring(keys...)
		ring.Add(keys...)
		for _, k := range keys {
			if len(k.KeyIDs) == 0 || ring.ByFingerprint(k.Fingerprint) == nil || len(ring.ByKeyID(k.KeyIDs[0])) == 0 {
				t.Errorf("%+v is not in its keyring", k)
			}
			k.RPMVersion()
		}
	})
}

func FuzzVerify(f *testing.F) {
	var keys []*rpmsig.Key
	add := func(pub []byte) {
		k, _ := rpmsig.ParseKeys(pub)
		keys = append(keys, k...)
	}
	for _, tt := range v6[:3] {
		e, pub := entity(f, tt.config)
		add(pub)
		f.Add(detach(f, e, tt.config), signedText)
	}
	created := time.Unix(1_400_000_000, 0)
	key, pub := v3Key(f, 1024, created)
	add(pub)
	f.Add(v3(f, []byte(signedText), 0, created.Add(1), packet.NewRSAPublicKey(created, &key.PublicKey).KeyId, crypto.SHA256, 8, 1, func(sum []byte) []*big.Int {
		s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum)
		if err != nil {
			f.Fatal(err)
		}
		return []*big.Int{new(big.Int).SetBytes(s)}
	}), signedText)
	ring := rpmsig.NewKeyring(keys...)
	f.Fuzz(func(t *testing.T, sig []byte, text string) {
		r, err := rpmsig.VerifyDetached(strings.NewReader(text), sig, ring)
		if err == nil && r.Status == rpmsig.Good && text != signedText {
			t.Errorf("a forgery: %+v", r)
		}
		if err == nil && r.Status == "" {
			t.Error("no status")
		}
	})
}
