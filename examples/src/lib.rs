//! Programs that show pysock at work; they are in `examples/examples/`.
