"""Data for the speed yardstick (perf): metadata of a given size, and specs of packages taken from metadata.

perfdata.py metadata REPO N SEED            writes REPO/repodata of N invented packages
perfdata.py specs OUT N REPODATA...         writes spec files of about N packages of these repositories, closed under requires
"""
import gzip
import hashlib
import os
import random
import re
import sys
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

COMMON = "{http://linux.duke.edu/metadata/common}"
RPM = "{http://linux.duke.edu/metadata/rpm}"
FILELISTS = "{http://linux.duke.edu/metadata/filelists}"
WORDS = ("lib core tools devel common server client utils data perl python3 java glib gtk qt kernel net sec crypto font lang doc plugin driver "
         "agent proxy cache mail web db xml json log auth").split()


# ---- metadata -------------------------------------------------------------------

def metadata(repo, n, seed):
    r = random.Random(seed)
    rd = os.path.join(repo, "repodata")
    os.makedirs(rd, exist_ok=True)
    provided = []
    desc = ("This package contains what is needed to run the program, its plugins & the data they share. It is as long as the description of a real package, "
            "with several sentences, a list of features and a closing remark about <where> to look for more.\n") * 2
    with open(rd + "/primary.xml", "w") as p, open(rd + "/filelists.xml", "w") as f:
        p.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns="{COMMON[1:-1]}" xmlns:rpm="{RPM[1:-1]}" packages="{n}">\n')
        f.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<filelists xmlns="{FILELISTS[1:-1]}" packages="{n}">\n')
        for i in range(n):
            name = f"{r.choice(WORDS)}-{r.choice(WORDS)}{seed}{i:05d}"
            ver, rel, arch = f"{1 + i % 5}.{r.randrange(20)}.{i % 11}", f"{10 + i % 30}.el9", "noarch" if i % 3 == 0 else "x86_64"
            pkgid = hashlib.sha256(f"{name}-{ver}-{rel}".encode()).hexdigest()
            prov = [f"lib{name}-{j}.so.{j + 1}({name[:4].upper()}_1.{j}.0)(64bit)" for j in range(int(r.expovariate(1 / 5)))]
            req = sorted({r.choice(provided) for _ in range(int(r.expovariate(1 / 9)))}) if provided else []
            provided += prov or [name]
            files = [f"/usr/bin/{name}"] + [f"/usr/share/{name}/{r.choice(WORDS)}/{r.choice(WORDS)}-{j}.{r.choice(('py', 'html', 'mo', 'png'))}" for j in range(min(int(r.expovariate(1 / 100)), 3000))]
            p.write(f'<package type="rpm">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  <version epoch="0" ver="{ver}" rel="{rel}"/>\n'
                    f'  <checksum type="sha256" pkgid="YES">{pkgid}</checksum>\n  <summary>Package {i} &amp; its files</summary>\n  <description>{escape(desc)}</description>\n'
                    f'  <packager>builder@lab.invalid</packager>\n  <url>https://example.invalid/{name}</url>\n  <time file="1700000000" build="1690000000"/>\n'
                    f'  <size package="{20000 + i}" installed="{80000 + i}" archive="{90000 + i}"/>\n<location href="Packages/{name}-{ver}-{rel}.{arch}.rpm"/>\n  <format>\n'
                    f'    <rpm:license>GPLv2+ and MIT</rpm:license>\n    <rpm:vendor>AlmaLinux</rpm:vendor>\n    <rpm:group>Unspecified</rpm:group>\n    <rpm:buildhost>x64-builder01.almalinux.invalid</rpm:buildhost>\n'
                    f'    <rpm:sourcerpm>{name}-{ver}-{rel}.src.rpm</rpm:sourcerpm>\n    <rpm:header-range start="4504" end="{20000 + i}"/>\n    <rpm:provides>\n'
                    f'      <rpm:entry name="{name}" flags="EQ" epoch="0" ver="{ver}" rel="{rel}"/>\n')
            p.writelines(f"      <rpm:entry name={quoteattr(x)}/>\n" for x in prov)
            p.write("    </rpm:provides>\n")
            if req:
                p.write("    <rpm:requires>\n")
                p.writelines(f"      <rpm:entry name={quoteattr(x)}/>\n" for x in req)
                p.write("    </rpm:requires>\n")
            p.write(f"    <file>{files[0]}</file>\n  </format>\n</package>\n")
            f.write(f'<package pkgid="{pkgid}" name="{name}" arch="{arch}">\n  <version epoch="0" ver="{ver}" rel="{rel}"/>\n')
            f.writelines(f"  <file>{x}</file>\n" for x in files)
            f.write("</package>\n")
        p.write("</metadata>\n")
        f.write("</filelists>\n")
    data = ""
    for kind in ("primary", "filelists"):
        with open(f"{rd}/{kind}.xml", "rb") as f:
            plain = f.read()
        os.remove(f"{rd}/{kind}.xml")
        packed = gzip.compress(plain, 9, mtime=0)
        digest = hashlib.sha256(packed).hexdigest()
        with open(f"{rd}/{digest}-{kind}.xml.gz", "wb") as f:
            f.write(packed)
        data += (f'  <data type="{kind}">\n    <checksum type="sha256">{digest}</checksum>\n    <open-checksum type="sha256">{hashlib.sha256(plain).hexdigest()}</open-checksum>\n'
                 f'    <location href="repodata/{digest}-{kind}.xml.gz"/>\n    <timestamp>1700000000</timestamp>\n    <size>{len(packed)}</size>\n    <open-size>{len(plain)}</open-size>\n  </data>\n')
    with open(f"{rd}/repomd.xml", "w") as f:
        f.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="{RPM[1:-1]}">\n  <revision>1700000000</revision>\n{data}</repomd>\n')


