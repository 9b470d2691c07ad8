package assess

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// findEnvironment judges what is around the packages.
func (a *assessor) findEnvironment() {
	if a.distro == inventory.NotEL {
		return
	}
	if a.notExamined(); a.inv.Environment == nil {
		return
	}
	a.findContainer()
	a.findFileSystems()
	a.findReadOnly()
	a.findImmutable()
	a.findSpace()
	a.findBoot()
	a.findState()
	a.findManagement()
	a.findPanels()
	a.findAgents()
	a.findAlternatives()
}

// notExamined says what no finding can be about.
func (a *assessor) notExamined() {
	me := []Resource{{"host", a.inv.Host.Root, ""}}
	f := Finding{ID: idHostNotExamined, Severity: Info, Resources: me}
	switch {
	case a.inv.Environment == nil:
		f.Title = "only packages and repositories were looked at"
		f.Detail = "The inventory does not say how the host boots, what space it has, or who manages it: it was written by an older version."
		f.Remedy = Remedy{Text: "take the inventory again with this version", Command: "almamigrate inventory --json > FILE"}
	case !a.inv.Host.Running():
		f.Title = "an image was looked at, not a running system"
		f.Detail = "Free space, mounts, firmware, loaded modules, locks and pending reboots are not known."
		f.Remedy = Remedy{Text: "check the running host as well", Command: "almamigrate check"}
	case a.inv.Host.Captured:
		f.Title = "a copy of a host's files was looked at, not the running system"
		f.Detail = "What its /proc and /sys said when they were copied is judged. Free space, locks and the attributes of files are not known, nor what was not copied."
		f.Remedy = Remedy{Text: "check the running host as well", Command: "almamigrate check"}
	default:
		return
	}
	a.raise(f)
}

func (a *assessor) findContainer() {
	c := a.inv.Environment.Container
	if c.Kind == "" {
		return
	}
	a.raise(Finding{
		ID: idHostContainer, Severity: Info, Resources: []Resource{{"file", c.Evidence, c.Kind}},
		Title:  "the host is a container (" + c.Kind + ")",
		Detail: "It has no kernel and no boot loader of its own; kernel, boot and firmware were left out of the check.",
		Remedy: Remedy{Text: "rather build the container anew from an AlmaLinux image, where you can"},
	})
}

func (a *assessor) findFileSystems() {
	if m := a.overlayRoot(); m != nil && a.inv.Environment.Container.Kind == "" {
		a.raise(Finding{
			ID: idFSOverlay, Severity: Info, Resources: []Resource{{"mount", "/", m.FSType}},
			Title:  "the root file system is laid over another one (" + m.FSType + ")",
			Detail: "On a live or stateless system changes may be gone after a reboot. How it boots was left out of the check: that is decided elsewhere.",
			Remedy: Remedy{Text: "change the image that it is made from, if changes do not last", Command: "findmnt /"},
		})
	}
	if a.in.Major >= 10 {
		return // AlmaLinux 10 has btrfs since 10.1
	}
	var res []Resource
	for _, p := range []string{"/", "/boot", "/etc", "/usr", "/var"} {
		for _, m := range a.inv.Environment.Mounts {
			if m.FSType == "btrfs" && slices.Contains(m.Holds, p) {
				res = append(res, Resource{"mount", m.Point, m.Source})
			}
		}
	}
	if len(res) == 0 || a.inv.Environment.Container.Kind != "" {
		return
	}
	f := Finding{
		ID: idFSBtrfs, Severity: Blocker, Resources: res,
		Title:  fmt.Sprintf("the system is on btrfs, which AlmaLinux %d's kernel does not have", a.in.Major),
		Detail: "With AlmaLinux's kernel the host would not find its root file system. AlmaLinux has btrfs from 10.1 on.",
		Remedy: Remedy{Text: "move the system to xfs or ext4, or stay with a kernel that has btrfs", Command: "findmnt -t btrfs"},
	}
	if k := a.runningKernel(); k != nil && (k.Flavour == inventory.FlavourML || k.Flavour == inventory.FlavourLT) {
		f.Severity = Warning
		f.Detail = "It starts only as long as the kernel that runs now, which is not AlmaLinux's, stays the default."
	}
	a.raise(f)
}

