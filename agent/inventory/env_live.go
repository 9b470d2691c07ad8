package inventory

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// container looks where systemd-detect-virt(1) looks, and at the marks of the
// programs that make containers.
func (x *reader) container() {
	set := func(kind, evidence string) { x.env.Container = Container{kind, evidence} }
	// systemd puts the kind there for everybody to read.
	if kind := x.r.Attr("/run/systemd/container"); kind != "" {
		set(clean(kind), "/run/systemd/container")
		return
	}
	// OpenVZ and Virtuozzo: /proc/vz in host and container, /proc/bc on the host only.
	if x.r.Exists("/proc/vz") && !x.r.Exists("/proc/bc") {
		set("openvz", "/proc/vz")
		return
	}
	if data, err := x.r.ReadFile("/proc/1/environ", maxSetting); err == nil {
		for v := range bytes.SplitSeq(data, []byte{0}) {
			if kind, ok := bytes.CutPrefix(v, []byte("container=")); ok && len(kind) > 0 {
				set(clean(string(kind)), "/proc/1/environ")
				return
			}
		}
	}
	for _, m := range []struct{ kind, file string }{
		{"podman", "/run/.containerenv"}, {"docker", "/.dockerenv"}, {"docker", "/.dockerinit"}, {"lxc", "/dev/lxc"}, {"lxc", "/dev/.lxc"}, {"lxc", "/dev/lxd/sock"},
	} {
		if x.r.Exists(m.file) {
			set(m.kind, m.file)
			return
		}
	}
}

// rpmLocks are the files that rpm takes a lock on for as long as it writes.
var rpmLocks = []string{"/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"}

// pidFiles are where dnf and yum write who holds their locks.
var pidFiles = []string{
	"/run/yum.pid", "/var/run/yum.pid", "/var/cache/dnf/metadata_lock.pid", "/var/cache/dnf/download_lock.pid", "/var/lib/dnf/rpmdb_lock.pid",
}

// packageManagers are names of processes that change packages.
var packageManagers = []string{"dnf", "dnf-3", "dnf4", "dnf5", "yum", "rpm", "microdnf", "dnf-automatic", "yum-cron", "leapp", "convert2rhel", "almalinux-deploy"}

// packageTools asks whether a package manager is at work: who holds rpm's
// lock, without taking it; whose pid files are those of living processes; and
// which processes are called so.
func (x *reader) packageTools() {
	self := os.Getpid()
	add := func(pid int, evidence string) {
		if pid == self || pid > 0 && slices.ContainsFunc(x.env.PackageTools, func(p PackageTool) bool { return p.PID == pid }) {
			return
		}
		p := PackageTool{PID: pid, Evidence: evidence}
		if pid > 0 {
			p.Name = clean(x.r.Attr("/proc/" + strconv.Itoa(pid) + "/comm"))
		}
		x.env.PackageTools = append(x.env.PackageTools, p)
	}
	for _, name := range rpmLocks {
		f, err := x.r.OpenFile(name)
		if err != nil {
			continue // no rpm has ever written there
		}
		// F_GETLK asks whether a write lock could be had; it takes none and
		// needs no right to write. Locks of open file descriptions have no pid.
		lk := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lk)
		f.Close()
		if err == nil && lk.Type != unix.F_UNLCK {
			add(max(int(lk.Pid), 0), name)
		}
	}
	for _, name := range pidFiles {
		data, err := x.r.ReadFile(name, 64)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil || pid <= 0 {
			continue
		}
		// The file outlives a killed dnf, and the number may be another's by now.
		comm := x.r.Attr("/proc/" + strconv.Itoa(pid) + "/comm")
		if slices.Contains(packageManagers, comm) || strings.HasPrefix(comm, "python") || strings.HasPrefix(comm, "platform-python") {
			add(pid, name)
		}
	}
	names, err := x.r.Names("/proc")
	if err != nil {
		x.t.skip("/proc", err)
		return
	}
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil || pid <= 0 {
			continue
		}
		if slices.Contains(packageManagers, x.r.Attr("/proc/"+n+"/comm")) && !x.zombie(n) {
			add(pid, "/proc/"+n)
		}
	}
}

func (x *reader) zombie(pid string) bool {
	f := statFields(x.r.Attr("/proc/" + pid + "/stat"))
	return len(f) > 0 && f[0] == "Z"
}

// statFields are the fields of /proc/PID/stat from the third on. The second,
// the name in parentheses, may hold anything (proc_pid_stat(5)).
func statFields(stat string) []string {
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}

// process1 finds out when the system started: the boot, or in a container the
// start of its first process.
func (x *reader) process1() {
	for line := range strings.Lines(x.r.Attr("/proc/stat")) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			x.env.Started, _ = strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		}
	}
	// The 22nd field of stat, in ticks since the boot: of 1/100 s for user space
	// on all architectures of EL.
	if f := statFields(x.r.Attr("/proc/1/stat")); len(f) > 19 && x.env.Started > 0 {
		if ticks, err := strconv.ParseInt(f[19], 10, 64); err == nil {
			x.env.Started += ticks / 100
		}
	}
	for _, f := range []string{"/run/reboot-required", "/var/run/reboot-required"} {
		if x.r.Exists(f) {
			x.env.RebootFlags = []string{f}
			break
		}
	}
}

// The flags of /proc/cpuinfo that each x86-64 level adds (x86-64 psABI,
// "Micro-Architecture Levels"); LZCNT is abm and SSE3 is pni there.
var cpuLevels = [][]string{
	{"cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"},
	{"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
	{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
	{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

func (x *reader) cpu() {
	if x.t.inv.Host.Arch != "x86_64" {
		return
	}
	data, err := x.r.ReadFile("/proc/cpuinfo", 16<<20)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			x.t.skip("/proc/cpuinfo", err)
		}
		return
	}
	x.env.CPU = cpuLevel(string(data))
}

// cpuLevel judges the first processor of /proc/cpuinfo.
func cpuLevel(cpuinfo string) CPU {
	var c CPU
	have := map[string]bool{}
	for line := range strings.Lines(cpuinfo) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "flags" {
			for _, f := range strings.Fields(v) {
				have[f] = true
			}
			break
		}
	}
	if len(have) == 0 {
		return c
	}
	for _, flags := range cpuLevels {
		for _, f := range flags {
			if !have[f] {
				c.Missing = append(c.Missing, f)
			}
		}
		if len(c.Missing) > 0 {
			return c
		}
		c.Level++
	}
	return c
}
