package assess

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

// few joins up to three names and counts the rest.
func few(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, ", ")
}

// plural writes "1 package" or "2 packages".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(one, "y"))
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

func verb(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// collection gathers the packages of one finding.
type collection struct {
	res   []Resource
	names []string
}

func (c *collection) add(j *judged, detail string) {
	c.res = append(c.res, Resource{"package", j.res.NEVRA, detail})
	c.names = append(c.names, j.p.Name)
}

func (c *collection) n() int { return len(c.res) }

// sorted is the names, each once.
func (c *collection) sorted() []string {
	names := slices.Clone(c.names)
	slices.Sort(names)
	return slices.Compact(names)
}

// list is the names for a command line, cut where it would fill the screen.
func (c *collection) list() string {
	names := c.sorted()
	for i := range names {
		names[i] = shellWord(names[i])
	}
	if len(names) > 8 {
		names = append(names[:8:8], "...")
	}
	return strings.Join(names, " ")
}

// shellWord quotes a name from outside for a command that a human pastes.
func shellWord(s string) string {
	plain := s != "" && s[0] != '-'
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-/:@%", r)) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (a *assessor) findPackages() {
	a.findByVerdict()
	a.findDowngrades()
	a.findSignatures()
	a.findDamaged()
	a.findDuplicates()
	a.findStreams()
	a.findHeld()
	a.findProtected()
}

func (a *assessor) findByVerdict() {
	var missing, third, superseded, local, obsoleted, dropped collection
	off := map[string]*collection{}
	for i := range a.judged {
		j := &a.judged[i]
		k := a.kind(j.res.Origin)
		switch j.res.Verdict {
		case Missing:
			missing.add(j, j.res.Reason)
		case ThirdParty:
			third.add(j, j.res.Reason)
		case Local:
			local.add(j, j.res.Reason)
		case Replaced:
			if j.obsolete {
				obsoleted.add(j, j.res.Reason)
			} else if j.dropped {
				dropped.add(j, j.res.Reason)
			}
		}
		if (k == originForeign || k == originUnsigned) && j.target != nil && j.held == "" && j.target.repo.Enabled && !j.branding {
			superseded.add(j, fmt.Sprintf("%s; %s %s", a.signer(j.res.Origin), j.res.Verdict, j.target.nevra()))
		}
		if j.target != nil && !j.target.repo.Enabled && j.res.Verdict != Same {
			id := j.target.repo.ID
			if off[id] == nil {
				off[id] = &collection{}
			}
			off[id].add(j, fmt.Sprintf("%s has %s", id, j.target.nevra()))
		}
	}
	if n := missing.n(); n > 0 && !a.unread && !a.crossMajor() {
		a.raise(Finding{
			ID: idPkgMissing, Severity: Warning, Resources: missing.res,
			Title:  fmt.Sprintf("%s of the source distribution %s no counterpart in AlmaLinux", plural(n, "package"), verb(n, "has", "have")),
			Detail: "They stay installed and get no updates after the move. What would keep them from staying is a finding of its own.",
			Remedy: Remedy{Text: "remove those that you do not need", Command: a.removal(missing.sorted()...)},
		})
	}
	if n := third.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgThirdParty, Severity: Info, Resources: third.res,
			Title:  fmt.Sprintf("%s %s", plural(n, "third-party package"), verb(n, "stays as it is", "stay as they are")),
			Detail: "Other vendors built them, and AlmaLinux has no package of that name. Their own repositories go on to supply them.",
			Remedy: Remedy{Text: "make sure that the vendors support AlmaLinux"},
		})
	}
	if n := superseded.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgSuperseded, Severity: Warning, Resources: superseded.res,
			Title:  fmt.Sprintf("%s would turn into AlmaLinux's of the same name", plural(n, "third-party package")),
			Detail: "distro-sync looks at names and versions, not at who built a package: the vendor's build is replaced, also by an older one.",
			Remedy: Remedy{Text: "to keep the vendor's build, lock it and check again", Command: "dnf versionlock add " + superseded.list()},
		})
	}
	if n := local.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgLocal, Severity: Info, Resources: local.res,
			Title:  fmt.Sprintf("%s of no repository %s as %s", plural(n, "unsigned package"), verb(n, "stays", "stay"), verb(n, "it is", "they are")),
			Detail: "They were installed by hand; nobody updates them.",
			Remedy: Remedy{Text: "check that they are still needed", Command: "rpm -qi " + local.list()},
		})
	}
	if n := obsoleted.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgObsoleted, Severity: Info, Resources: obsoleted.res,
			Title:  fmt.Sprintf("%s %s replaced by others that obsolete %s", plural(n, "package"), verb(n, "is", "are"), verb(n, "it", "them")),
			Detail: "An AlmaLinux package of another name takes the place.",
			Remedy: Remedy{Text: "look at the replacements if you depend on these packages", Command: "almamigrate check --verbose --only replaced"},
		})
	}
	if n := dropped.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgDropped, Severity: Info, Resources: dropped.res,
			Title:  fmt.Sprintf("%s of the source distribution %s taken out", plural(n, "package"), verb(n, "is", "are")),
			Detail: "They belong to the source distribution itself; nothing comes in their place.",
			Remedy: Remedy{Text: "check that nothing of yours calls them", Command: "rpm -q --whatrequires " + dropped.list()},
		})
	}
	for _, id := range sortedKeys(off) {
		n := off[id].n()
		a.raise(Finding{
			ID: idPkgRepoDisabled, Severity: Warning, Resources: append(off[id].res, Resource{"repo", id, "off after the move"}),
			Title:  fmt.Sprintf("%s %s a counterpart only in %s, which would be off", plural(n, "package"), verb(n, "has", "have"), id),
			Detail: "Without the repository they stay as they are, without updates.",
			Remedy: Remedy{Text: "enable it right after the move", Command: "dnf config-manager --set-enabled " + shellWord(id)},
		})
	}
}

