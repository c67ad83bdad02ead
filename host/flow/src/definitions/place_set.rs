//! A set of approved entries, by their places.

/// A set of places, one bit for each. A caller has one for each list, so it is small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlaceSet(Vec<u64>);

impl PlaceSet {
    pub(super) fn insert(&mut self, place: usize) {
        let word = place / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (place % 64);
        }
    }

    pub(super) fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|bits| bits & (1 << (place % 64)) != 0)
    }

    pub(super) fn remove_all(&mut self, others: &Self) {
        for (bits, others) in self.0.iter_mut().zip(&others.0) {
            *bits &= !others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_added_and_removed() {
        let mut set = PlaceSet::default();
        for place in [0, 63, 64, 1000] {
            assert!(!set.has(place));
            set.insert(place);
            assert!(set.has(place) && !set.has(place + 1));
        }
        let mut others = PlaceSet::default();
        others.insert(64);
        set.remove_all(&others);
        assert!(set.has(0) && set.has(63) && !set.has(64) && set.has(1000));
    }
}
