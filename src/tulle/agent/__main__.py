"""`python -m tulle.agent`: see `tulle.agent.main`."""

from tulle.kit.deferred import SELDOM, defer
from tulle.kit.spare import LIBRARIES, spare

spare(*LIBRARIES)
defer(SELDOM)

from tulle.agent.main import main

raise SystemExit(main())
