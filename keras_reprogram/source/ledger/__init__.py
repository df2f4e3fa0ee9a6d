"""The ledger: which queries were asked, what they cost and what was answered."""
