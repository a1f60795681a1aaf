//! Files that are whole or not there.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use image::ImageResult;
use tempfile::Builder;

use crate::error::PictureError;
use crate::stop::Stop;

/// Calls `write` on a temporary file beside `path`, and renames the file.
pub fn write_atomically(
    path: &Path,
    stop: Stop,
    write: impl FnOnce(&mut dyn Write) -> ImageResult<()>,
) -> Result<(), PictureError> {
    let failed = |source| PictureError::Write {
        path: path.into(),
        source,
    };
    if path.exists() && !path.is_file() {
        return Err(PictureError::NotReplaced { path: path.into() });
    }
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = Builder::new();
    builder.prefix(".upsampler-").suffix(".partial");
    #[cfg(unix)]
    {
        // The system takes the user's mask away from this, as for other new files.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.tempfile_in(folder.unwrap_or(Path::new(".")));
    let mut temporary = temporary.map_err(|source| failed(source.into()))?;
    let mut file = BufWriter::with_capacity(
        1 << 20,
        Stoppable {
            inner: temporary.as_file_mut(),
            stop,
        },
    );
    let written = write(&mut file).and_then(|()| Ok(file.flush()?));
    drop(file);
    if stop.is_requested() {
        return Err(PictureError::Stopped);
    }
    written.map_err(failed)?;
    let persisted = temporary.persist(path);
    persisted.map_err(|error| failed(error.error.into()))?;
    Ok(())
}

/// A writer that fails once the user has stopped the program.
struct Stoppable<W> {
    inner: W,
    stop: Stop,
}

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_requested() {
            return Err(io::Error::other("stopped"));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
