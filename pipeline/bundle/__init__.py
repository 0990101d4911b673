"""What goes from an accepted recipe to a board: kmodel, contract, programs, test vectors, flash package."""
