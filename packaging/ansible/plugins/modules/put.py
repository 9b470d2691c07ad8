#!/usr/bin/python
# Copyright: the almamigrate authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the work is done on the controller, by plugins/action/put.py."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: put
short_description: Put a file on a host that has no Python
version_added: 1.0.0
description:
  - Copies a file, or content, by sftp or scp; compares by SHA-256 before and after, and replaces the old file at once.
  - The file is root's.
  - Nothing but the program and a shell is needed on the host, no Python.
author:
  - the almamigrate authors (@almamigrate)
options:
  dest:
    description: The file on the host, an absolute path. Folders above it are made.
    type: str
    required: true
  src:
    description: A file of the controller.
    type: path
  content:
    description: What to write, in place of I(src).
    type: str
  checksum:
    description: SHA-256, in hexadecimal, that the file must have, or nothing is sent. It may begin with C(sha256:).
    type: str
  mode:
    description: Its mode, in quotes.
    type: str
    default: "0644"
  state:
    description: C(absent) removes it.
    type: str
    default: present
    choices: [present, absent]
  binary:
    description: The program on the host, a name in PATH (C(/usr/local/bin) included) or a path.
    type: str
    default: almamigrate
"""

EXAMPLES = r"""
- name: The program
  almamigrate.agent.put:
    src: dist/almamigrate-linux-amd64
    dest: /usr/local/bin/almamigrate
    mode: "0755"
"""

RETURN = r"""
checksum:
  description: SHA-256 of the file.
  returned: when it is present
  type: str
"""
