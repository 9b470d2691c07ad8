"""Asks dnf's own solver what the move of a generated host would do: distro-sync to AlmaLinux and the swap of the identity packages in one
goal, the third parties' repositories kept. Nothing is installed."""
import os
import re
import shutil
import subprocess
import tempfile

import dnf
import dnf.goal
import hawkey
import rpm


def base_for(meta, tmp, vendor=True):
    base = dnf.Base()
    c = base.conf
    root = meta["root"]
    c.config_file_path = root + "/etc/dnf/dnf.conf"
    c.read(priority=dnf.conf.PRIO_MAINCONFIG)
    c.installroot = root
    c.cachedir, c.persistdir, c.logdir = tmp + "/cache", root + "/var/lib/dnf", tmp
    c.reposdir, c.gpgcheck, c.protected_packages = [], False, []
    c.module_platform_id = f"platform:el{meta['major']}"
    c.substitutions["releasever"] = str(meta["major"])
    c.substitutions["basearch"] = c.substitutions["arch"] = "x86_64"
    rpm.addMacro("_dbpath", meta["dbpath"])
    # the version lock is dnf's plugin, with the host's list
    c.pluginconfpath = [tmp + "/plugins"]
    os.makedirs(tmp + "/plugins")
    lock = root + "/etc/dnf/plugins/versionlock.list"
    with open(tmp + "/plugins/versionlock.conf", "w") as f:
        f.write(f"[main]\nenabled = 1\nlocklist = {lock if os.path.exists(lock) else os.devnull}\n")
    base.init_plugins(disabled_glob=["*"], enable_plugins=["versionlock"])
    for rid, path in meta["repos"].items():
        base.repos.add_new_repo("alma-" + rid, c, baseurl=["file://" + path])
    if vendor:
        base.repos.add_new_repo("vendor", c, baseurl=["file://" + meta["third"]])
    base.pre_configure_plugins()
    base.configure_plugins()
    base.fill_sack()
    return base


def nevra(p):
    return f"{p.name}-{p.evr}.{p.arch}" if p.epoch else f"{p.name}-{p.version}-{p.release}.{p.arch}"


def own_root(meta, tmp):
    """A root of the solver's own, in which the module streams have AlmaLinux's names, as the move sets them first."""
    root = tmp + "/root"
    shutil.copytree(meta["root"] + "/etc", root + "/etc")
    os.makedirs(root + "/var/lib")
    db = meta["dbpath"]
    os.makedirs(os.path.dirname(root + db), exist_ok=True)
    shutil.copytree(meta["root"] + db, root + db)
    safe = meta["root"] + "/var/lib/dnf/modulefailsafe"
    if os.path.isdir(safe):
        shutil.copytree(safe, root + "/var/lib/dnf/modulefailsafe")
    for m, stream in meta["streams"].items():
        with open(f"{root}/etc/dnf/modules.d/{m}.module", "w") as f:
            f.write(f"[{m}]\nname={m}\nprofiles=\nstate={'enabled' if stream else 'disabled'}\nstream={stream or ''}\n")
    return dict(meta, root=root)


def solve(task):
    """What dnf would do: with the vendor's repository as it is, or without what is newer there."""
    meta, vendor = task
    tmp = tempfile.mkdtemp(prefix="hostgen")
    try:
        return run(own_root(meta, tmp), tmp, vendor)
    finally:
        shutil.rmtree(tmp)


def command(meta):
    """A distro-sync without the swap of the identity, through the API and by the command."""
    tmp = tempfile.mkdtemp(prefix="hostgen")
    try:
        meta = own_root(meta, tmp)
        api = run(dict(meta, remove=[], add=[]), tmp, True)["resolves"]
        with open(tmp + "/.rpmmacros", "w") as f:
            f.write(f"%_dbpath {meta['dbpath']}\n")
        shutil.rmtree(meta["root"] + "/etc/yum.repos.d")
        repos = [("alma-" + i, p) for i, p in meta["repos"].items()] + [("vendor", meta["third"])]
        r = subprocess.run(["dnf", "--assumeno", "--disableplugin=*", "--enableplugin=versionlock", "--installroot", meta["root"], "--releasever", str(meta["major"]),
                            f"--setopt=cachedir={tmp}/dnf", f"--setopt=logdir={tmp}", f"--setopt=pluginconfpath={tmp}/plugins", f"--setopt=module_platform_id=platform:el{meta['major']}",
                            f"--config={meta['root']}/etc/dnf/dnf.conf", "--setopt=protected_packages=", "--setopt=reposdir=/nowhere", "--setopt=install_weak_deps=False", "--forcearch=x86_64",
                            *[f"--repofrompath={i},file://{p}" for i, p in repos], "distro-sync"],
                           env=dict(os.environ, HOME=tmp), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        text = r.stdout + r.stderr
        # --assumeno ends with 1 also where all is well
        ok = "Operation aborted" in text or "Nothing to do" in text
        if not ok and "Problem" not in text:
            raise SystemExit(text)
        return {"api": api, "command": ok, "output": text[-3000:]}
    finally:
        shutil.rmtree(tmp)


def run(meta, tmp, vendor):
    base = base_for(meta, tmp, vendor)
    sack = base.sack
    goal = dnf.goal.Goal(sack)
    for name in meta["remove"]:
        for p in sack.query().installed().filter(name=name):
            goal.erase(p)
    for name in meta["add"]:
        sel = hawkey.Selector(sack).set(name=name)
        if sel.matches():
            goal.install(select=sel)
    goal.distupgrade_all()
    ok = goal.run(allow_uninstall=False, force_best=True, ignore_weak_deps=True)
    out = {"resolves": bool(ok)}
    if not ok:
        out["problems"] = goal.problem_rules()
        culprits = set()
        for rules in out["problems"]:
            for line in rules:
                # "package X requires Y", "package X conflicts with Y provided by Z", "package X obsoletes Y provided by Z"
                m = re.match(r"(?:installed )?package (\S.*?-[^-]+-[^-]+\.\w+) (?:requires|conflicts with|obsoletes) ", line)
                if m:
                    culprits.add(m[1])
                m = re.match(r"nothing provides .* needed by (\S.*-[^-]+-[^-]+\.\w+)$", line)
                if m:
                    culprits.add(m[1])
                m = re.search(r" provided by (\S.*-[^-]+-[^-]+\.\w+)$", line)
                if m:
                    culprits.add(m[1])
        out["culprits"] = sorted(culprits)
        return out
    old = {}
    for kind, ps in (("upgrade", goal.list_upgrades()), ("downgrade", goal.list_downgrades()), ("reinstall", goal.list_reinstalls()), ("install", goal.list_installs())):
        out[kind] = sorted(f"{nevra(p)} {p.reponame}" for p in ps)
        for p in ps:
            for o in goal.obsoleted_by_package(p):
                old.setdefault(nevra(o), []).append(nevra(p))
    out["erase"] = sorted(nevra(p) for p in goal.list_erasures())
    out["obsoleted"] = sorted(nevra(p) for p in goal.list_obsoleted())
    out["replaces"] = {k: sorted(v) for k, v in sorted(old.items())}
    base.close()
    return out
