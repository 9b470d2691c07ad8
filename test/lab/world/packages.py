"""The packages of the lab apart from identity: the mass, the special cases, the third parties.

Everything is told from AlmaLinux's side; a source distribution's package is the
same one, with the version that makes the case. So a package's fate is written
next to its name.
"""
import os

from distros import HOST
from model import ARCH, COMPAT, File, Pkg, conf, link

RUNNING = os.environ.get("LAB_KERNEL", os.uname().release)

# names of packages that every EL host has; their content is invented
MASS = """acl attr audit audit-libs authselect bind-utils binutils brotli bzip2 bzip2-libs ca-certificates chkconfig chrony coreutils
coreutils-common cpio cracklib cracklib-dicts cronie cronie-anacron crontabs crypto-policies cryptsetup-libs curl cyrus-sasl-lib dbus dbus-common dbus-daemon
dbus-libs dbus-tools device-mapper device-mapper-libs diffutils dmidecode dnf dnf-data dnf-plugins-core dosfstools dracut dracut-config-rescue
dracut-network dracut-squash e2fsprogs e2fsprogs-libs efi-filesystem efibootmgr efivar-libs elfutils-debuginfod-client
elfutils-libelf elfutils-libs ethtool expat file file-libs findutils firewalld firewalld-filesystem fontconfig freetype fuse-libs gawk gdbm gdbm-libs
gettext gettext-libs glib2 glibc-common glibc-langpack-en gmp gnupg2 gnutls gobject-introspection gpgme grep groff-base grub2-common
grub2-efi grub2-pc grub2-tools grub2-tools-minimal grubby gzip hdparm hostname hwdata ima-evm-utils info initscripts ipcalc iproute ipset
iptables iptables-libs iputils irqbalance iwl7260-firmware jansson json-c kbd kbd-misc kexec-tools keyutils-libs kmod kmod-libs kpartx krb5-libs
less libacl libarchive libassuan libattr libbasicobjects libblkid libcap libcap-ng libcollection libcom_err libcomps libcurl libdaemon
libdb libdhash libdnf libedit libestr libevent libfastjson libfdisk libffi libgcc libgcrypt libgomp libgpg-error libidn2
libini_config libkcapi libksba libldb libmnl libmodulemd libmount libndp libnetfilter_conntrack libnfnetlink libnfsidmap
libnftnl libnghttp2 libnl3 libpath_utils libpcap libpipeline libpsl libpwquality libref_array librepo libreport-filesystem
libseccomp libselinux libselinux-utils libsemanage libsepol libsigsegv libsmartcols libsolv libss libssh libssh-config libsss_idmap
libstdc++ libsysfs libtalloc libtasn1 libtdb libteam libtevent libtirpc libunistring libusbx libuser libutempter libuuid libverto
libxcrypt libxkbcommon libxml2 libyaml libzstd linux-firmware logrotate lshw lsscsi lua-libs lz4-libs man-db memstrack microcode_ctl
mokutil mpfr ncurses ncurses-base ncurses-libs nettle newt nftables npth numactl-libs openldap openssh openssh-clients openssh-server
openssl openssl-libs openssl-pkcs11 os-prober p11-kit p11-kit-trust pam parted passwd pciutils pciutils-libs pcre pcre2 pigz
policycoreutils polkit polkit-libs popt prefixdevname procps-ng psmisc publicsuffix-list-dafsa readline rootfiles rpm-plugin-selinux
rsyslog sed selinux-policy selinux-policy-targeted sg3_utils shadow-utils shared-mime-info shim slang snappy sos squashfs-tools sssd-client
sudo systemd systemd-libs systemd-pam systemd-udev teamd timedatex tpm2-tss tuned tzdata unbound-libs util-linux vim-minimal
virt-what which xfsprogs xz xz-libs yum zstd""".split()
APPSTREAM = set("bind-utils fontconfig freetype libxkbcommon sos tuned brotli snappy".split())
NOARCH = set("ca-certificates crontabs crypto-policies dnf dnf-data dnf-plugins-core tzdata yum firewalld firewalld-filesystem hwdata rootfiles "
             "selinux-policy selinux-policy-targeted linux-firmware iwl7260-firmware kbd-misc libssh-config cracklib-dicts publicsuffix-list-dafsa".split())


