"""The distributions of the lab: identity, branding, repositories, keys.

The AlmaLinux, Rocky and CentOS Linux 8.2 packages follow the real ones (names,
provides, requires, file lists as `rpm -q` shows them); those of Oracle, RHEL and
CentOS Stream are from their documentation. What matters most: the AlmaLinux
packages have no Obsoletes and no Conflicts, only files that the others have too.
"""
import dataclasses

from model import ARCH, File, Pkg, conf, config, link


@dataclasses.dataclass
class Repo:
    id: str
    path: str                   # below the served root; $releasever and $basearch are for the .repo file
    file: str                   # the .repo file that names it
    enabled: bool = True
    kind: str = "baseos"        # which packages it holds: Pkg.repo


@dataclasses.dataclass
class Distro:
    id: str
    major: int
    vendor: str
    buildhost: str
    version: str                # VERSION_ID
    pretty: str
    os_id: str
    name: str
    key: str                    # file name of the public key below /etc/pki/rpm-gpg
    repos: list
    rel_line: str               # the text of /etc/redhat-release
    prefix: str                 # of the branding packages
    cpe: str
    like: str = "rhel fedora"
    extra_os: dict = dataclasses.field(default_factory=dict)
    module_dist: str = ""       # release suffix of modular packages
    module_build: str = ""      # version field of the streams

    @property
    def part(self):
        return f"{self.id}-{self.major}"

    @property
    def dist(self):
        return f".el{self.major}"

    @property
    def gpgkey(self):
        return f"file:///etc/pki/rpm-gpg/{self.key}"


HOST = "http://$labhost"        # a dnf variable that each host sets to the address of the lab's server


def _el_repos(base, file, crb, ids=None, ha="highavailability", tail="$basearch/os/"):
    """The usual layout BASE/<Repo>/<arch>/os/."""
    ids = ids or {}
    out = []
    for kind, folder, enabled in (("baseos", "BaseOS", True), ("appstream", "AppStream", True), ("extras", "extras", True),
                                  ("crb", crb, False), ("ha", "HighAvailability", False), ("plus", "plus", False)):
        i = {"crb": crb.lower(), "ha": ha}.get(kind, kind)
        out.append(Repo(ids.get(kind, i), f"{base}/{folder}/{tail}", file(kind, i), enabled, kind))
    return out


def _alma(major):
    v, code = {8: ("8.10", "Cerulean Leopard"), 9: ("9.6", "Sage Margay"), 10: ("10.0", "Purple Lion")}[major]
    if major == 8:
        # one file holds baseos, appstream and extras
        file = lambda kind, i: "almalinux" if kind in ("baseos", "appstream", "extras") else f"almalinux-{i}"
        crb, ha = "PowerTools", "ha"
    else:
        file = lambda kind, i: f"almalinux-{i}"
        crb, ha = "CRB", "highavailability"
    # there, and empty: nothing of the lab is from them. Synergy's .repo file is another package's.
    more = [Repo(i, f"/almalinux/$releasever/{p}/$basearch/os/", f, False, "empty")
            for i, p, f in [(n.lower(), n, f"almalinux-{n.lower()}") for n in ("NFV", "ResilientStorage", "RT", "SAP", "SAPHANA") if (n, major) != ("ResilientStorage", 10)]
            + [("almalinux-synergy", "synergy", "")]]
    return Distro("alma", major, "AlmaLinux", "x64-builder02.almalinux.invalid", v, f"AlmaLinux {v} ({code})", "almalinux", "AlmaLinux",
                  "RPM-GPG-KEY-AlmaLinux" + ("" if major == 8 else f"-{major}"),
                  _el_repos("/almalinux/$releasever", file, crb, ha=ha) + more, f"AlmaLinux release {v} ({code})", "almalinux",
                  f"cpe:/o:almalinux:almalinux:{major}::baseos", like="rhel centos fedora",
                  extra_os={"VERSION": f"{v} ({code})", "ALMALINUX_MANTISBT_PROJECT": f"AlmaLinux-{major}",
                            "ALMALINUX_MANTISBT_PROJECT_VERSION": v, "REDHAT_SUPPORT_PRODUCT": "AlmaLinux", "REDHAT_SUPPORT_PRODUCT_VERSION": v},
                  module_dist=f".module_el{v}.0+3867+0a4a7e8d", module_build=f"{v.replace('.', '0')}020240522120000")


