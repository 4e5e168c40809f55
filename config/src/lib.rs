//! Settings of rustcorn: declared once, read in layers, validated, explained
