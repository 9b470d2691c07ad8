"""Hosts made from a seed and a number: an rpm database, dnf's configuration, an AlmaLinux mirror and third-party repositories."""
import json
import os
import random
import re

from formats import P, modulemd, write_db, write_repo
from universe import DISTROS, Universe, evr_text

CRB = {"centos": "powertools", "rocky": {8: "powertools", 9: "crb"}, "centos-stream": "crb", "oracle": "ol{}_codeready_builder", "rhel": "codeready-builder-for-rhel-{}-x86_64-rpms"}
BASE = {"oracle": ["ol{}_baseos_latest", "ol{}_appstream"], "rhel": ["rhel-{}-for-x86_64-baseos-rpms", "rhel-{}-for-x86_64-appstream-rpms"]}
OS_ID = {"centos": "centos", "centos-stream": "centos", "oracle": "ol"}
NAME = {"centos": "CentOS Linux", "centos-stream": "CentOS Stream", "rocky": "Rocky Linux", "oracle": "Oracle Linux Server", "rhel": "Red Hat Enterprise Linux"}
# names as nobody sane has them, but as rpm's format, XML and dnf let pass
HOSTILE = ["vendor-../../etc/passwd", "vendor-\x1b[31mred", "vendor-<&>\"'", "vendor-a'; rm -rf $HOME; `id`", "vendor-%s%n${x}", "vendor-\u202egnp.exe", "vendor-c++*[a-z]?"]


