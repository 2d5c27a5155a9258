//! Which texts the classes of a category are.

use super::classes::{contrast, pairs};
use super::joint::Joint;
use super::target::Site;
use crate::checkpoint::{CheckpointError, Reader, Tensor};
use crate::models::vocabulary::Vocabulary;

/// Texts in the order in which they were met, a class each. Classes that no text has yet are all alike. Once there are as many texts as
/// classes, all further ones are of the last class.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// 0 if the target is no category.
    classes: usize,
    texts: Vocabulary,
}

const NAME: &str = "classes.texts";

impl Labels {
    /// No text met yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, texts: Vocabulary::default() }
    }

    /// How many classes have a text.
    pub fn known(&self) -> usize {
        self.texts.len()
    }

    /// The text of a class.
    pub fn text(&self, class: usize) -> Option<&str> {
        (class < self.known()).then(|| self.texts.text(class))
    }

    /// The class of a text.
    pub fn class(&self, text: &str) -> usize {
        self.texts.slot(text).unwrap_or(self.known().min(self.classes - 1))
    }

    /// The class of a text, which is known from now on.
    pub fn meet(&mut self, text: &str) -> usize {
        if self.known() < self.classes { self.texts.insert(text) } else { self.class(text) }
    }

    /// Meets the texts of `other`, and says which class here each class there is: `None` where nothing moves.
    pub fn absorb(&mut self, other: &Self) -> Option<Vec<usize>> {
        let mut moved = self.texts.absorb(&other.texts)?;
        if self.known() > self.classes {
            self.texts = self.texts.keep(|slot| slot < self.classes);
        }
        moved.iter_mut().for_each(|class| *class = (*class).min(self.classes - 1));
        let free: Vec<usize> =
            (0..self.classes).filter(|class| !moved.contains(class)).take(self.classes - moved.len()).collect();
        moved.extend(free);
        Some(moved)
    }

    /// As a tensor.
    pub fn tensor(&self) -> Option<Tensor> {
        (self.classes > 0).then(|| Tensor::text(NAME, self.texts.texts().map(str::to_owned).collect()))
    }

    /// What [`tensor`](Self::tensor) gave.
    pub fn restore(classes: usize, reader: Reader<'_>) -> Result<Self, CheckpointError> {
        if classes == 0 {
            return Ok(Self::new(0));
        }
        let texts = reader.text(NAME)?;
        if texts.len() > classes {
            let detail = format!("{} texts, expected at most {classes}", texts.len());
            return Err(CheckpointError::BadValue { name: NAME.into(), detail });
        }
        Ok(Self { classes, texts: texts.iter().map(String::as_str).collect() })
    }
}

/// Sums of contrasts where class c is called `moved[c]`.
pub fn renumber_sums(pseudo: &[Joint], moved: &[usize]) -> Vec<Joint> {
    let mut out = vec![Joint::nothing(pseudo[0].target()); pseudo.len()];
    for ((c, k), joint) in pairs(moved.len()).zip(pseudo).filter(|((c, k), _)| moved[*c] != moved[*k]) {
        let (at, flipped) = contrast(moved.len(), moved[c], moved[k]);
        let mut joint = joint.clone();
        if flipped {
            joint.flip();
        }
        out[at].add(&joint);
    }
    out
}

/// An event's pseudo-observations `[events, contrasts]` where class c is called `moved[c]`.
pub fn renumber_sites(sites: &[Site], moved: &[usize]) -> Vec<Site> {
    let contrasts = moved.len() * (moved.len() - 1) / 2;
    let mut out = vec![Site::default(); sites.len()];
    for (out, sites) in out.chunks_exact_mut(contrasts).zip(sites.chunks_exact(contrasts)) {
        for ((c, k), site) in pairs(moved.len()).zip(sites).filter(|((c, k), _)| moved[*c] != moved[*k]) {
            let (at, flipped) = contrast(moved.len(), moved[c], moved[k]);
            out[at].weight += site.weight;
            out[at].shift += if flipped { -site.shift } else { site.shift };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(classes: usize, texts: &[&str]) -> Labels {
        Labels { classes, texts: texts.iter().copied().collect() }
    }

    #[test]
    fn classes_are_the_same_by_their_texts() {
        let mut ours = labels(4, &["a", "b"]);
        assert_eq!(ours.class("new"), 2);
        assert_eq!(ours.absorb(&labels(4, &["b", "c"])), Some(vec![1, 2, 0, 3]));
        assert_eq!(ours, labels(4, &["a", "b", "c"]));
        assert_eq!((ours.meet("d"), ours.meet("e"), ours.class("b")), (3, 3, 1));
        // What has no place of its own shares the last.
        assert_eq!(ours.absorb(&labels(4, &["e", "b"])), Some(vec![3, 1, 0, 2]));
        assert_eq!(ours, labels(4, &["a", "b", "c", "d"]));
        assert_eq!(ours.absorb(&labels(4, &["a"])), None);
    }

    #[test]
    fn contrasts_move_with_their_classes() {
        let site = |shift: f64| Site { weight: shift.abs(), shift };
        let sites: Vec<Site> = [1.0, 2.0, 3.0].map(site).into();
        // (0,1), (0,2), (1,2) become (2,0), (2,1), (0,1).
        assert_eq!(renumber_sites(&sites, &[2, 0, 1]), [3.0, -1.0, -2.0].map(site));
        assert_eq!(renumber_sites(&sites, &[0, 1, 2]), sites);
        for (at, (c, k)) in pairs(5).enumerate() {
            assert_eq!((contrast(5, c, k), contrast(5, k, c)), ((at, false), (at, true)));
        }
    }
}
