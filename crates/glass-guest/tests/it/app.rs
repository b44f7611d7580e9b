//! `glasshouse.App`.