# What boots a host, cut down to what it leaves behind. Hosts without /boot/loader/entries have no boot loader, and none of
# these does anything there.
TOOLS = {"systemd-udev": "/usr/bin/kernel-install", "dracut": "/usr/bin/dracut", "grub2-tools-minimal": "/usr/bin/grub2-editenv",
         "grubby": "/usr/sbin/grubby", "grub2-tools": "/usr/sbin/grub2-mkconfig"}


def tool(path):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools", os.path.basename(path))) as f:
        return File(f.read(), mode="755")


def mass(d, alma):
    """The mass: by a package's place in the list, AlmaLinux has the same, a later release, a newer version, ..."""
    out = []
    e = d.major
    for i, name in enumerate(MASS):
        version, rel = f"{1 + i % 4}.{i % 17}", 10 + i % 30
        epoch = f"{1 + i % 3}:" if i % 25 == 6 else ""
        minor = {8: 10, 9: 6, 10: 0}[e]
        release = f"{rel}.el{e}"
        kind = i % 20
        if kind in (11, 12):                        # a later release
            release = f"{rel + 2}.el{e}_{minor}" if alma else release
        elif kind == 13:                            # the same base, a later errata
            release = f"{rel}.el{e}_{minor}.3" if alma else f"{rel}.el{e}_{max(minor - 1, 0)}.1"
        elif kind in (14, 15):                      # a newer version
            version += ".4" if alma else ".2"
        elif kind == 16:                            # patched and rebuilt by AlmaLinux
            release = f"{rel}.el{e}_{minor}" + (".alma.1" if alma else "")
        elif kind == 17 and (d.id == "stream" or i % 40 == 17):   # the source is ahead: Stream much more than others
            release = release if alma else f"{rel + 5}.el{e}"
        elif kind in (3, 7) and d.id == "stream":
            version += "" if alma else ".1"
        elif kind == 5 and not alma:                # rebuilt by the source distribution with its own suffix
            release = {"rocky": f"{rel}.el{e}.rocky.0.1", "oracle": f"{rel}.0.1.el{e}"}.get(d.id, release)
        p = Pkg(name, f"{epoch}{version}-{release}", "noarch" if name in NOARCH else ARCH, "appstream" if name in APPSTREAM else "baseos",
                provides=[f"lab({name}) = {version}"], source="" if i % 18 else name,
                files={f"/usr/share/doc/{name}": File(dir=True), f"/usr/share/doc/{name}/README": File(f"{name} {version}-{release} of {d.vendor}")})
        if i % 3 and i:
            p.requires.append(f"lab({MASS[i - 1]})")
        if i % 10 == 1:
            p.scripts = {"post": f'echo "post {name} $1" >> /var/log/lab-scriptlets.log', "preun": f'echo "preun {name} $1" >> /var/log/lab-scriptlets.log'}
        if name in TOOLS:
            p.files[TOOLS[name]] = tool(TOOLS[name])
        if i % 5 == 2:
            p.files[f"/etc/lab/{name}.conf"] = conf(f"# {name}\nvendor = {d.vendor}")
        out.append(p)
    return out