func (a *assessor) findDowngrades() {
	var older collection
	for i := range a.judged {
		j := &a.judged[i]
		if j.res.Verdict == Older && j.target.repo.Enabled && j.held == "" && (j.group < 0 || j.group == i) {
			older.add(j, "would become "+j.target.nevra().EVR.String())
		}
	}
	if n := older.n(); n > 0 {
		detail := "The installed versions are newer than AlmaLinux's; the move takes them back."
		switch {
		case a.distro == inventory.CentOSStream:
			detail += " CentOS Stream is ahead of the releases: AlmaLinux's next minor release will have these or newer ones."
		case a.distro == inventory.AlmaLinux:
			detail += " The repository that was read is probably behind."
		default:
			detail += " A mirror that is behind looks like this too."
		}
		a.raise(Finding{
			ID: idPkgOlder, Severity: Warning, Resources: older.res,
			Title:  fmt.Sprintf("%s would be downgraded", plural(n, "package")),
			Detail: detail,
			Remedy: Remedy{Text: "look at them; wait for AlmaLinux's next minor release if you need these versions", Command: "almamigrate check --verbose --only older"},
		})
	}
	a.findRisks()
}

// findRisks raises one finding for each known risk, with its packages.
func (a *assessor) findRisks() {
	type key struct {
		severity Severity
		why      string
	}
	groups := map[key]*collection{}
	var order []key
	for _, r := range a.risky {
		j := &a.judged[r.judged]
		if j.held != "" || !j.target.repo.Enabled || j.group >= 0 && j.group != r.judged {
			continue
		}
		k := key{Warning, j.res.Risk}
		if r.severity == Blocker {
			k.severity = Blocker
		}
		if groups[k] == nil {
			groups[k] = &collection{}
			order = append(order, k)
		}
		groups[k].add(j, "would become "+j.target.nevra().EVR.String())
	}
	for _, k := range order {
		c := groups[k]
		a.raise(Finding{
			ID: idPkgDataFormat, Severity: k.severity, Resources: c.res,
			Title:  "the downgrade of " + few(c.names) + " may hurt",
			Detail: sentence(k.why),
			Remedy: Remedy{Text: "save the data in a form that the older version reads; or hold the version until AlmaLinux has it", Command: "dnf versionlock add " + c.list()},
		})
	}
}

