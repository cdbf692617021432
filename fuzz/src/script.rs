//! An input read as a script: what happens to a machine, one byte for what and some for how.

/// Takes from the front of an input; what is missing is zero.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte; `None` at the end.
    pub fn step(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `limit`, which is 256 at most.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.step().unwrap_or(0)) % limit
    }

    /// A number of two bytes.
    pub fn number(&mut self) -> u64 {
        u64::from(self.step().unwrap_or(0)) << 8 | u64::from(self.step().unwrap_or(0))
    }

    /// Bytes, as many as the number before them says or as there are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.number()).unwrap_or(0).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
