//! The last rest: files in the archive, nothing here.

use std::sync::Arc;

use glass_api::{Code, Problem};

use super::Sandboxes;
use super::driver::Driver;
use crate::error::ApiError;

impl Sandboxes {
    /// Whether there is an archive to move files to. Until there is, idle sandboxes stay stopped.
    pub(super) fn can_archive(&self) -> bool {
        false
    }

    pub(super) async fn move_to_archive(&self, driver: &Arc<Driver>) -> Result<(), ApiError> {
        let detail = format!("there is no archive for the files of sandbox {}", driver.id);
        Err(Problem::new(Code::HostUnsupported, detail).into())
    }
}
