package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// bootPoints keeps the fault points of booting: before, in and after the boot
// steps.
func bootPoints(list []string) []string {
	var out []string
	for _, p := range list {
		if strings.HasPrefix(p, "boot.") || strings.HasPrefix(p, "commit.") || strings.HasPrefix(p, "txn.") && strings.Contains(p, ".boot-") && !strings.HasPrefix(p, "txn.prepared") {
			out = append(out, p)
		}
	}
	return out
}

// seldom skips what takes minutes: `make boot-crash` runs it. ALMAMIGRATE_CRASH
// is "sample" for a few fault points and "all" for every one.
func seldom(t *testing.T) {
	t.Helper()
	lab(t)
	if os.Getenv("ALMAMIGRATE_CRASH") == "" {
		t.Skip("SKIPPED: takes minutes: make boot-crash")
	}
}

// TestBootCrash kills a full migration, its rollback and its commit at the fault
// points of the boot steps.
func TestBootCrash(t *testing.T) {
	seldom(t)
	program := faulty(t)
	base := newBootHost(t, "centos", 8, true)
	finish := base.clone(t)
	there := bootPoints(points(t, finish.Host, append([]string{program}, full("-y")...)...))
	undone, done := finish.clone(t), finish.clone(t)
	back := bootPoints(points(t, undone.Host, program, "rollback", "-y", "-q"))
	undone.mustBe("rolled back", base, true)
	giveUp := []string{"migrate", "--commit", "--accept-no-rollback", "--without-reboot", "-q"}
	end := bootPoints(points(t, done.Host, append([]string{program}, giveUp...)...))
	if len(there) < 20 || len(back) < 8 || len(end) < 3 {
		t.Fatalf("fault points: %d there, %d back, %d at the commit: %v", len(there), len(back), len(end), end)
	}
	some := func(list []string) []string {
		if os.Getenv("ALMAMIGRATE_CRASH") == "all" {
			return list
		}
		return sample(t, list)
	}
	name := func(way, p string) string { return way + "/" + strings.ReplaceAll(p, ":%s", "") }
	for i, p := range some(there) {
		t.Run(name("there", p), func(t *testing.T) {
			for j, way := range []string{"rollback", "resume"} {
				if os.Getenv("ALMAMIGRATE_CRASH") != "all" && j != i%2 {
					continue
				}
				h := base.clone(t)
				h.kill(p, program, full("-y")...)
				if way == "rollback" {
					h.code(0, "rollback", "-y", "-q")
					h.mustBe("killed, then rolled back", base, true)
					continue
				}
				h.code(22, "status")
				h.code(0, "migrate", "--resume", "-q")
				h.mustBe("killed, then resumed", finish, false)
			}
		})
	}
	for _, p := range some(back) {
		t.Run(name("back", p), func(t *testing.T) {
			h := finish.clone(t)
			h.kill(p, program, "rollback", "-y", "-q")
			h.code(0, "rollback", "-y", "-q")
			h.mustBe("rollback killed, then again", base, true)
		})
	}
	for _, p := range some(end) {
		t.Run(name("commit", p), func(t *testing.T) {
			h := finish.clone(t)
			h.kill(p, program, giveUp...)
			h.code(0, giveUp...)
			h.mustBe("commit killed, then again", done, false)
		})
	}
	t.Logf("fault points of booting: %d on the way there, %d on the way back, %d at the commit", len(there), len(back), len(end))
}

// TestBootFailures: what stops booting stops the migration, and it is taken
// back; what can be mended is.
func TestBootFailures(t *testing.T) {
	seldom(t)
	base := newBootHost(t, "centos", 8, true)
	for _, c := range []struct {
		name, setup string
		code        int
		want        string
	}{
		{"no dracut that works, no initramfs", `printf '#!/bin/sh\nexit 0\n' > /usr/sbin/dracut; chmod 755 /usr/sbin/dracut`, 20, "initramfs"},
		{"grubby says yes and does nothing", `printf '#!/bin/sh\nexit 0\n' > /usr/bin/grubby; chmod 755 /usr/bin/grubby; mkdir -p /root/p; mv /usr/sbin/grubby /root/p/`, 0, ""},
		{"GRUB starts the first entry", `sed -i s/saved/0/ /etc/default/grub; grub2-mkconfig -o /boot/efi/EFI/centos/grub.cfg`, 0, ""},
		{"the environment is damaged", `echo short > /boot/efi/EFI/centos/grubenv`, 0, ""},
		{"another AlmaLinux on the ESP", `mkdir -p /boot/efi/EFI/almalinux; echo stub > /boot/efi/EFI/almalinux/grub.cfg`, 1, "belongs to no package"},
		{"the firmware's variables are read-only", `true`, 1, "read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := base.clone(t)
			h.Must("sh", "-ec", c.setup)
			before := h.clone(t)
			args := append([]string{binary}, full("-y")...)
			if c.want == "read-only" {
				args = append([]string{"sh", "-c", `mount -o remount,bind,ro /sys/firmware || mount --bind -o ro /sys/firmware /sys/firmware; mount -o remount,bind,ro /sys/firmware; exec "$@"`, "sh"}, args...)
			}
			r := h.Run(args...)
			if r.Code != c.code || !strings.Contains(r.Stdout+r.Stderr, c.want) {
				t.Fatalf("exit code %d, want %d and %q\n%s%s", r.Code, c.code, c.want, r.Stdout, r.Stderr)
			}
			if c.code == 0 {
				h.code(0, "verify")
				h.code(0, "rollback", "-y", "-q")
			}
			h.mustBe(fmt.Sprintf("exit code %d", c.code), before, true)
		})
	}
}
