//! The book says what the program does: examples run, links lead somewhere, lists are complete.

mod book;
mod console;
mod deploy;
mod examples;
mod links;
mod reference;
mod server;
mod shell;
