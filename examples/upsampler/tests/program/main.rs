//! The program as people run it, on real files.

mod common;
mod enlarge;
mod train;
