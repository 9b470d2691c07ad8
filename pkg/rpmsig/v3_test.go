package rpmsig_test

import (
	"bytes"
	"crypto"
	"crypto/dsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// mpi writes a multiprecision integer.
func mpi(n *big.Int) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(n.BitLen())), n.Bytes()...)
}

// oldPacket writes a packet in the old format with a length of two bytes, as
// the signatures in package headers have it.
func oldPacket(tag byte, body []byte) []byte {
	return append([]byte{0x80 | tag<<2 | 1, byte(len(body) >> 8), byte(len(body))}, body...)
}

// v3Key makes an RSA key and its public packets, self-signed in version 4.
func v3Key(t testing.TB, bits int, created time.Time) (*rsa.PrivateKey, []byte) {
	t.Helper()
	if bits < 1024 {
		t.Setenv("GODEBUG", "rsa1024min=0")
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	pub := []byte{4}
	pub = binary.BigEndian.AppendUint32(pub, uint32(created.Unix()))
	pub = append(pub, 1)
	pub = append(append(pub, mpi(key.N)...), mpi(big.NewInt(int64(key.E)))...)
	uid := "old@example.org"
	sig := []byte{4, 0x13, 1, 8, 0, 6, 5, 2}
	sig = binary.BigEndian.AppendUint32(sig, uint32(created.Unix()))
	h := crypto.SHA256.New()
	h.Write(append([]byte{0x99, byte(len(pub) >> 8), byte(len(pub))}, pub...))
	h.Write(append([]byte{0xb4, 0, 0, 0, byte(len(uid))}, uid...))
	h.Write(sig)
	h.Write([]byte{4, 0xff, 0, 0, 0, byte(len(sig))})
	sum := h.Sum(nil)
	s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum)
	if err != nil {
		t.Fatal(err)
	}
	pk := packet.NewRSAPublicKey(created, &key.PublicKey)
	unhashed := append([]byte{0, 10, 9, 16}, binary.BigEndian.AppendUint64(nil, pk.KeyId)...)
	sig = append(append(append(sig, unhashed...), sum[:2]...), mpi(new(big.Int).SetBytes(s))...)
	return key, slices.Concat(oldPacket(6, pub), oldPacket(13, []byte(uid)), oldPacket(2, sig))
}

// v3 makes a version 3 signature packet.
func v3(t testing.TB, data []byte, sigType byte, when time.Time, keyID uint64, hash crypto.Hash, hashID, algo byte, sign func(sum []byte) []*big.Int) []byte {
	t.Helper()
	hashed := binary.BigEndian.AppendUint32([]byte{sigType}, uint32(when.Unix()))
	h := hash.New()
	h.Write(data)
	h.Write(hashed)
	sum := h.Sum(nil)
	b := append([]byte{3, 5}, hashed...)
	b = binary.BigEndian.AppendUint64(b, keyID)
	b = append(b, algo, hashID, sum[0], sum[1])
	for _, n := range sign(sum) {
		b = append(b, mpi(n)...)
	}
	return oldPacket(2, b)
}

