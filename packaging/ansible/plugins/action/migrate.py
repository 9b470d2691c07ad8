# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os

from ansible.errors import AnsibleActionFail
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import (
    EXIT_FINDINGS, EXIT_OK, EXIT_PENDING, EXIT_REBOOT, EXIT_TEXTS, EXIT_UNSUPPORTED, AgentAction, lean, plan_diff)


class ActionModule(AgentAction):
    ARGUMENTS = {
        "depth": {"type": "str", "default": "branding", "choices": ["branding", "full"]},
        "rollback_depth": {"type": "str", "choices": ["full", "branding", "none"]},
        "accept_no_rollback": {"type": "bool", "default": False},
        "mirror": {"type": "str"},
        "repos": {"type": "dict", "default": {}},
        "override": {"type": "list", "elements": "str", "default": []},
        "reason": {"type": "str"},
        "plan": {"type": "path"},
        "pending": {"type": "str", "default": "resume", "choices": ["resume", "fail"]},
        "args": {"type": "list", "elements": "str", "default": []},
        "reconnect_timeout": {"type": "int", "default": 900},
        "lock_timeout": {"type": "int", "default": 600},
    }

    def act(self, args):
        before = self.status()
        if before["state"] == "running":
            if self._play_context.check_mode:
                return self.unchanged(before, "a run is at work")
            before = dict(before, state=None)  # whatever it comes to is news
            now = self.reattach(args["reconnect_timeout"])
            if now["state"] in ("done", "committed"):
                return self.finish(args, None, now, 0)
            before = now
        if before["state"] in ("done", "committed") and (args["depth"] == "branding" or self.depth_of(before) == "full"):
            return self.unchanged(before, "migrated already: %s" % before.get("title", ""))
        if before["state"] == "pending":
            return self.resume(args, before)
        if before["state"] in ("rolling", "incomplete"):
            raise AnsibleActionFail("a rollback is unfinished (state %s); next: role almamigrate.agent.rollback, or on the host: %s"
                                    % (before["state"], "; ".join(before["next"])))
        if self._play_context.check_mode:
            return self.planned(args)
        argv = ["migrate", "-y"] + self.flags(args) + (["--accept-no-rollback"] if args["accept_no_rollback"] else [])
        if args["plan"]:
            if not os.path.isfile(args["plan"]):
                raise AnsibleActionFail("cannot find the approved plan %s on the controller" % args["plan"])
            argv += ["--plan", self.send(args["plan"])]
        out, now, cuts = self.change(argv, before, args["reconnect_timeout"], args["lock_timeout"])
        if out is not None and out.rc == EXIT_UNSUPPORTED and self.is_almalinux():
            return self.unchanged(before, "AlmaLinux already")
        return self.finish(args, out, now, cuts)

    def flags(self, args):
        argv = ["--full"] if args["depth"] == "full" else []
        if args["rollback_depth"] and args["depth"] == "full":
            argv += ["--rollback-depth", args["rollback_depth"]]
        if args["mirror"]:
            argv += ["--mirror", args["mirror"]]
        for repo, url in sorted(args["repos"].items()):
            argv += ["--repo", "%s=%s" % (repo, url)]
        for finding in args["override"]:
            argv += ["--override", finding]
        if args["override"]:
            if not args["reason"]:
                raise AnsibleActionFail("override needs a reason: it is recorded on the host")
            argv += ["--reason", args["reason"]]
        return argv + args["args"]

    def planned(self, args):
        """Check mode: the plan is the answer."""
        out = self.agent(["plan"] + self.flags(args))
        if out.rc == EXIT_UNSUPPORTED and self.is_almalinux():
            return self.unchanged(self.status(), "AlmaLinux already")
        if out.rc not in (EXIT_OK, EXIT_FINDINGS) or not out.doc or "steps" not in out.doc:
            raise AnsibleActionFail(out.reason(), result={"exit_code": out.rc})
        result = {
            "changed": True, "exit_code": out.rc, "state": "planned", "reboot_required": bool(out.doc.get("reboot_required")),
            "plan": lean(out.doc), "msg": "would become %s: %d packages leave, %d come" % (out.doc["target"], len(out.doc["leaving"]), len(out.doc["coming"])),
        }
        if self._play_context.diff:
            result["diff"] = plan_diff(out.doc)
        if out.doc["blockers"]:
            result.update(failed=True, changed=False, msg="findings stand in the way: %s" % ", ".join(out.doc["blockers"]))
        return result

    def resume(self, args, before):
        if args["pending"] == "fail":
            raise AnsibleActionFail("an interrupted migration is pending at %s; next: %s" % (before.get("at"), "; or ".join(before["next"])))
        if self._play_context.check_mode:
            return dict(self.unchanged(before, "would resume the migration that was interrupted at %s" % before.get("at")), changed=True)
        out, now, cuts = self.change(["migrate", "--resume"], before, args["reconnect_timeout"], args["lock_timeout"])
        return self.finish(args, out, now, cuts)

    def finish(self, args, out, now, cuts):
        """The result of a run, from its outcome or, where the connection was lost, from the status and verify."""
        if out is None and now["state"] == "pending" and args["pending"] == "resume" and cuts:
            # no systemd: the run stopped with the connection, at a safe point
            out, later, more = self.change(["migrate", "--resume"], now, args["reconnect_timeout"], args["lock_timeout"])
            now, cuts = later or now, cuts + more
        rc = self.ended(now) if out is None else out.rc
        doc = (now if out is None else out.doc) or {}
        result = {"exit_code": rc, "exit_text": EXIT_TEXTS.get(rc, "unknown"), "state": doc.get("state"), "change": doc.get("change"),
                  "reboot_required": rc == EXIT_REBOOT or bool(doc.get("reboot_required")), "reconnected": cuts}
        if rc not in (EXIT_OK, EXIT_REBOOT):
            reason = out.reason() if out else "almamigrate exit code %d: %s; %s" % (rc, EXIT_TEXTS[rc], "; ".join(now.get("errors") or now.get("next") or []))
            if rc == EXIT_PENDING:
                reason += "; next: run it again to resume, or role almamigrate.agent.rollback"
            return dict(result, failed=True, changed=False, msg=reason, stderr=out.err if out else "")
        verify = doc.get("verify") or self.agent(["verify"]).doc or {}
        plan = self.plan_of(doc)
        result.update(changed=True, verify=verify, plan=lean(plan), msg="done: %s to %s" % (plan.get("host", {}).get("title", ""), plan.get("target", "")))
        if self._play_context.diff and plan:
            result["diff"] = plan_diff(plan)
        return result

    def unchanged(self, status, msg):
        return {"changed": False, "exit_code": EXIT_OK, "state": status["state"], "change": status.get("change"), "msg": msg,
                "reboot_required": bool(status.get("reboot_required"))}

    def plan_of(self, status):
        """What a change set out to do."""
        return (self.agent(["changes", "show", status["change"]]).doc or {}).get("plan") or {}

    def depth_of(self, status):
        return self.plan_of(status).get("depth")

    def is_almalinux(self):
        out = self.agent(["inventory"])
        return out.rc == EXIT_OK and bool(out.doc) and out.doc["host"]["state"] == "almalinux"
