"""The executors of `concurrent.futures`, where those of procession do not run."""

import concurrent.futures
from concurrent.futures import *

__all__ = concurrent.futures.__all__
