"""What Ray's clusters of these tests are started with, before anything imports Ray."""

import os
import secrets

# A secret of these tests, so that Ray reads and writes none in the home of who runs them.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