# name, the source distributions' version, AlmaLinux's version(s), further fields. @ is the dist tag .elN; None: not there.
SPECIAL = [
    # versions in all their forms
    ("ver-epoch-newer", "1:2.0-3@", "2:1.9-1@", {}),
    ("ver-epoch-older", "2:1.0-1@", "1:5.0-1@", {}),
    ("ver-tilde", "3.0~rc2-1@", "3.0-1@", {}),
    ("ver-tilde-older", "3.0-1@", "3.0~rc2-1@", {}),
    ("ver-caret", "1.5-2@", "1.5^20240101git3f2a-1@", {}),
    ("ver-caret-older", "1.5^20240101git3f2a-1@", "1.5-9@", {}),
    ("ver-alma-rebuild", "4.2-7@_5", "4.2-7@_5.alma.1", {}),
    ("ver-several", "1.0-1@", ["1.0-1@", "1.0-5@", "1.0-3@"], {}),
    # architectures
    ("arch-to-noarch", "2.1-1@", "2.1-2@", {"arch": (ARCH, "noarch")}),
    ("noarch-to-arch", "2.2-1@", "2.2-2@", {"arch": ("noarch", ARCH)}),
    ("arch-move-same", "2.3-1@", "2.3-1@", {"arch": (ARCH, "noarch")}),
    # only here, only there
    ("source-only-tool", "1.0-4@", None, {}),
    ("source-only-lib", "0.9-2@", None, {"provides": ["libsourceonly.so.1()(64bit)"]}),
    ("almalinux-only-tool", None, "1.0-1@", {}),
    ("crb-devel", "5.1-2@", "5.1-3@", {"repo": "crb"}),
    ("crb-same", "5.2-2@", "5.2-2@", {"repo": "crb"}),
    ("ha-agent", "4.9-8@", "4.9-8@", {"repo": "ha"}),
    ("extras-tool", "1.1-1@", "1.1-2@", {"repo": "extras"}),
    ("moved-repo", "3.3-1@", "3.3-2@", {"repo": ("baseos", "appstream")}),
    ("moved-to-crb", "3.4-1@", "3.4-2@", {"repo": ("appstream", "crb")}),
    # renames
    ("oldname", "1.4-3@", None, {}),
    ("newname", None, "2.0-1@", {"obsoletes": ["oldname < 2.0"], "provides": ["oldname = 2.0"]}),
    ("split-me", "1.0-1@", "2.0-1@", {}),
    ("split-me-data", None, "2.0-1@", {"obsoletes": ["split-me-extra < 2.0"]}),
    ("split-me-extra", "1.0-1@", None, {"requires": ["split-me"]}),
    # dependencies
    ("needs-source-only", "1.0-1@", "1.0-1@", {"requires": ["libsourceonly.so.1()(64bit)"]}),
    ("rich-deps", "1.0-1@", "1.1-1@", {"requires": ["(ver-tilde if ver-epoch-newer)", "(acl or attr)"], "recommends": ["not-there"]}),
    ("needs-file", "1.0-1@", "1.2-1@", {"requires": ["/usr/share/doc/acl/README"]}),
    # configuration that the administrator edits
    ("webserver", "2.4.37-43@", "2.4.37-65@", {"repo": "appstream", "files": {"/etc/lab/webserver.conf": conf("Listen 80\n"), "/etc/lab/webserver.d": File(dir=True)}}),
    ("database-server", "10.3.35-1@", "10.3.32-1@", {"repo": "appstream", "files": {"/etc/lab/database.cnf": conf("[mysqld]\n")}}),
    # that say when they run, and of which one restarts a unit, as services do
    ("scriptlets-all", "1.0-1@", "1.1-1@", {"scripts": {w: f'echo "{w} scriptlets-all $1" >> /var/log/lab-scriptlets.log' for w in ("pre", "post", "preun")}
                                            | {"postun": 'echo "postun scriptlets-all $1" >> /var/log/lab-scriptlets.log; [ $1 -lt 1 ] || systemctl try-restart scriptlets-all.service >/dev/null 2>&1 || :'}
                                            | {"posttrans": 'echo "posttrans scriptlets-all" >> /var/log/lab-scriptlets.log'}}),
    # that fail; not installed on hosts, only asked for by tests
    ("fail-pre", "1.0-1@", "1.1-1@", {"install": False, "scripts": ("", "pre", "exit 1")}),
    ("fail-post", "1.0-1@", "1.1-1@", {"install": False, "scripts": ("", "post", "exit 1")}),
    ("slow-post", "1.0-1@", "1.1-1@", {"install": False, "scripts": ("", "post", 'echo "$$ start" >> /var/log/lab-slow.log; sleep 600')}),
    ("big-payload", "1.0-1@", "1.1-1@", {"install": False, "files": {"/opt/lab/big": File("0" * 1000)}}),
]


