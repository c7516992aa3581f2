"""What model requests cost: the ledger, budgets, prices."""
