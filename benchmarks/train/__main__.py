"""Training: where the time of a step goes, whether encoding waits for reading, memory computed and measured, a base in few bits.

On the embedded model, and on blocks of the width of Wan 1.3B with random weights.
"""

import sys

import torch

from ..measure.report import main


def tables(arguments):
    """One table of each."""
    from . import bits, memory, stage1, steps

    with torch.inference_mode(False):
        yield steps.table(arguments.quick)
        yield stage1.table(arguments.quick)
        yield memory.table(arguments.quick, arguments.layers)
        yield bits.table(arguments.quick)


if __name__ == "__main__":
    sys.exit(main("train", __doc__, tables, sys.argv[1:]))
