//! Prefork multi-process web server for Rust services
