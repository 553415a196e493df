//! What was measured, for people.

mod text;

pub(crate) use text::text;
