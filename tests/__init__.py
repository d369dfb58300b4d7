"""Tests of the kit, file by file as the package has them."""
