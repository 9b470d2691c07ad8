# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""What the action plugins share: they run almamigrate on a host by nothing but its shell.

No module is copied to the host, so no Python is needed there. Everything that has to be decided is decided here, on the
controller, from the JSON documents and exit codes of the program.
"""

from __future__ import annotations

import json
import re
import shlex
import time

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

# The exit codes, as documented by `almamigrate --help`; a code that is not here is a failure.
EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_FINDINGS, EXIT_LOCKED, EXIT_UNSUPPORTED, EXIT_REPOS = 0, 1, 2, 10, 11, 12, 13
EXIT_ROLLED_BACK, EXIT_INCOMPLETE, EXIT_PENDING, EXIT_REBOOT, EXIT_INTERRUPTED = 20, 21, 22, 100, 130
EXIT_TEXTS = {
    EXIT_OK: "done",
    EXIT_ERROR: "error; the host is unchanged",
    EXIT_USAGE: "wrong usage or configuration",
    EXIT_FINDINGS: "blockers, or something is not as planned",
    EXIT_LOCKED: "another almamigrate, rpm or dnf holds the lock",
    EXIT_UNSUPPORTED: "host not supported, or AlmaLinux already: nothing to migrate; or root needed (become: true)",
    EXIT_REPOS: "repositories unreachable, or a signature or digest is wrong",
    EXIT_ROLLED_BACK: "the migration failed, and everything was rolled back",
    EXIT_INCOMPLETE: "the rollback is incomplete: a human is needed",
    EXIT_PENDING: "an interrupted migration is pending",
    EXIT_REBOOT: "done, reboot required",
    EXIT_INTERRUPTED: "interrupted before any change",
    127: "almamigrate is not on the host: apply the role almamigrate.agent.install",
}

# States of a change that has to be finished or taken back.
UNFINISHED = ("pending", "rolling", "incomplete")

# What other distributions' sudo leaves out of PATH.
SEARCH = "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin; export PATH; "
BEGIN, END = "@almamigrate:begin@", "@almamigrate:end@"

# Parts of documents with a line for each package: files on the controller may hold them, variables do not.
BULK = ("packages", "incoming", "modules", "evidence", "skipped", "journal")

COMMON_ARGUMENTS = {"binary": {"type": "str", "default": "almamigrate"}}


class ConnectionCut(Exception):
    """The connection broke before the program had said how it ended."""


class Outcome:
    """How the program ended: exit code, document (None: it wrote none), and what it told people."""

    def __init__(self, rc, doc, text, err):
        self.rc, self.doc, self.text, self.err = rc, doc, text, err

    def reason(self):
        """One line for people: what happened, why, and what to do next."""
        doc = self.doc or {}
        parts = [EXIT_TEXTS.get(self.rc, "unknown result")]
        if doc.get("message"):
            parts.append(doc["message"])
        elif doc.get("errors"):
            parts.extend(doc["errors"])
        elif not self.doc and self.err:
            parts.append(self.err.splitlines()[-1])
        if doc.get("hint"):
            parts.append("next: " + doc["hint"])
        if doc.get("commands"):
            parts.append("left to do: " + "; ".join(doc["commands"]))
        return "almamigrate exit code %d: %s" % (self.rc, "; ".join(parts))


def without_password(arg):
    """An argument as it may be shown: no user and password in its URL."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", arg)


def lean(doc):
    """A document without what is as long as the package list."""
    return {k: v for k, v in doc.items() if k not in BULK}


def plan_diff(plan):
    """A plan as --diff shows it: packages, repository files and keys before and after."""
    def lines(values):
        return "".join(v + "\n" for v in values)

    diff = [{
        "before_header": "packages of %s" % plan["host"]["title"], "before": lines(p["nevra"] for p in plan.get("leaving") or []),
        "after_header": "packages of %s" % plan["target"], "after": lines(p["nevra"] for p in plan.get("coming") or []),
    }]
    files = plan.get("repo_files") or []
    if files or plan.get("enable_repos"):
        diff.append({
            "before_header": "repository files", "before": lines(f["file"] for f in files),
            "after_header": "repository files",
            "after": lines([f["kept"] for f in files] + ["enabled: " + r for r in plan.get("enable_repos") or []]),
        })
    if plan.get("keys"):
        diff.append({"before_header": "keys in the rpm database", "before": "", "after_header": "keys in the rpm database",
                     "after": lines("%s %s" % (k["fingerprint"], k["user_id"]) for k in plan["keys"])})
    return diff


