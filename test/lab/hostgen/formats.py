"""Writes what rpm and dnf read: rpm headers, the rpm database, repository metadata.

Packages here have names, versions, dependencies and file names, and no content.
"""
import gzip
import hashlib
import os
import re
import sqlite3
import struct
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

FLAGS = {"": 0, "<": 2, ">": 4, "=": 8, "<=": 10, ">=": 12}
XMLFLAGS = {"<": "LT", ">": "GT", "=": "EQ", "<=": "LE", ">=": "GE"}


@dataclass
class P:
    """One binary package. Dependencies are (name, operator, evr) or (rich text, "", "")."""
    name: str
    evr: tuple                  # epoch, version, release
    arch: str = "x86_64"
    provides: list = field(default_factory=list)
    requires: list = field(default_factory=list)
    conflicts: list = field(default_factory=list)
    obsoletes: list = field(default_factory=list)
    files: list = field(default_factory=list)
    label: str = ""             # name:stream:version:context
    repo: str = "baseos"
    vendor: str = "Source"

    @property
    def evrs(self):
        e, v, r = self.evr
        return (f"{e}:" if e else "") + f"{v}-{r}"

    @property
    def nevra(self):
        return f"{self.name}-{self.evrs}.{self.arch}"

    @property
    def nevra_epoch(self):
        """With the epoch always there, as modulemd artifacts have it."""
        return "%s-%d:%s-%s.%s" % (self.name, *self.evr, self.arch)

    def all_provides(self):
        own = [(self.name, "=", self.evrs)]
        if self.arch != "noarch":
            own.append((f"{self.name}(x86-{32 if self.arch == 'i686' else 64})", "=", self.evrs))
        return own + self.provides


def header(p, installed=1700000000):
    """An rpm header as the database holds it: one immutable region, then what rpm adds at install time."""
    dirs = sorted({os.path.dirname(f).rstrip("/") + "/" for f in p.files})
    files = sorted(p.files)
    tags = {1000: p.name, 1001: p.evr[1], 1002: p.evr[2], 1004: [p.name], 1005: [p.name], 1006: 1700000000, 1007: "builder.invalid", 1009: 100,
            1011: p.vendor, 1014: "none", 1016: ["none"], 1021: "linux", 1022: p.arch, 1044: f"{p.name}.src.rpm", 1124: "cpio", 1125: "gzip"}
    if p.evr[0]:
        tags[1003] = [p.evr[0]]
    if p.label:
        tags[5096] = p.label
    for deps, (n, f, v) in ((p.all_provides(), (1047, 1112, 1113)), (p.requires, (1049, 1048, 1050)), (p.conflicts, (1054, 1053, 1055)), (p.obsoletes, (1090, 1114, 1115))):
        if deps:
            tags[n], tags[f], tags[v] = [d[0] for d in deps], [FLAGS[d[1]] for d in deps], [d[2] for d in deps]
    if files:
        n = len(files)
        tags |= {1028: [0] * n, 1030: ("h", [0o100644] * n), 1033: ("h", [0] * n), 1034: [1700000000] * n, 1035: [""] * n, 1036: [""] * n, 1037: [0] * n,
                 1039: ["root"] * n, 1040: ["root"] * n, 1045: [0xFFFFFFFF] * n, 1095: [1] * n, 1096: list(range(1, n + 1)), 1097: [""] * n,
                 1116: [dirs.index(os.path.dirname(f).rstrip("/") + "/") for f in files], 1117: [os.path.basename(f) for f in files], 1118: dirs}
    index, data = [], b""

    def put(tag, value):
        nonlocal data
        if isinstance(value, tuple):
            typ, raw, count = 3, struct.pack(f">{len(value[1])}H", *value[1]), len(value[1])
            data += b"\0" * (-len(data) % 2)
        elif isinstance(value, str):
            typ, raw, count = 6, value.encode() + b"\0", 1
        elif isinstance(value, int) or isinstance(value[0], int):
            value = [value] if isinstance(value, int) else value
            typ, raw, count = 4, struct.pack(f">{len(value)}I", *value), len(value)
            data += b"\0" * (-len(data) % 4)
        else:
            typ, raw, count = (9 if tag in (1004, 1005, 1016) else 8), b"".join(x.encode() + b"\0" for x in value), len(value)
        index.append((tag, typ, len(data), count))
        data += raw

    for tag in sorted(tags):
        put(tag, tags[tag])
    region = (63, 7, len(data), 16)
    il = len(index) + 1
    data += struct.pack(">IIiI", 63, 7, -il * 16, 16)
    put(1008, installed)
    put(1128, installed)
    return struct.pack(">II", il + 2, len(data)) + b"".join(struct.pack(">IIII", *e) for e in [region] + index) + data