// changing returns the names of packages that the move changes and that own
// something at or below a path; at most one is enough to know.
func (a *assessor) changing(path string) string {
	dir := strings.TrimSuffix(path, "/") + "/"
	bare := "" // /bin is /usr/bin, and so on
	if rest, ok := strings.CutPrefix(dir, "/usr"); ok && slices.ContainsFunc(merged, func(m string) bool { return strings.HasPrefix(rest, m) }) {
		bare = rest
	}
	for i := range a.judged {
		j := &a.judged[i]
		if !j.moves() && !j.leaves {
			continue
		}
		for _, d := range j.p.Files.Dirs {
			if strings.HasPrefix(d, dir) || bare != "" && strings.HasPrefix(d, bare) {
				return j.p.Name
			}
		}
		if j.p.Files.Has(path) {
			return j.p.Name
		}
	}
	return ""
}

func (a *assessor) findReadOnly() {
	var bad, soft []Resource
	for _, m := range a.inv.Environment.Mounts {
		if !m.ReadOnly || m.FSType == "efivarfs" {
			continue
		}
		held := slices.DeleteFunc(slices.Clone(m.Holds), func(p string) bool {
			return p == "/tmp" || p == "/opt" || p == "/srv" || p == "/usr/local" || p == "/efi"
		})
		if len(held) > 0 {
			bad = append(bad, Resource{"mount", m.Point, strings.Join(held, ", ")})
			continue
		}
		if name := a.changing(m.Point); name != "" {
			r := Resource{"mount", m.Point, name + " owns something there"}
			if kernelFS := m.Point == "/sys" || m.Point == "/proc"; kernelFS && a.inv.Environment.Container.Kind != "" {
				soft = append(soft, r)
			} else {
				bad = append(bad, r)
			}
		}
	}
	if len(bad) > 0 {
		a.raise(Finding{
			ID: idFSReadOnly, Severity: Blocker, Resources: bad,
			Title:  fmt.Sprintf("%s that packages write to %s mounted read-only", plural(len(bad), "file system"), verb(len(bad), "is", "are")),
			Detail: "rpm stops in the middle of a package when it cannot write. After an error of the disk the kernel itself makes a file system read-only: look into its log first.",
			Remedy: Remedy{Text: "make it writable for the move", Command: "dmesg | grep -i remount; mount -o remount,rw " + shellWord(bad[0].Name)},
		})
	}
	if len(soft) > 0 {
		a.raise(Finding{
			ID: idFSReadOnly, Severity: Warning, Resources: soft,
			Title:  "file systems of the kernel are read-only in this container",
			Detail: "The package filesystem owns these folders and fails to set their owner; rpm must be told to leave them alone.",
			Remedy: Remedy{Text: "tell rpm", Command: "echo '%_netsharedpath /sys:/proc' > /etc/rpm/macros.almamigrate"},
		})
	}
}

func (a *assessor) findImmutable() {
	var bad, soft []Resource
	for _, f := range a.inv.Environment.Flagged {
		how := "chattr +i"
		if !f.Immutable {
			how = "chattr +a"
		}
		owner := ""
		for i := range a.judged {
			if j := &a.judged[i]; (j.moves() || j.leaves) && j.p.Files.Has(f.Path) {
				owner = j.p.Name
				break
			}
		}
		switch {
		case owner != "":
			bad = append(bad, Resource{"file", f.Path, how + ", of " + owner})
		case f.Folder || boot.Under(f.Path, "/boot") || boot.Under(f.Path, "/var/lib/rpm") || boot.Under(f.Path, "/usr/lib/sysimage/rpm"):
			bad = append(bad, Resource{"file", f.Path, how})
		default:
			soft = append(soft, Resource{"file", f.Path, how})
		}
	}
	cmd := func(res []Resource) string {
		var names []string
		for _, r := range res {
			names = append(names, shellWord(r.Name))
		}
		if len(names) > 8 {
			return "lsattr -d /etc /usr /boot; lsattr /etc 2>/dev/null | grep -- '-[ia]-'"
		}
		return "chattr -ia " + strings.Join(names, " ")
	}
	if len(bad) > 0 {
		a.raise(Finding{
			ID: idFSImmutable, Severity: Blocker, Resources: bad,
			Title:  fmt.Sprintf("%s that the move changes %s locked by chattr", plural(len(bad), "file"), verb(len(bad), "is", "are")),
			Detail: "Even root cannot replace or remove them: rpm would fail in the middle of the package.",
			Remedy: Remedy{Text: "unlock them for the move, and lock them again after it", Command: cmd(bad)},
		})
	}
	if len(soft) > 0 {
		a.raise(Finding{
			ID: idFSImmutable, Severity: Warning, Resources: soft,
			Title:  fmt.Sprintf("%s in the system's folders %s locked by chattr", plural(len(soft), "file"), verb(len(soft), "is", "are")),
			Detail: "No package that changes owns them, but scripts of packages (that add a user or a group, for example) fail on them.",
			Remedy: Remedy{Text: "unlock them for the move, and lock them again after it", Command: cmd(soft)},
		})
	}
}