def special(d, alma):
    out = []
    for name, src, dst, more in SPECIAL:
        side = 1 if alma else 0
        evrs = dst if alma else src
        for evr in (evrs if isinstance(evrs, list) else [evrs] if evrs else []):
            kw = {k: v[side] if isinstance(v, tuple) and k in ("arch", "repo") else v for k, v in more.items()}
            if isinstance(kw.get("scripts"), tuple):
                # the source's one installs, AlmaLinux's fails: what an upgrade meets
                kw["scripts"] = {kw["scripts"][1]: kw["scripts"][2]} if alma else {}
            kw.setdefault("arch", ARCH)
            # a source distribution without that repository has the package in its extras, or not at all
            if not any(r.kind == kw.get("repo", "baseos") for r in d.repos):
                continue
            p = Pkg(name, evr.replace("@", d.dist), **kw)
            p.files = dict(p.files) or {f"/usr/share/doc/{name}": File(dir=True), f"/usr/share/doc/{name}/README": File(f"{name} {evr}")}
            out.append(p)
    return out


# the multilib pair and what both halves share
def multilib(d, alma):
    out = []
    for name, src, dst in (("glibc", f"2.{28 if d.major == 8 else 34}-164@", f"2.{28 if d.major == 8 else 34}-251@_10.2"), ("zlib", "1.2.11-17@", "1.2.11-17@")):
        evr = (dst if alma else src).replace("@", d.dist)
        for arch in (ARCH, COMPAT):
            if arch:
                lib = "/usr/lib64" if arch == ARCH else "/usr/lib"
                out.append(Pkg(name, evr, arch, provides=[f"{name}(x86-{64 if arch == ARCH else 32}) = {evr}", f"lib{name}.so.1" + ("()(64bit)" if arch == ARCH else "")],
                               requires=["lab(libgcc)"], files={f"{lib}/lab/lib{name}.so.1": File(name), f"/usr/share/doc/{name}/COPYING": File("terms")}, source=name))
    return out


# symbols of the kernel with the CRCs of their interface, as kernel-core provides them; the second is AlmaLinux's where it differs
SYMBOLS = {"printk": ("0xc5850110", None), "kmalloc_caches": ("0x1c4cb7c0", None), "register_netdev": ("0x8d0a77d4", None),
           "blk_queue_split": ("0x30a93ed0", "0x99d7f2a4"), "scsi_host_alloc": ("0x2f9b0c22", None)}


