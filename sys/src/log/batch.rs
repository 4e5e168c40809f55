//! Many whole lines at once, to a file of their own: for a thread that may wait.
//!
//! On a regular file a batch is one `write(2)`, which nobody's else comes in between. Anything else takes pieces of at most
//! `PIPE_BUF` bytes, of whole lines as well: so many a pipe takes in one piece, so that those of several processes do not mix.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use super::PIPE_BUF;

/// How often somebody who waits for room asks whether to go on.
const LOOK: u8 = 50; // milliseconds

/// Lines that could not be written.
#[derive(Debug)]
pub struct Lost {
    /// How many.
    pub lines: u64,
    /// Why; `None`: there was no room, and no time to wait for it.
    pub error: Option<io::Error>,
}

/// Writes batches, and mends what a full disk has left.
#[derive(Debug, Default)]
pub struct Batches {
    /// The last line was written in part, so the next begins with an end of line.
    torn: bool,
}

impl Batches {
    /// Writes `lines`, each with its end. Waits for room for as long as `waits` says so.
    ///
    /// # Errors
    /// How many of them could not be written.
    pub fn write(&mut self, to: BorrowedFd<'_>, lines: &[u8], waits: impl Fn() -> bool) -> Result<(), Lost> {
        let mut rest = lines;
        self.write_rest(to, &mut rest, waits).map_err(|error| Lost { lines: count(rest), error })
    }

    fn write_rest(
        &mut self,
        to: BorrowedFd<'_>,
        rest: &mut &[u8],
        waits: impl Fn() -> bool,
    ) -> Result<(), Option<io::Error>> {
        let regular = fstat(to).is_ok_and(|is| SFlag::from_bits_truncate(is.st_mode).contains(SFlag::S_IFREG));
        let most = if regular { usize::MAX } else { PIPE_BUF };
        while !rest.is_empty() {
            if !regular && !has_room(to, &waits) {
                return Err(None);
            }
            if self.torn {
                match nix::unistd::write(to, b"\n") {
                    Ok(_) => self.torn = false,
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(error) => return Err(Some(error.into())),
                }
                continue;
            }
            match nix::unistd::write(to, &rest[..whole_lines(rest, most)]) {
                Ok(0) => return Err(None), // not known to happen; not to be tried for ever
                Ok(written) => self.wrote(rest, written),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(Some(error.into())),
            }
        }
        Ok(())
    }

    /// Takes off what was written. Of a line that was written in part nothing can be taken back: it is written once more, as a whole.
    fn wrote(&mut self, rest: &mut &[u8], written: usize) {
        let whole = rest[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.torn = whole < written;
        *rest = &rest[whole..];
    }
}

/// The length of as many whole lines as fit, or of the first if it does not.
fn whole_lines(lines: &[u8], most: usize) -> usize {
    if lines.len() <= most {
        return lines.len();
    }
    let end = |byte: &u8| *byte == b'\n';
    let fits = lines[..most].iter().rposition(end);
    fits.or_else(|| lines.iter().position(end)).map_or(lines.len(), |end| end + 1)
}

fn has_room(to: BorrowedFd<'_>, waits: impl Fn() -> bool) -> bool {
    loop {
        match poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::from(LOOK)) {
            Ok(0) | Err(Errno::EINTR) if !waits() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            _ => return true, // or an error, which the write will tell
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::fd::{pipe, set_nonblocking};

    #[test]
    fn pieces_are_whole_lines() {
        assert_eq!(whole_lines(b"ab\ncd\n", 100), 6);
        assert_eq!(whole_lines(b"ab\ncd\n", 5), 3);
        assert_eq!(whole_lines(b"ab\ncd\n", 3), 3);
        assert_eq!(whole_lines(b"ab\ncd\n", 2), 3, "one that is too long goes as it is");
    }

    #[test]
    fn a_line_that_was_written_in_part_is_written_again() {
        let (mut batches, lines) = (Batches::default(), b"ab\ncd\nef\n");
        let mut rest = &lines[..];
        batches.wrote(&mut rest, 5);
        assert_eq!((rest, batches.torn), (&b"cd\nef\n"[..], true));
        let (reader, writer) = pipe().unwrap();
        batches.write(writer.as_fd(), rest, || false).unwrap();
        drop(writer);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), batches.torn), ("\ncd\nef\n", false));
    }

    #[test]
    fn a_pipe_takes_pieces_of_whole_lines_and_what_finds_no_room_is_counted() {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let (reader, writer) = pipe().unwrap();
        let lost = Batches::default().write(writer.as_fd(), &line.repeat(1000), || false).unwrap_err();
        assert!(lost.error.is_none() && lost.lines > 0, "{lost:?}");
        set_nonblocking(reader.as_fd()).unwrap();
        let (mut reader, mut bytes) = (File::from(reader), Vec::new());
        let _ = reader.read_to_end(&mut bytes); // ends in "would block": the other end is open
        assert_eq!(bytes, line.repeat(1000 - usize::try_from(lost.lines).unwrap()));
        // Whoever is read goes on where it was.
        Batches::default().write(writer.as_fd(), &line, || false).unwrap();
        drop(reader);
        let lost = Batches::default().write(writer.as_fd(), &line.repeat(3), || true).unwrap_err();
        assert_eq!((lost.lines, lost.error.map(|error| error.kind())), (3, Some(io::ErrorKind::BrokenPipe)));
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_why() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let lost = Batches::default().write(full.as_fd(), b"1\n2\n", || true).unwrap_err();
        assert_eq!((lost.lines, lost.error.map(|error| error.kind())), (2, Some(io::ErrorKind::StorageFull)));
    }
}
