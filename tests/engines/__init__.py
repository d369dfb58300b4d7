"""Tests of `kitref.engines`; those marked live need an engine."""