# ---- specs ----------------------------------------------------------------------

def read(repodata):
    """The packages of a repository, as dictionaries; files from filelists where it has them."""
    pkgs = []
    by_id = {}
    for f in sorted(os.listdir(repodata), key=lambda n: "filelists" in n):
        path = os.path.join(repodata, f)
        if f.endswith("primary.xml.gz"):
            for _, e in ET.iterparse(gzip.open(path)):
                if e.tag != COMMON + "package":
                    continue
                v, fmt = e.find(COMMON + "version"), e.find(COMMON + "format")
                deps = lambda kind: [(x.get("name"), x.get("flags"), (x.get("epoch"), x.get("ver"), x.get("rel"))) for x in fmt.find(RPM + kind) or ()]
                p = {"name": e.findtext(COMMON + "name"), "arch": e.findtext(COMMON + "arch"), "evr": (v.get("epoch"), v.get("ver"), v.get("rel")),
                     "provides": deps("provides"), "requires": deps("requires"), "files": [x.text for x in fmt.findall(COMMON + "file")],
                     "summary": e.findtext(COMMON + "summary"), "description": e.findtext(COMMON + "description"), "source": fmt.findtext(RPM + "sourcerpm")}
                by_id[e.findtext(COMMON + "checksum")] = p
                pkgs.append(p)
                e.clear()
        elif f.endswith("filelists.xml.gz"):
            for _, e in ET.iterparse(gzip.open(path)):
                if e.tag == FILELISTS + "package":
                    if e.get("pkgid") in by_id:
                        by_id[e.get("pkgid")]["files"] = [x.text for x in e.findall(FILELISTS + "file") if x.get("type") is None]
                    e.clear()
    return pkgs


SEEDS = ("bash systemd dnf openssh-server NetworkManager firewalld httpd nginx postgresql-server mariadb-server php nodejs python3 gcc git vim-enhanced tuned "
         "podman cockpit chrony rsyslog kernel sssd samba bind tomcat perl gnome-shell firefox qemu-kvm libvirt ansible-core").split()


def choose(pkgs, n):
    """About n packages, one of each name and arch, with a provider for each of their requirements where there is one."""
    best, provider = {}, {}
    for p in pkgs:
        if p["arch"] in ("i686", "src"):
            continue
        best[p["name"]] = p          # the later ones in the file are newer, mostly: any will do
    for p in best.values():
        for d in p["provides"]:
            provider.setdefault(d[0], p["name"])
        for f in p["files"]:
            provider.setdefault(f, p["name"])
    order = [s for s in SEEDS if s in best] + sorted(set(best) - set(SEEDS), key=lambda s: hashlib.sha256(s.encode()).digest())
    chosen = {}
    for seed in order:
        todo = [seed]
        while todo and len(chosen) < n:
            name = todo.pop()
            if name in chosen or name.startswith(("centos-", "almalinux-")):
                continue
            chosen[name] = best[name]
            todo += [provider[d[0]] for d in best[name]["requires"] if d[0] in provider]
        if len(chosen) >= n:
            break
    return list(chosen.values())


