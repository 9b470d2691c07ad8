package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A full migration makes the host boot AlmaLinux's kernel: by an entry of the
// firmware, by GRUB's default. A rollback puts every byte of it back.
func TestBootThereAndBack(t *testing.T) {
	lab(t)
	for _, k := range []struct {
		distro string
		major  int
		uefi   bool
	}{{"centos", 8, true}, {"rocky", 9, false}} {
		if !k.uefi && os.Getenv("ALMAMIGRATE_CRASH") == "" { // for time: make boot-crash has it
			continue
		}
		t.Run(fmt.Sprintf("%s%d-uefi-%v", k.distro, k.major, k.uefi), func(t *testing.T) {
			h := newBootHost(t, k.distro, k.major, k.uefi)
			twin := h.clone(t)
			var p struct {
				Boot struct {
					Kernel, FallBack struct{ Release string }
				}
			}
			r := h.Almamigrate("plan", "--full", "--json")
			if err := json.Unmarshal([]byte(r.Stdout), &p); err != nil || p.Boot.Kernel.Release == "" {
				t.Fatalf("plan: %v\n%.3000s%s", err, r.Stdout, r.Stderr)
			}
			h.code(0, full("-y")...)
			rel := p.Boot.Kernel.Release
			if got := h.Must("grub2-editenv", "-", "list"); !strings.Contains(got, "saved_entry="+machineID+"-"+rel+"\n") || !strings.Contains(got, "kernelopts=root=/dev/vda2 ro quiet\n") {
				t.Errorf("GRUB's environment:\n%s", got)
			}
			h.Must("sh", "-c", "test -s /boot/initramfs-"+rel+".img && test -s /boot/loader/entries/"+machineID+"-"+rel+".conf")
			if k.uefi {
				fw := h.firmware()
				for _, want := range []string{"BootOrder 07000000" + "0200" + "0000" + "0300" + "0100\n", "Boot0002 07000000" + loadOption("AlmaLinux", `\EFI\almalinux\shimx64.efi`) + "\n"} {
					if !strings.Contains(fw, want) {
						t.Errorf("not in the firmware: %s\n%s", want, fw)
					}
				}
				h.Must("sh", "-ec", "cd /boot/efi/EFI; cmp almalinux/grub.cfg "+h.vendor+"/grub.cfg; test -s almalinux/shimx64.efi; test -s "+h.vendor+"/shimx64.efi")
			}
			h.code(0, "verify")
			h.code(100, "status", "--reboot-required")
			there := h.clone(t)
			h.code(0, "rollback", "-y", "-q")
			h.mustBe("rolled back", twin, true)
			h.code(0, "status", "--reboot-required")

			there.commit(rel)
		})
	}
}

// commit makes a full migration final, as soon as AlmaLinux's kernel runs.
func (h *bootHost) commit(rel string) {
	h.t.Helper()
	if r := h.code(10, "migrate", "--commit", "--accept-no-rollback"); !strings.Contains(r.Stderr, "belongs to no package") {
		h.t.Errorf("not booted: %s", r.Stderr)
	}
	h.fixture("proc/sys/kernel/osrelease", rel+"\n")
	h.code(0, "status", "--reboot-required")
	if h.uefi {
		if r := h.code(10, "migrate", "--commit", "--accept-no-rollback"); !strings.Contains(r.Stderr, "by the old boot entry Boot0003") {
			h.t.Errorf("booted by the old loader: %s", r.Stderr)
		}
		h.fixture("sys/firmware/efi/efivars/BootCurrent-"+efiGlobal, "\x06\x00\x00\x00\x02\x00")
	}
	if r := h.code(2, "migrate", "--commit", "-y"); !strings.Contains(r.Stderr, "-y alone") {
		h.t.Errorf("-y: %s", r.Stderr)
	}
	if r := h.Do(Cmd{Args: []string{binary, "migrate", "--commit"}, Stdin: "y\n"}); r.Code != 1 {
		h.t.Errorf("y: %d %s", r.Code, r.Stderr)
	}
	r := h.Do(Cmd{Args: []string{binary, "migrate", "--commit", "--remove-old-kernels"}, Stdin: "no way back\n"})
	if r.Code != 0 || !strings.Contains(r.Stdout, "MiB in /var/lib/almamigrate/changes/") {
		h.t.Fatalf("commit: %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if h.uefi {
		if !strings.Contains(r.Stdout, `Boot0003 "Old Linux"`) {
			h.t.Errorf("not told: %s", r.Stdout)
		}
		fw := h.firmware()
		if !strings.Contains(fw, "BootOrder 07000000"+"0200"+"0000"+"0100\n") || strings.Contains(fw, "Boot0003") || !strings.Contains(fw, "Boot0000") {
			h.t.Errorf("the firmware:\n%s", fw)
		}
		h.Must("sh", "-ec", "! test -e /boot/efi/EFI/"+h.vendor+"; test -s /boot/efi/EFI/almalinux/shimx64.efi")
	}
	if got := h.Must("sh", "-c", "ls /boot/vmlinuz-*"); got != "/boot/vmlinuz-"+rel+"\n" {
		h.t.Errorf("kernels: %s", got)
	}
	if s := h.state(); s != "committed" {
		h.t.Errorf("state: %s", s)
	}
	h.code(0, "verify")
	h.code(0, "migrate", "--commit")
	if r := h.Almamigrate("rollback", "-y"); r.Code == 0 {
		h.t.Error("rolled back after the commit")
	}
}