def _centos8():
    names = {"baseos": "CentOS-Linux-BaseOS", "appstream": "CentOS-Linux-AppStream", "extras": "CentOS-Linux-Extras",
             "crb": "CentOS-Linux-PowerTools", "ha": "CentOS-Linux-HighAvailability", "plus": "CentOS-Linux-Plus"}
    return Distro("centos", 8, "CentOS", "x86-01.mbox.centos.invalid", "8", "CentOS Linux 8", "centos", "CentOS Linux",
                  "RPM-GPG-KEY-centosofficial", _el_repos("/centos/$releasever", lambda k, i: names[k], "PowerTools", ha="ha"),
                  "CentOS Linux release 8.5.2111", "centos", "cpe:/o:centos:centos:8",
                  extra_os={"VERSION": "8", "CENTOS_MANTISBT_PROJECT": "CentOS-8", "CENTOS_MANTISBT_PROJECT_VERSION": "8"},
                  module_dist=".module_el8.5.0+1006+8d0e68a2", module_build="8050020211206113934")


def _stream(major):
    if major == 8:
        file = lambda k, i: {"baseos": "CentOS-Stream-BaseOS", "appstream": "CentOS-Stream-AppStream", "extras": "CentOS-Stream-Extras",
                             "crb": "CentOS-Stream-PowerTools", "ha": "CentOS-Stream-HighAvailability", "plus": "CentOS-Stream-RealTime"}[k]
        crb, ha = "PowerTools", "ha"
    else:
        file = lambda k, i: "centos-addons" if k in ("ha", "plus", "extras") else "centos"
        crb, ha = "CRB", "highavailability"
    return Distro("stream", major, "CentOS", "x86-03.stream.rdu2.redhat.invalid", str(major), f"CentOS Stream {major}", "centos", "CentOS Stream",
                  "RPM-GPG-KEY-centosofficial" + ("-SHA256" if major > 9 else ""), _el_repos("/centos-stream/$stream", file, crb, ids={"extras": "extras-common"} if major > 8 else {}, ha=ha),
                  f"CentOS Stream release {major}", "centos", f"cpe:/o:centos:centos:{major}",
                  extra_os={"VERSION": str(major), "REDHAT_SUPPORT_PRODUCT": f"Red Hat Enterprise Linux {major}", "REDHAT_SUPPORT_PRODUCT_VERSION": "CentOS Stream"},
                  module_dist=f".module_el{major}+1200+5e9e4b6a", module_build=f"{major}020240110112233")


def _rocky(major):
    v, code = {8: ("8.10", "Green Obsidian"), 9: ("9.6", "Blue Onyx"), 10: ("10.0", "Red Quartz")}[major]
    if major == 8:
        file = lambda k, i: {"baseos": "Rocky-BaseOS", "appstream": "Rocky-AppStream", "extras": "Rocky-Extras", "crb": "Rocky-PowerTools",
                             "ha": "Rocky-HighAvailability", "plus": "Rocky-Plus"}[k]
        crb, ha, key = "PowerTools", "ha", "RPM-GPG-KEY-rockyofficial"
    else:
        file = lambda k, i: "rocky-extras" if k in ("extras", "plus") else "rocky-addons" if k == "ha" else "rocky"
        crb, ha, key = "CRB", "highavailability", f"RPM-GPG-KEY-Rocky-{major}"
    return Distro("rocky", major, "Rocky Enterprise Software Foundation", "pb-17143726-2cb3-4bed-bfdf-9504ddeee39b-b-x86-64", v,
                  f"Rocky Linux {v} ({code})", "rocky", "Rocky Linux", key, _el_repos("/rocky/$releasever", file, crb, ha=ha),
                  f"Rocky Linux release {v} ({code})", "rocky", f"cpe:/o:rocky:rocky:{major}:GA" if major == 8 else f"cpe:/o:rocky:rocky:{major}::baseos",
                  like="rhel centos fedora",
                  extra_os={"VERSION": f"{v} ({code})", "ROCKY_SUPPORT_PRODUCT": f"Rocky-Linux-{major}", "ROCKY_SUPPORT_PRODUCT_VERSION": v,
                            "REDHAT_SUPPORT_PRODUCT": "Rocky Linux", "REDHAT_SUPPORT_PRODUCT_VERSION": v},
                  module_dist=f".module+el{v}.0+1843+6892ab28", module_build=f"{v.replace('.', '0')}020240531101010")


