//! Buffers that outlive the block they were made for.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Things that are dear to make and may be used by one block after another.
pub struct Pool<T>(Arc<Mutex<Vec<T>>>);

/// A thing on loan from its pool.
pub struct Loan<T> {
    item: Option<T>,
    pool: Pool<T>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl<T> fmt::Debug for Loan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan")
    }
}

impl<T> Pool<T> {
    /// One that `fits`, or a new one. Those that don't fit are dropped: they were for another shape.
    pub fn take(&self, fits: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> Loan<T> {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.retain(fits);
        let item = items.pop();
        drop(items);
        Loan { item: Some(item.unwrap_or_else(make)), pool: self.clone() }
    }
}

impl<T> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("there until dropped")
    }
}

impl<T> DerefMut for Loan<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("there until dropped")
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).extend(self.item.take());
    }
}
