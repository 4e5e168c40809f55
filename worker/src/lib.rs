//! A rustcorn worker: takes over the sockets, serves a tower service on hyper, counts, drains
