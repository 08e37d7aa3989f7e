"""The DAGs, and the command line that runs them. This package alone knows Prefect and Dask."""

import logging
import os

# Prefect reads these when it is imported. It stays quiet, reports nothing home, has time to start its own server on a busy
# machine, and records every task run of a large flow.
for name, value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}.items():
    os.environ.setdefault(name, value)

# Where connections break, aiohttp leaves behind tasks whose errors nobody asks for, and asyncio would print a traceback of each.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
