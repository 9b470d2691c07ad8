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
    ts = rpm.TransactionSet(spec.get("root") or "/")
    ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)  # verified before, by whoever started this
    erase, missing = set(spec.get("erase") or []), []
    for n in sorted(erase):
        found = False
        for h in ts.dbMatch("name", spec["names"][n]):
            if nevra(h) == n:
                ts.addErase(h)
                found = True
        if not found:
            missing.append(n)
    if missing:
        say("not-installed", packages=missing)
    for p in spec.get("install") or []:
        fd = os.open(p, os.O_RDONLY)
        try:
            h = ts.hdrFromFdno(fd)
        finally:
            os.close(fd)
        ts.addInstall(h, p, "i")
    flags = 0
    if spec.get("test"):
        flags |= rpm.RPMTRANS_FLAG_TEST
    if spec.get("justdb"):
        flags |= rpm.RPMTRANS_FLAG_JUSTDB
    if spec.get("nodocs"):
        flags |= rpm.RPMTRANS_FLAG_NODOCS
    ts.setFlags(flags)
    probs = rpm.RPMPROB_FILTER_REPLACEPKG | rpm.RPMPROB_FILTER_OLDPACKAGE
    if spec.get("justdb"):
        probs |= rpm.RPMPROB_FILTER_REPLACENEWFILES | rpm.RPMPROB_FILTER_REPLACEOLDFILES | rpm.RPMPROB_FILTER_DISKSPACE
    ts.setProbFilter(probs)
    ts.check()
    broken = sorted(set(text(p) for p in ts.problems() or []))
    if broken:
        say("dependencies", problems=broken)
        if not spec.get("force"):
            return 4
    ts.clean()
    ts.order()
    cb = Callback()
    say("begin", test=bool(spec.get("test")))
    result = ts.run(cb, "")
    problems = sorted(set([text(p[0]) if isinstance(p, tuple) else text(p) for p in result or []] + cb.errors))
    if result is not None and not problems:
        problems = ["rpm gave up without saying why"]
    say("end", problems=problems)
    return 5 if problems else 0


sys.exit(main())
