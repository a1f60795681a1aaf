//! Lists of what a unit's vectors read and write, kept from unit to unit.

/// Several lists, one after the other.
pub(super) struct Lists<T> {
    pub(super) all: Vec<T>,
    /// Where each list begins, and where the last one ends.
    starts: Vec<usize>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self {
            all: vec![],
            starts: vec![0],
        }
    }
}

impl<T> Lists<T> {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.starts.truncate(1);
    }

    /// What follows is another list.
    pub(super) fn end_list(&mut self) {
        self.starts.push(self.all.len());
    }

    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    #[inline(always)]
    pub(super) fn list(&self, index: usize) -> &[T] {
        &self.all[self.starts[index]..self.starts[index + 1]]
    }
}
