"""What is measured, one module per group. A scenario is a function from a context to its figure.

The modules are what ordinary programs are: they know contexts of ``multiprocessing`` and nothing of who runs them.
"""
