"""Generated messages and stubs of the contract `cogreel.v1`."""
