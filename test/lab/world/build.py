#!/usr/bin/python3
"""Builds the package worlds of the lab: build.py OUT MAJOR... [--only PART,PART]

OUT/www is a tree to be served: almalinux/, centos/, rocky/, repo/OracleLinux/,
content/ (RHEL), epel/, elrepo/, acme/; OUT/keys holds the public keys, OUT/meta
what hosts are made of. Each part (a distribution of a major, or its third
parties) is rebuilt only when these scripts, the keys or the kernel changed.
"""
import concurrent.futures
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import distros  # noqa: E402
import packages  # noqa: E402
from model import ARCH, specs  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH = "1700000000"


def run(*cmd, **kw):
    r = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if r.returncode:
        sys.exit(f"cannot run {' '.join(map(str, cmd[:6]))} ...:\n{r.stdout[-3000:]}")
    return r.stdout


class World:
    def __init__(self, out):
        self.out = os.path.abspath(out)
        self.www, self.keys, self.meta, self.tmp = (os.path.join(self.out, d) for d in ("www", "keys", "meta", "tmp"))
        for d in (self.www, self.keys, self.meta, self.tmp):
            os.makedirs(d, exist_ok=True)
        self.gnupg = os.path.join(self.out, "gnupg")
        os.makedirs(self.gnupg, mode=0o700, exist_ok=True)
        self.env = dict(os.environ, GNUPGHOME=self.gnupg, SOURCE_DATE_EPOCH=EPOCH, LC_ALL="C.UTF-8", PATH="/usr/sbin:/usr/bin:/sbin:/bin")

    # ---- keys -------------------------------------------------------------------

    def gpg(self, *args):
        return run("gpg", "--batch", "--quiet", "--no-tty", *args, env=self.env)

    def key(self, ident):
        """The signing key called ident: makes it once, returns what `gpg -u` takes for it."""
        path = os.path.join(self.keys, ident + ".id")
        if os.path.exists(path):
            with open(path) as f:
                return self._catalog(ident, f.read())
        uid = f"{ident} of the lab <{ident}@lab.invalid>"
        self.gpg("--passphrase", "", "--quick-generate-key", uid, "rsa2048", "sign", "never")
        fpr = [x for x in self.gpg("--with-colons", "--list-secret-keys", uid).splitlines() if x.startswith("fpr:")][0].split(":")[9]
        text = self.gpg("--armor", "--export", fpr)
        if ident == "alma-8":
            # as the real file of AlmaLinux 8: two blocks, the first a key whose subkey signed the older packages
            uid = f"{ident}-old of the lab <{ident}-old@lab.invalid>"
            self.gpg("--passphrase", "", "--quick-generate-key", uid, "rsa2048", "cert", "never")
            old = [x for x in self.gpg("--with-colons", "--list-secret-keys", uid).splitlines() if x.startswith("fpr:")][0].split(":")[9]
            self.gpg("--passphrase", "", "--quick-add-key", old, "rsa2048", "sign", "never")
            sub = [x for x in self.gpg("--with-colons", "--list-secret-keys", uid).splitlines() if x.startswith("fpr:")][1].split(":")[9]
            text = self.gpg("--armor", "--export", old) + text
            self._put(os.path.join(self.keys, ident + "-old.id"), sub + "!")
        self._put(os.path.join(self.keys, ident + ".asc"), text)
        self._put(path, fpr)
        return self._catalog(ident, fpr)

    def _catalog(self, ident, fpr):
        """What the tool has to be told, on a host, about a key that it does not know: whose it is."""
        owner = {"redhat": "rhel", "vendor": "acme"}.get(ident, ident.split("-")[0])
        kind = "third-party" if owner in ("epel", "elrepo", "acme") else "distro"
        if owner not in ("alma", "unknown"):
            self._put(os.path.join(self.keys, ident + ".conf"), f"[key {fpr}]\nowner = {owner}\nkind = {kind}\nmajors = *\nids = {fpr[-16:].lower()}\nuid = {ident} of the lab\n\n")
        return fpr

    def public(self, ident):
        self.key(ident)
        with open(os.path.join(self.keys, ident + ".asc")) as f:
            return f.read()

    @staticmethod
    def _put(path, text):
        with open(path + ".new", "w") as f:
            f.write(text)
        os.replace(path + ".new", path)

    def sign(self, files, keyid):
        """rpmsign, several at once; Debian's rpm asks for gpg2, which is not there."""
        jobs = os.cpu_count() or 2
        chunks = [files[i::jobs] for i in range(jobs) if files[i::jobs]]
        with concurrent.futures.ThreadPoolExecutor(jobs) as ex:
            list(ex.map(lambda c: run("rpmsign", "--addsign", "--define", "__gpg /usr/bin/gpg", "--define", f"_gpg_name {keyid}",
                                      "--define", f"_gpg_path {self.gnupg}", *c, env=self.env), chunks))

    # ---- packages ---------------------------------------------------------------

    def build(self, part, pkgs, vendor, buildhost, keyfor):
        """Builds and signs; returns the folder with all rpms. keyfor(pkg) gives the key id, or "" for none."""
        top = os.path.join(self.tmp, part)
        shutil.rmtree(top, ignore_errors=True)
        os.makedirs(os.path.join(top, "rpms"))

        def one(s):
            name, target, _, text = s
            path = os.path.join(top, name + ".spec")
            self._put(path, text)
            # the build's database and folders are private, no debuginfo, no strip, no build ids; rpmbuild would use dash
            run("rpmbuild", "-bb", "--quiet", "--target", target, "--define", f"_topdir {top}/{name}.b", "--define", f"_dbpath {top}/db",
                "--define", "_build_id_links none", "--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}",
                "--define", "_binary_payload w2.xzdio", "--define", f"_rpmdir {top}/rpms", "--define", f"_buildhost {buildhost}",
                "--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", "--define", "_buildshell /bin/bash",
                "--define", "use_source_date_epoch_as_buildtime 1", "--define", "clamp_mtime_to_source_date_epoch 1", path, env=self.env)
            shutil.rmtree(f"{top}/{name}.b", ignore_errors=True)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as ex:
            list(ex.map(one, specs(pkgs, vendor)))
        by_key = {}
        for p in pkgs:
            by_key.setdefault(keyfor(p), []).append(os.path.join(top, "rpms", p.filename))
        for k, files in by_key.items():
            missing = [f for f in files if not os.path.exists(f)]
            if missing:
                sys.exit(f"rpmbuild left out {missing[:5]}")
            if k:
                self.sign(files, k)
        return os.path.join(top, "rpms")

    def repo(self, path, rpms, files, keyid, modules="", advisories="", zstd=False):
        """Makes one repository of the files, with signed repomd.xml; zstd: compressed as createrepo_c of EL10 does."""
        d = self.www + path.replace("$basearch", ARCH)
        shutil.rmtree(d, ignore_errors=True)
        os.makedirs(os.path.join(d, "Packages"))
        for f in files:
            os.link(os.path.join(rpms, f), os.path.join(d, "Packages", f))
        run("createrepo_c", "--quiet", "--revision", EPOCH, "--set-timestamp-to-revision", *(["--no-database"] if zstd else []), d, env=self.env)
        for kind, text in (("modules", modules), ("updateinfo", advisories)):
            if text:
                tmp = os.path.join(os.path.dirname(rpms), kind + (".yaml" if kind == "modules" else ".xml"))
                self._put(tmp, text)
                run("modifyrepo_c", f"--mdtype={kind}", tmp, os.path.join(d, "repodata"), env=self.env)
        if zstd:
            self._zstd(os.path.join(d, "repodata"))
        self.gpg("--yes", "-u", keyid, "--armor", "--detach-sign", os.path.join(d, "repodata", "repomd.xml"))

    def _zstd(self, repodata):
        """Replaces every .gz of a repository's metadata by a .zst: Debian's createrepo_c cannot write these."""
        path = os.path.join(repodata, "repomd.xml")
        with open(path) as f:
            text = f.read()

        def record(m):
            old = re.search(r'href="repodata/([^"]+)\.gz"', m[0])
            if not old:
                return m[0]
            gz, plain = (os.path.join(repodata, n) for n in (old[1] + ".gz", old[1].split("-", 1)[1]))
            with gzip.open(gz) as src, open(plain, "wb") as dst:
                shutil.copyfileobj(src, dst)
            run("zstd", "-q", "-f", "--rm", plain, "-o", plain + ".zst")
            with open(plain + ".zst", "rb") as f:
                data = f.read()
            digest = hashlib.sha256(data).hexdigest()
            name = f"{digest}-{os.path.basename(plain)}.zst"
            os.replace(plain + ".zst", os.path.join(repodata, name))
            os.remove(gz)
            out = re.sub(r'(<checksum type="sha256">)[0-9a-f]+', lambda x: x[1] + digest, m[0])
            out = re.sub(r"<size>\d+", f"<size>{len(data)}", out)
            return out.replace(old[1] + ".gz", name)

        self._put(path, re.sub(r"<data .*?</data>", record, text, flags=re.S))

    # ---- parts ------------------------------------------------------------------

    def part(self, name, make):
        """Runs make unless what it made last is still good."""
        h = hashlib.sha256(packages.RUNNING.encode())
        for d in (HERE, os.path.join(HERE, "tools")):
            for f in sorted(os.listdir(d)):
                if f.endswith(".py") or d != HERE:
                    with open(os.path.join(d, f), "rb") as x:
                        h.update(x.read())
        stamp = os.path.join(self.meta, name + ".stamp")
        if os.path.exists(stamp) and open(stamp).read() == h.hexdigest():
            return
        t = time.time()
        n = make()
        shutil.rmtree(os.path.join(self.tmp, name), ignore_errors=True)
        self._put(stamp, h.hexdigest())
        print(f"lab: world {name}: {n} packages in {time.time() - t:.1f} s", file=sys.stderr, flush=True)

    def distro(self, d):
        def make():
            ident = {"centos": "centos", "stream": "centos", "rhel": "redhat"}.get(d.id, d.part)
            keyid = self.key(ident)
            old = open(os.path.join(self.keys, ident + "-old.id")).read() if ident == "alma-8" else ""
            pkgs, docs, default = packages.distro_packages(d)
            pkgs = distros.identity(d, self.public(ident)) + pkgs
            # a part of AlmaLinux 8 is still signed by the old key's subkey
            keyfor = lambda p: old if old and p.name in packages.MASS and packages.MASS.index(p.name) % 7 == 0 else keyid
            rpms = self.build(d.part, pkgs, d.vendor, d.buildhost, keyfor)
            for r in d.repos:
                mine = sorted({p.filename for p in pkgs if p.repo == r.kind})
                path = r.path.replace("$releasever", str(d.major)).replace("$stream", f"{d.major}-stream")
                self.repo(path, rpms, mine, keyid, packages.modules_yaml(d, docs, default) if r.kind == "appstream" else "",
                          advisories(d, pkgs, r.kind) if d.id == "alma" and r.kind in ("baseos", "appstream") else "", zstd=d.major >= 10)
            if d.id == "alma":
                self._put(os.path.join(self.www, "almalinux", f"RPM-GPG-KEY-AlmaLinux-{d.major}"), self.public(ident))
            self.describe(d.part, pkgs, ident, d, docs)
            return len(pkgs)
        self.part(d.part, make)

    def third(self, major):
        def make():
            n, meta = 0, []
            for repo, (keyname, path, pkgs) in packages.third_party(major).items():
                ident = f"epel-{major}" if repo == "epel" else repo
                keyid = self.key(ident)
                for p in pkgs:
                    for f in p.files.values():
                        if f.text == "@KEY@":
                            f.text = self.public(ident)
                rpms = self.build(f"third-{major}/{repo}", pkgs, "Lab", "builder.invalid", lambda p: "" if p.key == "none" else keyid)
                if path:
                    self.repo(path, rpms, sorted(p.filename for p in pkgs), keyid)
                else:
                    at = os.path.join(self.www, "local", str(major))
                    shutil.rmtree(at, ignore_errors=True)
                    shutil.copytree(rpms, at)
                n += len(pkgs)
                meta += [(repo, ident, p) for p in pkgs]
            self._put(os.path.join(self.meta, f"third-{major}.json"), json.dumps(
                {"keys": sorted({i for r, i, _ in meta if r != "local"}), "install": [p.name for r, _, p in meta if p.install and r != "local"],
                 "repos": {r: p.replace("$basearch", ARCH) for r, (_, p, _) in packages.third_party(major).items() if p}}, indent=1))
            return n
        self.part(f"third-{major}", make)

    def describe(self, part, pkgs, ident, d, docs):
        """What `lab gold` needs to know of a distribution."""
        repos = {r.id: {"path": r.path.replace("$releasever", str(d.major)).replace("$stream", f"{d.major}-stream").replace("$basearch", ARCH),
                        "enabled": r.enabled, "kind": r.kind} for r in d.repos}
        self._put(os.path.join(self.meta, part + ".json"), json.dumps({
            "part": part, "id": d.id, "major": d.major, "key": ident, "repos": repos,
            "install": sorted({f"{p.name}-{p.evr.split(':')[-1]}.{p.arch}" for p in pkgs if p.install}),
            "streams": [f"{n}:{s}" for n, s, _, inst, _ in docs if inst],
            # unowned: what subscription-manager writes
            "files": {"/etc/yum.repos.d/redhat.repo": distros.repo_files(d)["redhat"], "/etc/pki/entitlement/1234567890.pem": "certificate",
                      "/etc/pki/entitlement/1234567890-key.pem": "key", "/etc/pki/consumer/cert.pem": "certificate"} if d.id == "rhel" else {}}, indent=1))


