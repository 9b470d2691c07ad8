"""Two sides of a distribution, made from a seed: what the source has, and what AlmaLinux has in its place.

Packages are made from components with abstract dependencies ("needs library 4", "needs exactly the version of tool 7"), which are
written out with each side's own versions: so each side holds together in itself, as real ones do, and what breaks at the border
between them is what this is about.
"""
from formats import P, modulemd

DISTROS = [("centos", 8), ("centos-stream", 9), ("rocky", 9), ("oracle", 8), ("rhel", 9), ("rocky", 8), ("oracle", 9), ("centos-stream", 10)]


class Component:
    def __init__(self, name, kind, needs=()):
        self.name, self.kind, self.needs = name, kind, list(needs)
        self.arch, self.multilib, self.repo = "x86_64", False, "baseos"
        self.files, self.virtual, self.conflicts = [], "", []
        self.module = ""
        self.ver = {}       # side -> evr
        self.so = {}        # side -> (major, number of symbol versions)
        self.alma_name = name


def evr_text(evr):
    e, v, r = evr
    return (f"{e}:" if e else "") + f"{v}-{r}"


class Universe:
    def __init__(self, rng, distro, major):
        self.rng, self.distro, self.major = rng, distro, major
        self.dist = f".el{major}"
        self.comps = []
        self.by = {}
        self.build()
        self.fates()
        self.source = self.render("source")
        self.alma = self.render("alma")
        self.identity()
        self.kernels()
        self.modules()
        self.extras()
        for p in self.alma:
            p.vendor = "AlmaLinux"

    def add(self, c):
        self.comps.append(c)
        self.by[c.name] = c
        return c

    # ---- components ---------------------------------------------------------------

    def build(self):
        rng = self.rng
        self.libs, self.tools, self.devel = [], [], []
        for i in range(26):
            c = self.add(Component(f"lib{i:02d}", "lib"))
            c.multilib = rng.random() < 0.35
            c.repo = "baseos" if i < 18 else "appstream"
            for j in rng.sample(range(i), min(i, rng.randint(0, 2))):
                c.needs.append(self.lib_need(self.libs[j]))
            if c.multilib:
                c.needs = [n for n in c.needs if self.by[n[1]].multilib]
            c.files = [f"/usr/lib64/lib{i:02d}.so", f"/usr/share/doc/{c.name}/README"]
            self.libs.append(c)
        for i in range(64):
            c = self.add(Component(f"tool{i:02d}", "tool"))
            c.arch = "noarch" if rng.random() < 0.2 else "x86_64"
            c.repo = "baseos" if i < 34 else "appstream"
            c.files = [f"/usr/bin/{c.name}", f"/etc/{c.name}.conf", f"/usr/libexec/{c.name}/helper", f"/usr/share/{c.name}/data"]
            for _ in range(rng.randint(0, 3)):
                c.needs.append(self.lib_need(rng.choice(self.libs)))
            for _ in range(rng.choice([0, 0, 1, 1, 2])):
                if self.tools:
                    c.needs.append(self.tool_need(rng.choice(self.tools)))
            if i % 8 == 3 and i > 8:
                # a pair that needs each other in the same version
                sub = self.add(Component(f"{c.name}-common", "tool"))
                sub.arch, sub.repo, sub.files = "noarch", c.repo, [f"/usr/share/{c.name}-common/data"]
                c.needs.append(("exact", sub.name))
                if rng.random() < 0.5:
                    sub.needs.append(("exact", c.name))
                sub.pair = c
                self.tools.append(sub)
            self.tools.append(c)
        for v in ("smtpd", "webserver"):
            group = []
            for i in range(3):
                c = self.add(Component(f"{v}-{'abc'[i]}", "tool"))
                c.virtual, c.repo = v, "appstream"
                c.files = [f"/usr/sbin/{c.name}"]
                c.needs = [self.lib_need(rng.choice(self.libs))]
                group.append(c)
            if v == "smtpd":
                for c in group:
                    c.conflicts = [("name", x.name) for x in group if x is not c and rng.random() < 0.4]
            for c in rng.sample(self.tools, 2):
                if not c.name.endswith("-common"):
                    c.needs.append(("virtual", v))
        for i in range(10):
            lib = rng.choice(self.libs)
            c = self.add(Component(f"{lib.name}-devel" if f"{lib.name}-devel" not in self.by else f"headers{i}", "devel"))
            c.repo = "crb"
            c.needs = [("exact", lib.name)]
            self.devel.append(c)

    def lib_need(self, lib):
        return ("soname", lib.name, self.rng.choice([0, 1, 1, 2]))

    def tool_need(self, t):
        rng = self.rng
        kind = rng.choice(["name", "name", "ge", "file", "file", "rich"])
        if kind == "file":
            return ("file", t.name, rng.choice(t.files))
        if kind == "rich":
            u = rng.choice(self.tools)
            return ("rich", rng.choice(["({a} if {b})", "({a} or {b})", "({a} and {b})", "({a} >= {va} with {a})", "(({a} or {b}) if {a})", "({a} if {b} else {a})"]), t.name, u.name)
        return (kind, t.name)

    # ---- what becomes of each -----------------------------------------------------

    def fates(self):
        rng = self.rng
        for c in self.comps:
            v, r = f"{rng.randint(1, 5)}.{rng.randint(0, 9)}", rng.randint(1, 20)
            e = rng.choice([0] * 12 + [1, 2])
            src = (e, v, f"{r}{self.dist}")
            so = (rng.randint(1, 9), rng.randint(1, 3))
            fate = rng.choices(["same", "release", "version", "older", "missing", "renamed", "epoch", "alma"], [40, 18, 12, 7, 3, 2, 2, 3])[0]
            if getattr(c, "pair", None):
                fate = ""
            if c.virtual and fate in ("renamed",):
                fate = "same"
            c.ver["source"], c.so["source"], c.so["alma"] = src, so, so
            if fate == "same":
                c.ver["alma"] = src
            elif fate == "release":
                c.ver["alma"] = (e, v, f"{r + rng.randint(1, 3)}{self.dist}_10")
            elif fate == "alma":
                c.ver["alma"] = (e, v, f"{r}{self.dist}.alma.1")
            elif fate == "version":
                c.ver["alma"] = (e, f"{v}.{rng.randint(1, 5)}", f"1{self.dist}")
                if rng.random() < 0.25:
                    c.so["alma"] = (so[0] + 1, so[1])
                elif rng.random() < 0.5:
                    c.so["alma"] = (so[0], so[1] + 1)
            elif fate == "older":
                c.ver["alma"] = (e, v, f"{max(r - 2, 0)}{self.dist}")
                if so[1] > 1 and rng.random() < 0.4:
                    c.so["alma"] = (so[0], so[1] - 1)
            elif fate == "epoch":
                c.ver["alma"] = (e + 1, v, f"1{self.dist}")
            elif fate == "renamed":
                c.ver["alma"] = (e, f"{v}.9", f"1{self.dist}")
                c.alma_name = c.name + "-ng"
            if c.arch != "noarch" and c.kind == "tool" and not c.virtual and rng.random() < 0.04 and "alma" in c.ver:
                c.alma_arch = "noarch"
            if c.kind == "tool" and c.repo == "appstream" and rng.random() < 0.04 and not c.virtual and not getattr(c, "pair", None):
                c.alma_repo = "crb"
        for c in self.comps:
            if getattr(c, "pair", None):
                # one source package: one fate
                p = c.pair
                p.alma_name = p.name
                p.ver.setdefault("alma", p.ver["source"])
                p.alma_repo = p.repo
                c.ver = dict(p.ver)
                c.so = dict(p.so)

    # ---- writing out --------------------------------------------------------------

    def has(self, name, side):
        return side in self.by[name].ver

    def on(self, name, side):
        """The package name of a component on a side."""
        return self.by[name].alma_name if side == "alma" else name

    def soname(self, lib, sym, side, bits):
        major, n = self.by[lib].so[side]
        s = f"({lib.upper()}_{major}.{min(sym, n) - 1})" if sym else ""
        return f"{lib}.so.{major}{'()' if not sym else ''}{s}{'(64bit)' if bits == 64 else ''}" if sym or bits == 64 else f"{lib}.so.{major}"

    def write_need(self, n, side, bits=64):
        """The dependencies that an abstract one is on a side; none where the side has no such package."""
        kind = n[0]
        if kind == "soname":
            _, lib, sym = n
            if not self.has(lib, side):
                return []
            out = [(self.soname(lib, 0, side, bits), "", "")]
            return out + ([(self.soname(lib, sym, side, bits), "", "")] if sym else [])
        if kind == "virtual":
            return [(n[1], "", "")]
        if kind == "rich":
            _, text, a, b = n
            if not (self.has(a, side) and self.has(b, side)):
                return []
            return [(text.format(a=self.on(a, side), b=self.on(b, side), va=evr_text(self.by[a].ver[side])), "", "")]
        c = self.by[n[1]]
        if not self.has(c.name, side):
            return []
        evr, name = evr_text(c.ver[side]), self.on(c.name, side)
        if kind == "name":
            return [(name, "", "")]
        if kind == "ge":
            return [(name, ">=", evr)]
        if kind == "exact":
            isa = "(x86-64)" if c.arch != "noarch" and getattr(c, "alma_arch" if side == "alma" else "arch", c.arch) != "noarch" else ""
            return [(name + isa, "=", evr)]
        return [(n[2], "", "")]     # file

    def render(self, side):
        rng, out = self.rng, []
        for c in self.comps:
            if side not in c.ver:
                continue
            alma = side == "alma"
            name, evr = self.on(c.name, side), c.ver[side]
            repo = getattr(c, "alma_repo", c.repo) if alma else c.repo
            arch = getattr(c, "alma_arch", c.arch) if alma else c.arch
            for bits in (64, 32) if c.multilib else (64,):
                p = P(name, evr, arch if bits == 64 else "i686", repo=repo, files=list(c.files))
                if c.kind == "lib":
                    p.provides = [(self.soname(c.name, s, side, bits), "", "") for s in range(c.so[side][1] + 1)]
                    if bits == 32:
                        p.files = [f.replace("lib64", "lib") for f in p.files]
                if c.virtual:
                    p.provides.append((c.virtual, "", ""))
                for n in c.needs:
                    p.requires += self.write_need(n, side, bits)
                for n in c.conflicts:
                    if self.has(n[1], side):
                        p.conflicts.append((self.on(n[1], side), "", ""))
                if alma and c.alma_name != c.name:
                    old = evr_text(evr)
                    p.obsoletes.append((c.name, "<", old))
                    if rng.random() < 0.6:
                        p.provides.append((c.name, "=", old))
                p.requires = list(dict.fromkeys(p.requires))
                p.comp = c
                out.append(p)
        return out

    # ---- special packages ---------------------------------------------------------

    def identity(self):
        e, d = self.major, self.dist
        evr = {8: (0, "8.5", "1.el8"), 9: (0, "9.4", "1.el9"), 10: (0, "10.0", "1.el10")}[e]
        v = evr_text(evr)
        sysprov = [("system-release", "=", v), ("redhat-release", "=", v), ("system-release(releasever)", "=", str(e))]
        cen = [("centos-release", "=", v)]
        rel = {"centos": "centos-linux", "centos-stream": "centos-stream", "rocky": "rocky"}.get(self.distro)
        relfiles = ["/etc/redhat-release", "/etc/os-release", "/usr/lib/os-release", "/etc/system-release"]
        if rel:
            keys = "rocky-gpg-keys" if rel == "rocky" else "centos-gpg-keys"
            ids = [P(f"{rel}-release", evr, "noarch", sysprov + cen, [(f"{rel}-repos", "=", v)], files=relfiles + [f"/etc/{rel.split('-')[0]}-release"]),
                   P(f"{rel}-repos", evr, "noarch", requires=[(keys, "=", v)], files=["/etc/yum.repos.d/source.repo"]), P(keys, evr, "noarch")]
            logos = rel.split("-")[0] + "-logos"
        elif self.distro == "oracle":
            ids = [P("oraclelinux-release", (4,) + evr[1:], provides=sysprov[:1], requires=[("redhat-release", "", "")], files=["/etc/os-release", "/usr/lib/os-release", "/etc/oracle-release"]),
                   P(f"oraclelinux-release-el{e}", evr, requires=[("oraclelinux-release", "", "")], files=["/etc/yum.repos.d/source.repo"]),
                   P("redhat-release", (3,) + evr[1:], files=["/etc/redhat-release"])]
            logos = "oracle-logos"
        else:
            ids = [P("redhat-release", evr, provides=sysprov[:1], files=relfiles), P("redhat-release-eula", evr)]
            logos = "redhat-logos"
        lev = (0, f"{e}0.5", f"1{d}")
        ids.append(P(logos, lev, "noarch", [("system-logos", "=", f"{e}0.5"), ("redhat-logos", "=", f"{e}0.5")] if logos != "redhat-logos" else [("system-logos", "=", f"{e}0.5")], files=["/usr/share/pixmaps/system-logo.png"]))
        self.ids = ids
        aevr = (0, f"{e}.10" if e == 8 else f"{e}.6", f"1.el{e}")
        a = evr_text(aevr)
        aprov = [("system-release", "=", a), ("redhat-release", "=", a), ("centos-release", "=", a), ("system-release(releasever)", "=", str(e))]
        self.alma.append(P("almalinux-release", aevr, provides=aprov, requires=[("almalinux-repos", "=", a)] if e > 8 else [], files=relfiles + ["/etc/almalinux-release"]))
        if e > 8:
            self.alma.append(P("almalinux-repos", aevr, requires=[("almalinux-gpg-keys", "=", a)]))
            self.alma.append(P("almalinux-gpg-keys", aevr))
        self.alma.append(P("almalinux-logos", (0, f"{e}0.9", f"1{d}"), "noarch", [("system-logos", "=", f"{e}0.9"), ("redhat-logos", "=", f"{e}0.9")], files=["/usr/share/pixmaps/system-logo.png"]))
        self.swaps = {p.name: ["almalinux-logos"] if p is ids[-1] else ["almalinux-release"] for p in ids}

    def kernels(self):
        self.kernel_source, rng = [], self.rng
        base = {8: "4.18.0", 9: "5.14.0", 10: "6.12.0"}[self.major]
        new = rng.random() < 0.7
        for side, builds in (("source", [300, 348]), ("alma", [348, 553] if new else [300, 348])):
            for b in builds:
                evr = (0, base, f"{b}{self.dist}")
                v, ku = evr_text(evr), f"{base}-{b}{self.dist}.x86_64"
                crc = f"0x{(b if b > 400 else 1) * 7919:08x}"
                core = P("kernel-core", evr, provides=[("kernel-uname-r", "=", ku), ("installonlypkg(kernel)", "", ""), ("kernel(printk)", "=", "0x00001111"), ("kernel(blk_changed)", "=", crc)])
                mods = P("kernel-modules", evr, provides=[("installonlypkg(kernel-module)", "", ""), ("kernel-modules-uname-r", "=", ku)], requires=[("kernel-uname-r", "=", ku)])
                k = P("kernel", evr, provides=[("installonlypkg(kernel)", "", "")], requires=[("kernel-core(x86-64)", "=", v), ("kernel-modules(x86-64)", "=", v)])
                if side == "alma":
                    self.alma += [core, mods, k]
                else:
                    self.kernel_source += [core, mods, k]

    def modules(self):
        rng = self.rng
        self.streams = {"source": [], "alma": []}
        self.defaults = {"source": {}, "alma": {}}
        self.modular = []       # (module, stream, [source packages])
        ol = {"rhel8": "ol8"} if self.distro == "oracle" and self.major == 8 else {}
        for m, streams in (("node", ["18", "20"]), ("cont", ["rhel8"] if self.major == 8 else ["4.0"]), ("data", ["10", "13"])):
            for k, s in enumerate(streams):
                lib = rng.choice(self.libs)
                v = s if s[0].isdigit() else "4"
                lost = rng.random() < 0.12
                made = {}
                for side in ("source", "alma"):
                    if side == "alma" and lost:
                        continue
                    rel = f"{3 if side == 'source' or rng.random() < 0.5 else rng.choice([2, 4, 5])}.module{self.dist}"
                    name = ol.get(s, s) if side == "source" else s
                    ctx = f"{abs(hash_of(m + s)) % (1 << 32):08x}"
                    ev = (1, f"{v}.1", rel)
                    a = P(f"{m}-app", ev, requires=[(f"{m}-base", "=", evr_text(ev))] + self.write_need(("soname", lib.name, 0), side), label=f"{m}:{name}:8000020240101:{ctx}", repo="appstream")
                    b = P(f"{m}-base", ev, files=[f"/usr/bin/{m}"], provides=[(f"{m}(abi)", "=", v)], label=a.label, repo="appstream")
                    made[side] = [a, b]
                    self.streams[side].append((m, name, ctx, [a, b]))
                    if side == "alma":
                        self.alma += [a, b]
                self.modular.append((m, ol.get(s, s), made["source"], s))
                if k == 0 and (self.major == 8 or rng.random() < 0.3) and not lost:
                    self.defaults["source"][m], self.defaults["alma"][m] = ol.get(s, s), s
            if rng.random() < 0.5:
                # not modular, of the same name
                self.alma.append(P(f"{m}-base", (1, "9.0", f"1{self.dist}"), files=[f"/usr/bin/{m}"], repo="appstream"))

    def extras(self):
        """What only AlmaLinux has, and where it does not hold together."""
        rng, d = self.rng, self.dist
        self.alma.append(P("almalinux-only", (0, "1.0", f"1{d}"), "noarch"))
        for i in range(4):
            self.alma.append(P(f"fresh{i}", (0, "1.0", f"1{d}"), requires=self.write_need(self.lib_need(rng.choice(self.libs)), "alma"), files=[f"/usr/bin/fresh{i}"],
                               conflicts=[("vendor-blocker", "", "")] if i == 3 else [], repo="crb" if i == 2 else "appstream"))
        tools = [p for p in self.alma if getattr(p, "comp", None) and p.comp.kind == "tool"]
        # several could do the same: the first may lack something or clash with what is there
        self.alma += [P("newd-a", (0, "1.0", f"1{d}"), provides=[("newd", "", "")], requires=[(rng.choice(["fresh2", "fresh0", "not-there", "fresh3"]), "", "")], repo="appstream"),
                      P("newd-bb", (0, "1.0", f"1{d}"), provides=[("newd", "", "")], conflicts=[(rng.choice(["vendor-plain", "newd-a", "vendor-blocker"]), "", "")], repo="appstream"),
                      P("newd-ccc", (0, "1.0", f"1{d}"), provides=[("newd", "", "")] if rng.random() < 0.6 else [], requires=[("newd-ccc-data", "", "")], repo="appstream"),
                      P("newd-ccc-data", (0, "1.0", f"1{d}"), "noarch", conflicts=[(rng.choice(["vendor-happy", "nothing"]), "", "")], repo="appstream")]
        if rng.random() < 0.6:
            for p in rng.sample(tools, 3):
                if p.evr != p.comp.ver["source"]:
                    p.requires.append(("newd", "", ""))
        # versions that came later need something new
        for p in rng.sample(tools, 5):
            if p.evr != p.comp.ver["source"]:
                p.requires.append((f"fresh{rng.randint(0, 3)}", "", "") if rng.random() < 0.8 else ("/usr/bin/fresh0", "", ""))
        # an older build beside it, as mirrors keep them
        for p in rng.sample(tools, 4):
            old = P(p.name, (p.evr[0], p.evr[1], f"0{d}"), p.arch, list(p.provides), list(p.requires), repo=p.repo, files=list(p.files))
            old.requires = [r for r in old.requires if not r[0].startswith("fresh")]
            self.alma.append(old)
        if rng.random() < 0.15:
            rng.choice(tools).requires.append(("not-uploaded-yet", ">=", "2"))
        if rng.random() < 0.2:
            # AlmaLinux took over what a vendor had
            self.alma.append(P("taken-over", (0, "3.0", f"1{d}"), obsoletes=[("vendor-old", "<", "9")], provides=[("vendor-old", "=", "9")], repo="appstream"))
        if rng.random() < 0.25:
            # obsoletes without an upper bound, a package of its own distribution, and an update of that one is there too
            t = rng.choice([x for x in tools if x.comp.alma_name == x.comp.name and not x.comp.virtual and not getattr(x.comp, "pair", None)])
            self.alma.append(P("merged", (0, "1.0", f"1{d}"), t.arch, obsoletes=[(t.name, "", "")], provides=[(t.name, "=", t.evrs)] + t.provides, files=list(t.files), repo=t.repo))

    def module_yaml(self, side):
        return modulemd(self.streams[side], self.defaults[side])


def hash_of(s):
    import zlib
    return zlib.crc32(s.encode())
