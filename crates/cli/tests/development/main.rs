//! `rolegate dev`, as a program.

mod audit;
mod given;
mod installation;
mod place;
mod private;
mod program;