func (a *assessor) findSignatures() {
	var bad, unknown collection
	for i := range a.judged {
		j := &a.judged[i]
		s := &j.p.Signature
		switch {
		case s.Status == "bad":
			bad.add(j, s.Reason)
		case s.Status == "unknown-key" && j.res.Origin.Owner == ownerUnknown:
			unknown.add(j, "key "+s.KeyID)
		case s.Status == "unsupported" && j.res.Origin.Owner == ownerUnknown:
			unknown.add(j, s.Reason)
		}
	}
	if n := bad.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgSigBad, Severity: Blocker, Resources: bad.res,
			Title:  fmt.Sprintf("%s %s a bad signature", plural(n, "package"), verb(n, "has", "have")),
			Detail: "What the rpm database says of them was changed after it was signed: the database is damaged, or somebody tampered with it.",
			Remedy: Remedy{Text: "find out what happened, then reinstall the packages", Command: "rpm -V " + bad.list()},
		})
	}
	if n := unknown.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgSigUnknown, Severity: Info, Resources: unknown.res,
			Title:  fmt.Sprintf("%s %s signed with a key that is not at hand", plural(n, "package"), verb(n, "is", "are")),
			Detail: "Who built them cannot be proved; they count as third-party.",
			Remedy: Remedy{Text: "import the vendor's key and check again", Command: "rpm --import FILE"},
		})
	}
}

// findDamaged tells of entries of the rpm database that cannot be read.
func (a *assessor) findDamaged() {
	d := a.inv.Database.Damaged
	if len(d) == 0 {
		return
	}
	var res []Resource
	for _, r := range d {
		res = append(res, Resource{"file", a.inv.Database.Path, fmt.Sprintf("row %d: %s", r.Row, r.Reason)})
	}
	dir := path.Dir(a.inv.Database.Path)
	a.raise(Finding{
		ID: idDBDamaged, Severity: Blocker, Resources: res,
		Title:  fmt.Sprintf("%s of the rpm database %s damaged", plural(len(d), "entry"), verb(len(d), "is", "are")),
		Detail: "The packages behind are not known: what is said of all others, and of dependencies, is said without them.",
		Remedy: Remedy{
			Text:    "save the database, rebuild it without the damaged entries, and install again what is missing then (dnf check tells)",
			Command: fmt.Sprintf("cp -a %s %s.saved && rpmdb --rebuilddb && dnf check", shellWord(dir), shellWord(dir)),
		},
	})
}

func (a *assessor) findDuplicates() {
	var twice, rows collection
	byNA := map[string][]int{}
	for i := range a.judged {
		j := &a.judged[i]
		k := j.p.Name + "." + j.p.Arch
		byNA[k] = append(byNA[k], i)
	}
	for _, k := range sortedKeys(byNA) {
		list := byNA[k]
		if len(list) < 2 {
			continue
		}
		evrs := map[string]int{}
		for _, i := range list {
			j := &a.judged[i]
			evrs[j.p.EVR.String()]++
			if j.group < 0 {
				twice.add(j, fmt.Sprintf("row %d of the rpm database", j.p.Row))
			}
		}
		for _, i := range list {
			if j := &a.judged[i]; evrs[j.p.EVR.String()] > 1 {
				rows.add(j, fmt.Sprintf("row %d of the rpm database", j.p.Row))
			}
		}
		if len(evrs) == 1 && a.judged[list[0]].group < 0 {
			twice.res = twice.res[:len(twice.res)-len(list)]
			twice.names = twice.names[:len(twice.names)-len(list)]
		}
	}
	if twice.n() > 0 {
		slices.Sort(twice.names)
		n := len(slices.Compact(slices.Clone(twice.names)))
		command := "dnf remove --duplicates"
		if a.inv.Host.Major == 7 {
			command = "package-cleanup --cleandupes"
		}
		a.raise(Finding{
			ID: idPkgDuplicate, Severity: Warning, Resources: twice.res,
			Title:  fmt.Sprintf("%s %s installed in more than one version", plural(n, "package"), verb(n, "is", "are")),
			Detail: "A transaction was interrupted here; dnf may refuse the move or misjudge it.",
			Remedy: Remedy{Text: "remove the older ones before the move", Command: command},
		})
	}
	if rows.n() > 0 {
		a.raise(Finding{
			ID: idDBDuplicate, Severity: Warning, Resources: rows.res,
			Title:  fmt.Sprintf("the rpm database holds %s twice", few(rows.names)),
			Detail: "Two rows are the same package in the same version: the database is damaged.",
			Remedy: Remedy{Text: "rebuild the database after a copy of its folder", Command: "rpmdb --rebuilddb"},
		})
	}
}

