"""The developer's commands: `demo`, `test`, `serve`, `run`, `download`, `workflows`, `bench`, `readme` and `setup`.

`python dev.py --help` says what each does.

This file keeps to syntax that any Python can read, so that an old one gets a sentence and not a traceback.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit("dev.py needs Python 3.10 or newer; this is Python %d.%d." % sys.version_info[:2])  # noqa: UP031

from devtools.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
