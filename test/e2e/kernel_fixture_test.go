package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	endian "encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/rpmpack"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// guest is a host captured by test/lab/kernel-guest, unpacked.
type guest struct {
	root  string
	files map[string][]byte
}

const guestRelease = "6.1.0-56-cloud-amd64"

// newGuest unpacks the captured kernel below a folder of its own.
func newGuest(t testing.TB) *guest {
	t.Helper()
	data, err := os.ReadFile("testdata/guest.txtar")
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{root: t.TempDir(), files: map[string][]byte{}}
	for _, f := range txtar.Parse(data).Files {
		name, body := f.Name, f.Data
		if from, to, ok := strings.Cut(name, " -> "); ok {
			path := filepath.Join(g.root, from)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			// What a link of sysfs leads to is there, whether captured or not.
			if err := os.MkdirAll(filepath.Join(filepath.Dir(path), to), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if plain, ok := strings.CutSuffix(name, " (base64)"); ok {
			name = plain
			if body, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(body), "\n", "")); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if strings.HasSuffix(name, ".ko") {
				name += ".xz"
			}
		}
		g.files[name] = body
		if strings.Contains(name, "/") {
			g.write(t, name, body)
		}
	}
	// depmod's list names the files as they are on the disk.
	dep := "lib/modules/" + guestRelease + "/modules.dep"
	text := string(g.files[dep])
	for _, m := range []string{"lab_base", "lab_closed", "lab_forced", "lab_user"} {
		text = strings.ReplaceAll(text, m+".ko", m+".ko.xz")
	}
	g.write(t, dep, []byte(text))
	return g
}

