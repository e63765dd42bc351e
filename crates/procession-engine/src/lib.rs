//! procession-engine.
