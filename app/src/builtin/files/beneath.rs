//! What `ServeDir` opens: files beneath the root (the kernel sees to it), none that begins with a dot, and only regular ones.
//!
//! `ServeDir` asks what a path is, then opens each compressed neighbour that the client would take, then the file, then asks for its
//! size, then reads: each a trip to a thread of the blocking pool and back, which costs more than all the system calls together. Here
//! the first question looks at all of that (of a directory, at its index) and reads the file if it is small; what follows finds it done.

use std::fs::{File, Metadata};
use std::future::Future;
use std::io::{self, Cursor, ErrorKind, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustcorn_sys::beneath::{Root, is_absent};
use rustcorn_sys::log::{Level, line};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::spawn_blocking;
use tower_http::services::fs;

/// A file up to this size is read while it is opened.
const SMALL: u64 = 64 * 1024;
/// What `ServeDir` appends to a name for the compressed neighbours that it may be told to look for.
const NEIGHBOURS: [&str; 3] = [".br", ".zst", ".gz"];

/// The files of one root. `ServeDir` clones it for each request, and each clone remembers what that request has looked at.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Arc<Root>,
    dotfiles: bool,
    /// Compressed neighbours will be asked for.
    neighbours: bool,
    seen: Arc<Mutex<Seen>>,
}

/// What a request will ask for next, looked at before.
#[derive(Debug, Default)]
struct Seen {
    found: Option<(PathBuf, Found)>,
    absent: Vec<PathBuf>,
}

impl Beneath {
    pub(super) fn new(root: Arc<Root>, dotfiles: bool, neighbours: bool) -> Self {
        Self { root, dotfiles, neighbours, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Beneath {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.root), self.dotfiles, self.neighbours)
    }
}

/// What a path led to.
#[derive(Debug)]
struct Found {
    metadata: Metadata,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A small file, read.
    Whole(Bytes),
    /// A larger one, or a directory.
    File(File),
}

type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Beneath {
    /// What this request has looked at before by this path, or else what `look` finds now, on a thread that may block.
    fn found<T: From<Found> + Send + 'static>(
        &self,
        path: PathBuf,
        look: impl FnOnce(&Root, PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let mut seen = self.seen();
        let known = seen.found.take_if(|known| known.0 == path).map(|(_, found)| found);
        let absent = seen.absent.contains(&path) || (!self.dotfiles && is_hidden(&path));
        drop(seen);
        let root = Arc::clone(&self.root);
        Box::pin(async move {
            match known {
                Some(found) => Ok(found.into()),
                None if absent => Err(ErrorKind::NotFound.into()),
                None => {
                    let looked = spawn_blocking(move || look(&root, path)).await;
                    looked.map_err(io::Error::other)? // a panic, or the end of the runtime
                }
            }
        })
    }
}

/// Whether a part of the path begins with a dot. `.well-known` is for everybody to see (RFC 8615).
fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| match part {
        Component::Normal(name) => name.as_encoded_bytes().starts_with(b".") && name != ".well-known",
        _ => false,
    })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl From<Found> for Metadata {
    fn from(found: Found) -> Self {
        found.metadata
    }
}

fn look(root: &Root, path: &Path) -> io::Result<Found> {
    let found = || {
        let file = root.file(path)?;
        let metadata = file.metadata()?;
        let content = match metadata.len() {
            length @ 0..=SMALL if metadata.is_file() => Content::Whole(read(&file, length)?),
            _ => Content::File(file),
        };
        Ok(Found { metadata, content })
    };
    match found() {
        // Pipes, sockets and devices are no files that have a length and an end.
        Ok(Found { metadata, .. }) if !metadata.is_file() && !metadata.is_dir() => Err(ErrorKind::NotFound.into()),
        Ok(found) => Ok(found),
        Err(error) if is_absent(&error) => Err(ErrorKind::NotFound.into()),
        Err(error) => {
            line(Level::Error, format_args!("Cannot read {}: {error}", path.display()));
            Err(error)
        }
    }
}

/// The first `length` bytes; fewer if it has become shorter meanwhile, which ends the response early.
fn read(file: &File, length: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).expect("a small file")];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

impl fs::Backend for Beneath {
    type File = Opened;
    type Metadata = Metadata;
    type OpenFuture = Pending<Opened>;
    type MetadataFuture = Pending<Metadata>;

    fn open(&self, path: PathBuf) -> Pending<Opened> {
        let found = self.found(path, |root, path| look(root, &path));
        Box::pin(async move {
            let Found { metadata, content } = found.await?;
            if metadata.is_dir() {
                return Err(ErrorKind::NotFound.into());
            }
            let reader = match content {
                Content::Whole(bytes) => Reader::Whole(Cursor::new(bytes)),
                Content::File(file) => Reader::File(tokio::fs::File::from_std(file)),
            };
            Ok(Opened { metadata, reader })
        })
    }

    fn metadata(&self, path: PathBuf) -> Pending<Metadata> {
        let (seen, neighbours) = (Arc::clone(&self.seen), self.neighbours);
        self.found(path, move |root, path| {
            let found = look(root, &path)?;
            let metadata = found.metadata.clone();
            // Of a directory it is the index that will be asked for, if there is one.
            let (path, found) = if metadata.is_dir() {
                let index = path.join("index.html");
                let Ok(found) = look(root, &index) else { return Ok(metadata) };
                (index, found)
            } else {
                (path, found)
            };
            let names = NEIGHBOURS.iter().filter(|_| neighbours).map(|ending| beside(&path, ending));
            // A directory of that name is none; a HEAD would not find out by itself.
            let is_file = |name: &PathBuf| {
                root.file(name).and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
            };
            let absent = names.filter(|name| !is_file(name)).collect();
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { found: Some((path, found)), absent };
            Ok(metadata)
        })
    }
}

/// A file on its way to a client.
#[derive(Debug)]
pub(super) struct Opened {
    metadata: Metadata,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Whole(Cursor<Bytes>),
    File(tokio::fs::File),
}

impl fs::File for Opened {
    type Metadata = Metadata;
    type MetadataFuture<'a> = std::future::Ready<io::Result<Metadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.metadata.clone()))
    }
}

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.reader {
            Reader::Whole(bytes) => Pin::new(bytes).poll_read(cx, buffer),
            Reader::File(file) => Pin::new(file).poll_read(cx, buffer),
        }
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        match &mut self.reader {
            Reader::Whole(bytes) => Pin::new(bytes).start_seek(to),
            Reader::File(file) => Pin::new(file).start_seek(to),
        }
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match &mut self.reader {
            Reader::Whole(bytes) => Pin::new(bytes).poll_complete(cx),
            Reader::File(file) => Pin::new(file).poll_complete(cx),
        }
    }
}
