# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import time

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.almamigrate.agent.plugins.plugin_utils.agent import AgentAction

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


class ActionModule(AgentAction):
    ARGUMENTS = {
        "timeout": {"type": "int", "default": 900},
        "command": {"type": "str", "default": "systemctl reboot"},
    }

    def act(self, args):
        if self._play_context.check_mode:
            return {"changed": True, "msg": "would reboot"}
        before = self.boot_id()
        if not before:
            raise AnsibleActionFail("cannot tell one boot from another: %s gave nothing" % BOOT_ID)
        began = time.monotonic()
        try:
            # In the background and a moment later, so that the answer gets through; the end of the terminal is not its end.
            rc, out, err = self.sh("trap '' HUP; (sleep 1; %s) </dev/null >/dev/null 2>&1 & echo started" % args["command"])
            if rc != 0:
                raise AnsibleActionFail("cannot reboot: %s" % (err or out).strip())
        except AnsibleConnectionFailure:
            pass  # it was quick
        while time.monotonic() - began < args["timeout"]:
            time.sleep(2)
            try:
                self._connection.reset()
                now = self.boot_id()
            except (AnsibleConnectionFailure, AttributeError):
                continue
            if now and now != before:
                return {"changed": True, "elapsed": int(time.monotonic() - began), "msg": "rebooted"}
        raise AnsibleActionFail("the host has not booted anew after %d s" % args["timeout"])

    def boot_id(self):
        rc, out, dummy = self.sh(BOOT_ID)
        return out.strip() if rc == 0 else ""
