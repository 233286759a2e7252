"""`python -P -m workers`: the command line of Celery with Segue's application. `segue worker` runs it.

The working directory may belong to another project, whose `settings.py` must not be executed. Celery searches it for an
application that is named with `-A`, and when it imports tasks. So it gets the application, with the tasks imported.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from logs import events as log
from settings import SettingsError


def main() -> None:
    """Run Celery with the arguments of the command line, `worker …` or `beat …`."""
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # beat reads no configuration; a worker handles it when it is ready
    try:
        import workers.tasks  # noqa: F401
        from workers.app import app
    except SettingsError as error:
        sys.exit(f"segue: {error}")
    # Celery prints lines of its own to its standard output, which have no time and no level.
    sys.stdout = sys.__stdout__ = Path(os.devnull).open("w")  # type: ignore[misc]  # noqa: SIM115
    try:
        sys.exit(app.start(sys.argv[1:]))
    finally:
        log.repeats.flush(all_at_once=True)
        log.PROCESS_STOPPED.write()


if __name__ == "__main__":
    main()