def kernels(d, alma):
    e = d.major
    base = {8: "4.18.0", 9: "5.14.0", 10: "6.12.0"}[e]
    if alma:
        builds = {8: ["553@_10", "553.16.1@_10"], 9: ["570.12.1@_6", "570.17.1@_6"], 10: ["55.9.1@_0", "55.12.1@_0"]}[e]
    elif d.id == "stream":
        builds = {8: ["536@", "552@"], 9: ["580@", "590@"], 10: ["80@", "90@"]}[e]
    else:
        builds = {8: ["348@", "348.7.1@_5"], 9: ["503.11.1@_5", "570.12.1@_6"], 10: ["40@", "55.9.1@_0"]}[e]
    out = []
    for n, b in enumerate(builds):
        evr = f"{base}-{b}".replace("@", d.dist)
        ku = f"{evr}.{ARCH}"
        mods = f"/usr/lib/modules/{ku}"
        files = {f"/boot/vmlinuz-{ku}": File("kernel"), f"/boot/System.map-{ku}": File("map"), f"/boot/config-{ku}": File("CONFIG_MODULES=y"),
                 f"{mods}/modules.builtin": File("kernel/fs/ext4/ext4.ko"), f"{mods}/vmlinuz": File("kernel"),
                 f"/boot/initramfs-{ku}.img": File("initramfs", flags="%ghost")}
        scripts = {"posttrans": f"[ ! -d /boot/loader/entries ] || kernel-install add {ku} /lib/modules/{ku}/vmlinuz",
                   "preun": f"[ ! -d /boot/loader/entries ] || kernel-install remove {ku}"}
        core = {f"{mods}/kernel/drivers/net/e1000.ko.xz": File("module"), f"{mods}/kernel/fs/xfs/xfs.ko.xz": File("module")}
        if not alma and n == len(builds) - 1:
            # uname(2) cannot be changed in a namespace: the newest installed kernel owns the running one's folder
            if RUNNING != "none":
                core[f"/usr/lib/modules/{RUNNING}"] = core[f"/usr/lib/modules/{RUNNING}/kernel"] = File(dir=True)
        crc = [f"kernel({s}) = {(c[1] if alma and c[1] else c[0])}" for s, c in SYMBOLS.items()]
        pk = lambda name, files, **kw: out.append(Pkg(name, evr, ARCH, files=files, source="kernel", **kw))
        uname = [f"kernel-uname-r = {ku}", "installonlypkg(kernel)"]
        has = lambda *names: [f"kmod({n}.ko)" for n in names]   # built-in ones too, as the real ones
        crc += has("e1000", "xfs", "ext4")
        if e == 8:
            pk("kernel-core", files | core, provides=[f"kernel = {evr}", f"kernel-core-uname-r = {ku}"] + uname + crc, scripts=scripts)
        else:
            pk("kernel-core", files, provides=[f"kernel = {evr}", f"kernel-core-uname-r = {ku}"] + uname, requires=[f"kernel-modules-core-uname-r = {ku}"], scripts=scripts)
            pk("kernel-modules-core", core, provides=[f"kernel-modules-core-uname-r = {ku}", "installonlypkg(kernel-module)"] + crc)
        pk("kernel-modules", {f"{mods}/kernel/drivers/scsi/hpsa.ko.xz": File("module")}, provides=[f"kernel-modules-uname-r = {ku}", "installonlypkg(kernel-module)"] + has("hpsa"),
           requires=[f"kernel-uname-r = {ku}"])
        pk("kernel-modules-extra", {f"{mods}/extra/sctp.ko.xz": File("module")}, provides=["installonlypkg(kernel-module)"] + has("sctp"), requires=[f"kernel-uname-r = {ku}"], install=False)
        pk("kernel", {}, requires=[f"kernel-core-uname-r = {ku}", f"kernel-modules-uname-r = {ku}"], provides=["installonlypkg(kernel)"])
    out.append(Pkg("kernel-tools", f"{base}-{builds[-1]}".replace("@", d.dist), ARCH, source="kernel", files={"/usr/share/doc/kernel-tools/README": File("tools")}))
    return out


# the folder below EFI that each distribution's shim and GRUB are in
EFI = {"alma": "almalinux", "centos": "centos", "stream": "centos", "rocky": "rocky", "oracle": "redhat", "rhel": "redhat"}


def bootloader(d, alma):
    """shim and GRUB for UEFI, with the real ones' file lists. Not on hosts unless a test installs them: few have an ESP."""
    if ARCH not in ("x86_64", "aarch64"):
        return []
    e, v = d.major, EFI[d.id]
    a, at = {"x86_64": ("x64", ""), "aarch64": ("aa64", "")}[ARCH][0], f"/boot/efi/EFI/{EFI[d.id]}"
    efi = lambda n: File(f"{n} of {d.vendor}", mode="700")
    shim = {f"/boot/efi/EFI/BOOT/BOOT{a.upper()}.EFI": efi("shim"), f"/boot/efi/EFI/BOOT/fb{a}.efi": efi("fallback"), f"{at}/BOOT{a.upper()}.CSV": efi("csv"),
            f"{at}/mm{a}.efi": efi("mokmanager"), f"{at}/shim.efi": efi("shim"), f"{at}/shim{a}-{v}.efi": efi("shim"), f"{at}/shim{a}.efi": efi("shim")}
    grub = {at: File(dir=True), f"{at}/grub{a}.efi": efi("grub"), f"{at}/grub.cfg": File("", flags="%ghost"), "/boot/loader/entries": File(dir=True)}
    if e == 8:
        # the environment is on the ESP, in the vendor's folder: another vendor's GRUB has another one
        env = "# GRUB Environment Block\n"
        grub |= {f"{at}/grubenv": File(env + "#" * (1023 - len(env)), flags="%config(noreplace)", mode="700"),
                 "/boot/grub2/grubenv": link(f"../efi/EFI/{v}/grubenv"), "/etc/grub2-efi.cfg": link(f"../boot/efi/EFI/{v}/grub.cfg")}
    else:
        grub |= {"/boot/grub2/grubenv": File("", flags="%ghost"), "/etc/grub2-efi.cfg": link("../boot/grub2/grub.cfg")}
    sv, gv = ("15.8-4@", "2.02-156@_10.alma.1" if e == 8 else "2.06-94@_5.alma.1") if alma else ("15-15@" if e == 8 else "15.6-1@", "2.02-106@" if e == 8 else "2.06-70@")
    pk = lambda n, evr, files, **kw: Pkg(n, evr.replace("@", d.dist), ARCH, files=files, install=False, **kw)
    return [pk(f"shim-{a}", sv, shim, provides=[f"shim-signed-{a} = {sv.split('-')[0]}", "bundled(openssl) = 1.0.2j"], source="shim"),
            pk(f"grub2-efi-{a}", gv, grub, requires=["grub2-common", "grub2-tools-minimal"], source="grub2-efi")]


