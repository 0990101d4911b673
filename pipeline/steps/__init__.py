"""The steps on values that both the stages and the search take: prune, quantise, what a network will need."""
