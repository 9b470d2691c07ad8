"""What a package is in the lab, and how its spec file is written.

The packages are shells: names, versions, dependencies, file paths, flags and
scriptlets are what matters to a migration; content is a line of text.
"""
import dataclasses
import os
import platform
import re

ARCH = platform.machine()
# the name of the other half of a multilib pair, empty where there is none
COMPAT = {"x86_64": "i686"}.get(ARCH, "")


@dataclasses.dataclass
class Pkg:
    """One binary package. evr is "[epoch:]version-release"."""
    name: str
    evr: str
    arch: str = "noarch"
    repo: str = "baseos"        # repository of its distribution, "local" for none
    provides: list = dataclasses.field(default_factory=list)
    requires: list = dataclasses.field(default_factory=list)
    obsoletes: list = dataclasses.field(default_factory=list)
    conflicts: list = dataclasses.field(default_factory=list)
    recommends: list = dataclasses.field(default_factory=list)
    files: dict = dataclasses.field(default_factory=dict)    # path -> File
    scripts: dict = dataclasses.field(default_factory=dict)  # "post" or "post -p <lua>" -> text
    label: str = ""             # modularity label name:stream:version:context
    install: bool = True        # a part of the lab's hosts
    source: str = ""            # source package; "" is the distribution's collective one
    vendor: str = ""            # "" is the distribution's own
    key: str = ""               # the key that signs; "" is the distribution's, "none" leaves it unsigned

    @property
    def epoch(self):
        return self.evr.split(":")[0] if ":" in self.evr else "0"

    @property
    def version(self):
        return self.evr.split(":")[-1].rsplit("-", 1)[0]

    @property
    def release(self):
        return self.evr.rsplit("-", 1)[1]

    @property
    def filename(self):
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    @property
    def nevra(self):
        """With the epoch always there, as modulemd artifacts have it."""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.arch}"


@dataclasses.dataclass
class File:
    """A file of a package: text, a symlink (link=target) or a folder (dir=True)."""
    text: str = ""
    link: str = ""
    dir: bool = False
    flags: str = ""             # "%config(noreplace)", "%doc", "%ghost"
    mode: str = ""


def conf(text):
    return File(text, flags="%config(noreplace)")


def config(text):
    return File(text, flags="%config")


def link(target, flags=""):
    return File(link=target, flags=flags)


def specs(pkgs, vendor):
    """Groups packages into spec files: yields (spec name, rpmbuild target, packages, text).

    One spec per source package; the second version of a name goes to a spec of
    its own, and so does what is built for another architecture.
    """
    groups = {}
    seen = {}
    for p in pkgs:
        target = p.arch if p.arch not in ("noarch", ARCH) else ARCH
        # a named source makes packages of one kind: its main package may be noarch, and then all are
        arch = p.arch if p.source else target
        k = (p.source, arch, p.name)
        seen[k] = seen.get(k, -1) + 1
        groups.setdefault((p.source, arch, target, p.vendor or vendor, seen[k]), []).append(p)
    for (source, arch, target, vend, i), ps in groups.items():
        name = source or "lab-collection"
        yield f"{name}-{arch}-{re.sub('[^A-Za-z]', '', vend)}-{i}", target, ps, _spec(name, ps, vend)


def _spec(source, pkgs, vendor):
    # the source package takes name and version of one of its binary packages, so that sourcerpm reads as in a real build
    main = next((p for p in pkgs if p.name == source), None)
    text, inst, lists = [], ["%install"], []
    if main is None:
        first = pkgs[0]
        text.append(f"Name: {source}\nVersion: {first.version}\nRelease: {first.release}\nSummary: {source} of the lab\nLicense: MIT\n"
                    f"Vendor: {vendor}\nURL: https://{source}.invalid/\n%description\n{source} of the lab.\n")
    for p in sorted(pkgs, key=lambda p: p is not main):
        n = "" if p is main else f"-n {p.name}"
        tags = [f"Name: {p.name}\nLicense: MIT\nVendor: {vendor}\nURL: https://{source}.invalid/" if p is main else f"%package {n}",
                f"Version: {p.version}", f"Release: {p.release}", f"Summary: {p.name} of the lab", "AutoReqProv: no"]
        if p.epoch != "0":
            tags.append(f"Epoch: {p.epoch}")
        if p.arch == "noarch":
            tags.append("BuildArch: noarch")
        if p.label:
            tags.append(f"ModularityLabel: {p.label}")
        for tag in ("provides", "requires", "obsoletes", "conflicts", "recommends"):
            tags += [f"{tag.capitalize()}: {d}" for d in getattr(p, tag)]
        text.append("\n".join(tags) + f"\n%description {n}\n{p.name} is a package of the lab.\n")
        for when, script in p.scripts.items():
            kind, _, how = when.partition(" ")
            text.append(f"%{kind} {n} {how}\n{script}\n")
        lists.append(f"%files {n}")
        for path, f in p.files.items():
            inst += _install(p, path, f)
            lists.append(f"{'%dir ' if f.dir else ''}{f.flags + ' ' if f.flags else ''}{path}")
    return "\n".join(text) + "\n" + "\n".join(inst) + "\n" + "\n".join(lists) + "\n"


def _install(p, path, f):
    # several packages of one spec may hold the same path (a release package of two versions does not, but the
    # folders do): rpmbuild has one buildroot per spec, so their content must not differ
    at = "%{buildroot}" + path
    out = [f"mkdir -p {os.path.dirname(at)}"]
    if f.dir:
        out.append(f"mkdir -p {at}")
    elif f.link:
        out.append(f"ln -sfn {f.link} {at}")
    else:
        text = f.text if f.text.endswith("\n") else f.text + "\n"
        # % stands for macros in a spec, also inside a here document
        out.append(f"cat > {at} <<'LAB_EOF'\n" + text.replace("%", "%%") + "LAB_EOF")
    if f.mode:
        out.append(f"chmod {f.mode} {at}")
    return out
