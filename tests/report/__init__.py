"""Tests of `kitref.report`."""
