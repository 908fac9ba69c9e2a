"""`python -m petset`: the command line."""

import sys

from petset.cli.main import main

sys.exit(main())
