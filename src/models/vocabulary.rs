//! The texts that a category column tells apart, and where each one's count stands.
//!
//! Texts are the identity: two vocabularies may number the same texts differently, and evidence is added by text.

use std::collections::HashMap;
use std::sync::Arc;

/// Texts in the order of their slots. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    texts: Vec<Arc<str>>,
    slots: HashMap<Arc<str>, usize>,
}

impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.texts == other.0.texts
    }
}

impl Vocabulary {
    /// The number of texts.
    pub fn len(&self) -> usize {
        self.0.texts.len()
    }

    /// The text in `slot`.
    pub fn text(&self, slot: usize) -> &str {
        &self.0.texts[slot]
    }

    /// All texts in slot order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.texts.iter().map(AsRef::as_ref)
    }

    /// Where `text` stands.
    pub fn slot(&self, text: &str) -> Option<usize> {
        self.0.slots.get(text).copied()
    }

    /// Where `text` stands, after appending it if it was not there.
    pub fn insert(&mut self, text: &str) -> usize {
        if let Some(slot) = self.slot(text) {
            return slot;
        }
        let inner = Arc::make_mut(&mut self.0);
        let (text, slot) = (Arc::<str>::from(text), inner.texts.len());
        inner.texts.push(Arc::clone(&text));
        inner.slots.insert(text, slot);
        slot
    }

    /// Appends what `other` has beside, and says where each of its slots stands here: `None` where nothing moves.
    pub fn absorb(&mut self, other: &Self) -> Option<Vec<usize>> {
        if Arc::ptr_eq(&self.0, &other.0) || self.0.texts.starts_with(&other.0.texts) {
            return None;
        }
        if other.0.texts.starts_with(&self.0.texts) {
            self.0 = Arc::clone(&other.0);
            return None;
        }
        Some(other.0.texts.iter().map(|text| self.insert(text)).collect())
    }

    /// Only the texts whose slot is to be kept, in the same order.
    pub fn keep(&self, mut kept: impl FnMut(usize) -> bool) -> Self {
        let mut vocabulary = Self::default();
        for (_, text) in self.texts().enumerate().filter(|(slot, _)| kept(*slot)) {
            vocabulary.insert(text);
        }
        vocabulary
    }
}

impl<'a> FromIterator<&'a str> for Vocabulary {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut vocabulary = Self::default();
        for text in texts {
            vocabulary.insert(text);
        }
        vocabulary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absorbing_maps_slots_by_text() {
        let mut left: Vocabulary = ["a", "b"].into_iter().collect();
        let right: Vocabulary = ["c", "b", "d"].into_iter().collect();
        assert_eq!(left.absorb(&right), Some(vec![2, 1, 3]));
        assert_eq!(left.texts().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(left.absorb(&["a", "b"].into_iter().collect()), None);
        let mut start: Vocabulary = ["a"].into_iter().collect();
        assert_eq!(start.absorb(&left), None);
        assert_eq!(start, left);
        assert_eq!(left.keep(|slot| slot != 1).texts().collect::<Vec<_>>(), ["a", "c", "d"]);
    }
}