def _oracle(major):
    v = {8: "8.10", 9: "9.6", 10: "10.0"}[major]
    o = f"oracle-linux-ol{major}"
    base, uek = f"/repo/OracleLinux/OL{major}", "UEKR8" if major > 9 else "UEKR7"
    repos = [Repo(f"ol{major}_baseos_latest", f"{base}/baseos/latest/$basearch/", o), Repo(f"ol{major}_appstream", f"{base}/appstream/$basearch/", o, True, "appstream"),
             Repo(f"ol{major}_codeready_builder", f"{base}/codeready/builder/$basearch/", o, False, "crb"),
             Repo(f"ol{major}_addons", f"{base}/addons/$basearch/", o, False, "extras"),
             Repo(f"ol{major}_{uek}", f"{base}/{uek}/$basearch/", f"uek-ol{major}", True, "uek")]
    return Distro("oracle", major, "Oracle America", "build-ol8-x86_64.oracle.invalid", v, f"Oracle Linux Server {v}", "ol", "Oracle Linux Server",
                  "RPM-GPG-KEY-oracle", repos, f"Red Hat Enterprise Linux release {v} (Ootpa)", "oracle", f"cpe:/o:oracle:linux:{major}:{v.split('.')[1]}:server",
                  like="fedora", extra_os={"VERSION": v, "VARIANT": "Server", "VARIANT_ID": "server", "ORACLE_BUGZILLA_PRODUCT": f"Oracle Linux {major}",
                                           "ORACLE_BUGZILLA_PRODUCT_VERSION": v, "ORACLE_SUPPORT_PRODUCT": "Oracle Linux", "ORACLE_SUPPORT_PRODUCT_VERSION": v},
                  module_dist=f".module+el{v}.0+90298+77a9814d", module_build=f"{v.replace('.', '0')}020240529090909")


def _rhel(major):
    v, code = {8: ("8.10", "Ootpa"), 9: ("9.6", "Plow"), 10: ("10.0", "Coughlan")}[major]
    base = f"/content/dist/rhel{major}/$releasever/$basearch"
    r = lambda i, p, e, k: Repo(f"rhel-{major}-for-{ARCH}-{i}-rpms", f"{base}/{p}/os/", "redhat", e, k)
    repos = [r("baseos", "baseos", True, "baseos"), r("appstream", "appstream", True, "appstream"),
             Repo(f"codeready-builder-for-rhel-{major}-{ARCH}-rpms", f"{base}/codeready-builder/os/", "redhat", False, "crb"),
             r("highavailability", "highavailability", False, "ha"), r("supplementary", "supplementary", False, "extras")]
    return Distro("rhel", major, "Red Hat, Inc.", "x86-vm-09.build.eng.bos.redhat.invalid", v, f"Red Hat Enterprise Linux {v} ({code})", "rhel", "Red Hat Enterprise Linux",
                  "RPM-GPG-KEY-redhat-release", repos, f"Red Hat Enterprise Linux release {v} ({code})", "redhat", f"cpe:/o:redhat:enterprise_linux:{major}::baseos",
                  like="fedora", extra_os={"VERSION": f"{v} ({code})", "REDHAT_BUGZILLA_PRODUCT": f"Red Hat Enterprise Linux {major}", "REDHAT_BUGZILLA_PRODUCT_VERSION": v,
                                           "REDHAT_SUPPORT_PRODUCT": "Red Hat Enterprise Linux", "REDHAT_SUPPORT_PRODUCT_VERSION": v},
                  module_dist=f".module+el{v}.0+22202+761b9a65", module_build=f"{v.replace('.', '0')}020240520202020")


def distros(major):
    """The distributions of a major; the first is the target."""
    out = [_alma(major), _stream(major), _rocky(major), _oracle(major), _rhel(major)]
    if major == 8:
        out.insert(1, _centos8())
    return out


def repo_files(d):
    """The text of every .repo file of a distribution."""
    out = {}
    for r in d.repos:
        if not r.file:
            continue
        out[r.file] = out.get(r.file, f"# {r.file}.repo\n") + f"""
[{r.id}]
name={d.name} $releasever - {r.id}
baseurl={HOST}{r.path}
enabled={int(r.enabled)}
gpgcheck=1
countme=1
gpgkey={d.gpgkey}
{"sslverify=1" + chr(10) + "sslcacert=/etc/rhsm/ca/redhat-uep.pem" + chr(10) + "sslclientkey=/etc/pki/entitlement/1234567890-key.pem" + chr(10) + "sslclientcert=/etc/pki/entitlement/1234567890.pem" + chr(10) if d.id == "rhel" else ""}"""
    return out