// newerBy is how far ahead of the clock a time may be: clocks differ a little,
// and build hosts live in all time zones.
const newerBy = 24 * time.Hour

// restartFor are the packages whose update takes effect at the next boot only,
// as needs-restarting(1) has them.
var restartFor = []string{"dbus", "dbus-broker", "dbus-daemon", "glibc", "linux-firmware", "microcode_ctl", "systemd"}

// findState judges what passes: reboots, locks, clocks, settings in force.
func (a *assessor) findState() {
	env := a.inv.Environment
	if !a.inv.Host.Running() {
		return
	}
	if a.bootsItself() {
		a.findReboot()
		if s := env.SELinux; s.Mode == "disabled" && (s.Configured == "enforcing" || s.Configured == "permissive") && !a.kernelLacksSELinux() {
			a.raise(Finding{
				ID: idHostSELinux, Severity: Warning, Resources: []Resource{{"file", "/etc/selinux/config", "SELINUX=" + s.Configured}},
				Title:  "SELinux is off now and would be " + s.Configured + " after the reboot",
				Detail: "Files that were made meanwhile, those of the move included, carry no labels: services and logins can fail until the whole system is labelled anew.",
				Remedy: Remedy{Text: "either keep it off, or have it label everything at the next boot", Command: "fixfiles -F onboot"},
			})
		}
	}
	if f := env.Firmware; f != nil && f.FIPS {
		a.raise(Finding{
			ID: idHostFIPS, Severity: Warning, Resources: []Resource{{"file", "/proc/sys/crypto/fips_enabled", "1"}},
			Title:  "the host runs in FIPS mode",
			Detail: "The mode itself carries over. Certificates of validation are for one vendor's builds: those of the source distribution say nothing about AlmaLinux's.",
			Remedy: Remedy{Text: "ask who demands FIPS which certificates count, then check the mode after the move", Command: "fips-mode-setup --check"},
		})
	}
	if len(env.PackageTools) > 0 {
		var res []Resource
		for _, p := range env.PackageTools {
			name := p.Name
			if name == "" {
				name = "a process"
			}
			if p.PID > 0 {
				name += fmt.Sprintf(" (pid %d)", p.PID)
			}
			res = append(res, Resource{"host", name, p.Evidence})
		}
		a.raise(Finding{
			ID: idHostPackageTool, Severity: Warning, Resources: res,
			Title:  "a package manager is at work: " + res[0].Name,
			Detail: "What was read may be changing this moment, and no move can begin beside it.",
			Remedy: Remedy{Text: "let it finish, and check again", Command: "ps -fC rpm,dnf,yum"},
		})
	}
	a.findClock()
	if a.in.Major >= 10 && a.inv.Host.Arch == "x86_64" && env.CPU.Level > 0 && env.CPU.Level < 3 {
		a.raise(Finding{
			ID: idHostCPU, Severity: Blocker, Resources: []Resource{{"device", "cpu", "lacks " + strings.Join(env.CPU.Missing, ", ")}},
			Title:  fmt.Sprintf("the processor is of level x86-64-v%d, AlmaLinux %d is built for v3", env.CPU.Level, a.in.Major),
			Detail: "Its programs would end with an illegal instruction. AlmaLinux 10 has a build for x86-64-v2 beside the usual one; the repositories compared here are of the usual one. In a virtual machine the hypervisor may hide what the processor can do.",
			Remedy: Remedy{Text: "give the virtual machine a newer processor model, or use the x86_64_v2 build", Command: "/lib64/ld-linux-x86-64.so.2 --help | grep x86-64-v"},
		})
	}
}

// kernelLacksSELinux tells a kernel of another make: then SELinux is off for
// good, whatever is configured.
func (a *assessor) kernelLacksSELinux() bool {
	return a.runningKernel() == nil && a.inv.Environment.RunningOwner == ""
}

