"""`python -m tulle.agent`: see `tulle.agent.main`."""

from tulle.kit.spare import LIBRARIES, spare

spare(*LIBRARIES)

from tulle.agent.main import main

raise SystemExit(main())