func (g *guest) write(t testing.TB, name string, body []byte) {
	t.Helper()
	path := filepath.Join(g.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

// secureBoot puts firmware variables into the guest: Secure Boot is on, and the
// machine owner's list holds the certificates.
func (g *guest) secureBoot(t testing.TB, certs ...[]byte) {
	t.Helper()
	const vars = "sys/firmware/efi/efivars/"
	g.write(t, vars+"SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", []byte{6, 0, 0, 0, 1})
	g.write(t, vars+"SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c", []byte{6, 0, 0, 0, 0})
	if len(certs) == 0 {
		return
	}
	list := []byte{6, 0, 0, 0}
	for _, c := range certs {
		// EFI_SIGNATURE_LIST of one X.509 certificate (UEFI 2.10, 32.4.1)
		list = append(list, 0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72)
		list = endian.LittleEndian.AppendUint32(list, uint32(28+16+len(c)))
		list = endian.LittleEndian.AppendUint32(list, 0)
		list = endian.LittleEndian.AppendUint32(list, uint32(16+len(c)))
		list = append(append(list, make([]byte, 16)...), c...)
	}
	g.write(t, vars+"MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23", list)
}

// revoke puts the digest of a certificate's signed part into the firmware's dbx.
func (g *guest) revoke(t testing.TB, c *x509.Certificate) {
	t.Helper()
	list := []byte{6, 0, 0, 0, 0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed}
	list = endian.LittleEndian.AppendUint32(list, 28+16+48)
	list = endian.LittleEndian.AppendUint32(list, 0)
	list = endian.LittleEndian.AppendUint32(list, 16+48)
	digest := sha256.Sum256(c.RawTBSCertificate)
	list = append(append(append(list, make([]byte, 16)...), digest[:]...), make([]byte, 16)...)
	g.write(t, "sys/firmware/efi/efivars/dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f", list)
}

// moduleFile makes a module file that has nothing but a .modinfo section.
func moduleFile(fields ...string) []byte {
	info := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	order := endian.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = order.AppendUint16(order.AppendUint16(b, 1), 62) // relocatable, x86-64
	b = order.AppendUint32(b, 1)
	b = order.AppendUint64(order.AppendUint64(b, 0), 0)
	shoff := 64 + len(info) + len(names)
	b = order.AppendUint64(b, uint64(shoff))
	b = order.AppendUint32(b, 0)
	for _, v := range []uint16{64, 0, 0, 64, 3, 2} {
		b = order.AppendUint16(b, v)
	}
	b = append(append(b, info...), names...)
	section := func(name, typ uint32, at, size int) {
		b = order.AppendUint32(order.AppendUint32(b, name), typ)
		for _, v := range []uint64{0, 0, uint64(at), uint64(size)} {
			b = order.AppendUint64(b, v)
		}
		b = order.AppendUint32(order.AppendUint32(b, 0), 0)
		b = order.AppendUint64(order.AppendUint64(b, 1), 0)
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(info))
	section(10, 3, 64+len(info), len(names))
	return b
}

// signer signs packages as a distribution does.
type signer struct {
	entity *openpgp.Entity
	ring   *rpmsig.Keyring
	public []byte // armored
}

func newSigner(t testing.TB, name string) *signer {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", "test@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var pub bytes.Buffer
	w, err := armor.Encode(&pub, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	keys, problems := rpmsig.ParseKeys(pub.Bytes())
	if len(keys) != 1 || len(problems) > 0 {
		t.Fatalf("the test's own key: %v", problems)
	}
	return &signer{e, rpmsig.NewKeyring(keys...), pub.Bytes()}
}

func (s *signer) sign(data []byte) ([]byte, error) {
	var b bytes.Buffer
	err := openpgp.DetachSign(&b, s.entity, bytes.NewReader(data), nil)
	return b.Bytes(), err
}

// kernelRPM is one package of a kernel made for a test.
type kernelRPM struct {
	name     string
	provides []string // as in primary.xml, name or "name = version"
	requires []string
	files    map[string][]byte // below /lib/modules/RELEASE
}

const (
	targetVersion = "6.1.0"
	targetRel     = "60.el9"
	targetRelease = targetVersion + "-" + targetRel + ".x86_64"
)

// repository writes packages and their metadata, signed by s or not at all.
func repository(t testing.TB, s *signer, pkgs []kernelRPM) string {
	t.Helper()
	dir := t.TempDir()
	var xml strings.Builder
	fmt.Fprintf(&xml, `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(pkgs))
	for _, p := range pkgs {
		r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
			Name: p.name, Version: targetVersion, Release: targetRel, Arch: "x86_64", Summary: p.name, Compressor: "gzip", BuildTime: time.Unix(1_700_000_000, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, 0, len(p.files))
		for n := range p.files {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			r.AddFile(rpmpack.RPMFile{Name: "/lib/modules/" + targetRelease + "/" + n, Body: p.files[n], Mode: 0o100644, Owner: "root", Group: "root"})
		}
		if s != nil {
			r.SetPGPSigner(s.sign)
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		file := p.name + ".rpm"
		if err := os.WriteFile(filepath.Join(dir, file), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&xml, `<package type="rpm"><name>%s</name><arch>x86_64</arch><version epoch="0" ver="%s" rel="%s"/><checksum type="sha256" pkgid="YES">%x</checksum>`+
			`<summary/><description/><packager/><url/><time file="1" build="1"/><size package="%d" installed="1" archive="1"/><location href="%s"/><format>`,
			p.name, targetVersion, targetRel, sha256.Sum256(b.Bytes()), b.Len(), file)
		entries(&xml, "provides", append([]string{fmt.Sprintf("%s = %s-%s", p.name, targetVersion, targetRel)}, p.provides...))
		entries(&xml, "requires", p.requires)
		xml.WriteString("</format></package>")
	}
	xml.WriteString("</metadata>\n")
	if err := os.MkdirAll(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := io.WriteString(w, xml.String()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "repodata", "primary.xml.gz"), z.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	md := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary"><checksum type="sha256">%x</checksum>`+
		`<open-checksum type="sha256">%x</open-checksum><location href="repodata/primary.xml.gz"/><timestamp>1</timestamp><size>%d</size><open-size>%d</open-size></data></repomd>
`, sha256.Sum256(z.Bytes()), sha256.Sum256([]byte(xml.String())), z.Len(), xml.Len())
	if err := os.WriteFile(filepath.Join(dir, "repodata", "repomd.xml"), []byte(md), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func entries(b *strings.Builder, tag string, deps []string) {
	if len(deps) == 0 {
		return
	}
	fmt.Fprintf(b, "<rpm:%s>", tag)
	for _, d := range deps {
		name, version, ok := strings.Cut(d, " = ")
		fmt.Fprintf(b, `<rpm:entry name="%s"`, name)
		if ok {
			ver, rel, hasRel := strings.Cut(version, "-")
			fmt.Fprintf(b, ` flags="EQ" epoch="0" ver="%s"`, ver)
			if hasRel {
				fmt.Fprintf(b, ` rel="%s"`, rel)
			}
		}
		b.WriteString("/>")
	}
	fmt.Fprintf(b, "</rpm:%s>", tag)
}