class Host:
    def __init__(self, seed, number):
        self.rng = rng = random.Random(f"{seed} {number}")
        self.number = number
        self.distro, self.major = DISTROS[number % len(DISTROS)]
        self.u = u = Universe(rng, self.distro, self.major)
        self.crb = rng.random() < 0.4
        self.features = []
        self.conf, self.lock, self.streams = {}, [], {}
        self.vendor_repo = []       # in the vendor's repository
        self.providers = {}
        self.choose()
        self.third_party()
        self.settings()

    # ---- what is installed --------------------------------------------------------

    def choose(self):
        """A subset of the source's packages that is closed under dependencies."""
        u, rng = self.u, self.rng
        for p in u.source:
            for n in [p.name] + [d[0] for d in p.all_provides()] + p.files:
                self.providers.setdefault(n, []).append(p)
        self.installed = list(u.ids) + u.kernel_source
        self.names = {(p.name, p.arch) for p in self.installed}
        roots = [p for p in u.source if p.arch != "i686" and p.repo != "crb"]
        for p in rng.sample(roots, rng.randint(15, 60)):
            self.take(p)
        if rng.random() < 0.5:
            for p in rng.sample([p for p in u.source if p.repo == "crb"], 2):
                self.take(p)
        if rng.random() < 0.5:
            for p in rng.sample([p for p in u.source if p.arch == "i686"], 2):
                self.take(p)
        for m, stream, pkgs, _ in rng.sample(u.modular, rng.randint(0, 3)):
            if m not in self.streams:
                self.streams[m] = stream
                for p in pkgs:
                    self.take(p)

    def take(self, p):
        if (p.name, p.arch) in self.names:
            return
        if any(self.is_in(c[0]) for c in p.conflicts) or any((p.name, "", "") in q.conflicts for q in self.installed):
            self.features.append(f"no room for {p.name}")   # its dependency stays open: broken today already
            return
        self.installed.append(p)
        self.names.add((p.name, p.arch))
        for name, _, _ in p.requires:
            wanted = [name] if not name.startswith("(") else re.findall(r"[a-z][\w-]+", re.sub(r" (if|or|and|with|else|>=|\S*\d+-\S+)\b", " ", name))[:None if " and " in name else 1]
            for w in wanted:
                have = self.providers.get(w, [])
                if have and not any((q.name, q.arch) in self.names for q in have):
                    self.take(have[0])

    def is_in(self, name):
        return any(n == name for n, _ in self.names)

    # ---- third parties ------------------------------------------------------------

    def vendor(self, name, **kw):
        arch = kw.pop("arch", "x86_64")
        if (name, arch) in self.names:
            return None
        p = P(name, (0, "1.0", "1"), arch, vendor="Vendor", **kw)
        self.installed.append(p)
        self.names.add((p.name, p.arch))
        if self.rng.random() < 0.7 and "\x1b" not in name:     # XML cannot carry it
            self.vendor_repo.append(p)
        return p

    def third_party(self):
        rng, u = self.rng, self.u
        mine = [p for p in self.installed if hasattr(p, "comp")]
        self.tools = [p for p in mine if p.comp.kind == "tool"]
        self.libs = [p for p in mine if p.comp.kind == "lib" and p.arch == "x86_64"]
        self.vendor("vendor-plain", files=["/opt/vendor/plain"])
        self.vendor("vendor-happy", requires=[(rng.choice(self.libs).provides[0][0], "", ""), (rng.choice(self.tools).name, "", ""), ("system-release", "", "")])
        n = rng.choice([0, 0, 0, 1, 1, 2, 3])
        for kind in rng.sample(sorted(k for k in dir(self) if k.startswith("v_")), n):
            self.features.append(kind[2:])
            getattr(self, kind)()
        for i in range(rng.choice([0, 0, 1, 2])):
            name = rng.choice(HOSTILE)
            self.vendor(name, files=["/opt/" + name.replace("/", "_")], provides=[(name + " x", "", "")], requires=[(rng.choice(self.libs).name, "", "")] if i else [])

    def tool(self):
        return self.rng.choice(self.tools)

    def v_pin(self):
        t = self.tool()
        self.vendor("vendor-pin", requires=[(t.name, "=", t.evrs)])

    def v_pin_version(self):
        t = self.tool()
        self.vendor("vendor-pinv", requires=[(t.name, "=", (f"{t.evr[0]}:" if t.evr[0] else "") + t.evr[1])])

    def v_below(self):
        t = self.tool()
        self.vendor("vendor-below", requires=[(t.name, "<=", t.evrs)])

    def v_above(self):
        t = self.tool()
        self.vendor("vendor-above", requires=[(t.name, ">=", t.evrs)])

    def v_sonames(self):
        self.vendor("vendor-sonames", requires=[d for lib in self.rng.sample(self.libs, min(4, len(self.libs))) for d in lib.provides])

    def v_multilib(self):
        lib = next((p for p in self.installed if p.arch == "i686"), None)
        if lib:
            self.vendor("vendor-compat", arch="i686", requires=[lib.provides[-1], (lib.name + "(x86-32)", "=", lib.evrs)])

    def v_file(self):
        t = self.tool()
        self.vendor("vendor-file", requires=[(f, "", "") for f in t.files[:1]])

    def v_deep_file(self):
        t = self.tool()
        self.vendor("vendor-deep", requires=[(t.files[-1], "", "")])

    def v_rich(self):
        a, b, c = (self.tool() for _ in range(3))
        text = self.rng.choice([f"({a.name} >= {a.evrs} with {a.name} <= {a.evrs})", f"({a.name} = {a.evrs} or {b.name} = {b.evrs})", f"({a.name} = {a.evrs} if {b.name})",
                                f"(({a.name} and {b.name}) or {c.name})", f"({a.name} = {a.evrs} if {b.name} > {b.evrs})", f"({a.name} if {b.name} else {c.name} = {c.evrs})",
                                f"({a.name} without {a.name} > {a.evrs})", f"(({a.name} = {a.evrs} or fresh0) and {b.name})", f"({a.name} = {a.evrs} or fresh2)"])
        self.vendor("vendor-rich", requires=[(text, "", "")])

    def v_conflict(self):
        t = self.tool()
        self.vendor("vendor-conflict", conflicts=[(t.name, self.rng.choice([">", "<"]), t.evrs)])

    def v_conflict_new(self):
        self.vendor("vendor-conflict-new", conflicts=[(self.rng.choice(["fresh0", "fresh1", "newd-a", "newd-bb", "almalinux-release", "almalinux-logos"]), "", "")])

    def v_conflict_rich(self):
        a, b = self.tool(), self.tool()
        self.vendor("vendor-conflict-rich", conflicts=[(f"({a.name} > {a.evrs} {self.rng.choice(['and', 'or'])} {b.name} > {b.evrs})", "", "")])

    def v_blocker(self):
        self.vendor("vendor-blocker")

    def v_obsoletes_new(self):
        self.vendor("vendor-obsoletes", obsoletes=[(f"fresh{self.rng.randint(0, 3)}", "<", "9")])

    def v_obsoletes_update(self):
        """Obsoletes what it stands beside only once that is older or newer."""
        t = self.tool()
        self.vendor("vendor-obsoletes-update", obsoletes=[(t.name, self.rng.choice(["<", ">"]), t.evrs)])

    def v_provides_new(self):
        """Supplies itself what AlmaLinux's new versions need."""
        self.vendor("vendor-fresh", provides=[("fresh0", "=", "5"), ("fresh1", "=", "5")], files=["/usr/bin/fresh0"])

    def v_old(self):
        self.vendor("vendor-old")

    def v_needs_old(self):
        self.vendor("vendor-old")
        self.vendor("vendor-needs-old", requires=[("vendor-old", "=", "1.0-1")])

    def v_brand(self):
        self.vendor("vendor-brand", requires=[self.rng.choice([(self.u.ids[0].name, "", ""), ("system-release", ">=", f"{self.major}"), ("redhat-release", "", ""), ("system-logos", "", ""),
                                                               ("/etc/redhat-release", "", ""), (self.u.ids[-1].name, "", ""), ("/usr/lib/os-release", "", "")])])

    def v_module(self):
        for m, stream in self.streams.items():
            v = next((p.evr[1].split(".")[0] for p in self.installed if p.name == f"{m}-base"), None)
            if v:
                self.vendor(f"vendor-{m}", requires=[(f"{m}(abi)", "=", v)])
                return

    def v_kmod(self):
        k = self.u.kernel_source[-1]
        self.vendor("kmod-vendor", requires=[self.rng.choice([("kernel(printk)", "=", "0x00001111"), ("kernel(blk_changed)", "=", f"0x{7919:08x}"), ("kernel-core", ">=", k.evrs),
                                                              ("kernel-uname-r", "=", f"{k.evr[1]}-{k.evr[2]}.x86_64")])])

    def v_broken_today(self):
        self.vendor("vendor-broken", requires=[("never-was", ">=", "3")])

    def v_fixed_by_vendor(self):
        """The vendor's repository has a version that goes along."""
        t = self.tool()
        if self.vendor("vendor-follows", requires=[(t.name, "=", t.evrs)]):
            self.vendor_repo.append(P("vendor-follows", (0, "2.0", "1"), vendor="Vendor", requires=[(t.name, ">=", t.evr[1])]))

    def v_same_name(self):
        """A vendor's build of what AlmaLinux has too."""
        names = {p.name for p in self.installed}
        more = [p for p in self.u.alma if getattr(p, "comp", None) and p.comp.kind == "tool" and p.name not in names]
        if more:
            t = self.rng.choice(more)
            p = self.vendor(t.name, provides=[("vendor(special)", "", "")])
            self.vendor("vendor-special-user", requires=[("vendor(special)", "", "")])
            if p in self.vendor_repo:
                self.vendor_repo.remove(p)

    def v_needs_missing(self):
        lost = [p for p in self.tools + self.libs if "alma" not in p.comp.ver]
        for p in lost[:2]:
            self.vendor(f"vendor-uses-{p.name}", requires=[(p.name, "=", p.evrs)])

    def v_virtual(self):
        """Stays, and does not go with one of several that could come."""
        self.vendor("vendor-mail", conflicts=[("smtpd-a", "", "")] if not self.is_in("smtpd-a") else [], requires=[("webserver", "", "")] if self.is_in("webserver-a") else [])

    # ---- dnf's settings -----------------------------------------------------------

    def settings(self):
        rng = self.rng
        own = [p for p in self.installed if hasattr(p, "comp")]
        if rng.random() < 0.3:
            self.features.append("versionlock")
            for p in rng.sample(own, rng.randint(1, 2)):
                self.lock.append(rng.choice([f"{p.name}-{p.evr[0]}:{p.evr[1]}-{p.evr[2]}.*", f"{p.name}-{p.evr[0]}:{p.evr[1]}-{p.evr[2]}.{p.arch}"]))
        if rng.random() < 0.1:
            self.features.append("versionlock-not")
            p = rng.choice(own)
            for a in self.u.alma:
                if a.name == p.name and not a.evr[2].startswith("0"):
                    self.lock.append(f"!{a.name}-{a.evr[0]}:{a.evr[1]}-{a.evr[2]}.*")
        if rng.random() < 0.3:
            self.features.append("exclude")
            self.conf["excludepkgs"] = rng.choice([rng.choice(own).name, "fresh*", rng.choice(own).name + "*", "kernel*", f"{rng.choice(own).name},fresh1", "lib0?", self.version_glob(rng.choice(own)), self.version_glob(rng.choice(own))])
        if rng.random() < 0.1:
            # AlmaLinux's version is hidden: an older one may be there
            self.features.append("exclude-version")
            p = rng.choice([p for p in self.u.alma if hasattr(p, "comp") and self.is_in(p.name)])
            self.conf["excludepkgs"] = f"{p.name}-{p.evrs}.{rng.choice([p.arch, '*'])}"
        if rng.random() < 0.1:
            self.features.append("module-disabled")
            self.streams.setdefault("node", None)

    @staticmethod
    def version_glob(p):
        return f"{p.name}-{p.evr[1]}*"

    # ---- writing out --------------------------------------------------------------

    def alma_stream(self, module, stream):
        """A stream's name in AlmaLinux; one that it has not stays as it is."""
        there = {(m, s) for m, s, _, _ in self.u.streams["alma"]}
        other = stream and stream.replace("ol8", "rhel8")
        return other if (module, other) in there else stream

    def write(self, out):
        d = os.path.join(out, f"host-{self.number:03d}")
        root = os.path.join(d, "root")
        e = self.major
        dbpath = "/usr/lib/sysimage/rpm" if e >= 10 else "/var/lib/rpm"
        write_db(root, dbpath, self.installed)

        def put(path, text):
            os.makedirs(os.path.dirname(root + path), exist_ok=True)
            with open(root + path, "w") as f:
                f.write(text)
        v = evr_text(self.u.ids[0].evr).split(":")[-1].split("-")[0]
        os_id = OS_ID.get(self.distro, self.distro)
        put("/etc/os-release", f'NAME="{NAME[self.distro]}"\nID="{os_id}"\nID_LIKE="rhel fedora"\nVERSION_ID="{v if self.distro != "centos-stream" else e}"\nPLATFORM_ID="platform:el{e}"\nPRETTY_NAME="{NAME[self.distro]} {v}"\n')
        put("/etc/dnf/dnf.conf", "[main]\ngpgcheck=0\nbest=True\ninstall_weak_deps=False\n" + "".join(f"{k}={x}\n" for k, x in self.conf.items()))
        crb = CRB[self.distro]
        crb = (crb[e if e in crb else 9] if isinstance(crb, dict) else crb).format(e)
        ids = [x.format(e) for x in BASE.get(self.distro, ["baseos", "appstream"])]
        put("/etc/yum.repos.d/source.repo", "".join(f"[{i}]\nname={i}\nbaseurl=http://source.invalid/{i}\nenabled={int(i != crb or self.crb)}\n\n" for i in ids + [crb]))
        third = os.path.join(d, "third")
        put("/etc/yum.repos.d/vendor.repo", f"[vendor]\nname=Vendor\nbaseurl=file://{third}\nenabled=1\ngpgcheck=0\n")
        for m, s in self.streams.items():
            put(f"/etc/dnf/modules.d/{m}.module", f"[{m}]\nname={m}\nprofiles=\nstate={'enabled' if s else 'disabled'}\nstream={s or ''}\n")
        for m, s, ctx, pkgs in self.u.streams["source"]:
            # dnf keeps the document of an enabled stream, in case that its repository goes
            if self.streams.get(m) == s:
                put(f"/var/lib/dnf/modulefailsafe/{m}:{s}:x86_64.yaml", modulemd([(m, s, ctx, pkgs)], {}))
        if self.lock:
            put("/etc/dnf/plugins/versionlock.conf", "[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n")
            put("/etc/dnf/plugins/versionlock.list", "".join(x + "\n" for x in self.lock))
        write_repo(third, self.vendor_repo)
        mirror = os.path.join(d, "mirror")
        repos = {"baseos": "BaseOS", "appstream": "AppStream", "crb": "PowerTools" if e == 8 else "CRB", "extras": "extras"}
        for kind, path in repos.items():
            write_repo(f"{mirror}/{e}/{path}/x86_64/os", [p for p in self.u.alma if p.repo == kind], self.u.module_yaml("alma") if kind == "appstream" else "")
        on = ["baseos", "appstream", "extras"] + (["crb"] if self.crb else [])
        meta = {"number": self.number, "distro": self.distro, "major": e, "dbpath": dbpath, "root": root, "mirror": mirror, "third": third, "features": self.features, "crb": self.crb,
                "installed": len(self.installed), "alma": len(self.u.alma), "repos": {k: f"{mirror}/{e}/{repos[k]}/x86_64/os" for k in on},
                "remove": sorted(self.u.swaps), "add": sorted({x for to in self.u.swaps.values() for x in to}),
                # as AlmaLinux names them
                "streams": {m: self.alma_stream(m, s) for m, s in self.streams.items()}}
        with open(os.path.join(d, "host.json"), "w") as f:
            json.dump(meta, f, indent=1)
        return meta
