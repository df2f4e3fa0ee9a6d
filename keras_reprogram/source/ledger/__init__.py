"""The ledger: queries that were sent, their cost and their answers."""
