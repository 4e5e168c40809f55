//! Shared memory in which workers count and the master reads
