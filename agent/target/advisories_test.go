package target_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/target"
)

const (
	osvRecord = `{"id":"ALSA-2099:1","published":"2099-01-02T00:00:00Z","summary":"Important: bash security update","affected":[
 {"package":{"ecosystem":"AlmaLinux:8","name":"bash"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"4.4.20-9.el8"}]}]}]}`
	updateinfo8 = `<updates><update type="security"><id>ALSA-2099:2</id><title>t</title><severity>Low</severity><pkglist><collection><package name="zsh" version="5" release="2.el8_10" epoch="0" arch="x86_64"/></collection></pkglist></update></updates>`
)

// TestAdvisoryFile reads every form that advisories are handed out in.
func TestAdvisoryFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	members := map[string]string{"almalinux8/ALSA-2099:1.json": osvRecord, "updateinfo.xml": updateinfo8, "README.md": "no advisory"}
	var zipped, tarred bytes.Buffer
	z, g := zip.NewWriter(&zipped), gzip.NewWriter(&tarred)
	tw := tar.NewWriter(g)
	for name, text := range members {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		write("folder/"+name, []byte(text))
	}
	if err := errors.Join(z.Close(), tw.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  string
		major int
		want  []string
		says  string
	}{
		"zip":             {write("all.zip", zipped.Bytes()), 8, []string{"ALSA-2099:1", "ALSA-2099:2"}, ""},
		"tar":             {write("all.tar.gz", tarred.Bytes()), 8, []string{"ALSA-2099:1", "ALSA-2099:2"}, ""},
		"folder":          {filepath.Join(dir, "folder"), 8, []string{"ALSA-2099:1", "ALSA-2099:2"}, ""},
		"one record":      {write("one.json", []byte(osvRecord)), 8, []string{"ALSA-2099:1"}, ""},
		"one of another":  {filepath.Join(dir, "one.json"), 10, nil, "nothing of it is for AlmaLinux 10"},
		"updateinfo":      {write("u.xml", []byte(updateinfo8)), 8, []string{"ALSA-2099:2"}, ""},
		"another's":       {write("other.xml", []byte(updateinfo8)), 9, nil, "it is for EL8, and nothing of it for AlmaLinux 9"},
		"records of both": {filepath.Join(dir, "folder"), 9, nil, "it is for EL8"},
		"damaged":         {write("cut.zip", zipped.Bytes()[:zipped.Len()/2]), 8, nil, "damaged"},
		"no advisories":   {write("x.txt", []byte("hello")), 8, nil, "neither OSV records nor updateinfo.xml"},
		"nothing":         {filepath.Join(dir, "none"), 8, nil, fs.ErrNotExist.Error()},
	} {
		src, err := target.AdvisoryFile(context.Background(), c.file, c.major)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v, want %q", name, err, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, a := range src.Advisories {
			got = append(got, a.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
