"""`python -m tulle.proxy`: see `tulle.proxy.main`."""

from tulle.kit.spare import LIBRARIES, spare

spare(*LIBRARIES)

from tulle.proxy.main import main

raise SystemExit(main())
