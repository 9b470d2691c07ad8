package kmod_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

type cpioEntry struct {
	name, data string
	mode       uint32
}

// newc writes an archive in the form the kernel unpacks.
func newc(entries ...cpioEntry) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for i, e := range append(entries, cpioEntry{name: "TRAILER!!!"}) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			i, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
		b.WriteString(e.name + "\x00")
		pad()
		b.WriteString(e.data)
		pad()
	}
	return b.Bytes()
}

func earlyArchive() []byte {
	return newc(cpioEntry{"kernel/x86/microcode/GenuineIntel.bin", strings.Repeat("m", 777), 0o100644})
}

func mainArchive() []byte {
	var entries []cpioEntry
	for i := range 300 {
		entries = append(entries, cpioEntry{fmt.Sprintf("usr/share/f%d", i), strings.Repeat(fmt.Sprint(i, " "), 500), 0o100644})
	}
	return newc(append(entries,
		cpioEntry{"usr/lib/modules/5.14.0-1.el9.x86_64/kernel/drivers/scsi/virtio_scsi.ko.xz", "x", 0o100644},
		cpioEntry{"./usr/lib/modules/5.14.0-1.el9.x86_64/extra/dm-mod.ko", "yy", 0o100644},
		cpioEntry{"lib", "usr/lib", 0o120777})...)
}

