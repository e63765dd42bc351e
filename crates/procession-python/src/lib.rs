//! procession-python.
