//! `rolegate dev`, as a program.

mod given;
mod place;
mod private;
mod program;