class AgentAction(ActionBase):
    """An action that runs almamigrate on the host. Subclasses have ARGUMENTS and act(args), which returns the result."""

    TRANSFERS_FILES = False
    ARGUMENTS = {}

    def run(self, tmp=None, task_vars=None):
        del tmp
        self._supports_check_mode = True
        result = super().run(task_vars=task_vars)
        dummy, args = self.validate_argument_spec(argument_spec=dict(COMMON_ARGUMENTS, **self.ARGUMENTS))
        self.binary = args["binary"]
        try:
            result.update(self.act(args))
        finally:
            try:
                self._remove_tmp_path(self._connection._shell.tmpdir)
            except AnsibleConnectionFailure:
                pass  # a file of ours in the user's ~/.ansible/tmp stays
        return result

    def act(self, args):
        raise NotImplementedError

    # ---- the host's shell ----

    def sh(self, script):
        """Runs a script by the host's sh; returns exit code, output and errors. stdin is empty."""
        r = self._low_level_execute_command(script)
        return r["rc"], r["stdout"].replace("\r\n", "\n"), r["stderr"]

    def send(self, local):
        """Copies a file of the controller into a folder of the connecting user's that only lives as long as the task."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "source")
        return self._transfer_file(local, remote)

    def agent(self, argv):
        """Runs the program with --json. Raises ConnectionCut where it did not come to its end."""
        argv = list(argv) + ["--json"]
        display.vv("almamigrate %s" % " ".join(without_password(a) for a in argv), host=self._play_context.remote_addr)
        command = " ".join(shlex.quote(a) for a in [self.binary] + argv)
        # With a terminal (ssh -tt) both outputs would be one: errors are kept apart and come last.
        script = "%sexec 3>&1; echo %s; e=$(%s %s </dev/null 2>&1 1>&3 3>&-); rc=$?; printf '\\n%%s\\n%%s\\n' %s \"$e\"; exit $rc" % (
            SEARCH, BEGIN, self._compute_environment_string(), command, END)
        try:
            rc, out, err = self.sh(script)
        except AnsibleConnectionFailure as e:
            raise ConnectionCut(str(e)) from e
        begin, end = out.find(BEGIN), out.rfind(END)
        if begin < 0:
            # sudo's password is wrong, the shell is missing: what ssh said is all there is
            raise AnsibleActionFail("cannot run almamigrate: %s" % ((err or out).strip() or "exit code %d" % rc))
        if end < begin:
            raise ConnectionCut("the output ended before the program did")
        text, err = out[begin + len(BEGIN):end].strip(), out[end + len(END):].strip()
        doc = None
        if text.startswith("{"):
            try:
                doc = json.loads(text)
            except ValueError as e:
                raise AnsibleActionFail("cannot read what almamigrate %s wrote: %s" % (argv[0], e)) from e
        return Outcome(rc, doc, text, err)

    def query(self, argv, accepted=(EXIT_OK,)):
        """Runs a command that changes nothing. A connection that breaks makes the host unreachable, as for any task."""
        try:
            out = self.agent(argv)
        except ConnectionCut as e:
            raise AnsibleConnectionFailure(str(e)) from e
        if out.rc not in accepted or out.doc is None:
            raise AnsibleActionFail(out.reason(), result={"exit_code": out.rc, "stderr": out.err})
        return out

    def status(self):
        return self.query(["status"], (EXIT_OK, EXIT_INCOMPLETE, EXIT_PENDING)).doc

    # ---- runs that change the host ----

    def keep_alive(self):
        """Gives the ssh client of this task a connection of its own that notices when the host is gone.

        The master of a shared connection may have been started without such a limit, and would wait for hours.
        """
        if self._connection.transport != "ssh":
            return
        extra = self._connection.get_option("ssh_extra_args") or ""
        self._connection.set_option("ssh_extra_args", (extra + " -o ControlPath=none -o ServerAliveInterval=15 -o ServerAliveCountMax=4").strip())

    def change(self, argv, before, timeout, lock_timeout):
        """Runs a command that changes the host to its end, over broken connections and while others hold the lock.

        Returns the outcome, or None in its place where the end was learned from the status only; the status; and how often
        the connection had to be found again. Where systemd runs, the program works in a unit of its own, and a connection
        that breaks ends the watching only. Elsewhere the program stops at its next safe point.
        """
        self.keep_alive()
        cuts, locked_since = 0, None
        for dummy in range(1000):
            try:
                out = self.agent(argv)
            except ConnectionCut as e:
                cuts += 1
                display.v("the connection broke, looking for the run again: %s" % e, host=self._play_context.remote_addr)
                now = self.reattach(timeout)
                if now.get("change") != before.get("change") or now["state"] != before["state"]:
                    return None, now, cuts
                if cuts > 5:
                    raise AnsibleActionFail("the connection broke %d times before anything had begun: %s" % (cuts, e)) from e
                continue  # it had not begun
            if out.rc not in EXIT_TEXTS:
                # killed, or newer than this collection: what it left tells more than the number
                now = self.status()
                if now["state"] in UNFINISHED:
                    return None, now, cuts
            if out.rc != EXIT_LOCKED:
                return out, None, cuts
            try:
                if self.status()["state"] == "running":
                    # started by somebody else, or by us before a broken connection: its end is awaited
                    now = self.reattach(timeout)
                    if now.get("change") != before.get("change") or now["state"] != before["state"]:
                        return None, now, cuts
            except AnsibleConnectionFailure:
                continue
            locked_since = locked_since or time.monotonic()
            if time.monotonic() - locked_since >= lock_timeout:
                return out, None, cuts
            time.sleep(5)
        raise AnsibleActionFail("cannot begin: another run always was at work")

    def reattach(self, timeout):
        """Waits for the end of the run on the host, and returns the status. timeout: seconds without any answer."""
        last, problem = time.monotonic(), "no answer"
        while time.monotonic() - last < timeout:
            try:
                out = self.agent(["status", "--follow"])
                last = time.monotonic()
                if out.rc != EXIT_LOCKED:
                    now = self.status()
                    if now["state"] != "running":
                        return now
            except (ConnectionCut, AnsibleConnectionFailure) as e:
                problem = e
            time.sleep(2)
            try:
                self._connection.reset()
            except (AnsibleConnectionFailure, AttributeError) as e:
                problem = e
        raise AnsibleActionFail("the host did not answer for %d s (%s); the run goes on there. Run the playbook again once it answers" % (timeout, problem))

    def ended(self, now):
        """The exit code that a run ended with, from the status."""
        codes = {"rolled-back": EXIT_ROLLED_BACK, "incomplete": EXIT_INCOMPLETE, "pending": EXIT_PENDING, "rolling": EXIT_PENDING}
        rc = codes.get(now["state"], EXIT_OK)
        return EXIT_REBOOT if rc == EXIT_OK and now.get("reboot_required") else rc