def write_db(root, dbpath, packages):
    """Makes the rpm database of a host; rpm itself makes its tables and indexes."""
    import rpm
    rpm.addMacro("_dbpath", dbpath)
    rpm.addMacro("_db_backend", "sqlite")
    os.makedirs(root + dbpath)
    ts = rpm.TransactionSet(root)
    ts.initDB()
    ts.closeDB()
    db = sqlite3.connect(root + dbpath + "/rpmdb.sqlite")
    db.executemany("insert into Packages values(?, ?)", [(i + 1, p if isinstance(p, bytes) else header(p)) for i, p in enumerate(packages)])
    db.commit()
    db.close()
    ts = rpm.TransactionSet(root)
    ts.rebuildDB()
    ts.closeDB()
    ts = rpm.TransactionSet(root)
    n = sum(1 for _ in ts.dbMatch())
    ts.closeDB()
    if n != len(packages):
        raise SystemExit(f"rpm reads {n} of {len(packages)} packages of {root}")
    db = sqlite3.connect(root + dbpath + "/rpmdb.sqlite")
    db.execute("pragma wal_checkpoint(truncate)")
    db.close()


def _entries(tag, deps):
    if not deps:
        return ""
    out = [f"<rpm:{tag}>"]
    for name, op, evr in deps:
        a = f"<rpm:entry name={quoteattr(name)}"
        if op:
            m = re.fullmatch(r"(?:(\d+):)?([^-]*)(?:-(.*))?", evr)
            a += f' flags="{XMLFLAGS[op]}" epoch="{m[1] or 0}" ver={quoteattr(m[2])}' + (f" rel={quoteattr(m[3])}" if m[3] else "")
        out.append(a + "/>")
    return "".join(out) + f"</rpm:{tag}>"


def in_primary(path):
    """createrepo_c(8): what primary.xml lists of a package's files."""
    return path.startswith("/etc/") or "bin/" in path or path == "/usr/lib/sendmail"


def write_repo(folder, packages, modules=""):
    """Writes repodata/ of a repository: primary, filelists, modules; every package with a checksum of its own."""
    d = os.path.join(folder, "repodata")
    os.makedirs(d, exist_ok=True)
    primary, lists = [], []
    for p in packages:
        sum_ = hashlib.sha256(f"{folder} {p.nevra}".encode()).hexdigest()
        e, v, r = p.evr
        ver = f'<version epoch="{e}" ver={quoteattr(v)} rel={quoteattr(r)}/>'
        files = "".join(f"<file>{escape(f)}</file>" for f in p.files)
        short = "".join(f"<file>{escape(f)}</file>" for f in p.files if in_primary(f))
        primary.append(f'<package type="rpm"><name>{escape(p.name)}</name><arch>{p.arch}</arch>{ver}<checksum type="sha256" pkgid="YES">{sum_}</checksum>'
                       f'<summary>s</summary><description>d</description><packager/><url/><time file="1700000000" build="1700000000"/>'
                       f'<size package="1000" installed="2000" archive="2200"/><location href="Packages/{sum_[:12]}.rpm"/><format><rpm:license>none</rpm:license>'
                       f"<rpm:vendor>{p.vendor}</rpm:vendor><rpm:group>none</rpm:group><rpm:buildhost>b</rpm:buildhost><rpm:sourcerpm>x.src.rpm</rpm:sourcerpm>"
                       f'<rpm:header-range start="1" end="2"/>{_entries("provides", p.all_provides())}{_entries("requires", p.requires)}'
                       f'{_entries("conflicts", p.conflicts)}{_entries("obsoletes", p.obsoletes)}{short}</format></package>')
        lists.append(f'<package pkgid="{sum_}" name={quoteattr(p.name)} arch="{p.arch}">{ver}{files}</package>')
    n = len(packages)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    docs = [("primary", f'{head}<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="{n}">\n' + "\n".join(primary) + "</metadata>"),
            ("filelists", f'{head}<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="{n}">\n' + "\n".join(lists) + "</filelists>")]
    if modules:
        docs.append(("modules", modules))
    records = []
    for kind, text in docs:
        raw = text.encode()
        packed = gzip.compress(raw, 1, mtime=0)
        a, b = hashlib.sha256(packed).hexdigest(), hashlib.sha256(raw).hexdigest()
        name = f"repodata/{a}-{kind}.{'yaml' if kind == 'modules' else 'xml'}.gz"
        with open(os.path.join(folder, name), "wb") as f:
            f.write(packed)
        records.append(f'<data type="{kind}"><checksum type="sha256">{a}</checksum><open-checksum type="sha256">{b}</open-checksum><location href="{name}"/>'
                       f"<timestamp>1700000000</timestamp><size>{len(packed)}</size><open-size>{len(raw)}</open-size></data>")
    with open(os.path.join(d, "repomd.xml"), "w") as f:
        f.write(f'{head}<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1700000000</revision>{"".join(records)}</repomd>')


def modulemd(streams, defaults):
    """modules.yaml of [(module, stream, context, [P])] and {module: stream}."""
    out = []
    for name, stream, context, pkgs in streams:
        pkgs = sorted(pkgs, key=lambda p: p.nevra_epoch)
        out.append(f'---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: "{stream}"\n  version: 8000020240101\n  context: {context}\n  arch: x86_64\n'
                   f"  summary: s\n  description: d\n  license:\n    module: [MIT]\n  artifacts:\n    rpms:\n" + "".join(f"    - {p.nevra_epoch}\n" for p in pkgs) + "...\n")
    for name, stream in sorted(defaults.items()):
        out.append(f'---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {name}\n  stream: "{stream}"\n  profiles:\n    "{stream}": [common]\n...\n')
    return "".join(out)
