package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system of its own, on a loop device, for what a host
// writes: it can be full, break, and lose what was not synced, as a machine's
// disk does when the power goes.
type Disk struct {
	t      testing.TB
	image  string
	dir    string
	part   bool      // it has one folder of the host, and not all
	holder *exec.Cmd // keeps the mount, in a namespace that nobody else's processes inherit
}

// diskOptions: nothing reaches the disk by itself within a test, and ext4 does
// not guess that a rename was meant to be safe. So only what was synced is
// there after a power cut.
const diskOptions = "commit=600,noauto_da_alloc"

// NewDisk makes a file system of that many MiB. It skips where loop devices
// are not to be had.
func NewDisk(t testing.TB, mib int) *Disk {
	t.Helper()
	_, state := lab(t)
	for _, tool := range []string{"mkfs.ext4", "losetup", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: a file system of its own needs %s (packages e2fsprogs, util-linux)", tool)
		}
	}
	base, err := os.MkdirTemp(filepath.Join(state, "t"), "disk-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Disk{t: t, image: filepath.Join(base, "image"), dir: filepath.Join(base, "mnt")}
	t.Cleanup(func() { d.Unmount(); _ = os.RemoveAll(base) })
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.must("truncate", "-s", fmt.Sprintf("%dM", mib), d.image)
	d.must("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
	if err := d.Mount(); err != nil {
		t.Skipf("SKIPPED: no loop device can be mounted here: %v", err)
	}
	return d
}

func (d *Disk) must(args ...string) {
	d.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// Mount mounts it, with ext4's recovery of its journal after a power cut.
func (d *Disk) Mount() error {
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", `mount -o loop,`+diskOptions+` "$1" "$2" && echo up && exec sleep infinity`, "sh", d.image, d.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	buf := make([]byte, 3)
	if n, _ := out.Read(buf); string(buf[:n]) != "up\n" {
		_ = cmd.Wait()
		return errors.New(errs.String())
	}
	d.holder = cmd
	return nil
}

// Unmount takes it out; every process that uses it must have ended.
func (d *Disk) Unmount() {
	if d.holder == nil {
		return
	}
	_ = d.holder.Process.Kill()
	_ = d.holder.Wait()
	d.holder = nil
	for range 400 { // the namespace's end, and so the loop device's, comes a little later
		out, err := exec.Command("losetup", "-j", d.image).Output()
		if err == nil && len(out) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatalf("the loop device of %s stays in use", d.image)
}

func (d *Disk) enter() []string {
	return []string{"nsenter", "-m", "-t", fmt.Sprint(d.holder.Process.Pid)}
}

// path is where we see a path of the file system.
func (d *Disk) path(p string) string {
	return fmt.Sprintf("/proc/%d/root%s%s", d.holder.Process.Pid, d.dir, p)
}

// Break makes every read and write from now on fail with EIO, without writing
// anything that is still in memory: EXT4_IOC_SHUTDOWN with
// EXT4_GOING_FLAGS_NOLOGFLUSH (Linux, fs/ext4/ioctl.c). With all processes
// killed it is a power cut, and otherwise a broken disk.
func (d *Disk) Break() {
	d.t.Helper()
	f, err := os.Open(d.path(""))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	const shutdown = 0x8004587d // _IOR('X', 125, __u32)
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, 2); err != nil {
		d.t.Fatalf("cannot shut the file system down: %v", err)
	}
}

// Fill takes every block and Free gives them back.
func (d *Disk) Fill() {
	d.t.Helper()
	// Space that is allocated and not written is as gone as any other, and takes no memory.
	for n, size := 0, int64(1<<30); size >= 4096; {
		f, err := os.OpenFile(d.path(fmt.Sprintf("/ballast-%d", n)), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			break
		}
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		_ = f.Close()
		if n++; err != nil {
			size /= 4
		}
	}
	for i, bs := range []string{"4k", "512"} {
		_, _ = exec.Command("dd", "if=/dev/zero", "of="+d.path(fmt.Sprintf("/ballast%d", i)), "bs="+bs, "status=none", "conv=fsync").CombinedOutput()
	}
}

// Free removes what Fill wrote.
func (d *Disk) Free() { d.must("sh", "-c", "rm -f "+d.path("/ballast")+"*") }

// OnDisk puts all that the host writes on a file system of that many MiB.
func (h *Host) OnDisk(mib int) *Disk {
	h.t.Helper()
	d := NewDisk(h.t, mib)
	upper := h.Upper()
	d.must("cp", "-a", upper, d.path("/upper"))
	d.must("mkdir", d.path("/work"))
	for _, n := range []string{"upper", "work"} {
		dst := filepath.Join(filepath.Dir(upper), n)
		d.must("rm", "-rf", dst)
		d.must("ln", "-s", filepath.Join(d.dir, n), dst)
	}
	d.must("sync", "-f", d.path(""))
	h.disk = d
	return d
}

// MountAt puts one folder of the host on a file system of that many MiB.
func (h *Host) MountAt(folder string, mib int) *Disk {
	h.t.Helper()
	d := NewDisk(h.t, mib)
	h.mounts(folder + " " + d.dir)
	h.disk, d.part = d, true
	return d
}

// mounts sets the lines of the host's file of that name, see run_inside in
// test/lab/lab.
func (h *Host) mounts(lines ...string) {
	h.t.Helper()
	_, state := lab(h.t)
	file := filepath.Join(state, "t/hosts", h.Name, "mounts")
	var err error
	if len(lines) == 0 {
		err = os.Remove(file)
	} else {
		err = os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// Stopped is a command that has stopped itself at a fault point.
type Stopped struct {
	h   *Host
	cmd *exec.Cmd
	pid int
	out lockedBuffer

	ended chan struct{}
}

// stopAt runs a command until it stops itself at a point; nil with the result
// if it ended before.
func (h *Host) stopAt(point, program string, args ...string) (*Stopped, Result) {
	h.t.Helper()
	s := &Stopped{h: h, ended: make(chan struct{})}
	token := "STOPPED=" + h.Name
	s.cmd = h.command(Cmd{
		Args: append([]string{"bash", "-c", `"$@"; exit $?`, "bash", program}, args...),
		Env:  map[string]string{"ALMAMIGRATE_FAULT": fmt.Sprintf(point, "stop"), "STOPPED": h.Name},
	})
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	for range 12000 {
		select {
		case <-s.ended:
			return nil, Result{Stdout: s.out.String(), Code: s.cmd.ProcessState.ExitCode()}
		case <-time.After(10 * time.Millisecond):
		}
		if s.pid = stoppedProcess(token); s.pid != 0 {
			return s, Result{}
		}
	}
	h.t.Fatalf("neither stopped nor ended in two minutes:\n%s", s.out.String())
	return nil, Result{}
}

// stoppedProcess finds the stopped process with that in its environment.
func stoppedProcess(token string) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		stat, err := os.ReadFile(d + "/stat")
		if err != nil || !strings.Contains(string(stat), "(almamigrate) T ") {
			continue
		}
		env, _ := os.ReadFile(d + "/environ")
		if strings.Contains(string(env), token+"\x00") {
			var pid int
			_, _ = fmt.Sscan(filepath.Base(d), &pid)
			return pid
		}
	}
	return 0
}

// GoOn lets it go on and returns how it ended.
func (s *Stopped) GoOn() Result {
	_ = unix.Kill(s.pid, unix.SIGCONT)
	<-s.ended
	return Result{Stdout: s.out.String(), Code: s.cmd.ProcessState.ExitCode()}
}

// Kill ends it and everything else in the host at once.
func (s *Stopped) Kill() {
	_ = unix.Kill(-s.cmd.Process.Pid, unix.SIGKILL)
	<-s.ended
}

// PowerCut cuts the power at a point of a command: whatever was not synced is
// lost. The host is up again when it returns.
func (h *Host) PowerCut(point, program string, args ...string) {
	h.t.Helper()
	s, r := h.stopAt(point, program, args...)
	if s == nil {
		h.t.Fatalf("%s was not reached: exit code %d\n%s", point, r.Code, r.Stdout)
	}
	h.disk.Break()
	s.Kill()
	h.disk.Unmount()
	if err := h.disk.Mount(); err != nil {
		h.t.Fatalf("the file system does not come up again: %v", err)
	}
}
