"""Makes `python bench/NAME.py` do what `python -m bench.NAME` does.

Python puts the folder of a script first on its path. There `import lanes` would find the benchmark `lanes`, and
`import bench` finds this module, which puts the root of the repository in the folder's place and imports the package
`bench` in its own place. So a benchmark imports `bench` before the packages that it measures.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])
del sys.modules[__name__]
importlib.import_module(__name__)
