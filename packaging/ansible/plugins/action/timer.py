# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import EXIT_OK, AgentAction, ConnectionCut


class ActionModule(AgentAction):
    ARGUMENTS = {"enabled": {"type": "bool", "required": True}}

    def act(self, args):
        want = args["enabled"]
        now = self.query(["timer", "status"]).doc
        if (now["enabled"] and now["active"]) == want and now["enabled"] == now["active"]:
            return {"changed": False, "timer": now}
        if self._play_context.check_mode:
            return {"changed": True, "timer": now}
        try:
            out = self.agent(["timer", "enable" if want else "disable"])
        except ConnectionCut as e:
            raise AnsibleActionFail("the connection broke: %s" % e) from e
        if out.rc != EXIT_OK:
            raise AnsibleActionFail(out.reason())
        return {"changed": True, "timer": out.doc}