def specs(out, n, repodata):
    pkgs = choose([p for r in repodata for p in read(r)], n)
    r = random.Random(1)
    owned = set()
    plain = re.compile(r"^/[A-Za-z0-9._+/@:=,-]+$")
    dep = lambda d: d[0] + (f" {dict(EQ='=', LT='<', GT='>', LE='<=', GE='>=')[d[1]]} {d[2][0] + ':' if d[2][0] not in (None, '0') else ''}{d[2][1]}{'-' + d[2][2] if d[2][2] else ''}" if d[1] else "")
    os.makedirs(out, exist_ok=True)
    # by number of files, so that the parts take the same time
    parts = max(2, os.cpu_count() or 2)
    for k in range(parts):
        head = [f"Name: perf-world-{k}\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nVendor: CentOS\n%description\nx\n"]
        lists, files = [], []
        for i, p in list(enumerate(pkgs))[k::parts]:
            name, (epoch, ver, rel) = p["name"], p["evr"]
            if i % 3 == 1:
                rel = "0." + rel      # a third is newer in the repository
            mine = [f for f in p["files"] if plain.match(f) and "/../" not in f]
            if len(mine) < 5:
                mine += [f"/usr/share/{name}/{r.choice(WORDS)}/{r.choice(WORDS)}-{j}.{r.choice(('py', 'html', 'mo', 'png'))}" for j in range(min(int(r.expovariate(1 / 120)), 3000))]
            # one buildroot for all: no file twice, none that is another's folder
            mine = [f for f in dict.fromkeys(mine) if f not in owned]
            owned.update(mine)
            own = f"{epoch + ':' if epoch != '0' else ''}{ver}-{rel}"
            arch = "BuildArch: noarch\n" if p["arch"] == "noarch" else ""
            head.append(f"%package -n {name}\nVersion: {ver}\nRelease: {rel}\nEpoch: {epoch}\nSummary: {(p['summary'] or name).replace('%', '%%')}\n{arch}AutoReqProv: no\n")
            head += [f"Provides: {dep(d) if d[2] != p['evr'] else d[0] + ' = ' + own}\n" for d in p["provides"] if d[0] != name and "%" not in d[0]]
            head += [f"Requires: {dep(d)}\n" for d in p["requires"] if "%" not in d[0] and not d[0].startswith("rpmlib(") and d[2] != p["evr"]]
            head.append(f"%description -n {name}\n{(p['description'] or name).replace('%', '%%')}\n")
            lists.append(f"%files -n {name}\n" + "".join(f + "\n" for f in mine))
            files += mine
        folders = {os.path.dirname(f) for f in files}
        files = [f for f in files if f not in folders and not any(d in owned for d in _above(f))]
        keep = set(files)
        lists = ["\n".join(x for x in t.split("\n") if not x.startswith("/") or x in keep) for t in lists]
        with open(f"{out}/{k}.files", "w") as f:
            f.write("".join(x[1:] + "\n" for x in files))
        with open(f"{out}/{k}.spec", "w") as f:
            f.write("".join(head) + f"%install\nmkdir -p %{{buildroot}}; cd %{{buildroot}}; sed 's|/[^/]*$||' {out}/{k}.files | sort -u | xargs -d '\\n' mkdir -p; xargs -d '\\n' -n 2000 touch < {out}/{k}.files\n"
                    + "\n".join(lists) + "\n%changelog\n" + "".join(f"* Mon Jan 01 2024 A Packager <packager@lab.invalid> - 1.{60 - j}-1\n- Rebuilt, resolves rhbz#{2000000 + j} and two other things\n\n" for j in range(40)))


def _above(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path


if __name__ == "__main__":
    if sys.argv[1] == "metadata":
        metadata(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        specs(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