func compressWith(t testing.TB, data []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(tool(t, args[0]), args[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// TestInitramfsCompressions lists images made with the real compressors, alone,
// after early microcode, and with a further archive behind where the format
// shows its own end.
func TestInitramfsCompressions(t *testing.T) {
	tail := newc(cpioEntry{"tail", "t", 0o100644})
	for _, c := range []struct {
		name string
		kind string
		args []string
		tail bool
	}{
		{"none", "", nil, true},
		{"gzip", "gzip", []string{"gzip", "-9"}, true},
		{"xz", "xz", []string{"xz", "--check=crc32"}, false},
		{"xz threads", "xz", []string{"xz", "-T2", "--block-size=65536"}, false},
		{"lzma", "lzma", []string{"xz", "--format=lzma"}, false},
		{"zstd", "zstd", []string{"zstd", "-15"}, true},
		{"zstd no checksum", "zstd", []string{"zstd", "-3", "--no-check"}, true},
		{"bzip2", "bzip2", []string{"bzip2"}, false},
		{"lz4 legacy", "lz4", []string{"lz4", "-l", "-9"}, true},
		{"lz4 frame", "lz4", []string{"lz4", "-9"}, true},
		{"lz4 linked blocks", "lz4", []string{"lz4", "-BD", "-B4", "-BX"}, true},
		{"lzo", "lzo", []string{"lzop"}, true},
		{"lzo best", "lzo", []string{"lzop", "-9", "--crc32"}, true},
		{"lzo fastest, no checksums", "lzo", []string{"lzop", "-1", "-F"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := mainArchive()
			if c.args != nil {
				body = compressWith(t, body, c.args...)
			}
			early := append(earlyArchive(), make([]byte, 512)...)
			image := append(append([]byte{}, early...), body...)
			want := []kmod.InitramfsSegment{{Entries: 1}, {Compression: c.kind, Entries: 303}}
			if c.tail {
				image = append(append(image, make([]byte, 3)...), tail...)
				want = append(want, kmod.InitramfsSegment{Entries: 1})
			}
			got, err := kmod.ParseInitramfs(bytes.NewReader(image), kmod.InitramfsLimits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Segments); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]kmod.InitramfsModule{
				{Name: "dm_mod", Release: "5.14.0-1.el9.x86_64", Path: "usr/lib/modules/5.14.0-1.el9.x86_64/extra/dm-mod.ko"},
				{Name: "virtio_scsi", Release: "5.14.0-1.el9.x86_64", Path: "usr/lib/modules/5.14.0-1.el9.x86_64/kernel/drivers/scsi/virtio_scsi.ko.xz"},
			}, got.Modules()); diff != "" {
				t.Error(diff)
			}
			if !got.Microcode() || got.Squashed() {
				t.Error("microcode is in the image, squashfs is not")
			}
			// Every cut is an error or a whole number of segments, never a short list.
			for _, cut := range []int{1, len(early) + 4, len(early) + len(body)/2, len(early) + len(body) - 9} {
				short, err := kmod.ParseInitramfs(bytes.NewReader(image[:cut]), kmod.InitramfsLimits{})
				if err == nil {
					t.Errorf("cut at %d of %d: no error, %d files", cut, len(image), len(short.Files))
				}
			}
		})
	}
}

// TestDamagedLZO: any changed byte of the data is an error, not another list.
func TestDamagedLZO(t *testing.T) {
	image := compressWith(t, mainArchive(), "lzop")
	good, err := kmod.ParseInitramfs(bytes.NewReader(image), kmod.InitramfsLimits{})
	if err != nil {
		t.Fatal(err)
	}
	const header = 60 // it has a checksum that is not looked at
	for at := header; at < len(image); at += 7 {
		bad := bytes.Clone(image)
		bad[at] ^= 0x41
		got, err := kmod.ParseInitramfs(bytes.NewReader(bad), kmod.InitramfsLimits{MaxBytes: 64 << 20})
		switch {
		case err == nil && !cmp.Equal(good, got):
			t.Errorf("byte %d changed: another list, and no error", at)
		case err != nil && !errors.Is(err, kmod.ErrCorrupt) && !errors.Is(err, kmod.ErrTooLarge):
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for name, head := range map[string]string{
		"a method that is none": "\x10\x40\x20\xa0\x09\x40\x07\x05", "several parts": "\x10\x40\x20\xa0\x09\x40\x01\x05\x00\x00\x04\x00",
	} {
		bad := append([]byte("\x89LZO\x00\r\n\x1a\n"+head), make([]byte, 40)...)
		if _, err := kmod.ParseInitramfs(bytes.NewReader(bad), kmod.InitramfsLimits{}); !errors.Is(err, kmod.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInitramfsLimits(t *testing.T) {
	image := compressWith(t, mainArchive(), "gzip")
	if _, err := kmod.ParseInitramfs(bytes.NewReader(image), kmod.InitramfsLimits{MaxBytes: 100_000}); !errors.Is(err, kmod.ErrTooLarge) {
		t.Errorf("100,000 bytes allowed: %v", err)
	}
	if _, err := kmod.ParseInitramfs(bytes.NewReader(image), kmod.InitramfsLimits{MaxEntries: 302}); !errors.Is(err, kmod.ErrTooLarge) {
		t.Errorf("302 entries allowed: %v", err)
	}
	if _, err := kmod.ParseInitramfs(bytes.NewReader(image), kmod.InitramfsLimits{MaxEntries: 303}); err != nil {
		t.Errorf("303 entries allowed: %v", err)
	}
	for _, bad := range [][]byte{nil, make([]byte, 100), []byte("#!/bin/sh\n"), []byte("070701")} {
		if _, err := kmod.ParseInitramfs(bytes.NewReader(bad), kmod.InitramfsLimits{}); !errors.Is(err, kmod.ErrCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHostInitramfs(t *testing.T) {
	root := t.TempDir()
	write(t, root, "boot/initramfs-5.14.0-1.el9.x86_64.img", string(mainArchive()))
	h := open(t, root)
	file, err := h.InitramfsPath("5.14.0-1.el9.x86_64")
	if err != nil {
		t.Fatal(err)
	}
	img, err := h.Initramfs(file)
	if err != nil || len(img.Modules()) != 2 {
		t.Errorf("modules %v, %v", img, err)
	}
	if _, err := h.InitramfsPath("5.14.0-2"); !errors.Is(err, kmod.ErrNotFound) {
		t.Errorf("no such kernel: %v", err)
	}
}

func open(t testing.TB, root string) *kmod.Host {
	t.Helper()
	h, err := kmod.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func write(t testing.TB, root, name, data string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, root, name, target string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
}
