"""Tests of `kitref.linuxkit`."""
