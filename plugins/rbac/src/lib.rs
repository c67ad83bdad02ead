//! Roles with allow and deny patterns.
