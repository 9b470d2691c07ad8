#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/reboot.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: reboot
short_description: Reboot a host and wait for it
version_added: 1.0.0
description:
  - Reboots and waits until the host answers with another boot id.
  - It does what M(ansible.builtin.reboot) does, without gathering facts, and so without Python on the host.
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  timeout:
    description: How many seconds the host has.
    type: int
    default: 900
  command:
    description: What reboots it, a command of its shell.
    type: str
    default: systemctl reboot
  binary:
    description: The program on the host, a name in PATH (C(/usr/local/bin) included) or a path.
    type: str
    default: almamigrate
"""

EXAMPLES = r"""
- name: Boot the new kernel
  almamigrate.agent.reboot:
    timeout: 1200
"""

RETURN = r"""
elapsed:
  description: Seconds until the host was back.
  returned: success
  type: int
"""
