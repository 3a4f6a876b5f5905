//! A migration file that is added or removed changes no file the compiler knows of.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
