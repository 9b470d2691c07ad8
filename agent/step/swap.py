# One rpm transaction, by rpm's own library: what leaves and what comes are both named, nothing is solved or fetched.
# Argument: a JSON file. Events go to standard output, one JSON object a line. The exit code is for logs only: whoever
# started this reads the rpm database to see what happened.
import fcntl
import json
import os
import sys

import rpm


def say(event, **more):
    more["event"] = event
    sys.stdout.write(json.dumps(more, sort_keys=True) + "\n")
    sys.stdout.flush()


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def nevra(h):
    epoch = h[rpm.RPMTAG_EPOCH]
    return "%s-%s%s-%s.%s" % (text(h[rpm.RPMTAG_NAME]), "%d:" % epoch if epoch else "", text(h[rpm.RPMTAG_VERSION]),
                              text(h[rpm.RPMTAG_RELEASE]), text(h[rpm.RPMTAG_ARCH]))


class Callback:
    """Opens the package files for rpm and notes what it complains about."""

    def __init__(self):
        self.fds = {}
        self.errors = []

    def __call__(self, what, amount, total, key, data):
        if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
            self.fds[key] = os.open(key, os.O_RDONLY)
            return self.fds[key]
        if what == rpm.RPMCALLBACK_INST_CLOSE_FILE:
            os.close(self.fds.pop(key))
        elif what == rpm.RPMCALLBACK_INST_START:
            say("install", path=key)
        elif what == rpm.RPMCALLBACK_UNINST_START:
            say("erase", name=text(key))
        elif what == rpm.RPMCALLBACK_UNINST_STOP:
            say("erased", name=text(key))
        elif what in (rpm.RPMCALLBACK_UNPACK_ERROR, rpm.RPMCALLBACK_CPIO_ERROR):
            self.error("unpack-error", key)
        elif what == rpm.RPMCALLBACK_SCRIPT_START:
            say("script", of=text(key))
        elif what == rpm.RPMCALLBACK_SCRIPT_ERROR:
            # total tells whether rpm gives the package up for it
            self.error("script-error" if total else "script-warning", key)
        return None

    def error(self, event, key):
        say(event, of=text(key))
        if event != "script-warning":
            self.errors.append("%s: %s" % (event, text(key)))


def main():
    spec = json.load(open(sys.argv[1]))
    # Whoever started this may be dead, and another one may have taken over: then nothing is to be done here.
    lock = os.open(spec["lock"], os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.getppid() != spec["parent"]:
        say("orphaned")
        return 3
    for name, value in sorted(spec.get("macros", {}).items()):
        rpm.addMacro(name, value)
    missing = []
    ts = prepare(spec, missing)
    if missing:
        say("not-installed", packages=missing)
    strangers = unnamed(ts, spec)
    if strangers:
        say("end", problems=["%s would be removed, which is not planned" % n for n in strangers])
        return 6
    broken = []
    if not spec.get("force"):  # rpm 4.18 leaves out what it found a broken dependency of, so it is not asked
        ts.check()
        broken = sorted(set(text(p) for p in ts.problems() or []))
    if broken:
        say("dependencies", problems=broken)
        return 4
    probs = rpm.RPMPROB_FILTER_REPLACEPKG | rpm.RPMPROB_FILTER_OLDPACKAGE
    if spec.get("justdb"):
        probs |= rpm.RPMPROB_FILTER_REPLACENEWFILES | rpm.RPMPROB_FILTER_REPLACEOLDFILES | rpm.RPMPROB_FILTER_DISKSPACE
    if spec.get("give_way"):
        # A folder of a leaving package where a coming one has a link is a conflict to rpm, though the folder goes. So the
        # conflicts are looked at here: these are accepted, any other is not.
        other = run(prepare(spec, []), rpm.RPMTRANS_FLAG_TEST, probs, set(spec["give_way"]))
        if other:
            say("end", problems=other)
            return 5
        probs |= rpm.RPMPROB_FILTER_REPLACEOLDFILES
    flags = 0
    if spec.get("test"):
        flags |= rpm.RPMTRANS_FLAG_TEST
    if spec.get("justdb"):
        flags |= rpm.RPMTRANS_FLAG_JUSTDB
    if spec.get("nodocs"):
        flags |= rpm.RPMTRANS_FLAG_NODOCS
    say("begin", test=bool(spec.get("test")))
    problems = run(ts, flags, probs, set())
    say("end", problems=problems)
    return 5 if problems else 0


def prepare(spec, missing):
    """Makes the transaction: what is erased and what is installed, each by name."""
    ts = rpm.TransactionSet(spec.get("root") or "/")
    ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)  # verified before, by whoever started this
    for how in ("upgrade", "install"):
        # upgrades first: what rpm itself lets leave for them then hangs on them, and stays when they fail
        for p in spec.get(how) or []:
            fd = os.open(p, os.O_RDONLY)
            try:
                h = ts.hdrFromFdno(fd)
            finally:
                os.close(fd)
            ts.addInstall(h, p, how[0])
    for r in spec.get("rows") or []:
        mi = ts.dbMatch("name", r["name"])
        for h in mi:
            if mi.instance() == r["row"]:
                ts.addErase(h)
    for n in sorted(set(spec.get("erase") or [])):
        found = False
        for h in ts.dbMatch("name", spec["names"][n]):
            if nevra(h) == n:
                ts.addErase(h)
                found = True
        if not found:
            missing.append(n)
    return ts


def unnamed(ts, spec):
    """What rpm would remove of its own accord, for an upgrade or an Obsoletes, though nobody named it."""
    if not spec.get("upgrade"):
        return []
    named = set(spec.get("erase") or []) | set(spec.get("replaced") or [])
    gone = set()
    for te in ts:
        if te.Type() == rpm.TR_REMOVED:
            epoch = te.E() or "0"
            gone.add("%s-%s%s-%s.%s" % (te.N(), "%s:" % epoch if epoch != "0" else "", te.V(), te.R(), te.A()))
    return sorted(gone - named)


def run(ts, flags, probs, accepted):
    """Runs it and returns what rpm complained about, but for conflicts over accepted paths."""
    ts.setFlags(flags)
    ts.setProbFilter(probs)
    ts.clean()
    ts.order()
    cb = Callback()
    result = ts.run(cb, "")
    problems, count = list(cb.errors), 0
    for p in result or []:
        count += 1
        message, (kind, path, _) = (p[0], p[1]) if isinstance(p, tuple) else (p, (None, None, None))
        if kind != rpm.RPMPROB_FILE_CONFLICT or text(path) not in accepted:
            problems.append(text(message))
    if result is not None and not count and not problems:
        problems = ["rpm gave up without saying why"]
    return sorted(set(problems))


sys.exit(main())