func TestVersion3(t *testing.T) {
	created := time.Unix(1_400_000_000, 0)
	key, pub := v3Key(t, 2048, created)
	keys, problems := rpmsig.ParseKeys(pub)
	if len(keys) != 1 {
		t.Fatal(problems)
	}
	id := packet.NewRSAPublicKey(created, &key.PublicKey).KeyId
	data := []byte(signedText)
	rsaSign := func(hash crypto.Hash) func([]byte) []*big.Int {
		return func(sum []byte) []*big.Int {
			s, err := rsa.SignPKCS1v15(nil, key, hash, sum)
			if err != nil {
				t.Fatal(err)
			}
			return []*big.Int{new(big.Int).SetBytes(s)}
		}
	}
	later := created.Add(time.Hour)
	for _, tt := range []struct {
		name string
		sig  []byte
		want rpmsig.Status
		weak bool
	}{
		{"SHA-256", v3(t, data, 0, later, id, crypto.SHA256, 8, 1, rsaSign(crypto.SHA256)), rpmsig.Good, false},
		{"SHA-512", v3(t, data, 0, later, id, crypto.SHA512, 10, 1, rsaSign(crypto.SHA512)), rpmsig.Good, false},
		{"SHA-1", v3(t, data, 0, later, id, crypto.SHA1, 2, 1, rsaSign(crypto.SHA1)), rpmsig.Good, true},
		{"MD5", v3(t, data, 0, later, id, crypto.MD5, 1, 1, rsaSign(crypto.MD5)), rpmsig.Good, true},
		{"RIPEMD-160", v3(t, data, 0, later, id, crypto.SHA1, 3, 1, rsaSign(crypto.SHA1)), rpmsig.Unsupported, true},
		{"ElGamal", v3(t, data, 0, later, id, crypto.SHA256, 8, 20, rsaSign(crypto.SHA256)), rpmsig.Unsupported, false},
		{"other data", v3(t, []byte("x"), 0, later, id, crypto.SHA256, 8, 1, rsaSign(crypto.SHA256)), rpmsig.Bad, false},
		{"other hash", v3(t, data, 0, later, id, crypto.SHA256, 8, 1, rsaSign(crypto.SHA512_256)), rpmsig.Bad, false},
		{"a certification", v3(t, data, 0x10, later, id, crypto.SHA256, 8, 1, rsaSign(crypto.SHA256)), rpmsig.Bad, false},
		{"made before the key", v3(t, data, 0, created.Add(-time.Hour), id, crypto.SHA256, 8, 1, rsaSign(crypto.SHA256)), rpmsig.Bad, false},
		{"algorithm confused", v3(t, data, 0, later, id, crypto.SHA256, 8, 17, func(sum []byte) []*big.Int {
			return []*big.Int{big.NewInt(5), big.NewInt(6)}
		}), rpmsig.Bad, false},
		{"longer than the key", v3(t, data, 0, later, id, crypto.SHA256, 8, 1, func([]byte) []*big.Int {
			return []*big.Int{new(big.Int).Lsh(big.NewInt(1), 4000)}
		}), rpmsig.Bad, false},
		{"zero", v3(t, data, 0, later, id, crypto.SHA256, 8, 1, func([]byte) []*big.Int { return []*big.Int{new(big.Int)} }), rpmsig.Bad, false},
		{"unknown key", v3(t, data, 0, later, id+1, crypto.SHA256, 8, 1, rsaSign(crypto.SHA256)), rpmsig.UnknownKey, false},
	} {
		r := verify(t, signedText, tt.sig, keys...)
		if r.Status != tt.want || r.Weak != tt.weak || r.SigVersion != 3 {
			t.Errorf("%s: %+v, want %s", tt.name, r, tt.want)
		}
		for i := range tt.sig { // every length
			if r, err := rpmsig.VerifyDetached(bytes.NewReader(data), tt.sig[:i], rpmsig.NewKeyring(keys...)); err == nil && r.Status == rpmsig.Good {
				t.Errorf("%s cut to %d bytes: %+v", tt.name, i, r)
			}
		}
	}
	// A leading zero in the number must not matter; signatures with one are
	// one in 256: try until there is one.
	for i := range 8000 {
		when := later.Add(time.Duration(i) * time.Second)
		short := false
		sig := v3(t, data, 0, when, id, crypto.SHA256, 8, 1, func(sum []byte) []*big.Int {
			n := rsaSign(crypto.SHA256)(sum)
			short = n[0].BitLen() <= 2040
			return n
		})
		if short {
			if r := verify(t, signedText, sig, keys...); r.Status != rpmsig.Good {
				t.Errorf("with a leading zero: %+v", r)
			}
			return
		}
	}
	t.Error("no signature with a leading zero among 8000")
}

func TestVersion3DSA(t *testing.T) {
	created := time.Unix(1_200_000_000, 0)
	var priv dsa.PrivateKey
	if err := dsa.GenerateParameters(&priv.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&priv, rand.Reader); err != nil {
		t.Fatal(err)
	}
	// A version 3 self-signature is not taken: let go-crypto make the key.
	sk := packet.NewDSAPrivateKey(created, &priv)
	e := &openpgp.Entity{PrimaryKey: &sk.PublicKey, PrivateKey: sk, Identities: map[string]*openpgp.Identity{}}
	self := &packet.Signature{Version: 4, SigType: packet.SigTypePositiveCert, PubKeyAlgo: packet.PubKeyAlgoDSA,
		Hash: crypto.SHA256, CreationTime: created, IssuerKeyId: &sk.KeyId}
	uid := packet.NewUserId("dsa", "", "dsa@example.org")
	if err := self.SignUserId(uid.Id, e.PrimaryKey, sk, nil); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	for _, f := range []func() error{func() error { return e.PrimaryKey.Serialize(&buf) }, func() error { return uid.Serialize(&buf) }, func() error { return self.Serialize(&buf) }} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	keys, problems := rpmsig.ParseKeys(buf.Bytes())
	if len(keys) != 1 || keys[0].Algo != "DSA" || keys[0].Bits != 1024 {
		t.Fatalf("%+v, %v", keys, problems)
	}
	sign := func(sum []byte) []*big.Int {
		r, s, err := dsa.Sign(rand.Reader, &priv, sum[:20])
		if err != nil {
			t.Fatal(err)
		}
		return []*big.Int{r, s}
	}
	later := created.Add(time.Hour)
	for hash, id := range map[crypto.Hash]byte{crypto.SHA1: 2, crypto.SHA256: 8} {
		sig := v3(t, []byte(signedText), 0, later, sk.KeyId, hash, id, 17, sign)
		if r := verify(t, signedText, sig, keys...); r.Status != rpmsig.Good || !r.Weak || r.PubAlgo != "DSA" {
			t.Errorf("%v: %+v", hash, r)
		}
		if r := verify(t, signedText+"x", sig, keys...); r.Status != rpmsig.Bad {
			t.Errorf("%v over other data: %+v", hash, r)
		}
	}
}

