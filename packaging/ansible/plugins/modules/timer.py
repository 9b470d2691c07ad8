#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/timer.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: timer
short_description: Turn the daily report of a host on or off
version_added: 1.0.0
description:
  - Runs C(almamigrate timer enable) or C(disable) where the timer is not what is wanted.
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  enabled:
    description: Whether the host reports daily.
    type: bool
    required: true
  binary:
    description: The program on the host, a name in PATH (C(/usr/local/bin) included) or a path.
    type: str
    default: almamigrate
"""

EXAMPLES = r"""
- name: Report daily
  almamigrate.agent.timer:
    enabled: true
"""

RETURN = r"""
timer:
  description: What systemd knows of the timer.
  returned: success
  type: dict
"""
