//! A result buffer that parallel tasks fill piece by piece, without zeroing it first.

#![expect(
    unsafe_code,
    reason = "uninitialised memory shared between tasks; each block says why it is sound"
)]

use std::marker::PhantomData;

/// Memory for a result, not yet written.
pub(crate) struct Fresh(Vec<f32>);

impl Fresh {
    pub(crate) fn new(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    /// Returns a handle through which tasks write the first `len` values.
    pub(crate) fn share(&mut self, len: usize) -> Shared<'_> {
        assert!(len <= self.0.capacity(), "the buffer holds its result");
        Shared {
            start: self.0.as_mut_ptr(),
            len,
            owner: PhantomData,
        }
    }

    /// Returns the values.
    ///
    /// # Safety
    /// Every one of the first `len` values must have been written.
    pub(crate) unsafe fn into_vec(mut self, len: usize) -> Vec<f32> {
        assert!(len <= self.0.capacity(), "the buffer holds its result");
        // SAFETY: the capacity was asserted; the caller says that they are initialised.
        unsafe { self.0.set_len(len) };
        self.0
    }
}

/// Memory that several tasks write to, each to its own places.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is only a place; whoever makes a slice of it promises that no other task has one there.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    /// Returns where `count` values from `at` lie, after checking that they are inside.
    #[inline]
    pub(crate) fn place(&self, at: usize, count: usize) -> *mut f32 {
        assert!(
            at.checked_add(count).is_some_and(|end| end <= self.len),
            "tasks write inside their result"
        );
        // SAFETY: `at` was asserted to lie inside the allocation.
        unsafe { self.start.add(at) }
    }
}
