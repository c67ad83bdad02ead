//! Clients: programs that get tokens. Witgate stores none of them. A client is known by what its id says, or by the
//! document at the URL that is its id.

pub mod description;
pub mod document;
pub mod registered;
