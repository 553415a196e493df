//! The command line: words of the form `name=value`.

use crate::{memory::Lend, semihosting};

static SPACE: Lend<[u8; 512]> = Lend::new([0; 512]);

/// What the command line says.
#[derive(Clone, Copy)]
pub struct Args(&'static str);

impl Args {
    /// Asks the host, the first time.
    pub(crate) fn take() -> Option<Self> {
        SPACE.take().map(|space| Args(semihosting::command_line(space)))
    }

    /// The value of `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&'static str> {
        let Args(words) = *self;
        let value = |word: &'static str| word.strip_prefix(name)?.strip_prefix('=');
        words.split_ascii_whitespace().find_map(value)
    }

    /// The number behind `name`, if there is one. Panics if it is something else: a wrong test would prove nothing.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        let Ok(number) = value.parse() else { panic!("{name} has to be a number: {value}") };
        Some(number)
    }
}
