package assess

import "slices"

// FindingType describes a finding id: what explain prints and what the table
// in the documentation is made of.
type FindingType struct {
	ID         string     `json:"id"`
	Title      string     `json:"title"`
	Severities []Severity `json:"severities"` // those it is raised with, the usual one first
	Meaning    string     `json:"meaning"`    // what it says
	Why        string     `json:"why"`        // why it matters
	Action     string     `json:"action"`     // what to do
}

// The ids of all findings. They are stable: scripts and tickets name them.
const (
	idHostNotEL           = "host.not-el"
	idHostUnsupportedEL   = "host.unsupported-major"
	idHostUnsupportedArch = "host.unsupported-arch"
	idHostAlmaLinux       = "host.already-almalinux"
	idHostHalfMigrated    = "host.half-migrated"
	idHostUnknownDistro   = "host.unknown-distro"
	idHostIncomplete      = "host.incomplete"

	idPkgMissing      = "pkg.missing"
	idPkgOlder        = "pkg.older"
	idPkgDataFormat   = "pkg.older-data-format"
	idPkgThirdParty   = "pkg.third-party"
	idPkgSuperseded   = "pkg.third-party-superseded"
	idPkgLocal        = "pkg.local"
	idPkgObsoleted    = "pkg.obsoleted"
	idPkgDropped      = "pkg.dropped"
	idPkgDuplicate    = "pkg.duplicate"
	idPkgSigBad       = "pkg.signature-bad"
	idPkgSigUnknown   = "pkg.signature-unknown-key"
	idPkgRepoDisabled = "pkg.repo-disabled"
	idPkgStream       = "pkg.module-stream-missing"
	idPkgLocked       = "pkg.versionlocked"
	idPkgExcluded     = "pkg.excluded"
	idPkgProtected    = "pkg.protected"

	idDepBroken       = "dep.broken"
	idDepBrokenBefore = "dep.broken-before"
	idDepRepoDisabled = "dep.repo-disabled"
	idDepConflict     = "dep.conflict"
	idDepComesAlong   = "dep.comes-along"

	idRepoUnreachable = "repo.unreachable"
	idRepoNoRelease   = "repo.no-release"
	idRepoVanishes    = "repo.vanishes"
	idRepoUnmapped    = "repo.unmapped"
	idRepoStale       = "repo.stale"
	idRepoUnsigned    = "repo.unsigned"

	idKeyMissing = "key.missing"
	idKeyExpired = "key.expired"

	idDBDuplicate = "db.duplicate"
	idDBDamaged   = "db.damaged"
)

// Catalogue returns every finding that an assessment can raise, in the order
// in which they are documented.
func Catalogue() []FindingType {
	return slices.Concat(findingTypes, hostFindingTypes, securityFindingTypes, originFindingTypes)
}

