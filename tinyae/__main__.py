"""``python -m tinyae`` is ``tinyae``. Ring 8."""

import sys

from .cli import main

sys.exit(main())
