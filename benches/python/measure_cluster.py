"""Measures one scenario once on an engine's cluster and prints its figure as JSON.

Usage: python measure_cluster.py FUNCTION ENGINE LIBRARY

The library is the engine's own name, or procession.
"""

import json
import sys

from scenarios import clusters

if __name__ == "__main__":
    function, engine, library = sys.argv[1:]
    value = getattr(clusters, function)(engine, library)
    print(json.dumps({"value": value, "library": library}))
