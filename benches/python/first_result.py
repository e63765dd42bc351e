"""What `import-pool` runs: imports a package, makes a pool of two and gets one result.

Usage: python first_result.py PACKAGE START_METHOD
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    with import_module(sys.argv[1]).get_context(sys.argv[2]).Pool(2) as pool:
        assert pool.apply(abs, (-1,)) == 1