def advisories(d, pkgs, kind):
    """AlmaLinux's updateinfo.xml of one repository: an advisory for each source, of a type and severity that its name gives.
    Of every eleventh, what mends it is not in the repository yet. ALSA-2024:0001 is in both repositories."""
    groups = {}
    for p in pkgs:
        if p.repo == kind:
            groups.setdefault((p.source or p.name, p.label), []).append(p)
    out = ['<?xml version="1.0" encoding="UTF-8"?>', "<updates>"]
    for (source, label), group in sorted(groups.items()):
        n = zlib.crc32((source + label).encode())
        what = "security" if n % 20 < 12 else "bugfix" if n % 20 < 17 else "enhancement"
        severity = ("Critical", "Important", "Moderate", "Low")[n // 20 % 4] if what == "security" else "None"
        ident = {"security": "ALSA", "bugfix": "ALBA", "enhancement": "ALEA"}[what] + f"-2024:{n % 9000 + 1000}{len(out) % 10}"
        if source in ("authselect", "nginx"):
            ident, what, severity = "ALSA-2024:0001", "security", "Important"
        late = ".1" if n % 11 == 0 else ""
        refs = f'<reference href="https://example.invalid/x" id="CVE-2024-{n % 90000 + 10000}" type="cve" title="x"/>' if what == "security" else ""
        module = ""
        if label:
            name, stream, version, context = label.split(":")
            module = f'<module name="{name}" stream="{stream}" version="{version}" context="{context}" arch="{ARCH}"/>'
        boot = "<reboot_suggested>True</reboot_suggested>" if source.startswith("kernel") else ""
        packages_ = "".join(
            f'<package name="{p.name}" version="{p.version}" release="{p.release}{late}" epoch="{p.epoch}" arch="{p.arch}" src="{source}.src.rpm">'
            f"<filename>{p.filename}</filename>{boot}</package>" for p in sorted(group, key=lambda p: p.filename))
        out.append(f"""<update from="packager@almalinux.invalid" status="final" type="{what}" version="4"><id>{ident}</id>
<title>{severity}: {source} {what} update</title><issued date="2024-01-{n % 28 + 1:02d} 00:00:00"/><updated date="2024-02-01 00:00:00"/>
<severity>{severity}</severity><release>AlmaLinux {d.major}</release><summary>{source}</summary><description>lab</description>
<references>{refs}</references><pkglist><collection short="{kind}"><name>{kind}</name>{module}{packages_}</collection></pkglist></update>""")
    return "\n".join(out + ["</updates>", ""])


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    only = next((a.split("=", 1)[1].split(",") for a in sys.argv[1:] if a.startswith("--only=")), [])
    w = World(args[0])
    try:
        for major in map(int, args[1:]):
            if not only or f"third-{major}" in only:
                w.third(major)
            for d in distros.distros(major):
                if not only or d.part in only:
                    w.distro(d)
    finally:
        # gpg-agent would outlive us
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=w.env, check=False)


main()