def os_release(d):
    v = {"NAME": d.name, "VERSION": d.version, "ID": d.os_id, "ID_LIKE": d.like, "VERSION_ID": d.version,
         "PLATFORM_ID": f"platform:el{d.major}", "PRETTY_NAME": d.pretty, "ANSI_COLOR": "0;31", "CPE_NAME": d.cpe,
         "HOME_URL": f"https://{d.id}.invalid/"}
    v.update(d.extra_os)
    return "".join(f'{k}="{x}"\n' for k, x in v.items())


def _identity_files(d, relfile, release):
    """What every release package of EL owns, whoever makes it."""
    e = d.major
    f = {f"/etc/{relfile}": File(d.rel_line if d.id != "oracle" else f"Oracle Linux Server release {d.version}"),
         "/etc/os-release": link("../usr/lib/os-release", "%config(noreplace)"), "/usr/lib/os-release": File(os_release(d)),
         "/etc/system-release": link(relfile), "/etc/system-release-cpe": config(d.cpe),
         "/etc/issue": conf("\\S\nKernel \\r on an \\m\n"), "/etc/issue.net": conf("\\S\nKernel \\r on an \\m\n"),
         "/usr/lib/systemd/system-preset/90-default.preset": File("enable sshd.service"),
         "/usr/lib/systemd/system-preset/99-default-disable.preset": File("disable *"),
         f"/usr/share/{release}/EULA": File("license agreement"), f"/usr/share/{release}": File(dir=True),
         "/usr/share/redhat-release": link(release),
         ("/etc/rpm/macros.dist" if e == 8 else "/usr/lib/rpm/macros.d/macros.dist"): File(f"%rhel {e}\n%dist .el{e}\n%el{e} 1\n")}
    if d.id != "oracle":
        f["/etc/redhat-release"] = link(relfile)
    return f


