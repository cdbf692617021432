//! A map in a sorted list. Few things are kept here and most come in order, so it is as quick as a tree; and a tree of
//! each kind would be a tenth of the wasm.

use std::borrow::Borrow;
use std::collections::VecDeque;

#[derive(Debug, Clone)]
pub(super) struct Sorted<K, V>(VecDeque<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted(VecDeque::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        // What comes last mostly belongs at the end.
        match self.0.back() {
            Some((last, _)) if last.borrow() >= key => self.0.binary_search_by(|(other, _)| other.borrow().cmp(key)),
            _ => Err(self.0.len()),
        }
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| &self.0[place].1)
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| &mut self.0[place].1)
    }

    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Returns what stood there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place].1, value)),
            Err(place) => {
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.0.remove(place).map(|(_, value)| value)
    }

    pub fn pop_first(&mut self) {
        self.0.pop_front();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// How many keys are at most this one.
    pub fn count_through<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        match self.place(key) {
            Ok(place) => place + 1,
            Err(place) => place,
        }
    }

    /// Those after `key`, up to `last` included.
    pub fn between<'a, Q: Ord + ?Sized>(&'a self, key: &Q, last: &Q) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, Q, K, V>
    where
        K: Borrow<Q>,
    {
        let (start, end) = (self.count_through(key), self.count_through(last));
        self.0.range(start..end.max(start)).map(|(key, value)| (key, value))
    }

    /// Removes those up to `key` included.
    pub fn remove_through<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.drain(..self.count_through(key));
    }

    /// Removes those after `key`.
    pub fn remove_after<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.truncate(self.count_through(key));
    }

    /// All, in order.
    pub fn into_iter(self) -> impl DoubleEndedIterator<Item = (K, V)> {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_order_whatever_the_order_of_insertion() {
        let mut map: Sorted<u64, char> = Sorted::default();
        for (key, value) in [(5, 'a'), (1, 'b'), (9, 'c'), (3, 'd')] {
            assert_eq!(map.insert(key, value), None);
        }
        assert_eq!(map.insert(3, 'e'), Some('d'));
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [1, 3, 5, 9]);
        assert_eq!((map.get(&3), map.get(&4), map.contains_key(&9)), (Some(&'e'), None, true));
        assert_eq!((map.count_through(&0), map.count_through(&3), map.count_through(&4), map.count_through(&10)), (0, 2, 2, 4));
        assert_eq!(map.between(&1, &5).map(|(key, _)| *key).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(map.between(&9, &1).count(), 0);
        assert_eq!((map.remove(&5), map.remove(&5)), (Some('a'), None));
        let mut rest = map.clone();
        rest.pop_first();
        assert_eq!(rest.keys().copied().collect::<Vec<_>>(), [3, 9]);
        map.remove_through(&2);
        map.remove_after(&8);
        assert_eq!(map.clone().into_iter().collect::<Vec<_>>(), [(3, 'e')]);
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [3]);
        map.remove_through(&3);
        assert!(map.is_empty());
    }
}
