"""Generators: tapes to programs, one file per level. `fuzz.profiles` names them."""
