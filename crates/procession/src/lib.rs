//! procession.