def identity(d, key_text):
    """The identity, repository, key and branding packages of a distribution."""
    e, v = d.major, d.version
    repos = {f"/etc/yum.repos.d/{n}.repo": conf(t) for n, t in repo_files(d).items() if d.id != "rhel"}
    keys = {f"/etc/pki/rpm-gpg/{d.key}": File(key_text)}
    sysprov = lambda ver: [f"system-release = {ver}", f"system-release(releasever) = {e}", f"redhat-release = {ver}",
                           f"base-module(platform:el{e})", "redhat-release-eula"]
    out = []
    src = f"{d.id}-release"
    if d.id == "alma":
        evr = f"{v}-1.el{e}"
        f = _identity_files(d, "almalinux-release", "almalinux-release")
        prov = sysprov(f"{v}-0.1" if e == 8 else evr) + [f"centos-release = {evr}", "centos-release-eula"]
        stream = {"/etc/dnf/vars/stream": File(f"{e}-stream")}
        if e == 8:
            # repositories and keys inside, and the file that is CentOS's own
            f |= repos | keys | stream | {"/etc/centos-release": link("almalinux-release"), "/etc/dnf/vars/contentdir": File("almalinux"),
                                          "/etc/dnf/vars/infra": File("stock"), "/etc/almalinux-release-upstream": File("Derived from Red Hat Enterprise Linux 8.10")}
            out.append(Pkg("almalinux-release", evr, ARCH, provides=prov + ["almalinux-release-eula", f"almalinux-release(upstream) = {v}",
                           f"config(almalinux-release) = {evr}"], files=f, source=src))
        else:
            f["/etc/yum.repos.d/redhat.repo"] = File("", flags="%ghost")
            out += [Pkg("almalinux-release", evr, ARCH, provides=prov + [f"config(almalinux-release) = {evr}"], requires=[f"almalinux-repos = {evr}"], files=f, source=src),
                    Pkg("almalinux-repos", evr, ARCH, provides=[f"config(almalinux-repos) = {evr}"], files=repos | {p: conf(x.text) for p, x in stream.items()},
                        requires=[f"almalinux-gpg-keys = {evr}", f"almalinux-release = {evr}"], source=src),
                    Pkg("almalinux-gpg-keys", evr, ARCH, files=keys, source=src)]
        out.append(Pkg("almalinux-release-synergy", f"{e}-1.el{e}", repo="extras", install=False, source=src,
                       files={"/etc/yum.repos.d/almalinux-synergy.repo": conf(f"[synergy]\nname=Synergy\nbaseurl={HOST}/almalinux/$releasever/synergy/$basearch/os/\nenabled=1\ngpgcheck=1\ngpgkey={d.gpgkey}")}))
    elif d.id in ("centos", "stream"):
        n = "linux" if d.id == "centos" else "stream"
        evr = "8.5-1.2111.el8" if d.id == "centos" else f"{e}.0-26.el{e}"
        f = _identity_files(d, "centos-release", f"centos-{n}-release") | {f"/etc/dnf/protected.d/centos-{n}-release.conf": File(f"centos-{n}-release")}
        revr = f"{e}-3.el{e}" if e == 8 else evr
        out += [Pkg(f"centos-{n}-release", evr, provides=sysprov(evr) + [f"centos-release = {evr}", "centos-release-eula"], requires=[f"centos-repos({e})"], files=f, source=src),
                Pkg(f"centos-{n}-repos", revr, provides=[f"centos-repos({e}) = {e}", f"config(centos-{n}-repos) = {revr}"], requires=[f"centos-gpg-keys = {revr}", "system-release"],
                    files=repos | ({"/etc/dnf/vars/contentdir": conf("centos"), "/etc/dnf/vars/infra": conf("stock")} if e == 8 else {}) | ({"/etc/dnf/vars/stream": conf(f"{e}-stream")} if n == "stream" else {}), source=src),
                Pkg("centos-gpg-keys", revr, files=keys, source=src)]
    elif d.id == "rocky":
        evr = f"{v}-1.4.el{e}"
        f = _identity_files(d, "rocky-release", "rocky-release") | {"/etc/rocky-release-upstream": File(f"Derived from Red Hat Enterprise Linux {v}"), "/etc/dnf/protected.d/rocky-release.conf": File("rocky-release")}
        if e == 8:
            f["/etc/centos-release"] = link("rocky-release")
        out += [Pkg("rocky-release", evr, provides=sysprov(evr) + [f"centos-release = {evr}", "centos-release-eula", f"rocky-release(upstream) = {v}", f"config(rocky-release) = {evr}"],
                    requires=[f"rocky-repos({e})"], files=f, source=src),
                Pkg("rocky-repos", evr, provides=[f"rocky-repos({e}) = {v}", f"system-repos = {evr}", f"config(rocky-repos) = {evr}"], requires=["rocky-gpg-keys", f"system-release = {evr}"],
                    conflicts=["rocky-release < 8.0"], files=repos | {"/etc/dnf/vars/contentdir": conf("pub/rocky"), "/etc/dnf/vars/rltype": conf(""), "/etc/dnf/vars/stream": conf(f"{e}-stream")}, source=src),
                Pkg("rocky-gpg-keys", evr, conflicts=["rocky-release < 8.0"], files=keys, source=src)]
    elif d.id == "oracle":
        uek = f"5.15.0-206.153.7.el{e}uek" if e < 10 else "6.12.0-0.20.20.el10uek"
        evr = f"4:{v}-1.0.1.el{e}" if e > 8 else f"4:{v}-1.0.1.el8"
        f = _identity_files(d, "oracle-release", "oraclelinux-release") | keys
        del f["/usr/share/redhat-release"]
        out += [Pkg("oraclelinux-release", evr, ARCH, provides=[p for p in sysprov(evr) if not p.startswith("redhat-release")] + [f"oraclelinux-release = {v}"],
                    requires=["redhat-release"], files=f, source="oraclelinux-release"),
                Pkg(f"oraclelinux-release-el{e}", f"1.0-38.el{e}", ARCH, requires=["oraclelinux-release"], source="oraclelinux-release",
                    files=repos | {"/etc/dnf/vars/ociregion": conf(""), "/etc/dnf/vars/ocidomain": conf("oracle.com")}),
                Pkg("redhat-release", f"3:{v}-1.0.1.el{e}", ARCH, provides=["redhat-release-eula"], files={"/etc/redhat-release": File(d.rel_line), "/usr/share/redhat-release": File(dir=True)}, source="oraclelinux-release"),
                Pkg(f"oracle-epel-release-el{e}", f"1.0-5.el{e}", ARCH, repo="extras", source="oraclelinux-release",
                    files={f"/etc/yum.repos.d/oracle-epel-ol{e}.repo": conf(f"[ol{e}_developer_EPEL]\nname=EPEL rebuilt\nbaseurl={HOST}/repo/OracleLinux/OL{e}/developer/EPEL/$basearch/\ngpgkey={d.gpgkey}\ngpgcheck=1\nenabled=0")}),
                Pkg("kernel-uek-core", uek, ARCH, repo="uek", provides=["installonlypkg(kernel)", f"kernel-uek-core-uname-r = {uek}.{ARCH}"], source="kernel-uek",
                    files={f"/boot/vmlinuz-{uek}.{ARCH}": File("kernel"), f"/usr/lib/modules/{uek}.{ARCH}/kernel/drivers/net/e1000.ko.xz": File("module")}),
                Pkg("linux-firmware-core", f"999:20240715-999.34.git.el{e}", repo="uek", source="linux-firmware-core", files={"/usr/lib/firmware/core.bin": File("firmware")})]
    elif d.id == "rhel":
        evr = f"{v}-0.3.el{e}"
        f = _identity_files(d, "redhat-release", "redhat-release") | keys | {"/etc/dnf/protected.d/redhat-release.conf": File("redhat-release")}
        del f["/usr/share/redhat-release"], f["/etc/redhat-release"]
        f |= {"/etc/redhat-release": File(d.rel_line), f"/etc/pki/product-default/479.pem": File("product certificate")}
        out += [Pkg("redhat-release", evr, ARCH, provides=sysprov(evr)[:2] + sysprov(evr)[3:4] + [f"redhat-release-server = {evr}"], files=f, source="redhat-release"),
                Pkg("redhat-release-eula", evr, ARCH, files={"/usr/share/redhat-release/eula-en": File("eula")}, source="redhat-release"),
                Pkg("subscription-manager", f"1.28.42-1.el{e}", ARCH, requires=["dnf-plugin-subscription-manager", "python3-subscription-manager-rhsm"], source="subscription-manager",
                    files={"/etc/rhsm/rhsm.conf": conf("[server]\nhostname = subscription.rhsm.redhat.invalid\n[rhsm]\nmanage_repos = 1"), "/etc/dnf/plugins/subscription-manager.conf": conf("[main]\nenabled=0")}),
                Pkg("dnf-plugin-subscription-manager", f"1.28.42-1.el{e}", ARCH, source="subscription-manager"),
                Pkg("python3-subscription-manager-rhsm", f"1.28.42-1.el{e}", ARCH, source="subscription-manager"),
                Pkg("subscription-manager-rhsm-certificates", f"20220623-1.el{e}", source="subscription-manager", files={"/etc/rhsm/ca/redhat-uep.pem": File("certificate")}),
                Pkg("insights-client", f"3.2.8-1.el{e}", repo="appstream", source="insights-client")]
    out += _branding(d)
    return out


