"""Tests of whole columns."""
