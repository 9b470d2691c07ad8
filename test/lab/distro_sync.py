"""Runs inside a lab host for diff-distro-sync; see there."""
import json
import os
import sys

import dnf

kinds = os.environ["LAB_KINDS"].split(",")
labhost = open("/etc/dnf/vars/labhost").read().strip()

base = dnf.Base()
base.conf.read()
base.conf.best = os.environ["LAB_BEST"] == "1"
base.conf.cachedir = "/tmp/dnf"
base.conf.persistdir = "/tmp/dnf-persist"
base.conf.substitutions.update_from_etc("/", varsdir=base.conf.varsdir)
major = base.conf.releasever
if os.path.exists("/etc/dnf/plugins/versionlock.list"):
    base.init_plugins(disabled_glob=["*"], enable_plugins=["versionlock"])
base.read_all_repos()
third = ("epel", "elrepo", "acme")
for repo in list(base.repos.iter_enabled()):
    if repo.id not in third:
        repo.disable()
with open(f"/mnt/world/meta/alma-{major}.json") as f:
    alma = json.load(f)
for rid, r in alma["repos"].items():
    if r["kind"] in kinds:
        repo = base.repos.add_new_repo("almalinux-" + rid, base.conf, baseurl=[f"http://{labhost}{r['path']}"])
        repo.gpgcheck = False
base.pre_configure_plugins()
base.configure_plugins()
base.fill_sack()
base.distro_sync()
try:
    base.resolve(allow_erasing=os.environ["LAB_ERASE"] == "1")
except dnf.exceptions.DepsolveError as e:
    print(e, file=sys.stderr)
    sys.exit(4)

evr = lambda p: (f"{p.epoch}:" if p.epoch else "") + f"{p.version}-{p.release}"
goal = base._goal
rows = []
installed = {}
for p in base.sack.query().installed():
    installed.setdefault((p.name, p.arch), []).append(p)
gone = set()
for action, packages in (("upgrade", goal.list_upgrades()), ("downgrade", goal.list_downgrades()), ("reinstall", goal.list_reinstalls()), ("install", goal.list_installs())):
    for p in packages:
        # what leaves for it: hawkey knows it by the "obsoleted" relation, which here means any replacement
        old = [o for o in goal.obsoleted_by_package(p)]
        same = [o for o in old if o.name == p.name]
        for o in same:
            gone.add(o)
            # a row of its own for each installed package, also where the architecture changes
            rows.append((o.name, o.arch, action if action != "install" else "upgrade", evr(o), evr(p) + "." + p.arch, p.reponame))
        for o in old:
            if o.name != p.name and o not in gone:
                gone.add(o)
                rows.append((o.name, o.arch, "obsoleted", evr(o), f"{p.name}-{evr(p)}.{p.arch}", p.reponame))
        if not same:
            rows.append((p.name, p.arch, "install", "-", evr(p) + "." + p.arch, p.reponame))
for p in goal.list_erasures():
    if p not in gone:
        gone.add(p)
        rows.append((p.name, p.arch, "remove", evr(p), "-", "-"))
for ps in installed.values():
    for p in ps:
        if p not in gone:
            rows.append((p.name, p.arch, "keep", evr(p), evr(p) + "." + p.arch, "-"))
for r in sorted(rows):
    print("\t".join(r))
