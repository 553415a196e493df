//! Whether memory stays flat.

/// The last quarter may have so much of what the second had.
const FLAT: f64 = 1.05;

/// Samples of one process, evenly spaced.
#[derive(Default)]
pub(super) struct Memory(pub(super) Vec<f64>);

impl Memory {
    /// The median of the last quarter, relative to that of the second: the first is for growing to size.
    pub(super) fn growth(&self) -> Option<f64> {
        let quarter = self.0.len() / 4;
        let median = |part: &[f64]| {
            let mut sorted = part.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied()
        };
        let second = median(self.0.get(quarter..2 * quarter)?)?;
        Some(median(self.0.get(self.0.len() - quarter..)?)? / second)
    }

    /// The same in words, and whether it is flat.
    pub(super) fn verdict(&self, whose: &str) -> (String, bool) {
        match self.growth() {
            Some(growth) => {
                let flat = growth <= FLAT;
                let word = if flat { "flat" } else { "GROWING" };
                (format!("{whose}: {growth:.3} × (≤ {FLAT}): {word}"), flat)
            }
            None => (format!("{whose}: too short to tell"), false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_counts_against_the_second() {
        let memory = Memory(vec![1.0, 1.0, 10.0, 10.0, 90.0, 90.0, 11.0, 11.0]);
        assert_eq!(memory.growth(), Some(1.1));
        assert!(!memory.verdict("it").1);
        assert!(Memory(vec![9.0; 40]).verdict("it").1);
        assert!(!Memory(vec![9.0; 3]).verdict("it").1);
    }
}
