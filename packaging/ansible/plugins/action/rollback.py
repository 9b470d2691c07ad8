# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import EXIT_OK, EXIT_REBOOT, EXIT_TEXTS, AgentAction

# States with nothing to take back.
SETTLED = ("nothing", "planned", "rolled-back")


class ActionModule(AgentAction):
    ARGUMENTS = {
        "args": {"type": "list", "elements": "str", "default": []},
        "reconnect_timeout": {"type": "int", "default": 900},
        "lock_timeout": {"type": "int", "default": 600},
    }

    def act(self, args):
        before = self.status()
        if before["state"] == "running" and not self._play_context.check_mode:
            before = self.reattach(args["reconnect_timeout"])
        if before["state"] in SETTLED:
            return {"changed": False, "exit_code": EXIT_OK, "state": before["state"], "msg": "nothing to take back: %s" % before["state"]}
        if before["state"] == "committed":
            raise AnsibleActionFail("the migration was made final: it cannot be taken back")
        since = self.agent(["rollback", "--dry-run"] + args["args"])
        seen = (since.doc or {}).get("since") or {}
        result = {"since": seen, "change": before.get("change")}
        if self._play_context.diff and seen:
            result["diff"] = [{"prepared": "".join("%s: %s\n" % (what, name) for what, key in (
                ("changed since, stays", "packages"), ("yours, stays", "kept"), ("both changed it, yours is kept aside", "clashes"))
                for name in seen.get(key) or [])}]
        if self._play_context.check_mode:
            if since.rc != EXIT_OK:
                raise AnsibleActionFail(since.reason())
            return dict(result, changed=True, exit_code=EXIT_OK, state=before["state"], msg="would take back: %s" % before.get("title", ""))
        out, now, cuts = self.change(["rollback", "-y"] + args["args"], before, args["reconnect_timeout"], args["lock_timeout"])
        rc = self.ended(now) if out is None else out.rc
        if out is None and now["state"] == "rolled-back":
            rc = EXIT_REBOOT if now.get("reboot_required") else EXIT_OK
        doc = (now if out is None else out.doc) or {}
        result.update(exit_code=rc, exit_text=EXIT_TEXTS.get(rc, "unknown"), state=doc.get("state"), reconnected=cuts,
                      reboot_required=rc == EXIT_REBOOT or bool(doc.get("reboot_required")))
        if rc not in (EXIT_OK, EXIT_REBOOT):
            return dict(result, failed=True, changed=True, msg=out.reason() if out else "the rollback ended as %s: %s" % (now["state"], "; ".join(now["next"])))
        return dict(result, changed=True, msg="rolled back: %s" % before.get("title", ""))
