"""`python -m tulle.proxy`: see `tulle.proxy.main`."""

from tulle.kit.deferred import NEVER, defer
from tulle.kit.spare import LIBRARIES, spare

spare(*LIBRARIES)
defer(NEVER)

from tulle.proxy.main import main

raise SystemExit(main())
