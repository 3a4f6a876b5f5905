//! Tokens from the outside: signed here with real keys, checked through the public interface.

mod claims;
mod headers;
mod jwks;
mod minter;
mod own_tokens;
mod stub;