// header makes a package header with an immutable region over one string, and
// what else is given behind the region.
func header(t testing.TB, tags map[rpmhdr.Tag]any) *rpmhdr.Header {
	t.Helper()
	be := binary.BigEndian
	type ent struct {
		tag      rpmhdr.Tag
		typ, cnt uint32
		data     []byte
	}
	list := []ent{{rpmhdr.TagName, 6, 1, []byte("pkg\x00")}}
	trailer := func(n int) []byte {
		b := be.AppendUint32(nil, 63)
		b = be.AppendUint32(b, 7)
		b = be.AppendUint32(b, uint32(-16*n))
		return be.AppendUint32(b, 16)
	}
	var idx, data []byte
	add := func(e ent) {
		idx = be.AppendUint32(idx, uint32(e.tag))
		idx = be.AppendUint32(idx, e.typ)
		idx = be.AppendUint32(idx, uint32(len(data)))
		idx = be.AppendUint32(idx, e.cnt)
		data = append(data, e.data...)
	}
	for _, e := range list {
		add(e)
	}
	region := be.AppendUint32(nil, 63)
	region = be.AppendUint32(region, 7)
	region = be.AppendUint32(region, uint32(len(data)))
	region = be.AppendUint32(region, 16)
	data = append(data, trailer(1+len(list))...)
	for tag, v := range tags {
		switch v := v.(type) {
		case []byte:
			add(ent{tag, 7, uint32(len(v)), v})
		case []string:
			var b []byte
			for _, s := range v {
				b = append(append(b, s...), 0)
			}
			add(ent{tag, 8, uint32(len(v)), b})
		}
	}
	idx = append(region, idx...)
	blob := be.AppendUint32(nil, uint32(len(idx)/16))
	blob = be.AppendUint32(blob, uint32(len(data)))
	h, err := rpmhdr.Parse(append(append(blob, idx...), data...))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHeaderSignatureTags tries each tag, alone and together.
func TestHeaderSignatureTags(t *testing.T) {
	created := time.Unix(1_400_000_000, 0)
	key, pub := v3Key(t, 2048, created)
	keys, _ := rpmsig.ParseKeys(pub)
	ring := rpmsig.NewKeyring(keys...)
	id := packet.NewRSAPublicKey(created, &key.PublicKey).KeyId
	covered, err := header(t, nil).Immutable()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(data []byte) []byte {
		return v3(t, data, 0, created.Add(1), id, crypto.SHA256, 8, 1, func(sum []byte) []*big.Int {
			s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum)
			if err != nil {
				t.Fatal(err)
			}
			return []*big.Int{new(big.Int).SetBytes(s)}
		})
	}
	good, bad := sign(covered), sign([]byte("x"))
	b64 := base64.StdEncoding.EncodeToString
	for name, tt := range map[string]struct {
		tags map[rpmhdr.Tag]any
		want rpmsig.Status
	}{
		"none":                    {nil, rpmsig.Missing},
		"RSA":                     {map[rpmhdr.Tag]any{268: good}, rpmsig.Good},
		"DSA tag":                 {map[rpmhdr.Tag]any{267: good}, rpmsig.Good},
		"OpenPGP":                 {map[rpmhdr.Tag]any{278: []string{b64(good)}}, rpmsig.Good},
		"OpenPGP, the second":     {map[rpmhdr.Tag]any{278: []string{b64(bad), b64(good)}}, rpmsig.Good},
		"bad RSA, good OpenPGP":   {map[rpmhdr.Tag]any{268: bad, 278: []string{b64(good)}}, rpmsig.Good},
		"bad":                     {map[rpmhdr.Tag]any{268: bad}, rpmsig.Bad},
		"no base64":               {map[rpmhdr.Tag]any{278: []string{"!"}}, rpmsig.Bad},
		"garbage":                 {map[rpmhdr.Tag]any{268: []byte("garbage")}, rpmsig.Bad},
		"garbage and good":        {map[rpmhdr.Tag]any{267: []byte("garbage"), 268: good}, rpmsig.Good},
		"over header and payload": {map[rpmhdr.Tag]any{259: good}, rpmsig.Unsupported},
	} {
		if r := rpmsig.VerifyHeader(header(t, tt.tags), ring); r.Status != tt.want {
			t.Errorf("%s: %+v, want %s", name, r, tt.want)
		}
	}
}