def modules(d, alma):
    """Modular packages and their modulemd documents: returns (packages, [(name, stream, context, nevras)], defaults)."""
    e, dist, build = d.major, d.module_dist, d.module_build
    # AlmaLinux, CentOS, Rocky and RHEL call these streams rhel8; Oracle has names of its own
    tools, virt = ("ol8", "ol") if d.id == "oracle" else ("rhel8", "rhel")
    if e == 8:
        want = [("nodejs", "18", True, [("nodejs", "1:18.18.2-1", "1:18.20.2-1"), ("npm", "1:9.8.1-1.18.18.2.1", "1:10.5.0-1.18.20.2.1")]),
                ("nodejs", "20", False, [("nodejs", "1:20.9.0-1", "1:20.12.2-2"), ("npm", "1:10.1.0-1.20.9.0.1", "1:10.5.0-1.20.12.2.2")]),
                ("php", "7.4", True, [("php", "7.4.19-3", "7.4.33-1"), ("php-common", "7.4.19-3", "7.4.33-1")]),
                ("php", "8.2", False, [("php", "8.2.13-1", "8.2.13-1"), ("php-common", "8.2.13-1", "8.2.13-1")]),
                ("container-tools", tools, True, [("podman", "3:4.4.1-12", "3:4.9.4-1"), ("buildah", "2:1.29.1-1", "2:1.33.6-2"), ("runc", "1:1.1.4-1", "1:1.1.12-1")]),
                ("virt", virt, True, [("libvirt-libs", "8.0.0-10.1", "8.0.0-23.1"), ("qemu-img", "15:6.2.0-20", "15:6.2.0-49")])]
        default = {"nodejs": "18", "php": "7.4", "container-tools": tools, "virt": virt}
    elif e == 10:
        want, default = [], {}                      # EL10 has no modules
    else:
        want = [("nodejs", "18", True, [("nodejs", "1:18.18.2-2", "1:18.20.4-1"), ("npm", "1:9.8.1-1.18.18.2.2", "1:10.7.0-1.18.20.4.1")]),
                ("nodejs", "20", False, [("nodejs", "1:20.9.0-1", "1:20.16.0-1"), ("npm", "1:10.1.0-1.20.9.0.1", "1:10.8.1-1.20.16.0.1")]),
                ("php", "8.1", True, [("php", "8.1.14-1", "8.1.27-1"), ("php-common", "8.1.14-1", "8.1.27-1")]),
                ("maven", "3.8", False, [("maven", "3.8.5-2", "3.8.5-2")])]
        default = {}
    # a stream that AlmaLinux does not carry
    if want and not alma:
        want.append(("vanished", "1", True, [("vanished-app", "1.0-1", None)]))
    pkgs, docs = [], []
    for i, (name, stream, inst, members) in enumerate(want):
        context = f"{0x9edba152 + i:08x}"
        nevras = []
        for n, src, dst in members:
            p = Pkg(n, f"{dst if alma else src}{dist}", ARCH, "appstream", label=f"{name}:{stream}:{build}:{context}", install=inst, source=name,
                    provides=[f"lab-module({n})"], files={f"/usr/share/doc/{n}": File(dir=True), f"/usr/share/doc/{n}/README": File(f"{n} of {name}:{stream}")})
            pkgs.append(p)
            nevras.append(p.nevra)
        docs.append((name, stream, context, inst, nevras))
    # what is not modular of the same name must lose against the enabled stream
    if e > 8:
        pkgs.append(Pkg("nodejs", ("1:16.20.2-4" if alma else "1:16.20.2-3") + d.dist, ARCH, "appstream", install=False, source="nodejs",
                        files={"/usr/share/doc/nodejs/README": File("not modular")}))
    return pkgs, docs, default


