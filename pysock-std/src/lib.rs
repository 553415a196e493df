//! Placeholder while the core is being built.
