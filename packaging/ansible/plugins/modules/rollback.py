#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/rollback.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: rollback
short_description: Take a host back to what it was
version_added: 1.0.0
description:
  - Runs C(almamigrate rollback) to its end, over broken connections as M(almamigrate.agent.migrate) does.
  - Where there is nothing to take back, nothing is done.
  - In check mode nothing is changed; what changed since the migration is in I(since), and shown with C(--diff).
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  args:
    description: Further arguments of the command, as on the command line.
    type: list
    elements: str
    default: []

  reconnect_timeout:
    description: How many seconds the host may give no answer after the connection broke in the middle.
    type: int
    default: 900
  lock_timeout:
    description: How many seconds to wait for another dnf, rpm or almamigrate to finish.
    type: int
    default: 600
  binary:
    description: The program on the host, a name in PATH (C(/usr/local/bin) included) or a path.
    type: str
    default: almamigrate
"""

EXAMPLES = r"""
- name: Back to where it was
  almamigrate.agent.rollback:
"""

RETURN = r"""
exit_code:
  description: The program's exit code, as in its documentation.
  returned: always
  type: int
state:
  description: Where the migration stands, as C(almamigrate status) says.
  returned: always
  type: str
change:
  description: The id of the change.
  returned: when there is one
  type: str
reboot_required:
  description: Whether the host has to be rebooted.
  returned: always
  type: bool
reconnected:
  description: How often the connection broke and the run was found again.
  returned: when the program ran
  type: int

since:
  description: Packages and files that changed after the migration, and what becomes of them.
  returned: when there is something to take back
  type: dict
"""
