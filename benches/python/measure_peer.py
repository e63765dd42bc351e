"""Measures one scenario once on another library's pool and prints its figure as JSON.

Usage: python measure_peer.py FUNCTION PEER
"""

import json
import sys

from scenarios import peers

if __name__ == "__main__":
    function, peer = sys.argv[1:]
    value = getattr(peers, function)(peer)
    # Threads of an interpreter without a GIL run at the same time, which is to be said of theirs.
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    note = "without a GIL" if peer == "ThreadPoolExecutor" and not has_gil else ""
    print(json.dumps({"value": value, "note": note, "library": peer}))
