#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/query.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: query
short_description: Ask almamigrate about a host, changing nothing
version_added: 1.0.0
description:
  - Runs C(check), C(plan), C(status), C(verify), C(report), C(inventory) or C(timer status) and returns the document.
  - Parts that are as long as the list of packages are left out of the result. They are in the file of I(dest).
  - C(report) leaves a report on the host. In check mode C(check) is run in its place.
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  command:
    description: What to ask.
    type: str
    required: true
    choices: [check, inventory, plan, report, status, timer, verify]

  args:
    description: Further arguments of the command, as on the command line.
    type: list
    elements: str
    default: []

  dest:
    description: A file of the controller that gets the whole document, as JSON.
    type: path
  binary:
    description: The program on the host, a name in PATH (C(/usr/local/bin) included) or a path.
    type: str
    default: almamigrate
"""

EXAMPLES = r"""
- name: What stands in the way
  almamigrate.agent.query:
    command: check
    dest: reports/{{ inventory_hostname }}.json
  register: judged
"""

RETURN = r"""
document:
  description: What the program answered, without the long lists.
  returned: success
  type: dict
exit_code:
  description: The program's exit code; 10 of C(check) and C(plan) means that there are blockers.
  returned: success
  type: int
dest:
  description: The file with the whole document.
  returned: when asked for
  type: str
"""
