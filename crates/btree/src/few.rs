use std::ops::{Deref, DerefMut};

/// A list of at most `N` small items that needs no allocation.
///
/// Reads like a slice. Adding to a full list is a bug of the caller, who knows how many items there
/// can be, and panics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Few<T, const N: usize> {
    /// Those from `count` on are meaningless.
    items: [T; N],
    count: u8,
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// The list's one bound that the compiler can see: `count` must hold it.
    const FITS: () = assert!(N <= u8::MAX as usize);

    pub(crate) fn new() -> Self {
        let () = Self::FITS;
        Self { items: [T::default(); N], count: 0 }
    }

    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.count) == N
    }

    pub(crate) fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    pub(crate) fn insert(&mut self, at: usize, item: T) {
        assert!(!self.is_full() && at <= self.len(), "{at} in {} of {N}", self.len());
        self.count += 1;
        // The item behind the last one, which has just been counted in, comes to `at`.
        if let Some(tail) = self.get_mut(at..) {
            tail.rotate_right(1);
        }
        if let Some(place) = self.get_mut(at) {
            *place = item;
        }
    }

    /// Takes out the item at `at`, if there is one.
    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let tail = self.get_mut(at..)?;
        let item = *tail.first()?;
        tail.rotate_left(1);
        self.count -= 1;
        Some(item)
    }

    /// Takes out the last item, if there is one.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.last().copied()?;
        self.count -= 1;
        Some(last)
    }

    /// Takes out all items from `at` on; none if there are fewer.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let mut tail = Self::new();
        tail.extend(self.get(at..).unwrap_or_default());
        self.count -= tail.count;
        tail
    }

    pub(crate) fn extend(&mut self, items: &[T]) {
        items.iter().for_each(|item| self.push(*item));
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.items.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl<T, const N: usize> DerefMut for Few<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.items.get_mut(..usize::from(self.count)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It behaves as a `Vec` does.
    #[test]
    fn agrees_with_a_vec() {
        let (mut few, mut vec) = (Few::<u32, 9>::new(), Vec::new());
        for (n, at) in [0, 0, 1, 3, 2, 5, 0, 7, 4].into_iter().enumerate() {
            few.insert(at, n as u32);
            vec.insert(at, n as u32);
            assert_eq!(*few, *vec);
        }
        assert!(few.is_full());
        assert_eq!(*few.split_off(5), *vec.split_off(5));
        assert_eq!(few.remove(1), Some(vec.remove(1)));
        assert_eq!(few.remove(4), None);
        assert_eq!(few.pop(), vec.pop());
        assert_eq!(*few, *vec);
    }
}
