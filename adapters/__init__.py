"""Adapters of other programs' normalizers, and the survey of them that `make conformance` makes."""
