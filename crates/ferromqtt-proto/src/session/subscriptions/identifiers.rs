//! The Subscription Identifiers that the server knew or knows one subscription by.

use super::group::Change;

/// Messages on their way may still carry an older one than the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identifiers {
    newest: Option<u32>,
    /// Empty for nearly all subscriptions.
    older: Vec<u32>,
}

impl Identifiers {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    pub(super) const fn newest(&self) -> Option<u32> {
        self.newest
    }

    /// The oldest one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.older.iter().copied().chain(self.newest)
    }

    pub(super) fn any_of(&self, identifiers: &[u32]) -> bool {
        self.iter().any(|it| identifiers.contains(&it))
    }

    /// The server's subscription has this identifier from now on, or none. Reports the change to `known`.
    pub(super) fn learn(&mut self, identifier: Option<u32>, known: &mut impl FnMut(u32, Change)) {
        if self.newest == identifier {
            return;
        }
        let Some(identifier) = identifier else {
            self.iter().for_each(|it| known(it, Change::Less));
            *self = Self::default();
            return;
        };
        self.older.extend(self.newest.replace(identifier));
        let before = self.older.len();
        self.older.retain(|it| *it != identifier);
        if self.older.len() == before {
            known(identifier, Change::More);
        }
    }
}

impl FromIterator<u32> for Identifiers {
    /// Of different identifiers, the oldest one first.
    fn from_iter<T: IntoIterator<Item = u32>>(identifiers: T) -> Self {
        let mut older: Vec<_> = identifiers.into_iter().collect();
        let newest = older.pop();
        Self { newest, older }
    }
}
