package repodata_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/test/realdata"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func pack(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".bz2":
		// The standard library reads bzip2 and does not write it.
		bin, err := exec.LookPath("bzip2")
		if err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
		cmd := exec.Command(bin, "-c")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decompress(name string, r io.Reader, limit int64) ([]byte, error) {
	d, err := repodata.Decompress(name, r, limit)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return io.ReadAll(d)
}

func TestDecompress(t *testing.T) {
	doc := []byte(strings.Repeat(onePackage, 300))
	for _, ext := range []string{"", ".gz", ".xz", ".zst", ".bz2"} {
		t.Run("ext"+ext, func(t *testing.T) {
			packed := pack(t, ext, doc)
			name := "repodata/abc-primary.xml" + ext
			for what, r := range map[string]io.Reader{"whole": bytes.NewReader(packed), "bytewise": iotest.OneByteReader(bytes.NewReader(packed))} {
				got, err := decompress(name, r, int64(len(doc)))
				if err != nil || !bytes.Equal(got, doc) {
					t.Errorf("%s: %d bytes, error %v", what, len(got), err)
				}
			}
			got, err := decompress(name, bytes.NewReader(packed), int64(len(doc))-1)
			if !errors.Is(err, repodata.ErrTooLarge) || len(got) > len(doc)-1 {
				t.Errorf("limit: %d bytes, error %v", len(got), err)
			}
			if ext == "" {
				return
			}
			for _, cut := range []int{3, len(packed) / 2, len(packed) - 1} {
				if _, err := decompress(name, bytes.NewReader(packed[:cut]), 1<<30); err == nil {
					t.Errorf("cut at %d: no error", cut)
				}
			}
			damaged := bytes.Clone(packed)
			damaged[len(damaged)/2] ^= 0x55
			if got, err := decompress(name, bytes.NewReader(damaged), 1<<30); err == nil {
				t.Errorf("damaged: no error, same content: %v", bytes.Equal(got, doc))
			}
			if _, err := decompress("primary.xml", bytes.NewReader(packed), 1<<30); !errors.Is(err, repodata.ErrMalformed) {
				t.Errorf("named plain: error %v", err)
			}
			if _, err := decompress(name, bytes.NewReader(doc), 1<<30); !errors.Is(err, repodata.ErrMalformed) {
				t.Errorf("plain inside: error %v", err)
			}
		})
	}
}

func TestDecompressWrongContent(t *testing.T) {
	// An xz stream whose block asks for a dictionary of 1.5 GiB.
	bomb := pack(t, ".xz", []byte("x"))
	bomb[12+4] = 37
	for _, c := range []struct {
		name, content, msg string
		is                 error
	}{
		{"primary.xml.gz", "\n<!DOCTYPE HTML PUBLIC><html>no such file", "it is an HTML page", repodata.ErrMalformed},
		{"primary.xml", "<html>", "it is an HTML page", repodata.ErrMalformed},
		{"primary.xml.gz", "not found", `it is uncompressed data ("not found"), not gzip`, repodata.ErrMalformed},
		{"primary.xml.gz", "", "it is empty, not gzip", repodata.ErrMalformed},
		{"primary.xml.zst", "\x1f\x8b\x08", "it is gzip, not zstd", repodata.ErrMalformed},
		{"primary.xml.zck", "\x00ZCK1", "zchunk is not read", repodata.ErrUnsupported},
		{"modules.yaml.xz", string(bomb), "dictionary", repodata.ErrTooLarge},
	} {
		_, err := decompress(c.name, strings.NewReader(c.content), 1<<20)
		if err == nil || !strings.Contains(err.Error(), c.msg) || !errors.Is(err, c.is) {
			t.Errorf("%s %.20q: error %v, want %q", c.name, c.content, err, c.msg)
		}
	}
}

func TestDecompressReal(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "repodata/reduced-alma-updateinfo/decompress")
	want, err := os.ReadFile(filepath.Join(dir, "payload"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".gz", ".xz", ".zst", ".bz2"} {
		f, err := os.Open(filepath.Join(dir, "payload"+ext))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := decompress(f.Name(), f, 1<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, error %v", ext, got, err)
		}
	}
}