var findingTypes = []FindingType{
	{
		ID: idHostNotEL, Title: "The host is not of the RHEL family", Severities: []Severity{Blocker},
		Meaning: "Neither os-release nor the installed packages say that this is RHEL, CentOS, Rocky, Oracle Linux or another rebuild of RHEL.",
		Why:     "AlmaLinux replaces the packages of a RHEL-compatible distribution one by one. Elsewhere there is nothing to replace.",
		Action:  "Run almamigrate on an EL host, or name an image with --root DIR. \"almamigrate check --demo\" shows what a check looks like.",
	},
	{
		ID: idHostUnsupportedEL, Title: "There is no AlmaLinux of the host's major version", Severities: []Severity{Blocker},
		Meaning: "The host is of an EL major that AlmaLinux does not exist for. There are AlmaLinux 8, 9 and 10. An EL 7 host is compared with AlmaLinux 8, so that you see what the major upgrade will meet.",
		Why:     "almamigrate changes the distribution within one major version. A step over majors changes file formats, init scripts and libraries, and needs a tool for that.",
		Action:  "Upgrade an EL 7 host with ELevate (https://almalinux.org/elevate/), which ends on AlmaLinux.",
	},
	{
		ID: idHostUnsupportedArch, Title: "AlmaLinux is not built for the host's architecture", Severities: []Severity{Blocker},
		Meaning: "AlmaLinux is built for x86_64, aarch64, ppc64le and s390x; the host is none of these.",
		Why:     "No package of the host has a counterpart.",
		Action:  "Reinstall on supported hardware.",
	},
	{
		ID: idHostAlmaLinux, Title: "The host is AlmaLinux already", Severities: []Severity{Info},
		Meaning: "Identity and packages agree: this is AlmaLinux. The check compares the packages with the repositories all the same.",
		Why:     "There is nothing to migrate.",
		Action:  "Nothing. \"dnf distro-sync\" brings it to the state of the repositories.",
	},
	{
		ID: idHostHalfMigrated, Title: "The host is half-migrated", Severities: []Severity{Warning},
		Meaning: "The identity (os-release, release package) says one distribution and the packages are another's: the branding was migrated and the other packages not yet, or a migration was begun and not finished.",
		Why:     "Such a host gets updates for one distribution on top of packages of another. Both ways lead out: on to AlmaLinux, or back.",
		Action:  "\"almamigrate status\" tells whether almamigrate swapped the branding: then \"migrate --full\" brings the other packages and \"rollback\" takes it back. Else look why it stopped (a full disk, a dead mirror, a broken dependency), read the verdicts of the packages that are not AlmaLinux's yet (check --verbose), and finish the move.",
	},
	{
		ID: idHostUnknownDistro, Title: "The distribution is not in the catalogue", Severities: []Severity{Warning},
		Meaning: "The host is of the RHEL family, but of a distribution that the catalogue knows no branding packages, repositories or keys of.",
		Why:     "Its release, logo and repository packages cannot be told from ordinary ones: they are listed as missing, and they would conflict with almalinux-release.",
		Action:  "Describe the distribution in /etc/almamigrate/catalog.d/NAME.conf and check again.",
	},
	{
		ID: idHostIncomplete, Title: "Part of the host could not be read", Severities: []Severity{Warning},
		Meaning: "Files were skipped, mostly for lack of permission. The verdict rests on the rest.",
		Why:     "What was not read was not judged: a version lock or a repository may be overlooked.",
		Action:  "Run the check as root. It changes nothing. With --verbose it tells why each part was not read.",
	},
	{
		ID: idPkgMissing, Title: "Packages of the source distribution have no counterpart", Severities: []Severity{Warning},
		Meaning: "The packages are signed by the source distribution, and no AlmaLinux repository has a package of that name and architecture, or one that obsoletes it. They stay installed. A package that cannot stay, because its dependencies would break, is a blocker of its own: dep.broken.",
		Why:     "Nobody updates them after the move, security fixes included. Later updates may run into their dependencies.",
		Action:  "Remove those that you do not need. For the others look for a newer AlmaLinux package, EPEL, or keep them knowingly.",
	},
	{
		ID: idPkgOlder, Title: "AlmaLinux has an older version", Severities: []Severity{Warning},
		Meaning: "The installed version is newer than AlmaLinux's; the move downgrades the package. That is usual for CentOS Stream, which is ahead of the releases, and for a mirror that is behind.",
		Why:     "A downgrade may not understand the configuration or the data that the newer version wrote, and may bring back a fixed bug.",
		Action:  "Check that the mirror is current. Else wait for AlmaLinux's next minor release, or accept the downgrade. Packages whose data formats are known to break are listed as pkg.older-data-format.",
	},
	{
		ID: idPkgDataFormat, Title: "A downgrade is known to break its data", Severities: []Severity{Warning, Blocker},
		Meaning: "The package would be downgraded, and it is known for data on disk that older versions cannot read.",
		Why:     "The service may not start after the move, or logins may fail (sssd's cache), until the data is converted, deleted or restored.",
		Action:  "Save the data in a form that both versions read (a dump), or wait until AlmaLinux has the same version. Do what the finding says for the package.",
	},
	{
		ID: idPkgThirdParty, Title: "Third-party packages stay as they are", Severities: []Severity{Info},
		Meaning: "The packages are signed by another vendor than the source distribution, or come from an unsigned repository, and AlmaLinux has no package of that name. They stay installed. Whether their dependencies still hold is checked: a break is dep.broken.",
		Why:     "Their repositories go on to supply them. EPEL and most others serve AlmaLinux as they serve RHEL.",
		Action:  "Check that the vendor supports AlmaLinux. Nothing else.",
	},
	{
		ID: idPkgSuperseded, Title: "AlmaLinux has packages of the same name as third-party ones", Severities: []Severity{Warning},
		Meaning: "The packages are not signed by the source distribution, but AlmaLinux has packages of the same names, and distro-sync looks at names and versions only: it replaces them, also by older ones.",
		Why:     "A vendor's build (PostgreSQL from its own repository, a patched nginx) would turn into the distribution's, with other paths, features or data.",
		Action:  "To keep the vendor's build, lock it (dnf versionlock add NAME) or exclude it, and check again.",
	},
	{
		ID: idPkgLocal, Title: "Unsigned packages of no repository stay", Severities: []Severity{Info},
		Meaning: "The packages carry no signature and no configured repository is likely to have them: built and installed by hand. They stay.",
		Why:     "Nobody updates them. Whether their dependencies still hold is checked: a break is dep.broken.",
		Action:  "Check that they are still needed.",
	},
	{
		ID: idPkgObsoleted, Title: "Packages are replaced by others that obsolete them", Severities: []Severity{Info},
		Meaning: "An AlmaLinux package declares that it obsoletes the installed one; it comes and the installed one goes.",
		Why:     "Commands and configuration files may be elsewhere.",
		Action:  "Look at the replacement if you depend on the package.",
	},
	{
		ID: idPkgDropped, Title: "Packages of the source distribution are taken out", Severities: []Severity{Info},
		Meaning: "The packages belong to the source distribution itself (its support tools, its release files, its own kernels), AlmaLinux has nothing in their place, and they would conflict or be of no use.",
		Why:     "What they did is gone after the move: a subscription client, a vendor kernel.",
		Action:  "Check that nothing of yours calls them.",
	},
	{
		ID: idPkgDuplicate, Title: "Packages are installed in two versions", Severities: []Severity{Warning},
		Meaning: "The same package is installed more than once and is not one that may be, as kernels may. A transaction was interrupted here.",
		Why:     "rpm and dnf refuse or misjudge transactions with duplicates.",
		Action:  "Remove the older ones: dnf remove --duplicates (EL 7: package-cleanup --cleandupes).",
	},
	{
		ID: idPkgSigBad, Title: "Packages with a bad signature", Severities: []Severity{Blocker},
		Meaning: "The header in the rpm database does not match its signature: it was changed after it was signed.",
		Why:     "Either the rpm database is damaged, or somebody changed it to hide something. Neither is a ground to migrate on.",
		Action:  "Compare the files with rpm -V, find out what happened, and reinstall the package.",
	},
	{
		ID: idPkgSigUnknown, Title: "Packages signed with a key that is not on the host", Severities: []Severity{Info},
		Meaning: "The packages are signed, but the key is neither in the rpm database nor in a key file, nor pinned in the catalogue, or the signature is of a kind that cannot be checked here. They count as third-party.",
		Why:     "Who built them cannot be proved.",
		Action:  "Import the vendor's key (rpm --import FILE) and check again.",
	},
	{
		ID: idPkgRepoDisabled, Title: "The counterpart is in a repository that would be off", Severities: []Severity{Warning},
		Meaning: "AlmaLinux has the packages, but only in a repository that is not enabled by default and that no enabled repository of the host maps to (CRB, HighAvailability, ...).",
		Why:     "Without that repository the packages stay as they are and get no updates.",
		Action:  "Enable the repository: dnf config-manager --set-enabled ID, right after the move, or its equivalent on the host before.",
	},
	{
		ID: idPkgStream, Title: "AlmaLinux does not have a module stream of the host", Severities: []Severity{Warning},
		Meaning: "A module stream is enabled, or packages of it are installed, that the AlmaLinux repositories do not have, also not under AlmaLinux's name for it.",
		Why:     "The packages of the stream get no updates, and dnf hides non-modular packages of the same names. A full migration (\"migrate --full\") does not begin before that is settled or overridden.",
		Action:  "Switch to a stream that AlmaLinux has (dnf module switch-to NAME:STREAM), or reset the module (dnf module reset NAME) and remove the packages of the stream. Or keep them as they are, without updates: \"migrate --full --override pkg.module-stream-missing --reason TEXT\".",
	},
	{
		ID: idPkgLocked, Title: "Version locks hold packages back", Severities: []Severity{Warning},
		Meaning: "versionlock keeps the packages in a version that AlmaLinux does not have. They are judged all the same, and stay as they are.",
		Why:     "Locked packages of the source distribution remain on the host, without updates, and can break the dependencies of those that come.",
		Action:  "Remove the locks that no longer have a reason: dnf versionlock delete NAME.",
	},
	{
		ID: idPkgExcluded, Title: "exclude= hides AlmaLinux packages", Severities: []Severity{Warning},
		Meaning: "exclude= or excludepkgs= in dnf.conf matches AlmaLinux packages that would replace installed ones.",
		Why:     "The installed packages stay as they are, without updates, and can break the dependencies of those that come.",
		Action:  "Remove the pattern from dnf.conf if it no longer has a reason.",
	},
	{
		ID: idPkgProtected, Title: "Protected packages are replaced", Severities: []Severity{Info},
		Meaning: "dnf protects packages that the move takes out, such as the release package.",
		Why:     "A plain dnf call refuses to remove them.",
		Action:  "Nothing: the protection is lifted for that one call, and files that are yours stay.",
	},
	{
		ID: idDepBroken, Title: "A dependency breaks", Severities: []Severity{Blocker},
		Meaning: "A package that stays or comes requires something that no package provides after the move, and no AlmaLinux repository has.",
		Why:     "The transaction does not resolve: dnf stops, or the package would be broken.",
		Action:  "Remove the package that requires it, or wait until its vendor or AlmaLinux has a fitting version.",
	},
	{
		ID: idDepBrokenBefore, Title: "A dependency is broken already", Severities: []Severity{Warning},
		Meaning: "A package that stays requires something that nothing provides today either: it was installed with --nodeps, or what it needs was removed so.",
		Why:     "It does not keep the host from moving, but the package may not work, and dnf may complain.",
		Action:  "Repair it before the move: dnf check lists such packages.",
	},
	{
		ID: idDepRepoDisabled, Title: "A dependency is met only by a repository that would be off", Severities: []Severity{Blocker},
		Meaning: "A package that stays or comes requires something that AlmaLinux has, but only in a repository that would not be enabled.",
		Why:     "The transaction does not resolve without that repository.",
		Action:  "Enable the repository, or its equivalent on the host before the move, and check again; or remove the package.",
	},
	{
		ID: idDepConflict, Title: "Two packages conflict after the move", Severities: []Severity{Blocker},
		Meaning: "A package that comes declares a conflict with one that stays or comes, or the other way round.",
		Why:     "rpm refuses to install both; the transaction does not resolve.",
		Action:  "Remove the one that you need less before the move.",
	},
	{
		ID: idDepComesAlong, Title: "New packages come along", Severities: []Severity{Info},
		Meaning: "Packages that are not installed today are required by those that come or stay, and are installed with them. Among several providers dnf may choose another.",
		Why:     "They take space, and may bring services.",
		Action:  "Nothing.",
	},
	{
		ID: idRepoUnreachable, Title: "A repository could not be read", Severities: []Severity{Blocker, Info},
		Meaning: "An AlmaLinux repository that the host needs could not be fetched, or what came does not fit its signature or checksums. A repository that would be off anyway is only mentioned.",
		Why:     "Without it no verdict is possible: a package that is not found may be in it.",
		Action:  "Check the network, the proxy and the URL, or name another mirror: almamigrate check --mirror URL.",
	},
	{
		ID: idRepoNoRelease, Title: "The repositories do not have almalinux-release", Severities: []Severity{Blocker},
		Meaning: "No enabled repository of those consulted carries the package almalinux-release.",
		Why:     "That package is the identity of the new system; without it there is no move. The repositories are not AlmaLinux's, or not complete.",
		Action:  "Give a whole AlmaLinux mirror with --mirror URL, or BaseOS with --repo baseos=URL.",
	},
	{
		ID: idRepoVanishes, Title: "Repositories vanish with the packages that own them", Severities: []Severity{Warning},
		Meaning: "The repository is defined by a package of the source distribution that the move takes out or leaves without a base (centos-release-* of a CentOS SIG), and AlmaLinux has no repository that it maps to.",
		Why:     "Packages from it get no more updates.",
		Action:  "Set the repository up again by a file of your own, or look for the packages in AlmaLinux, EPEL or the SIG's AlmaLinux repositories.",
	},
	{
		ID: idRepoUnmapped, Title: "Enabled repositories of the source distribution map to nothing", Severities: []Severity{Warning},
		Meaning: "The repository belongs to the source distribution by its keys, no package owns its file, and the catalogue knows no AlmaLinux repository in its place.",
		Why:     "If it stays enabled, later updates mix the source distribution's packages into AlmaLinux.",
		Action:  "Disable it after the move: dnf config-manager --set-disabled ID.",
	},
	{
		ID: idRepoStale, Title: "Metadata is old", Severities: []Severity{Warning},
		Meaning: "The metadata of a repository comes from the cache and could not be refreshed, or is older than its time to live.",
		Why:     "Packages may have come since; verdicts may be older than they need be.",
		Action:  "Check again with the network at hand.",
	},
	{
		ID: idRepoUnsigned, Title: "Repository metadata is not signed", Severities: []Severity{Info},
		Meaning: "repomd.xml of the repository has no signature beside it, as is usual for AlmaLinux.",
		Why:     "The lists rest on TLS and checksums. Every package itself is verified against AlmaLinux's pinned keys before it is installed.",
		Action:  "Nothing. For a mirror of your own, sign repomd.xml and set repo_gpgcheck in almamigrate.conf.",
	},
	{
		ID: idKeyMissing, Title: "AlmaLinux's key is not on the host yet", Severities: []Severity{Info, Warning},
		Meaning: "The rpm database does not hold the key that AlmaLinux signs its packages with. That is normal before the move; on a host that is AlmaLinux already, updates fail for that reason.",
		Why:     "rpm installs only what it has a key for.",
		Action:  "Before a move nothing: the key is imported then, after its fingerprint was compared with the one compiled in. On AlmaLinux: rpm --import the key file.",
	},
	{
		ID: idKeyExpired, Title: "A key in the rpm database is expired", Severities: []Severity{Warning, Info},
		Meaning: "The key's validity is over. If the same owner has a valid key there too, the old one is only in the way.",
		Why:     "Packages that were signed with it later are refused.",
		Action:  "Import the owner's current key and remove the old one: rpm -e gpg-pubkey-ID.",
	},
	{
		ID: idDBDamaged, Title: "Entries of the rpm database are damaged", Severities: []Severity{Blocker},
		Meaning: "The database itself is whole, and some of its entries hold no header that can be read. rpm passes over them with an error message.",
		Why:     "The packages behind them are on the disk and nobody knows it: what requires them looks broken, they are not moved, and their files are overwritten without a word.",
		Action:  "Save the database's folder, then rpmdb --rebuilddb, which drops the damaged entries. dnf check and dnf history tell which packages are missing: install these again, then check again.",
	},
	{
		ID: idDBDuplicate, Title: "The rpm database holds the same package twice", Severities: []Severity{Warning},
		Meaning: "Two rows of the rpm database are the same package in the same version.",
		Why:     "The database is damaged. A transaction removes one of the rows and leaves the other.",
		Action:  "Save the database's folder, then rpmdb --rebuilddb, and look at the package with rpm -q.",
	},
}