// findStreams looks for module streams that the host uses and AlmaLinux has
// not. Where the repositories have no module metadata at all it is silent.
func (a *assessor) findStreams() {
	if a.uni.mods.empty() || a.unread {
		return
	}
	used := map[string]*collection{}
	for _, m := range a.inv.DNF.Modules {
		if m.State == "enabled" && m.Stream != "" {
			used[m.Name+":"+m.Stream] = &collection{}
		}
	}
	for i := range a.judged {
		j := &a.judged[i]
		if s := moduleOf(j.p.ModuleLabel); s != "" {
			if used[s] == nil {
				used[s] = &collection{}
			}
			used[s].add(j, "of "+s)
		}
	}
	for _, s := range sortedKeys(used) {
		name, stream := splitStream(s)
		if a.uni.mods.has(name, a.uni.mods.mapped(stream)) {
			continue
		}
		there := a.uni.mods.streams(name)
		text := "reset the module"
		command := "dnf module reset " + shellWord(name)
		detail := "AlmaLinux has no module " + name + "."
		if len(there) > 0 {
			detail = fmt.Sprintf("AlmaLinux has %s in %s.", name, strings.Join(there, ", "))
			text = "switch to a stream that AlmaLinux has, or reset the module"
		}
		// As long as packages of the stream are installed, it is in use, reset or not.
		switch n := used[s].n(); {
		case n > 0 && len(there) > 0:
			text = "switch to a stream that AlmaLinux has, or reset the module and remove its packages"
			command = "dnf module switch-to " + shellWord(name) + ":STREAM"
		case n > 0:
			text = "reset the module and remove its packages"
			if remove := a.removal(used[s].sorted()...); remove != "" { // not what the host lives on
				command += "; " + remove
			}
		}
		a.raise(Finding{
			ID: idPkgStream, Severity: Warning, Resources: append(used[s].res, Resource{"module", s, ""}),
			Title:  fmt.Sprintf("AlmaLinux does not have the module stream %s", s),
			Detail: detail + " The packages of the stream stay, without updates, and \"migrate --full\" does not begin before that is settled.",
			Remedy: Remedy{Text: text, Command: command},
		})
	}
}

func (a *assessor) findHeld() {
	var locked, excluded collection
	for _, h := range a.locked {
		j := &a.judged[h.judged]
		locked.add(j, fmt.Sprintf("lock %s keeps it from %s", h.pattern, j.target.nevra()))
	}
	for _, h := range a.excluded {
		j := &a.judged[h.judged]
		excluded.add(j, fmt.Sprintf("exclude=%s hides %s", h.pattern, j.target.nevra()))
	}
	if n := locked.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgLocked, Severity: Warning, Resources: locked.res,
			Title:  fmt.Sprintf("%s %s held back by version locks", plural(n, "package"), verb(n, "is", "are")),
			Detail: "They stay as they are, and may break the dependencies of those that come.",
			Remedy: Remedy{Text: "delete the locks that no longer have a reason", Command: "dnf versionlock delete " + locked.list()},
		})
	}
	if n := excluded.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgExcluded, Severity: Warning, Resources: excluded.res,
			Title:  fmt.Sprintf("exclude= hides the counterparts of %s", plural(n, "package")),
			Detail: "They stay as they are, and may break the dependencies of those that come.",
			Remedy: Remedy{Text: "take the patterns that no longer have a reason out of the configuration", Command: "grep -n exclude " + shellWord(confFile(a.inv))},
		})
	}
}

func confFile(inv *inventory.Inventory) string {
	if inv.DNF.ConfFile != "" {
		return inv.DNF.ConfFile
	}
	return "/etc/dnf/dnf.conf"
}

func (a *assessor) findProtected() {
	var c collection
	for i := range a.judged {
		j := &a.judged[i]
		if !j.leaves {
			continue
		}
		for _, p := range a.inv.DNF.Protected {
			if p.Package == j.p.Name {
				c.add(j, p.File)
			}
		}
	}
	if n := c.n(); n > 0 {
		a.raise(Finding{
			ID: idPkgProtected, Severity: Info, Resources: c.res,
			Title:  fmt.Sprintf("%s that the move replaces %s protected", plural(n, "package"), verb(n, "is", "are")),
			Detail: "dnf refuses to remove protected packages; the protection is lifted for that one call.",
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
}
