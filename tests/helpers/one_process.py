"""Runs `experiments.imdb` on the small corpus of the tests: one of the processes of a run.

python tests/helpers/one_process.py [flags of experiments.imdb]
"""

import sys

from small_run import TEXT

import experiments.data.reviews
from experiments import imdb
from experiments.config import cli

experiments.data.reviews.load_text = lambda *_: TEXT
cli.run(lambda: imdb.main(sys.argv[1:]))