func (a *assessor) findReboot() {
	env := a.inv.Environment
	var res []Resource
	if run := a.runningKernel(); run != nil {
		newest := run
		for i := range env.Kernels { // oldest first
			if k := &env.Kernels[i]; k.Name == run.Name {
				newest = k
			}
		}
		if newest.Release != run.Release {
			res = append(res, Resource{"package", newest.Package, "runs: " + run.Release})
		}
	}
	if env.Started > 0 {
		for i := range a.inv.Packages {
			p := &a.inv.Packages[i]
			if p.InstallTime > env.Started && slices.Contains(restartFor, p.Name) {
				res = append(res, Resource{"package", p.NEVRA().String(), "installed after the start of the system"})
			}
		}
	}
	for _, f := range env.RebootFlags {
		res = append(res, Resource{"file", f, "asks for a reboot"})
	}
	if len(res) == 0 {
		return
	}
	a.raise(Finding{
		ID: idHostReboot, Severity: Warning, Resources: res,
		Title:  "a reboot is pending from earlier updates",
		Detail: "What was updated has not proven that the host starts with it. If it does not come back after the move, nobody knows which of the two it was.",
		Remedy: Remedy{Text: "reboot before the move", Command: "systemctl reboot"},
	})
}

func (a *assessor) findClock() {
	now := a.inv.Taken
	var res []Resource
	for i := range a.inv.Packages {
		p := &a.inv.Packages[i]
		switch built, in := time.Unix(p.BuildTime, 0), time.Unix(p.InstallTime, 0); {
		case built.After(now.Add(newerBy)):
			res = append(res, Resource{"package", p.NEVRA().String(), "built " + built.UTC().Format(time.DateOnly)})
		case in.After(now.Add(newerBy)):
			res = append(res, Resource{"package", p.NEVRA().String(), "installed " + in.UTC().Format(time.DateOnly)})
		}
	}
	if s := a.inv.Environment.Started; s > 0 && time.Unix(s, 0).After(now.Add(newerBy)) {
		res = append(res, Resource{"host", a.inv.Host.Name, "started " + time.Unix(s, 0).UTC().Format(time.DateOnly)})
	}
	if a.findOffset(len(res) > 0); len(res) == 0 {
		return
	}
	a.raise(Finding{
		ID: idHostClock, Severity: Warning, Resources: res,
		Title:  "the clock is behind: it says " + now.UTC().Format("2006-01-02 15:04") + " UTC",
		Detail: fmt.Sprintf("%s from after that. With a wrong clock certificates of mirrors and signatures of packages are refused, and logs lie.", plural(len(res), "thing is")),
		Remedy: Remedy{Text: "set the clock", Command: "timedatectl; chronyc makestep"},
	})
}

// offsetBy is how far the clocks of mirrors and of a host may differ: what
// checks times (TLS, Kerberos) bears some minutes.
const offsetBy = 15 * time.Minute

