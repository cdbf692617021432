//! A map in a sorted list. Few things are kept here and most come in order, so it is as quick as a tree; and a tree of
//! each kind would be a tenth of the wasm.

use std::borrow::Borrow;
use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub(crate) struct Sorted<K, V> {
    items: Vec<(K, Option<V>)>,
    /// So many have left from the front, as most do, and have no value any more: their places are given back together.
    left: usize,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { items: Vec::new(), left: 0 }
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// The place among all items.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        place_among(self.left, self.items.len(), &mut |place| self.items[place].0.borrow().cmp(key))
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.items[self.place(key).ok()?].1.as_ref()
    }

    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.items[place].1.as_mut()
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
            Ok(place) => self.items[place].1.replace(value),
            Err(place) => {
                self.items.insert(place, (key, Some(value)));
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        if place > self.left {
            return self.items.remove(place).1;
        }
        let value = self.items[place].1.take();
        self.left += 1;
        if self.left * 2 > self.items.len() {
            self.remove_before(self.left);
        }
        value
    }

    pub fn last(&self) -> Option<&V> {
        self.items.last().and_then(|(_, value)| value.as_ref())
    }

    pub fn len(&self) -> usize {
        self.items.len() - self.left
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        present(&self.items[self.left..])
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.items.iter_mut().filter_map(|(_, value)| value.as_mut())
    }

    /// How many keys are at most this one.
    pub fn count_through<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.place_after(key) - self.left
    }

    /// The place behind all keys that are at most this one.
    fn place_after<Q: Ord + ?Sized>(&self, key: &Q) -> usize
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
        let (start, end) = (self.place_after(key), self.place_after(last));
        present(&self.items[start..end.max(start)])
    }

    /// Those after `key`.
    pub fn after<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)> + use<'_, Q, K, V>
    where
        K: Borrow<Q>,
    {
        present(&self.items[self.place_after(key)..])
    }

    /// Removes the first one, where there is one.
    pub fn pop_first(&mut self) {
        self.remove_before((self.left + 1).min(self.items.len()));
    }

    /// Removes those up to `key` included.
    pub fn remove_through<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.remove_before(self.place_after(key));
    }

    fn remove_before(&mut self, place: usize) {
        self.items.drain(..place);
        self.left = 0;
    }

    /// Removes those after `key`.
    pub fn remove_after<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.items.truncate(self.place_after(key));
    }

    /// Removes those that are not to be kept.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &V) -> bool) {
        self.items.retain(|(key, value)| value.as_ref().is_some_and(|value| keeps(key, value)));
        self.left = 0;
    }

    /// All, in order.
    pub fn into_iter(self) -> impl DoubleEndedIterator<Item = (K, V)> {
        self.items.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

/// Where the item stands among those from `start` to `end`, or belongs. `compare` tells how the one at a place compares to it. One
/// function for all maps: a page would load one for each.
fn place_among(start: usize, end: usize, compare: &mut dyn FnMut(usize) -> Ordering) -> Result<usize, usize> {
    // What comes last mostly belongs at the end.
    if start == end || compare(end - 1) == Ordering::Less {
        return Err(end);
    }
    let (mut low, mut high) = (start, end);
    while low < high {
        let middle = low.midpoint(high);
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(middle),
            Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

fn present<K, V>(items: &[(K, Option<V>)]) -> impl Iterator<Item = (&K, &V)> {
    items.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)))
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
        assert_eq!(map.after(&4).collect::<Vec<_>>(), [(&5, &'a'), (&9, &'c')]);
        assert_eq!((map.remove(&5), map.remove(&5)), (Some('a'), None));
        let mut rest = map.clone();
        rest.pop_first();
        assert_eq!(rest.keys().copied().collect::<Vec<_>>(), [3, 9]);
        rest.retain(|key, _| *key > 3);
        assert_eq!(rest.iter().collect::<Vec<_>>(), [(&9, &'c')]);
        map.remove_through(&2);
        map.remove_after(&8);
        assert_eq!(map.clone().into_iter().collect::<Vec<_>>(), [(3, 'e')]);
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [3]);
        map.remove_through(&3);
        assert!(map.is_empty());
    }

    #[test]
    fn what_has_left_from_the_front_is_nowhere_to_be_found() {
        let mut map: Sorted<u64, u64> = Sorted::default();
        for key in 0..100 {
            map.insert(key, key * 2);
        }
        for gone in 1..100 {
            assert_eq!(map.remove(&(gone - 1)), Some((gone - 1) * 2));
            assert_eq!((map.get(&(gone - 1)).copied(), map.remove(&(gone - 1)), map.get_mut(&gone).copied()), (None, None, Some(gone * 2)));
            assert_eq!((map.len(), map.count_through(&gone), map.count_through(&0)), (100 - gone as usize, 1, 0));
            assert_eq!((map.keys().next(), map.values().count(), map.last()), (Some(&gone), map.len(), Some(&198)));
            assert_eq!(map.between(&0, &gone).count() + map.after(&gone).count(), map.len());
        }
        assert_eq!((map.remove(&99), map.is_empty(), map.last(), map.iter().next()), (Some(198), true, None, None));
        map.pop_first();
        for key in 5..10 {
            map.insert(key, key);
        }
        map.remove(&5);
        let mut other = map.clone();
        other.pop_first();
        map.insert(5, 6);
        assert_eq!(map.clone().into_iter().collect::<Vec<_>>(), [(5, 6), (6, 6), (7, 7), (8, 8), (9, 9)]);
        assert_eq!(other.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [7, 8, 9]);
        map.remove(&5);
        map.remove_after(&7);
        map.values_mut().for_each(|value| *value += 1);
        map.retain(|key, _| *key > 6);
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [(7, 8)]);
    }
}
