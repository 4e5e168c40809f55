//! The title of a process: what ps(1) shows in place of its command line.
//!
//! The kernel reads it from where it put the arguments at exec, so that is where the title is written. Where they are is in
//! stat (proc(5)); to move that place elsewhere would take a privilege (prctl(2), `PR_SET_MM`). The environment lies right
//! behind: a long title continues there, after its variables were moved to the heap.

use std::ffi::{CStr, CString};
use std::io;
use std::ptr::with_exposed_provenance_mut;

/// The memory that holds the title.
#[derive(Debug)]
pub struct Title {
    start: usize,
    length: usize,
}

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

impl Title {
    /// Takes over the memory of arguments and environment. After the first [`Self::set`] `std::env::args_os` returns nonsense;
    /// what is needed of it has to be read before. The environment stays as it is.
    ///
    /// # Errors
    /// Where the system does not tell, or there is more than one thread: another one may be reading the environment.
    pub fn take_over() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let Some([threads, arguments, behind_arguments, environment, end]) = fields(&stat) else {
            return Err(io::Error::other("/proc/self/stat does not tell where the arguments are"));
        };
        if threads != 1 {
            return Err(io::Error::other("there is more than one thread"));
        }
        // Without variables both are zero, or the one begins where the other ends.
        let end = if environment == behind_arguments && end > environment { end } else { behind_arguments };
        if arguments == 0 || end <= arguments {
            return Err(io::Error::other("this process was started without arguments"));
        }
        if end > behind_arguments {
            // SAFETY: no other thread exists that could read `environ` meanwhile. Its strings are replaced by equal ones that
            // live for ever, so a pointer into the old ones that somebody may have kept sees text change, as documented above.
            unsafe { move_environment(arguments..end) };
        }
        Ok(Self { start: arguments, length: end - arguments })
    }

    /// Shows this text, cut to what there is room for.
    pub fn set(&self, title: &str) {
        let text: Vec<u8> = title.bytes().filter(|byte| *byte != 0).take(self.length - 1).collect();
        let place = with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: `length` bytes from `start` on are the arguments and perhaps the environment as the kernel placed them on the
        // stack: writable, never freed, and (since take_over) not referred to by this program any more, but through `argv`,
        // whose strings stay terminated: the last byte is always zero.
        unsafe {
            std::ptr::write_bytes(place, 0, self.length);
            std::ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
        }
    }
}

/// # Safety
/// Nobody else may read or write the environment meanwhile.
unsafe fn move_environment(area: std::ops::Range<usize>) {
    // SAFETY: `environ` is a null-terminated array of C strings (environ(7)), and by contract ours for now.
    unsafe {
        let mut variable = environ;
        while !variable.is_null() && !(*variable).is_null() {
            if area.contains(&(*variable).addr()) {
                *variable = CString::from(CStr::from_ptr(*variable)).into_raw(); // for as long as the process lives
            }
            variable = variable.add(1);
        }
    }
}

/// proc(5), stat: number of threads, and `arg_start`, `arg_end`, `env_start`, `env_end`, fields 20 and 48 to 51.
fn fields(stat: &str) -> Option<[usize; 5]> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(20)?, field(48)?, field(49)?, field(50)?, field(51)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_found_in_stat() {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
        let [threads, arguments, behind, environment, end] = fields(&stat).expect("it reads");
        assert!(threads >= 1 && arguments > 0 && arguments < behind && environment <= end);
        assert_eq!(fields("1 (a) b) S 1"), None);
    }
}
