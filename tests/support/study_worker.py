"""A worker of a study that finds the made-up table: run as `python -m tests.support.study_worker`."""

import sys

from graph.campaign import circumstances
from studies.ablation.worker import main
from tests.support.recorded import make_table

if __name__ == "__main__":
    table = make_table()
    circumstances.open_recorded = lambda name: table
    main(sys.argv[1], sys.argv[2])
