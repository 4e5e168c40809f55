//! Descriptors given to another process while it runs (unix(7), `SCM_RIGHTS`): it need not be allowed to open the file itself.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

/// A way for descriptors: the end that gives, the end that receives. Both are close-on-exec.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Gives a copy of `fd` away. Never waits: where the other side has left too many untaken it is an error.
pub fn give(channel: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    let (byte, fds) = ([IoSlice::new(b"f")], [fd.as_raw_fd()]); // a message without a byte would look like an end
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(channel.as_raw_fd(), &byte, &[ControlMessage::ScmRights(&fds)], flags, None)?;
    Ok(())
}

/// Waits for a descriptor and takes it, close-on-exec. `None`: the other side is gone.
///
/// # Errors
/// `EMFILE`: this process is out of descriptors. What was given is lost, and has to be given again.
pub fn take(channel: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        let (mut byte, mut space) = ([0; 1], nix::cmsg_space!(std::os::fd::RawFd));
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<()>(channel.as_raw_fd(), &mut bytes, Some(&mut space), flags) {
            Err(Errno::EINTR) => continue,
            received => received?,
        };
        if received.flags.contains(MsgFlags::MSG_CTRUNC) {
            return Err(Errno::EMFILE.into());
        }
        let fds = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        // SAFETY: the kernel has just made it for this process; the space for control messages has room for one.
        let fd = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        if fd.is_some() || received.bytes == 0 {
            return Ok(fd);
        }
        // A byte alone is nothing that is given here.
    }
}

/// Whether [`take`] has failed for want of descriptors.
#[must_use]
pub fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMFILE as i32)
}
