# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tempfile

from ansible.errors import AnsibleActionFail
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import AgentAction


class ActionModule(AgentAction):
    ARGUMENTS = {
        "dest": {"type": "str", "required": True},
        "src": {"type": "path"},
        "content": {"type": "str", "no_log": True},
        "checksum": {"type": "str"},
        "mode": {"type": "str", "default": "0644"},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    }

    def act(self, args):
        dest, quoted = args["dest"], shlex.quote(args["dest"])
        if not dest.startswith("/"):
            raise AnsibleActionFail("dest is an absolute path, not %s" % dest)
        if args["state"] == "absent":
            return self.absent(dest, quoted)
        if not re.fullmatch(r"0?[0-7]{3,4}", args["mode"]):
            raise AnsibleActionFail("mode is an octal number in quotes such as '0644', not %s" % args["mode"])
        mode = args["mode"].lstrip("0") or "0"
        if (args["src"] is None) == (args["content"] is None):
            raise AnsibleActionFail("give one of src and content")
        src, want = args["src"], None
        if src is not None:
            want = self.digest(src)
        else:
            want = hashlib.sha256(args["content"].encode()).hexdigest()
        if args["checksum"]:
            expected = args["checksum"].lower()
            expected = expected[len("sha256:"):] if expected.startswith("sha256:") else expected
            if expected != want:
                raise AnsibleActionFail("%s is not the file that was asked for: its SHA-256 is %s and not %s" % (src or "content", want, expected))
        have, attributes = self.look(quoted)
        result = {"changed": False, "dest": dest, "checksum": want}
        if have == want and attributes == "%s:0:0" % mode:
            return result
        result["changed"] = True
        if self._play_context.check_mode:
            return result
        temporary = None
        try:
            if src is None:
                fd, temporary = tempfile.mkstemp()
                with os.fdopen(fd, "w", encoding="utf-8") as f:
                    f.write(args["content"])
                src = temporary
            remote = self.send(src) if have != want else dest
        finally:
            if temporary:
                os.unlink(temporary)
        # Beside the old file, then in its place at once: a program that runs is not written into, and no half file is left.
        new = shlex.quote("%s/.%s.new" % (os.path.dirname(dest), os.path.basename(dest)))
        rc, out, err = self.sh(
            "set -e; umask 077; mkdir -p -m 755 %s; cp %s %s; chown 0:0 %s; chmod %s %s; mv -f %s %s; if command -v restorecon >/dev/null; then restorecon %s || :; fi"
            % (shlex.quote(os.path.dirname(dest)), shlex.quote(remote), new, new, mode, new, new, quoted, quoted))
        if rc != 0:
            raise AnsibleActionFail("cannot write %s: %s" % (dest, (err or out).strip()))
        have, attributes = self.look(quoted)
        if have != want or attributes != "%s:0:0" % mode:
            raise AnsibleActionFail("%s did not arrive as it was sent: SHA-256 %s, mode and owner %s" % (dest, have, attributes))
        return result

    def look(self, quoted):
        """SHA-256 and mode:owner:group of a file of the host, empty where there is none."""
        rc, out, err = self.sh("if test -e %s; then stat -L -c %%a:%%u:%%g %s && sha256sum < %s; fi" % (quoted, quoted, quoted))
        if rc != 0:
            raise AnsibleActionFail("cannot look at the host's file: %s" % (err or out).strip())
        found = re.search(r"^([0-7]+:\d+:\d+)\s+([0-9a-f]{64})\b", out, re.MULTILINE)
        return (found.group(2), found.group(1)) if found else ("", "")

    def absent(self, dest, quoted):
        there, dummy = self.look(quoted)
        if there and not self._play_context.check_mode:
            rc, out, err = self.sh("rm -f %s" % quoted)
            if rc != 0:
                raise AnsibleActionFail("cannot remove %s: %s" % (dest, (err or out).strip()))
        return {"changed": bool(there), "dest": dest}

    @staticmethod
    def digest(path):
        h = hashlib.sha256()
        try:
            with open(path, "rb") as f:
                for block in iter(lambda: f.read(1 << 20), b""):
                    h.update(block)
        except OSError as e:
            raise AnsibleActionFail("cannot read %s on the controller: %s" % (path, e)) from e
        return h.hexdigest()
