# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import tempfile

from ansible.errors import AnsibleActionFail
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import (
    EXIT_FINDINGS, EXIT_INCOMPLETE, EXIT_OK, EXIT_PENDING, AgentAction, lean, plan_diff)

# Commands that change nothing but the metadata cache and, with report, the report; and the exit codes of an answer.
ACCEPTED = {
    "check": (EXIT_OK, EXIT_FINDINGS),
    "inventory": (EXIT_OK,),
    "plan": (EXIT_OK, EXIT_FINDINGS),
    "report": (EXIT_OK,),
    "status": (EXIT_OK, EXIT_INCOMPLETE, EXIT_PENDING),
    "timer": (EXIT_OK,),
    "verify": (EXIT_OK, EXIT_FINDINGS),
}


class ActionModule(AgentAction):
    ARGUMENTS = {
        "command": {"type": "str", "required": True, "choices": sorted(ACCEPTED)},
        "args": {"type": "list", "elements": "str", "default": []},
        "dest": {"type": "path"},
    }

    def act(self, args):
        command, argv = args["command"], args["args"]
        if command == "timer":
            argv = ["status"]
        if command == "report" and self._play_context.check_mode:
            command = "check"  # the same evidence, and nothing is left on the host
        out = self.query([command] + argv, ACCEPTED[command])
        result = {"changed": False, "exit_code": out.rc, "document": lean(out.doc)}
        if args["dest"]:
            self.keep(args["dest"], out.doc)
            result["dest"] = args["dest"]
        if command == "plan" and self._play_context.diff:
            result["diff"] = plan_diff(out.doc)
        if command == "verify" and not out.doc["ok"]:
            wrong = ["%s: %s" % (c["id"], ", ".join([c["text"]] + (c.get("details") or [])[:5])) for c in out.doc["checks"] if c["level"] == "failure"]
            result.update(failed=True, msg="the host is not as planned: " + "; ".join(wrong))
        return result

    @staticmethod
    def keep(dest, doc):
        """Writes the whole document to a file of the controller, at once or not at all."""
        folder = os.path.dirname(os.path.abspath(dest))
        try:
            os.makedirs(folder, exist_ok=True)
            fd, name = tempfile.mkstemp(dir=folder, prefix=".almamigrate-")
            with os.fdopen(fd, "w", encoding="utf-8") as f:
                json.dump(doc, f, ensure_ascii=False, indent=1)
                f.write("\n")
            os.replace(name, dest)
        except OSError as e:
            raise AnsibleActionFail("cannot write %s on the controller: %s" % (dest, e)) from e
