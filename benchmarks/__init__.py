"""How fast the kit is, beside what else there is: `make bench`."""
