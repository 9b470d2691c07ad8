package assess

import (
	"fmt"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

func (a *assessor) findHost() {
	h := &a.inv.Host
	name := h.PrettyName
	if name == "" {
		name = string(h.Distro)
	}
	me := []Resource{{"host", h.Name, name}}
	if h.Name == "" {
		me = []Resource{{"host", h.Root, name}}
	}
	if h.Distro == inventory.NotEL {
		a.raise(Finding{
			ID: idHostNotEL, Severity: Blocker, Resources: me,
			Title:  "this is not a host of the RHEL family: " + name,
			Detail: "There is nothing that AlmaLinux's packages could take the place of.",
			Remedy: Remedy{Text: "run it on a RHEL, CentOS, Rocky or Oracle Linux host", Command: "almamigrate check --demo"},
		})
		return
	}
	switch {
	case h.Major == 7:
		a.raise(Finding{
			ID: idHostUnsupportedEL, Severity: Blocker, Resources: me,
			Title:  "there is no AlmaLinux 7",
			Detail: fmt.Sprintf("%s is of EL 7. The packages were compared with AlmaLinux %d, to show what the upgrade will meet.", name, a.in.Major),
			Remedy: Remedy{Text: "upgrade to AlmaLinux 8 with ELevate: https://almalinux.org/elevate/", Command: "yum install -y https://repo.almalinux.org/elevate/elevate-release-latest-el7.noarch.rpm"},
		})
	case h.Major < 8 || h.Major > 10:
		what := "the EL major version of this host could not be told"
		if h.Major > 0 {
			what = fmt.Sprintf("there is no AlmaLinux %d", h.Major)
		}
		a.raise(Finding{
			ID: idHostUnsupportedEL, Severity: Blocker, Resources: me, Title: what,
			Detail: "AlmaLinux 8, 9 and 10 exist, each for hosts of the same major version.",
			Remedy: Remedy{Text: "see what the host says of itself", Command: "cat /etc/os-release"},
		})
	}
	switch h.Arch {
	case "x86_64", "aarch64", "ppc64le", "s390x":
	default:
		a.raise(Finding{
			ID: idHostUnsupportedArch, Severity: Blocker, Resources: me,
			Title:  "AlmaLinux is not built for " + h.Arch,
			Detail: "It is built for x86_64, aarch64, ppc64le and s390x.",
			Remedy: Remedy{Text: "reinstall on supported hardware"},
		})
	}
	switch {
	case h.State == inventory.StateHalf:
		a.halfMigrated(me)
	case h.Distro == inventory.AlmaLinux:
		a.raise(Finding{
			ID: idHostAlmaLinux, Severity: Info, Resources: me,
			Title:  "this is AlmaLinux already",
			Detail: strings.TrimSpace("There is nothing to migrate. " + h.StateReason),
			Remedy: Remedy{Text: "bring it to the state of the repositories", Command: "dnf distro-sync"},
		})
	case h.Distro == inventory.OtherEL || h.State == inventory.StateUnknown:
		a.raise(Finding{
			ID: idHostUnknownDistro, Severity: Warning, Resources: me,
			Title:  "the catalogue does not know this distribution: " + name,
			Detail: strings.TrimSpace("Its release, branding and repository packages cannot be told from others. " + h.StateReason),
			Remedy: Remedy{Text: "describe it in a file under /etc/almamigrate/catalog.d", Command: "almamigrate explain " + idHostUnknownDistro},
		})
	}
	if len(a.inv.Skipped) > 0 {
		var res []Resource
		remedy := Remedy{Text: "see why each was not, and whether it matters", Command: "almamigrate check --verbose"}
		for _, s := range a.inv.Skipped {
			res = append(res, Resource{"file", s.What, s.Reason})
			if strings.Contains(s.Reason, "permission denied") || strings.Contains(s.Reason, "not permitted") {
				remedy = Remedy{Text: "check again as root; it changes nothing", Command: "sudo almamigrate check"}
			}
		}
		a.raise(Finding{
			ID: idHostIncomplete, Severity: Warning, Resources: res,
			Title:  fmt.Sprintf("%s of the host could not be read", plural(len(res), "part")),
			Detail: "The verdict rests on the rest.",
			Remedy: remedy,
		})
	}
}

func (a *assessor) findRepos() {
	hasRelease := false
	var needed, off []Resource
	for i := range a.in.Repos {
		r := &a.in.Repos[i]
		if r.Err != nil || r.Index == nil {
			why := "no metadata"
			if r.Err != nil {
				why = r.Err.Error()
			}
			if r.Enabled {
				needed = append(needed, Resource{"repo", r.ID, why})
			} else {
				off = append(off, Resource{"repo", r.ID, why})
			}
			continue
		}
		if r.Enabled && len(r.Index.ByName("almalinux-release")) > 0 {
			hasRelease = true
		}
	}
	unreadable := func(sev Severity, res []Resource, which, detail string) {
		if len(res) == 0 {
			return
		}
		title := fmt.Sprintf("the repository %s%s could not be read", res[0].Name, which)
		if len(res) > 1 {
			title = fmt.Sprintf("%d repositories%s could not be read", len(res), which)
		}
		a.raise(Finding{
			ID: idRepoUnreachable, Severity: sev, Title: title, Detail: detail + " The first: " + res[0].Detail + ".", Resources: res,
			Remedy: Remedy{Text: "check network and proxy, or name another mirror", Command: "almamigrate check --mirror URL"},
		})
	}
	unreadable(Blocker, needed, "", "Without it no verdict is possible: what was not found may be in it.")
	unreadable(Info, off, ", which would be off,", "The verdict does not need it; whether it has a missing package cannot be said.")
	if !hasRelease && !a.unread {
		var res []Resource
		for i := range a.in.Repos {
			res = append(res, Resource{"repo", a.in.Repos[i].ID, a.in.Repos[i].URL})
		}
		a.raise(Finding{
			ID: idRepoNoRelease, Severity: Blocker, Resources: res,
			Title:  "none of the repositories has almalinux-release",
			Detail: "Without the package that is AlmaLinux's identity there is no move: these repositories are not AlmaLinux's, or not whole.",
			Remedy: Remedy{Text: "name a whole AlmaLinux mirror", Command: "almamigrate check --mirror https://repo.almalinux.org/almalinux"},
		})
	}
	var stale, unsigned []Resource
	for i := range a.in.Repos {
		r := &a.in.Repos[i]
		if r.Index == nil || !r.Enabled {
			continue
		}
		if r.Stale {
			when := ""
			if !r.FetchedAt.IsZero() {
				when = "fetched " + r.FetchedAt.UTC().Format(time.RFC3339)
			}
			stale = append(stale, Resource{"repo", r.ID, when})
		}
		if r.Signature == "" || r.Signature == "none" {
			unsigned = append(unsigned, Resource{"repo", r.ID, r.URL})
		}
	}
	if n := len(stale); n > 0 {
		a.raise(Finding{
			ID: idRepoStale, Severity: Warning, Resources: stale,
			Title:  fmt.Sprintf("the metadata of %s is old", plural(n, "repository")),
			Detail: "It comes from the cache; packages may have come since.",
			Remedy: Remedy{Text: "check again with the network at hand", Command: "almamigrate check"},
		})
	}
	if n := len(unsigned); n > 0 {
		a.raise(Finding{
			ID: idRepoUnsigned, Severity: Info, Resources: unsigned,
			Title:  fmt.Sprintf("the metadata of %s is not signed", plural(n, "repository")),
			Detail: "That is usual for AlmaLinux. The lists rest on TLS and checksums; every package is verified against AlmaLinux's pinned keys.",
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
	a.findHostRepos()
}

// findHostRepos judges the host's own enabled repositories.
func (a *assessor) findHostRepos() {
	if a.distro == inventory.AlmaLinux && a.inv.Host.State != inventory.StateHalf {
		return
	}
	byName := map[string]*judged{}
	for i := range a.judged {
		byName[a.judged[i].p.Name] = &a.judged[i]
	}
	for i := range a.inv.Repos {
		r := &a.inv.Repos[i]
		if !r.Enabled {
			continue
		}
		if _, ok := a.cat.MapRepo(string(a.distro), a.inv.Host.Major, r.ID); ok {
			continue
		}
		from := 0
		for k := range a.judged {
			if a.judged[k].res.Origin.Repo == r.ID {
				from++
			}
		}
		supplies := ""
		if from > 0 {
			supplies = fmt.Sprintf(" %s most likely %s from it.", plural(from, "installed package"), verb(from, "comes", "come"))
		}
		owner := byName[r.OwnedBy]
		switch {
		case owner != nil && owner.leaves && !a.redefined(owner, r):
			a.raise(Finding{
				ID: idRepoVanishes, Severity: Warning,
				Resources: []Resource{{"repo", r.ID, r.Name}, {"file", r.File, "owned by " + owner.res.NEVRA}},
				Title:     fmt.Sprintf("the repository %s goes with the package %s", r.ID, owner.p.Name),
				Detail:    "AlmaLinux has no repository in its place; packages from it get no more updates." + supplies,
				Remedy:    Remedy{Text: "keep a copy of the definition if you need it, or do without", Command: "cp " + shellWord(r.File) + " /root/"},
			})
		case (owner == nil || a.kind(owner.res.Origin) != originForeign) && a.isDistroRepo(r):
			a.raise(Finding{
				ID: idRepoUnmapped, Severity: Warning, Resources: []Resource{{"repo", r.ID, r.Name}, {"file", r.File, ""}},
				Title:  fmt.Sprintf("the repository %s of the source distribution would stay enabled", r.ID),
				Detail: "The catalogue knows no AlmaLinux repository in its place. Left on, it mixes the source distribution's packages into AlmaLinux." + supplies,
				Remedy: Remedy{Text: "disable it after the move", Command: "dnf config-manager --set-disabled " + shellWord(r.ID)},
			})
		}
	}
}

// redefined tells whether the package that replaces the owner brings the same
// third-party repository again, as epel-release does in place of Oracle's.
func (a *assessor) redefined(owner *judged, r *inventory.Repo) bool {
	if owner.target == nil || strings.HasPrefix(owner.target.nevra().Name, "almalinux-") {
		return false
	}
	for _, f := range owner.target.full().Files {
		if f == r.File {
			return true
		}
	}
	return owner.target.nevra().Name == r.ID+"-release"
}

// isDistroRepo tells whether all that the repository signs with is the source
// distribution's.
func (a *assessor) isDistroRepo(r *inventory.Repo) bool {
	found := false
	for _, url := range r.GPGKeys {
		file, _ := inventory.KeyFile(url)
		for i := range a.inv.Keys {
			k := &a.inv.Keys[i]
			if k.Source != file {
				continue
			}
			owner := k.Owner
			if info, ok := a.cat.KeyByFingerprint(k.Fingerprint); ok && owner == "" {
				owner = info.Owner
			}
			if a.ownerKind(owner) != originDistro {
				return false
			}
			found = true
		}
	}
	return found
}

func (a *assessor) findKeys() {
	pinned := map[string]bool{}
	for _, fp := range a.cat.PinnedFingerprints(a.in.Major) {
		pinned[fp] = true
	}
	have := map[string]bool{}
	valid := map[string]bool{} // owners with a key that is not expired
	for i := range a.inv.Keys {
		k := &a.inv.Keys[i]
		if k.Source != "rpmdb" {
			continue
		}
		have[k.Fingerprint] = true
		if !expired(k, a.now) {
			valid[k.Owner] = true
		}
	}
	isAlma := a.distro == inventory.AlmaLinux
	any := false
	var missing []Resource
	for _, fp := range sortedKeys(pinned) {
		if have[fp] {
			any = true
			continue
		}
		if info, ok := a.cat.KeyByFingerprint(fp); ok && past(info.Expires, a.now) {
			continue
		}
		missing = append(missing, Resource{"key", fp, fmt.Sprintf("AlmaLinux %d", a.in.Major)})
	}
	if len(missing) > 0 && (isAlma || !any) {
		f := Finding{
			ID: idKeyMissing, Severity: Info, Resources: missing,
			Title:  fmt.Sprintf("AlmaLinux %d's key is not in the rpm database", a.in.Major),
			Detail: "The move imports it after its fingerprint was compared with the one compiled in.",
			Remedy: Remedy{Text: "nothing to do"},
		}
		if isAlma {
			f.Severity = Warning
			f.Detail = "Packages signed with it are refused."
			f.Remedy = Remedy{Text: "import it", Command: fmt.Sprintf("rpm --import https://repo.almalinux.org/almalinux/RPM-GPG-KEY-AlmaLinux-%d", a.in.Major)}
		}
		a.raise(f)
	}
	for i := range a.inv.Keys {
		k := &a.inv.Keys[i]
		if k.Source != "rpmdb" || !expired(k, a.now) {
			continue
		}
		f := Finding{
			ID: idKeyExpired, Severity: Warning, Resources: []Resource{{"key", k.Fingerprint, k.UserID}},
			Title:  fmt.Sprintf("the key of %s expired on %s", keyName(k), k.Expires),
			Detail: "Packages signed with it later are refused.",
			Remedy: Remedy{Text: "import the owner's current key", Command: "rpm -qa 'gpg-pubkey*'"},
		}
		if k.Owner != "" && valid[k.Owner] {
			f.Severity = Info
			f.Detail = "Its owner has a valid key in the rpm database too; the old one does no harm."
			f.Remedy = Remedy{Text: "nothing to do"}
		}
		a.raise(f)
	}
}

func keyName(k *inventory.Key) string {
	if k.Owner != "" {
		return k.Owner
	}
	if k.UserID != "" {
		return k.UserID
	}
	return k.Fingerprint
}

func expired(k *inventory.Key, now time.Time) bool { return past(k.Expires, now) }

// past tells whether a moment, as RFC 3339 or as a date, is over; an empty one
// never is.
func past(moment string, now time.Time) bool {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, moment); err == nil {
			return t.Before(now)
		}
	}
	return false
}
