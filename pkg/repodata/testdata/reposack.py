"""Prints what dnf (libsolv) reads from a repository: one line per package,
fields separated by tabs: NEVRA with epoch, pkgid, location, and the lists, whose
entries are separated by U+001F. Usage: reposack.py REPOSITORY CACHE."""
import sys

import dnf

base = dnf.Base()
base.conf.cachedir = sys.argv[2]
base.conf.logdir = sys.argv[2]
base.conf.module_platform_id = "platform:el9"
base.conf.substitutions.update({"releasever": "9", "basearch": "x86_64", "arch": "x86_64"})
base.conf.plugins = False
repo = base.repos.add_new_repo("x", base.conf, baseurl=["file://" + sys.argv[1]])
repo.module_hotfixes = True  # no modular filtering
base.fill_sack(load_system_repo=False)


def rows(l):
    return "\x1f".join(sorted({str(d) for d in l}))


for p in base.sack.query():
    alg, sum = p.chksum
    print("\t".join([
        "%s-%d:%s-%s.%s" % (p.name, p.epoch, p.version, p.release, p.arch), sum.hex(), p.location or "",
        rows(p.requires), rows(p.provides), rows(p.conflicts), rows(p.obsoletes),
        rows(p.recommends), rows(p.suggests), rows(p.supplements), rows(p.enhances),
    ]))
