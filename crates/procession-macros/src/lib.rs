//! procession-macros.