def modules_yaml(d, docs, default):
    out = []
    for name, stream, context, _, nevras in docs:
        out.append(f"""---
document: modulemd
version: 2
data:
  name: {name}
  stream: "{stream}"
  version: {d.module_build}
  context: {context}
  static_context: false
  arch: {ARCH}
  summary: {name} of the lab
  description: >-
    The stream {stream} of {name}.
  license:
    module: [MIT]
    content: [MIT]
  dependencies:
  - buildrequires:
      platform: [el{d.major}]
    requires:
      platform: [el{d.major}]
  profiles:
    common:
      rpms: [{nevras[0].rsplit("-", 2)[0]}]
  artifacts:
    rpms:
""" + "".join(f"    - {n}\n" for n in nevras) + "...\n")
    for name, stream in default.items():
        out.append(f"""---
document: modulemd-defaults
version: 1
data:
  module: {name}
  stream: "{stream}"
  profiles:
    "{stream}": [common]
...
""")
    return "".join(out)


def distro_packages(d):
    """All packages of a distribution but its identity, and the material of its modules.yaml."""
    alma = d.id == "alma"
    pkgs = base(d) + mass(d, alma) + special(d, alma) + multilib(d, alma) + kernels(d, alma) + bootloader(d, alma)
    mod, docs, default = modules(d, alma)
    return pkgs + mod, docs, default


def base(d):
    dirs = ["/etc", "/usr", "/usr/bin", "/usr/lib", "/usr/share", "/var", "/var/lib", "/opt", "/boot"]
    sh = ["/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/usr/bin/env"]
    v = {8: "3.8-6", 9: "3.16-5", 10: "3.18-16"}[d.major]
    # a SIG's repository, which goes with the distribution
    sig = [Pkg("centos-release-nfv-openvswitch", "1-5" + d.dist, repo="extras", requires=["centos-release"], source="centos-release-nfv-openvswitch",
               files={"/etc/yum.repos.d/CentOS-NFV-OpenvSwitch.repo": conf(f"[centos-nfv-openvswitch]\nname=CentOS - NFV OpenvSwitch\nbaseurl={HOST}/SIGs/$stream/nfv/$basearch/openvswitch-2/\ngpgcheck=1\nenabled=0\ngpgkey={d.gpgkey}")})
           ] if d.vendor == "CentOS" else []
    return sig + [Pkg("filesystem", v + d.dist, ARCH, files={x: File(dir=True) for x in dirs}, source="filesystem"),
            Pkg("setup", "2.12.2-9" + d.dist, requires=["filesystem"], files={"/etc/shells": conf("/bin/sh\n/bin/bash"), "/etc/motd": conf("")}, source="setup"),
            # the overlay host brings the real shell; an installroot has none, and needs none for these packages' %post
            Pkg("bash", {8: "4.4.20-5", 9: "5.1.8-9", 10: "5.2.26-6"}[d.major] + d.dist, ARCH, provides=sh, requires=["setup"],
                files={"/usr/share/doc/bash/README": File("the shell")}, source="bash")]


