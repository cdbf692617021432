//! What the fuzz targets share. `npm run fuzz` runs them all.

mod bounds;
pub mod journal;
pub mod laws;
pub mod people;
pub mod script;
pub mod store;

pub use bounds::bounded;
