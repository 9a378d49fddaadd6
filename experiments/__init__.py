"""Commands that train, ask and compare recurrent networks; README.md beside this file maps them."""

import sys

from experiments.config.begin import begin

if sys.argv[:1] == ["-m"]:  # Python is looking for the module that it was told to run
    begin()
