//! JSON Web Tokens: claims judged here, signatures checked by the host by key name.
