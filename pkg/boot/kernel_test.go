package boot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/boot"
)

func TestKernelFiles(t *testing.T) {
	r := hostDir(t, map[string]string{
		"boot/vmlinuz-4.18.0-348.el8.x86_64":                           "12345",
		"boot/initramfs-4.18.0-348.el8.x86_64.img":                     "1234567",
		"boot/initramfs-4.18.0-348.el8.x86_64kdump.img":                "123",
		"boot/System.map-4.18.0-348.el8.x86_64":                        "1",
		"boot/config-4.18.0-348.el8.x86_64":                            "12",
		"boot/symvers-4.18.0-348.el8.x86_64.gz":                        "-> /lib/modules/4.18.0-348.el8.x86_64/symvers.gz",
		"lib/modules/4.18.0-348.el8.x86_64/symvers.gz":                 "1234",
		"boot/vmlinuz-0-rescue-0123456789abcdef0123456789abcdef":       "12345",
		"boot/initramfs-0-rescue-0123456789abcdef0123456789abcdef.img": "12345678",
		"boot/initramfs-5.4.17-2136.el8uek.x86_64.img.tmp":             "x",
		"boot/vmlinuz-5.4.17-2136.el8uek.x86_64":                       "12",
		"boot/.vmlinuz-4.18.0-348.el8.x86_64.hmac":                     "x",
		"boot/grub2/grub.cfg":                                          "x",
		"boot/vmlinuz-dir/file":                                        "x",
		"boot/config-none":                                             "-> nowhere",
	})
	got, err := boot.ReadKernelFiles(r)
	if err != nil {
		t.Fatal(err)
	}
	want := []boot.KernelFiles{
		{Release: "0-rescue-0123456789abcdef0123456789abcdef", Image: 5, Initramfs: 8, Rescue: true},
		{Release: "4.18.0-348.el8.x86_64", Image: 5, Initramfs: 7, Kdump: 3, Other: 7},
		{Release: "5.4.17-2136.el8uek.x86_64", Image: 2},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := got[1].Bytes(); n != 22 {
		t.Errorf("%d bytes", n)
	}
	if got, err := boot.ReadKernelFiles(hostDir(t, map[string]string{"etc/x": ""})); err != nil || len(got) != 0 {
		t.Errorf("without /boot: %v, %v", got, err)
	}
}

func TestMountOf(t *testing.T) {
	mounts := []boot.Mount{{Point: "/"}, {Point: "/boot"}, {Point: "/boot/efi"}, {Point: "/usr"}}
	for path, want := range map[string]string{
		"/": "/", "/etc/os-release": "/", "/boot": "/boot", "/boot/vmlinuz": "/boot", "/bootstrap": "/",
		"/boot/efi/EFI/BOOT": "/boot/efi", "/usr/bin": "/usr",
	} {
		if m := boot.MountOf(mounts, path); m == nil || m.Point != want {
			t.Errorf("%s is on %+v, want %s", path, m, want)
		}
	}
	if m := boot.MountOf(mounts[1:], "/etc"); m != nil {
		t.Errorf("without a root: %+v", m)
	}
}
