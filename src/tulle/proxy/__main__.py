"""`python -m tulle.proxy`."""

import sys

from tulle.proxy.main import main

sys.exit(main())
