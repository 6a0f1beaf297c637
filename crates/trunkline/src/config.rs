//! The configuration file: read with places, overridden from the environment, taken apart into each part's section.
//! What a section means is its crate's business; here every misfit gets its file, line and column.

mod document;
mod load;
pub mod reference;

pub use document::{Document, Problem};
pub(crate) use document::{Mended, STAND_IN, missing_field, without_secrets};
pub(crate) use load::FILE_BYTES_MAX;
pub(crate) use load::{Log, LogFormat};
pub use load::{Program, Settings, base, load, parse, take_apart};
