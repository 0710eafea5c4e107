"""``python -m jupyter_agent.hosts.cli`` where the ``jupyter-agent`` command is not on the path."""

import sys

from . import main

sys.exit(main())