def third_party(major):
    """Packages of others: returns {repository: (key, packages)}. They stay on a host that moves."""
    el = f".el{major}"
    epel = "Fedora Project"
    gpg = lambda n: f"file:///etc/pki/rpm-gpg/{n}"
    repo = lambda i, n, path, key: conf(f"[{i}]\nname={n}\nbaseurl={HOST}{path}\nenabled=1\ngpgcheck=1\ngpgkey={gpg(key)}")
    kv = {8: "4.18.0-348", 9: "5.14.0-503.11.1", 10: "6.12.0-40"}[major]
    crc = lambda *s: [f"kernel({x}) = {SYMBOLS[x][0]}" for x in s]
    ko = lambda n: {f"/usr/lib/modules/{kv}{el}.{ARCH}/extra/{n}/{n}.ko": File("module")}
    P = Pkg
    doc = lambda n: {f"/usr/share/doc/{n}/README": File(n)}
    return {
        "epel": (f"RPM-GPG-KEY-EPEL-{major}", f"/epel/{major}/Everything/$basearch/", [
            P("epel-release", f"{major}-20{el}", vendor=epel, requires=["redhat-release >= 8"] if major == 8 else ["system-release"], source="epel-release",
              files={"/etc/yum.repos.d/epel.repo": repo("epel", "Extra Packages for Enterprise Linux $releasever", "/epel/$releasever/Everything/$basearch/", f"RPM-GPG-KEY-EPEL-{major}"),
                     f"/etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL-{major}": File("@KEY@")}),
            P("htop", f"3.2.1-1{el}", ARCH, vendor=epel, files=doc("htop"), source="htop"),
            P("epel-uses-crb", f"1.0-1{el}", vendor=epel, requires=["crb-devel"], source="epel-uses-crb"),
            # not newer in the repository: dnf has nothing to say about it; and one that is
            P("ncdu", f"1.16-1{el}", ARCH, vendor=epel, files=doc("ncdu"), source="ncdu"),
            P("ncdu", f"1.17-1{el}", ARCH, vendor=epel, files=doc("ncdu"), source="ncdu", install=False)]),
        "elrepo": ("RPM-GPG-KEY-elrepo.org", f"/elrepo/elrepo/el{major}/$basearch/", [
            P("elrepo-release", f"{major}.4-2{el}.elrepo", vendor="ELRepo.org", requires=[f"system-release >= {major}"], source="elrepo-release",
              files={"/etc/yum.repos.d/elrepo.repo": repo("elrepo", "ELRepo", "/elrepo/elrepo/el$releasever/$basearch/", "RPM-GPG-KEY-elrepo.org"), "/etc/pki/rpm-gpg/RPM-GPG-KEY-elrepo.org": File("@KEY@")}),
            # every symbol it imports is the same in AlmaLinux's kernel; of the second one symbol changed
            P("kmod-labnet", f"1.3-1{el}.elrepo", ARCH, vendor="ELRepo.org", requires=[f"kernel >= {kv}"] + crc("printk", "register_netdev"), provides=["kmod(labnet.ko)", "kernel-modules >= 4"], files=ko("labnet"), source="kmod-labnet"),
            P("kmod-labdisk", f"0.7-2{el}.elrepo", ARCH, vendor="ELRepo.org", requires=[f"kernel >= {kv}"] + crc("printk", "blk_queue_split"), provides=["kmod(labdisk.ko)"], files=ko("labdisk"), source="kmod-labdisk", install=False)]),
        "vendor": ("RPM-GPG-KEY-acme", f"/acme/el{major}/", [
            P("acme-agent", "7.2.1-1", ARCH, vendor="ACME Monitoring Inc.", files={"/opt/acme/agent": File("agent", mode="755"), "/etc/acme/agent.conf": conf("server=acme.invalid"),
              "/etc/yum.repos.d/acme.repo": repo("acme", "ACME", f"/acme/el{major}/", "RPM-GPG-KEY-acme"), "/etc/pki/rpm-gpg/RPM-GPG-KEY-acme": File("@KEY@")}),
            # says that CentOS made it; the signature says otherwise
            P("acme-liar", "1.0-1", vendor="CentOS", files=doc("acme-liar"), source="acme-liar"),
            P("acme-pinned", "1.0-1", ARCH, vendor="ACME Monitoring Inc.", requires=["oldname < 2.0", "source-only-tool"], files=doc("acme-pinned"), install=False)]),
        # in no repository: nobody's own build, without a signature, and one signed by a key that no host knows
        "local": ("RPM-GPG-KEY-unknown", "", [
            P("inhouse-tool", "0.1-1", vendor="(none)", key="none", files=doc("inhouse-tool"), source="inhouse-tool"),
            P("inhouse-signed", "0.2-1", ARCH, vendor="Inhouse", files=doc("inhouse-signed"), source="inhouse-signed")]),
    }
