//! The rustcorn master: supervises workers, owns the sockets, reports metrics