def _branding(d):
    b, e = d.prefix, d.major
    v = {"alma": "84.5", "rocky": "86.3", "oracle": "84.5", "rhel": "84.5"}.get(d.id, "85.8") if e == 8 else {"alma": "90.5.1", "rocky": "90.16", "oracle": "90.4", "rhel": "90.4"}.get(d.id, "90.8")
    rel = f"1.el{e}"
    evr = f"{v}-{rel}"
    src = f"{b}-logos"
    pk = lambda n, ev, prov, files, **kw: Pkg(f"{b}-{n}", ev, provides=prov, files=files, source=src, **kw)
    return [pk("logos", evr, [f"system-logos = {v}"] + ([f"redhat-logos = {v}"] if d.id != "rhel" else []), {"/usr/share/pixmaps/system-logo.png": File(b), "/usr/share/redhat-logos/logo": File(b)}),
            pk("logos-httpd", evr, [f"system-logos-httpd = {v}"] + ([f"redhat-logos-httpd = {v}"] if d.id != "rhel" else []), {"/usr/share/pixmaps/poweredby.png": File(b)}),
            pk("logos-ipa", evr, [f"system-logos-ipa = {v}"], {"/usr/share/pixmaps/ipa.png": File(b)}, install=False, repo="appstream"),
            pk("indexhtml", f"{e}-7.el{e}", [f"redhat-indexhtml = {e}"] if d.id != "rhel" else [], {"/usr/share/doc/HTML/index.html": File(b)}, repo="appstream"),
            pk("backgrounds", evr, [f"system-backgrounds = {v}"], {"/usr/share/backgrounds/default.png": File(b)}, repo="appstream", install=d.id != "rhel")]
