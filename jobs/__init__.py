"""What is submitted to a cluster: one small entry point each."""
