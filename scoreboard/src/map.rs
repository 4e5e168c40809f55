//! memfd, seals and mmap: the only unsafe code of the crate.
//!
//! What makes a safe `&T` out of shared memory: `T` is made of atomics only (so any bit pattern is a value and other
//! processes may write at any time), and the file carries F_SEAL_SHRINK (so no page of the mapping can go away: an access
//! never raises SIGBUS).
#![allow(unsafe_code)] // mmap; each block says why it is sound

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Acquire;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use crate::layout::{BOARD_SIZE, Header, Image, PAGE, Slot, not_a_board};
use crate::{Phase, SLOTS};

/// A new board's memory: zeroes, close-on-exec, of a size that nobody can change.
pub(crate) fn create() -> io::Result<OwnedFd> {
    let fd = memfd_create(c"rustcorn-scoreboard", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    nix::unistd::ftruncate(&fd, i64::try_from(BOARD_SIZE).expect("the board's size is a small constant"))?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(fd)
}

/// The header, mapped read-only: a worker gone wild can spoil its own slot and nothing else.
pub(crate) struct HeaderView(Mapped<Header>);

impl HeaderView {
    /// Maps the header of a descriptor that is a board of our layout; any other is refused.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // Not a memfd (EINVAL), or one that could still shrink under us.
        let seals = fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|_| not_a_board())?;
        let size = usize::try_from(nix::sys::stat::fstat(fd)?.st_size).map_err(|_| not_a_board())?;
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) || size < PAGE {
            return Err(not_a_board());
        }
        // SAFETY: Header is atomics only; the file is at least one PAGE long and sealed against shrinking. The mapping
        // is read-only, and this type offers nothing that writes.
        let view = Self(unsafe { Mapped::new(fd, 0, ProtFlags::PROT_READ)? });
        view.0.verify()?;
        // The header is ours, so the length is the last thing that can be wrong: a header in front of another file.
        if size == BOARD_SIZE { Ok(view) } else { Err(not_a_board()) }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::from_raw(self.0.phase.load(Acquire))
    }
}

/// Maps the whole board of a descriptor that [`HeaderView::open`] has accepted or [`create`] has made.
pub(crate) fn board(fd: BorrowedFd<'_>) -> io::Result<Mapped<Image>> {
    check_length(fd)?;
    // SAFETY: Image is atomics only, and the file has exactly its size, for good.
    unsafe { Mapped::new(fd, 0, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE) }
}

/// As [`board`], for a reader: nothing can be stored through it. A descriptor open for reading alone will do.
pub(crate) fn view(fd: BorrowedFd<'_>) -> io::Result<Mapped<Image>> {
    check_length(fd)?;
    // SAFETY: as in `board`; the mapping is read-only, and `View` and `Siblings`, its only owners, offer nothing that writes.
    unsafe { Mapped::new(fd, 0, ProtFlags::PROT_READ) }
}

/// Maps one slot. Fails where there is no such slot.
pub(crate) fn slot(fd: BorrowedFd<'_>, slot: usize) -> io::Result<Mapped<Slot>> {
    if slot >= SLOTS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no slot {slot}: the scoreboard has {SLOTS}")));
    }
    check_length(fd)?;
    // SAFETY: Slot is atomics only, and the file, which cannot shrink, reaches beyond slot SLOTS - 1.
    unsafe { Mapped::new(fd, PAGE * (1 + slot), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE) }
}

/// The callers have looked already; sound for any caller this way.
fn check_length(fd: BorrowedFd<'_>) -> io::Result<()> {
    let sealed = fcntl(fd, FcntlArg::F_GET_SEALS)? & SealFlag::F_SEAL_SHRINK.bits() != 0;
    let size = nix::sys::stat::fstat(fd)?.st_size;
    if sealed && usize::try_from(size) == Ok(BOARD_SIZE) { Ok(()) } else { Err(not_a_board()) }
}

/// Shared memory seen as a `T`; unmapped on drop.
pub(crate) struct Mapped<T>(NonNull<T>);

impl<T> Mapped<T> {
    /// # Safety
    /// `T` consists of atomics and padding only; `fd` has at least `offset + size_of::<T>()` bytes and is sealed against
    /// shrinking; if `prot` lacks PROT_WRITE, nothing stores through the value.
    unsafe fn new(fd: BorrowedFd<'_>, offset: usize, prot: ProtFlags) -> io::Result<Self> {
        let length = NonZeroUsize::new(size_of::<T>()).expect("nothing of size zero is mapped");
        let offset = offset.try_into().expect("offsets are below the board's size");
        // SAFETY: the kernel picks the address, so no existing mapping is replaced.
        let memory = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, fd.as_fd(), offset)? };
        let mapped = Self(memory.cast());
        assert!(mapped.0.is_aligned(), "the kernel maps at page boundaries");
        // A core dump would make real pages of the whole sparse file, and hung workers are told to dump core.
        // SAFETY: exactly the mapping made above; the advice changes no content.
        let advice = unsafe { madvise(memory, length.get(), MmapAdvise::MADV_DONTDUMP) };
        let _ = advice; // a kernel that does not take it only writes larger dumps
        Ok(mapped)
    }
}

impl<T> Deref for Mapped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: mapped by `new`, whose contract makes every bit pattern valid and every access an atomic one; it stays
        // mapped until drop, which no borrow outlives.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: address and length of our own mapping, which nothing can reach any more.
        let unmapped = unsafe { munmap(self.0.cast(), size_of::<T>()) };
        debug_assert!(unmapped.is_ok(), "unmapping what was mapped: {unmapped:?}");
    }
}

// SAFETY: memory is reached through atomics only, and a mapping belongs to the process, not to a thread.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above; `&Mapped<T>` gives out `&T` and nothing else.
unsafe impl<T: Sync> Sync for Mapped<T> {}
