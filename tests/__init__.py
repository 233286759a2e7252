"""The tests."""

import os

# A console keeps the width that it finds here when its module is imported. The readline of a process that starts pytest
# or its workers sets it; a test that states a width sets it itself.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