// findOffset compares the clock with those of the mirrors, by the median: one
// of them may be wrong itself. Told says that it is known to be behind.
func (a *assessor) findOffset(told bool) {
	if !a.inv.Host.Live {
		return
	}
	var all []time.Duration
	for i := range a.in.Repos {
		if d := a.in.Repos[i].ClockAhead; d != nil {
			all = append(all, *d)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	d := all[len(all)/2]
	way := "ahead of"
	if d < 0 {
		way = "behind"
	}
	if d.Abs() < offsetBy || d < 0 && told {
		return
	}
	by := pluralOf(int(d.Abs().Minutes()), "minute", "minutes")
	switch hours := int(d.Abs().Hours()); {
	case hours >= 48:
		by = fmt.Sprintf("%d days", hours/24)
	case hours >= 2:
		by = fmt.Sprintf("%d hours", hours)
	}
	a.raise(Finding{
		ID: idHostClock, Severity: Warning, Resources: []Resource{{"host", a.inv.Host.Name, by + " " + way + " the mirrors' clocks"}},
		Title:  fmt.Sprintf("the clock is %s %s the mirrors' clocks", by, way),
		Detail: "With a wrong clock certificates of mirrors and keys of packages are refused or taken though they are expired, and logs lie.",
		Remedy: Remedy{Text: "set the clock", Command: "timedatectl; chronyc makestep"},
	})
}

// halfMigrated says how far a half-migrated host is, with the way on and the
// way back.
func (a *assessor) halfMigrated(me []Resource) {
	var alma, source int
	res := slices.Clone(me)
	for i := range a.judged {
		j := &a.judged[i]
		switch a.kind(j.res.Origin) {
		case originAlmaLinux:
			alma++
		case originDistro:
			source++
			if j.moves() || j.leaves {
				res = append(res, Resource{"package", j.res.NEVRA, "not AlmaLinux's yet"})
			}
		}
	}
	a.raise(Finding{
		ID: idHostHalfMigrated, Severity: Warning, Resources: res,
		Title: "the host is half-migrated",
		Detail: fmt.Sprintf("%s. %s AlmaLinux's, %s the source distribution's. That is so between \"almamigrate migrate\" and \"migrate --full\", and after a move that was not finished. The way on is to bring the rest over: almamigrate migrate --full, or dnf distro-sync with AlmaLinux's repositories. "+
			"The way back is almamigrate rollback where almamigrate began it; else dnf's history, as long as the old repositories can be reached: dnf history list, then dnf history undo ID.",
			strings.TrimSuffix(a.inv.Host.StateReason, "."), sentenceCount(alma), sentenceCount(source)),
		Remedy: Remedy{Text: "look who began it and what is left, then go on", Command: "almamigrate status; almamigrate plan --full"},
	})
}

func sentenceCount(n int) string {
	return plural(n, "package") + " " + verb(n, "is", "are")
}

func (a *assessor) findManagement() {
	managed := []Resource{}
	for i := range a.inv.Repos {
		if r := &a.inv.Repos[i]; r.Enabled && r.File == "/etc/yum.repos.d/redhat.repo" {
			managed = append(managed, Resource{"repo", r.ID, "written by subscription-manager"})
		}
	}
	for _, m := range a.inv.Environment.Management {
		res := append([]Resource{{"file", m.Evidence, m.Server}}, managed...)
		at := ""
		if m.Server != "" {
			at = " at " + m.Server
		}
		switch m.Kind {
		case "rhsm":
			a.raise(Finding{
				ID: idMgmtRHSM, Severity: Info, Resources: res,
				Title:  "the host is registered with Red Hat's subscription management",
				Detail: "The move takes subscription-manager out, and with it the repositories that it writes. The registration itself stays on Red Hat's side until it is removed.",
				Remedy: Remedy{Text: "unregister once the move has proven good", Command: "subscription-manager unregister"},
			})
		case "satellite":
			a.raise(Finding{
				ID: idMgmtSatellite, Severity: Warning, Resources: res,
				Title:  "the host gets its content from a Satellite, Katello or Foreman server" + at,
				Detail: "Its repositories come from a content view that holds the source distribution. Without AlmaLinux's in it the host gets no updates after the move.",
				Remedy: Remedy{Text: "add AlmaLinux's repositories there first, then compare with those", Command: "almamigrate check --repo baseos=URL --repo appstream=URL"},
			})
		case "uyuni":
			a.raise(Finding{
				ID: idMgmtUyuni, Severity: Warning, Resources: res,
				Title:  "the host is managed by Uyuni or SUSE Manager" + at,
				Detail: "Its channels are assigned on the server and hold the source distribution; the next Salt run brings them back.",
				Remedy: Remedy{Text: "assign AlmaLinux's channels to the host on the server, then compare with those", Command: "almamigrate check --repo baseos=URL --repo appstream=URL"},
			})
		case "rhn":
			a.raise(Finding{
				ID: idMgmtRHN, Severity: Warning, Resources: res,
				Title:  "the host is registered with Spacewalk or RHN Classic" + at,
				Detail: "Its channels hold the source distribution.",
				Remedy: Remedy{Text: "give it AlmaLinux's channels there, or take it out", Command: "rhn-channel --list"},
			})
		}
	}
	var cloud []Resource
	for i := range a.inv.Packages {
		if p := &a.inv.Packages[i]; strings.Contains(p.Name, "rhui") {
			cloud = append(cloud, Resource{"package", p.NEVRA().String(), ""})
		}
	}
	if len(cloud) > 0 {
		a.raise(Finding{
			ID: idMgmtRHUI, Severity: Warning, Resources: cloud,
			Title:  "the host gets RHEL from its cloud provider (RHUI)",
			Detail: "The provider bills the instance as RHEL by its image, whatever runs on it. The packages of its client would go on to define RHEL's repositories.",
			Remedy: Remedy{Text: "ask the provider how the billing code is removed; remove the client after the move", Command: "rpm -qa '*rhui*'"},
		})
	}
}

func (a *assessor) findPanels() {
	known := map[string]int{}
	panels := a.cat.Panels()
	for i, p := range panels {
		known[p.Name] = i
	}
	for _, p := range a.inv.Environment.Panels {
		i, ok := known[p.Name]
		if !ok {
			continue
		}
		k := panels[i]
		name := strings.TrimSpace(k.Title + " " + p.Version)
		res := []Resource{{"file", p.Path, name}}
		if k.Minimum != "" && (p.Version == "" || rpmver.EVR{Version: p.Version}.Compare(rpmver.EVR{Version: k.Minimum}) < 0) {
			has := name
			if p.Version == "" {
				has = "the version of " + k.Title + " cannot be read"
			}
			a.raise(Finding{
				ID: idPanelVersion, Severity: Blocker, Resources: res,
				Title:  fmt.Sprintf("%s; %s or newer is needed", has, k.Minimum),
				Detail: "Older versions do not know AlmaLinux and stop working on it.",
				Remedy: Remedy{Text: "update it first", Command: k.Command},
			})
			continue
		}
		a.raise(Finding{
			ID: idPanelPresent, Severity: Warning, Resources: res,
			Title:  name + " manages this host",
			Detail: "It brings packages, repositories and settings of its own that must fit the distribution. Known from: " + k.Source + ".",
			Remedy: Remedy{Text: k.Advice, Command: k.Command},
		})
	}
}

func (a *assessor) findAgents() {
	var res []Resource
	var names []string
	for i := range a.judged {
		j := &a.judged[i]
		if j.leaves {
			continue
		}
		if g, ok := a.cat.Agent(j.p.Name); ok {
			res = append(res, Resource{"package", j.res.NEVRA, g.Title + ": " + g.Effect + "; " + g.Advice})
			names = append(names, g.Title)
		}
	}
	if len(res) == 0 {
		return
	}
	a.raise(Finding{
		ID: idMgmtAgent, Severity: Warning, Resources: res,
		Title:  "programs of other vendors behave by the distribution or kernel that they see: " + few(names),
		Detail: "They go on to run, but may protect or report less. " + sentence(strings.TrimPrefix(res[0].Detail, names[0]+": ")),
		Remedy: Remedy{Text: "ask their vendors for AlmaLinux before the move; each is explained with --verbose", Command: "almamigrate check --verbose"},
	})
}

// findAlternatives looks at links that the update of a package can break.
func (a *assessor) findAlternatives() {
	var risky, broken []Resource
	for _, alt := range a.inv.Environment.Alternatives {
		if strings.Contains(alt.Target, "/man/") {
			continue // a host without documentation has none of them
		}
		if alt.Broken {
			broken = append(broken, Resource{"file", "/etc/alternatives/" + alt.Name, "points to " + alt.Target + ", which does not exist"})
			continue
		}
		if !alt.Manual {
			continue
		}
		for i := range a.judged {
			j := &a.judged[i]
			if (j.moves() || j.leaves) && j.p.Files.Has(alt.Target) {
				why := "chosen by hand; " + j.p.Name + " is replaced"
				if j.dropped {
					why = "chosen by hand; " + j.p.Name + " goes"
				}
				risky = append(risky, Resource{"file", "/etc/alternatives/" + alt.Name, why + " (" + alt.Target + ")"})
				break
			}
		}
	}
	if len(risky) > 0 {
		a.raise(Finding{
			ID: idHostAlternatives, Severity: Warning, Resources: risky,
			Title:  fmt.Sprintf("%s chosen by hand may be lost", plural(len(risky), "alternative")),
			Detail: "Scripts of packages (Java's above all) register alternatives anew when they are replaced, and the path often holds the version: the choice falls back to automatic, or to nothing.",
			Remedy: Remedy{Text: "note them, and set them again after the move", Command: "alternatives --list | grep manual"},
		})
	}
	if len(broken) > 0 {
		a.raise(Finding{
			ID: idHostAlternatives, Severity: Info, Resources: broken,
			Title:  fmt.Sprintf("%s already %s to nothing", plural(len(broken), "alternative"), verb(len(broken), "points", "point")),
			Detail: "They were broken before; the move does not repair them.",
			Remedy: Remedy{Text: "set them anew or remove them", Command: "alternatives --auto " + shellWord(strings.TrimPrefix(broken[0].Name, "/etc/alternatives/"))},
		})
	}
}
