"""What is done with a ledger and an API: import a dataset, settle what stayed unknown, revoke what was granted."""
