"""`experiments.imdb` on the small corpus of the tests: one of the processes of a run.

python tests/one_process.py [flags of experiments.imdb]
"""

import sys

from test_runner import TEXT

import experiments.data
from experiments import cli, imdb

experiments.data.load_text = lambda *_: TEXT
cli.run(lambda: imdb.main(sys.argv[1:]))
