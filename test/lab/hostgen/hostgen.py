#!/usr/bin/python3
"""hostgen - EL hosts of different make-up from a seed, and what dnf's solver says of them.

  hostgen.py make SEED FROM COUNT OUT    writes OUT/host-NNN: root/ (rpm database, dnf's settings), mirror/ (AlmaLinux), third/
  hostgen.py solve OUT                   one JSON line per host: does the move resolve, what changes, and which packages stand in the way
  hostgen.py command HOST                for one host: does a mere distro-sync resolve, by the API and by the dnf command

The same seed and number give the same host.
"""
import glob
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True


def main():
    if len(sys.argv) == 6 and sys.argv[1] == "make":
        from hosts import Host
        seed, first, count, out = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
        for n in range(first, first + count):
            Host(seed, n).write(out)
    elif len(sys.argv) == 3 and sys.argv[1] == "solve":
        from multiprocessing import get_context

        from solve import solve
        hosts = []
        for path in sorted(glob.glob(os.path.join(sys.argv[2], "host-*", "host.json"))):
            with open(path) as f:
                hosts.append(json.load(f))
        # a process for each: dnf loads its plugins once, and rpm's macros are the process's
        with get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
            answers = pool.imap(solve, [(h, vendor) for h in hosts for vendor in (True, False)], 1)
            for h in hosts:
                print(json.dumps({"number": h["number"], "full": next(answers), "frozen": next(answers)}), flush=True)
    elif len(sys.argv) == 3 and sys.argv[1] == "command":
        from solve import command
        with open(os.path.join(sys.argv[2], "host.json")) as f:
            print(json.dumps(command(json.load(f))))
    else:
        sys.exit(__doc__)


main()
