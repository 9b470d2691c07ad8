#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/migrate.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: migrate
short_description: Turn a host into AlmaLinux
version_added: 1.0.0
description:
  - Runs C(almamigrate migrate) to its end. Where systemd runs it is a unit of its own on the host: when the connection breaks, the plugin connects again and follows it.
  - A host that was migrated before, or is AlmaLinux, is left as it is.
  - In check mode nothing is changed and the plan is returned; with C(--diff) it shows packages, repository files and keys.
  - An interrupted migration is resumed. A failed one was taken back by the program itself (exit code 20).
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  depth:
    description: C(branding) swaps the packages that make the host what it is; C(full) moves all packages, kernel and boot loader as well.
    type: str
    default: branding
    choices: [branding, full]
  rollback_depth:
    description: "With I(depth=full): how far a rollback can go, C(full) (all packages are saved), C(branding) or C(none)."
    type: str
    choices: [full, branding, none]
  accept_no_rollback:
    description: With I(rollback_depth=none), that there is no way back.
    type: bool
    default: false
  mirror:
    description: URL of an AlmaLinux tree. One with a password belongs into almamigrate.conf, see the role install.
    type: str
  repos:
    description: URLs of single repositories, by id.
    type: dict
    default: {}
  override:
    description: Ids of blockers to go on in spite of.
    type: list
    elements: str
    default: []
  reason:
    description: Why; it is recorded on the host. Needed with I(override).
    type: str
  plan:
    description: A plan on the controller that was approved. The host refuses it when its packages or the repositories changed since.
    type: path
  pending:
    description: What to do with a migration that was interrupted earlier.
    type: str
    default: resume
    choices: [resume, fail]

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
- name: Carry out what was approved
  almamigrate.agent.migrate:
    plan: plans/{{ inventory_hostname }}.json
  register: moved
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

plan:
  description: What was done, or in check mode would be, without the list of all packages.
  returned: when something was done or would be
  type: dict
verify:
  description: What C(almamigrate verify) found at the end.
  returned: when something was done
  type: dict
"""
