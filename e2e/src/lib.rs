//! Black-box tests that run the real binaries
