//! One run at a time in an output folder: two would remove and overwrite each other's checkpoints.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::UpsamplerError;

/// The file in the output folder that a run locks. It is empty, and it stays when the run ends.
const LOCK_FILE: &str = "upsampler.lock";

/// Locks an output folder while it lives. The system also releases the lock when the program is
/// killed.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder that exists.
    ///
    /// # Errors
    ///
    /// Another run has locked the folder, or the lock file cannot be made or locked.
    pub fn acquire(folder: &Path) -> Result<Self, UpsamplerError> {
        let path = folder.join(LOCK_FILE);
        let file = File::create(&path).map_err(|source| UpsamplerError::Write {
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(UpsamplerError::OutputInUse {
                folder: folder.into(),
                path,
            }),
            Err(TryLockError::Error(source)) => Err(UpsamplerError::Lock { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_in_a_folder_is_an_error_until_the_first_ends() {
        let folder = std::env::temp_dir().join(format!("upsampler-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();

        let first = FolderLock::acquire(&folder).unwrap();
        let error = FolderLock::acquire(&folder).unwrap_err().to_string();
        let path = folder.join(LOCK_FILE);
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(
            error.ends_with("wait until it ends, or choose another folder with --output"),
            "{error}"
        );

        drop(first);
        FolderLock::acquire(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
