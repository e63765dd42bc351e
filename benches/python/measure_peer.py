"""Measures one scenario once on another library's pool and prints its figure as JSON.

Usage: python measure_peer.py FUNCTION PEER
"""

import json
import sys

from scenarios import peers

if __name__ == "__main__":
    value = getattr(peers, sys.argv[1])(sys.argv[2])
    print(json.dumps({"value": value, "library": sys.argv[2]}))
